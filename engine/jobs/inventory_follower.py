"""Keeps the inventory coming: connects, follows, and says so when the server is lost, refuses, or is back.

A refused password is sent once; a certificate that nobody approved, or a setting that is wrong, is not tried again
either: all of them wait for the operator. Whatever time can heal is tried again, ever more slowly.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from engine.config.options import Settings
from engine.errors import ConfigError, LoginError, PrivilegeError, TrustError, VcbError
from engine.flow.job import open_session
from engine.flow.plan import fate
from engine.jobs.inventory_rows import (
    CHUNK,
    DiskRow,
    MachineRow,
    PlaceRow,
    Row,
    Rows,
    SnapshotRow,
    Status,
    Trouble,
    Wire,
)
from engine.reporter import Reporter
from engine.vsphere.disks import Disk
from engine.vsphere.inventory_watch import Changes, InventoryWatch, Place, PlacedMachine
from engine.vsphere.session import Session
from engine.vsphere.snapshots import SNAPSHOT_NAME, OwnershipToken, Snapshot

PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
"""Seconds between two attempts; the last one is used for ever."""

_FINAL = (LoginError, TrustError, ConfigError, PrivilegeError)

Say = Callable[[Wire], None]


class Follower:
    """`run` is for one thread; `session`, `reconnect` and `close` for any."""

    def __init__(
        self, settings: Settings, proxy: str, say: Say, report: Reporter, *, pauses: Sequence[float] = PAUSES
    ) -> None:
        self._settings, self._proxy, self._say, self._report = settings, proxy, say, report
        self._pauses = pauses
        self._closing = threading.Event()
        self._wake = threading.Event()
        self._session: Session | None = None
        self._watch: InventoryWatch | None = None
        self._loaded: set[str] = set()
        self._failures = 0
        self.status = Status(state="connecting", since=time.time(), host=settings.HOST or "")

    @property
    def session(self) -> Session | None:
        """The session, while it is believed to live."""
        return self._session if self.status.state in ("loading", "live") else None

    def run(self) -> None:
        """Until `close`. Raises nothing that an operator could cause."""
        while not self._closing.is_set():
            try:
                self._follow()
            except _FINAL as error:
                self._drop()
                self._tell("refused", trouble=Trouble.of(error))
                self._wake.wait()
                self._tell("connecting", trouble=None)
            except VcbError as error:
                self._pause(error)
            self._wake.clear()

    def reconnect(self) -> None:
        """Tries again now, and also after a refusal: the operator's word."""
        self._wake.set()

    def close(self) -> None:
        """Ends `run`, and the session with it. Logging out may take as long as the server lets it."""
        self._closing.set()
        self._wake.set()
        self._drop()

    def _follow(self) -> None:
        session, watch = self._connected()
        if self.status.state == "connecting":
            self._tell("loading", loaded=0, total=watch.count_machines())
        while not self._closing.is_set():
            changes = watch.changes()
            self._failures = 0
            self._pass_on(changes, session)
            if changes.complete:
                if self.status.state != "live":
                    self._tell("live", loaded=len(self._loaded), total=len(self._loaded), trouble=None)
            else:
                total = max(self.status.total, len(self._loaded))
                self._tell("loading", since=self.status.since, loaded=len(self._loaded), total=total, trouble=None)

    def _connected(self) -> tuple[Session, InventoryWatch]:
        """The session and its watch from before a drop, or new ones."""
        if self._session is None or self._watch is None:
            self._session = session = open_session(self._settings, self._report, None)
            self._watch = InventoryWatch(session, page=CHUNK)
            self._tell(
                "connecting",
                host=f"{session.host}:{session.port}",
                user=session.user_name,
                server=session.about.fullName,
                vcenter=session.instance_uuid,
                trust="pinned" if self._settings.THUMBPRINT else "ca",
            )
        return self._session, self._watch

    def _pass_on(self, changes: Changes, session: Session) -> None:
        rows = [self._row(row, session) for row in changes.rows]
        self._loaded.update(row.id for row in rows if isinstance(row, MachineRow))
        self._loaded.difference_update(changes.gone)
        for start in range(0, max(len(rows), len(changes.gone)), CHUNK):
            part = slice(start, start + CHUNK)
            self._say(Rows(rows=tuple(rows[part]), gone=tuple(changes.gone[part])))

    def _row(self, row: Place | PlacedMachine, session: Session) -> Row:
        if isinstance(row, Place):
            return PlaceRow(id=row.moref, kind=row.kind, name=row.name, parent=row.parent)
        return machine_row(row, self._settings.EXCLUDE_DISKS, self._proxy, session.instance_uuid)

    def _pause(self, error: VcbError) -> None:
        """Waits before the next attempt; the session is kept, so that what comes back is only what differs."""
        pause = self._pauses[min(self._failures, len(self._pauses) - 1)]
        self._failures += 1
        since = self.status.since if self.status.state == "lost" else time.time()
        self._tell("lost", since=since, again=time.time() + pause, trouble=Trouble.of(error))
        self._wake.wait(pause)

    def _drop(self) -> None:
        session, self._session, self._watch = self._session, None, None
        if session is not None:
            session.close()

    def _tell(self, state: str, *, since: float | None = None, again: float = 0.0, **facts: object) -> None:
        if self._closing.is_set():
            return
        known = {name: getattr(self.status, name) for name in self.status.__struct_fields__}
        moment = time.time() if since is None else since
        self.status = Status(**{**known, **facts, "state": state, "since": moment, "again": again})
        self._say(self.status)


