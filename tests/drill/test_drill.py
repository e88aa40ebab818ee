"""The drill of real file systems: sound ones pass, damaged ones fail by name, and what nobody checked is no success."""

import fcntl
import json
import os
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.cancel import CancelToken
from engine.errors import Cancelled
from engine.events import ResultState
from engine.flow import file_systems
from engine.flow.drill import Drilled, Scratch, drill_point
from engine.flow.file_systems import run_bounded
from engine.image.flat import RawDisk
from engine.jobs.points_follower import PointsFollower
from engine.points import catalog, manifest as manifests
from engine.points.restore_files import Point
from engine.reporter import silent
from engine.secret import Secret
from engine.state_directory import StateDirectory
from tests.drill.made import DAMAGE, FILE_SYSTEMS, blank, ext4, fat, ntfs, on_disk, point_of, spoil, swap, tool
from tests.image.disks import GIB, MIB, MemoryDisk
from tests.points.made import flip, wide_point
from tests.tools import require_tool
from tui.cli.app import main

CHECKERS = {"ext": "e2fsck", "xfs": "xfs_repair", "ntfs": "ntfsfix", "fat": "fsck.fat", "swap": "swaplabel"}


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    return StateDirectory(tmp_path / "state")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def drilled(root: Path, state: StateDirectory, directory: Path, **changes: Any) -> Drilled:
    options: dict[str, Any] = {"timeout": 60.0, "report": silent(), "cancel": CancelToken()} | changes
    told = manifests.read(directory)
    if not options.pop("quiesced", True):
        told = msgspec.structs.replace(told, snapshot=msgspec.structs.replace(told.snapshot, quiesced=False))
    scratch = Scratch(root, options.pop("floor", 0))
    done = drill_point(Point(directory, told), scratch, state, **options)
    assert sorted(path.name for path in root.iterdir()) == ["points"]  # nothing of the scratch stays
    return done


def verdicts(done: Drilled) -> list[tuple[int, str, str]]:
    return [(each.partition, each.kind, each.judged.verdict.value) for disk in done.disks for each in disk.volumes]


@pytest.mark.parametrize("kind", list(FILE_SYSTEMS))
def test_a_sound_file_system_passes(root: Path, state: StateDirectory, tmp_path: Path, kind: str) -> None:
    require_tool(CHECKERS[kind])
    done = drilled(root, state, point_of(root, 0, FILE_SYSTEMS[kind](tmp_path / "disk")))
    assert verdicts(done) == [(0, kind, "sound")]
    assert done.state is ResultState.SUCCESS, done.sentence
    assert CHECKERS[kind] in done.disks[0].volumes[0].judged.checker


@pytest.mark.parametrize("kind", list(DAMAGE))
def test_a_damaged_file_system_fails_and_is_named(root: Path, state: StateDirectory, tmp_path: Path, kind: str) -> None:
    """The point holds exactly what the source had: only a look inside finds it."""
    damaged = DAMAGE[kind](FILE_SYSTEMS[kind](tmp_path / "volume"))
    disk = on_disk(tmp_path / "disk", [swap(tmp_path / "swap"), damaged])
    done = drilled(root, state, point_of(root, 0, disk))
    assert verdicts(done) == [(1, "swap", "sound"), (2, kind, "damaged")]
    assert done.state is ResultState.FAILURE
    assert done.damage[0].startswith("scsi0:0 partition 2 (")
    assert CHECKERS[kind] in done.damage[0]
    assert done.disks[0].volumes[1].judged.said


def test_the_disk_is_rebuilt_through_its_chain(root: Path, state: StateDirectory, tmp_path: Path) -> None:
    """What the newest point changed is what is checked; the older one stays as it was."""
    disk = ext4(tmp_path / "disk")
    full = point_of(root, 0, disk)
    child = point_of(root, 1, DAMAGE["ext"](disk), parent=full)
    assert drilled(root, state, full).state is ResultState.SUCCESS
    assert drilled(root, state, child).state is ResultState.FAILURE
    catalogue = catalog.look(root, state.root)
    by_day = [catalogue.drill(point) for point in catalogue.points]
    assert [drill.result for drill in by_day if drill] == ["success", "failure"]
    last = catalogue.last_drill(catalogue.points[0].identity)
    assert last == by_day[1]
    assert last is not None
    assert "ext2/3/4" in last.findings[0]


