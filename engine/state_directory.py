"""Where this proxy keeps what must survive a job: its identity, ledgers, locks."""

import os
import secrets
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
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            candidate = path.with_suffix(f".{secrets.token_hex(4)}")
            candidate.write_text(secrets.token_hex(8) + "\n")
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
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)  # `parents` alone would give it the umask's mode
        path = self.root / "locks"
        path.mkdir(mode=0o700, exist_ok=True)
        return path


def new_job_id() -> str:
    """Sorts by time, unique on every proxy: `20261122T021503Z-3fa9c1`."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
