"""Views of places of pictures: folders, shards, tables, lists, feature stores and the scenes world."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from capreward.errors import InputError
from capreward.inspection.views import LookOptions, View, command_text, count_text


def folder_view(path: str, asked: LookOptions) -> View:
    """Return the view of a folder of pictures.

    Raises:
        InputError: If the folder has no pictures.
    """
    from capreward.data.images.folder import PictureFolder
    from capreward.data.images.picture_lists import list_pictures

    folder = PictureFolder(path)
    rows = _picture_rows(zip(*list_pictures(path, asked.rows), strict=True), asked.rows)
    line = f"{path}: folder, {count_text(len(folder), 'picture')}; an id is a file's name, with or without its ending"
    return View("pictures", line, rows, _picture_uses(path), facts={"kind": "folder", "pictures": len(folder)})


def shard_view(path: str, asked: LookOptions) -> View:
    """Return the view of the pictures in tar shards.

    Raises:
        InputError: If the shards have no pictures.
    """
    from capreward.data.brace_patterns import expand_braces
    from capreward.data.images.picture_shards import ShardIndex

    index = ShardIndex(path)
    shards = len(expand_braces(path))
    rows = _picture_rows(((name, index.picture(name)) for name in index.names), asked.rows)
    line = f"{path}: {count_text(shards, 'tar shard')}, {count_text(len(index), 'picture')}; an id is a member's name"
    return View(
        "pictures", line, rows, _picture_uses(path), facts={"kind": "shards", "shards": shards, "pictures": len(index)}
    )


def table_view(path: str, asked: LookOptions) -> View | None:
    """Return the view of the pictures in a column of a table, or at the paths in a column; None if it has neither.

    Raises:
        InputError: If two columns hold pictures, or if the ids cannot be used.
    """
    from capreward.data.file_content import load_content
    from capreward.data.file_table import open_table
    from capreward.data.images.picture_tables import PictureTable, picture_columns
    from capreward.data.row_checks import Options

    options = Options(id_column=asked.id_column, image_column=asked.image_column, pictures=True)
    table = open_table(load_content(path), options)
    if table is None:
        return None
    holding = picture_columns(table, asked.image_column)
    try:
        found = PictureTable(path, id_column=asked.id_column, image_column=asked.image_column, numbered=True)
    except InputError:
        if holding:
            raise
        return None
    there = sum(found.find(name) is not None for name in found.names[: max(asked.rows, 50)])
    if not there:
        return None  # the table names files that are not on this machine
    what = "picture" if found.holds else "path"
    of_pictures = f" {'of pictures ' if not found.holds else ''}in the column {found.column}"
    ids = "the row number" if found.id == "row" else found.id
    line = f"{path}: {count_text(len(found), what)}{of_pictures}, id from {ids}"
    rows = _picture_rows(((name, found.picture(name)) for name in found.names), asked.rows)
    facts = {"kind": "table", "pictures": len(found), "column": found.column, "id": found.id, "holds": found.holds}
    words = [*([] if asked.id_column is None else ["--images-id-column", asked.id_column])]
    words += [] if asked.image_column is None else ["--image-column", asked.image_column]
    return View("pictures", line, rows, _picture_uses(path, *words), facts=facts)


def list_view(path: str, asked: LookOptions) -> View:
    """Return the view of a JSON list of picture files: ``{"images": [{"id", "file_path"}]}``.

    Raises:
        InputError: If the files do not exist.
    """
    from capreward.data.images.picture_lists import list_pictures

    keys, pictures = list_pictures(path)
    rows = _picture_rows(zip(keys, pictures, strict=True), asked.rows)
    line = f"{path}: list of {count_text(len(keys), 'picture')}, id from id"
    uses = (("caption", command_text("caption", path, "-o", "captions.json")),)
    return View("pictures", line, rows, uses, facts={"kind": "list", "pictures": len(keys)})


def scenes_view(source: str, asked: LookOptions) -> View:
    """Return the view of pictures of the scenes world, with their captions.

    Raises:
        InputError: If the split is unknown.
    """
    from capreward.data.images.picture_lists import list_pictures

    pictures = list_pictures(source, max(asked.rows, 1))[1][: asked.rows]
    rows = tuple({"id": p.scene.key, "captions": list(p.scene.captions)} for p in pictures)
    line = f"{source}: drawn pictures of the scenes world, five captions each; as many as are asked for"
    uses = (
        ("score against", command_text("score", "CAPTIONS", "-i", source, "-r", "scenes")),
        ("caption", command_text("caption", source, "--count", "100", "-o", "captions.json")),
        ("train", command_text("train", "--data", source)),
        ("write", command_text("scenes", "FOLDER")),
    )
    return View("pictures and captions", line, rows, uses, facts={"kind": "scenes"})


def store_view(path: str, asked: LookOptions) -> View:
    """Return the view of a feature store that ``capreward embed`` wrote.

    Raises:
        InputError: If the store is damaged.
    """
    from capreward.encoders.store.feature_store import FeatureStore
    from capreward.encoders.store.header import field_text

    store = FeatureStore(path)
    shape = " x ".join(map(str, store.shape))
    tokens = len(store.shape) > 1
    what = f"{'token grid' if tokens else 'feature'} of {'an image' if store.kind == 'image' else 'a text'}"
    plural = f"{'token grids' if tokens else 'features'} of {'images' if store.kind == 'image' else 'texts'}"
    line = f"{path}: {count_text(len(store), what, plural)}, {shape} numbers each ({store.dtype})"
    line += f", by {field_text(store.fields, 'sha')}"
    rows = tuple(
        {"key": k, **({} if store.texts is None else {"text": store.texts[n]})} for n, k in _first_keys(store, asked)
    )
    uses: tuple[tuple[str, str], ...] = ()
    if store.kind == "image":
        model = store.fields.get("model", "MODEL")
        metric = f"clips(checkpoint={model})"
        uses = (("train", command_text("train", "--data", "CAPTIONS", "-i", path)),)
        if not tokens:
            uses = (("in place of images", command_text("score", "CAPTIONS", "-i", path, "-m", metric)), *uses)
    facts = {"kind": store.kind, "features": len(store), "shape": list(store.shape), "encoder": store.fields}
    return View("features", line, rows, uses, facts=facts)


def picture_view(path: str, asked: LookOptions) -> View:
    """Return the view of one picture file; a picture that cannot be decoded is described as broken."""
    from capreward.data.images.picture_types import FilePicture

    rows = ({"picture": picture_text(FilePicture(path))},)
    return View(
        "picture", f"{path}: a picture", rows, (("caption", command_text("caption", path)),), facts={"kind": "file"}
    )


def picture_text(picture: Any) -> str:
    """Describe a picture in a few words, or say why it is broken."""
    try:
        image = picture.open()
    except InputError as error:
        return f"broken: {error}"
    return f"{image.format or 'picture'} {image.width} x {image.height} {image.mode}"


def _first_keys(store: Any, asked: LookOptions) -> list[tuple[int, str]]:
    return list(enumerate(store.keys[: asked.rows]))


def _picture_rows(pairs: Iterable[tuple[str, Any]], count: int) -> tuple[dict[str, str], ...]:
    return tuple({"id": key, "picture": picture_text(picture)} for key, picture in itertools.islice(pairs, count))


def _picture_uses(path: str, *more: str) -> tuple[tuple[str, str], ...]:
    return (
        ("images of captions", command_text("score", "CAPTIONS", "-i", path, *more, "-m", "clips")),
        ("caption", command_text("caption", path, "-o", "captions.json")),
        ("keep features", command_text("embed", path, *more, "-o", "features")),
    )
