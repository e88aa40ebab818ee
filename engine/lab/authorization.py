"""Users, roles and permissions: who may do what to which object.

A permission gives a user a role at an entity and, if it propagates, below it; the nearest permission on the way up
counts, as on a vCenter. Objects outside the inventory tree (views, sessions, managers) are governed by the root folder,
but System.* on them belongs to everybody who is logged in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pyVmomi import VmomiSupport, vim, vmodl

from engine.lab import wire
from engine.lab.registry import MO

SYSTEM = frozenset({"System.Anonymous", "System.View", "System.Read"})
# what the type tables name only in documentation: ReconfigVM_Task and others decide by their arguments
BY_ARGUMENT = (
    "Authorization.ModifyPermissions Datastore.AllocateSpace Datastore.Browse Datastore.Config "
    "Datastore.FileManagement Datastore.UpdateVirtualMachineFiles Global.CancelTask Global.DisableMethods "
    "Global.EnableMethods Global.Licenses Global.Settings Network.Assign Resource.AssignVMToPool System.Anonymous "
    "System.Read System.View VApp.Export VApp.Import VirtualMachine.Config.AddExistingDisk "
    "VirtualMachine.Config.AddNewDisk VirtualMachine.Config.AddRemoveDevice VirtualMachine.Config.AdvancedConfig "
    "VirtualMachine.Config.Annotation VirtualMachine.Config.CPUCount VirtualMachine.Config.ChangeTracking "
    "VirtualMachine.Config.DiskExtend VirtualMachine.Config.DiskLease VirtualMachine.Config.EditDevice "
    "VirtualMachine.Config.Memory VirtualMachine.Config.RawDevice VirtualMachine.Config.RemoveDisk "
    "VirtualMachine.Config.Rename VirtualMachine.Config.Resource VirtualMachine.Config.Settings "
    "VirtualMachine.Inventory.Create VirtualMachine.Inventory.CreateFromExisting VirtualMachine.Inventory.Delete "
    "VirtualMachine.Inventory.Register VirtualMachine.Inventory.Unregister "
    "VirtualMachine.Provisioning.DiskRandomAccess VirtualMachine.Provisioning.DiskRandomRead "
    "VirtualMachine.Provisioning.FileRandomAccess VirtualMachine.Provisioning.GetVmFiles "
    "VirtualMachine.Provisioning.PutVmFiles"
)


def all_privileges() -> frozenset[str]:
    """Every privilege id that the type tables demand anywhere, and those that depend on arguments."""
    from_tables = {
        method[5] for table in VmomiSupport._managedDefMap.values() for method in table[5] or () if method[5]
    }
    return frozenset(from_tables | set(BY_ARGUMENT.split()))


ALL_PRIVILEGES = all_privileges()
BACKUP_SAMPLE = SYSTEM | {  # the role that every vCenter ships since the days of VCB (facts/vsphere-backup.md 1.4)
    "VirtualMachine.Config.DiskLease",
    "VirtualMachine.Provisioning.DiskRandomRead",
    "VirtualMachine.Provisioning.GetVmFiles",
    "VirtualMachine.State.CreateSnapshot",
    "VirtualMachine.State.RemoveSnapshot",
}


@dataclass
class Role:
    number: int
    name: str
    label: str
    privileges: frozenset[str]
    system: bool = True

    def to_vim(self) -> Any:
        described = vim.Description(label=self.label, summary=self.label)
        return vim.AuthorizationManager.Role(
            roleId=self.number, name=self.name, system=self.system, info=described, privilege=sorted(self.privileges)
        )


ROLES = (
    Role(-5, "NoAccess", "No access", frozenset()),
    Role(-4, "Anonymous", "Anonymous", frozenset({"System.Anonymous"})),
    Role(-3, "View", "View", frozenset({"System.Anonymous", "System.View"})),
    Role(-2, "ReadOnly", "Read-only", SYSTEM),
    Role(-1, "Admin", "Administrator", ALL_PRIVILEGES),
    Role(7, "VMwareConsolidatedBackupUser", "VMware Consolidated Backup user (sample)", BACKUP_SAMPLE, system=False),
)


@dataclass(frozen=True)
class Permission:
    user: str
    entity: str
    role: int
    propagate: bool = True

    def to_vim(self, lab: Any) -> Any:
        entity = lab.objects[self.entity].ref
        return vim.AuthorizationManager.Permission(
            entity=entity, principal=self.user, group=False, roleId=self.role, propagate=self.propagate
        )


@dataclass
class User:
    name: str
    password: str = field(repr=False)


class Access:
    """The rights of one server's users."""

    def __init__(self, lab: Any) -> None:
        self.lab = lab
        self.users: dict[str, User] = {}
        self.roles: dict[int, Role] = {role.number: role for role in ROLES}
        self.permissions: dict[tuple[str, str], Permission] = {}  # by entity and user
        self._known: dict[tuple[str, str], frozenset[str]] = {}
        self._known_at = -1

    def grant(self, user: str, password: str, privileges: Iterable[str] | str, entity: MO | str | None = None) -> None:
        """Creates the user if new, and gives these privileges (ids, or a role's name) at an entity and below it.

        entity: a managed object or moref, default the root folder. More calls give rights at more places. System.*
        comes along unless the list is empty (which is "No access")."""
        with self.lab.cond:
            self.users[user] = User(user, password)
            moid = self.lab.root.id if entity is None else entity if isinstance(entity, str) else entity.id
            self.permit(Permission(user, moid, self._role_for(privileges)))

    def permit(self, permission: Permission) -> None:
        with self.lab.cond:
            self.permissions[permission.entity, permission.user] = permission
            self._changed(permission.entity)

    def revoke(self, user: str, entity: str) -> bool:
        with self.lab.cond:
            found = self.permissions.pop((entity, user), None) is not None
            self._changed(entity)
            return found

    def add_role(self, name: str, privileges: Iterable[str]) -> Role:
        with self.lab.cond:
            number = max(0, *self.roles) + 1
            role = Role(number, name, name, SYSTEM | frozenset(privileges), system=False)
            self.roles[number] = role
            return role

    def check(self, user: str, password: str) -> bool:
        known = self.users.get(user)
        return known is not None and known.password == password

    def privileges(self, user: str, mo: MO | None = None) -> frozenset[str]:
        """What the user may do to this object (default: the root folder)."""
        with self.lab.cond:
            if self._known_at != self.lab.shape:
                self._known, self._known_at = {}, self.lab.shape
            key = (user, mo.id if mo is not None else "")
            known = self._known.get(key)
            if known is None:
                known = self._known[key] = self._work_out(user, mo)
            return known

    def role_at(self, user: str, entity: MO) -> int:
        """The number of the role that counts for the user here (-5: none)."""
        place: Any = entity
        while place is not None:
            permission = self.permissions.get((place.id, user))
            if permission is not None and (permission.propagate or place is entity):
                return permission.role
            place = self.lab.parent_of(place)
        return -5

    def sees(self, user: str, mo: MO) -> bool:
        return "System.View" in self.privileges(user, mo)

    def sees_all(self, user: str) -> bool:
        """Whether the user's only permission is at the root and lets him view: nothing is hidden from him."""
        mine = [p for p in self.permissions.values() if p.user == user]
        if len(mine) != 1 or mine[0].entity != self.lab.root.id or not mine[0].propagate:
            return False
        return self.roles[mine[0].role].privileges >= SYSTEM

    def demand(self, user: str, checks: Iterable[tuple[MO, str]]) -> None:
        """Raises NoPermission that names every object and privilege that lacks."""
        lacking: dict[str, tuple[MO, list[str]]] = {}
        for mo, privilege in checks:
            if privilege not in self.privileges(user, mo):
                target = self.lab.entity_of(mo) or mo
                lacking.setdefault(target.id, (target, []))[1].append(privilege)
        if not lacking:
            return
        target, names = next(iter(lacking.values()))
        raise vim.fault.NoPermission(
            object=target.ref,
            privilegeId=names[0],
            missingPrivileges=[
                vim.fault.NoPermission.EntityPrivileges(entity=mo.ref, privilegeIds=ids) for mo, ids in lacking.values()
            ],
            msg="Permission to perform this operation was denied.",
        )

    def _work_out(self, user: str, mo: MO | None) -> frozenset[str]:
        entity = self.lab.root if mo is None else self.lab.entity_of(mo)
        if entity is None:
            return SYSTEM | self._nearest(user, self.lab.root)
        found = self._nearest(user, entity)
        if "System.View" not in found and self._has_rights_below(user, entity):
            found |= {"System.Anonymous", "System.View"}  # the way to what he may see stays visible
        return found

    def _nearest(self, user: str, entity: MO) -> frozenset[str]:
        return self.roles[self.role_at(user, entity)].privileges

    def _has_rights_below(self, user: str, entity: MO) -> bool:
        for permission in self.permissions.values():
            if permission.user != user or not self.roles[permission.role].privileges:
                continue
            place = self.lab.objects.get(permission.entity)
            while place is not None:
                if place is entity:
                    return True
                place = self.lab.parent_of(place)
        return False

    def _role_for(self, privileges: Iterable[str] | str) -> int:
        if isinstance(privileges, str):
            return next(r.number for r in self.roles.values() if r.name == privileges)
        wanted = frozenset(privileges)
        wanted = SYSTEM | wanted if wanted else wanted
        for role in self.roles.values():
            if role.privileges == wanted:
                return role.number
        return self.add_role(f"role-{len(self.roles)}", wanted).number

    def _changed(self, moid: str) -> None:
        self._known_at = -1
        if moid in self.lab.objects:
            self.lab.objects[moid].touch("permission")


