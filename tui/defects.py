"""A defect of the console itself: told in a sentence, its traceback in a file, nothing over the screen."""

import os
import traceback
from datetime import UTC, datetime
from pathlib import Path

from engine import __version__
from engine.secret import redact

_MOST = 1 << 20
"""Bytes after which the file starts anew: a defect that repeats must not fill the disk."""


def record(error: BaseException, path: Path) -> str:
    """Appends the traceback, without secrets, to a file of mode 0600; returns the sentence for the operator. Raises
    nothing: where the file cannot be written, the sentence says so."""
    text = redact("".join(traceback.format_exception(error)))
    kind = f"{type(error).__name__}: {redact(str(error)).splitlines()[0] if str(error) else 'no message'}"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = path.exists() and path.stat().st_size > _MOST
        flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if fresh else os.O_APPEND) | os.O_NOFOLLOW
        with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"--- {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} vcb-console {__version__}\n{text}\n")
    except OSError as trouble:
        return f"A defect of the console ({kind}); it could not be written to {path}: {trouble.strerror}."
    return f"A defect of the console ({kind}). The details are in {path}."
