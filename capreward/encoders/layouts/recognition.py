"""The recognition of layouts: state dicts are recognised by their names and brought to open_clip's names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from capreward.encoders.layouts import huggingface
from capreward.encoders.layouts.lora import fold_lora, has_lora
from capreward.encoders.layouts.shapes import architecture
from capreward.errors import InputError, shorten

if TYPE_CHECKING:
    from torch import Tensor

    from capreward.encoders.layouts.huggingface import HFConfig

_TEXT_ANCHOR = "token_embedding.weight"
_WRAPPERS = ("module.", "_orig_mod.", "model.", "clip_model.", "clip.")
_HEAD = "grammar_score_head."
# Tensors of TorchScript archives that are no weights.
_NOT_WEIGHTS = frozenset(("input_resolution", "context_length", "vocab_size", "attn_mask"))


@dataclass(frozen=True)
class Layout:
    """A recognised state dict.

    Attributes:
        name: The layout: ``openai``, ``open_clip``, ``hf``, ``pac-s++`` or ``grammar``.
        tensors: The tensors under open_clip's names, which OpenAI's files have too. Without an image tower there is no
            name that starts with ``visual.``.
        model_cfg: The architecture as open_clip writes it; ``quick_gelu`` is there only if a configuration states it.
        head: CLIP-Caption-Reward's grammar head as ``0.weight`` [d, d] and ``2.weight`` [2, d], or None.
        notes: Sentences for people about what was left out.
    """

    name: str
    tensors: dict[str, Tensor]
    model_cfg: dict[str, Any]
    head: dict[str, Tensor] | None
    notes: tuple[str, ...]

    @property
    def has_image_tower(self) -> bool:
        """Whether images can be encoded."""
        return bool(self.model_cfg["vision_cfg"])


def recognise(
    tensors: Mapping[str, Tensor], where: str, *, lora_mlp: bool = False, config: HFConfig | None = None
) -> Layout:
    """Recognise a CLIP by the names of its tensors and infer its architecture from their shapes.

    Args:
        tensors: The tensors under the names of the file; prefixes such as ``module.`` and ``clip_model.`` are removed.
        where: The name of the file in messages.
        lora_mlp: Whether to fold PAC-S++'s LoRA factors of the MLP too.
        config: The configuration of a transformers folder, for facts that shapes do not show.

    Raises:
        InputError: The tensors are of another model, whose names the message shows, or parts of the CLIP are missing.
    """
    bare, head = _split_head(_without_wrappers(tensors, where), where)
    notes: tuple[str, ...] = ()
    if huggingface.TEXT_ANCHOR in bare:
        name, plain = "grammar" if head else "hf", huggingface.from_hf(bare, where)
    else:
        custom = f"text.{_TEXT_ANCHOR}" in bare
        name = "open_clip" if custom or "logit_bias" in bare else "openai"
        plain = {_without_text_prefix(n): t for n, t in bare.items() if n not in _NOT_WEIGHTS}
        if has_lora(plain):
            name = "pac-s++"
            plain, notes = fold_lora(plain, where, mlp=lora_mlp)
        if head:
            name = "grammar"
    if "logit_scale" in plain:
        plain["logit_scale"] = plain["logit_scale"].reshape(())
    model_cfg = architecture(plain, where, config.heads if config else None)
    if config is not None:
        model_cfg = {**huggingface.with_epsilon(model_cfg, config), "quick_gelu": config.quick_gelu}
    return Layout(name, plain, model_cfg, head, notes)


def _without_wrappers(tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Return the tensors under names without the prefixes that training code puts before a model's own names."""
    found = dict(tensors)
    while not _has_anchor(found):
        prefix = next((w for w in _WRAPPERS if any(n.startswith(w) for n in found)), None)
        if prefix is None:
            raise InputError(_not_clip_message(tensors, where))
        found = {n.removeprefix(prefix): t for n, t in found.items()}
    return found


def _has_anchor(names: Mapping[str, Any]) -> bool:
    return any(anchor in names for anchor in (_TEXT_ANCHOR, f"text.{_TEXT_ANCHOR}", huggingface.TEXT_ANCHOR))


def _not_clip_message(tensors: Mapping[str, Tensor], where: str) -> str:
    names = list(tensors)
    if any(n.startswith("text.transformer.embeddings.") for n in names):
        return (
            f"{where} has a text tower of transformers, whose architecture is not in its tensors; "
            "give the folder with its open_clip_config.json, or open_clip's MODEL:TAG"
        )
    return (
        f"{where} is no CLIP: none of its {len(names):,} tensors is {_TEXT_ANCHOR} (OpenAI, open_clip, PAC-S) or "
        f"{huggingface.TEXT_ANCHOR} (transformers); found {shorten(names)}"
    )


def _split_head(tensors: dict[str, Tensor], where: str) -> tuple[dict[str, Tensor], dict[str, Tensor] | None]:
    """Separate the tensors of the grammar head from the others."""
    head = {n.removeprefix(_HEAD): t for n, t in tensors.items() if n.startswith(_HEAD)}
    if not head:
        return tensors, None
    shapes = {n: tuple(t.shape) for n, t in head.items()}
    if set(head) != {"0.weight", "2.weight"} or shapes["2.weight"] != (2, shapes["0.weight"][0]):
        raise InputError(f"{where}: its grammar head is {shapes}; 0.weight [d, d] and 2.weight [2, d] are needed")
    return {n: t for n, t in tensors.items() if not n.startswith(_HEAD)}, head


def _without_text_prefix(name: str) -> str:
    """Remove ``text.``, under which open_clip keeps a custom text tower; the native tower is the same without it."""
    return name.removeprefix("text.") if name.startswith("text.") else name
