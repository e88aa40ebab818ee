"""Both transports against the embedded lab: its server was written from the facts page by other hands.

The guest keeps writing while the frozen disks are read.
"""

import random
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim

from engine.cancel import CancelToken
from engine.errors import Cancelled, ConnectionLost, LeaseError, TransportError, TrustError
from engine.events import Event, LogRecord, Retry
from engine.extents import total
from engine.image.stream_copy import store_stream
from engine.lab import Lab
from engine.lab.faults import Rule
from engine.reporter import Reporter, silent
from engine.secret import Secret
from engine.transport.https import LeaseStream
from engine.transport.nfc.authd import Ticket
from engine.transport.nfc.budget import Budget
from engine.transport.nfc.connections import Patience
from engine.transport.nfc.source import NfcDisk, open_nfc
from engine.vsphere import snapshots
from engine.vsphere.disks import Disk
from engine.vsphere.lease import ExportLease
from engine.vsphere.session import Session, connect
from engine.vsphere.snapshots import Snapshot
from engine.vsphere.tickets import NfcTicket, read_ticket
from engine.vsphere.trust import Trust
from tests.tools import require_tool

QUICK = Patience(timeout=20, attempts=3, backoff=0.001, room=5)
MIB = 1 << 20
BOTH = pytest.mark.parametrize("encrypted", [False, True], ids=["nbd", "nbdssl"])


