"""The evaluator contract: one object is a metric for a corpus and a reward for a batch."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from capreward._version import __version__
from capreward.errors import InputError, shorten
from capreward.evaluators.unscored import empty_note, unscored_warning, value_notes
from capreward.samples import Samples
from capreward.scores import Score, Signature

if TYPE_CHECKING:
    from torch import Tensor

    from capreward.encoders.spec import Preprocessing

Floats = npt.NDArray[np.float64]


class Evaluator:
    """An object that judges captions as a metric (``corpus``) and as a reward (when called); it can be pickled.

    An evaluator with one number per caption implements ``values``. If the corpus value is no mean over captions (BLEU,
    METEOR), the evaluator implements ``statistics`` and ``finish`` instead. All that depends on images and references
    alone goes into ``prepare``, so that many batches of candidates reuse it.

    Attributes:
        name: The name in the registry and in tables.
        label: The text in place of the name, if a list holds the same evaluator with other options.
        needs: What every item must have: a subset of ``{"images", "references"}``.
        higher_is_better: Whether a higher value is better; None if neither direction is better (length).
        is_share: Whether papers print the value times 100; False for counts and for custom rewards.
        columns: The names of the values; families such as BLEU-1..4 have more than one.
        main: The index of the column that is the reward.
        corpus_only: Whether there is only one value for all captions, and none per caption.
        applies_to: The description, in messages, of the captions that have a value.
        gaps: Whether captions that it applies to may still lack a value, as its documentation says.
        no_number: The text, in messages, for a value that is no number.
    """

    name: str = ""
    label: str | None = None
    needs: frozenset[str] = frozenset()
    higher_is_better: bool | None = True
    is_share: bool = True
    columns: tuple[str, ...] = ()
    main: int = 0
    corpus_only: bool = False
    applies_to: str = "captions of images that have references"
    gaps: bool = False
    no_number: str = "NaN"
    _warned: bool = False

    def prepare(self, samples: Samples) -> Any:
        """Compute all that depends on the items alone; later calls over the same items take the result."""
        return None

    def values(self, samples: Samples, prepared: Any) -> Floats:
        """Return per-caption values [N] or [N, C]; every item of the samples has what the evaluator needs."""
        return self.finish(self.statistics(samples, prepared))

    def statistics(self, samples: Samples, prepared: Any) -> Floats:
        """Return summable statistics per caption, [N, S]; by default each value and a one, or zeros where it is NaN."""
        return summable(self.values(samples, prepared))

    def finish(self, sums: Floats) -> Floats:
        """Turn summed statistics [..., S] into values [..., C]; by default the mean of each column."""
        half = sums.shape[-1] // 2
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(sums[..., :half] / sums[..., half:])

    def parameters(self) -> dict[str, object]:
        """Return the settings that change the number, in the order in which the signature shows them."""
        return {}

    def signature(self) -> Signature:
        """Return the signature: all that the number depends on."""
        return Signature.of(self.name, **self.parameters(), v=__version__)

    def data_signature(self, samples: Samples, prepared: Any) -> dict[str, object]:
        """Return facts about the data that change the number: the range of reference counts; subclasses add more."""
        if "references" not in self.needs or samples.references is None:
            return {}
        counts = [len(samples.references[i]) for i in np.unique(samples.item) if samples.references[i]]
        low, high = min(counts, default=0), max(counts, default=0)
        return {"refs": low if low == high else f"{low}-{high}"}

    def remarks(self, samples: Samples, prepared: Any) -> list[str]:
        """Return notes for people on the number, one sentence each: what was assumed, cut or skipped."""
        return []

    def watch(self, progress: Callable[[str, float, float], None] | None) -> None:
        """Report the progress of slow work to ``progress(what, done, total)`` from now on; None stops the reports."""

    def preprocessings(self, samples: Samples) -> tuple[Preprocessing, ...]:
        """Return the image steps that it needs crops for; a loader then decodes a picture once for all evaluators."""
        return ()

    def check_reward(self) -> None:
        """Refuse use as a reward where it would be wrong; subclasses override this method.

        Raises:
            InputError: The message says what is missing and what to write.
        """

    def __call__(self, samples: Samples, prepared: Any = None) -> Tensor:
        """Judge each caption, without a gradient.

        Args:
            samples: N captions with their items.
            prepared: The result of ``prepare`` for the same items; None computes it.

        Returns:
            A float64 tensor [N] with NaN where the evaluator does not apply, such as for an item without references. If
            it applies and gives no finite number, a ``RuntimeWarning`` says so, once per evaluator.

        Raises:
            InputError: The samples lack what the evaluator needs.
        """
        import torch

        self.check_reward()
        if prepared is None:
            self.check_needs(samples)
            prepared = self.prepare(samples)
        values = self.per_caption(samples, prepared)[:, self.main]
        told = unscored_warning(self.name, values, self.expected(samples), samples, self.no_number)
        if told is not None and not self._warned:
            self._warned = True
            warnings.warn(told, RuntimeWarning, stacklevel=2)
        return torch.from_numpy(values.copy())

    def corpus(self, samples: Samples, prepared: Any = None) -> Score:
        """Judge the captions as a whole.

        Returns:
            The score with per-caption values, summable statistics per item and signature; the score of a family holds
            its members in ``parts``.

        Raises:
            InputError: There are no captions, or the samples lack what the evaluator needs.
        """
        rows = self.rows_to_judge(samples)
        if prepared is None:
            prepared = self.prepare(samples)
        chosen = samples if rows is None else samples.take(rows)
        return self.judged(samples, prepared, rows, self.statistics(chosen, prepared))

    def rows_to_judge(self, samples: Samples) -> npt.NDArray[np.int64] | None:
        """Return the captions it applies to, None for all of them; raise InputError if there is nothing to judge."""
        self.check_needs(samples)
        if not len(samples):
            raise InputError(f"{self.name}: there are no captions to judge")
        rows = self.applicable(samples)
        if rows is not None and not len(rows):
            raise InputError(f"{self.name} applies to {self.applies_to}; none of the {len(samples)} captions is such")
        return rows

    def judged(self, samples: Samples, prepared: Any, rows: npt.NDArray[np.int64] | None, statistics: Floats) -> Score:
        """Return the score of the statistics [N', S] of the captions ``rows``."""
        per_caption = self._spread_to_all(self.finish_rows(statistics), rows, len(samples))
        item = samples.item if rows is None else samples.item[rows]
        # Columns lie contiguous, so that their sums have the last bit of numpy's mean, which the originals use.
        per_item = np.asfortranarray(sum_by_item(statistics, item, samples))
        value = np.asarray(self.finish(per_item.sum(0)), dtype=np.float64).reshape(-1)
        signature = self.signature().extended(**self.data_signature(samples, prepared))
        names = self.columns or (self.name,)
        items = tuple(samples.key[i] for i in np.unique(item).tolist())
        notes = tuple([*self.remarks(samples, prepared), *self.notes_on(per_caption, value, samples)])
        scores = [
            Score(
                name=name,
                value=float(value[c]),
                signature=signature,
                per_caption=per_caption[:, c],
                statistics=per_item,
                items=items,
                finish=self.finish,
                column=c,
                higher_is_better=self.higher_is_better,
                is_share=self.is_share,
                notes=notes,
            )
            for c, name in enumerate(names)
        ]
        whole = self.gather(scores)
        return whole.keyed(samples.caption_keys) if samples.named else whole

    def notes_on(self, per_caption: Floats, value: Floats, samples: Samples) -> list[str]:
        """Return notes on values [N, C] and corpus values [C]: which captions have no number, which are empty."""
        main, whole = per_caption[:, self.main], float(value[self.main])
        notes = value_notes(self.name, main, self.expected(samples), whole, samples, self.no_number)
        return notes + (empty_note(self.name, main, samples) if self.higher_is_better else [])

    def expected(self, samples: Samples) -> npt.NDArray[np.bool_]:
        """Return which captions must have a number, bool [N]: those it applies to, or none if it has gaps."""
        rows = self.applicable(samples)
        found = np.full(len(samples), rows is None)
        found[rows if rows is not None else []] = True
        return found & (not self.gaps)

    def per_caption(self, samples: Samples, prepared: Any) -> Floats:
        """Return values [N, C], with NaN for captions of items that lack what the evaluator needs."""
        rows = self.applicable(samples)
        chosen = samples if rows is None else samples.take(rows)
        if not len(chosen):
            return np.full((len(samples), max(1, len(self.columns))), np.nan)
        return self._spread_to_all(self.values(chosen, prepared), rows, len(samples))

    def finish_rows(self, statistics: Floats) -> Floats:
        """Return per-caption values [N, C] from per-caption statistics [N, S]."""
        return np.asarray(self.finish(statistics), dtype=np.float64).reshape(len(statistics), -1)

    def check_needs(self, samples: Samples) -> None:
        """Raise InputError unless the samples have what the evaluator needs."""
        missing = sorted(n for n in self.needs if getattr(samples, n) is None)
        if missing:
            how = {"references": "--references FILE or references=[...]", "images": "--images FOLDER or images=[...]"}
            raise InputError(f"{self.name} needs {' and '.join(missing)}; give {' and '.join(how[m] for m in missing)}")
        if "references" in self.needs and len(samples) and not samples.has_references[samples.item].any():
            bare = [samples.key[i] for i in np.unique(samples.item)]
            raise InputError(f"{self.name} needs references, and no image has any (image {shorten(bare)})")

    def applicable(self, samples: Samples) -> npt.NDArray[np.int64] | None:
        """Return the captions it applies to; None for all of them."""
        if "references" not in self.needs or samples.references is None:
            return None
        known = samples.has_references[samples.item]
        return None if known.all() else np.flatnonzero(known)

    @staticmethod
    def _spread_to_all(values: Floats, rows: npt.NDArray[np.int64] | None, n: int) -> Floats:
        values = np.asarray(values, dtype=np.float64)
        values = values.reshape(len(values), -1)
        if rows is None:
            return values
        spread = np.full((n, values.shape[1]), np.nan)
        spread[rows] = values
        return spread

    def gather(self, scores: list[Score]) -> Score:
        """Return one score for the columns' scores: a family if there are several."""
        if len(scores) == 1:
            return scores[0]
        return replace(scores[self.main], name=self.name, parts={s.name: s for s in scores}, family=True)


def summable(values: Floats) -> Floats:
    """Return each value and a one, or zeros where it is NaN: [N] or [N, C] to [N, 2C], whose sums make a mean."""
    values = values.reshape(len(values), -1)
    known = ~np.isnan(values)
    return np.concatenate([np.where(known, values, 0.0), known.astype(np.float64)], axis=1)


def sum_by_item(statistics: Floats, item: npt.NDArray[np.int64], samples: Samples) -> Floats:
    """Sum per-caption statistics [N, S] over the captions of each item that has any: [M', S], in item order."""
    if len(item) == samples.n_items and np.array_equal(item, np.arange(samples.n_items)):
        return statistics
    present, inverse = np.unique(item, return_inverse=True)
    sums = np.zeros((len(present), statistics.shape[1]))
    np.add.at(sums, inverse, statistics)
    return sums
