"""Managed objects and their registry: identity, properties by path, and the clock that stamps every change."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pyVmomi import VmomiSupport, vmodl

from engine.lab.wire import coerce

if TYPE_CHECKING:
    from engine.lab.soap import Context

# one segment of a property path: name, or name["key"] for an element of a keyed array
SEGMENT = re.compile(r"([A-Za-z_]\w*)(?:\[\"?([^\]\"]+)\"?\])?")


class MO:
    """One managed object.

    `vim` is its pyVmomi class (the type table that says what exists), `ref` its identity on the wire: a pyVmomi object
    without a stub. `props` maps property names to values or to callables that compute them; names in `cached` are
    computed once per change of this object. Methods carry wire names: `def CreateSnapshot_Task(self, ctx, name, ...)`.
    """

    vim: ClassVar[Any] = VmomiSupport.ManagedObject
    prefix: ClassVar[str] = "obj"
    cached: ClassVar[Sequence[str]] = ()

    def __init__(self, lab: Any, moid: str | None = None, **props: Any) -> None:
        self.lab = lab
        self.ref = self.vim(moid or lab.new_id(self.prefix))
        self.props: dict[str, Any] = props
        self.changed: dict[str, int] = {}
        self.stamp = 0
        self._memo: dict[str, tuple[int, Any]] = {}
        lab.register(self)

    @property
    def id(self) -> str:
        return self.ref._moId

    def get(self, path: str) -> tuple[Any, Any]:
        """(declared type, value); raises InvalidProperty for a path that the type does not have."""
        declared: Any = None
        value: Any = None
        owner: Any = self.vim
        for number, segment in enumerate(path.split(".")):
            match = SEGMENT.fullmatch(segment)
            if not match:
                raise vmodl.query.InvalidProperty(name=path)
            try:
                declared = owner._GetPropertyInfo(match[1]).type
            except AttributeError:
                raise vmodl.query.InvalidProperty(name=path) from None
            value = self._own(match[1]) if number == 0 else getattr(value, match[1], None)
            if match[2] is not None:
                declared = getattr(declared, "Item", declared)
                value = next((x for x in value or () if str(getattr(x, "key", None)) == match[2]), None)
            owner = type(value) if isinstance(value, VmomiSupport.DataObject) else declared
        return declared, coerce(declared, value)

    def value(self, path: str) -> Any:
        return self.get(path)[1]

    def _own(self, name: str) -> Any:
        value = self.props.get(name)
        if not callable(value):
            return value
        if name not in self.cached:
            return value()
        known = self._memo.get(name)
        if known is None or known[0] != self.stamp:
            known = self._memo[name] = (self.stamp, value())
        return known[1]

    def set(self, path: str, value: Any) -> None:
        """The way to change a property: sets it and stamps the path, so that every waiter sees it."""
        with self.lab.cond:
            *way, last = path.split(".")
            if way:
                owner = self.props[way[0]]
                for segment in way[1:]:
                    owner = getattr(owner, segment)
                setattr(owner, last, value)
            else:
                self.props[last] = value
            self.touch(path)

    def touch(self, *paths: str) -> None:
        """Says that these (computed) properties have changed."""
        with self.lab.cond:
            self.stamp = self.lab.tick()
            for path in paths:
                self.changed[path] = self.stamp

    def last_change(self, path: str) -> int:
        """Version of the last change at, above or below the path."""
        return max(
            (
                version
                for changed, version in self.changed.items()
                if changed == path or changed.startswith(path + ".") or path.startswith(changed + ".")
            ),
            default=0,
        )

    def Fetch(self, ctx: Context, prop: str) -> Any:
        """pyVmomi's attribute access: every managed object answers it."""
        return self.value(prop)

    def privilege_checks(self, info: Any, arguments: dict[str, Any]) -> list[tuple[MO, str]]:
        """What a call needs: (object, privilege id). From the type tables; methods whose need depends on their
        arguments (ReconfigVM_Task) override this."""
        checks: list[tuple[MO, str]] = [(self, info.privId)] if info.privId else []
        for parameter in info.params:
            target = arguments.get(parameter.name)
            if parameter.privId and isinstance(target, VmomiSupport.ManagedObject):
                checks.append((self.lab.find(target), parameter.privId))
        return checks


class Registry:
    """The managed objects of one simulated server, one lock for all of them, and the change clock.

    `version` grows with every change; `shape` is the version at which an object last appeared or vanished. `cond` is
    the model's lock: data paths (disk contents, transfers) never hold it."""

    def __init__(self) -> None:
        self.cond = threading.Condition(threading.RLock())
        self.objects: dict[str, MO] = {}
        self.version = 1
        self.shape = 1
        self._numbers: dict[str, itertools.count[int]] = {}
        self._by_type: dict[Any, dict[str, MO]] = {}

    def new_id(self, prefix: str) -> str:
        """A moref like the real ones: "vm-7"; numbers never come twice, also not after a restart (`reserve_id`)."""
        with self.cond:
            return f"{prefix}-{next(self._numbers.setdefault(prefix, itertools.count(1)))}"

    def reserve_id(self, moid: str) -> None:
        """Keeps `new_id` beyond this one; for objects that come back from a saved state."""
        prefix, _, number = moid.rpartition("-")
        if prefix and number.isdigit():
            with self.cond:
                following = next(self._numbers.get(prefix, itertools.count(1)))
                self._numbers[prefix] = itertools.count(max(following, int(number) + 1))

    def tick(self) -> int:
        with self.cond:
            self.version += 1
            self.cond.notify_all()
            return self.version

    def register(self, mo: MO) -> None:
        with self.cond:
            self.objects[mo.id] = mo
            self._by_type.setdefault(mo.vim, {})[mo.id] = mo
            self.reserve_id(mo.id)
            mo.stamp = self.shape = self.tick()

    def remove(self, mo: MO) -> None:
        with self.cond:
            self.objects.pop(mo.id, None)
            self._by_type.get(mo.vim, {}).pop(mo.id, None)
            self.shape = self.tick()

    def find(self, ref: Any) -> Any:
        """The object behind a reference; ManagedObjectNotFound as the server says it."""
        mo = self.objects.get(ref._moId)
        if mo is None or (type(ref) is not VmomiSupport.ManagedObject and not issubclass(mo.vim, type(ref))):
            raise vmodl.fault.ManagedObjectNotFound(
                obj=ref,
                msg=f"The object '{VmomiSupport.GetVmodlName(type(ref))}:{ref._moId}' has already been deleted "
                "or has not been completely created",
            )
        return mo

    def all_of(self, *types: Any) -> list[Any]:
        """The managed objects of these vim types (and those derived from them), oldest first."""
        with self.cond:
            return [mo for kind, objects in self._by_type.items() if issubclass(kind, types) for mo in objects.values()]
