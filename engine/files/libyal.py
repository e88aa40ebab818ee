"""The libyal readers of file systems (LGPL; extra `files`), which work on any file object and write nothing."""

import re
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

from engine.cancel import CancelToken
from engine.errors import ConfigError, ImageError
from engine.extents import DiskSource, Extent, intersection, merged
from engine.files.disk_file import DiskFile
from engine.files.entry import Entry, Kind

_SPARSE = 1
"""Flag of an extent that lies nowhere on the disk."""
_MOST_EXTENTS = 1 << 20
JOURNAL = "Its journal is not replayed: what the guest had not yet written in place is missing, or is older."


def reader(module: str) -> Any:
    """One of libyal's modules. Raises `ConfigError` when it is not installed."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"Looking at files inside a point needs libyal's readers; {module} is not installed.",
            hint="pip install 'vcb-console[files]'",
            fault="" if isinstance(error, ModuleNotFoundError) else str(error),
        ) from None


class LibyalVolume:
    """What the readers of all kinds have in common; a subclass tells what an entry of its kind is."""

    ignores_case = False
    remarks: tuple[str, ...] = ()

    def __init__(self, module: str, title: str, disk: DiskSource, cancel: CancelToken) -> None:
        """Raises `ConfigError` without the module, `ImageError` when there is no such file system."""
        self._title = title
        self._file = DiskFile(disk, cancel)
        self._volume = reader(module).volume()
        with self._file.reading(f"The {title} file system"):
            self._volume.open_file_object(self._file)
            self.label = self._label() or ""
            self._root = self._volume.get_root_directory()
            if self._root is None:
                raise ImageError(f"The {title} file system has no root directory: it is damaged.")

    def root(self) -> Entry:
        with self._file.reading("The root directory"):
            return self._entry(self._root, "")

    def children(self, directory: Entry) -> Iterator[Entry]:
        handle = directory.handle
        what = f"The directory {directory.name!r}" if directory.name else "The root directory"
        with self._file.reading(what):
            count = handle.get_number_of_sub_file_entries()
        for index in range(count):
            try:
                with self._file.reading("The entry"):
                    child = handle.get_sub_file_entry(index)
                    if self._hidden(child, directory):
                        continue
                    name, remark = self._name(child, index)
                    entry = self._entry(child, name, remark)
            except ImageError as error:
                why = f"its entry in the directory is damaged [{error.fault}]"
                entry = Entry(f"entry-{index}", Kind.UNKNOWN, unreadable=why)
            yield entry

    def read(self, file: Entry, offset: int, length: int) -> bytes:
        with self._file.reading(f"The file {file.name!r}"):
            pieces: list[bytes] = []
            while length:
                piece = file.handle.read_buffer_at_offset(length, offset)
                if not piece:
                    raise ImageError(f"The file {file.name!r} ends at byte {offset:,} of {file.size:,}: it is damaged.")
                pieces.append(piece)
                offset, length = offset + len(piece), length - len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def data(self, file: Entry) -> Sequence[Extent]:
        whole = [Extent(0, file.size)] if file.size else []
        found: list[Extent] = []
        at = 0
        with self._file.reading(f"The map of the file {file.name!r}"):
            if not whole or not self._tells_holes(file):
                return whole
            count = file.handle.get_number_of_extents()
            if not count or count > _MOST_EXTENTS:
                return whole
            for index in range(count):
                _, length, flags = file.handle.get_extent(index)
                if length > 0 and not flags & _SPARSE:
                    found.append(Extent(at, length))
                at += length
        if at < file.size:  # not told: it is read
            found.append(Extent(at, file.size - at))
        return intersection(merged(found), whole)

    def _label(self) -> str | None:
        return self._volume.get_label()

    def _hidden(self, child: Any, directory: Entry) -> bool:
        return False

    def _name(self, child: Any, index: int) -> tuple[str, str]:
        """The name, and a remark when it is another than the guest's."""
        try:
            name = child.get_name()
        except OSError:
            if self._file.failure is not None:
                raise
            name = None
        if name:
            clean = re.sub("[\ud800-\udfff]", "�", name)
            return (
                clean,
                "" if clean == name else "Its name is no valid text; it is shown here with replaced characters.",
            )
        return f"unreadable-name-{index}", "Its name is no UTF-8 and can't be read; the one here is made up."

    def _tells_holes(self, file: Entry) -> bool:
        return True

    def _entry(self, handle: Any, name: str, remark: str = "") -> Entry:
        raise NotImplementedError
