"""The NFC disk source against a scripted server that is strict to the facts page."""

import random
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from engine.cancel import CancelToken
from engine.errors import Cancelled, ConnectError, ConnectionLost, TransportError, TrustError
from engine.events import Event, LogRecord, Retry, encode
from engine.extents import Extent, total
from engine.reporter import Reporter
from engine.transport.nfc.budget import Budget
from engine.transport.nfc.connections import Patience
from engine.transport.nfc.source import NfcDisk, open_nfc
from tests.transport.fake_nfc import BANNER, PATH, FakeHost, Identity

MakeHost = Callable[..., FakeHost]
QUICK = Patience(timeout=10, attempts=3, backoff=0.001, room=5)


def opened(host: FakeHost, report: Reporter, **changes: object) -> NfcDisk:
    arguments = {
        "encrypted": False,
        "report": report,
        "cancel": CancelToken(),
        "patience": QUICK,
        "budget": Budget(),
    } | changes
    return open_nfc(arguments.pop("tickets", host.ticket), PATH, **arguments)  # type: ignore[arg-type]


def hollow(disk: bytes, data: Callable[[int, int], bool]) -> bytes:
    """The disk with zeros in every whole chunk that holds no data."""
    whole = len(disk) // 65536 * 65536
    chunks = [disk[at : at + 65536] if data(at, at + 65536) else bytes(65536) for at in range(0, whole, 65536)]
    return b"".join([*chunks, disk[whole:]])


def test_a_map_that_leaves_data_out_is_not_believed(
    fake_host: MakeHost, report: Reporter, disk: bytes, events: list[Event]
) -> None:
    host = fake_host(allocated=lambda start, end: False)
    source = opened(host, report)
    assert list(source.allocated()) == [Extent(0, len(disk))]
    source.close()
    assert any(
        isinstance(event, LogRecord) and event.level == 2 and "empty that holds data" in event.text for event in events
    )


def read(source: NfcDisk, offset: int, length: int) -> bytes:
    buffer = bytearray(length)
    source.read_into(offset, memoryview(buffer))
    return bytes(buffer)


