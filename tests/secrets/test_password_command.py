"""vcb config password: the whole command, on a terminal of its own and from a pipe."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import keyring
import pytest
from keyring.backends.fail import Keyring as NoKeyring
from keyring.backends.null import Keyring as Forgetful

from engine.config.options import Settings
from engine.config.password_store import store_in_file, store_in_keyring
from engine.config.secrets import find_password
from engine.errors import ConfigError
from engine.lab import Lab
from engine.secret import Secret
from tests.secrets.terminal import ROOT, run_on_terminal
from tui.cli.app import main

Pipe = Callable[[bytes], None]
PASSWORD = 'pä$$ "wörd"'
WHOSE = ["--host", "vc.example", "--username", "backup"]
COMMAND = [sys.executable, "-m", "tui.cli.app", "config", "password"]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "PYTHONIOENCODING": "utf-8",
        "LANG": "C.UTF-8",
        "PYTHON_KEYRING_BACKEND": "tests.secrets.file_keyring.FileKeyring",
        "TEST_KEYRING": str(tmp_path / "keyring.json"),
    }


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> Pipe:
    def pipe(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data), isatty=lambda: False))

    return pipe


def test_typed_twice_unseen_into_the_keyring(tmp_path: Path, environ: dict[str, str]) -> None:
    dialogue = [("Password of backup at vc.example", PASSWORD), ("The same again", PASSWORD)]
    code, shown = run_on_terminal([*COMMAND, *WHOSE], environ, dialogue)
    assert code == 0, shown
    assert PASSWORD not in shown
    assert "vcb:vc.example" in shown
    assert json.loads((tmp_path / "keyring.json").read_text()) == {"vcb:vc.example backup": PASSWORD}


def test_two_that_differ_are_not_stored(tmp_path: Path, environ: dict[str, str]) -> None:
    dialogue = [("Password of", PASSWORD), ("The same again", "something else")]
    code, shown = run_on_terminal([*COMMAND, *WHOSE], environ, dialogue)
    assert code == 2
    assert "differ" in shown
    assert not (tmp_path / "keyring.json").exists()


def test_where_nobody_sits_nothing_is_asked(environ: dict[str, str]) -> None:
    done = subprocess.run(
        [*COMMAND, *WHOSE], env=environ, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False, start_new_session=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "--stdin" in done.stderr
    assert "GetPassWarning" not in done.stderr


def test_from_a_pipe_into_a_file(tmp_path: Path, piped: Pipe, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "password"
    file.write_text("older\n")
    file.chmod(0o644)
    piped(PASSWORD.encode() + b"\r\nmore\n")
    assert main(["config", "password", *WHOSE, "--file", str(file), "--stdin", "--json"]) == 0
    said = capsys.readouterr()
    answer = json.loads(said.out)
    assert answer["file"] == str(file)
    assert "PASSWORD_FILE" in answer["remarks"][0]
    assert PASSWORD not in said.out + said.err
    assert file.stat().st_mode & 0o777 == 0o600
    settings = Settings.of(HOST="vc.example", USERNAME="backup", PASSWORD_FILE=file)
    assert find_password(settings).secret.reveal() == PASSWORD
    assert [entry.name for entry in tmp_path.iterdir()] == ["password"]


def test_where_it_is_looked_for_it_is_stored(tmp_path: Path, piped: Pipe, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.js"
    config.write_text('HOST="vc";\nUSERNAME="u";\nPASSWORD_FILE="there";\nPASSWORD="in the way";\n')
    config.chmod(0o600)
    piped(b"x\n")
    assert main(["config", "password", "--config", str(config), "--stdin"]) == 0
    assert (tmp_path / "there").read_text() == "x\n"
    assert f"PASSWORD is set ({config}:4) and overrides" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("data", "why"),
    [(b"", "is empty"), (b"\n", "is empty"), (b"a\x00b\n", "control"), (b"\xff\n", "UTF-8"), (b"x" * 5000, "longer")],
)
def test_what_is_no_password(
    tmp_path: Path, piped: Pipe, capsys: pytest.CaptureFixture[str], data: bytes, why: str
) -> None:
    piped(data)
    assert main(["config", "password", *WHOSE, "--file", str(tmp_path / "pw"), "--stdin"]) == 2
    assert why in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "why"),
    [(["--username", "u"], "HOST is not set"), (["--host", "vc"], "USERNAME is not set"),
     (["--host", "vc", "--username", "__SSPI__"], "integrated logon")],
)  # fmt: skip
def test_whose_password(
    arguments: list[str], why: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path))
    assert main(["config", "password", *arguments, "--stdin"]) == 2
    assert why in capsys.readouterr().err


@pytest.mark.parametrize(("backend", "why"), [(NoKeyring, "does not take"), (Forgetful, "does not keep")])
def test_a_machine_without_a_keyring(monkeypatch: pytest.MonkeyPatch, backend: type, why: str) -> None:
    monkeypatch.setattr(keyring, "get_keyring", backend)
    monkeypatch.setattr(keyring, "set_password", backend().set_password)
    monkeypatch.setattr(keyring, "get_password", backend().get_password)
    with pytest.raises(ConfigError, match=why) as caught:
        store_in_keyring(Settings.of(HOST="vc", USERNAME="u"), Secret("x"))
    assert "--file" in caught.value.hint


def test_a_keyring_in_the_clear_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "get_keyring", type("PlaintextKeyring", (), {}))
    with pytest.raises(ConfigError, match="in the clear"):
        store_in_keyring(Settings.of(HOST="vc", USERNAME="u"), Secret("x"))


def test_a_link_stays_a_link_and_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert store_in_file(tmp_path / "link", Secret("first")) == tmp_path / "real"
    assert (tmp_path / "link").is_symlink()
    (tmp_path / "directory").mkdir()
    with pytest.raises(ConfigError):
        store_in_file(tmp_path / "directory", Secret("second"))
    with pytest.raises(ConfigError):
        store_in_file(tmp_path / "absent" / "file", Secret("second"))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["directory", "link", "real"]


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab.start(tmp_path_factory.mktemp("lab"), seed="empty", guest=False) as lab:
        yield lab


@pytest.mark.parametrize("right", [True, False])
def test_a_tested_password_is_sent_once_and_stored_only_if_it_is_right(
    lab: Lab, tmp_path: Path, piped: Pipe, capsys: pytest.CaptureFixture[str], right: bool
) -> None:
    piped((lab.password if right else "wrong").encode() + b"\n")
    arguments = ["--host", lab.host, "--port", str(lab.port), "--username", lab.user, "--ca-file", str(lab.ca_file)]
    file = tmp_path / "pw"
    code = main(["config", "password", *arguments, "--file", str(file), "--stdin", "--test"])
    assert code == (0 if right else 1)
    assert file.exists() == right
    assert (lab.vsphere.sessions.logins[lab.user], lab.vsphere.sessions.refused[lab.user]) == (
        int(right),
        int(not right),
    )
    assert ("knows the user as" in capsys.readouterr().out) == right
