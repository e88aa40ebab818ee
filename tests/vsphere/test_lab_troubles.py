"""The client in trouble, against the lab: privileges, dropped connections, quiescing, leases that end, free ESXi."""

import io
import threading
import time
from pathlib import Path

import pytest

from engine.cancel import CancelToken
from engine.errors import (
    BusyError,
    Cancelled,
    ConnectError,
    LeaseError,
    PrivilegeError,
    QuiesceError,
    VcbError,
    VsphereError,
)
from engine.lab import Lab
from engine.lab.faults import Rule
from engine.reporter import silent
from engine.vsphere import datastore_files, snapshots, tasks
from engine.vsphere.inventory import VirtualMachine, inventory, read_vm
from engine.vsphere.lease import ExportLease
from engine.vsphere.privileges import missing, wanted
from engine.vsphere.properties import Ref, collect
from engine.vsphere.session import Session
from engine.vsphere.tickets import read_ticket
from tests.vsphere.conftest import Journal, log_in


@pytest.fixture
def vm(session: Session) -> VirtualMachine:
    return next(vm for vm in inventory(session) if vm.power == "poweredOn" and vm.disks and not vm.snapshots)


def make(
    session: Session, vm: VirtualMachine, *, quiesced: bool = False, cancel: CancelToken | None = None
) -> snapshots.Snapshot:
    return snapshots.create(
        session,
        vm.moref,
        name=snapshots.SNAPSHOT_NAME,
        description="",
        quiesce=snapshots.GuestQuiesce() if quiesced else None,
        report=silent(),
        cancel=cancel or CancelToken(),
        subject=vm.name,
    )


def test_a_missing_privilege_is_named_with_its_entity(lab: Lab, journal: Journal, vm: VirtualMachine) -> None:
    lab.vsphere.grant("reader@vsphere.local", "reader-password", "ReadOnly")
    with log_in(lab, journal, "reader@vsphere.local", "reader-password") as session:
        with pytest.raises(PrivilegeError) as caught:
            make(session, vm)
        assert (vm.name, "VirtualMachine.State.CreateSnapshot") in caught.value.missing
        lacking = missing(session, wanted(["snapshot", "https"], {"vm": [Ref("VirtualMachine", vm.moref)]}))
        assert set(lacking) == {
            (vm.name, "VirtualMachine.State.CreateSnapshot"),
            (vm.name, "VirtualMachine.State.RemoveSnapshot"),
            (vm.name, "VApp.Export"),
        }
        with pytest.raises(PrivilegeError):
            read_ticket(session, vm.moref)


@pytest.mark.parametrize("action", ["drop", "drop-after"])
def test_an_act_whose_answer_is_lost_is_not_repeated(
    lab: Lab, session: Session, vm: VirtualMachine, action: str
) -> None:
    lab.faults.add(Rule(point="CreateSnapshotEx_Task", action=action))
    with pytest.raises(ConnectError, match="unknown") as caught:
        make(session, vm)
    assert not caught.value.transient
    assert session.generation == 1
    tasks.await_running(session, vm.moref, silent(), kind="VirtualMachine.createSnapshot")
    assert len(snapshots.read(session, vm.moref)) == (1 if action == "drop-after" else 0)


def test_a_task_whose_start_was_not_answered_is_waited_for(lab: Lab, session: Session, vm: VirtualMachine) -> None:
    lab.faults.add(Rule(point="CreateSnapshotEx_Task", action="drop-after"))
    lab.faults.add(Rule(point="CreateSnapshotEx_Task", phase="task", action="delay", delay=0.5))
    with pytest.raises(ConnectError):
        make(session, vm)
    tasks.await_running(session, vm.moref, silent(), kind="VirtualMachine.createSnapshot")
    assert len(snapshots.read(session, vm.moref)) == 1


def test_a_walk_starts_again_in_a_new_session(lab: Lab, session: Session) -> None:
    whole = {row.ref for row in collect(session, "VirtualMachine", ["name"])}
    lab.faults.add(Rule(point="ContinueRetrievePropertiesEx", fault="NotAuthenticated"))
    rows = [row.ref for row in collect(session, "VirtualMachine", ["name"], page=1)]
    assert len(rows) == len(set(rows)) == len(whole)
    assert session.generation == 2


@pytest.mark.parametrize("action", ["drop", "drop-after"])
def test_a_read_whose_answer_is_lost_is_repeated_once(
    lab: Lab, session: Session, vm: VirtualMachine, action: str
) -> None:
    lab.faults.add(Rule(point="RetrievePropertiesEx", action=action))
    assert read_vm(session, vm.moref) == vm
    lab.faults.add(Rule(point="RetrievePropertiesEx", action=action, first=1, last=0))
    with pytest.raises(ConnectError) as caught:
        read_vm(session, vm.moref)
    assert caught.value.transient


