"""The grammar objective: a head that tells captions from corrupted ones, beside the contrastive loss."""

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
    """A corrupted caption that knows how it was made.

    Attributes:
        kind: of the corruption.
    """

    kind: str = ""

    @classmethod
    def of(cls, kind: str, text: str) -> CorruptedCaption:
        """A text with its kind."""
        made = cls(text)
        made.kind = kind
        return made


class Grammar(Objective):
    """Cho et al. (2022): InfoNCE of images and captions, and cross-entropy of captions against corrupted ones, 1 : 1.

    The head reads the text states before the projection; the text tower, its projection, the logit scale and the head
    are trained, the image side is not.

    Each text teaches by one label alone, so that small towers learn slowly. Attention is causal, and a head that reads
    the state before the end can be taught there too: ``prefixes`` adds the mean cross-entropy over all prefixes, of
    captions and of corrupted ones, where a prefix is right as long as it is that of the caption.

    Args:
        kinds: of corruptions, each equally likely.
        least: occurrences in the training captions of words that corruptions put in.
        plain: take captions as Karpathy's tokens have them, in lower case without punctuation; False: as they are.
        prefixes: weight of the loss over prefixes; 0 as published. For towers with causal attention.
        joint_out: no head; the corrupted captions are further columns of the image-to-text softmax instead.

    Raises:
        InputError: options that cannot be.
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
        """Without images there is the cross-entropy of the head."""
        return not self.joint_out

    def usable(self, caption: str) -> bool:
        """Whether each kind of corruption changes it: two words that differ."""
        return len({word.lower() for word in self._words(caption)}) >= _SHORTEST

    def _words(self, caption: str) -> list[str]:
        return split_words(caption) if self.plain else caption.split()

    def study(self, captions: Iterable[str]) -> None:
        """Take their words for corruptions to put in."""
        try:
            self._corruptor = Corruptor.of_captions(captions, least=self.least, kinds=self.kinds)
        except InputError as error:
            raise InputError(f"{error}; objective.least is {self.least}, try --set objective.least=1") from error

    def prepare(self, model: nn.Module) -> nn.ModuleDict:
        """Freeze the image side; the head is ``Linear(d, d)``, ReLU, ``Linear(d, 2)``, both without bias."""
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
        """The B captions, then one corruption of each."""
        plain = [" ".join(self._words(caption)) for caption in pairs.captions]
        made = [self._corruptor.corrupt(caption, chance) for caption, chance in zip(plain, chances, strict=True)]
        return [*plain, *(CorruptedCaption.of(kind, text) for kind, text in made)]

    def loss(
        self,
        image: Tensor | None,
        more_image: Tensor | None,
        states: Tensor,
        features: Tensor,
        extra: nn.ModuleDict,
        scale: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """InfoNCE, in which the corrupted captions have no part unless ``joint_out``, plus the head's cross-entropy."""
        from torch.nn.functional import cross_entropy

        half = len(states) // 2
        if self.joint_out:
            assert image is not None  # noqa: S101  # for the type checker: refused before
            joint = joint_info_nce(image, features[:half], features[half:], scale)
            return joint, {"clip_loss": joint.detach()}
        logits = extra[HEAD](states)
        labels = _labels(half, states)
        grammar = cross_entropy(logits, labels)
        told = {"grammar_loss": grammar.detach(), "accuracy": (logits.argmax(-1) == labels).float().mean()}
        if image is None:
            return grammar, told
        clip = info_nce(image, features[:half], scale)
        return clip + grammar, {"clip_loss": clip.detach(), **told}

    def prefix_labels(self, tokens: list[npt.NDArray[np.int64]]) -> list[npt.NDArray[np.int64]]:
        """1 as long as a text goes like the caption that it was made from, captions themselves to their end."""
        half = len(tokens) // 2
        return [*(np.ones_like(ids) for ids in tokens[:half]), *map(_common, tokens[:half], tokens[half:])]

    def prefix_loss(self, states: Tensor, labels: Tensor, extra: nn.ModuleDict) -> Tensor:
        """Cross-entropy by the head that judges whole texts."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(extra[HEAD](states), labels)

    def validate(self, texts: Sequence[str], states: Tensor, extra: nn.ModuleDict) -> dict[str, float]:
        """Figures of the head, the class of captions being positive, and the accuracy on each kind of corruption."""
        import torch

        if self.joint_out:
            return {}
        half = len(texts) // 2
        logits = extra[HEAD](states)
        scores = (logits[:, 1] - logits[:, 0]).cpu()
        positive = torch.arange(len(texts)) < half
        found = binary_figures(scores, positive)
        made_by = [getattr(text, "kind", "") for text in texts[half:]]
        for kind in self.kinds:
            own = scores[half:][torch.tensor([name == kind for name in made_by])]
            if len(own):
                found[f"accuracy/{kind}"] = float((own <= 0).double().mean())
        return found

    def folded(self, model: nn.Module, extra: nn.ModuleDict) -> Mapping[str, Any]:
        """The model's own state dict: nothing was added to it."""
        return model.state_dict()


def _common(caption: npt.NDArray[np.int64], made: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """1 for each token of ``made`` until the first that the caption has not in its place, 0 from there on."""
    same = np.zeros(len(made), dtype=np.int64)
    both = min(len(caption), len(made))
    same[:both] = np.cumprod(caption[:both] == made[:both])
    return same


def _labels(half: int, like: Tensor) -> Tensor:
    """Class 1 for the first half, 0 for the second."""
    import torch

    return (torch.arange(2 * half, device=like.device) < half).long()
