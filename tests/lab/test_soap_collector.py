"""PropertyCollector: paging, faults, live updates."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from engine.lab import Lab
from tests.lab.rig import Site, build_site
from tests.lab.soap_client import PC, login, properties, until, view_spec


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab.start(tmp_path_factory.mktemp("lab"), seed="empty", guest=False) as lab:
        yield lab


@pytest.fixture(scope="module")
def site(lab: Lab) -> Site:
    site = build_site(lab)
    for number in range(7):
        site.vm(f"web{number:02d}", contents=False)
    return site


@pytest.fixture
def content(lab: Lab, site: Site) -> Any:
    return login(lab).RetrieveContent()


def names(result: Any) -> list[str]:
    return [p.val for o in result for p in o.propSet if p.name == "name"]


def test_pages_together_are_the_unpaged_set(content: Any) -> None:
    collector = content.propertyCollector
    spec = view_spec(content, vim.VirtualMachine, ["name"])
    whole = names(collector.RetrieveProperties([spec]))
    page = collector.RetrievePropertiesEx([spec], PC.RetrieveOptions(maxObjects=3))
    paged = names(page.objects)
    while page.token:
        page = collector.ContinueRetrievePropertiesEx(page.token)
        paged += names(page.objects)
    assert paged == whole
    assert len(whole) == 7


def test_a_cancelled_retrieval_has_no_further_pages(content: Any) -> None:
    collector = content.propertyCollector
    spec = view_spec(content, vim.VirtualMachine, ["name"])
    page = collector.RetrievePropertiesEx([spec], PC.RetrieveOptions(maxObjects=3))
    collector.CancelRetrievePropertiesEx(page.token)
    with pytest.raises(vmodl.fault.InvalidArgument):
        collector.ContinueRetrievePropertiesEx(page.token)


def test_the_server_may_page_unasked(lab: Lab, content: Any) -> None:
    """The API allows it, and a client that ignores the token loses rows."""
    spec = view_spec(content, vim.VirtualMachine, ["name"])
    lab.vsphere.page_limit = 2
    try:
        page = content.propertyCollector.RetrievePropertiesEx([spec], PC.RetrieveOptions())
        assert len(page.objects) == 2
        assert page.token
    finally:
        lab.vsphere.page_limit = None


def test_a_path_that_does_not_exist(content: Any) -> None:
    with pytest.raises(vmodl.query.InvalidProperty):
        properties(content.rootFolder, "nosuch")
    with pytest.raises(vmodl.query.InvalidProperty):
        content.propertyCollector.CreateFilter(view_spec(content, vim.VirtualMachine, ["config.nosuch"]), False)


def test_keyed_elements_of_arrays_are_paths(content: Any, site: Site) -> None:
    vm = site.vm("with-disk", disks=(1 << 20,))
    reference = vim.VirtualMachine(vm.id, content._stub) if hasattr(content, "_stub") else None
    reference = reference or content.searchIndex.FindByUuid(None, vm.instance_uuid, True, True)
    path = "config.hardware.device[2000].capacityInBytes"
    assert properties(reference, path)[path] == 1 << 20


def test_what_the_user_may_not_read_is_in_the_missing_set(lab: Lab, site: Site) -> None:
    lab.vsphere.grant("viewer", "secret", "View")
    instance = login(lab, "viewer", "secret")
    content = instance.RetrieveContent()
    found = content.propertyCollector.RetrieveProperties([view_spec(content, vim.HostSystem, ["name", "config"])])
    assert found
    for row in found:
        assert [p.name for p in row.propSet] == ["name"]
        assert [(m.path, type(m.fault)) for m in row.missingSet] == [("config", vim.fault.NoPermission)]


class Watcher:
    """A filter on a collector of its own, and the version of its last update set."""

    def __init__(self, content: Any, kind: Any, paths: list[str]) -> None:
        self.collector = content.propertyCollector.CreatePropertyCollector()
        self.filter = self.collector.CreateFilter(view_spec(content, kind, paths), False)
        self.version = ""

    def next(self, seconds: int = 20, limit: int | None = None) -> Any:
        options = PC.WaitOptions(maxWaitSeconds=seconds, maxObjectUpdates=limit)
        update = self.collector.WaitForUpdatesEx(self.version, options)
        if update is not None:
            self.version = update.version
        return update


def rows(update: Any) -> list[tuple[str, str]]:
    return [(o.kind, o.obj._moId) for f in update.filterSet for o in f.objectSet]


def test_enter_modify_leave(content: Any, site: Site) -> None:
    watcher = Watcher(content, vim.VirtualMachine, ["name", "runtime.powerState"])
    first = rows(watcher.next())
    assert {kind for kind, _ in first} == {"enter"}
    assert watcher.next(seconds=0) is None

    vm = site.vm("born-later", contents=False)
    assert ("enter", vm.id) in rows(watcher.next())
    vm.set("runtime.powerState", "poweredOff")
    update = watcher.next()
    assert rows(update) == [("modify", vm.id)]
    changes = update.filterSet[0].objectSet[0].changeSet
    assert [(c.name, c.val) for c in changes] == [("runtime.powerState", "poweredOff")]
    site.datacenter.vm_folder.discard(vm)
    assert rows(watcher.next()) == [("leave", vm.id)]


def test_a_change_of_another_property_is_not_told(content: Any, site: Site) -> None:
    vm = site.vm("quiet", contents=False)
    watcher = Watcher(content, vim.VirtualMachine, ["name"])
    watcher.next()
    vm.touch("guest")
    assert watcher.next(seconds=0) is None


def test_updates_are_truncated_and_continue(content: Any, site: Site) -> None:
    watcher = Watcher(content, vim.VirtualMachine, ["name"])
    seen: list[tuple[str, str]] = []
    update = watcher.next(limit=3)
    assert update.truncated
    assert len(rows(update)) == 3
    while update is not None:
        seen += rows(update)
        update = watcher.next(seconds=0, limit=3)
    assert sorted(moid for _, moid in seen) == sorted({vm.id for vm in site.lab.vsphere.all_of(vim.VirtualMachine)})


def test_the_last_version_may_be_asked_again_and_older_ones_not(content: Any, site: Site) -> None:
    watcher = Watcher(content, vim.VirtualMachine, ["name"])
    watcher.next()
    old = watcher.version
    vm = site.vm("again", contents=False)
    first = rows(watcher.next())
    watcher.version = old
    assert rows(watcher.next()) == first == [("enter", vm.id)]
    for name in ("again-2", "again-3"):
        site.vm(name, contents=False)
        watcher.next()
    watcher.version = old
    with pytest.raises(vmodl.query.InvalidCollectorVersion):
        watcher.next(seconds=0)


def waiting(watcher: Watcher, raised: list[BaseException]) -> threading.Thread:
    """A thread that waits, once the server knows that it does."""

    def wait() -> None:
        try:
            watcher.next(seconds=60)
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@pytest.mark.parametrize("how", ["cancel", "destroy", "logout", "destroy view"])
def test_a_waiter_is_woken(lab: Lab, content: Any, site: Site, how: str) -> None:
    watcher = Watcher(content, vim.VirtualMachine, ["name"])
    watcher.next()
    key = content.sessionManager.currentSession.key
    session = next(s for s in lab.vsphere.sessions.all() if s.key == key)
    raised: list[BaseException] = []
    thread = waiting(watcher, raised)
    until(lambda: session.waiting)
    if how == "cancel":
        watcher.collector.CancelWaitForUpdates()
    elif how == "destroy":
        watcher.collector.DestroyPropertyCollector()
    elif how == "logout":
        content.sessionManager.Logout()
    else:
        content.viewManager.viewList[0].DestroyView()
    thread.join(10)
    assert not thread.is_alive()
    if how == "destroy view":
        assert raised == []  # its objects leave the filter
    else:
        assert [type(error) for error in raised] == [vmodl.fault.RequestCanceled]


def test_a_session_that_waits_does_not_expire(lab: Lab, content: Any, site: Site) -> None:
    watcher = Watcher(content, vim.VirtualMachine, ["name"])
    watcher.next()
    key = content.sessionManager.currentSession.key
    session = next(s for s in lab.vsphere.sessions.all() if s.key == key)
    thread = waiting(watcher, [])
    until(lambda: session.waiting)
    session.used -= 10_000
    lab.vsphere.sessions.expire_idle()
    assert not session.dead
    site.vm("wakes-the-waiter", contents=False)
    thread.join(10)


def test_the_default_collector_is_one_per_session(lab: Lab, content: Any, site: Site) -> None:
    content.propertyCollector.CreateFilter(view_spec(content, vim.VirtualMachine, ["name"]), False)
    assert content.propertyCollector.CheckForUpdates("") is not None
    other = login(lab).RetrieveContent()
    assert other.propertyCollector.filter == []
    assert other.propertyCollector.CheckForUpdates("") is None


def test_list_views(content: Any, site: Site) -> None:
    vms = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True).view
    view = content.viewManager.CreateListView(vms[:2])
    assert [r._moId for r in view.view] == [r._moId for r in vms[:2]]
    view.ModifyListView(add=vms[2:3], remove=vms[:1])
    assert [r._moId for r in view.view] == [r._moId for r in vms[1:3]]


def test_a_thousand_vms_are_watched_cheaply(lab: Lab, content: Any, site: Site) -> None:
    """Counts work, not time: an update reads only what has changed."""
    lab.vsphere.persistence.saving = False
    for number in range(1000):
        site.vm(f"many{number:04d}", contents=False)
    watcher = Watcher(content, vim.VirtualMachine, ["name", "config.version", "runtime.powerState"])
    watcher.next(seconds=60)
    vms = lab.vsphere.all_of(vim.VirtualMachine)
    reads: list[str] = []
    for vm in vms:
        get = vm.get
        vm.get = lambda path, get=get, vm=vm: reads.append(vm.id) or get(path)
    vms[500].set("runtime.powerState", "suspended")
    assert rows(watcher.next()) == [("modify", vms[500].id)]
    assert set(reads) == {vms[500].id}
