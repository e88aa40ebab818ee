"""The file systems under BACKUPROOT and under the state directory: each call into them fails, once or from then on."""

import errno
from collections.abc import Callable, Iterator
from typing import Any

from tests.faults.cells import Cell, Trouble
from tests.faults.os_seam import ERRORS, FAILING, Seam
from tests.faults.recording import Met, Recording, first_of_each, watched
from tests.faults.scene import Scene

_NAMES = {"root": "BACKUPROOT", "state": "state directory"}


def file_systems(transport: str, recorded: Recording) -> Iterator[Cell]:
    for met in first_of_each(recorded.calls):
        for name, code in ERRORS.items():
            if met.name not in FAILING.get(name, (met.name,)):
                continue
            for lasting in (False, True):
                what = f"{met.name} {'from then on' if lasting else 'once'}"
                # Nothing can be tidied on a file system that takes no change any more.
                trouble = Trouble(patched=_failing(met, name, code, lasting=lasting), may_stay=True)
                yield Cell(f"{name} in {_NAMES[met.phase]}", met.stage, transport, what, trouble)


def descriptors(transport: str, recorded: Recording) -> Iterator[Cell]:
    """No descriptor is left for this process."""
    for met in first_of_each(recorded.calls):
        if "open" in met.name or met.name in ("scandir", "listdir"):
            for lasting in (False, True):
                what = f"{met.name} in {_NAMES[met.phase]} {'from then on' if lasting else 'once'}"
                trouble = Trouble(
                    patched=_failing(met, "EMFILE", errno.EMFILE, lasting=lasting, like=("open", "scandir", "listdir")),
                    may_stay=True,
                )
                yield Cell("out of descriptors", met.stage, transport, what, trouble)


def _failing(met: Met, name: str, code: int, *, lasting: bool, like: tuple[str, ...] = ()) -> Callable[[Scene], Seam]:
    """From the recorded call on, all calls into that directory fail that can fail so (`lasting`), or only it."""

    def seam(scene: Scene) -> Seam:
        struck: list[bool] = []

        def called(where: str, function: str, number: int, target: Any) -> int | None:
            if where == met.phase and (function, number) == (met.name, met.number):
                struck.append(True)
                return code
            if not (struck and lasting and where == met.phase):
                return None
            if like:
                return code if any(word in function for word in like) else None
            return code if function in FAILING.get(name, (function,)) else None

        return Seam(watched(scene), called)

    return seam
