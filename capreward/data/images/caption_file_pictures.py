"""The pictures that a file of captions holds or names itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from capreward.data.column_choice import ROW
from capreward.data.images.picture_tables import PictureTable, names_table
from capreward.data.row_checks import Options
from capreward.data.tables import KeyedTable

if TYPE_CHECKING:
    from capreward.data.caption_files import CaptionTable, References

# Formats without columns, or with columns that hold captions alone.
_WITHOUT = frozenset({"coco", "karpathy", "msrvtt", "img-to-eval", "flickr-token", "id-text", "text", "mapping"})


def own_pictures(
    table: CaptionTable | References, keys: Sequence[str], image_column: str | None = None
) -> str | PictureTable | None:
    """Return the place of the pictures of a caption file, if the user names no place.

    Args:
        table: The captions, as they were read.
        keys: The ids of their images.
        image_column: The name of the column of pictures; None takes a usual name.

    Returns:
        The shards themselves; the table itself, if it holds pictures and not only names of files; ``scenes``, if the
        keys are names of scenes; or None, if ids and names of files are paths.
    """
    from capreward.data.scenes import picture_of

    if keys and picture_of(keys[0]) is not None and table.format != "webdataset":
        return "scenes"
    if table.format == "webdataset":
        return table.source
    if table.format in _WITHOUT or len(table.reports) != 1 or not names_table(table.source):
        return None
    return own_picture_table(table.source, table.reports[0].id, image_column)


def own_picture_table(source: str | Path, id_column: str, image_column: str | None) -> PictureTable | None:
    """Return the pictures in a table by the ids of its captions; None if the table itself holds no pictures.

    Args:
        source: The file.
        id_column: What the ids of the captions are taken from, as the report on the file says.
        image_column: The name of the column of pictures; None takes a usual name.
    """
    from capreward.data.file_content import load_content
    from capreward.data.file_table import open_table
    from capreward.data.images.picture_tables import picture_columns

    table = open_table(load_content(source), Options(image_column=image_column, pictures=True))
    if table is None or not picture_columns(table, image_column):
        return None
    known = id_column if id_column in table.names else KeyedTable.KEY if KeyedTable.KEY in table.names else ROW
    return PictureTable(source, id_column=known, image_column=image_column)
