"""The files of a restore point beside the disks: .vmx, .nvram, .ovf and the manifest."""

from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

from engine.errors import Cancelled, TargetError, VcbError
from engine.flow.job_context import JobContext
from engine.flow.outcome import DiskOutcome, Outcome
from engine.flow.plan import Plan
from engine.image.direct_output import write_small
from engine.image.written import WrittenFile
from engine.points import proof
from engine.points.manifest import (
    FILE_NAME,
    DiskEntry,
    FileEntry,
    Manifest,
    SkippedEntry,
    SnapshotEntry,
    VcenterEntry,
    VmEntry,
)
from engine.points.naming import disk_file, flat_file, grains_file, spool_file, whole_file
from engine.reporter import Reporter
from engine.vsphere import datastore_files, ovf
from engine.vsphere.disks import Disk, SkipReason
from engine.vsphere.snapshots import Snapshot

OVF = "vm.ovf"
VMX = "vm.vmx"
NVRAM = "vm.nvram"


def planned_names(plan: Plan) -> list[str]:
    """Every file name that a run of this plan may create."""
    names = [VMX, NVRAM, OVF, FILE_NAME, proof.FILE_NAME, proof.NEW_NAME]
    for planned in plan.exported:
        disk = planned.disk.name
        names += [disk_file(disk), flat_file(disk), spool_file(disk), grains_file(disk)]
    return names


@dataclass(frozen=True, slots=True)
class ConfigurationFiles:
    """Writes what describes the VM into the run's directory, then the manifest over everything."""

    job: JobContext
    plan: Plan
    snapshot: Snapshot
    outcome: Outcome
    directory: Path
    report: Reporter

    def save(self) -> Manifest:
        """A configuration file that can't be had makes the result one with exceptions: the disks are worth keeping
        all the same. No space, or the operator's stop, ends the run."""
        vm = self.plan.vm
        files: list[WrittenFile | FileEntry] = [file for done in self.outcome.disks for file in done.files]
        files += [done.grains for done in self.outcome.disks if done.grains]
        for what, save in (
            ("The .vmx file", lambda: self._download(vm.vmx, VMX)),
            ("The .nvram file", lambda: self._download(self._nvram(), NVRAM)),
            ("The OVF descriptor", self._describe),
        ):
            try:
                if (entry := save()) is not None:
                    files.append(entry)
                    self.report.step(f"{what} is saved: {entry.size:,} bytes.")
            except (Cancelled, TargetError):
                raise
            except VcbError as error:
                self.report.error(error)
                self.outcome.exceptions.append(f"{what} could not be saved: {error.sentence}")
        manifest = self._manifest(files)
        manifest.write(self.directory)
        return manifest

    def _download(self, source: str | None, name: str) -> WrittenFile | None:
        """None when the VM has no such file: one that never ran has no .nvram."""
        if not source:
            return None
        content = BytesIO()
        datastore_files.download(self.job.session, self.plan.vm.datacenter, source, content)
        return write_small(self.directory / name, content.getvalue())

    def _nvram(self) -> str | None:
        files = datastore_files.files_of(self.job.session, self.plan.vm.moref)
        return next((file.path for file in files if file.kind == "nvram"), None)

    def _describe(self) -> WrittenFile:
        session, vm = self.job.session, self.plan.vm
        ids = ovf.device_ids(session, vm.moref, self.snapshot.moref)
        disks = [_ovf_file(ids[done.disk.key], done, self.plan.export_format) for done in self.outcome.disks]
        nvram = self.directory / NVRAM
        if nvram.is_file():  # named, so that whoever imports the package gives the new VM its firmware's settings
            disks.append(ovf.OvfFile(ovf.nvram_id(vm.moref), NVRAM, nvram.stat().st_size))
        text, warnings = ovf.descriptor(session, vm.moref, self.snapshot.moref, disks, name=vm.name)
        for warning in warnings:
            self.report.step(f"OVF: {warning}")
        return write_small(self.directory / OVF, text.encode())

    def _manifest(self, files: list[WrittenFile | FileEntry]) -> Manifest:
        vm, session, snapshot = self.plan.vm, self.job.session, self.snapshot
        return Manifest(
            job=self.job.id,
            proxy=self.job.state.proxy_id,
            created=datetime.now(UTC),
            transport=self.outcome.transport,
            vcenter=VcenterEntry(instance_uuid=session.instance_uuid, host=session.host, version=session.about.version),
            vm=VmEntry(
                moref=vm.moref,
                name=vm.name,
                path=vm.path,
                uuid=vm.uuid,
                instance_uuid=vm.instance_uuid,
                hardware_version=vm.hardware_version,
                guest_os=vm.guest_os,
            ),
            snapshot=SnapshotEntry(
                moref=snapshot.moref,
                name=snapshot.name,
                created=snapshot.created,
                policy=self.plan.policy,
                quiesced=snapshot.quiesced,
                quiesce_asked=self.plan.quiesce,
            ),
            disk=[_disk_entry(done, self.plan.export_format) for done in self.outcome.disks],
            skipped=[
                _skipped_entry(planned.disk, planned.skip) for planned in self.plan.skipped if planned.skip is not None
            ],
            file=[FileEntry.of(file) for file in files],
        )


def _ovf_file(device_id: str, done: DiskOutcome, export_format: str) -> ovf.OvfFile:
    """What an import uploads. A child alone would be imported as a whole disk, and be wrong without a word, and sparse
    or flat data are no image that an import takes: so the OVF of those names the file that `qemu-img convert` makes of
    them, which an import then misses."""
    image = done.files[0]
    if done.method.links or export_format != "compact":
        return ovf.OvfFile(device_id, whole_file(done.disk.name), 0, done.disk.capacity)
    return ovf.OvfFile(device_id, image.name, image.size, done.disk.capacity)


def _disk_entry(done: DiskOutcome, export_format: str) -> DiskEntry:
    disk, method = done.disk, done.method
    return DiskEntry(
        key=disk.key,
        name=disk.name,
        label=disk.label,
        file=disk.file,
        datastore=disk.datastore,
        mode=disk.mode,
        capacity=disk.capacity,
        read=done.read,
        stored=done.stored,
        transport=done.transport,
        format="compact" if method.links else export_format,
        cid=done.cid,
        files=[file.name for file in done.files],
        backing_uuid=disk.uuid or "",
        change_id=disk.change_id or "",
        kind=method.kind,
        reason=method.reason,
        parent=method.parent_point,
        parent_cid=method.links[0].disk.cid if method.links else "",
        chain=method.chain,
        grains=done.grains.name if done.grains else "",
        audited=done.audited,
        distrusted=method.distrusted,
    )


def _skipped_entry(disk: Disk, skip: SkipReason) -> SkippedEntry:
    return SkippedEntry(
        key=disk.key, name=disk.name, label=disk.label, capacity=disk.capacity, code=skip.code, reason=skip.text
    )
