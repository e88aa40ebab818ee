"""Files out of genuine file systems inside points: equal to what went in, and never anywhere else."""

import stat
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.drill.made import on_disk, point_of, swap, tool
from tests.files import made
from tests.files.made import MOMENT, Found, seen, vcb


def plain(found: dict[str, Found], *leave_out: str) -> dict[str, Found]:
    return {name: each for name, each in found.items() if name not in leave_out and not stat.S_ISFIFO(each.kind)}


def test_ext4_comes_out_as_it_was(root: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made.linked(source)
    image = made.ext4(tmp_path / "volume", source)
    tool("debugfs", "-w", "-R", "mknod device c 1 3", image)
    at = point_of(root, 0, on_disk(tmp_path / "disk", [swap(tmp_path / "swap"), image]))
    code, done, told = vcb(capsys, "get", at, "scsi0:0/2", "--to", tmp_path / "out")
    assert code == 0, told
    assert {row["path"] for row in done["left_out"]} == {"pipe", "device"}
    assert plain(seen(tmp_path / "out"), "lost+found") == plain(seen(source))
    assert (tmp_path / "out" / "small").stat().st_ino == (tmp_path / "out" / "same").stat().st_ino
    assert stat.S_IMODE((tmp_path / "out" / "small").stat().st_mode) == 0o640  # ours now: no setuid
    assert (tmp_path / "out" / "sparse").stat().st_blocks * 512 < 2 << 20
    assert done["bytes_read"] < 3 << 20
    assert "\x1b[31m" not in told


def test_a_tar_stream_holds_the_same(root: Path, source: Path, tmp_path: Path) -> None:
    """Through the process itself: nothing but the stream goes to standard output."""
    made.linked(source)
    at = point_of(root, 0, made.ext4(tmp_path / "volume", source))
    command = ["files", "tar", str(at), "0"]
    program = [sys.executable, "-c", "import sys; from tui.cli.app import main; sys.exit(main(sys.argv[1:]))"]
    done = subprocess.run([*program, *command], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"SUCCESS" in done.stderr
    (tmp_path / "out").mkdir()
    (tmp_path / "x.tar").write_bytes(done.stdout)
    subprocess.run(["tar", "xpf", tmp_path / "x.tar", "-C", tmp_path / "out"], check=True)
    assert plain(seen(tmp_path / "out"), "lost+found") == plain(seen(source))
    assert (tmp_path / "out" / "small").stat().st_mode & 0o7777 == 0o4640
    assert (tmp_path / "out" / "sparse").stat().st_blocks * 512 < 2 << 20
    assert len(done.stdout) < 4 << 20
    with tarfile.open(tmp_path / "x.tar") as archive:
        members = {member.name: member for member in archive}
    assert members["small"].islnk() or members["same"].islnk()
    assert members["sparse"].issparse()
    assert members["sparse"].size == 64 << 20


def test_xfs(root: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (source / "link").symlink_to("../../etc/passwd")
    at = point_of(root, 0, made.xfs(tmp_path / "volume", source))
    code, done, told = vcb(capsys, "get", at, "0", "--to", tmp_path / "out")
    assert code == 0, told
    expected = plain(seen(source, times=False), "übung 日本")
    assert seen(tmp_path / "out", times=False) == expected
    assert "journal is not replayed" in told
    assert done["remarks"]


@pytest.mark.parametrize("kind", ["xfs", "ntfs"])
def test_what_the_system_itself_wrote(
    root: Path, source: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Holes, times, links: what the unprivileged makers leave out."""
    made.holed(source)
    image = made.xfs(tmp_path / "volume", root) if kind == "xfs" else made.ntfs(tmp_path / "volume", root)
    with made.mounted(image, tmp_path / "mount", kind) as at:
        made.copied(source, at)
    (tmp_path / "mount").rmdir()
    at = point_of(root, 0, image)
    code, _, told = vcb(capsys, "get", at, "0", "--to", tmp_path / "out")
    assert code == 0, told
    assert seen(tmp_path / "out", modes=kind == "xfs") == seen(source, modes=kind == "xfs")
    assert (tmp_path / "out" / "sparse").stat().st_blocks * 512 < 2 << 20
    assert (tmp_path / "out" / "small").stat().st_mtime_ns // 100 == MOMENT // 100


def test_ntfs(root: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = made.ntfs(tmp_path / "volume", source / "deep")
    tool("ntfscp", "-f", "-N", "hidden", image, source / "small", "file-3")
    at = point_of(root, 0, on_disk(tmp_path / "disk", [image], "label: dos\n"))
    code, done, told = vcb(capsys, "get", at, "1", "--to", tmp_path / "out")
    assert code == 3, told
    assert [row["path"] for row in done["exceptions"]] == ["file-3"]
    assert "data stream" in done["exceptions"][0]["text"]
    expected = {
        name: each for name, each in seen(source / "deep", modes=False, times=False).items() if "er" not in name
    }
    assert seen(tmp_path / "out", modes=False, times=False) == expected
    code, listed, told = vcb(capsys, "ls", at, "1/FILE-7")  # NTFS does not tell case apart
    assert (code, [row["name"] for row in listed["entries"]]) == (0, ["file-7"])


@pytest.mark.parametrize("bits", [16, 32])
def test_fat(root: Path, source: Path, tmp_path: Path, bits: int, capsys: pytest.CaptureFixture[str]) -> None:
    at = point_of(root, 0, made.fat(tmp_path / "volume", source, bits))
    code, _, told = vcb(capsys, "get", at, "0", "--to", tmp_path / "out")
    assert code == 0, told
    found, expected = (seen(each, modes=False) for each in (tmp_path / "out", source))
    assert {name: each.content for name, each in found.items()} == {
        name: each.content for name, each in expected.items()
    }
    assert all(abs(each.seconds - expected[name].seconds) <= 2 for name, each in found.items())


def test_what_is_on_a_disk_is_listed(
    root: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = [
        made.fat(tmp_path / "fat", source, 16), swap(tmp_path / "swap"), made.ext4(tmp_path / "ext", source),
        made.ntfs(tmp_path / "ntfs", source),
    ]  # fmt: skip
    at = point_of(root, 0, on_disk(tmp_path / "disk", parts))
    code, done, told = vcb(capsys, "ls", at)
    assert code == 0
    rows = [(row["path"], row["kind"], row["label"], row["readable"]) for row in done["volumes"]]
    assert rows == [
        ("scsi0:0/1", "fat", "BOOT", True), ("scsi0:0/2", "swap", "", False),
        ("scsi0:0/3", "ext", "", True), ("scsi0:0/4", "ntfs", "System", True),
    ]  # fmt: skip
    assert "GPT" in told
    code, done, told = vcb(capsys, "ls", "-l", at, "3/deep")
    assert code == 0
    assert [row["name"] for row in done["entries"]] == sorted(path.name for path in (source / "deep").iterdir())
    er = next(row for row in done["entries"] if row["name"] == "er")
    assert (er["kind"], er["mode"], er["modified"][:10]) == ("directory", "0555", "2004-11-09")
    assert "dr-xr-xr-x" in told


def test_one_file_by_its_path(root: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made.linked(source)
    at = point_of(root, 0, made.ext4(tmp_path / "volume", source))
    assert vcb(capsys, "get", at, "scsi0:0/0/deep/er/leaf/big", "--to", tmp_path / "out")[0] == 0
    original = (source / "deep/er/leaf/big").read_bytes()
    assert (tmp_path / "out" / "big").read_bytes() == original
    (tmp_path / "out" / "big").write_text("mine")
    for path, said in (
        ("0/deep/er/leaf/big", "nothing is overwritten"),
        ("0/deep/nothing", "There is no nothing in deep"),
        ("0/out/passwd", "symlink to /etc"),
        ("0/small/x", "no directory"),
        ("7", "no volume"),
    ):
        code, done, _ = vcb(capsys, "get", at, path, "--to", tmp_path / "out")
        assert code in (1, 2)
        assert said in done["sentence"]
    assert (tmp_path / "out" / "big").read_text() == "mine"


def test_a_point_of_a_chain(root: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = made.ext4(tmp_path / "volume", source)
    parent = point_of(root, 0, image)
    (tmp_path / "later").write_bytes(b"later" * 1000)
    tool("debugfs", "-w", "-R", f"write {tmp_path / 'later'} later", image)
    child = point_of(root, 1, image, parent=parent)
    assert vcb(capsys, "get", child, "0", "--to", tmp_path / "out")[0] == 0
    assert (tmp_path / "out" / "later").read_bytes() == b"later" * 1000
    assert seen(tmp_path / "out" / "deep") == seen(source / "deep")


def test_without_the_readers_it_is_said_how_to_get_them(
    root: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    at = point_of(root, 0, made.ext4(tmp_path / "volume", source))
    monkeypatch.setitem(sys.modules, "pyfsext", None)
    code, done, told = vcb(capsys, "ls", at)
    assert code == 2
    assert "pip install 'vcb-console[files]'" in told
    assert "pyfsext" in done["sentence"]


def test_a_tar_stream_whose_reader_goes_ends_in_words(root: Path, source: Path, tmp_path: Path) -> None:
    at = point_of(root, 0, made.ext4(tmp_path / "volume", source))
    program = [sys.executable, "-c", "import sys; from tui.cli.app import main; sys.exit(main(sys.argv[1:]))"]
    with subprocess.Popen(
        [*program, "files", "tar", str(at), "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        said = child.stderr.read().decode()
    assert child.returncode == 1
    assert "tar stream can't be written" in said
    assert "Traceback" not in said
