"""Export leases: what they offer, what they send, how they end, and what they block meanwhile."""

import hashlib
import http.client
import json
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pyVmomi import vim, vmodl

from engine.lab import Lab
from engine.lab.faults import Rule
from tests.lab.lease_client import CAPACITY, MIB, Client, ask, contents, login, make_vm, raw_image
from tests.tools import require_tool


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab.start(tmp_path / "lab", seed="empty", guest=False) as running:
        yield running


@pytest.fixture
def client(lab: Lab) -> Client:
    return login(lab)


def test_a_lease_names_its_files(lab: Lab, client: Client) -> None:
    vm = make_vm(lab, disks=(CAPACITY, 8 * MIB))
    info = client.ready(client.managed(vm).ExportVm())
    disks = [url for url in info.deviceUrl if url.disk]
    assert [url.key for url in disks] == [f"/{vm.id}/ParaVirtualSCSIController0:{n}" for n in (0, 1)]
    assert [url.targetId for url in disks] == ["disk-0.vmdk", "disk-1.vmdk"]
    assert all(url.fileSize is None for url in disks), "nobody knows the size of a stream beforehand"
    (nvram,) = [url for url in info.deviceUrl if not url.disk]
    assert nvram.key == f"/{vm.id}/nvram"
    assert nvram.fileSize == len(ask(lab, "GET", nvram.url).body)
    assert {url.sslThumbprint for url in info.deviceUrl} == {lab.vsphere.thumbprint}
    assert info.totalDiskCapacityInKB == (CAPACITY + 8 * MIB) // 1024
    assert info.leaseTimeout == 300
    assert info.entity._moId == vm.id


