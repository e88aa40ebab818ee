"""Volumes written by the lab, read by us and by three readers that we did not write: all agree byte for byte, except
where a foreign one is known to be wrong."""

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import pytest
from dissect.vmfs import LVM, VMFS

from engine.lab.vmfs.form import Version
from engine.transport.vmfs.volume import open_volume
from tests.tools import require_tool
from tests.vmfs.volumes import CASES, FLAT, NVRAM, TEXT, Case, ImageDevice, contents, make

DISSECT_IS_WRONG = {
    3: "VMFS-3 has no block shift on disk; dissect.vmfs takes the 0 as one (IndexError)",
}
DEBUGVMFS6_IS_WRONG = {
    "thin": "vmfs6-tools stops at the first hole of a file: it copies addresses up to the first 0",
    "written thin": "the same",
    "lazy zeroed": "vmfs6-tools tests bit 5 (copy on write) for `to be zeroed`, and not bits 7 to 14",
}
SLOW = {
    "pointer blocks": (6,),
    "large blocks, an address for each MiB": (),
    "large blocks, an address for each": (),
}
"""Files that no reader takes less than seconds for, and the versions with which they are in the default run."""


def _in_default_run(case: Case, version: Version, luns: int) -> bool:
    return version in SLOW.get(case.name, (3, 5, 6)) and (luns == 1 or case.name == "fragmented")


def _later(case: Case) -> pytest.MarkDecorator:
    return pytest.mark.endurance if case.name in SLOW else pytest.mark.exhaustive


PRODUCT = [
    pytest.param(
        case, version, luns, id=f"{case.name}-VMFS{version}-{luns}",
        marks=[] if _in_default_run(case, version, luns) else _later(case),
    )
    for case in CASES for version in case.versions for luns in (1, 2)
]  # fmt: skip


@pytest.mark.parametrize(("case", "version", "luns"), PRODUCT)
def test_all_readers_agree(tmp_path: Path, case: Case, version: Version, luns: int) -> None:
    paths, data = make(tmp_path, case, version, luns, partitioned=False)
    wanted = hashlib.sha256(data).hexdigest()

    devices = [ImageDevice(path) for path in paths]
    volume = open_volume(devices[::-1])  # the order in which they are given is no matter
    found = volume.extent_map(FLAT)
    assert hashlib.sha256(contents(devices[::-1], found)).hexdigest() == wanted
    assert found.length == len(data)
    if case.name == "fragmented":
        assert {extent.device for extent in found.extents} == set(range(luns))
    assert volume.read_small("a/b/vm1.vmdk") == TEXT
    assert volume.read_small("a/b/vm1.nvram") == NVRAM

    if version not in DISSECT_IS_WRONG:
        assert _dissect(paths, FLAT) == wanted
        assert _dissect(paths, "a/b/vm1.nvram") == hashlib.sha256(NVRAM).hexdigest()
    if version != 6 or case.name not in DEBUGVMFS6_IS_WRONG:
        assert _debugvmfs(version, paths, FLAT) == wanted


def _dissect(paths: list[Path], path: str) -> str:
    files: list[Any] = [image.open("rb") for image in paths]  # its annotation says Device; it takes files too
    try:
        stream: Any = LVM(files).volumes[0].open()
        file = VMFS(stream).get(path).open()
        digest = hashlib.sha256()
        while block := file.read(4 << 20):
            digest.update(block)
        return digest.hexdigest()
    finally:
        for image in files:
            image.close()


def _debugvmfs(version: Version, paths: list[Path], path: str) -> str:
    """Never to be run on a LUN: it reserves the device even to read."""
    tool = require_tool("debugvmfs6" if version == 6 else "debugvmfs")
    done = subprocess.run([tool, *map(str, paths), "cat", f"/{path}"], capture_output=True, check=True)
    banner = b"VMFS version: 6\n" * len(paths) if version == 6 else b""
    assert done.stdout.startswith(banner)
    return hashlib.sha256(done.stdout[len(banner) :]).hexdigest()
