"""A process that knows a password leaves no core, even where the limit allows one, and shows its memory to nobody."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engine.jobs import connection_check, inventory_worker
from tests.secrets.terminal import ROOT

_UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
_PROGRAM = """
import sys
from engine.process_privacy import keep_memory_private
if sys.argv[1] == "private":
    keep_memory_private()
print("ready", flush=True)
sys.stdin.read()
"""
_AS_ANY_USER = """
import ctypes, os, sys
for capability in (19, 21, 38):
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
"""Even root's processes lack CAP_SYS_PTRACE, CAP_SYS_ADMIN and CAP_PERFMON from here on (PR_CAPBSET_DROP): nothing but
the user's id counts."""


def start(private: str, cwd: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", _AS_ANY_USER, "-c", _PROGRAM, private], env={"PYTHONPATH": str(ROOT)}, cwd=cwd,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


@pytest.mark.parametrize(("private", "dumped"), [("open", True), ("private", False)])
def test_no_core_where_the_limit_would_allow_one(tmp_path: Path, private: str, dumped: bool) -> None:
    """The open process shows that this machine would write one, or hand it to a program."""
    process = start(private, tmp_path)
    resource.prlimit(process.pid, resource.RLIMIT_CORE, _UNLIMITED)
    os.kill(process.pid, signal.SIGABRT)
    _, status = os.waitpid(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if dumped and not os.WCOREDUMP(status):
        pytest.skip("this machine writes no core at all")
    assert os.WCOREDUMP(status) is dumped
    assert bool(list(tmp_path.iterdir())) is (dumped and not _piped())
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()


def _piped() -> bool:
    return Path("/proc/sys/kernel/core_pattern").read_text().startswith(("|", "/"))


@pytest.mark.parametrize("private", ["open", "private"])
@pytest.mark.parametrize("name", ["environ", "mem"])
def test_the_same_user_looks_in_vain(tmp_path: Path, private: str, name: str) -> None:
    """As gcore and debuggers do, which begin with these files."""
    process = start(private, tmp_path)
    code = f"print(len(open('/proc/{process.pid}/{name}', 'rb').read(9)))"
    command = [sys.executable, "-c", _AS_ANY_USER, "-c", code]
    looked = subprocess.run(command, env={}, cwd=tmp_path, capture_output=True, check=False)
    process.communicate()
    assert (b"PermissionError" in looked.stderr) is (private == "private"), looked.stderr


@pytest.mark.parametrize("module", [connection_check, inventory_worker])
def test_the_processes_that_are_given_a_password_begin_so(monkeypatch: pytest.MonkeyPatch, module: object) -> None:
    """Before they read it; the worker of a job is looked at while it runs (test_leaks.py)."""

    def begin() -> None:
        raise InterruptedError

    monkeypatch.setattr(module, "keep_memory_private", begin)
    monkeypatch.setattr("sys.argv", ["process"])
    monkeypatch.setattr("os.chdir", lambda _: None)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    before = os.umask(0o022)
    try:
        with pytest.raises(InterruptedError):
            module.main()  # type: ignore[attr-defined]
    finally:
        os.umask(before)
