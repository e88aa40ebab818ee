"""NTFS and FAT: their attributes as modes, their times as those of Unix."""

import struct
from datetime import UTC, datetime
from typing import Any

from engine.cancel import CancelToken
from engine.extents import DiskSource
from engine.files.entry import Entry, Kind
from engine.files.libyal import JOURNAL, LibyalVolume

_READ_ONLY, _DIRECTORY, _REPARSE, _COMPRESSED, _ENCRYPTED = 0x1, 0x10, 0x400, 0x800, 0x4000
_RECORD = (1 << 48) - 1
"""Of a file reference: the number of the record in $MFT; the rest is its sequence number."""
_OWN_RECORDS = 24
"""The first records are NTFS's own: $MFT, $LogFile, $Extend ..."""
_WOF = "WofCompressedData"
"""The stream of a file that Windows compressed as part of the system; libfsntfs unpacks it."""
_TICKS_1601 = 11_644_473_600 * 10**7


def _mode(kind: Kind, attributes: int) -> int:
    mode = 0o755 if kind is Kind.DIRECTORY else 0o644
    return mode & 0o555 if attributes & _READ_ONLY and kind is not Kind.DIRECTORY else mode


class NtfsVolume(LibyalVolume):
    """A stream beside a file's own content is not taken, and that is remarked."""

    ignores_case = True
    remarks: tuple[str, ...] = (JOURNAL, "Owners and access lists of NTFS do not come out.")

    def __init__(self, disk: DiskSource, cancel: CancelToken) -> None:
        super().__init__("pyfsntfs", "NTFS", disk, cancel)

    def _label(self) -> str | None:
        return self._volume.get_name()

    def _hidden(self, child: Any, directory: Entry) -> bool:
        return not directory.name and child.get_file_reference() & _RECORD < _OWN_RECORDS

    def _tells_holes(self, file: Entry) -> bool:
        """Extents of compressed content tell what is stored, not where there is nothing."""
        return not file.handle.get_file_attribute_flags() & (_COMPRESSED | _REPARSE)

    def _entry(self, handle: Any, name: str, remark: str = "") -> Entry:
        attributes = handle.get_file_attribute_flags()
        kind = Kind.DIRECTORY if handle.has_directory_entries_index() else Kind.FILE
        streams = self._streams(handle)
        target, why = "", "it is encrypted by Windows (EFS)" if attributes & _ENCRYPTED and kind is Kind.FILE else ""
        if attributes & _REPARSE and _WOF not in streams:
            target = handle.get_symbolic_link_target() or ""
            if target:
                kind = Kind.SYMLINK
            elif kind is Kind.FILE or not handle.get_number_of_sub_file_entries():
                why = "it is a reparse point (a junction, or a deduplicated or cloud file): its content lies elsewhere"
        extra = [stream for stream in streams if stream != _WOF]
        if extra:
            remark = f"{remark} {len(extra)} alternate data stream(s) of it do not come out.".lstrip()
        return Entry(
            name,
            kind,
            size=handle.get_size() if kind is Kind.FILE else 0,
            mode=_mode(kind, attributes),
            modified=(handle.get_modification_time_as_integer() - _TICKS_1601) * 100,
            accessed=(handle.get_access_time_as_integer() - _TICKS_1601) * 100,
            target=target,
            identity=handle.get_file_reference(),
            unreadable=why,
            remark=remark,
            handle=handle,
        )

    @staticmethod
    def _streams(handle: Any) -> list[str]:
        count = handle.get_number_of_alternate_data_streams()
        return [handle.get_alternate_data_stream(index).name or "" for index in range(count)]


class FatVolume(LibyalVolume):
    """The times come from the entries of the directories themselves (Microsoft's FAT specification 1.03): libfsfat
    20260826 tells them a month late, and a day more in leap years. Its identifier is the place of the entry."""

    ignores_case = True
    remarks: tuple[str, ...] = (
        "FAT keeps times without a zone: they are taken for UTC. It knows no owners and no modes.",
    )

    def __init__(self, disk: DiskSource, cancel: CancelToken) -> None:
        super().__init__("pyfsfat", "FAT", disk, cancel)

    def _tells_holes(self, file: Entry) -> bool:
        return False

    def _entry(self, handle: Any, name: str, remark: str = "") -> Entry:
        if handle is self._root:
            return Entry(name, Kind.DIRECTORY, mode=0o755, handle=handle)
        attributes = handle.get_file_attribute_flags()
        kind = Kind.DIRECTORY if attributes & _DIRECTORY else Kind.FILE
        place = handle.get_identifier()
        self._file.seek(place)
        accessed, clock, day = struct.unpack("<18xH2xHH6x", self._file.read(32))
        return Entry(
            name,
            kind,
            size=handle.get_size() if kind is Kind.FILE else 0,
            mode=_mode(kind, attributes),
            modified=_time(day, clock),
            accessed=_time(accessed, 0) or _time(day, clock),
            identity=place,
            remark=remark,
            handle=handle,
        )


def _time(day: int, clock: int) -> int:
    """Nanoseconds since the epoch; the epoch for what is no date."""
    try:
        date = (1980 + (day >> 9), day >> 5 & 15, day & 31)
        moment = datetime(*date, clock >> 11, clock >> 5 & 63, 2 * (clock & 31), tzinfo=UTC)
    except ValueError:
        return 0
    return int(moment.timestamp()) * 10**9
