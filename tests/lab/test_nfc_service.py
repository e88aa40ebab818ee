"""NfcService over SOAP, in front of the NFC port: tickets, privileges, vCenter and ESXi."""

from __future__ import annotations

import random
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyVim.connect import Disconnect, SmartConnect
from pyVim.task import WaitForTask
from pyVmomi import VmomiSupport, vim, vmodl

from engine.lab import Lab
from engine.lab.nfc.messages import bitmap
from tests.lab.nfc_wire import Client

SIZE = 4 << 20


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab.start(tmp_path, seed="small", guest=False) as running:
        yield running


def login(lab: Lab, user: str | None = None, password: str | None = None) -> Any:
    context = ssl.create_default_context(cafile=str(lab.ca_file))
    return SmartConnect(
        host=lab.host, port=lab.port, user=user or lab.user, pwd=password or lab.password, sslContext=context
    )


def service(instance: Any, moid: str = "nfcService") -> Any:
    return VmomiSupport.GetVmodlType("vim.NfcService")(moid, instance._stub)


def machine(lab: Lab) -> Any:
    """The first VM that runs and has a disk which a snapshot freezes."""
    return next(
        vm
        for vm in lab.vsphere.all_of(vim.VirtualMachine)
        if vm.power == "poweredOn" and any(not slot.independent for slot in vm.definition.disks)
    )


def remote_of(vm: Any, instance: Any) -> Any:
    """The client's view of a VM of the model."""
    return vim.VirtualMachine(vm.id, instance._stub)


def disk_slot(vm: Any) -> Any:
    return next(slot for slot in vm.definition.disks if not slot.independent)


