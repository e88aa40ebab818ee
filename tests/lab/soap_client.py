"""How the lab's tests speak to it: pyVmomi with an own context, and raw requests for what pyVmomi would not send."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Callable
from typing import Any

from pyVim.connect import SmartConnect
from pyVmomi import SoapAdapter, vim, vmodl

from engine.lab import Lab

PC = vmodl.query.PropertyCollector
ENVELOPE = (
    '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>{}</soapenv:Body></soapenv:Envelope>'
)


def trusting(lab: Lab) -> ssl.SSLContext:
    """Python 3.13's default strictness, on every version."""
    context = ssl.create_default_context(cafile=str(lab.ca_file))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def login(lab: Lab, user: str | None = None, password: str | None = None) -> Any:
    """A ServiceInstance with a session of its own."""
    return SmartConnect(
        host=lab.host, port=lab.port, user=user or lab.user, pwd=password or lab.password, sslContext=trusting(lab)
    )


def stub_without_session(lab: Lab) -> Any:
    version = "vim.version.v8_0_3_0"
    return SoapAdapter.SoapStubAdapter(lab.host, lab.port, version=version, sslContext=trusting(lab))


def ref(kind: Any, moid: str, owner: Any) -> Any:
    """A managed object of the session that `owner` (any managed object) belongs to."""
    return kind(moid, getattr(owner, "_stub", owner))


def properties(reference: Any, *paths: str) -> dict[str, Any]:
    """Values by path, read as the product reads them: with RetrievePropertiesEx."""
    collector: Any = vmodl.query.PropertyCollector("propertyCollector", reference._stub)
    spec = PC.FilterSpec(
        objectSet=[PC.ObjectSpec(obj=reference)], propSet=[PC.PropertySpec(type=type(reference), pathSet=list(paths))]
    )
    result = collector.RetrievePropertiesEx([spec], PC.RetrieveOptions())
    return {p.name: p.val for o in result.objects for p in o.propSet}


def view_spec(content: Any, kind: Any, paths: list[str]) -> Any:
    """A filter over all objects of a type, through a container view."""
    view = content.viewManager.CreateContainerView(content.rootFolder, [kind], True)
    traversal = PC.TraversalSpec(name="view", path="view", skip=False, type=vim.view.ContainerView)
    start = PC.ObjectSpec(obj=view, skip=True, selectSet=[traversal])
    return PC.FilterSpec(objectSet=[start], propSet=[PC.PropertySpec(type=kind, pathSet=paths)])


def finish(task: Any, timeout: float = 30.0) -> Any:
    """The result of a task; raises its fault."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        info = properties(task, "info.state", "info.error", "info.result")
        if info["info.state"] == "error":
            raise info["info.error"]
        if info["info.state"] == "success":
            return info.get("info.result")
        time.sleep(0.01)
    raise TimeoutError(task)


def until(condition: Callable[[], Any], timeout: float = 10.0) -> Any:
    """Polls the lab's own model, for what no client call can wait for."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.005)
    return value


def post(
    lab: Lab, body: str, *, path: str = "/sdk", headers: dict[str, str] | None = None, chunked: bool = False
) -> tuple[int, dict[str, str], bytes]:
    """A raw POST: (status, headers, body)."""
    connection = http.client.HTTPSConnection(lab.host, lab.port, context=trusting(lab), timeout=30)
    sent = {"SOAPAction": '"urn:vim25/8.0.3.0"', "Content-Type": "text/xml", **(headers or {})}
    try:
        data = body.encode()
        pieces = [data[i : i + 100] for i in range(0, len(data), 100)]
        connection.request("POST", path, body=iter(pieces) if chunked else data, headers=sent, encode_chunked=chunked)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def call(method: str, this: tuple[str, str], inner: str = "") -> str:
    """A SOAP envelope around one call."""
    kind, moid = this
    return ENVELOPE.format(f'<{method} xmlns="urn:vim25"><_this type="{kind}">{moid}</_this>{inner}</{method}>')
