"""Loading of a CLIP: its model, its tokenizer and the facts that its numbers depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capreward.encoders.checkpoints.nonfinite import refuse_nonfinite
from capreward.encoders.spec import EncoderSpec
from capreward.encoders.weights.source import read_weights
from capreward.encoders.weights.types import Weights, WeightsRequest

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass
class Clip:
    """A loaded CLIP.

    Attributes:
        model: An ``open_clip.CLIP`` or ``CustomTextCLIP`` in evaluation mode, without gradients. If the weights have no
            image tower, encoding an image raises ``InputError``.
        tokenizer: A function from N texts to token ids, int64 [N, L].
        spec: The name, hash, architecture, preprocessing and notes.
        grammar_head: The grammar head of CLIP-Caption-Reward's checkpoint in float32, from pooled text features before
            the projection [N, d] to logits [N, 2] (class 1 is grammatical); None for other weights.
    """

    model: Any
    tokenizer: Any
    spec: EncoderSpec
    grammar_head: Any = None


def load_clip(
    source: str | Path,
    *,
    quick_gelu: bool | None = None,
    statistics: str | None = None,
    precision: str = "fp32",
    device: str = "cpu",
    lora_mlp: bool = False,
    download: bool = False,
    decode: str = "careful",
    base: str | Path | None = None,
) -> Clip:
    """Load a CLIP in any of the known layouts; no code in a file is run.

    Args:
        source: The weights, as :func:`~capreward.encoders.weights.source.read_weights` takes them.
        quick_gelu: Whether the activation is QuickGELU; a value wins over the weights, None takes what they state.
        statistics: The image statistics ``openai``, ``half`` or ``imagenet``; a value wins, as for ``quick_gelu``.
        precision: ``fp32``, ``fp16`` or ``bf16``; see :func:`~capreward.encoders.model.open_clip_model.build_model`.
        device: The device that gets the model.
        lora_mlp: Whether to fold PAC-S++'s LoRA factors of the MLP too; its own loader leaves them out.
        download: Whether to fetch ``MODEL:TAG`` or ``hf-hub:`` weights that are not on this computer.
        decode: How images are decoded; see :class:`~capreward.encoders.spec.Preprocessing`.
        base: Weights whose image tower completes a file without one, such as CLIP-Caption-Reward's stripped file.

    Returns:
        The model with its tokenizer; ``spec.notes`` says what was assumed or left out.

    Raises:
        InputError: The weights are missing, damaged or of another model.
    """
    request = WeightsRequest(
        quick_gelu=quick_gelu,
        statistics=statistics,
        decode=decode,
        lora_mlp=lora_mlp,
        download=download,
        base=base,
    )
    return clip_of(read_weights(source, request), precision=precision, device=device, download=download)


def clip_of(weights: Weights, *, precision: str = "fp32", device: str = "cpu", download: bool = False) -> Clip:
    """Build the model and the tokenizer of weights that have been read; see :func:`load_clip`."""
    from capreward.encoders.model.open_clip_model import build_model
    from capreward.encoders.model.tokenizers import tokenizer_of

    spec = weights.spec
    model = build_model(spec.model_cfg, weights.tensors, spec.name, precision)
    tokenizer = tokenizer_of(spec.model_cfg, weights.folder, spec.name, download=download)
    head = None if weights.head is None else _grammar_head(weights.head, f"{spec.name}, grammar head").to(device)
    return Clip(model.to(device), tokenizer, spec, head)


def _grammar_head(tensors: Mapping[str, Tensor], where: str) -> nn.Module:
    """Build the grammar head: ``Linear(d, d)``, ReLU, ``Linear(d, 2)``, both without bias.

    Raises:
        InputError: A value is NaN or infinite.
    """
    from torch import nn

    refuse_nonfinite(tensors, where)
    width = tensors["0.weight"].shape[0]
    head = nn.Sequential(nn.Linear(width, width, bias=False), nn.ReLU(), nn.Linear(width, 2, bias=False))
    head.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    return head.eval().requires_grad_(False)
