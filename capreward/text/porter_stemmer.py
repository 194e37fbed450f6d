"""Porter's stemmer in NLTK's default form: the algorithm of 1980 with NLTK's own rules ("NLTK_EXTENSIONS").

METEOR's stemmer (``capreward.text.meteor.snowball_stemmer``) is the later Snowball stemmer; the two differ for words
such as "sky" and "generously".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

# Whole words whose stems NLTK fixes.
_FIXED = {
    **{"sky": "sky", "skies": "sky", "dying": "die", "lying": "lie", "tying": "tie", "news": "news", "howe": "howe"},
    **{"innings": "inning", "inning": "inning", "outings": "outing", "outing": "outing"},
    **{"cannings": "canning", "canning": "canning"},
    **{"proceed": "proceed", "exceed": "exceed", "succeed": "succeed"},
}
Rule = tuple[str, str]  # a suffix and its replacement

_STEP_2: Sequence[Rule] = (
    *(("ational", "ate"), ("tional", "tion"), ("enci", "ence"), ("anci", "ance"), ("izer", "ize"), ("bli", "ble")),
    *(("alli", "al"), ("entli", "ent"), ("eli", "e"), ("ousli", "ous"), ("ization", "ize"), ("ation", "ate")),
    *(("ator", "ate"), ("alism", "al"), ("iveness", "ive"), ("fulness", "ful"), ("ousness", "ous")),
    *(("aliti", "al"), ("iviti", "ive"), ("biliti", "ble"), ("fulli", "ful")),
)
_STEP_3: Sequence[Rule] = (
    *(("icate", "ic"), ("ative", ""), ("alize", "al"), ("iciti", "ic"), ("ical", "ic"), ("ful", ""), ("ness", "")),
)
_STEP_4 = (
    *("al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion"),
    *("ou", "ism", "ate", "iti", "ous", "ive", "ize"),
)


def porter_stem(word: str) -> str:
    """Return the stem of a word, in lower case; it equals ``nltk.stem.PorterStemmer().stem(word)``."""
    stem = word.lower()
    if word in _FIXED:
        return _FIXED[word]
    if len(word) <= 2:
        return stem
    stem = _step_1b(_step_1a(stem))
    if stem.endswith("y") and len(stem) > 2 and _is_consonant(stem, len(stem) - 2):
        stem = stem[:-1] + "i"
    stem = _step_4(_apply_first_rule(_step_2(stem), _STEP_3))
    return _step_5(stem)


def _is_consonant(word: str, place: int) -> bool:
    if word[place] in "aeiou":
        return False
    return word[place] != "y" or place == 0 or not _is_consonant(word, place - 1)


def _measure(stem: str) -> int:
    """Count how often a consonant follows a vowel: m of the paper."""
    kinds = [_is_consonant(stem, place) for place in range(len(stem))]
    return sum(after and not before for before, after in pairwise(kinds))


def _has_vowel(stem: str) -> bool:
    return any(not _is_consonant(stem, place) for place in range(len(stem)))


def _ends_double(word: str) -> bool:
    return len(word) > 1 and word[-1] == word[-2] and _is_consonant(word, len(word) - 1)


def _ends_short(word: str) -> bool:
    """Return whether a word ends in consonant, vowel, consonant, of which the last is none of w, x and y.

    NLTK adds words of one vowel and one consonant.
    """
    if len(word) == 2:
        return not _is_consonant(word, 0) and _is_consonant(word, 1)
    if len(word) < 3 or word[-1] in "wxy":
        return False
    last = len(word) - 1
    return _is_consonant(word, last) and not _is_consonant(word, last - 1) and _is_consonant(word, last - 2)


def _apply_first_rule(
    word: str, rules: Sequence[Rule], allowed: Callable[[str], bool] = lambda stem: _measure(stem) > 0
) -> str:
    """Apply the first rule whose suffix the word has, if the stem is allowed; no later rule is tried."""
    for suffix, ending in rules:
        if word.endswith(suffix):
            stem = word[: -len(suffix)]
            return stem + ending if allowed(stem) else word
    return word


def _step_1a(word: str) -> str:
    if word.endswith("ies"):
        return word[:-1] if len(word) == 4 else word[:-2]  # NLTK's rule: "dies" becomes "die", "flies" becomes "fli"
    if word.endswith("sses"):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _step_1b(word: str) -> str:
    if word.endswith("ied"):
        return word[:-1] if len(word) == 4 else word[:-2]  # NLTK's rule: "died" becomes "die", "spied" becomes "spi"
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    stem = next(
        (word[: -len(end)] for end in ("ed", "ing") if word.endswith(end) and _has_vowel(word[: -len(end)])), ""
    )
    if not stem:
        return word
    if stem.endswith(("at", "bl", "iz")):
        return stem + "e"
    if _ends_double(stem):
        return stem if stem[-1] in "lsz" else stem[:-1]
    return stem + "e" if _measure(stem) == 1 and _ends_short(stem) else stem


def _step_2(word: str) -> str:
    if word.endswith("alli") and _measure(word[:-4]) > 0:
        return _step_2(word[:-2])  # NLTK's rule: it comes first, and the step is applied again to its result
    if word.endswith("logi"):
        return word[:-1] if _measure(word[:-3]) > 0 else word  # the l belongs to the stem, which gives "geolog"
    return _apply_first_rule(word, _STEP_2)


def _step_4(word: str) -> str:
    def allowed(stem: str) -> bool:
        return _measure(stem) > 1 and (not word.endswith("ion") or stem.endswith(("s", "t")))

    return _apply_first_rule(word, [(suffix, "") for suffix in _STEP_4], allowed)


def _step_5(word: str) -> str:
    if word.endswith("e"):
        size = _measure(word[:-1])
        if size > 1 or (size == 1 and not _ends_short(word[:-1])):
            word = word[:-1]
    return word[:-1] if word.endswith("ll") and _measure(word[:-1]) > 1 else word
