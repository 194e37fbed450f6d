"""The layout of transformers: its state dicts and configurations of CLIP, brought to open_clip's names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from capreward.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

TEXT_ANCHOR = "text_model.embeddings.token_embedding.weight"

_WHOLE: Mapping[str, str] = {
    "logit_scale": "logit_scale",
    TEXT_ANCHOR: "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm.weight": "visual.ln_pre.weight",  # transformers' own spelling
    "vision_model.pre_layrnorm.bias": "visual.ln_pre.bias",
    "vision_model.post_layernorm.weight": "visual.ln_post.weight",
    "vision_model.post_layernorm.bias": "visual.ln_post.bias",
}
_TRANSPOSED: Mapping[str, str] = {
    "text_projection.weight": "text_projection",
    "visual_projection.weight": "visual.proj",
}
_PARTS: Mapping[str, str] = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
_LAYER = re.compile(r"(text|vision)_model\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
_QKV = re.compile(r"self_attn\.([qkv])_proj")
_ACTIVATIONS: Mapping[str, bool] = {"quick_gelu": True, "gelu": False}
_HEADS: Mapping[str, int] = {"image": 12, "text": 8}  # the defaults of transformers, which config.json may omit
_EPSILON = 1e-5


def from_hf(tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Rename the tensors of a transformers CLIP to open_clip's; stack q, k and v and transpose the projections.

    Raises:
        InputError: A tensor is in no transformers CLIP, or an attention layer lacks q, k or v.
    """
    import torch

    found: dict[str, Tensor] = {}
    stacks: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.endswith("position_ids"):
            continue
        layer = _LAYER.fullmatch(name)
        if name in _WHOLE:
            found[_WHOLE[name]] = tensor
        elif name in _TRANSPOSED:
            found[_TRANSPOSED[name]] = tensor.t()
        elif layer is not None:
            block = f"{'visual.' if layer[1] == 'vision' else ''}transformer.resblocks.{layer[2]}."
            if (qkv := _QKV.fullmatch(layer[3])) is not None:
                stacks.setdefault(f"{block}attn.in_proj_{layer[4]}", {})[qkv[1]] = tensor
            elif layer[3] in _PARTS:
                found[f"{block}{_PARTS[layer[3]]}.{layer[4]}"] = tensor
            else:
                raise InputError(f"{where} has {name}, which no CLIP of transformers has")
        else:
            raise InputError(f"{where} has {name}, which no CLIP of transformers has")
    for name, parts in stacks.items():
        if len(parts) < 3:
            raise InputError(f"{where} lacks one of q, k and v for {name}")
        found[name] = torch.cat([parts["q"], parts["k"], parts["v"]])
    return found


@dataclass(frozen=True)
class HFConfig:
    """The facts in transformers' ``config.json`` that shapes do not show.

    Attributes:
        quick_gelu: Whether the activation is QuickGELU.
        heads: The number of attention heads of the towers ``image`` and ``text``.
        epsilon: The epsilon of the layer norms of the towers ``image`` and ``text``.
    """

    quick_gelu: bool
    heads: Mapping[str, int]
    epsilon: Mapping[str, float]


def read_config(config: Mapping[str, Any], where: str) -> HFConfig:
    """Read activation, heads and epsilons from the content of a ``config.json``.

    Raises:
        InputError: The configuration is not that of a CLIP, or open_clip lacks its activation.
    """
    if config.get("model_type") != "clip":
        raise InputError(f"{where} has a model of type {config.get('model_type')!r}; that of a CLIP is 'clip'")
    towers = {"image": _tower(config, "vision"), "text": _tower(config, "text")}
    names = {str(tower.get("hidden_act", "quick_gelu")) for tower in towers.values()}
    if len(names) > 1 or not names <= set(_ACTIVATIONS):
        raise InputError(f"{where} has the activation {' and '.join(sorted(names))}; quick_gelu or gelu is needed")
    return HFConfig(
        quick_gelu=_ACTIVATIONS[names.pop()],
        heads={n: int(t.get("num_attention_heads", _HEADS[n])) for n, t in towers.items()},
        epsilon={n: float(t.get("layer_norm_eps", _EPSILON)) for n, t in towers.items()},
    )


def with_epsilon(model_cfg: dict[str, Any], config: HFConfig) -> dict[str, Any]:
    """Return the architecture with the epsilons of the configuration, where they are not the usual ones."""
    found = dict(model_cfg)
    for tower, name in (("image", "vision_cfg"), ("text", "text_cfg")):
        if config.epsilon[tower] != _EPSILON:
            found[name] = {**found[name], "norm_kwargs": {"eps": config.epsilon[tower]}}
    return found


def preprocessing_of(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return mean, std and interpolation of transformers' ``preprocessor_config.json``.

    Raises:
        InputError: The interpolation is neither bilinear nor bicubic.
    """
    resample = config.get("resample", 3)
    if resample not in (2, 3):
        raise InputError(
            f"{where}: preprocessor_config.json has resample {resample!r}; 2 (bilinear) or 3 (bicubic) is needed"
        )
    found: dict[str, Any] = {"interpolation": "bilinear" if resample == 2 else "bicubic"}
    for name in ("mean", "std"):
        if f"image_{name}" in config:
            found[name] = tuple(float(v) for v in config[f"image_{name}"])
    return found


def _tower(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = config.get(f"{name}_config") or config.get(f"{name}_config_dict") or {}
    return found if isinstance(found, Mapping) else {}
