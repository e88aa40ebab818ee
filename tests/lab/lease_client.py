"""What the tests of leases, files and the browser share: a lab with a VM of known contents, and plain HTTPS clients."""

import http.client
import random
import ssl
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyVim.connect import SmartConnect
from pyVmomi import vim

from engine.lab import Lab
from engine.lab.vm import VM

MIB = 1 << 20
CAPACITY = 40 * MIB


@dataclass
class Client:
    """A session at a lab. `si` is pyVmomi's ServiceInstance."""

    lab: Lab
    si: Any

    @property
    def content(self) -> Any:
        return self.si.RetrieveContent()

    @property
    def cookie(self) -> str:
        return self.si._stub.cookie.split(";")[0]

    def managed(self, mo: Any) -> Any:
        """pyVmomi's object for one of the lab's."""
        return type(mo.ref)(mo.id, self.si._stub)

    def until(self, true: Callable[[], bool]) -> None:
        """Wait for a change of the model."""
        with self.lab.vsphere.cond:
            assert self.lab.vsphere.cond.wait_for(true, timeout=60)

    def ready(self, lease: Any) -> Any:
        """The info of a lease that has become ready."""
        model = self.lab.vsphere.find(lease)
        self.until(lambda: model.props["state"] != "initializing")
        assert model.props["state"] == "ready"
        return lease.info

    def result(self, task: Any) -> Any:
        """The result of a task; raises its error."""
        model = self.lab.vsphere.find(task)
        self.until(lambda: not model.running() and model.info.state in ("success", "error"))
        if model.info.error is not None:
            raise model.info.error
        return model.info.result


def login(lab: Lab) -> Client:
    context = ssl.create_default_context(cafile=str(lab.ca_file))
    si = SmartConnect(host=lab.host, port=lab.port, user=lab.user, pwd=lab.password, sslContext=context)
    return Client(lab, si)


def make_vm(lab: Lab, name: str = "web01", *, power: str = "poweredOff", disks: tuple[int, ...] = (CAPACITY,)) -> VM:
    """A VM with pseudo-random data in the first, a middle and the last grain of each disk."""
    vsphere = lab.vsphere
    datacenter = vsphere.all_of(vim.Datacenter)[0]
    compute = vsphere.all_of(vim.ComputeResource)[0]
    vm = VM(
        vsphere, name, datacenter.vm_folder, datacenter.datastores()[0], compute.hosts[0], compute.pool, disks,
        power=power,
    )  # fmt: skip
    for number, key in enumerate(vm.disks):
        source, capacity = random.Random(f"{name} {number}"), vm.disks[key].capacity
        vm.write(key, 0, source.randbytes(5000))
        vm.write(key, capacity // 2 + 512, source.randbytes(300_000))
        vm.write(key, capacity - 4096, source.randbytes(4096))
    return vm


def contents(vm: VM, snapshot: Any = None, key: int | None = None) -> bytes:
    key = next(iter(vm.disks)) if key is None else key
    return vm.read(key, 0, vm.disks[key].capacity, snapshot)


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


def ask(
    lab: Lab,
    method: str,
    url: str,
    *,
    cookie: str | None = None,
    headers: Mapping[str, str] | None = None,
    body: Any = None,
) -> Answer:
    """One request on a connection of its own, the lab's certificate verified. `url` is a whole URL or a path."""
    parts = urllib.parse.urlsplit(url)
    context = ssl.create_default_context(cafile=str(lab.ca_file))
    connection = http.client.HTTPSConnection(lab.host, lab.port, context=context, timeout=60)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request(
            method, path, body=body, headers={**(headers or {}), **({"Cookie": cookie} if cookie else {})}
        )
        response = connection.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read())
    finally:
        connection.close()


def raw_image(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
