"""Foreign programs that check our work. Absent ones skip their tests loudly; with VCB_REQUIRE_TOOLS=1 they fail."""

import os
import shutil

import pytest


def require_tool(name: str) -> str:
    """Path of a program, or the end of the calling test: skipped, or failed where CI promised the program."""
    path = shutil.which(name)
    if path is None:
        if os.environ.get("VCB_REQUIRE_TOOLS") == "1":
            pytest.fail(f"{name} is not installed, and VCB_REQUIRE_TOOLS=1 promises it")
        pytest.skip(f"{name} is not on this machine")
    return path
