"""METEOR 1.5 for English, without Java."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from capreward.errors import InputError
from capreward.evaluators.base import Evaluator
from capreward.samples import Samples
from capreward.text.meteor import MeteorEngine, PreparedReferences, corpus_score, summable
from capreward.text.tokenizers import (
    ENGLISH,
    NAMES,
    Tokenizer,
    name_to_type,
    tokenized_captions,
    tokenized_references,
    tokenizer_of,
)

Floats = npt.NDArray[np.float64]

BATCH = 500  # the number of candidates aligned between two reports of progress


class Meteor(Evaluator):
    """METEOR 1.5, task "rank", equal to ``meteor-1.5.jar`` as pycocoevalcap drives it; range [0, 1].

    The corpus value is METEOR of the summed statistics of each caption's best reference (Denkowski and Lavie 2014). The
    first use builds an index of the paraphrase table and keeps it in the cache folder.

    Args:
        tokenizer: The tokenizer: ``ptb`` (default), ``ptb-joined``, ``ptb-java``, ``none``, or a tokenizer object.

    Raises:
        InputError: The tokenizer is one for other languages.
    """

    name = "meteor"
    needs = frozenset({"references"})

    def __init__(self, tokenizer: str | Tokenizer = "ptb") -> None:
        self.tokenizer = tokenizer_of(tokenizer)
        found = name_to_type(self.tokenizer.name)
        if found in NAMES and found not in (*ENGLISH, "none"):
            raise InputError(
                f"meteor is English only, as are its stems, synonyms and paraphrases, and takes no tokenizer {found}; "
                "leave it out, or write meteor(tokenizer=ptb) for English captions"
            )
        self._progress: Callable[[str, float, float], None] | None = None
        self._engine = MeteorEngine(progress=self._report_index)

    def __getstate__(self) -> dict[str, Any]:
        return {"tokenizer": self.tokenizer}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def parameters(self) -> dict[str, object]:
        """Return the version of METEOR, its language and the tokenizer."""
        return {"meteor": "1.5", "lang": "en", "tok": self.tokenizer.name}

    def watch(self, progress: Callable[[str, float, float], None] | None) -> None:
        """Report the building of the index and the alignment."""
        self._progress = progress

    def prepare(self, samples: Samples) -> PreparedReferences:
        """Look up the references' words and phrases; items without references get an empty one, which nothing reads."""
        references = tokenized_references(samples, self.tokenizer)
        return samples.memo(
            ("meteor", self.tokenizer.name), lambda: self._engine.prepare_references([r or [""] for r in references])
        )

    def statistics(self, samples: Samples, prepared: Any) -> Floats:
        """Return the summable counts of each caption against its best reference, [N, 23]."""
        captions, items = tokenized_captions(samples, self.tokenizer), samples.item.tolist()
        rows = [summable(self._engine.statistics([], prepared, []))]
        for start in range(0, len(captions), BATCH):
            some = slice(start, start + BATCH)
            rows.append(summable(self._engine.statistics(captions[some], prepared, items[some])))
            self._report("meteor", start + BATCH, len(captions))
        return np.concatenate(rows)

    def finish(self, sums: Floats) -> Floats:
        """Return METEOR of summed statistics [..., 23] as [..., 1]."""
        return np.asarray(corpus_score(sums))[..., None]

    def _report_index(self, done: int, total: int) -> None:
        self._report("building METEOR's index (once)", done, 2 * total)  # the other half is the alignment

    def _report(self, what: str, done: float, total: float) -> None:
        if self._progress is not None:
            self._progress(what, min(done, total), total)
