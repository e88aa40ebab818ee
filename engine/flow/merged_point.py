"""The directory of a point that is made of several: its images folded, its other files kept, its manifest told anew."""

import os
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from engine.cancel import CancelToken
from engine.config.option_types import Floor
from engine.errors import PolicyError, TargetFull
from engine.events import DiskEnded, DiskProgress, DiskStarted
from engine.image.chain import descriptor_of, open_disk
from engine.image.descriptor import Parent
from engine.image.direct_output import keep_free, target_error, write_small
from engine.image.fold import fold
from engine.points.catalog import Point
from engine.points.grain_hashes import GrainHashes, GrainHashWriter
from engine.points.manifest import DiskEntry, FileEntry, Manifest
from engine.points.naming import disk_file, grains_file, whole_file
from engine.points.point_chain import PointDisk, chain_of, check_files
from engine.reporter import Reporter

_OVF = ".ovf"
_FILE = re.compile(rb"<(?:\w+:)?File\b[^>]*>")
_SIZE = re.compile(rb'(\b(?:\w+:)?size=")\d*(")')


class MergedPoint:
    """`point` with all that the `absorbed` points hold for it; with none of them, with all that it needs.

    Raises PolicyError for a disk of which only parts in between would be merged.
    """

    def __init__(
        self, point: Point, absorbed: Collection[Point], root: Path, floor: Floor, *, job: str, cancel: CancelToken
    ) -> None:
        self._job, self._point, self._root, self._cancel = job, point, root, cancel
        self._names = [name for each in absorbed for name in (each.name, *each.manifest.merged)]
        self._floor = floor.bytes_of(shutil.disk_usage(root).total)
        gone = {each.directory for each in absorbed}
        self._links = {disk.key: links for disk in point.manifest.disk if len(links := _links(point, disk, gone)) > 1}

    def check_space(self, report: Reporter) -> None:
        """Raises TargetFull when BACKUPROOT might not hold old and new together."""
        needed = sum(link.data.stat().st_size for links in self._links.values() for link in links)
        free = shutil.disk_usage(self._root).free
        report.step(f"At most {needed:,} bytes will be written; {free:,} are free.")
        if free - self._floor < needed:
            raise TargetFull(
                f"BACKUPROOT has {free:,} bytes free; up to {needed:,} are written before the old images go.",
                hint="Free space in BACKUPROOT, or lower KEEP_FREE.",
            )

    def fill(self, directory: Path, report: Reporter) -> Manifest:
        """Makes everything but the proof; durable but for the directory itself. Raises ImageError, TargetError,
        Cancelled."""
        before = self._point.manifest
        made: list[FileEntry] = []
        disks: list[DiskEntry] = []
        whole: dict[str, FileEntry] = {}
        replaced: set[str] = set()
        for disk in before.disk:
            if (links := self._links.get(disk.key)) is None:
                disks.append(disk)
                continue
            check_files(links)
            entry, files = self._fold(links, directory, report.bind(disk=disk.name))
            disks.append(entry)
            made += files
            replaced |= {*disk.files, disk.grains}
            if not entry.parent:
                whole[whole_file(disk.name)] = files[0]
        made += [self._kept(file, directory, whole) for file in before.file if file.name not in replaced]
        merged = sorted({*before.merged, *self._names})
        manifest = msgspec.structs.replace(before, disk=disks, file=made, remade=self._job, merged=merged)
        manifest.write(directory)
        return manifest

    def _fold(
        self, links: Sequence[PointDisk], directory: Path, report: Reporter
    ) -> tuple[DiskEntry, tuple[FileEntry, FileEntry]]:
        top, base = links[0].disk, links[-1].disk
        size = sum(link.data.stat().st_size for link in links)
        parent = Parent(base.parent_cid, descriptor_of(links[-1].image).parent_hint) if base.parent else None
        report.emit(DiskStarted(transport="file", capacity=top.capacity, to_read=size))
        with ExitStack() as opened:
            chain = open_disk(links[0].image)
            opened.callback(chain.close)
            lists = [GrainHashes(link.grains, top.capacity) for link in links]
            for each in lists:
                opened.callback(each.close)
            hashes = GrainHashWriter(directory / grains_file(top.name), top.capacity)
            opened.callback(hashes.close)
            image = fold(
                list(zip(chain.images[: len(lists)], lists, strict=True)),
                directory / disk_file(top.name),
                cid=top.cid,
                parent=parent,
                hashes=hashes.add,
                cancel=self._cancel,
                progress=lambda done: report.emit(DiskProgress(read=min(done, size), to_read=size, stored=done)),
                reserve=keep_free(self._root, self._floor),
            )
            listed = hashes.finish()
        report.emit(DiskEnded(read=size, stored=image.size, seconds=0.0))
        entry = msgspec.structs.replace(
            top,
            stored=image.size,
            format="compact",
            files=[image.name],
            grains=listed.name,
            kind=base.kind,
            parent=base.parent,
            parent_cid=base.parent_cid,
            chain=base.chain,
            reason=f"Made of {', '.join(link.name for link in reversed(links))} by job {self._job}.",
        )
        return entry, (FileEntry.of(image), listed)

    def _kept(self, file: FileEntry, directory: Path, whole: Mapping[str, FileEntry]) -> FileEntry:
        """The same file, by another name of it where the file system has such; the OVF names the disks that are whole
        now."""
        source, target = self._point.directory / file.name, directory / file.name
        if file.name.endswith(_OVF) and whole:
            written = write_small(target, with_whole_disks(source.read_bytes(), whole))
            return FileEntry.of(written)
        try:
            os.link(source, target, follow_symlinks=False)
        except OSError:
            _copy(source, target)
        return file


def with_whole_disks(ovf: bytes, whole: Mapping[str, FileEntry]) -> bytes:
    """The descriptor with other names, and sizes, of the files in `whole` (by the name that it has)."""

    def renamed(match: re.Match[bytes]) -> bytes:
        element = match[0]
        for name, file in whole.items():
            if f'href="{name}"'.encode() in element:
                element = element.replace(f'href="{name}"'.encode(), f'href="{file.name}"'.encode())
                return _SIZE.sub(rb"\g<1>%d\g<2>" % file.size, element)
        return element

    return _FILE.sub(renamed, ovf)


def _links(point: Point, disk: DiskEntry, gone: Collection[Path]) -> tuple[PointDisk, ...]:
    """The links of one disk that become one image."""
    links = chain_of(PointDisk(point.directory, point.manifest, disk))
    if not gone:
        return links
    count = next((at for at, link in enumerate(links[1:], 1) if link.directory not in gone), len(links))
    if any(link.directory in gone for link in links[count:]):
        raise PolicyError(f"{disk.name} needs a point between those that are to be merged; nothing was changed.")
    return links[:count]


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target, follow_symlinks=False)
        fd = os.open(target, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise target_error(error, target) from error
