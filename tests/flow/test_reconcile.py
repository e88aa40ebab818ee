"""What dead jobs leave is found, judged and taken away; everything else is left alone."""

import fcntl
import json
import os
import re
import signal
from contextlib import ExitStack

import pytest

from engine.cancel import CancelToken
from engine.config.options import Settings
from engine.errors import BusyError
from engine.events import ResultState
from engine.flow import locks, mount_step, snapshot_step
from engine.flow.backup import VmBackup
from engine.flow.ledger import Kind, Ledger, ledgers
from engine.flow.locks import root_lock, vm_lock
from engine.flow.reconcile.leftover import Verdict
from engine.flow.reconcile.reconcile import reconciling
from engine.state_directory import StateDirectory
from tests.flow.checks import assert_nothing_left, backup_snapshots
from tui.cli.app import main


class Killed(BaseException):
    """As SIGKILL: no handler of ours may do anything any more."""


def killed(proxy, owner, name, *, after=False, **values):
    """A backup that dies when it gets to `name`, or right after it: nothing is undone, and its locks are released."""
    real = getattr(owner, name)

    def kill(*args, **kwargs):
        if after:
            real(*args, **kwargs)
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, kill)
        patch.setattr(VmBackup, "_undo", lambda self: None)
        with pytest.raises(Killed):
            proxy.backup(**values)


def died_with_its_snapshot(proxy, **values):
    killed(proxy, mount_step.MountStep, "belongs", **values)


def look(proxy, **kwargs):
    with reconciling(proxy.settings(), proxy.report, CancelToken(), **kwargs) as work:
        return work.look()


def clean(proxy, **kwargs):
    found = look(proxy, **kwargs)
    with reconciling(proxy.settings(), proxy.report, CancelToken(), **kwargs) as work:
        return work.clean(found.to_clean)


def verdicts(found):
    return [(each.kind, each.verdict.value) for each in found.leftovers]


def test_a_clean_proxy_has_nothing_left(proxy):
    assert proxy.backup().state is ResultState.SUCCESS
    found = look(proxy)
    assert found.leftovers == ()
    assert found.state is ResultState.SUCCESS


def test_a_job_that_died_after_its_snapshot_is_cleaned_up(proxy):
    died_with_its_snapshot(proxy)
    found = look(proxy)
    assert verdicts(found) == [("snapshot", "ours"), ("directory", "ours")]
    snapshot = found.leftovers[0]
    assert snapshot.delta is not None
    assert snapshot.delta.datastore
    assert 0 < snapshot.delta.free <= snapshot.delta.capacity
    assert found.state is ResultState.EXCEPTIONS
    done = clean(proxy)
    assert done.state is ResultState.SUCCESS
    assert_nothing_left(proxy)
    assert look(proxy).leftovers == ()
    assert proxy.backup().state is ResultState.SUCCESS


def test_a_snapshot_whose_moref_was_never_written_down_is_found_by_its_token(proxy):
    killed(proxy, snapshot_step.snapshots, "create", after=True)
    (_, entries), *_ = ledgers(StateDirectory.default().jobs)
    assert [entry.details.get("moref") for entry in entries if entry.kind == "snapshot"] == [None]
    done = clean(proxy)
    assert done.state is ResultState.SUCCESS
    assert_nothing_left(proxy)


def test_what_a_running_job_has_is_never_touched(proxy):
    seen = []

    def react(event):
        if type(event).__name__ == "StageStarted" and event.stage == "export" and not seen:
            seen.append(look(proxy))
            seen.append(clean(proxy))

    proxy.on_event.append(react)
    assert proxy.backup().state is ResultState.SUCCESS
    found, cleaned = seen
    assert {each.verdict for each in found.leftovers} == {Verdict.RUNNING}
    assert cleaned.removed == []
    assert cleaned.failed == []


