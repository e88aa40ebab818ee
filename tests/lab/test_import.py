"""OVF descriptors and import leases: what was exported comes back as an equal VM."""

import http.client
import ssl
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from engine.lab import Lab
from engine.lab.authorization import ALL_PRIVILEGES
from engine.lab.faults import Rule
from engine.lab.stream import StreamWriter
from engine.lab.vm import VM
from tests.lab.lease_client import CAPACITY, MIB, Client, ask, contents, login, make_vm

OVF = "{http://schemas.dmtf.org/ovf/envelope/1}"
RASD = "{http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData}"
NOTHING = {"locale": "US", "deploymentOption": "", "entityName": ""}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab.start(tmp_path / "lab", seed="empty", guest=False) as running:
        yield running


@pytest.fixture
def client(lab: Lab) -> Client:
    return login(lab)


def exported(client: Client, vm: VM, snapshot: Any = None) -> tuple[str, dict[str, bytes], Any]:
    """(descriptor, file name -> bytes, its CreateDescriptorResult) of an export through a lease."""
    source = client.managed(vm if snapshot is None else snapshot)
    lease = source.ExportVm() if snapshot is None else source.ExportSnapshot()
    files = {url.targetId: (url, ask(client.lab, "GET", url.url).body) for url in client.ready(lease).deviceUrl}
    manifest = {entry.key: entry for entry in lease.HttpNfcLeaseGetManifest()}
    parameters = vim.OvfManager.CreateDescriptorParams(
        name=vm.name,
        snapshot=None if snapshot is None else source,
        ovfFiles=[
            vim.OvfManager.OvfFile(
                deviceId=url.key, path=name, size=len(data), populatedSize=manifest[url.key].populatedSize
            )
            for name, (url, data) in files.items()
        ],
    )
    result = client.content.ovfManager.CreateDescriptor(client.managed(vm), parameters)
    lease.HttpNfcLeaseComplete()
    assert not result.error
    return result.ovfDescriptor, {name: data for name, (_, data) in files.items()}, result


def import_lease(client: Client, descriptor: str, name: str) -> tuple[Any, dict[str, Any]]:
    """(lease, import key -> file item)."""
    vsphere = client.lab.vsphere
    pool = client.managed(vsphere.all_of(vim.ResourcePool)[0])
    datacenter = vsphere.all_of(vim.Datacenter)[0]
    parameters = vim.OvfManager.CreateImportSpecParams(**{**NOTHING, "entityName": name})
    made = client.content.ovfManager.CreateImportSpec(
        descriptor, pool, client.managed(datacenter.datastores()[0]), parameters
    )
    assert not made.error
    lease = pool.ImportVApp(made.importSpec, client.managed(datacenter.vm_folder))
    return lease, {item.deviceId: item for item in made.fileItem}


def upload(client: Client, lease: Any, items: dict[str, Any], files: dict[str, bytes]) -> list[int]:
    statuses = []
    for url in client.ready(lease).deviceUrl:
        item = items[url.importKey]
        method = "PUT" if item.create else "POST"
        answer = ask(client.lab, method, url.url, body=files[item.path], headers={"Overwrite": "t"})
        statuses.append(answer.status)
    return statuses


def found(lab: Lab, name: str) -> VM | None:
    return next((vm for vm in lab.vsphere.all_of(vim.VirtualMachine) if vm.name == name), None)


