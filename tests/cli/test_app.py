"""Whole command lines in this process: what is printed where, and the exit code."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.config.options import OPTIONS, Settings
from engine.errors import BusyError, VmNotFound
from engine.events import Result, ResultState
from engine.flow import job
from engine.jobs import supervisor
from engine.jobs.request import read_request
from engine.jobs.worker import Worker
from tests.cli import shapes
from tui.cli.app import main

Flow = Callable[..., list[Settings]]


@pytest.fixture(autouse=True)
def _no_configuration_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "none"))
    monkeypatch.delenv("VCB_CONFIG", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def config(tmp_path: Path) -> str:
    password = tmp_path / "password"
    password.write_text("correct horse\n")
    password.chmod(0o600)
    file = tmp_path / "vcb.toml"
    file.write_text('HOST = "vc"\nUSERNAME = "u"\nTRANSPORT_MODE = "nbdssl"\nPASSWORD_FILE = "password"\n')
    return str(file)


@pytest.fixture
def flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Flow:
    """Puts canned answers in the place of one of the flow's entry points; returns the settings it was called with. The
    worker around it is the real one, but in this process."""
    monkeypatch.setenv("VCB_STATE_DIR", str(tmp_path / "state"))

    def work(directory: Path, lock: int, password: Any) -> None:
        Worker(directory, read_request(directory)).run()

    monkeypatch.setattr(supervisor, "_spawn", work)

    def answers(name: str, *given: Any) -> list[Settings]:
        left, seen = list(given), []

        def call(subject: Any, settings: Settings, report: Any, cancel: Any, **more: Any) -> Any:
            seen.append(settings)
            answer = left.pop(0)
            if isinstance(answer, Exception):
                raise answer
            if name != "plan":
                shape = answer.to_json()
                report.emit(Result(state=shape["state"], sentence=shape["sentence"], summary=shape))
            return answer

        monkeypatch.setattr(job, name, call)
        return seen

    return answers


def ended(shape: dict[str, Any]) -> SimpleNamespace:
    return SimpleNamespace(state=ResultState(shape["state"]), to_json=lambda: shape)


def planned(**changes: Any) -> SimpleNamespace:
    return SimpleNamespace(obstacle=changes.pop("obstacle", None), to_json=lambda: shapes.plan(**changes))


def test_help_without_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    said = capsys.readouterr().out
    for command in ("demo", "lab", "inventory", "plan", "backup", "mount", "unmount"):
        assert command in said
    assert "full-screen console" in said


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("vcb-console 0.")


@pytest.mark.parametrize("command", ["plan", "backup", "mount", "unmount", "inventory"])
def test_every_option_but_the_password_is_a_flag(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    said = capsys.readouterr().out
    for name in OPTIONS:
        assert (f"--{name.lower().replace('_', '-')} " in said) == (name != "PASSWORD"), name


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bogus"], "bogus"),
        (["plan"], "SPEC"),
        (["plan", "web01", "--bogus"], "--bogus"),
        (["plan", "web01", "--password", "x"], "use --password-file"),
        (["plan", "web01", "--password=secret7"], "use --password-file"),
        (["plan", "web01"], "HOST is not set"),
        (["backup", "web01", "--loglevel", "7"], "0 to 6"),
        (["backup", "web01", "--set", "TRANSPORT"], "NAME=VALUE"),
        (["backup", "web01", "--set", "TRANSPORT=nbd"], "TRANSPORT is not an option"),
        (["backup", "web01", "--set", "PASSWORD=secret7"], "every user of this machine"),
        (["backup", "web01", "--config", "/absent.toml"], "/absent.toml"),
        (["backup", "web01", "--host", "vc", "--username", "u"], "no password for u at vc"),
    ],
)
def test_usage_and_configuration_errors(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyring.get_password", lambda service, username: None)
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err.replace("\n", " ")


def test_configuration_errors_are_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backup", "web01", "--json"]) == 2
    answer = json.loads(capsys.readouterr().out)
    assert (answer["result"], answer["exit_code"], answer["error"]["code"]) == ("failure", 2, "config")


def test_plan(config: str, flow: Flow, capsys: pytest.CaptureFixture[str]) -> None:
    seen = flow("plan", planned(), planned())
    assert main(["plan", "name:web01", "web02", "--config", config, "--transport", "https", "--set", "PORT=9"]) == 0
    out, err = capsys.readouterr()
    assert out.count("Plan for web01") == 2
    assert err == ""
    assert (seen[0].TRANSPORT_MODE, seen[0].PORT) == ("https", 9)
    assert seen[0].PASSWORD is not None
    assert seen[0].PASSWORD.reveal() == "correct horse"


def test_plan_as_json(config: str, flow: Flow, capsys: pytest.CaptureFixture[str]) -> None:
    flow("plan", planned(obstacle=BusyError("busy")))
    assert main(["plan", "name:web01", "--config", config, "--json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["plans"][0]["vm"] == "web01"
    assert "Plan for web01" in err


def test_plan_of_nothing(config: str, flow: Flow, capsys: pytest.CaptureFixture[str]) -> None:
    flow("plan", VmNotFound("No VM is named web09.", fault="none", hint="Look at vcb inventory."))
    assert main(["plan", "name:web09", "--config", config]) == 1
    assert capsys.readouterr().err == "vcb: No VM is named web09.\n  fault: none\n  Look at vcb inventory.\n"


@pytest.mark.parametrize(
    ("states", "code", "result"),
    [
        (["success"], 0, "success"),
        (["completed with exceptions"], 3, "completed with exceptions"),
        (["success", "completed with exceptions"], 3, "completed with exceptions"),
        (["completed with exceptions", "failure"], 1, "failure"),
        (["cancelled", "success"], 130, "cancelled"),
    ],
)
def test_backup_exit_codes_and_json(
    states: list[str],
    code: int,
    result: str,
    *,
    config: str,
    flow: Flow,
    capsys: pytest.CaptureFixture[str],
) -> None:
    errors = {"failure": shapes.FAULT, "cancelled": shapes.FAULT | {"code": "cancelled"}}
    flow("backup", *(ended(shapes.outcome(state=state, error=errors.get(state))) for state in states))
    assert main(["backup", *[f"name:vm{n}" for n in range(len(states))], "--config", config, "--json"]) == code
    out, err = capsys.readouterr()
    answer = json.loads(out.splitlines()[-1])
    ran = 1 if states[0] == "cancelled" else len(states)
    assert len(out.splitlines()) == 1
    assert (answer["result"], answer["exit_code"], len(answer["vms"])) == (result, code, ran)
    assert answer["transport"] == "nbdssl"
    assert answer["points"] == ["/srv/vcb/fullvm-web01-vm-21"] * ran
    assert answer["bytes_read"] == shapes.GIB * ran
    assert answer["disks_skipped"][0]["disk"] == "scsi0:1"
    assert "reason" in answer["disks_skipped"][0]
    assert states[0].upper() in err


def test_a_configuration_error_inside_the_job_is_exit_code_2(config: str, flow: Flow) -> None:
    error = shapes.FAULT | {"code": "spec", "sentence": "Which VM?"}
    flow("backup", ended(shapes.outcome(state="failure", error=error)))
    assert main(["backup", "x:y", "--config", config]) == 2


def test_mount_and_unmount(config: str, flow: Flow, capsys: pytest.CaptureFixture[str]) -> None:
    flow("mount", ended(shapes.outcome(state="success")))
    flow("unmount", ended({"state": "success", "sentence": "Gone.", "transport": "", "disks_skipped": []}))
    assert main(["mount", "name:web01", "--config", config]) == 0
    assert main(["unmount", "/srv/vcb/fullvm-web01-vm-21", "--config", config]) == 0
    assert capsys.readouterr().out.count("SUCCESS") == 2


def test_start_up_loads_neither_pyvmomi_nor_textual_nor_the_lab() -> None:
    """They cost most of a second; help, version and usage errors must not."""
    program = (
        "import sys; from tui.cli.app import main; main(['backup', '--help']); main(['plan', 'x']);"
        "print([m for m in ('pyVmomi', 'textual', 'engine.lab', 'keyring') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"
