"""One simulated vCenter or ESXi."""
import threading
import uuid
from datetime import datetime, timezone

from pyVmomi import vim

from engine.lab.authorization import ALL_PRIVS, AuthorizationManager
from engine.lab.collector import PropertyCollector, ViewManager
from engine.lab.faults import Faults
from engine.lab.inventory import ComputeResource, Datacenter, Datastore, Folder, Network
from engine.lab.registry import MO, Lab
from engine.lab.search import SearchIndex
from engine.lab.sessions import SessionManager
from engine.lab.tasks import TaskManager

now = lambda: datetime.now(timezone.utc)


class ServiceInstance(MO):
    vim = vim.ServiceInstance

    def RetrieveServiceContent(self, ctx):
        return self.props["content"]

    def CurrentTime(self, ctx):
        return now()


class VSphere(Lab):
    """One simulated vCenter (or ESXi) with its inventory."""
    SESSION_IDLE = 1800

    def __init__(self, root, esx=False, free_esx=False):
        super().__init__()
        self.caller = threading.local()                      # .session: who is asking, for per-session properties
        self.caller.session = None
        self.by_dir = {}
        self.recent, self.faults, self.free = [], Faults(), free_esx
        self.users = {"administrator@vsphere.local": ("lab", ALL_PRIVS), "readonly@vsphere.local": ("lab", {"System.View", "System.Read", "System.Anonymous"})}
        self.thumbprint, self.esx = "", esx
        about = vim.AboutInfo(name="VMware vCenter Server" if not esx else "VMware ESXi", fullName=f"VMware {'ESXi' if esx else 'vCenter Server'} 8.0.3 build-24022515 (embedded lab)", vendor="VMware, Inc.",
                              version="8.0.3", build="24022515", osType="linux-x64", productLineId="embeddedEsx" if esx else "vpx", apiType="HostAgent" if esx else "VirtualCenter",
                              apiVersion="8.0.3.0", instanceUuid=str(uuid.uuid4()), licenseProductName="VMware VirtualCenter Server", licenseProductVersion="8.0")
        self.root = Folder(self, "Datacenters", None, [vim.Folder, vim.Datacenter])
        mk = lambda cls, mid, **k: cls(self, mid, **k)
        self.pc, vm_, self.sm = mk(PropertyCollector, "propertyCollector"), mk(ViewManager, "ViewManager"), mk(SessionManager, "SessionManager", defaultLocale="en", messageLocaleList=["en"], supportedLocaleList=["en"])
        self.sm.props["currentSession"] = lambda: self.caller.session and self.caller.session.user_session
        self.sm.props["sessionList"] = lambda: [s.user_session for s in self.sessions.values()]
        content = vim.ServiceInstanceContent(rootFolder=self.root.ref, propertyCollector=self.pc.ref, viewManager=vm_.ref, about=about, sessionManager=self.sm.ref,
                                             searchIndex=mk(SearchIndex, "SearchIndex").ref, taskManager=mk(TaskManager, "TaskManager", recentTask=lambda: vim.Task.Array(self.recent[-20:])).ref,
                                             authorizationManager=mk(AuthorizationManager, "AuthorizationManager", privilegeList=[], roleList=[]).ref)
        self.si = mk(ServiceInstance, "ServiceInstance", content=content, capability=None, serverClock=now)
        self.dc = self.root.add(Datacenter(self, "Lab", self.root))
        self.ds = self.dc.datastoreFolder.add(Datastore(self, "labstore", self.dc.datastoreFolder, root))
        self.net = self.dc.networkFolder.add(Network(self, "VM Network", self.dc.networkFolder))
        self.cr = self.dc.hostFolder.add(ComputeResource(self, "esx01.lab", self.dc.hostFolder))

    def add_vm(self, name, disks=(64 << 20,), **kw):
        from engine.lab.model import VM

        return VM(self, name, self.dc.vmFolder, self.ds, self.cr.host, self.cr.pool, disks, **kw)

    def privileges(self, user):
        return self.users.get(user, ("", set()))[1]

    def locate(self, file_name):
        vm = self.by_dir.get(file_name.partition("] ")[2].split("/")[0])
        if vm is not None:
            for d in vm.disks.values():
                for lv, ly in enumerate(d.layers):
                    if vm.file(ly.path.name.replace("-flat", "").replace("-delta", "")) == file_name:
                        return vm, d, lv
        return None, None, None
