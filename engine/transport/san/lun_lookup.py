"""Which block device of this machine is a LUN of a datastore: by the name that vCenter has for it, then by content.

Linux names a device by the same identification page (SCSI VPD 0x83) that ESXi makes its canonical name of. Udev's
links: `dm-uuid-mpath-3...` for the multipath map over all paths, `wwn-0x...` and `scsi-3...` for one path each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import TransportError
from engine.transport.block_device import BlockDevice
from engine.transport.vmfs.volume import Volume, open_volume


@dataclass(frozen=True)
class LunExtent:
    """One extent of a datastore as vCenter tells it: the LUN's canonical name, and the partition on it."""

    name: str
    partition: int


@dataclass(frozen=True)
class DatastoreLuns:
    """A VMFS datastore as vCenter tells it (HostVmfsVolume)."""

    name: str
    uuid: str
    extents: tuple[LunExtent, ...]


def links(canonical_name: str) -> list[str]:
    """Names of links to look for, the best first. None for `mpx.`: a disk of the host's own, no other sees it."""
    kind, _, rest = canonical_name.partition(".")
    low = rest.lower()
    return {
        "naa": [f"dm-uuid-mpath-3{low}", f"wwn-0x{low}", f"scsi-3{low}"],
        "eui": [f"dm-uuid-mpath-eui.{low}", f"dm-uuid-mpath-2{low}", f"nvme-eui.{low}", f"wwn-0x{low}", f"scsi-2{low}"],
        "t10": [f"dm-uuid-mpath-1{rest}", f"scsi-1{rest}"],
    }.get(kind, [])


def device_of(canonical_name: str, directory: Path) -> Path:
    """The device itself (links followed). TransportError when this machine has none of that name."""
    for name in links(canonical_name):
        link = directory / name
        if link.exists():
            return link.resolve()
    if canonical_name.startswith("mpx."):
        raise TransportError(
            f"{canonical_name} is a local disk of the ESXi host: no other computer can read it.",
            hint="Use nbdssl or hotadd for VMs on this datastore.",
        )
    raise TransportError(
        f"The LUN {canonical_name} is not presented to this proxy (nothing of that name in {directory}).",
        hint="Zone or map the LUN to the proxy, read-only if the array can; or use nbdssl.",
    )


def open_devices(datastore: DatastoreLuns, directory: Path) -> tuple[BlockDevice, ...]:
    """All extents' devices, in the datastore's order; none stays open when one fails, or when two are one device."""
    if not datastore.extents:
        raise TransportError(f"vCenter names no LUN of {datastore.name}.", hint="Use nbdssl for VMs on this datastore.")
    devices: list[BlockDevice] = []
    try:
        for extent in datastore.extents:
            devices.append(BlockDevice(device_of(extent.name, directory)))  # noqa: PERF401 - close what was opened
        if len({device.identity for device in devices}) < len(devices):
            raise TransportError(f"Two extents of {datastore.name} lead to one device of this machine.")
    except BaseException:
        for device in devices:
            device.close()
        raise
    return tuple(devices)


def read_volume(datastore: DatastoreLuns, devices: Sequence[BlockDevice]) -> Volume:
    """The volume as it is on the devices now. TransportError when it is another one than vCenter's."""
    volume = open_volume(devices, [extent.partition for extent in datastore.extents])
    if volume.uuid != datastore.uuid.lower():
        raise TransportError(
            f"The LUN of {datastore.name} holds the VMFS volume {volume.uuid}; vCenter says {datastore.uuid}.",
            hint="Is it a snapshot or replica of the LUN, presented in its place? Until it is right use nbdssl.",
        )
    return volume
