"""SPICE through its original Java program."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from capreward.evaluators.base import Evaluator
from capreward.samples import Samples
from capreward.text.tokenizers import Tokenizer, tokenized_captions, tokenized_references, tokenizer_of

Floats = npt.NDArray[np.float64]


class Spice(Evaluator):
    """SPICE: F1 of scene-graph tuples (Anderson et al. 2016), computed by ``spice-1.0.jar``; range [0, 1].

    The corpus value is the mean over captions. SPICE needs a Java runtime and the two CoreNLP 3.6.0 jars, which are not
    downloaded; without them the error says which jars they are and where they go.

    Args:
        detailed: Whether to also give F1 of objects, attributes, relations, cardinality, colour and size.
        corenlp: The folder with the CoreNLP jars.
        cache: The folder that keeps parses between calls.
        heap: The most memory for Java.
        timeout: The longest time of one call, in seconds.
        threads: The number of parser threads; None takes all cores.
        tokenizer: The tokenizer: ``ptb`` (default), ``ptb-java``, ``none``, or a tokenizer object.
    """

    name = "spice"
    needs = frozenset({"references"})

    def __init__(
        self,
        detailed: bool = False,
        corenlp: str | None = None,
        cache: str | None = None,
        heap: str = "4G",
        timeout: float = 3600.0,
        threads: int | None = None,
        tokenizer: str | Tokenizer = "ptb",
    ) -> None:
        self.tokenizer = tokenizer_of(tokenizer)
        self.detailed = detailed
        self.options = {"corenlp": corenlp, "cache": cache, "heap": heap, "timeout": timeout, "threads": threads}
        if detailed:
            self.columns = ("spice", *(f"spice-{c.lower()}" for c in self._categories()[1:]))

    def parameters(self) -> dict[str, object]:
        """Return the program's version and the tokenizer."""
        return {"jar": "1.0", "corenlp": "3.6.0", "tok": self.tokenizer.name}

    def values(self, samples: Samples, prepared: Any) -> Floats:
        """Return F1 of all tuples, [N], or with the categories [N, 7]; NaN for a category without tuples."""
        from capreward.java.spice import SpiceJar

        jar = SpiceJar(**self.options)  # type: ignore[arg-type]
        captions = tokenized_captions(samples, self.tokenizer)
        scores = jar.scores(captions, [prepared[i] for i in samples.item.tolist()])
        wanted = self._categories() if self.detailed else ("All",)
        return np.array([[item[category]["f"] for category in wanted] for item in scores], dtype=np.float64)

    def prepare(self, samples: Samples) -> list[list[str]]:
        """Tokenize the references."""
        return tokenized_references(samples, self.tokenizer)

    @staticmethod
    def _categories() -> tuple[str, ...]:
        from capreward.java.spice import SPICE_CATEGORIES

        return SPICE_CATEGORIES
