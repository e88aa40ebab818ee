"""The place in which one cell of the matrix plays: a lab, a proxy, a restore point from the night before, and things
of others that must stay as they are. Made once, kept as a directory, and copied for each cell."""

import hashlib
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pyVmomi import vim

from engine.cancel import CancelToken
from engine.config.option_types import IntOption
from engine.config.options import OPTIONS
from engine.events import StageStarted
from engine.flow.outcome import Outcome
from engine.lab import Lab
from engine.lab.embedded import Server
from engine.lab.sites import Site
from engine.lab.vm import VM
from tests.flow.conftest import Proxy
from tests.proxy_vm import add_proxy_vm, attached, hotadd_settings

MIB = 1 << 20
VM_NAME, OTHER = "web01", "db01"
BEFORE = "login"
"""What happens before the first stage begins."""
SHORT_TIMEOUT = 1
"""HTTP_TIMEOUT in seconds: silence is a fault of the matrix, and nobody wants to wait a minute for each."""
_SETTINGS = {"HTTP_TIMEOUT": SHORT_TIMEOUT, "LOGLEVEL": 3}


@dataclass
class Scene:
    """`before` is what there was before the job: everything of others, and the restore point of the night before."""

    directory: Path
    lab: Lab
    proxy: Proxy
    transport: str
    stage: str = BEFORE
    before: dict[str, str] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What was seen while the job ran, and should not have been."""

    @property
    def vm(self) -> VM:
        return self.proxy.vm(VM_NAME)

    @property
    def root(self) -> Path:
        return self.proxy.root

    @property
    def state(self) -> Path:
        return self.directory / "state"

    def backup(self, vm: str = VM_NAME, **settings: object) -> Outcome:
        self.proxy.cancel = CancelToken()
        return self.proxy.backup(vm, **{**self.mode, **_SETTINGS, **settings})

    @property
    def mode(self) -> dict[str, object]:
        """The settings that choose the transport, and lead to its devices."""
        devices = hotadd_settings(self.lab) if self.transport == "hotadd" else {}
        return {"TRANSPORT_MODE": self.transport, **devices}

    def at_stage(self, stage: str, act) -> None:
        """Calls `act(scene)` once, when the stage begins."""
        waiting = [act]

        def look(event) -> None:
            if isinstance(event, StageStarted) and event.stage == stage and waiting:
                waiting.pop()(self)

        self.proxy.on_event.append(look)

    def restart_vcenter(self) -> None:
        """As after a crash of vpxd: every connection cut, every session forgotten, the same address."""
        self.stop_vcenter()
        self.start_vcenter()

    def stop_vcenter(self) -> None:
        self.lab._server.stop()
        self.lab.vsphere.sessions.expire_all()

    def start_vcenter(self) -> None:
        self.lab._server = Server(self.lab, self.lab.port).start()

    # What is there

    def files(self) -> dict[str, str]:
        """Path under BACKUPROOT -> SHA-256 of the file."""
        return {
            str(path.relative_to(self.root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.root.rglob("*"))
            if path.is_file()
        }

    def machines(self) -> list[VM]:
        return [vm for vm in self.lab.vsphere.all_of(vim.VirtualMachine) if isinstance(vm, VM)]

    def snapshots(self) -> list[str]:
        return sorted(f"{vm.id} {one.name} {one.description}" for vm in self.machines() for one in vm.snapshots)

    def left(self) -> list[str]:
        """What a backup must not leave, in words: snapshots, leases, directories, locks."""
        known = {Path(name).parts[0] for name in self.before} | {"points"}
        in_root = [f"in BACKUPROOT: {path.name}" for path in self.root.iterdir() if path.name not in known]
        return self.left_in_vcenter() + in_root

    def left_in_vcenter(self) -> list[str]:
        found = [f"snapshot {one}" for one in self.snapshots() if one not in self.others]
        found += [f"on the proxy: {one}" for one in attached(self.lab)]
        return found + [f"lease on {vm.name}" for vm in self.machines() if self.lab.vsphere.leases.of(vm)]


def build_template(directory: Path) -> None:
    """The template of all scenes. Takes about a second."""
    directory.mkdir(parents=True)
    with _surroundings(directory), _opened(directory) as lab:
        site = site_of(lab)
        store = site.stores["labstore"]
        web = site.vm(lab.vsphere, VM_NAME, store, ip="10.0.0.7", change_tracking=True)
        for capacity, places in ((3 * MIB, (0, 700_000, 2_500_000)), (MIB, (65_536,))):
            key = web.add_disk(capacity)
            for place in places:
                web.write(key, place, _noise(f"{key} {place}", 100_000))
        web.stun()
        other = site.vm(lab.vsphere, OTHER, store, ip="10.0.0.20")
        other.write(other.add_disk(MIB), 0, b"of another VM")
        other.take_snapshot("_VCB-BACKUP_", "made by hand")
        other.take_snapshot("before the upgrade", "an admin's")
        add_proxy_vm(lab)
        proxy = _proxy(directory, lab)
        (proxy.root / "notes.txt").write_text("an admin's")
        outcome = proxy.backup(VM_NAME)
        assert outcome.point is not None, outcome.sentence
        assert not outcome.exceptions, outcome.sentence
        shutil.rmtree(directory / "state" / "jobs")
        key = next(iter(web.disks))
        web.write(key, 800_000, _noise("the next day", 70_000))
        lab.vsphere.persistence.save_all(lab.vsphere.all_of(vim.VirtualMachine))


@contextmanager
def opened(template: Path, directory: Path, transport: str) -> Iterator[Scene]:
    """A fresh scene in `directory`, which is removed afterwards."""
    subprocess.run(["cp", "-a", "--sparse=always", template, directory], check=True)
    try:
        with _surroundings(directory), _opened(directory) as lab:
            scene = Scene(directory, lab, _proxy(directory, lab), transport)
            scene.proxy.on_event.append(lambda event: _note_stage(scene, event))
            scene.before, scene.others = scene.files(), scene.snapshots()
            yield scene
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _note_stage(scene: Scene, event: object) -> None:
    if isinstance(event, StageStarted):
        scene.stage = event.stage


def _opened(directory: Path) -> Lab:
    return Lab.start(directory / "lab", seed="empty", guest=False, record=True)


@contextmanager
def _surroundings(directory: Path) -> Iterator[None]:
    """The proxy's state beside the lab, and an HTTP_TIMEOUT that no operator should want."""
    timeout = OPTIONS["HTTP_TIMEOUT"]
    assert isinstance(timeout, IntOption)
    before, least = os.environ.get("VCB_STATE_DIR"), timeout.least
    os.environ["VCB_STATE_DIR"], timeout.least = str(directory / "state"), SHORT_TIMEOUT
    try:
        yield
    finally:
        timeout.least = least
        os.environ.pop("VCB_STATE_DIR")
        if before is not None:
            os.environ["VCB_STATE_DIR"] = before


def site_of(lab: Lab) -> Site:
    datacenter, compute, network = (
        next(iter(lab.vsphere.all_of(kind))) for kind in (vim.Datacenter, vim.ComputeResource, vim.Network)
    )
    return Site(datacenter, compute, {"labstore": lab.vsphere.datastore("labstore")}, network)


def _proxy(directory: Path, lab: Lab) -> Proxy:
    root, password = directory / "backuproot", directory / "password"
    root.mkdir(exist_ok=True)
    password.write_text(lab.password)
    password.chmod(0o600)
    return Proxy(lab, root, password)


def _noise(seed: str, size: int) -> bytes:
    return random.Random(seed).randbytes(size)
