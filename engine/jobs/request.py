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

import msgspec
import tomli_w

from engine.config.options import Settings
from engine.errors import ConfigError
from engine.jobs import plain_settings
from engine.jobs.orders import FilesOrder, Order, ReconcileOrder, RestoreOrder, RetainOrder, VerifyOrder

FILE_NAME = "job.toml"


class Act(StrEnum):
    """What a worker can do with each subject."""

    BACKUP = "backup"
    MOUNT = "mount"
    UNMOUNT = "unmount"
    VERIFY = "verify"
    RESTORE = "restore"
    RETAIN = "retain"
    RECONCILE = "reconcile"
    DOCTOR = "doctor"
    FILES = "files"


ORDERS: dict[Act, type[Order]] = {
    Act.VERIFY: VerifyOrder,
    Act.RESTORE: RestoreOrder,
    Act.RETAIN: RetainOrder,
    Act.RECONCILE: ReconcileOrder,
    Act.FILES: FilesOrder,
}
"""The acts that want to know more than their subjects."""


@dataclass(frozen=True, slots=True)
class Request:
    """One job. `subjects` are VM specifications (backup, mount), mount points (unmount), points (verify, restore,
    files), or one word for what the act looks at (retain, reconcile, doctor); each is one part of the job, numbered
    from 1.

    `order` is of the act's type in ORDERS, None for an act without. `parallel` parts run at once. `names` are what the
    operator knows the subjects by, in their order, when they are given by another word (moref:vm-7); empty without any.
    `resumes` are the dead parts that these go on with, in their order, "" for one that begins anew; empty without any.
    `settings` hold no password."""

    job: str
    act: Act
    subjects: tuple[str, ...]
    settings: Settings
    adopt: str | None = None
    parallel: int = 1
    names: tuple[str, ...] = ()
    resumes: tuple[str, ...] = ()
    order: Order | None = None
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
            **({"order": msgspec.to_builtins(self.order)} if self.order is not None else {}),
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
            order=_order(Act(shape["act"]), shape.get("order")),
            created=shape["created"],
        )
    except OSError as error:
        raise ConfigError(f"the job cannot be read: {error.strerror}", file=str(path)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"this is not the request of a job: {error}", file=str(path)) from error


def _order(act: Act, shape: Any) -> Order | None:
    """Raises ValueError (msgspec's is one) for an order that the act has not, or another one's."""
    if act not in ORDERS:
        if shape is not None:
            raise ValueError(f"{act} takes no order")
        return None
    return None if shape is None else msgspec.convert(shape, ORDERS[act])
