"""SearchIndex."""
from pyVmomi import vim

from engine.lab.registry import MO


class SearchIndex(MO):
    vim = vim.SearchIndex

    def _find(self, pred):
        return [v.ref for v in self.lab.all_of(vim.VirtualMachine) if pred(v)]

    def FindByUuid(self, ctx, uuid, vmSearch, datacenter=None, instanceUuid=None):
        r = self._find(lambda v: (v.iuuid if instanceUuid else v.uuid) == uuid)
        return r[0] if r else None

    def FindByIp(self, ctx, ip, vmSearch, datacenter=None):
        r = self._find(lambda v: v.props["guest"].ipAddress == ip)
        return r[0] if r else None

    def FindAllByIp(self, ctx, ip, vmSearch, datacenter=None):
        return vim.ManagedEntity.Array(self._find(lambda v: v.props["guest"].ipAddress == ip))

    def FindByDnsName(self, ctx, dnsName, vmSearch, datacenter=None):
        r = self._find(lambda v: v.props["guest"].hostName == dnsName)
        return r[0] if r else None

    def FindByInventoryPath(self, ctx, inventoryPath):
        cur = self.lab.root
        for seg in [s for s in inventoryPath.split("/") if s]:
            cur = next((k for k in cur.children() if k.props["name"] == seg), None)
            if cur is None:
                return None
        return cur.ref
