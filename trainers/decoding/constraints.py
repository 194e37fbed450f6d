"""What a caption may not say next, or pays for, because of what it has said: trigrams, repeated words, bad endings."""

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
    """Rules over the words so far; see :class:`trainers.decoding.Decoding` for what each of them says.

    Attributes:
        trigrams: a trigram that was said before costs ``TRIGRAM_COST`` for each time.
        repeats: no token follows itself.
        endings: int64 [W], tokens that no end token follows; empty for none.
        eos: the end token.
    """

    trigrams: bool
    repeats: bool
    endings: Tensor
    eos: int

    @classmethod
    def of(cls, vocabulary: Vocabulary, settings: Decoding, device: torch.device) -> Constraints | None:
        """What the settings ask for; None where they ask for nothing, which costs nothing.

        Raises:
            InputError: bad endings that the vocabulary does not have as single tokens.
        """
        if not (settings.block_trigrams or settings.block_repeats or settings.bad_endings):
            return None
        endings = torch.tensor(ending_tokens(vocabulary, settings.bad_endings), dtype=torch.long, device=device)
        return cls(settings.block_trigrams, settings.block_repeats, endings, vocabulary.eos)

    @property
    def most_banned(self) -> int:
        """Tokens that may be forbidden to a caption at a place."""
        return int(self.repeats) + int(len(self.endings) > 0)

    def __call__(self, history: Tensor) -> Edits | None:
        """What is added to the log-probabilities of the next token.

        Args:
            history: int64 [N, T], the tokens so far, begin token first.

        Returns:
            Tokens int64 and amounts float32, both [N, M]; of a token that is named more than once the amounts add up.
            None where nothing has been said yet.
        """
        words = history[:, 1:]
        if not words.shape[1]:
            return None
        last = words[:, -1:]
        found = []
        if self.repeats:
            found.append((last, torch.full(last.shape, -torch.inf, device=last.device)))
        if len(self.endings):
            banned = torch.isin(last, self.endings)
            found.append((torch.full_like(last, self.eos), _where(banned, -torch.inf)))
        if self.trigrams and words.shape[1] > 2:
            again = (words[:, :-2] == words[:, -2:-1]) & (words[:, 1:-1] == last)
            found.append((words[:, 2:], _where(again, -TRIGRAM_COST)))
        if not found:
            return None
        tokens, amounts = zip(*found, strict=True)
        return torch.cat(tokens, 1), torch.cat(amounts, 1)


def edited(table: Tensor, edits: Edits, rows: slice) -> Tensor:
    """A new table [n, V]: log-probabilities or logits, with what ``edits`` adds to its rows."""
    return table.scatter_add(1, edits[0][rows], edits[1][rows].to(table.dtype))


def trigram_costs(tokens: Tensor, lengths: Tensor) -> Tensor:
    """What the trigrams of captions [B, K, L] that they had said before cost in all, float32 [B, K]."""
    words = tokens[..., 1:]
    each = torch.stack([words[..., :-2], words[..., 1:-1], words[..., 2:]], -1)
    same = (each.unsqueeze(-2) == each.unsqueeze(-3)).all(-1).tril(-1)  # [B, K, later, earlier]
    there = torch.arange(2, max(2, words.shape[-1]), device=tokens.device) < lengths.unsqueeze(-1)
    return TRIGRAM_COST * (same.sum(-1) * there).sum(-1).float()


def ending_tokens(vocabulary: Vocabulary, words: Sequence[str]) -> list[int]:
    """The tokens of words that are one token each; words of several tokens, or that are unknown, end as they like.

    Raises:
        InputError: none of the words is one token.
    """
    found = []
    for word in words:
        try:
            ids = vocabulary.encode(word)
        except InputError:
            continue
        if len(ids) == 1 and ids[0] != unknown_token(vocabulary):
            found.append(ids[0])
    if words and not found:
        raise InputError(f"decoding: bad_endings has no word of this captioner's vocabulary: {', '.join(words)}")
    return sorted(set(found))


def unknown_token(vocabulary: Vocabulary) -> int | None:
    """The token that stands for words that a vocabulary lacks; None where it has none."""
    token = getattr(vocabulary, "unknown", None)
    return None if token is None else int(token)


def _where(mask: Tensor, amount: float) -> Tensor:
    return torch.zeros(mask.shape, device=mask.device).masked_fill(mask, amount)
