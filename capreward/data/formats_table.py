"""Tables with named columns: CSV, TSV and parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator

from capreward.data.columns import MISSING_CELLS, Columns, add_alias, choose
from capreward.data.files import Content, cause
from capreward.data.formats_text import each_line
from capreward.data.rows import Options, Parsed, id_text
from capreward.errors import InputError

BATCH_ROWS = 65_536


def read_csv(content: Content, options: Options) -> Parsed:
    """Read comma-separated values with a header row, quoted as the csv module and spreadsheets do."""
    return _read_delimited(content, options, ",")


def read_tsv(content: Content, options: Options) -> Parsed:
    """Read tab-separated values with a header row."""
    return _read_delimited(content, options, "\t")


def _read_delimited(content: Content, options: Options, separator: str) -> Parsed:
    source = content.source
    lines = _cells(content.text, source, separator)
    names = next(lines, (1, []))[1]
    repeated = next((name for name in names if name and names.count(name) > 1), None)
    if repeated is not None:
        raise InputError(f'{source} has two columns named "{repeated}"; rename one')
    columns = choose(names, options, source)
    id_place, value_place = names.index(columns.id), names.index(columns.value)
    alias_place = names.index(columns.alias) if columns.alias else None
    aliases: dict[str, str | None] = {}

    def rows() -> Iterator[tuple[int, object, object]]:
        for line, cells in lines:
            if len(cells) != len(names):
                raise InputError(
                    f"{source}, line {line}: {_count(len(cells), 'cell')} where the header has "
                    f"{_count(len(names), 'column')}; quote cells that hold the separator"
                )
            for place, name in ((id_place, columns.id), (value_place, columns.value)):
                if cells[place] in MISSING_CELLS:
                    raise InputError(_missing_cell(source, line, name, cells[place]))
            if alias_place is not None:
                add_alias(aliases, cells[alias_place], cells[id_place])
            yield line, cells[id_place], _cell_value(cells[value_place], columns, source, line)

    return Parsed(rows(), "line", aliases, uniform=False)


def _cells(text: str, source: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(each_line(text, ends=True), delimiter=separator, strict=True)
    line = 1
    try:
        for cells in reader:
            # A quote that opens a TSV caption and is closed by another line's would swallow the rows in between.
            if separator == "\t" and any("\t" in cell for cell in cells):
                raise InputError(
                    f'{source}, line {line}: a cell that starts with a quote (") runs on over tabs; double the quotes'
                )
            if cells:
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"{source}, from line {line}: the quoting is broken ({error}); inside a quoted cell write each quote twice"
        ) from error


def _missing_cell(source: str, line: int, name: str, cell: str) -> str:
    found = f'"{cell}"' if cell else "empty"
    return (
        f'{source}, line {line}: the cell of column "{name}" is {found}, which tables use for a missing value; '
        "fill it, or use JSON if the model said nothing there"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _cell_value(cell: str, columns: Columns, source: str, line: int) -> object:
    """Read a cell of references: a JSON list, or one reference as it stands."""
    start = cell.lstrip()
    if not columns.is_references or not start.startswith(('["', "['", "[]")):
        return cell
    try:
        return json.loads(cell)
    except ValueError as error:
        raise InputError(
            f'{source}, line {line}: the list in column "{columns.value}" is not JSON ({error}); '
            "write it with json.dumps"
        ) from None


def read_parquet(content: Content, options: Options) -> Parsed:
    """Read a parquet file; only the columns needed are decoded.

    Raises:
        InputError: If pyarrow is not installed or the file is damaged.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise InputError(
            f"{content.source} is a parquet file, which needs: pip install 'capreward[parquet]'"
        ) from error
    try:
        table = pq.ParquetFile(pa.BufferReader(content.data))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{content.source} is a damaged parquet file ({cause(error)}); write it again") from error
    columns = choose(list(table.schema_arrow.names), options, content.source)
    wanted = [columns.id, columns.value] + ([columns.alias] if columns.alias else [])
    aliases: dict[str, str | None] = {}

    def rows() -> Iterator[tuple[int, object, object]]:
        place = 0
        try:
            for batch in table.iter_batches(batch_size=BATCH_ROWS, columns=wanted):
                lists = [batch.column(name).to_pylist() for name in wanted]
                for cells in zip(*lists, strict=True):
                    place += 1
                    if columns.alias and isinstance(cells[2], str):
                        add_alias(aliases, cells[2], id_text(cells[0]))
                    yield place, cells[0], cells[1]
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise InputError(f"{content.source} is a damaged parquet file ({cause(error)}); write it again") from error

    return Parsed(rows(), "row", aliases)
