"""Small files of a VM (.vmx, .nvram, logs) over the datastore's HTTPS path, /folder.

Not for disks: thin ones come as their provisioned size, running ones not at all (facts/vsphere-backup.md 3.7).
"""

import http.client
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from engine.errors import BusyError, ConnectError, PrivilegeError, SessionLost, VcbError, VsphereError
from engine.vsphere.connection import DROPPED, connection_error
from engine.vsphere.properties import Ref, get_one
from engine.vsphere.session import Session

_PIECE = 256 * 1024


class Sink(Protocol):
    """A binary file opened for writing, or anything that takes bytes like one."""

    def write(self, data: bytes, /) -> Any: ...


@dataclass(frozen=True)
class DatastoreFile:
    """One file of a VM: `path` is "[ds] dir/name", `kind` vSphere's (config, nvram, log, diskExtent, ...)."""

    path: str
    kind: str
    size: int


def files_of(session: Session, vm_moref: str) -> tuple[DatastoreFile, ...]:
    """Every file that belongs to a VM, as the server last looked (layoutEx)."""
    values = get_one(session, Ref("VirtualMachine", vm_moref), ["layoutEx.file"])
    return tuple(
        DatastoreFile(each["name"], each.get("type", ""), each.get("size", 0))
        for each in values.get("layoutEx.file", ())
    )


def download(session: Session, datacenter_path: str, path: str, sink: Sink) -> int:
    """Writes the file "[ds] dir/file" to `sink` as it comes; the number of bytes.

    `datacenter_path` is the datacenter's whole inventory path without the leading slash (VirtualMachine.datacenter).
    Raises `VsphereError` for a file that is not there, `BusyError` for a locked one, `ConnectError` for a cut.
    """
    url = folder_url(datacenter_path, path)
    for attempt in (1, 2):
        session.ensure_alive()
        try:
            return _fetched(session, url, path, sink)
        except SessionLost:
            # The HTTP side may end before the session does; nothing was written yet.
            if attempt == 2:
                raise
            session.log_in(session.generation)
    raise AssertionError("unreachable")


def folder_url(datacenter_path: str, path: str) -> str:
    """`/folder/dir/file?dcPath=...&dsName=...` for a datastore path. Raises `VsphereError` for a malformed one."""
    store, bracket, file = path.partition("] ")
    if not store.startswith("[") or not bracket or not file:
        raise VsphereError(f"{path!r} is not a datastore path.", fault="InvalidDatastorePath")
    query = urlencode({"dcPath": datacenter_path, "dsName": store[1:]}, quote_via=quote, safe="/")
    return f"/folder/{quote(file)}?{query}"


def _fetched(session: Session, url: str, path: str, sink: Sink) -> int:
    written = 0
    for piece in _pieces(session, url, path):
        sink.write(piece)  # its own errors (ENOSPC) are the caller's and pass through
        written += len(piece)
    return written


def _pieces(session: Session, url: str, path: str) -> Iterator[bytes]:
    context = session.trust.context_for(session.host, session.port)
    connection = http.client.HTTPSConnection(session.host, session.port, timeout=session.stub.timeout, context=context)
    session.report.api(f"GET {url}")
    try:
        connection.request("GET", url, headers={"Cookie": session.cookie.reveal()})
        response = connection.getresponse()
        if response.status != 200:
            raise _refused(response, path)
        yield from _whole(response, path)
    except DROPPED as error:
        raise connection_error(error, session.host, session.port) from error
    finally:
        connection.close()


def _whole(response: http.client.HTTPResponse, path: str) -> Iterator[bytes]:
    expected, received = response.length, 0
    while piece := response.read(_PIECE):
        received += len(piece)
        yield piece
    if expected is not None and received != expected:
        raise ConnectError(
            f"The download of {path} was cut off after {received} of {expected} bytes.", fault="IncompleteRead"
        )


def _refused(response: http.client.HTTPResponse, path: str) -> VcbError:
    fault = f"HTTP {response.status}"
    if response.status == 401:
        return SessionLost(f"The session does not admit to {path}.", fault=fault)
    if response.status == 403:
        return PrivilegeError(
            f"The user may not read {path}.",
            fault=fault,
            hint="Datastore.Browse and Datastore.FileManagement (low level file operations) on the datastore.",
        )
    if response.status == 404:
        return VsphereError(f"The file {path} does not exist on the datastore.", fault=fault)
    if response.status == 500:
        return BusyError(f"The host does not give out {path}: it is probably locked by the running VM.", fault=fault)
    return VsphereError(f"The download of {path} was answered with {response.status} {response.reason}.", fault=fault)
