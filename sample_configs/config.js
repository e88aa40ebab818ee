/*
 * Configuration of vcb-console, in the form of VCB's config.js.
 *
 * A setting is NAME="value"; and a line after // is a comment: take the //
 * away to set it. A backslash is written twice. What is commented shows the
 * default, or an example.
 */

/*
 * Directory in which every job makes its own directory, named after the
 * backup type and the VM. It must exist before the first backup.
 * Default: /var/lib/vcb
 */
// BACKUPROOT="/var/lib/vcb";

/*
 * Space that stays free in BACKUPROOT: a backup that would go below it does
 * not start, and one that gets there stops.
 * Allowed: a size such as 10 GiB, or a share such as 5%.
 * Default: 1 GiB
 * Costs: Space that no backup uses.
 * Not an option of VCB.
 */
// KEEP_FREE="1 GiB";

/*
 * vCenter Server or ESXi host to connect to. Mandatory.
 */
HOST="vcenter.example.com";

/*
 * TCP port of the vSphere API (VCB 1.0 used 902).
 * Allowed: a whole number from 1 to 65535.
 * Default: 443
 */
// PORT="443";

/*
 * Account that the backup logs on with. Mandatory. __sspi__ asks for
 * integrated Windows logon.
 */
USERNAME="vcb@vsphere.local";

/*
 * Password of USERNAME, in plain text. Overrides every other source, so leave
 * it out when one of them is used: PASSWORD_FILE, the systemd credential
 * vcb-password, the keyring, or the prompt.
 * Costs: Whoever reads the file, or a copy of it, has the account.
 */
// PASSWORD="";

/*
 * File whose first line is the password; only its owner may read it (mode
 * 0600).
 * Costs: A file more to protect; it stays out of copies of the configuration.
 * Not an option of VCB.
 */
// PASSWORD_FILE="/etc/vcb/password";

/*
 * PEM file with the certificate authorities trusted for vCenter and the ESXi
 * hosts (vCenter offers its own at https://HOST/certs/download.zip).
 * Not an option of VCB.
 */
// CA_FILE="/etc/vcb/vcenter-ca.pem";

/*
 * SHA-256 fingerprint of the one certificate to accept from HOST, for a
 * server whose CA is not at hand.
 * Costs: When the server gets a new certificate, every job fails until the
 * new one is approved.
 * Not an option of VCB.
 */
// THUMBPRINT="AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB";

/*
 * How long an API call or a transfer may stand still before it counts as
 * lost.
 * Allowed: a whole number from 5 to 3600 seconds.
 * Default: 60 seconds
 * Costs: A long one lets a dead connection hold a job and its snapshot; a
 * short one loses slow hosts.
 * Not an option of VCB.
 */
// HTTP_TIMEOUT="60";

/*
 * How disk data comes to the proxy. Exactly this mode is used; nothing else
 * is tried silently.
 * +) san: the proxy reads the datastore's LUN directly; needs VMFS storage
 *    that the proxy can see
 * +) nbd: over the network from the ESXi host, port 902; disk data travels in
 *    the clear
 * +) nbdssl: as nbd, inside TLS
 * +) hotadd: the proxy is itself a VM and gets the disks attached
 * +) https: the export lease on port 443: a stream that ESXi makes, every
 *    allocated block of it
 * Default: san
 * Costs: san reads past the hosts; hotadd holds a slot of the proxy for each
 * disk; nbd and nbdssl load a host's management network, nbdssl its
 * processors too; https reads whole disks every time.
 */
TRANSPORT_MODE="nbdssl";

/*
 * Modes to try, in this order, when a disk cannot be read by TRANSPORT_MODE.
 * Each use is reported. Empty: no fallback.
 * Allowed: a list of san, nbd, nbdssl, hotadd, https.
 * Costs: A fallback may be many times slower and load a network that
 * TRANSPORT_MODE spares.
 * Not an option of VCB.
 */
// TRANSPORT_FALLBACK="https";

/*
 * Directory with udev's links to block devices, in which the mode san looks
 * up the LUNs of a datastore.
 * Default: /dev/disk/by-id
 * Not an option of VCB.
 */
// SAN_DEVICES="/dev/disk/by-id";

/*
 * BIOS UUID of the VM that the proxy runs in, for the mode hotadd. Empty: as
 * this machine's firmware tells it.
 * Not an option of VCB.
 */
// HOTADD_PROXY="";

/*
 * Directory with udev's links to block devices, in which the mode hotadd
 * looks, besides /sys, for the disks that were attached to the proxy.
 * Default: /dev/disk/by-id
 * Not an option of VCB.
 */
// HOTADD_DEVICES="/dev/disk/by-id";

