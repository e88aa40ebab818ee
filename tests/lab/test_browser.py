"""HostDatastoreBrowser: patterns, kinds of files, details, sub-folders."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim

from engine.lab import Lab
from tests.lab.lease_client import CAPACITY, Client, login, make_vm

Browser: Any = vim.host.DatastoreBrowser
ALL_DETAILS = Browser.FileInfo.Details(fileType=True, fileSize=True, modification=True, fileOwner=True)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab.start(tmp_path / "lab", seed="empty", guest=False) as running:
        make_vm(running)
        yield running


@pytest.fixture
def client(lab: Lab) -> Client:
    return login(lab)


def store_of(lab: Lab) -> Any:
    return lab.vsphere.all_of(vim.Datacenter)[0].datastores()[0]


def search(client: Client, path: str, spec: Any = None, *, below: bool = False) -> Any:
    store = store_of(client.lab)
    browser = client.managed(store).browser
    method = browser.SearchDatastoreSubFolders_Task if below else browser.SearchDatastore_Task
    return client.result(method(f"[{store.name}] {path}".strip(), spec))


def names(result: Any) -> list[str]:
    return [info.path for info in result.file]


def test_everything_in_a_directory(client: Client) -> None:
    result = search(client, "web01")
    assert names(result) == ["web01-flat.vmdk", "web01.nvram", "web01.vmdk", "web01.vmsd", "web01.vmx"]
    assert result.folderPath == f"[{store_of(client.lab).name}] web01"


def test_by_pattern(client: Client) -> None:
    assert names(search(client, "web01", Browser.SearchSpec(matchPattern=["*.vmx", "*.vmsd"]))) == [
        "web01.vmsd",
        "web01.vmx",
    ]
    assert names(search(client, "web01", Browser.SearchSpec(matchPattern=["WEB01.VMX"]))) == []
    spec = Browser.SearchSpec(matchPattern=["WEB01.VMX"], searchCaseInsensitive=True)
    assert names(search(client, "web01", spec)) == ["web01.vmx"]


def test_by_kind(client: Client) -> None:
    details = Browser.VmDiskQuery.Details(
        diskType=True, capacityKb=True, hardwareVersion=True, controllerType=True, diskExtents=True, thin=True
    )
    spec = Browser.SearchSpec(query=[Browser.VmDiskQuery(details=details)], details=ALL_DETAILS)
    (disk,) = search(client, "web01", spec).file
    assert isinstance(disk, Browser.VmDiskInfo)
    assert (disk.path, disk.capacityKb, disk.thin) == ("web01.vmdk", CAPACITY // 1024, True)
    assert disk.diskExtents == ["web01-flat.vmdk"]
    assert 0 < disk.fileSize < CAPACITY // 2, "a thin disk has the size of what it occupies"
    (config,) = search(client, "web01", Browser.SearchSpec(query=[Browser.VmConfigQuery()])).file
    assert config.path == "web01.vmx"


def test_details_only_when_asked_for(client: Client) -> None:
    (plain,) = search(client, "web01", Browser.SearchSpec(matchPattern=["*.vmx"])).file
    assert (plain.fileSize, plain.modification, plain.owner) == (None, None, None)
    spec = Browser.SearchSpec(matchPattern=["*.vmx"], details=ALL_DETAILS)
    (full,) = search(client, "web01", spec).file
    path = client.lab.vsphere.datastore_file(f"[{store_of(client.lab).name}] web01/web01.vmx")
    assert full.fileSize == path.stat().st_size
    assert full.owner == "root"
    assert full.modification is not None


def test_sub_folders(client: Client) -> None:
    make_vm(client.lab, "db01")
    results = search(client, "", Browser.SearchSpec(matchPattern=["*.vmx"]), below=True)
    found = {result.folderPath: names(result) for result in results}
    store = store_of(client.lab).name
    assert found == {f"[{store}]": [], f"[{store}] db01": ["db01.vmx"], f"[{store}] web01": ["web01.vmx"]}


def test_folders_first(client: Client) -> None:
    store = store_of(client.lab)
    (store.root / "aaa.iso").write_bytes(b"disc")
    spec = Browser.SearchSpec(sortFoldersFirst=True, details=ALL_DETAILS)
    folder, disc = search(client, "", spec).file
    assert (folder.path, isinstance(folder, Browser.FolderInfo)) == ("web01", True)
    assert (disc.path, isinstance(disc, Browser.IsoImageInfo)) == ("aaa.iso", True)


def test_a_missing_directory_and_a_foreign_datastore(client: Client) -> None:
    with pytest.raises(vim.fault.FileNotFound):
        search(client, "nowhere")
    with pytest.raises(vim.fault.FileNotFound):
        search(client, "../..")
    browser = client.managed(store_of(client.lab)).browser
    for path in ("[elsewhere] web01", "web01"):
        with pytest.raises(vim.fault.InvalidDatastorePath):
            browser.SearchDatastore_Task(path, None)


def test_a_host_browses_what_it_mounts(client: Client) -> None:
    host = client.lab.vsphere.all_of(vim.HostSystem)[0]
    browser = client.managed(host).datastoreBrowser
    store = store_of(client.lab)
    assert [ref._moId for ref in browser.datastore] == [store.id]
    assert names(client.result(browser.SearchDatastore_Task(f"[{store.name}] web01", None)))


def test_browsing_needs_its_privilege(lab: Lab) -> None:
    lab.vsphere.grant("viewer@vsphere.local", "secret", {"System.View", "System.Read", "System.Anonymous"})
    lab.user, lab.password = "viewer@vsphere.local", "secret"
    with pytest.raises(vim.fault.NoPermission) as raised:
        search(login(lab), "web01")
    assert raised.value.privilegeId == "Datastore.Browse"
