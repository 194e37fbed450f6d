"""What a caption states of the world, read word by word, so that a caption with mistakes is understood as well."""

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

# The words that make a place or a light; what surrounds them may be wrong.
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
Meaning = tuple[str, str]  # what sort of thing is said, and its name in the world


@dataclass
class Mention:
    """Objects of one kind that a caption speaks of.

    Attributes:
        kind: ``ball``, ``box``, ...; mentions of one kind are told apart by their place in the caption.
        attributes: stated colours, sizes and textures, as (``colour``, ``red``).
        counts: stated numbers; "a ball", "one ball" and "the ball" state 1, "the balls", "some balls", "the fish" none.
    """

    kind: str
    attributes: set[Meaning] = field(default_factory=set)
    counts: set[int] = field(default_factory=set)


@dataclass
class Facts:
    """What a caption states.

    Attributes:
        mentions: the groups of objects in their order. "the ball" after a ball speaks of the same one; a second "a
            ball" speaks of another.
        relations: by the numbers of the mentions, each once: "a left of b" and "b right of a" are the same.
        places: stated places.
        lights: stated lights.
    """

    mentions: list[Mention] = field(default_factory=list)
    relations: set[Relation] = field(default_factory=set)
    places: set[str] = field(default_factory=set)
    lights: set[str] = field(default_factory=set)


def read_facts(caption: str) -> Facts:
    """Read a caption, grammatical or not; synonyms mean the same, unknown words nothing.

    Adjectives belong to the next noun if nothing but unknown words stands between, "with stripes" to the noun before.
    "left of" and the like relate the last object before them to the next one after them; "above it" and the like
    relate the last object before them to the one before that.
    """
    reader = _Reader()
    words = _WORD.findall(caption.lower())
    table = _phrases()
    i = 0
    while i < len(words):
        for length in table.lengths.get(words[i], ()):
            meaning = table.meanings.get(tuple(words[i : i + length]))
            if meaning is not None:
                reader.hear(*meaning)
                i += length
                break
        else:
            if words[i] in vocabulary():
                reader.pause()
            i += 1
    return reader.facts


@dataclass(frozen=True)
class _Phrases:
    meanings: MappingProxyType[Phrase, Meaning]
    lengths: MappingProxyType[str, tuple[int, ...]]  # of the phrases that begin with a word, the longest first


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
    """Every meaning with its wordings; of two meanings of one wording the later counts."""
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
    """Collects facts from meanings in their order."""

    def __init__(self) -> None:
        self.facts = Facts()
        self._heard: list[int] = []  # numbers of mentions, as often as they were spoken of
        self._attributes: set[Meaning] = set()
        self._article = ""
        self._number = 0
        self._open: list[tuple[str, int]] = []  # relations that wait for their second object

    def hear(self, sort: str, name: str) -> None:
        """Take in one phrase."""
        if sort in ("colour", "size", "texture"):
            self._attributes.add((sort, name))
        elif sort in ("noun", "plural"):
            self._object(name, sort == "plural")
        elif sort == "number":
            self._number = int(name)
        elif sort == "article":
            self.pause()
            self._article = name
        else:
            self.pause()
            self._other(sort, name)

    def pause(self) -> None:
        """What was heard of an object before its noun belongs to none."""
        self._attributes, self._article, self._number = set(), "", 0

    def _other(self, sort: str, name: str) -> None:
        if sort == "place":
            self.facts.places.add(name)
        elif sort == "light":
            self.facts.lights.add(name)
        elif sort == "break":
            self._open = []
        elif sort == "pattern" and self._heard:
            self.facts.mentions[self._heard[-1]].attributes.add(("texture", name))
        elif sort == "relation" and self._heard:
            self._open.append((name, self._heard[-1]))
        elif sort == "aside" and len(self._heard) > 1:
            self._relate(name, self._heard[-1], self._heard[-2])

    def _object(self, kind: str, plural: bool) -> None:
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
            self._relate(name, first, number)
        self._open = []
        self._heard.append(number)
        self.pause()

    def _relate(self, name: str, a: int, b: int) -> None:
        relation = Relation(name, a, b)
        self.facts.relations.add(min(relation, relation.converse))
