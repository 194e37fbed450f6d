"""CIDEr-D by its definition, and references to count."""

from __future__ import annotations

import math

import oracle

TRAIN = [["a dog runs", "the dog"], ["a man on a horse"], ["a man", "two men"], ["the red horse"]]


def cider_d(candidate, references, df, n_images):
    """CIDEr-D of one caption by its definition (equation 4 of the paper, sigma 6), times 10."""
    total = 0.0
    weigh = lambda g, c: c * (math.log(n_images) - math.log(max(1, df[g])))  # noqa: E731
    for r in references:
        each = 0.0
        for n in range(1, 5):
            x = {g: weigh(g, c) for g, c in oracle.grams(candidate, n).items()}
            y = {g: weigh(g, c) for g, c in oracle.grams(r, n).items()}
            dot = sum(min(v, y[g]) * y[g] for g, v in x.items() if g in y)
            length = math.sqrt(sum(v * v for v in x.values())) * math.sqrt(sum(v * v for v in y.values()))
            each += dot / length if length else 0.0
        delta = max(len(candidate.split()) - 1, 0) - max(len(r.split()) - 1, 0)
        total += each / 4 * math.exp(-(delta**2) / 72)
    return 10 * total / len(references)
