"""Going on where a dead job stopped: on its own snapshot, and with what it had written and hashed already.

The new run writes its images anew, which costs little; what costs production is reading, and a grain that the dead job
had read is taken from its file, when the hash that was made as it arrived says that the file holds it. Everything of
the dead job becomes this job's: its ledger is told so, and it goes with this run, however that ends.
"""

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from engine.errors import ImageError, PolicyError, VcbError
from engine.extents import DiskSource, Extent
from engine.flow.job_context import JobContext
from engine.flow.ledger import FILE_NAME, Entry, Kind, Ledger, read
from engine.flow.policies import SnapshotDecision
from engine.image.cut_off import CutOff, open_cut_off
from engine.image.sparse_header import GRAIN
from engine.image.units import ZERO_GRAIN, ZERO_HASH, grain_hash
from engine.points import mount_point as mounts
from engine.points.grain_hashes import UNLISTED, GrainHashes
from engine.points.mount_point import Marker, State
from engine.points.naming import PARTIAL_SUFFIX, disk_file, grains_file, mount_point
from engine.vsphere import snapshots
from engine.vsphere.disks import Disk
from engine.vsphere.snapshots import Snapshot


@dataclass(frozen=True, slots=True)
class Resumed:
    """What was taken over. `directory` holds the dead job's files; the numbers are those of this job's ledger."""

    job: str
    snapshot: Snapshot
    directory: Path
    marker: Marker
    snapshot_entry: int
    directory_entry: int

    def decision(self, policy: str) -> SnapshotDecision:
        why = f"Job {self.job} is resumed: its snapshot {self.snapshot.moref} is read on."
        return SnapshotDecision((), True, self.snapshot, policy == "automatic", why)

    def source(self, source: DiskSource, disk: Disk) -> "ResumedSource | None":
        """`source` with the grains that are here; None when there are none of this disk."""
        try:
            known = GrainHashes(self.directory / grains_file(disk.name), disk.capacity, cut_off=True)
        except ImageError:
            return None
        kept = open_cut_off(self.directory / disk_file(disk.name))
        if kept is None:
            known.close()
            return None
        return ResumedSource(source, kept, known)

    def discard(self, job: JobContext) -> None:
        """Removes the dead job's files. Raises PolicyError, TargetError."""
        mounts.remove(self.directory, self.marker, self.directory.parent)
        job.ledger.undone(self.directory_entry)


def take_over(job: JobContext, dead: str, vm_moref: str, vm_name: str) -> Resumed:
    """With the VM's lock and BACKUPROOT's held. Raises PolicyError saying why the job can't be resumed."""
    entries = _entries(job, dead)
    root = mounts.backuproot(job.settings.BACKUPROOT)
    partial = mounts.partial(root / mount_point(vm_name, vm_moref))
    found = mounts.inspect(partial, proxy=job.state.proxy_id, vcenter=job.session.instance_uuid, vm=vm_moref)
    if found.state is not State.OURS or found.marker is None or found.marker.job != dead:
        raise _refused(dead, f"{partial} is not its unfinished mount point")
    mounts.require_only_ours(partial, found.marker)
    there = {each.moref: each for each in snapshots.read(job.session, vm_moref)}
    snapshot = there.get(found.marker.snapshot)
    if snapshot is None or not job.owns(snapshot, vm_moref):
        raise _refused(dead, "its snapshot is gone")
    directory = partial.with_name(f"{partial.name.removesuffix(PARTIAL_SUFFIX)}-{dead}{PARTIAL_SUFFIX}")
    number = job.ledger.intent(Kind.DIRECTORY, path=str(directory), resumed=dead)
    try:
        partial.rename(directory)
        mounts.fsync_directory(root)
    except OSError as error:
        job.ledger.undone(number)
        raise _refused(dead, f"{partial} can't be renamed: {error.strerror}") from None
    job.ledger.done(number)
    entry = job.ledger.intent(Kind.SNAPSHOT, moref=snapshot.moref, vm=vm_moref, resumed=dead)
    job.ledger.done(entry)
    _tell(job, dead, entries)
    return Resumed(dead, snapshot, directory, found.marker, entry, number)


def _entries(job: JobContext, dead: str) -> list[Entry]:
    path = job.state.job(dead) / FILE_NAME
    try:
        entries = read(path)
    except (OSError, ValueError, KeyError):
        raise _refused(dead, "it left no ledger") from None
    if not any(entry.open for entry in entries if entry.kind is Kind.SNAPSHOT):
        raise _refused(dead, "it left no snapshot to go on with")
    return entries


def _refused(dead: str, why: str) -> PolicyError:
    return PolicyError(
        f"Job {dead} can't be resumed: {why}.", hint="Run vcb reconcile, which clears away what it left; then back up."
    )


def _tell(job: JobContext, dead: str, entries: Sequence[Entry]) -> None:
    """The dead job's ledger leaves nothing open any more: this job answers for it. Raises BusyError when it lives."""
    ledger = Ledger.resume(job.state.job(dead))
    try:
        for entry in entries:
            if entry.open and entry.kind in (Kind.SNAPSHOT, Kind.DIRECTORY):
                ledger.left(entry.number, f"taken over by job {job.id}")
    finally:
        ledger.close()


class ResumedSource:
    """A DiskSource. `reused` counts the bytes that were not read from `source`. Read by several threads at once."""

    def __init__(self, source: DiskSource, kept: CutOff, known: GrainHashes) -> None:
        self.capacity, self.transport = source.capacity, source.transport
        self.reused = 0
        self._source, self._kept, self._known = source, kept, known
        self._lock = threading.Lock()

    def allocated(self) -> Sequence[Extent]:
        return self._source.allocated()

    def read_into(self, offset: int, buffer: memoryview) -> None:
        end, begun = offset + len(buffer), offset
        for start in range(-(-offset // GRAIN) * GRAIN, end, GRAIN):
            length = min(GRAIN, self.capacity - start)
            content = self._content(start // GRAIN) if start + length <= end else None
            if content is None:
                continue
            if begun < start:
                self._source.read_into(begun, buffer[begun - offset : start - offset])
            buffer[start - offset : start + length - offset] = memoryview(content)[:length]
            begun = start + length
            with self._lock:
                self.reused += length
        if begun < end:
            self._source.read_into(begun, buffer[begun - offset :])

    def close(self) -> None:
        """Closes the files; `source` belongs to whoever opened it."""
        self._kept.close()
        self._known.close()

    def _content(self, grain: int) -> bytes | None:
        with self._lock:  # the list keeps a cache
            expected = self._known.of(grain)
        if expected == UNLISTED:
            return None
        if expected == ZERO_HASH:
            return ZERO_GRAIN
        with suppress(VcbError, OSError):
            content = self._kept.grain(grain)
            if content is not None and grain_hash(content) == expected:
                return content
        return None
