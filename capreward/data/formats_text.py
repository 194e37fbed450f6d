"""Plain text: one caption per line, and Flickr8k.token.txt."""

from __future__ import annotations

import re
from collections.abc import Iterator

from capreward.data.files import Content
from capreward.data.rows import Options, Parsed
from capreward.errors import InputError

TOKEN_LINE = re.compile(r"([^\t]*\S)#\d+\t(.*)", re.DOTALL)


def text_lines(text: str) -> list[str]:
    r"""Split at ``\n`` and ``\r\n`` only: captions may hold the other characters str.splitlines takes for line ends."""
    lines = text.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    return [line[:-1] if line.endswith("\r") else line for line in lines] if "\r" in text else lines


def read_text(content: Content, options: Options) -> Parsed:
    """Read one caption per line; the line number is the id, so blank lines count."""
    rows = ((number, number, line) for number, line in enumerate(text_lines(content.text), 1))
    return Parsed(rows, "line", aligned=True)


def read_flickr_token(content: Content, options: Options) -> Parsed:
    """Read ``image.jpg#0<TAB>caption`` lines, as in Flickr8k.token.txt and Flickr30k's results_20130124.token."""

    def rows() -> Iterator[tuple[int, object, object]]:
        for number, line in enumerate(text_lines(content.text), 1):
            if not line:
                continue
            found = TOKEN_LINE.fullmatch(line)
            if found is None:
                raise InputError(
                    f"{content.source}, line {number}: this is not image.jpg#0, a tab and a caption; "
                    "repair the line, or pass --format text"
                )
            yield number, found[1], found[2]

    return Parsed(rows(), "line")
