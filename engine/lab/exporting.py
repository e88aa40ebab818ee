"""ExportVm and ExportSnapshot: a lease whose URLs give a VM's disks as streamOptimized VMDKs, and its nvram."""

from __future__ import annotations

from typing import Any

from pyVmomi import vim, vmodl

from engine.lab.device_keys import disks_by_key, exportable, nvram_key
from engine.lab.leases import Lease, LeaseFile
from engine.lab.store import ensure_files
from engine.lab.stream import StreamWriter
from engine.lab.transfer import Cut, Refused, disturbed, send, trouble

DISK_TYPE = "application/x-vnd.vmware-streamVmdk"
FILE_TYPE = "application/octet-stream"


def export(ctx: Any, vm: Any, snapshot: Any = None) -> Any:
    """Lease on a VM that is powered off, or on what a snapshot froze; its reference.

    Raises NotSupported for a template or an encrypted VM, InvalidState for one that is fault tolerant or not connected,
    InvalidPowerState for a running one without a snapshot, TaskInProgress while a task or another lease holds the VM.
    """
    runtime = vm.value("runtime")
    if vm.value("config.template"):
        raise vmodl.fault.NotSupported(msg="A template has to be converted to a virtual machine first.")
    if vm.value("config.keyId"):
        raise vmodl.fault.NotSupported(msg="Export of an encrypted virtual machine is not supported.")
    if runtime.connectionState != "connected" or (runtime.faultToleranceState or "notConfigured") != "notConfigured":
        raise vim.fault.InvalidState(msg="The operation is not allowed in the current state.")
    if snapshot is None and runtime.powerState != "poweredOff":
        raise vim.fault.InvalidPowerState(
            requestedState="poweredOff", existingState=runtime.powerState,
            msg=f"The attempted operation cannot be performed in the current state ({runtime.powerState}).",
        )  # fmt: skip
    with vm.lab.cond:
        vm.refuse_while_busy()
        vm.refuse_while_leased()
        return ExportLease(ctx, vm, snapshot).ref


class ExportLease(Lease):
    """Serves GET of what the snapshot froze, or of the disks of a VM that is powered off."""

    def __init__(self, ctx: Any, vm: Any, snapshot: Any) -> None:
        self._images = {}
        files = []
        source = vm if snapshot is None else snapshot
        for key, device in disks_by_key(vm.id, source.value("config").hardware.device):
            if not exportable(device):
                continue
            disk = vm.store[source.definition.slot(device.key).disk]
            name = f"disk-{len(files)}.vmdk"
            self._images[name] = (disk, None if snapshot is None else snapshot.levels[device.key])
            files.append(LeaseFile(name, key, disk=True, capacity=disk.capacity, target=name))
        ensure_files(vm)
        self._nvram = vm.home.path / f"{vm.stem}.nvram"
        if self._nvram.is_file():
            name, size = f"file-{len(files)}.nvram", self._nvram.stat().st_size
            files.append(LeaseFile(name, nvram_key(vm.id), disk=False, target=name, file_size=size))
        method = "ExportVm" if snapshot is None else "ExportSnapshot"
        super().__init__(ctx, vm, method, f"VirtualMachine.{method[0].lower()}{method[1:]}", files)

    def serve(self, request: Any, file: LeaseFile) -> None:
        if request.command not in ("GET", "HEAD"):
            raise Refused(405, "an export lease is read")
        if file.disk:
            self._serve_disk(request, file)
        else:
            self._serve_file(request, file)

    def _serve_disk(self, request: Any, file: LeaseFile) -> None:
        if request.command == "HEAD":
            send(request, {"Content-Type": DISK_TYPE}, ())
            return
        rule = trouble(self.lab, request.path, self.vm)
        disk, level = self._images[file.name]
        with disk.open(level) as image:
            cid = (level.resolve() if level is not None else disk.top).cid
            writer = StreamWriter(image.capacity, file.name, cid, image.read, image.allocated())
            transfer = file.transfer()
            chunks = disturbed(transfer.passing(writer.chunks()), rule, self.ended.wait)
            send(request, {"Content-Type": DISK_TYPE}, self._while_held(chunks))
            transfer.finish(writer.populated)

    def _serve_file(self, request: Any, file: LeaseFile) -> None:
        rule = None if request.command == "HEAD" else trouble(self.lab, request.path, self.vm)
        data = self._nvram.read_bytes()
        headers = {"Content-Type": FILE_TYPE, "Content-Length": str(len(data))}
        transfer = file.transfer()
        send(request, headers, disturbed(transfer.passing([data]), rule, self.ended.wait))
        if request.command == "GET":
            transfer.finish(None)

    def _while_held(self, chunks: Any) -> Any:
        for chunk in chunks:
            if self.ended.is_set():
                raise Cut
            yield chunk
