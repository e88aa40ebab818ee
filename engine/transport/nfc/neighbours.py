"""What the other workers of this proxy use of the hosts' NFC: one small file, changed under its lock.

Each process writes only its own row; rows of processes that have ended (of another boot, too) are dropped by whoever
reads them next. A file that can't be used costs the common count and nothing else: a backup does not fail by it.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.process_identity import ProcessIdentity

Use = dict[str, list[int]]
"""By host, the buffer bytes of each connection."""
_LARGEST = 1 << 20


class Neighbours:
    """Empty for every host while the file can't be used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._me = str(ProcessIdentity.mine())

    @contextmanager
    def held(self) -> Iterator["Rows"]:
        """The file under its lock: nobody else decides meanwhile."""
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            yield Rows({}, self._me)
            return
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            rows = Rows(_read(fd), self._me)
            yield rows
            _write(fd, rows.living())
        finally:
            with suppress(OSError):
                os.close(fd)


class Rows:
    def __init__(self, rows: Mapping[str, Use], me: str) -> None:
        self._rows, self._me = dict(rows), me

    def of(self, host: str) -> list[int]:
        """The connections of the others to this host."""
        return [size for who, use in self.living().items() if who != self._me for size in use.get(host, ())]

    def mine(self, use: Mapping[str, Sequence[int]]) -> None:
        self._rows[self._me] = {host: list(sizes) for host, sizes in use.items() if sizes}

    def living(self) -> dict[str, Use]:
        return {who: use for who, use in self._rows.items() if use and (who == self._me or _alive(who))}


def _alive(who: str) -> bool:
    identity = ProcessIdentity.parse(who)
    return identity is not None and identity.alive


def _read(fd: int) -> dict[str, Use]:
    """What is torn or foreign counts as nothing."""
    try:
        rows = json.loads(os.pread(fd, _LARGEST, 0) or b"{}")
        return {
            str(who): {str(host): [int(size) for size in sizes] for host, sizes in use.items()}
            for who, use in rows.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write(fd: int, rows: Mapping[str, Use]) -> None:
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps(rows).encode(), 0)
    except OSError:
        return  # a full disk: the others count less than there is
