"""A point as a new VM in vCenter or on ESXi: over an import lease, from the OVF descriptor that the backup saved."""

from collections.abc import Callable
from dataclasses import dataclass, field

from engine.cancel import CancelToken
from engine.config.options import Settings
from engine.errors import LeaseError, VcbError, VerifyError
from engine.events import Stage
from engine.flow.job import Prompt, open_session
from engine.flow.ledger import Kind
from engine.flow.point_files import NVRAM, OVF, VMX
from engine.flow.restore_job import DiskWatch, RestoreJob, RestoreOutcome, blocks
from engine.flow.restore_plan import VmPlan, VmWish, items_of, make_plan
from engine.flow.restore_to_files import as_it_is
from engine.flow.retry import with_retries
from engine.image.recompress import recompress
from engine.points.manifest import DiskEntry
from engine.points.restore_files import Point
from engine.reporter import Reporter
from engine.transport.upload import Send, Upload
from engine.vsphere import import_spec, power
from engine.vsphere.import_lease import ImportLease, answer_lost, end_lost_import, is_gone
from engine.vsphere.import_spec import ImportItem, ImportSpec
from engine.vsphere.lease import DeviceUrl
from engine.vsphere.session import Session

NOTE = "vcb.restore"
"""Key in the new VM's own configuration; its value is the job that made it: so it is provably ours."""
_PATIENCE = 15.0
"""Seconds in which the server may take the VM of an aborted import away."""


def plan_vm(
    point: Point,
    wish: VmWish,
    settings: Settings,
    report: Reporter,
    cancel: CancelToken,
    *,
    prompt: Prompt | None = None,
) -> VmPlan:
    """What `restore_vm` would make. Raises what would stop it."""
    job = RestoreJob(point, "", report, cancel)
    session = open_session(settings, report, prompt)
    try:
        return make_plan(job, session, wish)
    finally:
        session.close()


def restore_vm(
    point: Point,
    wish: VmWish,
    settings: Settings,
    report: Reporter,
    cancel: CancelToken,
    *,
    prompt: Prompt | None = None,
) -> RestoreOutcome:
    """Makes the VM; or leaves nothing of it. Never raises VcbError."""
    job = RestoreJob(point, f"{wish.name or point.manifest.vm.name} at {settings.HOST}", report, cancel)
    restore = _ToVm(job, settings, wish, prompt)
    try:
        return job.run(restore.work, restore.undo)
    finally:
        restore.close()


