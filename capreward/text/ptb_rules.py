"""The rules of the PTB tokenizer, as regular expressions over stand-ins (see ptb_characters).

At each position, all rules that may start with the character there are tried. The rule that matches the longest text
wins, and the earlier one of two equal rules. If a rule has a group, only the group becomes the token; the rest of the
match is look-ahead, which counts for the length.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from capreward.text import ptb_words as words

# The kinds of characters, for use inside [...]; ptb_characters describes the stand-ins.
_PLAIN = "A-Za-zé"
_LETTER = f"{_PLAIN}\u00ad"
_INNER = f"{_LETTER}\u0300\x01-\x04"  # a mark belongs to the word, unless the word starts with a digit
_DIGIT = "0-9٠"
_ANY = f"{_INNER}{_DIGIT}"
_BLANK = " \t\u00a0"

_APOS = "(?:['’]|(?i:&apos;))"
_OTHER_APOS = "(?:’|(?i:&apos;))"
_QUOTE = "(?:['’`‘]|(?i:&apos;))"
_GAP = f"(?:[{_BLANK}\n]|$)"  # a blank or the end of the text
_SPACE = f"{_BLANK}\n\x85\u2003"  # characters that may stand between sentences; \x85 is also an ellipsis

_LETTER_WORD = f"[{_INNER}][{_ANY}]*"
_SHY_DIGITS = f"\u00ad?[{_DIGIT}]+(?:\u00ad[{_DIGIT}]+)*"  # a soft hyphen may stand between digits
_WORD = f"(?:{_LETTER_WORD}|[{_DIGIT}][{_PLAIN}{_DIGIT}]*)"
_SEVERAL = f"{_LETTER_WORD}(?:[.!?]{_LETTER_WORD})+"
_PART = f"(?:[dDlLoO]{_QUOTE}[{_PLAIN}{_DIGIT}]{{2,}}|[{_PLAIN}{_DIGIT}]+)"  # a part of a hyphenated word
_CLITIC = "(?:[sSmMdD]|[lL][lL]|[rR][eE]|[vV][eE])"
_DASHED = "(?:-[A-Za-z]+){0,2}"
_SEP = "[- \u00a0]"

_NAME = "[A-Za-z][A-Za-z0-9._:-]*+"
_ATTRIBUTE = f" ++{_NAME}(?: *= *(?:\"[^\"\n]*\"|'[^'\n]*'))?"
_TAG = f"(?:<{_NAME}(?:{_ATTRIBUTE})* *+/? *+>|</{_NAME} *+>|<[!?][A-Za-z-][^>\n]*>)"

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DIGITS = "0123456789٠"
_WORDY = _LETTERS + _DIGITS + "é\u00ad\u0300\x03"


class Rule(NamedTuple):
    """A rule for one kind of token.

    Attributes:
        name: The name of the kind; ptb_lexer writes some kinds in a special form.
        pattern: The pattern of such tokens.
        starts: The characters with which such a token may start.
        reach: A pattern that saves attempts: if ``pattern`` fails at a place, it also fails at all later places within
            the text that ``reach`` matches there. Without it, some texts would take quadratic time.
        until: The last character of every match; if it does not occur again in the text, the rule is not tried again.
    """

    name: str
    pattern: re.Pattern[str]
    starts: str
    reach: re.Pattern[str] | None = None
    until: str = ""


def _rule(name: str, pattern: str, starts: str, flags: int = 0, reach: str = "", until: str = "") -> Rule:
    return Rule(name, re.compile(pattern, flags), starts, re.compile(reach) if reach else None, until)


def _one_of(choices: Iterable[str]) -> str:
    """Return an alternation that tries longer words first, so that the longest word wins."""
    return "|".join(sorted(choices, key=len, reverse=True))


def _split_word_rules() -> list[Rule]:
    """Return the rules for words that are split: cannot, don't, dog's, 'tis."""
    return [
        _rule("fused", "|".join(f"({a}){b}(?![{_ANY}])" for a, b in words.FUSED), "cgwlCGWL", re.I),
        _rule("stem", f"([A-Za-z\u00ad]*[A-MO-Za-mo-z]\u00ad*)[nN]{_QUOTE}[tT]", _LETTERS + "\u00ad"),
        _rule("clitic", f"[nN]{_QUOTE}[tT]", "nN"),
        _rule("stem", f"({_WORD}|{_SEVERAL}){_APOS}{_CLITIC}", _WORDY),
        # After a straight apostrophe, a longer word is taken for the start of a quotation.
        _rule("clitic", f"'{_CLITIC}(?![A-Za-z])|{_OTHER_APOS}{_CLITIC}", "'’&"),
        _rule("clitic", "('t)(?:is|was)", "'", re.I),
    ]


