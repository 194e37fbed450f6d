"""Tables of pictures: Hugging Face's exports, base64 in TSV, and columns of bytes or of paths."""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from capreward.data.column_choice import ROW, absent_column_text, choose_identity, named_column
from capreward.data.column_roles import Role, role_of
from capreward.data.file_content import Content, load_content
from capreward.data.file_table import open_table
from capreward.data.image_ids import IdIndex
from capreward.data.images.arrow_cells import ArrowCells
from capreward.data.images.folder import is_picture_name
from capreward.data.images.picture_cells import (
    ArrowPicture,
    TextPicture,
    cell_name,
    cell_picture,
    is_base64,
    is_encoded,
    refuse_differing_cells,
    resolve_path,
)
from capreward.data.images.picture_shards import names_shards
from capreward.data.images.picture_types import FilePicture, Picture
from capreward.data.row_checks import Options, id_text
from capreward.data.tables import ABSENT, ArrowTable, Table
from capreward.errors import InputError

# In VLMEvalKit's tables, a cell with fewer characters may be the id of the row that has the picture in base64.
_SHORTEST = 64


def names_table(source: str) -> bool:
    """Return whether a source is a file that may be a table, and not shards or a picture."""
    return os.path.isfile(source) and not names_shards(source) and not is_picture_name(os.path.basename(source))


