"""The rules of the PTB tokenizer, as regular expressions over stand-ins (see ptb_characters).

At every position all rules that may start with the character there are tried; the one that matches the longest text wins,
the earlier of two equals. Where a rule has a group, only the group becomes the token and the rest of the match is
look-ahead, which counts for the length.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from capreward.text.ptb_words import ABBREVIATIONS, CAPITALISED_ABBREVIATIONS, NUMBERED

# Kinds of characters, to be used inside [...]
_LETTER = "A-Za-zéºª\u00ad\u0300"
_LETTER = "A-Za-zé\u00ad\u0300"
_DIGIT = "0-9٠"
_BASE = f"{_LETTER}{_DIGIT}"
_APOS = "(?:['’]|&apos;)"
_APOSTROPHES = "(?:['’`‘]|&apos;)"

_WORD = f"(?:[{_LETTER}][{_BASE}]*|[{_DIGIT}]+(?:[A-Za-zé\u00ad][{_BASE}]*)?)"
_NUMBER = f"(?:[{_DIGIT}]*(?:[.,:٫][{_DIGIT}]+)+|[{_DIGIT}]+)"
_HYPHENS = "[-_‐/]"
_HYPHENATED = f"{_WORD}(?:{_HYPHENS}{_WORD})+"
_DECIMAL_HYPHENATED = f"(?:[{_DIGIT}]+(?:[.,][{_DIGIT}]+)+)(?:-{_WORD})+"
_DOTTED = f"[{_LETTER}][{_BASE}]*(?:[.!?][{_LETTER}][{_BASE}]*)+"
_CLITIC = f"{_APOS}(?:[sSmMdD]|[lL][lL]|[rR][eE]|[vV][eE])"
_NOT_LETTER = f"(?![{_LETTER}])"
_SPLIT_WORDS = {"can": "not", "gon": "na", "wan": "na", "got": "ta", "gim": "me", "lem": "me"}


class Rule(NamedTuple):
    """One kind of token: what it looks like and what it may start with."""

    name: str
    pattern: re.Pattern[str]
    starts: str


def _rule(name: str, pattern: str, starts: str, flags: int = 0) -> Rule:
    return Rule(name, re.compile(pattern, flags), starts)


_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DIGITS = "0123456789٠"
_WORDY = _LETTERS + _DIGITS + "é\u00ad\u0300"


def _any_case(words: list[str]) -> str:
    return "(?i:" + "|".join(sorted(words, key=len, reverse=True)) + ")"


_ABBREVIATION = f"(?:{_any_case(ABBREVIATIONS)}|{'|'.join(f'{w}|{w.upper()}' for w in CAPITALISED_ABBREVIATIONS)})\\."

RULES = [
    _rule("assimilated", "|".join(f"({a})(?={b}{_NOT_LETTER})" for a, b in _SPLIT_WORDS.items()), "cgwlCGWL", re.I),
    _rule("before n't", f"({_WORD})(?:[nN]{_APOSTROPHES}[tT])", _WORDY),
    _rule("n't", f"[nN]{_APOSTROPHES}[tT]", "nN"),
    _rule("word", _WORD, _WORDY),
    _rule("hyphenated", _HYPHENATED, _WORDY),
    _rule("dotted", _DOTTED, _WORDY),
    _rule("abbreviation", _ABBREVIATION, _LETTERS),
    _rule("numbered", f"({_any_case(NUMBERED)}\\.) *[{_DIGIT}]", _LETTERS),
    _rule("dot kept", f"({_WORD}(?:-{_WORD})*\\.)[,;:]", _WORDY),
    _rule("acronym", r"[A-Za-z](?:\.[A-Za-z])+\.?", _LETTERS),
    _rule("initial", r"[A-Za-z]\.", _LETTERS),
    _rule("apostrophe name", f"[A-HJ-XZdlno]['’][{_LETTER}]{{2,}}", _LETTERS),
    _rule("apostrophe vowel", f"[{_LETTER}]+[aeiouAEIOU]['’][aeiouAEIOU][{_LETTER}]*", _LETTERS),
    _rule("clitic", f"{_CLITIC}{_NOT_LETTER}", "'’&"),
    _rule("number", f"[-+]?{_NUMBER}", _DIGITS + "-+.,:٫"),
    _rule("decimal word", _DECIMAL_HYPHENATED, _DIGITS),
    _rule("ampersand", "[A-Z]+(?:&(?:amp;)?[A-Z]+)+", _LETTERS),
    _rule("tag", r"<[/!?]?[A-Za-z][A-Za-z0-9._:-]*\s*/?>", "<"),
    _rule("twitter", r"@[A-Za-zé_][A-Za-z0-9é_]*|#[A-Za-zé]+", "@#"),
    _rule("email", r"[A-Za-z0-9][^\s@<>\"]*@[A-Za-z0-9][A-Za-z0-9.-]*", _WORDY),
    _rule("url", r"(?:https?://|ftp://|www\.)[^\s]+", "hfwHFW", re.I),
    _rule("entity", r"&(?:amp|lt|gt|quot|apos);", "&", re.I),
    _rule("dots", r"\.{3,}|\.(?: \.){2,}", "."),
    _rule("dashes", r"-{2,4}", "-"),
    _rule("run", r"[!?]+|\*+|_+|<<|>>|''|``|²+", "!?*_<>'`²"),
]
