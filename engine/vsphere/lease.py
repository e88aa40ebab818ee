"""Leases: URLs of disks as streamOptimized VMDKs, kept alive until we are done. Here what export and import share,
and the export lease on a snapshot; the other is in engine.vsphere.import_lease.

While a lease is held vCenter refuses to power on, move or destroy the VM, so it always ends: `complete` after every
byte is proven, `abort` on everything else. The keep-alive has a thread of its own, because the server ends a lease
whose progress is not reported, whether or not data flows (facts/vsphere-backup.md 3.6).
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit, urlunsplit

from pyVmomi import vim, vmodl

from engine.cancel import CancelToken
from engine.errors import LeaseError, VcbError
from engine.reporter import Reporter
from engine.vsphere.disks import DEVICES, places, read_devices
from engine.vsphere.faults import fault_name
from engine.vsphere.properties import Ref, get_one
from engine.vsphere.session import Session
from engine.vsphere.watch import Watch

_LONGEST_PAUSE = 30.0
"""Seconds between two reports of progress, at most; leases usually time out after 300."""


@dataclass(frozen=True)
class DeviceUrl:
    """One file of a lease. `url` names a real host; `thumbprint` is the SHA-1 of that host's certificate ("" where
    the server gives none). `device_key` is the VirtualDisk's key, None for files that are not disks, and for those of
    an import; `import_key` is an import's name for the file, as its specification has it."""

    key: str
    url: str
    thumbprint: str
    disk: bool
    target: str
    device_key: int | None
    size: int | None
    import_key: str = ""


@dataclass(frozen=True)
class ManifestEntry:
    """What the server sent, or got, under `key` (a DeviceUrl's): bytes on the wire, and their checksum (hex)."""

    key: str
    checksum: str
    checksum_type: str
    size: int
    capacity: int | None
    populated_size: int | None


class Lease:
    """A lease of either direction; as a context manager it completes on success and aborts on any exception."""

    kind: ClassVar[str]
    """"export" or "import", for the operator."""

    def __init__(self, session: Session, lease: Any, report: Reporter, subject: str) -> None:
        self._session, self._lease, self._report, self._subject = session, lease, report, subject
        self._percent = 0
        self._ended = threading.Event()
        self._lost: LeaseError | None = None
        self._thread: threading.Thread | None = None
        self.devices: tuple[DeviceUrl, ...] = ()
        self.timeout = 300

    def _begin(self, cancel: CancelToken, read_info: Callable[[Mapping[str, Any]], None]) -> None:
        """Waits until the lease is ready, takes its `info` and keeps it alive from then on; aborts it on any error."""
        try:
            self._await_ready(cancel)
            info = get_one(self._session, Ref("HttpNfcLease", self._lease._moId), ["info"]).get("info", {})
            self.timeout = info.get("leaseTimeout") or self.timeout
            read_info(info)
            self._ask_for_sha256()
            name = f"lease {self._lease._moId}"
            thread = threading.Thread(target=self._keep_alive, name=name, daemon=True)
            thread.start()
            self._thread = thread
        except BaseException:
            self.abort()
            raise
        self._report.step(f"{self._subject}: {self.kind} {name} is ready: {len(self.devices)} files")

    def progress(self, percent: int) -> None:
        """What the next keep-alive reports to vCenter, 0 to 100."""
        self._percent = max(0, min(100, percent))

    def check(self) -> None:
        """Raises `LeaseError` when the lease has been lost."""
        if self._lost is not None:
            raise self._lost

    def manifest(self) -> tuple[ManifestEntry, ...]:
        """The server's own account of what it sent or got; ask after the last byte and before `complete`. Servers that
        keep none give an empty one."""
        self.check()
        entries = self._session.read(
            self._lease.HttpNfcLeaseGetManifest, doing=f"reading the {self.kind}'s manifest", subject=self._subject
        )
        return tuple(_manifest_entry(entry) for entry in entries or ())

    def complete(self) -> None:
        """Ends the lease well. Raises `LeaseError` when it has been lost, since then the data is not to be trusted."""
        self._stop()
        self.check()
        self.progress(100)
        self._report_progress()
        self.check()
        try:
            self._session.act(
                self._lease.HttpNfcLeaseComplete, doing=f"completing the {self.kind} lease", subject=self._subject
            )
        except VcbError as error:
            raise self._loss(error.fault, error.sentence) from error

    def abort(self) -> bool:
        """Ends the lease as failed, so that vCenter shows it so and frees the VM; False when vCenter did not take that.
        Never raises: it runs while another error is on its way."""
        self._stop()
        self._lost = self._lost or self._loss("RequestCanceled", "it was aborted.")
        fault = vmodl.LocalizedMethodFault(
            fault=vmodl.fault.RequestCanceled(), localizedMessage=f"The {self.kind} was aborted by its client."
        )
        try:
            # Aborting twice does no harm; not aborting blocks the VM until the timeout.
            self._session.read(
                lambda: self._lease.HttpNfcLeaseAbort(fault),
                doing=f"aborting the {self.kind} lease",
                subject=self._subject,
            )
            self._report.step(f"{self._subject}: the {self.kind} lease has been aborted")
            return True
        except VcbError as error:
            # It is over already (timed out, or its session ended), or nobody can be told: it times out by itself.
            self._report.step(f"{self._subject}: the {self.kind} lease could not be aborted: {error}")
            return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            try:
                self.complete()
            except BaseException:
                self.abort()
                raise
        else:
            self.abort()

    # Getting ready

    def _await_ready(self, cancel: CancelToken) -> None:
        state, fault = "", None
        with Watch(
            self._session,
            self._lease,
            ["state", "error"],
            doing=f"waiting for the {self.kind} lease",
            subject=self._subject,
        ) as watch:
            while state not in ("ready", "error", "done"):
                cancel.check()
                changed = watch.changes()
                state, fault = changed.get("state", state), changed.get("error", fault)
        if fault is not None:
            raise self._session.translate(fault, doing=f"starting the {self.kind}", subject=self._subject) from fault
        if state != "ready":
            raise self._loss(state, "it ended before it was ready.")

    def _ask_for_sha256(self) -> None:
        """Only before the transfer; older servers keep SHA-1, which the manifest then says."""
        wishes = [vim.KeyValue(key=device.key, value="sha256") for device in self.devices]
        try:
            self._lease.HttpNfcLeaseSetManifestChecksumType(wishes)
        except (vmodl.MethodFault, *Session.DROPPED) as error:
            self._report.step(f"{self._subject}: the server's manifest will not be SHA-256: {fault_name(error)}")

    # Staying alive

    def _keep_alive(self) -> None:
        pause = min(_LONGEST_PAUSE, max(self.timeout / 4, 0.1))
        while not self._ended.wait(pause):
            self._report_progress()
            if self._lost is not None:
                return

    def _report_progress(self) -> None:
        try:
            self._session.read(
                lambda: self._lease.HttpNfcLeaseProgress(self._percent),
                doing=f"keeping the {self.kind} lease alive",
                subject=self._subject,
            )
        except VcbError as error:
            if error.transient:  # not reached this time; the server itself decides when the lease is over
                self._report.error(error)
                return
            self._lost = self._loss(error.fault, error.sentence)

    def _stop(self) -> None:
        self._ended.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=self._session.stub.timeout)

    def _loss(self, fault: str, why: str) -> LeaseError:
        return LeaseError(
            f"{self._subject}: the {self.kind} lease has ended before the data was complete: {why}",
            fault=fault,
            hint="The server ends a lease when data or progress stalls, or when someone cancels its task in vCenter.",
        )