@pytest.mark.parametrize("encrypted", [False, True], ids=["nbd", "nbdssl"])
@pytest.mark.parametrize("seed", range(5))
def test_reads_are_exact_in_any_order_of_fragments(
    fake_host: MakeHost, report: Reporter, disk: bytes, encrypted: bool, seed: int
) -> None:
    host = fake_host(seed=seed, largest_fragment=(65536, 1 << 20, 16384)[seed % 3])
    source = opened(host, report, encrypted=encrypted, requests=3)
    assert source.capacity == len(disk)
    assert source.transport == ("nbdssl" if encrypted else "nbd")
    picks = random.Random(seed)
    for _ in range(12):
        offset = picks.randrange(0, len(disk) // 512) * 512
        length = picks.randrange(1, 9 * (len(disk) - offset) // (512 * 9) + 1) * 512
        assert read(source, offset, length) == disk[offset : offset + length]
    assert read(source, 0, len(disk)) == disk
    source.close()
    assert host.goodbyes == 1


@pytest.mark.parametrize("encrypted", [False, True], ids=["nbd", "nbdssl"])
def test_threads_share_connections_with_requests_in_flight(
    fake_host: MakeHost, report: Reporter, disk: bytes, encrypted: bool
) -> None:
    host = fake_host(seed=7, largest_fragment=65536)
    source = opened(host, report, encrypted=encrypted, connections=2, requests=4)
    offsets = list(range(0, len(disk), 128 * 1024)) * 3
    random.Random(3).shuffle(offsets)

    def check(offset: int) -> bool:
        length = min(256 * 1024, len(disk) - offset)
        return read(source, offset, length) == disk[offset : offset + length]

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(check, offsets))
    assert source.connections == 2
    assert host.most_in_flight > 1
    source.close()
    assert len(host.sessions_seen) == 2
    assert len(set(host.sessions_seen)) == 2, "a ticket was used twice"


def test_a_read_longer_than_the_window_keeps_it_full(fake_host: MakeHost, report: Reporter, disk: bytes) -> None:
    host = fake_host()
    source = opened(host, report, requests=3, buffer=65536)
    assert read(source, 0, len(disk)) == disk
    source.close()
    assert host.most_in_flight == 3
    assert host.opened_buffers == [(65536, 3)]


def test_large_buffers_are_given_up_where_the_server_refuses_them(
    fake_host: MakeHost, report: Reporter, disk: bytes
) -> None:
    host = fake_host(largest_buffer=65536)
    source = opened(host, report, requests=4)
    assert read(source, 512, 1 << 20) == disk[512 : 512 + (1 << 20)]
    source.close()
    assert host.opened_buffers == [(2 * 1024 * 1024, 4), (65536, 4)]


def test_a_server_that_does_not_know_the_tuning_messages(fake_host: MakeHost, report: Reporter, disk: bytes) -> None:
    source = opened(fake_host(tuning_refused=True), report)
    assert read(source, 0, 4096) == disk[:4096]
    source.close()


def test_allocated_blocks(fake_host: MakeHost, report: Reporter, disk: bytes) -> None:
    def data(start: int, end: int) -> bool:
        return start < 131072 or 1 << 20 <= start < (1 << 20) + 65536

    host = fake_host(hollow(disk, data), allocated=data)
    source = opened(host, report)
    tail = len(disk) // 65536 * 65536
    assert list(source.allocated()) == [Extent(0, 131072), Extent(1 << 20, 65536), Extent(tail, len(disk) - tail)]
    source.allocated()
    assert len(host.queries) == 1, "the map is asked for once"
    source.close()


def test_allocated_blocks_of_a_disk_of_several_pages(
    fake_host: MakeHost, report: Reporter, disk: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.transport.nfc.source.ALLOCATION_PAGE", 33)
    chosen = random.Random(5)
    truth = [chosen.random() < 0.5 for _ in range(len(disk) // 65536)]

    def data(start: int, end: int) -> bool:
        return truth[start // 65536]

    host = fake_host(hollow(disk, data), allocated=data)
    source = opened(host, report)
    found = source.allocated()
    source.close()
    tail = len(disk) % 65536
    assert total(found) == sum(truth) * 65536 + tail
    marked = [any(each.start <= index * 65536 < each.end for each in found) for index in range(len(truth))]
    assert marked == truth
    assert [query[1:] for query in host.queries] == [
        (0, 33), (33 * 65536, 33), (66 * 65536, len(truth) - 66),
    ]  # fmt: skip


def test_a_disk_smaller_than_a_chunk_is_all_data(fake_host: MakeHost, report: Reporter) -> None:
    host = fake_host(b"x" * 1024)
    source = opened(host, report)
    assert list(source.allocated()) == [Extent(0, 1024)]
    assert host.queries == []
    source.close()


def test_a_refused_map_means_the_whole_disk_and_a_warning(
    fake_host: MakeHost, report: Reporter, disk: bytes, events: list[Event]
) -> None:
    host = fake_host(query_refused=True)
    source = opened(host, report)
    assert list(source.allocated()) == [Extent(0, len(disk))]
    warnings = [event for event in events if isinstance(event, LogRecord) and event.level == 2]
    assert len(warnings) == 1
    assert "whole disk" in warnings[0].text
    assert warnings[0].fault == "NFC error 0x6"
    assert read(source, 0, 512) == disk[:512], "the connection goes on after an error reply"
    source.close()


@pytest.mark.parametrize("encrypted", [False, True], ids=["nbd", "nbdssl"])
def test_a_dropped_connection_is_replaced_with_a_new_ticket(
    fake_host: MakeHost, report: Reporter, disk: bytes, events: list[Event], encrypted: bool
) -> None:
    host = fake_host(seed=11, drop_after=[1 << 20, 3 << 20])
    source = opened(host, report, encrypted=encrypted)
    assert read(source, 0, len(disk)) == disk
    source.close()
    retries = [event for event in events if isinstance(event, Retry)]
    assert [(retry.attempt, retry.of) for retry in retries] == [(1, 3), (1, 3)]
    assert len(set(host.sessions_seen)) == 3
    assert any(isinstance(event, LogRecord) and event.level == 2 for event in events)


def test_one_drop_under_many_readers_is_one_retry(
    fake_host: MakeHost, report: Reporter, disk: bytes, events: list[Event]
) -> None:
    host = fake_host(seed=2, drop_after=[1 << 20], largest_fragment=65536)
    source = opened(host, report, connections=1)
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda at: read(source, at, min(1 << 20, len(disk) - at)), range(0, len(disk), 1 << 20)))
    assert b"".join(parts) == disk
    source.close()
    assert sum(isinstance(event, Retry) for event in events) == 1


def test_drops_without_end_are_a_lost_connection(
    fake_host: MakeHost, report: Reporter, disk: bytes, events: list[Event]
) -> None:
    host = fake_host(drop_after=[0] * 50)
    with pytest.raises(ConnectionLost) as caught:
        read(opened(host, report), 0, len(disk))
    assert caught.value.transient
    assert sum(isinstance(event, Retry) for event in events) <= QUICK.attempts**2


def test_reconnecting_is_tried_again_when_the_login_drops(
    fake_host: MakeHost, report: Reporter, disk: bytes, events: list[Event]
) -> None:
    host = fake_host(drop_after=[1 << 20])
    source = opened(host, report)
    host.script.drop_in_login = 2
    assert read(source, 0, len(disk)) == disk
    source.close()
    assert [event.attempt for event in events if isinstance(event, Retry)] == [1, 2, 3]


def test_a_spent_ticket_is_refused_and_not_tried_again(
    fake_host: MakeHost, report: Reporter, events: list[Event]
) -> None:
    host = fake_host()
    ticket = host.ticket()
    opened(host, report, tickets=lambda: ticket).close()
    with pytest.raises(TransportError) as caught:
        opened(host, report, tickets=lambda: ticket)
    assert caught.value.fault.startswith("530")
    assert not caught.value.transient
    assert len(host.sessions_seen) == 2


@pytest.mark.parametrize("encrypted", [False, True], ids=["nbd", "nbdssl"])
def test_another_certificate_never_sees_the_session_id(
    fake_host: MakeHost, report: Reporter, other_identity: Identity, encrypted: bool
) -> None:
    host = fake_host()
    with pytest.raises(TrustError):
        opened(host, report, encrypted=encrypted, tickets=lambda: host.ticket(other_identity.sha1))
    with pytest.raises(TrustError):
        opened(host, report, encrypted=encrypted, tickets=lambda: host.ticket(""))
    assert host.sessions_seen == []


def test_another_certificate_in_the_second_handshake_is_refused(
    fake_host: MakeHost, report: Reporter, other_identity: Identity
) -> None:
    host = fake_host(second_identity=other_identity)
    with pytest.raises(TrustError):
        opened(host, report, encrypted=True)
    opened(host, report).close()


def test_secrets_stay_out_of_the_log(fake_host: MakeHost, report: Reporter, events: list[Event]) -> None:
    host = fake_host()
    source = opened(host, report, encrypted=True)
    read(source, 0, 4096)
    source.close()
    text = b"\n".join(encode(event) for event in events).decode()
    assert "SESSION ***" in text
    assert all(session not in text for session in host.sessions_seen)


@pytest.mark.parametrize(
    ("banner", "encrypted", "words"),
    [
        (b"220 VMware Authentication Daemon Version 1.0: no secrets\r\n", False, "offers no TLS"),
        (BANNER.replace(b"NFCSSL supported/t, ", b""), True, "does not offer nbdssl"),
        (b"421 too many connections\r\n", False, "refused the NFC connection"),
        (b"x" * 5000, False, "makes no sense"),
    ],
)
def test_banners(fake_host: MakeHost, report: Reporter, banner: bytes, encrypted: bool, words: str) -> None:
    host = fake_host(tls_banner=banner)
    with pytest.raises(TransportError, match=words):
        opened(host, report, encrypted=encrypted)
    assert host.sessions_seen == []


def test_nobody_listens(fake_host: MakeHost, report: Reporter) -> None:
    ticket = fake_host().ticket()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = replace(ticket, port=unused.getsockname()[1])
        with pytest.raises(ConnectError) as caught:
            opened(fake_host(), report, tickets=lambda: nowhere)
    assert "902" in caught.value.hint


@pytest.mark.parametrize(("code", "words"), [(4, "not found"), (0x0F, "locked"), (0x77, "no known reason")])
def test_a_refused_disk_names_the_code(fake_host: MakeHost, report: Reporter, code: int, words: str) -> None:
    host = fake_host(refuse_open=code)
    with pytest.raises(TransportError, match=words) as caught:
        opened(host, report)
    assert caught.value.fault == f"NFC error {code:#x}"
    assert not caught.value.transient


def test_a_refused_read_is_the_readers_error_only(fake_host: MakeHost, report: Reporter, disk: bytes) -> None:
    host = fake_host(seed=4, largest_fragment=65536, refuse_reads={3 << 20: 0x0D})
    source = opened(host, report, requests=4)
    with pytest.raises(TransportError) as caught:
        read(source, 0, len(disk))
    assert caught.value.fault == "NFC error 0xd"
    assert read(source, 0, 2 << 20) == disk[: 2 << 20]
    source.close()
    assert len(host.sessions_seen) == 1


def test_an_extra_connection_that_is_refused_is_done_without(
    fake_host: MakeHost, report: Reporter, disk: bytes, events: list[Event]
) -> None:
    host = fake_host(connections=1, largest_fragment=4096)
    budget = Budget(connections=2)
    source = opened(host, report, connections=4, budget=budget)
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda at: read(source, at, min(1 << 20, len(disk) - at)), range(0, len(disk), 1 << 20)))
    assert b"".join(parts) == disk
    assert source.connections == 1
    assert budget.offer("127.0.0.1", 65536, 1), "the place of the refused connection was not given back"
    source.close()
    assert budget.offer("127.0.0.1", 65536, 1), "the place of the disk was not given back"
    assert any(
        isinstance(event, LogRecord) and event.level == 2 and "going on with 1" in event.text for event in events
    )


@pytest.mark.parametrize("encrypted", [False, True], ids=["nbd", "nbdssl"])
def test_a_silent_server_is_a_timeout(fake_host: MakeHost, report: Reporter, encrypted: bool) -> None:
    host = fake_host(silent_reads=True)
    source = opened(host, report, encrypted=encrypted, patience=Patience(timeout=2, attempts=1))
    with pytest.raises(ConnectionLost) as caught:
        read(source, 0, 512)
    assert caught.value.fault == "Timeout"
    source.close()


@pytest.mark.parametrize("encrypted", [False, True], ids=["nbd", "nbdssl"])
def test_cancel_ends_all_reads_at_once(fake_host: MakeHost, report: Reporter, encrypted: bool) -> None:
    host = fake_host(silent_reads=True)
    cancel, arrived = CancelToken(), threading.Semaphore(0)
    source = opened(host, report, encrypted=encrypted, cancel=cancel, connections=2, patience=Patience(timeout=3600))

    def attempt(offset: int) -> str:
        arrived.release()
        try:
            read(source, offset, 1 << 20)
        except Cancelled:
            return "cancelled"
        return "read"

    with ThreadPoolExecutor(4) as pool:
        results = [pool.submit(attempt, offset << 20) for offset in range(4)]
        for _ in results:
            arrived.acquire()
        cancel.cancel()
        assert [result.result(30) for result in results] == ["cancelled"] * 4
    source.close()
    with pytest.raises(Cancelled):
        opened(host, report, cancel=cancel)


def test_close_ends_reads_and_is_safe_twice(fake_host: MakeHost, report: Reporter) -> None:
    host = fake_host()
    budget = Budget(connections=1)
    source = opened(host, report, budget=budget)
    source.close()
    source.close()
    with pytest.raises(TransportError, match="closed"):
        read(source, 0, 512)
    opened(host, report, budget=budget).close()


@pytest.mark.parametrize("seed", range(8))
def test_closing_while_threads_connect_and_read_gives_everything_back(
    fake_host: MakeHost, report: Reporter, disk: bytes, seed: int
) -> None:
    host = fake_host(seed=seed, largest_fragment=65536)
    budget = Budget(connections=3)
    source = opened(host, report, budget=budget, connections=3)
    going = threading.Semaphore(0)

    def reader(offset: int) -> None:
        while True:
            going.release()
            try:
                assert read(source, offset, 512 * 1024) == disk[offset : offset + 512 * 1024]
            except TransportError:
                return

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(reader, index << 20) for index in range(4)]
        for _ in range(4 + seed):
            going.acquire()
        source.close()
        for each in readers:
            each.result(30)
    assert all(budget.offer("127.0.0.1", 65536, 1) for _ in range(3))


def test_reads_outside_the_disk_are_refused(fake_host: MakeHost, report: Reporter, disk: bytes) -> None:
    source = opened(fake_host(), report)
    for offset, length in ((-512, 512), (len(disk) - 512, 1024), (len(disk), 512)):
        with pytest.raises(TransportError, match="outside"):
            read(source, offset, length)
    source.close()
