"""SearchIndex: what is found, what is not, and what duplicates do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pyVmomi import vim

from engine.lab import Lab
from engine.lab.inventory import Folder
from tests.lab.rig import Site, build_site
from tests.lab.soap_client import login

TYPES = (vim.Folder, vim.VirtualMachine)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab.start(tmp_path_factory.mktemp("lab"), seed="empty", guest=False) as lab:
        yield lab


@pytest.fixture(scope="module")
def sites(lab: Lab) -> tuple[Site, Site]:
    east, west = build_site(lab, "East"), build_site(lab, "West")
    twin = ("11111111-2222-3333-4444-555555555555", "aaaaaaaa-0000-0000-0000-000000000001")
    east.vm("web01", ip="10.9.0.1", hostname="web01.example", identity=twin)
    west.vm(
        "web01", ip="10.9.0.1", hostname="WEB01.example", identity=(twin[0], "aaaaaaaa-0000-0000-0000-000000000002")
    )
    east.vm("off", ip="10.9.0.2", hostname="off.example", power="poweredOff")
    east.vm("bare", ip="10.9.0.3", hostname="bare.example", tools="notRunning")
    tiers = east.datacenter.vm_folder.add(Folder(lab.vsphere, "Tiers%2fWeb", east.datacenter.vm_folder, TYPES))
    deep = east.vm("deep", folder=tiers, ip=("10.9.0.4", "fd00::4"))
    deep.add_nic(east.network)
    return east, west


@pytest.fixture(scope="module")
def index(lab: Lab, sites: tuple[Site, Site]) -> Any:
    return login(lab).RetrieveContent().searchIndex


def ids(found: Any) -> list[str]:
    return [r._moId for r in found]


def by_name(sites: tuple[Site, Site], name: str) -> list[str]:
    return [v.id for v in sites[0].lab.vsphere.all_of(vim.VirtualMachine) if v.name == name]


def test_duplicates_show_in_find_all_only(index: Any, sites: tuple[Site, Site]) -> None:
    twins = by_name(sites, "web01")
    assert ids(index.FindAllByIp(None, "10.9.0.1", True)) == twins
    assert ids(index.FindAllByDnsName(None, "Web01.Example", True)) == twins
    assert ids(index.FindAllByUuid(None, "11111111-2222-3333-4444-555555555555", True)) == twins
    assert index.FindByIp(None, "10.9.0.1", True)._moId in twins


def test_a_datacenter_narrows_the_search(lab: Lab, index: Any, sites: tuple[Site, Site]) -> None:
    west = vim.Datacenter(sites[1].datacenter.id)
    assert ids(index.FindAllByIp(west, "10.9.0.1", True)) == by_name(sites, "web01")[1:]


def test_the_instance_uuid_is_unique(index: Any, sites: tuple[Site, Site]) -> None:
    found = index.FindAllByUuid(None, "AAAAAAAA-0000-0000-0000-000000000002", True, True)
    assert ids(found) == by_name(sites, "web01")[1:]
    assert not index.FindAllByUuid(None, "aaaaaaaa-0000-0000-0000-000000000002", True)


@pytest.mark.parametrize("ip", ["10.9.0.2", "10.9.0.3"])
def test_without_power_or_tools_no_address_is_known(index: Any, ip: str) -> None:
    assert not index.FindAllByIp(None, ip, True)
    assert index.FindByIp(None, ip, True) is None


def test_secondary_addresses_are_found(index: Any, sites: tuple[Site, Site]) -> None:
    assert ids(index.FindAllByIp(None, "fd00::4", True)) == by_name(sites, "deep")


def test_hosts(index: Any, sites: tuple[Site, Site]) -> None:
    host = sites[0].cluster.hosts[1]
    assert ids(index.FindAllByDnsName(None, "esx2.east.lab", False)) == [host.id]
    assert ids(index.FindAllByUuid(None, host.uuid, False)) == [host.id]


def test_inventory_paths(index: Any, sites: tuple[Site, Site]) -> None:
    deep = by_name(sites, "deep")[0]
    assert index.FindByInventoryPath("East/vm/Tiers%2fWeb/deep")._moId == deep
    assert index.FindByInventoryPath("/East/vm/Tiers%2FWeb/deep/")._moId == deep
    assert index.FindByInventoryPath("East/vm/Tiers/Web/deep") is None
    assert index.FindByInventoryPath("Nowhere/vm/x") is None


def test_children_and_datastore_paths(index: Any, sites: tuple[Site, Site]) -> None:
    east = sites[0].datacenter
    folder = vim.Folder(east.vm_folder.id)
    assert index.FindChild(folder, "off")._moId == by_name(sites, "off")[0]
    assert index.FindChild(folder, "nobody") is None
    vm = next(v for v in sites[0].lab.vsphere.all_of(vim.VirtualMachine) if v.name == "off")
    path = vm.value("config.files.vmPathName")
    assert index.FindByDatastorePath(vim.Datacenter(east.id), path)._moId == vm.id
    assert index.FindByDatastorePath(vim.Datacenter(sites[1].datacenter.id), path) is None


def test_only_what_the_caller_may_see_is_found(lab: Lab, sites: tuple[Site, Site]) -> None:
    lab.vsphere.grant("westerner", "secret", "ReadOnly", sites[1].datacenter)
    index = login(lab, "westerner", "secret").RetrieveContent().searchIndex
    assert ids(index.FindAllByIp(None, "10.9.0.1", True)) == by_name(sites, "web01")[1:]
    assert index.FindByInventoryPath("East/vm/off") is None
