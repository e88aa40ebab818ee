"""Disks that lie: names that lead elsewhere, names that are equal, directories in a circle, damage. Nothing is written
outside the target, and what can't be had is told."""

import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.cancel import CancelToken
from engine.errors import Cancelled, ConfigError, ImageError, TargetError, TargetFull
from engine.events import ResultState
from engine.extents import Extent
from engine.files.entry import Entry, Kind
from engine.files.extract import take_out
from engine.files.point_volumes import Volume, entry_at
from engine.files.tar_stream import write_tar
from engine.files.walk import DEEPEST, Names
from engine.reporter import silent
from tests.drill.made import DAMAGE, FILE_SYSTEMS, point_of, spoil
from tests.files import made
from tests.files.made import seen, vcb

EVIL = ["../../evil", "..", ".", "/etc/passwd", "a/../../b", "x" * 300, "ü" * 200, "\x1b]0;title\x07", "a\nb", ""]
VOLUME = Volume("scsi0:0/1", "ext", 1 << 30, None)


class Lies:
    """A file system as a dict of names, each a dict, the bytes of a file, or an Entry."""

    label, ignores_case, remarks = "", False, ()

    def __init__(self, tree: list[tuple[str, Any]]) -> None:
        self._root = Entry("", Kind.DIRECTORY, mode=0o755, identity=2, handle=tree)
        self._identity = 2

    def root(self) -> Entry:
        return self._root

    def children(self, directory: Entry) -> Iterator[Entry]:
        for name, what in directory.handle:
            self._identity += 1
            if isinstance(what, Entry):
                yield what
            elif isinstance(what, bytes):
                yield Entry(name, Kind.FILE, size=len(what), identity=self._identity, handle=what)
            else:
                yield Entry(name, Kind.DIRECTORY, mode=0o755, identity=self._identity, handle=what)

    def read(self, file: Entry, offset: int, length: int) -> bytes:
        if file.handle is None:
            raise ImageError(f"The file {file.name!r} can't be read.", fault="damage")
        return file.handle[offset : offset + length]

    def data(self, file: Entry) -> list[Extent]:
        return [Extent(0, file.size)] if file.size and file.handle != b"" else []


def taken(system: Lies, target: Path, start: Entry | None = None) -> Any:
    return take_out(system, start or system.root(), target, volume=VOLUME, report=silent(), cancel=CancelToken())


def as_tar(system: Lies, path: Path) -> Any:
    with path.open("wb") as stream:
        return write_tar(system, system.root(), stream, volume=VOLUME, report=silent(), cancel=CancelToken())


def test_no_name_leads_out(tmp_path: Path) -> None:
    entries: list[tuple[str, Any]] = [(name, name.encode()) for name in EVIL]
    system = Lies([*entries, ("..", [("passwd", b"in the parent")])])
    done = taken(system, tmp_path / "deep" / "target")
    assert done.state is ResultState.EXCEPTIONS
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["target"]
    contents = sorted(path.read_bytes() for path in (tmp_path / "deep" / "target").rglob("*") if path.is_file())
    assert contents == sorted([name.encode() for name in EVIL] + [b"in the parent"])
    assert as_tar(system, tmp_path / "x.tar").state is ResultState.EXCEPTIONS
    (tmp_path / "other").mkdir()
    subprocess.run(["tar", "xf", tmp_path / "x.tar", "-C", tmp_path / "other"], check=True, stderr=subprocess.DEVNULL)
    assert seen(tmp_path / "other", times=False) == seen(tmp_path / "deep" / "target", times=False)


def test_names_that_are_equal_meet_no_symlink(tmp_path: Path) -> None:
    """The first is a symlink to a place outside, the second a directory of the same name with a file in it."""
    (tmp_path / "outside").mkdir()
    link = Entry("same", Kind.SYMLINK, target=str(tmp_path / "outside"), identity=90)
    system = Lies([("same", link), ("same", [("file", b"x")]), ("same", b"y")])
    done = taken(system, tmp_path / "target")
    assert not list((tmp_path / "outside").iterdir())
    assert (tmp_path / "target" / "same").is_symlink()
    assert (tmp_path / "target" / "same~2" / "file").read_bytes() == b"x"
    assert (tmp_path / "target" / "same~3").read_bytes() == b"y"
    assert done.troubles.count == 2
    as_tar(system, tmp_path / "x.tar")
    with tarfile.open(tmp_path / "x.tar") as archive:
        assert archive.getnames() == ["same", "same~2", "same~2/file", "same~3"]


