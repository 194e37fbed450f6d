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
    """The features that depend on the items alone; they are small enough to travel to another process.

    Attributes:
        settings: The settings of the encoder that made the features.
        images: The image features, [M, D], normalised; broken images have NaN rows.
        references: The features of all items' references in order, [R, D], normalised; None for reference-free scores.
        offsets: The index where each item's references begin, int64 [M + 1].
        notes: Notes for people, one line each.
    """

    settings: EncoderSettings
    images: Tensor
    references: Tensor | None
    offsets: npt.NDArray[np.int64]
    notes: tuple[str, ...]


class ClipScore(Evaluator):
    """``w * max(cos(image, prompt + caption), 0)``; the base of CLIP-S, PAC-S and PAC-S++.

    Args:
        checkpoint: The weights: a file, a folder, ``MODEL:TAG``, ``hf-hub:...``, ``local-dir:...`` or one of
            ``scenes-clip``, ``scenes-pacs``, ``scenes-judge``. None takes the published weights where they are found
            (``capreward weights``), and the scenes weights for pictures of ``scenes``.
        variant: The variant of the published weights, ``B/32`` (default) or ``L/14``.
        w: The factor; None takes the paper's.
        prompt: The text before captions and references; ``none`` for no prompt.
        clamp: Whether negative cosines count 0.
        raw: Whether to return the bare cosine: w is 1 and nothing is clamped.
        precision: ``fp32`` (default, that of the published PAC-S values), ``bf16``, ``fp16``, or ``auto`` (by device).
        legacy_fp16: Whether features, normalisation and products are float16, as in CLIPScore's script on a GPU.
        device: The device: ``auto`` (default), ``cpu``, ``cuda`` or ``cuda:1``.
        quick_gelu: Whether the activation is QuickGELU, for weights that do not state theirs.
        statistics: The pixel statistics ``openai``, ``half`` or ``imagenet``, for weights that do not state theirs.
        lora_mlp: Whether to fold PAC-S++'s LoRA factors of the MLP too; the original loader leaves them out.
        upright: Whether to turn images by their EXIF tag and bring 16-bit images to 8 bits; the original scripts do
            neither.
        batch_size: The number of images per batch; None finds it by trial.
        workers: The number of processes that decode images; by default as many as help.
        skip_broken: Whether broken images give NaN instead of an error.
        download: Whether to fetch weights that are not here: the published ones, or what ``MODEL:TAG`` or ``hf-hub:``
            names.
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
        self.requested = EncoderSettings(
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
        """The factor w in use."""
        return self.default_w if self.w is None else self.w

    def watch(self, progress: Callable[[str, float, float], None] | None) -> None:
        """Report the encoding of images and texts."""
        self._progress = progress

    def parameters(self) -> dict[str, object]:
        """Return weights, preprocessing and the constants of the formula; the weights' hash once they are loaded."""
        return {
            **self._encoder_fields,
            "w": f"{self.factor:g}",
            "prompt": self.prompt or "none",
            "clamp": "yes" if self.clamp else "no",
            "math": "fp16" if self.legacy_fp16 else None,
        }

    def encoder(self, samples: Samples) -> Encoder:
        """Return the encoder for these samples' images; the first call loads it.

        Raises:
            InputError: The weights are not found or cannot be used; the message says what to type.
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
        scenes = not self.requested.checkpoint and shows_scenes(samples)
        if scenes not in self._chosen:  # the search for weights may read a file, so it runs once
            self._chosen[scenes] = choose_settings(self.requested, self.family, self.variant, scenes=scenes)
        return self._chosen[scenes]

    def preprocessings(self, samples: Samples) -> tuple[Preprocessing, ...]:
        """Return the image steps of the encoder."""
        return (self.encoder(samples).spec.preprocessing,)

    def check_needs(self, samples: Samples) -> None:
        """Check that the samples have images (and references), and that the weights are there."""
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
        """Return per-caption scores, float32 [N] on the encoder's device; all items have what is needed."""
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
        """Return the score, given its image-text part; reference-aware subclasses override this method."""
        return score

    def values(self, samples: Samples, prepared: Prepared) -> Floats:
        """Return the scores [N]."""
        return np.asarray(self.scores(samples, prepared).double().cpu().numpy())

    def __call__(self, samples: Samples, prepared: Prepared | None = None) -> Tensor:
        """Judge each caption, without a gradient.

        Returns:
            A float32 tensor [N] on the encoder's device, with NaN where references are missing or the image was
            skipped.

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
        """Return notes on what was assumed of the weights, skipped, or cut at the context length."""
        encoder = self.pool.encoder(prepared.settings)
        said = [*encoder.spec.notes, *prepared.notes]
        if not self.requested.checkpoint and encoder.spec.name.startswith("scenes-"):
            said.insert(0, f"pictures of scenes are judged by {encoder.spec.name}, which ships with capreward")
        found = self._texts(samples, encoder, "captions", lambda: samples.captions)
        return said + cut_note(found, "captions", encoder)

    def _texts(self, samples: Samples, encoder: Encoder, what: str, texts: Callable[[], list[str]]) -> TextFeatures:
        return prompted_features(samples, encoder, what, self.prompt, texts, self._progress)

    def _normalised(self, features: Tensor) -> Tensor:
        """Return features divided by the L2 norm; in float16 as CLIPScore's script does it, x / sqrt(sum(x^2))."""
        used = features.half() if self.legacy_fp16 else features
        unit: Tensor = used / (used * used).sum(dim=-1, keepdim=True).sqrt()
        return unit


class ClipS(ClipScore):
    """CLIP-S = 2.5 * max(cos(image, "A photo depicts " + caption), 0); range [0, 2.5] (Hessel et al. 2021, eq. 1).

    Published with OpenAI's ViT-B/32. It takes the arguments of ``ClipScore``.
    """

    name = family = "clips"
    default_w = 2.5


class PacS(ClipScore):
    """PAC-S = 2 * max(cos, 0) with a CLIP tuned on positive-augmented pairs; range [0, 2] (Sarto et al. 2023, eq. 4).

    Published for ViT-B/32 (OpenAI) and ViT-L/14 (OpenCLIP). It takes the arguments of ``ClipScore``.
    """

    name = family = "pacs"
    default_w = 2.0


class PacSpp(ClipScore):
    """PAC-S++ = 2 * max(cos, 0) with a LoRA-tuned CLIP; range [0, 2] (Sarto et al. 2024).

    The LoRA factors of the published checkpoints are folded at load. It takes the arguments of ``ClipScore``.
    """

    name = family = "pacspp"
    default_w = 2.0


def dot(left: Tensor, right: Tensor) -> Tensor:
    """Return the inner products of the rows of two [N, D]: [N]."""
    products: Tensor = left * right
    return products.sum(dim=-1)
