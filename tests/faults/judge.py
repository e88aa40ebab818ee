"""Whether a cell passes: what the operator is told, what is left, what became of what was there before."""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from engine.cancel import CancelToken
from engine.errors import Cancelled, VcbError
from engine.events import LogRecord, ResultState
from engine.flow.outcome import Outcome
from engine.flow.point_check import PointChecks
from engine.flow.reconcile.reconcile import reconciling
from engine.image.chain import open_disk
from engine.points import catalog, manifest as manifests
from engine.points.proof import Depth
from engine.reporter import silent
from tests.faults.cells import Trouble
from tests.faults.child import Ended
from tests.faults.scene import Scene

_NOT_FOR_OPERATORS = re.compile(r"Traceback|<class |object at 0x|\[Errno|Error\(|None\b|\x1b")


def told(error: VcbError) -> Iterator[str]:
    """What is wrong with how a failure is told."""
    for what, text in (("sentence", error.sentence), ("hint", error.hint)):
        if not text.strip() and isinstance(error, Cancelled):
            continue  # the operator knows
        if not text.strip():
            yield f"{type(error).__name__} has no {what}: {error}"
        elif _NOT_FOR_OPERATORS.search(text) or not text.rstrip().endswith((".", "!", "?", ")", "...")):
            yield f"not for an operator: {text!r}"


def judge_outcome(scene: Scene, outcome: Outcome | Ended, trouble: Trouble) -> Iterator[str]:
    """The state, the words, and the new point."""
    if outcome.state not in trouble.expected:
        yield f"ended as {outcome.state.value}: {outcome.sentence}"
    if outcome.error is not None:
        yield from told(outcome.error)
        if trouble.fault and not _named(scene, trouble.fault):
            yield f"the fault {trouble.fault} is named nowhere: {outcome.error}"
    for text in (*outcome.exceptions, *outcome.leftovers):
        if not text.strip() or _NOT_FOR_OPERATORS.search(text):
            yield f"not for an operator: {text!r}"
    if outcome.state in (ResultState.SUCCESS, ResultState.EXCEPTIONS) and outcome.point is not None:
        yield from judge_contents(scene, outcome.point) if trouble.content_known else ()
    elif outcome.state is ResultState.SUCCESS:
        yield "a success without a point"


def _named(scene: Scene, fault: str) -> bool:
    """In the result or in a record of the log."""
    texts = [f"{event.fault} {event.text}" for event in scene.proxy.events if isinstance(event, LogRecord)]
    return any(fault in text for text in texts)


def judge_contents(scene: Scene, point: Path) -> Iterator[str]:
    """Each disk of the point is, read through its chain, what the lab froze."""
    manifest = manifests.read(point)
    for disk in manifest.disk:
        frozen = scene.lab.frozen_image(manifest.snapshot.moref, disk.key).read_bytes()
        try:
            with closing(open_disk(point / disk.files[0])) as image:
                content = bytearray(image.capacity)
                image.read_into(0, memoryview(content))
        except VcbError as error:
            yield f"{disk.name} of {point.name} can't be read: {error}"
            continue
        if bytes(content) != frozen:
            yield f"{disk.name} of {point.name} is not what was frozen"


def judge_left(scene: Scene, trouble: Trouble, *, told_of: bool) -> Iterator[str]:
    """Nothing of ours, at once or after `vcb reconcile --yes`. `told_of`: the job said that something stays."""
    left = scene.left()
    if left and not trouble.may_stay:
        yield f"left behind: {'; '.join(left)}"
    if left and not told_of:
        yield f"left behind, and not told: {'; '.join(left)}"
    if left or trouble.may_stay:
        with reconciling(scene.proxy.settings(**scene.mode), silent(), CancelToken()) as reconcile:
            found = reconcile.look()
            for why in found.unchecked:
                yield f"reconcile could not look: {why}"
            for leftover, error in reconcile.clean(found.to_clean).failed:
                yield f"reconcile could not remove the {leftover.text}: {error}"
        if left := scene.left():
            yield f"left behind after vcb reconcile --yes: {'; '.join(left)}"


def judge_what_was(scene: Scene) -> Iterator[str]:
    """The restore point before, the things of others, and that every point that is listed is sound."""
    now = scene.files()
    for name, digest in scene.before.items():
        if now.get(name) != digest and not name.endswith("proof.toml"):
            yield f"{name} was {'changed' if name in now else 'removed'}"
    snapshots = scene.snapshots()
    yield from (f"a snapshot of others is gone: {other}" for other in scene.others if other not in snapshots)
    seen = catalog.look(scene.root, scene.state)
    yield from (f"a point that can't be read is listed: {path}: {why}" for path, why in seen.troubles.items())
    checks = PointChecks(Depth.FILES, CancelToken(), silent())
    for point in seen.points:
        yield from (f"{point.name} is listed and damaged: {found}" for found in checks.check(point.directory).findings)
    if not seen.points:
        yield "no point is listed"