def test_another_proxys_things_are_shown_and_left(proxy, monkeypatch, tmp_path):
    died_with_its_snapshot(proxy)
    monkeypatch.setenv("VCB_STATE_DIR", str(tmp_path / "other-state"))
    found = look(proxy)
    assert verdicts(found) == [("snapshot", "foreign"), ("directory", "foreign")]
    assert found.state is ResultState.SUCCESS
    assert clean(proxy).removed == []
    assert backup_snapshots(proxy) != []
    assert proxy.leftovers() != []


def test_a_mount_and_its_snapshot_stay_until_unmount(proxy):
    mounted = proxy.mount()
    assert mounted.state is ResultState.SUCCESS
    found = look(proxy)
    assert verdicts(found) == [("snapshot", "kept"), ("directory", "kept")]
    assert clean(proxy).removed == []
    assert proxy.unmount(mounted.point).state is ResultState.SUCCESS
    assert look(proxy).leftovers == ()


def test_a_snapshot_outlives_its_mount_point_when_unmount_dies(proxy, monkeypatch):
    mounted = proxy.mount()
    with monkeypatch.context() as patch:
        patch.setattr("engine.flow.unmount._remove_snapshot", lambda *args: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            proxy.unmount(mounted.point)
    assert verdicts(look(proxy)) == [("snapshot", "ours")]
    assert clean(proxy).state is ResultState.SUCCESS
    assert_nothing_left(proxy)


def test_createonly_stays(proxy):
    assert proxy.backup(SNAPSHOT_POLICY="createonly").state is ResultState.SUCCESS
    assert verdicts(look(proxy)) == [("snapshot", "kept")]


def test_a_users_backup_snapshot_needs_adoption(proxy):
    snapshot = proxy.vm().take_snapshot("_VCB-BACKUP_", "made by hand")
    assert verdicts(look(proxy)) == [("snapshot", "unproven")]
    assert clean(proxy).removed == []
    done = clean(proxy, adopt=[snapshot.id])
    assert [each.id for each in done.removed] == [snapshot.id]


def test_without_a_vcenter_what_is_local_is_listed(proxy):
    died_with_its_snapshot(proxy)
    settings = proxy.settings(PORT=1)
    with reconciling(settings, proxy.report, CancelToken()) as work:
        found = work.look()
        assert ("snapshot", "unchecked") in verdicts(found)
        assert "were not looked at" in found.unchecked[0]
        assert found.state is ResultState.EXCEPTIONS
        removed = [each.kind for each in work.clean(found.to_clean).removed if each.verdict is Verdict.OURS]
        assert removed == ["directory"]  # it names no snapshot: the ledger does, and stays open
    assert backup_snapshots(proxy) != []
    assert clean(proxy).state is ResultState.SUCCESS
    assert_nothing_left(proxy)


def test_a_directory_with_a_strangers_file_or_behind_a_symlink_stays(proxy, tmp_path):
    died_with_its_snapshot(proxy)
    (partial,) = (path for path in proxy.root.iterdir() if path.name.endswith(".partial"))
    (partial / "thesis.doc").write_text("mine")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "vcb-mount.toml").write_bytes((partial / "vcb-mount.toml").read_bytes())
    (proxy.root / "fullvm-link.partial").symlink_to(elsewhere)
    found = look(proxy)
    assert ("directory", "unproven") in verdicts(found)
    assert clean(proxy).state is ResultState.SUCCESS
    assert (partial / "thesis.doc").exists()
    assert (elsewhere / "vcb-mount.toml").exists()


def test_the_command_cleans_up_and_says_so(proxy, capsys):
    died_with_its_snapshot(proxy)
    words = [f"--{name.lower().replace('_', '-')}={value}" for name, value in [
        ("HOST", proxy.lab.host), ("PORT", proxy.lab.port), ("USERNAME", proxy.lab.user),
        ("PASSWORD_FILE", proxy.password_file), ("CA_FILE", proxy.lab.ca_file), ("BACKUPROOT", proxy.root),
        ("TRANSPORT_MODE", "nbdssl"),
    ]]  # fmt: skip
    assert main(["reconcile", "--json", *words]) == 3
    out, err = capsys.readouterr()
    shown = json.loads(out)
    assert [row["kind"] for row in shown["leftovers"]] == ["snapshot", "directory"]
    assert "-> remove the snapshot" in err
    assert main(["reconcile", "--yes", "--json", *words]) == 0
    out, _ = capsys.readouterr()
    assert [row["kind"] for row in json.loads(out)["removed"]] == ["snapshot", "directory"]
    assert_nothing_left(proxy)
    assert main(["reconcile", *words]) == 0
    assert "Nothing is left by dead jobs." in capsys.readouterr().out


