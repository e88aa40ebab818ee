"""What dead jobs left behind: found, shown, and taken away in the order in which it was built upon each other.

with reconciling(settings, report, cancel) as reconcile:
    found = reconcile.look()
    outcome = reconcile.clean(found.to_clean)
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

from engine.cancel import CancelToken
from engine.config.options import Settings
from engine.errors import Cancelled, CleanupError, LoginError, TrustError, VcbError
from engine.events import ResultState
from engine.flow.attachments import settled_proxies
from engine.flow.job import Prompt, open_session
from engine.flow.ledger import Kind
from engine.flow.locks import vm_lock
from engine.flow.reconcile.attachments import Attachments
from engine.flow.reconcile.directories import Directories, Removals, RootLocks, Scratches
from engine.flow.reconcile.leases import Leases
from engine.flow.reconcile.leftover import Leftover, Verdict
from engine.flow.reconcile.merges import Merges
from engine.flow.reconcile.restored_vms import RestoredVms
from engine.flow.reconcile.scene import Scene
from engine.flow.reconcile.snapshots import Consolidations, Snapshots
from engine.loglevel import LogLevel
from engine.reporter import Reporter
from engine.state_directory import StateDirectory
from engine.vsphere import tasks

_SNAPSHOT_TASKS = ("VirtualMachine.createSnapshot", "vim.vm.Snapshot.remove", "VirtualMachine.removeSnapshot")


class LeftoverKind(Protocol):
    """One kind of thing that jobs leave: how it is found and judged, and how it is undone."""

    @property
    def kind(self) -> str: ...
    @property
    def action(self) -> str:
        """What `undo` does, for the preview."""
        ...

    def find(self, scene: Scene) -> Iterator[Leftover]: ...

    def undo(self, scene: Scene, leftover: Leftover) -> None:
        """Takes away what `find` has just judged OURS, under the VM's lock. Raises VcbError when it stays."""
        ...


KINDS: tuple[LeftoverKind, ...] = (
    Leases(),
    RestoredVms(),
    Attachments(),
    Snapshots(),
    Consolidations(),
    Directories(),
    Merges(),
    Removals(),
    Scratches(),
    RootLocks(),
)
"""In the order of the clean-up: what holds something comes before what it holds. A disk that is still attached to the
proxy, for one, must be detached before its snapshot goes."""


@dataclass(frozen=True, slots=True)
class Found:
    """All that was found, in the order of the clean-up. `unchecked`: what could not be looked at, and why."""

    leftovers: tuple[Leftover, ...]
    unchecked: tuple[str, ...]

    @property
    def to_clean(self) -> tuple[Leftover, ...]:
        return tuple(each for each in self.leftovers if each.verdict in (Verdict.OURS, Verdict.GONE))

    @property
    def shown(self) -> tuple[Leftover, ...]:
        """Without what only a ledger still tells of."""
        return tuple(each for each in self.leftovers if each.verdict is not Verdict.GONE)

    @property
    def state(self) -> ResultState:
        """Before any clean-up: success when nothing of ours is left and everything could be looked at."""
        unsettled = any(each.verdict in (Verdict.OURS, Verdict.UNCHECKED) for each in self.leftovers)
        return ResultState.EXCEPTIONS if unsettled or self.unchecked else ResultState.SUCCESS


@dataclass(slots=True)
class Cleaned:
    """What became of it: `removed` is gone, `failed` stays, with the reason."""

    removed: list[Leftover] = field(default_factory=list)
    failed: list[tuple[Leftover, VcbError]] = field(default_factory=list)
    cancelled: bool = False

    @property
    def state(self) -> ResultState:
        if self.cancelled:
            return ResultState.CANCELLED
        if not self.failed:
            return ResultState.SUCCESS
        return ResultState.EXCEPTIONS if self.removed else ResultState.FAILURE

    def to_json(self) -> dict[str, Any]:
        return {
            "removed": [each.to_json() for each in self.removed if each.verdict is Verdict.OURS],
            "failed": [each.to_json() | {"error": error.to_json()} for each, error in self.failed],
        }


