"""Taking, keeping and removing the snapshot of a run, with the ledger ahead of every step."""

from engine.cancel import CancelToken
from engine.errors import CleanupError, QuiesceError, VcbError
from engine.flow import attachments, change_tracking
from engine.flow.job_context import JobContext
from engine.flow.ledger import Kind
from engine.flow.outcome import Outcome
from engine.flow.plan import Plan
from engine.flow.retry import with_retries
from engine.flow.unanswered import look_for, silent
from engine.loglevel import LogLevel
from engine.vsphere import snapshots, tasks
from engine.vsphere.snapshots import SNAPSHOT_NAME, GuestQuiesce, OwnershipToken, Snapshot

REMOVAL_RETRIES = 2
"""At least so often the removal of a snapshot is tried again, when time may heal what stopped it."""


class SnapshotStep:
    """The snapshot a run reads. `snapshot` is None until there is one; `settle` is safe in any state."""

    def __init__(self, job: JobContext, plan: Plan, outcome: Outcome) -> None:
        assert plan.snapshot is not None
        self._job, self._plan, self._decision, self._outcome = job, plan, plan.snapshot, outcome
        self._entry = job.resumed.snapshot_entry if job.resumed else 0
        self._unwanted = False
        self.snapshot: Snapshot | None = self._decision.use

    def take(self) -> Snapshot:
        """Removes our left-overs, then creates the snapshot (or uses the existing one, as the policy says)."""
        report = self._job.report
        report.step(self._decision.why)
        for leftover in self._decision.remove_first:
            remove_leftover(self._job, self._plan.vm.moref, leftover)
        if self._plan.enable_tracking:
            change_tracking.enable(self._job, self._plan.vm, self._outcome)
        snapshot = self.snapshot or self._create()
        self.snapshot = snapshot
        self._outcome.snapshot = snapshot.moref
        self._outcome.quiesced = self._reached(snapshot)
        report.log(LogLevel.STAGE, f"Snapshot {snapshot.moref} of {self._plan.vm.name}: {self._outcome.quiesced}.")
        return snapshot

    def keep_for_unmount(self) -> None:
        """vcb mount: the snapshot stays with the mount point, whose marker names it."""
        self._outcome.snapshot_fate = "in place until vcb unmount"
        if self._entry:
            self._job.ledger.left(self._entry, "mounted until vcb unmount", policy=self._plan.policy)

    def settle(self, *, succeeded: bool) -> None:
        """What the policy says at the end: automatic removes, also after a failure; createonly and manual keep;
        deleteonly removes only what was really backed up. Raises CleanupError naming what is left."""
        snapshot, outcome = self.snapshot, self._outcome
        if snapshot is None:
            return
        if not self._decision.remove_after and not self._unwanted:
            outcome.snapshot_fate = "left in place by SNAPSHOT_POLICY"
            if self._entry:
                self._job.ledger.left(self._entry, f"SNAPSHOT_POLICY {self._plan.policy}", policy=self._plan.policy)
            return
        if not self._decision.create and not succeeded:
            outcome.snapshot_fate = "kept: the backup it was for did not succeed"
            return
        number = self._entry or self._job.ledger.intent(Kind.SNAPSHOT, moref=snapshot.moref, vm=self._plan.vm.moref)
        _remove(self._job, snapshot, number)
        outcome.snapshot_fate = "removed"

    def _create(self) -> Snapshot:
        settings = self._job.settings
        asked = settings.QUIESCE
        can_quiesce = self._plan.vm.tools_running and self._plan.vm.power == "poweredOn"
        if asked == "required" and not can_quiesce and self._plan.vm.power != "poweredOff":
            raise QuiesceError(
                f"QUIESCE is required, but VMware Tools don't run in {self._plan.vm.name}.",
                hint="Start VMware Tools in the guest, or set QUIESCE to auto.",
            )
        if asked == "off" or not can_quiesce:
            return self._create_once(None)
        quiesce = GuestQuiesce(timeout_minutes=settings.QUIESCE_TIMEOUT)
        try:
            snapshot = self._create_once(quiesce)
        except QuiesceError as error:
            if asked == "required":
                raise
            self._job.report.warning(
                f"The guest could not be quiesced: {error.sentence} Taking a crash-consistent snapshot instead.",
                fault=error.fault,
                hint=error.hint,
            )
            self._outcome.exceptions.append(f"The guest could not be quiesced ({error.fault or error.code}).")
            return self._create_once(None)
        if asked == "required" and not snapshot.quiesced:
            self._unwanted = True
            raise QuiesceError("QUIESCE is required, but vCenter reports the snapshot as not quiesced.")
        return snapshot

    def _create_once(self, quiesce: GuestQuiesce | None) -> Snapshot:
        job, vm = self._job, self._plan.vm
        description = job.token(vm.moref).to_description()
        self._entry = job.ledger.intent(
            Kind.SNAPSHOT, vm=vm.moref, name=SNAPSHOT_NAME, vcenter=job.session.instance_uuid
        )
        attempts = 0

        def create() -> Snapshot:
            nonlocal attempts
            attempts += 1
            made = self._existing() if attempts > 1 else None
            return made or snapshots.create(
                job.session, vm.moref, name=SNAPSHOT_NAME, description=description, quiesce=quiesce,
                report=job.report, cancel=job.cancel,
            )  # fmt: skip

        try:
            self.snapshot = with_retries(
                create,
                doing=f"Creating the snapshot of {vm.name}",
                retries=job.settings.MAX_RETRIES,
                backoff=job.settings.BACKOFF_TIME,
                report=job.report,
                cancel=job.cancel,
            )
        except VcbError as error:
            self._recover(error)
            raise
        job.ledger.done(self._entry, moref=self.snapshot.moref)
        return self.snapshot

    def _recover(self, failure: VcbError) -> None:
        """After a failed or cancelled creation: the snapshot may exist all the same (the answer was lost, the task
        ended after the cancel). It is looked up by this job's token, so that the clean-up can remove it."""
        job, doubtful = self._job, silent(failure)
        try:
            self.snapshot = look_for(self._settled, failure, job.settings.HTTP_TIMEOUT)
        except VcbError as error:
            job.report.error(error)
            doubtful = True
        if self.snapshot is not None:
            job.ledger.done(self._entry, moref=self.snapshot.moref)
        elif doubtful:
            self._outcome.leftovers.append(f"perhaps a snapshot {SNAPSHOT_NAME} of job {job.id}")
        else:
            job.ledger.undone(self._entry)

    def _settled(self) -> Snapshot | None:
        """`_existing`, when no creation is at work on the VM any more."""
        job, vm = self._job, self._plan.vm
        tasks.await_running(job.session, vm.moref, job.report, kind="VirtualMachine.createSnapshot")
        return self._existing()

    def _existing(self) -> Snapshot | None:
        """This job's own snapshot, when an earlier attempt made it after all."""
        for snapshot in snapshots.read(self._job.session, self._plan.vm.moref):
            token = OwnershipToken.parse(snapshot.description)
            if token is not None and token.job == self._job.id and self._job.owns(snapshot, self._plan.vm.moref):
                return snapshot
        return None

    def _reached(self, snapshot: Snapshot) -> str:
        if snapshot.quiesced:
            return "quiesced"
        return "powered off" if self._plan.vm.power == "poweredOff" else "crash-consistent"


