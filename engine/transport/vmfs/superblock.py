"""The file system's header, 2 MiB into the volume, and the sizes that follow from it for each version."""

from dataclasses import dataclass

from engine.errors import VmfsError
from engine.transport.vmfs.fields import number, unpack, uuid_text

OFFSET = 0x200000
_MAGICS = (0x2FABF15E, 0x2FABF15F)  # VMFS and VMFS-L
_DENSE = 4
_VMFS6 = 24  # major version on disk; VMFS-5 is 14, VMFS-3 is 3; a VMFS-5 that was upgraded has 14 too


@dataclass(frozen=True)
class Superblock:
    """Sizes in bytes."""

    major: int
    minor: int
    uuid: str
    """As HostVmfsVolume.uuid."""
    label: str
    block_size: int
    sub_block_size: int
    dense: bool
    """Sub-block addresses of VMFS-5 have two more bits (DenseSBPerCluster)."""
    alignment: int
    """Of metadata: 512 up to VMFS-5."""
    large_block_size: int
    """0 where the version has none."""
    descriptors_at: int
    """Offset in the volume of the first cluster's file descriptors: those of the system files."""
    second_pointer_file: int
    """VMFS-5: offset in the volume of the descriptor of .pb2.sf, 0 without one."""

    @property
    def vmfs6(self) -> bool:
        return self.major >= _VMFS6

    @property
    def version(self) -> int:
        """3, 5 or 6, as vCenter counts."""
        if self.vmfs6:
            return 6
        return 5 if self.major >= 14 else 3

    @property
    def cluster_header(self) -> int:
        """Lock and bitmap before the resources of a cluster."""
        return 2 * self.alignment

    @property
    def descriptor_size(self) -> int:
        return 2 * self.alignment if self.vmfs6 else 2048

    @property
    def pointer_type(self) -> str:
        """array type code of a block address."""
        return "Q" if self.vmfs6 else "I"

    @property
    def pointer_size(self) -> int:
        return 8 if self.vmfs6 else 4

    @property
    def pointers_per_block(self) -> int:
        if not self.vmfs6:
            return 1024
        return 8192 if self.alignment < 65536 else self.alignment >> 3


def parse(block: bytes) -> Superblock:
    """From the 512 bytes at OFFSET of the volume."""
    what = "The VMFS superblock"
    magic, major, minor = unpack("<IIB", block, 0, what)
    if magic not in _MAGICS:
        raise VmfsError("The volume has no VMFS superblock.")
    if major not in (3, 14, _VMFS6):
        raise VmfsError(f"VMFS with major version {major} on disk is not known.")
    vmfs6 = major >= _VMFS6
    configuration, block_size = number("<I", block, 0x19, what), number("<Q", block, 0xA1, what)
    group_offset, clusters, sub_block = unpack("<III", block, 0xD1, what)
    alignment = number("<I", block, 0x134, what) if vmfs6 else 512
    shift = number("<H", block, 0x138, what) if vmfs6 else 0
    if block_size not in (1 << 20, 2 << 20, 4 << 20, 8 << 20):
        raise VmfsError(f"A VMFS block size of {block_size:,} bytes is not known.")
    if alignment not in (512, 4096, 65536) or shift > 12 or not 0 < clusters <= 1 << 16:
        raise VmfsError("The VMFS superblock is damaged.")
    if not 512 <= sub_block <= 1 << 20 or sub_block & (sub_block - 1):
        raise VmfsError(f"A VMFS sub-block size of {sub_block:,} bytes is not known.")
    base = ((alignment << 10) + 0x3FFFFF) & ~0xFFFFF if vmfs6 else -(-(4 << 20) // block_size) * block_size
    return Superblock(
        major=major,
        minor=minor,
        uuid=uuid_text(block[9:25]),
        label=block[0x1D:0x9D].split(b"\0")[0].decode("utf-8", "replace"),
        block_size=block_size,
        sub_block_size=sub_block,
        dense=bool(configuration & _DENSE),
        alignment=alignment,
        large_block_size=block_size << shift if vmfs6 else 0,
        descriptors_at=base + group_offset + clusters * 2 * alignment,
        second_pointer_file=0 if vmfs6 else number("<Q", block, 0xE1, what),
    )
