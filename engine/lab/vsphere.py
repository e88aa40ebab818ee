"""One simulated vCenter, or one ESXi host: its service objects and the root of its inventory."""

from __future__ import annotations

import threading
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pyVmomi import vim

from engine.lab import wire
from engine.lab.authorization import Access, AuthorizationManager
from engine.lab.certificates import Authority
from engine.lab.collector import PropertyCollector
from engine.lab.entity import Entity, Folder
from engine.lab.events import EventLog, EventManager
from engine.lab.faults import Faults
from engine.lab.guest_devices import GuestDevices
from engine.lab.leases import Leases
from engine.lab.options import OptionManager
from engine.lab.registry import MO, Registry
from engine.lab.search import SearchIndex
from engine.lab.service_tickets import ServiceTickets
from engine.lab.sessions import Session, SessionManager, Sessions
from engine.lab.tasks import TaskLog, TaskManager
from engine.lab.views import ViewManager

BUILDS = {"8": "24022510", "7": "24201990"}
# wire name in ServiceContent, class, moref on a vCenter, moref on ESXi
_SERVICES = (
    ("viewManager", ViewManager, "ViewManager", "ViewManager"),
    ("sessionManager", SessionManager, "SessionManager", "ha-sessionmgr"),
    ("searchIndex", SearchIndex, "SearchIndex", "ha-searchindex"),
    ("taskManager", TaskManager, "TaskManager", "ha-taskmgr"),
    ("eventManager", EventManager, "EventManager", "ha-eventmgr"),
    ("authorizationManager", AuthorizationManager, "AuthorizationManager", "ha-authmgr"),
    ("setting", OptionManager, "VpxSettings", "HostAgentSettings"),
)


class ServiceInstance(MO):
    vim = vim.ServiceInstance

    def RetrieveServiceContent(self, ctx: Any) -> Any:
        return self.props["content"]

    def CurrentTime(self, ctx: Any) -> datetime:
        return datetime.now(UTC)

    def RetrieveProductComponents(self, ctx: Any) -> list[Any]:
        return []


