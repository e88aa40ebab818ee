"""The NFC port as a client on the wire sees it: authd, handshake, AIO messages, limits, injected faults.

Disks, layers, certificates and the port are real; only the inventory around them is a stand-in (tickets over SOAP are
in test_nfc_service.py)."""

from __future__ import annotations

import contextlib
import hashlib
import random
import socket
import ssl
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine.lab.certificates import Authority
from engine.lab.disks import Disk, Place
from engine.lab.faults import Faults, Rule
from engine.lab.nfc.server import NfcServer
from tests.lab.nfc_wire import MAGIC, Authd, Client, Reply, assemble, context, read_exactly, read_line, sha1_of

KIB, MIB = 1 << 10, 1 << 20
SIZE = 16 * MIB


class World:
    """Two VMs on one datastore, and the NFC port in front of them."""

    def __init__(self, directory: Path) -> None:
        self.datastore = SimpleNamespace(props={"name": "ds"}, root=directory / "ds")
        self.web, self.db = self._machine("vm-1", "web"), self._machine("vm-2", "db")
        self.authority = Authority(directory / "certificates")
        self.faults = Faults()
        self.objects = {"vm-1": self.web, "vm-2": self.db}
        self.server = NfcServer(self, self.authority.issue("esx01.lab")).start()

    def _machine(self, moid: str, name: str) -> SimpleNamespace:
        store = {
            f"disk-{n}": Disk(Place(self.datastore, name), f"{name}{n or ''}", SIZE, identity=f"disk-{n}")
            for n in range(2)
        }
        return SimpleNamespace(id=moid, props={"name": name}, power="poweredOff", store=store)

    def all_of(self, kind: object) -> list[SimpleNamespace]:
        return list(self.objects.values())

    @property
    def disk(self) -> Disk:
        return self.web.store["disk-0"]

    def ticket(self, disk: str | None = None, *, writable: bool = False, vm: str = "vm-1", host: str = "host-1") -> str:
        issued = self.server.tickets.issue(
            vm=vm, disk=disk, writable=writable, service="vpxa-nfc", host=host
        )  # fmt: skip
        return issued.session_id

    def client(self, *, tls: bool = False, disk: str | None = None, writable: bool = False) -> Client:
        return Client.connect(self.server.port, self.ticket(disk, writable=writable), tls=tls)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.server.close()


def fill(disk: Disk, seed: int = 1, pieces: int = 24) -> bytes:
    """Write random pieces at random places; what the disk then holds."""
    dice = random.Random(seed)
    for _ in range(pieces):
        disk.write(
            dice.randrange(0, SIZE - 128 * KIB) // 512 * 512, dice.randbytes(dice.choice((512, 4096, 100 * KIB)))
        )
    return disk.read(0, SIZE)


# -- authd


def test_the_dialogue_to_200_connect(world: World) -> None:
    authd = Authd(world.server.port)
    assert authd.banner.startswith("220 VMware Authentication Daemon")
    assert "SSL Required" in authd.banner
    assert "NFCSSL supported/t" in authd.banner
    assert sha1_of(authd.tls) == world.server.certificate.sha1.replace(":", "")
    sha256 = hashlib.sha256(authd.tls.getpeercert(binary_form=True) or b"").hexdigest().upper()
    banner, thumbprint, connect = authd.login(world.ticket(), "vpxa-nfc")
    assert banner == authd.banner
    assert thumbprint.removeprefix("200 ").replace(":", "") == sha256
    assert connect == "200 Connect ha-nfc"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("tls", [False, True], ids=["nbd", "nbdssl"])
def test_leaving_and_replacing_tls(world: World, version: ssl.TLSVersion, tls: bool) -> None:
    plain = socket.create_connection(("127.0.0.1", world.server.port), timeout=20)
    read_line(plain)
    limited = context()
    limited.minimum_version = limited.maximum_version = version
    authd = Authd.__new__(Authd)
    authd.tls = limited.wrap_socket(plain)
    assert authd.login(world.ticket(), "vpxa-nfcssl" if tls else "vpxa-nfc")[-1].startswith("200")
    data = fill(world.disk)
    client = Client(limited.wrap_socket(authd.nbd()) if tls else authd.nbd())
    assert client.read(client.open("[ds] web/web.vmdk"), 0, SIZE) == data


