"""Runs cells in processes, and ends those that hang."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from tests.faults import matrix
from tests.faults.matrix import Verdict
from tests.faults.recording import Recording

_LONGEST = 120.0
"""Seconds until a cell counts as hanging."""
_SPAWN = multiprocessing.get_context("spawn")


@dataclass
class _Hand:
    process: Any
    pipe: Connection
    number: int = -1
    since: float = 0.0


def run_all(numbers: Sequence[int], recorded: dict[str, Recording], template: Path, jobs: int) -> Iterator[Verdict]:
    """The verdicts as they come. One that hangs is a failure, and its process is killed."""
    todo = list(reversed(numbers))
    hands = [_start(recorded, template) for _ in range(min(jobs, len(todo)))]
    for hand in hands:
        _give(hand, todo)
    try:
        while any(hand.number >= 0 for hand in hands):
            ready = wait([hand.pipe for hand in hands if hand.number >= 0], timeout=1.0)
            for position, hand in enumerate(hands):
                if hand.number < 0:
                    continue
                if hand.pipe in ready:
                    verdict = _answer(hand)
                elif time.monotonic() - hand.since > _LONGEST:
                    verdict = Verdict(hand.number, "", [f"hangs: no end after {_LONGEST:.0f} s"])
                else:
                    continue
                if verdict.name == "":
                    os.kill(hand.process.pid, signal.SIGKILL)
                    hand.process.join()
                    hands[position] = _start(recorded, template)
                yield verdict
                _give(hands[position], todo)
    finally:
        for hand in hands:
            hand.process.kill()
            hand.process.join()


def _answer(hand: _Hand) -> Verdict:
    try:
        return hand.pipe.recv()
    except EOFError:
        return Verdict(hand.number, "", ["the process of the runner died"])


def _start(recorded: dict[str, Recording], template: Path) -> _Hand:
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_work, args=(theirs, recorded, template), daemon=False)
    process.start()
    theirs.close()
    return _Hand(process, ours)


def _give(hand: _Hand, todo: list[int]) -> None:
    hand.number = todo.pop() if todo else -1
    hand.since = time.monotonic()
    if hand.number >= 0:
        hand.pipe.send(hand.number)


def _work(pipe: Connection, recorded: dict[str, Recording], template: Path) -> None:
    cells = matrix.all_cells(recorded)
    while True:
        try:
            number = pipe.recv()
        except EOFError:
            return
        began = time.monotonic()
        verdict = matrix.run(cells[number], template, number)
        verdict.seconds = time.monotonic() - began
        pipe.send(verdict)
