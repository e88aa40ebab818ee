"""Any point of a chain is restored whole: over every path, to a vCenter and to an ESXi host."""

import hashlib
from pathlib import Path

import msgspec
import pytest

from engine.cancel import CancelToken
from engine.errors import VerifyError
from engine.events import ResultState
from engine.extents import Extent
from engine.flow.restore_plan import VmWish
from engine.flow.restore_to_files import restore_files
from engine.flow.restore_to_vm import restore_vm
from engine.flow.serve import NbdServers
from engine.image.descriptor import Parent
from engine.image.flat import RawDisk
from engine.image.pipeline import export
from engine.lab import Lab
from engine.points.manifest import FileEntry
from engine.points.restore_files import Point, find_point
from tests.restore.checks import frozen, point_of, same
from tests.restore.test_serve import compare
from tests.restore.test_to_vm import vms
from tests.restore.test_without_us import assert_restored, follow
from tests.tools import require_tool

GRAIN = 1 << 16


def changed(source, target, places):
    """The same disk with other bytes at some places; returns the extents that changed."""
    target.write_bytes(source.read_bytes())
    with target.open("r+b") as file:
        for place, fill in places:
            file.seek(place)
            file.write(bytes([fill]) * 5000)
    return [Extent(place // GRAIN * GRAIN, GRAIN) for place, _ in places]


def child_of(point: Point, originals, directory, name: str) -> Point:
    """A point beside `point` that holds only what changed since, as raw images in `originals` have it."""
    here = point.directory.parent / name
    here.mkdir()
    files, disks = [], []
    for disk, (raw, extents) in zip(point.manifest.disk, originals, strict=True):
        source = RawDisk(raw)
        image = export(
            source, extents, here / disk.files[0], format="compact", threads=1, cancel=CancelToken(),
            progress=lambda state: None, parent=Parent(disk.cid, f"../{point.directory.name}/{disk.files[0]}"),
        )  # fmt: skip
        source.close()
        files += [FileEntry.of(file) for file in image.files]
        disks.append(msgspec.structs.replace(disk, cid=image.cid, files=[file.name for file in image.files]))
    for entry in point.manifest.file:
        if entry.name.startswith("vm."):
            data = (point.directory / entry.name).read_bytes()
            if entry.name == "vm.ovf":
                data = data.replace(b'.vmdk"', b'-whole.vmdk"').replace(b"-whole-whole", b"-whole")
            (here / entry.name).write_bytes(data)
            digest = msgspec.structs.replace(entry, size=len(data), sha256=hashlib.sha256(data).hexdigest())
            files.append(digest)
    msgspec.structs.replace(point.manifest, disk=disks, file=files).write(here)
    return find_point(str(here), directory)


@pytest.fixture
def chain(proxy, tmp_path):
    """(the newest of three points, its disks as raw images)."""
    point = point_of(proxy)
    raws = frozen(proxy, point)
    for number in (1, 2):
        states = []
        for which, raw in enumerate(raws):
            target = tmp_path / f"state-{number}-{which}.raw"
            places = [(number * 3 * GRAIN + 700, 7 + number), (20 * GRAIN * number, 0), (5 << 20, 40 + number)]
            states.append((target, changed(raw, target, places)))
        point = child_of(point, states, proxy.root, f"later-{number}")
        raws = [raw for raw, _ in states]
    return point, raws


@pytest.mark.parametrize("kind", ["raw", "vmdk", "qcow2"])
def test_files(proxy, tmp_path, chain, kind):
    point, raws = chain
    outcome = restore_files(point, tmp_path / "out", kind, proxy.report, CancelToken())
    assert outcome.state is ResultState.SUCCESS, outcome.sentence
    for disk, raw in zip(outcome.disks, raws, strict=True):
        same(Path(disk.target), kind, raw)


def test_a_vm_is_compressed_on_the_way(lab, proxy, chain):
    point, raws = chain
    outcome = restore_vm(point, VmWish(), proxy.settings(), proxy.report, CancelToken())
    assert outcome.state is ResultState.SUCCESS, outcome.sentence
    vm = vms(lab)[outcome.moref]
    for disk, raw in zip(vm.disks.values(), raws, strict=True):
        same(disk.place.path / f"{disk.name}-flat.vmdk", "raw", raw)


def test_served(proxy, tmp_path, chain):
    require_tool("qemu-nbd")
    point, raws = chain
    with NbdServers(point, point.manifest.disk, port=0, sockets=tmp_path, report=proxy.report) as running:
        for each, raw in zip(running.exports, raws, strict=True):
            compare(each.url, raw)


def test_without_us(proxy, tmp_path, chain, monkeypatch):
    point, raws = chain
    out = tmp_path / "out"
    out.mkdir()
    follow(proxy, point, out, "without us, made whole")
    monkeypatch.setattr("tests.restore.test_without_us.frozen", lambda proxy, point: raws)
    assert_restored(proxy, point)


def test_damage_in_a_parent_is_found(proxy, tmp_path, chain):
    point, _ = chain
    parent = point.directory.parent / "later-1" / point.manifest.disk[0].files[0]
    data = bytearray(parent.read_bytes())
    data[len(data) // 2] ^= 1
    parent.write_bytes(data)
    outcome = restore_files(point, tmp_path / "out", "raw", proxy.report, CancelToken())
    assert isinstance(outcome.error, VerifyError)
    assert not (tmp_path / "out").exists()


def test_to_an_esxi_host(proxy, tmp_path):
    """Another server, which has nothing of the VM: its only datastore, network and pool are the sensible choice."""
    point = point_of(proxy)
    with Lab.start(tmp_path / "esx", seed="empty", esx=True, guest=False) as host:
        password = tmp_path / "root-password"
        password.write_text(host.password)
        password.chmod(0o600)
        settings = proxy.settings(
            HOST=host.host, PORT=host.port, USERNAME=host.user, PASSWORD_FILE=str(password), CA_FILE=str(host.ca_file)
        )
        outcome = restore_vm(point, VmWish(name="back"), settings, proxy.report, CancelToken())
        assert outcome.state is ResultState.SUCCESS, outcome.sentence
        vm = vms(host)[outcome.moref]
        for disk, raw in zip(vm.disks.values(), frozen(proxy, point), strict=True):
            same(disk.place.path / f"{disk.name}-flat.vmdk", "raw", raw)