def _word_rules() -> list[Rule]:
    capitals = "[A-Z]+(?:(?:\\+|&(?i:amp;)?|\x03)[A-Z\x02]+)+"
    hyphenated = "[A-Za-z0-9][A-Za-z0-9\u00ad.,]*(?:-(?:(?:[A-Za-z]\\.){2,}|[A-Za-z0-9\u00ad]+))+"
    return [
        _rule("word", _WORD, _WORDY),
        _rule("word", f"{_PART}(?:[-_‐]{_PART})*", _WORDY),
        _rule("word", _SEVERAL, _WORDY),
        _rule(
            "word",
            f"((?:{_one_of(words.CAPITALISED)}|{_one_of(words.NEVER_SHOUTED)}|(?i:{_one_of(words.ABBREVIATIONS)}))\\.)[\\s\\S]{{2}}",
            _LETTERS,
        ),
        _rule("word", f"(?:{_one_of(words.DANGLING)})-", "aApP", re.I),
        # A dot is kept before a hyphen and before a comma, colon or semicolon: U.S.-based, "dog.,".
        _rule("word", hyphenated, _WORDY, reach="[A-Za-z0-9][A-Za-z0-9\u00ad.,]*"),
        _rule("word", f"({hyphenated}\\.)[,;:、]", _WORDY, reach="[A-Za-z0-9][A-Za-z0-9\u00ad.,]*"),
        _rule("word", f"((?:{_WORD}|{_PART}(?:[-_‐]{_PART})*|{_SEVERAL})\\.)[,;:、]", _WORDY),
        _rule("word", f"[A-Za-z0-9]+{_DASHED}(?:\\\\?/[A-Za-z0-9]+{_DASHED}){{1,2}}", _WORDY),
        _rule("ampersand", f"({capitals}\\.)[,;:、]|{capitals}", _LETTERS),
        _rule("word", "[\x01\x02]+", "\x01\x02"),  # the rest of &Ouml; after capitals that are joined by &
        _rule("word", r"[cC]\+\+|[cCfF]#|[A-Z]*\$", _LETTERS),
    ]


def _apostrophe_rules() -> list[Rule]:
    whole = _one_of(words.APOSTROPHE_WORDS).replace("'", _APOS)
    return [
        _rule("apostrophe", whole, "cdelnoswCDELNOSW", re.I),
        _rule("apostrophe", f"[A-HJ-XZn]{_QUOTE}[{_PLAIN}]{{2,}}", _LETTERS),
        _rule("apostrophe", f"[dDlLoO]{_QUOTE}[{_PLAIN}{_DIGIT}]{{2,}}", _LETTERS),
        _rule("apostrophe", f"[dDjJlL]{_APOS}|[yY]{_APOS}(?=[{_PLAIN}])", "dDjJlLyY"),
        _rule("apostrophe", f"[{_PLAIN}]+[aeiouyAEIOUY]{_QUOTE}[aeiouA-Z][{_PLAIN}]*", _LETTERS + "é"),
        _rule("apostrophe", f"{_APOS}(?:em|till?|cause|n{_APOS})", "'’&", re.I),
        _rule("apostrophe", f"('[nN]){_GAP}|{_OTHER_APOS}[nN]", "'’&"),
        _rule("apostrophe", f"{_APOS}[2-9]0[sS]", "'’&"),
        _rule("apostrophe", f"({_APOS}[0-9]{{2}})(?:[{_SPACE}]|$)", "'’&"),
    ]


def _abbreviation_rules() -> list[Rule]:
    known = (
        f"(?i:{_one_of([*words.ABBREVIATIONS, *words.TITLES])})",
        _one_of((*words.NEVER_SHOUTED, *words.NEVER_SHOUTED_TITLES)),
        _one_of(words.CAPITALISED),
    )
    file_type = _one_of(words.FILE_TYPES)
    dotted = f"[{_ANY}]+(?:\\.[{_ANY}]+)*"
    starter = (
        "(?:"
        + "|".join(f"{w[0]}(?i:{re.escape(w[1:])})" for w in words.SENTENCE_STARTERS)
        + f"|{_TAG})(?:[{_SPACE}]|$)"
    )
    return [
        _rule("word", f"(?:{'|'.join(known)})\\.", _LETTERS),
        _rule("word", f"((?:{_one_of(words.NUMBERED)})\\.)[{_SPACE}、]?[{_DIGIT}]", _LETTERS, re.I),
        _rule("word", r"[A-Za-z](?:\.[A-Za-z])+\.?", _LETTERS),
        _rule("word", r"[A-Za-z]\.", _LETTERS),
        _rule("word", f"([A-Za-z])\\.[{_SPACE}]+{starter}", _LETTERS),
        _rule("word", r"non-u\.s", "nN", re.I),
        _rule("address", f"({dotted}\\.(?i:{file_type}))(?:[{_SPACE}.,!?]|$)", _WORDY, reach=dotted),
    ]


