"""Which objects and which properties a PropertyCollector's filter spec selects."""

from __future__ import annotations

from typing import Any

from pyVmomi import vmodl

from engine.lab.registry import MO

PC = vmodl.query.PropertyCollector


class Selection:
    """What an object set reaches: `objects` by id, in order. `passed` are the objects whose properties were followed
    to get there; while none of them changes and nothing appears or vanishes, the selection holds."""

    def __init__(self, lab: Any, object_set: Any, *, strict: bool = True) -> None:
        """strict: a start object that does not exist is ManagedObjectNotFound; else it selects nothing."""
        self.lab = lab
        self.version = lab.version
        self.shape = lab.shape
        self.objects: dict[str, MO] = {}
        self.passed: dict[str, MO] = {}
        for start in object_set:
            if not strict and start.obj._moId not in lab.objects:
                continue
            named = _named(start.selectSet, {})
            self._walk(lab.find(start.obj), start.skip, start.selectSet, named, set())

    def holds(self) -> bool:
        return self.shape == self.lab.shape and all(mo.stamp <= self.version for mo in self.passed.values())

    def _walk(self, mo: MO, skip: bool | None, steps: Any, named: dict[str, Any], seen: set[tuple[str, int]]) -> None:
        if not skip:
            self.objects.setdefault(mo.id, mo)
        for step in steps or ():
            traversal = named.get(step.name or "", step) if type(step) is PC.SelectionSpec else step
            if not isinstance(traversal, PC.TraversalSpec) or not issubclass(mo.vim, traversal.type):
                continue
            if (mo.id, id(traversal)) in seen:
                continue
            seen.add((mo.id, id(traversal)))
            self.passed[mo.id] = mo
            value = mo.value(traversal.path)
            for reference in value if isinstance(value, list) else [value] if value is not None else []:
                following = self.lab.objects.get(reference._moId)
                if following is not None:
                    self._walk(following, traversal.skip, traversal.selectSet, named, seen)


def _named(steps: Any, found: dict[str, Any]) -> dict[str, Any]:
    for step in steps or ():
        if isinstance(step, PC.TraversalSpec):
            if step.name and step.name not in found:
                found[step.name] = step
            _named(step.selectSet, found)
    return found


class Properties:
    """The property set of one filter spec: which paths of which types. InvalidProperty for a path that does not
    exist shows when an object is read, as on a real server."""

    def __init__(self, property_set: Any) -> None:
        self._set = list(property_set)
        self._paths: dict[Any, tuple[str, ...]] = {}

    def wants(self, mo: MO) -> bool:
        return any(issubclass(mo.vim, spec.type) for spec in self._set)

    def paths(self, mo: MO) -> tuple[str, ...]:
        known = self._paths.get(mo.vim)
        if known is None:
            paths: dict[str, None] = {}
            for spec in self._set:
                if issubclass(mo.vim, spec.type):
                    names = [info.name for info in mo.vim._GetPropertyList()] if spec.all else spec.pathSet
                    paths.update(dict.fromkeys(names))
            known = self._paths[mo.vim] = tuple(paths)
        return known
