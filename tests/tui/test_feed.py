"""The feed of jobs: what it reads of the workers' files, whatever state these are in."""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from engine.config.options import Settings
from engine.events import DiskStarted, JobEnded, LogRecord, StageEnded, StageStarted
from engine.jobs.inventory_rows import Rows, Status
from engine.jobs.job import LOCK
from engine.jobs.request import Act, Request
from engine.jobs.tail import FileTail
from tests.tui import journals
from tests.tui.inventory_app import MACHINES, PLACES
from tui.feed import JobFeed, JobRow, PartRow
from tui.models.inventory import InventoryModel
from tui.models.job_marks import marks


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """The job's lock, as its worker holds it before it has said who it is."""
    directory.mkdir(parents=True, exist_ok=True)
    lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(lock)


class Fed:
    """A feed, and what it has told so far."""

    def __init__(self, directory: Path) -> None:
        self.told = threading.Event()
        self.feed = JobFeed(directory, self.told.set)
        self.jobs: tuple[JobRow, ...] = ()
        self.entries: list[object] = []

    def __enter__(self) -> "Fed":
        self.feed.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.feed.stop()

    def until(self, *ids: str) -> None:
        """Until these are the jobs that are listed."""
        while [job.id for job in self.jobs] != list(ids):
            assert self.told.wait(20), self.jobs
            self.told.clear()
            self.jobs = jobs if (jobs := self.feed.take().jobs) is not None else self.jobs

    def entry(self, kind: type) -> object:
        """The next entry of this kind."""
        while True:
            assert self.told.wait(20), self.entries
            self.told.clear()
            self.entries += self.feed.take().entries
            if found := next((one for one in self.entries if isinstance(one.event, kind)), None):  # type: ignore[attr-defined]
                return found


def test_a_job_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    for name, request in (("1-no-words", ""), ("2-no-job", "act = 'dance'"), ("3-torn", "job = [")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "job.toml").write_text(request)
        (tmp_path / name / "state.json").write_text('{"job":')
    with held(tmp_path / "2-no-job"):
        Request("4-good", Act.BACKUP, ("name:web01",), Settings.of()).save(_made(tmp_path / "4-good"))
        with Fed(tmp_path) as fed:
            fed.until("4-good")
            assert fed.jobs[0].state == "dead"


def test_a_lock_that_may_not_be_opened_hides_no_other(tmp_path: Path) -> None:
    Request("1-foreign", Act.BACKUP, ("name:web01",), Settings.of()).save(_made(tmp_path / "1-foreign"))
    (tmp_path / "1-foreign" / LOCK).mkdir()  # opened for writing: an OSError, as a stranger's file is
    Request("2-good", Act.BACKUP, ("name:web01",), Settings.of()).save(_made(tmp_path / "2-good"))
    with Fed(tmp_path) as fed:
        fed.until("2-good")


def test_a_job_gets_its_request_after_its_directory(tmp_path: Path) -> None:
    with Fed(tmp_path) as fed, held(tmp_path / "1-late"):
        Request("0-early", Act.BACKUP, ("name:web01",), Settings.of()).save(_made(tmp_path / "0-early"))
        fed.until("0-early")
        Request("1-late", Act.BACKUP, ("name:web01",), Settings.of()).save(tmp_path / "1-late")
        fed.until("1-late", "0-early")
        assert fed.jobs[0].running


def test_what_ends_the_feed_is_told_by_the_console(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fed = Fed(tmp_path)
    monkeypatch.setattr(fed.feed, "_list", lambda: 1 / 0)
    with fed:
        assert fed.told.wait(20)
        with pytest.raises(ZeroDivisionError):
            fed.feed.take()


def test_the_models_get_every_event_that_is_no_record(tmp_path: Path) -> None:
    directory = _made(tmp_path / "1-job")
    text = 'he said ",\\"event\\":\\"log\\"," and "event":"stage-started"'
    record = LogRecord(at=1.0, vm="web01", level=3, text=text)
    others = [
        StageStarted(at=1.0, vm="web01", stage="export"),
        DiskStarted(at=2.0, disk="scsi0:0", capacity=9, to_read=4, transport="nbd"),
        StageEnded(at=3.0, vm="web01", stage="export", outcome="ok", seconds=2.0),
        JobEnded(at=4.0, state="success"),
    ]
    journals.write(directory, [one for other in others for one in (*[record] * 3000, other)])
    everything = list(iter(FileTail(directory).read, []))
    expected = [one.seq for batch in everything for one in batch if not isinstance(one.event, LogRecord)]
    with Fed(tmp_path) as fed:
        fed.feed.watch("1-job")
        fed.entry(JobEnded)
    assert [one.seq for one in fed.entries] == expected  # type: ignore[attr-defined]
    assert len(expected) == len(others)


def test_the_vms_that_running_jobs_work_on() -> None:
    model = _shown()
    known = MACHINES[0]
    parts = (
        PartRow(f"moref:{MACHINES[1].id}", "b", "running", "export", 1, 4),
        PartRow(f"name:{known.name}", known.name, "waiting", "", 0, 0),
        PartRow("name:nobody", "nobody", "running", "", 0, 0),
        PartRow(f"moref:{MACHINES[2].id}", "c", "success", "", 4, 4),
    )
    found = marks([_job(parts, server="vc1:443")], model)
    assert {vm: (mark.stage, mark.share) for vm, mark in found.items()} == {
        MACHINES[1].id: ("export", 0.25),
        known.id: ("waiting", None),
    }


def test_a_job_in_another_vcenter_marks_no_vm_of_this_one() -> None:
    machine = MACHINES[0]
    asked = PartRow(f"moref:{machine.id}", machine.name, "running", "", 0, 0)
    planned = msgspec.structs.replace(asked, moref=machine.id, vcenter="uuid-2")
    assert marks([_job((asked, planned), server="vc2:443")], _shown()) == {}


def test_a_planned_job_marks_its_vm_however_vm_and_server_were_named() -> None:
    part = PartRow("ipaddr:10.0.0.7", "10.0.0.7", "running", "export", 0, 0, MACHINES[0].id, "uuid-1")
    assert set(marks([_job((part,), server="10.0.0.1:443")], _shown())) == {MACHINES[0].id}


def _shown() -> InventoryModel:
    model = InventoryModel()
    model.apply(Rows(rows=(*PLACES, *MACHINES)))
    model.apply(Status(state="live", since=0.0, host="vc1:443", vcenter="uuid-1"))
    return model


def _job(parts: tuple[PartRow, ...], *, server: str) -> JobRow:
    return JobRow("1", "backup", "running", parts, 0.0, 0.0, 3, server=server)


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory
