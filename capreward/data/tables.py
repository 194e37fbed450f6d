"""Tables from any file: named columns, and rows that can be read as often as needed, a few columns at a time."""

from __future__ import annotations

import csv
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from capreward.data.file_content import Content, cause
from capreward.data.formats.text import each_line
from capreward.data.rows import describe
from capreward.errors import InputError

BATCH_ROWS = 65_536
BATCH_BYTES = 32 << 20  # of a batch of rows, of which one alone may hold a picture
LONGEST_CELL = 1 << 27  # characters: a picture of 100 MB in base64
HEAD_ROWS = 50  # rows that show what a column holds
MOST_COLUMNS = 10_000


class _Absent:
    """The value of a column that a record does not have."""

    def __repr__(self) -> str:
        return "absent"


ABSENT = _Absent()
Row = tuple[int, tuple[object, ...]]


class Table(ABC):
    """Named columns of one file.

    Attributes:
        source: The file, for messages.
        unit: What positions count: ``"row"``, ``"line"``, ``"entry"``, ...
        names: The columns as the file spells them.
        textual: All cells are text, so that a list must be spelt in a cell.
        one_way: All rows hold one caption, or all hold a list.
    """

    source: str
    unit: str
    names: list[str]
    textual = False
    one_way = True

    @abstractmethod
    def rows(self, names: Sequence[str]) -> Iterator[Row]:
        """The rows as (position, values of the columns), in file order; ABSENT where a record lacks a column."""

    def head(self, names: Sequence[str]) -> list[tuple[object, ...]]:
        """The values of the first rows."""
        return [values for _, values in islice(self.rows(names), HEAD_ROWS)]

    def left_out(self) -> list[str]:
        """What the last reading passed over, one phrase each."""
        return []

    def names_at(self, position: int) -> list[str]:
        """The columns that the row at a position has."""
        return self.names


class RecordTable(Table):
    """JSON objects that name their columns.

    Args:
        records: ``(position, object)`` pairs.
        unit: What a position counts.
        source: The file, for messages.

    Raises:
        InputError: A row that is no object.
    """

    def __init__(self, records: Iterable[tuple[int, object]], unit: str, source: str) -> None:
        self.source = source
        self.unit = unit
        self.records = [(position, as_record(item, position, unit, source)) for position, item in records]
        names: dict[str, None] = {}
        for _, record in self.records:
            names.update(dict.fromkeys(record))
        self.names = list(names)

    def rows(self, names: Sequence[str]) -> Iterator[Row]:
        """The values; a record may lack some."""
        if len(names) == 2:  # results of COCO's kind, of which there are the most
            first, second = names
            for position, record in self.records:
                yield position, (record.get(first, ABSENT), record.get(second, ABSENT))
            return
        for position, record in self.records:
            yield position, tuple([record.get(name, ABSENT) for name in names])

    def names_at(self, position: int) -> list[str]:
        """The keys of the record at a position."""
        return next((list(record) for place, record in self.records if place == position), [])


class KeyedTable(RecordTable):
    """JSON objects under a key each: ``{"42": {"caption": ...}}``; the keys are one more column.

    Args:
        entries: The objects by key.
        source: The file, for messages.
    """

    KEY = "(key)"

    def __init__(self, entries: Mapping[str, object], source: str) -> None:
        super().__init__(enumerate(entries.values(), 1), "entry", source)
        self.records = [
            (place, {self.KEY: key, **record}) for (place, record), key in zip(self.records, entries, strict=True)
        ]
        self.names = [self.KEY, *self.names]


class ColumnTable(Table):
    """Columns of equal length: ``{"image_id": [...], "caption": [...]}``.

    Args:
        columns: The values by column.
        source: The file, for messages.
    """

    def __init__(self, columns: Mapping[str, Sequence[object]], source: str) -> None:
        self.source = source
        self.unit = "row"
        self.names = list(columns)
        self.columns = columns

    def rows(self, names: Sequence[str]) -> Iterator[Row]:
        """The values, row by row."""
        yield from enumerate(zip(*(self.columns[name] for name in names), strict=True), 1)


