"""What the console remembers from one run to the next: theme, focus, sizes, what each pane asked to keep.

The file is a convenience and nothing else: one that is torn, foreign or unwritable costs the operator his sizes, never
the console. It is written a moment after each change, since a lost terminal leaves no time to write at the end.
"""

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import msgspec

_VERSION = 1
_MOST = 4 << 20
"""Bytes of a file that is read at all."""

INVENTORY_SHARE, LOG_SHARE = 0.4, 0.38


class UiState(msgspec.Struct):
    """`inventory_share` of the width, `log_share` of the height; `panes` by pane id."""

    theme: str = ""
    focus: str = "inventory"
    inventory_share: float = INVENTORY_SHARE
    log_share: float = LOG_SHARE
    welcomed: bool = False
    panes: dict[str, dict[str, Any]] = {}

    @classmethod
    def read(cls, path: Path) -> "UiState":
        """What the file has of sense; the defaults for all else."""
        state = cls()
        try:
            with path.open("rb") as file:
                content = json.loads(file.read(_MOST))
        except (OSError, ValueError, RecursionError):
            return state
        if not isinstance(content, dict) or content.get("version") != _VERSION:
            return state
        for name in cls.__struct_fields__:
            before, value = getattr(state, name), content.get(name)
            if isinstance(value, type(before)):
                setattr(state, name, value)
        state.panes = {pane_id: pane for pane_id, pane in state.panes.items() if isinstance(pane, dict)}
        state.inventory_share = _within(state.inventory_share)
        state.log_share = _within(state.log_share)
        return state

    def write(self, path: Path) -> None:
        """Whole or not at all, for the owner only. Raises OSError."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        content = json.dumps({"version": _VERSION, **msgspec.structs.asdict(self)}, indent=1, ensure_ascii=False)
        number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600 from the first byte on
        try:
            with os.fdopen(number, "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(content + "\n")
            Path(name).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise


def _within(share: float) -> float:
    """A share that leaves both sides something; NaN is the middle."""
    return min(0.8, max(0.2, share)) if share == share else 0.5  # noqa: PLR0124 - only NaN differs from itself
