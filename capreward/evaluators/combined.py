"""The evaluator of an expression over other evaluators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from capreward.errors import InputError
from capreward.evaluators.base import Evaluator, summable
from capreward.expression import Metric, Node, Number, canonical, metrics_in, options_of
from capreward.samples import Samples
from capreward.scores import Score, Signature

if TYPE_CHECKING:
    from capreward.encoders.spec import Preprocessing

Floats = npt.NDArray[np.float64]


class Combined(Evaluator):
    """Sums, differences and products of the per-caption values of other evaluators.

    The corpus value is the mean over captions of the combined value. The terms are its parts, each with its own corpus
    value. NaN in a term gives NaN in the sum.

    Args:
        node: The parsed expression.
        terms: The evaluator of each metric in the expression.
    """

    is_share = False

    def __init__(self, node: Node, terms: Mapping[Metric, Evaluator]) -> None:
        self.node = node
        self.terms = dict(terms)
        self.name = canonical(node)
        self.needs = frozenset().union(*(t.needs for t in self.terms.values()))
        whole = [t.name for t in self.terms.values() if t.corpus_only]
        if whole:
            raise InputError(f"{whole[0]} judges a whole corpus and has no value per caption to combine in {self.name}")

    def prepare(self, samples: Samples) -> tuple[Any, ...]:
        """Prepare every term."""
        return tuple(t.prepare(samples) for t in self.terms.values())

    def values(self, samples: Samples, prepared: Any) -> Floats:
        """Return the expression of the terms' per-caption values."""
        return self.combined(self.term_values(samples, prepared), len(samples))

    def term_values(self, samples: Samples, prepared: Any) -> dict[Metric, Floats]:
        """Return the per-caption values [N] of each term."""
        each = zip(self.terms.items(), prepared, strict=True)
        return {m: t.per_caption(samples, p)[:, t.main] for (m, t), p in each}

    def check_needs(self, samples: Samples) -> None:
        """Check that every term finds what it needs."""
        for term in self.terms.values():
            term.check_needs(samples)

    def expected(self, samples: Samples) -> npt.NDArray[np.bool_]:
        """Return the captions for which every term must have a number."""
        found = np.ones(len(samples), dtype=bool)
        for term in self.terms.values():
            found &= term.expected(samples)
        return found

    def remarks(self, samples: Samples, prepared: Any) -> list[str]:
        """Return the notes of the terms."""
        each = zip(self.terms.values(), prepared, strict=True)
        return list(dict.fromkeys(note for term, ready in each for note in term.remarks(samples, ready)))

    def watch(self, progress: Callable[[str, float, float], None] | None) -> None:
        """Report the progress of every term."""
        for term in self.terms.values():
            term.watch(progress)

    def preprocessings(self, samples: Samples) -> tuple[Preprocessing, ...]:
        """Return the image steps of every term."""
        return tuple(dict.fromkeys(p for term in self.terms.values() for p in term.preprocessings(samples)))

    def check_reward(self) -> None:
        """Check that every term can be used as a reward."""
        for term in self.terms.values():
            term.check_reward()

    def parameters(self) -> dict[str, object]:
        """Return the signatures of the terms, in brackets."""
        return {"of": "+".join(f"[{str(t.signature()).replace('|', ';')}]" for t in self.terms.values())}

    def signature(self) -> Signature:
        """Return the expression and the signatures of its terms."""
        return Signature.of(self.name.replace(" ", ""), **self.parameters())

    def corpus(self, samples: Samples, prepared: Any = None) -> Score:
        """Return the mean combined value, with the terms as parts."""
        rows = self.rows_to_judge(samples)
        if prepared is None:
            prepared = self.prepare(samples)
        each = zip(self.terms.items(), prepared, strict=True)
        scores = {metric: term.corpus(samples, ready) for (metric, term), ready in each}
        known = {m: s.per_caption for m, s in scores.items() if s.per_caption is not None}
        values = self.combined(known, len(samples))
        whole = self.judged(samples, prepared, rows, summable(values if rows is None else values[rows]))
        notes = tuple(dict.fromkeys(note for s in (*scores.values(), whole) for note in s.notes))
        return replace(whole, notes=notes, parts={str(m): replace(s, name=str(m), parts={}) for m, s in scores.items()})

    def combined(self, known: Mapping[Metric, Floats], n: int) -> Floats:
        """Return the expression of the values [N] of its terms."""
        return np.broadcast_to(np.asarray(_evaluate(self.node, known), dtype=np.float64), (n,)).copy()


def combine(node: Node, load: Any) -> Evaluator:
    """Return the evaluator of an expression; a lone metric is that evaluator itself.

    Args:
        node: The result of ``capreward.expression.parse``.
        load: A function ``load(name, options) -> Evaluator``.

    Raises:
        InputError: The expression holds no metric.
    """
    metrics = metrics_in(node)
    if not metrics:
        raise InputError(f"the expression {canonical(node)!r} names no metric")
    terms = {m: load(m.name, options_of(m)) for m in metrics}
    return terms[node] if isinstance(node, Metric) else Combined(node, terms)


def _evaluate(node: Node, known: Mapping[Metric, Floats]) -> Floats | float:
    if isinstance(node, Number):
        return node.value
    if isinstance(node, Metric):
        return known[node]
    left, right = _evaluate(node.left, known), _evaluate(node.right, known)
    if node.operator == "*":
        return left * right
    return left + right if node.operator == "+" else left - right
