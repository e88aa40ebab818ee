"""ext2, ext3, ext4 and XFS."""

import stat
import struct
from typing import Any

from engine.cancel import CancelToken
from engine.extents import DiskSource
from engine.files.entry import Entry, Kind
from engine.files.libyal import JOURNAL, LibyalVolume

_KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFCHR: Kind.DEVICE,
    stat.S_IFBLK: Kind.DEVICE,
    stat.S_IFIFO: Kind.PIPE,
    stat.S_IFSOCK: Kind.SOCKET,
}
_NEEDS_RECOVERY, _ENCRYPT = 0x4, 0x10000


class UnixVolume(LibyalVolume):
    """Modes, owners and links are those of the inodes."""

    def _entry(self, handle: Any, name: str, remark: str = "") -> Entry:
        mode = handle.get_file_mode()
        kind = _KINDS.get(stat.S_IFMT(mode), Kind.UNKNOWN)
        return Entry(
            name,
            kind,
            size=handle.get_size() if kind is Kind.FILE else 0,
            mode=stat.S_IMODE(mode),
            owner=handle.get_owner_identifier(),
            group=handle.get_group_identifier(),
            modified=handle.get_modification_time_as_integer(),
            accessed=handle.get_access_time_as_integer(),
            target=(handle.get_symbolic_link_target() or "") if kind is Kind.SYMLINK else "",
            identity=handle.get_inode_number(),
            links=handle.get_number_of_links(),
            unreadable="its kind is none that is known" if kind is Kind.UNKNOWN else "",
            remark=remark,
            handle=handle,
        )


class ExtVolume(UnixVolume):
    """The incompatible features: at byte 96 of the superblock."""

    def __init__(self, disk: DiskSource, cancel: CancelToken) -> None:
        super().__init__("pyfsext", "ext", disk, cancel)
        with self._file.reading("The superblock"):
            self._file.seek(1024 + 96)
            (features,) = struct.unpack("<I", self._file.read(4))
        self.remarks = (JOURNAL,) if features & _NEEDS_RECOVERY else ()
        if features & _ENCRYPT:
            self.remarks += ("Directories that the guest encrypts (fscrypt) come out encrypted, names and contents.",)


class XfsVolume(UnixVolume):
    remarks: tuple[str, ...] = (JOURNAL,)

    def __init__(self, disk: DiskSource, cancel: CancelToken) -> None:
        super().__init__("pyfsxfs", "XFS", disk, cancel)
