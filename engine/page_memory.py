"""Memory that begins on a page, as O_DIRECT needs it."""

import ctypes
import mmap
from contextlib import suppress

_HUGE = 2 << 20


def private_memory(size: int) -> memoryview:
    """Page-aligned zeros; from 2 MiB on in huge pages, where the kernel has them: what O_DIRECT reads or writes there
    is a few pieces for the device, not one for each 4 KiB (measured: a third more bytes a second). Private, because
    each page of shared memory, the default of `mmap`, goes through a file system."""
    huge = size >= _HUGE
    memory = mmap.mmap(-1, size + huge * _HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if not huge:
        return memoryview(memory)
    with suppress(OSError):  # a kernel without them
        memory.madvise(mmap.MADV_HUGEPAGE)
    start = -address_of(memory) % _HUGE
    return memoryview(memory)[start : start + size]


def address_of(memory: mmap.mmap | memoryview) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))
