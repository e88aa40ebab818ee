"""Acting: snapshots, tasks, hot-add, export leases, files, import."""

import io
import ssl
from http.client import HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pyVmomi import vim

from engine.cancel import CancelToken
from engine.errors import BusyError, Cancelled, LeaseError, SessionLost, VcbError, VmUnsuitable, VsphereError
from engine.reporter import silent
from engine.vsphere import datastore_files, ovf, snapshots, tasks
from engine.vsphere.changed_areas import changed_areas
from engine.vsphere.inventory import inventory, read_vm
from engine.vsphere.lease import ExportLease
from engine.vsphere.properties import Ref, get_one
from engine.vsphere.session import Session
from engine.vsphere.snapshots import SNAPSHOT_NAME, OwnershipToken, Snapshot
from engine.vsphere.tickets import read_ticket
from tests.contract.conftest import TestServer


def make(session: Session, vm: str, name: str = SNAPSHOT_NAME, cancel: CancelToken | None = None) -> Snapshot:
    token = OwnershipToken("job-1", "proxy.example", session.instance_uuid, vm)
    return snapshots.create(
        session,
        vm,
        name=name,
        description=token.to_description(),
        quiesce=None,
        report=silent(),
        cancel=cancel or CancelToken(),
    )


def run(session: Session, task, *, doing: str = "testing", cancel: CancelToken | None = None):
    return tasks.wait(session, task, silent(), cancel or CancelToken(), doing=doing, subject="the VM")


def tree(session: Session, vm: str) -> list[tuple[str, str | None]]:
    found = snapshots.read(session, vm)
    names = {each.moref: each.name for each in found}
    return [(each.name, names.get(each.parent or "")) for each in found]


def test_a_snapshot_is_as_it_was_made(session: Session, vm: str) -> None:
    made = make(session, vm)
    token = OwnershipToken.parse(made.description)
    assert made.name == SNAPSHOT_NAME
    assert not made.quiesced
    assert made.age.total_seconds() < 3600
    assert token == OwnershipToken("job-1", "proxy.example", session.instance_uuid, vm)
    assert read_vm(session, vm).snapshots == (made,)
    assert snapshots.remove(session, made.moref, silent())
    assert not snapshots.remove(session, made.moref, silent())
    assert read_vm(session, vm).snapshots == ()


def test_removing_the_middle_keeps_the_others(session: Session, vm: str) -> None:
    make(session, vm, "one")
    middle = make(session, vm, "two")
    make(session, vm, "three")
    assert tree(session, vm) == [("one", None), ("two", "one"), ("three", "two")]
    snapshots.remove(session, middle.moref, silent())
    assert tree(session, vm) == [("one", None), ("three", "one")]
    run(session, session.managed(Ref("VirtualMachine", vm)).RemoveAllSnapshots_Task())
    assert tree(session, vm) == []


def test_a_snapshot_freezes_the_current_file(session: Session, vm: str) -> None:
    before = read_vm(session, vm).disks
    made = make(session, vm)
    frozen = snapshots.frozen_disks(session, made.moref)
    assert [disk.file for disk in frozen] == [disk.file for disk in before]
    assert [disk.file for disk in read_vm(session, vm).disks] != [disk.file for disk in before]


def test_two_snapshots_at_once_are_refused(session: Session, server: TestServer, vm: str) -> None:
    if server.kind == "lab":
        hold_next_snapshot(server)
    machine = session.managed(Ref("VirtualMachine", vm))
    task = machine.CreateSnapshot_Task("slow", "", False, False)
    with pytest.raises(BusyError) as caught:
        make(session, vm)
    assert caught.value.fault == "TaskInProgress"
    assert caught.value.transient
    run(session, task)


def hold_next_snapshot(server: TestServer) -> None:
    """The next snapshot task works for a second."""
    from engine.lab.faults import Rule  # noqa: PLC0415

    assert server.lab is not None
    server.lab.faults.add(Rule(point="CreateSnapshot*", action="delay", phase="task", delay=1.0))


def test_a_task_that_fails_is_translated(session: Session, vm: str) -> None:
    machine = session.managed(Ref("VirtualMachine", vm))
    with pytest.raises(VmUnsuitable) as caught:
        run(session, session.act(machine.PowerOnVM_Task, doing="powering on", subject="web01"))
    assert caught.value.fault == "InvalidPowerState"


