"""Scores: values with their signature, their summable statistics and their interval."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from capreward.errors import InputError
from capreward.metric_names import matching_name
from capreward.paired_captions import Pairing
from capreward.per_caption import PerCaption

if TYPE_CHECKING:
    from capreward.data.file_report import FileReport

Floats = npt.NDArray[np.float64]


class Finish(Protocol):
    """A function that turns summed statistics into values: [..., S] -> [..., C]."""

    def __call__(self, sums: Floats, /) -> Floats: ...  # noqa: D102 - the class says it


@dataclass(frozen=True)
class Signature:
    """All facts that a number depends on, and nothing else: ``cider-d|df:references(5000)|tok:ptb|v:0.1.0``.

    Args:
        name: The name of the evaluator.
        fields: The facts that change the value, in order (weights and their hash, w, tokenizer, ...).
    """

    name: str
    fields: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return "|".join([self.name, *(f"{k}:{v}" for k, v in self.fields)])

    @classmethod
    def of(cls, name: str, **fields: object) -> Signature:
        """Build a signature from keyword arguments; ``None`` values are left out."""
        return cls(name, tuple((k, _escape(str(v))) for k, v in fields.items() if v is not None))

    @classmethod
    def parse(cls, text: str) -> Signature:
        """Read the text that ``str(signature)`` wrote.

        Raises:
            InputError: The text is no signature.
        """
        name, *rest = text.strip().split("|")
        pairs = [tuple(part.split(":", 1)) for part in rest]
        if not name or any(len(pair) != 2 for pair in pairs):
            raise InputError(f"{text!r} is no signature; one looks like 'cider-d|df:references(5000)|tok:ptb|v:0.1.0'")
        return cls(name, tuple((k, v) for k, v in pairs))

    def merged(self, other: Signature) -> Signature:
        """Return the signature of two halves of a corpus together: the range of reference counts covers both.

        Raises:
            InputError: The halves' numbers depend on different things and do not add up.
        """
        fields, others = dict(self.fields), dict(other.fields)
        counts = [int(n) for f in (fields, others) for n in f.get("refs", "").split("-") if n]
        if counts:
            low, high = min(counts), max(counts)
            fields["refs"] = others["refs"] = str(low) if low == high else f"{low}-{high}"
        if self.name != other.name or fields != others:
            raise InputError(f"cannot merge {self} with {other}: the signatures differ")
        if "gallery" in fields:
            raise InputError(f"cannot merge {self}: ranks within each half are none within the whole")
        if fields.get("df", "").startswith("references("):
            raise InputError(f"cannot merge {self}: each half has document frequencies of its own; fix them by df=FILE")
        return Signature(self.name, tuple(fields.items()))

    def extended(self, **fields: object) -> Signature:
        """Return the signature with more fields, put before the version."""
        more = Signature.of(self.name, **fields).fields
        version = tuple(f for f in self.fields if f[0] == "v")
        return Signature(self.name, tuple(f for f in self.fields if f[0] != "v") + more + version)


@dataclass(frozen=True)
class Score:
    """One number for a set of captions, with all that is needed to check it.

    Attributes:
        name: The name of the evaluator or of its part.
        value: The corpus value.
        per_caption: The values per caption, float64 [N]; NaN where the evaluator does not apply; None for corpus-only
            evaluators. The array knows its images and refuses arithmetic with another order (see :class:`PerCaption`).
        statistics: The summable statistics of each item that has captions, float64 [M, S]; None if there are none.
        items: The key of the item of each row of ``statistics``.
        finish: A function for which ``finish(statistics.sum(0))[column]`` is ``value``.
        column: The index of this score among the values of ``finish``.
        signature: All that the number depends on.
        higher_is_better: Whether a higher value is better; None if neither direction is better.
        is_share: Whether papers print it times 100 (BLEU, CIDEr); False for counts and for custom rewards.
        parts: Further named numbers of the same evaluator (BLEU-1..4, the terms of an expression).
        family: Whether tables show the parts in place of this score (which is one of them).
        notes: Notes for people on this number: what was assumed, cut or skipped.
    """

    name: str
    value: float
    signature: Signature
    per_caption: Floats | None = None
    statistics: Floats | None = field(default=None, repr=False)
    items: tuple[str, ...] | None = field(default=None, repr=False)
    finish: Finish | None = field(default=None, repr=False)
    column: int = 0
    higher_is_better: bool | None = True
    is_share: bool = True
    parts: Mapping[str, Score] = field(default_factory=dict, repr=False)
    family: bool = False
    notes: tuple[str, ...] = ()

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        return f"{self.name} {self.value:.4f}  {self.signature}"

    def interval(self, *, resamples: int = 1000, level: float = 0.95, seed: int = 12345) -> tuple[float, float] | None:
        """Return the percentile bootstrap interval over items (images), from the stored statistics.

        Args:
            resamples: How many times the items are drawn with replacement.
            level: The share of resampled values inside the interval.
            seed: The seed of the generator that draws.

        Returns:
            (low, high), or None if the value is no function of summed statistics (a vocabulary's size, for example).
        """
        from capreward.stats.bootstrap import intervals

        return intervals([self], resamples=resamples, level=level, seed=seed)[self.name]

    def renamed(self, name: str) -> Score:
        """Return the score under another name; members of a family get the same addition: ``bleu1(tokenizer=none)``."""
        added = name.removeprefix(self.name)
        parts = {f"{n}{added}": replace(p, name=f"{n}{added}") for n, p in self.parts.items()} if self.family else None
        return replace(self, name=name, parts=self.parts if parts is None else parts)

    def merge(self, other: Score) -> Score:
        """Join the scores of two halves of a corpus (of two processes, for example) that share no item.

        The result equals scoring the whole at once for every evaluator whose statistics of an item depend on that item
        alone (CIDEr needs fixed document frequencies for that).

        Raises:
            InputError: The signatures do not go together, or a score has no summable statistics.
        """
        signature = self.signature.merged(other.signature)
        if self.statistics is None or other.statistics is None or self.finish is None:
            raise InputError(f"cannot merge {self.name}: it has no summable statistics")
        statistics = np.concatenate([self.statistics, other.statistics])
        return replace(
            self,
            value=float(self.finish(statistics.sum(0))[self.column]),
            signature=signature,
            statistics=statistics,
            items=None if self.items is None or other.items is None else self.items + other.items,
            per_caption=_joined_values(self.per_caption, other.per_caption),
            parts={n: part.merge(other.parts[n]) for n, part in self.parts.items()},
        )

    def keyed(self, keys: tuple[str, ...]) -> Score:
        """Return the score with values per caption that know the image of each."""
        parts = {name: part.keyed(keys) for name, part in self.parts.items()}
        known = isinstance(self.per_caption, PerCaption) and self.per_caption.keys is not None
        if self.per_caption is None or known or len(self.per_caption) != len(keys):
            return replace(self, parts=parts)
        return replace(self, per_caption=PerCaption(self.per_caption, keys), parts=parts)


class Scores(Mapping[str, Score]):
    """The scores of one system: a mapping from a metric's name to its Score; ``scores["BLEU-4"]`` is that of bleu4.

    Args:
        scores: The scores in the order of the request.
        keys: The key of the item that each caption describes, [N].
        captions: The captions, [N].
        files: Reports on what was read from each file.
        notes: Notes for people, beside the notes of each score.
        named: Whether the keys are names of images; they are numbers if a list of captions was given.
    """

    def __init__(
        self,
        scores: list[Score],
        *,
        keys: list[str],
        captions: list[str],
        files: Sequence[FileReport] = (),
        notes: Sequence[str] = (),
        named: bool = True,
    ) -> None:
        self.files = tuple(files)
        known = tuple(keys)
        self._scores = {s.name: s.keyed(known) if named else s for s in scores}
        self.caption_keys = keys
        self.captions = captions
        self._notes = tuple(notes)

    def __getitem__(self, name: str) -> Score:
        known = dict(self._scores)
        for score in self._scores.values():
            for part in score.parts:
                known.setdefault(part, score.parts[part])
        found = matching_name(name, known)  # the name may be spelt as in papers
        if found is None:
            raise KeyError(name)
        return known[found]

    def __iter__(self) -> Iterator[str]:
        return iter(self._scores)

    def __len__(self) -> int:
        return len(self._scores)

    def __repr__(self) -> str:
        inner = ", ".join(f"{s.name}={s.value:.4f}" for s in self.columns())
        return f"Scores({inner})"

    def columns(self) -> list[Score]:
        """Return all numbers to show, each name once: the members of a family (BLEU-1..4), or a score and its parts."""
        shown: list[Score] = []
        for score in self._scores.values():
            shown += score.parts.values() if score.family else [score, *score.parts.values()]
        return list({s.name: s for s in shown}.values())

    @property
    def notes(self) -> list[str]:
        """The notes for people on the files and the numbers, each sentence once."""
        return list(dict.fromkeys([*self._notes, *(n for score in self._scores.values() for n in score.notes)]))

    def align(self, other: Scores) -> tuple[Scores, Scores]:
        """Return both systems over the images that both describe, in one order: caption n of each is of one image.

        Values per caption and statistics follow the file that they were read from, and two files may have different
        orders. Differences, paired tests and correlations need both in one order.

        Example:
            >>> import capreward
            >>> references = {"7": ["a dog runs"], "9": ["a red car"]}
            >>> xe = capreward.score({"7": "a dog", "9": "a car"}, references, metrics="rouge")
            >>> rl = capreward.score({"9": "a red car", "7": "a dog"}, references, metrics="rouge")
            >>> xe, rl = xe.align(rl)
            >>> (rl["rouge"].per_caption - xe["rouge"].per_caption).round(2).tolist()
            [0.0, 0.23]

        Args:
            other: The scores of another system; ids match as between captions and references.

        Returns:
            This system and the other, in the order and with the ids of this one. Corpus values are those of the shared
            images, computed from their statistics. Everything else that the numbers depend on, such as document
            frequencies counted over more images, does not change, and a note says so. A number that is no function of
            statistics (a vocabulary's size) is left out if captions are left out.

        Raises:
            InputError: The two share no image, or have unequally many captions of one.

        Warns:
            RuntimeWarning: Numbers of one name have different signatures, so that their differences mean little.
        """
        pairing = Pairing.of(self.caption_keys, other.caption_keys)
        names = tuple(self.caption_keys[row] for row in pairing.rows)
        both = (
            self._restricted(pairing.rows, pairing.keys, names, pairing.keys),
            other._restricted(pairing.other_rows, pairing.others, names, pairing.keys),
        )
        for said in _signature_differences(*both):
            warnings.warn(said, RuntimeWarning, stacklevel=2)
            for scores in both:
                scores._notes = (*scores._notes, said)
        return both

    def _restricted(
        self, rows: Sequence[int], items: Sequence[str], names: tuple[str, ...], keys: Sequence[str]
    ) -> Scores:
        """Return the captions ``rows`` of ``items`` alone, with new names of items and new keys of captions."""
        left = len(self.captions) - len(rows)
        tables: dict[int, Floats] = {}  # the members of a family share one table
        found = [_restricted_score(score, rows, items, names, keys, left, tables) for score in self._scores.values()]
        kept = [score for score in found if score is not None]
        captions = [self.captions[row] for row in rows]
        return Scores(kept, keys=list(names), captions=captions, files=self.files, notes=self._notes)

    def to_dict(self, *, intervals: Mapping[str, tuple[float, float] | None] | None = None) -> dict[str, Any]:
        """Return plain values for JSON: for each metric its value, interval and signature."""
        rows: dict[str, Any] = {}
        for score in self.columns():
            rows[score.name] = {"value": _none_if_nan(score.value), "signature": str(score.signature)}
            if intervals is not None:
                rows[score.name]["interval"] = intervals.get(score.name)
        return rows

    def per_caption(self) -> list[dict[str, Any]]:
        """Return one row per caption: the key of its item, the caption and each metric's value, or None."""
        columns = [(s.name, s.per_caption) for s in self.columns() if s.per_caption is not None]
        lists = [(name, [_none_if_nan(v) for v in values.tolist()]) for name, values in columns]
        rows = zip(self.caption_keys, self.captions, strict=True)
        return [
            {"image_id": k, "caption": c, **{name: values[i] for name, values in lists}}
            for i, (k, c) in enumerate(rows)
        ]


def _signature_differences(one: Scores, other: Scores) -> Iterator[str]:
    """Yield a sentence for each number that the two systems have with different signatures."""
    theirs = {score.name: str(score.signature) for score in other.columns()}
    for score in one.columns():
        mine, against = str(score.signature), theirs.get(score.name)
        if against is not None and mine != against:
            yield (
                f"{score.name} of the two is not computed alike ({mine} and {against}), so that their difference mixes "
                "both; score both on the images that they share"
            )


def _restricted_score(
    score: Score,
    rows: Sequence[int],
    items: Sequence[str],
    names: tuple[str, ...],
    keys: Sequence[str],
    left: int,
    tables: dict[int, Floats],
) -> Score | None:
    """Restrict one score for ``Scores._restricted``; return None if the remaining captions cannot give the number."""
    parts = {
        name: _restricted_score(part, rows, items, names, keys, left, tables) for name, part in score.parts.items()
    }
    known = {name: part for name, part in parts.items() if part is not None}
    values = score.per_caption
    chosen = None if values is None else PerCaption(np.asarray(values)[list(rows)], names)
    if score.statistics is None or score.finish is None or score.items is None:
        return replace(score, per_caption=chosen, parts=known) if not left else None
    if id(score.statistics) not in tables:
        place = {key: n for n, key in enumerate(score.items)}
        table = np.zeros((len(items), score.statistics.shape[1]))  # an image that the score does not apply to adds 0
        there = [n for n, key in enumerate(items) if key in place]
        table[there] = score.statistics[[place[items[n]] for n in there]]
        tables[id(score.statistics)] = table
    table = tables[id(score.statistics)]
    return replace(
        score,
        value=float(score.finish(table.sum(0))[score.column]),
        per_caption=chosen,
        statistics=table,
        items=tuple(keys),
        parts=known,
        notes=(*score.notes, *_left_out_notes(score, left)),
    )


def _left_out_notes(score: Score, left: int) -> list[str]:
    if not left:
        return []
    notes = [f"{left:,} caption{'s' * (left != 1)} of images that the other system lacks left out"]
    counted = dict(score.signature.fields).get("df", "")
    if counted.startswith("references("):
        notes.append(
            f"{score.name} keeps its document frequencies, {counted}; score the shared images alone for theirs"
        )
    return notes


def _joined_values(one: Floats | None, other: Floats | None) -> Floats | None:
    """Return the values of two halves; they know their images if both halves do."""
    if one is None or other is None:
        return None
    both = np.concatenate([np.asarray(one), np.asarray(other)])
    first, second = getattr(one, "keys", None), getattr(other, "keys", None)
    return both if first is None or second is None else PerCaption(both, first + second)


def _none_if_nan(value: float) -> float | None:
    return None if np.isnan(value) else value


def _escape(text: str) -> str:
    return re.sub(r"[|\s]+", "_", text)
