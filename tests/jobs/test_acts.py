"""What is no backup runs in workers too: looked at, restored, retained, reconciled, with a journal and a result."""

from pathlib import Path
from typing import Any

import pytest

from engine.config.options import Settings
from engine.errors import ConfigError
from engine.events import Result
from engine.jobs import supervisor
from engine.jobs.job import Job
from engine.jobs.orders import FilesOrder, ReconcileOrder, RestoreOrder, RestoreTo, RetainOrder, VerifyOrder
from engine.jobs.request import ORDERS, Act, Request, read_request
from engine.points.proof import Depth
from tests.drill.made import point_of
from tests.files import made
from tests.jobs.conftest import Rig, until


def ended(job: Job) -> Result:
    """The result of the first part, once the worker is gone."""
    until(lambda: not job.alive)
    results = [entry.event for entry in job.reader().drain() if isinstance(entry.event, Result)]
    assert results, job.last_words
    return results[0]


def run(act: Act, subject: str, settings: Settings, order: Any = None) -> Result:
    return ended(supervisor.start(act, [subject], settings, order=order))


def test_verify_restore_retain_and_reconcile_run_in_workers(rig: Rig, tmp_path: Path) -> None:
    made = ended(rig.start("name:web01"))
    point = Path(made.summary["point"])
    settings = rig.settings()
    looked = run(Act.VERIFY, str(point), settings, VerifyOrder(Depth.CHAIN))
    assert (looked.state, looked.sentence) == ("success", "Nothing is wrong with it (depth chain).")
    files = run(Act.RESTORE, str(point), settings, RestoreOrder(RestoreTo.FILES, str(tmp_path / "out"), format="raw"))
    assert files.state == "success", files.sentence
    assert list((tmp_path / "out").glob("*.raw"))
    newer = Path(ended(rig.start("name:web01")).summary["point"])
    image = next(newer.glob("*.vmdk"))
    image.chmod(0o600)
    image.write_bytes(b"gone bad")
    bad = run(Act.VERIFY, str(newer), settings)
    assert bad.state == "failure"
    assert bad.sentence.startswith("DAMAGED")
    kept = run(Act.RETAIN, "BACKUPROOT", rig.settings(KEEP_LAST=1), RetainOrder(()))
    assert (kept.state, point.exists()) == ("success", True), "nothing goes that nobody agreed to"
    looked = run(Act.RECONCILE, "leftovers", settings, ReconcileOrder())
    assert looked.state == "success", looked.sentence
    assert looked.summary["found"] == []
    healthy = run(Act.DOCTOR, "doctor", settings)
    assert healthy.summary["checks"]


@pytest.mark.parametrize(
    ("act", "order"),
    [
        (Act.VERIFY, VerifyOrder(Depth.FILES)),
        (Act.RESTORE, RestoreOrder(RestoreTo.VM_DISK, "name:db01", ("scsi0:1",))),
        (Act.RETAIN, RetainOrder(("/a", "/b"))),
        (Act.RECONCILE, ReconcileOrder(("snapshot snapshot-7",))),
        (Act.FILES, FilesOrder("scsi0:0/1/etc", "/out")),
    ],
)
def test_an_order_comes_back_as_it_was_given(tmp_path: Path, act: Act, order: Any) -> None:
    Request("j", act, ("x",), Settings.of(), order=order).save(tmp_path)
    assert read_request(tmp_path).order == order
    assert isinstance(order, ORDERS[act])


@pytest.mark.parametrize(
    ("act", "order"),
    [("backup", 'depth = "files"'), ("verify", 'depth = "deep"'), ("verify", "other = 1"), ("restore", "")],
)
def test_an_order_of_another_shape_is_refused(tmp_path: Path, act: str, order: str) -> None:
    Request("j", Act.BACKUP, ("x",), Settings.of()).save(tmp_path)
    path = tmp_path / "job.toml"
    path.write_text(path.read_text().replace('act = "backup"', f'act = "{act}"') + f"\n[order]\n{order}\n")
    with pytest.raises(ConfigError, match="not the request of a job"):
        read_request(tmp_path)


def test_files_are_taken_out_by_a_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VCB_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "root").mkdir()
    source = made.tree(tmp_path / "source")
    point = point_of(tmp_path / "root", 1, made.ext4(tmp_path / "volume", source))
    settings = Settings.of(BACKUPROOT=tmp_path / "root")
    order = FilesOrder("0/deep", str(tmp_path / "out"))
    done = run(Act.FILES, str(point), settings, order)
    assert (done.state, done.sentence) == ("success", "21 files, 3 directories."), done
    assert made.seen(tmp_path / "out" / "deep") == made.seen(source / "deep")
    again = run(Act.FILES, str(point), settings, order)
    assert again.state == "failure"
    assert "nothing is overwritten" in again.sentence
