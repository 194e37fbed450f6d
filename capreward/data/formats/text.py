"""Readers of plain text with one caption per line, and of Flickr8k.token.txt."""

from __future__ import annotations

import re
from collections.abc import Iterator

from capreward.data.file_content import Content
from capreward.data.file_report import Findings
from capreward.data.rows import Options, ParsedFile
from capreward.errors import InputError

TOKEN_LINE = re.compile(r"([^\t]*\S)#\d+\t(.*)", re.DOTALL)


def each_line(text: str, *, ends: bool = False) -> Iterator[str]:
    r"""Yield the lines of a text, split at ``\n`` and ``\r\n`` only.

    Captions may hold the other characters that str.splitlines takes for line ends. Lines are yielded one by one,
    since a list of all lines would be a second copy of the file.

    Args:
        text: The text.
        ends: If True, the lines keep their line ends.
    """
    start = 0
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        if ends:
            yield text[start : end + 1]
        else:
            yield text[start : end - 1] if end > start and text[end - 1] == "\r" else text[start:end]
        start = end + 1


def read_text(content: Content, options: Options) -> ParsedFile:
    """Read one caption per line; the line number is the id, so blank lines count."""
    rows = ((number, number, line) for number, line in enumerate(each_line(content.text), 1))
    return ParsedFile(rows, "line", aligned=True, findings=Findings(id="the line number", captions="the lines"))


def read_flickr_token(content: Content, options: Options) -> ParsedFile:
    """Read ``image.jpg#0<TAB>caption`` lines, as in Flickr8k.token.txt and Flickr30k's results_20130124.token."""

    def rows() -> Iterator[tuple[int, object, object]]:
        for number, line in enumerate(each_line(content.text), 1):
            if not line:
                continue
            found = TOKEN_LINE.fullmatch(line)
            if found is None:
                raise InputError(
                    f"{content.source}, line {number}: this is not image.jpg#0, a tab and a caption; "
                    "repair the line, or pass --format text"
                )
            yield number, found[1], found[2]

    return ParsedFile(rows(), "line", findings=Findings(id="the name before #", captions="the text after the tab"))