/*
 * Connections per disk in the modes nbd and nbdssl.
 * Allowed: a whole number from 1 to 8.
 * Default: 2
 * Costs: A host has few NFC connections for all clients, and each takes
 * memory of it; more are faster only where latency is high.
 * Not an option of VCB.
 */
// NFC_CONNECTIONS="2";

/*
 * Size of one read request in the modes nbd and nbdssl, if the server takes
 * it.
 * Allowed: a size from 64 KiB to 2 MiB.
 * Default: 2 MiB
 * Costs: Memory on both sides: NFC_BUFFER times NFC_REQUESTS for each
 * connection.
 * Not an option of VCB.
 */
// NFC_BUFFER="2 MiB";

/*
 * Read requests in flight per connection in the modes nbd and nbdssl.
 * Allowed: a whole number from 1 to 16.
 * Default: 4
 * Costs: Memory on both sides: NFC_BUFFER times NFC_REQUESTS for each
 * connection.
 * Not an option of VCB.
 */
// NFC_REQUESTS="4";

/*
 * What the log records. 0 failures that end a job, 1 errors, 2 warnings, 3
 * stages and results, 4 each step with its reason, 5 API calls, 6 wire
 * traffic (redacted).
 * Allowed: a whole number from 0 to 6.
 * Default: 3
 * Costs: 5 and 6 write much: up to gigabytes an hour for a busy job. For
 * troubleshooting only.
 */
// LOGLEVEL="3";

/*
 * Who makes and who removes the snapshot _VCB-BACKUP_ that the backup reads
 * from.
 * +) automatic: created for the backup, removed after it
 * +) manual: exactly one must exist; it is neither created nor removed
 * +) createonly: created for the backup, left in place
 * +) deleteonly: exactly one must exist; it is removed after the backup
 * Default: automatic
 * Costs: A snapshot that stays (createonly, manual) grows with every write of
 * the VM and slows it.
 */
// SNAPSHOT_POLICY="automatic";

/*
 * Whether the guest is brought to rest for the snapshot. The state really
 * reached is recorded either way.
 * +) auto: quiesce where the guest can; else take the snapshot
 *    crash-consistent, with a warning
 * +) required: no quiesced snapshot, no backup
 * +) off: crash-consistent
 * Default: auto
 * Costs: The guest stands still for some seconds; required fails where its
 * tools are missing or busy.
 * Not an option of VCB.
 */
// QUIESCE="auto";

/*
 * How long the guest may take to come to rest.
 * Allowed: a whole number from 5 to 240 minutes.
 * Default: 15 minutes
 * Costs: So long a job may wait, with the guest's writes held back by its own
 * software.
 * Not an option of VCB.
 */
// QUIESCE_TIMEOUT="15";

/*
 * How a VM given as a bare word is found.
 * +) ipaddr: by the IP address or DNS name that VMware Tools report
 * +) name: by the name in the inventory, which must be unique
 * Default: ipaddr
 */
// VM_LOOKUP_METHOD="ipaddr";

/*
 * Disks to leave out, by name or label: "scsi0:1, Hard disk 3". They are
 * shown as skipped by the operator.
 * Costs: A disk that is left out cannot be restored; the job ends as
 * completed with exceptions.
 * Not an option of VCB.
 */
// EXCLUDE_DISKS="scsi0:1";

/*
 * What to do when the job's directory exists already.
 * +) fail: the job fails
 * +) delete: it is removed, and the backup snapshot that belongs to it; if
 *    that fails, so does the job
 * Default: fail
 * Costs: delete removes what a job before this one left, with its exported
 * disks.
 */
// PREEXISTING_MOUNTPOINT="fail";

/*
 * What to do when a backup snapshot exists where one is to be created. With
 * TRANSPORT_MODE hotadd it must equal PREEXISTING_MOUNTPOINT.
 * +) fail: the job fails
 * +) delete: it is removed; only if that succeeds does the job go on
 * Default: fail
 * Costs: delete consolidates the old snapshot first: load on the datastore,
 * and time.
 */
// PREEXISTING_VCB_SNAPSHOT="fail";

/*
 * How often an operation that failed is tried again; 0 is never. Only
 * failures that time can heal count: a busy VM, a locked file, a lost
 * connection. The removal of a snapshot is tried twice more even at 0.
 * Allowed: a whole number from 0 to 100.
 * Default: 0
 * Costs: Each retry waits BACKOFF_TIME; a job that cannot succeed fails so
 * much later.
 */
// MAX_RETRIES="0";

/*
 * Wait before each retry; with MAX_RETRIES 0 only the removal of a snapshot
 * knows one.
 * Allowed: a whole number from 0 to 86400 seconds.
 * Default: 10 seconds
 * Costs: The snapshot stays open while a job waits.
 */
