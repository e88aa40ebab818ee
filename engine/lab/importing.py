"""ResourcePool.ImportVApp: a new VM, and a lease whose URLs take its disks' contents and its nvram.

Disks come by POST as streamOptimized VMDKs and are decoded into the VM's disks as they arrive; other files by PUT. A
lease that is aborted, times out or fails takes the new VM with it.
"""

from __future__ import annotations

import re
import uuid
from typing import Any

from pyVmomi import vim, vmodl

from engine.lab import power, reconfigure
from engine.lab.definition import Definition
from engine.lab.device_keys import disks_by_key, nvram_key
from engine.lab.leases import Lease, LeaseFile
from engine.lab.store import parse_path
from engine.lab.stream import StreamError, decode
from engine.lab.transfer import Cut, Refused, disturbed, trouble
from engine.lab.vm import VM

LONGEST_NAME = 80  # what vSphere takes as a VM's name
LARGEST_FILE = 64 << 20


def import_vapp(ctx: Any, pool: Any, spec: Any, folder: Any, host: Any) -> Any:
    """The reference of an import lease. `folder` and `host` are references or None.

    Raises NotSupported for a vApp, InvalidName, DuplicateName, InvalidDatastorePath, and what ReconfigVM_Task raises
    for devices that can't be; NoPermission where the type tables don't say it: space, pool and folder of the new VM.
    Then nothing was made.
    """
    lab = pool.lab
    if not isinstance(spec, vim.vm.VmImportSpec):
        raise vmodl.fault.NotSupported(msg="The lab imports virtual machines, not virtual applications.")
    config = spec.configSpec
    name = config.name or ""
    if not name or len(name) > LONGEST_NAME:
        raise vim.fault.InvalidName(name=name, msg=f"The name '{name}' is invalid.")
    datacenter = lab.datacenter_of(pool)
    target = lab.find(folder) if folder is not None else datacenter.vm_folder
    store = _datastore(lab, config, datacenter)
    runner = lab.find(host) if host is not None else lab.find(pool.value("owner")).hosts[0]
    needed = [(store, "Datastore.AllocateSpace"), (pool, "Resource.AssignVMToPool")]
    lab.access.demand(ctx.session.user, [*needed, (target, "VirtualMachine.Inventory.Create")])
    with lab.cond:
        existing = next((child for child in target.children() if child.value("name") == name), None)
        if existing is not None:
            raise vim.fault.DuplicateName(name=name, object=existing.ref, msg=f"The name '{name}' already exists.")
        definition = Definition(name, change_tracking=bool(config.changeTrackingEnabled))
        vm = VM(
            lab, name, target, store, runner, pool,
            definition=definition, power="poweredOff", tools="notInstalled", directory=_directory(store, name),
            identity=_identity(config),
        )  # fmt: skip
        try:
            reconfigure.apply(vm, config)
        except vmodl.MethodFault:
            power.delete(vm)
            raise
        return ImportLease(ctx, vm, config).ref


def _identity(config: Any) -> tuple[str, str]:
    """BIOS and instance UUID: the specification's, else new ones."""
    return config.uuid or str(uuid.uuid4()), config.instanceUuid or str(uuid.uuid4())


def _datastore(lab: Any, config: Any, datacenter: Any) -> Any:
    path = config.files.vmPathName if config.files else None
    name, _ = parse_path(path or "")
    store = lab.datastore(name, datacenter)
    if store is None:
        raise vim.fault.InvalidDatastorePath(datastorePath=path, msg=f"Invalid datastore path '{path}'.")
    return store


def _directory(store: Any, name: str) -> str:
    """A directory that is free: ESXi appends _1, _2... when another VM's is in the way."""
    plain = re.sub(r"[/\\%]", "_", name)
    candidates = (plain if n == 0 else f"{plain}_{n}" for n in range(1 << 16))
    return next(c for c in candidates if not (store.root / c).exists())


class ImportLease(Lease):
    """Takes the contents of a VM that was just made."""

    def __init__(self, ctx: Any, vm: Any, config: Any) -> None:
        files = []
        self._disks = {}
        for key, device in disks_by_key(vm.name, vm.value("config").hardware.device):
            name = f"disk-{len(files)}.vmdk"
            disk = self._disks[name] = vm.disks[device.key]
            key_here = key.replace(f"/{vm.name}/", f"/{vm.id}/", 1)
            files.append(LeaseFile(name, key_here, disk=True, capacity=disk.capacity, target=name, import_key=key))
        if any(option.key == "nvram" for option in config.extraConfig or ()):
            name = f"file-{len(files)}.nvram"
            key = nvram_key(vm.name)
            files.append(LeaseFile(name, nvram_key(vm.id), disk=False, target=name, import_key=key))
        super().__init__(ctx, vm, "ImportVApp", "ResourcePool.ImportVAppLRO", files)

    def result(self) -> Any:
        return self.vm.ref

    def released(self, *, done: bool) -> None:
        if done:
            self.vm.updated("config", "layoutEx", "storage", "summary")
        else:
            power.delete(self.vm)

    def serve(self, request: Any, file: LeaseFile) -> None:
        if request.command not in ("POST", "PUT"):
            raise Refused(405, "an import lease is written")
        rule = trouble(self.lab, request.path, self.vm)
        body = request.body_stream()
        transfer = file.transfer()
        chunks = disturbed(transfer.passing(iter(body.read, b"")), rule, self.ended.wait)
        if file.disk:
            populated = self._take_disk(file, chunks)
            for _ in chunks:  # padding behind the end marker belongs to the upload
                pass
        else:
            populated = self._take_file(chunks)
        transfer.finish(populated)
        request.reply(201)

    def _take_disk(self, file: LeaseFile, chunks: Any) -> int:
        disk = self._disks[file.name]

        def write(offset: int, data: bytes) -> None:
            if offset + len(data) > disk.capacity:
                raise StreamError("the image is larger than the disk")
            disk.write(offset, data)

        try:
            decoded = decode(chunks, write)
        except StreamError as error:
            raise Refused(500, f"{file.name}: {error}") from error
        if decoded.capacity > disk.capacity:
            raise Refused(500, f"{file.name}: the image is larger than the disk")
        return decoded.populated

    def _take_file(self, chunks: Any) -> None:
        data = bytearray()
        for chunk in chunks:
            data += chunk
            if len(data) > LARGEST_FILE:
                raise Refused(413, "too large for an nvram")
        with self.lab.cond:  # the end of a failed lease deletes the VM's files, and none may come after
            if self.ended.is_set():
                raise Cut
            (self.vm.home.path / f"{self.vm.stem}.nvram").write_bytes(data)
