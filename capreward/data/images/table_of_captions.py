"""The pictures that a file of captions itself holds or names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from capreward.data.columns import ROW
from capreward.data.images.tables import PictureTable, names_table
from capreward.data.rows import Options
from capreward.data.tables import KeyedTable

if TYPE_CHECKING:
    from capreward.data.captions import CaptionTable, References

# Formats without columns, or whose columns hold captions alone.
_WITHOUT = frozenset({"coco", "karpathy", "msrvtt", "img-to-eval", "flickr-token", "id-text", "text", "mapping"})


def own_pictures(
    table: CaptionTable | References, keys: Sequence[str], image_column: str | None = None
) -> str | PictureTable | None:
    """Where the pictures are of captions that come without any.

    Args:
        table: the captions, as they were read.
        keys: the ids of their images.
        image_column: of pictures, if it is not a usual one.

    Returns:
        The shards themselves; the table itself, if it holds pictures and not only names of files; ``scenes``, whose
        keys say what is drawn; or None: ids and names of files are paths.
    """
    from capreward.data.scenes import picture_of

    if keys and picture_of(keys[0]) is not None and table.format != "webdataset":
        return "scenes"
    if table.format == "webdataset":
        return table.source
    if table.format in _WITHOUT or len(table.reports) != 1 or not names_table(table.source):
        return None
    return table_of_its_own(table.source, table.reports[0].id, image_column)


def table_of_its_own(source: str | Path, id_column: str, image_column: str | None) -> PictureTable | None:
    """The pictures in a table by the column that its captions are known by; None where it holds none itself.

    Args:
        source: the file.
        id_column: what its report says the ids are taken from.
        image_column: of pictures, if it is not a usual one.
    """
    from capreward.data.file_content import load_content
    from capreward.data.images.tables import picture_columns
    from capreward.data.table_files import open_table

    table = open_table(load_content(source), Options(image_column=image_column, pictures=True))
    if table is None or not picture_columns(table, image_column):
        return None
    known = id_column if id_column in table.names else KeyedTable.KEY if KeyedTable.KEY in table.names else ROW
    return PictureTable(source, id_column=known, image_column=image_column)
