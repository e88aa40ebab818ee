"""What is left of the prototype: VM, Snapshot (LAB-VM moves them), Lease (LAB-LEASE)."""
import threading
import time
import uuid
from datetime import datetime, timezone

from pyVmomi import vim, vmodl

from engine.lab import wire
from engine.lab.inventory import Entity
from engine.lab.registry import MO
from engine.lab.storage import Disk
from engine.lab.tasks import Task

now = lambda: datetime.now(timezone.utc)
VDisk, Flat = vim.vm.device.VirtualDisk, vim.vm.device.VirtualDisk.FlatVer2BackingInfo


class Snapshot(MO):
    vim, prefix = vim.vm.Snapshot, "snapshot"

    def __init__(self, vm, name, description, quiesced, state, parent):
        super().__init__(vm.lab, vm=vm.ref)
        self.vmo, self.name, self.description, self.quiesced, self.state, self.parent = vm, name, description, quiesced, state, parent
        self.when, self.num = now(), vm.next_snap
        vm.next_snap += 1
        self.levels, self.change_ids = {}, {}
        self.props["childSnapshot"] = lambda: vim.vm.Snapshot.Array(s.ref for s in vm.snaps if s.parent is self)
        self.props["config"] = vm.config_info()               # frozen now: file names before the new deltas
        for key, d in vm.disks.items():
            self.levels[key], self.change_ids[key] = d.freeze()
        for dev in self.props["config"].hardware.device:
            if isinstance(dev, VDisk):
                dev.backing.changeId = self.change_ids.get(dev.key)

    def tree(self):
        return vim.vm.SnapshotTree(snapshot=self.ref, vm=self.vmo.ref, name=self.name, description=self.description, id=self.num, createTime=self.when,
                                   state=self.state, quiesced=self.quiesced, replaySupported=False, childSnapshotList=[s.tree() for s in self.vmo.snaps if s.parent is self])

    def RemoveSnapshot_Task(self, ctx, removeChildren, consolidate=None):
        vm = self.vmo

        def work(task):
            doomed = [s for s in reversed(vm.snaps) if s is self or removeChildren and vm.descends(s, self)]
            for n, s in enumerate(doomed):
                vm.drop_snapshot(s)
                task.progress(100 * (n + 1) // len(doomed))
        return vm.task(ctx, "removeSnapshot", "vim.vm.Snapshot.remove", work)

    def ExportSnapshot(self, ctx):
        return Lease.export(ctx, self.vmo, self)


class VM(Entity):
    vim, prefix, cached = vim.VirtualMachine, "vm", ("config", "summary", "snapshot")

    def __init__(self, lab, name, folder, datastore, host, pool, disks=(), memory_mb=1024, power="poweredOn", ip=None):
        self.snaps, self.next_snap, self.disks, self.busy = [], 1, {}, None
        self.ds, self.dir, self.hostmo = datastore, datastore.root / name, host
        self.uuid, self.iuuid = str(uuid.uuid4()), str(uuid.uuid4())
        super().__init__(lab, name, folder)
        rt = wire.fill(vim.vm.RuntimeInfo(host=host.ref, connectionState="connected", powerState=power, toolsInstallerMounted=False, consolidationNeeded=False,
                                          recordReplayState="inactive", faultToleranceState="notConfigured"))
        cap = wire.fill(vim.vm.Capability(changeTrackingSupported=True, snapshotOperationsSupported=True, quiescedSnapshotsSupported=True))
        guest = wire.fill(vim.vm.GuestInfo(toolsRunningStatus="guestToolsRunning", toolsStatus="toolsOk", guestState="running", ipAddress=ip, hostName=name.lower(), guestFullName="Debian GNU/Linux 12 (64-bit)"))
        self.props.update(runtime=rt, capability=cap, guest=guest, cbt=False, resourcePool=pool.ref, datastore=[datastore.ref], network=[],
                          config=self.config_info, snapshot=self.snapshot_info, rootSnapshot=lambda: [s.ref for s in self.snaps if s.parent is None],
                          summary=self.summary, storage=None, layoutEx=None, guestHeartbeatStatus="green", environmentBrowser=vim.EnvironmentBrowser("envbrowser-1"))
        self.memory = memory_mb
        for n, size in enumerate(disks):
            self.disks[2000 + n] = Disk(self.dir, name if n == 0 else f"{name}_{n}", size)
        (self.dir / f"{name}.vmx").write_text(f'displayName = "{name}"\nuuid.bios = "{self.uuid}"\nmemSize = "{memory_mb}"\n')
        for d in self.disks.values():
            (self.dir / f"{d.name}.vmdk").write_bytes(d.descriptor())
        self.extra, self.attached = {}, []
        lab.by_dir[self.dir.name] = self
        folder.add(self)

    # -- computed properties
    def file(self, name):
        return f"[{self.ds.props['name']}] {self.props['name']}/{name}"

    def backing(self, d, level=None):
        layers = d.layers[:(len(d.layers) if level is None else level + 1)]
        b = None
        for ly in layers:
            b = Flat(fileName=self.file(ly.path.name.replace("-flat", "").replace("-delta", "")), diskMode="persistent", datastore=self.ds.ref, thinProvisioned=True,
                     uuid=d.uuid, contentId=d.cid, parent=b, split=False, writeThrough=False, changeId=None)
        return b

    def config_info(self):
        dev = [vim.vm.device.ParaVirtualSCSIController(key=1000, deviceInfo=vim.Description(label="SCSI controller 0", summary="VMware paravirtual SCSI"), busNumber=0,
                                                       device=list(self.disks), sharedBus="noSharing", unitNumber=3)]
        for n, (key, d) in enumerate(self.disks.items()):
            dev.append(VDisk(key=key, deviceInfo=vim.Description(label=f"Hard disk {n + 1}", summary=f"{d.size // 1024:,} KB"), backing=self.backing(d), controllerKey=1000,
                             unitNumber=n, capacityInKB=d.size // 1024, capacityInBytes=d.size, diskObjectId=f"{self.id[3:]}-{key}"))
        dev += self.attached
        return wire.fill(vim.vm.ConfigInfo(
            name=self.props["name"], guestFullName="Debian GNU/Linux 12 (64-bit)", guestId="debian12_64Guest", version="vmx-21", uuid=self.uuid, instanceUuid=self.iuuid,
            template=False, changeVersion=str(self.lab.version), modified=now(), changeTrackingEnabled=self.props["cbt"], annotation="",
            files=vim.vm.FileInfo(vmPathName=self.file(self.props["name"] + ".vmx"), snapshotDirectory=self.file(""), logDirectory=self.file("")),
            hardware=wire.fill(vim.vm.VirtualHardware(numCPU=1, numCoresPerSocket=1, memoryMB=self.memory, device=dev)),
            extraConfig=[vim.option.OptionValue(key=k, value=v) for k, v in self.extra.items()]))

    def summary(self):
        p = self.props
        return wire.fill(vim.vm.Summary(vm=self.ref, runtime=p["runtime"], overallStatus="green", guest=vim.vm.Summary.GuestSummary(
            guestFullName=p["guest"].guestFullName, ipAddress=p["guest"].ipAddress, hostName=p["guest"].hostName, toolsRunningStatus=p["guest"].toolsRunningStatus),
            config=vim.vm.Summary.ConfigSummary(name=p["name"], template=False, vmPathName=self.file(p["name"] + ".vmx"), memorySizeMB=self.memory, numCpu=1, uuid=self.uuid,
                                                instanceUuid=self.iuuid, guestFullName=p["guest"].guestFullName, numVirtualDisks=len(self.disks), numEthernetCards=0),
            storage=vim.vm.Summary.StorageSummary(committed=sum(f.stat().st_blocks * 512 for f in self.dir.glob("*")), uncommitted=0, unshared=0, timestamp=now()),
            quickStats=vim.vm.Summary.QuickStats(overallCpuUsage=0, guestMemoryUsage=0, hostMemoryUsage=0, uptimeSeconds=1)))

    def snapshot_info(self):
        if not self.snaps:
            return None
        return vim.vm.SnapshotInfo(currentSnapshot=self.snaps[-1].ref, rootSnapshotList=[s.tree() for s in self.snaps if s.parent is None])

    def descends(self, s, top):
        while s is not None:
            if s.parent is top:
                return True
            s = s.parent
        return False

    # -- tasks
    def task(self, ctx, name, descr, work, exclusive=True, cancelable=False):
        if exclusive and self.busy and self.busy.running():
            raise vim.fault.TaskInProgress(task=self.busy.ref, msg="The operation cannot be performed because another task is in progress.")
        t = Task(self.lab, ctx, self, name, descr, work, cancelable)
        if exclusive:
            self.busy = t
        return t.ref

    def CreateSnapshot_Task(self, ctx, name, memory, quiesce, description=""):
        if quiesce and self.props["guest"].toolsRunningStatus != "guestToolsRunning" and self.props["runtime"].powerState == "poweredOn":
            raise vim.fault.InvalidState()

        def work(task):
            if len(self.snaps) >= 32:
                raise vim.fault.TooManySnapshotLevels()
            task.progress(20)
            with self.lab.cond:
                self.stunned()
                state = self.props["runtime"].powerState if memory else "poweredOff"
                s = Snapshot(self, name, description, bool(quiesce), state, self.snaps[-1] if self.snaps else None)
                self.snaps.append(s)
            self.touch("snapshot", "rootSnapshot", "config", "layoutEx", "summary")
            return s.ref
        return self.task(ctx, "CreateSnapshot_Task", "VirtualMachine.createSnapshot", work)

    def CreateSnapshotEx_Task(self, ctx, name, memory, description="", quiesceSpec=None):
        return self.CreateSnapshot_Task(ctx, name, memory, quiesceSpec is not None, description)

    def stunned(self):
        """A stun is what makes a changed-tracking setting real, as on ESXi."""
        for d in self.disks.values():
            d.cbt(self.props["cbt"])

    def drop_snapshot(self, s):
        with self.lab.cond:
            for key, level in s.levels.items():
                self.disks[key].thaw(level)
            for o in self.snaps:
                for key in o.levels:
                    if o is not s and o.levels[key] > s.levels[key]:
                        o.levels[key] -= 1
                if o.parent is s:
                    o.parent = s.parent
            self.snaps.remove(s)
            self.stunned()
            self.lab.remove(s)
        self.touch("snapshot", "rootSnapshot", "config", "layoutEx", "summary")

    def RemoveAllSnapshots_Task(self, ctx, consolidate=None, spec=None):
        return self.task(ctx, "RemoveAllSnapshots_Task", "VirtualMachine.removeAllSnapshots", lambda t: [self.drop_snapshot(s) for s in reversed(list(self.snaps))] and None)

    def ConsolidateVMDisks_Task(self, ctx):
        return self.task(ctx, "ConsolidateVMDisks_Task", "VirtualMachine.consolidateDisks", lambda t: self.set("runtime.consolidationNeeded", False))

    def ReconfigVM_Task(self, ctx, spec):
        def work(task):
            if spec.changeTrackingEnabled is not None:
                self.props["cbt"] = spec.changeTrackingEnabled
                if self.props["runtime"].powerState != "poweredOn":
                    self.stunned()
            for ch in spec.deviceChange:
                d = ch.device
                if ch.operation == "add" and isinstance(d, VDisk):
                    self.attach(d)
                elif ch.operation == "remove":
                    self.attached = [a for a in self.attached if a.key != d.key]
            for o in spec.extraConfig:
                self.extra[o.key] = o.value
            self.touch("config", "summary")
        return self.task(ctx, "ReconfigVM_Task", "VirtualMachine.reconfigure", work)

    def attach(self, d):
        owner, disk, level = self.lab.locate(d.backing.fileName)
        if disk is None:
            raise vim.fault.FileNotFound(file=d.backing.fileName)
        if owner is not self and disk.layers[level] is disk.layers[-1] and owner.props["runtime"].powerState == "poweredOn":
            raise vim.fault.FileLocked(file=d.backing.fileName)          # the running VM writes it: snapshot first
        d.key = 2000 + 50 + len(self.attached)
        d.capacityInKB, d.capacityInBytes = disk.size // 1024, disk.size
        self.attached.append(wire.fill(d))

    def QueryChangedDiskAreas(self, ctx, deviceKey, startOffset, changeId, snapshot=None):
        disk = self.disks.get(deviceKey)
        if disk is None:
            raise vmodl.fault.InvalidArgument(invalidProperty="deviceKey")
        snap = self.lab.find(snapshot) if snapshot else None
        if not self.props["cbt"] or not disk.cbt_id:
            raise vim.fault.FileFault(file=self.file(disk.name + ".vmdk"), msg="Error caused by file " + self.file(disk.name + ".vmdk"))
        try:
            runs = disk.allocated(snap.levels[deviceKey]) if changeId == "*" else disk.changed(changeId, snap.change_ids[deviceKey])
        except (ValueError, TypeError, AttributeError):
            raise vim.fault.FileFault(file=self.file(disk.name + ".vmdk"), msg="Error caused by file " + self.file(disk.name + ".vmdk"))
        runs, last = [(o, n) for o, n in runs if o + n > startOffset], disk.size
        if len(runs) > 2000:                                             # a real server answers in pieces, too
            runs, last = runs[:2000], runs[2000][0]
        return vim.VirtualMachine.DiskChangeInfo(startOffset=startOffset, length=last - startOffset, changedArea=[
            vim.VirtualMachine.DiskChangeInfo.DiskChangeExtent(start=max(o, startOffset), length=o + n - max(o, startOffset)) for o, n in runs])

    def ExportVm(self, ctx):
        if self.props["runtime"].powerState == "poweredOn":
            raise vim.fault.InvalidPowerState(requestedState="poweredOff", existingState="poweredOn")
        return Lease.export(ctx, self, None)

    def _power(self, ctx, name, state):
        if self.props["runtime"].powerState == state:
            raise vim.fault.InvalidPowerState(requestedState=state, existingState=state)

        def work(t):
            self.set("runtime.powerState", state)
            self.touch("summary")
            self.stunned()
        return self.task(ctx, name, "VirtualMachine." + name, work)

    def PowerOnVM_Task(self, ctx, host=None):
        return self._power(ctx, "powerOn", "poweredOn")

    def PowerOffVM_Task(self, ctx):
        return self._power(ctx, "powerOff", "poweredOff")


class Lease(MO):
    vim, prefix = vim.HttpNfcLease, "session[lease]"
    TIMEOUT = 300

    @classmethod
    def export(cls, ctx, vm, snap):
        le = cls(vm.lab, state="initializing", mode="pushOrGet", transferProgress=0, initializeProgress=0, capabilities=vim.HttpNfcLease.Capabilities(pullModeSupported=False, corsSupported=False))
        le.vm, le.snap, le.files = vm, snap, {}
        le.secret = uuid.uuid4().hex
        vm.lab.leases[le.secret] = le
        urls = []
        for n, (key, d) in enumerate(vm.disks.items()):
            name = f"disk-{n}.vmdk"
            le.files[name] = (d, snap.levels[key] if snap else None)
            urls.append(vim.HttpNfcLease.DeviceUrl(key=f"/{vm.id}/ParaVirtualSCSIController0:{n}", importKey="", url=f"https://{ctx.host}/nfc/{le.secret}/{name}",
                        sslThumbprint=vm.lab.thumbprint, disk=True, targetId=name, fileSize=None))
        info = vim.HttpNfcLease.Info(lease=le.ref, entity=vm.ref, deviceUrl=urls, leaseTimeout=int(cls.TIMEOUT), totalDiskCapacityInKB=sum(d.size for d in vm.disks.values()) // 1024)
        le.alive = time.monotonic()

        def ready():
            le.props["info"] = info
            le.set("state", "ready")
            while le.props["state"] == "ready":
                time.sleep(.2)
                if time.monotonic() - le.alive > cls.TIMEOUT:
                    le.end("error", vim.fault.Timedout(msg="The operation timed out."))
        threading.Thread(target=ready, daemon=True).start()
        return le.ref

    def end(self, state, error=None):
        self.lab.leases.pop(self.secret, None)
        if error:
            self.props["error"] = error
        self.set("state", state)

    def _live(self):
        if self.props["state"] not in ("ready", "initializing"):
            raise vim.fault.InvalidState()

    def HttpNfcLeaseProgress(self, ctx, percent):
        self._live()
        self.alive = time.monotonic()
        self.set("transferProgress", percent)

    def HttpNfcLeaseComplete(self, ctx):
        self._live()
        self.end("done")

    def HttpNfcLeaseAbort(self, ctx, fault=None):
        self._live()
        self.end("error", fault or vmodl.fault.RequestCanceled())

    def HttpNfcLeaseGetManifest(self, ctx):
        return []
