"""Pictures in the cells of tables, as bytes, as base64 or as paths; each is read from its place when it is opened."""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from capreward.data.images.arrow_cells import ArrowCells
from capreward.data.images.encoded_image import BrokenImage
from capreward.data.images.pictures import BytesPicture, FilePicture, Picture
from capreward.data.roles import is_media_name, is_picture
from capreward.data.rows import describe, shown_id
from capreward.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

_LONG = 256  # a shorter text in base64 is no picture, unless its beginning says so
_BASE64 = re.compile(r"[A-Za-z0-9+/_\-\r\n]+={0,2}[\r\n]*")
_PREFIX = re.compile(r"data:[\w.+/-]*(?:;[\w=.+-]+)*,")


@dataclass(frozen=True)
class TextPicture:
    """A picture that is written as base64 in a text file, of which only the picture's bytes are read.

    Attributes:
        path: The path of the file.
        offset: The offset of the first byte of the base64 in the file.
        size: The size of the base64 in bytes.
        name: The name of the picture, for messages.
    """

    path: str
    offset: int
    size: int
    name: str

    def __str__(self) -> str:
        return self.name

    @property
    def key(self) -> Hashable:
        """The file, the place in it, and the size, since a broken cell may be the beginning of a whole one."""
        return "text", os.path.realpath(self.path), self.offset, self.size

    def open(self) -> Image.Image:
        """Decode the picture.

        Raises:
            BrokenImage: If the cell is no base64 or no picture, or if the file has changed.
        """
        return self.encoded().open()

    def encoded(self) -> Picture:
        """Return the picture as its encoded bytes.

        Raises:
            BrokenImage: If the cell is no base64, or if the file has changed.
        """
        try:
            with open(self.path, "rb") as stream:
                stream.seek(self.offset)
                data = stream.read(self.size)
        except OSError as error:
            raise BrokenImage(f"{self} cannot be read: {error.strerror or error}") from error
        return BytesPicture(decode_base64(data.decode("latin-1"), self.name), self.name)


@dataclass(frozen=True, eq=False)
class ArrowPicture:
    """A picture in a row of a Parquet or Arrow file.

    Attributes:
        cells: The cells of the column, which all pictures of the file share.
        row: The row, counted from 0.
        name: The name of the picture, for messages.
        starts: The folders where relative paths begin.
    """

    cells: ArrowCells
    row: int
    name: str
    starts: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name

    @property
    def key(self) -> Hashable:
        """The file, the column and the row."""
        return "row", os.path.realpath(self.cells.path), self.cells.column, self.row

    def open(self) -> Image.Image:
        """Decode the picture.

        Raises:
            BrokenImage: If the cell is empty or holds no picture, or if the file is damaged.
        """
        return self.encoded().open()

    def encoded(self) -> Picture:
        """Return the picture as its encoded bytes, or as the file that the cell names.

        Raises:
            BrokenImage: If the file is damaged.
        """
        return cell_picture(self.cells.at(self.row), self.name, self.starts)


@dataclass(frozen=True)
class BrokenPicture:
    """A cell that holds no picture; opening it raises an error that says why.

    Attributes:
        sentence: The sentence that says what is wrong, and where.
    """

    sentence: str

    def __str__(self) -> str:
        return self.sentence

    @property
    def key(self) -> Hashable:
        """The sentence, which names the place."""
        return "broken", self.sentence

    def open(self) -> Image.Image:
        """Raise the error of the cell.

        Raises:
            BrokenImage: In every case.
        """
        raise BrokenImage(self.sentence)


def cell_picture(value: object, name: str, starts: Sequence[str]) -> Picture:
    """Return the picture that a cell holds or names.

    Args:
        value: The value of the cell: bytes, base64 (also after ``data:image/png;base64,``), a path, Hugging Face's
            ``{"bytes", "path"}``, or a list with one of these.
        name: The name of the cell, for messages.
        starts: The folders where relative paths begin; the first folder that has the file counts.

    Returns:
        The picture; a BrokenPicture if the cell holds none.
    """
    if isinstance(value, list):
        if len(value) != 1:
            return BrokenPicture(f"{name} holds a list of {len(value)} pictures; one is needed")
        value = value[0]
    if isinstance(value, dict):
        held = value.get("bytes")
        value = held if held else value.get("path")
    if not value or value != value:
        return BrokenPicture(f"{name} is empty")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return BytesPicture(bytes(value), name)
    if not isinstance(value, str):
        return BrokenPicture(f"{name} is {describe(value)}; it must be a picture or the path of one")
    if is_base64(value):
        try:
            return BytesPicture(decode_base64(value, name), name)
        except BrokenImage as error:
            return BrokenPicture(str(error))
    return FilePicture(resolve_path(value, starts))


def is_encoded(value: object) -> bool:
    """Return whether a cell holds a picture itself, and not the path of one."""
    if isinstance(value, list):
        return len(value) == 1 and is_encoded(value[0])
    if isinstance(value, dict):
        return bool(value.get("bytes"))
    return isinstance(value, bytes) or (isinstance(value, str) and is_base64(value))


def is_base64(text: str) -> bool:
    """Return whether a text is a picture in base64 and not a path.

    It is one if its beginning says so, or if it has 256 characters or more and all of them are base64.
    """
    if is_picture(text):
        return True
    return len(text) >= _LONG and not is_media_name(text) and _BASE64.fullmatch(text) is not None


def decode_base64(text: str, name: str) -> bytes:
    """Decode a text in base64, also in the alphabet of web addresses.

    Raises:
        BrokenImage: If the text is no base64.
    """
    begins = _PREFIX.match(text)
    bare = "".join((text[begins.end() :] if begins else text).split())
    try:
        if "-" in bare or "_" in bare:  # the alphabet for web addresses
            bare = bare.replace("-", "+").replace("_", "/")
        return base64.b64decode(bare, validate=True)
    except (binascii.Error, ValueError) as error:
        told = str(error).partition("\n")[0]
        raise BrokenImage(f"{name} is no whole base64 ({told[:1].lower()}{told[1:]}); write the cell again") from error


def resolve_path(text: str, starts: Sequence[str]) -> str:
    """Return the file that a path means: under the first folder that has it, otherwise the path as it is written."""
    path = os.path.expanduser(text)
    found = (os.path.join(start, path) for start in starts)
    return next((place for place in found if os.path.isfile(place)), path)


def cell_name(source: str, unit: str, position: int, column: str, key: str) -> str:
    """Return the name of a cell for messages."""
    return f'the picture of id {shown_id(key)} ({source}, {unit} {position}, column "{column}")'


def refuse_differing_cells(source: str, unit: str, key: str, rows: Sequence[int]) -> None:
    """Refuse two different pictures of one id.

    Raises:
        InputError: In every case.
    """
    raise InputError(
        f'{source} has different pictures of the id "{shown_id(key)}" ({unit}s {rows[0]} and {rows[1]}); '
        "say which column holds the ids of images with --images-id-column"
    )
