"""Pictures in a file, in a shard and in memory; each has a key that identifies it before it is opened."""

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
        path: The path of the file, as the user wrote it.
    """

    path: str

    def __str__(self) -> str:
        return self.path

    @property
    def key(self) -> Hashable:
        """The path of the file, with links resolved."""
        return "file", os.path.realpath(self.path)

    def open(self) -> Image.Image:
        """Decode the file.

        Raises:
            BrokenImage: If the file is missing, is unreadable or is no picture.
        """
        try:
            with open(self.path, "rb") as stream:
                return open_encoded(stream, str(self))
        except OSError as error:
            raise _unreadable_picture(str(self), error) from error


@dataclass(frozen=True)
class ShardPicture:
    """A picture in an uncompressed tar file, of which only the picture's bytes are read.

    Attributes:
        path: The path of the tar file.
        offset: The offset of the picture's first byte in the tar file.
        size: The size of the picture in bytes.
        name: The name of the member, for messages.
    """

    path: str
    offset: int
    size: int
    name: str

    def __str__(self) -> str:
        return f"{self.name} in {self.path}"

    @property
    def key(self) -> Hashable:
        """The tar file, and the place of the picture in it."""
        return "shard", os.path.realpath(self.path), self.offset

    def open(self) -> Image.Image:
        """Decode the member.

        Raises:
            BrokenImage: If the member is no picture, or if the tar file is missing or shorter than it was.
        """
        try:
            with open(self.path, "rb") as stream:
                stream.seek(self.offset)
                data = stream.read(self.size)
        except OSError as error:
            raise _unreadable_picture(str(self), error) from error
        if len(data) < self.size:
            raise BrokenImage(f"{self} is cut short: the tar file ends before the picture does; copy it again")
        return open_encoded(io.BytesIO(data), str(self))


@dataclass(frozen=True)
class BytesPicture:
    """An encoded picture in memory.

    Attributes:
        data: The bytes, as a picture file holds them.
        name: The name of the picture, for messages.
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
            BrokenImage: If the bytes are no picture.
        """
        return open_encoded(io.BytesIO(self.data), str(self))


@dataclass(frozen=True, eq=False)
class PilPicture:
    """A PIL image; it is kept alive, so that no other object can get its identity.

    Attributes:
        image: The PIL image in any mode, decoded or not.
    """

    image: Image.Image

    def __str__(self) -> str:
        name = getattr(self.image, "filename", "")
        return str(name) if name else f"a PIL image {self.image.mode} {self.image.width} x {self.image.height}"

    @property
    def key(self) -> Hashable:
        """The identity of the PIL image."""
        return "object", id(self.image)

    def open(self) -> Image.Image:
        """Return the image, decoded.

        Raises:
            BrokenImage: If the image was opened from a damaged file.
        """
        try:
            self.image.load()
        except MemoryError:
            raise
        except Exception as error:  # each decoder raises errors of its own kind
            raise BrokenImage(f"{self} is damaged: {error_text(error)}") from error
        return self.image


def as_picture(image: Any) -> Picture:
    """Wrap an image that ``Samples.images`` may hold.

    Args:
        image: A path, the bytes of a picture file, a PIL image, an array or tensor (see :class:`ArrayPicture`), or a
            :class:`Picture`, which is returned as it is.

    Raises:
        InputError: If the image is of another type, or if it is an array of a wrong shape, type or range.
    """
    if isinstance(image, (str, Path)):
        return _file_picture(str(image))
    if isinstance(image, (bytes, bytearray, memoryview)):
        return BytesPicture(bytes(image))
    if _is_instance(image, "PIL.Image", "Image"):
        return PilPicture(image)
    if _is_instance(image, "numpy", "ndarray") or _is_instance(image, "torch", "Tensor"):
        return ArrayPicture(image)
    # The known kinds come first, since the check of the protocol would compute the key.
    known = (FilePicture, ShardPicture, BytesPicture, PilPicture, ArrayPicture, DecodedPicture, Picture)
    if isinstance(image, known):
        return image
    raise InputError(
        f"an image is {type(image).__name__}; give a path, the bytes of a picture file, a PIL image, "
        f"or an array or tensor ({FORMS})"
    )


def _file_picture(path: str) -> FilePicture:
    if path.startswith(("http://", "https://", "s3://", "gs://")):
        raise InputError(f"the image {path} is an address; download it and give the file")
    return FilePicture(path)


def _is_instance(image: Any, module: str, name: str) -> bool:
    """Return whether an image is an instance of a class of a heavy module, without importing the module.

    If the module is not imported yet, no such instance can exist.
    """
    known = getattr(sys.modules.get(module), name, None)
    return known is not None and isinstance(image, known)


def _unreadable_picture(name: str, error: OSError) -> BrokenImage:
    if isinstance(error, FileNotFoundError):
        return BrokenImage(f"{name} does not exist")
    if isinstance(error, IsADirectoryError):
        return BrokenImage(f"{name} is a folder, not a picture")
    return BrokenImage(f"{name} cannot be read: {error.strerror or error}")
