"""What this proxy knows of each datastore that it read over san: compared and equal, or caught and not to be used.

A file for each datastore in the state directory, so that a mismatch outlives its job: `vcb san --trust` ends it.
"""

import json
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from engine.errors import ConfigError
from engine.state_directory import StateDirectory


@dataclass(frozen=True, slots=True)
class SanTrust:
    """`verified`: when blocks were last compared and equal, ISO 8601, "" for never. `mismatch`: what was found and
    when, "" while `san` may be used."""

    uuid: str
    name: str
    verified: str = ""
    mismatch: str = ""


class SanTrusts:
    """By the datastore's UUID (engine.vsphere.datastores)."""

    def __init__(self, state: StateDirectory) -> None:
        self._directory = state.root / "san"

    def of(self, uuid: str, name: str) -> SanTrust:
        """A file that can't be understood is a ConfigError: it may have held a mismatch."""
        path = self._path(uuid)
        return _read(path) if path.exists() else SanTrust(uuid, name)

    def all(self) -> Iterator[SanTrust]:
        for path in sorted(self._directory.glob("*.json")):
            yield _read(path)

    def verified(self, trust: SanTrust) -> None:
        """Blocks were compared just now, and were equal."""
        self._write(replace(trust, verified=_now()))

    def mismatched(self, trust: SanTrust, what: str) -> None:
        """From now on `san` refuses this datastore, and its next use counts as the first."""
        self._write(replace(trust, verified="", mismatch=f"{_now()}: {what}"))

    def trust_again(self, name: str) -> SanTrust:
        """The operator says that the cause is gone. The next use compares as the first does. ConfigError when no
        datastore of that name or UUID is known."""
        for trust in self.all():
            if name in (trust.name, trust.uuid):
                self._write(renewed := SanTrust(trust.uuid, trust.name))
                return renewed
        raise ConfigError(
            f"No datastore {name} was read over san by this proxy.", hint="vcb san lists those that were."
        )

    def _write(self, trust: SanTrust) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(trust.uuid)
        partial = path.with_suffix(f".{secrets.token_hex(4)}")
        partial.write_text(json.dumps(asdict(trust), indent=2) + "\n")
        partial.rename(path)

    def _path(self, uuid: str) -> Path:
        return self._directory / f"{uuid.lower()}.json"


def _read(path: Path) -> SanTrust:
    try:
        return SanTrust(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"{path} can't be understood: what it says about a datastore is lost.",
            hint="Remove it: the next use of san compares that datastore as if for the first time.",
        ) from error


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
