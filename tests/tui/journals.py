"""Journals of jobs that never ran: written by the engine's own writer, or many lines at once in its form."""

import json
import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.events import Event, LogRecord, encode
from engine.jobs.journal import JOURNAL, TRACE, is_trace
from engine.jobs.tail import parse

STAGES = ("lookup", "snapshot", "export", "verify")


def line_of(seq: int, event: Event, part: int = 1) -> bytes:
    return b'{"seq":%d,"part":%d,%b\n' % (seq, part, encode(event)[1:])


def write(directory: Path, events: Sequence[Event | tuple[Event, int]], first: int = 1, file: int = 1) -> None:
    """Appends the events to journal and trace, as the worker would."""
    directory.mkdir(parents=True, exist_ok=True)
    for seq, one in enumerate(events, first):
        event, part = one if isinstance(one, tuple) else (one, 1)
        name = TRACE if is_trace(event) else JOURNAL
        with (directory / f"{name}.{file:04d}.jsonl").open("ab") as out:
            out.write(line_of(seq, event, part))


def records(count: int, seed: int = 7) -> Iterator[LogRecord]:
    """Records of all levels, most of them of the higher ones."""
    chance = random.Random(seed)
    for number in range(count):
        level = chance.choices(range(7), (1, 2, 4, 20, 60, 200, 700))[0]
        yield LogRecord(
            at=1.7e9 + number / 100, vm="web01", disk=chance.choice(("", "scsi0:0", "scsi0:1")),
            stage=chance.choice(STAGES), level=level, text=f"record {number} of level {level}",
        )  # fmt: skip


def huge(directory: Path, lines: int, per_file: int = 400_000) -> int:
    """A journal of so many lines, written quickly; returns its bytes."""
    directory.mkdir(parents=True, exist_ok=True)
    form = '{"seq":%d,"part":1,"event":"log","at":%.3f,"vm":"web01","stage":"export","level":%d,"text":"extent %d of the disk, as read"}'  # noqa: E501
    for number, start in enumerate(range(1, lines + 1, per_file), 1):
        with (directory / f"{JOURNAL}.{number:04d}.jsonl").open("w") as out:
            for seq in range(start, min(start + per_file, lines + 1)):
                out.write(form % (seq, 1.7e9 + seq / 1000, 1 if seq % 250_000 == 0 else 3, seq) + "\n")
    return sum(path.stat().st_size for path in directory.glob("*.jsonl"))


def brute(directory: Path) -> list[tuple[int, bytes]]:
    """Every line there is, by reading all files whole: (number, line). The trace's oldest may go meanwhile."""
    found = []
    for path in directory.glob("*.jsonl"):
        try:
            whole = path.read_bytes()
        except FileNotFoundError:
            continue
        found += [(entry.seq, entry.line) for line in whole.split(b"\n")[:-1] if (entry := parse(line))]
    return sorted(found)


def level_of(line: bytes) -> int:
    return int(json.loads(line).get("level", 3))


def counted_reads(monkeypatch) -> list[int]:
    """The bytes of each read through os.pread from now on."""
    reads: list[int] = []
    plain = os.pread

    def counting(fd: int, count: int, offset: int) -> bytes:
        data = plain(fd, count, offset)
        reads.append(len(data))
        return data

    monkeypatch.setattr(os, "pread", counting)
    return reads
