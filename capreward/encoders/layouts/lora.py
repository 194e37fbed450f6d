"""The low-rank (LoRA) factors of PAC-S++, folded into plain CLIP weights as the original loader applies them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from capreward.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

ALPHA = 1.0  # the value of PAC-S++; the update is ALPHA / rank * B @ A
_NEGLIGIBLE = 1e-6  # relative to the norm of the weight


def has_lora(tensors: Mapping[str, Tensor]) -> bool:
    """Return whether a state dict holds low-rank factors."""
    return any(name.endswith("lora_A") for name in tensors)


def fold_lora(
    tensors: Mapping[str, Tensor], where: str, *, mlp: bool = False
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Fold the factors into the weights they belong to.

    The convolution and the attention (``in_proj``, ``out_proj``) get ``W + 0.25 B A`` (rank 4). The MLP keeps ``W``:
    the original builder ends in evaluation mode, where its linear layers mark themselves as merged while B is still
    zero, and loading a checkpoint does not undo the mark. That is right where the MLP was saved with its update merged.

    Args:
        tensors: The state dict in OpenAI's names, with factors ``NAME.lora_A`` [r, in], ``NAME.lora_B`` [out, r] (those
            of a convolution of patch p: [r p, in p], [out p, r p]) and ``attn.in_proj_weight_lora_A``, ``_lora_B``.
        where: The name of the file in messages.
        mlp: Whether to fold the MLP's factors too, for a checkpoint that was saved unmerged.

    Returns:
        The plain state dict, with folded weights in float32, and sentences about what was left out.

    Raises:
        InputError: A factor lacks its partner or its weight, or has a shape that does not fit.
    """
    plain = {name: value for name, value in tensors.items() if not name.endswith(("lora_A", "lora_B"))}
    left_out: list[float] = []
    for name in [n for n in tensors if n.endswith(("lora_A", "lora_B"))]:
        target = _target(name)
        partner = name[:-1] + ("B" if name.endswith("A") else "A")
        if partner not in tensors or target not in plain:
            raise InputError(f"{where}: {name} has no {partner if partner not in tensors else target} beside it")
        if name.endswith("B"):
            continue
        update = _update(tensors[name], tensors[partner], plain[target], where, target)
        if ".mlp." in target and not mlp:
            left_out.append(_relative(update, plain[target]))
        else:
            plain[target] = plain[target].float() + update
    return plain, _notes(left_out)


def _target(name: str) -> str:
    """Return the name of the weight that a factor belongs to."""
    stem = name[: -len("lora_A")]
    return stem[:-1] if stem.endswith("_") else f"{stem}weight"


def _update(a: Tensor, b: Tensor, weight: Tensor, where: str, target: str) -> Tensor:
    """Return ``alpha / r * B A`` in the weight's shape; the matrices of a convolution are r times its patch long."""
    patch = int(weight.shape[-1]) if weight.dim() == 4 else 1
    rank = a.shape[0] // patch
    if a.dim() != 2 or b.dim() != 2 or a.shape[0] != b.shape[1] or not rank:
        raise InputError(f"{where}: the factors of {target} are {tuple(a.shape)} and {tuple(b.shape)}; no product")
    if b.shape[0] * a.shape[1] != weight.numel():
        raise InputError(f"{where}: the factors of {target} do not give its shape {tuple(weight.shape)}")
    return (b.float() @ a.float()).reshape(weight.shape) * (ALPHA / rank)


def _relative(update: Tensor, weight: Tensor) -> float:
    if update.is_meta:
        return 0.0
    norm = float(weight.float().norm())
    return float(update.norm()) / norm if norm else float(update.norm())


def _notes(left_out: list[float]) -> tuple[str, ...]:
    if not left_out or max(left_out) <= _NEGLIGIBLE:
        return ()
    return (
        f"the LoRA factors of {len(left_out)} MLP layers are left out, as PAC-S++'s own loader does; they would change "
        f"these weights by up to {100 * max(left_out):.2g}% of their norm (lora_mlp=True, --lora-mlp folds them)",
    )
