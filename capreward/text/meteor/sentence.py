"""Captions made ready for alignment: a shared form for both sides, and the candidate's side with its look-ups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from capreward.text.meteor.phrases import Phrase
from capreward.text.meteor.words import Word

EXACT, STEM, SYNONYM, PARAPHRASE = range(4)


class Match(NamedTuple):
    """A possible match of a candidate's span with a reference span whose start is known from the list it is in.

    Attributes:
        start: first candidate position.
        end: position after the last candidate word.
        mask: bit set of the candidate positions.
        gain: what the search counts it for, over both sides: 1 per word if exact, else half, rounded down per side.
        length: words on the reference side.
        module: EXACT, STEM, SYNONYM or PARAPHRASE.
    """

    start: int
    end: int
    mask: int
    gain: int
    length: int
    module: int


def make_match(module: int, start: int, words: int, length: int) -> Match:
    """A match of ``words`` candidate words from ``start`` with ``length`` reference words."""
    gain = words + length if module == EXACT else words // 2 + length // 2
    return Match(start, start + words, (1 << words) - 1 << start, gain, length, module)


@dataclass(frozen=True, slots=True, eq=False)
class Sentence:
    """A normalised caption with what the tables know about it.

    Attributes:
        words: its tokens.
        keys: their hashes; equal keys make equal captions.
        phrases: the paraphrase table's phrases in it, by position, then length.
    """

    words: tuple[Word, ...]
    keys: tuple[int, ...]
    phrases: tuple[Phrase, ...]


class Candidate:
    """A candidate against which many references are aligned.

    Args:
        sentence: the candidate.
    """

    def __init__(self, sentence: Sentence) -> None:
        self.sentence = sentence
        self.exact = _positions(sentence.keys)
        self.nodes = positions_of_phrases(sentence)
        self._stems = _positions(tuple(word.stem for word in sentence.words))
        self._synsets = frozenset().union(*(word.synsets for word in sentence.words))
        self._matches: dict[Word, list[Match]] = {}

    def matches(self, word: Word) -> list[Match]:
        """Single-word matches for a reference word, by module, then position; shared, not to be changed."""
        found = self._matches.get(word)
        if found is None:
            found = self._matches[word] = self._single(word)
        return found

    def _single(self, word: Word) -> list[Match]:
        found = [make_match(EXACT, start, 1, 1) for start in self.exact.get(word.key, ())]
        mine = self.sentence.words
        for start in self._stems.get(word.stem, ()):
            if mine[start].key != word.key:
                found.append(make_match(STEM, start, 1, 1))
        if not self._synsets.isdisjoint(word.synsets):
            for start, other in enumerate(mine):
                if other.key != word.key and not other.synsets.isdisjoint(word.synsets):
                    found.append(make_match(SYNONYM, start, 1, 1))
        return found


def positions_of_phrases(sentence: Sentence) -> dict[int, list[tuple[int, int]]]:
    """Where each phrase is: node -> (start, length) of its occurrences, from left to right."""
    places: dict[int, list[tuple[int, int]]] = {}
    for start, length, node in sentence.phrases:
        places.setdefault(node, []).append((start, length))
    return places


def _positions(keys: tuple[int, ...]) -> dict[int, list[int]]:
    places: dict[int, list[int]] = {}
    for position, key in enumerate(keys):
        places.setdefault(key, []).append(position)
    return places
