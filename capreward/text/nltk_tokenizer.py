"""NLTK's ``word_tokenize`` without its data: the Treebank rules, applied to each sentence.

NLTK splits sentences by a trained model (punkt), which has to be downloaded. Here a sentence ends at ``.``, ``?`` or
``!`` before white space, but not after a usual abbreviation, an initial or a number. This only decides whether a full
stop inside a text is a token of its own.
"""

from __future__ import annotations

import re

_STARTING_QUOTES = (
    (re.compile("([«“‘„]|[`]+)"), r" \1 "),
    (re.compile(r"^\""), r"``"),
    (re.compile(r"(``)"), r" \1 "),
    (re.compile(r"([ \(\[{<])(\"|\'{2})"), r"\1 `` "),
    (re.compile(r"(?i)(\')(?!re|ve|ll|m|t|s|d|n)(\w)\b"), r"\1 \2"),
)
_PUNCTUATION = (
    (re.compile(r"([^\.])(\.)([\]\)}>\"'»”’ ]*)\s*$"), r"\1 \2 \3 "),
    (re.compile(r"([:,])([^\d])"), r" \1 \2"),
    (re.compile(r"([:,])$"), r" \1 "),
    (re.compile(r"\.{2,}"), r" \g<0> "),
    (re.compile(r"[;@#$%&]"), r" \g<0> "),
    (re.compile(r"([^\.])(\.)([\]\)}>\"']*)\s*$"), r"\1 \2\3 "),
    (re.compile(r"[?!]"), r" \g<0> "),
    (re.compile(r"([^'])' "), r"\1 ' "),
    (re.compile(r"[*]"), r" \g<0> "),
    (re.compile(r"[\]\[\(\)\{\}\<\>]"), r" \g<0> "),
    (re.compile(r"--"), r" -- "),
)
_ENDING_QUOTES = (
    (re.compile("([»”’])"), r" \1 "),
    (re.compile(r"''"), " '' "),
    (re.compile(r'"'), " '' "),
    (re.compile(r"([^' ])('[sS]|'[mM]|'[dD]|') "), r"\1 \2 "),
    (re.compile(r"([^' ])('ll|'LL|'re|'RE|'ve|'VE|n't|N'T) "), r"\1 \2 "),
)
_CONTRACTIONS = (
    *(re.compile(rf"(?i)\b({a})({b})\b") for a, b in (("can", "not"), ("d", "'ye"), ("gim", "me"), ("gon", "na"))),
    *(re.compile(rf"(?i)\b({a})({b})\b") for a, b in (("got", "ta"), ("lem", "me"), ("more", "'n"))),
    re.compile(r"(?i)\b(wan)(na)(?=\s)"),
    re.compile(r"(?i) ('t)(is)\b"),
    re.compile(r"(?i) ('t)(was)\b"),
)
_SENTENCE_END = re.compile(r"""(\S*)([.?!])["')\]}»”’]*\s+(?=\S)""")
# fmt: off
_ABBREVIATIONS = frozenset((
    "mr", "mrs", "ms", "dr", "prof", "st", "ave", "jr", "sr", "vs", "etc", "inc", "ltd", "co", "corp", "no", "ft",
    "lbs", "jan", "feb", "aug", "sept", "oct", "nov", "dec", "a.m", "p.m", "u.s", "e.g", "i.e",
))
# fmt: on
_PLAIN = re.compile(r"[a-z0-9 \-]*", re.IGNORECASE)
_JOINED = re.compile(r"(?i)cannot|gimme|gonna|gotta|lemme|wanna|--")


def word_tokenize(text: str) -> list[str]:
    """Return the words and punctuation of a text, as ``nltk.word_tokenize`` does but without its sentence model."""
    if _PLAIN.fullmatch(text) and not _JOINED.search(text):
        return text.split()  # no rule applies to such a text, as most phrases are
    return [token for sentence in split_sentences(text) for token in treebank_tokenize(sentence)]


def treebank_tokenize(text: str) -> list[str]:
    """Return the tokens of one sentence; they equal those of ``nltk.tokenize.NLTKWordTokenizer().tokenize``."""
    for pattern, replacement in (*_STARTING_QUOTES, *_PUNCTUATION):
        text = pattern.sub(replacement, text)
    text = f" {text} "
    for pattern, replacement in _ENDING_QUOTES:
        text = pattern.sub(replacement, text)
    for pattern in _CONTRACTIONS:
        text = pattern.sub(r" \1 \2 ", text)
    return text.split()


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text, without the white space between them; a blank text has none."""
    found, start = [], 0
    for match in _SENTENCE_END.finditer(text):
        before = match[1].lstrip("\"'([{«“‘").lower()
        number = before.isdigit() or len(before) == 1
        if match[2] == "." and (before in _ABBREVIATIONS or number or before.endswith(".")):
            continue
        found.append(text[start : match.end()].strip())
        start = match.end()
    found.append(text[start:].strip())
    return [sentence for sentence in found if sentence]