class Frozen:
    """One snapshot of a running VM whose guest goes on writing, and what its first disk held."""

    def __init__(self, lab: Lab, session: Session, report: Reporter) -> None:
        self.lab, self.session, self.report = lab, session, report
        self.vm: Any = next(
            vm
            for vm in lab.vsphere.all_of(vim.VirtualMachine)
            if vm.power == "poweredOn" and any(not slot.independent for slot in vm.definition.disks)
        )
        slot = next(slot for slot in self.vm.definition.disks if not slot.independent)
        self._live = self.vm.store[slot.disk]
        self._stop = threading.Event()
        self._write(random.Random(1), 40)
        self.snapshot = self._create()
        self.disk: Disk = next(d for d in snapshots.frozen_disks(session, self.snapshot.moref) if d.key == slot.key)
        self._writer = threading.Thread(target=self._keep_writing)
        self._writer.start()

    def _create(self) -> Snapshot:
        """The contents are remembered at the moment of the snapshot: nobody else writes before the thread starts."""
        self.contents = self._live.read(0, self._live.capacity)
        return snapshots.create(
            self.session,
            self.vm.id,
            name="_VCB-BACKUP_",
            description="",
            quiesce=None,
            report=silent(),
            cancel=CancelToken(),
        )

    def _write(self, dice: random.Random, times: int) -> None:
        for _ in range(times):
            length = dice.randrange(1, 200) * 512
            self._live.write(dice.randrange(0, (self._live.capacity - length) // 512) * 512, dice.randbytes(length))

    def _keep_writing(self) -> None:
        dice = random.Random(2)
        while not self._stop.wait(0.002):
            self._write(dice, 1)

    def close(self) -> None:
        self._stop.set()
        self._writer.join(30)

    def ticket(self) -> NfcTicket:
        return read_ticket(self.session, self.vm.id)

    def open(self, *, encrypted: bool = False, tickets: Callable[[], Ticket] | None = None, **changes: Any) -> NfcDisk:
        arguments = {"cancel": CancelToken(), "patience": QUICK, "budget": Budget()} | changes
        return open_nfc(
            tickets or self.ticket, self.disk.file, encrypted=encrypted, report=self.report, **arguments
        )  # fmt: skip

    def expected(self, offset: int, length: int) -> bytes:
        return self.contents[offset : offset + length]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab.start(tmp_path / "lab", seed="small", guest=False) as lab:  # the tests have a guest of their own
        yield lab


@pytest.fixture
def session(lab: Lab) -> Iterator[Session]:
    trust = Trust.from_settings(lab.ca_file, None)
    session = connect(lab.host, lab.port, lab.user, Secret(lab.password), trust, silent())
    yield session
    session.close()


@pytest.fixture
def frozen(lab: Lab, session: Session, report: Reporter) -> Iterator[Frozen]:
    frozen = Frozen(lab, session, report)
    yield frozen
    frozen.close()


def read(source: NfcDisk, offset: int, length: int) -> bytes:
    buffer = bytearray(length)
    source.read_into(offset, memoryview(buffer))
    return bytes(buffer)


@BOTH
def test_the_frozen_disk_is_read_bit_by_bit_while_the_guest_writes(frozen: Frozen, encrypted: bool) -> None:
    source = frozen.open(encrypted=encrypted, connections=3)
    assert source.capacity == len(frozen.contents) == frozen.disk.capacity
    dice = random.Random(3)
    starts = [dice.randrange(0, source.capacity // 512) * 512 for _ in range(60)] + list(
        range(0, source.capacity, 4 * MIB)
    )

    def same(start: int) -> bool:
        length = min(dice.randrange(1, 8192) * 512, source.capacity - start)
        return read(source, start, length) == frozen.expected(start, length)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(same, starts))
    source.close()
    assert frozen.lab.nfc.statistics.snapshot()[0].max_in_flight > 1
    assert all(record.error == "" for record in frozen.lab.nfc.statistics.snapshot()), "a goodbye was not understood"


def test_outside_the_allocated_blocks_there_are_zeros(frozen: Frozen) -> None:
    source = frozen.open()
    allocated = source.allocated()
    assert 0 < total(allocated) < source.capacity
    at = 0
    for extent in [*allocated, type(allocated[0])(source.capacity, 1)]:
        assert not any(frozen.contents[at : extent.start])
        at = extent.end
    source.close()


@pytest.mark.parametrize("buffer_max", [65536, MIB])
def test_a_host_with_small_buffers(frozen: Frozen, buffer_max: int) -> None:
    frozen.lab.nfc.limits.buffer_max = buffer_max
    source = frozen.open()
    assert read(source, 0, 4 * MIB) == frozen.expected(0, 4 * MIB)
    source.close()


def test_a_host_whose_buffers_others_have_taken(frozen: Frozen) -> None:
    frozen.lab.nfc.limits.host_buffers = MIB
    source = frozen.open()
    assert read(source, 0, 4 * MIB) == frozen.expected(0, 4 * MIB)
    source.close()


def test_a_connection_that_the_host_closed_while_it_was_idle(frozen: Frozen, events: list[Event]) -> None:
    frozen.lab.nfc.limits.idle = 0.1
    source = frozen.open()
    assert frozen.lab.nfc.statistics.wait_closed(30)
    frozen.lab.nfc.limits.idle = 60
    assert read(source, 0, MIB) == frozen.expected(0, MIB)
    source.close()
    assert sum(isinstance(event, Retry) for event in events) == 1


@BOTH
def test_drops_are_mended_with_new_tickets(frozen: Frozen, events: list[Event], encrypted: bool) -> None:
    frozen.lab.faults.add(Rule("nfc.read", "short", phase="data", first=3, last=4, size=1000))
    source = frozen.open(encrypted=encrypted)
    assert read(source, 0, source.capacity) == frozen.contents
    source.close()
    assert sum(isinstance(event, Retry) for event in events) == 2
    assert any(isinstance(event, LogRecord) and event.level == 2 for event in events)


def test_a_host_that_always_drops_is_given_up(frozen: Frozen) -> None:
    frozen.lab.faults.add(Rule("nfc.read", "drop", phase="data", last=0))
    source = frozen.open()
    with pytest.raises(ConnectionLost) as caught:
        read(source, 0, MIB)
    assert caught.value.transient
    source.close()


@BOTH
def test_a_ticket_admits_one_connection(frozen: Frozen, encrypted: bool) -> None:
    ticket = frozen.ticket()
    frozen.open(encrypted=encrypted, tickets=lambda: ticket).close()
    with pytest.raises(TransportError) as caught:
        frozen.open(encrypted=encrypted, tickets=lambda: ticket)
    assert caught.value.fault.startswith("530")
    assert not caught.value.transient


@BOTH
def test_another_hosts_certificate_is_refused(frozen: Frozen, encrypted: bool) -> None:
    frozen.lab.faults.add(Rule("nfc.certificate", "corrupt", phase="data"))
    with pytest.raises(TrustError, match="another certificate"):
        frozen.open(encrypted=encrypted)
    frozen.open(encrypted=encrypted).close()


@pytest.mark.parametrize(("fault", "code"), [("FileNotFound", 4), ("FileLocked", 15)])
def test_a_disk_that_cannot_be_opened(frozen: Frozen, fault: str, code: int) -> None:
    frozen.lab.faults.add(Rule("nfc.open", "fault", phase="data", fault=fault))
    with pytest.raises(TransportError, match=r"did not open") as caught:
        frozen.open()
    assert caught.value.fault == f"NFC error {code:#x}"


def test_a_refused_map_reads_the_whole_disk(frozen: Frozen, events: list[Event]) -> None:
    frozen.lab.faults.add(Rule("nfc.query", "fault", phase="data", fault="vmodl.fault.NotSupported"))
    source = frozen.open()
    assert total(source.allocated()) == source.capacity
    assert read(source, 0, MIB) == frozen.expected(0, MIB)
    source.close()
    assert any(isinstance(event, LogRecord) and event.level == 2 for event in events)


def test_a_host_with_one_connection_left(frozen: Frozen, events: list[Event]) -> None:
    frozen.lab.nfc.limits.connections = 1
    frozen.lab.faults.add(Rule("nfc.read", "slow", phase="data", last=0, size=64 * MIB))
    source = frozen.open(connections=3)
    with ThreadPoolExecutor(3) as pool:
        parts = list(pool.map(lambda start: read(source, start, 4 * MIB), range(0, 16 * MIB, 4 * MIB)))
    assert b"".join(parts) == frozen.expected(0, 16 * MIB)
    with pytest.raises((TransportError, ConnectionLost)):
        frozen.open()
    source.close()


@BOTH
def test_cancel_in_the_middle(frozen: Frozen, encrypted: bool) -> None:
    frozen.lab.faults.add(Rule("nfc.read", "slow", phase="data", last=0, size=1000))
    cancel = CancelToken()
    source = frozen.open(encrypted=encrypted, cancel=cancel)
    timer = threading.Timer(0.1, cancel.cancel)
    timer.start()
    with pytest.raises(Cancelled):
        read(source, 0, 8 * MIB)
    source.close()
    timer.join()


def export(frozen: Frozen, **changes: Any) -> tuple[ExportLease, LeaseStream]:
    lease = ExportLease.start(frozen.session, frozen.snapshot.moref, frozen.report)
    device = next(each for each in lease.devices if each.device_key == frozen.disk.key)
    arguments = {"cancel": CancelToken(), "timeout": 20.0} | changes
    return lease, LeaseStream(device, session=frozen.session, lease=lease, report=frozen.report, **arguments)


def test_a_lease_gives_the_frozen_disk_and_its_manifest_agrees(frozen: Frozen, tmp_path: Path) -> None:
    lease, stream = export(frozen)
    with lease:
        store_stream(
            stream, tmp_path / "disk.vmdk", format="compact", cancel=CancelToken(), progress=lambda progress: None
        )
        entry = next(entry for entry in lease.manifest() if entry.size == stream.received)
        assert entry.checksum == stream.digests.of(entry.checksum_type)
    raw = tmp_path / "disk.raw"
    run(require_tool("qemu-img"), "convert", "-O", "raw", tmp_path / "disk.vmdk", raw)
    assert raw.read_bytes() == frozen.contents


def test_a_lease_that_is_cut_short_is_a_lost_connection(frozen: Frozen) -> None:
    frozen.lab.faults.add(Rule("http", "short", phase="data", size=100_000))
    lease, stream = export(frozen)
    with pytest.raises(ConnectionLost):
        list(stream)
    assert not stream.complete
    lease.abort()


def test_the_url_of_an_aborted_lease_is_a_lease_error(frozen: Frozen) -> None:
    lease, stream = export(frozen)
    lease.abort()
    with pytest.raises(LeaseError):
        list(stream)


def run(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
