"""A word to a running job."""

import json
import socket
from pathlib import Path

import pytest

from engine.errors import ConnectError
from engine.jobs.control import FILE_NAME, ControlServer, ask


@pytest.fixture
def server(tmp_path: Path):
    directory = tmp_path / ("a" * 120)  # longer than a socket's name may be
    directory.mkdir()

    def fussy(asked):
        raise ValueError("not like this")

    server = ControlServer(directory, {"ping": lambda asked: {"heard": asked}, "fussy": fussy})
    yield directory
    server.close()
    assert not (directory / FILE_NAME).exists()


def test_answers(server: Path) -> None:
    assert ask(server, do="ping", with_="x")["heard"] == {"do": "ping", "with_": "x"}
    assert (server / FILE_NAME).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("do", "said"), [("fussy", "not like this"), ("nonsense", "what can be done: ping, fussy")])
def test_refusals(server: Path, do: str, said: str) -> None:
    with pytest.raises(ConnectError, match=said):
        ask(server, do=do)


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match="does not answer"):
        ask(tmp_path, do="ping")


def test_a_silent_or_garbled_caller_keeps_nobody_waiting(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(server)
    with socket.socket(socket.AF_UNIX) as silent, socket.socket(socket.AF_UNIX) as garbled:
        silent.connect(FILE_NAME)
        garbled.connect(FILE_NAME)
        garbled.sendall(b"\xff{]" * 2000)
        assert json.loads(garbled.recv(4096))["ok"] is False
        assert ask(server, do="ping")["ok"]
