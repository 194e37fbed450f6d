"""The tokens of an image tower before they are pooled: what captioners look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from capreward.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from capreward.encoders.spec import EncoderSpec


def image_tokens(model: Any, pixels: Tensor) -> Tensor:
    """Tokens of the last block, before the last norm, pooling and projection.

    Of a ViT the class token and the patches, row by row (transformers' ``last_hidden_state``); of a ResNet the grid of
    its last layer, row by row, before the attention pooling.

    Args:
        model: open_clip's, in evaluation mode.
        pixels: normalised, float [B, 3, side, side].

    Returns:
        [B, S, D] in the model's precision.

    Raises:
        InputError: an image tower of another kind.
    """
    visual = model.visual
    kind = type(visual).__name__
    ready = pixels.to(next(visual.parameters()).dtype)
    if kind == "VisionTransformer":
        tokens: Tensor = visual.transformer(visual._embeds(ready))
        return tokens
    if kind == "ModifiedResNet":
        grid = visual.stem(ready)
        for layer in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
            grid = layer(grid)
        cells: Tensor = grid.flatten(2).transpose(1, 2)
        return cells
    raise InputError(f"tokens are read from ViT and ResNet towers; found {kind}")


def tokens_shape(spec: EncoderSpec, side: int | None = None) -> tuple[int, int]:
    """(S, D): how many tokens of what width ``image_tokens`` gives.

    Args:
        spec: of the encoder.
        side: of the pixels, where it is not the encoder's own.

    Raises:
        InputError: an image tower of another kind.
    """
    vision = spec.model_cfg["vision_cfg"]
    side = side or spec.preprocessing.size
    layers = vision.get("layers", 12)
    if vision.get("timm_model_name"):
        raise InputError(f"{spec.name} has a timm image tower; tokens are read from ViT and ResNet towers")
    if isinstance(layers, (list, tuple)):
        return (side // 32) ** 2, int(vision["width"]) * 32
    patch = int(vision["patch_size"])
    return (side // patch) ** 2 + 1, int(vision["width"])
