"""What goes wrong is injected; the state, the words, and what is left are what the policy says, nothing more."""

import errno
import os
import threading
from pathlib import Path

import pytest

from engine.errors import (
    BusyError,
    Cancelled,
    CleanupError,
    ConnectError,
    LoginError,
    PrivilegeError,
    QuiesceError,
    SnapshotError,
    TargetError,
    TargetFull,
    TrustError,
    VcbError,
)  # fmt: skip
from engine.events import DiskProgress, Fallback, ResultState, Retry, StageStarted
from engine.flow import snapshot_step
from engine.flow.ledger import Ledger, ledgers
from engine.lab import power
from engine.lab.faults import Rule
from engine.state_directory import StateDirectory
from engine.vsphere.snapshots import Snapshot
from tests.flow.checks import assert_nothing_left, backup_snapshots, compare_with_frozen
from tests.flow.test_backup import STAGES

CREATE = "CreateSnapshotEx_Task"


def inject(proxy, point, **rule):
    proxy.lab.faults.add(Rule(point, **rule))


class TestTaskFaults:
    @pytest.mark.parametrize(
        ("fault", "kind"),
        [
            ("SnapshotFault", SnapshotError),
            ("TaskInProgress", BusyError),
            ("FileLocked", BusyError),
            ("TooManySnapshotLevels", SnapshotError),
            ("vmodl.fault.SystemError", VcbError),
        ],
    )
    @pytest.mark.parametrize("phase", ["call", "task"])
    def test_creating_the_snapshot(self, proxy, fault, kind, phase):
        inject(proxy, CREATE, phase=phase, fault=fault, last=0)
        outcome = proxy.backup()
        assert outcome.state is ResultState.FAILURE
        assert isinstance(outcome.error, kind)
        assert outcome.error.fault == fault.rpartition(".")[2]
        assert len(outcome.error.sentence) > 20
        assert_nothing_left(proxy)

    def test_a_busy_vm_is_tried_again_when_retries_are_allowed(self, proxy):
        inject(proxy, CREATE, phase="call", fault="TaskInProgress", first=1, last=2)
        outcome = proxy.backup(MAX_RETRIES=2)
        assert outcome.state is ResultState.SUCCESS, outcome.sentence
        assert len([event for event in proxy.events if isinstance(event, Retry)]) == 2
        assert_nothing_left(proxy)

    def test_max_retries_0_means_one_attempt(self, proxy):
        inject(proxy, CREATE, phase="call", fault="TaskInProgress", first=1, last=1)
        assert isinstance(proxy.backup().error, BusyError)
        assert_nothing_left(proxy)

    def test_a_failed_quiesce_is_told_and_taken_crash_consistent_under_auto(self, proxy):
        inject(proxy, "guest.quiesce", phase="task", fault="ApplicationQuiesceFault", last=0)
        outcome = proxy.backup(QUIESCE="auto")
        assert outcome.state is ResultState.EXCEPTIONS
        assert outcome.quiesced == "crash-consistent"
        assert "quiesced" in " ".join(outcome.exceptions)
        compare_with_frozen(proxy.lab, outcome)
        assert_nothing_left(proxy)

    def test_a_failed_quiesce_ends_the_job_under_required(self, proxy):
        inject(proxy, "guest.quiesce", phase="task", fault="ApplicationQuiesceFault", last=0)
        outcome = proxy.backup(QUIESCE="required")
        assert isinstance(outcome.error, QuiesceError)
        assert_nothing_left(proxy)

    def test_the_snapshot_that_cannot_be_removed_is_named_and_the_point_is_kept(self, proxy):
        inject(proxy, "RemoveSnapshot_Task", phase="call", fault="vmodl.fault.SystemError", last=0)
        outcome = proxy.backup()
        assert outcome.state is ResultState.EXCEPTIONS
        assert outcome.point is not None
        (left,) = backup_snapshots(proxy)
        assert left in " ".join(outcome.exceptions)
        (entries,) = [entries for _, entries in ledgers(StateDirectory.default().jobs)]
        assert [str(entry) for entry in entries if entry.open and entry.kind != "job"] == [f"snapshot {left}"]
        proxy.lab.faults.clear()
        warnings = proxy.plan(PREEXISTING_VCB_SNAPSHOT="delete").warnings
        assert any(left in warning and outcome.job in warning for warning in warnings)
        assert proxy.backup(PREEXISTING_VCB_SNAPSHOT="delete").state is ResultState.SUCCESS
        assert backup_snapshots(proxy) == []

    def test_a_failed_merge_is_consolidated(self, proxy):
        inject(proxy, "disk.merge", phase="task", fault="GenericVmConfigFault", first=1, last=1)
        outcome = proxy.backup()
        assert outcome.point is not None
        assert not proxy.vm("web01").props["runtime"].consolidationNeeded
        assert backup_snapshots(proxy) == []


