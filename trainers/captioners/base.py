"""What the optimizers, the decoding and the loop ask of a captioner."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from trainers.captioners.vocabulary import Vocabulary, token_rows

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


class Cache:
    """The decoder's state while captions grow: N = B * K rows, K rows of each image side by side.

    Keys and values of the image are held once per image; those of the words per row, in a buffer made in advance.

    Args:
        cross: per layer the keys and values of the memory, each [B, heads, S, width].
        rows: N.
        longest: L, tokens that a caption may have, the begin token included.
    """

    def __init__(self, cross: list[tuple[Tensor, Tensor]], rows: int, longest: int) -> None:
        self.cross = cross
        self.length = 0  # tokens fed so far
        key = cross[0][0]
        shape = (len(cross), 2, rows, key.shape[1], longest, key.shape[3])
        self.words = torch.empty(shape, dtype=key.dtype, device=key.device)

    def __len__(self) -> int:
        return self.words.shape[2]

    def append(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add the newest token's key and value [N, heads, 1, width]; all so far, [N, heads, length + 1, width]."""
        at = self.length
        self.words[layer, 0, :, :, at : at + 1] = key
        self.words[layer, 1, :, :, at : at + 1] = value
        return self.words[layer, 0, :, :, : at + 1], self.words[layer, 1, :, :, : at + 1]

    def reorder(self, rows: Tensor) -> None:
        """Let row n continue what was row ``rows[n]`` of the same image, int64 [N']; N' may differ from N."""
        found = self.words.new_empty((*self.words.shape[:2], len(rows), *self.words.shape[3:]))
        found[:, :, :, :, : self.length] = self.words[:, :, :, :, : self.length].index_select(2, rows)
        self.words = found

    def keep(self, images: Tensor, rows: Tensor) -> None:
        """Drop all but the images ``images`` [B'] and the rows ``rows`` [N'] (those of the images kept)."""
        self.cross = [(k.index_select(0, images), v.index_select(0, images)) for k, v in self.cross]
        self.reorder(rows)


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
    """

    kind: ClassVar[str] = ""
    vocabulary: Vocabulary
    longest: int
    width: int
    preprocessing: Preprocessing | None

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
        """Write configuration, vocabulary and weights, the frozen tower's excepted (it is named, with its hash)."""
        from trainers.captioners.saving import save

        save(self, Path(folder))

    @classmethod
    def from_pretrained(cls, folder: str | Path, **options: Any) -> Self:
        """Read what ``save_pretrained`` wrote; see :func:`trainers.captioners.saving.load`."""
        from trainers.captioners.saving import load

        found = load(Path(folder), **options)
        if not isinstance(found, cls):
            raise TypeError(f"{folder} holds a {type(found).__name__}, not a {cls.__name__}")
        return found

    def configuration(self) -> dict[str, Any]:
        """What ``rebuild`` needs besides weights and vocabulary, ready for JSON."""
        raise NotImplementedError

    @classmethod
    def rebuild(cls, configuration: dict[str, Any], vocabulary: Vocabulary, **options: Any) -> Captioner:
        """A captioner without weights, from its configuration."""
        raise NotImplementedError