def test_the_stream_is_the_disk_and_the_manifest_tells_of_it(lab: Lab, client: Client, tmp_path: Path) -> None:
    qemu_img = require_tool("qemu-img")
    vm = make_vm(lab)
    lease = client.managed(vm).ExportVm()
    (url,) = [url for url in client.ready(lease).deviceUrl if url.disk]
    lease.HttpNfcLeaseSetManifestChecksumType([vim.KeyValue(key=url.key, value="sha256")])
    answer = ask(lab, "GET", url.url)
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert "Content-Length" not in answer.headers
    (entry,) = lease.HttpNfcLeaseGetManifest()
    assert (entry.key, entry.size, entry.disk, entry.capacity) == (url.key, len(answer.body), True, CAPACITY)
    assert entry.checksumType == "sha256"
    assert entry.checksum == hashlib.sha256(answer.body).hexdigest()
    assert entry.sha1 == hashlib.sha1(answer.body).hexdigest()
    assert 0 < entry.populatedSize < MIB
    lease.HttpNfcLeaseComplete()
    image = raw_image(tmp_path / "disk.vmdk", answer.body)
    raw = raw_image(tmp_path / "disk.raw", contents(vm))
    subprocess.run([qemu_img, "check", image], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([qemu_img, "compare", "-f", "raw", "-F", "vmdk", raw, image], check=True, stdout=subprocess.DEVNULL)


def test_a_snapshot_is_exported_as_it_was_while_the_guest_writes_on(lab: Lab, client: Client, tmp_path: Path) -> None:
    qemu_img = require_tool("qemu-img")
    vm = make_vm(lab, power="poweredOn")
    key = next(iter(vm.disks))
    vm.take_snapshot("older")
    vm.write(key, 10 * MIB, b"between" * 5000)
    snapshot = vm.take_snapshot("backup")
    frozen = contents(vm, snapshot)
    vm.write(key, 0, b"the guest goes on" * 1000)
    lease = client.managed(snapshot).ExportSnapshot()
    (url,) = [url for url in client.ready(lease).deviceUrl if url.disk]
    image = raw_image(tmp_path / "disk.vmdk", ask(lab, "GET", url.url).body)
    raw = raw_image(tmp_path / "disk.raw", frozen)
    subprocess.run([qemu_img, "compare", "-f", "raw", "-F", "vmdk", raw, image], check=True, stdout=subprocess.DEVNULL)
    size = json.loads(subprocess.check_output([qemu_img, "info", "--output=json", image]))["virtual-size"]
    assert size == CAPACITY


def test_what_no_snapshot_freezes_is_not_exported(lab: Lab, client: Client) -> None:
    vm = make_vm(lab, power="poweredOn")
    vm.add_disk(MIB, mode="independent_persistent")
    vm.add_disk(MIB, kind="rdm-physical")
    virtual = vm.add_disk(MIB, kind="rdm-virtual")
    snapshot = vm.take_snapshot("backup")
    info = client.ready(client.managed(snapshot).ExportSnapshot())
    unit = vm.definition.slot(virtual)
    assert unit is not None
    keys = [url.key for url in info.deviceUrl if url.disk]
    assert keys == [f"/{vm.id}/ParaVirtualSCSIController0:{n}" for n in (0, unit.unit)]


def test_a_running_vm_is_exported_from_a_snapshot_only(lab: Lab, client: Client) -> None:
    vm = make_vm(lab, power="poweredOn")
    with pytest.raises(vim.fault.InvalidPowerState) as raised:
        client.managed(vm).ExportVm()
    assert raised.value.existingState == "poweredOn"


def test_templates_and_fault_tolerant_vms_are_refused(lab: Lab, client: Client) -> None:
    template, tolerant = make_vm(lab, "template"), make_vm(lab, "tolerant")
    client.managed(template).MarkAsTemplate()
    tolerant.set("runtime.faultToleranceState", "running")
    with pytest.raises(vmodl.fault.NotSupported):
        client.managed(template).ExportVm()
    with pytest.raises(vim.fault.InvalidState):
        client.managed(tolerant).ExportVm()


def test_a_lease_blocks_what_would_change_the_vm(lab: Lab, client: Client) -> None:
    vm = make_vm(lab, power="poweredOn")
    snapshot = vm.take_snapshot("backup")
    machine, frozen = client.managed(vm), client.managed(snapshot)
    lease = frozen.ExportSnapshot()
    client.ready(lease)
    blocked = (
        machine.PowerOffVM_Task,
        machine.Destroy_Task,
        machine.UnregisterVM,
        lambda: frozen.RemoveSnapshot_Task(False),
        machine.RemoveAllSnapshots_Task,
        frozen.ExportSnapshot,
    )
    for call in blocked:
        with pytest.raises(vim.fault.TaskInProgress):
            call()
    assert "Destroy_Task" in machine.disabledMethod
    lease.HttpNfcLeaseComplete()
    client.result(frozen.RemoveSnapshot_Task(False))
    client.result(machine.PowerOffVM_Task())


@pytest.mark.parametrize("end", ["Complete", "Abort"])
def test_a_lease_that_has_ended_refuses_everything(end: str, lab: Lab, client: Client) -> None:
    lease = client.managed(make_vm(lab)).ExportVm()
    url = client.ready(lease).deviceUrl[0].url
    getattr(lease, f"HttpNfcLease{end}")()
    assert lease.state == ("done" if end == "Complete" else "error")
    calls = (
        lambda: lease.HttpNfcLeaseProgress(50),
        lease.HttpNfcLeaseComplete,
        lease.HttpNfcLeaseAbort,
        lease.HttpNfcLeaseGetManifest,
    )
    for call in calls:
        with pytest.raises(vim.fault.InvalidState):
            call()
    assert ask(lab, "GET", url).status == 404


def test_abort_tells_its_reason(lab: Lab, client: Client) -> None:
    vm = make_vm(lab)
    lease = client.managed(vm).ExportVm()
    client.ready(lease)
    fault = vim.fault.FileFault(file="disk-0.vmdk")
    lease.HttpNfcLeaseAbort(vmodl.LocalizedMethodFault(fault=fault, localizedMessage="disk full"))
    assert isinstance(lease.error, vim.fault.FileFault)
    with pytest.raises(vim.fault.FileFault):
        client.result(client.managed(vm).recentTask[-1])


def test_without_progress_a_lease_times_out(lab: Lab, client: Client) -> None:
    lab.vsphere.leases.timeout = 0.3
    vm = make_vm(lab)
    lease = client.managed(vm).ExportVm()
    model = lab.vsphere.find(lease)
    client.until(lambda: model.props["state"] == "error")
    assert isinstance(lease.error, vim.fault.Timedout)
    for call in (lambda: lease.HttpNfcLeaseProgress(1), lease.HttpNfcLeaseComplete, lease.HttpNfcLeaseAbort):
        with pytest.raises(vim.fault.Timedout):
            call()
    client.result(client.managed(vm).PowerOnVM_Task())


def test_progress_keeps_a_lease_alive(lab: Lab, client: Client) -> None:
    lab.vsphere.leases.timeout = 30
    lease = client.managed(make_vm(lab)).ExportVm()
    assert client.ready(lease).leaseTimeout == 30
    model = lab.vsphere.find(lease)
    before = model.deadline
    lease.HttpNfcLeaseProgress(0)
    lease.HttpNfcLeaseProgress(0)
    assert model.deadline > before, "an unchanged percentage counts, too"
    assert lease.transferProgress == 0


def test_the_end_of_a_lease_cuts_its_transfers(lab: Lab, client: Client) -> None:
    vm = make_vm(lab)
    lease = client.managed(vm).ExportVm()
    url = client.ready(lease).deviceUrl[0].url
    lab.faults.add(Rule("http", "slow", "data", size=50_000))
    outcome: list[BaseException] = []

    def read() -> None:
        try:
            ask(lab, "GET", url)
        except (OSError, http.client.HTTPException) as error:
            outcome.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    model = lab.vsphere.find(lease)
    while not model._connections and reader.is_alive():
        reader.join(0.01)
    lease.HttpNfcLeaseAbort()
    reader.join(30)
    assert outcome


def test_the_end_of_a_session_ends_its_leases(lab: Lab, client: Client) -> None:
    vm = make_vm(lab)
    client.ready(client.managed(vm).ExportVm())
    lab.vsphere.sessions.expire_all()
    client.until(lambda: lab.vsphere.leases.of(vm) is None)
    other = login(lab)
    other.result(other.managed(vm).PowerOnVM_Task())


def test_a_cancelled_task_ends_the_lease(lab: Lab, client: Client) -> None:
    vm = make_vm(lab)
    lease = client.managed(vm).ExportVm()
    client.ready(lease)
    client.managed(vm).recentTask[-1].CancelTask()
    model = lab.vsphere.find(lease)
    client.until(lambda: model.props["state"] == "error")
    assert isinstance(lease.error, vmodl.fault.RequestCanceled)


def test_injected_trouble_with_a_lease(lab: Lab, client: Client) -> None:
    vm = make_vm(lab)
    lab.faults.add(Rule("ExportVm", "fault", "task", fault="FileFault", properties={"file": "web01.vmdk"}))
    lease = client.managed(vm).ExportVm()
    model = lab.vsphere.find(lease)
    client.until(lambda: model.props["state"] == "error")
    assert isinstance(lease.error, vim.fault.FileFault)


def test_injected_trouble_with_a_stream(lab: Lab, client: Client) -> None:
    lease = client.managed(make_vm(lab)).ExportVm()
    url = client.ready(lease).deviceUrl[0].url
    whole = ask(lab, "GET", url).body
    lab.faults.add(Rule("http", "short", "data", size=100_000))
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        ask(lab, "GET", url)
    lab.faults.add(Rule("http", "corrupt", "data", object=lab.vsphere.find(lease).vm.name, size=70_000))
    damaged = ask(lab, "GET", url).body
    assert [n for n, (a, b) in enumerate(zip(whole, damaged, strict=True)) if a != b] == [70_000]
    (entry,) = [e for e in lease.HttpNfcLeaseGetManifest() if e.disk]
    assert entry.sha1 == hashlib.sha1(whole).hexdigest(), "the host sent it right: only the client can find out"
    lab.faults.add(Rule("http", "fault", "data"))
    assert ask(lab, "GET", url).status == 500
    lab.faults.add(Rule("http", "drop", "data"))
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        ask(lab, "GET", url)
    assert ask(lab, "GET", url).body == whole


def test_disks_are_read_at_the_same_time(lab: Lab, client: Client) -> None:
    vm = make_vm(lab, disks=(CAPACITY, CAPACITY))
    lease = client.managed(vm).ExportVm()
    urls = [url for url in client.ready(lease).deviceUrl if url.disk]
    with ThreadPoolExecutor(4) as pool:
        bodies = list(pool.map(lambda url: ask(lab, "GET", url.url).body, urls * 2))
    for url, body in zip(urls * 2, bodies, strict=True):
        (entry,) = [entry for entry in lease.HttpNfcLeaseGetManifest() if entry.key == url.key]
        assert entry.sha1 == hashlib.sha1(body).hexdigest()


def test_a_vsphere_7_exports_too(tmp_path: Path) -> None:
    with Lab.start(tmp_path / "seven", seed="empty", guest=False, version="7.0.3.0") as lab:
        client = login(lab)
        lease = client.managed(make_vm(lab)).ExportVm()
        url = client.ready(lease).deviceUrl[0]
        lease.HttpNfcLeaseSetManifestChecksumType([vim.KeyValue(key=url.key, value="sha512")])
        body = ask(lab, "GET", url.url).body
        (entry,) = lease.HttpNfcLeaseGetManifest()
        assert (entry.checksumType, entry.checksum) == ("sha512", hashlib.sha512(body).hexdigest())
        with pytest.raises(vmodl.fault.InvalidArgument):
            lease.HttpNfcLeaseSetManifestChecksumType([vim.KeyValue(key=url.key, value="md5")])


def test_closing_the_lab_ends_its_leases(tmp_path: Path) -> None:
    with Lab.start(tmp_path / "lab", seed="empty", guest=False) as lab:
        client = login(lab)
        lease = client.managed(make_vm(lab)).ExportVm()
        client.ready(lease)
        model = lab.vsphere.find(lease)
    assert model.ended.is_set()


def test_a_range_is_ignored_and_writing_refused(lab: Lab, client: Client) -> None:
    url = client.ready(client.managed(make_vm(lab)).ExportVm()).deviceUrl[0].url
    assert ask(lab, "GET", url, headers={"Range": "bytes=0-99"}).status == 200
    assert ask(lab, "POST", url, body=b"data").status == 405
    assert ask(lab, "HEAD", url).status == 200


def test_esxi_writes_an_asterisk_for_its_own_name(tmp_path: Path) -> None:
    with Lab.start(tmp_path / "esx", seed="empty", guest=False, esx=True) as lab:
        client = login(lab)
        info = client.ready(client.managed(make_vm(lab)).ExportVm())
        assert {url.url.split("/nfc/")[0] for url in info.deviceUrl} == {f"https://*:{lab.port}"}
        assert ask(lab, "GET", info.deviceUrl[0].url.replace("*", lab.host)).status == 200


def test_an_export_needs_its_privilege(lab: Lab) -> None:
    vm = make_vm(lab)
    lab.vsphere.grant("backup@vsphere.local", "secret", {"System.View", "System.Read", "System.Anonymous"})
    lab.user, lab.password = "backup@vsphere.local", "secret"
    client = login(lab)
    with pytest.raises(vim.fault.NoPermission) as raised:
        client.managed(vm).ExportVm()
    assert raised.value.privilegeId == "VApp.Export"
