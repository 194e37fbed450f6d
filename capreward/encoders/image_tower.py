"""An image tower by itself, as captioners' checkpoints carry it: a CLIP without its text tower and projections."""

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
    """What stands for a CLIP where there is an image tower alone.

    Args:
        visual: open_clip's image tower.
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
        tensors: its state dict, names without ``vision_model.``; the last norm may be absent, no token depends on it.
        where: names the file in messages.
        name: for signatures.
        sha256: of the file.
        config: transformers' ``clip_vision_model`` configuration; without one, OpenAI's activation and 64-wide heads.
        precision: ``fp32``, ``fp16`` or ``bf16``.
        device: where the tower goes.
        decode: ``careful`` or ``original``.

    Returns:
        A CLIP with ``model.visual`` alone and no tokenizer, of which ``image_tokens`` can be request.

    Raises:
        InputError: another model, parts missing, or an activation that open_clip does not have.
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
    model = build_model(model_cfg, {**visual, **_no_text()}, where, precision)
    spec = EncoderSpec(
        name=name,
        layout="image tower",
        sha256=sha256,
        model_cfg=model_cfg,
        preprocessing=preprocessing_of(model_cfg, {}, WeightsRequest(decode=decode), where),
    )
    return Clip(ImageTower(model.visual).to(device), None, spec)


def _no_text() -> dict[str, Tensor]:
    """Zeros for a text tower of the smallest size, which is built along and thrown away."""
    with torch.device("meta"):
        vision = {"layers": 1, "width": 64, "image_size": 32, "patch_size": 32}
        tower = import_open_clip().CLIP(1, vision, _NO_TEXT)
    return {n: torch.zeros(t.shape) for n, t in tower.state_dict().items() if not n.startswith("visual.")}