class AuthorizationManager(MO):
    vim = vim.AuthorizationManager

    def __init__(self, lab: Any, moid: str) -> None:
        super().__init__(lab, moid)
        self.props["privilegeList"] = lambda: [_privilege(name) for name in sorted(ALL_PRIVILEGES)]
        self.props["roleList"] = lambda: [role.to_vim() for role in lab.access.roles.values()]

    # -- questions

    def HasPrivilegeOnEntities(self, ctx: Any, entity: Any, sessionId: str, privId: Any = ()) -> Any:
        user = self.lab.sessions.user_of(sessionId)
        kind = vim.AuthorizationManager.EntityPrivilege
        return [kind(entity=e, privAvailability=self._availability(user, e, privId or ())) for e in entity]

    def HasPrivilegeOnEntity(self, ctx: Any, entity: Any, sessionId: str, privId: Any = ()) -> Any:
        have = self.lab.access.privileges(self.lab.sessions.user_of(sessionId), self.lab.find(entity))
        return [p in have for p in privId or ()]

    def HasUserPrivilegeOnEntities(self, ctx: Any, entities: Any, userName: str, privId: Any = ()) -> Any:
        kind = vim.AuthorizationManager.EntityPrivilege
        return [kind(entity=e, privAvailability=self._availability(userName, e, privId or ())) for e in entities]

    def FetchUserPrivilegeOnEntities(self, ctx: Any, entities: Any, userName: str) -> Any:
        kind = vim.AuthorizationManager.UserPrivilegeResult
        access = self.lab.access
        return [kind(entity=e, privileges=sorted(access.privileges(userName, self.lab.find(e)))) for e in entities]

    def _availability(self, user: str, entity: Any, privileges: Iterable[str]) -> list[Any]:
        have = self.lab.access.privileges(user, self.lab.find(entity))
        kind = vim.AuthorizationManager.PrivilegeAvailability
        return [kind(privId=p, isGranted=p in have) for p in privileges]

    # -- permissions

    def RetrieveEntityPermissions(self, ctx: Any, entity: Any, inherited: bool) -> Any:
        place: MO | None = self.lab.find(entity)
        found: list[Any] = []
        while place is not None:
            found += [p.to_vim(self.lab) for p in self.lab.access.permissions.values() if p.entity == place.id]
            place = self.lab.parent_of(place) if inherited else None
        return found

    def RetrieveAllPermissions(self, ctx: Any) -> Any:
        return [p.to_vim(self.lab) for p in self.lab.access.permissions.values() if p.entity in self.lab.objects]

    def RetrieveRolePermissions(self, ctx: Any, roleId: int) -> Any:
        self._role(roleId)
        return [p.to_vim(self.lab) for p in self.lab.access.permissions.values() if p.role == roleId]

    def SetEntityPermissions(self, ctx: Any, entity: Any, permission: Any) -> None:
        place = self.lab.find(entity)
        self.lab.access.demand(ctx.session.user, [(place, "Authorization.ModifyPermissions")])
        for given in permission or ():
            self._role(given.roleId)
            if given.principal not in self.lab.access.users:
                raise vim.fault.UserNotFound(principal=given.principal, unresolved=True)
            self.lab.access.permit(Permission(given.principal, place.id, given.roleId, given.propagate))

    def RemoveEntityPermission(self, ctx: Any, entity: Any, user: str, isGroup: bool) -> None:
        place = self.lab.find(entity)
        self.lab.access.demand(ctx.session.user, [(place, "Authorization.ModifyPermissions")])
        if not self.lab.access.revoke(user, place.id):
            raise vim.fault.NotFound()

    # -- roles

    def AddAuthorizationRole(self, ctx: Any, name: str, privIds: Any = ()) -> int:
        if any(role.name == name for role in self.lab.access.roles.values()):
            raise vim.fault.AlreadyExists(name=name)
        unknown = set(privIds or ()) - ALL_PRIVILEGES
        if unknown:
            raise vmodl.fault.InvalidArgument(invalidProperty="privIds", msg=f"unknown privileges: {sorted(unknown)}")
        return self.lab.access.add_role(name, privIds or ()).number

    def UpdateAuthorizationRole(self, ctx: Any, roleId: int, newName: str, privIds: Any = ()) -> None:
        role = self._changeable(roleId)
        role.name, role.privileges = newName, SYSTEM | frozenset(privIds or ())
        self.lab.access.permissions = dict(self.lab.access.permissions)
        self.lab.access._changed("")

    def RemoveAuthorizationRole(self, ctx: Any, roleId: int, failIfUsed: bool) -> None:
        role, access = self._changeable(roleId), self.lab.access
        users = [key for key, permission in access.permissions.items() if permission.role == role.number]
        if users and failIfUsed:
            raise vim.fault.RemoveFailed()
        for moid, user in users:
            access.revoke(user, moid)
        del access.roles[role.number]

    def _role(self, number: int) -> Role:
        role = self.lab.access.roles.get(number)
        if role is None:
            raise vim.fault.NotFound()
        return role

    def _changeable(self, number: int) -> Role:
        role = self._role(number)
        if role.system:
            raise vmodl.fault.InvalidArgument(invalidProperty="roleId")
        return role


def _privilege(identifier: str) -> Any:
    group, _, name = identifier.rpartition(".")
    return wire.fill(
        vim.AuthorizationManager.Privilege(
            privId=identifier, name=name, privGroupName=group, onParent=group.startswith("System")
        )
    )
