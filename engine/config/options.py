"""The option table: every setting, once.

Names, types, defaults, help texts and sections exist only here. The reader, the checks, the command line's flags,
the sample files and the README's table are drawn from it. VCB's thirteen options keep VCB's meaning; where VCB's
default was a Windows path, ours is not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from engine.config.finding import Finding
from engine.config.option_types import (
    ChoiceListOption,
    ChoiceOption,
    Floor,
    FloorOption,
    HostOption,
    IntOption,
    Option,
    OptionalPathOption,
    PathOption,
    SecretOption,
    ShareOption,
    SizeOption,
    TextListOption,
    TextOption,
    ThumbprintOption,
    nearest,
)
from engine.errors import ConfigError
from engine.loglevel import DEFAULT_LOGLEVEL

SSPI = "__sspi__"
"""VCB's user name for integrated Windows logon; never the name of an account."""

TRANSPORT_MODES = {
    "san": "the proxy reads the datastore's LUN directly; needs VMFS storage that the proxy can see",
    "nbd": "over the network from the ESXi host, port 902; disk data travels in the clear",
    "nbdssl": "as nbd, inside TLS",
    "hotadd": "the proxy is itself a VM and gets the disks attached",
    "https": "the export lease on port 443: a stream that ESXi makes, every allocated block of it",
}


@dataclass(frozen=True)
class Origin:
    """Where a value came from. `kind` is default, file, environment, command line or program."""

    kind: str = "default"
    file: Path | None = None
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.file else self.kind


DEFAULT_ORIGIN = Origin()