class DelimitedTable(Table):
    """Text with a separator and a header row, quoted as the csv module and spreadsheets do.

    Args:
        text: The whole text.
        separator: One character.
        source: The file, for messages.
        header: The names of the columns of a table without a header row.
        references: A row that is cut short may be passed over: other references of its image are left.

    Raises:
        InputError: Two columns of one name, or too many.
    """

    textual = True
    one_way = False

    def __init__(
        self, text: str, separator: str, source: str, *, header: Sequence[str] = (), references: bool = False
    ) -> None:
        self.source = source
        self.unit = "line"
        self._text = text
        self._separator = separator
        self._has_header = not header
        self._lenient = references and separator == "|"
        self._broken: list[int] = []
        first = next(self._cells(), (1, []))[1]
        self.names = list(header) or [name.strip() for name in first]
        if len(self.names) > MOST_COLUMNS:
            raise InputError(f"{source} has {len(self.names):,} columns; {MOST_COLUMNS:,} is the most that is read")
        known: set[str] = set()
        for name in self.names:
            if name and name in known:
                raise InputError(f'{source} has two columns named "{name}"; rename one')
            known.add(name)

    def rows(self, names: Sequence[str]) -> Iterator[Row]:
        """The cells of the rows after the header.

        Raises:
            InputError: A row with more or fewer cells than the header, or quotes that do not close.
        """
        places = [self.names.index(name) for name in names]
        width = len(self.names)
        strip = self._separator == "|"
        self._broken = []
        for line, cells in islice(self._cells(), int(self._has_header), None):
            if len(cells) != width:
                if self._lenient and len(cells) < width:
                    self._broken.append(line)
                    continue
                raise InputError(self._ragged(line, len(cells)))
            yield line, tuple([cells[place].strip() if strip else cells[place] for place in places])

    def left_out(self) -> list[str]:
        """The rows that are cut short."""
        if not self._broken:
            return []
        lines = ", ".join(map(str, self._broken[:5])) + (", ..." if len(self._broken) > 5 else "")
        rows = "row" if len(self._broken) == 1 else "rows"
        return [f"{len(self._broken):,} {rows} dropped: too few cells (line {lines})"]

    def _ragged(self, line: int, found: int) -> str:
        advice = "quote cells that hold the separator" if found > len(self.names) else "complete the row"
        return (
            f"{self.source}, line {line}: {_count(found, 'cell')} where the header has "
            f"{_count(len(self.names), 'column')}; {advice}"
        )

    def _cells(self) -> Iterator[tuple[int, list[str]]]:
        separator, source = self._separator, self.source
        if separator == "|":
            # Nobody quotes in tables of this kind: an inch is written 5" in Flickr's captions.
            for number, text in enumerate(each_line(self._text), 1):
                if text.strip():
                    yield number, text.split("|")
            return
        reader = csv.reader(each_line(self._text, ends=True), delimiter=separator, strict=True)
        line = 1
        try:
            for cells in _with_long_cells(reader):
                # A quote that opens a TSV caption and is closed by another line's would swallow the rows in between.
                if separator == "\t" and any("\t" in cell for cell in cells):
                    raise InputError(
                        f'{source}, line {line}: a cell that starts with a quote (") runs on over tabs; '
                        "double the quotes"
                    )
                if cells:
                    yield line, cells
                line = reader.line_num + 1
        except csv.Error as error:
            raise InputError(
                f"{source}, from line {line}: the quoting is broken ({error}); "
                "inside a quoted cell write each quote twice"
            ) from error


class ArrowTable(Table):
    """A Parquet or Arrow file; only the columns needed are decoded.

    Args:
        content: The file.

    Raises:
        InputError: If pyarrow is not installed or the file is damaged.
    """

    def __init__(self, content: Content) -> None:
        self.source = content.source
        self.unit = "row"
        self._kind = content.kind
        try:
            import pyarrow as pa
        except ImportError as error:
            kind = "a parquet file" if content.kind == "parquet" else "an Arrow file"
            raise InputError(f"{content.source} is {kind}, which needs: pip install 'capreward[parquet]'") from error
        self._errors = (pa.ArrowException, OSError, UnicodeDecodeError)
        try:
            self._file = _open_arrow(content)
        except self._errors as error:
            raise self._damaged(error) from error
        self.names = [str(name) for name in (self._file.schema_arrow if self._is_parquet else self._file.schema).names]

    @property
    def _is_parquet(self) -> bool:
        return self._kind == "parquet"

    def rows(self, names: Sequence[str]) -> Iterator[Row]:
        """The values as Python objects; null is None.

        Raises:
            InputError: A damaged file.
        """
        place = 0
        try:
            for batch in self._batches(list(names)):
                lists = [batch.column(name).to_pylist() for name in names]
                for cells in zip(*lists, strict=True):
                    place += 1
                    yield place, cells
        except self._errors as error:
            raise self._damaged(error) from error

    def _batches(self, names: list[str]) -> Iterator[Any]:
        if self._is_parquet:
            size = _batch_rows(_parquet_bytes(self._file.metadata, names), self._file.metadata.num_rows)
            yield from self._file.iter_batches(batch_size=size, columns=names)
        else:
            chosen = self._file.select(names)
            yield from chosen.to_batches(max_chunksize=_batch_rows(chosen.nbytes, chosen.num_rows))

    def _damaged(self, error: Exception) -> InputError:
        kind = "parquet" if self._is_parquet else "Arrow"
        return InputError(f"{self.source} is a damaged {kind} file ({cause(error)}); write it again")


def _batch_rows(size: int, rows: int) -> int:
    """How many rows are read at a time: a column may hold pictures, and 65,536 of them at once do not fit."""
    return max(1, min(BATCH_ROWS, BATCH_BYTES * rows // max(size, 1)))


def _parquet_bytes(metadata: Any, names: Sequence[str]) -> int:
    """The bytes of some columns before compression."""
    wanted, size = set(names), 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        columns = map(group.column, range(group.num_columns))
        size += sum(c.total_uncompressed_size for c in columns if c.path_in_schema.partition(".")[0] in wanted)
    return size


def _open_arrow(content: Content) -> Any:
    import pyarrow as pa

    buffer = pa.BufferReader(content.data) if content.data else pa.memory_map(str(content.paths[0]))
    if content.kind == "parquet":
        import pyarrow.parquet as pq

        return pq.ParquetFile(buffer)
    begins = buffer.read(6)
    buffer.seek(0)
    opened = pa.ipc.open_file(buffer) if begins == b"ARROW1" else pa.ipc.open_stream(buffer)
    table = opened.read_all()
    table.validate()
    return table


def as_record(item: object, position: int, unit: str, source: str) -> Mapping[str, object]:
    """Return the row as a JSON object or raise InputError."""
    if not isinstance(item, dict):
        raise InputError(f"{source}, {unit} {position}: this is {describe(item)}; every {unit} must be an object")
    return item


def _with_long_cells(reader: Iterator[list[str]]) -> Iterator[list[str]]:
    """The rows of a csv reader, whose limit for one cell (131,072 characters) a photo in base64 exceeds.

    The limit belongs to the whole process, so that it is put back before anything else runs.
    """
    while True:
        before = csv.field_size_limit(LONGEST_CELL)
        try:
            cells = next(reader, None)
        finally:
            csv.field_size_limit(before)
        if cells is None:
            return
        yield cells


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
