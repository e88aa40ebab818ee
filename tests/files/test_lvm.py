"""Logical volumes: ours and GRUB's reading of the same disks agree, and lvm2's own programs made them."""

import hashlib
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from engine.errors import ImageError
from engine.extents import DiskSource
from engine.files import lvm, lvm_text
from engine.image.flat import RawDisk
from tests.drill.made import on_disk, point_of, spoil
from tests.files import made
from tests.files.made import physical_volumes, seen, vcb
from tests.image.disks import MIB
from tests.points.made import wide_point
from tests.tools import require_tool

VOLUMES = {"linear": ["-l", "26"], "striped": ["-l", "26", "-i", "2", "-I", "16k"], "spanning": ["-l", "40"]}


def group(home: Path) -> list[Path]:
    return physical_volumes(
        home, 2, lambda _: [["lvcreate", "-an", "-Zn", "-Wn", *how, "-n", name, "vg0"] for name, how in VOLUMES.items()]
    )


def deal(disks: Sequence[Path], content: bytes, placed: Sequence[tuple[int, int, int, int]]) -> None:
    """Writes `content` where a volume lies: (from byte, disk, to byte, length)."""
    for start, disk, at, length in placed:
        with disks[disk].open("r+b") as file:
            file.seek(at)
            file.write(content[start : start + length])


