"""What the demo's console stands on: a lab that outlives it while jobs run, and a proxy that looks lived in."""

import fcntl
from pathlib import Path

import pytest

from engine.config.check import check
from engine.config.document import open_document
from engine.config.effective import load
from engine.config.options import Settings
from engine.errors import VcbError
from engine.events import JobEnded, ResultState
from engine.jobs import supervisor
from engine.jobs.request import Act
from tui.cli import demo_proxy
from tui.cli.lab_keeper import kept_lab


@pytest.fixture
def demo(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("VCB_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "backup").mkdir()
    return tmp_path


def wait_for_the_end_of_the_lab(demo: Path) -> None:
    with (demo / "keeper.lock").open("a") as keeper:
        fcntl.flock(keeper, fcntl.LOCK_EX)


def test_the_lab_stays_for_a_running_job_and_for_the_next_console(demo):
    with kept_lab(demo) as first:
        file = demo_proxy.configuration(demo, first)
        demo_proxy.past(file)
        with kept_lab(demo) as second:
            assert second == first
        started = supervisor.start(Act.BACKUP, ["name:db01"], load(file, {}, {}))
    ended = {entry.event.state for batch in supervisor.follow(started, trace=False) for entry in batch
             if isinstance(entry.event, JobEnded)}  # fmt: skip
    assert ended == {ResultState.EXCEPTIONS.value}, "its independent disk was skipped; the lab was there to the end"
    wait_for_the_end_of_the_lab(demo)
    states = sorted(job.state.state for job in supervisor.jobs())
    assert states == ["completed with exceptions"] * 2 + ["failure"]

    with kept_lab(demo) as again:
        demo_proxy.configuration(demo, again)
        assert again["PORT"] == load(file, {}, {}).PORT
        assert [row.state.act for row in supervisor.jobs()] == ["backup"] * 3, "the past is there once"
    wait_for_the_end_of_the_lab(demo)


def test_a_lab_that_cannot_start_is_told(demo):
    (demo / "lab").write_text("a file where the lab's directory should be")
    with pytest.raises(VcbError, match="did not start"), kept_lab(demo):
        pass


def test_the_configuration_is_odd_and_works(demo):
    file = demo_proxy.configuration(demo, {"HOST": "127.0.0.1", "PORT": 4711, "USERNAME": "somebody"})
    findings = check(open_document(file), {})
    assert {finding.severity for finding in findings} >= {"warning"}
    assert not [finding for finding in findings if finding.severity == "error" and finding.rule_id != "file-missing"]
    settings: Settings = load(file, {}, {})
    assert (settings.HOST, settings.PORT, settings.LOGLEVEL) == ("127.0.0.1", 4711, 4)
    file.write_bytes(open_document(file).set("MAX_RETRIES", "5").to_bytes())
    demo_proxy.configuration(demo, {"PORT": 4712})
    assert (load(file, {}, {}).MAX_RETRIES, load(file, {}, {}).PORT) == (5, 4712)