@dataclass(slots=True)
class _ToVm:
    job: RestoreJob
    settings: Settings
    wish: VmWish
    prompt: Prompt | None
    session: Session | None = None
    plan: VmPlan | None = None
    lease: ImportLease | None = None
    entry: int = 0
    done: dict[str, int] = field(default_factory=dict)
    """Bytes read of each disk so far, for the lease's progress."""

    def work(self) -> None:
        job = self.job
        with job.stage(Stage.CHECKS) as report:
            session = self.session = open_session(self.settings, report, self.prompt)
            session.start_keepalive()
            plan = self.plan = make_plan(job, session, self.wish)
            job.outcome.target = f"{plan.placement.folder.path}/{plan.name}"
        job.prove(plan.disks, also=[OVF, VMX, NVRAM])
        job.announce(vcenter=session.instance_uuid, name=plan.name)
        with job.stage(Stage.IMPORT_LEASE):
            spec = self._specify(session, plan)
            lease = self._begin(session, plan, spec)
            self._must_offer(lease, spec, plan)
        with job.stage(Stage.RESTORE) as report:
            items = {item.key: item for item in spec.items}
            uploads = [
                (device, self._send(device, item, plan, report))
                for device in lease.devices
                if (item := items.get(device.import_key))
            ]
        with job.stage(Stage.VERIFY) as report:
            self._compare(lease, uploads, report)
        with job.stage(Stage.MEDIA) as report:
            self._complete(lease, plan)
            report.step(f"{plan.name} is {job.outcome.moref}, powered off.")
        job.cancel = CancelToken()  # the VM is there and whole: what follows can only add to it
        job.outcome.exceptions += plan.missing
        if plan.wish.power_on:
            self._power_on(session, plan)

    def undo(self) -> None:
        self.job.outcome.disks.clear()
        lease, self.lease = self.lease, None
        if lease is not None:
            lease.abort()
            self._settle(lease)

    def close(self) -> None:
        if self.session is not None:
            self.session.close()

    def _specify(self, session: Session, plan: VmPlan) -> ImportSpec:
        at = plan.placement
        spec = import_spec.create(
            session,
            plan.descriptor,
            name=plan.name,
            pool=at.pool.ref,
            datastore=at.datastore.ref,
            host=at.host.ref if at.host else None,
            networks={name: place.ref for name, place in at.networks.items()},
        )
        for warning in spec.warnings:
            self.job.report.step(f"OVF: {warning}")
        spec.connect_nics(plan.wish.connect)
        spec.note(NOTE, self.job.outcome.job)
        if plan.wish.keep_identity:
            vm = self.job.point.manifest.vm
            spec.keep_macs(plan.macs)
            spec.keep_uuids(vm.uuid, vm.instance_uuid)
        return spec

    def _begin(self, session: Session, plan: VmPlan, spec: ImportSpec) -> ImportLease:
        job, at = self.job, plan.placement
        self.entry = job.ledger.intent(Kind.VM, name=plan.name, folder=at.folder.ref.moid, note=job.outcome.job)
        try:
            lease = self.lease = ImportLease.start(
                session,
                spec,
                job.report,
                pool=at.pool.ref,
                folder=at.folder.ref,
                host=at.host.ref if at.host else None,
                cancel=job.cancel,
            )
        except VcbError as error:
            if not answer_lost(error) or self._end_lost(session, plan):
                job.ledger.undone(self.entry)
            raise
        job.ledger.done(self.entry, moref=lease.vm.moid if lease.vm else "")
        return lease

    def _end_lost(self, session: Session, plan: VmPlan) -> bool:
        """After a lost answer: whatever was made carries our note; its import is ended, and the VM goes with it."""

        def end() -> None:
            folder = plan.placement.folder.ref
            end_lost_import(session, folder, plan.name, (NOTE, self.job.outcome.job), self.job.report, _PATIENCE)

        return self.job.attempt(end)

    def _settle(self, lease: ImportLease) -> None:
        """Whether the server has taken the aborted VM away."""
        job = self.job
        assert self.session is not None
        gone, moref = lease.vm is None, lease.vm.moid if lease.vm else ""
        if lease.vm is not None:
            try:
                gone = is_gone(self.session, lease.vm, _PATIENCE)
            except VcbError as error:
                job.report.error(error)
        if gone:
            job.ledger.undone(self.entry)
            return
        job.outcome.leftovers.append(
            f"The unfinished VM {moref}: the server takes it away when its lease times out; if it does not, delete it."
        )

    def _must_offer(self, lease: ImportLease, spec: ImportSpec, plan: VmPlan) -> None:
        """Before hours of sending: each file of the descriptor has its place, and each disk of the point its file."""
        offered = {device.import_key for device in lease.devices}
        without = [item.path for item in spec.items if item.key not in offered]
        if without:
            raise LeaseError(f"The import lease of {plan.name} offers no URL for {', '.join(without)}.")
        paths = [item.path for item in spec.items]
        known = items_of(plan, paths)
        unknown = [path for path in paths if path not in known and path != NVRAM]
        lost = [disk.name for disk in plan.disks if disk not in known.values()]
        if unknown or lost:
            raise LeaseError(
                f"The point's OVF descriptor and its manifest do not fit: {', '.join(unknown + lost)}.",
                hint="Restore the disks with --to, and attach them to a VM of your own.",
            )
        if plan.nvram and NVRAM not in paths:
            self.job.outcome.exceptions.append("The .nvram was not put back: the OVF descriptor does not name it.")

    def _send(self, device: DeviceUrl, item: ImportItem, plan: VmPlan, report: Reporter) -> Upload:
        disk = items_of(plan, [item.path]).get(item.path)
        settings, cancel = self.settings, self.job.cancel
        work: Callable[[], Upload] = (
            (lambda: self._send_file(device, item, report)) if disk is None
            else (lambda: self._send_disk(device, disk, plan, report))
        )  # fmt: skip
        return with_retries(
            work,
            doing=f"Sending {item.path}",
            retries=settings.MAX_RETRIES,
            backoff=settings.BACKOFF_TIME,
            report=report,
            cancel=cancel,
        )

    def _upload(self, device: DeviceUrl, report: Reporter, *, disk: bool) -> Upload:
        assert self.session is not None
        assert self.lease is not None
        return Upload(
            device,
            disk=disk,
            session=self.session,
            lease=self.lease,
            report=report,
            cancel=self.job.cancel,
            timeout=self.settings.HTTP_TIMEOUT,
        )

    def _send_file(self, device: DeviceUrl, item: ImportItem, report: Reporter) -> Upload:
        data = b"".join(blocks(self.job.point.directory / item.path))
        upload = self._upload(device, report, disk=False)
        upload.run(lambda send: send(data), len(data))
        return upload

    def _send_disk(self, device: DeviceUrl, disk: DiskEntry, plan: VmPlan, report: Reporter) -> Upload:
        """A whole compact disk as its file is; any other or a chain compressed on the way."""
        job, upload = self.job, self._upload(device, report.bind(disk=disk.name), disk=True)
        image, file = job.open_disk(disk), job.point.image(disk)
        entry = next(entry for entry in job.point.manifest.file if entry.name == file.name)
        plain = as_it_is(image, file)
        size = entry.size if plain else plan.sizes[plan.disks.index(disk)]
        watch = DiskWatch(disk, size, "https", report)

        def told(read: int) -> None:
            watch.progress(read, upload.sent)
            self._report_share(disk, plan, read / size if size else 1.0)

        def compressed(send: Send) -> None:
            threads = self.settings.COMPRESSION_THREADS
            recompress(
                image, image.allocated(), send, name=file.name, threads=threads, cancel=job.cancel, progress=told
            )

        def as_file(send: Send) -> None:
            for block in blocks(file):
                send(block)
                told(upload.sent)

        try:
            upload.run(as_file if plain else compressed, entry.size if plain else None)
        finally:
            image.close()
        if plain and upload.digests.sha256 != entry.sha256:
            raise VerifyError(f"{file} changed while it was sent.", hint="Suspect the storage under BACKUPROOT.")
        row = watch.ended(size, upload.sent, plan.placement.datastore.path)
        job.outcome.disks = [kept for kept in job.outcome.disks if kept.name != row.name] + [row]
        return upload

    def _report_share(self, disk: DiskEntry, plan: VmPlan, share: float) -> None:
        assert self.lease is not None
        sizes = dict(zip((each.name for each in plan.disks), plan.sizes, strict=True))
        self.done[disk.name] = int(share * sizes[disk.name])
        self.lease.progress(100 * sum(self.done.values()) // max(1, sum(sizes.values())))

    @staticmethod
    def _compare(lease: ImportLease, uploads: list[tuple[DeviceUrl, Upload]], report: Reporter) -> None:
        """The server's account of what arrived against what was sent."""
        entries = {entry.key: entry for entry in lease.manifest()}
        for device, upload in uploads:
            entry = entries.get(device.key)
            name = device.target or device.key
            if entry is None:
                report.step(f"{name}: the server keeps no manifest of it; it took all {upload.sent:,} bytes.")
                continue
            ours = upload.digests.of(entry.checksum_type)
            if entry.size != upload.sent or (ours is not None and entry.checksum != ours):
                raise VerifyError(
                    f"{name}: {upload.sent:,} bytes were sent, but {entry.size:,} others arrived "
                    f"({entry.checksum_type} {entry.checksum[:16]}...).",
                    hint="Restore again; if it happens again, suspect the network between proxy and host.",
                )
            report.step(f"{name}: {upload.sent:,} bytes arrived, {entry.checksum_type} as they were sent.")

    def _complete(self, lease: ImportLease, plan: VmPlan) -> None:
        lease.complete()
        self.lease = None
        self.job.outcome.moref = lease.vm.moid if lease.vm else ""
        self.job.ledger.left(self.entry, "a restored VM", name=plan.name)

    def _power_on(self, session: Session, plan: VmPlan) -> None:
        try:
            power.power_on(session, self.job.outcome.moref, self.job.report, subject=plan.name)
        except VcbError as error:
            self.job.report.error(error)
            self.job.outcome.exceptions.append(f"It could not be powered on: {error.sentence}")
