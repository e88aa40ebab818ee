"""A VM of the lab that plays the backup proxy: `hotadd` attaches frozen disks to it."""

from pathlib import Path

import pytest
from pyVmomi import vim

from engine.lab import Lab, soap
from engine.lab.vm import VM

NAME = "proxy01"


def add_proxy_vm(lab: Lab) -> VM:
    """Beside the lab's VM web01, with a disk of its own and what hotadd asks for."""
    web = vm_of(lab, "web01")
    own = VM(lab.vsphere, NAME, lab.vsphere.parent_of(web), web.home.datastore, web.host, web.pool, [64 << 20])
    own.definition.extra["disk.EnableUUID"] = "TRUE"
    own.updated("config")
    return own


def vm_of(lab: Lab, name: str) -> VM:
    return next(vm for vm in lab.vsphere.all_of(vim.VirtualMachine) if isinstance(vm, VM) and vm.name == name)


def hotadd_settings(lab: Lab) -> dict[str, object]:
    """What leads `hotadd` and `san` to the lab's devices."""
    facts = lab.ready_facts()
    names = {"SAN_DEVICES": "san_devices", "HOTADD_PROXY": "proxy", "HOTADD_DEVICES": "proxy_devices"}
    return {option: facts[fact] for option, fact in names.items() if facts[fact]}


def attached(lab: Lab) -> list[str]:
    """What the proxy's VM has beside its own: disks, lines of the journal, and udev's links to devices."""
    own = vm_of(lab, NAME)
    links = Path(str(lab.ready_facts()["proxy_devices"]))
    disks = [slot.disk for slot in own.definition.disks[1:]]
    return [*disks, *(own.definition.extra.keys() - {"disk.EnableUUID"}), *map(str, links.glob("*"))]


def watch_wire(monkeypatch: pytest.MonkeyPatch, *methods: bytes) -> list[bytes]:
    """The bodies of all calls of these methods from now on, as they came over the wire."""
    bodies: list[bytes] = []
    decode = soap.wire.decode

    def spy(body, dialect):
        if any(method in body for method in methods):
            bodies.append(body)
        return decode(body, dialect)

    monkeypatch.setattr(soap.wire, "decode", spy)
    return bodies
