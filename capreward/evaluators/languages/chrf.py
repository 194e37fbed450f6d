"""chrF and chrF++ as sacrebleu computes them, without sacrebleu."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from capreward.errors import InputError
from capreward.evaluators.base import Evaluator
from capreward.samples import Samples
from capreward.text.ngram_corpus import Pairs, ReferenceGrams, candidate_grams, reference_grams

Floats = npt.NDArray[np.float64]

CHARACTERS = 6  # the longest n-grams of characters
WORDS = 2  # the longest n-grams of words in chrF++
BETA = 2
MARKS = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")


@dataclass(frozen=True)
class _Splitter:
    """A tokenizer of chrF alone.

    Attributes:
        name: The name under which tokenized captions are kept.
        split: The function that splits a caption.
    """

    name: str
    split: Callable[[str], Sequence[str]]

    def __call__(self, captions: Sequence[str]) -> list[str]:
        return [" ".join(self.split(caption)) for caption in captions]


def _characters(caption: str) -> str:
    return "".join(caption.split())


def _words(caption: str) -> list[str]:
    """Return the words, with one punctuation mark split off: the last character, or else the first."""
    found = []
    for word in caption.split():
        if len(word) > 1 and word[-1] in MARKS:
            found += [word[:-1], word[-1]]
        elif len(word) > 1 and word[0] in MARKS:
            found += [word[0], word[1:]]
        else:
            found.append(word)
    return found


class Chrf(Evaluator):
    """chrF: the F-score of character n-grams of orders 1 to 6 with beta 2 (Popović 2015), equal to sacrebleu's.

    It judges the captions as they are written, with case, punctuation and accents, but without white space. It needs no
    words and suits every language. A caption is compared with its best reference, and the corpus value is that of the
    summed counts. The range is [0, 1]; sacrebleu prints the value times 100.

    Args:
        word_order: 0 for chrF; 2 for chrF++, which adds n-grams of one and two words (Popović 2017).
    """

    needs = frozenset({"references"})

    def __init__(self, word_order: int = 0) -> None:
        if isinstance(word_order, bool) or word_order not in (0, WORDS):
            raise InputError(f"chrf has the word orders 0 (chrF) and {WORDS} (chrF++); found word_order={word_order!r}")
        self.word_order = word_order
        self.name = "chrfpp" if word_order else "chrf"

    def parameters(self) -> dict[str, object]:
        """Return the longest n-grams of characters and of words, and beta."""
        return {"nc": CHARACTERS, "nw": self.word_order, "beta": BETA}

    def prepare(self, samples: Samples) -> list[ReferenceGrams]:
        """Count the references' n-grams: of characters, and of words for chrF++."""
        found = [reference_grams(samples, _Splitter("chrf-characters", _characters), CHARACTERS)]
        if self.word_order:
            found.append(reference_grams(samples, _Splitter("chrf-words", _words), self.word_order))
        return found

    def statistics(self, samples: Samples, prepared: Any) -> Floats:
        """Return [N, 3 * orders]: n-grams of the caption, of its best reference, and common to both, order by order."""
        if not len(samples):
            return np.zeros((0, 3 * (CHARACTERS + self.word_order)))
        pairs = Pairs.of(samples.item, prepared[0].offsets)
        table = np.concatenate([_pair_statistics(samples, references, pairs) for references in prepared], axis=1)
        value = 100 * chrf_from_statistics(
            table
        )  # sacrebleu compares values times 100, on whose last bit a tie depends
        best = np.flatnonzero(value == np.maximum.reduceat(value, pairs.starts)[pairs.row])
        return np.asarray(table[best[np.unique(pairs.row[best], return_index=True)[1]]])

    def finish(self, sums: Floats) -> Floats:
        """Return chrF of summed statistics [..., 3 * orders] as [..., 1]."""
        return np.asarray(chrf_from_statistics(sums))[..., None]


def chrf_from_statistics(sums: Floats) -> Floats:
    """Return chrF of counts: [..., 3 * orders] to [...].

    Precision and recall are means over the orders that both sides have n-grams of; the operations run in sacrebleu's
    order.
    """
    guessed, wanted, common = sums[..., 0::3], sums[..., 1::3], sums[..., 2::3]
    both = (guessed > 0) & (wanted > 0)
    orders = np.maximum(both.sum(axis=-1), 1)
    precision = np.divide(common, guessed, out=np.zeros(both.shape), where=both).cumsum(axis=-1)[..., -1] / orders
    recall = np.divide(common, wanted, out=np.zeros(both.shape), where=both).cumsum(axis=-1)[..., -1] / orders
    bottom = BETA**2 * precision + recall
    top = (1 + BETA**2) * precision * recall
    return np.asarray(np.divide(top, bottom, out=np.zeros(bottom.shape), where=bottom > 0))


def _pair_statistics(samples: Samples, references: ReferenceGrams, pairs: Pairs) -> Floats:
    """Return the statistics of each pair of a candidate and a reference, [P, 3 * orders]."""
    candidates = candidate_grams(samples, references)
    lengths, theirs = candidates.words.lengths[pairs.row], references.words.lengths[pairs.reference]
    table = np.zeros((len(pairs.row), 3 * references.table.order))
    for n, (counts, matches) in enumerate(zip(candidates.counts, candidates.matches, strict=True)):
        posting = references.postings[n]
        row, reference = counts.row[matches.entry], posting.reference[matches.posting]
        pair = pairs.starts[row] + reference - references.offsets[samples.item[row]]
        clipped = np.minimum(counts.count[matches.entry], posting.count[matches.posting])
        guessed, wanted = np.maximum(lengths - n, 0), np.maximum(theirs - n, 0)
        # sacrebleu counts no n-grams of an order that the reference is too short for.
        table[:, 3 * n] = np.where(wanted > 0, guessed, 0)
        table[:, 3 * n + 1] = wanted
        table[:, 3 * n + 2] = np.bincount(pair, weights=clipped, minlength=len(pairs.row))
    return table
