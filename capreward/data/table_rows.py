"""The reader of every file with named columns: it takes ids and captions out of a table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from capreward.data.cells import MISSING_CELLS, is_true, parse_cell
from capreward.data.columns import Columns, choose_columns, column_names_text, column_span
from capreward.data.file_report import EMPTY_CELL, Findings
from capreward.data.roles import is_picture
from capreward.data.rows import NOTHING, REJECTED, Options, ParsedFile, add_alias, id_text, shown_id, split_rows
from capreward.data.tables import ABSENT, KeyedTable, Table
from capreward.errors import InputError, shorten

# Flickr numbers the captions of an image within the id (image.jpg#0); the file name ends before the number.
_CAPTION_NUMBER = re.compile(r"(\.[A-Za-z0-9]{2,4})#\d+$")


def parse_table(table: Table, options: Options) -> ParsedFile:
    """Read the captions of a table.

    Args:
        table: What the file holds.
        options: The role of the file and the user's own names of columns.

    Raises:
        InputError: If a column is missing, or if two columns could be meant. While the rows are consumed, it is raised
            if a row is broken.
    """
    columns = choose_columns(table, options)
    findings = Findings(id=_id_source(columns), captions=column_span(columns.values), remarks=list(columns.remarks))
    aliases: dict[str, str | None] = {}
    return ParsedFile(
        _TableRows(table, columns, options, findings, aliases),
        table.unit,
        aliases,
        uniform=table.one_way and len(columns.values) == 1,
        aligned=columns.id is None,
        certain=columns.certain,
        findings=findings,
        columns=columns.values,
    )


def _id_source(columns: Columns) -> str:
    """Return what the ids are taken from, for the report on the file."""
    if columns.id is None:
        return "the row number"
    return "the keys" if columns.id == KeyedTable.KEY else columns.id


class _TableRows:
    """Iterates over the rows of a table as (position, id, captions)."""

    def __init__(
        self, table: Table, columns: Columns, options: Options, findings: Findings, aliases: dict[str, str | None]
    ) -> None:
        self.table = table
        self.columns = columns
        self.options = options
        self.findings = findings
        self.aliases = aliases
        self.other_splits: dict[str, None] = {}

    def __iter__(self) -> Iterator[tuple[int, object, object]]:
        columns, options = self.columns, self.options
        marks = [*([columns.split] if columns.split else []), *columns.rejected]
        identity = [columns.id] if columns.id is not None else []
        asked = [*identity, *columns.values, *columns.names, *marks]
        unique = list(dict.fromkeys(asked))
        if len(unique) == 2 and len(columns.values) == 1 and identity and not self.table.textual:
            yield from self._plain_rows(unique)
            return
        places = {name: place for place, name in enumerate(unique)}
        wanted = split_rows(options.split)
        number = 0
        for position, cells in self.table.rows(unique):
            if columns.split is not None and not self._in_split(cells[places[columns.split]], wanted):
                continue
            number += 1
            raw = self._row_id(cells[places[columns.id]], position) if columns.id is not None else number
            rejected = next((name for name in columns.rejected if is_true(cells[places[name]])), None)
            self._note_aliases(cells, places, raw)
            if rejected is not None:
                self.findings.dropped[rejected] += 1
                yield position, raw, REJECTED
                continue
            yield position, raw, self._row_captions([cells[places[name]] for name in columns.values], position)
        self.findings.rows_dropped += self.table.left_out()
        if lacking := sorted(wanted - self.findings.splits.keys()):
            there = shorten([shown_id(name) for name in (*self.findings.splits, *self.other_splits)], 8)
            raise InputError(f"{self.table.source} has no split {' or '.join(map(shown_id, lacking))}; it has {there}")

    def _plain_rows(self, names: Sequence[str]) -> Iterator[tuple[int, object, object]]:
        """Yield the rows of a table with one column of ids, one of captions and no other column that matters.

        COCO's result files are of this kind.
        """
        first = self.columns.id == names[0]
        for position, (one, two) in self.table.rows(names):
            raw, value = (one, two) if first else (two, one)
            plain = isinstance(value, str) and not value.startswith(("[", "(", "array("))
            yield position, self._row_id(raw, position), value if plain else self._cell_captions(value, position, 0)

    def _in_split(self, value: object, wanted: set[str]) -> bool:
        split = str(value)
        there = not wanted or split in wanted
        if there:
            self.findings.splits[split] += 1
        else:
            self.other_splits[split] = None
        return there

    def _row_id(self, raw: object, position: int) -> object:
        table, name = self.table, self.columns.id
        if raw is ABSENT:
            raise InputError(self._absent_column_text(position, str(name)))
        if isinstance(raw, dict) and isinstance(raw.get("path"), str):
            raw = raw["path"]  # the cell is a picture object, which names its file
        if not isinstance(raw, str):
            return raw
        raw = raw.strip() if table.textual else raw
        if table.textual:
            if raw.strip() == "" or raw in MISSING_CELLS:
                raise InputError(self._missing_cell_text(position, str(name), raw))
            if "#" in raw:
                return _CAPTION_NUMBER.sub(r"\1", raw)
        return raw

    def _note_aliases(self, cells: Sequence[object], places: dict[str, int], raw: object) -> None:
        for name in self.columns.names:
            value = cells[places[name]]
            if isinstance(value, dict):
                value = value.get("path")
            if isinstance(value, (str, int)) and not is_picture(value):
                text = id_text(value)
                if text is not None and text not in MISSING_CELLS:
                    add_alias(self.aliases, text, id_text(raw))

    def _row_captions(self, values: Sequence[object], position: int) -> object:
        if len(values) == 1:
            return self._cell_captions(values[0], position, 0)
        found: list[object] = []
        for place, value in enumerate(values):
            gap = isinstance(value, str) and self.table.textual and (not value.strip() or value in MISSING_CELLS)
            if value is None or value is ABSENT or gap or value == "" or value != value:
                self.findings.dropped[EMPTY_CELL] += 1  # the image has fewer captions than there are columns
                continue
            one = self._cell_captions(value, position, place)
            found += one if isinstance(one, list) else [one]
        return found

    def _cell_captions(self, value: object, position: int, place: int) -> object:
        table, name = self.table, self.columns.values[place]
        if value is ABSENT:
            if self.columns.optional:
                return []
            raise InputError(self._absent_column_text(position, name))
        if not isinstance(value, str):
            return value
        if table.textual and value == "" and self.options.references:
            self.findings.dropped[EMPTY_CELL] += 1
            return NOTHING
        if table.textual and value in MISSING_CELLS:
            raise InputError(self._missing_cell_text(position, name, value))
        if not value.lstrip().startswith(("[", "(", "array(")):
            return value
        try:
            found, remark = parse_cell(value, f'{table.source}, {table.unit} {position}, column "{name}"')
        except InputError:
            if table.textual:
                raise
            return value  # JSON has its own lists, so a text that only looks like a list is a model's output
        if remark and remark not in self.findings.remarks:
            self.findings.remarks.append(remark)
        return found

    def _absent_column_text(self, position: int, name: str) -> str:
        there = column_names_text(self.table.names_at(position))
        return f'{self.table.source}, {self.table.unit} {position} has no "{name}"; it has {there}'

    def _missing_cell_text(self, position: int, name: str, cell: str) -> str:
        found = f'"{cell}"' if cell.strip() else "empty"
        return (
            f'{self.table.source}, {self.table.unit} {position}: the cell of column "{name}" is {found}, which tables '
            "use for a missing value; fill it, or use JSON if that is the text"
        )
