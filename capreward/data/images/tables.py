"""Pictures in the columns of a table: Hugging Face's exports, base64 in TSV, columns of bytes or of paths."""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from capreward.data.columns import ROW, absent_column_text, choose_identity, named_column
from capreward.data.file_content import Content, load_content
from capreward.data.image_ids import IdIndex
from capreward.data.images.arrow_cells import ArrowCells
from capreward.data.images.cells import (
    ArrowPicture,
    TextPicture,
    cell_name,
    cell_picture,
    is_base64,
    is_encoded,
    path_of,
    refuse_differing,
)
from capreward.data.images.folder import is_picture_name
from capreward.data.images.pictures import FilePicture, Picture
from capreward.data.images.shards import names_shards
from capreward.data.roles import Role, role_of
from capreward.data.rows import Options, id_text
from capreward.data.table_files import open_table
from capreward.data.tables import ABSENT, ArrowTable, Table
from capreward.errors import InputError

_SHORTEST = 64  # characters; a shorter cell among base64 may be the id of the row that has the picture (VLMEvalKit)


def names_table(source: str) -> bool:
    """Whether a source is a file that may be a table, and not shards or a picture."""
    return os.path.isfile(source) and not names_shards(source) and not is_picture_name(os.path.basename(source))


class PictureTable:
    """The pictures of a table by the ids of their rows. None is decoded, and of binary files none is read, until asked.

    Args:
        path: a file in any format with named columns.
        id_column: of ids, if it is not a usual one; ``"row"`` for the number of the row.
        image_column: of pictures or of their paths, if it is not a usual one.
        numbered: where there are no ids the numbers of the rows are ids: nothing else has to be matched.

    Attributes:
        source: as the user wrote it.
        column: of the pictures.
        id: what the ids are taken from.
        holds: the table holds the pictures themselves, not paths of them.

    Raises:
        InputError: no table, no column of pictures or two of them, no ids, or two pictures under one id.
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
            self._keep_rows(content, table, key, others)
        else:
            self._keep_cells(content, table, key, others)
        if not self._pictures:
            raise InputError(f"{self.source} holds no rows, and so no pictures")
        known = {alias: key for alias, key in self._aliases.items() if key is not None and alias not in self._pictures}
        self._ids = IdIndex(self._pictures, known, self.source)

    def __len__(self) -> int:
        return len(self._pictures)

    @property
    def names(self) -> list[str]:
        """The ids."""
        return list(self._pictures)

    def find(self, key: str) -> tuple[str, str] | None:
        """Find the id that another one means, and how; None where there is none, or where its file is not there.

        Raises:
            InputError: two pictures could be meant.
        """
        found = self._ids.find(key)
        if found is None:
            return None
        picture = self._pictures[found[0]]
        there = not isinstance(picture, FilePicture) or os.path.isfile(picture.path)
        return found if there else None

    def picture(self, name: str) -> Picture:
        """The picture of an id."""
        return self._pictures[name]

    def lacking(self) -> str:
        """What is said of an id that is not found."""
        if self.holds:
            return f"not in {self.source}"
        return f"not in {self.source} with a file under {self._starts[0]} or the working directory"

    def _keep_rows(self, content: Content, table: ArrowTable, key: str | None, names: Sequence[str]) -> None:
        """Note the rows of a binary file; only where an id repeats are its pictures compared."""
        cells = ArrowCells(content, self.column)
        again: dict[str, list[int]] = {}
        paths = cells.paths()
        for place, position, name in self._ids_of(table, key, names, ()):
            self._call(next(paths, None) or "", name)
            if name in self._pictures:
                again.setdefault(name, [_row_of(self._pictures[name])]).append(place)
                continue
            called = cell_name(self.source, table.unit, position, self.column, name)
            self._pictures[name] = ArrowPicture(cells, place, called, self._starts)
        digests = {row: _digest(cells.at(row)) for row in sorted(row for rows in again.values() for row in rows)}
        for name, rows in again.items():
            other = next((row for row in rows if digests[row] != digests[rows[0]]), None)
            if other is not None:
                refuse_differing(self.source, table.unit, name, (rows[0] + 1, other + 1))

    def _keep_cells(self, content: Content, table: Table, key: str | None, names: Sequence[str]) -> None:
        """Note where in a text each picture stands, or its path."""
        first: dict[str, tuple[bytes, int]] = {}
        referring: dict[str, tuple[str, str]] = {}
        with _Finder(content) as finder:

            def note(place: int, position: int, name: str, value: object) -> None:
                digest, before = first.setdefault(name, (_digest(value), position))
                if before != position:
                    if digest != _digest(value):
                        refuse_differing(self.source, table.unit, name, (before, position))
                    return
                called = cell_name(self.source, table.unit, position, self.column, name)
                if self.holds and isinstance(value, str) and 0 < len(value) < _SHORTEST and not is_base64(value):
                    referring[name] = value, called
                self._pictures[name] = finder.picture(value, called) or cell_picture(value, called, self._starts)

            for _ in self._ids_of(table, key, names, (self.column,), note):
                pass
        for name, (other, _) in referring.items():
            if other in self._pictures and other not in referring:
                self._pictures[name] = self._pictures[other]

    def _ids_of(
        self,
        table: Table,
        key: str | None,
        names: Sequence[str],
        more: Sequence[str],
        note: Callable[[int, int, str, object], None] | None = None,
    ) -> Iterator[tuple[int, int, str]]:
        """Yield place, position and id of each row, and note its other names and, with ``note``, a further cell."""
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
                    self._call(alias, name)
            if note is not None:
                note(place, position, name, cells[places[more[0]]])
            yield place, position, name

    def _call(self, alias: str, name: str) -> None:
        """Note another name of an id; one that two ids share is none."""
        if alias and self._aliases.setdefault(alias, name) != name:
            self._aliases[alias] = None


def picture_column(table: Table, image_column: str | None) -> str:
    """The column of a table that holds pictures, or the paths of pictures.

    Raises:
        InputError: there is none, or two hold pictures.
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
    """The columns that hold pictures themselves: those whose names say so, else any whose names say nothing."""
    if image_column is not None:
        names = [named_column(image_column, table.names, table.source, "--image-column")]
        return [name for name in names if holds_pictures(table, name)]
    files = [name for name in table.names if role_of(name) is Role.FILE]
    others = [name for name in table.names if role_of(name) is None]
    return [n for n in files if holds_pictures(table, n)] or [n for n in others if holds_pictures(table, n)]


