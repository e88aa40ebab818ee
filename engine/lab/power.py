"""Power operations, and the end of a VM: destroy, unregister, template; and its return: register."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyVmomi import vim, vmodl

from engine.lab.definition import Definition
from engine.lab.snapshots import Progress, Snapshot
from engine.lab.tasks import Task

if TYPE_CHECKING:
    from engine.lab.vm import VM


def enter(vm: VM, state: str) -> None:
    """Be in a power state: locks, redo logs of non-persistent disks, and what Tools report follow."""
    with vm.lab.cond:
        runtime = vm.props["runtime"]
        before = runtime.powerState
        if before == state:
            return
        if before == "poweredOff":
            open_redo_logs(vm)
        runtime.powerState = state
        runtime.bootTime = vm.now() if state == "poweredOn" else None
        runtime.suspendTime = vm.now() if state == "suspended" else None
        if state == "poweredOff":
            drop_redo_logs(vm)
        vm.stun()
        for disk in vm.disks.values():
            if disk.tracking is not None:
                disk.tracking.cut()
        vm.touch(
            "runtime.powerState", "runtime.bootTime", "runtime.suspendTime", "disabledMethod", "guestHeartbeatStatus"
        )
        vm.refresh_guest()
    vm.updated("config", "summary", "layoutEx")


def open_redo_logs(vm: VM) -> None:
    for slot in vm.definition.disks:
        disk = vm.store[slot.disk]
        if slot.mode == "independent_nonpersistent" and disk.borrowed is None:
            disk.freeze()


def drop_redo_logs(vm: VM) -> None:
    for slot in vm.definition.disks:
        disk = vm.store[slot.disk]
        if slot.mode == "independent_nonpersistent" and disk.borrowed is None and disk.top.parent is not None:
            disk.drop_top()


def _require(vm: VM, *states: str) -> None:
    if vm.definition.template:
        raise vmodl.fault.NotSupported(msg="The operation is not supported on the object.")
    if vm.power not in states:
        raise vim.fault.InvalidPowerState(
            requestedState=states[0],
            existingState=vm.power,
            msg=f"The attempted operation cannot be performed in the current state ({vm.power}).",
        )


def _refuse_lent_disks(vm: VM) -> None:
    """Another VM shows the image that this VM would write."""
    for disk in vm.disks.values():
        lent = [pin for pin in disk.top.pins if pin.kind == "attach"]
        if lent:
            raise vim.fault.FileLocked(
                file=disk.file(), msg=f"Unable to access file {disk.file()} since it is locked by {lent[0].owner}"
            )


def change(  # noqa: PLR0917 - a row of the table that the wire methods are
    vm: VM, ctx: Any, method: str, verb: str, state: str, event: Any
) -> Any:
    """Power on, off or suspend; refused while a lease holds the VM."""
    vm.refuse_while_leased()
    origins = {
        "poweredOn": ("poweredOff", "suspended"),
        "poweredOff": ("poweredOn", "suspended"),
        "suspended": ("poweredOn",),
    }
    _require(vm, *origins[state])

    def work(task: Progress) -> None:
        task.progress(20)
        if state == "poweredOn":
            _refuse_lent_disks(vm)
        enter(vm, state)
        vm.post(ctx, event, f"{vm.name}: {verb}", template=False)

    return vm.task(ctx, method, f"VirtualMachine.{verb}", work)


def reset(vm: VM, ctx: Any) -> Any:
    vm.refuse_while_leased()
    _require(vm, "poweredOn")

    def work(task: Progress) -> None:
        task.progress(30)
        enter(vm, "poweredOff")
        enter(vm, "poweredOn")
        vm.post(ctx, vim.event.VmResettingEvent, f"{vm.name} is reset", template=False)

    return vm.task(ctx, "ResetVM_Task", "VirtualMachine.reset", work)


def guest_action(vm: VM, ctx: Any, state: str, event: Any) -> None:
    """Shut down, reboot or suspend from inside: needs running Tools."""
    vm.refuse_while_leased()
    vm.refuse_while_busy()
    _require(vm, "poweredOn")
    if not vm.tools_running:
        raise vim.fault.ToolsUnavailable(msg="Cannot complete operation because VMware Tools is not running.")
    if state == "poweredOn":
        enter(vm, "poweredOff")
    enter(vm, state)
    vm.post(ctx, event, f"{vm.name}: guest operation", template=False)


def destroy(vm: VM, ctx: Any) -> Any:
    """Delete the VM with its disks; whoever reads them meets errors."""
    vm.refuse_while_leased()
    if vm.power == "poweredOn":
        _require(vm, "poweredOff")

    def work(task: Progress) -> None:
        _refuse_lent_disks(vm)
        task.progress(50)
        delete(vm)
        vm.post(ctx, vim.event.VmRemovedEvent, f"Removed {vm.name}", template=False)

    return vm.task(ctx, "Destroy_Task", "VirtualMachine.destroy", work)


def delete(vm: VM) -> None:
    """The VM, its snapshots and its files are gone, here and now."""
    disks = list(vm.store.values())
    _leave(vm)
    for disk in disks:
        if disk.borrowed is not None:
            disk.borrowed.pin.drop()
        disk.destroy()
    remove_files(vm)


def remove_files(vm: VM) -> None:
    """The VM's small files, and its directory when nothing else is in it."""
    for path in vm.home.path.glob(f"{vm.stem}.*") if vm.home.path.is_dir() else ():
        path.unlink()
    for directory in {vm.home.path, *(disk.place.path for disk in vm.store.values())}:
        if directory.is_dir() and not any(directory.iterdir()):
            directory.rmdir()


