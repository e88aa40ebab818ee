"""Reads properties of managed objects: many objects and leaf paths in one call, in pages, without pyVmomi's objects.

Ask for leaf paths (`runtime.powerState`, not `runtime`): the answer is smaller, and works on every server we know.
A path that the server's version does not have is left out of the rows, as an unset one is. Values: see
engine.vsphere.decoding.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from xml.etree import ElementTree

from pyVmomi import VmomiSupport, vim, vmodl

from engine.errors import VcbError, VmUnsuitable, VsphereError
from engine.vsphere.connection import UNREADABLE, Undecodable
from engine.vsphere.decoding import NS, Ref, decode, type_name
from engine.vsphere.soap import Stub

if TYPE_CHECKING:
    from engine.vsphere.session import Session

__all__ = ["Ref", "Row", "collect", "get", "get_one", "parse_objects"]

_Spec = vmodl.query.PropertyCollector
_LARGEST_OBJECT = 1_000_000
"""XML elements of one object's properties; more are held in memory for nobody."""
Readers = Mapping[str, Callable[[ElementTree.Element], Any]]
"""Own readers for the raw `val` element of some paths, where decoding everything would be waste."""


class Row(NamedTuple):
    """One object: the values that are set, and for paths that could not be read the name of the fault."""

    ref: Ref
    values: dict[str, Any]
    missing: dict[str, str]


class _Selection(NamedTuple):
    """What to read: starting objects, how to walk from them, and paths by type."""

    objects: list[Any]
    paths: dict[str, list[str]]


def get(
    session: "Session", refs: Iterable[Ref], paths: Sequence[str], *, readers: Readers | None = None
) -> dict[Ref, dict[str, Any]]:
    """`paths` of all `refs` (of one or several types). Objects that no longer exist are absent from the answer."""
    left = list(dict.fromkeys(refs))
    while left:
        try:
            return {row.ref: row.values for row in _read_now(session, left, paths, readers or {})}
        except (VsphereError, VmUnsuitable) as error:
            gone = _gone(error)
            if gone is None or gone not in left:
                raise
            left.remove(gone)
    return {}


def get_one(session: "Session", ref: Ref, paths: Sequence[str], *, readers: Readers | None = None) -> dict[str, Any]:
    """`paths` of one object; unset or unknown paths are absent. Raises `VmUnsuitable` for a VM that is gone,
    `VsphereError` (fault ManagedObjectNotFound) for any other object that is."""
    found = get(session, [ref], paths, readers=readers)
    if ref in found:
        return found[ref]
    if ref.type == "VirtualMachine":
        raise VmUnsuitable(
            f"The VM {ref.moid} no longer exists: it was deleted or removed from the inventory.",
            fault="ManagedObjectNotFound",
        )
    raise VsphereError(f"{ref.type} {ref.moid} no longer exists.", fault="ManagedObjectNotFound")


def collect(
    session: "Session",
    type_name: str,
    paths: Sequence[str],
    *,
    container: Ref | None = None,
    page: int = 500,
    readers: Readers | None = None,
) -> Iterator[Row]:
    """`paths` of every object of a type below `container` (default: the whole inventory), in pages of `page` rows.

    A page is read whole before its first row is handed out, so a slow consumer holds no connection. When the session
    is lost between pages the walk starts again in the new one; no row comes twice.
    """
    root = container or Ref("Folder", session.content.rootFolder._moId)
    seen: set[Ref] = set()
    recovery = session.recovery()
    while True:
        try:
            for row in _walk(session, root, {type_name: list(paths)}, page, readers or {}):
                if row.ref not in seen:
                    seen.add(row.ref)
                    yield row
            return
        except (vmodl.MethodFault, *session.DROPPED) as error:
            recovery.after(error, doing="reading the inventory", subject=type_name)


def _walk(
    session: "Session", root: Ref, selection: Mapping[str, list[str]], page: int, readers: Readers
) -> Iterator[Row]:
    """One pass through a view of its own, which dies with the session."""
    (type_name,) = selection
    kind = VmomiSupport.GetWsdlType("urn:vim25", type_name)
    manager = session.content.viewManager
    view = manager.CreateContainerView(session.managed(root), [kind], True)
    try:
        step = _Spec.TraversalSpec(name="view", path="view", skip=False, type=vim.view.ContainerView)
        start = _Spec.ObjectSpec(obj=view, skip=True, selectSet=[step])
        yield from _retrieve(session, _Selection([start], dict(selection)), page, readers)
    finally:
        with suppress(vmodl.MethodFault, *session.DROPPED):  # the session may be gone, and the view with it
            view.DestroyView()


def ancestors(session: "Session", ref: Ref) -> dict[Ref, dict[str, Any]]:
    """`ref` and all that lies above it, each with `name` and its `parent` (vApps: `parentFolder` too), in one call."""
    up = _Spec.SelectionSpec(name="up")
    steps = [
        _Spec.TraversalSpec(name="up", type=vim.ManagedEntity, path="parent", skip=False, selectSet=[up]),
        _Spec.TraversalSpec(type=vim.VirtualMachine, path="parentVApp", skip=False, selectSet=[up]),
        _Spec.TraversalSpec(type=vim.VirtualApp, path="parentFolder", skip=False, selectSet=[up]),
    ]
    start = _Spec.ObjectSpec(obj=session.managed(ref), skip=False, selectSet=steps)
    paths = {"ManagedEntity": ["name", "parent"], "VirtualMachine": ["parentVApp"], "VirtualApp": ["parentFolder"]}
    rows = session.read(lambda: list(_retrieve(session, _Selection([start], paths), 0, {})))
    nodes: dict[Ref, dict[str, Any]] = defaultdict(dict)
    for row in rows:
        nodes[row.ref].update(row.values)
    return dict(nodes)