class VSphere(Registry):
    """The model of one server. `objects` are its managed objects, `root` the inventory's root folder.

    What other modules put in: `content` (ServiceContent) gets their services by `add_service`; `leases` are the
    export and import leases, `faults` the injected faults, `access` users and permissions, `events` and `tasks` the
    logs, `sessions` the logins."""

    def __init__(
        self,
        state: Path,
        authority: Authority,
        *,
        esx: bool = False,
        version: str = "8.0.3.0",
        free_edition: bool = False,
        instance_uuid: str | None = None,
    ) -> None:
        super().__init__()
        self.state, self.authority = state, authority
        self.esx, self.free_edition = esx, free_edition
        self.version_id = version
        self.instance_uuid = instance_uuid or str(uuid.uuid4())
        self.dialect = wire.Dialect(version)
        self._closed = threading.Event()
        self.page_limit: int | None = None  # objects in one RetrievePropertiesEx, whatever the client asks for
        self._caller = threading.local()
        self.certificate = authority.issue("esx.lab" if esx else "vcenter.lab")
        self.thumbprint = self.certificate.sha1
        self.faults = Faults()
        self.access = Access(self)
        self.sessions = Sessions(self)
        self.tasks = TaskLog(self)
        self.events = EventLog(self)
        self.leases = Leases()
        self.service_tickets = ServiceTickets()
        self.unregistered: dict[str, Any] = {}  # VMs taken out of the inventory, by the path of their .vmx
        self.loose_disks: dict[str, Any] = {}  # disks that no VM has but whose files exist, by the path of their .vmdk
        self.san_devices: Path | None = None  # directory of links to the datastores' LUNs, in a lab that has any
        self.luns: list[Any] = []
        self.guest_devices = GuestDevices(state / "guests")
        self.persistence: Any = None  # saves what changes (set once the state has been loaded)
        self.domain: Any = None  # accepts the tokens of LoginBySSPI where the server is joined to a domain
        self.recorder: Any = None  # takes the raw image of every disk that a snapshot freezes (record=True)
        self.root = Folder(
            self, "ha-folder-root" if esx else "Datacenters", None, (vim.Folder, vim.Datacenter),
            "ha-folder-root" if esx else "group-d1",
        )  # fmt: skip
        self.content = self._content()

    def stable_uuid(self, name: str) -> uuid.UUID:
        """The same uuid for the same name, at every start of this lab; another lab has another."""
        return uuid.uuid5(uuid.UUID(self.instance_uuid), name)

    # -- who is asking

    @property
    def caller(self) -> Session | None:
        """The session of the call that this thread answers; for properties that depend on it."""
        return getattr(self._caller, "session", None)

    @caller.setter
    def caller(self, session: Session | None) -> None:
        self._caller.session = session

    def grant(self, user: str, password: str, privileges: Any, entity: Any = None) -> None:
        """Access.grant: a user with these privileges (ids, or a role's name) at an entity (default: everywhere)."""
        self.access.grant(user, password, privileges, entity)

    def privileges(self, user: str, mo: MO | None = None) -> frozenset[str]:
        return self.access.privileges(user, mo)

    # -- the tree

    def parent_of(self, mo: MO) -> Any:
        reference = mo.props.get("parent")
        return self.objects.get(reference._moId) if reference is not None else None

    def is_below(self, mo: MO, place: MO) -> bool:
        """Whether the entity is this place or lies below it."""
        current: Any = mo
        while current is not None:
            if current is place:
                return True
            current = self.parent_of(current)
        return False

    def in_scope(self, mo: MO, place: Any, recursion: str) -> bool:
        """A filter's entity clause: recursion is self, children or all."""
        target = self.objects.get(place._moId)
        if target is None:
            return False
        if recursion == "self":
            return mo is target
        return mo is not target and self.is_below(mo, target) if recursion == "children" else self.is_below(mo, target)

    def entity_of(self, mo: MO) -> Entity | None:
        """The inventory object that governs the rights to an object: itself, or for a snapshot or task its VM."""
        if isinstance(mo, Entity):
            return mo
        owner = getattr(mo, "entity", None) or mo.props.get("vm") or mo.props.get("entity")
        if isinstance(owner, Entity):
            return owner
        found = self.objects.get(getattr(owner, "_moId", ""))
        return found if isinstance(found, Entity) else None

    def datacenter_of(self, mo: MO) -> Any:
        current: Any = mo
        while current is not None and not issubclass(current.vim, vim.Datacenter):
            current = self.parent_of(current)
        return current

    def path_of(self, mo: MO) -> str:
        """The inventory path below the root folder: "Tokyo/vm/Web/web01"."""
        names = []
        current: Any = mo
        while current is not None and current is not self.root:
            names.append(current.props["name"])
            current = self.parent_of(current)
        return "/".join(reversed(names))

    def vm(self, name: str) -> Any:
        """The VM of this name; LookupError when there is none, or more than one."""
        found = [vm for vm in self.all_of(vim.VirtualMachine) if vm.name == name]
        if len(found) != 1:
            raise LookupError(f"{len(found)} VMs are called {name}")
        return found[0]

    def datastore(self, name: str, datacenter: MO | None = None) -> Any:
        """The datastore of this name (in this datacenter), or None."""
        for store in self.all_of(vim.Datastore):
            if store.props["name"] == name and (datacenter is None or self.is_below(store, datacenter)):
                return store
        return None

    def datastore_file(self, name: str, datacenter: MO | None = None) -> Path:
        """The file of this machine behind "[store] directory/file".

        Raises vim.fault.InvalidDatastorePath for what is no such path, or would lead out of the datastore."""
        bracketed, _, relative = name.partition("] ")
        store = self.datastore(bracketed.removeprefix("["), datacenter) if bracketed.startswith("[") else None
        if store is None:
            raise vim.fault.InvalidDatastorePath(datastorePath=name, msg=f"Invalid datastore path '{name}'.")
        path = store.root / relative
        if not path.resolve().is_relative_to(store.root.resolve()):
            raise vim.fault.InvalidDatastorePath(datastorePath=name, msg=f"Invalid datastore path '{name}'.")
        return path

    def reshape(self) -> None:
        """Says that the tree has changed its shape without an object coming or going."""
        with self.cond:
            self.shape = self.tick()

    def remove(self, mo: MO) -> None:
        with self.cond:
            super().remove(mo)
            for key in [k for k in self.access.permissions if k[0] == mo.id]:
                del self.access.permissions[key]

    # -- services

    def add_service(self, name: str, mo: MO) -> None:
        """Makes a service known in ServiceContent: add_service("ovfManager", OvfManager(vsphere, "OvfManager"))."""
        setattr(self.content, name, mo.ref)

    def service(self, name: str) -> Any:
        return self.objects[getattr(self.content, name)._moId]

    def task_changed(self) -> None:
        with self.cond:
            self.service("taskManager").touch("recentTask")
            for collector in self.all_of(vim.TaskHistoryCollector):
                collector.touch("latestPage")

    def event_posted(self) -> None:
        with self.cond:
            self.service("eventManager").touch("latestEvent")
            for collector in self.all_of(vim.event.EventHistoryCollector):
                collector.touch("latestPage")

    def session_changed(self) -> None:
        self.service("sessionManager").touch("sessionList", "currentSession")

    def product(self, name: str, line: str, api_type: str) -> Any:
        """AboutInfo of a vCenter or host of this lab's version."""
        version = self.version_id.rpartition(".")[0]
        build = BUILDS.get(version[:1], "1")
        return vim.AboutInfo(
            name=name, fullName=f"{name} {version} build-{build} (embedded lab)", vendor="VMware, Inc.",
            version=version, patchLevel="00000", build=build, localeVersion="INTL", localeBuild="000",
            osType="vmnix-x86" if line == "embeddedEsx" else "linux-x64", productLineId=line, apiType=api_type,
            apiVersion=self.version_id, licenseProductName=name, licenseProductVersion=f"{version[:1]}.0",
        )  # fmt: skip

    @property
    def closing(self) -> bool:
        return self._closed.is_set()

    def closes_within(self, seconds: float) -> bool:
        """Waits as long, or until it is closed; whether it was."""
        return self._closed.wait(seconds)

    def close(self) -> None:
        """Wakes everybody who waits in the model; calls fail from now on."""
        with self.cond:
            self._closed.set()
            self.cond.notify_all()
        self.faults.close()
        self.leases.close()

    def _content(self) -> Any:
        if self.esx:
            about = self.product("VMware ESXi", "embeddedEsx", "HostAgent")
        else:
            about = self.product("VMware vCenter Server", "vpx", "VirtualCenter")
            about.instanceUuid = self.instance_uuid
        collector = PropertyCollector(self, "ha-property-collector" if self.esx else "propertyCollector")
        content = vim.ServiceInstanceContent(rootFolder=self.root.ref, propertyCollector=collector.ref, about=about)
        for name, kind, on_vcenter, on_esx in _SERVICES:
            setattr(content, name, kind(self, on_esx if self.esx else on_vcenter).ref)
        capability = wire.fill(vim.Capability(provisioningSupported=not self.esx, multiHostSupported=not self.esx))
        ServiceInstance(
            self, "ServiceInstance", content=content, capability=capability,
            serverClock=lambda: datetime.now(UTC),
        )  # fmt: skip
        return content
