"""What a directory's file holds."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from engine.lab.vmfs.form import SYSTEM_NAMES, Form

_M64 = (1 << 64) - 1
_HEADER = 0x10000
_TABLE, _SLOTS, _RESERVED = 0x5F8, 16001, 28
_SYSTEM_SLOTS = {name: 0x3E65 + number for number, name in SYSTEM_NAMES.items()}
_BLOCK, _ENTRY, _BLOCK_HEADER = 4096, 288, 64
_PER_BLOCK = (_BLOCK - _BLOCK_HEADER) // _ENTRY


class Entry(NamedTuple):
    name: str
    address: int
    type: int


def contents(form: Form, own: int, parent: int, entries: Sequence[Entry], *, root: bool) -> bytes:
    """own, parent: descriptor addresses of the directory and of the one above."""
    if form.wide:
        return _contents6(own, parent, entries, root=root)
    rows = [Entry(".", own, 2), Entry("..", parent, 2), *entries]
    return b"".join(struct.pack("<III128s", e.type, e.address, 1, e.name.encode()) for e in rows)


def _contents6(own: int, parent: int, entries: Sequence[Entry], *, root: bool) -> bytes:
    """A header with a hash table of names, a map of the blocks, then blocks of entries. Of names that hash alike only
    the first is in the table (ESXi would chain them through a block of links); a listing shows them all."""
    chunks = [entries[at : at + _PER_BLOCK] for at in range(0, len(entries), _PER_BLOCK)] or [[]]
    header = bytearray(_HEADER)
    struct.pack_into("<IIIII", header, 0, 0xF50001, len(entries) + 2, len(entries) + 2, 1, 0)
    header[0x3B8 : 0x3B8 + _ENTRY] = _entry6(Entry(".", own, 2))
    header[0x4D8 : 0x4D8 + _ENTRY] = _entry6(Entry("..", parent, 2))
    states = bytearray(b"\xcc" * (_BLOCK - _BLOCK_HEADER))  # 0xC: free, never written
    for index, state in enumerate([3] + [1] * len(chunks)):
        high = index % 2 == 0
        states[index // 2] = states[index // 2] & (0x0F if high else 0xF0) | (state << 4 if high else state)
    blocks = [struct.pack("<HHHH56s", 1, 3, 0, 0, b"") + bytes(states)]
    for number, chunk in enumerate(chunks, start=1):
        free = (1 << _PER_BLOCK) - 1 ^ (1 << len(chunk)) - 1
        block = struct.pack("<HHHH56s", 1, 1, _PER_BLOCK, _PER_BLOCK - len(chunk), free.to_bytes(56, "little"))
        for slot, entry in enumerate(chunk):
            hashed = name_hash(entry.name)
            own_slot = _SYSTEM_SLOTS.get(entry.name) if root else None
            index = hashed % (_SLOTS - _RESERVED if root else _SLOTS) if own_slot is None else own_slot
            at = _TABLE + index * 4
            if not any(header[at : at + 4]):
                struct.pack_into("<I", header, at, 1 | number << 2 | slot << 24)
            block += _entry6(entry, index, hashed >> 16 & 0xFFFF)
        blocks.append(block.ljust(_BLOCK, b"\0"))
    return bytes(header) + b"".join(blocks)


def _entry6(entry: Entry, index: int = 0, link: int = 0) -> bytes:
    return struct.pack("<IIIHHQ256sQ", entry.type, entry.address, 1, index, link, 0, entry.name.encode(), 0)


def name_hash(name: str) -> int:
    """Bob Jenkins' lookup8 over 32 words, the name padded as ESXi pads it."""
    raw = name.encode()
    key = bytearray(256)
    key[: len(raw)] = raw
    for at in range((len(raw) + 8) & 0xFFF8, 127, 8):
        key[at : at + 8] = (0x739A75C28E61B017).to_bytes(8, "little")
    words = struct.unpack("<32Q", key)
    a = b = 42
    c = 0x9E3779B97F4A7C13
    for at in range(0, 30, 3):
        a, b, c = _mix(a + words[at], b + words[at + 1], c + words[at + 2])
    return _mix(a + words[30], b + words[31], c + 32)[2]


def _mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    a, b, c = a & _M64, b & _M64, c & _M64
    for first, second, third in ((43, 9, 8), (38, 23, 5), (35, 49, 11), (12, 18, 22)):
        a = (a - b - c ^ c >> first) & _M64
        b = (b - c - a ^ a << second) & _M64
        c = (c - a - b ^ b >> third) & _M64
    return a, b, c