def test_a_target_that_finds_names_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a share does that knows no upper and lower case: here os.mkdir and os.open find what is there in any case."""
    system = Lies([("Data", [("one", b"1")]), ("data", [("two", b"2")])])
    there: set[str] = set()
    real = os.mkdir

    def mkdir(name: str, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        if str(name).casefold() in there:
            raise FileExistsError(17, "exists")
        there.add(str(name).casefold())
        real(name, mode, dir_fd=dir_fd)

    monkeypatch.setattr("os.mkdir", mkdir)
    done = taken(system, tmp_path / "target")
    assert (tmp_path / "target" / "data~2" / "two").read_bytes() == b"2"
    assert "finds the name equal to another" in done.troubles.told[0][1]


def test_a_circle_of_directories_has_an_end(tmp_path: Path) -> None:
    around: list[tuple[str, Any]] = [("file", b"x")]
    around.append(("again", Entry("again", Kind.DIRECTORY, mode=0o755, identity=2, handle=around)))
    done = taken(Lies(around), tmp_path / "target")
    assert sorted(path.name for path in (tmp_path / "target").rglob("*")) == ["file"]
    assert "damaged" in done.troubles.told[0][1]
    deep: list[tuple[str, Any]] = []
    for _ in range(DEEPEST + 50):
        deep = [("d", deep)]
    done = taken(Lies(deep), tmp_path / "deep")
    assert done.counts[Kind.DIRECTORY] == DEEPEST - 1
    assert done.troubles.count == 1


def test_a_damaged_file_is_left_out_and_the_others_come(tmp_path: Path) -> None:
    broken = Entry("broken", Kind.FILE, size=3 << 20, identity=50)
    half = Entry("half", Kind.FILE, size=3 << 20, identity=51, handle=bytes(1 << 20))
    unknown = Entry("entry-3", Kind.UNKNOWN, unreadable="its entry in the directory is damaged")
    system = Lies([("broken", broken), ("entry-3", unknown), ("good", b"good")])
    done = taken(system, tmp_path / "target")
    assert done.state is ResultState.EXCEPTIONS
    assert [path.name for path in (tmp_path / "target").iterdir()] == ["good"]
    assert [path for path, _ in done.troubles.told] == ["broken", "entry-3"]
    done = as_tar(Lies([("half", half), ("good", b"good")]), tmp_path / "x.tar")
    assert done.counts[Kind.FILE] == 2
    with tarfile.open(tmp_path / "x.tar") as archive:
        assert archive.extractfile("good").read() == b"good"  # type: ignore[union-attr]
    done = taken(Lies([]), tmp_path / "alone", broken)
    assert done.state is ResultState.FAILURE


def test_a_file_too_large_for_the_target_is_one_exception(tmp_path: Path) -> None:
    huge = Entry("huge", Kind.FILE, size=1 << 62, identity=50, handle=b"")
    done = taken(Lies([("huge", huge), ("good", b"good")]), tmp_path / "target")
    assert [path.name for path in (tmp_path / "target").iterdir()] == ["good"]
    assert "huge" in done.troubles.told[0][0]


def test_a_target_without_room_ends_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    with pytest.raises(TargetFull, match="No space") as caught:
        taken(Lies([("file", b"new")]), tmp_path / "target")
    assert "another directory" in caught.value.hint
    assert not list((tmp_path / "target").iterdir())


def test_a_target_in_use_is_left_alone(tmp_path: Path) -> None:
    system = Lies([("file", b"new")])
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "file").write_text("old")
    for start in (system.root(), next(system.children(system.root()))):
        with pytest.raises(TargetError, match="nothing is overwritten"):
            taken(system, tmp_path / "target", start)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TargetError):
        taken(system, tmp_path / "link")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_stop_leaves_no_half_file(tmp_path: Path) -> None:
    cancel = CancelToken()

    class Stops(Lies):
        def read(self, file: Entry, offset: int, length: int) -> bytes:
            cancel.cancel()
            return bytes(length)

    big = Entry("big", Kind.FILE, size=8 << 20, identity=50, handle=b"-")
    system = Stops([("big", big)])
    with pytest.raises(Cancelled):
        take_out(system, system.root(), tmp_path / "target", volume=VOLUME, report=silent(), cancel=cancel)
    assert not list((tmp_path / "target").iterdir())


def test_paths_go_through_no_symlink() -> None:
    link = Entry("link", Kind.SYMLINK, target="/etc", identity=3)
    with pytest.raises(ConfigError, match="symlink to /etc"):
        entry_at(Lies([("link", link)]), ("link", "passwd"))


def test_names_given_out_are_single_components() -> None:
    names = Names()
    given = [names.give(name) for name in EVIL * 3]
    assert len(set(given)) == len(given)
    assert all("/" not in name and "\0" not in name and name not in ("", ".", "..") for name in given)
    assert all(len(name.encode()) <= 255 for name in given)


def test_names_patched_into_a_genuine_file_system(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "source").mkdir()
    for number, name in enumerate(("AAAAAAAAAA", "BB", "CCCCCCCC")):
        (tmp_path / "source" / name).write_text(str(number))
    image = made.ext4(tmp_path / "volume", tmp_path / "source", "-O", "^metadata_csum,^dir_index")
    content = image.read_bytes()
    for old, new in ((b"AAAAAAAAAA", b"../../evil"), (b"\x02\x01BB", b"\x02\x01.."), (b"CCCCCCCC", b"C\xff\xfeC/..\0")):
        assert old in content
        content = content.replace(old, new)
    image.write_bytes(content)
    at = point_of(root, 0, image)
    code, done, told = vcb(capsys, "get", at, "0", "--to", tmp_path / "below" / "target")
    assert code in (0, 3)
    assert "Traceback" not in told
    assert [path.name for path in (tmp_path / "below").iterdir()] == ["target"]
    assert not (tmp_path / "evil").exists()
    assert done["files"] >= 1


@pytest.mark.parametrize("kind", list(DAMAGE))
def test_damage_ends_in_words(root: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    at = point_of(root, 0, DAMAGE[kind](FILE_SYSTEMS[kind](tmp_path / "volume")))
    for arguments in (["ls", at], ["ls", at, "0"], ["get", at, "0", "--to", tmp_path / "out"]):
        code, done, told = vcb(capsys, *arguments)
        assert code in (0, 1, 3)
        assert code == done["exit_code"]
        assert "Traceback" not in told


@pytest.mark.parametrize("kind", ["ext", "xfs", "ntfs", "fat"])
def test_a_file_system_that_lost_its_beginning(
    root: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """All but the signature."""
    image = FILE_SYSTEMS[kind](tmp_path / "volume")
    place, length = {"ext": (1024 + 58, 900), "xfs": (4, 400), "ntfs": (11, 60), "fat": (11, 40)}[kind]
    at = point_of(root, 0, spoil(image, place, length))
    code, done, told = vcb(capsys, "ls", at)
    assert code == 3
    assert done["volumes"][0]["error"]["hint"]
    code, done, told = vcb(capsys, "ls", at, "0")
    assert code == 1
    assert "can't be read" in done["sentence"]
    assert "Traceback" not in told


def test_a_damaged_image_is_told_as_such(
    root: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What fails below the reader of the file system is named as what it is."""
    at = point_of(root, 0, made.ext4(tmp_path / "volume", source))
    spoil(at / "scsi0-0.vmdk", 128 * 512, 1 << 20)
    code, _, told = vcb(capsys, "ls", at, "0")
    assert code == 1
    assert "scsi0-0.vmdk" in told
    assert "Traceback" not in told
