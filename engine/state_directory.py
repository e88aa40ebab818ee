"""Where this proxy keeps what must survive a job: its identity, ledgers, locks."""

import os
import secrets
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import platformdirs


@dataclass(frozen=True, slots=True)
class StateDirectory:
    """The state path of platformdirs, or `$VCB_STATE_DIR`. Directories are made on first use, for the owner only."""

    root: Path

    @classmethod
    def default(cls) -> "StateDirectory":
        override = os.environ.get("VCB_STATE_DIR")
        return cls(Path(override) if override else platformdirs.user_state_path("vcb-console", appauthor=False))

    @property
    def proxy_id(self) -> str:
        """A random name made once: it tells this proxy's snapshots from another's."""
        path = self.root / "proxy-id"
        if not path.exists():
            private_directory(self.root)
            candidate = path.with_suffix(f".{secrets.token_hex(4)}")
            with open(candidate, "x", opener=_private) as file:
                file.write(secrets.token_hex(8) + "\n")
            try:
                os.link(candidate, path)  # the first of two starters wins, and neither reads half a name
            except FileExistsError:
                pass
            finally:
                candidate.unlink()
        return path.read_text().strip()

    @property
    def jobs(self) -> Path:
        return self.root / "jobs"

    def job(self, job_id: str) -> Path:
        """The directory of one job; its first file makes it."""
        return self.jobs / job_id

    @property
    def locks(self) -> Path:
        path = self.root / "locks"
        private_directory(path)
        return path


def new_job_id() -> str:
    """Sorts by time, unique on every proxy: `20261122T021503Z-3fa9c1`."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def private_directory(path: Path) -> None:
    """Makes the directory and what is missing above it, for the owner only, whatever the umask: `parents` of mkdir
    would give those above the umask's mode."""
    if not path.parent.exists():
        private_directory(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def too_open(root: Path, *, deep: bool = True) -> list[tuple[Path, int]]:
    """(path, mode) of what lies under the state directory, itself too, and is open to anybody but its owner. Symlinks
    are not followed; what ends meanwhile is left out. Not `deep`: only the directory and what lies right in it, which
    shuts or opens the rest."""
    found: list[tuple[Path, int]] = []
    for path in (root, *(root.rglob("*") if deep else root.glob("*"))):
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue
        mode = stat.S_IMODE(status.st_mode)
        if not stat.S_ISLNK(status.st_mode) and mode & 0o077:
            found.append((path, mode))
    return found
