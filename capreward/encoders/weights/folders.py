"""Folders that hold a CLIP with its configuration: open_clip's and transformers'."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capreward.encoders.checkpoints.checkpoint import Checkpoint, read_checkpoint, sha256_of
from capreward.encoders.layouts import huggingface
from capreward.encoders.spec import EncoderSpec
from capreward.encoders.weights.base_weights import base_in, completed, joined_digest
from capreward.encoders.weights.source import Asked, Weights, from_checkpoint, preprocessing_of, unscaled
from capreward.errors import InputError, shorten

if TYPE_CHECKING:
    from torch import Tensor

OPEN_CLIP_CONFIG = "open_clip_config.json"
HF_CONFIG = "config.json"
RECORD = "capreward.json"  # where a folder's weights came from
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
_SHIPPED = "scenes-"


def shipped_folder(name: str) -> Path | None:
    """The folder of weights that ship with capreward, such as ``scenes-clip`` and ``scenes-grammar``; or None."""
    if not name.startswith(_SHIPPED) or not name.removeprefix(_SHIPPED).isalnum():
        return None
    folder = Path(__file__).parents[2] / "data" / "scenes" / "weights" / name.removeprefix(_SHIPPED)
    return folder if folder.is_dir() else None


def read_folder(folder: Path, asked: Asked, *, name: str | None = None, weights: Path | None = None) -> Weights:
    """Read a folder with ``open_clip_config.json`` or transformers' ``config.json``.

    One whose ``capreward.json`` names a base has the image tower of that base.

    Args:
        folder: the folder.
        asked: by the user; activation and statistics given there win over the configuration.
        name: for signatures; the folder's by default.
        weights: one of its files; by default the first of open_clip's order.

    Raises:
        InputError: no configuration, no weights, a configuration that does not fit, or no such base.
    """
    name = name or folder.resolve().name
    if (folder / OPEN_CLIP_CONFIG).is_file():
        return _open_clip(folder, asked, name, weights)
    if (folder / HF_CONFIG).is_file():
        return _hf(folder, asked, name, weights)
    files = sorted(p.name for p in folder.iterdir() if p.suffix in (".pt", ".pth", ".bin", ".ckpt", ".safetensors"))
    what = f"name one of its files: {shorten(files)}" if files else "name a weights file"
    raise InputError(f"{folder} is a folder without {OPEN_CLIP_CONFIG} or {HF_CONFIG}; {what}")


def read_beside_config(path: Path, asked: Asked) -> Weights | None:
    """Read a file that a configuration beside it describes; None for a file that stands alone."""
    if path.name not in WEIGHT_FILES:
        return None
    configured = any((path.parent / name).is_file() for name in (OPEN_CLIP_CONFIG, HF_CONFIG))
    return read_folder(path.parent, asked, weights=path) if configured else None


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        InputError: it cannot be read or is none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error})") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} holds a {type(found).__name__}; a JSON object is needed")
    return found


def _open_clip(folder: Path, asked: Asked, name: str, weights: Path | None) -> Weights:
    config = read_json(folder / OPEN_CLIP_CONFIG)
    model_cfg = config.get("model_cfg")
    if not isinstance(model_cfg, dict) or not {"embed_dim", "vision_cfg", "text_cfg"} <= set(model_cfg):
        raise InputError(f"{folder / OPEN_CLIP_CONFIG} has no model_cfg with embed_dim, vision_cfg and text_cfg")
    checkpoint, paths = _read(folder, weights, asked)
    paths = _with_head(folder, paths)
    record = read_json(folder / RECORD) if (folder / RECORD).is_file() else {}
    head = None
    if (folder / HEAD_FILE).is_file():
        head = read_checkpoint(folder / HEAD_FILE).tensors
    found = configured(
        checkpoint.tensors,
        model_cfg,
        config.get("preprocess_cfg", {}),
        asked,
        name=name,
        layout=str(record.get("layout", "open_clip")),
        sha256=sha256_of(paths),
        head=head,
        folder=folder,
    )
    return completed(found, base_in(record, str(folder)), asked, str(folder))


def configured(
    tensors: dict[str, Tensor],
    model_cfg: Mapping[str, Any],
    preprocess_cfg: Mapping[str, Any],
    asked: Asked,
    *,
    name: str,
    layout: str,
    sha256: str,
    head: dict[str, Tensor] | None = None,
    folder: Path | None = None,
) -> Weights:
    """Weights whose architecture and image steps a configuration of open_clip says."""
    found = dict(model_cfg)
    _refuse_unseen_tower(found, asked, name)
    own = bool(found.get("quick_gelu", False))
    notes = []
    if asked.quick_gelu is not None and asked.quick_gelu != own:
        found["quick_gelu"] = asked.quick_gelu
        said, instead = ("QuickGELU", "GELU") if own else ("GELU", "QuickGELU")
        notes.append(f"{name} runs with {instead} as asked; its configuration says {said}")
    spec = EncoderSpec(
        name=name,
        layout=layout,
        sha256=sha256,
        model_cfg=found,
        preprocessing=preprocessing_of(found, preprocess_cfg, asked, name),
        notes=tuple(notes),
    )
    bare = {n.removeprefix("module."): t for n, t in tensors.items()}
    return Weights(replace(spec, notes=(*spec.notes, *unscaled(bare, name))), bare, head, folder)


def _refuse_unseen_tower(model_cfg: Mapping[str, Any], asked: Asked, name: str) -> None:
    """Refuse a text tower of transformers whose configuration would have to be fetched unasked."""
    tower = model_cfg["text_cfg"].get("hf_model_name")
    if tower and not asked.download and not Path(tower).is_dir():
        import huggingface_hub

        if not isinstance(huggingface_hub.try_to_load_from_cache(tower, HF_CONFIG), str):
            raise InputError(f"{name} needs the configuration of {tower}; add --download (download=True) to fetch it")


def _hf(folder: Path, asked: Asked, name: str, weights: Path | None) -> Weights:
    config = huggingface.read_config(read_json(folder / HF_CONFIG), str(folder))
    preprocessing: dict[str, Any] = {}
    if (file := folder / "preprocessor_config.json").is_file():
        preprocessing = huggingface.preprocessing_of(read_json(file), str(folder))
    checkpoint, paths = _read(folder, weights, asked)
    found = from_checkpoint(checkpoint, paths, name, asked, config=config, preprocessing=preprocessing)
    text = found.spec.model_cfg["text_cfg"]
    if text["vocab_size"] < 49408 and any((folder / n).is_file() for n in ("tokenizer.json", "vocab.json")):
        text["hf_tokenizer_name"] = name  # not OpenAI's vocabulary: the folder's own
    return found


def digest_of(path: Path) -> str:
    """The hash by which a specification names a weights file or the weights of a folder, without reading tensors.

    Raises:
        InputError: there are none, or they cannot be read.
    """
    if not path.is_dir():
        return sha256_of([path])
    own = sha256_of(_with_head(path, _files(path, None)))
    record = read_json(path / RECORD) if (path / RECORD).is_file() else {}
    base = base_in(record, str(path))
    return own if base is None else joined_digest(own, base.sha256)


def _with_head(folder: Path, paths: list[Path]) -> list[Path]:
    return [*paths, folder / HEAD_FILE] if (folder / HEAD_FILE).is_file() else paths


def read_tensors(folder: Path, *, drop_unknown: bool = False) -> tuple[Checkpoint, list[Path]]:
    """The tensors of a folder's weights, of whatever model, and the files that they lie in.

    Args:
        folder: with one of the names of ``WEIGHT_FILES``, or one weights file of any name.
        drop_unknown: see :func:`~capreward.encoders.checkpoints.checkpoint.read_checkpoint`.

    Raises:
        InputError: there are none, or they cannot be read.
    """
    return _read(folder, None, Asked(drop_unknown=drop_unknown))


def _read(folder: Path, weights: Path | None, asked: Asked) -> tuple[Checkpoint, list[Path]]:
    """The tensors of a folder's weights, of all its shards where there are several."""
    paths = _files(folder, weights)
    parts = [read_checkpoint(p, drop_unknown=asked.drop_unknown) for p in paths]
    if len(parts) == 1:
        return parts[0], paths
    merged = {name: tensor for part in parts for name, tensor in part.tensors.items()}
    dropped = tuple(dict.fromkeys(d for part in parts for d in part.dropped))
    return Checkpoint(merged, parts[0].kind, dropped), paths


def _files(folder: Path, weights: Path | None) -> list[Path]:
    """The files of a folder's weights."""
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
