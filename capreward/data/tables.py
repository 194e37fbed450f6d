"""Tables of named columns from any file, whose rows can be read as often as needed, a few columns at a time."""

from __future__ import annotations

import csv
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from capreward.data.file_content import Content, error_line
from capreward.data.formats.text import each_line
from capreward.data.rows import describe
from capreward.errors import InputError

BATCH_ROWS = 65_536
BATCH_BYTES = 32 << 20  # the size of a batch of rows; a single row may hold a whole picture
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
    """A table of named columns.

    Attributes:
        source: The file, for messages.
        unit: What positions count: ``"row"``, ``"line"``, ``"entry"``, ...
        names: The names of the columns, as the file spells them.
        textual: True if all cells are text, so that a list must be spelt within a cell.
        one_way: True if either every row must hold one caption or every row must hold a list.
    """

    source: str
    unit: str
    names: list[str]
    textual = False
    one_way = True

    @abstractmethod
    def rows(self, names: Sequence[str]) -> Iterator[Row]:
        """Yield the rows as (position, values of the columns), in file order.

        Args:
            names: The columns to read.

        Yields:
            The position, and one value per column; the value is ABSENT where a record lacks the column.
        """

    def head(self, names: Sequence[str]) -> list[tuple[object, ...]]:
        """Return the values of some columns in the first 50 rows."""
        return [values for _, values in islice(self.rows(names), HEAD_ROWS)]

    def left_out(self) -> list[str]:
        """Return the rows that the last reading passed over, in phrases for the report."""
        return []

    def names_at(self, position: int) -> list[str]:
        """Return the names of the columns that the row at a position has."""
        return self.names


class RecordTable(Table):
    """A table of JSON objects, whose keys are the columns.

    Args:
        records: Pairs of a position and an object.
        unit: What a position counts.
        source: The file, for messages.

    Raises:
        InputError: If a row is no object.
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
        """Yield the rows; the value is ABSENT where a record lacks the column."""
        if len(names) == 2:  # COCO's result files are the most frequent case, and this is faster for them
            first, second = names
            for position, record in self.records:
                yield position, (record.get(first, ABSENT), record.get(second, ABSENT))
            return
        for position, record in self.records:
            yield position, tuple([record.get(name, ABSENT) for name in names])

    def names_at(self, position: int) -> list[str]:
        """Return the keys of the record at a position."""
        return next((list(record) for place, record in self.records if place == position), [])


class KeyedTable(RecordTable):
    """A table of JSON objects by key: ``{"42": {"caption": ...}}``; the keys are one more column.

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
    """A table of columns of equal length: ``{"image_id": [...], "caption": [...]}``.

    Args:
        columns: The values of each column, by its name.
        source: The file, for messages.
    """

    def __init__(self, columns: Mapping[str, Sequence[object]], source: str) -> None:
        self.source = source
        self.unit = "row"
        self.names = list(columns)
        self.columns = columns

    def rows(self, names: Sequence[str]) -> Iterator[Row]:
        """Yield the values of some columns, row by row."""
        yield from enumerate(zip(*(self.columns[name] for name in names), strict=True), 1)


class DelimitedTable(Table):
    """A text table with a separator and a header row, quoted as the csv module and spreadsheets do.

    Args:
        text: The whole text.
        separator: The character between cells.
        source: The file, for messages.
        header: The names of the columns of a table without a header row; empty if the first row names them.
        references: If True, a row of a ``|`` table that is cut short is passed over, since its image has other
            references.

    Raises:
        InputError: If two columns have one name, or if there are more than 10,000 columns.
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
        """Yield the cells of the rows after the header.

        Raises:
            InputError: If a row has more or fewer cells than the header, or if quotes do not close.
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
        """Return a phrase that counts the rows that are cut short, if there are any."""
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
            # Tables of this kind are never quoted, and a caption of Flickr30k may hold a quote: 5" is five inches.
            for number, text in enumerate(each_line(self._text), 1):
                if text.strip():
                    yield number, text.split("|")
            return
        reader = csv.reader(each_line(self._text, ends=True), delimiter=separator, strict=True)
        line = 1
        try:
            for cells in _with_long_cells(reader):
                # If a TSV caption begins with a quote and a later line closes it, the rows in between would be lost.
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
    """The table in a Parquet or Arrow file; only the columns that are read are decoded.

    Args:
        content: The content of the file.

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
        """Yield the values of some columns as Python objects; null is None.

        Raises:
            InputError: If the file is damaged.
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
        return InputError(f"{self.source} is a damaged {kind} file ({error_line(error)}); write it again")


def _batch_rows(size: int, rows: int) -> int:
    """Return the number of rows to read at a time: 65,536 rows with pictures would not fit into memory."""
    return max(1, min(BATCH_ROWS, BATCH_BYTES * rows // max(size, 1)))


def _parquet_bytes(metadata: Any, names: Sequence[str]) -> int:
    """Return the size of some columns before compression, in bytes."""
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
    """Return a row as a JSON object.

    Raises:
        InputError: If the row is no object.
    """
    if not isinstance(item, dict):
        raise InputError(f"{source}, {unit} {position}: this is {describe(item)}; every {unit} must be an object")
    return item


def _with_long_cells(reader: Iterator[list[str]]) -> Iterator[list[str]]:
    """Yield the rows of a csv reader, with a higher limit for one cell.

    The usual limit is 131,072 characters, which a photo in base64 exceeds. The limit holds for the whole process, so
    it is set back before any other code runs.
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
