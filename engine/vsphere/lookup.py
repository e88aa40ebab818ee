"""From what the operator writes (`name:web01`, `ipaddr:10.0.0.7`, a bare word) to exactly one VM."""

import difflib
import ipaddress
import re
from dataclasses import dataclass
from typing import Any

from pyVmomi import vim

from engine.errors import SpecError, VmAmbiguous, VmNotFound
from engine.vsphere.decoding import unescaped
from engine.vsphere.inventory import paths_of
from engine.vsphere.properties import Ref, collect, get
from engine.vsphere.session import Session

METHODS = ("ipaddr", "name", "uuid", "moref")
_VCB_ONLY = ("any", "powerstate")


@dataclass(frozen=True)
class Spec:
    """How to look (`method`, one of METHODS) and for what."""

    method: str
    value: str

    def __str__(self) -> str:
        return f"{self.method}:{self.value}"


def parse_spec(text: str, default_method: str) -> Spec:
    """`method:value`, or a bare word, which goes by `default_method` (VM_LOOKUP_METHOD: ipaddr or name).
    Raises `SpecError`."""
    text = text.strip()
    method, colon, value = text.partition(":")
    method = method.strip().lower()
    if not text:
        raise SpecError("An empty VM specification.", hint="Write name:web01, ipaddr:10.0.0.7, uuid:... or moref:...")
    if not colon or _is_ip(text) or not re.fullmatch("[a-z]+", method):
        return Spec(default_method, text)
    if method in METHODS and value.strip():
        return Spec(method, value.strip())
    if method in METHODS:
        raise SpecError(f"{text!r} names no VM.", hint=f"Write {method}:VALUE.")
    if method in _VCB_ONLY:
        raise SpecError(
            f"{text!r}: {method}: selects many VMs, and a job is about one.", hint="Name the VMs; see vcb inventory."
        )
    raise SpecError(
        f"{text!r}: there is no lookup method {method!r}.",
        hint=f"Methods are {', '.join(METHODS)}. For a VM whose name has a colon write name:{text}",
    )


def resolve(session: Session, spec: Spec) -> str:
    """The moref of the one VM that matches. Raises `VmNotFound`, or `VmAmbiguous` with the paths of all matches."""
    session.report.step(f"Looking for {spec}")
    found = _FINDERS[spec.method](session, spec.value)
    if len(found) == 1:
        session.report.step(f"{spec} is {found[0]}")
        return found[0]
    if not found:
        raise VmNotFound(f"No VM matches {spec}.", hint=_advice(session, spec))
    paths = tuple(sorted(paths_of(session, found)))
    raise VmAmbiguous(
        f"{len(paths)} VMs match {spec}: {', '.join(paths)}.",
        candidates=paths,
        hint=f"Name one of them by moref: {', '.join(f'moref:{moref}' for moref in sorted(found))}",
    )


def _by_address(session: Session, value: str) -> list[str]:
    """IP or DNS name, as VMware Tools report them. FindAllBy*, because FindBy* hides duplicates."""
    index = session.content.searchIndex
    if _is_ip(value):
        return _morefs(session.read(lambda: index.FindAllByIp(None, value, True), doing="looking up an IP address"))
    return _morefs(session.read(lambda: index.FindAllByDnsName(None, value, True), doing="looking up a DNS name"))


def _by_uuid(session: Session, value: str) -> list[str]:
    """By instance UUID (unique in one vCenter); only then by BIOS UUID, which clones and restores duplicate."""
    index = session.content.searchIndex
    for instance in (True, False):
        found = session.read(
            lambda instance=instance: index.FindAllByUuid(None, value, True, instance), doing="looking up a UUID"
        )
        if found:
            return _morefs(found)
    return []


def _by_moref(session: Session, value: str) -> list[str]:
    return [ref.moid for ref in get(session, [Ref("VirtualMachine", value)], ["name"])]


def _by_name(session: Session, value: str) -> list[str]:
    """Exact and case-sensitive, as VCB did; there is no FindByName in the API."""
    return [moref for name, moref in _names(session) if name == value]


_FINDERS = {"ipaddr": _by_address, "name": _by_name, "uuid": _by_uuid, "moref": _by_moref}


def _names(session: Session) -> list[tuple[str, str]]:
    rows = collect(session, "VirtualMachine", ["name"])
    return [(unescaped(row.values.get("name", "")), row.ref.moid) for row in rows]


def _morefs(found: Any) -> list[str]:
    morefs: list[Any] = [each._moId for each in found or () if isinstance(each, vim.VirtualMachine)]
    return list(dict.fromkeys(morefs))


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _advice(session: Session, spec: Spec) -> str:
    if spec.method == "ipaddr":
        return "Only running VMs with VMware Tools are found by address or DNS name; name: finds the others."
    if spec.method != "name":
        return "See vcb inventory for what this vCenter holds."
    names = sorted({name for name, _ in _names(session)})
    same = [name for name in names if name.lower() == spec.value.lower()]
    near = same or difflib.get_close_matches(spec.value, names, n=3, cutoff=0.7)
    shown = ", ".join(f"name:{name}" for name in near)
    return f"Upper and lower case count. Did you mean {shown}?" if near else "See vcb inventory for all names."
