"""Views: sets of objects that a client asks for once and a PropertyCollector walks."""

from __future__ import annotations

from typing import Any

from pyVmomi import vim, vmodl

from engine.lab.registry import MO


class View(MO):
    vim = vim.view.View
    prefix = "session[view]"

    def DestroyView(self, ctx: Any) -> None:
        ctx.session.disowns(self)
        self.lab.remove(self)


class ContainerView(View):
    """All objects of some types below a container; follows the inventory as it changes."""

    vim = vim.view.ContainerView

    def __init__(self, lab: Any, container: MO, types: Any, recursive: bool) -> None:
        super().__init__(lab, container=container.ref, type=types, recursive=recursive)
        self._root: Any = container
        self._types = tuple(types)
        self._recursive = recursive
        self._known: tuple[int, list[Any]] = (-1, [])
        self.props["view"] = self._view

    def _view(self) -> list[Any]:
        shape = self.lab.shape
        if self._known[0] != shape:
            self._known = (shape, [mo.ref for mo in self._members()])
        return self._known[1]

    def _members(self) -> list[MO]:
        found: dict[str, MO] = {}
        waiting = list(self._root.children())
        for mo in waiting:
            if mo.id not in found:
                found[mo.id] = mo
                waiting += mo.children() if self._recursive else ()
        return [mo for mo in found.values() if not self._types or issubclass(mo.vim, self._types)]


class ListView(View):
    """The objects that a client listed; those that no longer exist drop out."""

    vim = vim.view.ListView

    def __init__(self, lab: Any, references: list[Any]) -> None:
        super().__init__(lab)
        self._references = {r._moId: r for r in references}
        self.props["view"] = lambda: [r for moid, r in self._references.items() if moid in lab.objects]

    def ModifyListView(self, ctx: Any, add: Any = (), remove: Any = ()) -> Any:
        known = {r._moId: r for r in add or () if r._moId in self.lab.objects}
        self._references.update(known)
        unknown = [r for r in add or () if r._moId not in known]
        unknown += [r for r in remove or () if self._references.pop(r._moId, None) is None]
        self.touch("view")
        return unknown

    def ResetListView(self, ctx: Any, obj: Any = ()) -> Any:
        self._references = {}
        return self.ModifyListView(ctx, obj)

    def ResetListViewFromView(self, ctx: Any, view: Any) -> None:
        self.ResetListView(ctx, self.lab.find(view).value("view"))


class ViewManager(MO):
    vim = vim.view.ViewManager

    def __init__(self, lab: Any, moid: str) -> None:
        super().__init__(lab, moid)
        self.props["viewList"] = lambda: [
            mo.ref for mo in (lab.caller.owned.values() if lab.caller else ()) if isinstance(mo, View)
        ]

    def CreateContainerView(self, ctx: Any, container: Any, recursive: bool, type: Any = ()) -> Any:
        place = self.lab.find(container)
        if not hasattr(place, "children"):
            raise vmodl.fault.InvalidArgument(invalidProperty="container")
        return ctx.session.owns(ContainerView(self.lab, place, list(type or ()), recursive)).ref

    def CreateListView(self, ctx: Any, obj: Any = ()) -> Any:
        return ctx.session.owns(ListView(self.lab, list(obj or ()))).ref

    def CreateListViewFromView(self, ctx: Any, view: Any) -> Any:
        return self.CreateListView(ctx, self.lab.find(view).value("view"))
