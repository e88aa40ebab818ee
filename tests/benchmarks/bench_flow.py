"""Whole jobs against the lab, which runs in this process, so that its CPU is not ours: incrementals, memory, nbdssl."""

import json
import os
import random
import socket
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyVmomi import vim

from engine.image.flat import RawDisk
from engine.image.units import pieces
from engine.lab import Lab
from tests.benchmarks.measure import Benchmark, Target, cost_of, fresh, program
from tests.benchmarks.sample_disk import GIB, MIB, sample_disk

_SIDE = Path(__file__).with_name("flow_side.py")
_GRAIN = 64 << 10


class _Proxy:
    """A lab whose VM `off01` has one disk, and a proxy beside it."""

    def __init__(self, work: Path, lab: Lab) -> None:
        self.work, self.lab = work, lab
        (work / "root").mkdir()
        (work / "password").write_text(lab.password)
        (work / "password").chmod(0o600)
        self.vm: Any = next(vm for vm in lab.vsphere.all_of(vim.VirtualMachine) if vm.name == "off01")

    def disk(self, capacity: int) -> Any:
        self.vm.definition.disks.clear()
        self.key = self.vm.add_disk(capacity)
        return self.vm.disks[self.key]

    def fill(self, raw: Path) -> None:
        """The disk gets what the raw file holds; holes stay holes."""
        with raw.open("rb") as file:
            for start in range(0, raw.stat().st_size, MIB):
                if any(piece := os.pread(file.fileno(), MIB, start)):
                    self.vm.write(self.key, start, piece)

    def run(self, act: str, **values: Any) -> dict[str, Any]:
        basics: dict[str, Any] = {
            "HOST": self.lab.host, "PORT": self.lab.port, "USERNAME": self.lab.user, "KEEP_FREE": "0",
            "PASSWORD_FILE": str(self.work / "password"), "CA_FILE": str(self.lab.ca_file),
            "BACKUPROOT": str(self.work / "root"), "TRANSPORT_MODE": "nbdssl", "VM_LOOKUP_METHOD": "name",
        }  # fmt: skip
        settings = self.work / "settings.json"
        settings.write_text(json.dumps(basics | values))
        done = subprocess.run(
            [sys.executable, _SIDE, act, settings, "off01"],
            check=False, capture_output=True, text=True, env={**os.environ, "VCB_STATE_DIR": str(self.work / "state")},
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(done.stderr.strip()[-300:])
        return json.loads(done.stdout)


@contextmanager
def _proxy(work: Path) -> Iterator[_Proxy]:
    with Lab.start(work / "lab", seed="small") as lab:
        yield _Proxy(work, lab)


def _incremental(work: Path, quick: bool) -> Mapping[str, float]:
    """Of the disk's stored grains one in twenty gets new content, of the kind that it had; the audit is off."""
    capacity, rounds = (GIB // 4, 1) if quick else (6 * GIB, 5)
    times: list[float] = []
    sizes: list[float] = []
    reads: list[float] = []
    raw = sample_disk(work / "disk.raw", capacity)
    with _proxy(work) as proxy:
        proxy.disk(capacity)
        proxy.fill(raw)
        dice = random.Random(5)
        options: dict[str, Any] = {"CHANGE_TRACKING": "enable", "CBT_AUDIT": "0%"}
        proxy.run("backup", **options)  # with it tracking begins
        full = proxy.run("backup", BACKUP_TYPE="full", **options)
        with raw.open("rb") as file:
            stored = [at for at in range(0, capacity, _GRAIN) if any(_at(file, at))]
            for _ in range(rounds):
                changed = sorted(dice.sample(stored, len(stored) // 20))
                for at in changed:
                    proxy.vm.write(proxy.key, at, _at(file, dice.choice(stored)))
                night = proxy.run("backup", BACKUP_TYPE="incremental", **options)
                share = len(changed) * _GRAIN / full["read"]
                times.append(night["export"] / (share * full["export"] + 1))
                sizes.append(night["stored"] / (share * full["stored"] + MIB))
                reads.append(night["read"] / (len(changed) * _GRAIN))
    names = ("incremental-time", "incremental-bytes", "incremental-read")
    return dict(zip(names, map(statistics.median, (times, sizes, reads)), strict=True))


def _at(file: Any, place: int) -> bytes:
    return os.pread(file.fileno(), _GRAIN, place)


def _memory(work: Path, quick: bool) -> Mapping[str, float]:
    """The same data on both disks; they differ in how much of nothing lies between."""
    peaks: dict[int, int] = {}
    with _proxy(work) as proxy:
        for capacity in (6 * GIB, 1 << 40):
            proxy.disk(capacity)
            dice = random.Random(6)
            count = 64 if quick else 512
            for number in range(count):
                proxy.vm.write(proxy.key, capacity // count * number // _GRAIN * _GRAIN, dice.randbytes(4 * MIB))
            peaks[capacity] = proxy.run("backup")["peak"]
    small, large = peaks.values()
    return {"memory-peak": max(peaks.values()) / (256 * MIB), "memory-growth": large / small}


def _nbdssl(work: Path, quick: bool) -> Mapping[str, float]:
    raw = sample_disk(work / "disk.raw", GIB // 2 if quick else 6 * GIB)
    seconds: dict[str, list[float]] = {
        name: [] for name in ("job", "job-alone", "sparse", "sparse-alone", "read", "tls", "nbdkit")
    }
    cores = len(os.sched_getaffinity(0))
    certificates = _certificates(work)
    copied = work / "copied.raw"
    nbdcopy = [
        program("nbdkit"), "-U", "-", "--tls=require", f"--tls-certificates={certificates}", "file", raw, "--run",
        f"{program('nbdcopy')} \"nbds+unix:///?socket=$unixsocket&tls-certificates={certificates}"
        f"&tls-verify-peer=false\" {copied}",
    ]  # fmt: skip
    with _proxy(work) as proxy:
        proxy.disk(raw.stat().st_size)
        proxy.fill(raw)
        for _ in range(1 if quick else 5):
            for name, form in (("job", "compact"), ("sparse", "sparse")):
                done = proxy.run("backup", BACKUP_TYPE="full", EXPORT_FORMAT=form)
                seconds[name].append(done["export"])
                seconds[f"{name}-alone"].append(done["cpu"] / cores)
            seconds["read"].append(proxy.run("read")["export"])
            seconds["tls"].append(_bare_tls(raw, certificates))
            began = time.perf_counter()
            fresh([copied], [nbdcopy])
            seconds["nbdkit"].append(time.perf_counter() - began)
    median = {name: statistics.median(each) for name, each in seconds.items()}
    return {
        "nbdssl-read-vs-tls": median["read"] / median["tls"],
        "nbdssl-read-vs-nbdcopy": median["read"] / median["nbdkit"],
        "nbdssl-sparse-vs-tls": median["sparse"] / median["tls"],
        "nbdssl-sparse-alone-vs-tls": median["sparse-alone"] / median["tls"],
        "nbdssl-vs-tls": median["job"] / median["tls"],
        "nbdssl-alone-vs-tls": median["job-alone"] / median["tls"],
    }


def _bare_tls(raw: Path, certificates: Path) -> float:
    """Seconds in which a program gets the disk's data over TLS from this process and does nothing with it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server-cert.pem", certificates / "server-key.pem")
    with socket.create_server(("127.0.0.1", 0)) as door:
        client = subprocess.Popen(
            [sys.executable, _SIDE, "tls", "-", str(door.getsockname()[1])], stdout=subprocess.PIPE, text=True
        )
        with context.wrap_socket(door.accept()[0], server_side=True) as link, raw.open("rb") as file:
            source = RawDisk(raw)
            for start, length in pieces(source.allocated()):
                link.sendall(os.pread(file.fileno(), length, start))
            source.close()
        return json.loads(client.communicate()[0])["export"]


def _certificates(work: Path) -> Path:
    """A CA and a server's certificate, as nbdkit and libnbd look for them."""
    place = work / "tls"
    place.mkdir()
    openssl = program("openssl")
    name = ["-subj", "/CN=localhost", "-days", "2", "-nodes", "-newkey", "rsa:2048"]
    cost_of(
        [openssl, "req", "-x509", *name, "-keyout", place / "ca-key.pem", "-out", place / "ca-cert.pem"],
        stderr=subprocess.DEVNULL,
    )
    for part in ("cert", "key"):
        (place / f"server-{part}.pem").write_bytes((place / f"ca-{part}.pem").read_bytes())
    return place


BENCHMARKS = (
    Benchmark(
        "incremental",
        {
            "incremental-time": Target(1.15, "export of an incremental, 5 % changed / changed share of a full's + 1 s"),
            "incremental-bytes": Target(1.15, "bytes stored / the changed share of a full's"),
            "incremental-read": Target(1.05, "bytes read from production / bytes changed, in grains"),
        },
        _incremental,
    ),
    Benchmark(
        "memory",
        {
            "memory-peak": Target(1.0, "peak memory of a backup (6 GiB and 1 TiB disk, the larger) / 256 MiB"),
            "memory-growth": Target(1.05, "peak memory with a thin disk of 1 TiB / with one of 6 GiB, the same data"),
        },
        _memory,
    ),
    Benchmark(
        "nbdssl",
        {
            "nbdssl-read-vs-tls": Target(1.25, "reading a disk over nbdssl / the same bytes over bare TLS"),
            "nbdssl-read-vs-nbdcopy": Target(1.25, "the same / nbdkit and nbdcopy over TLS"),
            "nbdssl-sparse-vs-tls": Target(1.25, "a whole sparse export over nbdssl, SHA-256 included / bare TLS"),
            "nbdssl-sparse-alone-vs-tls": Target(1.25, "our core seconds of it / cores, the lab's apart / bare TLS"),
            "nbdssl-vs-tls": Target(1.25, "a whole compact export over nbdssl / bare TLS"),
            "nbdssl-alone-vs-tls": Target(1.25, "our core seconds of it / cores, the lab's apart / bare TLS"),
        },
        _nbdssl,
    ),
)
