"""The constraints that depend on the words so far: repeated trigrams, repeated words and bad endings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from capreward.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from trainers.captioners.vocabulary import Vocabulary
    from trainers.decoding.settings import Decoding

TRIGRAM_COST = 2 * 0.693  # of each earlier occurrence, as CLIP-Caption-Reward has it: about ln 4
Edits = tuple["Tensor", "Tensor"]


@dataclass(frozen=True)
class Constraints:
    """The rules over the words so far; :class:`trainers.decoding.Decoding` describes each of them.

    Attributes:
        trigrams: Whether a trigram of the caption costs ``TRIGRAM_COST`` for each earlier occurrence.
        repeats: Whether no token may follow itself.
        endings: The tokens that no end token may follow, int64 [W]; it is empty if there are none.
        eos: The end token.
    """

    trigrams: bool
    repeats: bool
    endings: Tensor
    eos: int

    @classmethod
    def of(cls, vocabulary: Vocabulary, settings: Decoding, device: torch.device) -> Constraints | None:
        """Make the constraints of the settings; None if there are none, which costs nothing.

        Raises:
            InputError: The vocabulary has none of the bad endings as a single token.
        """
        if not (settings.block_trigrams or settings.block_repeats or settings.bad_endings):
            return None
        endings = torch.tensor(ending_tokens(vocabulary, settings.bad_endings), dtype=torch.long, device=device)
        return cls(settings.block_trigrams, settings.block_repeats, endings, vocabulary.eos)

    @property
    def most_banned(self) -> int:
        """The greatest number of tokens that may be forbidden to a caption at a place."""
        return int(self.repeats) + int(len(self.endings) > 0)

    def __call__(self, history: Tensor) -> Edits | None:
        """Return the amounts that are added to the log-probabilities of the next token.

        Args:
            history: The tokens so far, int64 [N, T], begin token first.

        Returns:
            Tokens int64 and amounts float32, both [N, M]; the amounts of a token that occurs more than once add up.
            None if there are no words yet.
        """
        words = history[:, 1:]
        if not words.shape[1]:
            return None
        last = words[:, -1:]
        edits = []
        if self.repeats:
            edits.append((last, torch.full(last.shape, -torch.inf, device=last.device)))
        if len(self.endings):
            banned = torch.isin(last, self.endings)
            edits.append((torch.full_like(last, self.eos), _amounts(banned, -torch.inf)))
        if self.trigrams and words.shape[1] > 2:
            again = (words[:, :-2] == words[:, -2:-1]) & (words[:, 1:-1] == last)
            edits.append((words[:, 2:], _amounts(again, -TRIGRAM_COST)))
        if not edits:
            return None
        tokens, amounts = zip(*edits, strict=True)
        return torch.cat(tokens, 1), torch.cat(amounts, 1)


def apply_edits(table: Tensor, edits: Edits, rows: slice) -> Tensor:
    """Return a new table [n, V]: log-probabilities or logits plus the amounts that ``edits`` has for these rows."""
    return table.scatter_add(1, edits[0][rows], edits[1][rows].to(table.dtype))


def trigram_costs(tokens: Tensor, lengths: Tensor) -> Tensor:
    """Return the total cost of the repeated trigrams of captions [B, K, L], float32 [B, K]."""
    words = tokens[..., 1:]
    each = torch.stack([words[..., :-2], words[..., 1:-1], words[..., 2:]], -1)
    same = (each.unsqueeze(-2) == each.unsqueeze(-3)).all(-1).tril(-1)  # [B, K, later, earlier]
    there = torch.arange(2, max(2, words.shape[-1]), device=tokens.device) < lengths.unsqueeze(-1)
    return TRIGRAM_COST * (same.sum(-1) * there).sum(-1).float()


def ending_tokens(vocabulary: Vocabulary, words: Sequence[str]) -> list[int]:
    """Return the tokens of words that are one token each; unknown words and words of several tokens are left out.

    Raises:
        InputError: None of the words is one token.
    """
    endings = []
    for word in words:
        try:
            ids = vocabulary.encode(word)
        except InputError:
            continue
        if len(ids) == 1 and ids[0] != unknown_token(vocabulary):
            endings.append(ids[0])
    if words and not endings:
        raise InputError(f"decoding: bad_endings has no word of this captioner's vocabulary: {', '.join(words)}")
    return sorted(set(endings))


def unknown_token(vocabulary: Vocabulary) -> int | None:
    """Return the token that stands for unknown words; None if the vocabulary has none."""
    token = getattr(vocabulary, "unknown", None)
    return None if token is None else int(token)


def _amounts(mask: Tensor, amount: float) -> Tensor:
    return torch.zeros(mask.shape, device=mask.device).masked_fill(mask, amount)
