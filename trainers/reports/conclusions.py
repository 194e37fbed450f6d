"""The conclusions of a table of evaluations, in plain sentences made from its numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from capreward.reports.results import Results, SystemResult
from capreward.stats.bootstrap import percentiles, resampled_sums

if TYPE_CHECKING:
    from capreward.scores import Score

JUDGE = "judge"
JUDGE_CLAUSE = "the held-out judge, which it never met,"
# Column, the sentence if it is clearly better, the one if it is clearly worse, and the format of its value.
QUALITIES = (
    ("scene-grammar", "more of its captions are grammatical", "fewer of its captions are grammatical", "{:.1%}"),
    ("repetition", "it repeats itself less", "it repeats itself more", "{:.1%}"),
    ("scene-facts-precision", "more of what it states is true", "less of what it states is true", "{:.1%}"),
    ("scene-facts-recall", "it tells more of the picture", "it tells less of the picture", "{:.1%}"),
    ("cider", "by CIDEr it is closer to human captions", "by CIDEr it is further from human captions", "{:.3f}"),
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
    """Return a sentence for each run after the first, which it started from, and one that compares the last two.

    A difference counts if its 95% interval excludes zero (paired bootstrap over images for means; for other values, if
    the two intervals do not overlap).

    Args:
        results: The results of the captioner before training, then those of the captioners trained from it.
        reward: The metric that they were trained on.
    """
    before, *after = results.systems
    sentences = [_change_sentence(before, system, reward) for system in after]
    if len(after) > 1:
        sentences.append(_comparison_sentence(after[-2], after[-1], reward))
    return sentences


def direction(one: SystemResult, other: SystemResult, name: str) -> int:
    """Return 1 if ``other`` is clearly better than ``one`` by a metric, -1 if it is clearly worse, else 0."""
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
    """Return the 95% paired bootstrap interval of ``other`` minus ``one``, two means over the same images."""
    assert one.per_caption is not None and other.per_caption is not None  # noqa: S101, PT018  # for the type checker
    gaps = (other.per_caption - one.per_caption)[:, None]
    return percentiles(resampled_sums(gaps, resamples=resamples, seed=seed)[:, 0] / len(gaps))


def _is_mean(score: Score) -> bool:
    values = score.per_caption
    return values is not None and bool(np.isfinite(values).all()) and abs(values.mean() - score.value) < 1e-9


def _change_sentence(before: SystemResult, after: SystemResult, reward: str) -> str:
    moves = {1: "rose", -1: "fell", 0: "did not clearly change"}
    at = f"{before.scores[reward].value:.3f} to {after.scores[reward].value:.3f}"
    reward_direction = direction(before, after, reward)
    sentence = f"{after.name}: its reward, {reward}, {moves[reward_direction]} ({at})"
    if JUDGE in _names(after):
        judge_direction = direction(before, after, JUDGE)
        values = f"{before.scores[JUDGE].value:.3f} to {after.scores[JUDGE].value:.3f}"
        as_well = "too" if judge_direction else "either"
        clause = (
            f"and {JUDGE_CLAUSE} {moves[judge_direction]} {as_well}"
            if judge_direction == reward_direction
            else f"but {JUDGE_CLAUSE} {moves[judge_direction]}"
        )
        sentence += f", {clause} ({values})"
    better, worse = _changes(before, after)
    if not better and not worse:
        return f"{sentence}; nothing else changed clearly."
    parts = ([_listed(better)] if better else []) + ([f"at a price: {_listed(worse)}"] if worse else [])
    return f"{sentence}; {'; '.join(parts)}."


def _changes(before: SystemResult, after: SystemResult) -> tuple[list[str], list[str]]:
    """Return what is clearly better and what is clearly worse, with the values before and after."""
    changes: dict[int, list[str]] = {1: [], -1: [], 0: []}
    for name, good, bad, shape in QUALITIES:
        if name in _names(after):
            way = direction(before, after, name)
            values = f"{shape.format(before.scores[name].value)} to {shape.format(after.scores[name].value)}"
            changes[way].append(f"{good if way > 0 else bad} ({values})")
    return changes[1], changes[-1]


def _comparison_sentence(one: SystemResult, other: SystemResult, reward: str) -> str:
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
