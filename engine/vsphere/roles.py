"""The role that a backup account needs: which privileges, what for, and whether a role of this vCenter has them."""

from collections.abc import Iterable
from dataclasses import dataclass

from engine.errors import ConfigError
from engine.vsphere.privileges import BACKUP_PRIVILEGES
from engine.vsphere.properties import Ref, get_one
from engine.vsphere.session import Session

SAMPLE_ROLE = "VMwareConsolidatedBackupUser"
"""Every vCenter still ships it, and it has never been enough (facts/vsphere-backup.md 1.4)."""
DEFAULT_NAME = "vcb-console backup"
_OWN_SNAPSHOT = {
    "VirtualMachine.State.CreateSnapshot": ("automatic", "createonly"),
    "VirtualMachine.State.RemoveSnapshot": ("automatic", "deleteonly"),
}


@dataclass(frozen=True, slots=True)
class Role:
    """One role of the server; `label` is what the client shows."""

    id: int
    name: str
    label: str
    privileges: frozenset[str]


def needed(
    *, policy: str, transports: Iterable[str], tracking: str, restores: bool = False
) -> dict[str, tuple[str, ...]]:
    """Privilege id -> the steps that need it, for settings as they are: SNAPSHOT_POLICY, TRANSPORT_MODE with its
    fallbacks, CHANGE_TRACKING. System.View and System.Read come with every role."""
    steps = ["snapshot", "configuration files", "ovf descriptor", *transports]
    steps += ["changed areas"] if tracking != "off" else []
    steps += ["enable changed block tracking"] if tracking == "enable" else []
    steps += ["import"] if restores else []
    reasons: dict[str, dict[str, None]] = {}
    for step in steps:
        for privilege in (each for need in BACKUP_PRIVILEGES[step] for each in need.privileges):
            if step != "snapshot" or policy in _OWN_SNAPSHOT.get(privilege, (policy,)):
                reasons.setdefault(privilege, {})[step] = None
    return {privilege: tuple(reasons[privilege]) for privilege in sorted(reasons)}


def roles(session: Session) -> list[Role]:
    """All roles of the server."""
    manager = Ref("AuthorizationManager", session.content.authorizationManager._moId)
    return [
        Role(
            each["roleId"],
            each["name"],
            each.get("info", {}).get("label", each["name"]),
            frozenset(each.get("privilege", ())),
        )
        for each in get_one(session, manager, ["roleList"]).get("roleList", ())
    ]


def create(session: Session, name: str, privileges: Iterable[str]) -> int:
    """Makes the role, for an administrator to assign; returns its id. Raises ConfigError when the name is taken,
    PrivilegeError without Authorization.ModifyRoles."""
    if any(role.name == name for role in roles(session)):
        raise ConfigError(f"a role named {name} exists already", hint="Choose another name with --role-name.")
    manager = session.content.authorizationManager
    return session.act(
        lambda: manager.AddAuthorizationRole(name, sorted(privileges)), doing="creating the role", subject=name
    )