def test_a_point_that_is_not_what_came_from_the_source_fails(
    root: Path, state: StateDirectory, tmp_path: Path
) -> None:  # fmt: skip
    point = point_of(root, 0, ext4(tmp_path / "disk"))
    flip(point / "scsi0-0.vmdk", 150_000)
    done = drilled(root, state, point)
    assert done.state is ResultState.FAILURE
    assert "scsi0-0.vmdk" in done.damage[0]
    assert done.unchecked == ["Its disks were not looked into, since the point is damaged."]


def test_a_journal_that_has_to_be_replayed_is_no_damage(root: Path, state: StateDirectory, tmp_path: Path) -> None:
    disk = ext4(tmp_path / "disk")
    tool("debugfs", "-w", disk, given="jo\njw -b 5000 /dev/zero\njc\nq\n")
    before = disk.read_bytes()
    done = drilled(root, state, point_of(root, 0, disk))
    assert done.state is ResultState.SUCCESS, done.sentence
    assert "journal was replayed" in done.disks[0].volumes[0].judged.text
    assert disk.read_bytes() == before


def test_a_fat_that_was_mounted_is_no_damage(root: Path, state: StateDirectory, tmp_path: Path) -> None:
    disk = fat(tmp_path / "disk")
    with disk.open("r+b") as file:
        file.seek(37)
        file.write(b"\x01")
    done = drilled(root, state, point_of(root, 0, disk))
    assert done.state is ResultState.SUCCESS, done.sentence
    assert "mounted" in done.disks[0].volumes[0].judged.text


def test_the_log_of_an_xfs_that_was_mounted_is_no_damage(root: Path, state: StateDirectory, tmp_path: Path) -> None:
    """xfs_repair replays none: what it then finds may be mended by a mount, so nobody calls it damage."""
    disk = FILE_SYSTEMS["xfs"](tmp_path / "disk")
    fake = tmp_path / "bin" / "xfs_repair"
    fake.parent.mkdir()
    says = "echo 'ALERT: The filesystem has valuable metadata changes in a log which is being'; exit {}"
    path = f"{fake.parent}:{os.environ['PATH']}"
    point = point_of(root, 0, disk)
    for code, result in ((0, ResultState.SUCCESS), (1, ResultState.EXCEPTIONS)):
        fake.write_text(f"#!/bin/sh\n{says.format(code)}\n")
        fake.chmod(0o755)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", path)
            done = drilled(root, state, point)
        assert done.state is result
        assert "no damage" in done.disks[0].volumes[0].judged.text


def test_an_ntfs_whose_files_do_not_add_up(root: Path, state: StateDirectory, tmp_path: Path) -> None:
    """Of a guest at rest it is damage; otherwise it may be the log that Windows replays."""
    require_tool("ntfsresize")
    disk = ntfs(tmp_path / "disk")
    bitmap = tool("ntfscat", "-f", disk, "$Bitmap")
    data = bytearray(disk.read_bytes())
    at = data.find(bitmap[:64])
    assert at > 0
    data[at + 40] ^= 0xFF
    disk.write_bytes(data)
    point = point_of(root, 0, disk)
    assert drilled(root, state, point).state is ResultState.FAILURE
    assert drilled(root, state, point, quiesced=False).state is ResultState.EXCEPTIONS


def mbr(path: Path, volumes: list[Path]) -> Path:
    """Two primary partitions, and an extended one with two logical ones in it."""
    at = [MIB, 13 * MIB, 26 * MIB, 39 * MIB]
    sizes = [volume.stat().st_size for volume in volumes]
    script = "label: dos\n" + "".join(
        f"start={start // 512}, size={size // 512}, type={kind}\n"
        for start, size, kind in (
            (at[0], sizes[0], "83"), (at[1], sizes[1], "7"), (25 * MIB, 40 * MIB, "f"),
            (at[2], sizes[2], "6"), (at[3], sizes[3], "82"),
        )
    )  # fmt: skip
    tool("sfdisk", "-q", blank(path, 70 * MIB), given=script)
    with path.open("r+b") as disk:
        for start, volume in zip(at, volumes, strict=True):
            disk.seek(start)
            disk.write(volume.read_bytes())
    return path