def test_a_lock_names_its_holder_and_since_when(proxy, tmp_path):
    state = StateDirectory.default()
    with ExitStack() as held:
        held.enter_context(vm_lock(state, "vc", "vm-1", "20261123T010203Z-abcdef"))
        with pytest.raises(BusyError) as busy:
            held.enter_context(vm_lock(state, "vc", "vm-1", "other"))
    assert f"job 20261123T010203Z-abcdef (process {os.getpid()} on" in busy.value.sentence
    assert re.search(r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", busy.value.sentence)


def test_two_jobs_of_a_proxy_share_backuproot_and_another_proxy_is_refused(tmp_path):
    root, one, other = tmp_path / "root", StateDirectory(tmp_path / "one"), StateDirectory(tmp_path / "other")
    root.mkdir()
    with ExitStack() as held:
        held.enter_context(root_lock(root, one, "job-1"))
        held.enter_context(root_lock(root, one, "job-2"))
        with pytest.raises(BusyError, match=f"another proxy \\({one.proxy_id}\\): job job-1"):
            held.enter_context(root_lock(root, other, "job-3"))
    assert list(root.iterdir()) == []
    with root_lock(root, other, "job-3"):
        pass


def test_a_lock_file_whose_maker_was_killed_before_it_wrote_its_name_goes(proxy, monkeypatch):
    child = os.fork()
    if not child:
        monkeypatch.setattr(locks, "_say", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        with root_lock(proxy.root, StateDirectory.default(), "dead-job"):
            os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    lock = proxy.root / locks.ROOT_LOCK
    assert lock.read_bytes() == b""
    assert verdicts(look(proxy)) == [("lock", "ours")]
    held = os.open(lock, os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_SH)
    assert look(proxy).leftovers == ()
    os.close(held)
    assert [each.id for each in clean(proxy).removed] == [str(lock)]
    assert_nothing_left(proxy)
    lock.write_bytes(b'{"job": "2026')  # its disk was full
    assert [each.id for each in clean(proxy).removed] == [str(lock)]
    assert_nothing_left(proxy)
    lock.write_bytes(b"an admin's")
    assert look(proxy).leftovers == ()


def test_a_lock_that_a_child_inherited_is_taken_from_its_dead_holder(tmp_path):
    """A worker that is killed leaves the flock with whatever child got its descriptor."""
    state = StateDirectory(tmp_path / "state")
    reading, writing = os.pipe()
    parent = os.fork()
    if not parent:
        with vm_lock(state, "vc", "vm-1", "dead-job"):
            if not os.fork():
                os.read(reading, 1)  # the heir of the lock
            os._exit(0)
    os.waitpid(parent, 0)
    try:
        with vm_lock(state, "vc", "vm-1", "next"):
            pass
    finally:
        os.write(writing, b"x")
        os.close(reading)
        os.close(writing)


def test_a_living_jobs_ledger_cannot_be_resumed(tmp_path):
    ledger = Ledger(tmp_path / "job")
    ledger.intent(Kind.JOB, vm="vm-1")
    with pytest.raises(BusyError):
        Ledger.resume(tmp_path / "job")
    ledger.close()
    Ledger.resume(tmp_path / "job").close()


def test_settings_without_a_host_still_list_what_is_local(proxy):
    with reconciling(Settings.of(BACKUPROOT=str(proxy.root)), proxy.report, CancelToken()) as work:
        assert work.look().unchecked