class TestConnections:
    @pytest.mark.parametrize("transport", ["nbd", "nbdssl"])
    @pytest.mark.parametrize("occurrence", [1, 3])
    def test_a_dropped_nfc_connection_is_replaced_and_told(self, proxy, transport, occurrence):
        inject(proxy, "nfc.read", phase="data", action="drop", first=occurrence)
        outcome = proxy.backup(TRANSPORT_MODE=transport)
        assert outcome.state is ResultState.SUCCESS, outcome.sentence
        compare_with_frozen(proxy.lab, outcome)
        assert any(isinstance(event, Retry) for event in proxy.events)
        assert_nothing_left(proxy)

    @pytest.mark.parametrize("point", ["nfc.session", "nfc.open", "nfc.query"])
    def test_nfc_refused_for_good_fails_and_leaves_nothing(self, proxy, point):
        inject(proxy, point, phase="data", action="fault", fault="FileFault", last=0)
        outcome = proxy.backup()
        if point == "nfc.query":  # then the whole disk is read, and the log says so
            assert outcome.state is ResultState.SUCCESS, outcome.sentence
            compare_with_frozen(proxy.lab, outcome)
        else:
            assert outcome.state is ResultState.FAILURE
        assert_nothing_left(proxy)

    def test_a_closed_port_902_falls_back_where_the_operator_allows_it(self, proxy):
        proxy.lab.nfc.close()
        assert isinstance(proxy.backup().error, ConnectError)
        proxy.events.clear()
        outcome = proxy.backup(TRANSPORT_FALLBACK="https")
        assert outcome.error is None
        assert [disk.transport for disk in outcome.disks] == ["https"] * 2
        assert [(event.asked, event.used) for event in proxy.events if isinstance(event, Fallback)] == [
            ("nbdssl", "https")
        ]

    def test_a_cut_https_stream_is_never_taken_for_a_whole_one(self, proxy):
        inject(proxy, "http", phase="data", action="short", object="*disk*", size=70_000, last=0)
        outcome = proxy.backup(TRANSPORT_MODE="https")
        assert outcome.state is ResultState.FAILURE
        assert_nothing_left(proxy)

    def test_a_cut_https_stream_is_read_again_with_a_new_lease(self, proxy):
        inject(proxy, "http", phase="data", action="short", object="*disk*", size=70_000)
        outcome = proxy.backup(TRANSPORT_MODE="https", MAX_RETRIES=1)
        assert outcome.state is ResultState.SUCCESS, outcome.sentence
        compare_with_frozen(proxy.lab, outcome)
        assert_nothing_left(proxy)

    def test_a_corrupt_https_stream_is_found(self, proxy):
        inject(proxy, "http", phase="data", action="corrupt", object="*disk*", size=150_000, last=0)
        outcome = proxy.backup(TRANSPORT_MODE="https")
        assert outcome.state is ResultState.FAILURE
        assert_nothing_left(proxy)

    def test_a_lost_answer_to_create_snapshot_leaves_no_snapshot(self, proxy):
        inject(proxy, CREATE, phase="call", action="drop-after")
        outcome = proxy.backup()
        assert isinstance(outcome.error, ConnectError)
        assert_nothing_left(proxy)

    def test_the_session_expiring_in_mid_export_is_survived(self, proxy):
        def expire(event):
            if isinstance(event, StageStarted) and event.stage in ("export", "verify", "remove snapshot"):
                proxy.lab.vsphere.sessions.expire_all()

        proxy.on_event.append(expire)
        outcome = proxy.backup()
        assert outcome.state is ResultState.SUCCESS, outcome.sentence
        compare_with_frozen(proxy.lab, outcome)
        assert_nothing_left(proxy)

    def test_a_lease_that_times_out_fails_and_is_gone(self, proxy):
        inject(proxy, "HttpNfcLeaseProgress", phase="call", fault="Timedout", last=0)
        outcome = proxy.backup(TRANSPORT_MODE="https")
        assert outcome.state is ResultState.FAILURE
        assert_nothing_left(proxy)


