"""The state survives the end of the lab: regular, by SIGKILL, and in the middle of a save."""

import json
import random
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim

from engine.lab.persistence import replace_file
from engine.lab.vm import VM
from engine.lab.vsphere import VSphere
from tests.lab.model import CTX, MIB, end, make_vm, model, named, run
from tests.lab.test_changed_areas import areas, change_id

SIZE = 6 * MIB


def fill(vm: VM) -> dict[str, bytes]:
    """A VM with tracking, two branches of snapshots and data everywhere; the images by name."""
    source, images = random.Random(vm.name), {}
    run(vm.lab, vm.ReconfigVM_Task(CTX, vim.vm.ConfigSpec(changeTrackingEnabled=True, annotation="kept")))
    vm.write(2000, 0, source.randbytes(100_000))
    root = vm.take_snapshot("root", "description")
    vm.write(2000, 2 * MIB, source.randbytes(200_000))
    vm.take_snapshot("left")
    run(vm.lab, root.RevertToSnapshot_Task(CTX))
    run(vm.lab, vm.PowerOnVM_Task(CTX))
    vm.write(2000, 5000, source.randbytes(70_000))
    vm.take_snapshot("right")
    vm.write(2000, 4 * MIB, b"now" * 1000)
    for snapshot in vm.snapshots:
        images[snapshot.name] = vm.read(2000, 0, SIZE, snapshot)
    images[""] = vm.read(2000, 0, SIZE)
    return images


def facts(vm: VM) -> dict[str, Any]:
    return {
        "moref": vm.id,
        "uuids": (vm.uuid, vm.instance_uuid),
        "path": vm.lab.path_of(vm),
        "power": vm.power,
        "definition": vm.definition.to_json(),
        "tree": [(s.id, s.name, s.description, s.number, s.created, s.parent and s.parent.id) for s in vm.snapshots],
        "current": vm.current and vm.current.id,
        "files": [d.backing.fileName for d in vm.value("config").hardware.device if hasattr(d.backing, "fileName")],
        "disk ids": [disk.uuid for disk in vm.disks.values()],
        "consolidation": vm.value("runtime.consolidationNeeded"),
    }


def check_images(vm: VM, images: dict[str, bytes]) -> None:
    for snapshot in vm.snapshots:
        assert vm.read(2000, 0, SIZE, snapshot) == images[snapshot.name]
    assert vm.read(2000, 0, SIZE) == images[""]


def restarted(vsphere: VSphere, state: Path) -> VSphere:
    end(vsphere)
    return model(state)


def test_everything_comes_back(tmp_path: Path) -> None:
    vsphere = model(tmp_path)
    vm = make_vm(vsphere, disks=(SIZE,), ip="10.0.0.9")
    folder = vsphere.find(vsphere.parent_of(vm).CreateFolder(CTX, "Büro"))
    folder.add(vm)
    images, known = fill(vm), facts(vm)
    since = change_id(vm.snapshots[2]) or ""
    tracked = areas(vm, "*", vm.snapshots[2])
    again = restarted(vsphere, tmp_path)
    back = named(again, "web01")
    assert facts(back) == known
    assert back.value("guest.ipAddress") == "10.0.0.9"
    check_images(back, images)
    assert areas(back, "*", back.snapshots[2]) == tracked
    back.write(2000, 1 * MIB, b"after the restart")
    later = back.take_snapshot("later")
    assert areas(back, since, later) == [(MIB, 65536), (4 * MIB, 65536)]
    assert later.id not in {s[0] for s in known["tree"]}, "morefs are not given twice"
    end(again)


def test_after_a_kill_deltas_are_found_by_seek_data(tmp_path: Path) -> None:
    """No regular end: contents and trees are whole; tracking starts anew, as after a crash of the host."""
    vsphere = model(tmp_path)
    vm = make_vm(vsphere, disks=(SIZE,))
    images, known = fill(vm), facts(vm)
    since = change_id(vm.snapshots[2])
    again = model(tmp_path)
    back = named(again, "web01")
    assert facts(back) == known
    check_images(back, images)
    later = back.take_snapshot("later")
    with pytest.raises(vim.fault.FileFault):
        back.QueryChangedDiskAreas(CTX, 2000, 0, since, later.ref)
    vm.disks[2000].close()
    end(again)


def test_a_state_that_was_used_since_its_regular_end_is_not_trusted(tmp_path: Path) -> None:
    vsphere = model(tmp_path)
    vm = make_vm(vsphere, disks=(SIZE,))
    vm.take_snapshot("s")
    second = restarted(vsphere, tmp_path)
    named(second, "web01").write(2000, 3 * MIB, b"written after the saved block map")
    third = model(tmp_path)  # the second was killed
    assert named(third, "web01").read(2000, 3 * MIB, 7) == b"written"
    end(third)


