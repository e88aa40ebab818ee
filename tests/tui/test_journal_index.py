"""The index over a job's files shows exactly what a reader of the whole files would, and reads hardly any of it."""

import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from engine.events import DiskProgress, LogRecord, Result, StageEnded, StageStarted
from engine.jobs.journal import JOURNAL, TRACE, Writer
from tests.jobs.conftest import until
from tests.tui.journals import brute, counted_reads, huge, level_of, line_of, records, write
from tui.models import journal_pages
from tui.models.journal_index import EVERYTHING, LAST, Filter, Glance, JournalIndex
from tui.models.log_window import LogWindow


def index_of(directory: Path) -> JournalIndex:
    index = JournalIndex(directory)
    index.look()
    return index


def forward(index: JournalIndex, shown: Filter = EVERYTHING, after: int = 0) -> list[int]:
    return [line.seq for line in index.forward((after, after), shown) if line]


def backward(index: JournalIndex, shown: Filter = EVERYTHING, before: int = LAST) -> list[int]:
    return [line.seq for line in index.backward(before, shown) if line]


def settled(window: LogWindow) -> list[int]:
    while window.advance(1):
        pass
    return [line.seq for line in window.visible]


TEXTS = st.text(max_size=60) | st.sampled_from(['"level":0,"text":"', ',"level":2,"text":"x"', "\\", "x" * 700])


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.tuples(st.integers(0, 6), TEXTS, TEXTS), max_size=40),
    cuts=st.sets(st.integers(0, 40), max_size=4),
    torn=st.integers(0, 30),
    start=st.integers(0, 42),
)
def test_walks_like_a_reading_of_the_whole_files(texts, cuts, torn, start):
    """Over rotations, pages shorter than lines, any text, a torn last line: from any number, both ways, every level."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal_pages, "PAGE", 256)
        directory, file = Path(folder), 1
        for seq, (level, text, disk) in enumerate(texts, 1):
            file += seq in cuts
            write(directory, [LogRecord(at=1.5, level=level, text=text, disk=disk)], first=seq, file=file)
        with (directory / f"{JOURNAL}.{file:04d}.jsonl").open("ab") as out:
            out.write(line_of(99, LogRecord(at=1.0, level=3, text="torn"))[:torn])
        everything, index = brute(directory), index_of(directory)
        for level in range(7):
            wanted = [seq for seq, line in everything if level_of(line) <= level]
            shown = Filter(level=level)
            assert forward(index, shown) == wanted
            assert backward(index, shown) == wanted[::-1]
            assert forward(index, shown, start) == [seq for seq in wanted if seq > start]
            assert backward(index, shown, start) == [seq for seq in wanted[::-1] if seq < start]
            assert backward(index, shown) == wanted[::-1], "and again, with what was remembered of the pages"


@settings(max_examples=40, deadline=None)
@given(
    acts=st.lists(
        st.sampled_from(("move", "scroll", "home", "follow", "show", "level", "grow", "resize"))
        .flatmap(lambda act: st.tuples(st.just(act), st.integers(-60, 60))),
        max_size=25,
    )
)  # fmt: skip
def test_the_window_shows_consecutive_lines_whatever_is_done(acts):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal_pages, "PAGE", 1024)
        directory, total = Path(folder), 120
        write(directory, list(records(total)))
        window = LogWindow(index_of(directory), height=10)
        window.follow()
        for act, number in acts:
            if act == "grow":
                write(directory, list(records(abs(number))), first=total + 1)
                total += abs(number)
                assert window.index.look() or not number
                window.grow()
            elif act == "level":
                window.filter(Filter(level=number % 7))
            elif act in ("home", "follow"):
                getattr(window, act)()
            else:
                getattr(window, act)(max(1, abs(number)) if act in ("show", "resize") else number)
            seen = settled(window)
            wanted = [seq for seq, line in brute(directory) if level_of(line) <= window.shown.level]
            if not wanted:
                assert seen == []
                continue
            at = wanted.index(seen[0])
            assert seen == wanted[at : at + len(seen)]
            assert len(seen) == min(window.height, len(wanted))
            assert window.cursor in seen
            if window.following:
                assert seen == wanted[-window.height :]


def test_the_files_as_the_worker_writes_them_while_they_grow(tmp_path):
    """The trace rotates and drops its oldest files; what is left is shown, and what is lost is no gap in the walk."""
    writer = Writer(tmp_path, rotate_at=20_000, trace_files=2)
    index, window = JournalIndex(tmp_path), LogWindow(JournalIndex(tmp_path))
    window.follow()
    for batch in range(8):
        for record in records(300, seed=batch):
            writer.append(record)
        until(lambda: max((seq for seq, _ in brute(tmp_path)), default=0) == writer.seq)
        window.index.look()
        window.grow()
        settled(window)
    writer.close()
    window.index.look()
    window.grow()
    index.look()
    wanted = [seq for seq, _ in brute(tmp_path)]
    assert forward(index) == wanted
    assert settled(window) == wanted[-20:]
    assert min(int(path.name[6:10]) for path in tmp_path.glob(f"{TRACE}.*")) > 1, "nothing was dropped"


def test_a_trace_file_that_goes_while_it_is_looked_at(tmp_path):
    write(tmp_path, [LogRecord(level=6, text="old")] * 50, file=1)
    write(tmp_path, [LogRecord(level=6, text="new")] * 50, first=51, file=2)
    index = index_of(tmp_path)
    (tmp_path / "trace.0001.jsonl").unlink()
    assert forward(index) == list(range(51, 101))
    assert index.look()
    assert backward(index) == list(range(100, 50, -1))


def test_a_line_of_the_trace_that_comes_late_takes_its_place(tmp_path):
    write(tmp_path, [LogRecord(level=3, text="a")] * 3)
    window = LogWindow(index_of(tmp_path))
    window.follow()
    assert settled(window) == [1, 2, 3]
    with (tmp_path / "journal.0001.jsonl").open("ab") as out:
        out.write(line_of(6, LogRecord(level=3, text="ahead")))
    window.index.look()
    window.grow()
    assert settled(window) == [1, 2, 3, 6]
    with (tmp_path / "trace.0001.jsonl").open("ab") as out:
        out.write(line_of(4, LogRecord(level=6, text="late")) + line_of(5, LogRecord(level=6, text="late")))
    window.index.look()
    window.grow()
    assert settled(window) == [1, 2, 3, 4, 5, 6]


def test_freezing_counts_what_comes(tmp_path):
    write(tmp_path, list(records(100)))
    window = LogWindow(index_of(tmp_path), height=5)
    window.follow()
    settled(window)
    window.move(-3)
    before = settled(window)
    write(tmp_path, list(records(40)), first=101)
    window.index.look()
    window.grow()
    assert settled(window) == before
    assert window.behind == 40
    window.follow()
    assert settled(window) == [136, 137, 138, 139, 140]
    assert window.behind == 0


def test_filters_by_part_disk_and_words(tmp_path):
    write(
        tmp_path,
        [
            (LogRecord(level=3, text="about the job"), 0),
            (LogRecord(level=3, text="one", disk="scsi0:0"), 1),
            (LogRecord(level=3, text="two", disk='a"b'), 2),
            (LogRecord(level=3, text="Three", fault="NoPermission"), 2),
        ],
    )
    index = index_of(tmp_path)
    assert forward(index, Filter(part=2)) == [1, 3, 4]
    assert forward(index, Filter(disk="scsi0:0")) == [2]
    assert forward(index, Filter(disk='a"b')) == [3]
    assert forward(index, Filter(pattern=re.compile("nopermission", re.IGNORECASE))) == [4]


def test_folded_stages_keep_their_last_line_and_what_went_wrong(tmp_path):
    write(
        tmp_path,
        [
            StageStarted(stage="export"),
            LogRecord(level=4, text="a step", stage="export"),
            LogRecord(level=2, text="a warning", stage="export"),
            StageEnded(stage="export", seconds=1.0),
            LogRecord(level=4, text="another", stage="verify"),
            Result(state="success", sentence="done"),
        ],
    )
    index = index_of(tmp_path)
    assert forward(index, Filter(folds=frozenset({(1, b"export")}))) == [3, 4, 5, 6]
    assert forward(index, Filter(fold_all=True)) == [3, 4, 6]
    assert forward(index, Filter(fold_all=True, folds=frozenset({(1, b"export")}))) == [1, 2, 3, 4, 6]


def test_a_match_in_a_folded_stage_unfolds_it(tmp_path):
    write(tmp_path, [LogRecord(level=4, text=f"step {number}", stage="export") for number in range(50)])
    window = LogWindow(index_of(tmp_path), Filter(fold_all=True), height=5)
    window.follow()
    assert settled(window) == []
    window.find(Filter(pattern=re.compile("step 20$")), backward=True)
    window.cursor = LAST
    assert 21 in settled(window)
    assert window.cursor == 21


def test_a_million_lines_open_by_their_tail_alone(tmp_path, monkeypatch):
    total = huge(tmp_path, 1_000_000)
    reads = counted_reads(monkeypatch)
    window = LogWindow(index_of(tmp_path), height=50)
    window.follow()
    assert settled(window) == list(range(999_951, 1_000_001))
    assert sum(reads) < total / 100
    window.home()
    assert settled(window) == list(range(1, 51))
    window.show(600_000)
    assert 600_000 in settled(window)
    assert sum(reads) < total / 20, "a jump reads a few pages"
    window.follow()
    settled(window)
    window.find(Filter(level=1), backward=True)
    slices = 1
    while window.advance(0.0):
        slices += 1
    assert window.cursor == 750_000
    assert slices > 100, "a search lets go after each page"
    assert sum(len(page.data) for stream in window.index.streams for _, page in stream._pages.values()) < 4 << 20
    assert len(window.rows) <= 50


def test_a_level_that_does_not_occur_in_a_page_is_not_looked_for_twice(tmp_path, monkeypatch):
    total = huge(tmp_path, 60_000)
    reads = counted_reads(monkeypatch)
    index = index_of(tmp_path)
    assert forward(index, Filter(level=0)) == []
    first = sum(reads)
    assert first > total / 2
    assert forward(index, Filter(level=0)) == []
    assert sum(reads) - first < total / 20


@pytest.mark.parametrize(
    ("event", "level"),
    [
        (LogRecord(at=1.7e9, level=5, text='"level":0', vm='x","level":1,"text":"', disk=",", stage="\\"), 5),
        (DiskProgress(at=1.7e9, read=1, to_read=2, stored=1), 6),
        (StageStarted(at=1.0, stage="export"), 4),
        (Result(state="failure", sentence="x", summary={"level": 3}), 0),
    ],
)
def test_the_level_is_told_without_decoding(event, level):
    seen = Glance.at(line_of(7, event, 2)[:-1])
    assert seen is not None
    assert (seen.level, seen.part) == (level, 2)
    assert Glance.at(b'{"seq":1,"part":1,"event":"of-the-future","x":1}') is None
