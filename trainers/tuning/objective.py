"""What an evaluator is tuned for: one class per recipe, tensors in and out; the loop knows none of them by name."""

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
    """B images with a caption each.

    Attributes:
        images: pixels [B, 3, S, S], normalised, or ready features [B, D] before normalisation; None of texts alone.
        captions: B captions, without a prompt.
        more_images: further images of the same content, in the same form, where the objective wants some.
        more_captions: further captions of the same content, where the objective wants some.
    """

    images: Tensor | None
    captions: list[str]
    more_images: Tensor | None = None
    more_captions: list[str] | None = None


class Objective(ABC):
    """What is learned, and by which parameters.

    ``study`` comes first, with the training captions. ``prepare`` is called once, before the optimizer is made: it adds
    modules (a head, LoRA factors) to the model and says by ``requires_grad`` what is trained. ``texts`` is all that is
    drawn by lot. ``loss`` is pure tensors. The constructor's arguments are its options and have attributes of the same
    names.

    Attributes:
        name: in the registry.
        needs_images: whether it learns nothing without images.
        wants_more: whether it takes ``more_images`` and ``more_captions``.
        layout: of the folder that is written, see :class:`capreward.encoders.spec.EncoderSpec`.
        prefixes: the weight of ``prefix_loss``; 0 for none.
    """

    name: ClassVar[str] = ""
    needs_images: ClassVar[bool] = True
    wants_more: ClassVar[bool] = False
    layout: ClassVar[str] = "open_clip"
    prefixes: float = 0.0

    def options(self) -> dict[str, Any]:
        """The constructor's arguments as they are now."""
        return named_classes.options_of(self)

    @property
    def learns_from_texts(self) -> bool:
        """Whether there is something to learn from texts alone, as it is asked for."""
        return not self.needs_images

    def usable(self, caption: str) -> bool:
        """Whether a caption can be learned from; others are left out and counted."""
        return bool(caption.strip())

    def study(self, captions: Iterable[str]) -> None:  # noqa: B027  # a hook that need not do anything
        """Learn from all usable training captions what is needed before the first step: a vocabulary."""

    @abstractmethod
    def prepare(self, model: nn.Module) -> nn.ModuleDict:
        """Freeze what stays, add what is new.

        Args:
            model: open_clip's, in training mode, all parameters wanting a gradient.

        Returns:
            Modules that are trained and kept beside the model, by name: ``grammar_head``; empty for none.
        """

    @abstractmethod
    def texts(self, pairs: Pairs, chances: Sequence[random.Random]) -> list[str]:
        """All texts that ``loss`` wants of these pairs, without a prompt: the captions, then B more of each other kind.

        Args:
            pairs: B of them.
            chances: one generator per pair, so that what is drawn does not depend on how a step is shared out.

        Raises:
            InputError: a caption that cannot be used.
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
        """The loss of the whole step: features of all processes, those of this one with their gradient.

        Args:
            image: [B, D], L2-normalised; None of texts alone.
            more_image: [B, D], L2-normalised, where wanted.
            states: [n * B, d] of the texts in the order of ``texts``, before the projection.
            features: [n * B, D], L2-normalised.
            extra: what ``prepare`` gave.
            scale: the inverse temperature, a scalar.

        Returns:
            A scalar, and detached scalars by name.
        """

    def prefix_labels(self, tokens: list[npt.NDArray[np.int64]]) -> list[npt.NDArray[np.int64]]:
        """A class for each token of each text of ``texts``: what the text until there is an example of.

        Args:
            tokens: of the texts, without prompt and end.
        """
        raise NotImplementedError

    def prefix_loss(self, states: Tensor, labels: Tensor, extra: nn.ModuleDict) -> Tensor:
        """The mean loss of prefixes, by their states [T, d] and labels [T], a scalar."""
        raise NotImplementedError

    @abstractmethod
    def validate(self, texts: Sequence[str], states: Tensor, extra: nn.ModuleDict) -> dict[str, float]:
        """Figures of held-out texts beside the loss and the retrieval that the loop measures for every objective.

        Args:
            texts: of ``texts``, of all held-out pairs.
            states: [n * N, d] of them.
            extra: what ``prepare`` gave.
        """

    @abstractmethod
    def folded(self, model: nn.Module, extra: nn.ModuleDict) -> Mapping[str, Any]:
        """The state dict of the tuned model with the architecture's own names, LoRA factors folded in."""


def make_objective(name: str, options: Mapping[str, Any] | None = None) -> Objective:
    """An objective with options; what is not given has its published value.

    Raises:
        InputError: an unknown name or option, or a value out of range.
    """
    made: Objective = named_classes.make("objective", name, OBJECTIVES, options)
    return made


def freeze_image_side(model: nn.Module) -> None:
    """Leave to be trained what makes text features: no image tower, caption decoder or bias of a sigmoid loss."""
    for name, parameter in model.named_parameters():
        if name.startswith(("visual.", "text_decoder.")) or name == "logit_bias":
            parameter.requires_grad = False
