"""The table in the first sheet of an Excel workbook, whose first row names the columns."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

from capreward.data.file_content import Content, error_line
from capreward.data.tables import MOST_COLUMNS, Row, Table
from capreward.errors import InputError

MOST_BYTES = 2_000_000_000  # the largest size of an unpacked workbook


class ExcelTable(Table):
    """The table in the first sheet of a workbook (.xlsx).

    Args:
        content: The content of the file.

    Raises:
        InputError: If openpyxl is not installed, the file is damaged, or the first row does not name the columns.
    """

    textual = True
    one_way = False

    def __init__(self, content: Content) -> None:
        self.source = content.source
        self.unit = "row"
        try:
            import openpyxl
        except ImportError as error:
            raise InputError(
                f"{content.source} is an Excel file, which needs: pip install 'capreward[tables]'"
            ) from error
        self._data = content.data
        self._open = openpyxl.load_workbook
        first = next(self._values(), ())
        self.names = ["" if name is None else str(name).strip() for name in first]
        if len(self.names) > MOST_COLUMNS:
            raise InputError(
                f"{self.source} has {len(self.names):,} columns; {MOST_COLUMNS:,} is the most that is read"
            )
        while self.names and not self.names[-1]:
            self.names.pop()
        if not self.names:
            raise InputError(f"{self.source} has no header row in its first sheet; name the columns in the first row")

    def rows(self, names: Sequence[str]) -> Iterator[Row]:
        """Yield the values of the rows that are not empty; an empty cell is an empty text."""
        places = [self.names.index(name) for name in names]
        for number, cells in enumerate(self._values(), 1):
            if number > 1 and any(cell is not None for cell in cells):
                yield (
                    number,
                    tuple("" if place >= len(cells) or cells[place] is None else cells[place] for place in places),
                )

    def _values(self) -> Iterator[Sequence[Any]]:
        try:
            with zipfile.ZipFile(io.BytesIO(self._data)) as archive:
                if sum(member.file_size for member in archive.infolist()) > MOST_BYTES:
                    raise InputError(f"{self.source} unpacks to more than {MOST_BYTES:,} bytes; save it as CSV")
            book = self._open(io.BytesIO(self._data), read_only=True, data_only=True)
            yield from book.worksheets[0].iter_rows(values_only=True)
        except InputError:
            raise
        except Exception as error:  # openpyxl raises many kinds of errors for damaged files
            raise InputError(f"{self.source} is a damaged Excel file ({error_line(error)}); save it again") from error
