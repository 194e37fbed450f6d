"""Evaluators of diversity: over the whole corpus, and among several captions of one image."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from capreward.errors import InputError
from capreward.evaluators.base import Evaluator
from capreward.evaluators.bleu import Bleu
from capreward.evaluators.cider import REFERENCES, CiderPlain
from capreward.evaluators.repetition import caption_counts
from capreward.samples import Samples
from capreward.scores import Score
from capreward.text.corpus import Pairs
from capreward.text.ngrams import Ints
from capreward.text.tokenizers import Tokenizer, tokenizer_of

Floats = npt.NDArray[np.float64]

SEVERAL = "images with several captions"


class VocabularySize(Evaluator):
    """The number of distinct words in all captions.

    Args:
        tokenizer: The tokenizer: ``ptb`` (default), ``ptb-java``, ``none``, or a tokenizer object.
    """

    name = "vocabulary"
    corpus_only = True
    is_share = False

    def __init__(self, tokenizer: str | Tokenizer = "ptb") -> None:
        self.tokenizer = tokenizer_of(tokenizer)
        self.columns = (self.name,)

    def parameters(self) -> dict[str, object]:
        """Return the tokenizer."""
        return {"tok": self.tokenizer.name}

    def check_reward(self) -> None:
        """Refuse use as a reward: there is no value per caption."""
        raise InputError(f"{self.name} judges all captions together and has no value per caption; it is no reward")

    def whole(self, samples: Samples) -> list[float]:
        """Return the value of each column."""
        return [float(caption_counts(samples, self.tokenizer)[1][0].size)]

    def corpus(self, samples: Samples, prepared: Any = None) -> Score:
        """Judge all captions together; the score has neither per-caption values nor statistics."""
        if not len(samples):
            raise InputError(f"{self.name}: there are no captions to judge")
        named = zip(self.columns, self.whole(samples), strict=True)
        return self.gather([Score(name, value, self.signature(), is_share=self.is_share) for name, value in named])


class Distinct(VocabularySize):
    """Distinct-1 and distinct-2: distinct n-grams over all captions divided by all words (Li et al. 2016).

    The range is (0, 1]. The value falls as the corpus grows, so compare equal numbers of captions only.

    Args:
        tokenizer: The tokenizer: ``ptb`` (default), ``ptb-java``, ``none``, or a tokenizer object.
    """

    name = "distinct"
    is_share = True

    def __init__(self, tokenizer: str | Tokenizer = "ptb") -> None:
        super().__init__(tokenizer)
        self.columns = ("distinct1", "distinct2")

    def whole(self, samples: Samples) -> list[float]:
        """Return distinct-1 and distinct-2; NaN for captions without words."""
        words, counts = caption_counts(samples, self.tokenizer)
        return [order.size / len(words.ids) if len(words.ids) else float("nan") for order in counts[:2]]


class MutualBleu(Bleu):
    """mBLEU: BLEU of each caption with the other captions of its image as references (Shetty et al. 2017).

    The range is [0, 1); lower is more diverse. The value is NaN for images with one caption.

    Args:
        only: The one order to compute (1 to 4); None computes all four.
        tokenizer: The tokenizer: ``ptb`` (default), ``ptb-java``, ``none``, or a tokenizer object.
    """

    needs = frozenset()
    higher_is_better = False
    applies_to = SEVERAL

    def __init__(self, only: int | None = None, tokenizer: str | Tokenizer = "ptb") -> None:
        super().__init__(only, tokenizer)
        self.name = f"m{self.name}"
        self.columns = tuple(f"m{column}" for column in self.columns)

    def prepare(self, samples: Samples) -> None:  # type: ignore[override]
        """Do nothing: the references are the candidates themselves."""

    def applicable(self, samples: Samples) -> npt.NDArray[np.int64] | None:
        """Return the captions of images that have several captions."""
        return rows_with_siblings(samples)

    def statistics(self, samples: Samples, prepared: Any) -> Floats:
        """Return BLEU's statistics [N, 10] of each caption against the other captions of its image."""
        siblings = [[samples.captions[j] for j in rows if j != i] for i, rows in _groups_by_caption(samples)]
        alone = Samples(samples.captions, references=siblings)
        return super().statistics(alone, super().prepare(alone))


