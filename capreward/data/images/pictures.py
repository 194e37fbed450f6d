"""Pictures wherever they are: in a file, a shard, memory. Each says which one it is before it is opened."""

from __future__ import annotations

import hashlib
import io
import os
import sys
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capreward.data.images.arrays import FORMS, ArrayPicture
from capreward.data.images.cropped_picture import DecodedPicture
from capreward.data.images.encoded_image import BrokenImage, error_text, open_encoded
from capreward.data.images.picture import Picture
from capreward.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "ArrayPicture",
    "BrokenImage",
    "BytesPicture",
    "DecodedPicture",
    "FilePicture",
    "Picture",
    "PilPicture",
    "ShardPicture",
    "as_picture",
]


@dataclass(frozen=True)
class FilePicture:
    """A picture file.

    Attributes:
        path: as the user wrote it.
    """

    path: str

    def __str__(self) -> str:
        return self.path

    @property
    def key(self) -> Hashable:
        """The path with links resolved."""
        return "file", os.path.realpath(self.path)

    def open(self) -> Image.Image:
        """Decode the file.

        Raises:
            BrokenImage: missing, unreadable or no picture.
        """
        try:
            with open(self.path, "rb") as stream:
                return open_encoded(stream, str(self))
        except OSError as error:
            raise _unreadable(str(self), error) from error


@dataclass(frozen=True)
class ShardPicture:
    """A picture in an uncompressed tar file, read from its place without reading the rest.

    Attributes:
        path: of the tar file.
        offset: of the picture's first byte.
        size: in bytes.
        name: of the member, for messages.
    """

    path: str
    offset: int
    size: int
    name: str

    def __str__(self) -> str:
        return f"{self.name} in {self.path}"

    @property
    def key(self) -> Hashable:
        """The tar file and the place in it."""
        return "shard", os.path.realpath(self.path), self.offset

    def open(self) -> Image.Image:
        """Decode the member.

        Raises:
            BrokenImage: no picture, or the tar file is missing or shorter than it was.
        """
        try:
            with open(self.path, "rb") as stream:
                stream.seek(self.offset)
                data = stream.read(self.size)
        except OSError as error:
            raise _unreadable(str(self), error) from error
        if len(data) < self.size:
            raise BrokenImage(f"{self} is cut short: the tar file ends before the picture does; copy it again")
        return open_encoded(io.BytesIO(data), str(self))


@dataclass(frozen=True)
class BytesPicture:
    """An encoded picture in memory: what a picture file holds.

    Attributes:
        data: the bytes.
        name: for messages.
    """

    data: bytes = field(repr=False)
    name: str = ""

    def __str__(self) -> str:
        return self.name or f"a picture of {len(self.data):,} bytes"

    @property
    def key(self) -> Hashable:
        """The SHA-256 of the bytes."""
        return "bytes", hashlib.sha256(self.data).digest()

    def open(self) -> Image.Image:
        """Decode the bytes.

        Raises:
            BrokenImage: no picture.
        """
        return open_encoded(io.BytesIO(self.data), str(self))


@dataclass(frozen=True, eq=False)
class PilPicture:
    """A PIL image, which is kept alive so that its identity stays its own.

    Attributes:
        image: in any mode, decoded or not.
    """

    image: Image.Image

    def __str__(self) -> str:
        name = getattr(self.image, "filename", "")
        return str(name) if name else f"a PIL image {self.image.mode} {self.image.width} x {self.image.height}"

    @property
    def key(self) -> Hashable:
        """The identity of the object."""
        return "object", id(self.image)

    def open(self) -> Image.Image:
        """The image, decoded.

        Raises:
            BrokenImage: it was opened from a damaged file.
        """
        try:
            self.image.load()
        except MemoryError:
            raise
        except Exception as error:  # as many kinds as there are decoders
            raise BrokenImage(f"{self} is damaged: {error_text(error)}") from error
        return self.image


def as_picture(image: Any) -> Picture:
    """Wrap what ``Samples.images`` may hold.

    Args:
        image: a path, the bytes of a picture file, a PIL image, an array or tensor (see :class:`ArrayPicture`), or a
            ready :class:`Picture`.

    Raises:
        InputError: anything else, or an array of a wrong shape, type or range.
    """
    if isinstance(image, (str, Path)):
        return _file(str(image))
    if isinstance(image, (bytes, bytearray, memoryview)):
        return BytesPicture(bytes(image))
    if _is_a(image, "PIL.Image", "Image"):
        return PilPicture(image)
    if _is_a(image, "numpy", "ndarray") or _is_a(image, "torch", "Tensor"):
        return ArrayPicture(image)
    # The known kinds first: the check of the protocol would work out the key.
    known = (FilePicture, ShardPicture, BytesPicture, PilPicture, ArrayPicture, DecodedPicture, Picture)
    if isinstance(image, known):
        return image
    raise InputError(
        f"an image is {type(image).__name__}; give a path, the bytes of a picture file, a PIL image, "
        f"or an array or tensor ({FORMS})"
    )


def _file(path: str) -> FilePicture:
    if path.startswith(("http://", "https://", "s3://", "gs://")):
        raise InputError(f"the image {path} is an address; download it and give the file")
    return FilePicture(path)


def _is_a(image: Any, module: str, name: str) -> bool:
    """Whether it is an instance of a class of a heavy module, which it can only be if that is imported already."""
    known = getattr(sys.modules.get(module), name, None)
    return known is not None and isinstance(image, known)


def _unreadable(name: str, error: OSError) -> BrokenImage:
    if isinstance(error, FileNotFoundError):
        return BrokenImage(f"{name} does not exist")
    if isinstance(error, IsADirectoryError):
        return BrokenImage(f"{name} is a folder, not a picture")
    return BrokenImage(f"{name} cannot be read: {error.strerror or error}")
