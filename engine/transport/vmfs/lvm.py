"""VMFS's own volume manager: one or more partitions (extents) of 256 MiB physical extents make one logical volume.

Layout of the device header at 1 MiB (offsets as the open readers of the format agree on them): metadata, a table of
volumes, 512 KiB in all; then up to eight pairs of a bitmap and a table of 8192 physical extents; then further regions.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from engine.errors import VmfsError
from engine.transport.vmfs.fields import number, unpack
from engine.transport.vmfs.partitions import Region

HEADER = 1 << 20
MAGIC = 0xC001D00D
VERSIONS = (3, 4, 5, 6)  # 3 and 4: VMFS-3; 5: VMFS-5; 6: VMFS-6
_EXTENTS_PER_MAP = 8192
_EXTENT_ENTRY = 128
_TABLES = 512 * 1024  # volume table, unused space and device names, of every version
_MAPS_LIMIT = 8
_EXTENTS_LIMIT = 1 << 18  # 64 TiB of 256 MiB each


class PhysicalRun(NamedTuple):
    """`length` bytes of the logical volume from byte `logical` lie in the partition on `device` from byte `offset`."""

    logical: int
    length: int
    device: int
    offset: int


class Piece(NamedTuple):
    """`length` bytes from byte `offset` of the whole device `device`."""

    device: int
    offset: int
    length: int


@dataclass(frozen=True)
class _Header:
    device_id: bytes
    volume_id: bytes
    devices: int
    """How many the volume has."""
    size: int
    """Bytes of the logical volume."""
    runs: tuple[PhysicalRun, ...]


class LogicalVolume:
    """The bytes of the volume, over all its devices. VmfsError when they are not exactly the volume's."""

    def __init__(self, regions: Sequence[Region]) -> None:
        if not regions:
            raise VmfsError("No device was given for the datastore.")
        self.regions = tuple(regions)
        headers = [_header(region, device) for device, region in enumerate(regions)]
        first = headers[0]
        if any(header.volume_id != first.volume_id for header in headers):
            raise VmfsError("The devices belong to different datastores.")
        if len({header.device_id for header in headers}) != len(headers):
            raise VmfsError("One device was given twice: two paths of one LUN?")
        if first.devices != len(headers):
            raise VmfsError(f"The datastore has {first.devices} extents; {len(headers)} were given.")
        self._runs = _joined(sorted(run for header in headers for run in header.runs))
        self._starts = [run.logical for run in self._runs]
        self.size = self._runs[-1].logical + self._runs[-1].length

    def locate(self, offset: int, length: int) -> Iterator[Piece]:
        """Where a range of the volume lies, in its order."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise VmfsError(f"An address lies outside of the volume: {length} bytes at {offset:#x}.")
        at = bisect_right(self._starts, offset) - 1
        while length:
            run = self._runs[at]
            count = min(length, run.logical + run.length - offset)
            start = self.regions[run.device].start + run.offset + offset - run.logical
            yield Piece(run.device, start, count)
            offset, length, at = offset + count, length - count, at + 1

    def read(self, offset: int, length: int) -> bytes:
        parts = []
        for device, start, count in self.locate(offset, length):
            region = self.regions[device]
            parts.append(region.read(start - region.start, count))
        return parts[0] if len(parts) == 1 else b"".join(parts)


def _header(region: Region, device: int) -> _Header:
    raw = region.read(HEADER, 512)
    what = "The LVM header"
    magic, version = unpack("<II", raw, 0, what)
    if magic != MAGIC:
        raise VmfsError("The device holds no VMFS (no LVM header).")
    if version not in VERSIONS:
        raise VmfsError(f"LVM version {version} is not known.")
    alignment = number("<I", raw, 0xCA, what) if version >= 6 else 512
    if alignment not in (512, 4096, 65536):
        raise VmfsError(f"LVM metadata aligned to {alignment} bytes is not known.")
    volume = region.read(HEADER + alignment, 512)
    count = number("<I", raw, 0x6A, what)
    if not 0 < count <= _EXTENTS_LIMIT:
        raise VmfsError(f"The device claims {count} physical extents.")
    size, devices = number("<Q", volume, 0, what), number("<I", volume, 0x90, what)
    if not 0 < devices <= 32:
        raise VmfsError(f"The datastore claims {devices} extents; VMFS has at most 32.")
    volume_index = number("<I", volume, 0x70, what)
    bitmap = max(alignment, 1024)
    runs = []
    for used, index, offset, logical, length in _table(region, raw, count, alignment, bitmap):
        if used and index == volume_index:
            if length <= 0 or offset + length > region.length:
                raise VmfsError(f"A physical extent lies outside of device {device + 1}.")
            runs.append(PhysicalRun(logical, length, device, offset))
    return _Header(raw[0x82:0x92], volume[0x54:0x68], devices, size, tuple(runs))


def _table(
    region: Region, header: bytes, count: int, alignment: int, bitmap: int
) -> Iterator[tuple[int, int, int, int, int]]:
    """(used, volume index, offset, logical offset, length) of every physical extent of the device."""
    maps, following = max(1, number("<I", header, 0xBE, "The LVM header")), number("<Q", header, 0xC2, "The LVM header")
    base, done, visited = HEADER, 0, {HEADER}
    while True:
        for index in range(min(maps, _MAPS_LIMIT)):
            entries = min(_EXTENTS_PER_MAP, count - done)
            start = base + alignment + _TABLES + index * (bitmap + _EXTENTS_PER_MAP * _EXTENT_ENTRY) + bitmap
            table = region.read(start, entries * _EXTENT_ENTRY)
            for at in range(0, len(table), _EXTENT_ENTRY):
                used, _, volume, offset, logical, length = unpack("<BIIQQQ", table, at, "The table of extents")
                yield used, volume, offset, logical, length
            done += entries
            if done == count:
                return
        if following == 0 or following in visited:
            raise VmfsError(f"The device's table of physical extents ends after {done} of {count}.")
        base = following
        visited.add(base)
        extension = region.read(base, 24)
        magic, maps, _, following = unpack("<IIQQ", extension, 0, "The LVM extension")
        if magic != MAGIC or not maps:
            raise VmfsError("The LVM extension is damaged.")


def _joined(runs: Sequence[PhysicalRun]) -> list[PhysicalRun]:
    joined: list[PhysicalRun] = []
    end = 0
    for run in runs:
        if run.logical != end:
            raise VmfsError(f"The logical volume has a gap or an overlap at {min(end, run.logical):#x}.")
        end += run.length
        last = joined[-1] if joined else None
        if last and last.device == run.device and last.offset + last.length == run.offset:
            joined[-1] = last._replace(length=last.length + run.length)
        else:
            joined.append(run)
    if not joined:
        raise VmfsError("The logical volume has no physical extents.")
    _check_disjoint(joined)
    return joined


def _check_disjoint(runs: Sequence[PhysicalRun]) -> None:
    ends: dict[int, int] = {}
    for run in sorted(runs, key=lambda run: (run.device, run.offset)):
        if run.offset < ends.get(run.device, 0):
            raise VmfsError("Two physical extents overlap.")
        ends[run.device] = run.offset + run.length
