"""The recognition of the layout of a parsed JSON file.

An object whose keys could be ids or columns is an error that names both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from capreward.data.columns import column_names_text
from capreward.data.roles import CAPTION_ROLES, ID_ROLES, is_column_name, role_of
from capreward.data.rows import describe
from capreward.data.tables import KeyedTable
from capreward.errors import InputError, shorten

MOST_NAMES = 200  # the keys of an object that are looked at: no record has more columns than that
# Keys under which users put their records, beside facts about the whole file.
_WRAPPERS = """data results predictions outputs items records rows samples captions instances examples generations
responses answers list dataset references val test train"""
WRAPPERS = frozenset(_WRAPPERS.split())


def json_layout(value: object, source: str) -> str:
    """Name the layout of a parsed JSON file.

    Raises:
        InputError: If it is no layout that holds captions, or if it could be two layouts.
    """
    if isinstance(value, list):
        if not value:
            raise InputError(f"{source} is an empty list; it should hold captions")
        first = value[0]
        return "coco-results" if isinstance(first, dict) and {"image_id", "caption"} <= first.keys() else "list"
    if not isinstance(value, dict):
        raise InputError(f"{source} holds only {describe(value)}; it should hold captions")
    if not value:
        raise InputError(f"{source} is an empty object; it should hold captions")
    return _published_layout(value) or _object_layout(value, source)


def _published_layout(value: Mapping[str, Any]) -> str | None:
    """Name the layout of a published file, or return None for any other."""
    if isinstance(value.get("annotations"), list):
        return "coco"
    if isinstance(value.get("videos"), list) and isinstance(value.get("sentences"), list):
        return "msrvtt"
    if isinstance(value.get("imgToEval"), dict):
        return "img-to-eval"
    images = value.get("images")
    if isinstance(images, list) and images and isinstance(images[0], dict):
        return "karpathy" if "sentences" in images[0] else "coco"
    return None


def _object_layout(value: Mapping[str, Any], source: str) -> str:
    if "columns" in value and isinstance(value.get("data"), list):
        return "columns"
    if _are_columns(value):
        return "columns"
    if _record_lists(value) or nested_in(value) is not None:
        return "wrapped"
    names = list(islice(value, MOST_NAMES))
    if any(role_of(name) in CAPTION_ROLES or is_column_name(name) for name in names) and not _all_lists(value):
        return "jsonl"  # one record on its own
    if _could_be_record(value):
        raise InputError(
            f"{source} is one JSON object that could be a record with the columns {column_names_text(list(value))}, or "
            "a mapping from ids to captions; name the columns with --id-column and --caption-column, or pass "
            "--format dict"
        )
    return "dict"


def _all_lists(value: Mapping[str, Any]) -> bool:
    return all(isinstance(item, list) for item in value.values())


def _are_columns(value: Mapping[str, Any]) -> bool:
    """Return whether an object holds columns, one of which has a usual name for captions.

    The columns are lists, or objects that all have the same keys, as pandas writes them.
    """
    names = [role_of(name) for name in islice(value, MOST_NAMES)]
    if not any(role in CAPTION_ROLES for role in names) or (len(value) == 1 and not _all_lists(value)):
        return False
    if _all_lists(value):
        return not _record_lists(value)
    items = list(value.values())
    return all(isinstance(item, dict) and item and item.keys() == items[0].keys() for item in items)


def _record_lists(value: Mapping[str, Any]) -> list[str]:
    """Return the keys under which lists of records lie, unless the keys are ids."""
    found = [name for name, item in value.items() if isinstance(item, list) and item and isinstance(item[0], dict)]
    if _all_lists(value) and not any(name.lower() in WRAPPERS for name in found):
        return []  # {id: [{"caption": ...}, ...]}
    return found


def nested_in(value: Mapping[str, Any]) -> str | None:
    """Return the key of the one object of captions beside other facts, or None if there is no such object.

    An example is ``{"model": ..., "results": {id: caption}}``.
    """
    found = [name for name, item in value.items() if isinstance(item, dict) and item and name.lower() in WRAPPERS]
    lists = any(isinstance(item, list) and item for item in value.values())
    return found[0] if len(found) == 1 and not lists else None


def _could_be_record(value: Mapping[str, Any]) -> bool:
    """Return whether the keys look like names of columns and the values like cells: words, not captions."""
    if len(value) < 2 or not all(isinstance(item, str) for item in value.values()):
        return False
    named = all(name.isidentifier() and not any(c.isdigit() for c in name) for name in value)
    return named and any(len(item.split()) == 1 for item in value.values())


def columns_in(value: object, source: str) -> dict[str, Sequence[object]]:
    """Return the columns of an object, in any of the shapes that pandas writes.

    Raises:
        InputError: If the value is no object of columns, or if the columns have different lengths.
    """
    if not isinstance(value, dict) or not value:
        raise InputError(f"{source} is {describe(value)}; this format is a JSON object of columns")
    if "columns" in value and isinstance(value.get("data"), list):
        return _split_orient(value, source)
    items = list(value.values())
    if all(isinstance(item, dict) for item in items):
        keys = list(items[0])
        index = {} if any(role_of(n) in ID_ROLES for n in value) or _only_numbers_rows(keys) else {KeyedTable.KEY: keys}
        return {**index, **{name: [item[key] for key in keys] for name, item in value.items()}}
    wrong = next((name for name, item in value.items() if not isinstance(item, list)), None)
    if wrong is not None:
        raise InputError(f'{source}: its column "{wrong}" is {describe(value[wrong])}, not a list')
    if len({len(item) for item in items}) > 1:
        lengths = shorten([f'"{name}" ({len(item):,})' for name, item in value.items()], 6)
        raise InputError(f"{source} has columns of different lengths: {lengths}; every column needs one entry per row")
    return dict(value)


def _split_orient(value: Mapping[str, Any], source: str) -> dict[str, Sequence[object]]:
    names, rows = value["columns"], value["data"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f'{source}: its "columns" is not a list of names')
    for place, row in enumerate(rows, 1):
        if not isinstance(row, list) or len(row) != len(names):
            raise InputError(f"{source}, row {place} of its data: it needs {len(names)} cells, one per column")
    index = value.get("index")
    known = any(role_of(name) in ID_ROLES for name in names)
    keys = (
        {}
        if known or not isinstance(index, list) or len(index) != len(rows) or _only_numbers_rows(index)
        else {KeyedTable.KEY: index}
    )
    return {**keys, **{name: [row[place] for row in rows] for place, name in enumerate(names)}}


def _only_numbers_rows(index: Sequence[object]) -> bool:
    """Return whether an index of pandas only numbers the rows."""
    return [str(key) for key in index] == [str(place) for place in range(len(index))]


def records_in(value: object, source: str) -> tuple[str, list[object]]:
    """Return the key of the list of records in an object, and the list.

    Raises:
        InputError: If the object holds no list of records, or if it holds several.
    """
    if not isinstance(value, dict):
        raise InputError(f"{source} is {describe(value)}; this format is a JSON object with a list of records in it")
    found = [name for name, item in value.items() if isinstance(item, list) and item and isinstance(item[0], dict)]
    if len(found) > 1:
        captioned = [n for n in found if any(role_of(column) in CAPTION_ROLES for column in value[n][0])]
        found = captioned if len(captioned) == 1 else found
    if len(found) != 1:
        what = f"several lists of records: {shorten(found, 6)}" if found else "no list of records"
        raise InputError(f"{source} has {what}; take out the list that holds the captions")
    return found[0], value[found[0]]