class SelfCider(Evaluator):
    """Self-CIDEr: how far the captions of an image spread in CIDEr's space (Wang and Chan, CVPR 2019).

    With the eigenvalues of the matrix of CIDEr similarities among an image's K captions, r = sqrt(largest) / sum of
    square roots, and the diversity is -log(r) / log(K): 0 for equal captions, 1 for captions that share no n-gram.
    Every caption carries its image's value; the corpus value is the mean over images. It is NaN for images with one
    caption.

    Args:
        df: The document frequencies, as in ``cider-d``: a file, or ``references`` for those of the images' references.
        tokenizer: The tokenizer: ``ptb`` (default), ``ptb-java``, ``none``, or a tokenizer object.
    """

    name = "self-cider"
    applies_to = SEVERAL

    def __init__(self, df: Any = REFERENCES, tokenizer: str | Tokenizer = "ptb") -> None:
        self.cider = CiderPlain(df=df, tokenizer=tokenizer)
        self.needs = frozenset({"references"} if self.cider.frequencies is None else ())

    def parameters(self) -> dict[str, object]:
        """Return the parameters of CIDEr."""
        return self.cider.parameters()

    def data_signature(self, samples: Samples, prepared: Any) -> dict[str, object]:
        """Return the number of images that document frequencies were counted over."""
        return {} if prepared is None else {"df": f"{REFERENCES}({prepared.n_images})"}

    def prepare(self, samples: Samples) -> Any:
        """Count document frequencies of the references, unless they are fixed."""
        fixed = self.cider.frequencies
        return None if fixed is not None else self.cider.prepare(samples).frequencies

    def applicable(self, samples: Samples) -> npt.NDArray[np.int64] | None:
        """Return the captions of images that have several captions."""
        return rows_with_siblings(samples)

    def statistics(self, samples: Samples, prepared: Any) -> Floats:
        """Return each caption's value and a one, divided by the number of captions of its image: [N, 2]."""
        share = 1.0 / np.bincount(samples.item, minlength=samples.n_items)[samples.item]
        return np.stack([self.values(samples, prepared) * share, share], axis=1)

    def values(self, samples: Samples, prepared: Any) -> Floats:
        """Return the diversity of each caption's image, [N]."""
        groups = _rows_by_item(samples)
        items = sorted(groups)
        order = np.concatenate([groups[i] for i in items])
        grouped = Samples(
            [samples.captions[i] for i in order],
            references=[[samples.captions[j] for j in groups[i]] for i in items],
            item=np.repeat(np.arange(len(items)), [len(groups[i]) for i in items]),
        )
        cider = self.cider if prepared is None else CiderPlain(df=prepared, tokenizer=self.cider.tokenizer)
        references = cider.prepare(grouped)
        similar = cider.similarities(grouped, references, Pairs.of(grouped.item, references.grams.offsets))
        values = np.empty(len(samples))
        values[order] = _self_cider_of(similar, np.array([len(groups[i]) for i in items]))
        return values


def _self_cider_of(similar: Floats, sizes: Ints) -> Floats:
    """Return Self-CIDEr of each group for each of its captions, from the K x K similarities of the groups in order."""
    starts = np.cumsum(sizes**2) - sizes**2
    value = np.empty(len(sizes))
    for size in np.unique(sizes).tolist():
        chosen = np.flatnonzero(sizes == size)
        matrices = similar[starts[chosen][:, None] + np.arange(size**2)].reshape(-1, size, size)
        roots = np.sqrt(np.clip(np.linalg.eigvalsh(matrices), 0.0, None))
        total = roots.sum(-1)
        ratio = np.divide(roots[:, -1], total, out=np.ones_like(total), where=total > 0)
        value[chosen] = -np.log(ratio) / np.log(size)
    return np.repeat(value, sizes)


def _rows_by_item(samples: Samples) -> dict[int, list[int]]:
    rows: dict[int, list[int]] = {}
    for row, item in enumerate(samples.item.tolist()):
        rows.setdefault(item, []).append(row)
    return rows


def _groups_by_caption(samples: Samples) -> list[tuple[int, list[int]]]:
    groups = _rows_by_item(samples)
    return [(row, groups[item]) for row, item in enumerate(samples.item.tolist())]


def rows_with_siblings(samples: Samples) -> npt.NDArray[np.int64] | None:
    """Return the captions whose image has several captions; None for all of them."""
    several = np.bincount(samples.item, minlength=samples.n_items)[samples.item] > 1
    return None if several.all() else np.flatnonzero(several)