class PictureTable:
    """The pictures of a table by the ids of their rows.

    A picture is decoded only when it is opened; in a binary file, it is also read only then.

    Args:
        path: A file in any format with named columns.
        id_column: The name of the column of ids; ``"row"`` takes the number of the row; None takes a usual name.
        image_column: The name of the column of pictures or of their paths; None takes a usual name.
        numbered: If True, a table without ids takes the numbers of its rows as ids, since nothing has to be matched.

    Attributes:
        source: The file as the user wrote it.
        column: The column of the pictures.
        id: What the ids are taken from: a column, or ``"row"``.
        holds: True if the table holds the pictures themselves, and not their paths.

    Raises:
        InputError: If the file is no table, has no column of pictures or two of them, has no ids, or has two different
            pictures of one id.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        id_column: str | None = None,
        image_column: str | None = None,
        numbered: bool = False,
    ) -> None:
        self.source = str(path)
        content = load_content(path)
        options = Options(id_column=id_column, image_column=image_column, paired=numbered, pictures=True)
        table = open_table(content, options)
        if table is None:
            raise InputError(f"{self.source} has no columns, and so no pictures; give a folder, a .tar or a table")
        self.column = picture_column(table, image_column)
        self.holds = holds_pictures(table, self.column)
        key, names = choose_identity(table, options)
        self.id = ROW if key is None else key
        self._starts = (str(Path(self.source).parent), "")
        self._pictures: dict[str, Picture] = {}
        self._aliases: dict[str, str | None] = {}
        others = [name for name in names if name != self.column]
        if isinstance(table, ArrowTable) and self.holds:
            self._index_rows(content, table, key, others)
        else:
            self._index_cells(content, table, key, others)
        if not self._pictures:
            raise InputError(f"{self.source} holds no rows, and so no pictures")
        known = {alias: key for alias, key in self._aliases.items() if key is not None and alias not in self._pictures}
        self._ids = IdIndex(self._pictures, known, self.source)

    def __len__(self) -> int:
        return len(self._pictures)

    @property
    def names(self) -> list[str]:
        """The ids of the pictures."""
        return list(self._pictures)

    def find(self, key: str) -> tuple[str, str] | None:
        """Find the id in this table that another id means.

        Returns:
            The id and how it was found; None if there is none, or if the file that its row names does not exist.

        Raises:
            InputError: If two pictures could be meant.
        """
        found = self._ids.find(key)
        if found is None:
            return None
        picture = self._pictures[found[0]]
        there = not isinstance(picture, FilePicture) or os.path.isfile(picture.path)
        return found if there else None

    def picture(self, name: str) -> Picture:
        """Return the picture of an id."""
        return self._pictures[name]

    def not_found_text(self) -> str:
        """Return the words that say that an id is not found."""
        if self.holds:
            return f"not in {self.source}"
        return f"not in {self.source} with a file under {self._starts[0]} or the working directory"

    def _index_rows(self, content: Content, table: ArrowTable, key: str | None, names: Sequence[str]) -> None:
        """Index the rows of a binary file; pictures are compared only where an id repeats."""
        cells = ArrowCells(content, self.column)
        again: dict[str, list[int]] = {}
        paths = cells.paths()
        for place, position, name in self._row_ids(table, key, names, ()):
            self._add_alias(next(paths, None) or "", name)
            if name in self._pictures:
                again.setdefault(name, [_row_of(self._pictures[name])]).append(place)
                continue
            called = cell_name(self.source, table.unit, position, self.column, name)
            self._pictures[name] = ArrowPicture(cells, place, called, self._starts)
        digests = {row: _cell_digest(cells.at(row)) for row in sorted(row for rows in again.values() for row in rows)}
        for name, rows in again.items():
            other = next((row for row in rows if digests[row] != digests[rows[0]]), None)
            if other is not None:
                refuse_differing_cells(self.source, table.unit, name, (rows[0] + 1, other + 1))

    def _index_cells(self, content: Content, table: Table, key: str | None, names: Sequence[str]) -> None:
        """Index the cells of a text file: each picture by its place in the text, or by its path."""
        first: dict[str, tuple[bytes, int]] = {}
        referring: dict[str, tuple[str, str]] = {}
        with _Base64Finder(content) as finder:

            def note(place: int, position: int, name: str, value: object) -> None:
                digest, before = first.setdefault(name, (_cell_digest(value), position))
                if before != position:
                    if digest != _cell_digest(value):
                        refuse_differing_cells(self.source, table.unit, name, (before, position))
                    return
                called = cell_name(self.source, table.unit, position, self.column, name)
                if self.holds and isinstance(value, str) and 0 < len(value) < _SHORTEST and not is_base64(value):
                    referring[name] = value, called
                self._pictures[name] = finder.picture(value, called) or cell_picture(value, called, self._starts)

            for _ in self._row_ids(table, key, names, (self.column,), note):
                pass
        for name, (other, _) in referring.items():
            if other in self._pictures and other not in referring:
                self._pictures[name] = self._pictures[other]

    def _row_ids(
        self,
        table: Table,
        key: str | None,
        names: Sequence[str],
        more: Sequence[str],
        note: Callable[[int, int, str, object], None] | None = None,
    ) -> Iterator[tuple[int, int, str]]:
        """Yield the place, the position and the id of each row, and add the row's other names to the aliases.

        If ``note`` is given, it is called with the place, the position, the id, and the row's cell in the first column
        of ``more``.
        """
        asked = list(dict.fromkeys([*([] if key is None else [key]), *names, *more]))
        asked = asked or [next((name for name in table.names if name != self.column), self.column)]
        places = {name: place for place, name in enumerate(asked)}
        for place, (position, cells) in enumerate(table.rows(asked)):
            raw = place + 1 if key is None else cells[places[key]]
            if isinstance(raw, dict):
                raw = raw.get("path")
            name = None if raw is ABSENT else id_text(raw)
            if name is None:
                raise InputError(f'{self.source}, {table.unit} {position}: there is no id in the column "{key}"')
            for other in names:
                alias = cells[places[other]]
                alias = alias.get("path") if isinstance(alias, dict) else alias
                if isinstance(alias, str) and not is_base64(alias):
                    self._add_alias(alias, name)
            if note is not None:
                note(place, position, name, cells[places[more[0]]])
            yield place, position, name

    def _add_alias(self, alias: str, name: str) -> None:
        """Add another name of an id to the aliases; a name that two ids share identifies neither."""
        if alias and self._aliases.setdefault(alias, name) != name:
            self._aliases[alias] = None


def picture_column(table: Table, image_column: str | None) -> str:
    """Return the column of a table that holds pictures, or the paths of pictures.

    Args:
        table: The table.
        image_column: The column that the user names, or None.

    Raises:
        InputError: If there is no such column, or if two columns hold pictures.
    """
    if image_column is not None:
        return named_column(image_column, table.names, table.source, "--image-column")
    holding = picture_columns(table)
    if len(holding) > 1:
        several = " or ".join(f'"{name}"' for name in holding[:4])
        raise InputError(f"{table.source}: the pictures could be the column {several}; say which with --image-column")
    if holding:
        return holding[0]
    files = [name for name in table.names if role_of(name) is Role.FILE]
    if not files:
        raise InputError(absent_column_text(table.source, "pictures", table.names, "--image-column"))
    starts = (str(Path(table.source).parent), "")
    return next((name for name in files if _names_files(table, name, starts)), files[0])


def picture_columns(table: Table, image_column: str | None = None) -> list[str]:
    """Return the columns that hold pictures themselves.

    Columns with a usual name for pictures come first; only if none of them holds pictures, columns with unknown names
    are taken.
    """
    if image_column is not None:
        names = [named_column(image_column, table.names, table.source, "--image-column")]
        return [name for name in names if holds_pictures(table, name)]
    files = [name for name in table.names if role_of(name) is Role.FILE]
    others = [name for name in table.names if role_of(name) is None]
    return [n for n in files if holds_pictures(table, n)] or [n for n in others if holds_pictures(table, n)]


def holds_pictures(table: Table, column: str) -> bool:
    """Return whether the first rows of a column hold pictures themselves."""
    return any(is_encoded(values[0]) for values in table.head([column]))


def _names_files(table: Table, column: str, starts: Sequence[str]) -> bool:
    values = [value.get("path") if isinstance(value, dict) else value for (value,) in table.head([column])]
    return any(isinstance(value, str) and os.path.isfile(resolve_path(value, starts)) for value in values)


def _row_of(picture: Picture) -> int:
    return picture.row if isinstance(picture, ArrowPicture) else 0


def _cell_digest(value: Any) -> bytes:
    """Return a digest of a cell, which is equal for equal cells."""
    held = value.get("bytes") or value.get("path") if isinstance(value, dict) else value
    data = held if isinstance(held, bytes) else repr(held).encode(errors="surrogatepass")
    return hashlib.blake2b(data, digest_size=16).digest()


class _Base64Finder:
    """Finds base64 in the bytes of a text file, so that the text need not be kept in memory.

    The bytes that are found equal the cell, byte for byte. A cell that the file spells in another way (JSON may escape
    a slash) is not found, nor is a cell in a compressed file.
    """

    def __init__(self, content: Content) -> None:
        self._path = str(content.paths[0])
        self._plain = content.kind == "text"
        self._map: mmap.mmap | None = None
        self._next = 0  # the search starts at the last find, since pictures stand in the order of the rows

    def __enter__(self) -> _Base64Finder:
        if self._plain and os.path.isfile(self._path):
            with open(self._path, "rb") as stream:
                self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            self._plain = self._map[:2] != b"\x1f\x8b"
        return self

    def __exit__(self, *_: object) -> None:
        if self._map is not None:
            self._map.close()

    def picture(self, value: object, name: str) -> TextPicture | None:
        """Return the picture by its place in the file; None if the cell is no base64, or is not found in the file."""
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if isinstance(value, dict):
            value = value.get("bytes")
        if self._map is None or not self._plain or not isinstance(value, str) or not is_base64(value):
            return None
        wanted = value.encode(errors="surrogatepass")
        offset = self._map.find(wanted, self._next)
        if offset < 0:
            # A file that spells one cell in another way spells all of them so, and each search would read all of it.
            self._plain = False
            return None
        self._next = offset  # if the next cell is the same, it is found at the same place and is encoded only once
        return TextPicture(self._path, offset, len(wanted), name)
