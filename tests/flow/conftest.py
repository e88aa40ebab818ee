"""A lab in this process, and one call that runs a job on it and keeps everything it said."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pyVmomi import vim

from engine.cancel import CancelToken
from engine.config.options import Settings
from engine.events import Event, LogRecord
from engine.flow import job
from engine.flow.outcome import Outcome
from engine.lab import Lab
from engine.loglevel import LogLevel
from engine.reporter import Reporter, Volume


@dataclass
class Proxy:
    """A backup proxy beside the lab: settings, events, and the entry points of the flow."""

    lab: Lab
    root: Path
    password_file: Path
    events: list[Event] = field(default_factory=list)
    cancel: CancelToken = field(default_factory=CancelToken)
    on_event: list = field(default_factory=list)

    def settings(self, **values) -> Settings:
        basics = {
            "HOST": self.lab.host,
            "PORT": self.lab.port,
            "USERNAME": self.lab.user,
            "PASSWORD_FILE": str(self.password_file),
            "CA_FILE": str(self.lab.ca_file),
            "BACKUPROOT": str(self.root),
            "TRANSPORT_MODE": "nbdssl",
            "VM_LOOKUP_METHOD": "name",
            "KEEP_FREE": "0",
            "BACKOFF_TIME": 0,
            "LOGLEVEL": 6,
        }
        return Settings.of(**{**basics, **values})

    def _sink(self, event: Event) -> None:
        self.events.append(event)
        for react in self.on_event:
            react(event)

    @property
    def report(self) -> Reporter:
        return Reporter(self._sink, Volume(LogLevel.WIRE))

    def plan(self, spec="web01", **values):
        return job.plan(spec, self.settings(**values), self.report, self.cancel)

    def backup(self, spec="web01", *, adopt=None, **values) -> Outcome:
        return job.backup(spec, self.settings(**values), self.report, self.cancel, adopt=adopt)

    def mount(self, spec="web01", *, adopt=None, **values) -> Outcome:
        return job.mount(spec, self.settings(**values), self.report, self.cancel, adopt=adopt)

    def unmount(self, directory, **values) -> Outcome:
        return job.unmount(Path(directory), self.settings(**values), self.report, CancelToken())

    def vm(self, name: str = "web01"):
        """The lab's own VM of this name. Raises LookupError when there is none."""
        for vm in self.lab.vsphere.all_of(vim.VirtualMachine):
            if vm.name == name:
                return vm
        raise LookupError(name)

    @property
    def log(self) -> str:
        return "\n".join(event.text for event in self.events if isinstance(event, LogRecord))

    def leftovers(self) -> list[str]:
        """Everything under BACKUPROOT that is not a finished restore point."""
        return sorted(str(path.relative_to(self.root)) for path in self.root.iterdir() if path.name != "points")


@pytest.fixture
def lab(tmp_path):
    with Lab.start(tmp_path / "lab", seed="small", record=True) as lab:
        yield lab


@pytest.fixture
def demo_lab(tmp_path):
    """The dozen VMs of `vcb demo`, each a case."""
    with Lab.start(tmp_path / "demo-lab", seed="demo", record=True) as lab:
        yield lab


@pytest.fixture
def proxy(lab, tmp_path, monkeypatch):
    return _proxy(lab, tmp_path, monkeypatch)


@pytest.fixture
def demo_proxy(demo_lab, tmp_path, monkeypatch):
    return _proxy(demo_lab, tmp_path, monkeypatch)


def _proxy(lab, tmp_path, monkeypatch) -> Proxy:
    monkeypatch.setenv("VCB_STATE_DIR", str(tmp_path / "state"))
    root = tmp_path / "backuproot"
    root.mkdir()
    password_file = tmp_path / "password"
    password_file.write_text(lab.password)
    password_file.chmod(0o600)
    return Proxy(lab, root, password_file)