def test_what_was_exported_comes_back(lab: Lab, client: Client) -> None:
    source = make_vm(lab, disks=(CAPACITY, 8 * MIB))
    source.add_nic(lab.vsphere.all_of(vim.Network)[0])
    source.definition.firmware, source.definition.cpus, source.definition.memory_mb = "efi", 3, 3072
    descriptor, files, _ = exported(client, source)
    lease, items = import_lease(client, descriptor, "web01-back")
    assert upload(client, lease, items, files) == [201, 201, 201]
    manifest = {entry.key: entry for entry in lease.HttpNfcLeaseGetManifest()}
    assert sorted(entry.size for entry in manifest.values()) == sorted(map(len, files.values()))
    lease.HttpNfcLeaseProgress(100)
    lease.HttpNfcLeaseComplete()
    copy = found(lab, "web01-back")
    assert copy is not None
    assert lease.info.entity._moId == copy.id
    for key, twin in zip(source.disks, copy.disks, strict=True):
        assert contents(copy, key=twin) == contents(source, key=key)
    made = copy.definition
    assert (made.firmware, made.cpus, made.memory_mb) == ("efi", 3, 3072)
    assert [nic.network_name for nic in made.nics] == [nic.network_name for nic in source.definition.nics]
    assert (copy.home.path / "web01-back.nvram").read_bytes() == (source.home.path / "web01.nvram").read_bytes()
    client.result(client.managed(copy).PowerOnVM_Task())


def test_the_descriptor_of_a_snapshot_tells_what_was_frozen(lab: Lab, client: Client) -> None:
    vm = make_vm(lab, power="poweredOn")
    vm.add_disk(MIB, mode="independent_persistent")
    snapshot = vm.take_snapshot("backup")
    vm.add_disk(2 * MIB)
    descriptor, files, result = exported(client, vm, snapshot)
    root = ET.fromstring(descriptor)
    references = root.findall(f"{OVF}References/{OVF}File")
    assert {r.get(f"{OVF}href"): int(r.get(f"{OVF}size") or 0) for r in references} == {
        name: len(data) for name, data in files.items()
    }
    (disk,) = root.findall(f"{OVF}DiskSection/{OVF}Disk")
    assert int(disk.get(f"{OVF}capacity") or 0) == CAPACITY
    assert (disk.get(f"{OVF}format") or "").endswith("#streamOptimized")
    (warning,) = result.warning
    assert isinstance(warning, vim.fault.OvfUnableToExportDisk)
    assert warning.diskName == "Hard disk 2"
    for item in root.iter(f"{OVF}Item"):
        tags = [child.tag.removeprefix(RASD) for child in item]
        assert tags == sorted(tags), "the schema of an Item is a sequence"


def test_a_rehearsal_needs_no_files(lab: Lab, client: Client) -> None:
    vm = make_vm(lab)
    parameters = vim.OvfManager.CreateDescriptorParams(name="rehearsal")
    text = client.content.ovfManager.CreateDescriptor(client.managed(vm), parameters).ovfDescriptor
    assert 'ovf:id="rehearsal"' in text
    assert "fileRef" not in text
    parsed = client.content.ovfManager.ParseDescriptor(
        text, vim.OvfManager.ParseDescriptorParams(locale="US", deploymentOption="")
    )
    assert (parsed.defaultEntityName, parsed.approximateFlatDeploymentSize) == ("rehearsal", CAPACITY)


@pytest.mark.parametrize("end", ["abort", "timeout"])
def test_a_failed_import_leaves_nothing(end: str, lab: Lab, client: Client) -> None:
    source = make_vm(lab)
    descriptor, files, _ = exported(client, source)
    if end == "timeout":
        lab.vsphere.leases.timeout = 0.3
    lease, items = import_lease(client, descriptor, "unlucky")
    model = lab.vsphere.find(lease)
    home = model.vm.home.path
    if end == "abort":
        assert home.is_dir()
        upload(client, lease, items, files)
        lease.HttpNfcLeaseAbort()
    client.until(lambda: model.props["state"] == "error")
    assert found(lab, "unlucky") is None
    assert not home.exists()
    assert not lab.vsphere.datastore_file(f"[{source.home.datastore.name}] unlucky").exists()


def test_a_vm_under_import_is_held(lab: Lab, client: Client) -> None:
    descriptor, _, _ = exported(client, make_vm(lab))
    lease, _ = import_lease(client, descriptor, "half")
    client.ready(lease)
    vm = found(lab, "half")
    assert vm is not None
    with pytest.raises(vim.fault.TaskInProgress):
        client.managed(vm).PowerOnVM_Task()