class Reconcile:
    """Made by `reconciling`."""

    def __init__(self, scene: Scene, *, offline: str) -> None:
        self._scene, self._offline = scene, offline

    def look(self) -> Found:
        """Reads everything, and touches nothing. Raises Cancelled, and VcbError when vCenter fails in the middle."""
        scene = self._scene
        scene.unchecked = [self._offline] if self._offline else []
        scene.read_local()
        if scene.session is not None:
            self._await_tasks()
            scene.cancel.check()
            scene.read_machines()
        return Found(tuple(leftover for kind in KINDS for leftover in kind.find(scene)), tuple(scene.unchecked))

    def clean(self, chosen: Sequence[Leftover]) -> Cleaned:
        """Takes away what was chosen, as far as it is still provably ours when its turn comes. Ends early, with what is
        done, at a cancel: never within a step."""
        done = Cleaned()
        for kind in KINDS:
            for leftover in (each for each in chosen if each.kind == kind.kind):
                if self._scene.cancel.cancelled:
                    done.cancelled = True
                    return done
                self._one(kind, leftover, done)
        return self._consolidated(done)

    def _one(self, kind: LeftoverKind, leftover: Leftover, done: Cleaned) -> None:
        report = self._scene.report.bind(vm=leftover.vm_name)
        try:
            with self._locked(leftover):
                self._undo(kind, leftover)
        except Cancelled:
            done.cancelled = True
        except VcbError as error:
            report.error(error)
            done.failed.append((leftover, error))
        else:
            done.removed.append(leftover)

    def _undo(self, kind: LeftoverKind, leftover: Leftover) -> None:
        """Judged again now that nobody else can touch it."""
        scene = self._scene
        scene.read_again(leftover.vm)
        now = next((each for each in kind.find(scene) if each.id == leftover.id), None)
        if now is None:
            return  # gone meanwhile, and nobody tells of it
        if now.verdict is Verdict.OURS:
            scene.report.bind(vm=now.vm_name).log(LogLevel.STAGE, f"{now.text}: {kind.action}.")
            kind.undo(scene, now)
        elif now.verdict is not Verdict.GONE:
            raise CleanupError(f"The {now.text} stays: {now.why}.", fault=now.verdict.value)
        scene.settle(now.records)

    def _locked(self, leftover: Leftover) -> Any:
        if not (leftover.vcenter and leftover.vm):
            return nullcontext()
        return vm_lock(self._scene.state, leftover.vcenter, leftover.vm, "reconcile")

    def _consolidated(self, done: Cleaned) -> Cleaned:
        """A removed snapshot may leave its files part of the disks: a success of the task does not tell."""
        kind, scene = Consolidations(), self._scene
        for leftover in [each for each in done.removed if each.kind == Snapshots.kind]:
            scene.read_again(leftover.vm)
            machine = scene.machines.get(leftover.vm)
            if machine is None or not machine.consolidation_needed:
                continue
            try:
                with self._locked(leftover):
                    kind.undo(scene, leftover)
            except VcbError as error:
                scene.report.error(error)
                done.failed.append((leftover, error))
        return done

    def _await_tasks(self) -> None:
        """A task that a dead job started may still be at work, and change what will be found."""
        scene = self._scene
        assert scene.session is not None
        waiting = {
            entry.details.get("vm", "")
            for job in scene.dead()
            if job.header.get("vcenter") == scene.vcenter
            for entry in job.open(Kind.SNAPSHOT)
        }
        for vm in sorted(waiting - {""}):
            for kind in _SNAPSHOT_TASKS:
                tasks.await_running(scene.session, vm, scene.report, kind=kind)
        settled_proxies(scene.session, scene.settings, scene.state, scene.report)


@contextmanager
def reconciling(
    settings: Settings,
    report: Reporter,
    cancel: CancelToken,
    *,
    adopt: Sequence[str] = (),
    prompt: Prompt | None = None,
) -> Iterator[Reconcile]:
    """With a session where the vCenter can be reached; else with what is local, and `unchecked` says so. A certificate
    or credentials that are refused are errors: trying again in the morning does not heal them."""
    scene = Scene(settings, StateDirectory.default(), report, cancel, adopted=frozenset(adopt))
    offline = ""
    try:
        scene.session = open_session(settings, report, prompt)
    except (TrustError, LoginError):
        raise
    except VcbError as error:
        offline = f"vCenter: {error.sentence} Its snapshots and leases were not looked at."
        report.warning(offline, fault=error.fault, hint=error.hint)
    if scene.session is None:
        yield Reconcile(scene, offline=offline)
        return
    scene.session.start_keepalive()
    try:
        yield Reconcile(scene, offline="")
    finally:
        scene.session.close()
