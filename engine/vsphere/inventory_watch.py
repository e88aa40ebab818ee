"""The inventory, read once in pages and then followed: what appears, changes and goes, for as long as somebody asks.

One collector of our own with two filters: every entity below the root folder, and the server's recent tasks. The first
WaitForUpdatesEx answers are the inventory itself, cut into pages by maxObjectUpdates; the later ones are changes of
single properties. They are read by our own parser (see engine.vsphere.properties): pyVmomi's would need four times the
CPU for the pages. Source of the protocol facts: the vSphere API reference, PropertyCollector.WaitForUpdatesEx.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from xml.etree import ElementTree

from pyVmomi import VmomiSupport, vim, vmodl

from engine.vsphere import disks
from engine.vsphere.decoding import NS, Ref, decode, unescaped
from engine.vsphere.inventory import READERS, WITH_DISKS, Places, VirtualMachine, virtual_machine
from engine.vsphere.properties import get_one
from engine.vsphere.session import Session
from engine.vsphere.snapshots import TREE
from engine.vsphere.soap import Body
from engine.vsphere.watch import PATIENCE

_Spec = vmodl.query.PropertyCollector
_PATHS: dict[str, tuple[str, ...]] = {
    "Folder": ("name", "parent", "childType"),
    "Datacenter": ("name", "parent"),
    "ComputeResource": ("name", "parent"),
    "HostSystem": ("name", "parent"),
    "VirtualApp": ("name", "parent", "parentFolder"),
    "VirtualMachine": (*WITH_DISKS, "rootSnapshot"),
}
_TASK_PATHS = ("info.state", "info.descriptionId", "info.entity")
_KINDS = {
    "Folder": "folder",
    "Datacenter": "datacenter",
    "ComputeResource": "host group",
    "ClusterComputeResource": "cluster",
    "HostSystem": "host",
    "VirtualApp": "vapp",
}
_DEAD = (vmodl.query.InvalidCollectorVersion, vmodl.fault.RequestCanceled)
"""What a wait ends with when its collector, or the session of it, was ended by the server."""

_RUNNING = ("running", "queued")


@dataclass(frozen=True)
class Place:
    """What holds VMs. `kind`: folder, datacenter, cluster, host group (one host that is in no cluster), host or vapp;
    `parent` is a moref, "" below the root folder."""

    moref: str
    kind: str
    name: str
    parent: str


@dataclass(frozen=True)
class PlacedMachine:
    """A VM, the morefs of its folder (or vApp) and of its host, and what the server does with it just now: the task's
    description id, such as VirtualMachine.createSnapshot; "" when it is at rest.

    The machine's own `path`, `datacenter` and `host` tell nothing: whoever has the places knows their names, and a
    renamed folder is one row."""

    machine: VirtualMachine
    folder: str
    host: str
    task: str


@dataclass
class Changes:
    """What one wait brought. `complete`: nothing more is on its way at this moment."""

    rows: list[Place | PlacedMachine] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    complete: bool = True


class _Update(NamedTuple):
    kind: str
    ref: Ref
    values: dict[str, Any]
    """None for a property that became unset."""


def _data_files(element: ElementTree.Element) -> list[Mapping[str, Any]]:
    """Of `layoutEx.file` only what counts for the allocated size: half a VM's files are logs and swap."""
    return [file for child in element if (file := decode(child, "VirtualMachineFileLayoutExFileInfo"))["type"] == _DATA]


_DATA = "diskExtent"
_READERS = {**READERS, disks.LAYOUT[0]: _data_files}


