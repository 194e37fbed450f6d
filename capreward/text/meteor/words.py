"""METEOR's properties of a single word: its hash, its stem, its synonym sets, and whether it is a function word."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from capreward.text.meteor.array_store import Array
from capreward.text.meteor.snowball_stemmer import stem

# The order matters: the first rule whose result is a known word wins.
_SUFFIX_RULES = (
    *(
        ("s", ""),
        ("ses", "s"),
        ("xes", "x"),
        ("zes", "z"),
        ("ches", "ch"),
        ("shes", "sh"),
        ("men", "man"),
        ("ies", "y"),
    ),
    *(("s", ""), ("ies", "y"), ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", "")),
    *(("er", ""), ("est", ""), ("er", "e"), ("est", "e")),
)

_REMEMBERED = 1 << 18


@dataclass(frozen=True, slots=True, eq=False)
class Word:
    """One token and its properties.

    Attributes:
        key: The 32-bit hash by which the original compares words; a few unequal words share one ("1s" and "35").
        stem: The hash of the word's Porter2 stem.
        synsets: The numbers of the synonym sets that hold the word.
        function: True if the word is on the list of function words.
        table: The number of the word in the vocabulary of the paraphrase table; -1 if it is not in it.
    """

    key: int
    stem: int
    synsets: frozenset[int]
    function: bool
    table: int


def java_hash(text: str) -> int:
    """Return Java's ``String.hashCode`` of a text as an unsigned number."""
    units = np.frombuffer(text.encode("utf-16-le", "surrogatepass"), dtype="<u2")
    value = 0
    for unit in units.tolist():
        value = (31 * value + unit) & 0xFFFFFFFF
    return value


def find_bytes(sorted_words: Array, texts: Iterable[bytes]) -> npt.NDArray[np.int64]:
    """Return the index of each text in a sorted array of byte strings, -1 where it is absent."""
    width = sorted_words.dtype.itemsize
    # A text that is too long for the array is replaced by an empty one, since a longer dtype would make numpy convert
    # the whole array.
    queries = np.array([text if len(text) <= width else b"" for text in texts], dtype=sorted_words.dtype)
    if not len(sorted_words) or not len(queries):
        return np.full(len(queries), -1, dtype=np.int64)
    at = np.minimum(np.searchsorted(sorted_words, queries), len(sorted_words) - 1)
    return np.where((sorted_words[at] == queries) & (queries != b""), at, -1)


class WordTable:
    """Looks words up and remembers them; it holds the arrays of the index by reference.

    Args:
        arrays: The arrays of the index, see :func:`capreward.text.meteor.resources.load_index`.
    """

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self._arrays = arrays
        self._functions = frozenset(arrays["function_words"].tobytes().decode().split())
        self._words: dict[str, Word] = {}

    def words(self, sentences: Iterable[tuple[str, ...]]) -> list[tuple[Word, ...]]:
        """Return the words of each sentence; all new words are looked up together."""
        sentences = list(sentences)
        if len(self._words) > _REMEMBERED:
            self._words.clear()
        fresh = sorted({token for tokens in sentences for token in tokens} - self._words.keys())
        if fresh:
            self._add_words(fresh)
        known = self._words
        return [tuple([known[token] for token in tokens]) for tokens in sentences]

    def _add_words(self, tokens: list[str]) -> None:
        table = find_bytes(self._arrays["words"], [token.encode("utf-8", "surrogatepass") for token in tokens]).tolist()
        synsets = self._synsets(tokens)
        for token, number, numbers in zip(tokens, table, synsets, strict=True):
            self._words[token] = Word(
                java_hash(token), java_hash(stem(token)), numbers, token in self._functions, number
            )

    def _synsets(self, tokens: list[str]) -> list[frozenset[int]]:
        """Return the synonym sets of each token.

        They are the word's own sets, and those of its irregular bases or else of its first known regular base.
        """
        bases = [_regular_bases(token) for token in tokens]
        flat = [base for group in bases for base in group]
        own = self._stored_sets("synonym", tokens)
        irregular = self._stored_sets("exception", tokens)
        regular = iter(self._stored_sets("synonym", flat))
        out: list[frozenset[int]] = []
        for mine, exception, group in zip(own, irregular, bases, strict=True):
            found = [next(regular) for _ in group]
            base = exception if exception is not None else next((s for s in found if s is not None), None)
            out.append((mine or frozenset()) | (base or frozenset()))
        return out

    def _stored_sets(self, name: str, texts: list[str]) -> list[frozenset[int] | None]:
        starts, values = self._arrays[f"{name}_starts"], self._arrays[f"{name}_values"]
        rows = find_bytes(self._arrays[f"{name}_words"], [text.encode("utf-8", "surrogatepass") for text in texts])
        return [
            frozenset(values[starts[row] : starts[row + 1]].tolist()) if row >= 0 else None for row in rows.tolist()
        ]


def _regular_bases(token: str) -> list[str]:
    """Return the words of which a word may be an inflection, the most likely one first."""
    if len(token) <= 2 or token.endswith("ss"):
        return []
    return [token.removesuffix(old) + new for old, new in _SUFFIX_RULES if token.endswith(old)]