@pytest.mark.parametrize(
    ("lines", "reply"),
    [
        (["BANNER "], "530"),
        (["USER root"], "530"),
        (["SESSIONID x"], "530"),
        (["SESSION {}", "PROXY vpxa-nfc"], "503"),
        (["SESSION {}", "BANNER"], "503"),
        (["SESSION {}", "BANNER x"], "501"),
        (["SESSION {}", "BANNER ", "BANNER "], "503"),
        (["SESSION {}", "BANNER ", "THUMBPRINT_SHA2 AA:BB"], "501"),
        (["SESSION {}", "BANNER ", "THUMBPRINT_SHA2 PlainText", "PROXY nfc"], "501"),
        (["SESSION {}", "BANNER ", "THUMBPRINT_SHA2 PlainText", "SESSION {}"], "503"),
    ],
)
def test_anything_out_of_order_is_refused(world: World, lines: list[str], reply: str) -> None:
    authd, session = Authd(world.server.port), world.ticket()
    answer = ""
    for number, line in enumerate(lines):
        authd.say(line.format(session))
        if number or line != "SESSION {}":
            answer = read_line(authd.tls)
    assert answer.startswith(reply)
    with pytest.raises((EOFError, ConnectionError, ssl.SSLError)):
        read_exactly(authd.tls, 1)


def test_a_session_is_good_once_and_for_a_while(world: World) -> None:
    session = world.ticket()
    assert Authd(world.server.port).login(session, "vpxa-nfc")[-1].startswith("200")
    assert Authd(world.server.port).login(session, "vpxa-nfc")[-1].startswith("530")
    assert Authd(world.server.port).login("52000000-0000-0000-0000-000000000000", "vpxa-nfc")[-1].startswith("530")
    world.server.limits.ticket_lifetime = 0.0
    assert Authd(world.server.port).login(world.ticket(), "vpxa-nfc")[-1].startswith("530")


def test_the_530_may_come_at_banner(world: World) -> None:
    world.server.limits.refuse_at = "BANNER"
    authd = Authd(world.server.port)
    authd.say("SESSION unknown")
    assert authd.ask("BANNER ").startswith("530")


def test_commands_in_the_clear_end_the_connection(world: World) -> None:
    with socket.create_connection(("127.0.0.1", world.server.port), timeout=20) as plain:
        read_line(plain)
        plain.sendall(b"SESSION x\r\nBANNER \r\n")
        with contextlib.suppress(ConnectionError):
            while plain.recv(4096):
                pass


# -- handshake and messages


@pytest.mark.parametrize(
    "message",
    [
        struct.pack("<I", 43) + b"CipherText",
        struct.pack("<I", 33),
        (struct.pack("<I", 43) + b"PlainText").ljust(263, b"\0") + b"x",
    ],
)
def test_a_wrong_classic_message_ends_the_connection(world: World, message: bytes) -> None:
    authd = Authd(world.server.port)
    authd.login(world.ticket(), "vpxa-nfc")
    sock = authd.nbd()
    sock.sendall(message.ljust(264, b"\0"))
    with contextlib.suppress(ConnectionError):
        assert sock.recv(1) == b""
    assert world.server.statistics.wait_closed(20)
    assert "Malformed" in world.server.statistics.snapshot()[0].error


