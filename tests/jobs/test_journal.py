"""The journal: nothing lost, nothing torn, in order, over rotations, with and without its trace."""

import errno
import os
import threading
from pathlib import Path

import pytest

from engine.events import DiskProgress, LogRecord, StageStarted, encode
from engine.jobs import journal
from engine.jobs.journal import JOURNAL, TRACE, Writer, files_of
from engine.jobs.tail import FileTail, JournalReader, parse


def record(number: int, level: int = 3) -> LogRecord:
    return LogRecord(at=1.0, level=level, text=f"record {number}")


def texts(entries) -> list[str]:
    return [entry.event.text for entry in entries]


def test_everything_arrives_in_order_from_many_threads(tmp_path: Path) -> None:
    writer = Writer(tmp_path)

    def speak(part: int) -> None:
        for number in range(2000):
            writer.append(record(number, level=3 + number % 4), part)

    threads = [threading.Thread(target=speak, args=(part,)) for part in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    entries = list(JournalReader(tmp_path).drain())
    assert [entry.seq for entry in entries] == list(range(1, 8001))
    for part in range(1, 5):
        assert texts(entry for entry in entries if entry.part == part) == [f"record {n}" for n in range(2000)]
    journal_alone = list(JournalReader(tmp_path, trace=False).drain())
    assert {entry.event.level for entry in journal_alone if isinstance(entry.event, LogRecord)} == {3}
    assert len(journal_alone) == 2000


def test_a_reader_beside_the_writer_loses_nothing_over_rotations(tmp_path: Path) -> None:
    """Twenty thousand events, more in every moment than a second may bring; both are read while they are written."""
    writer, seen = Writer(tmp_path, rotate_at=50_000, trace_files=1000), []
    reader = JournalReader(tmp_path)

    def speak() -> None:
        for number in range(20_000):
            writer.append(record(number, level=3 + (number % 3 == 0)))
            if number % 1000 == 0:
                threading.Event().wait(0.01)  # a new batch, so that there is something to rotate
        writer.close()

    speaker = threading.Thread(target=speak)
    speaker.start()
    while speaker.is_alive():
        seen += reader.read(limit=50_000)
    seen += reader.drain()
    assert [entry.seq for entry in seen] == list(range(1, 20_001))
    assert texts(seen) == [f"record {number}" for number in range(20_000)]
    assert len(files_of(tmp_path, JOURNAL)) > 1
    assert len(files_of(tmp_path, TRACE)) > 1


def test_the_trace_is_capped_and_what_is_left_is_told(tmp_path: Path) -> None:
    writer = Writer(tmp_path, rotate_at=10_000, trace_files=2)
    for number in range(3000):
        writer.append(record(number, level=6 if number % 100 else 3))
        if number % 50 == 0:
            threading.Event().wait(0.01)  # several batches, so that there is something to rotate
    writer.close()
    assert len(files_of(tmp_path, TRACE)) == 2
    seen = [entry.seq for entry in JournalReader(tmp_path).drain()]
    assert seen == sorted(seen)
    assert set(range(1, 3001, 100)) <= set(seen)
    assert seen[-1] == 3000
    assert len(seen) < 3000


def test_torn_lines(tmp_path: Path) -> None:
    whole = b'{"seq":1,"part":1,' + encode(record(1))[1:] + b"\n"
    torn = b'{"seq":2,"part":1,"event":"lo'
    file = tmp_path / "journal.0001.jsonl"
    file.write_bytes(whole + torn)
    reader = JournalReader(tmp_path, trace=False)
    assert texts(reader.read()) == ["record 1"]
    assert reader.read() == []
    with file.open("ab") as more:  # only slow, not torn
        more.write(b'g","level":3,"text":"record 2"}\n{"seq":3,"pa')
    assert texts(reader.read()) == ["record 2"]
    (tmp_path / "journal.0002.jsonl").write_bytes(whole.replace(b'"seq":1', b'"seq":4'))
    assert [entry.seq for entry in reader.read()] == [4]  # the writer is through with the first file: torn for good
    file.write_bytes(b"\x00\xff garbage\n" + whole)
    assert [entry.seq for entry in JournalReader(tmp_path, trace=False).drain()] == [1, 4]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b'{"seq":1}',
        b'{"seq":x,"part":1,"event":"log","level":1,"text":""}',
        b'{"seq":1,"part":1,"event":"new"}',
    ],
)
def test_what_is_no_line_of_ours_is_skipped(line: bytes) -> None:
    assert parse(line) is None


def test_reading_goes_on_where_it_stopped(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.append(record(1))
    writer.close()
    first = FileTail(tmp_path)
    assert texts(first.read()) == ["record 1"]
    writer = Writer(tmp_path)  # appends to no file that another process wrote
    writer.append(record(2))
    writer.close()
    assert texts(FileTail(tmp_path, position=first.position).read()) == ["record 2"]
    assert texts(first.read()) == ["record 2"]


def test_a_full_disk_tears_nothing_and_keeps_what_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, full, refused = os.write, threading.Event(), threading.Event()

    def write(fd: int, data: bytes) -> int:
        if full.is_set() and Path(f"/proc/self/fd/{fd}").readlink().is_relative_to(tmp_path):
            if not refused.is_set():
                refused.set()
                return real(fd, data[:10])
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data)

    monkeypatch.setattr(journal.os, "write", write)
    monkeypatch.setattr(journal, "_MOST_PENDING", 50)
    writer = Writer(tmp_path)
    writer.append(StageStarted(stage="export"))
    full.set()
    writer.append(record(0))
    assert refused.wait(30)
    while not writer._refused:
        threading.Event().wait(0.01)
    for number in range(1, 200):
        writer.append(DiskProgress(read=number, to_read=200, stored=0))
    writer.append(record(1))
    full.clear()
    writer.close()
    seen = [entry.event for entry in JournalReader(tmp_path).drain()]
    said = [event.text for event in seen if isinstance(event, LogRecord)]
    assert said[:2] == ["record 0", "record 1"]
    assert "records of it are lost" in said[2]
    assert sum(isinstance(event, DiskProgress) for event in seen) < 199


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        writer = Writer(tmp_path)
        writer.append(record(1))
        writer.append(record(2, level=5))
        writer.close()
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
