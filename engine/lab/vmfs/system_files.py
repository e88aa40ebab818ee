"""The volume's own files: the superblock, and which resources are taken."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from engine.lab.vmfs.allocation import Numbers
from engine.lab.vmfs.form import (
    BLOCK,
    DESCRIPTORS,
    LARGE_BLOCK,
    POINTER_BLOCKS,
    SUB_BLOCKS,
    Form,
)
from engine.lab.vmfs.lvm import Group

_CLUSTER_MAGIC = {DESCRIPTORS: 0x10C00005, SUB_BLOCKS: 0x10C00003, POINTER_BLOCKS: 0x10C00004}
_FIRST_GROUP = 0x10000


def superblock(form: Form, group: Group, label: str) -> bytes:
    block = bytearray(512)
    configuration = 4 if form.dense or form.wide else 0
    struct.pack_into(
        "<IIB16sI128sIQIII16s", block, 0, 0x2FABF15E, form.major, form.minor, group.volume, configuration,
        label.encode(), 512, BLOCK, group.seconds, 0, 0, b"",
    )  # fmt: skip
    block[0xB1 : 0xB1 + 16] = group.volume
    pools = form.pools
    struct.pack_into("<III", block, 0xD1, _FIRST_GROUP, pools[DESCRIPTORS].clusters, pools[SUB_BLOCKS].size)
    if form.wide:
        struct.pack_into("<IIHHHHHH", block, 0x130, 512, form.alignment, 9, 0, 0, 13, 31, 0)
    return bytes(block)


def bitmaps(form: Form, pool: int, given: int, place: Callable[[int], int]) -> Iterator[tuple[int, bytes]]:
    """(offset in the resource file, bytes): its header, and a header with a bitmap for each cluster. `place` gives the
    offset in the volume of a byte of the file, which a cluster's lock names."""
    items = form.pools[pool]
    group = items.clusters * form.cluster_header + items.capacity * items.size
    yield 0, _header(form, items.items, items.clusters, items.size, group, items.capacity)
    for cluster in range(items.clusters):
        used = max(0, min(items.items, given - cluster * items.items))
        free = (1 << items.items) - 1 ^ (1 << used) - 1
        offset = _FIRST_GROUP + cluster * form.cluster_header
        magic = _CLUSTER_MAGIC.get(pool, 0x10C00006)
        yield offset, _cluster(form, magic, place(offset), cluster, items.items, used, free)


def file_block_file(form: Form, blocks: Numbers) -> tuple[int, bytes]:
    """(0, the whole of .fbb.sf). VMFS-6: a header of the large blocks and, as its child, one of the small ones; their
    bitmaps are left out."""
    total = blocks.capacity
    if form.wide:
        clusters = -(-total // 512)
        parent = _header(form, 16, 1, 0, form.cluster_header, -(-total * BLOCK // LARGE_BLOCK), child=0x1000)
        child = _header(form, 512, clusters, 0, clusters * form.cluster_header, total)
        return 0, (parent.ljust(0x1000, b"\0") + child).ljust(BLOCK, b"\0")
    items = 200
    clusters = -(-total // items)
    header = _header(form, items, clusters, 0, clusters * form.cluster_header, total)
    data = bytearray(header.ljust(_FIRST_GROUP, b"\0"))
    for cluster in range(clusters):
        count = min(items, total - cluster * items)
        used = max(0, min(count, blocks.given - cluster * items))
        free = (1 << count) - 1 ^ (1 << used) - 1
        data += _cluster(form, 0x10C00002, 0, cluster, count, used, free)
    return 0, bytes(data)


def _header(form: Form, items: int, clusters: int, size: int, group: int, total: int, child: int = 0) -> bytes:  # noqa: PLR0917
    header = struct.pack("<8I", items, clusters, _FIRST_GROUP, size, group, total, 1, 0)
    if form.wide:
        header += struct.pack("<III", 0x72666D64, 1, 0) + struct.pack("<HHII", 0, 0, 1, child)
    return header.ljust(0x58, b"\0")


def _cluster(form: Form, magic: int, offset: int, cluster: int, count: int, used: int, free: int) -> bytes:  # noqa: PLR0917
    lock = struct.pack("<IQ", magic, offset).ljust(form.alignment, b"\0")
    meta = struct.pack("<IIII", cluster, count, count - used, used) + free.to_bytes(form.alignment - 16, "little")
    return lock + meta
