"""Disks of other VMs on the VM that we run in: attached read-only in effect, named in a journal, taken away again.

Facts: facts/storage.md 2. A disk is attached as `independent_nonpersistent`: what anybody writes goes to a redo log
and is lost. Nothing here ever names a fileOperation: with `destroy` a detach would delete the production disk.

The journal lies in the VM's own extraConfig, one key a disk, written by the same task that attaches it, so that it
outlives the proxy's file system. Only what it names is ever detached.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pyVmomi import vim

from engine.cancel import CancelToken
from engine.errors import CleanupError, TransportError, VsphereError
from engine.reporter import Reporter
from engine.vsphere import tasks
from engine.vsphere.disks import DEVICES, Device, bus_of, read_devices
from engine.vsphere.inventory import VirtualMachine, read_vm
from engine.vsphere.new_disk import devices_of
from engine.vsphere.properties import Ref, get, get_one
from engine.vsphere.session import Session

MODE = "independent_nonpersistent"
_PREFIX = "vcb.hotadd."
_OPTIONS = "config.extraConfig"
_LARGE_BUS_SINCE = 14
"""Hardware version from which a paravirtual SCSI controller has 64 units instead of 16; 7 is its own."""


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """An attached disk: whose it is (`vm` and `snapshot` are morefs), and which proxy installation's job wanted it."""

    file: str
    vm: str
    snapshot: str
    job: str
    proxy: str

    @property
    def key(self) -> str:
        return _PREFIX + hashlib.sha256(self.file.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class ProxyVm:
    """The VM that we run in, with its devices and options as they were read."""

    vm: VirtualMachine
    devices: tuple[Device, ...]
    options: Mapping[str, str]
    datastores: frozenset[Ref]
    """Those that its host sees."""

    @property
    def journal(self) -> tuple[JournalEntry, ...]:
        return journal_of(self.options)


def journal_of(options: Mapping[str, str]) -> tuple[JournalEntry, ...]:
    """The entries that can be read; somebody else's values under our prefix are none."""
    found = []
    for key, value in sorted(options.items()):
        if key.startswith(_PREFIX) and value:
            try:
                entry = JournalEntry(**json.loads(value))
            except (ValueError, TypeError):
                continue
            if entry.key == key:
                found.append(entry)
    return tuple(found)


def find_proxy(session: Session, uuids: Sequence[str]) -> str:
    """The moref of the VM with one of these BIOS UUIDs (the same one in both byte orders). Raises TransportError when
    there is none, or several: a clone that kept its uuid."""
    index = session.content.searchIndex
    for uuid in uuids:
        found = session.read(
            lambda uuid=uuid: index.FindAllByUuid(None, uuid, True, False), doing="looking up the proxy's own VM"
        )
        if len(found) > 1:
            morefs = ", ".join(sorted(each._moId for each in found))
            raise TransportError(
                f"Several VMs have the proxy's BIOS UUID {uuid}: {morefs}.", hint="Give the copies a uuid of their own."
            )
        if found:
            return found[0]._moId
    raise TransportError(
        f"No VM of this vCenter has the proxy's BIOS UUID {uuids[0]}.",
        hint="hotadd needs a proxy that is a VM of the same vCenter. Use nbdssl.",
    )


def read_proxy(session: Session, moref: str) -> ProxyVm:
    """Raises VmUnsuitable when it is gone."""
    ref = Ref("VirtualMachine", moref)
    values = get_one(session, ref, [DEVICES, _OPTIONS, "runtime.host"], readers={DEVICES: read_devices})
    host = values.get("runtime.host")
    seen = get(session, [host], ["datastore"]).get(host, {}).get("datastore", ()) if host else ()
    return ProxyVm(read_vm(session, moref), tuple(values[DEVICES]), _options(values), frozenset(seen))


def read_journal(session: Session, moref: str) -> tuple[JournalEntry, ...]:
    """Empty for a VM that is gone."""
    ref = Ref("VirtualMachine", moref)
    return journal_of(_options(get(session, [ref], [_OPTIONS]).get(ref, {})))


def free_unit(proxy: ProxyVm) -> tuple[int, int]:
    """(controller's key, unit) for one more SCSI disk, paravirtual controllers first. TransportError when all are
    taken."""
    controllers = [each for each in proxy.devices if bus_of(each) == "scsi"]
    for controller in sorted(controllers, key=lambda each: "ParaVirtual" not in each["_type"]):
        paravirtual = "ParaVirtual" in controller["_type"]
        large = paravirtual and int(proxy.vm.hardware_version.removeprefix("vmx-") or 0) >= _LARGE_BUS_SINCE
        taken = {each.get("unitNumber") for each in proxy.devices if each.get("controllerKey") == controller["key"]}
        for unit in range(64 if large else 16):
            if unit not in taken | {controller.get("scsiCtlrUnitNumber", 7)}:
                return controller["key"], unit
    raise TransportError(
        f"The proxy {proxy.vm.name} has no free place on a SCSI controller.",
        hint="Add a paravirtual SCSI controller to it, or run fewer jobs over hotadd at a time.",
    )


def attached(devices: Sequence[Device], file: str) -> Device | None:
    """The disk that shows this very file through a redo log; never one that the VM has for itself."""
    for device in devices:
        backing = device.get("backing") or {}
        shown = (backing.get("fileName"), (backing.get("parent") or {}).get("fileName"))
        if device["_type"] == "VirtualDisk" and backing.get("diskMode") == MODE and file in shown:
            return device
    return None


def attach(  # noqa: PLR0917 - where, what, and who wants it
    session: Session, proxy: ProxyVm, entry: JournalEntry, capacity: int, report: Reporter, cancel: CancelToken
) -> str:
    """Attaches the frozen disk and writes the journal, both or neither; returns the disk's uuid. Raises BusyError,
    PrivilegeError, VsphereError, Cancelled; after those it may be attached all the same."""
    controller, unit = free_unit(proxy)
    backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(fileName=entry.file, diskMode=MODE)
    disk = vim.vm.device.VirtualDisk(
        key=-1, backing=backing, controllerKey=controller, unitNumber=unit, capacityInKB=capacity // 1024,
        capacityInBytes=capacity,
    )  # fmt: skip
    change = vim.vm.device.VirtualDeviceSpec(operation="add", device=disk)
    note = vim.option.OptionValue(key=entry.key, value=json.dumps(asdict(entry)))
    _reconfigure(session, proxy.vm.moref, [change], note, f"attaching {entry.file}", report, cancel)
    made = attached(devices_of(session, proxy.vm.moref), entry.file)
    if made is None:
        raise VsphereError(f"vCenter attached {entry.file} to {proxy.vm.name}, but shows no disk with that file.")
    return made["backing"].get("uuid", "")


def detach(session: Session, moref: str, file: str, report: Reporter) -> bool:
    """Takes the disk out of the VM, and its line out of the journal; its files stay. False when it was not attached.

    What is detached is looked up here and now. CleanupError when a disk shows the file and no journal entry of ours
    names it."""
    ref = Ref("VirtualMachine", moref)
    values = get(session, [ref], [DEVICES, _OPTIONS], readers={DEVICES: read_devices}).get(ref)
    if values is None:
        return False
    entry = next((each for each in journal_of(_options(values)) if each.file == file), None)
    device = attached(values.get(DEVICES, ()), file)
    if entry is None:
        if device is not None:
            raise CleanupError(
                f"The proxy shows {file}, and its journal does not name it: it stays attached.",
                hint="If no other backup product holds it, remove the disk from the proxy in vCenter WITHOUT deleting "
                "its files.",
            )
        return False
    changes = [] if device is None else [_removal(device, file)]
    note = vim.option.OptionValue(key=entry.key, value="")
    _reconfigure(session, moref, changes, note, f"detaching {file}", report, CancelToken())
    return device is not None


def _removal(device: Device, file: str) -> Any:
    """Without fileOperation: the files are production's."""
    backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(fileName=file, diskMode=MODE)
    disk = vim.vm.device.VirtualDisk(
        key=device["key"], backing=backing, controllerKey=device.get("controllerKey"),
        unitNumber=device.get("unitNumber"), capacityInKB=device.get("capacityInKB", 0),
    )  # fmt: skip
    return vim.vm.device.VirtualDeviceSpec(operation="remove", device=disk)


def _reconfigure(  # noqa: PLR0917
    session: Session, moref: str, changes: list[Any], note: Any, doing: str, report: Reporter, cancel: CancelToken
) -> None:
    vm = session.managed(Ref("VirtualMachine", moref))
    spec = vim.vm.ConfigSpec(deviceChange=changes, extraConfig=[note])
    task = session.act(lambda: vm.ReconfigVM_Task(spec), doing=doing, subject="the proxy")
    tasks.wait(session, task, report, cancel, doing=doing, subject="the proxy")


def _options(values: Mapping[str, Any]) -> dict[str, str]:
    return {each["key"]: str(each.get("value", "")) for each in values.get(_OPTIONS, ())}
