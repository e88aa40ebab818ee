"""The lab in this process: start, facts for a client, close."""

from __future__ import annotations

import secrets
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from pyVmomi import vim

from engine.lab.certificates import Authority, write_private
from engine.lab.faults import Faults
from engine.lab.frozen import Recorder
from engine.lab.guest import Workload
from engine.lab.nfc.start import start_nfc
from engine.lab.ovf import OvfManager
from engine.lab.seed import plant, settle_in_background
from engine.lab.server import Server
from engine.lab.sspi import Domain
from engine.lab.vsphere import VSphere

PROXY = "proxy01"
"""The demo's VM for a backup proxy."""


class Lab:
    """A running lab. `Lab.start(...)` returns it ready; `close()` (or the end of a with block) saves its state.

    `vsphere` is the model, `faults` its rules, `nfc` the NFC port (its limits and statistics). `stop_requested` is set
    when the control endpoint asks for the end."""

    host = "127.0.0.1"

    def __init__(self, vsphere: VSphere, user: str, password: str, *, port: int, nfc_port: int) -> None:
        self.vsphere = vsphere
        self.user, self.password = user, password
        self.control_token = secrets.token_urlsafe(24)
        self.stop_requested = threading.Event()
        self.guest = Workload(vsphere)
        self._closing = threading.Lock()
        self._server = Server(self, port)
        try:
            self.nfc = start_nfc(vsphere, nfc_port)
        except OSError:
            self._server.server_close()
            raise
        self.port: int = self._server.server_port
        self.nfc_port: int = self.nfc.port
        self.url = f"https://{self.host}:{self.port}/sdk"
        self.control_url = f"https://{self.host}:{self.port}/control"
        self.ca_file: Path = vsphere.authority.ca_file
        self._server.start()

    @classmethod
    def start(
        cls,
        state: Path | str,
        *,
        seed: str | int = "demo",
        port: int = 0,
        nfc_port: int = 0,
        esx: bool = False,
        guest: bool = True,
        record: bool = False,
        version: str = "8.0.3.0",
        free_edition: bool = False,
        session_idle: float = 1800.0,
        domain: Path | None = None,
        luns: bool = False,
    ) -> Lab:
        """Starts a lab whose state lives in `state`: what was saved there comes back, else it is seeded.

        seed: "demo", "small", "empty", or a number of VMs without content. version: the API version id, "7.0.3.0" for
        a vSphere 7. free_edition (with esx): every write is RestrictedVersion. session_idle: seconds until an idle
        session expires. domain: the credential store of the domain that the server is joined to (engine.lab.sspi).
        luns: VMFS datastores lie on LUN images, so that they can be read over san; decided when the state is new."""
        state = Path(state)
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        vsphere = VSphere(
            state,
            Authority(state / "certificates"),
            esx=esx,
            version=version,
            free_edition=free_edition,
            instance_uuid=_kept(state / "instance-uuid", lambda: str(uuid.uuid4())),
        )
        vsphere.sessions.idle = session_idle
        user, password = (
            "root" if esx else "administrator@vsphere.local",
            _kept(state / "password", lambda: secrets.token_urlsafe(24)),
        )
        vsphere.grant(user, password, "Admin")
        vsphere.add_service("ovfManager", OvfManager(vsphere, "ha-ovf-manager" if esx else "OvfManager"))
        if domain is not None:
            vsphere.domain = Domain(vsphere, domain)
        if (state / "luns").exists() or (luns and not (state / "seed").exists()):
            vsphere.san_devices = state / "by-id"
        if record:
            vsphere.recorder = Recorder(state / "frozen")
        plant(vsphere, seed)
        for vm in vsphere.all_of(vim.VirtualMachine):
            vsphere.guest_devices.refresh(vm)  # a proxy that was left with disks attached
        lab = cls(vsphere, user, password, port=port, nfc_port=nfc_port)
        settle_in_background(vsphere)
        lab.run_guest(guest)
        return lab

    @property
    def faults(self) -> Faults:
        return self.vsphere.faults

    def ready_facts(self) -> dict[str, str | int]:
        """What a client in another process needs; printed by the runner as one JSON line."""
        return {
            "url": self.url,
            "nfc_port": self.nfc_port,
            "user": self.user,
            "password": self.password,
            "ca_file": str(self.ca_file),
            "control_url": self.control_url,
            "control_token": self.control_token,
            **self._proxy_facts(),
            "san_devices": str(self.vsphere.san_devices or ""),
        }

    def _proxy_facts(self) -> dict[str, str]:
        """The VM that a backup proxy may say it runs in, where its devices show, and what stands for them."""
        vms = self.vsphere.all_of(vim.VirtualMachine)
        proxy = next((vm for vm in vms if vm.name == PROXY), None)
        if proxy is None:
            return {}
        devices = self.vsphere.guest_devices
        return {"proxy": proxy.uuid, "proxy_devices": str(devices.by_id(proxy.id)), "proxy_device_kind": devices.kind}

    def frozen_image(self, snapshot: str, device_key: int) -> Path:
        """Raw copy of one disk as a snapshot froze it (record=True); kept after the snapshot is gone.

        Raises LookupError when there is none."""
        if self.vsphere.recorder is None:
            raise LookupError("this lab does not record frozen images")
        return self.vsphere.recorder.image(snapshot, device_key)

    def run_guest(self, running: bool) -> None:
        """Starts or stops the guests' writing to the disks of running VMs."""
        if running:
            self.guest.start()
        else:
            self.guest.stop()

    def close(self) -> None:
        """Ends all connections and saves the state. Safe to call twice."""
        with self._closing:
            if self.vsphere.closing:
                return
            self.vsphere.close()
            self._server.stop()
            self.nfc.close()
            self.guest.stop()
            self.vsphere.guest_devices.close()
            if self.vsphere.persistence is not None:
                self.vsphere.persistence.close(self.vsphere.all_of(vim.VirtualMachine))
            for store in self.vsphere.luns:
                store.close()

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _kept(path: Path, make: Callable[[], str]) -> str:
    """A value that is made once per state directory."""
    if not path.exists():
        write_private(path, make().encode())
    return path.read_text("ascii")
