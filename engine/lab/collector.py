"""PropertyCollector: retrieval in pages, filters, and waiting for updates."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from typing import Any

from pyVmomi import vim, vmodl

from engine.lab.registry import MO
from engine.lab.selection import Properties, Selection

PC = vmodl.query.PropertyCollector
LONGEST = 1800.0  # seconds that one WaitForUpdatesEx without maxWaitSeconds stays in the server
VIEWABLE = ("name", "parent")  # what System.View allows to read; the rest needs System.Read
Reported = dict[tuple[str, str], int]  # (filter id, object id) -> version of the state that the client has


class PropertyFilter(MO):
    vim = PC.Filter
    prefix = "session[filter]"

    def __init__(self, state: Waiting, spec: Any, partial: bool) -> None:
        super().__init__(state.lab, spec=spec, partialUpdates=partial)
        self.state = state
        self.properties = Properties(spec.propSet)
        self._selection: Selection | None = None

    def selection(self) -> Selection:
        if self._selection is None or not self._selection.holds():
            self._selection = Selection(self.lab, self.props["spec"].objectSet, strict=self._selection is None)
        return self._selection

    def DestroyPropertyFilter(self, ctx: Any) -> None:
        self.state.drop(self)


@dataclass
class _Draft:
    """An update set in the making: at most `limit` objects, and the reported versions that will hold after it."""

    reported: Reported
    limit: int | None
    filters: list[Any]
    count: int = 0
    truncated: bool = False

    def full(self) -> bool:
        if self.limit is not None and self.count >= self.limit:
            self.truncated = True
        return self.truncated


class Waiting:
    """One collector's live side: its filters, and what the client has been told by which version token.

    The default PropertyCollector has one of these per session, a created one has its own. The last token and the one
    before may be given; older ones are InvalidCollectorVersion."""

    def __init__(self, lab: Any) -> None:
        self.lab = lab
        self.filters: list[PropertyFilter] = []
        self.cancelled = 0
        self.dead = False
        self._tokens: dict[str, Reported] = {"": {}}
        self._numbers = itertools.count(1)
        self._references: dict[str, Any] = {}

    def drop(self, live: PropertyFilter) -> None:
        with self.lab.cond:
            if live in self.filters:
                self.filters.remove(live)
            self.lab.remove(live)

    def close(self) -> None:
        with self.lab.cond:
            self.dead = True
            for live in list(self.filters):
                self.drop(live)

    def wait(self, ctx: Any, token: str, seconds: float, limit: int | None) -> Any:
        cancelled, deadline = self.cancelled, time.monotonic() + seconds
        session = ctx.session
        with self.lab.cond:
            if token not in self._tokens:
                raise vmodl.query.InvalidCollectorVersion(msg="Invalid property collector version.")
            session.waiting += 1
            try:
                while True:
                    if self.dead or session.dead or self.lab.closing or self.cancelled != cancelled:
                        raise vmodl.fault.RequestCanceled(msg="The task was canceled by a user.")
                    result = self._difference(ctx, token, limit)
                    left = deadline - time.monotonic()
                    if result is not None or left <= 0:
                        return result
                    self.lab.cond.wait(left)
            finally:
                session.waiting -= 1
                session.count_call()

    def _difference(self, ctx: Any, token: str, limit: int | None) -> Any:
        before = self._tokens[token]
        draft = _Draft(dict(before), limit, [])
        for live in self.filters:
            update = PC.FilterUpdate(filter=live.ref)
            self._appeared_or_changed(ctx, live, update, draft)
            self._left(live, update, draft)
            if update.objectSet:
                draft.filters.append(update)
        if not draft.filters:
            return None
        fresh = str(next(self._numbers))
        self._tokens = {"": {}, token: before, fresh: draft.reported}
        return PC.UpdateSet(version=fresh, filterSet=draft.filters, truncated=draft.truncated or None)

    def _appeared_or_changed(self, ctx: Any, live: PropertyFilter, update: Any, draft: _Draft) -> None:
        version = self.lab.version
        hidden = not self.lab.access.sees_all(ctx.session.user)
        for mo in live.selection().objects.values():
            seen = draft.reported.get((live.id, mo.id))
            if seen is not None and mo.stamp <= seen:
                continue
            if not live.properties.wants(mo) or (hidden and not self.lab.access.sees(ctx.session.user, mo)):
                continue
            paths = live.properties.paths(mo)
            if seen is not None:
                paths = tuple(p for p in paths if mo.last_change(p) > seen)
                if not paths:
                    continue
            if draft.full():
                return
            kind = "enter" if seen is None else "modify"
            update.objectSet.append(_object_update(ctx, mo, kind, paths))
            self._references[mo.id] = mo.ref
            draft.reported[live.id, mo.id] = version
            draft.count += 1

    def _left(self, live: PropertyFilter, update: Any, draft: _Draft) -> None:
        present = live.selection().objects
        for key in [k for k in draft.reported if k[0] == live.id and k[1] not in present]:
            if draft.full():
                return
            update.objectSet.append(PC.ObjectUpdate(kind="leave", obj=self._references[key[1]]))
            del draft.reported[key]
            draft.count += 1


def _object_update(ctx: Any, mo: MO, kind: str, paths: tuple[str, ...]) -> Any:
    values, missing = read(ctx, mo, paths)
    changes = []
    for path in paths:
        value = values.get(path)
        if value is not None:
            changes.append(PC.Change(name=path, op="assign", val=value))
        elif kind == "modify" and path not in missing:
            changes.append(PC.Change(name=path, op="assign"))  # became unset
    return PC.ObjectUpdate(kind=kind, obj=mo.ref, changeSet=changes, missingSet=_missing_set(missing))


def read(ctx: Any, mo: MO, paths: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(values that are set, faults of what the caller may not read)."""
    access, values, missing = ctx.lab.access, {}, {}
    user = ctx.session.user if ctx.session is not None else ""
    allowed = issubclass(mo.vim, vim.ManagedEntity) is False or "System.Read" in access.privileges(user, mo)
    with ctx.lab.cond:
        for path in paths:
            value = mo.value(path)
            if not allowed and path not in VIEWABLE:
                missing[path] = vim.fault.NoPermission(object=mo.ref, privilegeId="System.Read")
            elif value is not None:
                values[path] = value
    return values, missing


