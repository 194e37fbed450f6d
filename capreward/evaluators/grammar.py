"""The grammar rewards of CLIP-Caption-Reward: a head on the text tower judges how grammatical a caption is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from capreward.encoders.pool import PRECISIONS, EncoderPool, EncoderSettings
from capreward.errors import InputError
from capreward.evaluators.base import Evaluator
from capreward.evaluators.clip_options import check_flags, check_numbers, check_texts, check_weights
from capreward.evaluators.clip_score import ClipScore, Prepared
from capreward.evaluators.clip_texts import PROMPT, cut_note, prompt_of, prompted_features
from capreward.evaluators.clip_weights import choose_settings, shows_scenes
from capreward.samples import Samples

if TYPE_CHECKING:
    from torch import Tensor

    from capreward.encoders.encoder import Encoder, TextFeatures

Floats = npt.NDArray[np.float64]

PAPER = (1.0, 2.0)  # CLIP-S + 2 * grammar, as in the paper
CODE = (2.0, 1.0)  # 2 * CLIP-S + grammar, as in the training of the released models


class Grammar(Evaluator):
    """The probability that a caption is grammatical; range [0, 1] (Cho et al. 2022, section 3.2).

    The value is ``softmax(head(h))[1]``, where h is the text tower's state at the end token after its last norm and
    before the projection. The head is ``Linear(d, d)``, ReLU, ``Linear(d, 2)``, both without bias. Images and
    references play no part.

    Args:
        checkpoint: Weights with a grammar head: CLIP-Caption-Reward's file, a folder that ``capreward convert`` or
            ``capreward tune`` wrote, or ``scenes-grammar``. None takes CLIP-Caption-Reward's where they are found
            (``capreward weights``), and ``scenes-grammar`` for captions of pictures of ``scenes``.
        prompt: The text before captions, as in the published rewards; ``none`` for no prompt.
        precision: ``fp32`` (default), ``bf16``, ``fp16``, or ``auto`` (by device). The head computes in fp32.
        device: The device: ``auto`` (default), ``cpu``, ``cuda`` or ``cuda:1``.
        quick_gelu: Whether the activation is QuickGELU, for weights that do not state theirs.
        batch_size: The number of texts per batch; None finds it by trial.
        download: Whether to fetch the weights that ``hf-hub:`` names.
        base: Weights whose image tower and activation complete a checkpoint that has none.
    """

    name = "grammar"
    family = "grammar"

    def __init__(
        self,
        checkpoint: str | None = None,
        prompt: str | None = PROMPT,
        precision: str = "fp32",
        device: str = "auto",
        quick_gelu: bool | None = None,
        batch_size: int | None = None,
        download: bool = False,
        base: str | None = None,
    ) -> None:
        check_flags(self.name, {"download": download}, quick_gelu)
        check_texts(self.name, {"checkpoint": checkpoint, "prompt": prompt, "device": device, "base": base})
        check_numbers(self.name, None, {"batch_size": (batch_size, 1)})
        if precision not in PRECISIONS:
            raise InputError(f"{self.name}: precision={precision!r} is none of {', '.join(PRECISIONS)}")
        self.prompt = prompt_of(prompt)
        self.requested = EncoderSettings(
            checkpoint=str(checkpoint or ""),
            quick_gelu=quick_gelu,
            precision=precision,
            device=device,
            batch_size=batch_size,
            download=download,
            base=None if base is None else str(base),
        )
        self.pool = EncoderPool()
        self._chosen: dict[bool, EncoderSettings] = {}
        self._encoder_fields: dict[str, object] = {"model": checkpoint or "published-B/32"}
        self._progress: Callable[[str, float, float], None] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_progress": None, "_chosen": {}}

    def watch(self, progress: Callable[[str, float, float], None] | None) -> None:
        """Report the encoding of texts."""
        self._progress = progress

    def parameters(self) -> dict[str, object]:
        """Return weights and prompt; the weights' hash once they are loaded."""
        return {**self._encoder_fields, "prompt": self.prompt or "none"}

    def check_needs(self, samples: Samples) -> None:
        """Check that the weights are there and have a head."""
        super().check_needs(samples)
        self.prepare(samples)

    def prepare(self, samples: Samples) -> EncoderSettings:
        """Return the settings of the weights that judge captions of these items.

        Raises:
            InputError: The weights are not found, cannot be used or have no head; the message says what to type.
        """
        settings = self._settings(samples)
        encoder = with_head(self.pool.encoder(settings), self.name)
        self._encoder_fields = {n: v for n, v in encoder.fields().items() if n != "prep"}
        return settings

    def probabilities(self, samples: Samples, prepared: EncoderSettings) -> Tensor:
        """Return the probabilities, float32 [N] on the encoder's device."""
        encoder = self.pool.encoder(prepared)
        return probability_of(self._texts(samples, encoder), encoder)

    def values(self, samples: Samples, prepared: EncoderSettings) -> Floats:
        """Return the probabilities [N]."""
        return np.asarray(self.probabilities(samples, prepared).double().cpu().numpy())

    def __call__(self, samples: Samples, prepared: EncoderSettings | None = None) -> Tensor:
        """Judge each caption, without a gradient.

        Returns:
            A float32 tensor [N] on the encoder's device.

        Raises:
            InputError: The weights are not found or have no head.
        """
        if prepared is None:
            prepared = self.prepare(samples)
        return self.probabilities(samples, prepared)

    def remarks(self, samples: Samples, prepared: EncoderSettings) -> list[str]:
        """Return notes on what was assumed of the weights, or cut at the context length."""
        encoder = self.pool.encoder(prepared)
        said = [note for note in encoder.spec.notes if "no image tower" not in note]  # texts need none
        if not self.requested.checkpoint and encoder.spec.name.startswith("scenes-"):
            said.insert(0, f"captions of scenes are judged by {encoder.spec.name}, which ships with capreward")
        return said + cut_note(self._texts(samples, encoder), "captions", encoder)

    def _settings(self, samples: Samples) -> EncoderSettings:
        scenes = not self.requested.checkpoint and _are_of_scenes(samples)
        if scenes not in self._chosen:
            self._chosen[scenes] = self._choose(scenes)
        return self._chosen[scenes]

    def _choose(self, scenes: bool) -> EncoderSettings:
        try:
            return choose_settings(self.requested, self.family, None, scenes=scenes)
        except InputError as error:
            if self.requested.checkpoint:
                raise
            hint = f"captions of scenes are judged by {self.name}(checkpoint=scenes-grammar)"
            raise InputError(f"{error}; {hint}") from error

    def _texts(self, samples: Samples, encoder: Encoder) -> TextFeatures:
        return prompted_features(samples, encoder, "captions", self.prompt, lambda: samples.captions, self._progress)


