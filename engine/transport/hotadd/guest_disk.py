"""Disks that vCenter attached to the machine we run in: which block device one is, and how the kernel lets it go.

A device is known by its world-wide name alone, which is the virtual disk's uuid where the VM has `disk.EnableUUID`:
which device is newest, or where it sits, proves nothing.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from engine.cancel import CancelToken
from engine.errors import TransportError
from engine.transport.block_device import BlockDevice

SYSFS = Path("/sys")
_DMI = "class/dmi/id/product_uuid"
_PAUSE = 0.25
PATIENCE = 60.0
"""Seconds until a disk that vCenter calls attached must have shown."""


def own_uuids(stated: str, sysfs: Path = SYSFS) -> tuple[str, str]:
    """The BIOS UUID of this machine in both byte orders: of the first three fields, firmware and vCenter may differ.
    `stated` takes the place of what the firmware tells. Raises TransportError when it tells nothing."""
    try:
        uuid = (stated or (sysfs / _DMI).read_text("ascii")).strip().lower()
    except OSError as error:
        raise TransportError(
            f"This machine does not tell its BIOS UUID ({sysfs / _DMI}: {error.strerror}).",
            hint="hotadd needs a proxy that is a VM, and root; or set HOTADD_PROXY to its BIOS UUID.",
        ) from error
    digits = uuid.replace("-", "").replace(" ", "")
    try:
        raw = bytes.fromhex(digits)
    except ValueError:
        raw = b""
    if len(raw) != 16:
        raise TransportError(f"{uuid} is no UUID.", hint="Set HOTADD_PROXY to the BIOS UUID of the proxy's VM.")
    swapped = raw[3::-1] + raw[5:3:-1] + raw[7:5:-1] + raw[8:]
    return _dashed(raw.hex()), _dashed(swapped.hex())


def devices_of(uuid: str, by_id: Path, sysfs: Path = SYSFS) -> set[Path]:
    """Every block device with this disk's name. `uuid` as vCenter tells it: 6000C29a-bbcc-..."""
    name = uuid.replace("-", "").lower()
    if len(name) != 32:
        raise TransportError(f"vCenter tells no uuid of the attached disk that would prove its device ({uuid!r}).")
    return {*_by_sysfs(name, sysfs), *_by_links(name, by_id)}


def await_device(uuid: str, by_id: Path, cancel: CancelToken, sysfs: Path = SYSFS) -> Path:
    """The one block device with this disk's name, when it shows. Raises TransportError when it does not, or when there
    are several; Cancelled."""
    waited = 0.0
    while not (found := devices_of(uuid, by_id, sysfs)):
        if waited >= PATIENCE:
            raise TransportError(
                f"The attached disk {uuid} did not show as a block device within {PATIENCE:.0f} seconds.",
                hint="Is disk.EnableUUID TRUE on the proxy, and was it powered off and on since?",
            )
        _rescan(sysfs)
        cancel.wait(_PAUSE)
        cancel.check()
        waited += _PAUSE
    if len(found) > 1:
        raise TransportError(f"Several devices call themselves {uuid}: {', '.join(sorted(map(str, found)))}.")
    return found.pop()


def open_checked(device: Path, capacity: int) -> BlockDevice:
    """TransportError when its size is not `capacity` bytes."""
    opened = BlockDevice(device)
    if opened.size != capacity:
        opened.close()
        raise TransportError(
            f"{device} has {opened.size:,} bytes; the frozen disk has {capacity:,}.",
            hint="Was the disk resized meanwhile? Run the backup again.",
        )
    return opened


def forget(uuid: str, by_id: Path, sysfs: Path = SYSFS) -> None:
    """Tells the kernel to let the disk's SCSI device go, before vCenter takes it: else reads under way would end in
    errors, and its name would stay. A device without that door (not SCSI) is left to vCenter."""
    with suppress(TransportError):
        for device in devices_of(uuid, by_id, sysfs):
            with suppress(OSError):
                (sysfs / "block" / device.name / "device" / "delete").write_text("1")


def _by_sysfs(name: str, sysfs: Path) -> Iterator[Path]:
    for block in sorted(sysfs.glob("block/*")):
        with suppress(OSError):
            if (block / "device" / "wwid").read_text("ascii", "replace").strip().lower() == f"naa.{name}":
                yield Path("/dev") / block.name
                continue
        with suppress(OSError):  # older kernels tell only the page itself
            if bytes.fromhex(name) in (block / "device" / "vpd_pg83").read_bytes():
                yield Path("/dev") / block.name


def _by_links(name: str, by_id: Path) -> Iterator[Path]:
    for link in (by_id / f"wwn-0x{name}", by_id / f"scsi-3{name}"):
        if link.exists():
            yield link.resolve()


def _rescan(sysfs: Path) -> None:
    """Paravirtual controllers tell of a new disk themselves; others are asked."""
    for scan in sysfs.glob("class/scsi_host/host*/scan"):
        with suppress(OSError):
            scan.write_text("- - -")


def _dashed(digits: str) -> str:
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
