"""The interface of a captioner, which the optimizers, the decoding and the trainer use."""

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
    """The encoded images that the decoder attends to.

    Attributes:
        states: The states [B, S, d] of B images.
    """

    states: Tensor

    def __len__(self) -> int:
        return len(self.states)


class Captioner(nn.Module):
    """A model that writes captions for images.

    The frozen part (a CLIP tower) does not belong to the module: ``look`` applies it once per image, and policy and
    reference policy share the result. Token rows are int64 [N, L]: begin token, words, end token, padding.

    Attributes:
        kind: The name of this kind of captioner in configurations.
        vocabulary: The vocabulary of the decoder.
        longest: The greatest number of tokens of a caption, the begin token included.
        width: The width d of the states.
        preprocessing: The preprocessing of the pixels that ``look`` takes; None if it takes only stored features.
        decoding: The settings of :class:`trainers.decoding.Decoding` that the authors of a released captioner use; None
            if they are not known. They are saved with the captioner.
    """

    kind: ClassVar[str] = ""
    vocabulary: Vocabulary
    longest: int
    width: int
    preprocessing: Preprocessing | None
    decoding: dict[str, Any] | None = None

    def look(self, images: Tensor) -> Tensor:
        """Apply the frozen part, without gradient.

        Args:
            images: Crops uint8 [B, S, S, 3], or stored features float [B, *shape].

        Returns:
            The input [B, ...] of ``encode``.
        """
        raise NotImplementedError

    def encode(self, inputs: Tensor) -> Memory:
        """Apply the trained part of the image side."""
        raise NotImplementedError

    def logprobs(self, memory: Memory, tokens: Tensor, smoothing: float = 0.0) -> Tensor:
        """Compute float32 log-probabilities of every token after the first, given the image and the tokens before it.

        Args:
            memory: The memory of B images.
            tokens: Token rows int64 [N, L], where N = B * K; the K rows of an image stand side by side.
            smoothing: The label smoothing, in [0, 1).

        Returns:
            The log-probabilities [N, L - 1]; they are 0 where ``target_mask`` is False.
        """
        raise NotImplementedError

    def start(self, memory: Memory, longest: int) -> Cache:
        """Make a cache of B rows, one per image, before their first token."""
        raise NotImplementedError

    def step(self, cache: Cache, tokens: Tensor) -> Tensor:
        """Feed the newest token of each row, int64 [N], and return the logits of the next one, [N, V]."""
        raise NotImplementedError

    def forward(self, inputs: Tensor, tokens: Tensor, smoothing: float = 0.0) -> Tensor:
        """Compute ``logprobs`` from the result of ``look``: the pass that learns, in one call for parallel wrappers."""
        return self.logprobs(self.encode(inputs), tokens, smoothing)

    def frozen_copy(self) -> Captioner:
        """Copy the captioner as it is now, in evaluation mode and without gradients; the frozen part is shared."""
        return copy.deepcopy(self).eval().requires_grad_(False)

    def frozen_parts(self) -> list[object]:
        """Return the parts that ``look`` uses and that are neither trained nor saved."""
        return []

    def token_rows(self, captions: list[str]) -> Tensor:
        """Return the captions as token rows [N, L], cut at ``longest``."""
        return token_rows(self.vocabulary, captions, self.longest)

    def decode_text(self, tokens: Tensor) -> list[str]:
        """Return the captions of token rows [N, L], each up to its first end token."""
        captions = []
        for row in tokens[:, 1:].tolist():
            end = row.index(self.vocabulary.eos) if self.vocabulary.eos in row else len(row)
            captions.append(self.vocabulary.decode(row[:end]))
        return captions

    def save_pretrained(self, folder: str | Path) -> None:
        """Write configuration, vocabulary and weights into a folder.

        The weights of the frozen tower are not written: the configuration names them, with their hash.

        Raises:
            InputError: The folder cannot be written.
        """
        described = {"captioner": self.kind, **self.configuration()}
        if self.decoding is not None:
            described["decoding"] = self.decoding
        write_folder(Path(folder), described, self.vocabulary, self.state_dict())

    @classmethod
    def from_pretrained(cls, folder: str | Path, **options: Any) -> Self:
        """Read a captioner that ``save_pretrained`` wrote, and return it in evaluation mode.

        Args:
            folder: The folder of the captioner, or of a run (then its best captioner is read, else its last one).
            options: Options of :func:`trainers.captioners.towers.tower_of`, such as ``source`` if the tower's weights
                lie elsewhere now, or ``device``.

        Raises:
            InputError: The folder holds no captioner, the captioner is damaged, or its tower is not found.
            TypeError: The captioner is of another class.
        """
        saved = read_folder(Path(folder))
        kind = class_of(saved.kind)
        try:
            vocabulary = vocabulary_of(saved.configuration["vocabulary"], saved.path)
            captioner = kind.rebuild(saved.configuration, vocabulary, **options)
        except KeyError as error:
            raise InputError(f"{saved.path / CONFIG} is damaged: it has no {error}") from error
        if not isinstance(captioner, cls):
            raise TypeError(f"{folder} holds a {type(captioner).__name__}, not a {cls.__name__}")
        captioner.decoding = saved.decoding
        fill(captioner, tensors_of(saved.path / WEIGHTS), str(saved.path / WEIGHTS))
        return captioner.eval()

    def configuration(self) -> dict[str, Any]:
        """Return what ``rebuild`` needs besides weights and vocabulary, ready for JSON."""
        raise NotImplementedError

    @classmethod
    def rebuild(cls, configuration: dict[str, Any], vocabulary: Vocabulary, **options: Any) -> Captioner:
        """Build a captioner without trained weights from its configuration."""
        raise NotImplementedError
