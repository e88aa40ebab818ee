"""Which privileges each step of a backup needs, and which of them the logged-in user lacks.

Asked before the job starts: a missing privilege found at two in the morning surfaces as something else.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from engine.vsphere.properties import Ref, get
from engine.vsphere.session import Session


@dataclass(frozen=True)
class Need:
    """`privileges` on an entity of kind `on`: vm (the VM backed up), proxy (the VM we run in) or datastore; for a new
    VM also pool, folder and network."""

    on: str
    privileges: tuple[str, ...]


_HOTADD = tuple(f"VirtualMachine.Config.{name}" for name in ("AddExistingDisk", "RemoveDisk"))
_NFC = ("VirtualMachine.Provisioning.GetVmFiles", "VirtualMachine.Provisioning.DiskRandomRead")
_CONFIGURE = tuple(f"VirtualMachine.Config.{name}" for name in ("AddNewDisk", "AddRemoveDevice", "AdvancedConfig"))

BACKUP_PRIVILEGES: dict[str, tuple[Need, ...]] = {
    "snapshot": (Need("vm", ("VirtualMachine.State.CreateSnapshot", "VirtualMachine.State.RemoveSnapshot")),),
    "enable changed block tracking": (Need("vm", ("VirtualMachine.Config.ChangeTracking",)),),
    "changed areas": (Need("vm", ("VirtualMachine.Provisioning.DiskRandomRead",)),),
    "configuration files": (Need("datastore", ("Datastore.Browse", "Datastore.FileManagement")),),
    "ovf descriptor": (Need("vm", ("VApp.Export",)),),
    "nbd": (Need("vm", _NFC),),
    "nbdssl": (Need("vm", _NFC),),
    "https": (Need("vm", ("VApp.Export",)),),
    "hotadd": (Need("proxy", (*_HOTADD, "VirtualMachine.Config.AdvancedConfig")), Need("vm", (*_HOTADD, *_NFC))),
    "san": (Need("vm", _NFC),),
    "restore in place": (Need("vm", ("VirtualMachine.Provisioning.DiskRandomAccess",)),),
    "restore one disk": (
        Need("vm", ("VirtualMachine.Config.AddNewDisk", "VirtualMachine.Config.RemoveDisk")),
        Need("vm", ("VirtualMachine.Provisioning.DiskRandomAccess",)),
    ),
    "import": (
        Need("pool", ("VApp.Import", "Resource.AssignVMToPool")),
        Need("folder", ("VirtualMachine.Inventory.Create", *_CONFIGURE)),
        Need("datastore", ("Datastore.AllocateSpace",)),
        Need("network", ("Network.Assign",)),
    ),
}
"""What each step, and each TRANSPORT_MODE, needs (facts/vsphere-backup.md 3.13)."""


def wanted(steps: Iterable[str], entities: Mapping[str, Iterable[Ref]]) -> dict[Ref, tuple[str, ...]]:
    """The privileges by entity for some keys of BACKUP_PRIVILEGES; `entities` names the objects of each kind (vm,
    proxy, datastore). Kinds that are not named are left out."""
    by_entity: dict[Ref, dict[str, None]] = defaultdict(dict)
    for step in steps:
        for need in BACKUP_PRIVILEGES[step]:
            for ref in entities.get(need.on, ()):
                by_entity[ref].update(dict.fromkeys(need.privileges))
    return {ref: tuple(privileges) for ref, privileges in by_entity.items()}


def missing(session: Session, needed: Mapping[Ref, tuple[str, ...]]) -> list[tuple[str, str]]:
    """(entity name, privilege) for everything in `needed` that the session's user lacks."""
    manager = session.content.authorizationManager
    if manager is None:
        return []
    groups: dict[tuple[str, ...], list[Ref]] = defaultdict(list)
    for ref, privileges in needed.items():
        if privileges:
            groups[privileges].append(ref)
    lacking: list[tuple[Ref, str]] = []
    for privileges, refs in groups.items():
        objects = [session.managed(ref) for ref in refs]
        # The session's key is read inside: a new login has a new one.
        answer = session.read(
            lambda objects=objects, privileges=privileges: manager.HasPrivilegeOnEntities(
                objects, session.session_key, list(privileges)
            ),
            doing="checking privileges",
        )
        for ref, entity in zip(refs, answer, strict=True):
            lacking += [(ref, each.privId) for each in entity.privAvailability if not each.isGranted]
    names = get(session, [ref for ref, _ in lacking], ["name"])
    return [(names.get(ref, {}).get("name", ref.moid), privilege) for ref, privilege in lacking]
