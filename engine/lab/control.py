"""The control endpoint: what a test or an operator in another process may do to the lab.

HTTPS under /control on the lab's port, JSON in and out, `Authorization: Bearer <token>` (in the ready line).

    GET    /control                       facts: state, counts, sessions, refused logins
    GET    /control/faults                rules in force, with how often they were met and how often they acted
    POST   /control/faults                a rule (faults.Rule) -> {"id": n}
    DELETE /control/faults[/n]            one rule, or all with the hit list
    GET    /control/hits                  what the rules did, oldest first
    POST   /control/sessions/expire       ends every session -> {"expired": n}
    GET    /control/frozen/SNAPSHOT/KEY   {"path": raw image of the disk as the snapshot froze it} (--record)
    POST   /control/guest                 {"running": true|false}: the guests' writing
    POST   /control/shutdown              ends the runner
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit

from pyVmomi import vim

from engine.lab.faults import Rule

LARGEST = 1 << 20  # bytes of a request


class Refused(Exception):
    """The answer is this status and this text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


def handle(request: Any) -> None:
    """One request below /control."""
    lab = request.server.embedded
    body = request.body_stream().read_all(LARGEST)
    try:
        _authenticate(request, lab)
        segments = [s for s in urlsplit(request.path).path.split("/")[2:] if s]
        answer = _act(lab, request.command, segments, _json(body))
    except Refused as refusal:
        request.reply_json(refusal.status, {"error": refusal.text})
        return
    request.reply_json(200, answer)


def _authenticate(request: Any, lab: Any) -> None:
    expected = f"Bearer {lab.control_token}".encode()
    given = (request.headers.get("Authorization") or "").encode("utf-8", "replace")
    if not hmac.compare_digest(given, expected):
        raise Refused(401, "the control token is wrong or missing")


def _json(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    try:
        value = json.loads(body)
    except ValueError as error:
        raise Refused(400, f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise Refused(400, "a JSON object is expected")
    return value


def _act(lab: Any, method: str, segments: list[str], body: dict[str, Any]) -> Any:
    action = _ACTIONS.get((method, *segments[:1]))
    if action is None:
        raise Refused(404, f"there is no {method} /control/{'/'.join(segments)}")
    return action(lab, segments[1:], body)


def _facts(lab: Any, rest: list[str], body: dict[str, Any]) -> Any:
    vsphere = lab.vsphere
    return {
        "vms": len(vsphere.all_of(vim.VirtualMachine)),
        "tasks_running": sum(t.running() for t in vsphere.tasks.entries),
        "leases": len(vsphere.all_of(vim.HttpNfcLease)),
        "sessions": [{"user": s.user, "key": s.key} for s in vsphere.sessions.all()],
        "logins": dict(vsphere.sessions.logins),
        "refused_logins": dict(vsphere.sessions.refused),
    }


def _rules(lab: Any, rest: list[str], body: dict[str, Any]) -> Any:
    return [injection.to_json() for injection in lab.faults.injections()]


def _add_rule(lab: Any, rest: list[str], body: dict[str, Any]) -> Any:
    try:
        return {"id": lab.faults.add(Rule.from_json(body))}
    except (ValueError, TypeError) as error:
        raise Refused(400, str(error)) from error


def _remove_rules(lab: Any, rest: list[str], body: dict[str, Any]) -> Any:
    if not rest:
        lab.faults.clear()
    elif not rest[0].isdigit() or not lab.faults.remove(int(rest[0])):
        raise Refused(404, f"no rule {rest[0]}")
    return {}


def _hits(lab: Any, rest: list[str], body: dict[str, Any]) -> Any:
    return [asdict(hit) for hit in lab.faults.log]


def _expire(lab: Any, rest: list[str], body: dict[str, Any]) -> Any:
    if rest != ["expire"]:
        raise Refused(404, "sessions can only expire")
    return {"expired": lab.vsphere.sessions.expire_all()}


def _frozen(lab: Any, rest: list[str], body: dict[str, Any]) -> Any:
    if len(rest) != 2 or not rest[1].isdigit():
        raise Refused(400, "/control/frozen/SNAPSHOT/DEVICE-KEY")
    try:
        return {"path": str(lab.frozen_image(rest[0], int(rest[1])))}
    except LookupError as error:
        raise Refused(404, str(error)) from error


def _guest(lab: Any, rest: list[str], body: dict[str, Any]) -> Any:
    running = body.get("running")
    if not isinstance(running, bool):
        raise Refused(400, '{"running": true|false}')
    lab.run_guest(running)
    return {"running": running}


def _shutdown(lab: Any, rest: list[str], body: dict[str, Any]) -> Any:
    lab.stop_requested.set()
    return {}


_ACTIONS: dict[tuple[str, ...], Callable[[Any, list[str], dict[str, Any]], Any]] = {
    ("GET",): _facts,
    ("GET", "faults"): _rules,
    ("POST", "faults"): _add_rule,
    ("DELETE", "faults"): _remove_rules,
    ("GET", "hits"): _hits,
    ("POST", "sessions"): _expire,
    ("GET", "frozen"): _frozen,
    ("POST", "guest"): _guest,
    ("POST", "shutdown"): _shutdown,
}
