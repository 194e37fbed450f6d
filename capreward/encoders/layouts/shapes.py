"""The architecture of a CLIP, inferred from the shapes of its tensors (OpenAI's names)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from capreward.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

HEAD_WIDTH = 64  # the width of OpenAI's heads, and of open_clip's in towers up to a width of 1024
WIDE_HEADS = 16  # the number of heads in every wider image tower of open_clip (ViT-H, g, bigG, e)


def architecture(tensors: Mapping[str, Tensor], where: str, heads: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Infer open_clip's ``model_cfg`` (without ``quick_gelu``) from a state dict in OpenAI's names.

    Width, layers, patch and sizes follow from shapes. The number of heads does not: it is taken to be the width
    divided by 64, or 16 for image towers wider than 1024, as in every model of OpenAI and open_clip.

    Args:
        tensors: The state dict; without an image tower in it ``vision_cfg`` is empty.
        where: The name of the file in messages.
        heads: The number of heads of the towers ``image`` and ``text``, where a configuration states it.

    Raises:
        InputError: A tensor is missing or has a shape that no CLIP has.
    """
    known = heads or {}
    try:
        embed = int(tensors["text_projection"].shape[1])
        text = _text_config(tensors, where, known)
        vision = _vision_config(tensors, where, known)
    except (KeyError, IndexError, ZeroDivisionError) as error:
        raise InputError(f"{where} is no whole CLIP: {_missing_message(error)}") from error
    found = {"embed_dim": embed, "vision_cfg": vision, "text_cfg": text}
    if "logit_bias" in tensors:
        found["init_logit_bias"] = 0.0
    return found


def image_architecture(tensors: Mapping[str, Tensor], where: str, heads: int | None = None) -> dict[str, Any]:
    """Infer open_clip's ``vision_cfg`` from an image tower alone, in OpenAI's names; see ``architecture``.

    Args:
        tensors: The state dict of the tower, with names that start with ``visual.``.
        where: The name of the file in messages.
        heads: The number of heads, where a configuration states it.

    Raises:
        InputError: A tensor is missing or has a shape that no CLIP has.
    """
    try:
        return _vision_config(tensors, where, {} if heads is None else {"image": heads})
    except (KeyError, IndexError, ZeroDivisionError) as error:
        raise InputError(f"{where} has no whole image tower: {_missing_message(error)}") from error


def _missing_message(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"it has no {error.args[0]}"
    return "a tensor has a shape that no CLIP has"


def _text_config(tensors: Mapping[str, Tensor], where: str, heads: Mapping[str, int]) -> dict[str, Any]:
    width = int(tensors["ln_final.weight"].shape[0])
    return {
        "context_length": int(tensors["positional_embedding"].shape[0]),
        "vocab_size": int(tensors["token_embedding.weight"].shape[0]),
        "width": width,
        "heads": heads.get("text") or width // _head_width(width, "text", where),
        **_transformer_config(tensors, "transformer.", width),
    }


def _vision_config(tensors: Mapping[str, Tensor], where: str, heads: Mapping[str, int]) -> dict[str, Any]:
    if not any(name.startswith("visual.") for name in tensors):
        return {}
    if any(name.startswith("visual.trunk.") for name in tensors):
        raise InputError(
            f"{where} has an image tower of timm, whose architecture is not in its tensors; "
            "give the folder with its open_clip_config.json, or open_clip's MODEL:TAG"
        )
    return _resnet_config(tensors) if "visual.layer1.0.conv1.weight" in tensors else _vit_config(tensors, where, heads)


def _vit_config(tensors: Mapping[str, Tensor], where: str, heads: Mapping[str, int]) -> dict[str, Any]:
    width, _, _, patch = (int(n) for n in tensors["visual.conv1.weight"].shape)
    grid = _grid_side(int(tensors["visual.positional_embedding"].shape[0]) - 1, where)
    known = heads.get("image") or (WIDE_HEADS if width > 1024 else width // _head_width(width, "image", where))
    found = {
        "image_size": patch * grid,
        "patch_size": patch,
        "width": width,
        "head_width": width // known,
        **_transformer_config(tensors, "visual.transformer.", width),
    }
    if "visual.ln_pre.weight" not in tensors:
        found["no_ln_pre"] = True
    return found


def _resnet_config(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the architecture of OpenAI's modified ResNet.

    It has four stages, and an attention pool over a grid 32 times smaller than the image.
    """
    blocks = [_count_matches(tensors, rf"visual\.layer{stage}\.(\d+)\.") for stage in (1, 2, 3, 4)]
    grid = _grid_side(int(tensors["visual.attnpool.positional_embedding"].shape[0]) - 1, "its attention pool")
    width = int(tensors["visual.layer1.0.conv1.weight"].shape[0])
    return {"image_size": 32 * grid, "layers": blocks, "width": width, "patch_size": None}


def _transformer_config(tensors: Mapping[str, Tensor], prefix: str, width: int) -> dict[str, Any]:
    found: dict[str, Any] = {"layers": _count_matches(tensors, rf"{re.escape(prefix)}resblocks\.(\d+)\.")}
    hidden = int(tensors[f"{prefix}resblocks.0.mlp.c_fc.weight"].shape[0])
    if hidden != 4 * width:
        ratio = hidden / width
        found["mlp_ratio"] = ratio if int(width * ratio) == hidden else (hidden + 0.5) / width
    if f"{prefix}resblocks.0.ls_1.gamma" in tensors:
        found["ls_init_value"] = 1.0  # any value: the stored one replaces it
    return found


def _count_matches(tensors: Mapping[str, Tensor], pattern: str) -> int:
    """Return how many different numbers the group of the pattern takes."""
    matches = (re.match(pattern, name) for name in tensors)
    return len({match[1] for match in matches if match})


def _head_width(width: int, tower: str, where: str) -> int:
    if width % HEAD_WIDTH:
        raise InputError(
            f"{where}: its {tower} tower is {width} wide, so its heads, {HEAD_WIDTH} wide in OpenAI's, cannot be "
            "told; give a folder with open_clip_config.json that says them"
        )
    return HEAD_WIDTH


def _grid_side(cells: int, where: str) -> int:
    side = round(max(cells, 0) ** 0.5)
    if side * side != cells or not side:
        raise InputError(f"{where} has {cells} positions for image patches, which is no square grid")
    return int(side)
