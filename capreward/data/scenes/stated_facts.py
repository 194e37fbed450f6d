"""The facts that a caption states, read word by word, so that a caption with mistakes is understood as well."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

from capreward.data.scenes.grammar_rules import PRONOUNS, vocabulary
from capreward.data.scenes.layout import Relation
from capreward.data.scenes.vocabulary import (
    ASIDES,
    COLOURS,
    NOUNS,
    NUMBERS,
    PATTERNS,
    RELATIONS,
    SAME_PLURAL,
    SINGLE,
    SIZES,
    TEXTURES,
    VAGUE,
)

# The words that mean a place or a light, whatever words surround them.
HEADS: dict[str, tuple[str, tuple[str, ...]]] = {
    "beach": ("place", ("beach", "seaside", "sea")),
    "field": ("place", ("field", "meadow", "grass")),
    "street": ("place", ("street", "road")),
    "snow": ("place", ("snow", "snowy")),
    "room": ("place", ("room", "indoors")),
    "lake": ("place", ("lake", "water")),
    "desert": ("place", ("desert", "dunes")),
    "mountains": ("place", ("mountain", "mountains", "valley")),
    "day": ("light", ("day", "daylight")),
    "sunset": ("light", ("sunset", "dusk", "evening")),
    "night": ("light", ("night", "dark", "midnight")),
    "fog": ("light", ("fog", "foggy", "mist", "misty")),
}

_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")
Phrase = tuple[str, ...]
Meaning = tuple[str, str]  # the sort of a fact, such as "colour", and its name in the world, such as "red"


@dataclass
class Mention:
    """A mention of objects of one kind in a caption.

    Attributes:
        kind: The kind: ``ball``, ``box``, ...; mentions of one kind are distinguished by their place in the caption.
        attributes: The stated colours, sizes and textures, as pairs such as (``colour``, ``red``).
        counts: The stated numbers; "a ball", "one ball" and "the ball" state 1; "the balls", "some balls" and "the
            fish" state none.
    """

    kind: str
    attributes: set[Meaning] = field(default_factory=set)
    counts: set[int] = field(default_factory=set)


@dataclass
class Facts:
    """The facts that a caption states.

    Attributes:
        mentions: The mentions of objects in their order. "the ball" after "a ball" is the same mention; a second "a
            ball" is another mention.
        relations: The stated relations by the numbers of the mentions, each once: "a left of b" and "b right of a" are
            the same.
        places: The stated places.
        lights: The stated lights.
    """

    mentions: list[Mention] = field(default_factory=list)
    relations: set[Relation] = field(default_factory=set)
    places: set[str] = field(default_factory=set)
    lights: set[str] = field(default_factory=set)


def read_facts(caption: str) -> Facts:
    """Read the facts that a caption states, grammatical or not; synonyms mean the same, and unknown words mean nothing.

    Adjectives belong to the next noun if only unknown words stand between; "with stripes" belongs to the noun before.
    Phrases such as "left of" relate the last object before them to the next object after them; phrases such as "above
    it" relate the last object before them to the object before that one.
    """
    reader = _Reader()
    words = _WORD.findall(caption.lower())
    table = _phrases()
    i = 0
    while i < len(words):
        for length in table.lengths.get(words[i], ()):
            meaning = table.meanings.get(tuple(words[i : i + length]))
            if meaning is not None:
                reader.read_phrase(*meaning)
                i += length
                break
        else:
            if words[i] in vocabulary():
                reader.drop_open_phrase()
            i += 1
    return reader.facts


@dataclass(frozen=True)
class _Phrases:
    meanings: MappingProxyType[Phrase, Meaning]
    lengths: MappingProxyType[str, tuple[int, ...]]  # by the first word of a phrase, the longest first


@lru_cache(maxsize=1)
def _phrases() -> _Phrases:
    meanings: dict[Phrase, Meaning] = {}
    for sort, name, wordings in _wordings():
        meanings.update({tuple(wording.split()): (sort, name) for wording in wordings})
    lengths: dict[str, set[int]] = {}
    for phrase in meanings:
        lengths.setdefault(phrase[0], set()).add(len(phrase))
    longest_first = {word: tuple(sorted(found, reverse=True)) for word, found in lengths.items()}
    return _Phrases(MappingProxyType(meanings), MappingProxyType(longest_first))


def _wordings() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield every meaning with its wordings; if a wording has two meanings, the later one counts."""
    for kind, forms in NOUNS.items():
        yield "plural", kind, tuple(plural for _, plural in forms)
        yield "noun", kind, tuple(singular for singular, _ in forms)
    for sort, table in (("colour", COLOURS), ("size", SIZES), ("texture", TEXTURES), ("relation", RELATIONS)):
        yield from ((sort, name, wordings) for name, wordings in table.items())
    for name, patterns in PATTERNS.items():
        yield "pattern", name, tuple(f"with {pattern}" for pattern in patterns) + patterns
    for number, wordings in {**SINGLE, **NUMBERS}.items():
        yield "number", str(number), wordings
    for name, wordings in ASIDES.items():
        more = tuple(f"{relation} {{it}}" for relation in RELATIONS[name])
        yield "aside", name, tuple(wording.format(**PRONOUNS[n]) for wording in wordings + more for n in "sp")
    yield from ((sort, name, heads) for name, (sort, heads) in HEADS.items())
    yield from (("article", "a", ("a", "an")), ("article", "the", ("the",)), ("article", "some", VAGUE))
    yield "break", "", ("and", "while", "with", "there")


