"""How many processes share the tests, and what they needn't do again and again."""

import gc
import os

import pytest


def pytest_xdist_auto_num_workers() -> int:
    """Two for each core: a test waits about half of its time, for fsync, for a lab's clock, for a process."""
    return 2 * len(os.sched_getaffinity(0))


def pytest_itemcollected(item: pytest.Item) -> None:
    """A name made of a value of megabytes took a tenth of the run: it is translated, and sent to every process."""
    if len(item.nodeid) > 10_000:
        raise pytest.UsageError(f"{item.nodeid[:200]}...: its name has {len(item.nodeid):,} characters; give it an id")


def pytest_collection() -> None:
    """Nothing of what is imported now becomes garbage."""
    gc.disable()


def pytest_collection_finish() -> None:
    """The modules, a quarter of a million objects, are not walked again by each full collection."""
    gc.freeze()
    gc.enable()
