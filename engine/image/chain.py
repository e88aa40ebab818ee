"""A disk that several images hold together: a whole one, and children of it that each hold what changed since.

A child names its parent by `parentFileNameHint` and by the CID that the parent must have. Only a name beside the
child, or in a directory beside the child's, is followed: a descriptor cannot make us read any other file.
"""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.errors import ImageError
from engine.extents import Extent, difference, merged
from engine.image import descriptor as text_descriptor
from engine.image.descriptor import Descriptor
from engine.image.flat import image_error
from engine.image.reader import Image, open_extent, open_image
from engine.image.sparse_header import MAGIC
from engine.image.stream_reader import StreamOptimizedImage

LONGEST = 1024
"""Images of one chain; more is a circle or damage."""
_HINT = re.compile(r"(?:\.\./(?!\.{1,2}/)[^/\0]+/)?(?!\.{1,2}$)[^/\0]+")


class ChainDisk:
    """The newest image of a chain as a DiskSource (transport "file"); read by several threads at once.

    `images` are those of the chain, newest first, and `links` their files with the data (of a flat image the one beside
    its descriptor). Memory: that of each image. A read costs one look into the grain tables of
    each image down to the one that holds the data.
    """

    transport = "file"

    def __init__(self, children: Sequence[StreamOptimizedImage], base: Image) -> None:
        self._children, self._base = tuple(children), base
        self.images = (*self._children, base)
        self.capacity = base.capacity
        self.links = tuple(image.path for image in self.images)

    def allocated(self) -> Sequence[Extent]:
        """What any image of the chain stores; stored grains of zeros count."""
        return merged(extent for image in self.images for extent in image.allocated())

    def read_into(self, offset: int, buffer: memoryview) -> None:
        end = offset + len(buffer)
        if offset < 0 or end > self.capacity:
            raise ImageError(
                f"{self.links[0]}: bytes {offset} to {end} are not inside the disk of {self.capacity} bytes."
            )
        wanted = [Extent(offset, len(buffer))] if len(buffer) else []
        for image in self._children:
            left: list[Extent] = []
            for part in wanted:
                held = merged(image.held(*part))
                for piece in held:
                    image.read_into(piece.start, buffer[piece.start - offset : piece.end - offset])
                left += difference([part], held)
            wanted = left
            if not wanted:
                return
        for part in wanted:
            self._base.read_into(part.start, buffer[part.start - offset : part.end - offset])

    def close(self) -> None:
        for image in self.images:
            image.close()


def open_disk(path: Path, *, home: Path | None = None) -> ChainDisk:
    """The disk that `path` and, if it is a child, its parents hold.

    `home`: the directory in which `path` will lie, when it still lies elsewhere; its parent is looked for from there.
    Raises `ImageError` naming the file when a parent is missing, is not the one that the child was made for (CID),
    has another capacity, or when the chain runs in a circle.
    """
    children: list[StreamOptimizedImage] = []
    opened: list[Image] = []
    try:
        for image in _images(path, home):
            opened.append(image)
            if image.capacity != opened[0].capacity:
                raise ImageError(f"{image.path} holds {image.capacity:,} bytes, {path} {opened[0].capacity:,}.")
            if isinstance(image, StreamOptimizedImage) and image.descriptor.has_parent:
                children.append(image)
            else:
                return ChainDisk(children, image)
        raise ImageError(f"{path} is the end of a chain of more than {LONGEST} images.")
    except BaseException:
        for image in opened:
            image.close()
        raise


def descriptor_of(path: Path) -> Descriptor:
    """The descriptor of an image: the one inside a sparse one, else the file itself. Raises `ImageError`."""
    try:
        with path.open("rb") as file:
            if file.read(4) == MAGIC:
                image = open_extent(path)
                image.close()
                return image.descriptor
            file.seek(0)
            return text_descriptor.parse(file.read(text_descriptor.MAX_DESCRIPTOR))
    except OSError as error:
        raise image_error(error, path) from error


def parent_of(path: Path, described: Descriptor, home: Path | None = None) -> Path:
    """The file that a child's descriptor names as its parent."""
    if not _HINT.fullmatch(described.parent_hint):
        raise ImageError(
            f"{path} names {described.parent_hint!r} as its parent; only a file beside it, or in a directory beside "
            "its own, is followed."
        )
    return Path(os.path.normpath((home or path.parent) / described.parent_hint))


def _images(path: Path, home: Path | None) -> Iterator[Image]:
    """The images from the newest to the whole one, each checked against the CID that its child expects."""
    for _ in range(LONGEST):
        described = descriptor_of(path)
        if not described.has_parent:
            yield open_image(path)
            return
        yield StreamOptimizedImage(path)
        parent = parent_of(path, described, home)
        if not parent.is_file():
            raise ImageError(f"{path} is a child of {parent}, which is missing.")
        found = descriptor_of(parent).cid
        if found != described.parent_cid:
            raise ImageError(
                f"{parent} is not what {path} was made for: its CID is {found}, not {described.parent_cid}.",
                hint="It was changed or replaced since; restore it, or an older point.",
            )
        path, home = parent, None
