"""Directory names under BACKUPROOT, derived from what names the VM.

VM names may hold anything (slashes as %2f, dots, any script), and two VMs may share one; the moref keeps their
directories apart.
"""

import re
from datetime import UTC, datetime
from urllib.parse import unquote

MOUNT_PREFIX = "fullvm-"
"""VCB names a job's directory after the backup type and the VM."""

PARTIAL_SUFFIX = ".partial"
POINTS = "points"
_LONGEST = 80
"""Bytes of the VM's name that are kept: with prefix, moref and suffix it stays far below NAME_MAX (255)."""


def vm_directory(name: str, moref: str) -> str:
    """`web01` and `vm-101` -> `web01-vm-101`; whatever a shell or file system could mistake becomes `_`."""
    plain = re.sub(r"[^\w.-]+", "_", unquote(name)).strip("._-")
    kept = plain.encode()[:_LONGEST].decode(errors="ignore")
    return f"{kept or 'vm'}-{moref}"


def mount_point(name: str, moref: str) -> str:
    return MOUNT_PREFIX + vm_directory(name, moref)


def point_name(moment: datetime) -> str:
    """Names of restore points sort by time: `20261122T021503Z`."""
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def disk_file(disk_name: str) -> str:
    """`scsi0:1` -> `scsi0-1.vmdk`."""
    return disk_name.replace(":", "-") + ".vmdk"


def grains_file(disk_name: str) -> str:
    """The hashes of its grains, as they came from the source."""
    return disk_name.replace(":", "-") + ".grains"


def whole_file(disk_name: str) -> str:
    """What the OVF of an incremental point calls the disk: a file that a restore makes of the chain."""
    return disk_name.replace(":", "-") + "-whole.vmdk"


def flat_file(disk_name: str) -> str:
    """The data beside the descriptor of a flat disk."""
    return disk_name.replace(":", "-") + "-flat.vmdk"


def spool_file(disk_name: str) -> str:
    """An export lease's stream, while it becomes a sparse disk (`image/stream_spool.py`)."""
    return disk_file(disk_name) + ".stream"
