"""The reader of single cells of one column of a Parquet or Arrow file, which does not keep the whole column."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from capreward.data.file_content import Content, error_line
from capreward.data.images.encoded_image import BrokenImage

_WHOLE = 64 << 20  # bytes; a row group's column up to this size is kept whole, a larger one is read in steps
_STEP = 32  # the rows that are read at a time of a larger column


class ArrowCells:
    """The cells of one column, which are read mostly in the order of the rows.

    Arrow files are mapped into memory. Of a Parquet file, the column's part in one row group is kept, or a few rows of
    it if it is large. Each process opens the file for itself.

    Args:
        content: The content of the file.
        column: The name of the column.

    Attributes:
        path: The path of the file.
        column: The name of the column.
    """

    def __init__(self, content: Content, column: str) -> None:
        self.path = str(content.paths[0])
        self.column = column
        self._kind = content.kind
        self._data = content.data
        self._process = -1
        self._reader: _Reader | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_process": -1, "_reader": None}

    def at(self, row: int) -> object:
        """Return the value in a row, counted from 0.

        Raises:
            BrokenImage: If the file cannot be read at this row.
        """
        import pyarrow as pa

        try:
            if self._reader is None or self._process != os.getpid():  # a child must not share its parent's threads
                kind = _ParquetReader if self._kind == "parquet" else _ArrowReader
                self._reader, self._process = kind(self._source(), self.column), os.getpid()
            return self._reader.at(row)
        except (pa.ArrowException, OSError, IndexError) as error:
            raise BrokenImage(
                f"row {row + 1} of {self.path} cannot be read ({error_line(error)}); copy it again"
            ) from error

    def paths(self) -> Iterator[str | None]:
        """Yield the paths that stand beside the bytes in the cells, row by row; nothing if there are no paths."""
        import pyarrow as pa

        if self._kind != "parquet":
            column = _ArrowReader(self._source(), self.column).column
            if pa.types.is_struct(column.type) and column.type.get_field_index("path") >= 0:
                for chunk in column.chunks:
                    yield from chunk.field("path").to_pylist()
            return
        import pyarrow.parquet as pq

        file = pq.ParquetFile(self._source(), pre_buffer=False)
        if f"{self.column}.path" in (file.schema.column(n).path for n in range(len(file.schema.names))):
            for batch in file.iter_batches(columns=[f"{self.column}.path"]):
                yield from (cell and cell["path"] for cell in batch.column(0).to_pylist())

    def _source(self) -> Any:
        import pyarrow as pa

        return pa.BufferReader(self._data) if self._data else pa.memory_map(self.path)


class _Reader(ABC):
    @abstractmethod
    def __init__(self, source: Any, column: str) -> None: ...

    @abstractmethod
    def at(self, row: int) -> object:
        """Return the value in a row, counted from 0."""


class _ArrowReader(_Reader):
    def __init__(self, source: Any, column: str) -> None:
        import pyarrow as pa

        begins = source.read(6)
        source.seek(0)
        opened = pa.ipc.open_file(source) if begins == b"ARROW1" else pa.ipc.open_stream(source)
        self.column = opened.read_all().column(column)

    def at(self, row: int) -> object:
        """Return the value in a row, counted from 0."""
        return self.column[row].as_py()


class _ParquetReader(_Reader):
    """Keeps the cells that were read last: the column of a whole row group, or the rows around the last one."""

    def __init__(self, source: Any, column: str) -> None:
        import pyarrow.parquet as pq

        self._file = pq.ParquetFile(source, pre_buffer=False)
        self._column = column
        metadata = self._file.metadata
        self._groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        self._starts = [0, *accumulate(group.num_rows for group in self._groups)]
        self._group = -1
        self._first = self._end = 0  # the first row that is kept, and the row after the last one
        self._rows: Any = None
        self._batches: Any = iter(())

    def at(self, row: int) -> object:
        """Return the value in a row, counted from 0."""
        if not 0 <= row < self._starts[-1]:
            raise IndexError(f"it has {self._starts[-1]:,} rows")
        group = bisect_right(self._starts, row) - 1
        if group != self._group or row < self._first:
            self._enter_group(group)
        while row >= self._end:
            self._keep_batch(next(self._batches))
        return self._rows[row - self._first].as_py()

    def _enter_group(self, group: int) -> None:
        self._group = group
        self._first = self._end = self._starts[group]
        columns = map(self._groups[group].column, range(self._groups[group].num_columns))
        size = sum(c.total_uncompressed_size for c in columns if c.path_in_schema.partition(".")[0] == self._column)
        step = _STEP if size > _WHOLE else max(self._groups[group].num_rows, 1)
        self._batches = self._file.iter_batches(
            batch_size=step, row_groups=[group], columns=[self._column], use_threads=False
        )

    def _keep_batch(self, batch: Any) -> None:
        self._rows = batch.column(self._column)
        self._first, self._end = self._end, self._end + len(self._rows)