def test_a_server_that_hangs_is_a_timeout(lab: Lab, journal: Journal) -> None:
    with log_in(lab, journal, timeout=1.0) as session:
        lab.faults.add(Rule(point="CurrentTime", action="delay", delay=3.0))
        with pytest.raises(ConnectError, match="no answer in time"):
            session.ensure_alive()


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("ApplicationQuiesceFault", QuiesceError),
        ("FilesystemQuiesceFault", QuiesceError),
        ("TaskInProgress", BusyError),
        ("NoDiskSpace", VsphereError),
    ],
)
def test_a_failed_snapshot_task_is_translated(
    lab: Lab, session: Session, vm: VirtualMachine, fault: str, kind: type[VcbError]
) -> None:
    lab.faults.add(Rule(point="CreateSnapshotEx_Task", phase="task", fault=fault))
    with pytest.raises(kind) as caught:
        make(session, vm, quiesced=True)
    assert caught.value.fault == fault
    assert caught.value.sentence.startswith(f"{vm.name}: creating the quiesced snapshot failed: ")


def test_a_snapshot_that_a_cancel_could_not_stop_is_handed_over(lab: Lab, session: Session, vm: VirtualMachine) -> None:
    lab.faults.add(Rule(point="CreateSnapshotEx_Task", phase="task", action="delay", delay=1.0))
    lab.faults.add(Rule(point="CancelTask", fault="vmodl.fault.NotSupported", last=0))
    cancel = CancelToken()
    timer = threading.Timer(0.3, cancel.cancel)
    timer.start()
    with pytest.raises(Cancelled) as caught:
        make(session, vm, cancel=cancel)
    assert [each.moref for each in snapshots.read(session, vm.moref)] == [caught.value.result]


def test_progress_keeps_a_lease_alive_beyond_its_timeout(lab: Lab, session: Session, vm: VirtualMachine) -> None:
    lab.vsphere.leases.timeout = 1.0
    made = make(session, vm)
    with ExportLease.start(session, made.moref, silent(), subject=vm.name) as lease:
        assert lease.timeout == 1
        time.sleep(2.5)  # the lease's own clock is what is tested
        lease.check()


def test_a_lease_that_ended_is_noticed_and_cannot_be_completed(lab: Lab, session: Session, vm: VirtualMachine) -> None:
    lab.vsphere.leases.timeout = 1.0
    made = make(session, vm)
    lab.faults.add(Rule(point="HttpNfcLeaseProgress", fault="Timedout", first=1, last=0))
    lease = ExportLease.start(session, made.moref, silent(), subject=vm.name)
    with pytest.raises(LeaseError):
        until_lost(lease)
    with pytest.raises(LeaseError):
        lease.complete()
    lease.abort()


def until_lost(lease: ExportLease) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        lease.check()
        threading.Event().wait(0.05)


def test_a_lease_does_not_outlive_a_failed_start(lab: Lab, session: Session, vm: VirtualMachine) -> None:
    made = make(session, vm)
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        ExportLease.start(session, made.moref, silent(), cancel=cancel, subject=vm.name)
    assert read_vm(session, vm.moref).disabled_methods == vm.disabled_methods
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("lease ")]


def test_tickets_name_the_nfc_port_and_are_single_use(lab: Lab, session: Session, vm: VirtualMachine) -> None:
    ticket = read_ticket(session, vm.moref)
    assert ticket.port == lab.nfc_port
    assert ticket.service == "vpxa-nfc"
    assert ticket.session_id.reveal() not in repr(ticket)


def test_a_cut_download_is_not_taken_for_a_file(lab: Lab, session: Session, vm: VirtualMachine) -> None:
    assert vm.vmx is not None
    lab.faults.add(Rule(point="http", phase="data", action="short", size=10))
    with pytest.raises(ConnectError, match="cut off after 10 of"):
        datastore_files.download(session, vm.datacenter, vm.vmx, io.BytesIO())


def test_secrets_stay_out_of_the_log(lab: Lab, journal: Journal) -> None:
    with log_in(lab, journal) as session:
        vm = next(vm for vm in inventory(session) if vm.power == "poweredOn")
        ticket = read_ticket(session, vm.moref)
        made = make(session, vm)
        with ExportLease.start(session, made.moref, session.report) as lease:
            urls = [device.url for device in lease.devices]
        cookie = session.cookie.reveal()
    text = "\n".join(journal.texts)
    assert "-> CreateSnapshotEx_Task" in text
    assert "<- RetrievePropertiesEx 200" in text
    for secret in (lab.password, cookie.partition("=")[2].strip('"'), ticket.session_id.reveal(), *urls):
        assert secret not in text


def test_a_free_esxi_reads_but_does_not_write(tmp_path: Path, journal: Journal) -> None:
    with (
        Lab.start(tmp_path / "esx", seed="small", esx=True, free_edition=True, guest=False) as lab,
        log_in(lab, journal) as session,
    ):
        assert not session.is_vcenter
        vm = next(iter(inventory(session)))
        assert vm.datacenter == "ha-datacenter"
        with pytest.raises(VsphereError, match="licence") as caught:
            make(session, vm)
        assert caught.value.fault == "RestrictedVersion"


def test_a_vsphere_7_is_spoken_to_in_its_version(tmp_path: Path, journal: Journal) -> None:
    with (
        Lab.start(tmp_path / "seven", seed="small", guest=False, version="7.0.3.0") as lab,
        log_in(lab, journal) as session,
    ):
        assert session.api_version == (7, 0, 3, 0)
        vm = next(vm for vm in inventory(session) if vm.power == "poweredOn")
        made = make(session, vm)
        assert snapshots.remove(session, made.moref, silent())