class TestBeforeAnything:
    def test_a_wrong_password_is_tried_exactly_once(self, proxy):
        proxy.password_file.write_text("wrong password")
        outcome = proxy.backup(MAX_RETRIES=5)
        assert isinstance(outcome.error, LoginError)
        assert outcome.error.hint
        assert proxy.lab.vsphere.sessions.refused == {proxy.lab.user: 1}
        assert "wrong password" not in repr(proxy.events)

    @pytest.mark.parametrize(
        "privilege", ["VirtualMachine.State.CreateSnapshot", "VirtualMachine.Provisioning.GetVmFiles"]
    )
    def test_a_missing_privilege_is_named_with_its_entity(self, proxy, privilege):
        everything = set(proxy.lab.vsphere.privileges(proxy.lab.user))
        proxy.lab.vsphere.grant("backup@vsphere.local", proxy.lab.password, everything - {privilege})
        outcome = proxy.backup(USERNAME="backup@vsphere.local")
        assert isinstance(outcome.error, PrivilegeError)
        assert outcome.error.missing == (("web01", privilege),)
        assert privilege in outcome.error.sentence
        assert "web01" in outcome.error.sentence
        assert_nothing_left(proxy)

    def test_a_certificate_nobody_approved(self, proxy):
        outcome = proxy.backup(CA_FILE="")
        assert isinstance(outcome.error, TrustError)
        assert_nothing_left(proxy)

    def test_an_unreachable_server_is_named(self, proxy):
        outcome = proxy.backup(PORT=1)
        assert isinstance(outcome.error, ConnectError)
        assert "127.0.0.1:1" in outcome.error.sentence

    def test_backuproot_missing(self, proxy, tmp_path):
        outcome = proxy.backup(BACKUPROOT=str(tmp_path / "nowhere"))
        assert isinstance(outcome.error, TargetError)
        assert backup_snapshots(proxy) == []

    def test_two_jobs_on_one_vm(self, proxy):
        seen = []

        def second(event):
            if isinstance(event, StageStarted) and event.stage == "export" and not seen:
                seen.append(None)
                seen[0] = proxy.backup()

        proxy.on_event.append(second)
        outcome = proxy.backup()
        assert outcome.state is ResultState.SUCCESS, outcome.sentence
        assert isinstance(seen[0].error, BusyError)
        assert outcome.job in seen[0].error.sentence
        assert_nothing_left(proxy)


