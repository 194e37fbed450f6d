"""Tokenizers by name, and the tokenization of captions, once for all evaluators that share a tokenizer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import MappingProxyType
from typing import Protocol

from capreward.errors import InputError
from capreward.samples import Samples
from capreward.text.vocabulary import END, IDS, WORDS


class Tokenizer(Protocol):
    """A function from captions to strings of words, joined by single blanks.

    If the output for a caption depends on the captions around it, the tokenizer has an attribute ``in_order`` that is
    true; it then gets all references in order, image after image, instead of each distinct string once. If a tokenizer
    treats references in another way than captions, it has a method ``references``.
    """

    @property
    def name(self) -> str:
        """The name of the tokenizer in signatures."""

    def __call__(self, captions: Sequence[str]) -> list[str]:
        """Tokenize N captions."""


class NoTokenizer:
    """Returns captions that are already tokenized as they are."""

    name = "none"

    def __call__(self, captions: Sequence[str]) -> list[str]:
        """Return the captions."""
        return list(captions)


ENDED = "+eos"  # the end of the name of a tokenizer whose captions end in the end token


class EndTokenizer:
    """Tokenizes by another tokenizer and appends the end token ``<eos>`` to each caption as one more word.

    Args:
        words: The other tokenizer.
    """

    def __init__(self, words: Tokenizer) -> None:
        self.words = words
        self.name = f"{words.name}{ENDED}"

    def __call__(self, captions: Sequence[str]) -> list[str]:
        """Tokenize N captions."""
        return self.add_end_tokens(self.words(captions))

    @staticmethod
    def add_end_tokens(tokenized: Sequence[str]) -> list[str]:
        """Append the end token to each of N tokenized captions; an empty caption becomes the end token alone."""
        return [f"{caption} {END}" if caption else END for caption in tokenized]


SUMMARIES = MappingProxyType(
    {
        "ptb": "Stanford's PTBTokenizer 3.4.1 in Python, each caption on its own (for rewards)",
        "ptb-joined": "the same with the original's look at the caption after (default for files)",
        "ptb-java": "the original Java program; needs a Java runtime",
        "characters": "each character is a word, for Chinese, Japanese and Thai",
        "none": "captions are tokenized already; split at white space",
        "whitespace": "lower case, split at white space, punctuation kept; any language",
        "syllable": "Vietnamese syllables: lower case, split at white space, without punctuation",
        "13a": "sacrebleu's default, of WMT's mteval-v13a; keeps case and punctuation",
        "intl": "sacrebleu's mteval-v14, which knows the punctuation and symbols of all scripts",
        "char": "sacrebleu's characters, with case and punctuation",
        "zh": "sacrebleu's for Chinese: each Chinese character is a word",
        "ja-mecab": "sacrebleu's for Japanese: words found by MeCab; needs sacrebleu[ja]",
    }
)
NAMES = tuple(SUMMARIES)
OF_SACREBLEU = ("13a", "intl", "char", "zh", "ja-mecab")
ENGLISH = ("ptb", "ptb-joined", "ptb-java")


def tokenizer_of(given: str | Tokenizer | None) -> Tokenizer:
    """Return the tokenizer of a name.

    Args:
        given: The name: ``ptb`` (COCO's, in Python), ``ptb-joined`` (the same, but a caption sees the next one, as in
            the original), ``ptb-java`` (the original program), ``characters``, ``none`` (which an expression reads as
            None), ``whitespace``, ``syllable``, or one of sacrebleu's: ``13a``, ``intl``, ``char``, ``zh`` and
            ``ja-mecab``. A tokenizer is returned as it is.

    Raises:
        InputError: If the name is unknown, if ``ptb-java`` finds no Java, or if a package is missing.
    """
    if given is None:
        return NoTokenizer()
    if not isinstance(given, str):
        return given
    if given == "ptb":
        from capreward.text.ptb_tokenizer import PTBTokenizer

        return PTBTokenizer()
    if given == "ptb-joined":
        from capreward.text.ptb_joined_tokenizer import JoinedPTBTokenizer

        return JoinedPTBTokenizer()
    if given == "ptb-java":
        from capreward.java.ptb import PTBJavaTokenizer

        return PTBJavaTokenizer()
    if given == "characters":
        from capreward.text.characters import CharacterTokenizer

        return CharacterTokenizer()
    if given == "none":
        return NoTokenizer()
    return _tokenizer_of_languages(given)


def _tokenizer_of_languages(given: str) -> Tokenizer:
    if given in OF_SACREBLEU:
        from capreward.text.languages.sacrebleu_tokenizers import SacrebleuTokenizer

        return SacrebleuTokenizer(given)
    if given == "whitespace":
        from capreward.text.languages.plain import WhitespaceTokenizer

        return WhitespaceTokenizer()
    if given == "syllable":
        from capreward.text.languages.plain import SyllableTokenizer

        return SyllableTokenizer()
    raise InputError(f"unknown tokenizer {given!r}; choose one of {', '.join(NAMES)}")


def name_to_type(name: str) -> str:
    """Return what to type for a tokenizer's name in signatures: ``13a(sacrebleu:2.6.0)`` is typed as ``13a``."""
    return re.sub(r"\(sacrebleu:[^()]*\)", "", name)


def same_words(one: str, other: str) -> bool:
    """Return whether two tokenizers of these names split a single caption into the same words.

    ``ids-1a2b3c4d`` names a vocabulary by its digest, and ``ids`` stands for an unknown vocabulary; ``ptb+eos`` appends
    the end token to captions. Versions of sacrebleu are not told apart, since its tokenizers keep to published rules.
    """
    one, other = name_to_type(one), name_to_type(other)
    if one.endswith(ENDED) != other.endswith(ENDED):
        return False
    one, other = one.removesuffix(ENDED), other.removesuffix(ENDED)
    (base, _, more), (other_base, _, other_more) = one.partition("-"), other.partition("-")
    return base == other_base and (base not in (IDS, WORDS) or not more or not other_more or more == other_more)


def tokenized_captions(samples: Samples, tokenizer: Tokenizer) -> list[str]:
    """Return the N captions of samples, tokenized once per Samples."""
    if isinstance(tokenizer, EndTokenizer):
        return samples.memo(
            ("captions", tokenizer.name), lambda: tokenizer.add_end_tokens(tokenized_captions(samples, tokenizer.words))
        )
    return samples.memo(("captions", tokenizer.name), lambda: tokenizer(samples.captions))


def tokenized_references(samples: Samples, tokenizer: Tokenizer) -> list[list[str]]:
    """Return the references of each of the M items, tokenized once per Samples.

    Each distinct string is tokenized once, unless the tokenizer is ``in_order``.
    """

    def build() -> list[list[str]]:
        if isinstance(tokenizer, EndTokenizer):
            return [tokenizer.add_end_tokens(refs) for refs in tokenized_references(samples, tokenizer.words)]
        references = samples.references or []
        tokenize = getattr(tokenizer, "references", tokenizer)
        if getattr(tokenizer, "in_order", False):
            found = iter(tokenize([r for refs in references for r in refs]))
            return [[next(found) for _ in refs] for refs in references]
        distinct = list(dict.fromkeys(r for refs in references for r in refs))
        known = dict(zip(distinct, tokenize(distinct), strict=True))
        return [[known[r] for r in refs] for refs in references]

    return samples.memo(("references", tokenizer.name), build)
