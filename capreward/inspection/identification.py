"""The identification of what a user names: by its name, by its first bytes, and by its content."""

from __future__ import annotations

import gzip
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capreward.data.images.folder import is_picture_name
from capreward.data.images.scene_keys import names_scenes
from capreward.data.images.shards import names_shards
from capreward.errors import InputError
from capreward.inspection.captions import view_captions
from capreward.inspection.views import LookOptions, Readings

_YAML = (".yaml", ".yml")
_TORCH = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")


def identify_file(source: str, asked: LookOptions) -> Readings:
    """Identify a file or a folder, and try all ways in which it could be read.

    Args:
        source: The source, as a command takes it: a file, a folder, a brace pattern of shards, ``scenes:SPLIT``, or a
            recipe.
        asked: The user's options.

    Returns:
        The ways that work, and the messages of the ways that are refused.

    Raises:
        InputError: If there is no such file, folder or recipe.
    """
    seen = Readings(source)
    if names_scenes(source):
        from capreward.inspection.pictures import scenes_view

        seen.attempt("scenes", lambda: scenes_view(source, asked))
    elif names_shards(source):
        _identify_shards(source, asked, seen)
    elif os.path.isdir(source):
        _identify_folder(source, asked, seen)
    elif not os.path.exists(source):
        _identify_recipe(source, seen)
    else:
        _identify_plain_file(source, asked, seen)
    return seen


def _identify_recipe(name: str, seen: Readings) -> None:
    from capreward.inspection.runs import configuration_view, recipe_text

    text = recipe_text(name)
    if text is not None:
        seen.attempt("recipe", lambda: configuration_view(name, text))
        return
    from capreward.data.file_content import load_content

    load_content(name)  # raises the error that there is no such file, which names similar files
    raise InputError(f"{name} is neither a file nor a recipe")


def _identify_shards(source: str, asked: LookOptions, seen: Readings) -> None:
    from capreward.inspection.pictures import shard_view
    from capreward.inspection.views import View, command_text

    pictures = seen.attempt("pictures", lambda: shard_view(source, asked))
    before = len(seen.views)
    view_captions(source, asked, seen, own_images=pictures is not None)
    if pictures is not None and len(seen.views) > before:
        line = f"{source}: pictures with their captions, as capreward pack writes them"
        uses = (("train", command_text("train", "--data", source)), ("check", command_text("pack", source, "--verify")))
        seen.views.append(View("training shards", line, (), uses))


def _identify_folder(source: str, asked: LookOptions, seen: Readings) -> None:
    from capreward.encoders.checkpoints.folder import HF_CONFIG, OPEN_CLIP_CONFIG
    from capreward.encoders.store.header import NAME
    from capreward.inspection import pictures, runs, weights

    folder = Path(source)
    if runs.is_run(folder):
        seen.attempt("run", lambda: runs.run_view(source))
    elif (folder / NAME).is_file():
        seen.attempt("features", lambda: pictures.store_view(source, asked))
    elif (folder / weights.CAPTIONER).is_file():
        seen.attempt("captioner", lambda: weights.captioner_view(source))
    elif (folder / OPEN_CLIP_CONFIG).is_file():
        seen.attempt("CLIP", lambda: weights.clip_folder_view(source))
    elif (folder / HF_CONFIG).is_file():
        seen.attempt("weights", lambda: weights.hf_folder_view(source))
    else:
        seen.attempt("pictures", lambda: pictures.folder_view(source, asked))


def _identify_plain_file(source: str, asked: LookOptions, seen: Readings) -> None:
    head = _first_bytes(source)
    name = os.path.basename(source).lower()
    if head.startswith(b"PK\x03\x04"):
        _identify_archive(source, seen)
    elif head[:1] == b"\x80":
        _identify_pickle(source, seen)
    elif head[8:9] == b"{" or name.endswith(_TORCH):
        from capreward.inspection.weights import checkpoint_view

        seen.attempt("weights", lambda: checkpoint_view(source))
    elif is_picture_name(name):
        from capreward.inspection.pictures import picture_view

        seen.attempt("picture", lambda: picture_view(source, asked))
    elif name.endswith(_YAML):
        from capreward.inspection.runs import configuration_view

        seen.attempt("configuration", lambda: configuration_view(source))
    else:
        _identify_text(source, head, asked, seen)


def _first_bytes(source: str) -> bytes:
    """Return the first 64 bytes of a file, unpacked if it is gzipped; empty if the source is no plain file."""
    if not os.path.isfile(source):
        return b""
    try:
        with open(source, "rb") as stream:
            head = stream.read(64)
        if head[:2] == b"\x1f\x8b":
            with gzip.open(source) as unpacked:
                return unpacked.read(64)
    except OSError as error:
        raise InputError(f"{source} cannot be read: {error.strerror or error}") from error
    except EOFError as error:
        raise InputError(f"{source} is a damaged gzip file; copy or download it again") from error
    return head


def _identify_archive(source: str, seen: Readings) -> None:
    """Identify a zip file, which holds NumPy's arrays or torch's tensors."""
    from capreward.inspection import tables
    from capreward.inspection.weights import checkpoint_view

    members = tables.archive_members(source)
    if {"header", "words"} <= members:
        seen.attempt("document frequencies", lambda: tables.frequency_view(source))
    elif members >= tables.LABELS:
        seen.attempt("labels", lambda: tables.label_view(source))
    else:
        seen.attempt("weights", lambda: checkpoint_view(source))


def _identify_pickle(source: str, seen: Readings) -> None:
    from capreward.inspection.tables import pickle_view
    from capreward.inspection.weights import checkpoint_view

    if seen.attempt("document frequencies", lambda: pickle_view(source)) is not None:
        return
    if seen.attempt("weights", lambda: checkpoint_view(source)) is not None:
        del seen.refusals["document frequencies"]


def _identify_text(source: str, head: bytes, asked: LookOptions, seen: Readings) -> None:
    """Identify text and tables: captions, pictures in columns, vocabularies and sets of shards in JSON."""
    from capreward.inspection import pictures, tables

    value = _json_object(source) if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") else {}
    if isinstance(value.get("ix_to_word"), dict) or ("words" in value and isinstance(value["words"], list)):
        seen.attempt("vocabulary", lambda: tables.vocabulary_view(source, value, asked))
        if isinstance(value.get("images"), list):
            seen.attempt("pictures", lambda: pictures.list_view(source, asked))
        return
    if tables.are_shard_sets(value):
        seen.attempt("sets of shards", lambda: tables.shard_set_view(source, value, asked))
        return
    pictured = Readings(source)
    own = pictured.attempt("pictures", lambda: pictures.table_view(source, asked)) is not None
    view_captions(source, asked, seen, own_images=own)
    seen.views += pictured.views
    if seen.views:  # otherwise the refusals of the readers of captions say enough
        seen.refusals |= pictured.refusals


def _json_object(source: str) -> Mapping[str, Any]:
    """Return the object of a JSON file; it is empty for any other file, which the reader of captions will check."""
    from capreward.data.file_content import load_content

    try:
        content = load_content(source)
        found = content.json() if content.kind == "text" else {}
    except InputError:
        return {}
    return found if isinstance(found, dict) else {}
