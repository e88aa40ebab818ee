"""What was read of the manifests under one BACKUPROOT, in SQLite. Losing it costs one reading of them all."""

import hashlib
import sqlite3
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType

import msgspec

from engine.points.manifest import Manifest
from engine.points.proof import Proof

_VERSION = 2
"""Counts up when `Seen`, `Manifest` or `Proof` change; a file of another version is made anew."""
_PATIENCE = 10.0


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One point as it was read. `stamp` tells whether its files were touched since, `digest` is the manifest's
    SHA-256, `unproven` why its proof counts for nothing."""

    stamp: str
    digest: str
    manifest: Manifest
    proof: Proof | None
    unproven: str


class CatalogCache:
    """A context manager. A file that is damaged, or of another version, is replaced; where none can be had (read-only,
    full or locked), an empty one in memory serves, and everything is read again."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    @classmethod
    def open(cls, directory: Path, root: Path) -> "CatalogCache":
        path = directory / f"{hashlib.sha256(str(root).encode()).hexdigest()[:16]}.sqlite"
        for _ in range(2):
            try:
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                return cls(_opened(str(path)))
            except sqlite3.OperationalError:
                break  # locked, read-only: it may be whole, and another's
            except (sqlite3.DatabaseError, OSError):
                for suffix in ("", "-wal", "-shm"):
                    with suppress(OSError):
                        Path(f"{path}{suffix}").unlink(missing_ok=True)
        return cls(_opened(":memory:"))

    def __enter__(self) -> "CatalogCache":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._database.close()

    def read(self) -> dict[str, Seen]:
        """Everything seen, by path; a row that can't be understood counts as not seen."""
        found: dict[str, Seen] = {}
        with suppress(sqlite3.Error):
            for path, seen in self._database.execute("SELECT path, seen FROM point"):
                with suppress(msgspec.MsgspecError, TypeError):
                    found[path] = msgspec.json.decode(seen, type=Seen)
        return found

    def write(self, seen: dict[str, Seen]) -> None:
        """Replaces everything. What can't be kept is read again next time."""
        with suppress(sqlite3.Error), self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.execute("DELETE FROM point")
            rows = ((path, msgspec.json.encode(each)) for path, each in seen.items())
            self._database.executemany("INSERT INTO point (path, seen) VALUES (?, ?)", rows)

    def drop(self, paths: Iterable[str]) -> None:
        with suppress(sqlite3.Error), self._database:
            self._database.executemany("DELETE FROM point WHERE path = ?", ((path,) for path in paths))


def _opened(path: str) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=_PATIENCE)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        with closing(database.execute("PRAGMA user_version")) as cursor:
            version = cursor.fetchone()[0]
        if version not in (0, _VERSION):
            raise sqlite3.DatabaseError(f"version {version}")
        with database:
            database.execute("CREATE TABLE IF NOT EXISTS point (path TEXT PRIMARY KEY, seen BLOB) WITHOUT ROWID")
            database.execute(f"PRAGMA user_version = {_VERSION}")
        database.execute("SELECT count(*) FROM point").fetchone()
    except BaseException:
        database.close()
        raise
    return database
