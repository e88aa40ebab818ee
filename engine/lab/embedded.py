"""The lab in this process: start, facts for a client, close."""

from __future__ import annotations

import secrets
from pathlib import Path
from types import TracebackType

from engine.lab.certificates import Authority, write_private
from engine.lab.faults import Faults
from engine.lab.server import Server
from engine.lab.vsphere import VSphere


class Lab:
    """A running lab. `Lab.start(...)` returns it ready; `close()` (or the end of a with block) saves its state."""

    host = "127.0.0.1"
    user = "administrator@vsphere.local"

    def __init__(self, vsphere: VSphere, server: Server, password: str, control_token: str) -> None:
        self.vsphere = vsphere
        self.server = server
        self.password = password
        self.control_token = control_token
        self.port: int = server.server_port
        self.nfc_port = 0
        self.url = f"https://{self.host}:{self.port}/sdk"
        self.control_url = f"https://{self.host}:{self.port}/control"
        self.ca_file: Path = vsphere.authority.ca_file

    @classmethod
    def start(
        cls,
        state: Path,
        *,
        seed: str | int = "demo",
        port: int = 0,
        nfc_port: int = 0,
        esx: bool = False,
        guest: bool = True,
        record: bool = False,
        version: str = "8.0.3.0",
    ) -> Lab:
        """Start a lab whose state lives in `state`. seed: "demo", "small", "empty" or a number of VMs without content."""
        state = Path(state)
        authority = Authority(state / "certificates")
        password = _password(state)
        vsphere = VSphere(state / "labstore", esx=esx)
        vsphere.authority = authority
        vsphere.users[cls.user] = (password, vsphere.users[cls.user][1])
        for n in range(seed if isinstance(seed, int) else {"demo": 3, "small": 2}.get(seed, 0)):
            vsphere.add_vm(f"vm{n:04d}", (1 << 30,) if isinstance(seed, int) else (64 << 20,), ip=f"10.0.{n // 250}.{n % 250 + 1}")
        return cls(vsphere, Server(vsphere, port).start(), password, secrets.token_urlsafe(24))

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
        }

    def frozen_image(self, snapshot: str, device_key: int) -> Path:
        """Raw copy of one disk as a snapshot froze it (record=True); kept after the snapshot is gone."""
        raise KeyError(snapshot)

    def close(self) -> None:
        self.server.stop()

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _password(state: Path) -> str:
    """The administrator's password: random, made once per state directory."""
    path = state / "password"
    if not path.exists():
        write_private(path, secrets.token_urlsafe(24).encode())
    return path.read_text("ascii")
