"""What every test of the flow wants to know afterwards."""

import subprocess

from pyVmomi import vim

from engine.flow.ledger import ledgers
from engine.flow.outcome import Outcome
from engine.state_directory import StateDirectory
from engine.vsphere.snapshots import SNAPSHOT_NAME
from tests.tools import require_tool


def names_of(outcome: Outcome) -> list[str]:
    return [done.disk.name for done in outcome.disks]


def compare_with_frozen(lab, outcome: Outcome) -> None:
    """Each exported disk is, for qemu-img, sound and identical to what the lab recorded when it froze it."""
    qemu_img = require_tool("qemu-img")
    assert outcome.point is not None
    assert outcome.disks
    for done in outcome.disks:
        image = outcome.point / done.files[0].name
        if len(done.files) == 1:
            subprocess.run([qemu_img, "check", "-f", "vmdk", image], check=True, capture_output=True)
        frozen = lab.frozen_image(outcome.snapshot, done.disk.key)
        command = [qemu_img, "compare", "-f", "vmdk", "-F", "raw", image, frozen]
        compared = subprocess.run(command, check=False, capture_output=True, text=True)
        assert compared.returncode == 0, compared.stdout + compared.stderr


def backup_snapshots(proxy, name: str = "web01") -> list[str]:
    """Morefs of the VM's backup snapshots; none when the VM is gone."""
    try:
        vm = proxy.vm(name)
    except LookupError:
        return []
    return [snapshot.id for snapshot in vm.snapshots if snapshot.name == SNAPSHOT_NAME]


def assert_nothing_left(proxy, name: str = "web01") -> None:
    """No backup snapshot, no lease, no directory, and a ledger that agrees."""
    assert backup_snapshots(proxy, name) == []
    assert not any(proxy.lab.vsphere.leases.of(vm) for vm in proxy.lab.vsphere.all_of(vim.VirtualMachine))
    assert proxy.leftovers() == []
    for _, entries in ledgers(StateDirectory.default().jobs):
        assert [str(entry) for entry in entries if entry.open and entry.kind != "job"] == []
