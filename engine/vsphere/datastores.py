"""The datastores of a VM: of what kind they are, and which LUNs or NFS export they lie on."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.vsphere.properties import Ref, get, get_one
from engine.vsphere.session import Session

_INFO = ("name", "summary.type", "info")


@dataclass(frozen=True)
class Datastore:
    """`kind` as vCenter spells it: VMFS, NFS, NFS41, vsan, VVOL, PMEM. `uuid` and `extents` (canonical name of the LUN
    and partition, in the volume's order) are told of VMFS only; `remote_hosts` and `remote_path` of NFS, whose `uuid`
    is made of them."""

    name: str
    kind: str
    uuid: str = ""
    extents: tuple[tuple[str, int], ...] = ()
    remote_hosts: tuple[str, ...] = ()
    remote_path: str = ""


def datastores_of(session: Session, vm_moref: str) -> Mapping[str, Datastore]:
    """By name, which is unique among the datastores of one VM."""
    refs = get_one(session, Ref("VirtualMachine", vm_moref), ["datastore"]).get("datastore", ())
    rows = get(session, refs, _INFO)
    return {row["name"]: _datastore(row) for row in rows.values()}


def references(session: Session, vm_moref: str) -> Mapping[str, Ref]:
    """The same, as objects of vCenter."""
    refs = get_one(session, Ref("VirtualMachine", vm_moref), ["datastore"]).get("datastore", ())
    return {row["name"]: ref for ref, row in get(session, refs, ["name"]).items()}


def _datastore(row: Mapping[str, Any]) -> Datastore:
    info = row.get("info") or {}
    if nas := info.get("nas"):
        hosts = (nas.get("remoteHost", ""), *(nas.get("remoteHostNames") or ()))
        hosts, path = tuple(dict.fromkeys(filter(None, hosts))), nas.get("remotePath", "")
        identity = "nfs-" + hashlib.sha256(f"{sorted(hosts)}{path}".encode()).hexdigest()[:32]
        return Datastore(row["name"], row.get("summary.type", ""), identity, remote_hosts=hosts, remote_path=path)
    volume = info.get("vmfs") or {}
    extents = tuple((extent["diskName"], extent["partition"]) for extent in volume.get("extent", ()))
    return Datastore(row["name"], row.get("summary.type", ""), volume.get("uuid", ""), extents)
