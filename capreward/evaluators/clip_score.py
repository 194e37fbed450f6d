"""CLIP-S, PAC-S and PAC-S++: cosines of CLIP features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from capreward.encoders.pool import PRECISIONS, EncoderPool, EncoderSettings
from capreward.errors import InputError
from capreward.evaluators.base import Evaluator
from capreward.evaluators.clip_options import check_flags, check_numbers, check_texts
from capreward.evaluators.clip_texts import PROMPT, cut_note, prompt_of, prompted_features
from capreward.evaluators.clip_weights import choose_settings, features_of, shows_scenes, stored_precision
from capreward.samples import Samples

if TYPE_CHECKING:
    from torch import Tensor

    from capreward.encoders.encoder import Encoder, TextFeatures
    from capreward.encoders.spec import Preprocessing

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Prepared:
    """What the items alone determine; small enough to travel to another process.

    Attributes:
        settings: of the encoder that made the features.
        images: [M, D], normalised; NaN rows for broken images.
        references: [R, D], normalised, all items' references in order; None for reference-free scores.
        offsets: where each item's references begin, int64 [M + 1].
        notes: what a person should know, one line each.
    """

    settings: EncoderSettings
    images: Tensor
    references: Tensor | None
    offsets: npt.NDArray[np.int64]
    notes: tuple[str, ...]


class ClipScore(Evaluator):
    """``w * max(cos(image, prompt + caption), 0)``; the base of CLIP-S, PAC-S and PAC-S++.

    Args:
        checkpoint: weights: a file, a folder, ``MODEL:TAG``, ``hf-hub:...``, ``local-dir:...`` or ``scenes-clip``,
            ``scenes-pacs``, ``scenes-judge``; by default the published weights where they are found
            (``capreward weights``), and the scenes weights for pictures of ``scenes``.
        variant: which of the published weights, ``B/32`` (default) or ``L/14``.
        w: the factor; by default the paper's.
        prompt: put before captions and references; ``none`` for none.
        clamp: negative cosines count 0.
        raw: the bare cosine: w 1 and no clamp.
        precision: ``fp32`` (that of the published PAC-S values), ``bf16``, ``fp16``, or ``auto``: by device.
        legacy_fp16: features, normalisation and products in float16, as CLIPScore's script computes on a GPU.
        device: The device: ``auto`` (default), ``cpu``, ``cuda`` or ``cuda:1``.
        quick_gelu: Whether the activation is QuickGELU, for weights that do not state theirs.
        statistics: The pixel statistics ``openai``, ``half`` or ``imagenet``, for weights that do not state theirs.
        lora_mlp: Whether to fold PAC-S++'s LoRA factors of the MLP too; the original loader leaves them out.
        upright: turn images by their EXIF tag and bring 16-bit ones to 8 bits; the original scripts do neither.
        batch_size: images per batch; found by trial by default.
        workers: The number of processes that decode images; by default as many as help.
        skip_broken: broken images give NaN instead of an error.
        download: fetch the published weights where they are not here; ``MODEL:TAG`` and ``hf-hub:`` name what to fetch.
        base: Weights whose image tower completes a checkpoint that has no image tower.
    """

    family = ""
    default_w = 1.0
    needs = frozenset({"images"})
    applies_to = "captions of images that can be read"

    def __init__(
        self,
        checkpoint: str | None = None,
        variant: str | None = None,
        w: float | None = None,
        prompt: str | None = PROMPT,
        clamp: bool = True,
        raw: bool = False,
        precision: str = "fp32",
        legacy_fp16: bool = False,
        device: str = "auto",
        quick_gelu: bool | None = None,
        statistics: str | None = None,
        lora_mlp: bool = False,
        upright: bool = True,
        batch_size: int | None = None,
        workers: int | None = None,
        skip_broken: bool = False,
        download: bool = False,
        base: str | None = None,
    ) -> None:
        flags = {"clamp": clamp, "raw": raw, "legacy_fp16": legacy_fp16, "lora_mlp": lora_mlp, "upright": upright}
        check_flags(self.name, {**flags, "skip_broken": skip_broken, "download": download}, quick_gelu)
        texts = {"checkpoint": checkpoint, "variant": variant, "prompt": prompt, "device": device}
        check_texts(self.name, {**texts, "statistics": statistics, "base": base})
        check_numbers(self.name, w, {"batch_size": (batch_size, 1), "workers": (workers, 0)})
        if precision not in PRECISIONS:
            raise InputError(f"{self.name}: precision={precision!r} is none of {', '.join(PRECISIONS)}")
        if legacy_fp16 and precision == "bf16":
            raise InputError(f"{self.name}: legacy_fp16=true computes in fp16; leave precision=bf16 out")
        if raw and (w is not None or not clamp):
            raise InputError(f"{self.name}: raw=true is w=1 and clamp=false; give those instead")
        self.w = 1.0 if raw else w
        self.clamp = clamp and not raw
        self.prompt = prompt_of(prompt)
        self.variant = variant
        self.legacy_fp16 = legacy_fp16
        self.workers = workers
        self.skip_broken = skip_broken
        self.asked = EncoderSettings(
            checkpoint=str(checkpoint or ""),
            quick_gelu=quick_gelu,
            statistics=statistics,
            precision="fp16" if legacy_fp16 else precision,
            device=device,
            lora_mlp=lora_mlp,
            decode="careful" if upright else "original",
            batch_size=batch_size,
            download=download,
            base=None if base is None else str(base),
        )
        self.pool = EncoderPool()
        self._chosen: dict[bool, EncoderSettings] = {}
        self._encoder_fields: dict[str, object] = {"model": checkpoint or f"published-{variant or 'B/32'}"}
        self._progress: Callable[[str, float, float], None] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_progress": None, "_chosen": {}}

    @property
    def factor(self) -> float:
        """The w in use."""
        return self.default_w if self.w is None else self.w

    def watch(self, progress: Callable[[str, float, float], None] | None) -> None:
        """Report the encoding of images and texts."""
        self._progress = progress

    def parameters(self) -> dict[str, object]:
        """Weights, preprocessing and the formula's constants; the weights' hash once they have been loaded."""
        return {
            **self._encoder_fields,
            "w": f"{self.factor:g}",
            "prompt": self.prompt or "none",
            "clamp": "yes" if self.clamp else "no",
            "math": "fp16" if self.legacy_fp16 else None,
        }

    def encoder(self, samples: Samples) -> Encoder:
        """The encoder for these samples' images, loaded on first use.

        Raises:
            InputError: weights that are not found or cannot be used, with what to type.
        """
        encoder = self.pool.encoder(self._settings(samples))
        if getattr(encoder.clip.model, "logit_bias", None) is not None and self.w is None:
            raise InputError(
                f"{self.name}: {encoder.spec.name} was trained with a sigmoid loss, for whose cosines "
                f"w={self.default_w:g} means nothing; give w="
            )
        self._encoder_fields = {**encoder.fields(), "features": stored_precision(samples)}
        return encoder

    def _settings(self, samples: Samples) -> EncoderSettings:
        scenes = not self.asked.checkpoint and shows_scenes(samples)
        if scenes not in self._chosen:  # looking for weights may read a file: once is enough
            self._chosen[scenes] = choose_settings(self.asked, self.family, self.variant, scenes=scenes)
        return self._chosen[scenes]

    def preprocessings(self, samples: Samples) -> tuple[Preprocessing, ...]:
        """That of the encoder."""
        return (self.encoder(samples).spec.preprocessing,)

    def check_needs(self, samples: Samples) -> None:
        """The samples have images (and references), and the weights are there."""
        super().check_needs(samples)
        self.encoder(samples)

    def prepare(self, samples: Samples) -> Prepared:
        """Encode every item's image (and references)."""
        encoder = self.encoder(samples)
        images, notes = features_of(
            samples, encoder, workers=self.workers, skip_broken=self.skip_broken, progress=self._progress
        )
        references, offsets = None, np.zeros(samples.n_items + 1, dtype=np.int64)
        if "references" in self.needs:
            lists = samples.references or []
            offsets[1:] = np.cumsum([len(r) for r in lists])
            found = self._texts(samples, encoder, "references", lambda: [t for r in lists for t in r])
            references = self._normalised(found.values)
            notes = [*notes, *cut_note(found, "references", encoder)]
        return Prepared(self._settings(samples), self._normalised(images), references, offsets, tuple(notes))

    def scores(self, samples: Samples, prepared: Prepared) -> Tensor:
        """Per-caption scores, float32 [N] on the encoder's device, given samples it applies to."""
        import torch

        if len(prepared.images) != samples.n_items:
            raise InputError(
                f"{self.name} was prepared for {len(prepared.images):,} items and these samples have "
                f"{samples.n_items:,}; give key=[...] of the same items"
            )
        texts = self._texts(samples, self.pool.encoder(prepared.settings), "captions", lambda: samples.captions)
        captions = self._normalised(texts.values)
        item = torch.as_tensor(samples.item, device=captions.device)
        cosine = dot(prepared.images[item], captions)
        score = self.factor * (cosine.clamp(min=0) if self.clamp else cosine)
        return self.finished(score, captions, samples, prepared).float()

    def finished(self, score: Tensor, captions: Tensor, samples: Samples, prepared: Prepared) -> Tensor:
        """The score from the image-text part; reference-aware forms override."""
        return score

    def values(self, samples: Samples, prepared: Prepared) -> Floats:
        """[N] scores."""
        return np.asarray(self.scores(samples, prepared).double().cpu().numpy())

    def __call__(self, samples: Samples, prepared: Prepared | None = None) -> Tensor:
        """Judge each caption, without a gradient.

        Returns:
            float32 tensor [N] on the encoder's device; NaN where there are no references or the image was skipped.

        Raises:
            InputError: The samples lack what the evaluator needs.
        """
        import torch

        if prepared is None:
            self.check_needs(samples)
            prepared = self.prepare(samples)
        rows = self.applicable(samples)
        if rows is None:
            return self.scores(samples, prepared)
        spread = torch.full((len(samples),), torch.nan, device=prepared.images.device)
        if len(rows):
            spread[torch.as_tensor(rows, device=spread.device)] = self.scores(samples.take(rows), prepared)
        return spread

    def remarks(self, samples: Samples, prepared: Prepared) -> list[str]:
        """What was assumed of the weights, skipped, or cut at the context length."""
        encoder = self.pool.encoder(prepared.settings)
        said = [*encoder.spec.notes, *prepared.notes]
        if not self.asked.checkpoint and encoder.spec.name.startswith("scenes-"):
            said.insert(0, f"pictures of scenes are judged by {encoder.spec.name}, which ships with capreward")
        found = self._texts(samples, encoder, "captions", lambda: samples.captions)
        return said + cut_note(found, "captions", encoder)

    def _texts(self, samples: Samples, encoder: Encoder, what: str, texts: Callable[[], list[str]]) -> TextFeatures:
        return prompted_features(samples, encoder, what, self.prompt, texts, self._progress)

    def _normalised(self, features: Tensor) -> Tensor:
        """Divided by the L2 norm; in float16 the way CLIPScore's script does it, x / sqrt(sum(x^2))."""
        used = features.half() if self.legacy_fp16 else features
        unit: Tensor = used / (used * used).sum(dim=-1, keepdim=True).sqrt()
        return unit


class ClipS(ClipScore):
    """CLIP-S = 2.5 * max(cos(image, "A photo depicts " + caption), 0); range [0, 2.5] (Hessel et al. 2021, eq. 1).

    Published with OpenAI's ViT-B/32. Arguments as for ``ClipScore``.
    """

    name = family = "clips"
    default_w = 2.5


class PacS(ClipScore):
    """PAC-S = 2 * max(cos, 0) with a CLIP tuned on positive-augmented pairs; range [0, 2] (Sarto et al. 2023, eq. 4).

    Published for ViT-B/32 (OpenAI) and ViT-L/14 (OpenCLIP). Arguments as for ``ClipScore``.
    """

    name = family = "pacs"
    default_w = 2.0


class PacSpp(ClipScore):
    """PAC-S++ = 2 * max(cos, 0) with a LoRA-tuned CLIP; range [0, 2] (Sarto et al. 2024).

    The published checkpoints' LoRA factors are folded at load. Arguments as for ``ClipScore``.
    """

    name = family = "pacspp"
    default_w = 2.0


def dot(left: Tensor, right: Tensor) -> Tensor:
    """Inner products of the rows of two [N, D]: [N]."""
    products: Tensor = left * right
    return products.sum(dim=-1)