@pytest.mark.parametrize("tls", [False, True], ids=["nbd", "nbdssl"])
@pytest.mark.parametrize("buffer", [64 * KIB, 2 * MIB])
def test_a_disk_read_whole_and_in_parts(world: World, tls: bool, buffer: int) -> None:
    data = fill(world.disk)
    client = world.client(tls=tls)
    handle = client.open("[ds] web/web.vmdk", buffer=buffer)
    assert client.read(handle, 0, SIZE) == data
    for offset, length in ((0, 512), (512, 512), (0, 129 * 512), (SIZE - 512, 512), (3 * 512, 5 * MIB)):
        assert client.read(handle, offset, length) == data[offset : offset + length]
    client.close(handle)
    assert world.server.statistics.wait_closed(20)
    record = world.server.statistics.snapshot()[0]
    assert (record.error, record.transport, record.paths) == ("", "nbdssl" if tls else "nbd", ["[ds] web/web.vmdk"])
    assert record.served == SIZE + 512 * (1 + 1 + 129 + 1) + 5 * MIB


def test_what_opening_tells(world: World) -> None:
    client = world.client()
    client.open_session()
    assert client.ask(9, bytes(12)).payload == struct.pack("<3I", 262144, 262144, 1)
    assert client.ask(22, struct.pack("<I", 1)).type == 22
    reply = client.open_file("[ds] web/web.vmdk")
    assert len(reply.payload) == 60
    handle, kind, flags = struct.unpack_from("<QII", reply.payload, 8)
    capacity, sector, *chs = struct.unpack_from("<QIIII", reply.payload, 28)
    assert (kind, flags, capacity, sector, chs) == (2, 0x1E, SIZE, 512, [2, 255, 63])
    assert client.ddb(handle, "adapterType") == "lsilogic"
    assert client.ddb(handle, "geometry.heads") == "255"
    assert client.ddb(handle, "isDigest") == ""


