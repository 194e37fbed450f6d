"""Captions made ready for alignment: a shared form for both sides, and the candidate's side with its look-ups."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from capreward.text.meteor.phrases import Phrase, Relations
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


MatchMaker = Callable[[int, int, int, int], Match]


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
        nodes: the nodes of these phrases.
    """

    words: tuple[Word, ...]
    keys: tuple[int, ...]
    phrases: tuple[Phrase, ...]
    nodes: frozenset[int]

    @classmethod
    def of(cls, words: tuple[Word, ...], phrases: tuple[Phrase, ...]) -> Sentence:
        """Derive the rest from the words and phrases."""
        keys = tuple([word.key for word in words])
        return cls(words, keys, phrases, frozenset([node for _, _, node in phrases]))

    def places(self) -> dict[int, list[tuple[int, int]]]:
        """Where each phrase is: node -> (start, length) of its occurrences, from left to right."""
        places: dict[int, list[tuple[int, int]]] = {}
        for start, length, node in self.phrases:
            places.setdefault(node, []).append((start, length))
        return places


class Candidate(dict[Word, list[Match]]):
    """A candidate against which references are aligned: reference word -> its single-word matches.

    Matches are found when a word is first asked for; they are ordered by module, then position, and not to be changed.

    Args:
        sentence: the candidate.
        relations: which phrases of candidates and references paraphrase each other.
        maker: :func:`make_match`, or a caching form of it.
    """

    def __init__(self, sentence: Sentence, relations: Relations, maker: MatchMaker = make_match) -> None:
        super().__init__()
        self.sentence = sentence
        self.make = maker
        self.forward = relations.forward
        self.backward = [
            (start, length, relations.backward[node])
            for start, length, node in sentence.phrases
            if node in relations.backward
        ]
        self.exact = _positions(sentence.keys)
        self.places = sentence.places()
        self._stems = _positions([word.stem for word in sentence.words])
        self._synsets = frozenset().union(*[word.synsets for word in sentence.words])

    def __missing__(self, word: Word) -> list[Match]:
        places = [(EXACT, place) for place in self.exact.get(word.key, ())]
        mine = self.sentence.words
        if word.stem in self._stems:
            places += [(STEM, place) for place in self._stems[word.stem] if mine[place].key != word.key]
        if not self._synsets.isdisjoint(word.synsets):
            places += [
                (SYNONYM, place)
                for place, other in enumerate(mine)
                if other.key != word.key and not other.synsets.isdisjoint(word.synsets)
            ]
        found = self[word] = [self.make(module, place, 1, 1) for module, place in places]
        return found


def _positions(keys: Iterable[int]) -> dict[int, list[int]]:
    groups: dict[int, list[int]] = {}
    for position, key in enumerate(keys):
        groups.setdefault(key, []).append(position)
    return groups
