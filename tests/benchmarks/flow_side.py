"""Our side of the benchmarks of whole jobs, as a program: `flow_side.py backup|read SETTINGS VM`, `... tls - PORT`.

SETTINGS is a JSON object in a file. `backup` runs one backup as a worker does; `read` opens the VM's first disk over
NFC in TLS and reads its allocated bytes, which go nowhere. `tls` takes what this machine's PORT sends over TLS, by
nothing but Python's `ssl`. Prints one JSON object.
"""

import json
import os
import socket
import ssl
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine.cancel import CancelToken
from engine.config.options import Settings
from engine.config.secrets import password_for
from engine.events import Event, StageEnded, StageStarted
from engine.extents import Extent, total
from engine.flow import job
from engine.image.units import pieces
from engine.loglevel import LogLevel
from engine.reporter import Reporter, Volume, silent
from engine.transport.nfc.source import Patience, open_nfc
from engine.vsphere import snapshots
from engine.vsphere.lookup import parse_spec, resolve
from engine.vsphere.session import connect
from engine.vsphere.tickets import read_ticket
from engine.vsphere.trust import Trust


def backup(settings: Settings, spec: str) -> dict[str, Any]:
    cpu: list[float] = []

    def look(event: Event) -> None:
        if isinstance(event, StageStarted | StageEnded) and event.stage == "export":
            cpu.append(_cpu())

    outcome = job.backup(spec, settings, Reporter(look, Volume(LogLevel.STAGE)), CancelToken())
    if outcome.point is None:
        raise SystemExit(outcome.sentence)
    return {
        "point": str(outcome.point),
        "snapshot": outcome.snapshot,
        "export": sum(stage["seconds"] for stage in outcome.stages if stage["stage"] == "export"),
        "cpu": cpu[-1] - cpu[0],
        "read": sum(done.read for done in outcome.disks),
        "stored": sum(file.size for done in outcome.disks for file in done.files),
        "kinds": [done.method.kind for done in outcome.disks],
        "peak": _peak(),
    }


def read(settings: Settings, spec: str) -> dict[str, Any]:
    trust = Trust.from_settings(settings.CA_FILE, None)
    password, report, cancel = password_for(settings, None), silent(), CancelToken()
    session = connect(settings.HOST, settings.PORT, settings.USERNAME, password, trust, report)
    vm = resolve(session, parse_spec(spec, "name"))
    made = snapshots.create(
        session, vm, name="_VCB-BACKUP_", description="benchmark", quiesce=None, report=report, cancel=cancel
    )
    try:
        disk = snapshots.frozen_disks(session, made.moref)[0]
        source = open_nfc(
            lambda: read_ticket(session, vm),
            disk.file,
            encrypted=True,
            connections=settings.NFC_CONNECTIONS,
            buffer=settings.NFC_BUFFER,
            requests=settings.NFC_REQUESTS,
            report=report,
            cancel=cancel,
            patience=Patience(timeout=settings.HTTP_TIMEOUT),
        )
        extents = source.allocated()
        began = time.perf_counter()
        with ThreadPoolExecutor(4) as pool:
            for _ in pool.map(lambda piece: _discard(source, piece), pieces(extents)):
                pass
        seconds = time.perf_counter() - began
        source.close()
    finally:
        snapshots.remove(session, made.moref, report)
        session.close()
    return {"export": seconds, "read": total(extents)}


def _discard(source: Any, piece: Extent) -> None:
    source.read_into(piece.start, memoryview(bytearray(piece.length)))


def tls(port: int) -> dict[str, Any]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    buffer, read = memoryview(bytearray(1 << 20)), 0
    with socket.create_connection(("127.0.0.1", port)) as plain, context.wrap_socket(plain) as link:
        began = time.perf_counter()
        while got := link.recv_into(buffer):
            read += got
        return {"export": time.perf_counter() - began, "read": read}


def _cpu() -> float:
    """Core seconds of this process so far."""
    times = os.times()
    return times.user + times.system


def _peak() -> int:
    """Bytes of memory that this process had at most."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def main() -> None:
    act, file, spec = sys.argv[1:]
    if act == "tls":
        print(json.dumps(tls(int(spec))))
        return
    settings = Settings.of(**json.loads(Path(file).read_text()))
    print(json.dumps({"backup": backup, "read": read}[act](settings, spec)))


if __name__ == "__main__":
    main()
