"""Export and import leases (vim.HttpNfcLease) and their URLs under /nfc/.

A lease lives from ExportVm, ExportSnapshot or ImportVApp to Complete, Abort or its timeout. Clients keep it alive with
HttpNfcLeaseProgress; while it lives, what would change the VM under the transfer is refused (VM.refuse_while_leased).
When it ends, its URLs are gone and its connections are cut.
"""

from __future__ import annotations

import hashlib
import math
import secrets
import socket
import threading
import time
import uuid
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from pyVmomi import vim, vmodl

from engine.lab.registry import MO
from engine.lab.tasks import Task
from engine.lab.transfer import Cut, Refused, abort_socket

TIMEOUT = 300.0  # seconds without HttpNfcLeaseProgress: vCenter's usual leaseTimeout
WATCH = 0.1  # seconds between two looks at session and task
CHECKSUMS = ("sha1", "sha256", "sha512")
LIVE = ("initializing", "ready")


@dataclass
class LeaseFile:
    """One URL of a lease and, once its transfer has ended, what the manifest says of it. Sizes in bytes."""

    name: str
    key: str
    disk: bool
    capacity: int | None = None
    target: str | None = None
    import_key: str = ""
    file_size: int | None = None
    checksum_type: str = "sha1"
    entry: Any = None  # vim.HttpNfcLease.ManifestEntry

    def transfer(self) -> Transfer:
        return Transfer(self)


class Transfer:
    """Hashes one body on its way, for the manifest."""

    def __init__(self, file: LeaseFile) -> None:
        self.file, self.size = file, 0
        self._sha1 = hashlib.sha1(usedforsecurity=False)
        kind = file.checksum_type
        self._kind, self._chosen = kind, self._sha1 if kind == "sha1" else hashlib.new(kind)

    def passing(self, chunks: Any) -> Iterator[bytes]:
        for chunk in chunks:
            self.size += len(chunk)
            self._sha1.update(chunk)
            if self._chosen is not self._sha1:
                self._chosen.update(chunk)
            yield chunk

    def finish(self, populated: int | None) -> None:
        """The whole body has passed: it enters the manifest, in place of an earlier transfer of the same file."""
        file = self.file
        file.entry = vim.HttpNfcLease.ManifestEntry(
            key=file.key, sha1=self._sha1.hexdigest(), checksum=self._chosen.hexdigest(), checksumType=self._kind,
            size=self.size, disk=file.disk, capacity=file.capacity, populatedSize=populated,
        )  # fmt: skip


class Leases:
    """The leases of one lab that are alive. `timeout` (seconds) holds for leases made after it was set."""

    def __init__(self) -> None:
        self.timeout = TIMEOUT
        self._lock = threading.Lock()
        self._by_secret: dict[str, Lease] = {}

    def add(self, lease: Lease) -> None:
        with self._lock:
            self._by_secret[lease.secret] = lease

    def discard(self, lease: Lease) -> None:
        with self._lock:
            self._by_secret.pop(lease.secret, None)

    def find(self, secret: str) -> Lease | None:
        with self._lock:
            return self._by_secret.get(secret)

    def of(self, vm: Any) -> Lease | None:
        """The lease that holds this VM."""
        with self._lock:
            return next((lease for lease in self._by_secret.values() if lease.vm is vm), None)

    def close(self) -> None:
        with self._lock:
            leases = list(self._by_secret.values())
        for lease in leases:
            lease.end("error", vmodl.fault.RequestCanceled(msg="The server is shutting down."))