class InventoryWatch:
    """For one thread. Survives lost sessions and dropped connections as reads do, once a call; after that, or after any
    raised error, the next `changes` starts over and tells only what differs from what it told before."""

    def __init__(self, session: Session, *, page: int = 250) -> None:
        self._session, self._page = session, page
        self._collector: Any = None
        self._version = ""
        self._patience = max(1, min(PATIENCE, int(session.stub.timeout / 2)))
        self._unknown: set[str] = set()
        self._values: dict[Ref, dict[str, Any]] = {}
        self._told: dict[Ref, Place | PlacedMachine] = {}
        self._unseen: set[Ref] = set()
        self._tasks: dict[Ref, tuple[Ref, str]] = {}

    def count_machines(self) -> int:
        """How many VMs there are, in one cheap call. Raises translated errors."""
        doing = "counting the VMs"
        view = self._session.read(lambda: self._view(["VirtualMachine"]), doing=doing)
        try:
            return len(get_one(self._session, Ref("ContainerView", view._moId), ["view"]).get("view", ()))
        finally:
            with suppress(vmodl.MethodFault, *Session.DROPPED):
                view.DestroyView()

    def changes(self) -> Changes:
        """Waits until something happens, at most for the server's patience (then nothing has changed). Raises
        translated errors."""
        recovery, begun_anew = self._session.recovery(), False
        options = _Spec.WaitOptions(maxWaitSeconds=self._patience, maxObjectUpdates=self._page)
        while True:
            try:
                self._collector = self._collector or self._open()
                updates, truncated = self._wait(options)
            except (vmodl.MethodFault, *Session.DROPPED) as error:
                self._collector = None
                if isinstance(error, _DEAD) and not begun_anew:
                    begun_anew = True
                    continue
                recovery.after(error, doing="watching the inventory", subject=self._session.host)
            else:
                return self._taken_in(updates, complete=not truncated)

    def _open(self) -> Any:
        """A collector with both filters; everything will be told again."""
        self._version, self._unseen, self._tasks = "", set(self._values), {}
        collector = self._session.content.propertyCollector.CreatePropertyCollector()
        view = self._view(list(_PATHS))
        walk = _Spec.TraversalSpec(path="view", skip=False, type=vim.view.ContainerView)
        self._filter(collector, view, walk, _PATHS)
        tasks = _Spec.TraversalSpec(path="recentTask", skip=False, type=vim.TaskManager)
        self._filter(collector, self._session.content.taskManager, tasks, {"Task": _TASK_PATHS})
        return collector

    def _view(self, types: list[str]) -> Any:
        kinds = [VmomiSupport.GetWsdlType("urn:vim25", kind) for kind in types]
        content = self._session.content
        return content.viewManager.CreateContainerView(content.rootFolder, kinds, True)

    def _filter(self, collector: Any, start: Any, walk: Any, paths: Mapping[str, tuple[str, ...]]) -> None:
        """Without partial updates: a changed device list comes whole, under the path that was asked for."""
        while True:
            wanted = [
                _Spec.PropertySpec(
                    type=VmomiSupport.GetWsdlType("urn:vim25", kind),
                    pathSet=[path for path in all_paths if path not in self._unknown],
                    all=False,
                )
                for kind, all_paths in paths.items()
            ]
            spec = _Spec.FilterSpec(
                objectSet=[_Spec.ObjectSpec(obj=start, skip=True, selectSet=[walk])], propSet=wanted
            )
            try:
                collector.CreateFilter(spec, False)
                return
            except vmodl.query.InvalidProperty as error:
                if error.name in self._unknown:
                    raise
                self._session.report.step(f"This server has no property {error.name}; it is treated as unset.")
                self._unknown.add(error.name)

    def _wait(self, options: Any) -> tuple[list[_Update], bool]:
        info = type(self._collector)._GetMethodInfo("WaitForUpdatesEx")
        with self._session.stub.exchange(self._collector, info, (self._version, options)) as answer:
            if answer.status == 500:
                raise self._session.stub.fault_in(answer.body)
            updates, version, truncated = parse_updates(answer.body)
        self._version = version or self._version
        return updates, truncated

    def _taken_in(self, updates: list[_Update], *, complete: bool) -> Changes:
        changes = Changes(complete=complete)
        touched: dict[Ref, None] = {}
        for update in updates:
            if update.ref.type == "Task":
                touched.update(dict.fromkeys(self._task(update)))
            elif update.kind == "leave":
                self._forget(update.ref, changes)
            else:
                self._unseen.discard(update.ref)
                known = {} if update.kind == "enter" else self._values.get(update.ref, {})
                merged = {**known, **update.values}
                if not update.values.get("rootSnapshot", True):
                    merged[TREE] = None  # vcsim tells only so that the last snapshot has gone
                self._values[update.ref] = {path: value for path, value in merged.items() if value is not None}
                touched[update.ref] = None
        if complete and self._unseen:  # it went while nobody looked
            for ref in self._unseen:
                self._forget(ref, changes)
            self._unseen = set()
        for ref in touched:
            self._tell(ref, changes)
        return changes

    def _forget(self, ref: Ref, changes: Changes) -> None:
        self._values.pop(ref, None)
        if self._told.pop(ref, None) is not None:
            changes.gone.append(ref.moid)

    def _task(self, update: _Update) -> Iterator[Ref]:
        """Notes a task's beginning or end; the VM whose row may differ now."""
        before = self._tasks.pop(update.ref, None)
        if before is not None:
            yield before[0]
        values = update.values
        if update.kind == "leave":
            return
        entity = values.get("info.entity") or (before and before[0])
        what = values.get("info.descriptionId") or (before and before[1]) or ""
        if values.get("info.state", "running") in _RUNNING and entity and entity.type == "VirtualMachine":
            self._tasks[update.ref] = (entity, what)
            yield entity

    def _tell(self, ref: Ref, changes: Changes) -> None:
        values = self._values.get(ref)
        row = self._row(ref, values) if values is not None else None
        if row is not None and row != self._told.get(ref):
            self._told[ref] = row
            changes.rows.append(row)

    def _row(self, ref: Ref, values: Mapping[str, Any]) -> Place | PlacedMachine | None:
        if ref.type == "VirtualMachine":
            return self._placed(ref, values)
        above = values.get("parentFolder") or values.get("parent")
        if ref.type == "Folder" and (above is None or not _may_hold_machines(values)):
            return None
        parent = above.moid if above is not None else ""
        root = self._session.content.rootFolder._moId
        kind, name = _KINDS.get(ref.type, "folder"), unescaped(values.get("name", ""))
        return Place(ref.moid, kind, name, "" if parent == root else parent)

    def _placed(self, ref: Ref, values: Mapping[str, Any]) -> PlacedMachine:
        host = values.get("runtime.host")
        folder = values.get("parentVApp") or values.get("parent")
        return PlacedMachine(
            machine=virtual_machine(ref, values, Places({}), {}),
            folder=folder.moid if folder else "",
            host=host.moid if host else "",
            task=next((what for entity, what in self._tasks.values() if entity == ref), ""),
        )

    def close(self) -> None:
        """Ends a wait in another thread, too, which then raises."""
        collector, self._collector = self._collector, None
        if collector is not None:
            with suppress(vmodl.MethodFault, *Session.DROPPED):
                collector.DestroyPropertyCollector()


