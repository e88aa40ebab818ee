"""What a restore point says of itself: `manifest.toml`, beside the files it describes.

All sizes are bytes, all times RFC 3339 in UTC. The manifest holds what a restore needs and what the run really did
(transport, quiesce state, skipped disks); it never holds a secret.
"""

import os
import tomllib
from datetime import datetime
from pathlib import Path
from typing import Protocol

import msgspec
import tomli_w

from engine.errors import ImageError

FILE_NAME = "manifest.toml"
FORMAT = 1


class _File(Protocol):
    """What an export has written (`image/written.py`)."""

    @property
    def name(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def sha256(self) -> str: ...
    @property
    def blocks(self) -> int: ...


class FileEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`sha256` is that of all bytes, or, with `blocks`, of the SHA-256s of the blocks of so many bytes, one behind the
    other (`engine/block_hash.py`): so the data of uncompressed images are hashed, which may be mostly holes."""

    name: str
    size: int
    sha256: str
    blocks: int = 0

    @classmethod
    def of(cls, file: _File) -> "FileEntry":
        return cls(name=file.name, size=file.size, sha256=file.sha256, blocks=file.blocks)


class DiskEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`key` is vSphere's deviceKey, `backing_uuid` the disk's own identity; `change_id` is what a later incremental
    asks changes since (empty without CBT).

    `kind` is full or incremental, for the `reason`. An incremental completes the disk with the same key in the point
    `parent`, a directory beside its own, whose image has the CID `parent_cid`; `chain` counted its points down to the
    full one when it was made (merges below make it shorter). `grains` names the list of grain hashes. `audited` bytes
    that CBT called unchanged were read and compared; `distrusted` is the tracking (the part of changeIds before the
    slash) that was caught lying.
    """

    key: int
    name: str
    label: str
    file: str
    datastore: str
    mode: str
    capacity: int
    read: int
    stored: int
    transport: str
    format: str
    cid: str
    files: list[str]
    backing_uuid: str = ""
    change_id: str = ""
    kind: str = "full"
    reason: str = ""
    parent: str = ""
    parent_cid: str = ""
    chain: int = 1
    grains: str = ""
    audited: int = 0
    distrusted: str = ""


class SkippedEntry(msgspec.Struct, frozen=True, kw_only=True):
    key: int
    name: str
    label: str
    capacity: int
    code: str
    reason: str


class VmEntry(msgspec.Struct, frozen=True, kw_only=True):
    moref: str
    name: str
    path: str
    uuid: str
    instance_uuid: str
    hardware_version: str
    guest_os: str


class VcenterEntry(msgspec.Struct, frozen=True, kw_only=True):
    instance_uuid: str
    host: str
    version: str


class SnapshotEntry(msgspec.Struct, frozen=True, kw_only=True):
    moref: str
    name: str
    created: datetime
    policy: str
    quiesced: bool
    quiesce_asked: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    job: str
    proxy: str
    created: datetime
    transport: str
    vcenter: VcenterEntry
    vm: VmEntry
    snapshot: SnapshotEntry
    format: int = FORMAT
    disk: list[DiskEntry] = []
    skipped: list[SkippedEntry] = []
    remade: str = ""
    """The job that last put other images into this point: a merge, or a synthetic full."""
    merged: list[str] = []
    """Names of the points that were merged into this one and are gone."""
    file: list[FileEntry] = []

    def write(self, directory: Path) -> Path:
        """Writes and fsyncs the manifest; it is the last file of a point."""
        path = directory / FILE_NAME
        with path.open("xb") as stream:
            stream.write(tomli_w.dumps(msgspec.to_builtins(self, builtin_types=(datetime,))).encode())
            stream.flush()
            os.fsync(stream.fileno())
        return path


def read(directory: Path) -> Manifest:
    """Raises ImageError when the directory holds no manifest or one that can't be understood."""
    path = directory / FILE_NAME
    try:
        fields = tomllib.loads(path.read_text())
        manifest = msgspec.convert(fields, Manifest)
    except FileNotFoundError:
        raise ImageError(f"{directory} holds no {FILE_NAME}: it is not a restore point.") from None
    except OSError as error:
        raise ImageError(f"{path} can't be read: {error.strerror}.", fault=type(error).__name__) from None
    except (ValueError, RecursionError, OverflowError) as error:  # no TOML, no UTF-8, not this shape, or too deep
        raise ImageError(f"{path} can't be read: {error}.") from None
    if manifest.format > FORMAT:
        raise ImageError(f"{path} is of format {manifest.format}; this version reads up to {FORMAT}.")
    return manifest
