"""The reader of FineCapEval.csv (Cho et al. 2022): five captions of each image, and phrases for three aspects of it."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from capreward.data.file_content import Content, load_content
from capreward.data.file_report import Findings
from capreward.data.formats.text import each_line
from capreward.data.roles import plain_name
from capreward.data.rows import Options, ParsedFile
from capreward.errors import InputError, shorten
from capreward.text.stemmed_phrases import Stemmer

ASPECTS = ("background", "object", "relation")
COLUMNS = ("image", "caption", *ASPECTS)
ROWS = 5  # annotations per image
SEPARATOR = "\\;"  # the phrases in a cell are separated by these two characters

# What the original's reader of tables takes for a missing cell; to that reader, "None" is a word.
MISSING = frozenset(
    [
        *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>"),
        *("N/A", "NA", "NULL", "NaN", "n/a", "nan", "null"),
    ]
)


@dataclass(frozen=True)
class Annotation:
    """One row: what one person wrote about one image.

    Attributes:
        line: The line where the row starts in the file, counted from 1.
        image: The file name of the image.
        caption: The caption.
        aspects: The cells of background, object and relation, whose phrases are not yet separated.
    """

    line: int
    image: str
    caption: str
    aspects: tuple[str, str, str]


@dataclass(frozen=True)
class FineCapEvalData:
    """The rows of FineCapEval.csv that count.

    Attributes:
        source: The file as the user named it.
        rows: The rows that have all four texts, in file order.
        skipped: The line numbers of the other rows, which the original skips as a whole.
    """

    source: str
    rows: list[Annotation]
    skipped: list[int]

    @cached_property
    def digest(self) -> str:
        """The first 8 hexadecimal digits of the SHA-256 of the rows."""
        rows = [[row.image, row.caption, *row.aspects] for row in self.rows]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:8]

    @cached_property
    def images(self) -> dict[str, list[Annotation]]:
        """The rows of each image, wherever they stand in the file; images are in the order of their first row."""
        found: dict[str, list[Annotation]] = {}
        for row in self.rows:
            found.setdefault(row.image, []).append(row)
        return found

    @cached_property
    def dotless(self) -> dict[str, list[Annotation]]:
        """The rows by the image's name up to its first dot, which is all that the original reads of the name."""
        found: dict[str, list[Annotation]] = {}
        for row in self.rows:
            found.setdefault(row.image.partition(".")[0], []).append(row)
        return found

    @cached_property
    def stemmer(self) -> Stemmer:
        """The stemmer of phrases and captions, which all evaluators share, so that each text is tokenized once."""
        return Stemmer()

    def notes(self) -> list[str]:
        """Return what a user should know about the file, one sentence each."""
        notes = []
        if self.skipped:
            lines = shorten([str(line) for line in self.skipped])
            notes.append(
                f"{_count(len(self.skipped), 'row')} of {self.source} with a missing cell skipped, as the original "
                f"does (line {lines})"
            )
        counts = Counter(len(rows) for rows in self.images.values())
        odd = [name for name, rows in self.images.items() if len(rows) != ROWS]
        if odd:
            told = ", ".join(f"{counts[n]:,} with {n}" for n in sorted(counts) if n != ROWS)
            notes.append(
                f"{_count(len(odd), 'image')} of {self.source} without {ROWS} rows each ({told}): {shorten(odd)}"
            )
        return notes


def load_finecapeval(path: str | Path) -> FineCapEvalData:
    """Read FineCapEval.csv, plain or gzipped.

    Raises:
        InputError: If there is no such file, or if it is a file of another kind.
    """
    content = load_content(path)
    if content.kind != "text":
        raise InputError(f"{content.source} is a {content.kind} file; FineCapEval's annotations are FineCapEval.csv")
    return finecapeval_rows(content)


def finecapeval_rows(content: Content) -> FineCapEvalData:
    """Return the rows of a file whose content is loaded.

    Raises:
        InputError: If a column is missing, if quotes do not close, or if a row has no image or too many cells.
    """
    source = content.source
    lines = _table_lines(content.text, source)
    places = _column_places(next(lines, (1, []))[1], source)
    width = max(places.values()) + 1
    rows: list[Annotation] = []
    skipped: list[int] = []
    for line, cells in lines:
        cells += [""] * (width - len(cells))  # the original's reader fills short rows up with empty cells
        image, *texts = (cells[places[name]] for name in COLUMNS)
        if not MISSING.isdisjoint(texts):
            skipped.append(line)
        elif image in MISSING:
            raise InputError(f"{source}, line {line}: the cell of column image is empty; name the image's file")
        else:
            rows.append(Annotation(line, image, texts[0], (texts[1], texts[2], texts[3])))
    if not rows:
        raise InputError(f"{source} has no row with all of {', '.join(COLUMNS)}")
    return FineCapEvalData(source, rows, skipped)


def read_finecapeval(content: Content, options: Options) -> ParsedFile:
    """Read the captions of the rows that count; the file name of an image is its id."""
    found = finecapeval_rows(content)
    return ParsedFile(
        ((row.line, row.image, row.caption) for row in found.rows),
        "line",
        uniform=False,
        findings=Findings(id="image", captions="caption"),
        columns=("caption",),
    )


def is_finecapeval_header(cells: list[str]) -> bool:
    """Return whether the header of a table names all of FineCapEval's columns."""
    return set(COLUMNS) <= set(map(plain_name, cells))


def _column_places(header: list[str], source: str) -> dict[str, int]:
    names = [plain_name(name) for name in header]
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        listed = shorten([repr(name) for name in header], 12) or "none"
        raise InputError(
            f"{source} has no column {' or '.join(missing)}; its columns are {listed}, and FineCapEval.csv has "
            f"{', '.join(COLUMNS)}"
        )
    return {name: names.index(name) for name in COLUMNS}


def _table_lines(text: str, source: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(each_line(text, ends=True), strict=True)
    line, width = 1, 0
    try:
        for cells in reader:
            if cells:
                width = width or len(cells)
                if len(cells) > width:
                    raise InputError(
                        f"{source}, line {line}: {len(cells)} cells where the header has {width}; quote cells that "
                        "hold a comma"
                    )
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"{source}, from line {line}: the quoting is broken ({error}); inside a quoted cell write each quote twice"
        ) from error


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
