"""Whether the newest run for a VM left a restore point, told from this proxy's ledgers and from BACKUPROOT.

A run that failed, was stopped, died or still works has made no point; nobody should lose older points meanwhile.
"""

from datetime import datetime
from pathlib import Path

from engine.flow.ledger import FILE_NAME, Fate, Kind, read
from engine.points.mount_point import read_marker
from engine.points.naming import PARTIAL_SUFFIX, point_name

_STAMP = len("20261122T021503Z")


def trouble_since(jobs: Path, root: Path, identity: tuple[str, str], newest: datetime) -> str:
    """Why the newest run is not a good one, "" when nothing speaks against it.

    `identity`: vCenter's instance uuid and the VM's moref. `newest`: when the VM's newest point was made; only runs
    that began since then are looked at. Runs of another proxy are seen by the directory they leave alone.
    """
    for path in sorted(root.glob(f"*{PARTIAL_SUFFIX}")):
        marker = read_marker(path)
        if marker is not None and (marker.vcenter, marker.vm) == identity:
            return f"job {marker.job} has left {path.name} unfinished, or still works on it"
    since = point_name(newest)
    runs: list[tuple[str, float, str, bool]] = []
    for ledger in sorted(jobs.glob(f"*/{FILE_NAME}"), reverse=True):
        job = ledger.parent.name
        if job[:_STAMP] < since:
            break
        try:
            entries = read(ledger)
        except (OSError, ValueError, KeyError):
            return f"the ledger of job {job} can't be read"
        begun = next((entry for entry in entries if entry.kind is Kind.JOB), None)
        if begun is None or "pid" not in begun.details:
            continue  # an unmount, or nothing that concerns a VM
        if (begun.details.get("vcenter"), begun.details.get("vm")) != identity:
            continue
        left = any(entry.kind is Kind.DIRECTORY and entry.fate is Fate.LEFT for entry in entries)
        # Of two runs in one second the ids tell nothing: their ledgers' clocks do.
        runs.append((job[:_STAMP], begun.at, job, left))
    if not runs:
        return ""
    _, _, job, left = max(runs)
    return "" if left else f"the newest run, job {job}, has made no point: it failed, was stopped, or still works"
