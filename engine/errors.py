"""Every way in which the engine can fail.

VcbError
├── ConfigError              a setting, file or argument is wrong                         (exit code 2)
│   ├── SpecError            a VM specification that cannot be read
│   └── ConflictError        a file changed on disk since it was read: nothing was written
├── TrustError               a certificate that nobody approved, or that changed
├── ConnectError             a server that cannot be reached                              transient
├── LoginError               refused credentials: never tried twice
├── SessionLost              the session ended under us                                   transient
├── PrivilegeError           a privilege is missing; names it and the entity
├── VmNotFound               nothing matches the specification
├── VmAmbiguous              more than one VM matches; lists them
├── VmUnsuitable             this VM cannot be backed up now (template, disconnected, gone)
├── PolicyError              SNAPSHOT_POLICY or PREEXISTING_* forbid going on
├── BusyError                another operation holds the VM or a file                     transient
├── SnapshotError            the snapshot could not be made
│   └── QuiesceError         the guest could not be quiesced
├── CleanupError             something we made could not be removed; says what is left
├── VsphereError             any other fault of vCenter or ESXi, with its name
├── TransportError           the disk cannot be read this way
│   ├── ConnectionLost       the data connection dropped                                  transient
│   ├── VmfsError            a VMFS volume that is damaged, or holds what readers disagree about
│   └── LeaseError           the export lease ended before the data
├── ImageError               a disk image that is malformed or not what it should be
├── VerifyError              what was written is not what was read
├── TargetError              BACKUPROOT or the medium refuses (missing, not ours, read-only)
│   └── TargetFull           no space left there
└── Cancelled                the operator said stop                                       (exit code 130)
"""

from typing import ClassVar


