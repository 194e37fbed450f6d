"""An image tower alone, as captioners' checkpoints hold it: a CLIP without its text tower and projections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from capreward.encoders.layouts.huggingface import from_hf
from capreward.encoders.layouts.shapes import image_architecture
from capreward.encoders.loading import Clip
from capreward.encoders.model.backend import import_open_clip
from capreward.encoders.model.open_clip_model import build_model
from capreward.encoders.spec import EncoderSpec
from capreward.encoders.weights.checkpoint_weights import preprocessing_of
from capreward.encoders.weights.types import WeightsRequest
from capreward.errors import InputError

_NO_TEXT = {"context_length": 1, "vocab_size": 1, "width": 64, "heads": 1, "layers": 1}
_ACTIVATIONS = {"quick_gelu": True, "gelu": False}


class ImageTower(nn.Module):
    """A stand-in for a CLIP where there is only an image tower.

    Args:
        visual: The image tower of open_clip.
    """

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        self.visual = visual


def image_tower(
    tensors: Mapping[str, Tensor],
    where: str,
    *,
    name: str,
    sha256: str,
    config: Mapping[str, Any] | None = None,
    precision: str = "fp32",
    device: str = "cpu",
    decode: str = "careful",
) -> Clip:
    """Build the tower of transformers' ``CLIPVisionModel``.

    Args:
        tensors: The state dict with names without ``vision_model.``; it may lack the last norm, which no token needs.
        where: The name of the file in messages.
        name: The name of the tower in signatures.
        sha256: The SHA-256 of the file.
        config: The ``clip_vision_model`` configuration of transformers; None means OpenAI's activation and heads of
            width 64.
        precision: The precision: ``fp32`` (default), ``fp16`` or ``bf16``.
        device: The device that gets the tower.
        decode: How images are decoded: ``careful`` (default) or ``original``.

    Returns:
        A CLIP with ``model.visual`` alone and no tokenizer; ``image_tokens`` accepts it.

    Raises:
        InputError: The tensors are of another model or incomplete, or open_clip lacks the activation.
    """
    told = config or {}
    activation = str(told.get("hidden_act", "quick_gelu"))
    if activation not in _ACTIVATIONS:
        raise InputError(f"{where} has the activation {activation}; quick_gelu or gelu is needed")
    visual = from_hf({f"vision_model.{n}": t for n, t in tensors.items()}, where)
    heads = told.get("num_attention_heads")
    vision = image_architecture(visual, where, None if heads is None else int(heads))
    epsilon = float(told.get("layer_norm_eps", 1e-5))
    if epsilon != 1e-5:
        vision["norm_kwargs"] = {"eps": epsilon}
    width = int(vision["width"])
    visual.setdefault("visual.proj", torch.zeros(width, 1))
    for part, fill in (("weight", torch.ones), ("bias", torch.zeros)):
        visual.setdefault(f"visual.ln_post.{part}", fill(width))
    model_cfg = {"embed_dim": 1, "quick_gelu": _ACTIVATIONS[activation], "vision_cfg": vision, "text_cfg": _NO_TEXT}
    model = build_model(model_cfg, {**visual, **_zero_text_tower()}, where, precision)
    spec = EncoderSpec(
        name=name,
        layout="image tower",
        sha256=sha256,
        model_cfg=model_cfg,
        preprocessing=preprocessing_of(model_cfg, {}, WeightsRequest(decode=decode), where),
    )
    return Clip(ImageTower(model.visual).to(device), None, spec)


def _zero_text_tower() -> dict[str, Tensor]:
    """Return zeros for the smallest text tower, which is built along with the image tower and thrown away."""
    with torch.device("meta"):
        vision = {"layers": 1, "width": 64, "image_size": 32, "patch_size": 32}
        tower = import_open_clip().CLIP(1, vision, _NO_TEXT)
    return {n: torch.zeros(t.shape) for n, t in tower.state_dict().items() if not n.startswith("visual.")}