class _Reader:
    """Collects the facts of a caption from the meanings of its phrases, in their order."""

    def __init__(self) -> None:
        self.facts = Facts()
        self._mentioned: list[int] = []  # the number of a mention, each time that the caption names its objects
        self._attributes: set[Meaning] = set()
        self._article = ""
        self._number = 0
        self._open: list[tuple[str, int]] = []  # relations that wait for their second object

    def read_phrase(self, sort: str, name: str) -> None:
        """Read the meaning of one phrase."""
        if sort in ("colour", "size", "texture"):
            self._attributes.add((sort, name))
        elif sort in ("noun", "plural"):
            self._read_noun(name, sort == "plural")
        elif sort == "number":
            self._number = int(name)
        elif sort == "article":
            self.drop_open_phrase()
            self._article = name
        else:
            self.drop_open_phrase()
            self._read_other(sort, name)

    def drop_open_phrase(self) -> None:
        """Drop the adjectives, the article and the number that were read without a noun."""
        self._attributes, self._article, self._number = set(), "", 0

    def _read_other(self, sort: str, name: str) -> None:
        if sort == "place":
            self.facts.places.add(name)
        elif sort == "light":
            self.facts.lights.add(name)
        elif sort == "break":
            self._open = []
        elif sort == "pattern" and self._mentioned:
            self.facts.mentions[self._mentioned[-1]].attributes.add(("texture", name))
        elif sort == "relation" and self._mentioned:
            self._open.append((name, self._mentioned[-1]))
        elif sort == "aside" and len(self._mentioned) > 1:
            self._add_relation(name, self._mentioned[-1], self._mentioned[-2])

    def _read_noun(self, kind: str, plural: bool) -> None:
        number = next((i for i, m in enumerate(self.facts.mentions) if m.kind == kind), None)
        known = number is not None and self._article == "the"
        if number is None or not known:
            number = len(self.facts.mentions)
            self.facts.mentions.append(Mention(kind))
        mention = self.facts.mentions[number]
        mention.attributes |= self._attributes
        told = not (plural or known or kind in SAME_PLURAL)
        single = self._article == "a" or (self._article == "the" and told)
        if self._number or single:
            mention.counts.add(self._number or 1)
        for name, first in self._open:
            self._add_relation(name, first, number)
        self._open = []
        self._mentioned.append(number)
        self.drop_open_phrase()

    def _add_relation(self, name: str, a: int, b: int) -> None:
        relation = Relation(name, a, b)
        self.facts.relations.add(min(relation, relation.converse))
