"""What a table of evaluations shows, in plain sentences made from its numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from capreward.reports.results import Results, SystemResult
from capreward.stats.bootstrap import percentiles, resampled_sums

if TYPE_CHECKING:
    from capreward.scores import Score

JUDGE = "judge"
JUDGED = "the held-out judge, which it never met,"
# Column, what is said where it is clearly better, clearly worse, and how its value is shown.
QUALITIES = (
    ("scene-grammar", "more of its captions are grammatical", "fewer of its captions are grammatical", "{:.1%}"),
    ("repetition", "it repeats itself less", "it repeats itself more", "{:.1%}"),
    ("scene-facts-precision", "more of what it states is true", "less of what it states is true", "{:.1%}"),
    ("scene-facts-recall", "it tells more of the picture", "it tells less of the picture", "{:.1%}"),
    ("cider", "it is closer to human captions (CIDEr)", "it is further from human captions (CIDEr)", "{:.3f}"),
)
NAMES = {
    JUDGE: "the held-out judge",
    "scene-grammar": "grammatical captions",
    "repetition": "little repetition",
    "scene-facts-precision": "true statements",
    "scene-facts-recall": "completeness",
    "cider": "CIDEr",
}


def conclusions(results: Results, reward: str) -> list[str]:
    """A sentence for each run after the first, which it started from, and one that compares the last two.

    A difference is called one where its 95% interval excludes zero (paired bootstrap over images for means, else where
    the two intervals do not overlap).

    Args:
        results: the captioner before, then the captioners trained from it.
        reward: the metric that they were trained on.
    """
    before, *after = results.systems
    told = [_told(before, system, reward) for system in after]
    if len(after) > 1:
        told.append(_between(after[-2], after[-1], reward))
    return told


def direction(one: SystemResult, other: SystemResult, name: str) -> int:
    """1 where ``other`` is clearly better than ``one`` by a metric, -1 where it is clearly worse, else 0."""
    first, second = one.scores[name], other.scores[name]
    sign = -1 if first.higher_is_better is False else 1
    if _is_mean(first) and _is_mean(second) and one.scores.caption_keys == other.scores.caption_keys:
        low, high = paired_interval(first, second)
        return sign * int((low > 0) - (high < 0))
    mine, theirs = one.intervals.get(name), other.intervals.get(name)
    if mine is None or theirs is None:
        return 0
    return sign * int((theirs[0] > mine[1]) - (theirs[1] < mine[0]))


def paired_interval(one: Score, other: Score, *, resamples: int = 1000, seed: int = 12345) -> tuple[float, float]:
    """The 95% paired bootstrap interval of the difference of two means over the same images, ``other`` less ``one``."""
    assert one.per_caption is not None and other.per_caption is not None  # noqa: S101, PT018  # for the type checker
    gaps = (other.per_caption - one.per_caption)[:, None]
    return percentiles(resampled_sums(gaps, resamples=resamples, seed=seed)[:, 0] / len(gaps))


def _is_mean(score: Score) -> bool:
    values = score.per_caption
    return values is not None and bool(np.isfinite(values).all()) and abs(values.mean() - score.value) < 1e-9


def _told(before: SystemResult, after: SystemResult, reward: str) -> str:
    moves = {1: "rose", -1: "fell", 0: "did not clearly change"}
    at = f"{before.scores[reward].value:.3f} to {after.scores[reward].value:.3f}"
    earned = direction(before, after, reward)
    sentence = f"{after.name}: its reward, {reward}, {moves[earned]} ({at})"
    if JUDGE in _names(after):
        seen = direction(before, after, JUDGE)
        values = f"{before.scores[JUDGE].value:.3f} to {after.scores[JUDGE].value:.3f}"
        agreed = f"and {JUDGED} {moves[seen]} too" if seen == earned else f"but {JUDGED} {moves[seen]}"
        sentence += f", {agreed} ({values})"
    better, worse = _changes(before, after)
    if not better and not worse:
        return f"{sentence}; nothing else changed clearly."
    parts = ([_listed(better)] if better else []) + ([f"at a price: {_listed(worse)}"] if worse else [])
    return f"{sentence}; {'; '.join(parts)}."


def _changes(before: SystemResult, after: SystemResult) -> tuple[list[str], list[str]]:
    """What is clearly better and what is clearly worse, with the values before and after."""
    found: dict[int, list[str]] = {1: [], -1: [], 0: []}
    for name, good, bad, shape in QUALITIES:
        if name in _names(after):
            way = direction(before, after, name)
            values = f"{shape.format(before.scores[name].value)} to {shape.format(after.scores[name].value)}"
            found[way].append(f"{good if way > 0 else bad} ({values})")
    return found[1], found[-1]


def _between(one: SystemResult, other: SystemResult, reward: str) -> str:
    columns = [reward, *(n for n in (JUDGE, *(q[0] for q in QUALITIES)) if n in _names(one) and n != reward)]
    ways = {name: direction(one, other, name) for name in columns}
    lead: Callable[[int], list[str]] = lambda way: [NAMES.get(n, n) for n in columns if ways[n] == way]  # noqa: E731
    first, second, even = lead(-1), lead(1), lead(0)
    parts = [f"{s.name} leads in {_listed(w)}" for s, w in ((one, first), (other, second)) if w]
    if even:
        parts.append(f"there is no clear difference in {_listed(even)}")
    return f"Side by side, {'; '.join(parts)}."


def _names(system: SystemResult) -> list[str]:
    return [column.name for column in system.scores.columns()]


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