class TestTarget:
    @pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
    @pytest.mark.parametrize("transport", ["nbdssl", "https"])
    def test_backuproot_fails_in_mid_export(self, proxy, monkeypatch, code, transport):
        real = os.pwrite

        def failing(fd, data, offset):
            if Path(f"/proc/self/fd/{fd}").readlink().is_relative_to(proxy.root):
                raise OSError(code, os.strerror(code))
            return real(fd, data, offset)

        monkeypatch.setattr(os, "pwrite", failing)
        outcome = proxy.backup(TRANSPORT_MODE=transport)
        assert outcome.state is ResultState.FAILURE
        assert isinstance(outcome.error, TargetFull if code == errno.ENOSPC else TargetError)
        monkeypatch.undo()
        assert_nothing_left(proxy)

    def test_keep_free_is_a_floor(self, proxy):
        outcome = proxy.backup(KEEP_FREE="99%")
        assert isinstance(outcome.error, TargetFull)
        assert backup_snapshots(proxy) == []

    def test_what_rots_before_the_proof_is_not_kept(self, proxy):
        def rot(event):
            if isinstance(event, StageStarted) and event.stage == "verify":
                (image,) = proxy.root.glob("*.partial/scsi0-0.vmdk")
                data = bytearray(image.read_bytes())
                data[len(data) // 2] ^= 1
                image.write_bytes(data)

        proxy.on_event.append(rot)
        outcome = proxy.backup()
        assert outcome.state is ResultState.FAILURE
        assert outcome.error.code == "verify"
        assert outcome.point is None
        assert_nothing_left(proxy)


class TestCancel:
    @pytest.mark.parametrize("stage", STAGES[: STAGES.index("unmount")])
    @pytest.mark.parametrize("transport", ["nbdssl", "https"])
    def test_at_every_stage(self, proxy, stage, transport):
        def stop(event):
            if isinstance(event, StageStarted) and event.stage == stage:
                proxy.cancel.cancel()

        proxy.on_event.append(stop)
        outcome = proxy.backup(TRANSPORT_MODE=transport)
        if outcome.state is ResultState.SUCCESS:
            assert stage == "media"  # the last moment: the point was published before anyone looked
        else:
            assert outcome.state is ResultState.CANCELLED
            assert outcome.state.exit_code == 130
            assert isinstance(outcome.error, Cancelled)
            assert outcome.point is None
        assert_nothing_left(proxy)

    def test_after_the_point_is_safe_a_cancel_comes_too_late(self, proxy):
        def stop(event):
            if isinstance(event, StageStarted) and event.stage == "remove snapshot":
                proxy.cancel.cancel()

        proxy.on_event.append(stop)
        outcome = proxy.backup()
        assert outcome.state is ResultState.SUCCESS
        assert_nothing_left(proxy)

    def test_in_the_middle_of_a_disk(self, proxy):
        def stop(event):
            if isinstance(event, DiskProgress):
                proxy.cancel.cancel()

        inject(proxy, "nfc.read", phase="data", action="slow", size=2 << 20, last=0)
        proxy.on_event.append(stop)
        outcome = proxy.backup()
        assert outcome.state is ResultState.CANCELLED
        assert_nothing_left(proxy)

    def test_leaves_no_thread_behind(self, proxy):
        before = {thread.name for thread in threading.enumerate()}
        proxy.on_event.append(lambda event: proxy.cancel.cancel() if isinstance(event, DiskProgress) else None)
        proxy.backup()
        after = {thread.name for thread in threading.enumerate()} - before
        assert not [name for name in after if "image" in name or "lease" in name or "keep-alive" in name]


def test_the_vm_deleted_in_mid_job(proxy):
    def delete(event):
        if isinstance(event, StageStarted) and event.stage == "export":
            power.delete(proxy.vm())

    proxy.on_event.append(delete)
    outcome = proxy.backup()
    assert outcome.state is ResultState.FAILURE
    assert outcome.error.sentence
    assert proxy.leftovers() == []
    assert backup_snapshots(proxy) == []


def test_an_unexpected_exception_still_undoes_everything(proxy, monkeypatch):
    def broken(*args, **kwargs):
        raise ZeroDivisionError("a bug of ours")

    monkeypatch.setattr("engine.flow.backup.prove", broken)
    with pytest.raises(ZeroDivisionError):
        proxy.backup()
    assert_nothing_left(proxy)


def test_a_bug_in_one_part_of_the_cleanup_does_not_spare_the_others(proxy, monkeypatch):
    def strike(event):
        if isinstance(event, StageStarted) and event.stage == "export":
            inject(proxy, "nfc.read", phase="data", action="fault", fault="FileFault", last=0)

    monkeypatch.setattr("engine.flow.source_exporter.SourceExporter.abort", lambda self: 1 / 0)
    proxy.on_event.append(strike)
    outcome = proxy.backup()
    assert outcome.state is ResultState.FAILURE
    assert any("division by zero" in leftover for leftover in outcome.leftovers)
    assert_nothing_left(proxy)


def test_removal_of_somebody_elses_snapshot_is_refused_at_the_point_of_use(proxy):
    """The last line: even if a decision went wrong, the removal itself demands the proof again."""

    class Context:
        def owns(self, snapshot, moref):
            return False

    stranger = Snapshot("snapshot-9", "theirs", "", None, False, None, ())  # type: ignore[arg-type]
    with pytest.raises(CleanupError, match="not provably"):
        snapshot_step.remove_leftover(Context(), "vm-1", stranger)  # type: ignore[arg-type]


def test_a_ledger_that_cannot_be_closed_keeps_no_session_in_vcenter(proxy, monkeypatch):
    real = Ledger.close

    def close(ledger):
        real(ledger)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Ledger, "close", close)
    outcome = proxy.backup()
    assert outcome.error is not None
    assert proxy.lab.vsphere.sessions.all() == []
