"""HostDatastoreBrowser: searches of a datastore by name pattern and kind of file."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from typing import Any

from pyVmomi import vim

from engine.lab import tasks
from engine.lab.registry import MO
from engine.lab.store import Entry, entries, look, parse_path

Browser: Any = vim.host.DatastoreBrowser
# kind of file by its suffix: (query type, info type)
KINDS: tuple[tuple[tuple[str, ...], Any, Any], ...] = (
    ((".vmx",), Browser.VmConfigQuery, Browser.VmConfigInfo),
    ((".vmtx",), Browser.TemplateVmConfigQuery, Browser.TemplateVmConfigInfo),
    ((".nvram",), Browser.VmNvramQuery, Browser.VmNvramInfo),
    ((".vmsn", ".vmsd"), Browser.VmSnapshotQuery, Browser.VmSnapshotInfo),
    ((".log",), Browser.VmLogQuery, Browser.VmLogInfo),
    ((".iso",), Browser.IsoImageQuery, Browser.IsoImageInfo),
    ((".flp", ".img"), Browser.FloppyImageQuery, Browser.FloppyImageInfo),
)


def browser_for(owner: MO) -> Any:
    """Reference of the browser of a datastore, or of a host (all that it mounts); made when first asked for."""
    moid = f"{owner.id}-browser"
    with owner.lab.cond:
        browser = owner.lab.objects.get(moid) or DatastoreBrowser(owner, moid)
        return browser.ref


class DatastoreBrowser(MO):
    vim = Browser

    def __init__(self, owner: Any, moid: str) -> None:
        queries = [query() for _, query, _ in KINDS] + [Browser.VmDiskQuery(), Browser.FolderQuery()]
        super().__init__(owner.lab, moid, supportedType=queries)
        self.owner = owner
        self.props["datastore"] = lambda: [store.ref for store in self.datastores]

    @property
    def datastores(self) -> list[Any]:
        return [self.owner] if issubclass(self.owner.vim, vim.Datastore) else list(self.owner.datastores)

    def privilege_checks(self, info: Any, arguments: dict[str, Any]) -> list[tuple[MO, str]]:
        return [(store, "Datastore.Browse") for store in self.datastores]

    def SearchDatastore_Task(self, ctx: Any, datastorePath: str, searchSpec: Any = None) -> Any:
        """Task with the SearchResults of one directory; FileNotFound when it is not there."""
        store, relative = self._place(datastorePath)

        def work(task: tasks.Task) -> Any:
            directory = self._directory(store, relative, datastorePath)
            return self._search(store, relative, directory, searchSpec)

        return self._task(ctx, store, "SearchDatastore_Task", "Datastore.searchDatastore", work)

    def SearchDatastoreSubFolders_Task(self, ctx: Any, datastorePath: str, searchSpec: Any = None) -> Any:
        """The same for a directory and all below it: a list of SearchResults."""
        store, relative = self._place(datastorePath)

        def work(task: tasks.Task) -> Any:
            top = self._directory(store, relative, datastorePath)
            found = [self._search(store, name, entry, searchSpec) for name, entry in self._walk(store, relative, top)]
            return Browser.SearchResults.Array(found)

        name = "SearchDatastoreSubFolders_Task"
        return self._task(ctx, store, name, "Datastore.searchDatastoreSubFolders", work)

    def _task(self, ctx: Any, store: Any, name: str, description_id: str, work: Any) -> Any:
        return tasks.start(ctx, store, name, description_id, work)

    def _place(self, path: str) -> tuple[Any, str]:
        name, relative = parse_path(path)
        store = next((s for s in self.datastores if s.value("name") == name), None)
        if store is None:
            raise vim.fault.InvalidDatastorePath(datastorePath=path, msg=f"Invalid datastore path '{path}'.")
        return store, relative

    def _directory(self, store: Any, relative: str, path: str) -> Entry:
        entry = look(self.lab, store, relative)
        if entry is None or not entry.directory:
            raise vim.fault.FileNotFound(file=path, msg=f"File {path} was not found")
        return entry

    def _walk(self, store: Any, relative: str, directory: Entry) -> Iterator[tuple[str, Entry]]:
        yield relative, directory
        for entry in entries(self.lab, store, directory.path):
            if entry.directory:
                yield from self._walk(store, f"{relative}/{entry.name}".lstrip("/"), entry)

    def _search(self, store: Any, relative: str, directory: Entry, spec: Any) -> Any:
        spec = spec or Browser.SearchSpec()
        found = [e for e in entries(self.lab, store, directory.path) if _matches(e, spec)]
        if spec.sortFoldersFirst:
            found.sort(key=lambda entry: not entry.directory)
        path = f"[{store.value('name')}] {relative}" if relative else f"[{store.value('name')}]"
        infos = [info for entry in found if (info := _info(entry, spec)) is not None]
        return Browser.SearchResults(datastore=store.ref, folderPath=path, file=infos)


def _matches(entry: Entry, spec: Any) -> bool:
    patterns, name = spec.matchPattern or ["*"], entry.name
    if spec.searchCaseInsensitive:
        patterns, name = [p.lower() for p in patterns], name.lower()
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _kind(entry: Entry) -> tuple[Any, Any]:
    """(query type, info type); (None, FileInfo) for what no query but an empty one finds."""
    if entry.directory:
        return Browser.FolderQuery, Browser.FolderInfo
    if entry.disk is not None and not entry.extent:
        return Browser.VmDiskQuery, Browser.VmDiskInfo
    for suffixes, query, info in KINDS:
        if entry.name.endswith(suffixes):
            return query, info
    return None, Browser.FileInfo


def _info(entry: Entry, spec: Any) -> Any:
    """The entry as a FileInfo of its kind; None when the queries of the search don't ask for this kind."""
    kind, info_type = _kind(entry)
    query = next((q for q in spec.query or () if kind is not None and isinstance(q, kind)), None)
    if spec.query and query is None:
        return None
    details = spec.details
    info = info_type(path=entry.name) if details is None or details.fileType else Browser.FileInfo(path=entry.name)
    if details is not None and details.fileSize:
        info.fileSize = _size(entry)
    if details is not None and details.modification:
        info.modification = entry.modified()
    if details is not None and details.fileOwner:
        info.owner = "root"
    if isinstance(info, Browser.VmDiskInfo) and query is not None and query.details is not None:
        _disk_details(info, entry, query.details)
    return info


def _size(entry: Entry) -> int:
    """A disk's descriptor stands for the disk: its size is what the extent occupies."""
    if entry.disk is not None and not entry.extent:
        return entry.disk.bytes_allocated(entry.layer)
    return entry.allocated if entry.extent else entry.size


def _disk_details(info: Any, entry: Entry, wanted: Any) -> None:
    disk = entry.disk
    if wanted.diskType:
        info.diskType = vim.vm.device.VirtualDisk.FlatVer2BackingInfo
    if wanted.capacityKb:
        info.capacityKb = disk.capacity // 1024
    if wanted.hardwareVersion:
        info.hardwareVersion = 21
    if wanted.controllerType:
        info.controllerType = vim.vm.device.ParaVirtualSCSIController
    if wanted.diskExtents:
        info.diskExtents = [entry.layer.path.name]
    if wanted.thin:
        info.thin = disk.provisioning == "thin"
