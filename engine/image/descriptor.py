"""The text descriptor of a VMDK: identity (CID, parentCID), kind (createType), extents, and the disk database.

Source: VMware "Virtual Disk Format 5.0", "The Disk Descriptor File".
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from engine.errors import ImageError
from engine.image.sparse_header import SECTOR

NO_PARENT = "ffffffff"
"""parentCID of an image that stands alone."""
_INVALID_CIDS = (0xFFFF_FFFF, 0xFFFF_FFFE)
MAX_DESCRIPTOR = 1 << 20

_EXTENT = re.compile(
    r'^(?P<access>RW|RDONLY|NOACCESS)\s+(?P<sectors>\d+)\s+(?P<kind>[A-Z0-9]+)(?:\s+"(?P<file>[^"]*)"(?:\s+(?P<offset>\d+))?)?'
)
_SETTING = re.compile(r'^(?P<key>[A-Za-z][\w.]*)\s*=\s*(?:"(?P<quoted>[^"]*)"|(?P<bare>\S*))\s*$')
_CID = re.compile(r"[0-9a-fA-F]{1,8}")


def new_cid() -> str:
    """A random content id; ffffffff (no parent) and fffffffe (VMware's "never compare") are not ids."""
    while (value := secrets.randbits(32)) in _INVALID_CIDS:
        pass
    return f"{value:08x}"


@dataclass(frozen=True, slots=True)
class ExtentLine:
    """One file that holds a part of the disk; `sectors` and `offset` (into the file) are in sectors."""

    access: str
    sectors: int
    kind: str
    file: str = ""
    offset: int | None = None

    def text(self) -> str:
        if '"' in self.file or "\n" in self.file or "\r" in self.file:
            raise ImageError(f"The file name {self.file!r} cannot be written in a VMDK descriptor.")
        tail = "" if self.offset is None else f" {self.offset}"
        return f'{self.access} {self.sectors} {self.kind} "{self.file}"{tail}'


@dataclass(frozen=True, slots=True)
class Parent:
    """The image that a child image completes: its CID, and where it lies, relative to the child's directory."""

    cid: str
    hint: str


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A parsed or a new descriptor. CIDs are 8 lower-case hex digits; `ddb` keys carry their `ddb.` prefix."""

    create_type: str
    extents: tuple[ExtentLine, ...]
    cid: str = field(default_factory=new_cid)
    parent_cid: str = NO_PARENT
    parent_hint: str = ""
    ddb: Mapping[str, str] = field(default_factory=dict)

    @property
    def capacity(self) -> int:
        """Bytes of all extents together."""
        return SECTOR * sum(extent.sectors for extent in self.extents)

    @property
    def has_parent(self) -> bool:
        return self.parent_cid != NO_PARENT

    def child_of(self, parent: Parent | None) -> "Descriptor":
        """The descriptor of a child image; itself when there is no parent."""
        if parent is None:
            return self
        if set(parent.hint) & set('"\r\n'):
            raise ImageError(f"The file name {parent.hint!r} cannot be written in a VMDK descriptor.")
        return replace(self, parent_cid=_cid(parent.cid), parent_hint=parent.hint)

    def text(self) -> str:
        hint = [f'parentFileNameHint="{self.parent_hint}"'] if self.parent_hint else []
        lines = [
            "# Disk DescriptorFile",
            "version=1",
            'encoding="UTF-8"',
            f"CID={self.cid}",
            f"parentCID={self.parent_cid}",
            'isNativeSnapshot="no"',
            f'createType="{self.create_type}"',
            *hint,
            "",
            "# Extent description",
            *(extent.text() for extent in self.extents),
            "",
            "# The Disk Data Base",
            "#DDB",
            "",
            *(f'{key} = "{value}"' for key, value in self.ddb.items()),
            "",
        ]
        return "\n".join(lines)

    def encoded(self) -> bytes:
        """The text in UTF-8; file names that are not, in their own bytes."""
        return self.text().encode("utf-8", "surrogateescape")


def disk_database(capacity: int) -> dict[str, str]:
    """The ddb of a SCSI disk of `capacity` bytes, with the geometry that VMware's SCSI controllers report."""
    sectors = capacity // SECTOR
    if sectors <= 1 << 21:  # 1 GiB
        heads, per_track = 64, 32
    elif sectors <= 1 << 22:  # 2 GiB
        heads, per_track = 128, 32
    else:
        heads, per_track = 255, 63
    return {
        "ddb.virtualHWVersion": "13",
        "ddb.adapterType": "lsilogic",
        "ddb.geometry.cylinders": str(max(1, sectors // (heads * per_track))),
        "ddb.geometry.heads": str(heads),
        "ddb.geometry.sectors": str(per_track),
    }


def parse(data: bytes) -> Descriptor:
    """Reads a descriptor, embedded (padded with zero bytes) or from its own file.

    Unknown settings are ignored, as VMware's own readers do. Raises `ImageError` naming the line that is wrong.
    """
    if len(data) > MAX_DESCRIPTOR:
        raise ImageError(f"A VMDK descriptor of {len(data)} bytes is not plausible.")
    text = data.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
    if not text.lstrip("\ufeff \r\n").lower().startswith("# disk descriptorfile"):
        raise ImageError('This is not a VMDK descriptor: it does not begin with "# Disk DescriptorFile".')
    settings: dict[str, str] = {}
    extents: list[ExtentLine] = []
    for number, line in enumerate(text.splitlines(), 1):
        content = line.strip()
        if not content or content.startswith("#") or content == "\ufeff":
            continue
        if match := _EXTENT.match(content):
            extents.append(_extent(match))
        elif match := _SETTING.match(content):
            settings[match["key"].lower()] = match["quoted"] if match["quoted"] is not None else match["bare"]
        else:
            raise ImageError(f"Line {number} of the VMDK descriptor cannot be read: {content[:80]!r}.")
    return _descriptor(settings, extents)


def _extent(match: re.Match[str]) -> ExtentLine:
    offset = match["offset"]
    return ExtentLine(
        match["access"], int(match["sectors"]), match["kind"], match["file"] or "", int(offset) if offset else None
    )


def _descriptor(settings: dict[str, str], extents: list[ExtentLine]) -> Descriptor:
    for key in ("cid", "createtype"):
        if key not in settings:
            raise ImageError(f"The VMDK descriptor has no {'CID' if key == 'cid' else 'createType'}.")
    if not extents:
        raise ImageError("The VMDK descriptor lists no extents.")
    return Descriptor(
        create_type=settings["createtype"],
        extents=tuple(extents),
        cid=_cid(settings["cid"]),
        parent_cid=_cid(settings.get("parentcid", NO_PARENT)),
        parent_hint=settings.get("parentfilenamehint", ""),
        ddb={key: value for key, value in settings.items() if key.startswith("ddb.")},
    )


def _cid(text: str) -> str:
    if not _CID.fullmatch(text):
        raise ImageError(f"{text[:20]!r} is not a content id (8 hexadecimal digits).")
    return text.lower().rjust(8, "0")
