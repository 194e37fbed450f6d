"""Weights from a file that stands alone: its layout, its architecture, and assumptions about what it leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capreward.encoders.checkpoints.checkpoint import Checkpoint, read_checkpoint, sha256_of
from capreward.encoders.spec import STATISTICS, EncoderSpec, Preprocessing, Triple
from capreward.encoders.weights.base_weights import joined_digest
from capreward.encoders.weights.types import Reader, Weights, WeightsRequest
from capreward.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from capreward.encoders.layouts.huggingface import HFConfig
    from capreward.encoders.layouts.recognition import Layout


def read_file(path: Path, request: WeightsRequest, read: Reader) -> Weights:
    """Read a file that stands alone, whose shapes show its architecture.

    Args:
        path: The weights file.
        request: What the user says about the weights.
        read: A function that reads the base that the request names.
    """
    checkpoint = read_checkpoint(path, drop_unknown=request.drop_unknown)
    return from_checkpoint(checkpoint, [path], path.name, request, read)


def from_checkpoint(
    checkpoint: Checkpoint,
    paths: list[Path],
    name: str,
    request: WeightsRequest,
    read: Reader,
    *,
    config: HFConfig | None = None,
    preprocessing: Mapping[str, Any] | None = None,
) -> Weights:
    """Recognise a checkpoint's layout and decide what its shapes leave open.

    Args:
        checkpoint: The tensors of one or several files.
        paths: The files.
        name: The name of the weights in signatures.
        request: What the user says about the weights.
        read: A function that reads the base that the request names.
        config: The configuration of transformers, if there is one.
        preprocessing: Mean, std and interpolation, if a configuration states them.

    Raises:
        InputError: The tensors are of another model, parts of the CLIP are missing, or there is a text tower alone.
    """
    from capreward.encoders.layouts.recognition import recognise

    where = str(paths[0])
    layout = recognise(checkpoint.tensors, where, lora_mlp=request.lora_mlp, config=config)
    if checkpoint.dropped:
        left_out = f"objects of {', '.join(checkpoint.dropped)} in {name} are left out"
        layout = replace(layout, notes=(*layout.notes, left_out))
    known = preprocessing or {}
    if layout.has_image_tower:
        return _weights_of_layout(layout, paths, name, request, known)
    if request.base is not None:
        base = read(request.base, replace(request, base=None))
        same = replace(
            request, quick_gelu=base.spec.quick_gelu, statistics="openai"
        )  # the image steps come from the base
        return _with_image_tower_of(_weights_of_layout(layout, paths, name, same, known), base, where)
    if layout.head is None:
        raise InputError(
            f"{where} has a text tower and no image tower; give the CLIP that it was tuned from by base= or --base"
        )
    note = f"{name} has no image tower: give the CLIP that it was tuned from by base= or --base to encode images"
    return _weights_of_layout(replace(layout, notes=(note, *layout.notes)), paths, name, request, known)


def _weights_of_layout(
    layout: Layout, paths: list[Path], name: str, request: WeightsRequest, known: Mapping[str, Any]
) -> Weights:
    """Decide activation and image steps, and note what was assumed."""
    own = layout.model_cfg.get("quick_gelu")
    notes = [*layout.notes, *_assumption_notes(name, request, activation=own is not None, statistics="mean" in known)]
    notes += missing_scale_notes(layout.tensors, name)
    quick_gelu = request.quick_gelu if request.quick_gelu is not None else own is not False
    spec = EncoderSpec(
        name=name,
        layout=layout.name,
        sha256=sha256_of(paths),
        model_cfg={**layout.model_cfg, "quick_gelu": quick_gelu},
        preprocessing=preprocessing_of(layout.model_cfg, known, request, str(paths[0])),
        notes=tuple(notes),
    )
    return Weights(spec, layout.tensors, layout.head, paths[0].parent)


def missing_scale_notes(tensors: Mapping[str, Tensor], name: str) -> list[str]:
    """Return a sentence about weights without the scale of their logits, or nothing."""
    if "logit_scale" in tensors:
        return []
    return [f"{name} has no logit_scale: no feature depends on it, but these weights cannot be tuned or converted"]


def _with_image_tower_of(weights: Weights, base: Weights, where: str) -> Weights:
    """Return a text tower with the image tower and the image steps of the CLIP that it was tuned from."""
    spec, whole = weights.spec, base.spec
    if whole.model_cfg["embed_dim"] != spec.model_cfg["embed_dim"]:
        sizes = f"{spec.model_cfg['embed_dim']} and {whole.model_cfg['embed_dim']}"
        raise InputError(f"{where} and its base {whole.name} have features of {sizes} numbers; they must be the same")
    merged = replace(
        spec,
        name=f"{spec.name}+{whole.name}",
        sha256=joined_digest(spec.sha256, whole.sha256),
        model_cfg={**spec.model_cfg, "vision_cfg": whole.model_cfg["vision_cfg"]},
        preprocessing=whole.preprocessing,
        notes=(*whole.notes, *spec.notes),
        images=whole if spec.quick_gelu == whole.quick_gelu else None,
    )
    images = {n: t for n, t in base.tensors.items() if n.startswith("visual.")}
    return replace(weights, spec=merged, tensors={**weights.tensors, **images})


def _assumption_notes(name: str, request: WeightsRequest, *, activation: bool, statistics: bool) -> list[str]:
    """Return a sentence about what neither the file nor the user states; OpenAI's values are assumed."""
    taken = {}
    if request.quick_gelu is None and not activation:
        taken["activation"] = "QuickGELU"
    if request.statistics is None and not statistics:
        taken["image statistics"] = "OpenAI's"
    if not taken:
        return []
    return [
        f"{name} does not say its {' and '.join(taken)}; taken: {' and '.join(taken.values())} "
        "(quick_gelu and statistics change that)"
    ]


