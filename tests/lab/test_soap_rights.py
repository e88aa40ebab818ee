"""Users, roles, permissions: NoPermission names what lacks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from engine.lab import Lab
from engine.lab.vm import VM
from tests.lab.rig import Site, build_site
from tests.lab.soap_client import finish, login, properties, ref, view_spec

SNAPSHOT = "VirtualMachine.State.CreateSnapshot"
numbers = itertools.count(1)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab.start(tmp_path_factory.mktemp("lab"), seed="empty", guest=False) as lab:
        yield lab


@pytest.fixture(scope="module")
def site(lab: Lab) -> Site:
    return build_site(lab)


@pytest.fixture
def vm(site: Site) -> VM:
    return site.vm(f"vm-of-test-{next(numbers)}", disks=(1 << 20,))


@pytest.fixture
def user(lab: Lab) -> str:
    return f"user{next(numbers)}"


def session(lab: Lab, user: str) -> Any:
    return login(lab, user, "secret")


def reference(instance: Any, vm: VM) -> Any:
    return vim.VirtualMachine(vm.id, instance._stub)


def test_a_missing_privilege_is_named_with_its_entity(lab: Lab, vm: VM, user: str) -> None:
    lab.vsphere.grant(user, "secret", "ReadOnly")
    with pytest.raises(vim.fault.NoPermission) as caught:
        reference(session(lab, user), vm).CreateSnapshot_Task("x", "", False, False)
    fault: Any = caught.value
    assert (fault.object._moId, fault.privilegeId) == (vm.id, SNAPSHOT)
    assert [(m.entity._moId, list(m.privilegeIds)) for m in fault.missingPrivileges] == [(vm.id, [SNAPSHOT])]


def test_a_grant_at_one_vm_holds_there_only(lab: Lab, site: Site, vm: VM, user: str) -> None:
    other = site.vm(f"other-{vm.name}")
    lab.vsphere.grant(user, "secret", "ReadOnly")
    lab.vsphere.grant(user, "secret", [SNAPSHOT], vm)
    instance = session(lab, user)
    finish(reference(instance, vm).CreateSnapshot_Task("x", "", False, False))
    with pytest.raises(vim.fault.NoPermission):
        reference(instance, other).CreateSnapshot_Task("x", "", False, False)


def test_the_nearest_permission_counts(lab: Lab, vm: VM, user: str) -> None:
    lab.vsphere.grant(user, "secret", "Admin")
    lab.vsphere.grant(user, "secret", [], vm)
    with pytest.raises(vim.fault.NoPermission):
        reference(session(lab, user), vm).CreateSnapshot_Task("x", "", False, False)


def test_rights_to_a_snapshot_are_those_to_its_vm(lab: Lab, vm: VM, user: str) -> None:
    admin = login(lab)
    snapshot = finish(reference(admin, vm).CreateSnapshot_Task("x", "", False, False))
    lab.vsphere.grant(user, "secret", [SNAPSHOT], vm)
    theirs = ref(vim.vm.Snapshot, snapshot._moId, session(lab, user))
    with pytest.raises(vim.fault.NoPermission) as caught:
        theirs.RemoveSnapshot_Task(False)
    fault: Any = caught.value
    assert (fault.object._moId, fault.privilegeId) == (vm.id, "VirtualMachine.State.RemoveSnapshot")
    finish(snapshot.RemoveSnapshot_Task(False))


def test_who_has_rights_at_one_vm_sees_it_and_the_way_to_it(lab: Lab, site: Site, vm: VM, user: str) -> None:
    lab.vsphere.grant(user, "secret", [SNAPSHOT], vm)
    content = session(lab, user).RetrieveContent()
    found = content.propertyCollector.RetrieveProperties([view_spec(content, vim.VirtualMachine, ["name"])])
    assert [row.obj._moId for row in found] == [vm.id]
    folder = vim.Folder(site.datacenter.vm_folder.id, content.searchIndex._stub)
    assert properties(folder, "name") == {"name": "vm"}


def test_questions_about_privileges(lab: Lab, vm: VM, user: str) -> None:
    lab.vsphere.grant(user, "secret", [SNAPSHOT], vm)
    content = session(lab, user).RetrieveContent()
    manager, key = content.authorizationManager, content.sessionManager.currentSession.key
    entity = vim.VirtualMachine(vm.id)
    asked = [SNAPSHOT, "VApp.Export", "No.Such"]
    (answer,) = manager.HasPrivilegeOnEntities([entity], key, asked)
    assert {a.privId: a.isGranted for a in answer.privAvailability} == dict(
        zip(asked, [True, False, False], strict=True)
    )
    (result,) = manager.FetchUserPrivilegeOnEntities([entity], user)
    assert set(result.privileges) == {SNAPSHOT, "System.Anonymous", "System.Read", "System.View"}
    assert list(manager.HasPrivilegeOnEntity(entity, key, asked[:2])) == [True, False]


def test_roles(lab: Lab) -> None:
    manager = login(lab).RetrieveContent().authorizationManager
    roles = {role.name: role for role in manager.roleList}
    assert "VirtualMachine.Provisioning.DiskRandomRead" in roles["VMwareConsolidatedBackupUser"].privilege
    assert "VApp.Export" not in roles["VMwareConsolidatedBackupUser"].privilege
    known = {privilege.privId for privilege in manager.privilegeList}
    assert set(roles["Admin"].privilege) == known
    assert {SNAPSHOT, "VApp.Export", "VirtualMachine.Config.ChangeTracking"} <= known


def test_permissions_over_the_wire(lab: Lab, vm: VM, user: str) -> None:
    manager = login(lab).RetrieveContent().authorizationManager
    lab.vsphere.grant(user, "secret", "ReadOnly")
    number = manager.AddAuthorizationRole(f"snapshots of {user}", [SNAPSHOT])
    entity = vim.VirtualMachine(vm.id)
    kind = vim.AuthorizationManager.Permission
    manager.SetEntityPermissions(entity, [kind(principal=user, group=False, roleId=number, propagate=True)])
    assert SNAPSHOT in lab.vsphere.privileges(user, vm)
    inherited = manager.RetrieveEntityPermissions(entity, True)
    assert {p.principal for p in inherited} >= {user, lab.user}
    manager.RemoveEntityPermission(entity, user, False)
    assert SNAPSHOT not in lab.vsphere.privileges(user, vm)
    with pytest.raises(vim.fault.NotFound):
        manager.RemoveEntityPermission(entity, user, False)
    with pytest.raises(vmodl.fault.InvalidArgument):
        manager.AddAuthorizationRole("bad", ["No.Such"])
    manager.RemoveAuthorizationRole(number, True)


def test_session_lists_need_a_privilege(lab: Lab, user: str) -> None:
    lab.vsphere.grant(user, "secret", "ReadOnly")
    manager = session(lab, user).RetrieveContent().sessionManager
    assert manager.sessionList == []
    with pytest.raises(vim.fault.NoPermission):
        manager.TerminateSession(["x"])
    with pytest.raises(vim.fault.NoPermission):
        manager.SessionIsActive("x", "y")
