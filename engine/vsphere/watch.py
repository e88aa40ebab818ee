"""Waits for an object's properties to change: an own collector and filter, made again when the session was lost."""

from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any

from pyVmomi import vmodl

from engine.vsphere.session import Session

_PropertyCollector = vmodl.query.PropertyCollector
PATIENCE = 20
"""Seconds that the server may hold one WaitForUpdatesEx; well below every HTTP timeout."""


class Watch:
    """Property changes of one managed object (a pyVmomi object), for one waiter.

    The session's own collector is shared and serves one wait at a time, hence a collector each.
    """

    def __init__(self, session: Session, obj: Any, paths: Sequence[str], *, doing: str, subject: str) -> None:
        self._session, self._object, self._paths = session, obj, list(paths)
        self._doing, self._subject = doing, subject
        self._collector: Any = None
        self._version = ""
        self._patience = max(1, min(PATIENCE, int(session.stub.timeout / 2)))

    def __enter__(self) -> "Watch":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        collector, self._collector = self._collector, None
        if collector is not None:
            with suppress(vmodl.MethodFault, *Session.DROPPED):  # it may have died with its session
                collector.DestroyPropertyCollector()

    def changes(self) -> dict[str, Any]:
        """The values that changed since the last call (all that are set, at first); empty when the server's patience
        ran out. After a lost session everything comes again. Raises translated errors."""
        recovery = self._session.recovery()
        options = _PropertyCollector.WaitOptions(maxWaitSeconds=self._patience)
        while True:
            try:
                self._collector = self._collector or self._open()
                update = self._collector.WaitForUpdatesEx(self._version, options)
            except (vmodl.MethodFault, *Session.DROPPED) as error:
                self._collector = None
                recovery.after(error, doing=self._doing, subject=self._subject)
            else:
                return self._merged(update)

    def _open(self) -> Any:
        self._version = ""
        collector = self._session.content.propertyCollector.CreatePropertyCollector()
        wanted = _PropertyCollector.PropertySpec(type=type(self._object), pathSet=self._paths, all=False)
        start = _PropertyCollector.ObjectSpec(obj=self._object, skip=False)
        collector.CreateFilter(_PropertyCollector.FilterSpec(objectSet=[start], propSet=[wanted]), True)
        return collector

    def _merged(self, update: Any) -> dict[str, Any]:
        if update is None:
            return {}
        self._version = update.version
        changed = (
            change
            for filtered in update.filterSet
            for each in filtered.objectSet
            for change in each.changeSet
            if change.op == "assign"
        )
        return {change.name: change.val for change in changed}
