"""The tokenization of captions to rows of token ids, with a mark on captions cut at the context length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


class Tokens:
    """The token ids of N texts, each without padding.

    Attributes:
        rows: For each text its ids, int64, with the start and the end token; at most the context length.
        cut: For each text whether it was longer than the context, bool [N].
    """

    def __init__(self, rows: list[npt.NDArray[np.int64]], cut: npt.NDArray[np.bool_]) -> None:
        self.rows = rows
        self.cut = cut
        self.lengths = np.array([len(row) for row in rows], dtype=np.int64)

    def padded(self, chosen: Sequence[int], length: int) -> npt.NDArray[np.int64]:
        """Return the rows ``chosen``, padded with zeros to ``length``: [len(chosen), length]."""
        table = np.zeros((len(chosen), length), dtype=np.int64)
        for at, i in enumerate(chosen):
            table[at, : len(self.rows[i])] = self.rows[i]
        return table


def tokenize(tokenizer: Any, texts: Sequence[str], context_length: int) -> Tokens:
    """Tokenize as the original CLIP does: a text that is too long keeps its first ids and ends in the end token.

    Args:
        tokenizer: The tokenizer, open_clip's ``SimpleTokenizer`` or ``HFTokenizer``.
        texts: N texts, with their prompt.
        context_length: The most tokens that the text tower takes.
    """
    from capreward.encoders.model.backend import import_open_clip

    if isinstance(tokenizer, import_open_clip().SimpleTokenizer):
        found = [[tokenizer.sot_token_id, *tokenizer.encode(text), tokenizer.eot_token_id] for text in texts]
        cut = np.array([len(ids) > context_length for ids in found], dtype=bool)
        kept = [[*ids[: context_length - 1], ids[-1]] if c else ids for ids, c in zip(found, cut, strict=True)]
        return Tokens([np.array(ids, dtype=np.int64) for ids in kept], cut)
    table = tokenizer(list(texts), context_length=context_length).numpy()
    return Tokens(list(table.astype(np.int64)), _full_lengths(tokenizer, texts) > context_length)


def _full_lengths(tokenizer: Any, texts: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the lengths before cutting, for tokenizers that show them."""
    inner = getattr(tokenizer, "tokenizer", None)
    if inner is None:
        return np.zeros(len(texts), dtype=np.int64)
    cleaned = [tokenizer.clean_fn(text) for text in texts]
    return np.array([len(ids) for ids in inner(cleaned).input_ids], dtype=np.int64)
