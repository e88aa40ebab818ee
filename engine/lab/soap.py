"""One SOAP call: who asks, whether he may, and the method of the object that answers."""

from __future__ import annotations

import sys
import traceback
from typing import Any

from pyVmomi import VmomiSupport, vim, vmodl

from engine.lab import wire
from engine.lab.sessions import Session

# methods that need no session
OPEN = frozenset({"Login", "LoginBySSPI", "LoginByToken", "CloneSession", "RetrieveServiceContent"})
# what a client without a session may read by Fetch or RetrieveProperties(Ex): how it finds out that it has none
PUBLIC = (vim.ServiceInstance, vim.SessionManager)
READS = frozenset({"Fetch", "RetrieveProperties", "RetrievePropertiesEx"})


class Context:
    """What a method knows of its call. `session` is None before login; `host` is the Host header (lease URLs);
    `cookie` is the session cookie as it came, whether it is any session's or not."""

    def __init__(
        self, lab: Any, session: Session | None, host: str, address: str, agent: str, *, cookie: str = ""
    ) -> None:
        self.lab = lab
        self.session: Any = session
        self.host, self.address, self.agent, self.cookie = host, address, agent, cookie
        self.fresh_cookie: str | None = None

    def begin(self, session: Session) -> None:
        """The call has logged in: its answer carries the cookie."""
        self.session = session
        self.offer(session.cookie)

    def offer(self, cookie: str) -> None:
        """The answer carries this cookie, also when it is a fault."""
        self.fresh_cookie = f'vmware_soap_session="{cookie}"; Path=/; HttpOnly; Secure;'


class Answer:
    """An encoded reply; `cut` says that the connection is to be dropped "before" or "after" it."""

    def __init__(self, status: int, body: bytes, cut: str = "") -> None:
        self.status, self.body, self.cut = status, body, cut


def answer(ctx: Context, body: bytes, soap_action: str | None) -> Answer:
    """Decode, dispatch, encode. Whatever goes wrong becomes a SOAP fault; a defect of the lab becomes SystemError,
    and its traceback goes to stderr."""
    dialect = ctx.lab.dialect
    version = dialect.asked_for(soap_action)
    try:
        call = wire.decode(body, dialect)
        result, cut = dispatch(ctx, call)
        if cut == "before":
            return Answer(0, b"", cut)
        return Answer(200, wire.encode(call.info, result, version), cut)
    except vmodl.MethodFault as fault:
        return Answer(500, wire.encode_fault(fault, version))
    except Exception as defect:  # a defect of the lab: the client gets a fault, not a hang
        traceback.print_exc(file=sys.stderr)
        fault = vmodl.fault.SystemError(reason=repr(defect), msg=f"A general system error occurred: {defect!r}")
        return Answer(500, wire.encode_fault(fault, version))


def dispatch(ctx: Context, call: wire.Call) -> tuple[Any, str]:
    """(result, where the connection is to be cut): the method runs unless the cut is before it."""
    lab, name = ctx.lab, call.info.wsdlName
    lab.caller = ctx.session
    if ctx.session is None:
        _demand_public(lab, call)
    else:
        ctx.session.count_call()
    mo = lab.find(call.this)
    about = [lab.objects.get(a._moId) for a in call.arguments.values() if isinstance(a, VmomiSupport.ManagedObject)]
    rule = lab.faults.hit(name, "call", mo, *about)
    if rule is not None and rule.action == "drop":
        return None, "before"
    _refuse_on_free_edition(lab, call.info)
    if ctx.session is not None and name not in OPEN:
        lab.access.demand(ctx.session.user, mo.privilege_checks(call.info, call.arguments))
    method = getattr(mo, name, None)
    if method is None:
        raise vmodl.fault.MethodNotFound(receiver=call.this, method=name, msg=f"The lab has no {name} here.")
    result = method(ctx, **call.arguments)
    return result, "after" if rule is not None and rule.action == "drop-after" else ""


def _demand_public(lab: Any, call: wire.Call) -> None:
    name = call.info.wsdlName
    if name in OPEN:
        return
    if name in READS:
        specs = call.arguments.get("specSet", ())
        targets = [call.this] if name == "Fetch" else [o.obj for spec in specs for o in spec.objectSet]
        if targets and all(isinstance(lab.find(t).ref, PUBLIC) for t in targets):
            return
    raise vim.fault.NotAuthenticated(
        object=call.this, privilegeId="System.View", msg="The session is not authenticated."
    )


def _refuse_on_free_edition(lab: Any, info: Any) -> None:
    """The free ESXi reads, and refuses every write (facts/vsphere-backup.md 3.2)."""
    if not lab.free_edition:
        return
    privilege = info.privId or "System.View"
    starts_task = info.isTask and not info.wsdlName.startswith("SearchDatastore")
    if starts_task or not privilege.startswith(("System.", "Sessions.")):
        raise vim.fault.RestrictedVersion(
            msg="Current license or ESXi version prohibits execution of the requested operation."
        )