def test_a_failed_merge_waits_for_the_next_start(tmp_path: Path) -> None:
    vsphere = model(tmp_path)
    vm = make_vm(vsphere, disks=(SIZE,))
    snapshot = vm.take_snapshot("s")
    vm.write(2000, 0, b"kept")
    run(vsphere, snapshot.RemoveSnapshot_Task(CTX, False, False))
    again = restarted(vsphere, tmp_path)
    back = named(again, "web01")
    assert back.value("runtime.consolidationNeeded") is True
    run(again, back.ConsolidateVMDisks_Task(CTX))
    assert back.read(2000, 0, 4) == b"kept"
    assert len(back.disks[2000].layers) == 1
    end(again)


def test_hot_added_disks_stay_attached(tmp_path: Path) -> None:
    from tests.lab.test_reconfigure import hot_add  # noqa: PLC0415 - its device specs

    vsphere = model(tmp_path)
    vm, proxy = make_vm(vsphere, disks=(SIZE,)), make_vm(vsphere, "proxy01")
    vm.write(2000, 0, b"production")
    vm.take_snapshot("_VCB-BACKUP_")
    key = hot_add(vsphere, proxy, "[labstore] web01/web01.vmdk").key
    proxy.write(key, 3, b"PROXY")
    again = restarted(vsphere, tmp_path)
    assert named(again, "proxy01").read(key, 0, 10) == b"proPROXYon"
    with pytest.raises(vim.fault.FileLocked):
        run(again, named(again, "web01").snapshots[0].RemoveSnapshot_Task(CTX, False, True))
    end(again)


def test_a_disk_that_a_proxy_destroyed_stays_dead(tmp_path: Path) -> None:
    from tests.lab.test_reconfigure import change, disks, hot_add  # noqa: PLC0415 - its device specs

    vsphere = model(tmp_path)
    vm, proxy = make_vm(vsphere, disks=(SIZE,)), make_vm(vsphere, "proxy01")
    vm.take_snapshot("_VCB-BACKUP_")
    hot_add(vsphere, proxy, "[labstore] web01/web01.vmdk")
    run(vsphere, proxy.ReconfigVM_Task(CTX, change("remove", disks(proxy)[-1], "destroy")))
    vm.updated()
    again = restarted(vsphere, tmp_path)
    with pytest.raises(FileNotFoundError):
        named(again, "web01").read(2000, 0, 1)
    end(again)


def test_destroyed_vms_stay_away(tmp_path: Path) -> None:
    vsphere = model(tmp_path)
    vm = make_vm(vsphere, power="poweredOff")
    make_vm(vsphere, "other")
    run(vsphere, vm.Destroy_Task(CTX))
    again = restarted(vsphere, tmp_path)
    assert [v.name for v in again.all_of(vim.VirtualMachine)] == ["other"]
    assert make_vm(again, "new").id not in (vm.id, named(again, "other").id)
    end(again)


def test_a_saved_document_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "vm-1.json"
    replace_file(path, b"old")
    replace_file(path, json.dumps({"new": True}).encode())
    assert json.loads(path.read_text()) == {"new": True}
    assert [p.name for p in tmp_path.iterdir()] == ["vm-1.json"]
    assert path.stat().st_mode & 0o777 == 0o600


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.lab.model import CTX, make_vm, model
vsphere = model(Path(sys.argv[1]))
vm = make_vm(vsphere, disks=(6 << 20,))
vm.write(2000, 0, b"base")
vm.take_snapshot("s")
vm.write(2000, 0, b"delta")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_killed_by_sigkill(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert killed.returncode == -9
    vsphere = model(tmp_path)
    vm = named(vsphere, "web01")
    assert vm.read(2000, 0, 5) == b"delta"
    assert vm.read(2000, 0, 4, vm.snapshots[0]) == b"base"
    end(vsphere)


def test_two_threads_save_one_vm(tmp_path: Path) -> None:
    """The thread of a task saves while somebody ends the lab: neither meets the other's half-written file."""
    vsphere = model(tmp_path)
    vm = make_vm(vsphere, disks=(SIZE,))
    assert vsphere.persistence is not None

    def save_often() -> None:
        for number in range(60):
            vm.hostname = f"{threading.current_thread().name}-{number}"
            vsphere.persistence.save(vm, durable=False)

    with ThreadPoolExecutor(4) as pool:
        for saving in [pool.submit(save_often) for _ in range(4)]:
            saving.result()
    saved = json.loads((vsphere.persistence.directory / f"{vm.id}.json").read_text())
    assert saved["hostname"] == vm.hostname
    end(vsphere)
