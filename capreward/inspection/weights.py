"""Views of weights: CLIPs in any layout, captioners, and folders of both."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capreward.errors import InputError
from capreward.inspection.views import View, command_text, count_text

if TYPE_CHECKING:
    from torch import Tensor

CAPTIONER = "captioner.json"
CAPTIONER_WEIGHTS = "captioner.safetensors"
# For each released layout of a captioner, a tensor that no other layout has.
_CAPTIONERS = {
    "model.tgt_embed.0.lut.weight": "CLIP-Caption-Reward's",
    "decoder.transformer.wte.weight": "DiCO's",
}


def checkpoint_view(path: str) -> View:
    """Return the view of a file of weights, whose tensors are mapped and not loaded.

    Raises:
        InputError: If the file is damaged, or holds another model.
    """
    if os.path.basename(path) == CAPTIONER_WEIGHTS:
        return captioner_view(os.path.dirname(path) or ".")
    from capreward.encoders.checkpoints.checkpoint import read_checkpoint
    from capreward.encoders.checkpoints.folder import WEIGHT_FILES
    from capreward.encoders.layouts.recognition import recognise

    if os.path.basename(path) in WEIGHT_FILES and _has_configuration(os.path.dirname(path)):
        return clip_folder_view(path)
    found = read_checkpoint(path, drop_unknown=True)
    layout = next((name for anchor, name in _CAPTIONERS.items() if anchor in found.tensors), None)
    if layout is not None:
        return _released_captioner_view(path, layout, found.tensors)
    known = recognise(found.tensors, path)
    facts = _clip_facts(known.name, known.model_cfg, known.tensors)
    line = f"{path}: CLIP in the layout {known.name} ({found.kind} file), {_clip_text(facts)}"
    notes = list(known.notes)
    if found.dropped:
        notes.append(f"it also holds objects that are left out: {', '.join(found.dropped)}")
    return View("CLIP", line, (), _clip_uses(path, facts), tuple(notes), facts)


def _has_configuration(folder: str) -> bool:
    """Return whether a folder holds a configuration of open_clip or of transformers."""
    from capreward.encoders.checkpoints.folder import HF_CONFIG, OPEN_CLIP_CONFIG

    return any(os.path.isfile(os.path.join(folder, name)) for name in (OPEN_CLIP_CONFIG, HF_CONFIG))


def clip_folder_view(path: str) -> View:
    """Return the view of a folder with a CLIP and its configuration, or of the file of weights in such a folder.

    Raises:
        InputError: If the folder is damaged, or holds another model.
    """
    from capreward.encoders.weights.source import read_weights

    found = read_weights(path)
    facts = _clip_facts(found.spec.layout, found.spec.model_cfg, found.tensors)
    facts["grammar head"] = found.head is not None
    facts["pixels"] = str(found.spec.preprocessing)
    line = f"{path}: CLIP in the layout {found.spec.layout} (with a configuration), {_clip_text(facts)}"
    line += f", pixels {facts['pixels']}"
    return View("CLIP", line, (), _clip_uses(path, facts), found.spec.notes, facts)


def hf_folder_view(path: str) -> View:
    """Return the view of a folder with transformers' ``config.json``: a CLIP, or DiCO's captioner.

    Raises:
        InputError: If the folder holds another model.
    """
    from capreward.encoders.checkpoints.folder import HF_CONFIG, read_json, read_tensors

    if read_json(Path(path) / HF_CONFIG).get("model_type") != "vision-encoder-decoder":
        return clip_folder_view(path)
    tensors = read_tensors(Path(path), drop_unknown=True)[0].tensors
    return _released_captioner_view(path, "DiCO's", tensors)


def captioner_view(path: str) -> View:
    """Return the view of a folder that holds a captioner of capreward.

    Raises:
        InputError: If the folder is damaged.
    """
    from capreward.encoders.checkpoints.folder import read_json

    config = read_json(Path(path) / CAPTIONER)
    tower = config.get("tower")
    source = tower.get("source", tower.get("kind")) if isinstance(tower, dict) else None
    tensors = _tensor_shapes(Path(path) / CAPTIONER_WEIGHTS)
    facts = {
        "captioner": config.get("captioner"),
        "tower": source,
        "tensors": len(tensors),
        "sizes": config.get("sizes"),
    }
    numbers = sum(map(math.prod, tensors.values()))
    line = (
        f"{path}: captioner of the kind {config.get('captioner')} on the tower {source}, "
        f"{count_text(len(tensors), 'tensor')}, {numbers:,} numbers"
    )
    return View("captioner", line, (), _captioner_uses(path), facts=facts)


def _released_captioner_view(path: str, layout: str, tensors: Mapping[str, Tensor]) -> View:
    facts = {"layout": layout, "tensors": len(tensors)}
    numbers = sum(tensor.numel() for tensor in tensors.values())
    line = f"{path}: captioner in {layout} layout, {count_text(len(tensors), 'tensor')}, {numbers:,} numbers"
    return View(
        "captioner",
        line,
        (),
        (*_captioner_uses(path), ("convert", command_text("convert", path, "FOLDER"))),
        facts=facts,
    )


def _tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors in a safetensors file, from its header alone."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} is damaged or not there ({str(error).partition(chr(10))[0]})") from error


def _clip_facts(layout: str, model_cfg: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    return {
        "layout": layout,
        "embed_dim": model_cfg.get("embed_dim"),
        "image tower": dict(model_cfg.get("vision_cfg") or {}),
        "text tower": dict(model_cfg.get("text_cfg") or {}),
        "grammar head": layout == "grammar",
        "tensors": len(tensors),
        "numbers": sum(tensor.numel() for tensor in tensors.values()),
    }


def _clip_text(facts: Mapping[str, Any]) -> str:
    parts = [
        f"embeddings of {facts['embed_dim']} numbers",
        _tower_text(facts["image tower"], "image"),
        _tower_text(facts["text tower"], "text"),
    ]
    if facts["grammar head"]:
        parts.append("a grammar head")
    return ", ".join([*parts, f"{count_text(facts['tensors'], 'tensor')} ({facts['numbers']:,} numbers)"])


def _tower_text(config: Mapping[str, Any], what: str) -> str:
    if not config:
        return f"no {what} tower"
    layers = config.get("layers")
    if isinstance(layers, (list, tuple)):
        return f"{what} tower ResNet {'-'.join(map(str, layers))} at {config.get('image_size')} pixels"
    if config.get("hf_model_name"):
        return f"{what} tower {config['hf_model_name']}"
    if config.get("timm_model_name"):
        return f"{what} tower {config['timm_model_name']}"
    size = f", patches of {config['patch_size']} at {config.get('image_size')} pixels" if "patch_size" in config else ""
    return f"{what} tower of {layers} layers x {config.get('width')}{size}"


def _clip_uses(path: str, facts: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    if facts["grammar head"]:
        return grammar_uses(path)
    name = "pacspp" if facts["layout"] == "pac-s++" else "clips"
    uses = [
        ("metric", command_text("score", "CAPTIONS", "-i", "IMAGES", "-m", f"{name}(checkpoint={path})")),
        ("reward", command_text("train", "--reward", f"{name}(checkpoint={path})")),
        ("keep features", command_text("embed", "IMAGES", "--model", path, "-o", "features")),
        ("tune", command_text("tune", "--base", path)),
    ]
    return tuple(uses)


def grammar_uses(path: str) -> tuple[tuple[str, str], ...]:
    """Return the uses of a CLIP with a grammar head."""
    metric = f"clips-grammar(checkpoint={path})"
    return (
        ("judge grammar", command_text("score", "CAPTIONS", "-m", f"grammar(checkpoint={path})")),
        ("metric", command_text("score", "CAPTIONS", "-i", "IMAGES", "-m", metric)),
        ("reward", command_text("train", "--reward", metric)),
    )


def _captioner_uses(path: str) -> tuple[tuple[str, str], ...]:
    return (
        ("caption", command_text("caption", "IMAGES", "--captioner", path, "-o", "captions.json")),
        ("train further", command_text("train", "--captioner", path)),
    )
