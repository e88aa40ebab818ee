"""vSphere faults in an operator's words: what failed, why, what to do, and whether waiting may help.

The table goes by the fault's wsdl name and, where it has no row, by its parents' names. `transient` is what
MAX_RETRIES may repeat: another operation in the way, a file still locked, a host not answering. Never credentials
(retrying locks the account), privileges, licences or a guest's own scripts (facts/vsphere-backup.md 5.11).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from pyVmomi import VmomiSupport, vim

from engine.errors import (
    BusyError,
    ConnectError,
    LoginError,
    PrivilegeError,
    QuiesceError,
    SessionLost,
    SnapshotError,
    VcbError,
    VmUnsuitable,
    VsphereError,
)
from engine.secret import redact
from engine.vsphere.decoding import Ref

NameOf = Callable[[Ref], str]


class _Row(NamedTuple):
    error: type[VcbError]
    why: str
    """May name attributes of the fault: {file}, {name}, ..."""
    hint: str = ""
    transient: bool = False


_BUSY_HINT = "It may end by itself: see the VM's recent tasks in vCenter, or let MAX_RETRIES and BACKOFF_TIME wait."
_QUIESCE_HINT = (
    "Look at the guest's VSS writers or its pre-freeze script and VMware Tools; QUIESCE=auto backs up "
    "crash-consistently instead, QUIESCE=off does not ask the guest at all."
)
_HOST_HINT = "Check the host in vCenter; the VM's disks cannot be read while it does not answer."
_SPACE_HINT = "Free or add space on the datastore; a snapshot needs room for what the guest writes meanwhile."

_ROWS: dict[str, _Row] = {
    # Another operation is in the way.
    "TaskInProgress": _Row(BusyError, "another operation on it is in progress", _BUSY_HINT, True),
    "ResourceInUse": _Row(BusyError, "{name} is in use", _BUSY_HINT, True),
    "ConcurrentAccess": _Row(BusyError, "it was changed by someone else at the same moment", _BUSY_HINT, True),
    "FileLocked": _Row(BusyError, "the file {file} is locked", _BUSY_HINT, True),
    "InvalidState": _Row(BusyError, "its current state does not allow that", _BUSY_HINT, True),
    # The session and the user.
    "InvalidLogin": _Row(
        LoginError,
        "the user name or password was refused",
        "The password was sent once and will not be sent again: repeated failures lock the account. Check USERNAME "
        "(user@domain) and PASSWORD.",
    ),
    "NoSubjectName": _Row(LoginError, "the identity of the user could not be established", "Check USERNAME."),
    "PasswordExpired": _Row(LoginError, "the password has expired", "Set a new one in vCenter, then PASSWORD."),
    "NotAuthenticated": _Row(SessionLost, "the session has ended", "", True),
    "RestrictedVersion": _Row(
        VsphereError,
        "the licence of the ESXi host does not allow it",
        "The free ESXi licence allows reading only. Backups need a paid licence, or a trial.",
    ),
    "LicenseRestricted": _Row(VsphereError, "the licence does not allow it"),
    "NotEnoughLicenses": _Row(VsphereError, "there are not enough licences"),
    # The VM.
    "ManagedObjectNotFound": _Row(VsphereError, "it no longer exists"),
    "InvalidPowerState": _Row(VmUnsuitable, "it is {existingState}, which does not allow that"),
    "QuestionPending": _Row(VmUnsuitable, "it waits for an answer to a question", "Answer it in vCenter."),
    "MethodDisabled": _Row(
        VmUnsuitable,
        "the operation has been disabled by {source}",
        "A backup product may have left this lock behind: see the VM's disabled methods.",
    ),
    # Snapshots.
    "ApplicationQuiesceFault": _Row(QuiesceError, "an application or script in the guest refused", _QUIESCE_HINT),
    "FilesystemQuiesceFault": _Row(QuiesceError, "the guest could not freeze its file systems in time", _QUIESCE_HINT),
    "TooManySnapshotLevels": _Row(
        SnapshotError, "the VM has too many snapshots above one another", "Remove old snapshots in vCenter (limit: 32)."
    ),
    "SnapshotIncompatibleDeviceInVm": _Row(
        SnapshotError,
        "a device of the VM does not allow snapshots",
        "Shared buses, multi-writer disks, physical RDMs with memory and passed-through devices do that; make the disk "
        "independent, or back the guest up with an agent.",
    ),
    "SnapshotLocked": _Row(SnapshotError, "its snapshots are locked"),
    "SnapshotDisabled": _Row(SnapshotError, "snapshots are disabled for this VM"),
    "MultipleSnapshotsNotSupported": _Row(SnapshotError, "this VM takes only one snapshot"),
    "MemorySnapshotOnIndependentDisk": _Row(SnapshotError, "an independent disk does not allow a memory snapshot"),
    "SnapshotFault": _Row(SnapshotError, ""),
    # Files and space.
    "NoDiskSpace": _Row(VsphereError, "the datastore {datastore} is full", _SPACE_HINT),
    "InsufficientStorageSpace": _Row(VsphereError, "there is not enough space on the datastore", _SPACE_HINT),
    "FileNotFound": _Row(VsphereError, "the file {file} does not exist"),
    "CannotAccessFile": _Row(VsphereError, "the file {file} cannot be accessed"),
    "FileFault": _Row(VsphereError, "the file {file} cannot be used"),
    "InaccessibleDatastore": _Row(VsphereError, "the datastore {datastore} is inaccessible", _HOST_HINT),
    # Hosts.
    "HostCommunication": _Row(ConnectError, "vCenter cannot reach the ESXi host", _HOST_HINT, True),
    "HostNotReachable": _Row(ConnectError, "vCenter cannot reach the ESXi host", _HOST_HINT, True),
    "HostNotConnected": _Row(VmUnsuitable, "its ESXi host is disconnected from vCenter", _HOST_HINT),
    "HostConnectFault": _Row(ConnectError, "the ESXi host cannot be connected", _HOST_HINT, True),
    "Timedout": _Row(VsphereError, "it took longer than the server waits"),
    # The API itself.
    "RequestCanceled": _Row(VsphereError, "it was cancelled in vCenter"),
    "InvalidArgument": _Row(VsphereError, "the server does not accept {invalidProperty}"),
    "NotSupported": _Row(VsphereError, "the server does not support it here"),
    "MethodNotFound": _Row(VsphereError, "the server does not know the call {method}"),
    "NotImplemented": _Row(VsphereError, "the server does not implement it"),
}

TRANSIENT = frozenset(name for name, row in _ROWS.items() if row.transient)
"""Names of the faults whose operation may succeed when repeated later."""

KNOWN = frozenset(_ROWS)
"""Names of the faults that have words of their own."""

_EXACT = {"InvalidState", "SnapshotFault"}
"""Rows that hold for the fault itself, not for children without a row of their own."""


def translate(fault: Exception, *, doing: str, subject: str, name_of: NameOf | None = None) -> VcbError:
    """The error for a raw pyVmomi fault: "`subject`: `doing` failed: why". `doing` is a gerund, `subject` an object's
    name. `name_of` finds names for the entities of a missing privilege; without it their references are shown."""
    if isinstance(fault, vim.fault.NoPermission) and not isinstance(fault, vim.fault.NotAuthenticated):
        return _no_permission(fault, doing, subject, name_of)
    name = fault_name(fault)
    said = redact((getattr(fault, "msg", None) or "").strip())
    row = _row(fault)
    if issubclass(row.error, SnapshotError | VsphereError) and "quiesc" in said.lower():
        row = _Row(QuiesceError, "", _QUIESCE_HINT)
    why = _filled(row.why, fault) or said.rstrip(".") or name
    sentence = f"{subject}: {doing} failed: {why}."
    if said and said.rstrip(".") != why:
        sentence += f" The server says: {said.rstrip('.')}."
    return row.error(sentence, fault=name, hint=row.hint, transient=row.transient)


def fault_name(fault: Exception) -> str:
    """The wsdl name (InvalidLogin), as in VMware's documentation."""
    return getattr(fault, "_wsdlName", "") or type(fault).__name__


