"""What runs in the guest of test_hotplug_in_a_vm, as its init: the finder of `hotadd` on a real kernel's /sys. What it
says in lines that begin with @ are facts for the test; it needs nothing but Python and `engine`."""

import ctypes
import hashlib
import os
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, "/")

from engine.cancel import CancelToken
from engine.transport.hotadd import guest_disk

LIBC = ctypes.CDLL(None, use_errno=True)
BY_ID = Path("/dev/disk/by-id")  # no udev here: nothing but the kernel's own word
_FINIT_MODULE, _POWER_OFF = 313, 0x4321FEDC


def say(word: str, value: object = "") -> None:
    print(f"@{word} {value}", flush=True)


def prepare() -> None:
    for kind, place in (("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")):
        LIBC.mount(kind.encode(), place.encode(), kind.encode(), 0, None)
    for module in sorted(Path("/modules").iterdir()):
        descriptor = os.open(module, os.O_RDONLY)
        if LIBC.syscall(_FINIT_MODULE, descriptor, b"", 0):
            say("ERROR", f"{module.name}: {os.strerror(ctypes.get_errno())}")
        os.close(descriptor)


def disks() -> list[str]:
    return sorted(path.name for path in Path("/sys/block").glob("sd*"))


def wait_for(count: int) -> None:
    while len(disks()) != count:
        time.sleep(0.05)


def work() -> None:
    words = dict(word.split("=", 1) for word in Path("/proc/cmdline").read_text().split() if "=" in word)
    uuid, capacity = words["vcb.uuid"], int(words["vcb.capacity"])
    wait_for(1)
    say("READY", sorted(map(str, guest_disk.devices_of(uuid, BY_ID))))
    wait_for(3)
    path = guest_disk.await_device(uuid, BY_ID, CancelToken())
    say("FOUND", f"{path} of {' '.join(disks())}")
    device = guest_disk.open_checked(path, capacity)
    digest = hashlib.sha256()
    for at in range(0, capacity, 1 << 20):
        digest.update(device.read(at, min(1 << 20, capacity - at)))
    say("DIRECT", device.direct)
    device.close()
    say("HASH", digest.hexdigest())
    guest_disk.forget(uuid, BY_ID)
    wait_for(2)
    say("FORGOTTEN", sorted(map(str, guest_disk.devices_of(uuid, BY_ID))))
    sys.stdin.readline()  # the test detaches it now
    for host in Path("/sys/class/scsi_host").iterdir():
        (host / "scan").write_text("- - -")
    say("GONE", f"{sorted(map(str, guest_disk.devices_of(uuid, BY_ID)))} {len(disks())}")


prepare()
try:
    work()
except BaseException:
    say("ERROR", traceback.format_exc().replace("\n", " | "))
LIBC.reboot(_POWER_OFF)
