"""Answers that break the protocol: each is noticed, none is believed, none is tried again."""

import random
import struct
from collections.abc import Callable

import pytest

from engine.cancel import CancelToken
from engine.errors import TransportError, VcbError
from engine.reporter import Reporter
from engine.transport.nfc.budget import Budget
from engine.transport.nfc.connections import Patience
from engine.transport.nfc.source import open_nfc
from tests.transport.fake_nfc import PATH, FakeHost, Reply

MakeHost = Callable[..., FakeHost]
PATIENT = Patience(timeout=20, attempts=1, backoff=0.001)
IMPATIENT = Patience(timeout=1, attempts=1, backoff=0.001)
"""Where damage may leave both sides waiting, and any error will do."""


def changed(position: int, fmt: str, change: Callable[[int], int], kind: int = 7) -> Callable[[bytes, bytes], Reply]:
    """A mangler that changes one field of every reply of one type (positions count from the header's first byte)."""

    def mangle(head: bytes, extra: bytes) -> Reply:
        if struct.unpack_from("<I", head, 4)[0] != kind:
            return head, extra
        broken = bytearray(head)
        (value,) = struct.unpack_from(fmt, broken, position)
        struct.pack_into(fmt, broken, position, change(value))
        return bytes(broken), extra

    return mangle


IO_FIELDS = {
    "magic": changed(0, "<I", lambda value: value ^ 1),
    "type": changed(4, "<I", lambda value: 13),
    "payload size": changed(8, "<I", lambda value: 45),
    "huge payload": changed(8, "<I", lambda value: 0xFFFFFFFF),
    "operation": changed(12, "<I", lambda value: value + 1000),
    "opcode write": changed(24, "<I", lambda value: 0),
    "compressed": changed(28, "<I", lambda value: 2),
    "request offset": changed(32, "<Q", lambda value: value + 512),
    "total": changed(40, "<I", lambda value: value + 512),
    "place beyond": changed(44, "<I", lambda value: 0xFFFFFE00),
    "place overlaps": changed(44, "<I", lambda value: max(0, value - 512)),
    "length zero": changed(48, "<I", lambda value: 0),
    "length beyond": changed(48, "<I", lambda value: 0x7FFFFFFF),
    "extra differs": changed(52, "<I", lambda value: value - 512),
}
OPEN_FIELDS = {
    "file type": changed(16 + 16, "<I", lambda value: 7, kind=4),
    "capacity zero": changed(16 + 28, "<Q", lambda value: 0, kind=4),
    "capacity odd": changed(16 + 28, "<Q", lambda value: value + 1, kind=4),
    "capacity huge": changed(16 + 28, "<Q", lambda value: 1 << 63, kind=4),
    "reply size": changed(8, "<I", lambda value: 59, kind=4),
}


def use(host: FakeHost, report: Reporter, size: int, patience: Patience = PATIENT) -> bytes:
    source = open_nfc(
        host.ticket,
        PATH,
        encrypted=False,
        report=report,
        cancel=CancelToken(),
        patience=patience,
        budget=Budget(),
    )
    try:
        buffer = bytearray(size)
        source.read_into(0, memoryview(buffer))
        return bytes(buffer)
    finally:
        source.close()


@pytest.mark.parametrize("field", [*IO_FIELDS, *OPEN_FIELDS])
def test_a_wrong_field_ends_the_read(fake_host: MakeHost, report: Reporter, disk: bytes, field: str) -> None:
    host = fake_host(mangle=(IO_FIELDS | OPEN_FIELDS)[field], largest_fragment=65536)
    with pytest.raises(TransportError, match="makes no sense") as caught:
        use(host, report, len(disk))
    assert not caught.value.transient
    assert len(host.sessions_seen) == 1, "a server that breaks the protocol is not asked again"


def test_a_fragment_that_comes_twice_is_refused(fake_host: MakeHost, report: Reporter, disk: bytes) -> None:
    def twice(head: bytes, extra: bytes) -> Reply:
        if head[4] == 7 and len(extra) == 65536:
            return head, extra + head + extra
        return head, extra

    with pytest.raises(TransportError, match="makes no sense"):
        use(fake_host(mangle=twice, largest_fragment=65536), report, len(disk))


def test_garbage_after_connect_is_not_nfc(fake_host: MakeHost, report: Reporter) -> None:
    host = fake_host(garbage_after_connect=b"220 hello again, this is not the binary protocol\r\n" * 8)
    with pytest.raises(VcbError):
        use(host, report, 512, IMPATIENT)


@pytest.mark.parametrize("seed", range(60))
def test_random_damage_never_gives_wrong_bytes(fake_host: MakeHost, report: Reporter, disk: bytes, seed: int) -> None:
    """One random bit of one random reply's header or payload flips: an error, or the right bytes; never other ones."""
    dice = random.Random(seed)
    target, bit = dice.randrange(12), dice.randrange(60 * 8)
    seen = 0

    def flip(head: bytes, extra: bytes) -> Reply:
        nonlocal seen
        seen += 1
        if seen - 1 != target:
            return head, extra
        broken = bytearray(head)
        broken[bit // 8 % len(broken)] ^= 1 << bit % 8
        return bytes(broken), extra

    host = fake_host(mangle=flip, largest_fragment=512 * 1024)
    try:
        result = use(host, report, 4 << 20, IMPATIENT)
    except VcbError:
        return
    assert result == disk[: 4 << 20]
