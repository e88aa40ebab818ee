"""Folders, datacenters, compute resources, hosts, pools, datastores, networks."""
import uuid

from pyVmomi import vim

from engine.lab import wire
from engine.lab.registry import MO


class Entity(MO):
    vim = vim.ManagedEntity

    def __init__(self, lab, name, parent=None, **props):
        super().__init__(lab, name=name, parent=parent and parent.ref, overallStatus="green", configStatus="green", configIssue=[], effectiveRole=[-1],
                         permission=[], disabledMethod=[], triggeredAlarmState=[], declaredAlarmState=[], recentTask=[], tag=[], value=[], customValue=[],
                         availableField=[], alarmActionsEnabled=True, **props)

    def children(self):
        return []

    def _kids(self, *names):
        out = []
        for n in names:
            v = self.get(n)[1]
            out += [self.lab.objects[r._moId] for r in (v if isinstance(v, list) else [v] if v else []) if r._moId in self.lab.objects]
        return out


class Folder(Entity):
    vim, prefix = vim.Folder, "group"

    def __init__(self, lab, name, parent=None, types=()):
        super().__init__(lab, name, parent, childType=list(types))
        self.kids = []
        self.props["childEntity"] = lambda: vim.ManagedEntity.Array(k.ref for k in self.kids)

    def add(self, mo):
        self.kids.append(mo)
        mo.props["parent"] = self.ref
        self.touch("childEntity")
        return mo

    def children(self):
        return self.kids


class Datacenter(Entity):
    vim, prefix = vim.Datacenter, "datacenter"

    def __init__(self, lab, name, parent):
        super().__init__(lab, name, parent)
        for prop, fname, typ in (("vmFolder", "vm", vim.VirtualMachine), ("hostFolder", "host", vim.ComputeResource),
                                 ("datastoreFolder", "datastore", vim.Datastore), ("networkFolder", "network", vim.Network)):
            f = Folder(lab, fname, self, [vim.Folder, typ])
            setattr(self, prop, f)
            self.props[prop] = f.ref
        self.props["datastore"] = lambda: [d.ref for d in self.datastoreFolder.kids]
        self.props["network"] = lambda: [d.ref for d in self.networkFolder.kids]

    def children(self):
        return [self.vmFolder, self.hostFolder, self.datastoreFolder, self.networkFolder]


class Datastore(Entity):
    vim, prefix = vim.Datastore, "datastore"

    def __init__(self, lab, name, parent, root):
        super().__init__(lab, name, parent)
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        cap = 1 << 40
        self.props.update(summary=wire.fill(vim.Datastore.Summary(datastore=self.ref, name=name, url=f"ds:///vmfs/volumes/{uuid.uuid4()}/", capacity=cap,
                          freeSpace=cap // 2, accessible=True, type="VMFS", multipleHostAccess=False)), vm=lambda: [v.ref for v in self.lab.all_of(vim.VirtualMachine)],
                          host=[], info=wire.fill(vim.host.VmfsDatastoreInfo(name=name, url="")))


class Network(Entity):
    vim, prefix = vim.Network, "network"

    def __init__(self, lab, name, parent):
        super().__init__(lab, name, parent, summary=wire.fill(vim.Network.Summary(name=name, accessible=True)), host=[], vm=[])
        self.props["summary"].network = self.ref


class ComputeResource(Entity):
    vim, prefix = vim.ComputeResource, "domain-s"

    def __init__(self, lab, name, parent):
        super().__init__(lab, name, parent)
        self.host, self.pool = Host(lab, name, self), ResourcePool(lab, "Resources", self)
        self.props.update(host=[self.host.ref], resourcePool=self.pool.ref, datastore=lambda: [d.ref for d in lab.all(Datastore)], network=lambda: [d.ref for d in lab.all(Network)])

    def children(self):
        return [self.host, self.pool]


class Host(Entity):
    vim, prefix = vim.HostSystem, "host"

    def __init__(self, lab, name, parent):
        super().__init__(lab, name, parent)
        rt = wire.fill(vim.host.RuntimeInfo(connectionState="connected", powerState="poweredOn", inMaintenanceMode=False))
        self.props.update(runtime=rt, vm=lambda: [v.ref for v in lab.all_of(vim.VirtualMachine)], datastore=lambda: [d.ref for d in lab.all(Datastore)], network=[],
                          summary=wire.fill(vim.host.Summary(host=self.ref, runtime=rt, overallStatus="green", rebootRequired=False)))


class ResourcePool(Entity):
    vim, prefix = vim.ResourcePool, "resgroup"

    def __init__(self, lab, name, parent):
        super().__init__(lab, name, parent, resourcePool=[], owner=parent.ref, vm=lambda: [v.ref for v in lab.all_of(vim.VirtualMachine)])
