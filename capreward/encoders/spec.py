"""What an encoder is, as far as a number depends on it."""

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
    """From a decoded image to an encoder's input.

    Attributes:
        size: side of the square input in pixels.
        mean: per channel, of values in [0, 1].
        std: per channel, of values in [0, 1].
        interpolation: ``bicubic`` or ``bilinear``, PIL's antialiased filters.
        resize: ``shortest`` (shorter side to ``size``, then centre crop) or ``squash`` (both sides to ``size``).
        decode: ``careful`` turns images upright by their EXIF tag and brings 16-bit and float images to 8 bits;
            ``original`` does neither, as the original scripts.
        cropping: whose order and rounding: ``torchvision`` (openai/CLIP: colours become RGB last, half a pixel of
            margin is rounded to even) or ``transformers`` (its image processor in PIL, which DiCO used: RGB first, half
            a pixel is dropped).
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
        """The name of mean and std, or the numbers."""
        known = {value: name for name, value in STATISTICS.items()}
        return known.get((self.mean, self.std)) or ",".join(f"{v:g}" for v in (*self.mean, *self.std))

    def __str__(self) -> str:
        # The usual cropping goes unsaid, so that signatures and stored features from before there were two still hold.
        other = "" if self.cropping == "torchvision" else f"-{self.cropping}"
        return f"{self.size}-{self.resize}-{self.interpolation}-{self.statistics}-{self.decode}{other}"


@dataclass(frozen=True)
class EncoderSpec:
    """Which weights, which architecture, which preprocessing.

    Attributes:
        name: short name for signatures: ``ViT-B-32:openai``, a file's or folder's name.
        layout: of the file it came from: ``openai``, ``open_clip``, ``hf``, ``pac-s++``, ``grammar``.
        sha256: of the weights file.
        model_cfg: open_clip's architecture: ``embed_dim``, ``quick_gelu``, ``vision_cfg``, ``text_cfg``.
        preprocessing: of the image tower.
        notes: what was assumed or left out, one sentence each, for people.
        images: of the weights whose image tower it has, unchanged; None where the image tower is its own.
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
        """QuickGELU (OpenAI's weights) rather than the exact GELU."""
        return bool(self.model_cfg.get("quick_gelu", False))

    def fields(self) -> dict[str, object]:
        """What of it changes a number, for signatures."""
        activation = "quickgelu" if self.quick_gelu else "gelu"
        return {"model": self.name, "sha": self.sha256[:12], "act": activation, "prep": str(self.preprocessing)}

    def image_fields(self) -> dict[str, object]:
        """What of it changes a picture's feature: that of the weights whose image tower it is."""
        return (self.images or self).fields()