class ClipsGrammar(ClipScore):
    """CLIP-S with grammar-tuned weights plus the probability of being grammatical (Cho et al. 2022, section 3.2).

    The value is ``clip_weight * 2.5 * max(cos, 0) + grammar_weight * grammar``; its range is [0, 4.5] with the paper's
    weights, 1 and 2.
    Both parts come from one pass of the text tower. The image tower is the one in the weights, which is CLIP's own.

    Args:
        checkpoint: The weights, as for ``Grammar``.
        code_weights: Whether to use 2 * CLIP-S + grammar, with which the released models were trained; the paper has
            CLIP-S + 2 * grammar.
        clip_weight: The weight of CLIP-S; None means 1.
        grammar_weight: The weight of the grammar's probability; None means 2.
        options: The other arguments of ``ClipScore``.
    """

    name = "clips-grammar"
    family = "grammar"
    default_w = 2.5

    def __init__(
        self,
        checkpoint: str | None = None,
        *,
        code_weights: bool = False,
        clip_weight: float | None = None,
        grammar_weight: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(checkpoint, **options)
        check_flags(self.name, {"code_weights": code_weights}, None)
        given = {"clip_weight": clip_weight, "grammar_weight": grammar_weight}
        check_weights(self.name, given)
        if code_weights and (clip_weight, grammar_weight) != (None, None):
            said = " and ".join(option for option, value in given.items() if value is not None)
            raise InputError(f"{self.name}: code_weights=true is clip_weight=2 and grammar_weight=1; leave {said} out")
        weights = CODE if code_weights else PAPER
        self.clip_weight = weights[0] if clip_weight is None else clip_weight
        self.grammar_weight = weights[1] if grammar_weight is None else grammar_weight

    def parameters(self) -> dict[str, object]:
        """Return the parameters of CLIP-S, and the weights of both parts."""
        weights = {"clip_weight": f"{self.clip_weight:g}", "grammar_weight": f"{self.grammar_weight:g}"}
        return {**super().parameters(), **weights}

    def encoder(self, samples: Samples) -> Encoder:
        """Return the encoder for these samples' images, which has a grammar head."""
        return with_head(super().encoder(samples), self.name)

    def finished(self, score: Tensor, captions: Tensor, samples: Samples, prepared: Prepared) -> Tensor:
        """Return the weighted sum of CLIP-S and the grammar's probability."""
        encoder = self.pool.encoder(prepared.settings)
        grammar = probability_of(self._texts(samples, encoder, "captions", lambda: samples.captions), encoder)
        return self.clip_weight * score.float() + self.grammar_weight * grammar


def with_head(encoder: Encoder, name: str) -> Encoder:
    """Return the encoder if it has a grammar head.

    Raises:
        InputError: The encoder has none; the message says what the evaluator ``name`` needs.
    """
    if encoder.clip.grammar_head is None:
        raise InputError(
            f"{name} needs weights with a grammar head, and {encoder.spec.name} has none; give checkpoint= "
            "CLIP-Caption-Reward's file, a folder of capreward tune, or scenes-grammar"
        )
    return encoder


def probability_of(texts: TextFeatures, encoder: Encoder) -> Tensor:
    """Return how probably each text is grammatical by the encoder's head, float32 [N]."""
    if texts.states is None:
        raise InputError(f"{encoder.spec.name} has no grammar head")
    return encoder.grammar(texts.states)


def _are_of_scenes(samples: Samples) -> bool:
    """Return whether the captions are of pictures of scenes: by their images, or without images by their names."""
    if samples.images is not None:
        return shows_scenes(samples)
    from capreward.data.scenes import picture_of

    return samples.n_items > 0 and all(picture_of(key) is not None for key in samples.key)
