"""Low-rank factors on a frozen CLIP, as PAC-S++ trains them (Hu et al. 2022; Sarto et al. 2024)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.utils.parametrize import register_parametrization

from capreward.encoders.layouts.lora import ALPHA
from capreward.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

RANK = 4  # of PAC-S++
_MARK = ".parametrizations."


class Factors(nn.Module):
    """The parametrization of a weight that is tuned: ``W + alpha / rank * B A``.

    It is W itself, to the bit, until B is trained.

    Args:
        weight: The weight [out, in], or a convolution's [out, in, p, p], whose matrices are ``rank * p`` long.
        rank: The rank of the update.
        alpha: The size of the update, which is divided by the rank.
    """

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        patch = weight.shape[-1] if weight.dim() == 4 else 1
        options: dict[str, Any] = {"device": weight.device, "dtype": torch.float32}
        self.scale, self.alpha = alpha / rank, alpha
        self.lora_A = nn.Parameter(torch.empty(rank * patch, weight.shape[1] * patch, **options))
        self.lora_B = nn.Parameter(torch.zeros(weight.shape[0] * patch, rank * patch, **options))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight with the update, in its own precision."""
        kind = "cpu" if weight.is_meta else weight.device.type
        with torch.autocast(kind, enabled=False):  # else the update is rounded, not only what uses it
            update = (self.lora_B @ self.lora_A).reshape(weight.shape) * self.scale
            return (weight.float() + update).to(weight.dtype)


def add_lora(model: nn.Module, rank: int = RANK, alpha: float = ALPHA) -> list[str]:
    """Freeze a model and add factors to its attention, its MLPs and its patch embedding.

    Only the factors are trained.

    Biases, norms, embeddings and projections have none (metrics.md 1.6).

    Args:
        model: ``open_clip.CLIP`` or ``CustomTextCLIP`` with two transformers of open_clip's own.
        rank: The rank, 1 or more.
        alpha: The size of the update, above 0.

    Returns:
        The names of the weights with factors.

    Raises:
        InputError: The towers are of another kind, such as a ResNet, or a number is out of range.
    """
    if rank < 1 or alpha <= 0:
        raise InputError(f"LoRA wants a rank of 1 or more and an alpha above 0; found {rank} and {alpha:g}")
    _check(model)
    model.requires_grad_(False)
    names = []
    for owner, module, name in list(_targets(model)):
        register_parametrization(module, name, Factors(getattr(module, name), rank, alpha))
        names.append(f"{owner}.{name}")
    return names


def folded_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the state dict with the architecture's own names, where factors are folded into the weights."""
    plain: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        owner, mark, inside = name.partition(_MARK)
        weight, _, part = inside.partition(".")
        if not mark:
            plain[name] = value
        elif part == "original":
            plain[f"{owner}.{weight}"] = getattr(model.get_submodule(owner), weight).detach()
    return plain


def published_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of PAC-S++'s files, to be written by ``torch.save({"state_dict": ...}, path)``.

    The convolution and the attention keep W, with the factors beside it; B is scaled if alpha is not PAC-S++'s. The
    original loader ignores the factors of the MLPs, so these have their update in W and a B of zeros: every reader gets
    the same features.

    Raises:
        InputError: The model has no factors.
    """
    state, plain = model.state_dict(), folded_state(model)
    if len(state) == len(plain):
        raise InputError("the model has no LoRA factors to write; tune it with adapt: lora")
    for name, value in state.items():
        owner, mark, inside = name.partition(_MARK)
        weight, _, part = inside.partition(".")
        if not mark:
            continue
        if part == "original":
            if not _is_mlp(owner):
                plain[f"{owner}.{weight}"] = value
            continue
        factors: Any = model.get_submodule(f"{owner}{_MARK}{weight}.0")
        if part.endswith("lora_B"):
            value = torch.zeros_like(value) if _is_mlp(owner) else value * (factors.alpha / ALPHA)
        stem = f"{owner}.{weight}_" if weight == "in_proj_weight" else f"{owner}."
        plain[stem + part.rpartition(".")[-1]] = value
    return plain


def _check(model: Any) -> None:
    from capreward.encoders.model.backend import import_open_clip

    towers = import_open_clip().transformer
    if not isinstance(model.visual, towers.VisionTransformer):
        kind = type(model.visual).__name__
        raise InputError(f"LoRA is for vision transformers; this image tower is a {kind}: use adapt: projections")
    text = model.text if hasattr(model, "text") else model
    if not isinstance(getattr(text, "transformer", None), towers.Transformer):
        raise InputError(
            f"LoRA is for open_clip's own text tower; this one is a {type(text).__name__}: use adapt: projections"
        )
    if any(isinstance(module, Factors) for module in model.modules()):
        raise InputError("the model has LoRA factors already; fold them before adding others")


def _targets(model: nn.Module) -> Iterator[tuple[str, Any, str]]:
    """Yield the owner's name, the owner, and the name in it, for every weight with factors."""
    for name, module in model.named_modules():
        block = ".resblocks." in name
        if name == "visual.conv1" or (block and name.endswith((".attn.out_proj", ".mlp.c_fc", ".mlp.c_proj"))):
            yield name, module, "weight"
        elif block and name.endswith(".attn"):
            yield name, module, "in_proj_weight"


def _is_mlp(owner: str) -> bool:
    return ".mlp." in owner