def test_a_cancelled_job_waits_for_the_end_of_its_task(server: TestServer, session: Session, vm: str) -> None:
    cancel = CancelToken()
    machine = session.managed(Ref("VirtualMachine", vm))
    task = machine.CreateSnapshot_Task("cancelled", "", False, False)
    cancel.cancel()
    with pytest.raises(Cancelled) as caught:
        run(session, task, cancel=cancel)
    state = get_one(session, Ref("Task", task._moId), ["info.state"])["info.state"]
    assert state in ("success", "error")
    if server.lab is not None:  # vcsim's task says error when cancelled, goes on nevertheless, and then says success
        assert (caught.value.result is not None) == (state == "success")


def test_a_task_is_found_again_in_a_new_session(server: TestServer, session: Session, vm: str) -> None:
    machine = session.managed(Ref("VirtualMachine", vm))
    task = machine.CreateSnapshot_Task("survivor", "", False, False)
    with server.connect() as other:
        other.content.sessionManager.TerminateSession([session.session_key])
    made = run(session, task)
    assert [each.moref for each in snapshots.read(session, vm)] == [made._moId]


def test_consolidation(session: Session, vm: str) -> None:
    assert not snapshots.consolidation_needed(session, vm)
    snapshots.consolidate(session, vm, silent())


def test_a_vm_that_is_gone(session: Session) -> None:
    with pytest.raises(VmUnsuitable) as caught:
        make(session, "vm-999999")
    assert caught.value.fault == "ManagedObjectNotFound"


def test_hot_added_disks_keep_their_file(session: Session, server: TestServer) -> None:
    source, proxy = list(inventory(session))[:2]
    make(session, source.moref)
    file = source.disks[0].file
    machine = session.managed(Ref("VirtualMachine", proxy.moref))
    devices = get_one(session, Ref("VirtualMachine", proxy.moref), ["config.hardware.device"])["config.hardware.device"]
    controller = next(device["key"] for device in devices if "SCSI" in device["_type"] or "Lsi" in device["_type"])
    disk = vim.vm.device.VirtualDisk(
        key=-1,
        controllerKey=controller,
        unitNumber=9,
        capacityInKB=0,
        backing=vim.vm.device.VirtualDisk.FlatVer2BackingInfo(fileName=file, diskMode="independent_nonpersistent"),
    )
    change = vim.vm.device.VirtualDeviceSpec(operation="add", device=disk)
    run(session, machine.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[change])))
    added = next(disk for disk in read_vm(session, proxy.moref).disks if disk.file == file)
    assert added.skip is not None
    assert added.skip.code == "independent"
    gone = vim.vm.device.VirtualDisk(key=added.key, controllerKey=controller, unitNumber=9, capacityInKB=0)
    gone.backing = disk.backing
    change = vim.vm.device.VirtualDeviceSpec(operation="remove", device=gone)
    run(session, machine.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[change])))
    assert read_vm(session, proxy.moref).disks == proxy.disks
    assert datastore_files.download(session, source.datacenter, file, io.BytesIO()) > 0


def test_a_lease_gets_ready_and_completes(session: Session, vm: str) -> None:
    made = make(session, vm)
    keys = [disk.key for disk in snapshots.frozen_disks(session, made.moref)]
    with ExportLease.start(session, made.moref, silent()) as lease:
        assert [device.device_key for device in lease.devices if device.disk] == keys
        for device in lease.devices:
            assert "*" not in device.url
            assert fetch(session, device.url, device.thumbprint)
        lease.progress(50)
        lease.check()
    assert snapshots.remove(session, made.moref, silent())


def test_a_lease_tells_the_size_of_its_manifest(session: Session, vm: str) -> None:
    made = make(session, vm)
    with ExportLease.start(session, made.moref, silent()) as lease:
        sizes = {device.key: len(fetch(session, device.url, device.thumbprint)) for device in lease.devices}
        assert {entry.key: entry.size for entry in lease.manifest()} == sizes


def test_an_exception_aborts_the_lease(session: Session, vm: str) -> None:
    made = make(session, vm)
    with pytest.raises(ZeroDivisionError), ExportLease.start(session, made.moref, silent()) as lease:
        raise ZeroDivisionError
    with pytest.raises(LeaseError):
        lease.complete()