def _may_hold_machines(folder: Mapping[str, Any]) -> bool:
    """Not the folders of datastores and networks. A folder that doesn't tell is shown."""
    kinds = folder.get("childType")
    return not kinds or not {"Datastore", "Network"} & set(kinds)


def parse_updates(body: Body) -> tuple[list[_Update], str, bool]:
    """The object updates of an UpdateSet as it streams in, its version ("" when nothing happened), and whether more
    waits on the server."""
    updates: list[_Update] = []
    version, truncated, depth = "", False, 0
    for event, element in ElementTree.iterparse(body, events=("start", "end")):  # noqa: S314 - expat limits expansion
        if event == "start":
            depth += 1
            continue
        depth -= 1
        if depth == _IN_SET:
            if element.tag == NS + "version":
                version = element.text or ""
            elif element.tag == NS + "truncated":
                truncated = element.text in ("true", "1")
        elif depth == _IN_FILTER and element.tag == NS + "objectSet":
            updates.append(_update(element))
            element.clear()
    return updates, version, truncated


_IN_SET = 4
"""Elements around a member of the returned UpdateSet: Envelope, Body, the response, returnval."""
_IN_FILTER = _IN_SET + 1


def _update(element: ElementTree.Element) -> _Update:
    obj = element.find(NS + "obj")
    assert obj is not None
    values: dict[str, Any] = {}
    for change in element.iterfind(NS + "changeSet"):
        path, value = change.findtext(NS + "name", ""), change.find(NS + "val")
        values[path] = None if value is None else _READERS.get(path, decode)(value)
    return _Update(element.findtext(NS + "kind", ""), decode(obj), values)
