"""Folders that hold a CLIP with its configuration, in the forms of open_clip and of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capreward.encoders.checkpoints.checkpoint import read_checkpoint, sha256_of
from capreward.encoders.checkpoints.folder import (
    HEAD_FILE,
    HF_CONFIG,
    OPEN_CLIP_CONFIG,
    RECORD,
    WEIGHT_FILES,
    read_json,
    read_tensors,
    weight_files,
)
from capreward.encoders.layouts import huggingface
from capreward.encoders.spec import EncoderSpec
from capreward.encoders.weights.base_weights import base_in, joined_digest, with_base_tower
from capreward.encoders.weights.checkpoint_weights import from_checkpoint, missing_scale_notes, preprocessing_of
from capreward.encoders.weights.types import Reader, Weights, WeightsRequest
from capreward.errors import InputError, shorten

if TYPE_CHECKING:
    from torch import Tensor

_SHIPPED = "scenes-"


def shipped_folder(name: str) -> Path | None:
    """Return the folder of weights shipped with capreward, such as ``scenes-clip`` or ``scenes-grammar``; or None."""
    if not name.startswith(_SHIPPED) or not name.removeprefix(_SHIPPED).isalnum():
        return None
    folder = Path(__file__).parents[2] / "data" / "scenes" / "weights" / name.removeprefix(_SHIPPED)
    return folder if folder.is_dir() else None


def read_folder(
    folder: Path, request: WeightsRequest, read: Reader, *, name: str | None = None, weights: Path | None = None
) -> Weights:
    """Read a folder with ``open_clip_config.json`` or transformers' ``config.json``.

    If ``capreward.json`` in the folder names a base, the image tower is that of the base.

    Args:
        folder: The folder.
        request: What the user says about the weights; activation and statistics given there win over the configuration.
        read: A function that reads the base that completes the folder.
        name: The name of the weights in signatures; by default the name of the folder.
        weights: The weights file in the folder to read; by default the first in open_clip's order.

    Raises:
        InputError: Configuration, weights or base are missing, or the configuration does not fit.
    """
    name = name or folder.resolve().name
    if (folder / OPEN_CLIP_CONFIG).is_file():
        return _read_open_clip(folder, request, read, name, weights)
    if (folder / HF_CONFIG).is_file():
        return _read_huggingface(folder, request, read, name, weights)
    files = sorted(p.name for p in folder.iterdir() if p.suffix in (".pt", ".pth", ".bin", ".ckpt", ".safetensors"))
    what = f"name one of its files: {shorten(files)}" if files else "name a weights file"
    raise InputError(f"{folder} is a folder without {OPEN_CLIP_CONFIG} or {HF_CONFIG}; {what}")


def read_beside_config(path: Path, request: WeightsRequest, read: Reader) -> Weights | None:
    """Read a file that a configuration beside it describes; return None for a file that stands alone."""
    if path.name not in WEIGHT_FILES:
        return None
    configured = any((path.parent / name).is_file() for name in (OPEN_CLIP_CONFIG, HF_CONFIG))
    return read_folder(path.parent, request, read, weights=path) if configured else None


def _read_open_clip(folder: Path, request: WeightsRequest, read: Reader, name: str, weights: Path | None) -> Weights:
    config = read_json(folder / OPEN_CLIP_CONFIG)
    model_cfg = config.get("model_cfg")
    if not isinstance(model_cfg, dict) or not {"embed_dim", "vision_cfg", "text_cfg"} <= set(model_cfg):
        raise InputError(f"{folder / OPEN_CLIP_CONFIG} has no model_cfg with embed_dim, vision_cfg and text_cfg")
    checkpoint, paths = read_tensors(folder, weights, drop_unknown=request.drop_unknown)
    paths = _with_head_file(folder, paths)
    record = read_json(folder / RECORD) if (folder / RECORD).is_file() else {}
    head = None
    if (folder / HEAD_FILE).is_file():
        head = read_checkpoint(folder / HEAD_FILE).tensors
    found = weights_of_config(
        checkpoint.tensors,
        model_cfg,
        config.get("preprocess_cfg", {}),
        request,
        name=name,
        layout=str(record.get("layout", "open_clip")),
        sha256=sha256_of(paths),
        head=head,
        folder=folder,
    )
    return with_base_tower(found, base_in(record, str(folder)), request, str(folder), read)


def weights_of_config(
    tensors: dict[str, Tensor],
    model_cfg: Mapping[str, Any],
    preprocess_cfg: Mapping[str, Any],
    request: WeightsRequest,
    *,
    name: str,
    layout: str,
    sha256: str,
    head: dict[str, Tensor] | None = None,
    folder: Path | None = None,
) -> Weights:
    """Return weights whose architecture and image steps come from a configuration of open_clip."""
    found = dict(model_cfg)
    _refuse_unseen_tower(found, request, name)
    own = bool(found.get("quick_gelu", False))
    notes = []
    if request.quick_gelu is not None and request.quick_gelu != own:
        found["quick_gelu"] = request.quick_gelu
        said, instead = ("QuickGELU", "GELU") if own else ("GELU", "QuickGELU")
        notes.append(f"{name} runs with {instead} as asked; its configuration says {said}")
    spec = EncoderSpec(
        name=name,
        layout=layout,
        sha256=sha256,
        model_cfg=found,
        preprocessing=preprocessing_of(found, preprocess_cfg, request, name),
        notes=tuple(notes),
    )
    bare = {n.removeprefix("module."): t for n, t in tensors.items()}
    return Weights(replace(spec, notes=(*spec.notes, *missing_scale_notes(bare, name))), bare, head, folder)


def _refuse_unseen_tower(model_cfg: Mapping[str, Any], request: WeightsRequest, name: str) -> None:
    """Refuse a text tower of transformers whose configuration would have to be fetched without being asked for."""
    tower = model_cfg["text_cfg"].get("hf_model_name")
    if tower and not request.download and not Path(tower).is_dir():
        import huggingface_hub

        if not isinstance(huggingface_hub.try_to_load_from_cache(tower, HF_CONFIG), str):
            raise InputError(f"{name} needs the configuration of {tower}; add --download (download=True) to fetch it")


def _read_huggingface(folder: Path, request: WeightsRequest, read: Reader, name: str, weights: Path | None) -> Weights:
    config = huggingface.read_config(read_json(folder / HF_CONFIG), str(folder))
    preprocessing: dict[str, Any] = {}
    if (file := folder / "preprocessor_config.json").is_file():
        preprocessing = huggingface.preprocessing_of(read_json(file), str(folder))
    checkpoint, paths = read_tensors(folder, weights, drop_unknown=request.drop_unknown)
    found = from_checkpoint(checkpoint, paths, name, request, read, config=config, preprocessing=preprocessing)
    text = found.spec.model_cfg["text_cfg"]
    if text["vocab_size"] < 49408 and any((folder / n).is_file() for n in ("tokenizer.json", "vocab.json")):
        text["hf_tokenizer_name"] = name  # the vocabulary is the folder's own, not OpenAI's
    return found


def digest_of(path: Path) -> str:
    """Return the hash that a specification has for a weights file or a folder of weights, without reading tensors.

    Raises:
        InputError: There are no weights, or they cannot be read.
    """
    if not path.is_dir():
        return sha256_of([path])
    own = sha256_of(_with_head_file(path, weight_files(path)))
    record = read_json(path / RECORD) if (path / RECORD).is_file() else {}
    base = base_in(record, str(path))
    return own if base is None else joined_digest(own, base.sha256)


def _with_head_file(folder: Path, paths: list[Path]) -> list[Path]:
    return [*paths, folder / HEAD_FILE] if (folder / HEAD_FILE).is_file() else paths
