"""SearchIndex: finding VMs and hosts by uuid, address, name and path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from pyVmomi import vim

from engine.lab.registry import MO


class SearchIndex(MO):
    """Address and DNS name are what Tools report, so only running VMs with Tools are found by them. FindBy* gives one
    of several matches, FindAllBy* all; both only what the caller may see."""

    vim = vim.SearchIndex

    def FindAllByUuid(
        self, ctx: Any, uuid: str, vmSearch: bool, datacenter: Any = None, instanceUuid: bool | None = None
    ) -> list[Any]:
        path = "summary.config.instanceUuid" if instanceUuid else "summary.config.uuid"
        wanted = uuid.lower()
        if not vmSearch:
            return self._select(ctx, datacenter, False, lambda h: str(_read(h, "summary.hardware.uuid")) == wanted)
        return self._select(ctx, datacenter, True, lambda v: str(_read(v, path)).lower() == wanted)

    def FindAllByIp(self, ctx: Any, ip: str, vmSearch: bool, datacenter: Any = None) -> list[Any]:
        if not vmSearch:
            return self._select(ctx, datacenter, False, lambda h: ip in h.addresses)
        return self._select(ctx, datacenter, True, lambda v: ip in _addresses(v))

    def FindAllByDnsName(self, ctx: Any, dnsName: str, vmSearch: bool, datacenter: Any = None) -> list[Any]:
        wanted = dnsName.lower()
        if not vmSearch:
            return self._select(ctx, datacenter, False, lambda h: h.props["name"].lower() == wanted)
        return self._select(ctx, datacenter, True, lambda v: _host_name(v) == wanted)

    def FindByUuid(
        self, ctx: Any, uuid: str, vmSearch: bool, datacenter: Any = None, instanceUuid: bool | None = None
    ) -> Any:
        return _first(self.FindAllByUuid(ctx, uuid, vmSearch, datacenter, instanceUuid))

    def FindByIp(self, ctx: Any, ip: str, vmSearch: bool, datacenter: Any = None) -> Any:
        return _first(self.FindAllByIp(ctx, ip, vmSearch, datacenter))

    def FindByDnsName(self, ctx: Any, dnsName: str, vmSearch: bool, datacenter: Any = None) -> Any:
        return _first(self.FindAllByDnsName(ctx, dnsName, vmSearch, datacenter))

    def FindByInventoryPath(self, ctx: Any, inventoryPath: str) -> Any:
        """ "My Folder/My DC/vm/web01": below the root folder; a slash in a name is written %2f."""
        place: Any = self.lab.root
        for segment in inventoryPath.strip("/").split("/"):
            if segment:
                place = next((c for c in place.children() if _named(c, segment)), None)
            if place is None:
                return None
        return self._visible(ctx, place)

    def FindChild(self, ctx: Any, entity: Any, name: str) -> Any:
        children = self.lab.find(entity).children()
        return self._visible(ctx, next((c for c in children if _named(c, name)), None))

    def FindByDatastorePath(self, ctx: Any, datacenter: Any, path: str) -> Any:
        self.lab.find(datacenter)
        found = self._select(ctx, datacenter, True, lambda v: _read(v, "summary.config.vmPathName") == path)
        return _first(found)

    def _select(self, ctx: Any, datacenter: Any, vms: bool, wanted: Callable[[Any], bool]) -> list[Any]:
        scope = self.lab.find(datacenter) if datacenter is not None else None
        lab, user = self.lab, ctx.session.user
        found = [mo for mo in lab.all_of(vim.VirtualMachine if vms else vim.HostSystem) if wanted(mo)]
        return [mo.ref for mo in found if (scope is None or lab.is_below(mo, scope)) and lab.access.sees(user, mo)]

    def _visible(self, ctx: Any, mo: Any) -> Any:
        return mo.ref if mo is not None and self.lab.access.sees(ctx.session.user, mo) else None


def _first(found: list[Any]) -> Any:
    return found[0] if found else None


def _named(mo: Any, segment: str) -> bool:
    name = mo.props["name"]
    return segment == name or unquote(segment) == unquote(name)


def _read(mo: Any, path: str) -> Any:
    """Prefers the cheap attributes that VMs carry to computing a whole summary."""
    attribute = {
        "summary.config.instanceUuid": "instance_uuid",
        "summary.config.uuid": "uuid",
        "summary.config.vmPathName": "vmx_path",
    }.get(path)
    return getattr(mo, attribute) if attribute and hasattr(mo, attribute) else mo.value(path)


def _reports(mo: Any) -> Any:
    """The guest info of a running VM whose Tools run, else None."""
    runtime, guest = mo.props.get("runtime"), mo.value("guest")
    if runtime is None or runtime.powerState != "poweredOn" or guest is None:
        return None
    return guest if guest.toolsRunningStatus == "guestToolsRunning" else None


def _addresses(mo: Any) -> set[str]:
    guest = _reports(mo)
    if guest is None:
        return set()
    return {a for a in [guest.ipAddress, *(ip for nic in guest.net for ip in nic.ipAddress)] if a}


def _host_name(mo: Any) -> str:
    guest = _reports(mo)
    return (guest.hostName or "").lower() if guest is not None else ""
