"""Tokenizers by name, and captions tokenized once for all evaluators that share one."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Protocol

from capreward.errors import InputError
from capreward.samples import Samples
from capreward.text.vocabulary import END, IDS, WORDS


class Tokenizer(Protocol):
    """Captions to strings of words joined by single blanks.

    One whose output for a caption depends on the captions around it has a true ``in_order``: it then gets all
    references in order, images after one another, instead of each distinct string once. One that tokenizes references
    in another way than captions has a method ``references``.
    """

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


ENDED = "+eos"  # in the name of a tokenizer whose captions end in the end token


class EndTokenizer:
    """Another tokenizer's words and, after those of each caption, the end token ``<eos>`` as one more word.

    Args:
        words: the other tokenizer.
    """

    def __init__(self, words: Tokenizer) -> None:
        self.words = words
        self.name = f"{words.name}{ENDED}"

    def __call__(self, captions: Sequence[str]) -> list[str]:
        """Tokenize N captions."""
        return self.ended(self.words(captions))

    @staticmethod
    def ended(tokenized: Sequence[str]) -> list[str]:
        """The end token after each of N tokenized captions; an empty one is the end token alone."""
        return [f"{caption} {END}" if caption else END for caption in tokenized]


SUMMARIES = MappingProxyType(
    {
        "ptb": "Stanford's PTBTokenizer 3.4.1 in Python, each caption on its own (for rewards)",
        "ptb-joined": "the same with the original's look at the caption after (default for files)",
        "ptb-java": "the original Java program; needs a Java runtime",
        "characters": "each character is a word, for Chinese, Japanese and Thai",
        "none": "captions are tokenized already; split at white space",
    }
)
NAMES = tuple(SUMMARIES)


def tokenizer_of(given: str | Tokenizer | None) -> Tokenizer:
    """The tokenizer of a name, or the one given.

    Args:
        given: ``ptb`` (COCO's, in Python), ``ptb-joined`` (the same with the original's look at the caption after),
            ``ptb-java`` (the original program), ``characters``, ``none`` (which an expression reads as None), or a
            tokenizer.

    Raises:
        InputError: an unknown name, or no Java for ``ptb-java``.
    """
    if given is None:
        return NoTokenizer()
    if not isinstance(given, str):
        return given
    if given == "ptb":
        from capreward.text.ptb import PTBTokenizer

        return PTBTokenizer()
    if given == "ptb-joined":
        from capreward.text.ptb_joined import JoinedPTBTokenizer

        return JoinedPTBTokenizer()
    if given == "ptb-java":
        from capreward.java.ptb import PTBJavaTokenizer

        return PTBJavaTokenizer()
    if given == "characters":
        from capreward.text.characters import CharacterTokenizer

        return CharacterTokenizer()
    if given == "none":
        return NoTokenizer()
    raise InputError(f"unknown tokenizer {given!r}; choose one of {', '.join(NAMES)}")


def same_words(one: str, other: str) -> bool:
    """Whether two tokenizers of these names make the same words of a caption on its own.

    ``ids-1a2b3c4d`` names a vocabulary by its digest, ``ids`` one that is not known; ``ptb+eos`` ends captions in the
    end token.
    """
    if one.endswith(ENDED) != other.endswith(ENDED):
        return False
    one, other = one.removesuffix(ENDED), other.removesuffix(ENDED)
    (base, _, more), (other_base, _, other_more) = one.partition("-"), other.partition("-")
    return base == other_base and (base not in (IDS, WORDS) or not more or not other_more or more == other_more)


def tokenized_captions(samples: Samples, tokenizer: Tokenizer) -> list[str]:
    """The N captions, tokenized once per Samples."""
    if isinstance(tokenizer, EndTokenizer):
        return samples.memo(
            ("captions", tokenizer.name), lambda: tokenizer.ended(tokenized_captions(samples, tokenizer.words))
        )
    return samples.memo(("captions", tokenizer.name), lambda: tokenizer(samples.captions))


def tokenized_references(samples: Samples, tokenizer: Tokenizer) -> list[list[str]]:
    """The references of each of the M items, tokenized once per Samples (each distinct string once, if it may be)."""

    def build() -> list[list[str]]:
        if isinstance(tokenizer, EndTokenizer):
            return [tokenizer.ended(refs) for refs in tokenized_references(samples, tokenizer.words)]
        references = samples.references or []
        tokenize = getattr(tokenizer, "references", tokenizer)
        if getattr(tokenizer, "in_order", False):
            found = iter(tokenize([r for refs in references for r in refs]))
            return [[next(found) for _ in refs] for refs in references]
        distinct = list(dict.fromkeys(r for refs in references for r in refs))
        known = dict(zip(distinct, tokenize(distinct), strict=True))
        return [[known[r] for r in refs] for refs in references]

    return samples.memo(("references", tokenizer.name), build)
