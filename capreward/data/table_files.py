"""Any file with named columns as a table, whatever is to be read out of it."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

from capreward.data.file_content import Content
from capreward.data.formats.delimited import delimited_table
from capreward.data.formats.json_files import lines_table
from capreward.data.formats.json_layouts import columns_in, records_in
from capreward.data.formats.registry import recognise
from capreward.data.roles import Role, role_of
from capreward.data.rows import Options
from capreward.data.tables import ArrowTable, ColumnTable, KeyedTable, RecordTable, Table


def open_table(content: Content, options: Options) -> Table | None:
    """The table that a file holds; None where it has no named columns (plain captions, shards).

    Args:
        content: The file.
        options: The user's own names of columns, which tell a header row.

    Raises:
        InputError: A file that is damaged, or that could be read in two ways.
    """
    name = recognise(content, options)
    if name in ("csv", "tsv", "psv", "ssv", "finecapeval"):
        return delimited_table(content, "csv" if name == "finecapeval" else name, options)
    reader = _READERS.get(name)
    return None if reader is None else reader(content)


def _records(content: Content) -> Table | None:
    rows = content.json()
    if not isinstance(rows, list) or not isinstance(rows[0], dict):
        return None
    return RecordTable(enumerate(rows, 1), "row", content.source)


def _wrapped(content: Content) -> Table:
    _, records = records_in(content.json(), content.source)
    return RecordTable(enumerate(records, 1), "row", content.source)


def _images(content: Content) -> Table | None:
    """The images that COCO's annotations list beside the captions."""
    value = content.json()
    images = value.get("images") if isinstance(value, dict) else None
    return RecordTable(enumerate(images, 1), "image", content.source) if isinstance(images, list) and images else None


def _keyed(content: Content) -> Table | None:
    """Records by their ids; columns without captions, which look like lists of captions by their ids, are columns."""
    value = content.json()
    if not isinstance(value, dict):
        return None
    if all(isinstance(item, list) for item in value.values()):
        return _columns(content) if any(role_of(name) is Role.FILE for name in value) else None
    return KeyedTable(value, content.source) if all(isinstance(item, dict) for item in value.values()) else None


def _columns(content: Content) -> Table:
    return ColumnTable(columns_in(content.json(), content.source), content.source)


_READERS: MappingProxyType[str, Callable[[Content], Table | None]] = MappingProxyType(
    {
        "parquet": ArrowTable,
        "arrow": ArrowTable,
        "jsonl": lines_table,
        "list": _records,
        "coco-results": _records,
        "wrapped": _wrapped,
        "columns": _columns,
        "coco": _images,
        "dict": _keyed,
    }
)