class Lease(MO):
    """What both directions share: states, keep-alive, manifest, connections."""

    vim = vim.HttpNfcLease

    def __init__(self, ctx: Any, vm: Any, method: str, description_id: str, files: list[LeaseFile]) -> None:
        lab = vm.lab
        super().__init__(
            lab, f"session[{ctx.session.key}]{uuid.uuid4()}", state="initializing", mode="pushOrGet",
            transferProgress=0, initializeProgress=0,
            capabilities=vim.HttpNfcLease.Capabilities(pullModeSupported=False, corsSupported=False),
        )  # fmt: skip
        self.vm, self.session, self.secret = vm, ctx.session, secrets.token_hex(16)
        self.files = {file.name: file for file in files}
        self.ended = threading.Event()
        self._timeout = lab.leases.timeout
        self.deadline = time.monotonic() + self._timeout
        self._connections: set[socket.socket] = set()
        self._error: Any = None
        self._info = self._describe(ctx)
        lab.leases.add(self)
        ctx.session.owns(self)
        vm.touch("disabledMethod")
        self.task = Task(lab, ctx, vm, method, description_id, self._hold, cancelable=True)
        threading.Thread(target=self._watch, name=f"lease {vm.id}", daemon=True).start()

    def _describe(self, ctx: Any) -> Any:
        # An ESXi host writes "*": the client knows best under which name it reached the host.
        port = ctx.host.partition(":")[2]
        host = (f"*:{port}" if port else "*") if self.lab.esx else ctx.host
        urls = [
            vim.HttpNfcLease.DeviceUrl(
                key=file.key, importKey=file.import_key, url=f"https://{host}/nfc/{self.secret}/{quote(file.name)}",
                sslThumbprint=self.lab.thumbprint, disk=file.disk, targetId=file.target, fileSize=file.file_size,
            )
            for file in self.files.values()
        ]  # fmt: skip
        return vim.HttpNfcLease.Info(
            lease=self.ref, entity=self.vm.ref, deviceUrl=urls, leaseTimeout=math.ceil(self._timeout),
            totalDiskCapacityInKB=sum(file.capacity or 0 for file in self.files.values()) // 1024,
        )  # fmt: skip

    # -- life
    def _hold(self, task: Task) -> Any:
        """The work of the lease's task: it lasts as long as the lease, and ends as it ends."""
        with self.lab.cond:
            if not self.ended.is_set():
                self.deadline = time.monotonic() + self._timeout
                self.props.update(info=self._info, state="ready", initializeProgress=100)
                self.touch("info", "state", "initializeProgress")
        self.ended.wait()
        if self._error is not None:
            raise self._error
        return self.result()

    def result(self) -> Any:
        """The result of the lease's task."""
        return None

    def _watch(self) -> None:
        while not self.ended.wait(max(0.01, min(WATCH, self.deadline - time.monotonic()))):
            if self.task.done.is_set():  # a fault was injected into the task: the lease fails with it
                self.end("error", self.task.info.error)
            elif self.task.cancelled.is_set():
                self.end("error", vmodl.fault.RequestCanceled(msg="The task was canceled by a user."))
            elif self.session.dead:  # a lease belongs to its session, like a view or a filter
                self.end("error", vim.fault.NotAuthenticated(object=self.ref, privilegeId="System.View"))
            elif time.monotonic() >= self.deadline:
                self.end("error", vim.fault.Timedout(msg="Operation timed out: no progress was reported."))

    def end(self, state: str, error: Any = None) -> bool:
        """End the lease once; False when it had ended before."""
        with self.lab.cond:
            if self.ended.is_set():
                return False
            self._error = error
            self.ended.set()
            connections, self._connections = self._connections, set()
        self.lab.leases.discard(self)
        for connection in connections:
            abort_socket(connection)
        self.released(done=state == "done")
        with self.lab.cond:
            self.props.update(state=state, error=error)
            self.touch("state", "error")
            self.vm.touch("disabledMethod")
        return True

    def released(self, *, done: bool) -> None:
        """The VM is no longer held; called once, before the new state shows."""

    @contextmanager
    def connected(self, request: Any) -> Iterator[None]:
        """Within this block the request's connection is cut when the lease ends."""
        with self.lab.cond:
            if self.ended.is_set():
                raise Cut
            self._connections.add(request.connection)
        try:
            yield
        finally:
            with self.lab.cond:
                self._connections.discard(request.connection)

    @abstractmethod
    def serve(self, request: Any, file: LeaseFile) -> None:
        """Answer one HTTP request for one of the lease's files."""

    # -- what clients call
    def _require(self, *states: str) -> None:
        state = self.props["state"]
        if self.ended.is_set() and isinstance(self._error, vim.fault.Timedout):
            raise vim.fault.Timedout(msg="The lease has timed out.")
        if self.ended.is_set() or state not in states:
            raise vim.fault.InvalidState(msg="The operation is not allowed in the current state of the lease.")

    def HttpNfcLeaseProgress(self, ctx: Any, percent: int) -> None:
        with self.lab.cond:
            self._require(*LIVE)
            self.deadline = time.monotonic() + self._timeout
            self.set("transferProgress", percent)
            self.task.set("info.progress", max(0, min(100, percent)))

    def HttpNfcLeaseComplete(self, ctx: Any) -> None:
        with self.lab.cond:
            self._require("ready")
        self.end("done")

    def HttpNfcLeaseAbort(self, ctx: Any, fault: Any = None) -> None:
        with self.lab.cond:
            self._require(*LIVE)
        self.end("error", fault or vmodl.fault.RequestCanceled(msg="The lease was aborted."))

    def HttpNfcLeaseSetManifestChecksumType(self, ctx: Any, deviceUrlsToChecksumTypes: Any = None) -> None:
        with self.lab.cond:
            self._require("ready")
            by_key = {file.key: file for file in self.files.values()}
            for pair in deviceUrlsToChecksumTypes or []:
                if pair.key not in by_key or pair.value.lower() not in CHECKSUMS:
                    raise vmodl.fault.InvalidArgument(invalidProperty="deviceUrlsToChecksumTypes")
                by_key[pair.key].checksum_type = pair.value.lower()

    def HttpNfcLeaseGetManifest(self, ctx: Any) -> Any:
        with self.lab.cond:
            self._require("ready")
            return [file.entry for file in self.files.values() if file.entry is not None]


def handle(request: Any) -> None:
    """An HTTP request for /nfc/<secret>/<file>. The secret in the path is the ticket: no session is asked for."""
    parts = unquote(urlsplit(request.path).path).split("/", 3)
    lease = request.server.lab.leases.find(parts[2]) if len(parts) == 4 else None
    file = lease.files.get(parts[3]) if lease else None
    if lease is None or file is None or lease.props["state"] != "ready":
        request.close_connection = True  # an upload's body was not read
        request.reply(404, b"no such lease or file", ctype="text/plain")
        return
    try:
        with lease.connected(request):
            lease.serve(request, file)
    except Refused as refused:
        request.close_connection = True
        request.reply(refused.status, refused.text.encode(), ctype="text/plain")
    except Cut:
        request.cut()