def _number_rules() -> list[Rule]:
    number = f"(?:(?:{_SHY_DIGITS})?(?:[.,:٫][{_DIGIT}]+(?:\u00ad[{_DIGIT}]+)*)+|{_SHY_DIGITS})"
    small = f"[{_DIGIT}]{{1,4}}"
    phone = rf"\+?(?:[0-9]{{2,4}}{_SEP})?[0-9]{{2,4}}{_SEP}[0-9]{{3,4}}{_SEP}?[0-9]{{3,5}}"
    return [
        _rule("number", f"[-+]?{number}", _DIGITS + "-+.,:٫\u00ad"),
        _rule("number", f"(?:{small}{_SEP})?{small}(?:\\\\?/|⁄){small}", _DIGITS),
        _rule("number", f"[{_DIGIT}]{{1,2}}[-/][{_DIGIT}]{{1,2}}[-/][{_DIGIT}]{{2,4}}", _DIGITS),
        _rule("phone", phone, "+" + _DIGITS),
        _rule("phone", rf"\([0-9]{{2,3}}\)[ \u00a0]?[0-9]{{3,4}}{_SEP}?[0-9]{{3,5}}", "("),
    ]


def _mail_rule() -> Rule:
    """Return the rule for e-mail addresses, which win over a word of the same length, as in etc.@a."""
    mail = r"[^ \t\n\u00a0\"<>|(){}]"
    opening = "(?:<|(?i:&lt;))?[A-Za-z0-9]"
    return _rule(
        "address",
        f"{opening}{mail}*@(?:(?!\\.){mail})+(?:\\.(?:(?!\\.){mail})+)*>?",
        "<&" + _LETTERS + "0123456789",
        reach=f"{opening}{mail}*",
    )


def _address_rules() -> list[Rule]:
    """Return the rules for web addresses, names of users and tags of markup."""
    url = r"[^ \t\n\"<>|(){}]"
    end = r"[^ \t\n\"<>|(){}.!?,-]"
    path = f'/[^ \\t\\n"<>|()]+{end}'
    label = r"[^ \t\n\"<>|(){}.!?,]+"
    bare = "[#%&*+a-z~\x00\x85\u00a0-\uffff]+"
    return [
        _rule("address", f"https?://{url}+{end}", "hH", re.I),
        _rule("address", f"www\\.(?:{label}\\.)+[a-z]{{2,4}}{path}", "wW", re.I, reach=f"(?i:www)\\.(?:{label}\\.)*"),
        _rule("address", f"www\\.(?:{label}\\.)+[a-z]{{2,4}}", "wW", re.I, reach=f"(?i:www)\\.(?:{label}\\.)*"),
        _rule(
            "address",
            f"{bare}(?:\\.{bare})*\\.(?i:com|net|org|edu)(?:{path})?",
            "#%&*+~\x00\x85\u2003、‐٫\u00a0‘’“”‚‹›–…é©²₂½¼¾⅓⅔¢£€⁄\u0300٠\u00ad" + _LETTERS[26:],
            reach=f"{bare}(?:\\.{bare})*",
        ),
        _rule("word", "@[A-Za-z_][A-Za-z0-9_]*", "@"),
        _rule("address", f"#[{_INNER}]+", "#"),
        _rule("tag", _TAG, "<", until=">"),
        _rule("entity", r"&(?:amp|lt|gt|quot|apos|nbsp|[mn]dash|MD|#[0-9]+|HT|UR|LR|Q[CLR]|[oc]dq);", "&", re.I),
    ]


def _smiley_and_punctuation_rules() -> list[Rule]:
    eye = "[-^x=~<>']"
    return [
        _rule("smiley", r"[<>]?[:;=][-o*']?[()DPdpO\\{@|\[\]](?![A-Za-z0-9])", "<>:;="),
        _rule("smiley", rf"{eye}_{eye}|\({eye}[_.-]?{eye}\)", "(-^x=~<>'"),
        _rule("word", "-[LR][RCS]B-", "-", re.I),
        _rule("ellipsis", r"\.{3,5}|\.(?:[ \u00a0]\.){2,4}", "."),
        _rule("dash", "-{2,4}", "-"),
        _rule("quotes", "[`‘’“”‚‹›]{1,2}|''", "‘’“”‚‹›`'"),
        _rule("run", r"[!?]+|\*+|(?:\\\*)+|_+|#+|@+|-{5,}|<<|>>|²+|₂+", "!?*\\_#@-<>²₂"),
    ]


RULES: tuple[Rule, ...] = (
    _rule("blank", f"[{_BLANK}\u2003]+", f"{_BLANK}\u2003"),
    _mail_rule(),
    *_split_word_rules(),
    *_word_rules(),
    *_apostrophe_rules(),
    *_abbreviation_rules(),
    *_number_rules(),
    *_address_rules(),
    *_smiley_and_punctuation_rules(),
)