def fetch(session: Session, url: str, thumbprint: str) -> bytes:
    parts = urlsplit(url)
    assert parts.hostname is not None
    trust, port = session.trust, parts.port or 443
    context: ssl.SSLContext = (
        trust.pinned_context(thumbprint) if thumbprint else trust.context_for(parts.hostname, port)
    )
    connection = HTTPSConnection(parts.hostname, port, context=context, timeout=30)
    try:
        connection.request("GET", parts.path, headers={"Cookie": session.cookie.reveal()})
        response = connection.getresponse()
        assert response.status == 200
        return response.read()
    finally:
        connection.close()


def test_a_running_vm_cannot_be_exported_itself(session: Session, vm: str) -> None:
    machine = session.managed(Ref("VirtualMachine", vm))
    with pytest.raises(VmUnsuitable) as caught:
        session.act(machine.ExportVm, doing="exporting", subject="web01")
    assert caught.value.fault == "InvalidPowerState"


def test_changed_areas_cover_the_disk(session: Session, vm: str) -> None:
    machine = session.managed(Ref("VirtualMachine", vm))
    run(session, machine.ReconfigVM_Task(vim.vm.ConfigSpec(changeTrackingEnabled=True)))
    first = make(session, vm, "one")
    second = make(session, vm, "two")
    before, disk = (snapshots.frozen_disks(session, each.moref)[0] for each in (first, second))
    assert before.change_id
    areas = changed_areas(session, vm, second.moref, disk.key, disk.capacity, before.change_id)
    allocated = changed_areas(session, vm, second.moref, disk.key, disk.capacity, "*")
    assert all(area.end <= disk.capacity for area in areas + allocated)
    with pytest.raises(VsphereError) as caught:
        changed_areas(session, vm, second.moref, disk.key, disk.capacity, "52 00 11 22/3")
    assert caught.value.fault == "FileFault"


def test_configuration_files_come_over_https(session: Session, vm: str) -> None:
    machine = read_vm(session, vm)
    assert machine.vmx is not None
    content = io.BytesIO()
    assert datastore_files.download(session, machine.datacenter, machine.vmx, content) == len(content.getvalue())
    assert machine.vmx in [file.path for file in datastore_files.files_of(session, vm)]
    with pytest.raises(VsphereError, match="does not exist"):
        datastore_files.download(session, machine.datacenter, f"{machine.vmx}.none", io.BytesIO())


def test_a_lost_session_does_not_stop_a_download(server: TestServer, session: Session, vm: str) -> None:
    machine = read_vm(session, vm)
    assert machine.vmx is not None
    with server.connect() as other:
        other.content.sessionManager.TerminateSession([session.session_key])
    content = io.BytesIO()
    assert datastore_files.download(session, machine.datacenter, machine.vmx, content) == len(content.getvalue())


def test_files_need_a_session(session: Session, vm: str) -> None:
    machine = read_vm(session, vm)
    assert machine.vmx is not None
    url = datastore_files.folder_url(machine.datacenter, machine.vmx)
    connection = HTTPSConnection(
        session.host, session.port, context=session.trust.context_for(session.host, session.port), timeout=30
    )
    connection.request("GET", url)
    assert connection.getresponse().status == 401
    connection.close()


def test_ranges_of_files(session: Session, server: TestServer, vm: str) -> None:
    machine = read_vm(session, vm)
    file = machine.disks[0].file if server.kind == "vcsim" else machine.vmx  # the .vmx of vcsim is empty
    assert file is not None
    whole = io.BytesIO()
    datastore_files.download(session, machine.datacenter, file, whole)
    connection = HTTPSConnection(
        session.host, session.port, context=session.trust.context_for(session.host, session.port), timeout=30
    )
    url = datastore_files.folder_url(machine.datacenter, file)
    connection.request("GET", url, headers={"Range": "bytes=5-19", "Cookie": session.cookie.reveal()})
    response = connection.getresponse()
    assert response.status == 206
    assert response.read() == whole.getvalue()[5:20]
    connection.close()


def test_the_ovf_descriptor_is_of_the_snapshot(session: Session, vm: str) -> None:
    made = make(session, vm)
    ids = ovf.device_ids(session, vm, made.moref)
    disk = snapshots.frozen_disks(session, made.moref)[0]
    files = [ovf.OvfFile(ids[disk.key], "disk-0.vmdk", 4096, disk.capacity)]
    xml, _ = ovf.descriptor(session, vm, made.moref, files, name="exported")
    assert "<Envelope" in xml or ":Envelope" in xml
    assert "disk-0.vmdk" in xml
    assert str(disk.capacity) in xml


