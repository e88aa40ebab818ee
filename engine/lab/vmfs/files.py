"""A file of the volume: its descriptor, and the tree of addresses below it."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from engine.lab.vmfs.form import BLOCK, Form

DIRECTORY, REGULAR, SYSTEM, RAW_DEVICE_MAP = 2, 3, 5, 6
FILE_BLOCKS, SUB_BLOCKS, POINTER_BLOCKS, DOUBLE_POINTER_BLOCKS, RESIDENT = 1, 2, 3, 0x10D0, 0x10D1
LEVELS = {FILE_BLOCKS: 0, SUB_BLOCKS: 0, POINTER_BLOCKS: 1, DOUBLE_POINTER_BLOCKS: 2, RESIDENT: 0}


@dataclass
class File:
    """`unit`: bytes that one address stands for. `addresses`: slot -> block address, of all but holes.

    `tables`: (level, first slot) -> the address of a pointer block; level 1 holds addresses of file blocks."""

    number: int
    type: int
    length: int
    addressing: int
    unit: int = BLOCK
    resident: bytes = b""
    links: int = 1
    mode: int = 0o600
    zeroed: int = 0
    blocks: int = 0
    addresses: dict[int, int] = field(default_factory=dict)
    top: dict[int, int] = field(default_factory=dict)
    tables: dict[tuple[int, int], int] = field(default_factory=dict)

    @property
    def slots(self) -> int:
        return -(-self.length // self.unit)

    @property
    def levels(self) -> int:
        return LEVELS[self.addressing]


def addressing_of(form: Form, slots: int) -> int:
    """The flattest way to address so many blocks."""
    if slots <= form.direct:
        return FILE_BLOCKS
    return POINTER_BLOCKS if slots <= form.direct * form.pointers_per_block else DOUBLE_POINTER_BLOCKS


def descriptor(form: Form, file: File, offset: int, seconds: int) -> bytes:
    """The file's descriptor, which lies at `offset` in the volume."""
    shift = file.unit.bit_length() - 1
    lock = struct.pack("<IQ", 0x10C00001, offset).ljust(form.alignment, b"\0")
    meta = bytearray(512)
    struct.pack_into("<IIIII", meta, 0, form.descriptor(file.number), 1, file.links, file.type, 0)
    struct.pack_into("<QQQ", meta, 0x14, file.length, file.unit, file.blocks)
    struct.pack_into("<IIIIIIII", meta, 0x2C, *[seconds] * 3, 0, 0, file.mode, file.addressing, file.zeroed)
    if form.wide:
        struct.pack_into("<I", meta, 0x64, 0x66646D64)
        struct.pack_into("<I", meta, 0x6C, shift)
    if form.version > 3:
        meta[0x89] = shift
    body = bytearray(form.descriptor_size - form.alignment - 512)
    body[: len(file.resident)] = file.resident
    at = pointers_at(form) - form.alignment - 512
    for index, address in file.top.items():
        struct.pack_into(f"<{form.pointer_code}", body, at + index * form.pointer_size, address)
    return lock + meta + body


def pointers_at(form: Form) -> int:
    """Offset of the addresses in a descriptor: at the end in VMFS-6, behind the metadata before."""
    return form.descriptor_size - form.direct * form.pointer_size if form.wide else 1024


BLOCKS_AT = 0x24
"""Offset in the metadata (behind the lock) of the number of blocks."""
