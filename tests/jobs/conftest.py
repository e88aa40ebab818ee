"""A lab in this process, and jobs on it in real workers."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from engine.config.options import Settings
from engine.jobs import supervisor
from engine.jobs.job import Job
from engine.jobs.request import Act
from engine.lab import Lab
from engine.lab.faults import Rule
from engine.lab.vm import VM
from tests.proxy_vm import add_proxy_vm, hotadd_settings

ROOT = Path(__file__).parents[2]
_WITHIN = 60.0


def until(true: Callable[[], Any], process: "subprocess.Popen[str] | None" = None) -> Any:
    """Waits for a state that another process brings about; fails when it never comes, or when `process` ends first."""
    end = time.monotonic() + _WITHIN
    while not (found := true()):
        assert time.monotonic() < end, "it never happened"
        assert process is None or process.poll() is None, "the process ended first"
        time.sleep(0.02)
    return found


@dataclass
class Rig:
    """The lab, and how commands and jobs reach it."""

    lab: Lab
    root: Path
    config: Path
    password_file: Path
    options: dict[str, Any] = field(default_factory=dict)

    def settings(self, **values: Any) -> Settings:
        basics = {
            "HOST": self.lab.host,
            "PORT": self.lab.port,
            "USERNAME": self.lab.user,
            "PASSWORD_FILE": self.password_file,
            "CA_FILE": self.lab.ca_file,
            "BACKUPROOT": self.root,
            "TRANSPORT_MODE": "nbdssl",
            "KEEP_FREE": "0",
            "HTTP_TIMEOUT": "3600",
        }
        return Settings.of(**{**basics, **self.options, **values})

    def start(self, *specs: str, parallel: int = 1, **values: Any) -> Job:
        return supervisor.start(Act.BACKUP, specs or ("name:web01",), self.settings(**values), parallel=parallel)

    def vcb(self, *words: str, **options: Any) -> "subprocess.Popen[str]":
        """A command line as a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "tui.cli.app", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env={**os.environ, "VCB_CONFIG": str(self.config)},
            **options,
        )

    def hold(self) -> None:
        """From now on every read of disk data waits for `let_go` or a cancel: HTTP_TIMEOUT is long enough, too."""
        self.lab.faults.add(Rule("nfc.read", action="delay", phase="data", delay=3600, last=0))

    def let_go(self) -> None:
        self.lab.faults.clear()

    @property
    def machines(self) -> list[VM]:
        return [one for one in list(self.lab.vsphere.objects.values()) if isinstance(one, VM)]

    @property
    def snapshots(self) -> list[Any]:
        return [snapshot for vm in self.machines for snapshot in vm.snapshots]


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    with _rig(tmp_path, monkeypatch) as rig:
        yield rig


@pytest.fixture
def device_rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """With LUNs and a proxy VM, for `san` and `hotadd`."""
    with _rig(tmp_path, monkeypatch, luns=True) as rig:
        add_proxy_vm(rig.lab)
        rig.options = hotadd_settings(rig.lab)
        yield rig


@contextmanager
def _rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, luns: bool = False) -> Iterator[Rig]:
    monkeypatch.setenv("VCB_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("COLUMNS", raising=False)
    with Lab.start(tmp_path / "lab", seed="small", guest=False, luns=luns) as lab:
        password, root, config = tmp_path / "password", tmp_path / "root", tmp_path / "vcb.toml"
        password.write_text(lab.password)
        password.chmod(0o600)
        root.mkdir()
        config.write_text(
            f'HOST = "{lab.host}"\nPORT = {lab.port}\nUSERNAME = "{lab.user}"\nPASSWORD_FILE = "password"\n'
            f'CA_FILE = "{lab.ca_file}"\nBACKUPROOT = "{root}"\nTRANSPORT_MODE = "nbdssl"\nKEEP_FREE = "0"\n'
            "HTTP_TIMEOUT = 3600\n"
        )
        rig = Rig(lab, root, config, password)
        try:
            yield rig
        finally:
            rig.let_go()
            for job in supervisor.jobs():
                if job.alive and (worker := job.worker):
                    worker.terminate()
                    until(lambda job=job: not job.alive)
