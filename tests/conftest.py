"""How many processes share the tests."""

import os


def pytest_xdist_auto_num_workers() -> int:
    """Two for each core: a test waits about half of its time, for fsync, for a lab's clock, for a process."""
    return 2 * len(os.sched_getaffinity(0))
