"""Which columns of a table or of JSON records hold the id and the captions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from capreward.data.rows import Options, Parsed, describe, id_text
from capreward.errors import InputError, shorten

FILE_COLUMNS = ("image", "filename", "file_name", "file", "image_path", "img_path", "media_path", "file_path", "path")
ID_COLUMNS = (
    "image_id", "id", "image", "imgid", "img_id", "imageid", "cocoid", "key", "_id", "seg_id",
    "filename", "file_name", "file", "img", "image_name", "image_path", "img_path", "media_path", "file_path", "path",
)  # fmt: skip
CAPTION_COLUMNS = (
    "caption", "candidate", "candidates", "prediction", "predictions", "predicted_caption", "generated_caption",
    "hypothesis", "hyp", "mt", "generated", "output", "captions", "text", "sentence", "comment",
)  # fmt: skip
REFERENCE_COLUMNS = (
    "references", "reference", "refs", "ref", "ground_truth", "ground_truths", "gts", "gt", "reference_captions",
)  # fmt: skip
MISSING_CELLS = frozenset({"", "nan", "NaN", "None", "null", "NULL", "<NA>"})


@dataclass(frozen=True)
class Columns:
    """The names of the columns to read, as the file spells them.

    Attributes:
        id: Column of ids.
        value: Column of captions or references.
        alias: Column of file names beside the ids, if any.
        is_references: ``value`` is a references column by name.
    """

    id: str
    value: str
    alias: str | None
    is_references: bool


def plain(name: str) -> str:
    """Spell a column name the usual way: ``" Image ID"`` is ``image_id``."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def usual_name(name: str) -> bool:
    """Tell whether a name is one of the columns this module looks for."""
    return plain(name) in {*ID_COLUMNS, *CAPTION_COLUMNS, *REFERENCE_COLUMNS}


def first_of(wanted: Sequence[str], names: Iterable[str]) -> str | None:
    """Return the name that stands first in ``wanted``, as spelt in ``names``."""
    spelt = {plain(name): name for name in reversed(list(names))}
    return next((spelt[name] for name in wanted if name in spelt), None)


def value_column(names: Sequence[str], options: Options, source: str, identity: str | None = None) -> str:
    """Choose the column of captions, or of references when those are read, but never the one of ids.

    Raises:
        InputError: If there is none, with the columns there are.
    """
    if options.caption_column is not None and not options.own_column:
        if options.caption_column not in names:
            raise InputError(_absent(source, f'"{options.caption_column}"', names, options.flag("caption-column")))
        return options.caption_column
    free = [name for name in names if name != identity]
    found = first_of(REFERENCE_COLUMNS, free) if options.references else None
    if found is None and not options.own_column:
        found = first_of(CAPTION_COLUMNS, free)
    if found is None:
        what = "references" if options.references else "captions"
        raise InputError(_absent(source, what, names, options.flag("caption-column")))
    return found


def choose(names: Sequence[str], options: Options, source: str) -> Columns:
    """Choose the columns to read.

    Args:
        names: The columns there are.
        options: The user's own names, if any.
        source: The file, for messages.

    Raises:
        InputError: If the id or the caption column is missing.
    """
    identity = options.id_column if options.id_column is not None else first_of(ID_COLUMNS, names)
    if identity is None or identity not in names:
        raise InputError(
            _absent(source, "ids" if identity is None else f'"{identity}"', names, options.flag("id-column"))
        )
    value = value_column(names, options, source, identity)
    alias = options.image_column
    if alias is not None and alias not in names:
        raise InputError(_absent(source, f'"{alias}"', names, "--image-column"))
    if alias is None:
        alias = first_of(FILE_COLUMNS, [name for name in names if name not in (identity, value)])
    return Columns(identity, value, alias, plain(value) in REFERENCE_COLUMNS)


def _absent(source: str, what: str, names: Sequence[str], option: str) -> str:
    listed = shorten([repr(name) for name in names], 12) or "none"
    return f"{source} has no column for {what}; its columns are {listed}: name one with {option}"


def from_records(records: Iterable[tuple[int, object]], unit: str, options: Options, source: str) -> Parsed:
    """Read JSON objects that name their columns, one per image or caption.

    Args:
        records: ``(position, object)`` pairs; the columns are chosen among the keys of the first thousand.
        unit: What a position counts.
        options: The user's own column names, if any.
        source: The file, for messages.
    """
    stream = iter(records)
    head = list(islice(stream, 1000))
    names: dict[str, None] = {}
    for position, record in head:
        names.update(dict.fromkeys(as_record(record, position, unit, source)))
    columns = choose(list(names), options, source)
    aliases: dict[str, str | None] = {}

    def rows() -> Iterator[tuple[int, object, object]]:
        for source_rows in (head, stream):
            for position, item in source_rows:
                record = as_record(item, position, unit, source)
                raw = _required(record, columns.id, position, unit, source)
                alias = record.get(columns.alias) if columns.alias else None
                if isinstance(alias, str):
                    add_alias(aliases, alias, id_text(raw))
                if columns.is_references and columns.value not in record:
                    yield position, raw, []
                else:
                    yield position, raw, _required(record, columns.value, position, unit, source)

    return Parsed(rows(), unit, aliases)


def add_alias(aliases: dict[str, str | None], alias: str, key: str | None) -> None:
    """Note another name of an id; a name that two ids share (None) identifies neither."""
    if aliases.setdefault(alias, key) != key:
        aliases[alias] = None


def as_record(item: object, position: int, unit: str, source: str) -> Mapping[str, object]:
    """Return the row as a JSON object or raise InputError."""
    if not isinstance(item, dict):
        raise InputError(f"{source}, {unit} {position}: this is {describe(item)}; every {unit} must be an object")
    return item


def _required(record: Mapping[str, object], column: str, position: int, unit: str, source: str) -> object:
    if column not in record:
        there = shorten([repr(name) for name in record], 8) or "nothing"
        raise InputError(f'{source}, {unit} {position} has no "{column}"; it has {there}')
    return record[column]
