"""Tickets for a VM's disks over NFC (port 902): one for reading any of them, one for writing a single one.

The managed object that gives them is not in the public WSDL, so pyVmomi learns it here, at run time (facts/nfc.md).
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pyVmomi import VmomiSupport

from engine.errors import TransportError, VsphereError
from engine.secret import Secret
from engine.vsphere.properties import Ref
from engine.vsphere.session import Session

_VERSION = "vim.version.version9"
_TYPE = "vim.NfcService"
_VM = ("vm", "vim.VirtualMachine", _VERSION, 0, None)
_TICKET = (0, "vim.HostServiceTicket", "vim.HostServiceTicket")
_GET_VM_FILES = ("getVmFiles", "NfcGetVmFiles", _VERSION, (_VM,), _TICKET, "System.View", None)

_DISK = ("diskDeviceKey", "int", _VERSION, 0, None)
_HOST_FOR_ACCESS = ("hostForAccess", "vim.HostSystem", _VERSION, VmomiSupport.F_OPTIONAL, None)
_OPENING = (_VM, _DISK, _HOST_FOR_ACCESS)
_OPEN_DISK = ("randomAccessOpen", "NfcRandomAccessOpenDisk", _VERSION, _OPENING, _TICKET, "System.View", None)
_METHODS = [_GET_VM_FILES, _OPEN_DISK]

_VCENTER = ("nfcService",)
_HOST = ("ha-nfc", "ha-nfc-service")
"""Morefs of the service; standalone hosts have shown both."""

_registering = threading.Lock()


@dataclass(frozen=True)
class NfcTicket:
    """Admits one connection to `host`:`port`, for what its giver says. `thumbprint` is the SHA-1 of the host's
    certificate, or the SHA-256 that the operator approved for it; `service` the name to ask authd for (`vpxa-nfc`
    through vCenter)."""

    host: str
    port: int
    thumbprint: str
    service: str
    session_id: Secret


def read_ticket(session: Session, vm_moref: str) -> NfcTicket:
    """A new read-only, single-use ticket. Raises `TransportError` when the server has no NFC service,
    `PrivilegeError`, `VmUnsuitable`, ..."""
    return _ticket(session, vm_moref, lambda service, vm: service.NfcGetVmFiles(vm))


def write_ticket(session: Session, vm_moref: str, disk_key: int) -> NfcTicket:
    """A new single-use ticket for one disk of the VM, by its deviceKey, to be read and written. Raises as
    `read_ticket`."""
    return _ticket(session, vm_moref, lambda service, vm: service.NfcRandomAccessOpenDisk(vm, disk_key))


def _ticket(session: Session, vm_moref: str, ask: Callable[[Any, Any], Any]) -> NfcTicket:
    register_type()
    vm = session.managed(Ref("VirtualMachine", vm_moref))
    ticket = None
    for moid in _VCENTER if session.is_vcenter else _HOST:
        service = VmomiSupport.GetVmodlType(_TYPE)(moid, session.stub)
        ticket = ticket or _asked(session, service, lambda service=service: ask(service, vm), vm_moref)
    if ticket is None:
        raise TransportError(
            f"{session.host} has no NFC service, so nbd and nbdssl are not possible with it.",
            fault="ManagedObjectNotFound",
            hint="TRANSPORT_MODE=https needs port 443 only.",
        )
    host, port = ticket.host or session.host, ticket.port or 902  # a standalone host leaves itself out
    return NfcTicket(
        host=host,
        port=port,
        thumbprint=session.trust.vouched(host, port, ticket.sslThumbprint or ""),
        service=ticket.service,
        session_id=Secret(ticket.sessionId),
    )


def _asked(session: Session, service: Any, ask: Callable[[], Any], subject: str) -> Any:
    """The ticket, or None when this server has no such service. A lost answer wastes a ticket and nothing else, so
    asking is a read."""
    try:
        return session.read(ask, doing="asking for an NFC ticket", subject=subject)
    except VsphereError as error:
        missing = getattr(error.__cause__, "obj", None)
        if error.fault == "ManagedObjectNotFound" and getattr(missing, "_moId", "") == service._moId:
            return None
        raise


def register_type() -> None:
    """Makes NfcService known to pyVmomi, once per process; the embedded lab may have done it already."""
    with _registering:
        try:
            VmomiSupport.GetVmodlType(_TYPE)
        except (KeyError, AttributeError):
            VmomiSupport.CreateManagedType(
                _TYPE, "NfcService", "vmodl.ManagedObject", _VERSION, None, [_GET_VM_FILES, _OPEN_DISK]
            )
            VmomiSupport.GetVmodlType(_TYPE)
