"""The lab as a child process: one JSON line when ready, then it runs until SIGTERM."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path

from engine.lab.embedded import Lab
from engine.lab.sspi import STORE


def main(arguments: list[str] | None = None) -> int:
    """Run the lab until SIGTERM or SIGINT, then save its state and return 0."""
    options = _parser().parse_args(arguments)
    try:
        lab = _start(options)
    except OSError as error:  # a port in use, a state directory that cannot be written
        sys.stderr.write(f"the lab cannot start: {error}\n")
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: lab.stop_requested.set())
    if options.stdinexit:
        threading.Thread(target=_until_stdin_ends, args=(lab,), name="lab-stdin", daemon=True).start()
    try:
        sys.stdout.write(json.dumps(lab.ready_facts()) + "\n")
        sys.stdout.flush()
        lab.stop_requested.wait()
    finally:
        lab.close()
    return 0


def _until_stdin_ends(lab: Lab) -> None:
    """Whoever holds the other end of the pipe, however it dies, closes it."""
    while sys.stdin.buffer.read(1 << 16):
        pass
    lab.stop_requested.set()


def _start(options: argparse.Namespace) -> Lab:
    if options.domain:
        os.environ[STORE] = str(options.domain)
    return Lab.start(
        options.state,
        seed="demo" if options.vms is None else options.vms,
        port=options.port,
        nfc_port=options.nfc_port,
        esx=options.esx,
        guest=not options.no_guest,
        record=options.record,
        domain=options.domain,
        luns=options.luns,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vcb lab", description="An embedded vSphere on the loopback interface.")
    parser.add_argument("--port", type=int, default=0, help="HTTPS port (0: any free one)")
    parser.add_argument("--nfc-port", type=int, default=0, help="NFC port (0: any free one)")
    parser.add_argument("--state", type=Path, required=True, help="directory of the lab's state, kept between runs")
    parser.add_argument("--vms", type=int, help="this many VMs without content instead of the demo inventory")
    parser.add_argument("--esx", action="store_true", help="be a single ESXi host")
    parser.add_argument("--record", action="store_true", help="keep a raw image of every disk that a snapshot freezes")
    parser.add_argument("--domain", type=Path, help="join the domain whose accounts stand in this file (LoginBySSPI)")
    parser.add_argument("--stdinexit", action="store_true", help="end when standard input ends (the starter died)")
    parser.add_argument("--luns", action="store_true", help="VMFS datastores lie on LUN images that san can read")
    parser.add_argument("--no-guest", action="store_true", help="no guest writes to the running VMs' disks")
    return parser