def test_a_damaged_or_cut_upload_is_refused(lab: Lab, client: Client) -> None:
    descriptor, files, _ = exported(client, make_vm(lab))
    lease, items = import_lease(client, descriptor, "damaged")
    (url,) = [url for url in client.ready(lease).deviceUrl if url.disk]
    data = files[items[url.importKey].path]
    for bad in (data[:-1024], b"", b"not a VMDK" * 1000, data[:70_000] + b"\xff" * 64 + data[70_064:]):
        assert ask(lab, "POST", url.url, body=bad).status == 500
    assert not [entry for entry in lease.HttpNfcLeaseGetManifest() if entry.disk]
    lab.faults.add(Rule("http", "short", "data", size=1000))
    with pytest.raises((ConnectionError, http.client.HTTPException, ssl.SSLError)):
        ask(lab, "POST", url.url, body=data)
    assert ask(lab, "POST", url.url, body=data).status == 201, "the upload may be tried again"
    assert ask(lab, "GET", url.url).status == 405


def test_an_image_larger_than_the_disk_is_refused(lab: Lab, client: Client) -> None:
    descriptor, _, _ = exported(client, make_vm(lab))
    lease, _ = import_lease(client, descriptor, "small")
    (url,) = [url for url in client.ready(lease).deviceUrl if url.disk]
    large = StreamWriter(CAPACITY + MIB, "large.vmdk", "11111111", lambda offset, length: bytes(length), [])
    assert ask(lab, "POST", url.url, body=b"".join(large.chunks())).status == 500


def test_a_name_that_exists_is_refused(lab: Lab, client: Client) -> None:
    descriptor, _, _ = exported(client, make_vm(lab))
    with pytest.raises(vim.fault.DuplicateName):
        import_lease(client, descriptor, "web01")


def test_an_occupied_directory_is_left_alone(lab: Lab, client: Client) -> None:
    source = make_vm(lab)
    descriptor, files, _ = exported(client, source)
    stranger = source.home.datastore.root / "twin"
    stranger.mkdir()
    (stranger / "precious.txt").write_text("mine")
    lease, items = import_lease(client, descriptor, "twin")
    upload(client, lease, items, files)
    vm = lab.vsphere.find(lease).vm
    assert vm.home.directory == "twin_1"
    lease.HttpNfcLeaseAbort()
    assert (stranger / "precious.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("<Envelope", vim.fault.OvfXmlFormat),
        ('<!DOCTYPE x [<!ENTITY a "b">]><Envelope/>', vim.fault.OvfInvalidPackage),
        (f'<Envelope xmlns="{OVF[1:-1]}"/>', vim.fault.OvfMissingElement),
    ],
)
def test_what_is_no_descriptor_is_named(text: str, fault: Any, lab: Lab, client: Client) -> None:
    vsphere = lab.vsphere
    result = client.content.ovfManager.CreateImportSpec(
        text,
        client.managed(vsphere.all_of(vim.ResourcePool)[0]),
        client.managed(vsphere.all_of(vim.Datastore)[0]),
        vim.OvfManager.CreateImportSpecParams(**NOTHING),
    )
    assert isinstance(result.error[0], fault)
    assert result.importSpec is None


