"""Pictures in the cells of tables: as bytes, as base64, as paths; opened from their place, one at a time."""

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

_LONG = 256  # characters of base64 below which a text without a known beginning is no picture
_BASE64 = re.compile(r"[A-Za-z0-9+/_\-\r\n]+={0,2}[\r\n]*")
_PREFIX = re.compile(r"data:[\w.+/-]*(?:;[\w=.+-]+)*,")


@dataclass(frozen=True)
class TextPicture:
    """A picture written as base64 in a text file, read from its place without reading the rest.

    Attributes:
        path: of the file.
        offset: of the first byte of the base64.
        size: of it, in bytes.
        name: for messages.
    """

    path: str
    offset: int
    size: int
    name: str

    def __str__(self) -> str:
        return self.name

    @property
    def key(self) -> Hashable:
        """The file and the place in it; a broken cell may be the beginning of a whole one."""
        return "text", os.path.realpath(self.path), self.offset, self.size

    def open(self) -> Image.Image:
        """Decode the picture.

        Raises:
            BrokenImage: no base64, no picture, or the file has changed.
        """
        return self.held().open()

    def held(self) -> Picture:
        """The picture as its encoded bytes.

        Raises:
            BrokenImage: no base64, or the file has changed.
        """
        try:
            with open(self.path, "rb") as stream:
                stream.seek(self.offset)
                data = stream.read(self.size)
        except OSError as error:
            raise BrokenImage(f"{self} cannot be read: {error.strerror or error}") from error
        return BytesPicture(decoded(data.decode("latin-1"), self.name), self.name)


@dataclass(frozen=True, eq=False)
class ArrowPicture:
    """A picture in a row of a Parquet or Arrow file.

    Attributes:
        cells: the column, shared by the pictures of a file.
        row: counted from 0.
        name: for messages.
        starts: folders where paths begin.
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
            BrokenImage: an empty cell, no picture, or the file is damaged.
        """
        return self.held().open()

    def held(self) -> Picture:
        """The picture as its encoded bytes, or as the file that the cell names.

        Raises:
            BrokenImage: the file is damaged.
        """
        return cell_picture(self.cells.at(self.row), self.name, self.starts)


@dataclass(frozen=True)
class BrokenPicture:
    """A cell that holds no picture; opening it says so.

    Attributes:
        sentence: what is wrong, and where.
    """

    sentence: str

    def __str__(self) -> str:
        return self.sentence

    @property
    def key(self) -> Hashable:
        """The sentence, which names the place."""
        return "broken", self.sentence

    def open(self) -> Image.Image:
        """Refuse.

        Raises:
            BrokenImage: always.
        """
        raise BrokenImage(self.sentence)


def cell_picture(value: object, name: str, starts: Sequence[str]) -> Picture:
    """The picture that a cell holds or names.

    Args:
        value: bytes, base64 (also after ``data:image/png;base64,``), a path, Hugging Face's ``{"bytes", "path"}``, or a
            list of one of them.
        name: of the cell, for messages.
        starts: folders where paths begin; the first that has the file counts.
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
            return BytesPicture(decoded(value, name), name)
        except BrokenImage as error:
            return BrokenPicture(str(error))
    return FilePicture(path_of(value, starts))


def is_encoded(value: object) -> bool:
    """Whether a cell holds a picture itself, and not the path of one."""
    if isinstance(value, list):
        return len(value) == 1 and is_encoded(value[0])
    if isinstance(value, dict):
        return bool(value.get("bytes"))
    return isinstance(value, bytes) or (isinstance(value, str) and is_base64(value))


def is_base64(text: str) -> bool:
    """Whether a text is a picture in base64 rather than a path: by its beginning, or by being long and nothing else."""
    if is_picture(text):
        return True
    return len(text) >= _LONG and not is_media_name(text) and _BASE64.fullmatch(text) is not None


def decoded(text: str, name: str) -> bytes:
    """The bytes that base64 stands for.

    Raises:
        BrokenImage: it is none.
    """
    begins = _PREFIX.match(text)
    bare = "".join((text[begins.end() :] if begins else text).split())
    try:
        if "-" in bare or "_" in bare:  # the alphabet of addresses
            bare = bare.replace("-", "+").replace("_", "/")
        return base64.b64decode(bare, validate=True)
    except (binascii.Error, ValueError) as error:
        told = str(error).partition("\n")[0]
        raise BrokenImage(f"{name} is no whole base64 ({told[:1].lower()}{told[1:]}); write the cell again") from error


def path_of(text: str, starts: Sequence[str]) -> str:
    """The file that a path means: under the first folder that has it, else as it is written."""
    path = os.path.expanduser(text)
    found = (os.path.join(start, path) for start in starts)
    return next((place for place in found if os.path.isfile(place)), path)


def cell_name(source: str, unit: str, position: int, column: str, key: str) -> str:
    """How a cell is called in messages."""
    return f'the picture of id {shown_id(key)} ({source}, {unit} {position}, column "{column}")'


def refuse_differing(source: str, unit: str, key: str, rows: Sequence[int]) -> None:
    """Refuse two pictures of one id.

    Raises:
        InputError: always.
    """
    raise InputError(
        f'{source} has different pictures of the id "{shown_id(key)}" ({unit}s {rows[0]} and {rows[1]}); '
        "say which column holds the ids of images with --images-id-column"
    )
