"""The lab as a child process of the demo."""

import json
import os
import select
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import engine
from engine.config.secrets import child_environment
from engine.errors import VcbError

_READY_WITHIN = 60.0
_ENDS_WITHIN = 20.0


class LabProcess:
    """Starts `python -m engine.lab` with recording on, as a context manager; the lab ends with the block.

    It runs in its own session: Ctrl-C on the terminal is for the backup, which needs the lab to clean up. Should this
    process be killed, the lab sees its standard input end, and ends too.
    """

    def __init__(self, state: Path, *, luns: bool = False) -> None:
        """`luns`: its VMFS datastores lie on LUNs that can be read over san."""
        self.state, self._luns = state.absolute(), luns
        self.password_file = self.state / "password.txt"
        self._facts: dict[str, Any] = {}
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "LabProcess":
        self.state.mkdir(parents=True, exist_ok=True)
        with (self.state / "lab.log").open("w") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", "engine.lab", "--state", str(self.state), "--record", "--stdinexit"]
                + (["--luns"] if self._luns else []),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=Path(engine.__file__).parents[1],
                env=child_environment(),
                start_new_session=True,
            )
        try:
            self._facts = self._ready()
            self._write_password()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    @property
    def url(self) -> str:
        return self._facts["url"]

    @property
    def proxy_devices(self) -> str:
        """What the disks are that get attached to the demo's proxy."""
        return self._facts.get("proxy_device_kind", "")

    def settings(self) -> dict[str, Any]:
        """The options that lead to this lab, by name; the password by way of its file, as in production."""
        address = urlsplit(self.url)
        devices = self._facts["san_devices"]
        proxy = {"HOTADD_PROXY": self._facts.get("proxy"), "HOTADD_DEVICES": Path(self._facts["proxy_devices"])}
        return {
            **{name: value for name, value in proxy.items() if value},
            **({"SAN_DEVICES": Path(devices)} if devices else {}),
            "HOST": address.hostname,
            "PORT": address.port,
            "USERNAME": self._facts["user"],
            "PASSWORD_FILE": self.password_file,
            "CA_FILE": Path(self._facts["ca_file"]),
        }

    def frozen_image(self, snapshot: str, device_key: int) -> Path:
        """Raw image of one disk as the snapshot froze it. Raises VcbError when the lab has none."""
        url = f"{self._facts['control_url']}/frozen/{snapshot}/{device_key}"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {self._facts['control_token']}"})  # noqa: S310 - https
        trust = ssl.create_default_context(cafile=self._facts["ca_file"])
        try:
            with urllib.request.urlopen(request, timeout=30, context=trust) as answer:  # noqa: S310 - https
                return Path(json.load(answer)["path"])
        except OSError as error:
            raise VcbError(f"The lab has no image of disk {device_key} in {snapshot}: {error}") from error

    def _ready(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], _READY_WITHIN)
        line = self._process.stdout.readline() if readable else ""
        try:
            return json.loads(line)
        except ValueError:
            raise VcbError("The embedded vSphere did not start.", hint=self._last_words()) from None

    def _last_words(self) -> str:
        lines = (self.state / "lab.log").read_text(errors="replace").strip().splitlines()
        return f"It said: {lines[-1]}" if lines else f"It said nothing; see {self.state / 'lab.log'}."

    def _write_password(self) -> None:
        descriptor = os.open(self.password_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(self._facts["password"] + "\n")

    def _stop(self) -> None:
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()
