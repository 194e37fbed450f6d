"""Tokenizers by name, and captions tokenized once for all evaluators that share one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from capreward.errors import InputError
from capreward.samples import Samples


class Tokenizer(Protocol):
    """Captions to strings of words joined by single blanks."""

    @property
    def name(self) -> str:
        """As in signatures."""

    def __call__(self, captions: Sequence[str]) -> list[str]:
        """Tokenize N captions."""


class NoTokenizer:
    """Captions that are tokenized already: taken as they are."""

    name = "none"

    def __call__(self, captions: Sequence[str]) -> list[str]:
        """Return the captions."""
        return list(captions)


NAMES = ("ptb", "ptb-java", "none")


def tokenizer(name: str) -> Tokenizer:
    """The tokenizer ``name``: ``ptb`` (COCO's, in Python), ``ptb-java`` (the original program) or ``none``.

    Raises:
        InputError: an unknown name.
    """
    if name == "ptb":
        from capreward.text.ptb import PTBTokenizer

        return PTBTokenizer()
    if name == "ptb-java":
        from capreward.java.ptb import PTBJavaTokenizer

        return PTBJavaTokenizer()
    if name == "none":
        return NoTokenizer()
    raise InputError(f"unknown tokenizer {name!r}; choose one of {', '.join(NAMES)}")


def tokenized_captions(samples: Samples, name: str) -> list[str]:
    """The N captions, tokenized once per Samples."""
    return samples.memo(("captions", name), lambda: tokenizer(name)(samples.captions))


def tokenized_references(samples: Samples, name: str) -> list[list[str]]:
    """The references of each of the M items, tokenized once per Samples, each distinct string once."""

    def build() -> list[list[str]]:
        references = samples.references or []
        distinct = list(dict.fromkeys(r for refs in references for r in refs))
        known = dict(zip(distinct, tokenizer(name)(distinct), strict=True))
        return [[known[r] for r in refs] for refs in references]

    return samples.memo(("references", name), build)
