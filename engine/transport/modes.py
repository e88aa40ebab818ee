"""The five transport modes: what each means, what it needs, what limits it."""

from collections.abc import Mapping
from dataclasses import dataclass

_NFC_PRIVILEGES = ("VirtualMachine.Provisioning.GetVmFiles", "VirtualMachine.Provisioning.DiskRandomRead")
_NFC_LIMITS = (
    "52 connections through one vCenter",
    "48 MB of NFC buffers a host",
    "16 MiB of buffers a connection",
)


@dataclass(frozen=True, slots=True)
class Mode:
    """`encrypted`: the disk data on its way to the proxy. `random_access`: only what is needed is read."""

    name: str
    encrypted: bool
    random_access: bool
    meaning: str
    needs: str
    privileges: tuple[str, ...]
    limits: tuple[str, ...]


_TABLE = (
    Mode(
        name="san",
        encrypted=False,
        random_access=True,
        meaning="The proxy reads the datastore's LUN itself, past the ESXi hosts.",
        needs="a proxy to which the LUNs of the VMFS datastores are presented, and TCP 902 from it to the ESXi hosts, "
        "with which samples are compared",
        privileges=_NFC_PRIVILEGES,
        limits=(
            "VMFS datastores on block storage, and NFS whose export the proxy has mounted read-only: not vSAN or vVols",
            "not encrypted VMs, raw device mappings, or VMs with snapshots of their own",
        ),
    ),
    Mode(
        name="nbd",
        encrypted=False,
        random_access=True,
        meaning="The ESXi host sends the disk's allocated blocks over NFC, port 902; the login is encrypted, the disk "
        "data is not.",
        needs="TCP 902 open from the proxy to every ESXi host, and 443 to vCenter",
        privileges=_NFC_PRIVILEGES,
        limits=(*_NFC_LIMITS, "not encrypted VMs"),
    ),
    Mode(
        name="nbdssl",
        encrypted=True,
        random_access=True,
        meaning="As nbd, with the disk data inside TLS too.",
        needs="TCP 902 open from the proxy to every ESXi host, and 443 to vCenter",
        privileges=_NFC_PRIVILEGES,
        limits=_NFC_LIMITS,
    ),
    Mode(
        name="hotadd",
        encrypted=False,
        random_access=True,
        meaning="The disks are attached to the proxy, itself a VM, and read there as local block devices.",
        needs="a proxy VM in the same datacenter whose host sees the datastore; only with TCP 902 from it to the ESXi "
        "hosts is no more read than what is in use",
        privileges=(
            "VirtualMachine.Config.AddExistingDisk",
            "VirtualMachine.Config.RemoveDisk",
            "VirtualMachine.Config.AdvancedConfig",
            *_NFC_PRIVILEGES,
        ),
        limits=(
            "60 SCSI disks a proxy, and no disk larger than the proxy's datastore allows",
            "disk.EnableUUID on the proxy; no snapshots and no changed block tracking of its own",
            "not raw device mappings, disks that are not SCSI, or the proxy itself",
        ),
    ),
    Mode(
        name="https",
        encrypted=True,
        random_access=False,
        meaning="vCenter's export lease: the host sends each disk once, from start to end, compressed, on port 443.",
        needs="TCP 443 open from the proxy to vCenter and to every ESXi host",
        privileges=("VApp.Export",),
        limits=(
            "always the whole disk, so no incremental points",
            "not encrypted VMs",
            "while it runs, the VM cannot be powered on, moved or deleted",
            "a dropped connection starts the disk again",
        ),
    ),
)

MODES: Mapping[str, Mode] = {mode.name: mode for mode in _TABLE}
"""By name, in VCB's order, `https` last (ours)."""