def test_a_specification_without_ovf_is_imported(lab: Lab, client: Client) -> None:
    """What restores from a saved ConfigInfo send: no OVF, keys of their own, a disk on a new controller."""
    vsphere = lab.vsphere
    datacenter = vsphere.all_of(vim.Datacenter)[0]
    store = datacenter.datastores()[0].name
    controller = vim.vm.device.VirtualLsiLogicController(key=-1, busNumber=0, sharedBus="noSharing")
    backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(
        fileName=f"[{store}]", diskMode="persistent", thinProvisioned=True
    )
    disk = vim.vm.device.VirtualDisk(key=-2, controllerKey=-1, unitNumber=3, capacityInKB=2048, backing=backing)
    config = vim.vm.ConfigSpec(
        name="restored", numCPUs=2, memoryMB=512, guestId="debian12_64Guest",
        files=vim.vm.FileInfo(vmPathName=f"[{store}]"),
        deviceChange=[
            vim.vm.device.VirtualDeviceSpec(operation="add", device=controller),
            vim.vm.device.VirtualDeviceSpec(operation="add", fileOperation="create", device=disk),
        ],
    )  # fmt: skip
    pool = client.managed(vsphere.all_of(vim.ResourcePool)[0])
    lease = pool.ImportVApp(vim.vm.VmImportSpec(configSpec=config), client.managed(datacenter.vm_folder))
    (url,) = client.ready(lease).deviceUrl
    assert url.importKey == "/restored/VirtualLsiLogicController0:3"
    writer = StreamWriter(2 * MIB, "disk.vmdk", "22222222", lambda offset, length: b"R" * length, [(0, 2 * MIB)])
    assert ask(lab, "POST", url.url, body=b"".join(writer.chunks())).status == 201
    lease.HttpNfcLeaseComplete()
    vm = found(lab, "restored")
    assert vm is not None
    assert contents(vm) == b"R" * (2 * MIB)


def test_a_device_that_cannot_be_leaves_nothing(lab: Lab, client: Client) -> None:
    vsphere = lab.vsphere
    datacenter = vsphere.all_of(vim.Datacenter)[0]
    store = datacenter.datastores()[0]
    backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(fileName=f"[{store.name}]", diskMode="persistent")
    disk = vim.vm.device.VirtualDisk(key=-2, controllerKey=-9, unitNumber=0, capacityInKB=2048, backing=backing)
    change = vim.vm.device.VirtualDeviceSpec(operation="add", fileOperation="create", device=disk)
    config = vim.vm.ConfigSpec(name="never", files=vim.vm.FileInfo(vmPathName=f"[{store.name}]"), deviceChange=[change])
    pool = client.managed(vsphere.all_of(vim.ResourcePool)[0])
    with pytest.raises(vim.fault.InvalidDeviceSpec):
        pool.ImportVApp(vim.vm.VmImportSpec(configSpec=config), client.managed(datacenter.vm_folder))
    assert found(lab, "never") is None
    assert not (store.root / "never").exists()
    with pytest.raises(vmodl.fault.NotSupported):
        pool.ImportVApp(vim.vApp.VAppImportSpec(
            name="app", vAppConfigSpec=vim.vApp.VAppConfigSpec(),
            resourcePoolSpec=vim.ResourceConfigSpec(
                cpuAllocation=vim.ResourceAllocationInfo(), memoryAllocation=vim.ResourceAllocationInfo()
            ),
        ))  # fmt: skip


@pytest.mark.parametrize(
    "missing", ["VApp.Import", "Datastore.AllocateSpace", "Resource.AssignVMToPool", "VirtualMachine.Inventory.Create"]
)
def test_an_import_needs_its_privileges(missing: str, lab: Lab, client: Client) -> None:
    descriptor, _, _ = exported(client, make_vm(lab))
    lab.vsphere.grant("restore@vsphere.local", "secret", ALL_PRIVILEGES - {missing})
    lab.user, lab.password = "restore@vsphere.local", "secret"
    with pytest.raises(vim.fault.NoPermission) as raised:
        import_lease(login(lab), descriptor, "copy")
    assert raised.value.privilegeId == missing
    assert found(lab, "copy") is None


def test_describing_a_vm_needs_the_privilege_to_export_it(lab: Lab) -> None:
    vm = make_vm(lab)
    lab.vsphere.grant("backup@vsphere.local", "secret", ALL_PRIVILEGES - {"VApp.Export"})
    lab.user, lab.password = "backup@vsphere.local", "secret"
    client = login(lab)
    with pytest.raises(vim.fault.NoPermission):
        client.content.ovfManager.CreateDescriptor(client.managed(vm), vim.OvfManager.CreateDescriptorParams())
