"""A lab's model without its servers, and calls of wire methods on it."""

import random
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pyVmomi import vim

from engine.lab.certificates import Authority
from engine.lab.persistence import Persistence
from engine.lab.seed import plant
from engine.lab.vm import VM
from engine.lab.vsphere import VSphere

MIB = 1 << 20
BLOCK = 65536
CTX = SimpleNamespace(session=SimpleNamespace(user="root", owns=lambda mo: mo), host="127.0.0.1")


def model(state: Path, seed: str | int = "empty") -> VSphere:
    """A model whose state lies in `state`; `end(vsphere)` closes it as the lab would."""
    state.mkdir(parents=True, exist_ok=True)
    vsphere = VSphere(state, Authority(state / "certificates"), instance_uuid="11111111-2222-3333-4444-555555555555")
    plant(vsphere, seed)
    return vsphere


def end(vsphere: VSphere) -> None:
    vsphere.close()
    persistence: Persistence = vsphere.persistence
    persistence.close(vsphere.all_of(vim.VirtualMachine))


def make_vm(vsphere: VSphere, name: str = "web01", disks: tuple[int, ...] = (8 * MIB,), **how: Any) -> VM:
    datacenter = vsphere.all_of(vim.Datacenter)[0]
    compute = vsphere.all_of(vim.ComputeResource)[0]
    store = datacenter.datastores()[0]
    return VM(vsphere, name, datacenter.vm_folder, store, compute.hosts[0], compute.pool, disks, **how)


def named(vsphere: VSphere, name: str) -> VM:
    return vsphere.vm(name)


def run(vsphere: VSphere, reference: Any) -> Any:
    """The result of a task, or the fault it ended with."""
    task = vsphere.find(reference)
    assert task.done.wait(30)
    deadline = time.monotonic() + 10
    while task.info.state not in ("success", "error"):
        assert time.monotonic() < deadline
    if task.info.error is not None:
        raise task.info.error
    return task.info.result


def bad_day(source: random.Random, capacity: int) -> tuple[int, bytes]:
    """A write at any offset: a few bytes, whole blocks, zeros, or many blocks."""
    length = min(source.choice([1, 512, 4096, BLOCK, 3 * BLOCK + 7, 9 * BLOCK]), capacity)
    offset = source.choice([0, capacity - length, source.randrange(0, capacity - length + 1)])
    return offset, bytes(length) if source.random() < 0.1 else source.randbytes(length)