class Settings:
    """Validated values of all options; read-only. Made by `engine.config.effective.load` or by `Settings.of`."""

    BACKUPROOT = PathOption(
        Path("/var/lib/vcb"),
        "Directory in which every job makes its own directory, named after the backup type and the VM. "
        "It must exist before the first backup.",
        section="Backup root",
        since="VCB",
    )
    KEEP_FREE = FloorOption(
        Floor(size=1 << 30),
        "Space that stays free in BACKUPROOT: a backup that would go below it does not start, and one that gets "
        "there stops.",
        section="Backup root",
        cost="Space that no backup uses.",
    )
    HOST = HostOption(
        "",
        "vCenter Server or ESXi host to connect to. Mandatory.",
        section="Connection",
        since="VCB",
        required=True,
    )
    PORT = IntOption(
        443, "TCP port of the vSphere API (VCB 1.0 used 902).", least=1, most=65535, section="Connection", since="VCB"
    )
    USERNAME = TextOption(
        "",
        f"Account that the backup logs on with. Mandatory. {SSPI} asks for integrated Windows logon.",
        section="Connection",
        since="VCB",
        required=True,
    )
    PASSWORD = SecretOption(
        None,
        "Password of USERNAME, in plain text. Overrides every other source, so leave it out when one of them is "
        "used: PASSWORD_FILE, the systemd credential vcb-password, the keyring, or the prompt.",
        section="Connection",
        cost="Whoever reads the file, or a copy of it, has the account.",
        since="VCB",
    )
    PASSWORD_FILE = OptionalPathOption(
        None,
        "File whose first line is the password; only its owner may read it (mode 0600).",
        section="Connection",
        cost="A file more to protect; it stays out of copies of the configuration.",
    )
    CA_FILE = OptionalPathOption(
        None,
        "PEM file with the certificate authorities trusted for vCenter and the ESXi hosts (vCenter offers its own "
        "at https://HOST/certs/download.zip).",
        section="Connection",
    )
    THUMBPRINT = ThumbprintOption(
        None,
        "SHA-256 fingerprint of the one certificate to accept from HOST, for a server whose CA is not at hand.",
        section="Connection",
        cost="When the server gets a new certificate, every job fails until the new one is approved.",
    )
    HTTP_TIMEOUT = IntOption(
        60,
        "How long an API call or a transfer may stand still before it counts as lost.",
        least=5,
        most=3600,
        unit="seconds",
        section="Connection",
        cost="A long one lets a dead connection hold a job and its snapshot; a short one loses slow hosts.",
    )
    TRANSPORT_MODE = ChoiceOption(
        "san",
        "How disk data comes to the proxy. Exactly this mode is used; nothing else is tried silently.",
        choices=TRANSPORT_MODES,
        section="Transport",
        cost="san reads past the hosts; hotadd holds a slot of the proxy for each disk; nbd and nbdssl "
        "load a host's management network, nbdssl its processors too; https reads whole disks "
        "every time.",
        since="VCB",
    )
    TRANSPORT_FALLBACK = ChoiceListOption(
        "Modes to try, in this order, when a disk cannot be read by TRANSPORT_MODE. Each use is reported. "
        "Empty: no fallback.",
        choices=TRANSPORT_MODES,
        section="Transport",
        cost="A fallback may be many times slower and load a network that TRANSPORT_MODE spares.",
    )
    SAN_DEVICES = PathOption(
        Path("/dev/disk/by-id"),
        "Directory with udev's links to block devices, in which the mode san looks up the LUNs of a datastore.",
        section="Transport",
    )
    HOTADD_PROXY = TextOption(
        "",
        "BIOS UUID of the VM that the proxy runs in, for the mode hotadd. Empty: as this machine's firmware tells it.",
        section="Transport",
    )
    HOTADD_DEVICES = PathOption(
        Path("/dev/disk/by-id"),
        "Directory with udev's links to block devices, in which the mode hotadd looks, besides /sys, for the disks "
        "that were attached to the proxy.",
        section="Transport",
    )
    NFC_CONNECTIONS = IntOption(
        2,
        "Connections per disk in the modes nbd and nbdssl.",
        least=1,
        most=8,
        section="Transport",
        cost="A host has few NFC connections for all clients, and each takes memory of it; more are "
        "faster only where latency is high.",
    )
    NFC_BUFFER = SizeOption(
        2 << 20,
        "Size of one read request in the modes nbd and nbdssl, if the server takes it.",
        least=64 << 10,
        most=2 << 20,
        unit="bytes",
        section="Transport",
        cost="Memory on both sides: NFC_BUFFER times NFC_REQUESTS for each connection.",
    )
    NFC_REQUESTS = IntOption(
        4,
        "Read requests in flight per connection in the modes nbd and nbdssl.",
        least=1,
        most=16,
        section="Transport",
        cost="Memory on both sides: NFC_BUFFER times NFC_REQUESTS for each connection.",
    )
    LOGLEVEL = IntOption(
        int(DEFAULT_LOGLEVEL),
        "What the log records. 0 failures that end a job, 1 errors, 2 warnings, 3 stages and results, 4 each step "
        "with its reason, 5 API calls, 6 wire traffic (redacted).",
        least=0,
        most=6,
        section="Log",
        cost="5 and 6 write much: up to gigabytes an hour for a busy job. For troubleshooting only.",
        since="VCB",
    )
    SNAPSHOT_POLICY = ChoiceOption(
        "automatic",
        "Who makes and who removes the snapshot _VCB-BACKUP_ that the backup reads from.",
        choices={
            "automatic": "created for the backup, removed after it",
            "manual": "exactly one must exist; it is neither created nor removed",
            "createonly": "created for the backup, left in place",
            "deleteonly": "exactly one must exist; it is removed after the backup",
        },
        section="Snapshot",
        cost="A snapshot that stays (createonly, manual) grows with every write of the VM and slows it.",
        since="VCB",
    )
    QUIESCE = ChoiceOption(
        "auto",
        "Whether the guest is brought to rest for the snapshot. The state really reached is recorded either way.",
        choices={
            "auto": "quiesce where the guest can; else take the snapshot crash-consistent, with a warning",
            "required": "no quiesced snapshot, no backup",
            "off": "crash-consistent",
        },
        section="Snapshot",
        cost="The guest stands still for some seconds; required fails where its tools are missing or busy.",
    )
    QUIESCE_TIMEOUT = IntOption(
        15,
        "How long the guest may take to come to rest.",
        least=5,
        most=240,
        unit="minutes",
        section="Snapshot",
        cost="So long a job may wait, with the guest's writes held back by its own software.",
    )
    VM_LOOKUP_METHOD = ChoiceOption(
        "ipaddr",
        "How a VM given as a bare word is found.",
        choices={
            "ipaddr": "by the IP address or DNS name that VMware Tools report",
            "name": "by the name in the inventory, which must be unique",
        },
        section="Virtual machine",
        since="VCB",
    )
    EXCLUDE_DISKS = TextListOption(
        (),
        'Disks to leave out, by name or label: "scsi0:1, Hard disk 3". They are shown as skipped by the operator.',
        section="Virtual machine",
        cost="A disk that is left out cannot be restored; the job ends as completed with exceptions.",
    )
    PREEXISTING_MOUNTPOINT = ChoiceOption(
        "fail",
        "What to do when the job's directory exists already.",
        choices={
            "fail": "the job fails",
            "delete": "it is removed, and the backup snapshot that belongs to it; if that fails, so does the job",
        },
        section="Leftovers",
        cost="delete removes what a job before this one left, with its exported disks.",
        since="VCB",
    )
    PREEXISTING_VCB_SNAPSHOT = ChoiceOption(
        "fail",
        "What to do when a backup snapshot exists where one is to be created. With TRANSPORT_MODE hotadd it must "
        "equal PREEXISTING_MOUNTPOINT.",
        choices={
            "fail": "the job fails",
            "delete": "it is removed; only if that succeeds does the job go on",
        },
        section="Leftovers",
        cost="delete consolidates the old snapshot first: load on the datastore, and time.",
        since="VCB",
    )
    MAX_RETRIES = IntOption(
        0,
        "How often an operation that failed is tried again; 0 is never. Only failures that time can heal count: a "
        "busy VM, a locked file, a lost connection. The removal of a snapshot is tried twice more even at 0.",
        least=0,
        most=100,
        section="Retry",
        cost="Each retry waits BACKOFF_TIME; a job that cannot succeed fails so much later.",
        since="VCB",
    )
    BACKOFF_TIME = IntOption(
        10,
        "Wait before each retry; with MAX_RETRIES 0 only the removal of a snapshot knows one.",
        least=0,
        most=86400,
        unit="seconds",
        section="Retry",
        cost="The snapshot stays open while a job waits.",
        since="VCB",
    )
    BACKUP_TYPE = ChoiceOption(
        "auto",
        "Whether a run reads whole disks or what changed since the last restore point. Decided for each disk; the "
        "reason is shown. https always carries whole disks.",
        choices={
            "auto": "what changed, wherever that is provably enough; else the whole disk",
            "full": "whole disks",
            "incremental": "what changed; the job fails where a whole disk would be needed",
        },
        section="Changed blocks",
    )
    CHANGE_TRACKING = ChoiceOption(
        "on",
        "Whether changed block tracking (CBT) of vSphere tells what changed.",
        choices={
            "on": "used where the VM has it",
            "enable": "as on, and switched on in a VM that lacks it, if it has no snapshots; effective from the "
            "run's own snapshot on",
            "off": "not used: every restore point is a full one",
        },
        section="Changed blocks",
        cost="enable changes the VM's configuration for good; off reads whole disks every time.",
    )
    FULL_EVERY = IntOption(
        14,
        "Restore points of a disk from one full to the next, the full one counted: 1 makes every point full, 0 lets "
        "chains grow until a full is needed for another reason.",
        least=0,
        most=1000,
        unit="points",
        section="Changed blocks",
        cost="Fewer fulls take less time and space, and make longer chains: one damaged point spoils "
        "all that follow in it.",
    )
    CHAIN_LENGTH = IntOption(
        0,
        "Points in a chain from which on vcb retain merges: a point that no KEEP_ option keeps, and that stays only "
        "because a newer one needs it, becomes part of that one. 0 never merges. With FULL_EVERY 0 production is read "
        "whole only once.",
        least=0,
        most=1000,
        unit="points",
        section="Changed blocks",
        cost="A merge reads and writes the images of its points, and needs room for the result beside them.",
    )
    CBT_AUDIT = ShareOption(
        0.005,
        "Share of the blocks that CBT calls unchanged which each incremental run reads all the same, chosen by "
        "chance, and compares with the restore point before. One difference: alarm, and the whole disk is read. "
        "0% trusts CBT blindly.",
        section="Changed blocks",
        cost="Its share of the disk is read in each incremental run.",
    )
    CBT_AUDIT_LIMIT = SizeOption(
        256 << 20,
        "The most that CBT_AUDIT reads of one disk.",
        least=64 << 10,
        most=1 << 40,
        unit="bytes",
        section="Changed blocks",
        cost="Time to read so much of each disk.",
    )
    EXPORT_FORMAT = ChoiceOption(
        "compact",
        "What exported disks become when they are read whole. An incremental restore point is always a compact child "
        "of the point before.",
        choices={
            "compact": "streamOptimized VMDK: compressed, only what holds data",
            "sparse": "monolithicSparse VMDK: only what holds data, not compressed; other programs write to it",
            "flat": "a raw file with its VMDK descriptor; sparse where the disk is empty",
        },
        section="Image",
        cost="compact takes processor time for about half the space; the others the space of all allocated blocks.",
    )
    COMPRESSION_THREADS = IntOption(
        0,
        "Threads that compress; 0 is one per processor.",
        least=0,
        most=256,
        section="Image",
        cost="More threads take processors from other jobs; fewer may slow the export.",
    )
    KEEP_LAST = IntOption(
        0,
        "Restore points of each VM that vcb retain keeps whatever their age: so many of the newest proven ones. "
        "With all KEEP_ counts at 0 everything is kept. The newest proven point, and what a kept point needs, always "
        "stay.",
        least=0,
        most=10_000,
        unit="points",
        section="Retention",
    )
    KEEP_DAILY = IntOption(
        0,
        "Days of which vcb retain keeps the newest proven point; days without a point don't count.",
        least=0,
        most=10_000,
        unit="days",
        section="Retention",
    )
    KEEP_WEEKLY = IntOption(
        0, "As KEEP_DAILY, for weeks from Monday on.", least=0, most=10_000, unit="weeks", section="Retention"
    )
    KEEP_MONTHLY = IntOption(0, "As KEEP_DAILY, for months.", least=0, most=10_000, unit="months", section="Retention")
    KEEP_YEARLY = IntOption(0, "As KEEP_DAILY, for years.", least=0, most=10_000, unit="years", section="Retention")

    def __init__(
        self,
        values: Mapping[str, Any],
        origins: Mapping[str, Origin],
        findings: tuple[Finding, ...] = (),
        file: Path | None = None,
    ) -> None:
        """Takes read values only; use `of` or `load`. `findings` are what reading the file brought up."""
        self._values = {name: values.get(name, option.default) for name, option in OPTIONS.items()}
        self._origins = dict(origins)
        self.findings = findings
        self.file = file

    @classmethod
    def of(cls, **values: object) -> "Settings":
        """Settings for programs and tests: the values given, typed or as text, the rest defaults."""
        return cls({}, {}).but(**values)

    def but(self, **values: object) -> "Settings":
        """The same settings with other values for some options. Raises ConfigError."""
        read = {name: read_value(name, value, Path.cwd()) for name, value in values.items()}
        origins = self._origins | dict.fromkeys(values, Origin("program"))
        return Settings(self._values | read, origins, self.findings, self.file)

    def having(self, name: str, value: object, origin: Origin) -> "Settings":
        """The same settings with one value that came from elsewhere than this program. Raises ConfigError."""
        changed = self.but(**{name: value})
        return Settings(changed._values, changed._origins | {name: origin}, self.findings, self.file)

    def value_of(self, name: str) -> Any:
        """The typed value by name, for code that walks the table."""
        return self._values[name]

    def origin(self, name: str) -> Origin:
        return self._origins.get(name, DEFAULT_ORIGIN)

    def __repr__(self) -> str:
        changed = [f"{name}={OPTIONS[name].text(self._values[name])!r}" for name in OPTIONS if name in self._origins]
        return f"Settings({', '.join(changed)})"


OPTIONS: Mapping[str, Option[Any]] = MappingProxyType(
    {name: value for name, value in vars(Settings).items() if isinstance(value, Option)}
)
"""All options by name, in the order of the table."""


def read_value(name: str, value: object, base: Path) -> object:
    """The typed value for option `name`. Raises ConfigError naming the option and its allowed values."""
    option = OPTIONS.get(name)
    if option is None:
        raise ConfigError(f"{name} is not an option{nearest(name, list(OPTIONS))}")
    try:
        return option.read(value, base)
    except ValueError as error:
        raise ConfigError(f"{name} {error}") from None
