"""The objectives that evaluators are tuned with.

There is one class per objective, with tensors in and out; the trainer knows none of them by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from trainers.optimizers import named_classes

if TYPE_CHECKING:
    import random

    import numpy as np
    import numpy.typing as npt
    from torch import Tensor, nn

RECIPES = "trainers.tuning.recipes"
OBJECTIVES = {
    "grammar": ("trainers.tuning.grammar_objective:Grammar", "tell captions from corrupted ones (Cho et al. 2022)"),
    "pac": ("trainers.tuning.augmented_objective:PositiveAugmented", "pairs and generated pairs (PAC-S, PAC-S++)"),
}


@dataclass
class Pairs:
    """B images with one caption each.

    Attributes:
        images: Normalised pixels [B, 3, S, S], or stored features [B, D] before normalisation; None for texts alone.
        captions: The B captions, without a prompt.
        more_images: Further images of the same content, in the same form, if the objective takes some.
        more_captions: Further captions of the same content, if the objective takes some.
    """

    images: Tensor | None
    captions: list[str]
    more_images: Tensor | None = None
    more_captions: list[str] | None = None


class Objective(ABC):
    """An objective: a loss, and the parameters that it trains.

    ``study`` comes first, with the training captions. ``prepare`` is called once, before the optimizer is made: it adds
    modules (a head, LoRA factors) to the model and marks the trained parameters by ``requires_grad``. ``texts`` makes
    all random draws. ``loss`` takes only tensors. The constructor's arguments are its options and have attributes of
    the same names.

    Attributes:
        name: The name in the registry.
        needs_images: Whether nothing can be learned without images.
        wants_more: Whether it takes ``more_images`` and ``more_captions``.
        layout: The layout of the folder that is written, see :class:`capreward.encoders.spec.EncoderSpec`.
        prefixes: The weight of ``prefix_loss``; 0 for none.
    """

    name: ClassVar[str] = ""
    needs_images: ClassVar[bool] = True
    wants_more: ClassVar[bool] = False
    layout: ClassVar[str] = "open_clip"
    prefixes: float = 0.0

    def options(self) -> dict[str, Any]:
        """Return the constructor's arguments as they are now."""
        return named_classes.options_of(self)

    @property
    def learns_from_texts(self) -> bool:
        """Whether the objective, with its options, can learn from texts alone."""
        return not self.needs_images

    def usable(self, caption: str) -> bool:
        """Return whether a caption can be learned from; others are left out and counted."""
        return bool(caption.strip())

    def study(self, captions: Iterable[str]) -> None:  # noqa: B027  # a hook that need not do anything
        """Learn what is needed before the first step, such as a vocabulary, from all usable training captions."""

    @abstractmethod
    def prepare(self, model: nn.Module) -> nn.ModuleDict:
        """Freeze what is not trained, and add new modules.

        Args:
            model: open_clip's model, in training mode; all its parameters require a gradient.

        Returns:
            The modules that are trained and stored beside the model, by name, such as ``grammar_head``; empty for none.
        """

    @abstractmethod
    def texts(self, pairs: Pairs, chances: Sequence[random.Random]) -> list[str]:
        """Return all texts that ``loss`` needs of these pairs, without a prompt.

        The captions come first, then B texts of each other kind.

        Args:
            pairs: The B pairs.
            chances: One random generator per pair, so that draws do not depend on how processes share a step.

        Raises:
            InputError: A caption cannot be used.
        """

    @abstractmethod
    def loss(
        self,
        image: Tensor | None,
        more_image: Tensor | None,
        states: Tensor,
        features: Tensor,
        extra: nn.ModuleDict,
        scale: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of the whole step from the features of all processes; those of this process have a gradient.

        Args:
            image: Image features [B, D], L2-normalised; None for texts alone.
            more_image: Features of the further images [B, D], L2-normalised, if the objective takes them.
            states: States [n * B, d] of the texts in the order of ``texts``, before the projection.
            features: Text features [n * B, D], L2-normalised.
            extra: The modules that ``prepare`` returned.
            scale: The inverse temperature, a scalar.

        Returns:
            A scalar, and detached scalars by name.
        """

    def prefix_labels(self, tokens: list[npt.NDArray[np.int64]]) -> list[npt.NDArray[np.int64]]:
        """Return a class for each token of each text of ``texts``, which labels the text up to this token.

        Args:
            tokens: The tokens of the texts, without prompt and end.
        """
        raise NotImplementedError

    def prefix_loss(self, states: Tensor, labels: Tensor, extra: nn.ModuleDict) -> Tensor:
        """Compute the mean loss of prefixes from their states [T, d] and labels [T], a scalar."""
        raise NotImplementedError

    @abstractmethod
    def validate(self, texts: Sequence[str], states: Tensor, extra: nn.ModuleDict) -> dict[str, float]:
        """Compute figures of held-out texts, besides the loss and the retrieval that every objective has.

        Args:
            texts: The result of ``texts`` for all held-out pairs.
            states: The states [n * N, d] of these texts.
            extra: The modules that ``prepare`` returned.
        """

    @abstractmethod
    def folded(self, model: nn.Module, extra: nn.ModuleDict) -> Mapping[str, Any]:
        """Return the state dict of the tuned model with the architecture's own names, LoRA factors folded in."""


def make_objective(name: str, options: Mapping[str, Any] | None = None) -> Objective:
    """Make an objective; options that are not given take their published values.

    Raises:
        InputError: A name or an option is unknown, or a value is out of range.
    """
    objective: Objective = named_classes.make("objective", name, OBJECTIVES, options)
    return objective


def freeze_image_side(model: nn.Module) -> None:
    """Freeze everything that makes no text features: the image tower, a caption decoder, the bias of a sigmoid loss."""
    for name, parameter in model.named_parameters():
        if name.startswith(("visual.", "text_decoder.")) or name == "logit_bias":
            parameter.requires_grad = False