def places(disks: Sequence[Path], name: str) -> list[tuple[int, int, int, int]]:
    """Of a volume, by the description that lvm2 wrote: extents of 1 MiB, stripes of 16 KiB by turns."""
    text = disks[0].read_bytes()[: 1 * MIB].decode("latin-1")
    described = text[text.rindex(f"\n{name} {{") :]
    first = {"pv0": 0, "pv1": 1}
    found, at = [], 0
    for segment in re.findall(r"extent_count = (\d+).*?stripes = \[(.*?)\]", described, re.DOTALL)[
        : 2 if name == "spanning" else 1
    ]:
        length = int(segment[0]) * MIB
        stripes = [(first[pv], MIB + int(start) * MIB) for pv, start in re.findall(r'"(pv\d)", (\d+)', segment[1])]
        width = 16 << 10 if len(stripes) > 1 else length
        for chunk in range(length // width):
            disk, base = stripes[chunk % len(stripes)]
            found.append((at + chunk * width, disk, base + chunk // len(stripes) * width, width))
        at += length
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lvm")


@pytest.fixture(scope="module")
def source(home: Path) -> Path:
    return made.tree(home / "source")


@pytest.fixture(scope="module")
def disks(home: Path, source: Path) -> list[Path]:
    made_of = group(home)
    content = made.ext4(home / "volume", source).read_bytes()
    for name in VOLUMES:
        deal(made_of, content, places(made_of, name))
    return made_of


def test_files_out_of_logical_volumes(
    root: Path, source: Path, disks: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = point_of(root, 0, on_disk(tmp_path / "disk", disks))
    code, done, _ = vcb(capsys, "ls", at)
    assert code == 0
    assert {row["path"]: row["kind"] for row in done["volumes"] if row["readable"]} == {
        f"vg0/{name}": "ext" for name in VOLUMES
    }
    for name in VOLUMES:
        assert vcb(capsys, "get", at, f"vg0/{name}", "--to", tmp_path / name)[0] == 0
        found = seen(tmp_path / name)
        del found["lost+found"]
        assert found == seen(source)


def test_a_group_over_two_disks_of_the_point(
    root: Path, source: Path, disks: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [RawDisk(disk) for disk in disks]
    at = wide_point(root, 0, images)
    for image in images:
        image.close()
    assert vcb(capsys, "get", at, "vg0/spanning/deep", "--to", tmp_path / "out")[0] == 0
    assert seen(tmp_path / "out" / "deep") == seen(source / "deep")
    code, done, _ = vcb(capsys, "ls", at, "--disk", "scsi0:1")
    assert code == 0
    assert next(row["reason"] for row in done["volumes"] if row["path"] == "vg0/linear")


@pytest.mark.parametrize("name", list(VOLUMES))
def test_grub_reads_the_same(source: Path, disks: list[Path], name: str) -> None:
    """That the places above are those of LVM is GRUB's word: it has a reader of its own."""
    command = [require_tool("grub-fstest"), "-c", "2", *map(str, disks), "cat", f"(lvm/vg0-{name})/deep/er/leaf/big"]
    done = subprocess.run(command, capture_output=True, check=True, env={**os.environ, "LC_ALL": "C"})
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256((source / "deep/er/leaf/big").read_bytes()).digest()


def test_a_missing_disk_is_named(
    root: Path, disks: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = point_of(root, 0, on_disk(tmp_path / "disk", disks[1:]))
    code, done, told = vcb(capsys, "ls", at)
    rows = {row["path"]: row["reason"] for row in done["volumes"]}
    assert "a disk that the point does not hold (/dev/loop" in rows["vg0/linear"]
    assert code == 0
    assert "a disk that the point does not hold" in told


def test_damage_of_the_description_is_told(
    root: Path, disks: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = on_disk(tmp_path / "disk", disks)
    for disk in range(2):
        spoil(image, (1 + 64 * disk) * MIB + 4096, 400_000)
    at = point_of(root, 0, image)
    code, done, told = vcb(capsys, "ls", at)
    assert code == 3
    assert len(done["findings"]) == 2
    assert "metadata of LVM is damaged" in told


TEXT = """
vg {  # of a test
    id = "abc"
    seqno = 3
    extent_size = 8
    physical_volumes { pv0 { id = "p-0" device = "/dev/sdb" pe_start = 16 } }
    logical_volumes {
        %s { status = ["READ", "VISIBLE"] segment_count = 1
            segment1 { start_extent = 0 extent_count = 2 type = "%s" stripe_count = 1 stripes = ["pv0", 1] } }
    }
}
"""


class Disk:
    capacity, transport = MIB, "file"

    def read_into(self, offset: int, buffer: memoryview) -> None:
        buffer[:] = bytes((offset // 512 + at // 512) % 251 for at in range(len(buffer)))

    def allocated(self) -> Sequence[Any]:
        return []

    def close(self) -> None:
        pass


def groups(text: str, disk: DiskSource | None = None) -> lvm.VolumeGroups:
    return lvm.volume_groups([lvm.PhysicalVolume(disk or Disk(), "p0", text)])


def test_what_the_description_says_is_where_bytes_come_from() -> None:
    (volume,) = groups(TEXT % ("a", "striped")).volumes
    assert (volume.group, volume.name, volume.size) == ("vg", "a", 8192)
    buffer = bytearray(8192)
    assert volume.disk is not None
    volume.disk.read_into(0, memoryview(buffer))
    expected = bytearray(8192)
    Disk().read_into((16 + 8) * 512, memoryview(expected))
    assert buffer == expected
    with pytest.raises(ImageError):
        volume.disk.read_into(8000, memoryview(bytearray(400)))


def test_a_kind_of_volume_that_is_not_read_is_named() -> None:
    (volume,) = groups(TEXT % ("a", "thin")).volumes
    assert volume.disk is None
    assert "thin" in volume.why


GOOD = TEXT % ("a", "striped")
NONSENSE = [
    "vg {", "vg } {", 'vg { a = "', "vg { a = [1, 2", "x", "{" * 5000, "a {" * 100, 'vg { id = "a" seqno = "x" }',
    *(GOOD.replace(word, "other") for word in ("extent_size", "pe_start", "stripes", "status")),
    GOOD.replace('"pv0", 1', '"pv9", 1'), GOOD.replace("extent_count = 2", "extent_count = -2"), GOOD + "]",
]  # fmt: skip


@pytest.mark.parametrize("text", NONSENSE, ids=range(len(NONSENSE)))
def test_a_description_that_makes_no_sense_is_a_finding(text: str) -> None:
    made_of = groups(text)
    assert not made_of.volumes
    assert len(made_of.findings) == 1


def test_the_text_of_a_description() -> None:
    assert lvm_text.parse('a { b = ["x\\"y", 2] c = -3 } # end\nd = "e"') == {"a": {"b": ['x"y', 2], "c": -3}, "d": "e"}


def test_what_is_no_physical_volume(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(bytes(MIB))
    disk = RawDisk(tmp_path / "disk")
    with pytest.raises(ImageError, match="no label"):
        lvm.physical_volume(disk)
    disk.close()