def remove_leftover(job: JobContext, vm_moref: str, snapshot: Snapshot, number: int = 0) -> None:
    """Removes a backup snapshot of ours that an earlier run left; `number` where the ledger has it already. The proof
    is repeated here, at the point of use."""
    if not job.owns(snapshot, vm_moref):
        raise CleanupError(f"Snapshot {snapshot.moref} is not provably this proxy's and is not removed.")
    number = number or job.ledger.intent(Kind.SNAPSHOT, moref=snapshot.moref, vm=vm_moref, leftover=True)
    _remove(job, snapshot, number)


def _remove(job: JobContext, snapshot: Snapshot, number: int) -> None:
    """Removal is never cut short by a cancel: half a clean-up is worse than a late one. It is tried again even with
    MAX_RETRIES 0: that speaks of work, and a snapshot left on a VM grows. When it fails, the ledger's entry stays
    open, and every later run on this VM tells of it."""

    def remove() -> bool:
        attachments.sweep(job)
        return snapshots.remove(job.session, snapshot.moref, job.report)

    try:
        there = with_retries(
            remove,
            doing=f"Removing snapshot {snapshot.moref}",
            retries=max(job.settings.MAX_RETRIES, REMOVAL_RETRIES),
            backoff=job.settings.BACKOFF_TIME,
            report=job.report,
            cancel=CancelToken(),
        )
    except VcbError as error:
        raise CleanupError(
            f"Snapshot {snapshot.moref} ({snapshot.name}) could not be removed: {error.sentence}",
            fault=error.fault,
            hint="It grows while the VM runs: remove it in vCenter, or run the backup again.",
        ) from error
    job.ledger.undone(number, moref=snapshot.moref)
    if not there:
        job.report.warning(f"Snapshot {snapshot.moref} was gone already.")
