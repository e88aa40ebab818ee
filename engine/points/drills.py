"""When each VM was last drilled, and how it ended: in the proxy's state directory, so that it outlives the points.

One file a VM, one line of JSON a drill, appended in one write: two drills at once both get their line, and half a line
at the end is ignored.
"""

import hashlib
import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import msgspec

from engine.errors import TargetError
from engine.state_directory import private_directory

_READ = 64 << 10
"""The end of a file that is looked at: some two hundred drills."""
_MOST_FINDINGS = 5
_LONGEST = 300


class Drill(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`result` as engine.events.ResultState names it; `findings` are the first of what was damaged or not checked."""

    at: datetime
    vcenter: str
    vm: str
    point: str
    result: str
    findings: list[str] = []


def directory(state: Path) -> Path:
    """Where the records of all VMs lie; its modification time changes with each first drill of a VM."""
    return state / "drills"


def record(state: Path, drill: Drill) -> None:
    """On disk when this returns. Raises TargetError."""
    findings = [finding[:_LONGEST] for finding in drill.findings[:_MOST_FINDINGS]]
    line = msgspec.json.encode(msgspec.structs.replace(drill, findings=findings))
    path = _file(state, (drill.vcenter, drill.vm))
    try:
        private_directory(path.parent)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, line + b"\n")
            os.fsync(fd)
        finally:
            os.close(fd)
        os.utime(path.parent)  # who follows the directory sees that something is new in it
    except OSError as error:
        raise TargetError(f"{path} can't be written: {error.strerror}.", fault=type(error).__name__) from None


def read(state: Path, identities: Iterable[tuple[str, str]]) -> dict[tuple[str, str], tuple[Drill, ...]]:
    """The last drills of these VMs (vCenter and moref), oldest first; of one that was never drilled, nothing."""
    found = {identity: tuple(_lines(_file(state, identity), identity)) for identity in set(identities)}
    return {identity: drills for identity, drills in found.items() if drills}


def _lines(path: Path, identity: tuple[str, str]) -> Iterable[Drill]:
    try:
        with path.open("rb") as stream:
            cut = stream.seek(0, os.SEEK_END) > _READ
            stream.seek(-_READ if cut else 0, os.SEEK_END if cut else os.SEEK_SET)
            lines = stream.read(_READ).split(b"\n")
    except OSError:
        return
    for line in lines[1 if cut else 0 :]:
        try:
            drill = msgspec.json.decode(line, type=Drill)
        except msgspec.MsgspecError:
            continue
        if (drill.vcenter, drill.vm) == identity:
            yield drill


def _file(state: Path, identity: tuple[str, str]) -> Path:
    """Ids come from manifests, which may come from anywhere: they make no path."""
    return directory(state) / f"{hashlib.sha256(msgspec.json.encode(identity)).hexdigest()[:32]}.jsonl"