class VcbError(Exception):
    """A failure in words an operator understands.

    `sentence` says what happened, `fault` is the raw name the other side gave it, `hint` says what to do next.
    `transient` tells whether the same operation may succeed later (the only errors that MAX_RETRIES covers).
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    advice: ClassVar[str] = ""
    """The hint of an error that was given none: nobody shall stand at night before a sentence alone."""
    transient: bool = False

    def __init__(self, sentence: str, *, fault: str = "", hint: str = "", transient: bool | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.fault = fault
        self.hint = hint or self.advice
        if transient is not None:
            self.transient = transient

    def __str__(self) -> str:
        return f"{self.sentence} [{self.fault}]" if self.fault else self.sentence

    def to_json(self) -> dict[str, str | bool]:
        return {
            "code": self.code,
            "sentence": self.sentence,
            "fault": self.fault,
            "hint": self.hint,
            "transient": self.transient,
        }


class ConfigError(VcbError):
    """`file`, `line` and `column` (both from 1) say where, when the cause is in a file."""

    code = "config"
    exit_code = 2
    advice = "vcb config check shows what is wrong, and where."

    def __init__(
        self, sentence: str, *, file: str = "", line: int = 0, column: int = 0, hint: str = "", fault: str = ""
    ) -> None:
        where = ":".join(str(part) for part in (file, line, column) if part)
        super().__init__(f"{where}: {sentence}" if where else sentence, hint=hint, fault=fault)
        self.file, self.line, self.column = file, line, column


class SpecError(ConfigError):
    code = "spec"
    advice = "A VM is named by name:, ipaddr:, uuid: or moref:."


class ConflictError(ConfigError):
    """What a three-way view needs: `base` as it was read, `mine` to be saved, `disk` as it is now (None: deleted).

    They are whole files, secrets included: for `engine.config.merging`, never for a log.
    """

    code = "conflict"
    advice = "Open the file again and repeat the change."

    def __init__(
        self, sentence: str, *, base: bytes, mine: bytes, disk: bytes | None, file: str = "", hint: str = ""
    ) -> None:
        super().__init__(sentence, file=file, hint=hint)
        self.base, self.mine, self.disk = base, mine, disk


class TrustError(VcbError):
    code = "trust"
    advice = "vcb trust shows which certificates are approved, and approves one."


class ConnectError(VcbError):
    code = "connect"
    advice = "Check the server, the network and the firewall on the way to it: vcb doctor."
    transient = True


class LoginError(VcbError):
    code = "login"
    advice = "Check USERNAME and PASSWORD."


class SessionLost(VcbError):
    code = "session"
    advice = "Run the job again; if it happens again, look who ends sessions in vCenter."
    transient = True


class PrivilegeError(VcbError):
    """`missing` lists (entity, privilege id) pairs."""

    code = "privilege"
    advice = "vcb doctor --role prints the role that a backup needs."

    def __init__(
        self, sentence: str, *, missing: tuple[tuple[str, str], ...] = (), fault: str = "", hint: str = ""
    ) -> None:
        super().__init__(sentence, fault=fault, hint=hint)
        self.missing = missing


class VmNotFound(VcbError):
    code = "vm-not-found"
    advice = "vcb inventory lists the VMs that this user may see."


class VmAmbiguous(VcbError):
    """`candidates` are the inventory paths of all matches."""

    code = "vm-ambiguous"
    advice = "Name the VM by its uuid: or moref:."

    def __init__(self, sentence: str, *, candidates: tuple[str, ...] = (), hint: str = "") -> None:
        super().__init__(sentence, hint=hint)
        self.candidates = candidates


class VmUnsuitable(VcbError):
    code = "vm-unsuitable"
    advice = "Look at the VM in vCenter, and run the job again when its state has changed."


class PolicyError(VcbError):
    code = "policy"
    advice = "See SNAPSHOT_POLICY, PREEXISTING_MOUNTPOINT and PREEXISTING_VCB_SNAPSHOT: vcb config show."


class BusyError(VcbError):
    code = "busy"
    advice = "Wait until the other one has ended; MAX_RETRIES and BACKOFF_TIME wait for it."
    transient = True


class SnapshotError(VcbError):
    code = "snapshot"
    advice = "See the VM's recent tasks and events in vCenter."


class QuiesceError(SnapshotError):
    code = "quiesce"


class CleanupError(VcbError):
    code = "cleanup"
    advice = "vcb reconcile shows what is left, and takes it away."


class VsphereError(VcbError):
    code = "vsphere"
    advice = "See the recent tasks and events in vCenter."


class TransportError(VcbError):
    code = "transport"
    advice = "Check the ESXi host and the way to it (vcb doctor), or name a mode in TRANSPORT_FALLBACK."


class VmfsError(TransportError):
    """Nothing of the file may be used: a map that is not certain is worse than none."""

    code = "vmfs"

    def __init__(self, sentence: str, *, fault: str = "", hint: str = "Read this disk over nbdssl.") -> None:
        super().__init__(sentence, fault=fault, hint=hint)


class ConnectionLost(TransportError):
    code = "connection-lost"
    advice = "Check the network between this proxy and the host; MAX_RETRIES lets a job try again."
    transient = True


class LeaseError(TransportError):
    code = "lease"
    advice = "See the VM's recent tasks in vCenter, and run the job again."


class ImageError(VcbError):
    code = "image"
    advice = "vcb verify looks at the whole restore point."


class VerifyError(VcbError):
    code = "verify"
    advice = "Suspect the storage under BACKUPROOT, or this machine's memory."


class TargetError(VcbError):
    code = "target"
    advice = "Look whether its file system is mounted, writable and sound (dmesg)."


class TargetFull(TargetError):
    code = "target-full"
    advice = "Free space there, or set BACKUPROOT to a file system with room."


class Cancelled(VcbError):
    """`result` is what the operation had made when it stopped (a snapshot's moref), for whoever must undo it."""

    code = "cancelled"
    exit_code = 130
    result: object = None

    def __init__(self, sentence: str = "Cancelled by the operator.") -> None:
        super().__init__(sentence)
