"""The virtual machine: its state, its tasks and its wire methods; the work is in snapshots, reconfigure and power."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pyVmomi import vim

from engine.lab import changed_areas, configuration, power, reconfigure, snapshots, vm_files
from engine.lab.definition import Controller, Definition, Nic
from engine.lab.disks import Disk, Place
from engine.lab.inventory import Entity
from engine.lab.layers import Layer
from engine.lab.snapshots import Snapshot, Unwatched
from engine.lab.tasks import Task


class VM(Entity):
    """One virtual machine.

    For tests and seeds: `add_disk`, `write`, `read`, `take_snapshot`, `remove_snapshot`; `disks` (device key -> Disk),
    `snapshots` (in the order of their making) and `current`. Whatever changes the model ends with `updated(...)`, which
    wakes every waiter and saves the VM. Disk contents are read and written without the model's lock.
    """

    vim = vim.VirtualMachine
    prefix = "vm"
    cached = ("config", "snapshot", "capability")
    areas_per_answer = 2000  # extents that QueryChangedDiskAreas gives at once, as ESXi does; tests lower it

    def __init__(  # noqa: PLR0917 - where it lives, then what it is
        self,
        lab: Any,
        name: str,
        folder: Any,
        datastore: Any,
        host: Any,
        pool: Any,
        disks: Sequence[int] = (),
        *,
        moid: str | None = None,
        definition: Definition | None = None,
        power: str = "poweredOn",
        tools: str = "running",
        ip: str | Sequence[str] | None = None,
        hostname: str | None = None,
        directory: str | None = None,
        identity: tuple[str, str] | None = None,
        contents: bool = True,
    ) -> None:
        """disks: capacities in bytes of thin disks. tools: running, notRunning or notInstalled. identity:
        (BIOS UUID, instance UUID). contents: False for a VM that has no files until something is written to it."""
        self.definition = Definition(name) if definition is None else definition
        self.uuid, self.instance_uuid = identity or (str(uuid.uuid4()), str(uuid.uuid4()))
        self.home = Place(datastore, directory or name.replace("/", "_").replace("%2f", "_"))
        self.stem = self.home.directory
        self.tools, self.hostname = tools, (hostname or name.lower())
        self.addresses = [ip] if isinstance(ip, str) else list(ip or ())
        self.store: dict[str, Disk] = {}
        self.snapshots: list[Snapshot] = []
        self.current: Snapshot | None = None
        self.next_snapshot = 1
        self.busy: Task | None = None
        self.on_datastore = contents
        self.modified = self.now()
        self._figures: dict[str, tuple[Any, Any]] = {}
        super().__init__(lab, name, folder, moid)
        self.host, self.pool = host, pool
        self._set_properties(power)
        for capacity in disks:
            self.add_disk(capacity)
        folder.add(self)
        self.updated()

    def _set_properties(self, power: str) -> None:
        self.props.update(
            runtime=vim.vm.RuntimeInfo(
                host=self.host.ref,
                connectionState="connected",
                powerState=power,
                faultToleranceState="running" if self.definition.fault_tolerant else "notConfigured",
                toolsInstallerMounted=False,
                numMksConnections=0,
                recordReplayState="inactive",
                onlineStandby=False,
                consolidationNeeded=False,
                bootTime=self.now() if power == "poweredOn" else None,
            ),
            resourcePool=None if self.definition.template else self.pool.ref,
            environmentBrowser=vim.EnvironmentBrowser("envbrowser-1"),
            datastore=self._datastores,
            network=lambda: [vim.Network(nic.network) for nic in self.definition.nics],
            config=lambda: configuration.config_info(self, self.definition, {}, self._live_change_ids()),
            capability=lambda: configuration.capability(self),
            snapshot=lambda: configuration.snapshot_info(self),
            rootSnapshot=lambda: [s.ref for s in self.snapshots if s.parent is None],
            disabledMethod=lambda: configuration.disabled_methods(self),
            guestHeartbeatStatus=lambda: "green" if self.tools_running else "gray",
            layout=lambda: self._figure("layout", vm_files.layout),
            layoutEx=lambda: self._figure("layoutEx", vm_files.layout_ex),
            storage=lambda: self._figure("storage", vm_files.storage),
            summary=lambda: self._figure("summary", configuration.summary),
        )
        self.props["guest"] = configuration.guest(self)

    def _figure(self, name: str, make: Callable[[VM], Any]) -> Any:
        """A property that shows file sizes: made again when the VM changed or its guest wrote."""
        key = (self.stamp, tuple(disk.writes for disk in self.store.values()))
        known = self._figures.get(name)
        if known is None or known[0] != key:
            known = self._figures[name] = (key, make(self))
        return known[1]

    def _datastores(self) -> list[Any]:
        stores = [self.home.datastore, *(disk.place.datastore for disk in self.disks.values())]
        return list({store.id: store.ref for store in stores}.values())

    def _live_change_ids(self) -> Mapping[int, str | None]:
        return {key: disk.tracking.last_change_id for key, disk in self.disks.items() if disk.tracking}

    # -- state
    @staticmethod
    def now() -> datetime:
        return datetime.now(UTC)

    @property
    def name(self) -> str:
        return self.definition.name

    @property
    def disks(self) -> dict[int, Disk]:
        """The disks of the VM as it is now, by device key."""
        return {slot.key: self.store[slot.disk] for slot in self.definition.disks}

    @property
    def power(self) -> str:
        return self.props["runtime"].powerState

    @property
    def tools_running(self) -> bool:
        return self.tools == "running" and self.power == "poweredOn"

    @property
    def holds(self) -> bool:
        """True while a lease blocks power operations, migration and deletion."""
        return self.lab.leases.of(self) is not None

    def file(self, name: str) -> str:
        return self.home.file(name)

    def updated(self, *paths: str) -> None:
        """These properties have changed: wake the waiters, save the VM."""
        self.modified = self.now()
        if self.props["name"] != self.definition.name:
            self.props["name"] = self.definition.name
            self.lab.reshape()
        self.touch(*paths)
        self.save()

    def save(self) -> None:
        """Keep what is needed to find the VM again after a restart."""
        if self.on_datastore:
            vm_files.make_files(self)
        if self.lab.persistence is not None:
            self.lab.persistence.save(self)

    def settle(self) -> None:
        """Write seeded contents that are still owed."""
        for disk in self.store.values():
            if not disk.dead:
                disk.settle()

    def set_power(self, state: str) -> None:
        power.enter(self, state)

    def stun(self) -> None:
        """The moment at which a changed-tracking setting becomes real, as on ESXi."""
        for slot in self.definition.disks:
            disk = self.store[slot.disk]
            controller = self.definition.controller(slot.controller)
            trackable = not slot.independent and disk.kind != "rdm-physical" and disk.borrowed is None
            shared = slot.sharing != "sharingNone" or (controller is not None and controller.sharing != "noSharing")
            if self.definition.change_tracking and trackable and not shared:
                disk.start_tracking()
            else:
                disk.tracking = None

    def drop_unused_disks(self) -> None:
        """Disks that neither the VM nor a snapshot names: files stay on the datastore, borrowed images are let go."""
        used = {slot.disk for slot in self.definition.disks}
        used |= {slot.disk for snapshot in self.snapshots for slot in snapshot.definition.disks}
        for identity in [i for i in self.store if i not in used]:
            disk = self.store.pop(identity)
            if disk.borrowed is not None:
                disk.borrowed.pin.drop()
                disk.destroy()
            elif not disk.dead:
                self.lab.loose_disks[disk.file()] = disk

    # -- for tests and seeds
    def add_disk(
        self,
        capacity: int,
        *,
        name: str | None = None,
        kind: str = "flat",
        provisioning: str = "thin",
        mode: str = "persistent",
        sharing: str = "sharingNone",
        datastore: Any = None,
        controller: Controller | None = None,
    ) -> int:
        """Give the VM a new, empty disk of `capacity` bytes; its device key. See Disk for kind and provisioning."""
        place = self.home if datastore is None else Place(datastore, self.home.directory)
        taken = {disk.name for disk in self.store.values()}
        numbered = (self.stem if n == 0 else f"{self.stem}_{n}" for n in range(1 << 16))
        chosen = name or next(candidate for candidate in numbered if candidate not in taken)
        disk = Disk(place, chosen, capacity, kind=kind, provisioning=provisioning)
        self.store[disk.id] = disk
        slot = self.definition.add_disk(disk.id, controller=controller, mode=mode, sharing=sharing)
        self.touch("config", "layoutEx", "summary", "storage", "datastore")
        return slot.key

    def add_nic(self, network: Any, mac: str | None = None, *, connected: bool = True) -> None:
        """`mac`: one that is kept as it is; without it one follows from the VM's UUID."""
        number = len(self.definition.nics)
        digits = self.instance_uuid.replace("-", "")
        own = f"00:50:56:{int(digits[:2], 16) & 0x3F:02x}:{digits[2:4]}:{(int(digits[4:6], 16) + number) & 0xFF:02x}"
        kind = "manual" if mac else "assigned"
        self.definition.nics.append(Nic(4000 + number, network.id, network.props["name"], mac or own, kind, connected))
        self.refresh_guest()

    def refresh_guest(self) -> None:
        self.set("guest", configuration.guest(self))

    def write(self, key: int, offset: int, data: bytes) -> None:
        """The guest writes to a disk."""
        self.disks[key].write(offset, data)

    def read(self, key: int, offset: int, length: int, snapshot: Snapshot | None = None) -> bytes:
        """What the guest sees, or what a snapshot froze."""
        if snapshot is None:
            return self.disks[key].read(offset, length)
        slot = snapshot.definition.slot(key)
        assert slot is not None
        return self.store[slot.disk].read(offset, length, self.level(key, snapshot))

    def level(self, key: int, snapshot: Snapshot | None) -> Layer | None:
        """The image of a disk in a snapshot: the `level` that Disk's methods take."""
        return None if snapshot is None else snapshot.levels[key]

    def take_snapshot(
        self, name: str, description: str = "", *, memory: bool = False, quiesce: bool = False
    ) -> Snapshot:
        """Create a snapshot here and now, without a task."""
        self.refuse_while_busy()
        return snapshots.create(self, Unwatched(), name, description, memory=memory, quiesce=quiesce)

    def remove_snapshot(self, snapshot: Snapshot, *, children: bool = False) -> None:
        """Remove a snapshot here and now, without a task."""
        self.refuse_while_busy()
        snapshots.remove(snapshot, Unwatched(), children=children)

    # -- tasks
    def refuse_while_busy(self) -> None:
        if self.busy is not None and self.busy.running():
            raise vim.fault.TaskInProgress(
                task=self.busy.ref, msg="The operation cannot be performed because another task is in progress."
            )

    def refuse_while_leased(self) -> None:
        lease = self.lab.leases.of(self)
        if lease is not None:
            raise vim.fault.TaskInProgress(
                task=lease.task.ref, msg="The operation is blocked: an export or import of the VM is running."
            )

    def task(
        self, ctx: Any, name: str, description_id: str, work: Callable[[Task], Any], *, cancelable: bool = False
    ) -> Any:
        """Begin the VM's one exclusive task; TaskInProgress while another one runs."""
        with self.lab.cond:
            self.refuse_while_busy()
            self.busy = Task(self.lab, ctx, self, name, description_id, work, cancelable)
            return self.busy.ref

    def post(self, ctx: Any, kind: Any, message: str, **members: Any) -> None:
        """Record an event about this VM."""
        user = ctx.session.user if ctx is not None and ctx.session is not None else ""
        self.lab.events.post(kind, self, user=user, message=message, **members)

    # -- wire methods: snapshots
    def CreateSnapshot_Task(
        self, ctx: Any, name: str, memory: bool, quiesce: bool, description: str | None = None
    ) -> Any:
        def work(task: Task) -> Any:
            return snapshots.create(self, task, name, description or "", memory=memory, quiesce=quiesce).ref

        return self.task(ctx, "CreateSnapshot_Task", "VirtualMachine.createSnapshot", work, cancelable=True)

    def CreateSnapshotEx_Task(
        self, ctx: Any, name: str, memory: bool, description: str | None = None, quiesceSpec: Any = None
    ) -> Any:
        def work(task: Task) -> Any:
            wanted = quiesceSpec is not None
            return snapshots.create(self, task, name, description or "", memory=memory, quiesce=wanted).ref

        return self.task(ctx, "CreateSnapshotEx_Task", "VirtualMachine.createSnapshotEx", work, cancelable=True)

    def RemoveAllSnapshots_Task(self, ctx: Any, consolidate: bool | None = None, spec: Any = None) -> Any:
        self.refuse_while_leased()

        def work(task: Task) -> None:
            snapshots.remove_all(self, task, merge=consolidate is not False)

        return self.task(ctx, "RemoveAllSnapshots_Task", "VirtualMachine.removeAllSnapshots", work)

    def RevertToCurrentSnapshot_Task(self, ctx: Any, host: Any = None, suppressPowerOn: bool | None = None) -> Any:
        if self.current is None:
            raise vim.fault.NotFound(msg="The virtual machine does not have a current snapshot.")
        return self.current.RevertToSnapshot_Task(ctx, host, suppressPowerOn)

    def ConsolidateVMDisks_Task(self, ctx: Any) -> Any:
        def work(task: Task) -> None:
            try:
                snapshots.consolidate(self, task)
            except snapshots.MergeBlocked as error:
                text = f"Unable to access file {error} since it is locked"
                raise vim.fault.FileLocked(file=str(error), msg=text) from error

        return self.task(ctx, "ConsolidateVMDisks_Task", "VirtualMachine.consolidateDisks", work)

    # -- wire methods: configuration, changed areas, export
    def privilege_checks(self, info: Any, arguments: dict[str, Any]) -> list[tuple[Any, str]]:
        if info.wsdlName == "ReconfigVM_Task":
            return [(self, privilege) for privilege in reconfigure.privileges(arguments["spec"])]
        fixed = {"Destroy_Task": "VirtualMachine.Inventory.Delete", "Rename_Task": "VirtualMachine.Config.Rename"}
        if info.wsdlName in fixed:
            return [(self, fixed[info.wsdlName])]
        return super().privilege_checks(info, arguments)

    def ReconfigVM_Task(self, ctx: Any, spec: Any) -> Any:
        def work(task: Task) -> None:
            reconfigure.apply(self, spec)
            self.post(ctx, vim.event.VmReconfiguredEvent, f"Reconfigured {self.name}", configSpec=vim.vm.ConfigSpec())

        return self.task(ctx, "ReconfigVM_Task", "VirtualMachine.reconfigure", work)

    def Rename_Task(self, ctx: Any, newName: str) -> Any:
        def work(task: Task) -> None:
            reconfigure.apply(self, vim.vm.ConfigSpec(name=newName))

        return self.task(ctx, "Rename_Task", "ManagedEntity.rename", work)

    def QueryChangedDiskAreas(
        self, ctx: Any, deviceKey: int, startOffset: int, changeId: str, snapshot: Any = None
    ) -> Any:
        found = self.lab.find(snapshot) if snapshot is not None else None
        return changed_areas.query(self, found, deviceKey, startOffset, changeId)

    def ExportVm(self, ctx: Any) -> Any:
        from engine.lab import exporting  # noqa: PLC0415 - leases know VMs; a VM needs one only here

        return exporting.export(ctx, self)

    # -- wire methods: power and life
    def PowerOnVM_Task(self, ctx: Any, host: Any = None) -> Any:
        return power.change(self, ctx, "PowerOnVM_Task", "powerOn", "poweredOn", vim.event.VmPoweredOnEvent)

    def PowerOffVM_Task(self, ctx: Any) -> Any:
        return power.change(self, ctx, "PowerOffVM_Task", "powerOff", "poweredOff", vim.event.VmPoweredOffEvent)

    def SuspendVM_Task(self, ctx: Any) -> Any:
        return power.change(self, ctx, "SuspendVM_Task", "suspend", "suspended", vim.event.VmSuspendedEvent)

    def ResetVM_Task(self, ctx: Any) -> Any:
        return power.reset(self, ctx)

    def ShutdownGuest(self, ctx: Any) -> None:
        power.guest_action(self, ctx, "poweredOff", vim.event.VmGuestShutdownEvent)

    def RebootGuest(self, ctx: Any) -> None:
        power.guest_action(self, ctx, "poweredOn", vim.event.VmGuestRebootEvent)

    def StandbyGuest(self, ctx: Any) -> None:
        power.guest_action(self, ctx, "suspended", vim.event.VmGuestStandbyEvent)

    def Destroy_Task(self, ctx: Any) -> Any:
        return power.destroy(self, ctx)

    def UnregisterVM(self, ctx: Any) -> None:
        power.unregister(self, ctx)

    def MarkAsTemplate(self, ctx: Any) -> None:
        power.mark_as_template(self)

    def MarkAsVirtualMachine(self, ctx: Any, pool: Any, host: Any = None) -> None:
        power.mark_as_virtual_machine(self, pool, host)
