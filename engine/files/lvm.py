"""Logical volumes of LVM2: linear and striped ones, over all disks of a point. Read only.

The layout is that of lvm2's format_text (label in one of the first four sectors, physical volume header, metadata areas
with a ring of texts). libyal's libvslvm 20260901 is not used: it opens no volume group with one striped volume in it.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.errors import ImageError
from engine.extents import DiskSource
from engine.files import lvm_text
from engine.files.lvm_text import Section
from engine.files.region import StripedDisk, Stripes
from engine.image.sparse_header import SECTOR

_LABEL = struct.Struct("<8sQII8s")
_AREA = struct.Struct("<QQ")
_HEADER = struct.Struct("<I16sIQQ")
_LOCATION = struct.Struct("<QQII")
_MAGIC = b" LVM2 x[5A%r0N*>"
_SEED = 0xF597A6CF
_IGNORED = 1
_MOST_TEXT = 64 << 20
_MOST_AREAS = 16


@dataclass(frozen=True, slots=True)
class PhysicalVolume:
    """`text` is the newest description of the group in its own metadata areas; "" when it keeps none there."""

    disk: DiskSource
    uuid: str
    text: str


@dataclass(frozen=True, slots=True)
class LogicalVolume:
    """`disk` is None for one that can't be read, and `why` says the reason."""

    group: str
    name: str
    size: int
    disk: StripedDisk | None
    why: str = ""


@dataclass(slots=True)
class VolumeGroups:
    """What the physical volumes make; `findings` are sentences on what is wrong with them."""

    volumes: list[LogicalVolume] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)


def physical_volume(disk: DiskSource) -> PhysicalVolume:
    """What `disk` is as a physical volume. Raises `ImageError` when its label or header is damaged."""
    for sector in range(4):
        label = _read(disk, sector * SECTOR, SECTOR)
        mark, _, checksum, offset, kind = _LABEL.unpack_from(label)
        if mark == b"LABELONE":
            break
    else:
        raise ImageError("It has no label of LVM.")
    if kind != b"LVM2 001" or _crc(label[20:]) != checksum or not _LABEL.size <= offset <= SECTOR - 40:
        raise ImageError("Its label of LVM is damaged.")
    uuid = label[offset : offset + 32].decode("ascii", "replace")
    areas = iter(_areas(label, offset + 40))
    for _ in _until_zero(areas):  # where data may lie; the description of the group tells that better
        pass
    texts = [text for start, size in _until_zero(areas) if (text := _newest_text(disk, start, size))]
    return PhysicalVolume(disk, uuid, max(texts, key=_sequence, default=""))


def volume_groups(found: Sequence[PhysicalVolume]) -> VolumeGroups:
    """The logical volumes of all groups that these physical volumes hold. Never raises for what lies there."""
    made = VolumeGroups()
    newest: dict[str, tuple[int, str, Section]] = {}
    for each in found:
        try:
            name, group = _group(each.text) if each.text else ("", {})
        except ImageError as error:
            made.findings.append(f"{error.sentence} [{error.fault}]")
            continue
        if group and newest.get(group["id"], (-1,))[0] < group["seqno"]:
            newest[group["id"]] = group["seqno"], name, group
    known = {each.uuid: each for each in found}
    if len(known) < len(found):
        made.findings.append("LVM: two physical volumes bear the same identifier; one of them is left out.")
    for _, name, group in newest.values():
        try:
            made.volumes += _volumes(name, group, known)
        except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
            made.findings.append(f"LVM: the description of the group {name} does not fit together: {error!r}.")
    return made


def _read(disk: DiskSource, offset: int, length: int) -> bytes:
    if offset + length > disk.capacity:
        raise ImageError("Its metadata of LVM lies beyond its end.")
    buffer = bytearray(length)
    disk.read_into(offset, memoryview(buffer))
    return bytes(buffer)


