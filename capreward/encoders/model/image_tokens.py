"""The tokens of an image tower before pooling, which captioners read."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from capreward.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from capreward.encoders.spec import EncoderSpec


def image_tokens(model: Any, pixels: Tensor) -> Tensor:
    """Return the tokens of the last block, before the last norm, pooling and projection.

    For a ViT these are the class token and the patches, row by row (transformers' ``last_hidden_state``); for a ResNet
    the grid of its last layer, row by row, before the attention pooling.

    Args:
        model: The model of open_clip, in evaluation mode.
        pixels: Normalised pixels, float [B, 3, side, side].

    Returns:
        The tokens [B, S, D] in the model's precision.

    Raises:
        InputError: The image tower is of another kind.
    """
    visual = model.visual
    kind = type(visual).__name__
    if kind not in ("VisionTransformer", "ModifiedResNet"):
        raise InputError(f"tokens are read from ViT and ResNet towers; found {kind}")
    ready = pixels.to(
        visual.conv1.weight.dtype
    )  # in half precision the class token, the first parameter, stays float32
    if kind == "VisionTransformer":
        tokens: Tensor = visual.transformer(visual._embeds(ready))
        return tokens
    grid = visual.stem(ready)
    for layer in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
        grid = layer(grid)
    cells: Tensor = grid.flatten(2).transpose(1, 2)
    return cells


def tokens_shape(spec: EncoderSpec) -> tuple[int, int]:
    """Return (S, D): the number and the width of the tokens that ``image_tokens`` gives for this specification.

    Raises:
        InputError: The image tower is of another kind.
    """
    vision = spec.model_cfg["vision_cfg"]
    side = spec.preprocessing.size
    layers = vision.get("layers", 12)
    if vision.get("timm_model_name"):
        raise InputError(f"{spec.name} has a timm image tower; tokens are read from ViT and ResNet towers")
    if isinstance(layers, (list, tuple)):
        return (side // 32) ** 2, int(vision["width"]) * 32
    patch = int(vision["patch_size"])
    return (side // patch) ** 2 + 1, int(vision["width"])


def token_spec(
    spec: EncoderSpec, side: int | None = None, resize: str | None = None, cropping: str | None = None
) -> EncoderSpec:
    """Return the specification with the image steps that its tokens are made with.

    Args:
        spec: The specification of the encoder.
        side: The side of the input in pixels, a multiple of 32; None is the encoder's own. Only a ResNet takes another.
        resize: The resizing, ``shortest`` or ``squash``; None is the encoder's own.
        cropping: The cropping, ``torchvision`` or ``transformers``; None is the encoder's own.

    Raises:
        InputError: The tower cannot take the side, or the resizing or the cropping is unknown.
    """
    from capreward.data.images.preprocessing import CROPPINGS

    steps = spec.preprocessing
    if resize not in (None, "shortest", "squash"):
        raise InputError(f"resize is {resize!r}; it must be shortest or squash")
    if cropping not in (None, *CROPPINGS):
        raise InputError(f"cropping is {cropping!r}; it must be {' or '.join(CROPPINGS)}")
    if side not in (None, steps.size):
        if not isinstance(spec.model_cfg["vision_cfg"].get("layers", 12), (list, tuple)):
            raise InputError(
                f"{spec.name} has positions for {steps.size} pixels a side, not {side}; leave the side out"
            )
        if side < 32 or side % 32:
            raise InputError(f"a ResNet's side must be a multiple of 32; found {side}")
    taken = replace(steps, size=side or steps.size, resize=resize or steps.resize, cropping=cropping or steps.cropping)
    return replace(spec, preprocessing=taken)


def tokens_digest(model: Any) -> str:
    """Return the SHA-256 of the tensors that an image tower's tokens depend on, in half precision, and of its heads.

    One tower has one digest in OpenAI's file, in transformers' folder and inside a captioner's checkpoint, in single or
    half precision, although the files' own hashes differ. The activation is no part of the digest.

    Args:
        model: The model of open_clip, or another model with its image tower as ``visual``.
    """
    found = hashlib.sha256()
    state = model.visual.state_dict()
    if type(model.visual).__name__ == "VisionTransformer":
        found.update(f"{model.visual.transformer.resblocks[0].attn.num_heads} heads".encode())
    for name in sorted(state):
        if name.split(".")[0] in ("proj", "ln_post", "attnpool") or name.endswith("num_batches_tracked"):
            continue
        tensor = state[name].half().cpu().contiguous()
        found.update(f"{name}{list(tensor.shape)}".encode())
        found.update(memoryview(tensor.numpy()).cast("B"))
    return found.hexdigest()
