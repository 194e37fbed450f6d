"""What the optimizers, the decoding and the loop ask of a captioner."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from capreward.errors import InputError
from trainers.captioners.cache import Cache
from trainers.captioners.folder import CONFIG, WEIGHTS, class_of, fill, read_folder, tensors_of, write_folder
from trainers.captioners.vocabulary import Vocabulary, token_rows, vocabulary_of

if TYPE_CHECKING:
    from typing import Self

    from capreward.encoders.spec import Preprocessing


@dataclass
class Memory:
    """What the decoder attends to, of B images.

    Attributes:
        states: [B, S, d].
    """

    states: Tensor

    def __len__(self) -> int:
        return len(self.states)


class Captioner(nn.Module):
    """From images to captions.

    What is frozen (a CLIP tower) is no part of the module: ``look`` applies it once per image, and policy and reference
    policy share the result. Token rows are int64 [N, L]: begin token, words, end token, padding.

    Attributes:
        kind: the name in configurations.
        vocabulary: of the decoder.
        longest: tokens that a caption may have at most, the begin token included.
        width: d, of its states.
        preprocessing: of the pixels that ``look`` takes; None where it takes stored features alone.
        decoding: how a released captioner's authors decode it, settings of :class:`trainers.decoding.Decoding`; None
            where nobody says. It is saved along.
    """

    kind: ClassVar[str] = ""
    vocabulary: Vocabulary
    longest: int
    width: int
    preprocessing: Preprocessing | None
    decoding: dict[str, Any] | None = None

    def look(self, images: Tensor) -> Tensor:
        """The frozen part, without gradient.

        Args:
            images: crops uint8 [B, S, S, 3], or stored features float [B, *shape].

        Returns:
            What ``encode`` takes, [B, ...].
        """
        raise NotImplementedError

    def encode(self, inputs: Tensor) -> Memory:
        """The trained part of the image side."""
        raise NotImplementedError

    def logprobs(self, memory: Memory, tokens: Tensor, smoothing: float = 0.0) -> Tensor:
        """Log-probability of every token after the first, given the image and the tokens before it, in float32.

        Args:
            memory: of B images.
            tokens: int64 [N, L], N = B * K, K rows of each image side by side.
            smoothing: label smoothing.

        Returns:
            [N, L - 1], 0 where ``target_mask`` is False.
        """
        raise NotImplementedError

    def start(self, memory: Memory, longest: int) -> Cache:
        """A cache of B rows, one per image, before their first token."""
        raise NotImplementedError

    def step(self, cache: Cache, tokens: Tensor) -> Tensor:
        """Feed the newest token of each row, int64 [N]; logits of the next one, [N, V]."""
        raise NotImplementedError

    def forward(self, inputs: Tensor, tokens: Tensor, smoothing: float = 0.0) -> Tensor:
        """``logprobs`` of what ``look`` gave: the pass that learns, in one call for parallel wrappers."""
        return self.logprobs(self.encode(inputs), tokens, smoothing)

    def frozen_copy(self) -> Captioner:
        """The captioner as it is now, in evaluation mode and without gradients; the frozen part is shared."""
        return copy.deepcopy(self).eval().requires_grad_(False)

    def frozen_parts(self) -> list[object]:
        """What ``look`` uses and nothing changes: neither trained nor saved."""
        return []

    def token_rows(self, captions: list[str]) -> Tensor:
        """Captions as token rows [N, L], cut at ``longest``."""
        return token_rows(self.vocabulary, captions, self.longest)

    def decode_text(self, tokens: Tensor) -> list[str]:
        """The captions of token rows [N, L], up to their first end token."""
        words = []
        for row in tokens[:, 1:].tolist():
            end = row.index(self.vocabulary.eos) if self.vocabulary.eos in row else len(row)
            words.append(self.vocabulary.decode(row[:end]))
        return words

    def save_pretrained(self, folder: str | Path) -> None:
        """Write configuration, vocabulary and weights into a folder.

        The weights of the frozen tower are left out: the configuration names them, with their hash.

        Raises:
            InputError: a folder that cannot be written.
        """
        described = {"captioner": self.kind, **self.configuration()}
        if self.decoding is not None:
            described["decoding"] = self.decoding
        write_folder(Path(folder), described, self.vocabulary, self.state_dict())

    @classmethod
    def from_pretrained(cls, folder: str | Path, **options: Any) -> Self:
        """Read what ``save_pretrained`` wrote, in evaluation mode.

        Args:
            folder: of the captioner, or a run's folder (its best captioner, else its last).
            options: of :func:`trainers.captioners.towers.tower_of`, such as ``source`` where the tower's weights lie
                elsewhere now, or ``device``.

        Raises:
            InputError: no captioner, a damaged one, or its tower is not found.
            TypeError: a captioner of another class.
        """
        saved = read_folder(Path(folder))
        kind = class_of(saved.kind)
        try:
            vocabulary = vocabulary_of(saved.configuration["vocabulary"], saved.path)
            found = kind.rebuild(saved.configuration, vocabulary, **options)
        except KeyError as error:
            raise InputError(f"{saved.path / CONFIG} is damaged: it has no {error}") from error
        if not isinstance(found, cls):
            raise TypeError(f"{folder} holds a {type(found).__name__}, not a {cls.__name__}")
        found.decoding = saved.decoding
        fill(found, tensors_of(saved.path / WEIGHTS), str(saved.path / WEIGHTS))
        return found.eval()

    def configuration(self) -> dict[str, Any]:
        """What ``rebuild`` needs besides weights and vocabulary, ready for JSON."""
        raise NotImplementedError

    @classmethod
    def rebuild(cls, configuration: dict[str, Any], vocabulary: Vocabulary, **options: Any) -> Captioner:
        """A captioner without weights, from its configuration."""
        raise NotImplementedError