def _read_now(session: "Session", refs: Sequence[Ref], paths: Sequence[str], readers: Readers) -> list[Row]:
    by_type: dict[str, list[str]] = defaultdict(list)
    for ref in refs:
        by_type[ref.type] = list(paths)
    starts = [_Spec.ObjectSpec(obj=session.managed(ref), skip=False) for ref in refs]
    return session.read(
        lambda: list(_retrieve(session, _Selection(starts, dict(by_type)), 0, readers)),
        doing="reading properties",
        subject=", ".join(sorted(by_type)),
    )


def _retrieve(session: "Session", selection: _Selection, page: int, readers: Readers) -> Iterator[Row]:
    """RetrievePropertiesEx and its continuations. Raises raw faults and connection errors."""
    collector = session.content.propertyCollector
    options = _Spec.RetrieveOptions(maxObjects=page or None)
    rows, token = _first(session, collector, selection, options, readers)
    yield from rows
    while token:
        rows, token = _call(session.stub, collector, "ContinueRetrievePropertiesEx", (token,), readers)
        yield from rows


def _first(
    session: "Session", collector: Any, selection: _Selection, options: Any, readers: Readers
) -> tuple[list[Row], str]:
    """The first page. Paths that this server's version does not have are left out one by one."""
    while True:
        session.report.api(f"RetrievePropertiesEx of {', '.join(f'{t} {p}' for t, p in selection.paths.items())}")
        wanted = [
            _Spec.PropertySpec(type=VmomiSupport.GetWsdlType("urn:vim25", kind), pathSet=paths, all=False)
            for kind, paths in selection.paths.items()
        ]
        spec = _Spec.FilterSpec(objectSet=selection.objects, propSet=wanted)
        try:
            return _call(session.stub, collector, "RetrievePropertiesEx", ([spec], options), readers)
        except vmodl.query.InvalidProperty as error:
            unknown = error.name
            if not any(unknown in paths for paths in selection.paths.values()):
                raise
            session.report.step(f"This server has no property {unknown}; it is treated as unset.")
            for paths in selection.paths.values():
                if unknown in paths:
                    paths.remove(unknown)


def _call(stub: Stub, collector: Any, method: str, args: tuple[Any, ...], readers: Readers) -> tuple[list[Row], str]:
    info = type(collector)._GetMethodInfo(method)
    with stub.exchange(collector, info, args) as answer:
        if answer.status == 500:
            raise stub.fault_in(answer.body)
        rows, token = parse_objects(answer.body, readers)
    if any("NotAuthenticated" in row.missing.values() for row in rows):
        raise vim.fault.NotAuthenticated(msg="The session has ended.")  # told per property instead of as a fault
    return rows, token


class Readable(Protocol):
    def read(self, size: int = ..., /) -> bytes: ...


def parse_objects(body: Readable, readers: Readers) -> tuple[list[Row], str]:
    """Rows of a RetrieveResult as it streams in, and the token of the next page ("" at the end). Raises ParseError for
    what is no XML, Undecodable for what is no such result, or larger than any that a vCenter sends."""
    try:
        return _parsed(body, readers)
    except UNREADABLE as error:
        raise Undecodable(f"properties: {error!r:.200}") from error


def _parsed(body: Readable, readers: Readers) -> tuple[list[Row], str]:
    rows: list[Row] = []
    token, held = "", 0
    for _, element in ElementTree.iterparse(body, events=("end",)):  # noqa: S314 - expat limits entity expansion
        held += 1
        if held > _LARGEST_OBJECT:
            raise ValueError(f"one object of more than {_LARGEST_OBJECT:,} elements")
        if element.tag == NS + "objects":
            rows.append(_row(element, readers))
            element.clear()
            held = 0
        elif element.tag == NS + "token":
            token = element.text or ""
    return rows, token


def _row(element: ElementTree.Element, readers: Readers) -> Row:
    obj = element.find(NS + "obj")
    ref = decode(obj) if obj is not None else None
    if not isinstance(ref, Ref):
        raise ValueError("an object without a reference")
    row = Row(ref, {}, {})
    for member in element.iterfind(NS + "propSet"):
        path, value = member.findtext(NS + "name", ""), member.find(NS + "val")
        if value is not None:  # vcsim sends unset properties as a propSet without val
            row.values[path] = readers.get(path, decode)(value)
    for member in element.iterfind(NS + "missingSet"):
        fault = member.find(f"{NS}fault/{NS}fault")
        row.missing[member.findtext(NS + "path", "")] = type_name(fault) if fault is not None else ""
    return row


def _gone(error: VcbError) -> Ref | None:
    """The object that a translated ManagedObjectNotFound is about."""
    fault = error.__cause__
    obj = getattr(fault, "obj", None) if isinstance(fault, vmodl.fault.ManagedObjectNotFound) else None
    return Ref(VmomiSupport.GetWsdlName(type(obj)), obj._moId) if obj is not None else None