def holds_pictures(table: Table, column: str) -> bool:
    """Whether the first rows of a column hold pictures themselves."""
    return any(is_encoded(values[0]) for values in table.head([column]))


def _names_files(table: Table, column: str, starts: Sequence[str]) -> bool:
    values = [value.get("path") if isinstance(value, dict) else value for (value,) in table.head([column])]
    return any(isinstance(value, str) and os.path.isfile(path_of(value, starts)) for value in values)


def _row_of(picture: Picture) -> int:
    return picture.row if isinstance(picture, ArrowPicture) else 0


def _digest(value: Any) -> bytes:
    """Equal for equal cells."""
    held = value.get("bytes") or value.get("path") if isinstance(value, dict) else value
    data = held if isinstance(held, bytes) else repr(held).encode(errors="surrogatepass")
    return hashlib.blake2b(data, digest_size=16).digest()


class _Finder:
    """Finds base64 in the bytes of a text file, so that the text need not be kept.

    Whatever is found equals the cell, byte for byte. What a file spells otherwise (JSON may escape a slash) and what
    lies in a compressed file is not found.
    """

    def __init__(self, content: Content) -> None:
        self._path = str(content.paths[0])
        self._plain = content.kind == "text"
        self._map: mmap.mmap | None = None
        self._next = 0  # pictures stand in the file in the order of the rows

    def __enter__(self) -> _Finder:
        if self._plain and os.path.isfile(self._path):
            with open(self._path, "rb") as stream:
                self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            self._plain = self._map[:2] != b"\x1f\x8b"
        return self

    def __exit__(self, *_: object) -> None:
        if self._map is not None:
            self._map.close()

    def picture(self, value: object, name: str) -> TextPicture | None:
        """The picture at its place; None where it is not base64, or not found as it is written."""
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if isinstance(value, dict):
            value = value.get("bytes")
        if self._map is None or not self._plain or not isinstance(value, str) or not is_base64(value):
            return None
        wanted = value.encode(errors="surrogatepass")
        offset = self._map.find(wanted, self._next)
        if offset < 0:
            self._plain = False  # a file that spells one otherwise spells all so, and looking takes its whole length
            return None
        self._next = offset  # one that follows and is the same has the same place, and is encoded once
        return TextPicture(self._path, offset, len(wanted), name)
