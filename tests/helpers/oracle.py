"""The original Python scorers of pycocoevalcap, and plain definitions of what it lacks."""

from __future__ import annotations

import contextlib
import io
import math
from collections import Counter

import numpy as np


def bleu(candidates, references):
    """Corpus BLEU-1..4 and per-caption values [4][N] by pycocoevalcap."""
    from pycocoevalcap.bleu.bleu import Bleu

    gts, res = _dicts(candidates, references)
    with contextlib.redirect_stdout(io.StringIO()):
        return Bleu(4).compute_score(gts, res, verbose=0)


def rouge(candidates, references):
    """Corpus and per-caption ROUGE-L by pycocoevalcap."""
    from pycocoevalcap.rouge.rouge import Rouge

    return Rouge().compute_score(*_dicts(candidates, references))


def cider(candidates, references):
    """Corpus and per-caption CIDEr(-D) by pycocoevalcap."""
    from pycocoevalcap.cider.cider import Cider

    return Cider().compute_score(*_dicts(candidates, references))


def grams(text, n):
    """Counts of the n-grams of a tokenized caption."""
    words = text.split()
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def document_frequency(references):
    """In how many items' references each n-gram occurs."""
    df = Counter()
    for refs in references:
        df.update({g for r in refs for n in range(1, 5) for g in grams(r, n)})
    return df


def cosine(a, b, df, n_images, n):
    """Cosine of the tf-idf vectors of the n-grams of two captions."""

    def vector(text):
        return {g: c * (math.log(n_images) - math.log(max(1, df[g]))) for g, c in grams(text, n).items()}

    x, y = vector(a), vector(b)
    dot = sum(v * y.get(g, 0.0) for g, v in x.items())
    length = math.sqrt(sum(v * v for v in x.values())) * math.sqrt(sum(v * v for v in y.values()))
    return dot / length if length else 0.0


def cider_plain(candidate, references, df, n_images):
    """CIDEr of one caption by its definition (Vedantam et al. 2015, equations 1 to 3), times 10."""
    each = [np.mean([cosine(candidate, r, df, n_images, n) for n in range(1, 5)]) for r in references]
    return 10 * float(np.mean(each))


def _dicts(candidates, references):
    return dict(enumerate(references)), {i: [c] for i, c in enumerate(candidates)}
