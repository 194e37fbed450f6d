"""Readers of CSV, TSV and other separated tables, of Parquet, Arrow and Excel files, and of lines of id and caption."""

from __future__ import annotations

import re
from collections.abc import Callable

from capreward.data.file_content import Content
from capreward.data.file_report import Findings
from capreward.data.formats.excel import ExcelTable
from capreward.data.formats.text import each_line
from capreward.data.roles import CAPTION_ROLES, is_column_name, role_of
from capreward.data.rows import Options, ParsedFile
from capreward.data.table_rows import parse_table
from capreward.data.tables import ArrowTable, DelimitedTable, Table
from capreward.errors import InputError

SEPARATORS = {"csv": ",", "tsv": "\t", "psv": "|", "ssv": ";"}
ID_LINE = re.compile(r"\s*(\S+?)(?:#\d+)?(?::\s*|\s*\|\s*|\s+)(\S.*|$)", re.DOTALL)
BARE = ("id", "caption")  # the names of the columns of a table of two columns without a header row


def delimited_reader(name: str) -> Callable[[Content, Options], ParsedFile]:
    """Return the reader of a format that is a table with a separator: ``csv``, ``tsv``, ``psv`` or ``ssv``."""

    def read(content: Content, options: Options) -> ParsedFile:
        return parse_table(delimited_table(content, name, options), options)

    return read


def delimited_table(content: Content, name: str, options: Options) -> Table:
    """Return the table of a text with a separator; it has no header row if its first row is an id and a caption."""
    separator = SEPARATORS[name]
    header = BARE if content.bare else ()
    return DelimitedTable(content.text, separator, content.source, header=header, references=options.references)


def read_arrow(content: Content, options: Options) -> ParsedFile:
    """Read a Parquet or an Arrow file.

    Raises:
        InputError: If pyarrow is not installed or the file is damaged.
    """
    return parse_table(ArrowTable(content), options)


def read_excel(content: Content, options: Options) -> ParsedFile:
    """Read the first sheet of an Excel workbook, as VLMEvalKit writes its results.

    Raises:
        InputError: If openpyxl is not installed or the file is damaged.
    """
    return parse_table(ExcelTable(content), options)


def read_id_text(content: Content, options: Options) -> ParsedFile:
    """Read lines of an id, a blank (or a colon) and a caption: ``101.jpg a dog runs`` or ``101.jpg#0 a dog runs``."""

    def rows() -> list[tuple[int, object, object]]:
        found: list[tuple[int, object, object]] = []
        for number, line in enumerate(each_line(content.text), 1):
            if not line.strip() or (number == 1 and is_id_header(line)):
                continue
            parts = ID_LINE.fullmatch(line)
            if parts is None:
                raise InputError(
                    f"{content.source}, line {number}: this is not an id, a blank and a caption; "
                    "repair the line, or pass --format text"
                )
            found.append((number, parts[1], parts[2]))
        return found

    return ParsedFile(rows(), "line", findings=Findings(id="the first word", captions="the rest of the line"))


def is_id_header(line: str) -> bool:
    """Return whether a line names two columns, ids and captions, with a blank between them."""
    words = line.split()
    return len(words) == 2 and is_column_name(words[0]) and role_of(words[1]) in CAPTION_ROLES


read_csv, read_tsv, read_psv, read_ssv = map(delimited_reader, SEPARATORS)