def test_primary_and_logical_partitions_of_an_mbr(root: Path, state: StateDirectory, tmp_path: Path) -> None:
    made = [FILE_SYSTEMS[kind](tmp_path / kind) for kind in ("ext", "ntfs", "fat", "swap")]
    done = drilled(root, state, point_of(root, 0, mbr(tmp_path / "disk", made)))
    assert done.disks[0].scheme == "mbr"
    assert verdicts(done) == [(1, "ext", "sound"), (2, "ntfs", "sound"), (5, "fat", "sound"), (6, "swap", "sound")]
    assert done.state is ResultState.SUCCESS, done.sentence


def test_what_is_not_checked_is_no_success(root: Path, state: StateDirectory, tmp_path: Path) -> None:
    """Something unknown beside a sound partition; what is not there to be checked counts for nothing."""
    unknown = spoil(blank(tmp_path / "unknown", 2 * MIB), 5000, 5000)
    bios = spoil(blank(tmp_path / "bios", MIB), 0, 5000)
    kinds = ["21686148-6449-6E6F-744E-656564454649", "L", "L", "L"]
    volumes = [bios, ext4(tmp_path / "ext"), unknown, blank(tmp_path / "nothing", MIB)]
    done = drilled(root, state, point_of(root, 0, on_disk(tmp_path / "disk", volumes, kinds=kinds)))
    assert done.state is ResultState.EXCEPTIONS
    assert verdicts(done) == [
        (1, "unknown", "sound"), (2, "ext", "sound"), (3, "unknown", "not checked"), (4, "empty", "sound"),
    ]  # fmt: skip
    assert done.unchecked == [
        "scsi0:0 partition 3 (unknown content): not checked: vcb has no checker for unknown content."
    ]


def test_lvm_is_not_checked_and_that_is_said(root: Path, state: StateDirectory, tmp_path: Path) -> None:
    for needed in ("pvcreate", "losetup"):
        require_tool(needed)
    physical = blank(tmp_path / "lvm", 8 * MIB)
    try:
        device = tool("losetup", "-f", "--show", physical).decode().strip()
    except AssertionError as error:
        pytest.skip(f"this machine gives no loop device: {error}")
    try:
        config = f'devices {{ use_devicesfile=0 filter=["a|{device}|", "r|.*|"] }}'
        tool("pvcreate", "-ff", "-y", "-q", "--driverloaded", "n", "--config", config, device)
    finally:
        tool("losetup", "-d", device)
    done = drilled(root, state, point_of(root, 0, on_disk(tmp_path / "disk", [ext4(tmp_path / "ext"), physical])))
    assert verdicts(done) == [(1, "ext", "sound"), (2, "lvm", "not checked")]
    assert done.state is ResultState.EXCEPTIONS
    assert "LVM" in done.sentence


def test_two_disks_each_by_its_name(root: Path, state: StateDirectory, tmp_path: Path) -> None:
    disks = [RawDisk(ext4(tmp_path / "one")), RawDisk(DAMAGE["fat"](fat(tmp_path / "two")))]
    done = drilled(root, state, wide_point(root, 0, disks))
    assert [(disk.name, disk.volumes[0].judged.verdict.value) for disk in done.disks] == [
        ("scsi0:0", "sound"), ("scsi0:1", "damaged"),
    ]  # fmt: skip
    assert [sentence.split(":")[:2] for sentence in done.damage] == [["scsi0", "1 FAT"]]


@pytest.mark.parametrize(
    ("disks", "result"), [([], ResultState.EXCEPTIONS), ([MemoryDisk(3 * GIB)], ResultState.SUCCESS)]
)
def test_nothing_to_look_at(root: Path, state: StateDirectory, disks: list[Any], result: ResultState) -> None:
    """A point without disks proves no restore; a blank disk is one, and has nothing to check."""
    done = drilled(root, state, wide_point(root, 0, disks))
    assert done.state is result


