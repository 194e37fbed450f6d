"""The opening of any file with named columns as a table, whatever is to be read from it."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

from capreward.data.column_roles import Role, role_of
from capreward.data.file_content import Content
from capreward.data.formats.delimited import delimited_table
from capreward.data.formats.json_files import lines_table
from capreward.data.formats.json_layouts import columns_in, records_in
from capreward.data.formats.registry import recognise
from capreward.data.row_checks import Options
from capreward.data.tables import ArrowTable, ColumnTable, KeyedTable, RecordTable, Table


def open_table(content: Content, options: Options) -> Table | None:
    """Return the table that a file holds, or None if it has no named columns (plain captions, shards).

    Args:
        content: The content of the file.
        options: The user's own names of columns; a first row that holds one of them is a header row.

    Raises:
        InputError: If the file is damaged, or if it could be read in two ways.
    """
    name = recognise(content, options)
    if name in ("csv", "tsv", "psv", "ssv", "finecapeval"):
        return delimited_table(content, "csv" if name == "finecapeval" else name, options)
    reader = _READERS.get(name)
    return None if reader is None else reader(content)


def _record_table(content: Content) -> Table | None:
    rows = content.json()
    if not isinstance(rows, list) or not isinstance(rows[0], dict):
        return None
    return RecordTable(enumerate(rows, 1), "row", content.source)


def _wrapped_table(content: Content) -> Table:
    _, records = records_in(content.json(), content.source)
    return RecordTable(enumerate(records, 1), "row", content.source)


def _image_table(content: Content) -> Table | None:
    """Return the table of the images that COCO's annotations list beside the captions, if there is one."""
    value = content.json()
    images = value.get("images") if isinstance(value, dict) else None
    return RecordTable(enumerate(images, 1), "image", content.source) if isinstance(images, list) and images else None


def _keyed_table(content: Content) -> Table | None:
    """Return the table of records by id, or of columns; None if the file holds neither.

    Columns without captions look like lists of captions by id; a name such as ``file_name`` shows that they are
    columns.
    """
    value = content.json()
    if not isinstance(value, dict):
        return None
    if all(isinstance(item, list) for item in value.values()):
        return _column_table(content) if any(role_of(name) is Role.FILE for name in value) else None
    return KeyedTable(value, content.source) if all(isinstance(item, dict) for item in value.values()) else None


def _column_table(content: Content) -> Table:
    return ColumnTable(columns_in(content.json(), content.source), content.source)


_READERS: MappingProxyType[str, Callable[[Content], Table | None]] = MappingProxyType(
    {
        "parquet": ArrowTable,
        "arrow": ArrowTable,
        "jsonl": lines_table,
        "list": _record_table,
        "coco-results": _record_table,
        "wrapped": _wrapped_table,
        "columns": _column_table,
        "coco": _image_table,
        "dict": _keyed_table,
    }
)
