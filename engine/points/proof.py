"""When a point was proven, and how deeply: `proof.toml`, beside the manifest.

The run that makes a point writes it first; `vcb verify` replaces it. It also names the SHA-256 of the manifest, which
cannot hold its own, and its `seal` is the SHA-256 of all else in it: damage to either file is noticed.
"""

import hashlib
import os
import tomllib
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import msgspec
import tomli_w

from engine.errors import ImageError, TargetError
from engine.points import manifest as manifests

FILE_NAME = "proof.toml"
NEW_NAME = ".proof.toml.new"
_MOST_FINDINGS = 20


class Depth(StrEnum):
    """How deeply a point is looked at; each includes those before it."""

    MANIFEST = "manifest"
    """The manifest is whole, and the files it lists are there with their sizes."""
    FILES = "files"
    """Every file is read from the medium and has its SHA-256."""
    GRAINS = "grains"
    """Every grain of the point's images unpacks to what arrived from the source."""
    CHAIN = "chain"
    """The whole disks, as a restore reads them through the chain; and the files of every point of it."""

    @property
    def order(self) -> int:
        return list(Depth).index(self)


class Passed(msgspec.Struct, frozen=True, kw_only=True):
    at: datetime
    depth: Depth


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    """`findings` are the first twenty."""

    at: datetime
    depth: Depth
    findings: list[str]


class Proof(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A point counts as proven while `failed` is None. `manifest` is the SHA-256 (hex) of manifest.toml."""

    manifest: str
    passed: Passed | None = None
    failed: Failed | None = None
    seal: str = ""

    def followed_by(self, depth: Depth, findings: list[str], at: datetime) -> "Proof":
        """The proof after one more look. A look that finds nothing lifts a failure only when it went as deep, and one
        that read no content proves nothing."""
        if findings:
            failed = Failed(at=at, depth=depth, findings=findings[:_MOST_FINDINGS])
            return msgspec.structs.replace(self, failed=failed)
        lifted = self.failed is not None and depth.order >= self.failed.depth.order
        failed = None if lifted else self.failed
        if depth is Depth.MANIFEST:
            return msgspec.structs.replace(self, failed=failed)
        return msgspec.structs.replace(self, passed=Passed(at=at, depth=depth), failed=failed)


def manifest_digest(directory: Path) -> str:
    """SHA-256 (hex) of the manifest's bytes. Raises ImageError."""
    try:
        return hashlib.sha256((directory / manifests.FILE_NAME).read_bytes()).hexdigest()
    except OSError as error:
        raise ImageError(f"{directory / manifests.FILE_NAME} can't be read: {error.strerror}.") from None


def read(directory: Path) -> Proof | None:
    """The proof of a point; None when nobody recorded one. Raises ImageError when the file is damaged."""
    path = directory / FILE_NAME
    try:
        with open(path, "rb", opener=_no_symlink) as stream:
            data = stream.read(1 << 20)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ImageError(f"{path} can't be read: {error.strerror}.") from None
    try:
        proof = msgspec.convert(tomllib.loads(data.decode()), Proof)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ImageError(f"{path} can't be read: {error}.") from None
    if data != _sealed(proof):
        raise ImageError(f"{path} is damaged: it is not as it was written.")
    return proof


def record(directory: Path, depth: Depth, findings: list[str], *, at: datetime | None = None) -> Proof:
    """Writes what a look at the point found, durable and atomically. Raises ImageError when there is no manifest,
    TargetError when the medium refuses (a read-only copy, for instance)."""
    try:
        before = read(directory)
    except ImageError:
        before = None
    proof = (before or Proof(manifest=manifest_digest(directory))).followed_by(
        depth, findings, at or datetime.now(UTC).replace(microsecond=0)
    )
    new = directory / NEW_NAME
    try:
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "wb") as stream:
            stream.write(_sealed(proof))
            stream.flush()
            os.fsync(stream.fileno())
        new.rename(directory / FILE_NAME)
        _fsync(directory)
    except OSError as error:
        raise TargetError(
            f"The proof of {directory} can't be recorded: {error.strerror}.", fault=type(error).__name__
        ) from None
    return proof


def _sealed(proof: Proof) -> bytes:
    """The file of a proof; its seal is made anew."""
    bare = msgspec.structs.replace(proof, seal="")
    seal = hashlib.sha256(msgspec.json.encode(bare)).hexdigest()
    fields = msgspec.to_builtins(msgspec.structs.replace(proof, seal=seal), builtin_types=(datetime,))
    return tomli_w.dumps(fields).encode()


def _fsync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _no_symlink(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
