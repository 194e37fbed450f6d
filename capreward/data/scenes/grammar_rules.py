"""The grammar of the captions: the one definition by which captions are written and recognised.

A rule is a list of alternatives, each a row of symbols:

- a word in lower case stands for itself;
- ``NP`` is another rule; ``NP?`` may be left out, and ``JOIN*`` may come up to JOINS times;
- ``NP.a`` is the rule in the form that agrees with slot ``a``: ``NP.s`` (singular) or ``NP.p`` (plural). Slots ``a``
  and ``b`` are two groups of objects, and all symbols of an alternative with the same slot have the same number.

A comma shows where a caption may have one; the recogniser ignores commas.

The rules do not choose between ``a`` and ``an``, which follows from the next word (``article``).
"""

from __future__ import annotations

import re
from functools import lru_cache
from types import MappingProxyType

from capreward.data.scenes.vocabulary import (
    ASIDES,
    COLOURS,
    LIGHTS,
    NOUNS,
    NUMBERS,
    PATTERNS,
    PLACES,
    RELATIONS,
    SINGLE,
    SIZES,
    TEXTURES,
    VAGUE,
)

JOINS = 3
START = "CAPTION"
PRONOUNS = {"s": {"it": "it", "its": "its"}, "p": {"it": "them", "its": "their"}}

# What a caption may be. The generator takes a row for what it has to say: ONE of one group, PAIR of two in a relation,
# MANY of several without one.
ONE = (
    "OF? NP.a SETTING?",
    "OF? NP.a PART.a SETTING",
    "ANY.a BE.a PLACE LIGHT?",
    "ANY.a VERB.a PLACE LIGHT?",
    "there BE.a NP.a SETTING?",
    "SEE NP.a SETTING?",
    "SETTING , there BE.a NP.a",
    "LIGHT , ANY.a VERB.a PLACE",
)
PAIR = (
    "OF? NP.a PART?.a REL ANY.b SETTING? WITH?",
    "OF? NP.b with NP.a ASIDE.b SETTING?",
    "CLAUSE SETTING? JOIN*",
    "SETTING , CLAUSE JOIN*",
    "CLAUSE SETTING? WITH",
)
MANY = (
    "OF? LIST SETTING?",
    "LIST BE.p PLACE LIGHT?",
    "LIST VERB.p PLACE LIGHT?",
    "there BE.a NP.a REST SETTING?",
    "SEE LIST SETTING?",
)
# Further sentences of the language; the pictures' own captions do without them.
OTHER = (
    "SETTING , there BE.a NP.a JOIN*",
    "PLACE , there BE.a NP.a LIGHT JOIN*",
    "LIGHT , there BE.a NP.a PLACE JOIN*",
    "SETTING , SEE NP.a",
    "SETTING , there BE.a NP.a REST",
    "SETTING , SEE LIST",
    "LIGHT , LIST VERB.p PLACE",
    "OF? LIST REL ANY.b SETTING?",
    "LIST BE.p REL ANY.b SETTING? JOIN*",
    "LIST VERB.p REL ANY.b SETTING? JOIN*",
    "ANY.a BE.a PLACE LIGHT? JOIN*",
    "ANY.a VERB.a PLACE LIGHT? JOIN*",
    "there BE.a NP.a SETTING? JOIN*",
    "PLACE , CLAUSE LIGHT JOIN*",
    "LIGHT , CLAUSE PLACE JOIN*",
    "CLAUSE JOIN* SETTING",
    "CLAUSE WITH SETTING",
    "OF? NP.a PART?.a REL ANY.b WITH SETTING",
)
SENTENCES = {
    "CLAUSE": (
        "ANY.a BE.a REL ANY.b",
        "ANY.a VERB.a REL ANY.b",
        "there BE.a NP.a PART?.a REL ANY.b",
        "ANY.b HAVE.b NP.a ASIDE.b",
        "SEE NP.a REL ANY.b",
    ),
    "JOIN": (", and LINK", ", while LINK"),
    "LINK": (
        "ANY.a BE.a REL ANY.b",
        "ANY.a VERB.a REL ANY.b",
        "there BE.a NP.a REL ANY.b",
        "there BE.a also NP.a REL ANY.b",
        "ANY.b HAVE.b NP.a ASIDE.b",
    ),
    "WITH": ("with BESIDE", "with BESIDE and BESIDE"),
    "BESIDE": ("NP.a REL ANY.b",),
    "LIST": ("ANY.a REST",),
    "REST": ("and ANY.a", ", ANY.a and ANY.b", ", ANY.a , ANY.b and ANY.c"),
    "SETTING": ("PLACE", "LIGHT", "PLACE LIGHT", "LIGHT PLACE"),
}
PHRASES = {
    "OF": (
        "a picture of",
        "an image of",
        "a photo of",
        "a drawing of",
        "a view of",
        "this is a picture of",
        "this is an image of",
        "this is",
    ),
    "SEE": ("we see", "we can see", "you can see", "the picture shows", "this image shows", "the photo shows"),
    "ANY.s": ("NP.s", "DEF.s"),
    "ANY.p": ("NP.p", "DEF.p"),
    "BE.s": ("is",),
    "BE.p": ("are",),
    "HAVE.s": ("has",),
    "HAVE.p": ("have",),
    "VERB.s": ("stands", "sits", "lies", "rests", "appears", "is placed", "is seen", "can be seen", "is standing"),
    "VERB.p": ("stand", "sit", "lie", "rest", "appear", "are placed", "are seen", "can be seen", "are standing"),
    "PART.s": ("standing", "sitting", "lying", "resting", "placed", "seen"),
    "PART.p": ("standing", "sitting", "lying", "resting", "placed", "seen"),
    "NP.s": ("ONE SIZE? TEXTURE? COLOUR? NOUN.s", "ONE SIZE? COLOUR? NOUN.s with PATTERN"),
    "NP.p": ("NUMBER SIZE? TEXTURE? COLOUR? NOUN.p", "NUMBER SIZE? COLOUR? NOUN.p with PATTERN"),
    "DEF.s": ("the SIZE? TEXTURE? COLOUR? NOUN.s", "the SIZE? COLOUR? NOUN.s with PATTERN"),
    "DEF.p": ("the CARDINAL? SIZE? TEXTURE? COLOUR? NOUN.p", "the CARDINAL? SIZE? COLOUR? NOUN.p with PATTERN"),
    "ONE": ("a", "an", *SINGLE[1]),
}


