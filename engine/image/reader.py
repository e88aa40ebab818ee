"""Opening any image that we write."""

from pathlib import Path

from engine.errors import ImageError
from engine.image import descriptor as text_descriptor
from engine.image.flat import RawDisk, image_error
from engine.image.sparse_header import MAGIC, SECTOR, SparseHeader
from engine.image.sparse_reader import SparseImage
from engine.image.stream_reader import StreamOptimizedImage

Image = StreamOptimizedImage | SparseImage | RawDisk

_COWD = b"COWD"
_FLAT_KINDS = ("FLAT", "VMFS")


def open_image(path: Path) -> Image:
    """The image as a DiskSource with transport "file": a streamOptimized or monolithicSparse VMDK, or the descriptor of
    a flat one.

    Raises `ImageError` for anything else, and for a child image, whose other half is in its parent.
    """
    try:
        with path.open("rb") as file:
            head = file.read(SECTOR)
            if head[:4] not in (MAGIC, _COWD):
                head += file.read(text_descriptor.MAX_DESCRIPTOR)
    except OSError as error:
        raise image_error(error, path) from error
    if head[:4] == MAGIC:
        image = open_extent(path)
        try:
            _refuse_child(path, image.descriptor)
        except ImageError:
            image.close()
            raise
        return image
    if head[:4] == _COWD:
        raise ImageError(f"{path} is a vmfsSparse redo log (COWD), which is not a whole disk.")
    return _open_flat(path, head)


def open_extent(path: Path) -> StreamOptimizedImage | SparseImage:
    """The sparse extent `path` (one that begins with KDMV), child or not, by what its header says of its grains."""
    try:
        with path.open("rb") as file:
            head = file.read(SECTOR)
    except OSError as error:
        raise image_error(error, path) from error
    return StreamOptimizedImage(path) if SparseHeader.unpack(head).is_stream else SparseImage(path)


def _open_flat(path: Path, text: bytes) -> RawDisk:
    description = text_descriptor.parse(text)
    _refuse_child(path, description)
    extents = description.extents
    if len(extents) != 1 or extents[0].kind not in _FLAT_KINDS or extents[0].offset:
        raise ImageError(
            f"{path} is a {description.create_type} image of {len(extents)} extents; "
            "compact (streamOptimized), sparse (monolithicSparse) and flat ones of one file can be read."
        )
    name = extents[0].file
    if not name or "/" in name or name in (".", ".."):
        raise ImageError(f"{path} names {name!r} as its data; only a file beside it is followed.")
    return RawDisk(path.with_name(name), description.capacity)


def _refuse_child(path: Path, description: text_descriptor.Descriptor) -> None:
    if description.has_parent:
        raise ImageError(
            f"{path} is a child image; it holds only what changed since {description.parent_hint or 'its parent'}."
        )
