"""Which disks of a VM were written in place, and when: `.restored.toml` beside the VM's points.

What was written that way went past the guest, and perhaps past its change tracking: no incremental may build on a point
that is older. The file is written before the first byte of the disk is, so that a restore that dies counts too.
"""

import os
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import tomli_w

from engine.errors import ImageError, TargetError
from engine.points.mount_point import fsync_directory

FILE_NAME = ".restored.toml"


def note(home: Path, key: int, at: datetime) -> None:
    """Remembers that the disk with this deviceKey is written from `at` on. On disk when this returns. Raises
    TargetError; ImageError when what is there can't be read."""
    known = {str(each): moment for each, moment in _read(home).items()} | {str(key): at.astimezone(UTC)}
    fresh = home / f"{FILE_NAME}.new"
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(tomli_w.dumps({"disk": known}).encode())
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(home / FILE_NAME)
        fsync_directory(home)
    except OSError as error:
        raise TargetError(
            f"{home / FILE_NAME} can't be written: {error.strerror}.", fault=type(error).__name__
        ) from None


def since(home: Path, key: int) -> datetime | None:
    """When the disk was last written in place; None if it never was. Raises ImageError for a file that can't be read:
    then nobody knows."""
    return _read(home).get(key)


def _read(home: Path) -> dict[int, datetime]:
    path = home / FILE_NAME
    try:
        shape = tomllib.loads(path.read_text())
        return {int(key): moment.astimezone(UTC) for key, moment in shape["disk"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, AttributeError) as error:
        why = getattr(error, "strerror", None) or error
        raise ImageError(f"{path} can't be read: {why}.", hint="Remove it; the next backup is then a full.") from None
