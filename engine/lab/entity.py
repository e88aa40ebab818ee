"""What all inventory objects share, and folders."""

from __future__ import annotations

from typing import Any, ClassVar

from pyVmomi import vim, vmodl

from engine.lab.registry import MO
from engine.lab.tasks import Task


class Entity(MO):
    """An object of the inventory tree. `parent` is the entity that it lies in; the tree is walked with `children()`
    downward and `VSphere.parent_of` upward."""

    vim: ClassVar[Any] = vim.ManagedEntity

    def __init__(self, lab: Any, name: str, parent: MO | None = None, moid: str | None = None, **props: Any) -> None:
        common: dict[str, Any] = {
            "name": name,
            "parent": None if parent is None else parent.ref,
            "overallStatus": "green",
            "configStatus": "green",
            "configIssue": [],
            "effectiveRole": lambda: [lab.access.role_at(lab.caller.user, self)] if lab.caller else [],
            "permission": lambda: [p.to_vim(lab) for p in lab.access.permissions.values() if p.entity == self.id],
            "recentTask": lambda: lab.tasks.recent(self),
            "disabledMethod": [],
            "triggeredAlarmState": [],
            "declaredAlarmState": [],
            "tag": [],
            "value": [],
            "customValue": [],
            "availableField": [],
            "alarmActionsEnabled": True,
        }
        super().__init__(lab, moid, **{**common, **props})

    @property
    def name(self) -> str:
        return self.props["name"]

    def children(self) -> list[Any]:
        """The entities that lie directly below this one."""
        return []

    def Reload(self, ctx: Any) -> None:
        self.touch(*self.props)

    def Rename_Task(self, ctx: Any, newName: str) -> Any:
        parent = self.lab.parent_of(self)
        if parent is not None and any(c is not self and c.props["name"] == newName for c in parent.children()):
            raise vim.fault.DuplicateName(name=newName, object=self.ref)

        def work(task: Task) -> None:
            self.set("name", newName)
            self.lab.reshape()

        return Task(self.lab, ctx, self, "Rename_Task", "ManagedEntity.rename", work).ref


class Folder(Entity):
    vim = vim.Folder
    prefix = "group"

    def __init__(
        self, lab: Any, name: str, parent: MO | None = None, types: tuple[Any, ...] = (), moid: str | None = None
    ) -> None:
        """types: the vim types that may lie in it, vim.Folder among them if it may be divided."""
        super().__init__(lab, name, parent, moid, childType=list(types))
        self._children: list[Any] = []
        self.props["childEntity"] = lambda: [child.ref for child in self._children]

    def children(self) -> list[Any]:
        return self._children

    def add(self, entity: Any) -> Any:
        """Puts an entity into this folder (out of the one it was in), and returns it."""
        with self.lab.cond:
            former = self.lab.parent_of(entity)
            if former is not self and isinstance(former, Folder) and entity in former._children:
                former._children.remove(entity)
                former.touch("childEntity")
            if entity not in self._children:
                self._children = [*self._children, entity]
            entity.props["parent"] = self.ref
            entity.touch("parent")
            self.touch("childEntity")
            self.lab.reshape()
        return entity

    def discard(self, entity: Any) -> None:
        """Takes an entity out and out of the registry."""
        with self.lab.cond:
            self._children = [child for child in self._children if child is not entity]
            self.touch("childEntity")
            self.lab.remove(entity)

    def child(self, name: str) -> Any:
        return next((child for child in self._children if child.props["name"] == name), None)

    def CreateFolder(self, ctx: Any, name: str) -> Any:
        with self.lab.cond:
            self._refuse_duplicate(name)
            if vim.Folder not in self.props["childType"]:
                raise vmodl.fault.NotSupported(msg="This folder cannot hold folders.")
            return self.add(Folder(self.lab, name, self, tuple(self.props["childType"]))).ref

    def RegisterVM_Task(  # noqa: PLR0917 - as on the wire
        self, ctx: Any, path: str, asTemplate: bool, name: str | None = None, pool: Any = None, host: Any = None
    ) -> Any:
        from engine.lab import power  # noqa: PLC0415 - it knows VMs, and VMs are entities

        return power.register(self, ctx, path, name, asTemplate, pool, host)

    def MoveIntoFolder_Task(self, ctx: Any, list: Any) -> Any:
        entities = [self.lab.find(reference) for reference in list]

        def work(task: Task) -> None:
            for entity in entities:
                if not isinstance(entity.ref, tuple(self.props["childType"])):
                    raise vmodl.fault.NotSupported(msg=f"{entity.props['name']} cannot lie in this folder.")
                self.add(entity)

        return Task(self.lab, ctx, self, "MoveIntoFolder_Task", "Folder.moveInto", work).ref

    def Destroy_Task(self, ctx: Any) -> Any:
        def work(task: Task) -> None:
            parent = self.lab.parent_of(self)
            if self._children or not isinstance(parent, Folder):
                raise vim.fault.ResourceInUse(type="Folder", name=self.name)  # the lab empties no folders
            parent.discard(self)

        self.lab.access.demand(ctx.session.user, [(self, "Folder.Delete")])
        return Task(self.lab, ctx, self, "Destroy_Task", "Folder.destroy", work).ref

    def _refuse_duplicate(self, name: str) -> None:
        existing = self.child(name)
        if existing is not None:
            raise vim.fault.DuplicateName(name=name, object=existing.ref, msg=f"The name '{name}' already exists.")