def test_fragments_come_out_of_order_and_requests_overlap(world: World) -> None:
    data = fill(world.disk)
    client = world.client()
    handle = client.open("[ds] web/web.vmdk")
    asked = {client.ask_read(handle, n * MIB, MIB): n * MIB for n in range(8)}
    replies = [client.receive() for _ in range(8 * MIB // client.buffer)]
    places = [(reply.op_id, struct.unpack_from("<I", reply.payload, 28)[0]) for reply in replies]
    assert places != sorted(places)
    for op_id, offset in asked.items():
        mine = [reply for reply in replies if reply.op_id == op_id]
        assert assemble(mine, offset, MIB, client.buffer) == data[offset : offset + MIB]
    assert world.server.statistics.snapshot()[0].max_in_flight > 1


def test_zlib_fragments_and_those_that_do_not_shrink(world: World) -> None:
    world.disk.write(0, bytes(64 * KIB) + random.Random(3).randbytes(64 * KIB) + b"vmdk" * (16 * KIB))
    client = world.client()
    handle = client.open("[ds] web/web.vmdk")
    client.ask_read(handle, 0, 3 * 64 * KIB, 1)
    fragments = client.fragments(3 * 64 * KIB)
    used = {struct.unpack_from("<I", f.payload, 28)[0]: struct.unpack_from("<I", f.payload, 12)[0] for f in fragments}
    assert used == {0: 1, 64 * KIB: 0, 128 * KIB: 1}
    assert assemble(fragments, 0, 3 * 64 * KIB, client.buffer) == world.disk.read(0, 3 * 64 * KIB)
    for unknown in (2, 3, 9):
        client.ask_read(handle, 0, 512, unknown)
        assert client.receive().error == 6


def test_the_bitmap_covers_every_byte_that_is_not_zero(world: World) -> None:
    for offset in (0, 5 * MIB + 512, SIZE - 512):
        world.disk.write(offset, b"x" * 512)
    client = world.client()
    handle = client.open("[ds] web/web.vmdk")
    chunk = 64 * KIB
    reply = client.allocated(handle, chunk, 0, SIZE // chunk)
    assert struct.unpack_from("<Q", reply.payload, 32)[0] == SIZE // chunk
    set_bits = [n for n in range(SIZE // chunk) if reply.extra[n >> 3] >> (n & 7) & 1]
    assert set_bits == [0, 80, SIZE // chunk - 1]
    part = client.allocated(handle, MIB, 5 * MIB, 3)
    assert part.extra == b"\1\0\0\0"
    assert client.allocated(handle, MIB, 512, 1).error == 3
    assert client.allocated(handle, MIB, SIZE, 1).error == 3
    assert client.allocated(handle, 0, 0, 1).error == 3


def test_errors_leave_the_session_usable(world: World) -> None:
    client = world.client()
    handle = client.open("[ds] web/web.vmdk")
    for path, code in (("[ds] web/none.vmdk", 4), ("[ds] db/db.vmdk", 13), ("[ds] web/web-flat.vmdk", 4)):
        assert client.open_file(path).error == code
    client.ask_read(handle ^ 1, 0, 512)
    assert client.receive().error == 1000
    for offset, length in ((SIZE, 512), (SIZE - 512, 1024), (100, 512), (0, 100)):
        client.ask_read(handle, offset, length)
        assert client.receive().error == 3
    assert client.read(handle, 0, 512) == bytes(512)
    client.close(handle)


@pytest.mark.parametrize(
    "raw",
    [
        struct.pack("<4I", MAGIC ^ 1, 9, 12, 2) + bytes(12),
        struct.pack("<4I", MAGIC, 8, 12, 2) + bytes(12),
        struct.pack("<4I", MAGIC, 9, 16, 2) + bytes(16),
        struct.pack("<4I", MAGIC, 9, 12, 7) + bytes(12),
        struct.pack("<4I", MAGIC, 9, 12, 2) + b"x" * 12,
        struct.pack("<4I", MAGIC, 2, 16, 2) + bytes(16),
        struct.pack("<4I", MAGIC, 22, 4, 2) + bytes(4),
        struct.pack("<4I", MAGIC, 7, 44, 2) + struct.pack("<4Q3I", 0, 1, 0, 512, 512, 2, 0),
        struct.pack("<4I", MAGIC, 7, 44, 2) + struct.pack("<4Q3I", 0, 2, 0, 512, 512, 512, 0),
        struct.pack("<4I", MAGIC, 4, 60, 2) + struct.pack("<6I", 3, 0, 0, 0, 2, 0x1F).ljust(60, b"\0") + b"abc",
        struct.pack("<4I", MAGIC, 4, 60, 2) + struct.pack("<6I", 3, 0, 0, 0, 1, 0x1E).ljust(60, b"\0") + b"abc",
    ],
    ids=["magic", "type", "size", "opId", "sockopts", "session-twice", "pool", "lengths", "opcode", "flags", "kind"],
)
def test_malformed_messages_end_the_connection(world: World, raw: bytes) -> None:
    client = world.client()
    client.open("[ds] web/web.vmdk")
    client.sock.sendall(raw)
    with contextlib.suppress(EOFError, ConnectionError):
        assert client.receive().type == 1
        assert client.sock.recv(1) == b""
    assert world.server.statistics.wait_closed(20)
    assert "Malformed" in world.server.statistics.snapshot()[0].error


def test_nothing_before_open_session(world: World) -> None:
    client = world.client()
    assert client.open_file("[ds] web/web.vmdk").error == 3
    assert world.server.statistics.wait_closed(20)


# -- tickets and locks


def test_a_snapshots_chain_is_read_as_one_disk(world: World) -> None:
    frozen = [fill(world.disk, 1)]
    for seed in (2, 3):
        world.disk.freeze()
        frozen.append(fill(world.disk, seed, 8))
    world.disk.freeze()
    fill(world.disk, 9, 8)
    world.web.power = "poweredOn"
    for number, name in enumerate(("web.vmdk", "web-000001.vmdk", "web-000002.vmdk")):
        client = world.client()
        handle = client.open(f"[ds] web/{name}", buffer=MIB)
        assert client.read(handle, 0, SIZE) == frozen[number]
        client.close(handle)
    client = world.client()
    client.open_session()
    assert client.open_file("[ds] web/web-000003.vmdk").error == 15


def test_a_ticket_for_one_disk_opens_only_that(world: World) -> None:
    client = world.client(disk="disk-1")
    client.open_session()
    assert client.open_file("[ds] web/web.vmdk").error == 13
    assert client.open_file("[ds] web/web1.vmdk").type == 4


def test_writing_needs_the_writable_ticket(world: World) -> None:
    client = world.client()
    client.open_session()
    assert client.open_file("[ds] web/web.vmdk", 0x1A).error == 0x0B
    client = world.client(disk="disk-0", writable=True)
    handle = client.open("[ds] web/web.vmdk")
    assert client.write(handle, 0, b"x" * 512).error == 0x0B


@pytest.mark.parametrize("tls", [False, True], ids=["nbd", "nbdssl"])
def test_a_write_of_many_fragments_is_answered_once(world: World, tls: bool) -> None:
    data = random.Random(5).randbytes(5 * 64 * KIB + 512)
    client = world.client(tls=tls, disk="disk-0", writable=True)
    handle = client.open("[ds] web/web.vmdk", 0x1A)
    reply = client.write(handle, MIB, data)
    assert (reply.type, len(reply.payload), reply.extra) == (7, 44, b"")
    assert struct.unpack_from("<QII", reply.payload, 16) == (MIB, len(data), 0)
    assert client.read(handle, MIB, len(data)) == data
    before = client.allocated(handle, 64 * KIB, 0, SIZE // (64 * KIB))
    assert not any(before.extra)
    client.close(handle)
    fresh = world.client()
    again = fresh.open("[ds] web/web.vmdk")
    assert any(fresh.allocated(again, 64 * KIB, 0, SIZE // (64 * KIB)).extra)
    assert world.disk.read(0, SIZE) == bytes(MIB) + data + bytes(SIZE - MIB - len(data))


def test_a_refused_write_is_refused_once(world: World) -> None:
    client = world.client(disk="disk-0", writable=True)
    handle = client.open("[ds] web/web.vmdk", 0x1A)
    assert client.write(handle, SIZE - 512, b"x" * (64 * KIB * 3)).error == 3
    assert client.read(handle, SIZE - 512, 512) == bytes(512)


def test_a_running_vms_disk_is_not_written(world: World) -> None:
    world.web.power = "poweredOn"
    client = world.client(disk="disk-0", writable=True)
    client.open_session()
    assert client.open_file("[ds] web/web.vmdk", 0x1A).error == 15
    world.disk.freeze()
    assert client.open_file("[ds] web/web.vmdk", 0x1A).error == 0x0B
    assert client.open_file("[ds] web/web.vmdk", 0x1E).type == 4


# -- limits


def test_buffers_have_a_size_and_the_host_a_budget(world: World) -> None:
    client = world.client()
    assert client.open_session(16 * MIB, 1).error == 3
    assert client.open_session(2 * MIB + 512, 1).error == 3
    assert client.open_session(2 * MIB, 16).type == 2
    other = world.client()
    assert other.open_session(2 * MIB, 16).error == 2
    assert other.open_session(2 * MIB, 8).type == 2
    elsewhere = Client.connect(world.server.port, world.ticket(host="host-2"))
    assert elsewhere.open_session(2 * MIB, 16).type == 2
    client.close()
    third = world.client()
    assert third.open_session(2 * MIB, 16).type == 2


def test_connections_are_counted(world: World) -> None:
    world.server.limits.connections = 2
    first, second = world.client(), world.client()
    assert Authd(world.server.port).login(world.ticket(), "vpxa-nfc")[-1].startswith("503")
    first.open_session()
    first.close()
    assert world.client().open_session().type == 2
    second.sock.close()


# -- injected faults


def test_another_hosts_certificate(world: World) -> None:
    world.faults.add(Rule("nfc.certificate", "corrupt", "data"))
    assert sha1_of(Authd(world.server.port).tls) != world.server.certificate.sha1.replace(":", "")
    assert sha1_of(Authd(world.server.port).tls) == world.server.certificate.sha1.replace(":", "")


def test_a_refused_session(world: World) -> None:
    world.faults.add(Rule("nfc.session", "fault", "data", object="vm-1"))
    assert Authd(world.server.port).login(world.ticket(), "vpxa-nfc")[-1].startswith("530")
    assert Authd(world.server.port).login(world.ticket(), "vpxa-nfc")[-1].startswith("200")


@pytest.mark.parametrize("tls", [False, True], ids=["nbd", "nbdssl"])
@pytest.mark.parametrize(("action", "whole"), [("drop", 2), ("short", 2), ("drop-after", 3)])
def test_a_connection_cut_at_the_third_fragment(world: World, tls: bool, action: str, whole: int) -> None:
    world.server.limits.reorder_every = 0
    world.faults.add(Rule("nfc.read", action, "data", object="[ds] web/*", first=3, size=1000))
    client = world.client(tls=tls)
    handle = client.open("[ds] web/web.vmdk")
    client.ask_read(handle, 0, MIB)
    for _ in range(whole):
        assert client.receive().type == 7
    with pytest.raises((EOFError, ConnectionError, ssl.SSLError)):
        client.receive()
    assert world.server.statistics.wait_closed(20)
    assert "injected" in world.server.statistics.snapshot()[0].error


def test_one_bit_of_a_fragment_is_flipped(world: World) -> None:
    world.server.limits.reorder_every = 0
    world.faults.add(Rule("nfc.read", "corrupt", "data", first=2, size=77))
    client = world.client()
    data = client.read(client.open("[ds] web/web.vmdk"), 0, MIB)
    assert [at for at, byte in enumerate(data) if byte] == [64 * KIB + 77]


def test_an_error_reply_where_a_rule_says_so(world: World) -> None:
    world.faults.add(Rule("nfc.open", "fault", "data", fault="FileLocked"))
    world.faults.add(Rule("nfc.read", "fault", "data", first=2))
    world.faults.add(Rule("nfc.query", "delay", "data", delay=0.01))
    client = world.client()
    client.open_session()
    assert client.open_file("[ds] web/web.vmdk").error == 15
    handle = struct.unpack_from("<Q", client.open_file("[ds] web/web.vmdk").payload, 8)[0]
    client.ask_read(handle, 0, MIB)
    assert [reply.error for reply in (client.receive(), client.receive())] == [None, 1]
    assert client.allocated(handle, MIB, 0, 1).type == 13
    assert client.read(handle, 0, MIB) == bytes(MIB)


def test_a_deleted_disk_is_a_file_error(world: World) -> None:
    client = world.client()
    handle = client.open("[ds] web/web.vmdk")
    world.disk.destroy()
    client.ask_read(handle, 0, 512)
    assert client.receive().error == 7


def test_a_client_that_vanishes_frees_everything(world: World) -> None:
    client = world.client()
    handle = client.open("[ds] web/web.vmdk", buffer=2 * MIB)
    for _ in range(4):
        client.ask_read(handle, 0, SIZE)
    client.sock.close()
    assert world.server.statistics.wait_closed(20)
    assert not world.disk.top.pins


def test_closing_the_port_cuts_what_is_open(world: World) -> None:
    client = world.client(tls=True)
    handle = client.open("[ds] web/web.vmdk")
    client.ask_read(handle, 0, SIZE)
    world.server.close()
    assert world.server.statistics.open == 0


def test_a_compressed_write(world: World) -> None:
    client = world.client(disk="disk-0", writable=True)
    handle = client.open("[ds] web/web.vmdk", 0x1A)
    packed = zlib.compress(b"vmdk" * 128)
    numbers = (handle, 1 << 32, 0, 512, 0, 512, len(packed), 0)
    assert client.ask(7, struct.pack("<3Q5I", *numbers), packed) == Reply(
        7, 2, struct.pack("<3Q5I", 0, 0, 0, 512, 0, 512, 0, 0)
    )
    assert world.disk.read(0, 512) == b"vmdk" * 128