def test_nfc_tickets(session: Session, vm: str) -> None:
    one, other = read_ticket(session, vm), read_ticket(session, vm)
    assert one.host
    assert one.port > 0
    assert one.service
    assert one.thumbprint.count(":") == 19
    assert one.session_id != other.session_id
    with pytest.raises(VmUnsuitable):
        read_ticket(session, "vm-999999")


def test_an_import_lease_takes_a_disk(session: Session, tmp_path: Path) -> None:
    machine = next(iter(inventory(session)))
    pool = get_one(session, Ref("VirtualMachine", machine.moref), ["resourcePool", "datastore"])
    folder = session.content.searchIndex.FindByInventoryPath(f"/{machine.datacenter}/vm")
    params = vim.OvfManager.CreateImportSpecParams(entityName="imported", diskProvisioning="thin")
    manager = session.content.ovfManager
    created = manager.CreateImportSpec(
        OVF, session.managed(pool["resourcePool"]), session.managed(pool["datastore"][0]), params
    )
    assert not created.error
    lease = session.managed(pool["resourcePool"]).ImportVApp(created.importSpec, folder, None)
    state = ""
    while state != "ready":
        state = get_one(session, Ref("HttpNfcLease", lease._moId), ["state"])["state"]
        assert state in ("initializing", "ready")
    info = get_one(session, Ref("HttpNfcLease", lease._moId), ["info"])["info"]
    assert [device.get("disk") for device in info["deviceUrl"]] == [True]
    lease.HttpNfcLeaseAbort(None)


def test_errors_of_a_closed_session(server: TestServer, vm: str) -> None:
    session = server.connect()
    session.close()
    with pytest.raises(SessionLost) as caught:
        make(session, vm)
    assert isinstance(caught.value, VcbError)


OVF = """<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
 xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
 xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData">
 <References><File ovf:href="disk-0.vmdk" ovf:id="file1" ovf:size="68096"/></References>
 <DiskSection><Info>disks</Info>
  <Disk ovf:capacity="1048576" ovf:capacityAllocationUnits="byte" ovf:diskId="vmdisk1" ovf:fileRef="file1"
   ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/></DiskSection>
 <NetworkSection><Info>networks</Info></NetworkSection>
 <VirtualSystem ovf:id="imported"><Info>a VM</Info><Name>imported</Name>
  <OperatingSystemSection ovf:id="101"><Info>os</Info></OperatingSystemSection>
  <VirtualHardwareSection><Info>hardware</Info>
   <System><vssd:ElementName>hw</vssd:ElementName><vssd:InstanceID>0</vssd:InstanceID>
    <vssd:VirtualSystemIdentifier>imported</vssd:VirtualSystemIdentifier>
    <vssd:VirtualSystemType>vmx-19</vssd:VirtualSystemType></System>
   <Item><rasd:AllocationUnits>hertz * 10^6</rasd:AllocationUnits><rasd:ElementName>1 cpu</rasd:ElementName>
    <rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>3</rasd:ResourceType>
    <rasd:VirtualQuantity>1</rasd:VirtualQuantity></Item>
   <Item><rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits><rasd:ElementName>memory</rasd:ElementName>
    <rasd:InstanceID>2</rasd:InstanceID><rasd:ResourceType>4</rasd:ResourceType>
    <rasd:VirtualQuantity>512</rasd:VirtualQuantity></Item>
   <Item><rasd:Address>0</rasd:Address><rasd:ElementName>SCSI 0</rasd:ElementName><rasd:InstanceID>3</rasd:InstanceID>
    <rasd:ResourceSubType>lsilogic</rasd:ResourceSubType><rasd:ResourceType>6</rasd:ResourceType></Item>
   <Item><rasd:AddressOnParent>0</rasd:AddressOnParent><rasd:ElementName>Hard disk 1</rasd:ElementName>
    <rasd:HostResource>ovf:/disk/vmdisk1</rasd:HostResource><rasd:InstanceID>4</rasd:InstanceID>
    <rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>
  </VirtualHardwareSection></VirtualSystem>
</Envelope>
"""
