"""A guest's files as a tar stream in the form of POSIX (pax), with owners, modes, times and links. Sparse files are in
the form 1.0 of GNU tar, which bsdtar and Python read too: a map of the data in front of it, and the holes left out."""

import io
import tarfile
from collections.abc import Iterator
from typing import IO

from engine.cancel import CancelToken
from engine.errors import ImageError, TargetError
from engine.extents import Extent, total
from engine.files.content import Meter, metered, pieces
from engine.files.entry import Entry, FileSystem, Kind
from engine.files.point_volumes import Volume
from engine.files.taken import Taken
from engine.files.walk import Names, Step, Walk
from engine.reporter import Reporter

_BLOCK = tarfile.BLOCKSIZE
_SECOND = 10**9
_TYPES = {Kind.FILE: tarfile.REGTYPE, Kind.DIRECTORY: tarfile.DIRTYPE, Kind.SYMLINK: tarfile.SYMTYPE}


def write_tar(
    system: FileSystem, start: Entry, stream: IO[bytes], *, volume: Volume, report: Reporter, cancel: CancelToken
) -> Taken:
    """`start`, and all below it, into the stream; the root of a volume by its content.

    A file that turns out damaged when its header is written already is filled with zeros and told. Raises `TargetError`
    when the reader of the stream has gone, `Cancelled`, and `ImageError` only when `start` itself can't be had.
    """
    if start.unreadable:
        raise ImageError(f"{start.name!r} can't be taken out: {start.unreadable}.")
    taken = Taken(remarks=system.remarks)
    try:
        with (
            metered(volume, report) as meter,
            tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT, bufsize=1 << 20) as archive,
        ):
            _Stream(system, taken, archive, meter, cancel).run(start)
        stream.flush()
    except OSError as error:
        raise TargetError(
            f"The tar stream can't be written: {error.strerror}.",
            fault=type(error).__name__,
            hint="Look at what standard output leads to: a program that has ended, or a file system without room.",
        ) from None
    taken.read = meter.read
    return taken


class _Stream:
    def __init__(
        self, system: FileSystem, taken: Taken, archive: tarfile.TarFile, meter: Meter, cancel: CancelToken
    ) -> None:
        self._system, self._taken, self._archive = system, taken, archive
        self._cancel, self._meter = cancel, meter
        self._linked: dict[int, str] = {}

    def run(self, start: Entry) -> None:
        top = (Names().give(start.name),) if start.name else ()
        for step, path, entry in Walk(self._system, start, self._taken.troubles):
            self._cancel.check()
            name = "/".join(top + path)
            if step is Step.LEAVE or not name:
                continue
            if entry.kind in (Kind.DEVICE, Kind.PIPE, Kind.SOCKET):
                self._taken.skipped.add(name, entry.kind.value)
                continue
            try:
                self._add(name, entry)
                self._taken.counts[entry.kind] += 1
            except ImageError as error:
                self._taken.troubles.add(name, f"{error.sentence} [{error.fault}]")

    def _add(self, name: str, entry: Entry) -> None:
        header = _header(name, entry)
        if entry.kind is not Kind.FILE:
            self._archive.addfile(header)
            return
        if entry.links > 1 and (first := self._linked.get(entry.identity)):
            header.type, header.linkname, header.size = tarfile.LNKTYPE, first, 0
            self._archive.addfile(header)
            return
        extents = list(self._system.data(entry))
        prefix = b""
        if total(extents) < entry.size:
            prefix = _map(extents, entry.size)
            _make_sparse(header, entry.size, len(prefix) + total(extents))
        content = pieces(self._system, entry, extents)
        first_piece = next(content, (0, b""))  # a file of which nothing can be read leaves no trace in the stream
        self._archive.addfile(header, _Content(self, name, prefix + first_piece[1], content))
        self.count(len(first_piece[1]))
        if entry.links > 1:
            self._linked[entry.identity] = name

    def damaged(self, name: str, error: ImageError) -> None:
        """A file whose header is written."""
        text = f"{error.sentence} [{error.fault}] It has zeros from there on."
        self._taken.troubles.add(name, text)

    def count(self, length: int) -> None:
        self._cancel.check()
        self._meter.add(length)


class _Content(io.RawIOBase):
    """What stands behind a header, for tarfile to copy: it asks for no more than the header told."""

    def __init__(self, stream: _Stream, name: str, first: bytes, rest: Iterator[tuple[int, bytes]]) -> None:
        super().__init__()
        self._stream, self._name, self._rest = stream, name, rest
        self._left = memoryview(first)
        self._broken = False

    def read(self, size: int = -1) -> bytes:
        found: list[bytes] = []
        while size > 0:
            if not self._left and not self._more():
                found.append(bytes(size))
                break
            piece = bytes(self._left[:size])
            self._left = self._left[len(piece) :]
            found.append(piece)
            size -= len(piece)
        return b"".join(found)

    def _more(self) -> bool:
        if not self._broken:
            try:
                self._left = memoryview(next(self._rest, (0, b""))[1])
            except ImageError as error:
                self._broken = True
                self._stream.damaged(self._name, error)
                return False
            self._stream.count(len(self._left))
        return bool(self._left)


def _header(name: str, entry: Entry) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.type = _TYPES[entry.kind]
    header.size, header.mode = entry.size, entry.mode
    header.uid, header.gid = entry.owner, entry.group
    header.mtime = entry.modified // _SECOND
    header.linkname = entry.target
    seconds, rest = divmod(entry.modified, _SECOND)
    if rest or seconds < 0:
        header.mtime = max(seconds, 0)
        exact = f"{seconds}.{rest:09d}" if seconds >= 0 else f"{entry.modified / _SECOND:.9f}"
        header.pax_headers = {"mtime": exact}
    return header


def _map(extents: list[Extent], size: int) -> bytes:
    """Count, then offset and length of each run of data, a decimal number a line, filled up to whole blocks; a hole at
    the end is told by an empty run there."""
    runs = [(each.start, each.length) for each in extents]
    if not extents or extents[-1].end < size:
        runs.append((size, 0))
    text = "".join(f"{number}\n" for number in (len(runs), *(part for run in runs for part in run))).encode()
    return text + bytes(-len(text) % _BLOCK)


def _make_sparse(header: tarfile.TarInfo, size: int, stored: int) -> None:
    """See "Storing Sparse Files" in GNU tar's manual; what does not know the form sees its own name of it."""
    directory, _, name = header.name.rpartition("/")
    header.pax_headers = {
        **header.pax_headers,
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": header.name,
        "GNU.sparse.realsize": str(size),
    }
    header.name = f"{directory}/GNUSparseFile.0/{name}".lstrip("/")
    header.size = stored