def _crc(data: bytes) -> int:
    """lvm2's calc_crc: the usual polynomial with another seed and no inversion at the end."""
    return zlib.crc32(data, _SEED ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


def _areas(label: bytes, at: int) -> Iterator[tuple[int, int]]:
    while at + _AREA.size <= len(label):
        yield _AREA.unpack_from(label, at)
        at += _AREA.size


def _until_zero(areas: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    for count, (start, size) in enumerate(areas):
        if not start or count == _MOST_AREAS:
            return
        yield start, size


def _newest_text(disk: DiskSource, start: int, size: int) -> str:
    """The text that a metadata area points to; "" for none. Raises `ImageError` for a damaged one."""
    header = _read(disk, start, SECTOR)
    checksum, magic, _, mine, told = _HEADER.unpack_from(header)
    if magic != _MAGIC or _crc(header[4:]) != checksum or mine != start or not SECTOR < told <= size:
        raise ImageError("The header of its metadata of LVM is damaged.")
    offset, length, checksum, flags = _LOCATION.unpack_from(header, _HEADER.size)
    if not offset or not length or flags & _IGNORED:
        return ""
    if not SECTOR <= offset < told or length > min(told - SECTOR, _MOST_TEXT):
        raise ImageError("The header of its metadata of LVM points nowhere.")
    first = min(length, told - offset)
    text = _read(disk, start + offset, first) + _read(disk, start + SECTOR, length - first)  # a ring behind the header
    if _crc(text) != checksum:
        raise ImageError("Its metadata of LVM has a wrong checksum.")
    return text.rstrip(b"\0").decode("utf-8", "replace")


def _group(text: str) -> tuple[str, Section]:
    """Name and description. Raises `ImageError`."""
    for name, value in lvm_text.parse(text).items():
        if isinstance(value, dict) and isinstance(value.get("id"), str) and isinstance(value.get("seqno"), int):
            return name, value
    raise ImageError("The description of a volume group of LVM can't be read.", fault="it names no group")


def _sequence(text: str) -> int:
    try:
        return _group(text)[1]["seqno"]
    except ImageError:
        return -1


def _volumes(name: str, group: Section, known: dict[str, PhysicalVolume]) -> list[LogicalVolume]:
    extent = group["extent_size"] * SECTOR
    places: dict[str, tuple[DiskSource, int] | str] = {}
    for alias, told in group["physical_volumes"].items():
        found = known.get(told["id"].replace("-", ""))
        missing = f"It lies on a disk that the point does not hold ({told.get('device', alias)} of the guest)."
        places[alias] = (found.disk, told["pe_start"] * SECTOR) if found else missing
    shown = [(title, told) for title, told in group.get("logical_volumes", {}).items() if "VISIBLE" in told["status"]]
    return [_volume(name, title, told, extent, places) for title, told in shown]


def _volume(
    group: str, name: str, told: Section, extent: int, places: dict[str, tuple[DiskSource, int] | str]
) -> LogicalVolume:
    segments = [told[f"segment{number}"] for number in range(1, told["segment_count"] + 1)]
    size = sum(each["extent_count"] for each in segments) * extent
    strange = sorted({each["type"] for each in segments} - {"striped", "linear"})
    if strange:
        return LogicalVolume(group, name, size, None, f"vcb does not read LVM's volumes of the type {strange[0]}")
    runs, at = [], 0
    for each in sorted(segments, key=lambda each: each["start_extent"]):
        if each["start_extent"] * extent != at or each["extent_count"] <= 0:
            raise ValueError(f"the segments of {name} leave gaps")
        runs.append(_run(each, extent, places))
        at += runs[-1].length
    return LogicalVolume(group, name, size, StripedDisk(runs))


def _run(segment: Section, extent: int, places: dict[str, tuple[DiskSource, int] | str]) -> Stripes:
    told: list[Any] = segment["stripes"]
    length = segment["extent_count"] * extent
    width = segment.get("stripe_size", 0) * SECTOR if len(told) > 2 else length
    if width <= 0 or len(told) != 2 * segment["stripe_count"] or not told:
        raise ValueError("stripes that do not fit together")
    stripes: list[tuple[DiskSource, int] | str] = []
    for alias, first in zip(told[::2], told[1::2], strict=True):
        place = places[alias]
        stripes.append(place if isinstance(place, str) else (place[0], place[1] + first * extent))
    return Stripes(segment["start_extent"] * extent, length, tuple(stripes), width)