class ExportLease(Lease):
    """The disks of a snapshot, to be read. Made by `start`."""

    kind = "export"

    @classmethod
    def start(
        cls,
        session: Session,
        snapshot_moref: str,
        report: Reporter,
        *,
        cancel: CancelToken | None = None,
        subject: str = "",
    ) -> "ExportLease":
        """Asks for the lease and waits until it is ready. Raises `LeaseError`, `PrivilegeError`, `BusyError`, ..."""
        subject = subject or snapshot_moref
        ref = Ref("VirtualMachineSnapshot", snapshot_moref)
        snapshot = session.managed(ref)
        raw = session.act(snapshot.ExportSnapshot, doing="starting the export", subject=subject)
        lease = cls(session, raw, report, subject)
        lease._begin(cancel or CancelToken(), lambda info: lease._read(info, ref))
        return lease

    def _read(self, info: Mapping[str, Any], snapshot: Ref) -> None:
        devices = get_one(self._session, snapshot, [DEVICES], readers={DEVICES: read_devices}).get(DEVICES, ())
        keys = {place: key for key, place in places(devices).items()}
        urls = info.get("deviceUrl", ())
        only = next(iter(keys.values())) if len(keys) == 1 == sum(each.get("disk", False) for each in urls) else None
        self.devices = tuple(self._device(each, keys, only) for each in urls)

    def _device(self, device: Mapping[str, Any], keys: Mapping[str, int], only: int | None) -> DeviceUrl:
        """`only` is the key of the only disk, should the server name its place in words of its own."""
        key = keys.get(device["key"].rpartition("/")[2], only) if device.get("disk") else None
        return device_url(device, self._session.host, key)


def device_url(device: Mapping[str, Any], host: str, device_key: int | None = None) -> DeviceUrl:
    """A decoded HttpNfcLeaseDeviceUrl of a server that is reached as `host`."""
    return DeviceUrl(
        key=device["key"],
        url=_on_host(device["url"], host),
        thumbprint=device.get("sslThumbprint", ""),
        disk=device.get("disk", False),
        target=device.get("targetId", ""),
        device_key=device_key,
        size=device.get("fileSize"),
        import_key=device.get("importKey", ""),
    )


def _on_host(url: str, host: str) -> str:
    """`*` stands for the server we are connected to."""
    parts = urlsplit(url)
    if parts.hostname != "*":
        return url
    named = f"[{host}]" if ":" in host else host
    return urlunsplit(parts._replace(netloc=parts.netloc.replace("*", named, 1)))


def _manifest_entry(entry: Any) -> ManifestEntry:
    return ManifestEntry(
        key=entry.key,
        checksum=(entry.checksum or entry.sha1 or "").lower(),
        checksum_type=(entry.checksumType or "sha1").lower() if entry.checksum else "sha1",
        size=entry.size,
        capacity=entry.capacity,
        populated_size=entry.populatedSize,
    )