def machine_row(placed: PlacedMachine, excluded: Iterable[str], proxy: str, vcenter: str) -> MachineRow:
    """The row of a VM. `excluded`: EXCLUDE_DISKS; `proxy` and `vcenter` tell which snapshots are provably ours."""
    vm, names = placed.machine, list(excluded)
    return MachineRow(
        id=vm.moref,
        name=vm.name,
        folder=placed.folder,
        host=placed.host,
        power=vm.power,
        connection=vm.connection,
        template=vm.template,
        fault_tolerant=vm.fault_tolerant,
        encrypted=vm.encrypted,
        tools=vm.tools_running,
        cbt=vm.cbt,
        cbt_supported=vm.cbt_supported,
        consolidation=vm.consolidation_needed,
        locked=vm.locked_methods,
        task=placed.task,
        ip=vm.ip,
        hostname=vm.hostname,
        guest=vm.guest_os,
        hardware=vm.hardware_version,
        uuid=vm.uuid,
        vmx=vm.vmx or "",
        snapshots=tuple(_snapshot(each, (proxy, vcenter, vm.moref)) for each in vm.snapshots),
        disks=tuple(_disk(replace(disk, skip=fate(disk, names))) for disk in vm.disks),
    )


def _snapshot(snapshot: Snapshot, mine: tuple[str, str, str]) -> SnapshotRow:
    token = OwnershipToken.parse(snapshot.description)
    named = snapshot.name == SNAPSHOT_NAME
    ours = named and token is not None and (token.proxy, token.vcenter, token.vm) == mine
    return SnapshotRow(
        id=snapshot.moref,
        name=snapshot.name,
        created=snapshot.created.timestamp(),
        owner="ours" if ours else "backup" if named or token else "",
        quiesced=snapshot.quiesced,
        parent=snapshot.parent or "",
    )


def _disk(disk: Disk) -> DiskRow:
    return DiskRow(
        key=disk.key,
        name=disk.name,
        label=disk.label,
        capacity=disk.capacity,
        allocated=disk.allocated,
        datastore=disk.datastore,
        file=disk.file,
        mode=disk.mode,
        backing=disk.backing,
        thin=disk.thin,
        code=disk.skip.code if disk.skip else "",
        reason=disk.skip.text if disk.skip else "",
    )
