"""The English Snowball stemmer of METEOR 1.5: Porter2 as published, before the rules that Snowball 3 added.

Newer releases of the stemmer packages treat words such as "international" or "zoologist" differently, so a metric that
must not depend on the installed packages needs its own stemmer.
"""

from __future__ import annotations

import re

_EXCEPTIONS = {
    **{"skis": "ski", "skies": "sky", "dying": "die", "lying": "lie", "tying": "tie", "idly": "idl"},
    **{"gently": "gentl", "ugly": "ugli", "early": "earli", "only": "onli", "singly": "singl"},
    **{word: word for word in ("sky", "news", "howe", "atlas", "cosmos", "bias", "andes")},
}
_DONE_AFTER_PLURAL = frozenset(
    ("inning", "outing", "canning", "herring", "earring", "proceed", "exceed", "succeed"),
)
_VOWEL = re.compile("[aeiouy]")
_REGION = re.compile("[aeiouy][^aeiouy]")
_SPECIAL_REGION = re.compile("gener|commun|arsen")
_SHORT = re.compile("(?:[^aeiouy][aeiouy][^aeiouywxY]|^[aeiouy][^aeiouy])$")
_DOUBLES = ("bb", "dd", "ff", "gg", "mm", "nn", "pp", "rr", "tt")

_STEP_2 = {
    **{"tional": "tion", "enci": "ence", "anci": "ance", "abli": "able", "entli": "ent", "izer": "ize"},
    **{"ization": "ize", "ational": "ate", "ation": "ate", "ator": "ate", "alism": "al", "aliti": "al"},
    **{"alli": "al", "fulness": "ful", "ousli": "ous", "ousness": "ous", "iveness": "ive", "iviti": "ive"},
    **{"biliti": "ble", "bli": "ble", "ogi": "og", "fulli": "ful", "lessli": "less", "li": ""},
}
_STEP_3 = {
    **{"tional": "tion", "ational": "ate", "alize": "al", "icate": "ic", "iciti": "ic", "ical": "ic"},
    **{"ful": "", "ness": "", "ative": ""},
}
_STEP_4 = {
    **dict.fromkeys(("al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent"), ""),
    **dict.fromkeys(("ism", "ate", "iti", "ous", "ive", "ize", "ion"), ""),
}
# The letters of which one must stand before these suffixes for the rule to apply.
_AFTER = {"ogi": "l", "li": "cdeghkmnrt", "ion": "st"}


def stem(word: str) -> str:
    """Return the stem of a lower-case word."""
    if word in _EXCEPTIONS:
        return _EXCEPTIONS[word]
    if len(word) < 3:
        return word
    word = _mark_consonant_y(word.removeprefix("'"))
    first, second = _regions(word)
    word = _step_1a(word)
    if word not in _DONE_AFTER_PLURAL:
        word = _step_1b(word, first)
        if len(word) > 2 and word[-1] in "yY" and word[-2] not in "aeiouy":
            word = word[:-1] + "i"
        word = _replace_longest_suffix(word, _STEP_2, first, second)
        word = _replace_longest_suffix(word, _STEP_3, first, second)
        word = _replace_longest_suffix(word, _STEP_4, second, second)
        word = _step_5(word, first, second)
    return word.replace("Y", "y")


def _mark_consonant_y(word: str) -> str:
    if "y" not in word:
        return word
    letters = list(word)
    for position, letter in enumerate(letters):
        if letter == "y" and (position == 0 or letters[position - 1] in "aeiouy"):
            letters[position] = "Y"
    return "".join(letters)


def _regions(word: str) -> tuple[int, int]:
    """Return the places where the regions R1 and R2 begin."""
    match = _SPECIAL_REGION.match(word) or _REGION.search(word)
    first = match.end() if match else len(word)
    match = _REGION.search(word, first)
    return first, match.end() if match else len(word)


def _step_1a(word: str) -> str:
    for ending in ("'s'", "'s", "'"):
        if word.endswith(ending):
            word = word[: -len(ending)]
            break
    if word.endswith("sses"):
        return word[:-2]
    if word.endswith(("ied", "ies")):
        return word[:-2] if len(word) > 4 else word[:-1]
    if word.endswith("s") and not word.endswith(("us", "ss")) and _VOWEL.search(word[:-2]):
        return word[:-1]
    return word


def _step_1b(word: str, first: int) -> str:
    ending = next((end for end in ("eedly", "ingly", "edly", "eed", "ing", "ed") if word.endswith(end)), "")
    rest = word[: len(word) - len(ending)]
    if ending.startswith("eed"):
        return rest + "ee" if len(rest) >= first else word
    if not ending or not _VOWEL.search(rest):
        return word
    if rest.endswith(("at", "bl", "iz")):
        return rest + "e"
    if rest.endswith(_DOUBLES):
        return rest[:-1]
    return rest + "e" if len(rest) == first and _SHORT.search(rest) else rest


def _replace_longest_suffix(word: str, rules: dict[str, str], region: int, second: int) -> str:
    """Apply the rule of the longest suffix of the word, if that suffix lies in the region."""
    for length in range(min(7, len(word)), 1, -1):
        ending = word[-length:]
        if ending in rules:
            break
    else:
        return word
    rest = word[:-length]
    allowed = len(rest) >= (second if ending == "ative" else region)
    if not allowed or rest[-1:] not in _AFTER.get(ending, rest[-1:]):
        return word
    return rest + rules[ending]


def _step_5(word: str, first: int, second: int) -> str:
    rest = word[:-1]
    if word.endswith("e"):
        return rest if len(rest) >= second or (len(rest) >= first and not _SHORT.search(rest)) else word
    return rest if word.endswith("ll") and len(rest) >= second else word
