"""Injected faults: rules that say which occurrence of which point at which object meets which trouble.

Every place that can go wrong asks `faults.hit(point, phase, *objects)`. Points and phases:

    a method's wire name, phase "call"   the SOAP request arrives ("CreateSnapshot_Task", "Login")
    a method's wire name, phase "task"   its task begins to work
    "http", phase "data"                 /folder and /nfc transfers; objects: the path, and the VM if known
    "QueryChangedDiskAreas", phase "data"  its answer; objects: the VM and the disk's file
    "nfc...", phase "data"               the NFC server ("nfc.open", "nfc.read"); objects: the VM or the file name

Actions "fault" and "delay" happen inside `hit`; for the rest the returned rule tells the caller what to do: "drop" and
"drop-after" (cut the connection before or after the answer), "short" (end the data after `size` bytes), "slow" (`size`
bytes a second), "corrupt" (flip a bit at byte `size`) and "omit" (leave out the changed areas from byte `size` on,
as if nothing had changed there: a change tracking that lies).
"""

from __future__ import annotations

import fnmatch
import itertools
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from pyVmomi import VmomiSupport, vmodl

from engine.lab import wire

ACTIONS = ("fault", "delay", "drop", "drop-after", "short", "slow", "corrupt", "omit")
PHASES = ("call", "task", "data", "*")


@dataclass(frozen=True)
class Rule:
    """`point` and `object` are patterns with * and ?; `object` is matched with moref ids, names and paths.

    The rule acts on its `first` to `last` match (counted from 1); `last=None` means only `first`, 0 means for ever.
    `fault` is a type's name ("SnapshotFault", "vmodl.fault.SystemError"), `properties` its members. `delay` is seconds
    and also holds for the other actions; `size` is bytes."""

    point: str
    action: str = "fault"
    phase: str = "call"
    object: str = "*"
    first: int = 1
    last: int | None = None
    fault: str = "vmodl.fault.SystemError"
    message: str = ""
    properties: Mapping[str, Any] = field(default_factory=dict)
    delay: float = 0.0
    size: int = 0

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise ValueError(f"action must be one of {', '.join(ACTIONS)}, not {self.action!r}")
        if self.phase not in PHASES:
            raise ValueError(f"phase must be one of {', '.join(PHASES)}, not {self.phase!r}")
        fault_type(self.fault)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Rule:
        unknown = set(data) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"a rule has no {', '.join(sorted(unknown))}")
        return cls(**data)

    def acts_on(self, occurrence: int) -> bool:
        last = self.first if self.last is None else self.last
        return occurrence >= self.first and (last == 0 or occurrence <= last)

    def exception(self) -> vmodl.MethodFault:
        fault = wire.fill(fault_type(self.fault)(**self.properties))
        for member in fault._GetPropertyList():
            required = not member.flags & VmomiSupport.F_OPTIONAL
            if required and getattr(fault, member.name) is None and issubclass(member.type, VmomiSupport.ManagedObject):
                # A reference that the fault must carry (TaskInProgress.task) and the rule leaves open.
                setattr(fault, member.name, member.type("injected"))
        fault.msg = self.message or f"{self.fault.rpartition('.')[2]} (injected)"
        return fault


@dataclass
class Injection:
    """A rule in force: how often its point was met, and how often it acted."""

    number: int
    rule: Rule
    matches: int = 0
    hits: int = 0

    def to_json(self) -> dict[str, Any]:
        return {"id": self.number, "matches": self.matches, "hits": self.hits, **asdict(self.rule)}


@dataclass(frozen=True)
class Hit:
    number: int
    point: str
    phase: str
    objects: tuple[str, ...]
    action: str


class Faults:
    """The rules of one lab. Rules are tried in the order of their adding; the first that acts wins."""

    def __init__(self) -> None:
        self.log: list[Hit] = []
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._injections: list[Injection] = []
        self._closed = False
        self._release = threading.Event()

    def add(self, rule: Rule) -> int:
        """Puts a rule in force; its number is for `remove`."""
        with self._lock:
            self._injections.append(Injection(next(self._numbers), rule))
            return self._injections[-1].number

    def remove(self, number: int) -> bool:
        with self._lock:
            kept = [i for i in self._injections if i.number != number]
            found = len(kept) < len(self._injections)
            self._injections = kept
            return found

    def clear(self) -> None:
        """Takes all rules away, and ends the delays that are being waited for."""
        with self._lock:
            self._injections, self.log = [], []
            self._release.set()
            if not self._closed:
                self._release = threading.Event()

    def injections(self) -> list[Injection]:
        with self._lock:
            return list(self._injections)

    def close(self) -> None:
        """Ends all delays that are being waited for, and those to come."""
        with self._lock:
            self._closed = True
            self._release.set()

    def pause(self, seconds: float) -> None:
        """Waits, but not beyond the lab's end, nor beyond the next `clear`."""
        self._release.wait(seconds)

    def hit(self, point: str, phase: str = "call", *objects: Any) -> Rule | None:
        """Raises the fault or waits as a matching rule says; returns the rule that acted, else None.

        objects: managed objects (their moref and name count), or strings."""
        if not self._injections:
            return None
        names = _names(objects)
        with self._lock:
            rule, release = self._match(point, phase, names), self._release
        if rule is None:
            return None
        if rule.delay:
            release.wait(rule.delay)  # the one that was there with the rule: a `clear` in between has set it
        if rule.action == "fault":
            raise rule.exception()
        return rule

    def _match(self, point: str, phase: str, names: tuple[str, ...]) -> Rule | None:
        chosen: Injection | None = None
        for injection in self._injections:
            rule = injection.rule
            if rule.phase not in (phase, "*") or not _matches(point, rule.point):
                continue
            if rule.object != "*" and not any(_matches(n, rule.object) for n in names):
                continue
            injection.matches += 1
            if chosen is None and rule.acts_on(injection.matches):
                chosen = injection
        if chosen is None:
            return None
        chosen.hits += 1
        self.log.append(Hit(chosen.number, point, phase, names, chosen.rule.action))
        return chosen.rule


def fault_type(name: str) -> type[vmodl.MethodFault]:
    """The fault class of a short or full name; ValueError if the type tables have none."""
    candidates = [name] if "." in name else [f"vim.fault.{name}", f"vmodl.fault.{name}", f"vmodl.query.{name}"]
    for candidate in candidates:
        try:
            found = VmomiSupport.GetVmodlType(candidate)
        except (KeyError, AttributeError):
            continue
        if issubclass(found, vmodl.MethodFault):
            return found
    raise ValueError(f"no fault is called {name!r}")


def _matches(text: str, pattern: str) -> bool:
    """Shell patterns of * and ? only: a bracket is a datastore's, as in "[store1] web01/*"."""
    return fnmatch.fnmatchcase(text, pattern.replace("[", "[[]"))


def _names(objects: tuple[Any, ...]) -> tuple[str, ...]:
    names: list[str] = []
    for thing in objects:
        if isinstance(thing, str):
            names.append(thing)
        elif thing is not None:
            names.append(thing.id)
            entity = thing.lab.entity_of(thing)  # a snapshot or task answers for its VM, too
            if entity is not None:
                names += [entity.id, entity.props["name"]]
    return tuple(dict.fromkeys(names))
