"""What lies on a disk or in a partition, told by the signatures that the kernel's own probes look for."""

from engine.extents import DiskSource, Extent, intersection
from engine.image.sparse_header import GRAIN, SECTOR

EXT, XFS, NTFS, FAT, SWAP = "ext", "xfs", "ntfs", "fat", "swap"
EMPTY, UNKNOWN = "empty", "unknown"

_HEAD = 128 << 10
_SIGNATURES: tuple[tuple[str, int, bytes], ...] = (
    ("luks", 0, b"LUKS\xba\xbe"),
    *(
        ("lvm", sector * SECTOR, b"LABELONE") for sector in range(4)
    ),  # a physical volume's label: in one of four sectors
    ("bitlocker", 3, b"-FVE-FS-"),
    (NTFS, 3, b"NTFS    "),
    ("exfat", 3, b"EXFAT   "),
    ("refs", 3, b"ReFS\0\0\0\0"),
    (XFS, 0, b"XFSB"),
    ("btrfs", 65536 + 64, b"_BHRfS_M"),
    *((SWAP, page - 10, b"SWAPSPACE2") for page in (4096, 8192, 16384, 65536)),
    ("md", 0, b"\xfc\x4e\x2b\xa9"),
    ("md", 4096, b"\xfc\x4e\x2b\xa9"),
    (EXT, 1024 + 56, b"\x53\xef"),
    (FAT, 54, b"FAT12   "),
    (FAT, 54, b"FAT16   "),
    (FAT, 82, b"FAT32   "),
)
"""Kind, offset and bytes; what encloses other kinds first."""
TITLES = {
    EXT: "ext2/3/4", XFS: "XFS", NTFS: "NTFS", FAT: "FAT", SWAP: "swap", "luks": "LUKS", "lvm": "LVM",
    "bitlocker": "BitLocker", "exfat": "exFAT", "refs": "ReFS", "btrfs": "Btrfs", "md": "Linux RAID",
    EMPTY: "empty", UNKNOWN: "unknown content",
}  # fmt: skip
"""The kinds as an operator names them."""


def identify(disk: DiskSource, place: Extent) -> str:
    """One of the kinds of `TITLES`; empty when there are only zeros. Raises what the disk's reads raise."""
    kind = signed(disk, place)
    return EMPTY if kind == UNKNOWN and not _any_data(disk, place) else kind


def signed(disk: DiskSource, place: Extent) -> str:
    """As `identify`, by the first bytes alone: what is empty is unknown, and nothing is searched for content."""
    head = bytearray(min(_HEAD, place.length))
    disk.read_into(place.start, memoryview(head))
    return next((kind for kind, offset, sign in _SIGNATURES if head.startswith(sign, offset)), UNKNOWN)


def _any_data(disk: DiskSource, place: Extent) -> bool:
    buffer = bytearray(GRAIN)
    for extent in intersection(disk.allocated(), [place]):
        for start in range(extent.start, extent.end, GRAIN):
            length = min(GRAIN, extent.end - start)
            disk.read_into(start, memoryview(buffer)[:length])
            if buffer.count(0, 0, length) != length:
                return True
    return False
