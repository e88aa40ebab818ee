"""The restore points of one VM, and the chain of points that hold one disk of it."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import ImageError
from engine.points import manifest, proof as proofs
from engine.points.manifest import DiskEntry, FileEntry, Manifest


@dataclass(frozen=True, slots=True)
class PointDisk:
    """One disk as one restore point has it; `directory` is the point's."""

    directory: Path
    manifest: Manifest
    disk: DiskEntry

    @property
    def name(self) -> str:
        return self.directory.name

    @property
    def image(self) -> Path:
        """The file to open."""
        return self.directory / self.disk.files[0]

    @property
    def data(self) -> Path:
        """The file with the data: the image itself, or what a flat one's descriptor names."""
        return self.directory / self.disk.files[-1]

    @property
    def grains(self) -> Path:
        return self.directory / self.disk.grains

    @property
    def files(self) -> Iterator[FileEntry]:
        """The manifest's entries of the disk's files and of its list of grain hashes."""
        wanted = {*self.disk.files, self.disk.grains}
        return (file for file in self.manifest.file if file.name in wanted)


def newest_of(home: Path, key: int) -> PointDisk | None:
    """The disk with this deviceKey in the newest point under `home` that has it; None when there is none.

    Raises ImageError for a point on the way whose manifest can't be read: it might be the one.
    """
    names = sorted((path.name for path in home.iterdir() if path.is_dir()), reverse=True) if home.is_dir() else []
    for name in names:
        if (found := disk_of(home / name, key)) is not None:
            return found
    return None


def disk_of(point: Path, key: int) -> PointDisk | None:
    """The disk with this deviceKey in one point. Raises ImageError when the point's manifest can't be read."""
    told = manifest.read(point)
    entry = next((disk for disk in told.disk if disk.key == key), None)
    return PointDisk(point, told, entry) if entry else None


def chain_of(newest: PointDisk) -> tuple[PointDisk, ...]:
    """The points that hold the disk together, newest first, the full one last, as the manifests tell it.

    Raises ImageError when one is missing, or is not the parent that its child was made for.
    """
    links = [newest]
    while (last := links[-1].disk).kind != "full":
        directory = newest.directory.with_name(last.parent)
        if not last.parent or directory.parent != newest.directory.parent:
            raise ImageError(f"{links[-1].directory} does not name its parent point.")
        parent = disk_of(directory, last.key)
        if parent is None or parent.disk.cid != last.parent_cid:
            raise ImageError(f"{directory} does not hold the disk that {links[-1].directory} was made for.")
        if parent.disk.chain >= last.chain:  # a merge below makes it shorter than it was counted
            raise ImageError(f"{directory} and {links[-1].directory} disagree about their place in the chain.")
        links.append(parent)
    return tuple(links)


def check_files(links: Sequence[PointDisk]) -> None:
    """No point of the chain was found damaged, every file of it is there with its size, and the lists of grain hashes
    are what was written. Raises ImageError. The images' contents are not read: that is the work of a verification."""
    for link in links:
        proof = proofs.read(link.directory)
        if proof is not None and proof.failed is not None:
            raise ImageError(f"{link.name} was found damaged: {proof.failed.findings[0]}")
        entries = {file.name: file for file in link.files}
        for name in (*link.disk.files, link.disk.grains):
            path = link.directory / name
            if not name or name not in entries:
                raise ImageError(f"{link.directory} has no list of grain hashes of {link.disk.name}.")
            if not path.is_file() or path.stat().st_size != entries[name].size:
                raise ImageError(f"{path} is missing or has another size than when it was written.")
        with link.grains.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != entries[link.disk.grains].sha256:
                raise ImageError(f"{link.grains} is not what was written.")
