"""Jobs in workers of their own, on the lab: what they outlive, and what they are told."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from engine.config.options import Origin
from engine.errors import ConfigError
from engine.events import LogRecord, Result, StageStarted
from engine.flow.ledger import Kind, Ledger
from engine.jobs import supervisor
from engine.jobs.job import Condition, Job
from engine.jobs.request import Act, Request
from engine.secret import Secret
from tests.jobs.conftest import ROOT, Rig, until
from tui.cli.app import main


def reading(job: Job) -> bool:
    """Whether the disks are being opened, which reads samples of them."""
    return any(part.stage in ("open disks", "export") for part in job.state.parts)


def newest() -> Job:
    return until(supervisor.jobs)[0]


def ended(job: Job) -> str:
    until(lambda: not job.alive)
    return job.state.state


def log(job: Job) -> str:
    return "\n".join(entry.event.text for entry in job.reader().drain() if isinstance(entry.event, LogRecord))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_a_lost_console_leaves_the_job_running_and_attach_shows_everything(
    rig: Rig, number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rig.hold()
    with rig.vcb("backup", "name:web01") as console:
        job = until(newest, console)
        until(lambda: reading(job), console)
        console.send_signal(number)
        assert console.wait(30) == (-signal.SIGKILL if number == signal.SIGKILL else 129)
    assert job.condition is Condition.RUNNING
    os.kill(job.state.pid, signal.SIGHUP)  # the session's own, had it not one of its own
    assert job.ping()["state"] == "running"
    rig.let_go()
    monkeypatch.setenv("VCB_CONFIG", str(rig.config))
    assert main(["attach", job.id[-6:], "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["result"] == "success"
    for said in ("lookup: ok", "Plan for web01", "consolidation check: ok", "SUCCESS  web01"):
        assert said in err
    assert ended(job) == "success"
    assert main(["attach"]) == 0  # again, when all is over
    assert "SUCCESS  web01" in capsys.readouterr().out
    assert rig.snapshots == []


def test_two_watchers_and_a_cancel_from_another_process(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.hold()
    job = rig.start()
    until(lambda: reading(job))
    with rig.vcb("attach", job.id) as one, rig.vcb("log", "-f", job.id) as other:
        until(job.ping, one)
        assert main(["cancel", job.id]) == 0
        until(lambda: job.state.state != "running")
        rig.let_go()  # spares the wait for the host's goodbye
        assert one.wait(60) == 130
        assert other.wait(60) == 0
        assert one.stdout
        assert other.stdout
        for said in (one.stdout.read(), other.stdout.read()):
            assert "Cancelled by the operator" in said
            assert "CANCELLED  web01" in said
    assert ended(job) == "cancelled"
    assert rig.snapshots == []
    assert list(rig.root.iterdir()) == []
    assert main(["cancel", job.id]) == 2
    assert "does not run any more: cancelled" in capsys.readouterr().err


def test_ctrl_c_leaves_an_attached_view_and_not_the_job(rig: Rig) -> None:
    rig.hold()
    job = rig.start()
    until(lambda: reading(job))
    with rig.vcb("attach", job.id) as console:
        assert console.stdout
        assert "Ctrl-C leaves it running" in console.stdout.readline()
        assert "lookup: ok" in console.stdout.readline()
        console.send_signal(signal.SIGINT)
        assert console.wait(30) == 0
    assert job.condition is Condition.RUNNING


def test_sigterm_to_the_worker_is_a_clean_cancel(rig: Rig) -> None:
    rig.hold()
    job = rig.start()
    until(lambda: reading(job))
    worker = job.worker
    assert worker
    assert worker.terminate()
    until(lambda: job.state.state != "running")
    rig.let_go()
    assert ended(job) == "cancelled"
    assert "Cancelled by SIGTERM" in log(job)
    assert rig.snapshots == []


def test_the_loglevel_is_raised_while_it_runs(rig: Rig) -> None:
    rig.hold()
    job = rig.start()
    until(lambda: reading(job))
    assert not list(job.directory.glob("trace.*"))
    assert main(["loglevel", job.id, "6"]) == 0
    assert job.ping()["loglevel"] == 6
    rig.let_go()
    assert ended(job) == "success"
    levels = [entry.event.level for entry in job.reader().drain() if isinstance(entry.event, LogRecord)]
    assert "LOGLEVEL is 6 from here on." in log(job)
    assert {5, 6} <= set(levels)
    assert rig.lab.password not in "".join(path.read_text() for path in job.directory.glob("*.*"))


def test_a_dead_worker_is_told_with_what_it_left(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.hold()
    job = rig.start()
    until(lambda: reading(job))
    worker = job.worker
    assert worker
    os.kill(worker.pid, signal.SIGKILL)
    until(lambda: not job.alive)
    (snapshot,) = rig.snapshots
    assert job.condition is Condition.DEAD
    assert main(["jobs", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["jobs"]
    assert (row["state"], row["pid"]) == ("dead", None)
    assert any(snapshot.id in left for left in row["leftovers"])
    assert main(["attach", job.id]) == 1
    err = capsys.readouterr().err
    assert "died without ending the job" in err
    assert snapshot.id in err
    assert supervisor.prune(job.directory.parent, keep=0, days=-1) == []


def test_several_vms_one_after_the_other_and_at_once(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    specs = [f"name:{vm['name']}" for vm in _inventory(rig, capsys) if any(not d["skip"] for d in vm["disks"])][:2]
    job = rig.start(*specs, "name:nobody", parallel=3, TRANSPORT_MODE="https")
    assert ended(job) == "failure"
    assert {part.state for part in job.state.parts[:2]} <= {"success", "completed with exceptions"}
    assert job.state.parts[2].state == "failure"
    results = {entry.part: entry.event for entry in job.reader().drain() if isinstance(entry.event, Result)}
    assert {part: result.summary["job"] for part, result in results.items()} == {
        1: job.id, 2: f"{job.id}.2", 3: f"{job.id}.3",
    }  # fmt: skip
    assert job.leftovers == []
    assert main(["log", job.id, "--vm", job.state.parts[1].vm, "--json"]) == 0
    parts = {json.loads(line)["part"] for line in capsys.readouterr().out.splitlines()}
    assert parts == {2}


def _inventory(rig: Rig, capsys: pytest.CaptureFixture[str]) -> list:
    assert main(["inventory", "--config", str(rig.config), "--json"]) == 0
    return json.loads(capsys.readouterr().out)["vms"]


def test_a_typed_password_goes_over_the_pipe_and_nowhere_else(rig: Rig) -> None:
    rig.hold()
    settings = rig.settings(PASSWORD_FILE="", LOGLEVEL=6).having("PASSWORD", Secret(rig.lab.password), Origin("prompt"))
    job = supervisor.start(Act.BACKUP, ["name:web01"], settings)
    until(lambda: reading(job))
    process = Path(f"/proc/{job.state.pid}")
    assert rig.lab.password.encode() not in (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    pipes = [fd for fd in (process / "fd").iterdir() if str(fd.readlink()).startswith("pipe:")]
    assert pipes == []
    rig.let_go()
    assert ended(job) == "success"
    assert "comes from: prompt" in log(job)
    assert rig.lab.password not in "".join(path.read_text() for path in job.directory.iterdir() if path.is_file())


def test_detach_and_a_worker_apart_from_its_starter(rig: Rig) -> None:
    rig.hold()
    with rig.vcb("backup", "name:web01", "--detach", "--json") as command:
        assert command.wait(60) == 0
        assert command.stdout
        job = supervisor.find(json.loads(command.stdout.read().splitlines()[-1])["job"])
    until(lambda: reading(job))
    pid = job.state.pid
    assert os.getsid(pid) == pid
    assert Path(f"/proc/{pid}/cwd").readlink() == Path("/")
    assert Path(f"/proc/{pid}/fd/0").readlink() == Path(os.devnull)
    assert {path.stat().st_mode & 0o077 for path in [job.directory, *job.directory.iterdir()]} == {0}
    rig.let_go()
    assert ended(job) == "success"
    assert not (job.directory / "control.sock").exists()
    assert (job.directory / "worker.err").read_text() == ""


def test_the_attaching_process_has_no_pyvmomi(rig: Rig) -> None:
    """Half a second and 40 MiB, for a process that only reads files."""
    program = (
        "import sys; from tui.cli.app import main; code = main(['backup', 'name:web01']); main(['jobs']);"
        "print(code, [m for m in ('pyVmomi', 'textual', 'engine.lab', 'engine.flow.job') if m in sys.modules])"
    )
    environ = {**os.environ, "VCB_CONFIG": str(rig.config)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT, env=environ
    )
    assert done.stdout.splitlines()[-1] == "0 []", done.stdout + done.stderr


def test_a_worker_that_cannot_begin_is_dead_with_its_last_words(rig: Rig) -> None:
    directory = rig.root.parent / "state" / "jobs" / "20260101T000000Z-abcdef"
    directory.mkdir(parents=True)
    (directory / "job.toml").write_text("job = 1\n")
    with (directory / "lock").open("w+b") as lock, (directory / "worker.err").open("wb") as errors:
        command = [sys.executable, "-m", "engine.jobs.worker", str(directory), "--lock", str(lock.fileno())]
        done = subprocess.run(command, stderr=errors, check=False, pass_fds=[lock.fileno()], cwd=ROOT)
    job = Job(directory)
    assert done.returncode == 1
    assert job.condition is Condition.DEAD
    assert "not the request of a job" in job.last_words


@pytest.mark.parametrize(("text", "said"), [("2026", "may be any of 2 jobs"), ("x", "there is no job x")])
def test_find(rig: Rig, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match="no jobs yet"):
        supervisor.find(None)
    state = rig.root.parent / "state" / "jobs"
    for name in ("20260101T000000Z-aaaaaa", "20260102T000000Z-bbbbbb"):
        (state / name).mkdir(parents=True)
        Request(name, Act.BACKUP, ("a",), rig.settings()).save(state / name)
    assert supervisor.find(None).id.endswith("bbbbbb")
    assert supervisor.find("aaaaaa").id == supervisor.find("20260101").id
    with pytest.raises(ConfigError, match=said):
        supervisor.find(text)


def test_old_jobs_are_forgotten_unless_something_is_open(tmp_path: Path) -> None:
    for number in range(4):
        for part in ("", ".2"):
            ledger = Ledger(tmp_path / f"2026010{number}T000000Z-a{part}")
            entry = ledger.intent(Kind.SNAPSHOT, moref="snapshot-1")
            if not (number == 1 and part):
                ledger.undone(entry)
            ledger.close()
    assert supervisor.prune(tmp_path, keep=100, days=-1) == []
    assert supervisor.prune(tmp_path, keep=0, days=1) == []
    removed = supervisor.prune(tmp_path, keep=2, days=-1)  # the two directories of the newest job stay
    assert removed == [f"2026010{number}T000000Z-a" for number in (2, 0)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"2026010{number}T000000Z-a{part}" for number in (1, 3) for part in ("", ".2")
    ]


def test_stages_are_seen_by_a_reader_at_any_time(rig: Rig) -> None:
    job = rig.start()
    stages = []
    for entries in supervisor.follow(job):
        stages += [entry.event.stage for entry in entries if isinstance(entry.event, StageStarted)]
        with suppress(IndexError):
            assert stages[0] == "lookup"
    assert stages[-1] == "consolidation check"
