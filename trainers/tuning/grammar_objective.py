"""The grammar objective: a head that distinguishes captions from corrupted ones, and the contrastive loss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from capreward.errors import InputError
from capreward.option_checks import check_flag, check_range
from capreward.text.vocabulary import split_words
from trainers.tuning.binary_figures import binary_figures
from trainers.tuning.contrastive_losses import info_nce, joint_info_nce
from trainers.tuning.corrupted_captions import KINDS, Corruptor
from trainers.tuning.objective import Objective, Pairs, freeze_image_side

if TYPE_CHECKING:
    import random

    from torch import Tensor, nn

HEAD = "grammar_head"
_SHORTEST = 2  # words of a caption that every kind of corruption changes, if they differ


class CorruptedCaption(str):
    """A corrupted caption with the kind of its corruption.

    Attributes:
        kind: The kind of the corruption.
    """

    kind: str = ""

    @classmethod
    def of(cls, kind: str, text: str) -> CorruptedCaption:
        """Make a corrupted caption from its text and its kind."""
        corrupted = cls(text)
        corrupted.kind = kind
        return corrupted


class Grammar(Objective):
    """The objective of Cho et al. (2022).

    It is the sum, 1 : 1, of InfoNCE of images and captions and of cross-entropy of captions against corrupted ones.

    The head reads the text states before the projection. The text tower, its projection, the logit scale and the head
    are trained; the image side is not.

    Each text teaches by one label alone, so that small towers learn slowly. Because attention is causal, the head can
    also learn from the states before the end: ``prefixes`` adds the mean cross-entropy over all prefixes, of captions
    and of corrupted ones. The label of a prefix is positive as long as it is a prefix of the caption.

    Args:
        kinds: The kinds of corruptions, each equally likely.
        least: The least number of occurrences in the training captions of words that corruptions insert.
        plain: Whether captions are taken like Karpathy's tokens, in lower case without punctuation; False takes them as
            they are.
        prefixes: The weight of the loss over prefixes; 0 as published. It needs a tower with causal attention.
        joint_out: Whether there is no head; the corrupted captions are further columns of the image-to-text softmax
            instead.

    Raises:
        InputError: Options are wrong or exclude each other.
    """

    name: ClassVar[str] = "grammar"
    needs_images: ClassVar[bool] = False
    layout: ClassVar[str] = "grammar"

    def __init__(
        self,
        kinds: Sequence[str] = KINDS,
        least: int = 6,
        plain: bool = True,
        prefixes: float = 0.0,
        joint_out: bool = False,
    ) -> None:
        check_range("least", least, 1, whole=True)
        check_flag("plain", plain)
        check_range("prefixes", prefixes, 0.0)
        check_flag("joint_out", joint_out)
        if joint_out and prefixes:
            raise InputError("joint_out has no head that could learn from prefixes; leave one of the two out")
        self.kinds = list(kinds)
        self.least = least
        self.plain = plain
        self.prefixes = prefixes
        self.joint_out = joint_out
        self._corruptor = Corruptor(("some", "words"), self.kinds)  # until study; it refuses wrong kinds

    @property
    def learns_from_texts(self) -> bool:
        """Whether texts alone can be learned from: then the head's cross-entropy remains."""
        return not self.joint_out

    def usable(self, caption: str) -> bool:
        """Return whether each kind of corruption changes the caption: it must have two words that differ."""
        return len({word.lower() for word in self._words(caption)}) >= _SHORTEST

    def _words(self, caption: str) -> list[str]:
        return split_words(caption) if self.plain else caption.split()

    def study(self, captions: Iterable[str]) -> None:
        """Collect the words of the captions, which corruptions insert."""
        try:
            self._corruptor = Corruptor.of_captions(captions, least=self.least, kinds=self.kinds)
        except InputError as error:
            raise InputError(f"{error}; objective.least is {self.least}, try --set objective.least=1") from error

    def prepare(self, model: nn.Module) -> nn.ModuleDict:
        """Freeze the image side and make the head: ``Linear(d, d)``, ReLU, ``Linear(d, 2)``, both without bias."""
        from torch import nn

        from capreward.encoders.model.text_tower import can_trim, state_width

        if self.prefixes and not can_trim(model):
            raise InputError("objective.prefixes wants a text tower with causal attention, as OpenAI's; give 0")
        freeze_image_side(model)
        if self.joint_out:
            return nn.ModuleDict()
        width = state_width(model)
        head = nn.Sequential(nn.Linear(width, width, bias=False), nn.ReLU(), nn.Linear(width, 2, bias=False))
        return nn.ModuleDict({HEAD: head})

    def texts(self, pairs: Pairs, chances: Sequence[random.Random]) -> list[str]:
        """Return the B captions, then one corruption of each."""
        plain = [" ".join(self._words(caption)) for caption in pairs.captions]
        corrupted = [self._corruptor.corrupt(caption, chance) for caption, chance in zip(plain, chances, strict=True)]
        return [*plain, *(CorruptedCaption.of(kind, text) for kind, text in corrupted)]

    def loss(
        self,
        image: Tensor | None,
        more_image: Tensor | None,
        states: Tensor,
        features: Tensor,
        extra: nn.ModuleDict,
        scale: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Add InfoNCE and the head's cross-entropy; only ``joint_out`` takes corrupted captions into InfoNCE."""
        from torch.nn.functional import cross_entropy

        half = len(states) // 2
        if self.joint_out:
            assert image is not None  # noqa: S101  # for the type checker: refused before
            joint = joint_info_nce(image, features[:half], features[half:], scale)
            return joint, {"clip_loss": joint.detach()}
        logits = extra[HEAD](states)
        labels = _labels(half, states)
        grammar = cross_entropy(logits, labels)
        stats = {"grammar_loss": grammar.detach(), "accuracy": (logits.argmax(-1) == labels).float().mean()}
        if image is None:
            return grammar, stats
        clip = info_nce(image, features[:half], scale)
        return clip + grammar, {"clip_loss": clip.detach(), **stats}

    def prefix_labels(self, tokens: list[npt.NDArray[np.int64]]) -> list[npt.NDArray[np.int64]]:
        """Return 1 for tokens of a text as long as it agrees with its caption; captions agree to their end."""
        half = len(tokens) // 2
        return [*(np.ones_like(ids) for ids in tokens[:half]), *map(_shared_prefix, tokens[:half], tokens[half:])]

    def prefix_loss(self, states: Tensor, labels: Tensor, extra: nn.ModuleDict) -> Tensor:
        """Compute the cross-entropy of prefixes by the head that scores whole texts."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(extra[HEAD](states), labels)

    def validate(self, texts: Sequence[str], states: Tensor, extra: nn.ModuleDict) -> dict[str, float]:
        """Compute the figures of the head, with captions as positives, and its accuracy on each kind of corruption."""
        import torch

        if self.joint_out:
            return {}
        half = len(texts) // 2
        logits = extra[HEAD](states)
        scores = (logits[:, 1] - logits[:, 0]).cpu()
        positive = torch.arange(len(texts)) < half
        figures = binary_figures(scores, positive)
        kinds = [getattr(text, "kind", "") for text in texts[half:]]
        for kind in self.kinds:
            of_kind = scores[half:][torch.tensor([name == kind for name in kinds])]
            if len(of_kind):
                figures[f"accuracy/{kind}"] = float((of_kind <= 0).double().mean())
        return figures

    def folded(self, model: nn.Module, extra: nn.ModuleDict) -> Mapping[str, Any]:
        """Return the model's own state dict, because nothing was added to it."""
        return model.state_dict()


def _shared_prefix(caption: npt.NDArray[np.int64], corrupted: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return 1 for each token of ``corrupted`` before the first that differs from the caption, then 0."""
    agrees = np.zeros(len(corrupted), dtype=np.int64)
    length = min(len(caption), len(corrupted))
    agrees[:length] = np.cumprod(caption[:length] == corrupted[:length])
    return agrees


def _labels(half: int, like: Tensor) -> Tensor:
    """Return the labels: class 1 for the first half, 0 for the second."""
    import torch

    return (torch.arange(2 * half, device=like.device) < half).long()
