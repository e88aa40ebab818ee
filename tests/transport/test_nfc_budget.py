"""What one host is asked to carry."""

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.cancel import CancelToken
from engine.errors import Cancelled, TransportError
from engine.reporter import Reporter
from engine.transport.nfc import neighbours
from engine.transport.nfc.budget import BUFFER_BYTES_A_SESSION, Budget

MIB = 1024 * 1024


def ask(budget: Budget, report: Reporter, host: str = "esx01", requests: int = 4, buffer: int = 2 * MIB) -> tuple:
    grant = budget.grant(host, buffer, requests, patience=0, report=report, cancel=CancelToken())
    return grant.requests, grant.buffer


def test_hosts_are_apart_and_wishes_shrink_where_room_is_short(report: Reporter) -> None:
    budget = Budget(buffer_bytes=22 * MIB)
    assert ask(budget, report) == (4, 2 * MIB)
    assert ask(budget, report) == (4, 2 * MIB)
    assert ask(budget, report) == (3, 2 * MIB)
    assert ask(budget, report, host="esx02") == (4, 2 * MIB)
    with pytest.raises(TransportError) as caught:
        ask(budget, report)
    assert caught.value.transient
    assert "esx01 carries 3 of 52 connections" in caught.value.sentence


def test_the_last_room_is_used_with_small_buffers(report: Reporter) -> None:
    budget = Budget(buffer_bytes=MIB)
    assert ask(budget, report) == (4, 65536)


def test_the_number_of_connections_is_limited(report: Reporter) -> None:
    budget = Budget(connections=2)
    ask(budget, report)
    ask(budget, report)
    with pytest.raises(TransportError, match="2 of 2 connections"):
        ask(budget, report)


def test_a_session_never_has_more_than_its_own_limit(report: Reporter) -> None:
    requests, buffer = ask(Budget(), report, requests=64)
    assert requests * buffer <= BUFFER_BYTES_A_SESSION


def test_an_additional_connection_gets_its_wish_or_nothing(report: Reporter) -> None:
    budget = Budget(buffer_bytes=15 * MIB)
    ask(budget, report)
    assert budget.offer("esx01", 2 * MIB, 4) is None
    assert budget.offer("esx01", 2 * MIB, 3) is not None


def test_who_waits_gets_the_room_that_is_released(report: Reporter) -> None:
    budget = Budget(connections=1)
    first = budget.grant("esx01", 65536, 1, patience=0, report=report, cancel=CancelToken())
    got: list[int] = []

    def wait() -> None:
        got.append(budget.grant("esx01", 65536, 1, patience=60, report=report, cancel=CancelToken()).requests)

    waiter = threading.Thread(target=wait)
    waiter.start()
    budget.release(first)
    waiter.join(30)
    assert got == [1]


def test_cancel_ends_the_waiting(report: Reporter) -> None:
    budget, cancel = Budget(connections=1), CancelToken()
    ask(budget, report)
    cancel.cancel()
    with pytest.raises(Cancelled):
        budget.grant("esx01", 65536, 1, patience=3600, report=report, cancel=cancel)


HOLDER = """
import sys
from pathlib import Path
from engine.transport.nfc.budget import Budget
budget = Budget(connections=3, shared=lambda: Path(sys.argv[1]))
grants = [budget.offer("esx01", 65536, 1), budget.offer("esx01", 65536, 1)]
print("held", flush=True)
sys.stdin.readline()
budget.release(grants.pop())
print("one less", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def neighbour(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process of this proxy with two connections to esx01."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "use.json")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_processes_count_together(tmp_path: Path, neighbour: subprocess.Popen[str], report: Reporter) -> None:
    budget = Budget(connections=3, shared=lambda: tmp_path / "use.json")
    assert budget.offer("esx01", 65536, 1)
    assert budget.offer("esx01", 65536, 1) is None
    assert budget.offer("esx02", 65536, 1), "another host"
    with pytest.raises(TransportError, match="esx01 carries 3 of 3 connections"):
        ask(budget, report)
    assert neighbour.stdin
    assert neighbour.stdout
    neighbour.stdin.write("\n")
    neighbour.stdin.flush()
    assert neighbour.stdout.readline() == "one less\n"
    second = budget.offer("esx01", 65536, 1)
    assert second
    assert budget.offer("esx01", 65536, 1) is None
    budget.release(second)
    neighbour.kill()
    neighbour.wait()
    assert budget.offer("esx01", 65536, 1)
    assert budget.offer("esx01", 65536, 1), "what the dead one held is free"
    assert str(neighbour.pid) not in (tmp_path / "use.json").read_text()


@pytest.mark.parametrize("content", ['{"1 2', "[]", '{"a b c": 3}', '{"1 2 x": {"esx01": "many"}}', "\0\0"])
def test_a_damaged_file_counts_as_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "use.json").write_text(content)
    budget = Budget(connections=1, shared=lambda: tmp_path / "use.json")
    assert budget.offer("esx01", 65536, 1)
    assert budget.offer("esx01", 65536, 1) is None


def test_a_file_that_cannot_be_made_costs_the_common_count_only(tmp_path: Path) -> None:
    budget = Budget(connections=1, shared=lambda: tmp_path / "missing" / "use.json")
    assert budget.offer("esx01", 65536, 1)
    assert budget.offer("esx01", 65536, 1) is None


@pytest.mark.parametrize("broken", ["the place of the file", "its closing"])
def test_room_comes_back_whatever_becomes_of_the_common_file(
    tmp_path: Path, report: Reporter, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """It once stayed taken, and a later disk of the same worker waited for it."""

    def refuse(*_: object) -> Path:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    budget = Budget(
        buffer_bytes=8 * MIB, shared=refuse if broken == "the place of the file" else lambda: tmp_path / "f"
    )
    if broken == "its closing":
        close = os.close
        monkeypatch.setattr(neighbours.os, "close", lambda fd: (close(fd), refuse()))
    for _ in range(3):
        grant = budget.grant("esx01", 2 * MIB, 4, patience=0, report=report, cancel=CancelToken())
        assert grant.size == 8 * MIB
        assert budget.offer("esx01", 2 * MIB, 4) is None
        budget.release(grant)
