"""What a job's act wants to know beside its subjects: one type for each such act, as `[order]` of `job.toml`."""

from enum import StrEnum
from typing import Literal

import msgspec

from engine.points.proof import Depth


class VerifyOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How deeply each point is looked at."""

    depth: Depth = Depth.GRAINS


class RestoreTo(StrEnum):
    """What becomes of the point."""

    FILES = "files"
    NEW_VM = "new VM"
    IN_PLACE = "in place"
    VM_DISK = "disk of a VM"


class RestoreOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`target`: the directory of FILES; the name of NEW_VM ("" for one of our own); the VM that VM_DISK adds a disk to.
    `disks` by name or label, none for all."""

    to: RestoreTo
    target: str = ""
    disks: tuple[str, ...] = ()
    format: Literal["vmdk", "raw", "qcow2"] = "vmdk"


class RetainOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`agreed`: the directories of the points that the operator saw would go; no other one does."""

    agreed: tuple[str, ...]


class ReconcileOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`clean`: what goes, as `kind id` of a leftover that an earlier job found; empty only to look."""

    clean: tuple[str, ...] = ()


class FilesOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`path` in the point as `vcb files` takes it; `target`: the directory to take it out into."""

    path: str
    target: str


Order = VerifyOrder | RestoreOrder | RetainOrder | ReconcileOrder | FilesOrder
