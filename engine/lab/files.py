"""`/folder`: the files of the datastores over HTTP, with Range, as vCenter and ESXi serve them.

`/folder/<path>?dcPath=<path of the datacenter>&dsName=<datastore>`. The session's cookie or a service ticket opens it.
What real servers do, and clients stumble over: `dcPath` is the whole inventory path (404 otherwise); the length of a
thin disk's extent is its provisioned size, and holes are sent as zeros; a running VM's top extent answers 500.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from pyVmomi import vim

from engine.lab import service_tickets
from engine.lab.store import PIECE, Entry, entries, find_store, look, resolve
from engine.lab.transfer import Cut, Refused, disturbed, send, trouble

RANGE = re.compile(r"bytes=(\d*)-(\d*)")
CHALLENGE = [("WWW-Authenticate", 'Basic realm="VMware HTTP server"')]
PRIVILEGES = {"GET": "Datastore.Browse", "HEAD": "Datastore.Browse"}


def handle(request: Any) -> None:
    """An HTTP request for /folder."""
    user, ticket = _user(request)
    if user is None:
        request.close_connection = True
        request.reply(401, headers=CHALLENGE)
        return
    url = urlsplit(request.path)
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    relative = unquote(url.path.removeprefix("/folder")).strip("/")
    try:
        _answer(request, user, relative, query, ticket)
    except Refused as refused:
        request.close_connection = True  # an upload's body may not have been read
        request.reply(refused.status, refused.text.encode(), ctype="text/plain")
    except Cut:
        request.cut()


def _user(request: Any) -> tuple[str | None, bool]:
    """Who asks, and whether it was by a service ticket."""
    session = request.session()
    if session is not None:
        return session.user, False
    try:
        jar = SimpleCookie(request.headers.get("Cookie", ""))
    except CookieError:
        return None, False
    if service_tickets.COOKIE not in jar:
        return None, False
    identity = jar[service_tickets.COOKIE].value
    return request.server.lab.service_tickets.redeem(identity, request.command, request.path), True


def _answer(request: Any, user: str, relative: str, query: dict[str, str], ticket: bool) -> None:
    lab = request.server.lab
    if "dsName" not in query:
        _list_stores(request, query.get("dcPath"))
        return
    # a ticket goes to a host, which knows no datacenter path
    dc_path = query.get("dcPath", None if ticket or lab.esx else "")
    store = find_store(lab, query["dsName"], dc_path)
    if store is None or resolve(store, relative) is None:
        raise Refused(404, "no such datacenter, datastore or file")
    privilege = PRIVILEGES.get(request.command, "Datastore.FileManagement")
    if privilege not in lab.access.privileges(user, store):
        raise Refused(403, f"{privilege} is missing on {query['dsName']}")
    entry = look(lab, store, relative)
    if request.command == "PUT":
        _put(request, store, relative, entry)
    elif entry is None:
        raise Refused(404, "no such file")
    elif request.command == "DELETE":
        _delete(request, entry)
    elif request.command not in PRIVILEGES:
        raise Refused(405, "files are read with GET and HEAD")
    elif entry.directory:
        _list(request, store, entry, relative, query)
    else:
        _get(request, entry)


def _get(request: Any, entry: Entry) -> None:
    lab = request.server.lab
    if entry.locked:
        raise Refused(500, f"{entry.name}: the file is locked")
    rule = trouble(lab, request.path, *([entry.vm] if entry.vm is not None else []))
    start, stop, status = 0, entry.size, 200
    match = RANGE.fullmatch(request.headers.get("Range", "").strip())
    if match and any(match.groups()):
        first, last = match.groups()
        if first:
            start, stop = int(first), min(int(last) + 1 if last else entry.size, entry.size)
        else:
            start = max(0, entry.size - int(last))
        if start >= stop:
            request.reply(416, headers=[("Content-Range", f"bytes */{entry.size}")])
            return
        status = 206
    headers = {
        "Content-Type": "application/octet-stream",
        "Accept-Ranges": "bytes",
        "Content-Length": str(stop - start),
    }
    if status == 206:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{entry.size}"
    send(request, headers, disturbed(_read(entry, start, stop), rule, lab.faults.pause), status=status)


def _read(entry: Entry, start: int, stop: int) -> Iterator[bytes]:
    with entry.reader() as read:
        while start < stop:
            data = read(start, min(PIECE, stop - start))
            if not data:
                raise Cut  # the file was cut short meanwhile: so is the answer
            yield data
            start += len(data)


def _put(request: Any, store: Any, relative: str, entry: Entry | None) -> None:
    lab, path = request.server.lab, resolve(store, relative)
    if entry is not None and (entry.directory or entry.disk is not None):
        raise Refused(500, f"{entry.name} is a directory or belongs to a virtual disk")
    if path is None or not path.parent.is_dir():
        raise Refused(404, "no such directory")
    rule = trouble(lab, request.path)
    body = request.body_stream()
    partial = path.with_name(f".{path.name}.upload")
    try:
        with partial.open("wb") as file:
            for data in disturbed(iter(body.read, b""), rule, lab.faults.pause):
                file.write(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    request.reply(200 if entry is not None else 201)


def _delete(request: Any, entry: Entry) -> None:
    if entry.directory or entry.disk is not None:
        raise Refused(500, f"{entry.name} is a directory or belongs to a virtual disk")
    entry.path.unlink()
    request.reply(204)


def _list(request: Any, store: Any, entry: Entry, relative: str, query: dict[str, str]) -> None:
    rows = []
    for item in entries(request.server.lab, store, entry.path):
        target = "/folder/" + quote("/".join(part for part in (relative, item.name) if part))
        slash, size = ("/", "-") if item.directory else ("", str(item.size))
        rows.append((f"{target}{slash}?{urlencode(query)}", item.name + slash, item.modified().ctime(), size))
    _page(request, f"Index of {relative or '/'} on datastore {query['dsName']}", rows)


def _list_stores(request: Any, dc_path: str | None) -> None:
    """Without a datastore: the datacenters, or the datastores of one."""
    lab, rows = request.server.lab, []
    for datacenter in lab.all_of(vim.Datacenter):
        path = lab.path_of(datacenter)
        if dc_path is None:
            rows.append((f"/folder?{urlencode({'dcPath': path})}", path, "", ""))
        elif path == dc_path.strip("/"):
            for ref in datacenter.value("datastore") or ():
                name = lab.find(ref).value("name")
                rows.append((f"/folder?{urlencode({'dcPath': path, 'dsName': name})}", name, "", ""))
    if not rows:
        raise Refused(404, "no such datacenter")
    _page(request, "Index", rows)


def _page(request: Any, title: str, rows: list[tuple[str, str, str, str]]) -> None:
    lines = [
        f'<tr><td><a href="{html.escape(link)}">{html.escape(name)}</a></td><td>{when}</td><td>{size}</td></tr>'
        for link, name, when, size in rows
    ]
    text = f"<html><head><title>{html.escape(title)}</title></head><body><table>{''.join(lines)}</table></body></html>"
    request.reply(200, text.encode(), ctype="text/html; charset=utf-8")
