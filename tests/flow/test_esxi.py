"""A standalone ESXi as HOST: no vCenter, other morefs, `*` in lease URLs; and both version ids."""

import pytest
from pyVmomi import vim

from engine.events import ResultState
from engine.lab import Lab
from engine.points import manifest
from tests.flow.checks import assert_nothing_left, compare_with_frozen


@pytest.fixture(params=["8.0.3.0", "7.0.3.0"])
def lab(tmp_path, request):
    with Lab.start(tmp_path / "lab", seed="small", record=True, esx=True, version=request.param) as lab:
        yield lab


@pytest.mark.parametrize("transport", ["nbdssl", "nbd", "https"])
def test_a_backup(proxy, transport):
    outcome = proxy.backup(TRANSPORT_MODE=transport)
    assert outcome.state is ResultState.SUCCESS, outcome.sentence
    compare_with_frozen(proxy.lab, outcome)
    assert_nothing_left(proxy)


def test_its_snapshots_are_proven_ours_by_the_hosts_own_uuid(proxy):
    outcome = proxy.backup(SNAPSHOT_POLICY="createonly")
    assert outcome.point is not None
    (host,) = proxy.lab.vsphere.all_of(vim.HostSystem)
    assert manifest.read(outcome.point).vcenter.instance_uuid == host.uuid
    assert proxy.backup(SNAPSHOT_POLICY="deleteonly").state is ResultState.SUCCESS
    assert_nothing_left(proxy)
