"""The facts about an encoder that its numbers depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Triple = tuple[float, float, float]

STATISTICS: Mapping[str, tuple[Triple, Triple]] = {
    "openai": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


@dataclass(frozen=True)
class Preprocessing:
    """The steps from a decoded image to an encoder's input.

    Attributes:
        size: The side of the square input in pixels.
        mean: The mean of each channel, for values in [0, 1].
        std: The standard deviation of each channel, for values in [0, 1].
        interpolation: The filter, ``bicubic`` or ``bilinear``, both PIL's antialiased filters.
        resize: ``shortest`` (shorter side to ``size``, then centre crop) or ``squash`` (both sides to ``size``).
        decode: ``careful`` turns images upright by their EXIF tag and brings 16-bit and float images to 8 bits;
            ``original`` does neither, like the original scripts.
        cropping: The library whose order and rounding are used: ``torchvision`` (openai/CLIP: colours become RGB last,
            half a pixel of margin is rounded to even) or ``transformers`` (its image processor in PIL, which DiCO used:
            RGB first, half a pixel is dropped).
    """

    size: int = 224
    mean: Triple = STATISTICS["openai"][0]
    std: Triple = STATISTICS["openai"][1]
    interpolation: str = "bicubic"
    resize: str = "shortest"
    decode: str = "careful"
    cropping: str = "torchvision"

    @property
    def statistics(self) -> str:
        """The name of mean and std, or their numbers."""
        known = {value: name for name, value in STATISTICS.items()}
        return known.get((self.mean, self.std)) or ",".join(f"{v:g}" for v in (*self.mean, *self.std))

    def __str__(self) -> str:
        # The usual cropping is not written, so that older signatures and stored features stay valid.
        other = "" if self.cropping == "torchvision" else f"-{self.cropping}"
        return f"{self.size}-{self.resize}-{self.interpolation}-{self.statistics}-{self.decode}{other}"


@dataclass(frozen=True)
class EncoderSpec:
    """The weights, the architecture and the preprocessing of an encoder.

    Attributes:
        name: The short name in signatures: ``ViT-B-32:openai``, or the name of a file or folder.
        layout: The layout of the file: ``openai``, ``open_clip``, ``hf``, ``pac-s++`` or ``grammar``.
        sha256: The SHA-256 of the weights file.
        model_cfg: The architecture as open_clip writes it: ``embed_dim``, ``quick_gelu``, ``vision_cfg``, ``text_cfg``.
        preprocessing: The image steps of the image tower.
        notes: Sentences for people about what was assumed or left out.
        images: The specification of the weights whose unchanged image tower it has; None if the image tower is its own.
    """

    name: str
    layout: str
    sha256: str
    model_cfg: Mapping[str, Any]
    preprocessing: Preprocessing
    notes: tuple[str, ...] = field(default=(), compare=False)
    images: EncoderSpec | None = field(default=None, compare=False)

    @property
    def quick_gelu(self) -> bool:
        """Whether the activation is QuickGELU (OpenAI's weights) and not the exact GELU."""
        return bool(self.model_cfg.get("quick_gelu", False))

    def fields(self) -> dict[str, object]:
        """Return the facts that change a number, for signatures."""
        activation = "quickgelu" if self.quick_gelu else "gelu"
        return {"model": self.name, "sha": self.sha256[:12], "act": activation, "prep": str(self.preprocessing)}

    def image_fields(self) -> dict[str, object]:
        """Return the facts that change a picture's feature: those of the weights that the image tower comes from."""
        return (self.images or self).fields()
