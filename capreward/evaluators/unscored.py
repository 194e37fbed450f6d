"""Notes on values that are no numbers, and on empty captions that have a value."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from capreward.errors import shorten
from capreward.samples import Samples

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def value_notes(name: str, values: Floats, expected: Bools, whole: float, samples: Samples, word: str) -> list[str]:
    """Return notes on captions without a number where one is expected, and the effect on the corpus value.

    Args:
        name: The name of the evaluator.
        values: The values of the captions, [N].
        expected: For each caption whether it should have a number, [N].
        whole: The corpus value.
        samples: The captions.
        word: The text for a value that is no number, such as ``NaN``.
    """
    notes = []
    for wrong, what in ((np.isnan(values), f"no number ({word})"), (np.isinf(values), "an infinite value")):
        rows = np.flatnonzero(wrong & expected)
        if len(rows):
            lacking = f"{_caption_count(rows, samples)} {_has_or_have(rows)} {what}"
            notes.append(f"{name}: {lacking}: {_image_names(rows, samples)}; {_effect_on_corpus(whole)}")
    if not notes and expected.any() and not np.isfinite(whole):
        notes.append(f"{name}: the value of all {len(values):,} captions is no number ({whole})")
    return notes


def empty_note(name: str, values: Floats, samples: Samples) -> list[str]:
    """Return a note on empty captions whose value is above 0; ``values`` has shape [N]."""
    empty = np.fromiter((not text.strip() for text in samples.captions), dtype=bool, count=len(samples))
    with np.errstate(invalid="ignore"):
        rows = np.flatnonzero(empty & (values > 0))
    if not len(rows):
        return []
    mean = f"{values[rows].mean():.4f}{' on average' if len(rows) > 1 else ''}"
    verb = "are empty and count" if len(rows) > 1 else "is empty and counts"
    return [f"{name}: {_caption_count(rows, samples)} {verb} like any other, {mean}: {_image_names(rows, samples)}"]


def unscored_warning(name: str, values: Floats, expected: Bools, samples: Samples, word: str) -> str | None:
    """Return a warning on captions that should have a reward and have no finite number; None if all have one."""
    rows = np.flatnonzero(~np.isfinite(values) & expected)
    if not len(rows):
        return None
    lacking = f"{_caption_count(rows, samples)} {_has_or_have(rows)} no finite number ({word})"
    return f"{name}: {lacking}: {_image_names(rows, samples)}"


def _effect_on_corpus(whole: float) -> str:
    if np.isfinite(whole):
        return "the value is that of the others"
    return f"so the value of all is {'NaN' if np.isnan(whole) else 'infinite'}"


def _caption_count(rows: npt.NDArray[np.int64], samples: Samples) -> str:
    return f"{len(rows):,} of {len(samples):,} caption{'s' * (len(samples) != 1)}"


def _has_or_have(rows: npt.NDArray[np.int64]) -> str:
    return "has" if len(rows) == 1 else "have"


def _image_names(rows: npt.NDArray[np.int64], samples: Samples) -> str:
    keys = list(dict.fromkeys(samples.key[i] for i in samples.item[rows].tolist()))
    return f"image{'s' * (len(keys) > 1)} {shorten(keys)}"
