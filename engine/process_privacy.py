"""What a process that knows a password does before it reads one: from then on its memory is nobody's but root's."""

import ctypes
import resource

_SET_DUMPABLE = 4  # linux/prctl.h


def keep_memory_private() -> None:
    """No core file, whatever ends the process; and no other process of the same user reads its memory or environment
    (gcore, a debugger, /proc). A limit alone would not do: where core_pattern names a program, the kernel hands it the
    core all the same (core(5)). A program that is started from here on begins without."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    ctypes.CDLL(None).prctl(_SET_DUMPABLE, 0, 0, 0, 0)
