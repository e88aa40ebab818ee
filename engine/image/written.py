"""What an export says while it runs, and what it leaves."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Progress:
    """Bytes so far. `to_read` is 0 where nobody knows it (a stream of unknown length).

    `busy` gives the share (0-1) of the wall time that each part worked: `source` (reading), `cpu` (zero detection,
    deflate, hash) and `target` (writing); `bottleneck` names the busiest, "" before anything was measured.
    """

    read: int
    to_read: int
    stored: int
    zero: int
    bottleneck: str = ""
    busy: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """One finished file: its name without directory, its size in bytes, the SHA-256 (hex) of all its bytes, or, with
    `blocks`, that of the SHA-256s of its blocks of so many bytes (`block_hash`)."""

    name: str
    size: int
    sha256: str
    blocks: int = 0


@dataclass(frozen=True, slots=True)
class WrittenImage:
    """A finished image. The first file is the one to open (`open_image`, qemu-img).

    `read` bytes were asked of the source; `zero` of them were zeros in whole grains, and so not stored; `stored`
    bytes take room on the target (holes of a flat file do not count). `hashed`: the hashes of all its grains were
    handed on, where they were asked for. `levels`: compression level -> share (0-1) of the bytes packed at it.
    """

    files: tuple[WrittenFile, ...]
    read: int
    zero: int
    stored: int
    cid: str
    bottleneck: str
    busy: dict[str, float]
    seconds: float
    hashed: bool = False
    levels: dict[str, float] = field(default_factory=dict)


def busiest(busy: dict[str, float]) -> str:
    """The part that held the others up; "" when none did anything."""
    name = max(busy, key=lambda part: busy[part], default="")
    return name if name and busy[name] > 0 else ""
