"""The recognition of text files that are no JSON: a table, captions with ids, or plain captions.

If two readings are possible, the error names both.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePath

from capreward.data.file_content import Content
from capreward.data.formats.delimited import ID_LINE, SEPARATORS, is_id_header
from capreward.data.formats.text import TOKEN_LINE, each_line
from capreward.data.roles import Role, is_column_name, is_media_name, role_of
from capreward.data.rows import Options
from capreward.errors import InputError

SAMPLE = 1000  # the number of lines by which a file is recognised
TABLE_SUFFIXES = {".csv": "csv", ".tsv": "tsv", ".psv": "psv", ".tab": "tsv"}
_NAME = re.compile(r"[^\"'\[\]{}]{0,60}")
_NAMES_OF_SEPARATORS = {"csv": "a comma", "tsv": "a tab", "psv": '"|"', "ssv": "a semicolon"}
_CODE = re.compile(r"(?=\S*\d)[\w.#/\\:-]+")


@dataclass(frozen=True)
class _Split:
    """The lines of a file, split at one separator.

    Attributes:
        format: The format that has this separator.
        width: The number of cells that most lines have.
        share: The share of the lines that have this number of cells, in 0 to 1.
        rows: The cells of each line.
    """

    format: str
    width: int
    share: float
    rows: list[list[str]]

    def first_uneven_line(self) -> int:
        """Return the first line with another number of cells, counted from 0 among the lines that are not blank."""
        return next(n for n, row in enumerate(self.rows) if len(row) != self.width)


def recognise_text(content: Content, options: Options) -> str:
    """Name the format of a text that is no JSON.

    Raises:
        InputError: If the text looks like a table that no rule knows, or if two readings are possible.
    """
    text, source = content.text, content.source
    if "\n" not in text and "\r" in text.rstrip():
        raise InputError(f"{source} ends its lines with carriage returns alone; write it with line feeds")
    lines = [line for line in islice(each_line(text), SAMPLE) if line.strip()]
    if TOKEN_LINE.fullmatch(lines[0]):
        return "flickr-token"
    for name, separator in (("tsv", "\t"), ("csv", ","), ("psv", "|"), ("ssv", ";")):
        if _is_header(lines, name, separator, options):
            return name
    suffix = TABLE_SUFFIXES.get(_suffix(source))
    found = _table_format(lines, content, suffix)
    if found is not None:
        return found
    if suffix is not None:
        return _format_of_suffix(lines, suffix, source)
    if "\t" in lines[0]:
        raise InputError(_no_header_text(source, "the first line holds a tab"))
    if (
        len(lines[0].split()) == 1
        and is_column_name(lines[0])
        and role_of(lines[0]) is not Role.FILE
        and len(lines) > 1
    ):
        raise InputError(
            f'{source} begins with the line "{lines[0].strip()}", which names a column or is a caption; '
            "pass --format csv if it names a column, --format text if it is a caption"
        )
    return _id_text_format(lines, source) or "text"


def _suffix(source: str) -> str:
    return PurePath(source.removesuffix(".gz")).suffix.lower()


def cells_of(line: str, separator: str) -> list[str]:
    """Return the cells of one line."""
    if separator == "|":
        return line.split("|")
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return line.split(separator)


def _is_header(lines: Sequence[str], name: str, separator: str, options: Options) -> bool:
    cells = cells_of(lines[0], separator)
    given = {name for name in (options.id_column, *options.caption_columns, options.image_column) if name}
    if given & {cell.strip() for cell in cells}:
        return True
    if len(cells) < 2 or not all(_NAME.fullmatch(cell) and cell.strip().count(" ") < 3 for cell in cells):
        return False
    known = sum(is_column_name(cell) for cell in cells)
    if known >= 2 or (known and separator != ","):
        return True
    # With one known word among commas, the line may be a caption, such as "a man, image"; the next line decides.
    return bool(known) and (len(lines) == 1 or len(cells_of(lines[1], separator)) == len(cells))


def _table_format(lines: Sequence[str], content: Content, suffix: str | None) -> str | None:
    """Name the format of a table without known names of columns; None for lines that are no table."""
    source = content.source
    for name, separator in (("tsv", "\t"), ("psv", "|"), ("ssv", ";"), ("csv", ",")):
        split = _split_lines(lines, name, separator)
        if split.width < 2 or split.share < 0.8:
            continue
        body = [row for row in split.rows[1:] if len(row) == split.width] or split.rows
        if not _all_ids([row[0] for row in body]):
            continue
        if split.share < 1:
            line = lines[split.first_uneven_line()]
            raise InputError(
                f"{source} looks like a table ({split.width} cells at {_NAMES_OF_SEPARATORS[name]}), but the line "
                f'"{line[:40]}" has {len(split.rows[split.first_uneven_line()])}; repair it, or pass --format text'
            )
        if not _is_id(split.rows[0][0]):
            return name  # the header has unknown names, which the choice of columns will refuse
        return _headerless_format(split, content, suffix)
    return None


def _headerless_format(split: _Split, content: Content, suffix: str | None) -> str:
    """Name the format of a table whose first row is no header, or refuse the table."""
    where = f"{split.width} cells at {_NAMES_OF_SEPARATORS[split.format]}"
    if split.width > 2:
        raise InputError(_no_header_text(content.source, where))
    sure = split.format != "csv" or suffix is not None or all(_is_file_name(row[0]) for row in split.rows)
    if not sure:
        raise InputError(
            f"{content.source} could be a table of ids and captions without a header row ({where}), or plain captions; "
            'add a header row such as "image_id,caption", or pass --format text'
        )
    content.bare = True
    return split.format


def _split_lines(lines: Sequence[str], name: str, separator: str) -> _Split:
    if separator not in lines[0]:
        return _Split(name, 1, 1.0, [])
    rows = [cells_of(line, separator) for line in lines]
    width, count = Counter(map(len, rows)).most_common(1)[0]
    return _Split(name, width, count / len(rows), rows)


def _format_of_suffix(lines: Sequence[str], suffix: str, source: str) -> str:
    """Name the format of a file by its suffix, which says that it is a table; its first line must name a column."""
    cells = cells_of(lines[0], SEPARATORS[suffix])
    if len(cells) == 1 and not is_column_name(cells[0]):
        raise InputError(
            f"{source} is called a table, but its first line names no column that is known; add a header row such as "
            f'"image_id{SEPARATORS[suffix]}caption", or pass --format text if it holds one caption per line'
        )
    return suffix


def _id_text_format(lines: Sequence[str], source: str) -> str | None:
    """Return ``id-text`` if the first word of every line is an id, and None if it is a word of the caption."""
    if is_id_header(lines[0]):
        return "id-text"
    first = [found[1] if (found := ID_LINE.fullmatch(line)) else line for line in lines]
    if not all(_is_id(word) for word in first) or not any(" " in line.strip() for line in lines):
        return None
    if all(_is_file_name(word) for word in first):
        return "id-text"
    if len(lines) == 1 and first[0].strip(".:,)").isdigit():
        return None  # "2 dogs run"
    raise InputError(
        f'{source}: every line begins with what could be an id ("{first[0][:30]}"), a blank and a caption, or the '
        "lines are captions; pass --format id-text if they begin with ids, --format text if they do not"
    )


def _all_ids(words: Sequence[str]) -> bool:
    return bool(words) and sum(map(_is_id, words)) >= 0.95 * len(words)


def _is_id(word: str) -> bool:
    """Return whether a word looks like an id: the name of a file, or one word with a digit in it."""
    word = word.strip()
    return _is_file_name(word) or _CODE.fullmatch(word) is not None


def _is_file_name(word: str) -> bool:
    return is_media_name(re.sub(r"#\d+$", "", word.strip()))


def _no_header_text(source: str, where: str) -> str:
    return (
        f'{source} looks like a table without a header row ({where}); add one such as "image_id<TAB>caption", '
        f"or pass --format text"
    )