def _row(fault: Exception) -> _Row:
    if isinstance(getattr(fault, "obj", None), vim.VirtualMachine) and fault_name(fault) == "ManagedObjectNotFound":
        return _Row(VmUnsuitable, "the VM no longer exists", "It was deleted or removed from the inventory.")
    for depth, parent in enumerate(type(fault).__mro__):
        name = getattr(parent, "_wsdlName", "")
        if name in _ROWS and (depth == 0 or name not in _EXACT):
            return _ROWS[name]
    if isinstance(fault, vim.fault.SnapshotFault):
        return _Row(SnapshotError, "")
    return _Row(VsphereError, "")


def _filled(why: str, fault: Exception) -> str:
    """`why` with the fault's attributes in place; "" when the fault does not carry what the sentence needs."""
    attributes: dict[str, Any] = {}
    for member in ("file", "name", "datastore", "source", "method", "invalidProperty", "existingState"):
        if "{" + member + "}" in why:
            value = getattr(fault, member, None)
            if member == "existingState" and value:
                value = {"poweredOn": "powered on", "poweredOff": "powered off"}.get(value, value)
            if not value:
                return ""
            attributes[member] = getattr(value, "_moId", value)
    return why.format(**attributes)


def _no_permission(fault: Any, doing: str, subject: str, name_of: NameOf | None) -> PrivilegeError:
    """From `missingPrivileges` (vSphere 7.0.3 and later), else from the deprecated `object` and `privilegeId`."""
    pairs: list[tuple[str, str]] = []
    for entity in getattr(fault, "missingPrivileges", None) or []:
        pairs += [(_named(entity.entity, name_of), privilege) for privilege in entity.privilegeIds]
    if not pairs and fault.privilegeId:
        pairs = [(_named(fault.object, name_of), fault.privilegeId)]
    wanted = "; ".join(f"{privilege} on {entity}" for entity, privilege in dict.fromkeys(pairs)) or "not named"
    return PrivilegeError(
        f"{subject}: {doing} failed: a privilege is missing: {wanted}.",
        missing=tuple(dict.fromkeys(pairs)),
        fault="NoPermission",
        hint="Add the privilege to the role of this user in vCenter, on that object or above it (with propagation).",
    )


def _named(entity: Any, name_of: NameOf | None) -> str:
    if entity is None:
        return "?"
    ref = Ref(VmomiSupport.GetWsdlName(type(entity)), entity._moId)
    return name_of(ref) if name_of and issubclass(type(entity), vim.ManagedEntity) else ref.moid
