"""The weights files of a folder, and their tensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from capreward.encoders.checkpoints.checkpoint import Checkpoint, read_checkpoint
from capreward.errors import InputError, shorten

OPEN_CLIP_CONFIG = "open_clip_config.json"
HF_CONFIG = "config.json"
RECORD = "capreward.json"  # it records where a folder's weights came from
HEAD_FILE = "grammar_head.safetensors"
# open_clip's own order; index files stand for weights in several files.
WEIGHT_FILES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "pytorch_model.pth",
    "model.pth",
)


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        InputError: The file cannot be read or holds no JSON object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error})") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} holds a {type(found).__name__}; a JSON object is needed")
    return found


def read_tensors(
    folder: Path, weights: Path | None = None, *, drop_unknown: bool = False
) -> tuple[Checkpoint, list[Path]]:
    """Return the tensors of a folder's weights from all shards, of any model, and the files that hold them.

    Args:
        folder: A folder with one of the names in ``WEIGHT_FILES``, or with one weights file of any name.
        weights: The weights file in it to read; by default the first in open_clip's order.
        drop_unknown: See :func:`~capreward.encoders.checkpoints.checkpoint.read_checkpoint`.

    Raises:
        InputError: The folder holds no weights, or they cannot be read.
    """
    paths = weight_files(folder, weights)
    parts = [read_checkpoint(p, drop_unknown=drop_unknown) for p in paths]
    if len(parts) == 1:
        return parts[0], paths
    merged = {name: tensor for part in parts for name, tensor in part.tensors.items()}
    dropped = tuple(dict.fromkeys(d for part in parts for d in part.dropped))
    return Checkpoint(merged, parts[0].kind, dropped), paths


def weight_files(folder: Path, weights: Path | None = None) -> list[Path]:
    """Return the files of a folder's weights: all shards where there are several.

    Raises:
        InputError: The folder holds no weights, or several files that could be meant.
    """
    path = weights or next((folder / n for n in WEIGHT_FILES if (folder / n).is_file()), None)
    if path is None:
        others = sorted(
            p for p in folder.iterdir() if p.suffix in (".safetensors", ".bin", ".pth") and p.name != HEAD_FILE
        )
        if len(others) != 1:
            found = shorten([p.name for p in others]) or "none"
            raise InputError(f"{folder} has no {WEIGHT_FILES[0]} beside its configuration; weights found: {found}")
        path = others[0]
    if path.suffix != ".json":
        return [path]
    table = read_json(path).get("weight_map")
    shards = sorted({str(n) for n in table.values()}) if isinstance(table, dict) else []
    if not shards:
        raise InputError(f"{path} names no files")
    return [folder / Path(n).name for n in shards]
