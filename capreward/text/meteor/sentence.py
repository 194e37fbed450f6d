"""Captions in the form for alignment: a form for both sides, and a form for the candidate with its look-up tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from capreward.text.meteor.phrases import Phrase, Relations
from capreward.text.meteor.words import Word

EXACT, STEM, SYNONYM, PARAPHRASE = range(4)


class Match(NamedTuple):
    """A possible match of a span of the candidate with a span of the reference.

    Matches are kept in lists by the start of their reference span, so a match does not hold that start.

    Attributes:
        start: The first position of the candidate span.
        end: The position after the last word of the candidate span.
        mask: The positions of the candidate span as a bit set.
        gain: The value of the match in the search, over both sides: 1 per word if exact, otherwise half the words of
            each side, rounded down.
        length: The number of words of the reference span.
        module: The kind of match: EXACT, STEM, SYNONYM or PARAPHRASE.
    """

    start: int
    end: int
    mask: int
    gain: int
    length: int
    module: int


MatchMaker = Callable[[int, int, int, int], Match]


def make_match(module: int, start: int, words: int, length: int) -> Match:
    """Make a match of ``words`` candidate words from ``start`` on with ``length`` reference words."""
    gain = words + length if module == EXACT else words // 2 + length // 2
    return Match(start, start + words, (1 << words) - 1 << start, gain, length, module)


@dataclass(frozen=True, slots=True, eq=False)
class Sentence:
    """A normalised caption with its words and phrases.

    Attributes:
        words: The words of the caption.
        keys: The hashes of the words; captions with equal keys are equal.
        phrases: The phrases of the paraphrase table in the caption, sorted by position and then by length.
        nodes: The nodes of these phrases.
    """

    words: tuple[Word, ...]
    keys: tuple[int, ...]
    phrases: tuple[Phrase, ...]
    nodes: frozenset[int]

    @classmethod
    def of(cls, words: tuple[Word, ...], phrases: tuple[Phrase, ...]) -> Sentence:
        """Make a sentence from its words and phrases."""
        keys = tuple([word.key for word in words])
        return cls(words, keys, phrases, frozenset([node for _, _, node in phrases]))

    def places(self) -> dict[int, list[tuple[int, int]]]:
        """Return the (start, length) of the occurrences of each phrase by its node, from left to right."""
        places: dict[int, list[tuple[int, int]]] = {}
        for start, length, node in self.phrases:
            places.setdefault(node, []).append((start, length))
        return places


class Candidate(dict[Word, list[Match]]):
    """A candidate to which references are aligned; it maps each reference word to its matches with single words.

    The matches of a word are found when it is first looked up. They are sorted by module and then by position, and must
    not be changed.

    Args:
        sentence: The candidate.
        relations: The phrases of candidates and references that paraphrase each other.
        maker: The function :func:`make_match`, or a caching form of it.
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
