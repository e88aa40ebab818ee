"""One VM's backup, from lookup to result: the stages in their order, and the way back from each of them."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime

from engine.cancel import CancelToken
from engine.errors import Cancelled, CleanupError, VcbError
from engine.events import DiskSkipped, PlanMade, Stage
from engine.flow.consolidation import settle_consolidation
from engine.flow.exporters import Exporter, open_exporter
from engine.flow.incremental import DiskMethod, Methods
from engine.flow.job_context import JobContext
from engine.flow.ledger import Kind
from engine.flow.locks import root_lock, vm_lock
from engine.flow.merge import settle_interrupted
from engine.flow.mount_step import MountStep
from engine.flow.outcome import DiskOutcome, Outcome
from engine.flow.plan import Plan
from engine.flow.point_files import ConfigurationFiles, planned_names
from engine.flow.proof import prove
from engine.flow.resume import take_over
from engine.flow.retry import with_retries
from engine.flow.snapshot_step import SnapshotStep, remove_leftover
from engine.flow.survey import look_up, make_plan, points_home
from engine.loglevel import LogLevel
from engine.points import replacement
from engine.points.mount_point import backuproot
from engine.reporter import Reporter
from engine.system_errors import from_system
from engine.vsphere.disks import Disk
from engine.vsphere.inventory import read_vm
from engine.vsphere.snapshots import Snapshot


class VmBackup:
    """One run for one VM. A `mount` (as the outcome says) ends after the proof, with mount point and snapshot in place.

    `run` raises no VcbError: it ends in `outcome`, whatever happened, after undoing what must not stay.
    """

    def __init__(self, job: JobContext, outcome: Outcome, *, resume: str = "") -> None:
        """`resume`: the id of a dead job's part whose work is gone on with."""
        self._job, self._outcome, self._keep_mounted = job, outcome, outcome.act == "mount"
        self._resume = resume
        self._mount: MountStep | None = None
        self._snapshot: SnapshotStep | None = None
        self._exporter: Exporter | None = None

    def run(self, spec: str) -> None:
        with ExitStack() as locks:
            try:
                plan = self._prepare(spec, locks)
                if plan.exported or not plan.disks:
                    self._export(plan)
                    self._publish(plan)
                    if not self._keep_mounted:
                        self._release(plan)
            except VcbError as error:
                self._outcome.error = error
                self._undo()
            except BaseException as error:
                self._outcome.error = from_system(error)
                self._undo()
                if self._outcome.error is None:
                    raise

    def _prepare(self, spec: str, locks: ExitStack) -> Plan:
        job, outcome = self._job, self._outcome
        with self._stage(Stage.LOOKUP):
            moref = look_up(job, spec)
        with self._stage(Stage.CHECKS) as report:
            vcenter = job.session.instance_uuid
            locks.enter_context(vm_lock(job.state, vcenter, moref, job.id))
            job.ledger.intent(Kind.JOB, vm=moref, vcenter=vcenter, pid=os.getpid(), proxy=job.state.proxy_id)
            if self._resume:
                locks.enter_context(self._root_lock())
                job.resumed = take_over(job, self._resume, moref, read_vm(job.session, moref).name)
            self._settle_merges((vcenter, moref), report)
            plan = outcome.plan = make_plan(job, moref, mounted=self._keep_mounted)
            job.report = job.report.bind(vm=plan.vm.name)
            _announce(plan, report.bind(vm=plan.vm.name))
            if plan.obstacle is not None:
                raise plan.obstacle
            if not self._resume:
                locks.enter_context(self._root_lock())
            outcome.note_skipped()
            if plan.disks and not plan.exported:
                outcome.exceptions.append("No disk of this VM can be backed up; nothing was written.")
        return plan

    def _root_lock(self) -> AbstractContextManager[None]:
        job = self._job
        return root_lock(backuproot(job.settings.BACKUPROOT), job.state, job.id, self._outcome.leftovers)

    def _settle_merges(self, vm: tuple[str, str], report: Reporter) -> None:
        """A merge of this VM's points that was cut off is completed or undone before anything is built on them. One
        that can't be is told; the plan then sees what there is."""
        job = self._job
        root = job.settings.BACKUPROOT
        if root.is_dir() and replacement.directories(root):
            root = backuproot(root)
            with root_lock(root, job.state, job.id):
                settle_interrupted(root, job.state, report, held=vm, others=False)

    def _export(self, plan: Plan) -> None:
        job, outcome = self._job, self._outcome
        self._mount = MountStep(job, plan, planned_names(plan))
        with self._stage(Stage.MOUNT_POINT):
            self._mount.prepare()
        self._snapshot = SnapshotStep(job, plan, outcome)
        with self._stage(Stage.SNAPSHOT):
            snapshot = self._snapshot.take()
            self._mount.belongs(snapshot.moref)
        methods: dict[int, DiskMethod] = {}
        with self._stage(Stage.OPEN) as report:
            if plan.exported:  # a VM without disks has its configuration alone to save
                self._exporter = open_exporter(job, plan, snapshot, report)
                outcome.transport = self._exporter.transport
                methods = self._settle_methods(plan, self._exporter, snapshot, report)
        directory = self._mount.directory
        with self._stage(Stage.EXPORT) as report:
            for planned in plan.exported:
                done = self._export_disk(planned.disk, methods[planned.disk.key], report)
                outcome.disks.append(done)
                if done.alarm:
                    outcome.exceptions.append(done.alarm)
            manifest = ConfigurationFiles(job, plan, snapshot, outcome, directory, report).save()
            exporter, self._exporter = self._exporter, None
            if exporter is not None:
                exporter.finish()
        with self._stage(Stage.VERIFY) as report:
            prove(directory, manifest, points_home(job, plan.vm), job.cancel, report)

    def _settle_methods(
        self, plan: Plan, exporter: Exporter, snapshot: Snapshot, report: Reporter
    ) -> dict[int, DiskMethod]:
        """How each disk is read, now that it is known how the snapshot froze it and which transport carries it."""
        methods = Methods(self._job, plan.vm, points_home(self._job, plan.vm))
        settled: dict[int, DiskMethod] = {}
        for planned in plan.exported:
            assert planned.method is not None
            key, scoped = planned.disk.key, report.bind(disk=planned.disk.name)
            settled[key] = methods.settle(planned.method, exporter.frozen[key], snapshot, exporter.transport, scoped)
        return settled

    def _export_disk(self, disk: Disk, method: DiskMethod, report: Reporter) -> DiskOutcome:
        assert self._mount is not None
        assert self._exporter is not None
        job, directory, exporter = self._job, self._mount.directory, self._exporter
        report = report.bind(disk=disk.name)
        return with_retries(
            lambda: exporter.export(disk.key, method, directory, report),
            doing=f"Exporting {disk.name}",
            retries=job.settings.MAX_RETRIES,
            backoff=job.settings.BACKOFF_TIME,
            report=report,
            cancel=job.cancel,
        )

    def _publish(self, plan: Plan) -> None:
        assert self._mount is not None
        assert self._snapshot is not None
        with self._stage(Stage.MEDIA) as report:
            if self._keep_mounted:
                self._outcome.point = self._mount.publish_mount()
                self._snapshot.keep_for_unmount()
            else:
                self._outcome.point = self._mount.publish_point(datetime.now(UTC))
            report.log(LogLevel.STAGE, f"{plan.vm.name} is in {self._outcome.point}.")

    def _release(self, plan: Plan) -> None:
        """The point is safe, and only clean-up remains: a cancel comes too late, and a failure is an exception."""
        self._job.cancel = CancelToken()
        with self._stage(Stage.UNMOUNT) as report:
            report.step("The mount point became the restore point; nothing is left of it.")
        failures = self._discard_resumed()
        failures += self._attempt(lambda: self._settle(succeeded=True))
        failures += self._attempt(lambda: self._consolidate(plan))
        self._outcome.exceptions += failures

    def _settle(self, *, succeeded: bool) -> None:
        step, self._snapshot = self._snapshot, None
        assert step is not None
        with self._stage(Stage.REMOVE_SNAPSHOT) as report:
            step.settle(succeeded=succeeded)
            report.step(f"Snapshot {self._outcome.snapshot}: {self._outcome.snapshot_fate}.")

    def _consolidate(self, plan: Plan) -> None:
        with self._stage(Stage.CONSOLIDATION) as report:
            vm = plan.vm
            settle_consolidation(self._job, vm.moref, vm.name, self._outcome, report, before=vm.consolidation_needed)

    def _undo(self) -> None:
        """The way back, newest first. Each part is tried whatever became of the others; what stays is named."""
        self._job.cancel = CancelToken()  # the operator's stop ends the work, never the clean-up
        exporter, self._exporter = self._exporter, None
        if exporter is not None:
            self._attempt(exporter.abort)
        if self._snapshot is not None and self._snapshot.snapshot is not None:
            self._attempt(lambda: self._settle(succeeded=False))
        elif self._job.resumed is not None and self._snapshot is None:
            self._attempt(self._give_up_snapshot)
        if self._mount is not None:
            self._attempt(self._mount.discard)
        self._discard_resumed()

    def _give_up_snapshot(self) -> None:
        """Of the dead job, when this one does not even come to read it."""
        resumed = self._job.resumed
        assert resumed is not None
        remove_leftover(self._job, resumed.marker.vm, resumed.snapshot)
        self._job.ledger.undone(resumed.snapshot_entry)

    def _discard_resumed(self) -> list[str]:
        resumed = self._job.resumed
        return self._attempt(lambda: resumed.discard(self._job)) if resumed else []

    def _attempt(self, undo: Callable[[], None]) -> list[str]:
        """Runs one part of the clean-up; a failure, even one of ours, is told, and the other parts get their turn."""
        try:
            undo()
        except VcbError as error:
            problem = error
        except Exception as error:
            why = from_system(error)
            text = f"A part of the clean-up failed: {why.sentence if why else error}"
            problem = CleanupError(text, fault=why.fault if why else type(error).__name__)
        else:
            return []
        self._job.report.error(problem)
        self._outcome.leftovers.append(problem.sentence)
        return [problem.sentence]

    @contextmanager
    def _stage(self, stage: Stage) -> Iterator[Reporter]:
        """One stage: its events, its row in the outcome, and the operator's chance to stop before it."""
        self._job.cancel.check()
        began, how = time.monotonic(), "failed"
        try:
            with self._job.report.stage(stage) as report:
                yield report
            how = "ok"
        except Cancelled:
            how = "cancelled"
            raise
        finally:
            seconds = time.monotonic() - began
            self._outcome.stages.append({"stage": stage.value, "seconds": seconds, "outcome": how})


def _announce(plan: Plan, report: Reporter) -> None:
    report.emit(PlanMade(plan=plan.to_json()))
    for warning in plan.warnings:
        report.warning(warning)
    for planned in plan.skipped:
        assert planned.skip is not None
        report.emit(DiskSkipped(disk=planned.disk.name, code=planned.skip.code, reason=planned.skip.text))
