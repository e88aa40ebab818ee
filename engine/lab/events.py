"""Events: one function posts them, EventManager and its collectors hand them out."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

from pyVmomi import VmomiSupport, vim

from engine.lab import wire
from engine.lab.history import HistoryCollector
from engine.lab.registry import MO

KEPT = 5000  # events that the server remembers
SHOWN = 1000  # events that one QueryEvents answers, as real servers limit it
ARGUMENTS = (
    (vim.VirtualMachine, "vm", vim.event.VmEventArgument, "vm"),
    (vim.HostSystem, "host", vim.event.HostEventArgument, "host"),
    (vim.ComputeResource, "computeResource", vim.event.ComputeResourceEventArgument, "computeResource"),
    (vim.Datacenter, "datacenter", vim.event.DatacenterEventArgument, "datacenter"),
    (vim.Datastore, "ds", vim.event.DatastoreEventArgument, "datastore"),
)


class EventLog:
    """The events of one server, oldest first."""

    def __init__(self, lab: Any) -> None:
        self.lab = lab
        self.entries: list[Any] = []
        self._keys = itertools.count(1)

    def post(self, kind: Any, entity: MO | None = None, *, user: str = "", message: str = "", **members: Any) -> Any:
        """Records an event of this class (vim.event.VmPoweredOnEvent, ...) about the entity.

        Place members (vm, host, datacenter, ...) come from the entity and its parents; `members` are the rest (a name
        that is taken already may end in an underscore)."""
        with self.lab.cond:
            event = kind(key=next(self._keys), createdTime=datetime.now(UTC), userName=user)
            for name, value in members.items():
                setattr(event, name.rstrip("_"), value)
            event.chainId = event.key
            event.fullFormattedMessage = message or _sentence(kind, entity)
            for place in self._places(entity):
                _note_place(event, place)
            self.entries.append(wire.fill(event))
            del self.entries[:-KEPT]
            self.lab.event_posted()
            return event

    def _places(self, entity: MO | None) -> list[MO]:
        """The entity, what it is in, and for a VM the host that runs it."""
        places: list[MO] = []
        seen: set[str] = set()
        queue = [entity] if entity is not None else []
        while queue:
            place = queue.pop(0)
            if place.id in seen:
                continue
            seen.add(place.id)
            places.append(place)
            runtime = place.props.get("runtime")
            references = [place.props.get("parent"), getattr(runtime, "host", None) if runtime else None]
            queue += [self.lab.objects[r._moId] for r in references if r is not None and r._moId in self.lab.objects]
        return places


def _note_place(event: Any, place: MO) -> None:
    for kind, member, argument, reference in ARGUMENTS:
        if issubclass(place.vim, kind) and getattr(event, member) is None:
            setattr(event, member, argument(name=place.props["name"], **{reference: place.ref}))


def _sentence(kind: Any, entity: MO | None) -> str:
    name = kind.__name__.rpartition(".")[2]
    return f"{name} on {entity.props.get('name', entity.id)}" if entity is not None else name


def category(kind: Any) -> str:
    """info, warning or error, told from the event type's name as its description would."""
    name = VmomiSupport.GetWsdlName(kind)
    if any(word in name for word in ("Failed", "Error", "Invalid", "BadUsername", "Lost")):
        return "error"
    return "warning" if "Warning" in name else "info"


def _selects(lab: Any, spec: Any, event: Any) -> bool:
    time, users = spec.time, spec.userName.userList if spec.userName else ()
    return (
        (not spec.entity or _about(lab, event, spec.entity))
        and (not time or not time.beginTime or event.createdTime >= time.beginTime)
        and (not time or not time.endTime or event.createdTime <= time.endTime)
        and (not users or event.userName in users)
        and (spec.eventChainId is None or event.chainId == spec.eventChainId)
        and (not spec.category or category(type(event)) in spec.category)
        and (not spec.type or isinstance(event, tuple(spec.type)))
        and (not spec.eventTypeId or any(_is_type(event, identifier) for identifier in spec.eventTypeId))
    )


def _is_type(event: Any, identifier: str) -> bool:
    names = {VmomiSupport.GetWsdlName(k) for k in type(event).__mro__ if issubclass(k, vim.event.Event)}
    return identifier.removeprefix("vim.event.") in names or identifier == getattr(event, "eventTypeId", None)


def _about(lab: Any, event: Any, scope: Any) -> bool:
    for _, member, _, reference in ARGUMENTS:
        argument = getattr(event, member)
        place = getattr(argument, reference, None) and lab.objects.get(getattr(argument, reference)._moId)
        if place is not None and lab.in_scope(place, scope.entity, scope.recursion):
            return True
    # events about nothing in particular (logins) belong to the root folder
    return scope.entity._moId == lab.root.id and scope.recursion != "children"


class EventHistoryCollector(HistoryCollector):
    vim = vim.event.EventHistoryCollector
    prefix = "session[event]"

    def __init__(self, lab: Any, filter: Any) -> None:
        super().__init__(lab, filter)
        self.props["initialized"] = True

    def items(self) -> list[Any]:
        with self.lab.cond:
            return [e for e in self.lab.events.entries if _selects(self.lab, self.filter, e)]

    def ReadNextEvents(self, ctx: Any, maxCount: int) -> list[Any]:
        return self.read_next(maxCount)

    def ReadPreviousEvents(self, ctx: Any, maxCount: int) -> list[Any]:
        return self.read_previous(maxCount)


class EventManager(MO):
    vim = vim.event.EventManager

    def __init__(self, lab: Any, moid: str) -> None:
        super().__init__(lab, moid, maxCollector=32)
        self.props["latestEvent"] = lambda: lab.events.entries[-1] if lab.events.entries else None
        self.props["description"] = lambda: wire.fill(
            vim.event.EventDescription(
                category=[vim.ElementDescription(key=k, label=k, summary=k) for k in ("info", "warning", "error")],
                eventInfo=[_detail(kind) for kind in sorted({type(e) for e in lab.events.entries}, key=str)],
            )
        )

    def QueryEvents(self, ctx: Any, filter: Any, eventViewSpec: Any = None) -> list[Any]:
        with self.lab.cond:
            chosen = [e for e in self.lab.events.entries if _selects(self.lab, filter, e)]
        return chosen[-(filter.maxCount or SHOWN) :]

    def CreateCollectorForEvents(self, ctx: Any, filter: Any) -> Any:
        return ctx.session.owns(EventHistoryCollector(self.lab, filter)).ref

    def LogUserEvent(self, ctx: Any, entity: Any, msg: str) -> None:
        about = self.lab.find(entity)
        argument = vim.event.ManagedEntityEventArgument(name=about.props["name"], entity=about.ref)
        kind = vim.event.GeneralUserEvent
        self.lab.events.post(
            kind, about, user=ctx.session.user, message=f"User logged event: {msg}", message_=msg, entity_=argument
        )

    def PostEvent(self, ctx: Any, eventToPost: Any, taskInfo: Any = None) -> None:
        log = self.lab.events
        with self.lab.cond:
            eventToPost.key = eventToPost.chainId = next(log._keys)
            eventToPost.createdTime, eventToPost.userName = datetime.now(UTC), ctx.session.user
            log.entries.append(wire.fill(eventToPost))
            self.lab.event_posted()


def _detail(kind: Any) -> Any:
    name = VmomiSupport.GetWsdlName(kind)
    return vim.event.EventDescription.EventDetail(
        key=kind, description=name, category=category(kind), formatOnDatacenter="", formatOnComputeResource="",
        formatOnHost="", formatOnVm="", fullFormat="",
    )  # fmt: skip
