"""A process is known by more than its number."""

import os
import subprocess
import sys
from dataclasses import replace

from engine.process_identity import ProcessIdentity


def test_mine_is_alive_and_another_boot_or_start_is_not() -> None:
    mine = ProcessIdentity.mine()
    assert mine.alive
    assert mine.pid == os.getpid()
    assert ProcessIdentity.parse(str(mine)) == mine
    assert not replace(mine, started=mine.started + 1).alive
    assert not replace(mine, boot="another").alive
    assert not replace(mine, started=mine.started + 1).terminate()


def test_an_ended_process_is_not_alive_even_as_a_zombie() -> None:
    code = "from engine.process_identity import ProcessIdentity; print(ProcessIdentity.mine(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        identity = ProcessIdentity.parse(process.stdout.readline())
        assert identity
        assert identity.alive
        assert identity.terminate()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not identity.alive
        assert not identity.terminate()


def test_what_is_no_identity() -> None:
    assert ProcessIdentity.parse("") is None
    assert ProcessIdentity.parse("12 x boot") is None