// BACKOFF_TIME="10";

/*
 * Whether a run reads whole disks or what changed since the last restore
 * point. Decided for each disk; the reason is shown. https always carries
 * whole disks.
 * +) auto: what changed, wherever that is provably enough; else the whole
 *    disk
 * +) full: whole disks
 * +) incremental: what changed; the job fails where a whole disk would be
 *    needed
 * Default: auto
 * Not an option of VCB.
 */
// BACKUP_TYPE="auto";

/*
 * Whether changed block tracking (CBT) of vSphere tells what changed.
 * +) on: used where the VM has it
 * +) enable: as on, and switched on in a VM that lacks it, if it has no
 *    snapshots; effective from the run's own snapshot on
 * +) off: not used: every restore point is a full one
 * Default: on
 * Costs: enable changes the VM's configuration for good; off reads whole
 * disks every time.
 * Not an option of VCB.
 */
// CHANGE_TRACKING="on";

/*
 * Restore points of a disk from one full to the next, the full one counted: 1
 * makes every point full, 0 lets chains grow until a full is needed for
 * another reason.
 * Allowed: a whole number from 0 to 1000 points.
 * Default: 14 points
 * Costs: Fewer fulls take less time and space, and make longer chains: one
 * damaged point spoils all that follow in it.
 * Not an option of VCB.
 */
// FULL_EVERY="14";

/*
 * Points in a chain from which on vcb retain merges: a point that no KEEP_
 * option keeps, and that stays only because a newer one needs it, becomes
 * part of that one. 0 never merges. With FULL_EVERY 0 production is read
 * whole only once.
 * Allowed: a whole number from 0 to 1000 points.
 * Default: 0 points
 * Costs: A merge reads and writes the images of its points, and needs room
 * for the result beside them.
 * Not an option of VCB.
 */
// CHAIN_LENGTH="0";

/*
 * Share of the blocks that CBT calls unchanged which each incremental run
 * reads all the same, chosen by chance, and compares with the restore point
 * before. One difference: alarm, and the whole disk is read. 0% trusts CBT
 * blindly.
 * Allowed: a share from 0% to 100%, such as 0.5%.
 * Default: 0.5%
 * Costs: Its share of the disk is read in each incremental run.
 * Not an option of VCB.
 */
// CBT_AUDIT="0.5%";

/*
 * The most that CBT_AUDIT reads of one disk.
 * Allowed: a size from 64 KiB to 1 TiB.
 * Default: 256 MiB
 * Costs: Time to read so much of each disk.
 * Not an option of VCB.
 */
// CBT_AUDIT_LIMIT="256 MiB";

/*
 * What exported disks become when they are read whole. An incremental restore
 * point is always a compact child of the point before.
 * +) compact: streamOptimized VMDK: compressed, only what holds data
 * +) sparse: monolithicSparse VMDK: only what holds data, not compressed;
 *    other programs write to it
 * +) flat: a raw file with its VMDK descriptor; sparse where the disk is
 *    empty
 * Default: compact
 * Costs: compact takes processor time for about half the space; the others
 * the space of all allocated blocks.
 * Not an option of VCB.
 */
// EXPORT_FORMAT="compact";

/*
 * Threads that compress; 0 is one per processor.
 * Allowed: a whole number from 0 to 256.
 * Default: 0
 * Costs: More threads take processors from other jobs; fewer may slow the
 * export.
 * Not an option of VCB.
 */
// COMPRESSION_THREADS="0";

/*
 * Restore points of each VM that vcb retain keeps whatever their age: so many
 * of the newest proven ones. With all KEEP_ counts at 0 everything is kept.
 * The newest proven point, and what a kept point needs, always stay.
 * Allowed: a whole number from 0 to 10000 points.
 * Default: 0 points
 * Not an option of VCB.
 */
// KEEP_LAST="0";

/*
 * Days of which vcb retain keeps the newest proven point; days without a
 * point don't count.
 * Allowed: a whole number from 0 to 10000 days.
 * Default: 0 days
 * Not an option of VCB.
 */
// KEEP_DAILY="0";

/*
 * As KEEP_DAILY, for weeks from Monday on.
 * Allowed: a whole number from 0 to 10000 weeks.
 * Default: 0 weeks
 * Not an option of VCB.
 */
// KEEP_WEEKLY="0";

/*
 * As KEEP_DAILY, for months.
 * Allowed: a whole number from 0 to 10000 months.
 * Default: 0 months
 * Not an option of VCB.
 */
// KEEP_MONTHLY="0";

/*
 * As KEEP_DAILY, for years.
 * Allowed: a whole number from 0 to 10000 years.
 * Default: 0 years
 * Not an option of VCB.
 */
// KEEP_YEARLY="0";
