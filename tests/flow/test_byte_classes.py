"""One bit flipped in each class of bytes of a real restore point: verify names the file and, for data, the disk range.

The places are computed here from the VMDK specification (Virtual Disk Format 5.0), not by our own reader.
"""

import struct
from pathlib import Path

import pytest

from engine.cancel import CancelToken
from engine.events import ResultState
from engine.flow.point_check import PointChecks
from engine.points.proof import Depth
from tests.points.made import flip

SECTOR = 512
GRAIN = 65536
IMAGE = "scsi0-0.vmdk"


def _footer(image: bytes) -> int:
    """The footer's header: the sector before the end-of-stream marker."""
    at = len(image) - 2 * SECTOR
    assert image[at : at + 4] == b"KDMV"
    return at


def _directory(image: bytes) -> int:
    (sector,) = struct.unpack_from("<Q", image, _footer(image) + 56)
    return sector * SECTOR


def _table(image: bytes) -> int:
    """The first grain table that there is."""
    at = _directory(image)
    while not (sector := struct.unpack_from("<I", image, at)[0]):
        at += 4
    return sector * SECTOR


def _entry(image: bytes) -> int:
    """The entry of the first grain that there is."""
    at = _table(image)
    while not struct.unpack_from("<I", image, at)[0]:
        at += 4
    return at


def _grain(image: bytes) -> int:
    """Within the compressed data of that grain, behind its 12 bytes of marker."""
    (sector,) = struct.unpack_from("<I", image, _entry(image))
    (size,) = struct.unpack_from("<I", image, sector * SECTOR + 8)
    return sector * SECTOR + 12 + size // 2


CLASSES = {
    "header": (IMAGE, lambda image: 12),
    "descriptor": (IMAGE, lambda image: image.index(b"CID=") + 5),
    "grain marker": (IMAGE, lambda image: struct.unpack_from("<I", image, _entry(image))[0] * SECTOR),
    "grain data": (IMAGE, _grain),
    "grain table": (IMAGE, _entry),
    "grain directory": (IMAGE, _directory),
    "footer": (IMAGE, lambda image: _footer(image) + 16),
    "end of stream": (IMAGE, lambda image: len(image) - 1),
    "grain hashes": ("scsi0-0.grains", lambda data: len(data) // 2),
    "ovf": ("vm.ovf", lambda data: len(data) // 2),
    "vmx": ("vm.vmx", lambda data: len(data) // 2),
    "manifest": ("manifest.toml", lambda data: data.index(b"sha256") + 12),
}


@pytest.fixture
def point(proxy) -> Path:
    outcome = proxy.backup()
    assert outcome.state is ResultState.SUCCESS
    return outcome.point


def verified(point: Path, report) -> list[str]:
    """What `vcb verify` tells of the point, at its default depth."""
    return [str(found) for found in PointChecks(Depth.GRAINS, CancelToken(), report).check(point).findings]


def test_each_class_of_bytes_is_found_by_name_and_place(proxy, point: Path) -> None:
    assert verified(point, proxy.report) == []
    for name, (file, place) in CLASSES.items():
        whole = (point / file).read_bytes()
        flip(point / file, place(whole), 1)
        told = verified(point, proxy.report)
        assert told, name
        assert any(file in text for text in told) or file == "manifest.toml", (name, told)
        if name == "grain data":
            first = (_entry(whole) - _table(whole)) // 4 * GRAIN
            assert any(f"{first:,}" in text or str(first) in text for text in told), (first, told)
        (point / file).write_bytes(whole)
    assert verified(point, proxy.report) == []
