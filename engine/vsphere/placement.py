"""Where a restored VM goes: pool, folder, host, datastore and networks, as asked, else the only sensible choice.

Sensible is first the place that the VM was backed up from, as far as it still exists in the same vCenter, then whatever
there is only one of. Where several remain, that is an error which lists them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.errors import ConfigError, VcbError
from engine.vsphere.decoding import unescaped
from engine.vsphere.inventory import Places
from engine.vsphere.properties import Ref, collect, get_one
from engine.vsphere.session import Session

_PATHS = {
    "Folder": ["name", "parent"],
    "Datacenter": ["name", "parent", "vmFolder"],
    "ComputeResource": ["name", "parent", "resourcePool", "host", "datastore", "network"],
    "HostSystem": ["name", "parent", "datastore", "network", "runtime.connectionState", "runtime.inMaintenanceMode"],
    "ResourcePool": ["name", "parent", "owner"],
    "Datastore": ["name", "parent", "summary.accessible", "summary.freeSpace"],
    "Network": ["name", "parent"],
}


@dataclass(frozen=True)
class Wish:
    """What the operator asked for: each a name, an inventory path or a moref, "" for nothing. `networks`: from the
    backed-up VM's network to one here."""

    datastore: str = ""
    pool: str = ""
    folder: str = ""
    host: str = ""
    networks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Origin:
    """Where the VM was: its moref and inventory path, "" when that was in another vCenter; its datastore by name."""

    moref: str = ""
    path: str = ""
    datastore: str = ""


@dataclass(frozen=True)
class Place:
    ref: Ref
    path: str


@dataclass(frozen=True)
class Placement:
    """`free` is what the datastore has left, in bytes; None where the server doesn't tell. `networks` by the name of
    the backed-up VM's network."""

    pool: Place
    folder: Place
    host: Place | None
    datastore: Place
    free: int | None
    networks: Mapping[str, Place]


def place(session: Session, wish: Wish, origin: Origin, networks: Sequence[str]) -> Placement:
    """Decides, and touches nothing. Raises `ConfigError` naming the flag to choose with."""
    return _Chooser(session, wish, origin).decide(networks)