def _all_wordings(table: object) -> tuple[str, ...]:
    """Return all wordings of a table of the vocabulary, each once."""
    if isinstance(table, str):
        return (table,)
    parts = table.values() if isinstance(table, dict) else table
    return tuple(dict.fromkeys(word for part in parts for word in _all_wordings(part)))  # type: ignore[attr-defined]


@lru_cache(maxsize=1)
def rules() -> MappingProxyType[str, tuple[str, ...]]:
    """Return every rule of the grammar by its name."""
    asides = _all_wordings(ASIDES) + tuple(f"{relation} {{it}}" for relation in _all_wordings(RELATIONS))
    numbers = _all_wordings(NUMBERS)
    return MappingProxyType(
        {
            START: ("ONE_GROUP", "TWO_GROUPS", "MANY_GROUPS", "MORE"),
            "ONE_GROUP": ONE,
            "TWO_GROUPS": PAIR,
            "MANY_GROUPS": MANY,
            "MORE": OTHER,
            **SENTENCES,
            **PHRASES,
            **{f"ASIDE.{n}": tuple(dict.fromkeys(a.format(**PRONOUNS[n]) for a in asides)) for n in "sp"},
            "NOUN.s": tuple(s for forms in NOUNS.values() for s, _ in forms),
            "NOUN.p": tuple(p for forms in NOUNS.values() for _, p in forms),
            "SIZE": _all_wordings(SIZES),
            "TEXTURE": _all_wordings(TEXTURES),
            "COLOUR": _all_wordings(COLOURS),
            "PATTERN": _all_wordings(PATTERNS),
            "NUMBER": numbers + VAGUE,
            "CARDINAL": tuple(n for n in numbers if " " not in n),
            "PLACE": _all_wordings(PLACES),
            "LIGHT": _all_wordings(LIGHTS),
            "REL": _all_wordings(RELATIONS),
        }
    )


def article(following: str) -> str:
    """Return ``a`` or ``an``, by the first letter of the next word.

    The letter is enough, since no word of the vocabulary begins with a silent h or with the sound of "you".
    """
    return "an" if following[:1] in "aeiou" else "a"


WRONG_ARTICLE = re.compile(r"\ba (?=[aeiou])|\ban (?![aeiou])")


@lru_cache(maxsize=1)
def vocabulary() -> frozenset[str]:
    """Return every word of the language."""
    rows = [row for alternatives in rules().values() for row in alternatives]
    return frozenset(word for row in rows for word in row.split() if word.islower())
