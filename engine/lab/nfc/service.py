"""NfcService: the managed object that issues NFC tickets. It is not in the public WSDL, so pyVmomi must be told of it.

Moref `nfcService` on a vCenter, `ha-nfc` on an ESXi host; `ha-nfc-service`, which a standalone ESXi 8.0.3 showed to the
hystax/OpenVixDiskLib project, answers too. There the ticket's service is `nfc` and its `host` is left out: the client
already talks to the host. `serviceVersion` 1.1 is what vCenter 8.0.1 and ESXi 8.0.3 send.
"""

from __future__ import annotations

import threading
from typing import Any

from pyVmomi import VmomiSupport, vim, vmodl

from engine.lab.nfc.messages import PROTOCOL_VERSION
from engine.lab.nfc.server import NfcServer
from engine.lab.nfc.tickets import Ticket
from engine.lab.registry import MO

VERSION = "vim.version.version9"
NAMESPACE = VmomiSupport.XMLNS_VMODL_BASE
SERVICE_VERSION = "1.1"

_VM = ("vm", "vim.VirtualMachine", VERSION, 0, None)
_DISK = ("diskDeviceKey", "int", VERSION, 0, None)
_HOST = ("hostForAccess", "vim.HostSystem", VERSION, VmomiSupport.F_OPTIONAL, None)
_TICKET = (0, "vim.HostServiceTicket", "vim.HostServiceTicket")
_VIEW = "System.View"
_METHODS = (
    ("getVmFiles", "NfcGetVmFiles", VERSION, (_VM,), _TICKET, _VIEW, None),
    ("randomAccessOpenReadonly", "NfcRandomAccessOpenReadonly", VERSION, (_VM, _DISK, _HOST), _TICKET, _VIEW, None),
    ("randomAccessOpen", "NfcRandomAccessOpenDisk", VERSION, (_VM, _DISK, _HOST), _TICKET, _VIEW, None),
    ("getServerNfcLibVersion", "NfcGetServerNfcLibVersion", VERSION, (_HOST,), (0, "int", "int"), _VIEW, None),
)
_PRIVILEGES = {
    "NfcGetVmFiles": "VirtualMachine.Provisioning.GetVmFiles",
    "NfcRandomAccessOpenReadonly": "VirtualMachine.Provisioning.DiskRandomRead",
    "NfcRandomAccessOpenDisk": "VirtualMachine.Provisioning.DiskRandomAccess",
}

_registering = threading.Lock()


def register_type() -> type:
    """Make the type known to pyVmomi, once per process. A client in the same process may have registered it, with all
    methods or only those it calls; what is missing then is added beside it."""
    with _registering:
        known = {name for namespace, name in VmomiSupport._wsdlMethodMap if namespace == NAMESPACE}
        missing = [method for method in _METHODS if method[1] not in known]
        try:
            registered = VmomiSupport.GetVmodlType("vim.NfcService")
        except (KeyError, AttributeError):
            VmomiSupport.CreateManagedType(
                "vim.NfcService", "NfcService", "vmodl.ManagedObject", VERSION, None, missing
            )
            return VmomiSupport.GetVmodlType("vim.NfcService")
        if missing:
            VmomiSupport.CreateManagedType(
                "vim.NfcServiceRest", "NfcServiceRest", "vmodl.ManagedObject", VERSION, None, missing
            )
            VmomiSupport.GetVmodlType("vim.NfcServiceRest")
        return registered


class NfcService(MO):
    vim = register_type()

    def __init__(self, lab: Any, moid: str, server: NfcServer, *, direct: bool) -> None:
        """direct: this is an ESXi host, not a vCenter in front of hosts."""
        super().__init__(lab, moid)
        self._server = server
        self._direct = direct

    def privilege_checks(self, info: Any, arguments: dict[str, Any]) -> list[tuple[MO, str]]:
        """The privileges are asked of the VM; to reach the service itself a session is enough."""
        needed = _PRIVILEGES.get(info.wsdlName)
        return [(self.lab.find(arguments["vm"]), needed)] if needed else super().privilege_checks(info, arguments)

    def NfcGetVmFiles(self, ctx: Any, vm: Any) -> Any:
        """A read-only ticket that names no disk."""
        return self._issue(vm, None, writable=False)

    def NfcRandomAccessOpenReadonly(self, ctx: Any, vm: Any, diskDeviceKey: int, hostForAccess: Any = None) -> Any:
        return self._issue(vm, diskDeviceKey, writable=False)

    def NfcRandomAccessOpenDisk(self, ctx: Any, vm: Any, diskDeviceKey: int, hostForAccess: Any = None) -> Any:
        return self._issue(vm, diskDeviceKey, writable=True)

    def NfcGetServerNfcLibVersion(self, ctx: Any, hostForAccess: Any = None) -> int:
        if hostForAccess is None:
            raise _incorrect("hostForAccess")
        self.lab.find(hostForAccess)
        return PROTOCOL_VERSION

    def _issue(self, vm: Any, disk_key: int | None, *, writable: bool) -> Any:
        machine = self.lab.find(vm)
        slot = None if disk_key is None else machine.definition.slot(disk_key)
        if disk_key is not None and slot is None:
            raise _incorrect("diskDeviceKey")
        ticket = self._server.tickets.issue(
            vm=machine.id,
            disk=slot.disk if slot else None,
            writable=writable,
            service="nfc" if self._direct else "vpxa-nfc",
            host=machine.value("runtime.host")._moId,
        )
        return self._wire(ticket)

    def _wire(self, ticket: Ticket) -> Any:
        return vim.HostServiceTicket(
            host=None if self._direct else self._server.host,
            port=self._server.port,
            sslThumbprint=self._server.certificate.sha1,
            service=ticket.service,
            serviceVersion=SERVICE_VERSION,
            sessionId=ticket.session_id,
        )


def _incorrect(parameter: str) -> Exception:
    message = f"A specified parameter was not correct: {parameter}"
    return vmodl.fault.InvalidArgument(invalidProperty=parameter, msg=message)