class _Chooser:
    """The inventory's frame, and the narrowing down of it."""

    def __init__(self, session: Session, wish: Wish, origin: Origin) -> None:
        self._session, self._wish, self._origin = session, wish, origin
        self._nodes = {row.ref: row.values for kind, paths in _PATHS.items() for row in collect(session, kind, paths)}
        self._places = Places(self._nodes)

    def decide(self, networks: Sequence[str]) -> Placement:
        wish = self._wish
        host = self._named("HostSystem", wish.host, "--on-host") if wish.host else None
        pool = self._named("ResourcePool", wish.pool, "--pool") if wish.pool else None
        compute = self._compute(host, pool)
        if pool is None:
            pool = self._former_pool(compute) or self._nodes[compute]["resourcePool"]
        reach = self._nodes[host or compute]
        datastore = self._datastore(reach)
        if host is None and compute.type == "ClusterComputeResource":
            host = self._some_host(compute, datastore)
        return Placement(
            pool=self._place(pool),
            folder=self._place(self._folder(compute)),
            host=self._place(host) if host else None,
            datastore=self._place(datastore),
            free=self._nodes[datastore].get("summary.freeSpace"),
            networks={name: self._place(self._network(name, reach)) for name in networks},
        )

    def _compute(self, host: Ref | None, pool: Ref | None) -> Ref:
        """The compute resource: what the wishes leave, narrowed down by where the VM was."""
        wish, origin = self._wish, self._origin
        left = [ref for ref in self._nodes if ref.type in ("ComputeResource", "ClusterComputeResource")]
        if host:
            left = [ref for ref in left if self._nodes[host].get("parent") == ref]
        if pool:
            left = [ref for ref in left if self._nodes[pool].get("owner") == ref]
        if wish.folder:
            centre = self._datacenter(self._named("Folder", wish.folder, "--folder"))
            left = [ref for ref in left if self._datacenter(ref) == centre]
        if wish.datastore:
            left = [ref for ref in left if any(self._matches(d, wish.datastore) for d in self._stores(ref))]
        if not left:
            raise ConfigError(
                "No host or cluster fits what was asked for: " + ", ".join(filter(None, self._asked())) + ".",
                hint="See that datastore, folder, pool and host belong to one datacenter.",
            )
        former = self._former("resourcePool")
        owner = self._nodes[former].get("owner") if former in self._nodes else None
        narrowings: tuple[Callable[[Ref], bool], ...] = (
            lambda ref: ref == owner,
            lambda ref: bool(origin.path) and origin.path.startswith(self._places.path(self._datacenter(ref)) + "/"),
            lambda ref: any(self._nodes[d].get("name") == origin.datastore for d in self._stores(ref)),
        )
        for fits in narrowings:
            if len(left) > 1:
                left = [ref for ref in left if fits(ref)] or left
        pools = [self._nodes[ref]["resourcePool"] for ref in left]
        return left[pools.index(self._only("resource pool", pools, "--pool"))]

    def _asked(self) -> Iterable[str]:
        wish = self._wish
        return (
            wish.datastore and f"datastore {wish.datastore}", wish.pool and f"pool {wish.pool}",
            wish.folder and f"folder {wish.folder}", wish.host and f"host {wish.host}",
        )  # fmt: skip

    def _former_pool(self, compute: Ref) -> Ref | None:
        """The pool of the VM that was backed up, if it is still there, and there."""
        pool = self._former("resourcePool")
        return pool if pool in self._nodes and self._nodes[pool].get("owner") == compute else None

    def _former(self, path: str) -> Any:
        if not self._origin.moref:
            return None
        try:
            return get_one(self._session, Ref("VirtualMachine", self._origin.moref), [path]).get(path)
        except VcbError:  # it is gone, or out of sight: a restore often begins so
            return None

    def _folder(self, compute: Ref) -> Ref:
        """As asked, else where the VM was, else the datacenter's own folder of VMs."""
        if self._wish.folder:
            return self._named("Folder", self._wish.folder, "--folder")
        centre = self._datacenter(compute)
        former = self._origin.path.rpartition("/")[0]
        there = [ref for ref in self._nodes if ref.type == "Folder" and former and self._places.path(ref) == former]
        if there and self._datacenter(there[0]) == centre:
            return there[0]
        return self._nodes[centre]["vmFolder"]

    def _datastore(self, reach: Mapping[str, Any]) -> Ref:
        stores = [ref for ref in reach.get("datastore", ()) if self._nodes.get(ref, {}).get("summary.accessible", True)]
        if self._wish.datastore:
            return self._one_of("datastore", stores, self._wish.datastore, "--datastore")
        former = [ref for ref in stores if self._nodes.get(ref, {}).get("name") == self._origin.datastore]
        return self._only("datastore", former or stores, "--datastore")

    def _network(self, name: str, reach: Mapping[str, Any]) -> Ref:
        here = list(reach.get("network", ()))
        flag = f'--network "{name}=..."'
        if wanted := self._wish.networks.get(name):
            return self._one_of("network", here, wanted, flag)
        same = [ref for ref in here if self._matches(ref, name)]
        return self._only(f"network for the adapters of {name}", same or here, flag)

    def _some_host(self, compute: Ref, datastore: Ref) -> Ref | None:
        """A cluster without DRS has to be told a host; any that runs and reaches the datastore will do."""
        for ref in self._nodes[compute].get("host", ()):
            host = self._nodes.get(ref, {})
            ready = host.get("runtime.connectionState") == "connected" and not host.get("runtime.inMaintenanceMode")
            if ready and datastore in host.get("datastore", ()):
                return ref
        return None

    def _stores(self, compute: Ref) -> list[Ref]:
        return [ref for ref in self._nodes[compute].get("datastore", ()) if ref in self._nodes]

    def _datacenter(self, ref: Ref) -> Ref:
        at: Ref | None = ref
        while at is not None and at.type != "Datacenter":
            at = self._nodes.get(at, {}).get("parent")
        if at is None:
            raise ConfigError(f"{self._places.path(ref)} lies in no datacenter.")
        return at

    def _place(self, ref: Ref) -> Place:
        return Place(ref, self._places.path(ref) or ref.moid)

    def _matches(self, ref: Ref, wanted: str) -> bool:
        name = self._nodes.get(ref, {}).get("name", "")
        return wanted in (name, unescaped(name), ref.moid, self._places.path(ref))

    def _named(self, kind: str, wanted: str, flag: str) -> Ref:
        refs = [ref for ref in self._nodes if ref.type == kind]
        return self._one_of(
            {"HostSystem": "host", "ResourcePool": "resource pool"}.get(kind, kind.lower()), refs, wanted, flag
        )

    def _one_of(self, what: str, refs: Sequence[Ref], wanted: str, flag: str) -> Ref:
        found = [ref for ref in refs if self._matches(ref, wanted)]
        if found:
            return self._only(f"{what} {wanted}", found, flag)
        raise ConfigError(f"There is no {what} {wanted} for this VM.", hint=f"{flag} can be: {self._list(refs)}")

    def _only(self, what: str, refs: Sequence[Ref], flag: str) -> Ref:
        if len(refs) == 1:
            return refs[0]
        if not refs:
            raise ConfigError(f"There is no {what} that the restored VM can use.")
        raise ConfigError(f"There are {len(refs)} to choose from as {what}.", hint=f"{flag} can be: {self._list(refs)}")

    def _list(self, refs: Sequence[Ref]) -> str:
        return ", ".join(sorted(self._places.path(ref) or ref.moid for ref in refs)) or "nothing"