@pytest.mark.parametrize("why", ["no checker", "no room", "too slow"])
def test_what_cannot_be_looked_at_here_is_said(
    root: Path, state: StateDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    point = point_of(root, 0, ext4(tmp_path / "disk"))
    options: dict[str, Any] = {}
    if why == "no checker":
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(file_systems, "_SYSTEM_PROGRAMS", str(tmp_path))
    elif why == "no room":
        options["floor"] = 1 << 60
    else:
        slow = tmp_path / "e2fsck"
        slow.write_text("#!/bin/sh\nsleep 600 & sleep 600\n")
        slow.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        options["timeout"] = 0.2
    done = drilled(root, state, point, **options)
    assert done.state is ResultState.EXCEPTIONS
    words = {"no checker": "apt install e2fsprogs", "no room": "no room", "too slow": "did not come to an end"}
    assert words[why] in done.unchecked[0]


def test_a_cancel_ends_the_checker_and_leaves_nothing(root: Path, tmp_path: Path, state: StateDirectory) -> None:
    point = point_of(root, 0, ext4(tmp_path / "disk"))
    slow = tmp_path / "e2fsck"
    ready = tmp_path / "ready"
    slow.write_text(f"#!/bin/sh\necho > {ready}\nexec sleep 600\n")
    slow.chmod(0o755)
    cancel = CancelToken()

    def stop() -> None:
        while not ready.exists():
            os.sched_yield()
        cancel.cancel()

    stopper = threading.Thread(target=stop)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        stopper.start()
        with pytest.raises(Cancelled):
            drilled(root, state, point, cancel=cancel)
    stopper.join()
    assert sorted(path.name for path in root.iterdir()) == ["points"]
    assert catalog.look(root, state.root).drills == {}


def test_what_a_killed_drill_left_goes_and_what_another_uses_stays(
    root: Path, state: StateDirectory, tmp_path: Path
) -> None:
    point = point_of(root, 0, ext4(tmp_path / "disk"))
    left, used = root / ".vcb-drill-dead", root / ".vcb-drill-alive"
    left.write_bytes(b"x")
    with used.open("w") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        told = Point(point, manifests.read(point))
        done = drill_point(told, Scratch(root, 0), state, timeout=60, report=silent(), cancel=CancelToken())
        assert done.state is ResultState.SUCCESS
        assert sorted(path.name for path in root.iterdir()) == [used.name, "points"]


def test_output_is_kept_bounded_and_without_secrets() -> None:
    secret = Secret("Zq7-very-secret-word")
    script = f"i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; echo end {secret.reveal()}; exit 3"
    ran = run_bounded(["sh", "-c", script], 60, CancelToken())
    assert ran.code == 3
    assert ran.said.startswith("line 0\n")
    assert "line 19999" in ran.said
    assert secret.reveal() not in ran.said
    assert len(ran.said) < 20_000


def test_the_command_tells_records_and_says_by_its_exit_code(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VCB_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path))
    disk = ext4(tmp_path / "disk")
    point_of(root, 0, disk)
    common = ["--backuproot", str(root), "--keep-free", "0", "--json"]

    def vcb(*words: str) -> tuple[int, dict[str, Any]]:
        code = main([*words, *common])
        return code, json.loads(capsys.readouterr().out.splitlines()[-1])

    code, told = vcb("drill", "web01")
    assert (code, told["result"]) == (0, "success")
    assert told["points"][0]["disks"][0]["volumes"][0]["verdict"] == "sound"
    newest = point_of(root, 1, DAMAGE["ext"](disk))
    (tmp_path / "scratch").mkdir()
    code, told = vcb("drill", "name:web01", "--scratch", str(tmp_path / "scratch"))
    assert (code, told["result"], told["points"][0]["path"]) == (1, "failure", str(newest))
    assert list((tmp_path / "scratch").iterdir()) == []
    _, listed = vcb("points")
    assert [row["drill_result"] for row in listed["points"]] == ["success", "failure"]
    main(["points", *common[:-1]])
    assert "last drilled" in capsys.readouterr().out


def test_the_console_hears_of_a_drill(root: Path, state: StateDirectory, tmp_path: Path) -> None:
    said: list[Any] = []
    follower = PointsFollower(root, state, said.append)
    point = point_of(root, 0, ext4(tmp_path / "disk"))
    before = follower._now()
    done = drilled(root, state, point)
    assert follower._now() != before
    follower._tell(catalog.look(root, state.root))
    machine = said[-1].vms[0]
    assert (machine.drilled, machine.drill) == (done.at.timestamp(), "success")
    assert machine.points[0].drill == "success"