def preprocessing_of(
    model_cfg: Mapping[str, Any], known: Mapping[str, Any], request: WeightsRequest, where: str
) -> Preprocessing:
    """Return the image steps of an architecture, from its configuration and from what the user says.

    Args:
        model_cfg: The architecture as open_clip writes it; it holds the image size.
        known: ``mean``, ``std``, ``interpolation`` and ``resize_mode`` of a configuration; OpenAI's values if missing.
        request: What the user says about the weights; statistics given there win.
        where: The name of the source in messages.

    Raises:
        InputError: No encoder here takes the steps: an image that is not square, or ``resize_mode: longest``.
    """
    size = model_cfg["vision_cfg"].get("image_size", 224)
    sides = list(size) if isinstance(size, (list, tuple)) else [size]
    interpolation = known.get("interpolation") or "bicubic"
    resize = known.get("resize_mode") or "shortest"
    if len(set(sides)) > 1:
        raise InputError(f"{where} takes images of {sides[1]} by {sides[0]} pixels; only square ones are supported")
    if resize not in ("shortest", "squash"):
        raise InputError(f"{where} has the resize mode {resize!r}; only shortest and squash are supported")
    mean, std = STATISTICS[request.statistics or "openai"]
    if request.statistics is None:
        mean, std = _triple(known.get("mean"), mean, where), _triple(known.get("std"), std, where)
    return Preprocessing(
        size=int(sides[0]),
        mean=mean,
        std=std,
        interpolation="bicubic" if interpolation == "random" else interpolation,
        resize=resize,
        decode=request.decode,
    )


def _triple(values: Any, default: Triple, where: str) -> Triple:
    if values is None:
        return default
    found = tuple(float(v) for v in (values if isinstance(values, (list, tuple)) else [values] * 3))
    if len(found) != 3:
        raise InputError(f"{where} has {len(found)} channels in its mean or std; 3 are needed")
    return found
