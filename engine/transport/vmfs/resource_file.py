"""Resource files: the system files (.fdc.sf, .sbc.sf, .pbc.sf, ...) that hold descriptors, sub-blocks, pointer blocks.

Items lie in clusters, clusters in groups: first the headers (lock, bitmap) of all clusters of a group, then the items.
"""

from dataclasses import dataclass

from engine.errors import VmfsError
from engine.transport.vmfs.addresses import Resource
from engine.transport.vmfs.fields import unpack
from engine.transport.vmfs.file_descriptor import FileDescriptor

HEADER_BYTES = 0x58
_SIGNATURE = 0x72666D64  # "rfmd", VMFS-6


@dataclass(frozen=True)
class ResourceFile:
    name: str
    descriptor: FileDescriptor
    items_per_cluster: int
    clusters_per_group: int
    first_group: int
    item_size: int
    group_size: int
    cluster_header: int

    def locate(self, resource: Resource) -> int:
        """Offset of an item in the file. VmfsError when it has no such item."""
        cluster, item = resource
        group, within = divmod(cluster, self.clusters_per_group)
        offset = (
            self.first_group
            + group * self.group_size
            + self.clusters_per_group * self.cluster_header
            + (within * self.items_per_cluster + item) * self.item_size
        )
        if item >= self.items_per_cluster or offset + self.item_size > self.descriptor.length:
            raise VmfsError(f"{self.name} has no item {item} in cluster {cluster}.")
        return offset


def parse(
    name: str, descriptor: FileDescriptor, header: bytes, *, cluster_header: int, item_size: int, signed: bool
) -> ResourceFile:
    """`item_size`: what the items of this file must be, at the least."""
    items, clusters, first, size, group = unpack("<5I", header, 0, name)
    if signed and unpack("<I", header, 0x20, name)[0] != _SIGNATURE:
        raise VmfsError(f"{name} has no signature.")
    if not 0 < items <= 1 << 16 or not 0 < clusters <= 1 << 20 or not item_size <= size <= 1 << 20:
        raise VmfsError(f"The header of {name} is damaged.")
    if group < clusters * cluster_header:
        raise VmfsError(f"The header of {name} is damaged: its groups are smaller than their headers.")
    return ResourceFile(name, descriptor, items, clusters, first, size, group, cluster_header)