def test_a_running_vms_snapshot_is_read_through_a_ticket(lab: Lab) -> None:
    vm, instance = machine(lab), login(lab)
    disk = vm.store[disk_slot(vm).disk]
    dice = random.Random(7)
    for _ in range(8):
        disk.write(dice.randrange(0, disk.capacity - 65536) // 512 * 512, dice.randbytes(65536))
    frozen = disk.read(0, disk.capacity)
    remote = remote_of(vm, instance)
    WaitForTask(remote.CreateSnapshot_Task("s", "", False, False), si=instance)
    disk.write(0, dice.randbytes(65536))
    device = next(d for d in remote.snapshot.currentSnapshot.config.hardware.device if d.key == disk_slot(vm).key)

    ticket = service(instance).NfcGetVmFiles(remote)
    assert (ticket.host, ticket.port, ticket.service) == ("127.0.0.1", lab.nfc_port, "vpxa-nfc")
    host = remote.runtime.host
    assert ticket.sslThumbprint in {
        lab.vsphere.authority.issue(h.props["name"]).sha1 for h in lab.vsphere.all_of(vim.HostSystem)
    }
    client = Client.connect(ticket.port, ticket.sessionId, tls=True)
    handle = client.open(device.backing.fileName, buffer=2 << 20)
    assert client.read(handle, 0, disk.capacity) == frozen
    client.close(handle)
    assert service(instance).NfcGetServerNfcLibVersion(host) == 11
    Disconnect(instance)


def test_tickets_for_one_disk(lab: Lab) -> None:
    vm, instance = machine(lab), login(lab)
    remote = remote_of(vm, instance)
    for method in ("NfcRandomAccessOpenReadonly", "NfcRandomAccessOpenDisk"):
        call = getattr(service(instance), VmomiSupport.GetWsdlMethod("urn:vim25", method).info.name)
        ticket = call(remote, disk_slot(vm).key, remote.runtime.host)
        client = Client.connect(ticket.port, ticket.sessionId)
        client.open_session()
        disk = vm.store[disk_slot(vm).disk]
        assert client.open_file(disk.file(disk.top)).error == 15
        with pytest.raises(vmodl.fault.InvalidArgument) as wrong:
            call(remote, 9999, remote.runtime.host)
        assert wrong.value.invalidProperty == "diskDeviceKey"
    with pytest.raises(vmodl.fault.InvalidArgument) as missing:
        service(instance).NfcGetServerNfcLibVersion()
    assert missing.value.invalidProperty == "hostForAccess"


def test_a_powered_off_vm_is_restored(lab: Lab) -> None:
    vm, instance = machine(lab), login(lab)
    remote = remote_of(vm, instance)
    WaitForTask(remote.PowerOffVM_Task(), si=instance)
    name = VmomiSupport.GetWsdlMethod("urn:vim25", "NfcRandomAccessOpenDisk").info.name
    ticket = getattr(service(instance), name)(remote, disk_slot(vm).key, remote.runtime.host)
    disk = vm.store[disk_slot(vm).disk]
    client = Client.connect(ticket.port, ticket.sessionId)
    handle = client.open(disk.file(disk.top), 0x1A)
    assert client.write(handle, 1 << 20, b"restored" * 64).type == 7
    client.close(handle)
    assert disk.read(1 << 20, 512) == b"restored" * 64


def test_each_ticket_needs_its_privilege_on_the_vm(lab: Lab) -> None:
    vm = machine(lab)
    lab.vsphere.grant("auditor@vsphere.local", "a-long-password", "ReadOnly")
    instance = login(lab, "auditor@vsphere.local", "a-long-password")
    remote = remote_of(vm, instance)
    for method, privilege, arguments in (
        ("NfcGetVmFiles", "GetVmFiles", ()),
        ("NfcRandomAccessOpenReadonly", "DiskRandomRead", (disk_slot(vm).key,)),
        ("NfcRandomAccessOpenDisk", "DiskRandomAccess", (disk_slot(vm).key,)),
    ):
        name = VmomiSupport.GetWsdlMethod("urn:vim25", method).info.name
        with pytest.raises(vim.fault.NoPermission) as denied:
            getattr(service(instance), name)(remote, *arguments)
        assert denied.value.privilegeId == f"VirtualMachine.Provisioning.{privilege}"
        fault: Any = denied.value
        assert fault.object._moId == vm.id


@pytest.mark.parametrize("moid", ["ha-nfc", "ha-nfc-service"])
def test_an_esxi_host_leaves_its_name_out(tmp_path: Path, moid: str) -> None:
    with Lab.start(tmp_path, seed="small", esx=True, guest=False) as lab:
        vm, instance = machine(lab), login(lab)
        ticket = service(instance, moid).NfcGetVmFiles(remote_of(vm, instance))
        assert (ticket.host, ticket.service) == (None, "nfc")
        client = Client.connect(ticket.port, ticket.sessionId, service="nfc", tls=True)
        assert client.open_session().type == 2


def test_the_type_is_registered_beside_a_clients_own() -> None:
    """A client in the same process may have told pyVmomi of the type before, with one method only."""
    code = """
from pyVmomi import VmomiSupport as VS
V = "vim.version.version9"
VS.CreateManagedType("vim.NfcService", "NfcService", "vmodl.ManagedObject", V, None, [
    ("getVmFiles", "NfcGetVmFiles", V, (("vm", "vim.VirtualMachine", V, 0, None),),
     (0, "vim.HostServiceTicket", "vim.HostServiceTicket"), "System.View", None)])
from engine.lab.nfc.service import NfcService, register_type
assert register_type() is VS.GetVmodlType("vim.NfcService") is NfcService.vim
for name in ("NfcGetVmFiles", "NfcRandomAccessOpenReadonly", "NfcRandomAccessOpenDisk", "NfcGetServerNfcLibVersion"):
    assert VS.GetWsdlMethod("urn:vim25", name).info.wsdlName == name
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("seed", range(20))
def test_the_bitmap_says_what_a_slow_count_says(seed: int) -> None:
    dice = random.Random(seed)
    chunk, start, count = dice.choice((512, 4096, 65536)), 0, dice.randrange(1, 100)
    start = chunk * dice.randrange(8)
    runs, at = [], 0
    while at < start + 2 * count * chunk:
        at += dice.randrange(1, 6 * chunk)
        length = dice.randrange(1, 40 * chunk)
        runs.append((at, length))
        at += length
    said = bitmap(runs, start, chunk, count)
    assert len(said) % 4 == 0
    for number in range(count):
        low, high = start + number * chunk, start + (number + 1) * chunk
        wanted = any(offset < high and offset + length > low for offset, length in runs)
        assert bool(said[number >> 3] >> (number & 7) & 1) is wanted
    assert int.from_bytes(said, "little") >> count == 0