def _missing_set(missing: dict[str, Any]) -> list[Any]:
    return [PC.MissingProperty(path=path, fault=fault) for path, fault in missing.items()]


class PropertyCollector(MO):
    vim = PC
    prefix = "session[collector]"

    def __init__(self, lab: Any, moid: str | None = None, waiting: Waiting | None = None) -> None:
        super().__init__(lab, moid)
        self._created = waiting
        self.props["filter"] = lambda: [f.ref for f in self._waiting(lab.caller).filters] if lab.caller else []

    def _waiting(self, session: Any) -> Waiting:
        return self._created or session.state.setdefault(Waiting, Waiting(self.lab))

    # -- one-shot retrieval

    def RetrieveProperties(self, ctx: Any, specSet: Any) -> Any:
        return self._contents(ctx, specSet)

    def RetrievePropertiesEx(self, ctx: Any, specSet: Any, options: Any = None) -> Any:
        contents = self._contents(ctx, specSet)
        return self._page(ctx, contents, options.maxObjects if options is not None else None)

    def ContinueRetrievePropertiesEx(self, ctx: Any, token: str) -> Any:
        return self._page(ctx, *self._taken(ctx, token))

    def CancelRetrievePropertiesEx(self, ctx: Any, token: str) -> None:
        self._taken(ctx, token)

    def _taken(self, ctx: Any, token: str) -> tuple[list[Any], int | None]:
        pages = ctx.session.state.get("pages", {})
        if token not in pages:
            raise vmodl.fault.InvalidArgument(
                invalidProperty="token", msg="A specified parameter was not correct: token"
            )
        return pages.pop(token)

    def _page(self, ctx: Any, contents: list[Any], size: int | None) -> Any:
        if size is not None and size <= 0:
            raise vmodl.fault.InvalidArgument(invalidProperty="maxObjects")
        size = min((n for n in (size, self.lab.page_limit) if n is not None), default=None)
        if not contents:
            return None
        result = PC.RetrieveResult(objects=contents[:size])
        if size is not None and len(contents) > size:
            result.token = str(self.lab.new_id("page"))
            ctx.session.state.setdefault("pages", {})[result.token] = (contents[size:], size)
        return result

    def _contents(self, ctx: Any, specs: Any) -> list[Any]:
        contents = []
        user = ctx.session.user if ctx.session is not None else ""
        hidden = not self.lab.access.sees_all(user)
        for spec in specs:
            properties = Properties(spec.propSet)
            with self.lab.cond:
                selected = list(Selection(self.lab, spec.objectSet).objects.values())
            for mo in selected:
                if not properties.wants(mo) or (hidden and not self.lab.access.sees(user, mo)):
                    continue
                values, missing = read(ctx, mo, properties.paths(mo))
                changes = [vmodl.DynamicProperty(name=path, val=value) for path, value in values.items()]
                contents.append(PC.ObjectContent(obj=mo.ref, propSet=changes, missingSet=_missing_set(missing)))
        return contents

    # -- live updates

    def CreateFilter(self, ctx: Any, spec: Any, partialUpdates: bool) -> Any:
        waiting = self._waiting(ctx.session)
        with self.lab.cond:
            live = PropertyFilter(waiting, spec, partialUpdates)
            try:
                each_kind = {mo.vim: mo for mo in live.selection().objects.values() if live.properties.wants(mo)}
                for mo in each_kind.values():  # InvalidProperty now, as a real server
                    for path in live.properties.paths(mo):
                        mo.get(path)
            except vmodl.MethodFault:
                self.lab.remove(live)
                raise
            waiting.filters.append(live)
            ctx.session.owns(live)
        return live.ref

    def CreatePropertyCollector(self, ctx: Any) -> Any:
        collector = PropertyCollector(self.lab, waiting=Waiting(self.lab))
        return ctx.session.owns(collector).ref

    def DestroyPropertyCollector(self, ctx: Any) -> None:
        if self._created is None:
            raise vmodl.fault.InvalidRequest(msg="The default property collector cannot be destroyed.")
        self._created.close()
        ctx.session.disowns(self)
        self.lab.remove(self)

    def WaitForUpdatesEx(self, ctx: Any, version: str | None = None, options: Any = None) -> Any:
        seconds = options.maxWaitSeconds if options is not None else None
        limit = options.maxObjectUpdates if options is not None else None
        if (seconds is not None and seconds < 0) or (limit is not None and limit <= 0):
            raise vmodl.fault.InvalidArgument(invalidProperty="options")
        wait = LONGEST if seconds is None else float(seconds)
        return self._waiting(ctx.session).wait(ctx, version or "", wait, limit)

    def WaitForUpdates(self, ctx: Any, version: str | None = None) -> Any:
        return self._waiting(ctx.session).wait(ctx, version or "", LONGEST, None)

    def CheckForUpdates(self, ctx: Any, version: str | None = None) -> Any:
        return self._waiting(ctx.session).wait(ctx, version or "", 0, None)

    def CancelWaitForUpdates(self, ctx: Any) -> None:
        with self.lab.cond:
            self._waiting(ctx.session).cancelled += 1
            self.lab.cond.notify_all()
