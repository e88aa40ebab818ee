"""What a job is asked to do: `job.toml`, written by whoever starts it and read by its worker.

It carries every setting that is not a default, resolved, so that the worker asks neither the configuration file nor
the environment again; and never a password: that one is found anew by the worker, or handed over by pipe.
"""

import os
import tomllib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import tomli_w

from engine.config.options import Settings
from engine.errors import ConfigError
from engine.jobs import plain_settings

FILE_NAME = "job.toml"


class Act(StrEnum):
    """What a worker can do with each subject."""

    BACKUP = "backup"
    MOUNT = "mount"
    UNMOUNT = "unmount"


@dataclass(frozen=True, slots=True)
class Request:
    """One job. `subjects` are VM specifications (backup, mount) or mount points (unmount); each is one part of the job,
    numbered from 1. `parallel` parts run at once. `names` are what the operator knows the subjects by, in their order,
    when they are given by another word (moref:vm-7); empty without any. `resumes` are the dead parts that these go on
    with, in their order, "" for one that begins anew; empty without any. `settings` hold no password."""

    job: str
    act: Act
    subjects: tuple[str, ...]
    settings: Settings
    adopt: str | None = None
    parallel: int = 1
    names: tuple[str, ...] = ()
    resumes: tuple[str, ...] = ()
    created: datetime = field(default_factory=lambda: datetime.now(UTC))

    def part_id(self, part: int) -> str:
        """The flow's job id of a part: the first is the job itself; the others have their ledgers beside it."""
        return self.job if part == 1 else f"{self.job}.{part}"

    def save(self, directory: Path) -> None:
        """Writes `job.toml`, for the owner only, whole from the moment that it has its name, and on disk when this
        returns."""
        data = tomli_w.dumps(self._to_toml()).encode()
        fresh = directory / f"{FILE_NAME}.new"
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(directory / FILE_NAME)

    def _to_toml(self) -> dict[str, Any]:
        return {
            "job": self.job,
            "act": self.act.value,
            "subjects": list(self.subjects),
            **({"adopt": self.adopt} if self.adopt else {}),
            "parallel": self.parallel,
            **({"names": list(self.names)} if self.names else {}),
            **({"resumes": list(self.resumes)} if self.resumes else {}),
            "created": self.created,
            **plain_settings.to_plain(self.settings),
        }


def read_request(directory: Path) -> Request:
    """The request of the job in this directory. Raises ConfigError when it has none that can be read."""
    path = directory / FILE_NAME
    try:
        shape = tomllib.loads(path.read_text())
        return Request(
            job=shape["job"],
            act=Act(shape["act"]),
            subjects=tuple(shape["subjects"]),
            settings=plain_settings.from_plain(shape),
            adopt=shape.get("adopt"),
            parallel=shape["parallel"],
            names=tuple(shape.get("names", ())),
            resumes=tuple(shape.get("resumes", ())),
            created=shape["created"],
        )
    except OSError as error:
        raise ConfigError(f"the job cannot be read: {error.strerror}", file=str(path)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"this is not the request of a job: {error}", file=str(path)) from error