def _leave(vm: VM) -> None:
    """Out of the inventory and of the saved state."""
    lab = vm.lab
    with lab.cond:
        for snapshot in vm.snapshots:
            lab.remove(snapshot)
        lab.parent_of(vm).discard(vm)
        if lab.persistence is not None:
            lab.persistence.forget(vm)


def unregister(vm: VM, ctx: Any) -> None:
    """Out of the inventory; the files stay and can be registered again."""
    vm.refuse_while_leased()
    vm.refuse_while_busy()
    if vm.power == "poweredOn":
        _require(vm, "poweredOff")
    _leave(vm)
    vm.lab.unregistered[vm.file(f"{vm.stem}.vmx")] = vm
    vm.post(ctx, vim.event.VmRemovedEvent, f"Removed {vm.name} from inventory", template=False)


def register(  # noqa: PLR0917 - as on the wire
    folder: Any, ctx: Any, path: str, name: str | None, as_template: bool, pool: Any, host: Any
) -> Any:
    """Folder.RegisterVM_Task: bring a VM back whose .vmx lies at `path`, under a new moref; its reference.

    NotFound when no such file is known, AlreadyExists when it is registered."""
    from engine.lab.vm import VM  # noqa: PLC0415 - VMs know their power operations

    lab = folder.lab

    def work(task: Progress) -> Any:
        if any(o.file(f"{o.stem}.vmx") == path for o in lab.all_of(vim.VirtualMachine)):
            raise vim.fault.AlreadyExists(name=path, msg="The specified key, name, or identifier already exists.")
        old = lab.unregistered.pop(path, None)
        if old is None:
            raise vim.fault.NotFound(msg=f"The object or item referred to could not be found: {path}")
        task.progress(50)
        owner = lab.find(pool) if pool else old.pool
        runner = lab.find(host) if host else lab.find(owner.props["owner"]).hosts[0]
        new = VM(
            lab, name or old.name, folder, old.home.datastore, runner, owner,
            definition=Definition(old.name), power="poweredOff", tools=old.tools, ip=old.addresses,
            hostname=old.hostname, directory=old.home.directory, identity=(old.uuid, old.instance_uuid),
            contents=old.on_datastore,
        )  # fmt: skip
        _adopt(new, old)
        new.definition = old.definition
        new.definition.name = name or old.name
        new.definition.template = as_template
        new.updated("name", "config", "snapshot", "summary", "layoutEx")
        return new.ref

    return Task(lab, ctx, folder, "RegisterVM_Task", "Folder.registerVm", work).ref


def _adopt(new: VM, old: VM) -> None:
    """Disks and snapshots move to the VM's new object; snapshots get new morefs, as on a real server."""
    new.store, new.next_snapshot = old.store, old.next_snapshot
    successors: dict[Any, Snapshot] = {}
    for snapshot in old.snapshots:
        moved = Snapshot(
            new, snapshot.name, snapshot.description, number=snapshot.number,
            parent=successors.get(snapshot.parent), definition=snapshot.definition, state=snapshot.state,
            quiesced=snapshot.quiesced, created=snapshot.created,
        )  # fmt: skip
        moved.levels, moved.change_ids = snapshot.levels, snapshot.change_ids
        successors[snapshot] = moved
        new.snapshots.append(moved)
    new.current = successors.get(old.current)


def mark_as_template(vm: VM) -> None:
    vm.refuse_while_leased()
    if vm.power != "poweredOff":
        _require(vm, "poweredOff")
    if vm.definition.template:
        raise vim.fault.InvalidState(msg="The operation is not allowed in the current state.")
    vm.definition.template = True
    vm.set("resourcePool", None)
    vm.updated("config", "summary", "disabledMethod")


def mark_as_virtual_machine(vm: VM, pool: Any, host: Any = None) -> None:
    if not vm.definition.template:
        raise vim.fault.InvalidState(msg="The operation is not allowed in the current state.")
    vm.definition.template = False
    vm.pool = vm.lab.find(pool)
    vm.set("resourcePool", vm.pool.ref)
    vm.updated("config", "summary", "disabledMethod")
