"""The lexer of the PTB tokenizer, which splits text into tokens, including punctuation."""

from __future__ import annotations

import re
from types import MappingProxyType

from capreward.text.ptb_case import lower
from capreward.text.ptb_characters import LINE_ENDS, StandIns, from_units, to_units
from capreward.text.ptb_rules import RULES, Rule
from capreward.text.ptb_words import FUSED

_SKIPPED = frozenset("\x00‐٫")  # these are dropped between tokens

_BRACKETS = MappingProxyType({"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"})

# The written form of a character that is a token of its own, by its stand-in.
_WRITTEN = MappingProxyType(
    {
        **{"–": "--", "…": "...", "\x85": "...", '"': "''", "\u00ad": "-", "£": "#", "€": "$", "¢": "cents"},
        **{"¼": "1/4", "½": "1/2", "¾": "3/4", "⅓": "1/3", "⅔": "2/3"},
        **{"‘": "`", "’": "'", "“": "``", "”": "''", "‹": "`", "›": "'"},
    }
)

_ENTITIES = MappingProxyType({"amp": "&", "lt": "<", "gt": ">", "nbsp": "", "mdash": "--", "ndash": "--", "md": "--"})
_ENTITY_LETTER = re.compile("&[aeiou](?:acute|grave|uml);", re.IGNORECASE)
_CURLY = str.maketrans({"’": "'", "\x92": "'", "‘": "`", "‛": "`", "\x91": "`"})

# Letters up to a blank, with or without a comma, are a word whatever follows; a single blank after them is consumed.
_QUICK = re.compile("([A-Za-zé]+)(,?)(?: (?=[!-~é])|(?=[ \n]))")
_FUSED = frozenset(first + rest for first, rest in FUSED)

_LOOK_AHEAD = 200  # characters of the next line that rules can see; the longest word they look for has twelve letters


def _rules_by_start() -> MappingProxyType[str, tuple[Rule, ...]]:
    starts = {character for rule in RULES for character in rule.starts}
    return MappingProxyType({c: tuple(rule for rule in RULES if c in rule.starts) for c in starts})


_RULES = _rules_by_start()


def _written_entity(token: str) -> str:
    """Decode ``&amp;`` in any case, but ``&quot;`` and ``&apos;`` only in lower case, like the original."""
    plain = {"&quot;": "''", "&apos;": "'"}.get(token)
    return _ENTITIES.get(token[1:-1].lower(), token.lower()) if plain is None else plain


def _written_form(token: str, kind: str, shadow: str) -> str:
    """Return the token as the tokenizer prints it; empty for a token that it drops."""
    match kind:
        case "character":
            return _BRACKETS.get(token) or _WRITTEN.get(shadow) or token.lower()
        case "ellipsis":
            return "..."
        case "dash":
            return "--"
        case "quotes":
            return "".join(_WRITTEN.get(s, t) for s, t in zip(shadow, token, strict=True))
        case "entity":
            return _written_entity(token)
        case "clitic":
            token = token.translate(_CURLY).replace("&apos;", "'")
        case "ampersand":
            token = re.sub("&amp;", "&", token, flags=re.IGNORECASE)
        case "smiley" | "phone":
            token = token.replace("(", "-lrb-").replace(")", "-rrb-")
        case "address" | "tag":
            return lower(token.replace(" ", "\u00a0"))
    return lower(token).replace("\u00ad", "").replace(" ", "\u00a0").replace("\t", "\u00a0") or "-"


def _mask_entity(match: re.Match[str]) -> str:
    r"""Replace &Eacute;, which is one letter: \x03 for the ampersand, \x02 or \x01 for letters, \x04 for the end."""
    return "\x03" + "".join("\x02" if c.isupper() else "\x01" for c in match[0][1:-1]) + "\x04"


def _stand_ins(text: str) -> str:
    shadow = text if text.isascii() and text.isprintable() else text.translate(StandIns())
    if "&" in shadow:
        shadow = _ENTITY_LETTER.sub(_mask_entity, shadow)
    return shadow


class _FailedPlaces:
    """Remembers for each rule up to which place in this text it cannot match, which keeps the lexer linear."""

    def __init__(self, shadow: str) -> None:
        self._shadow = shadow
        self._until: dict[int, int] = {}

    def __contains__(self, place: tuple[Rule, int]) -> bool:
        rule, position = place
        return self._until.get(id(rule), 0) > position

    def add(self, rule: Rule, position: int) -> None:
        """Note that a rule failed at a position."""
        if rule.until and self._shadow.find(rule.until, position) < 0:
            self._until[id(rule)] = len(self._shadow)
        elif rule.reach and (match := rule.reach.match(self._shadow, position)):
            self._until[id(rule)] = match.end()


def _longest_token(shadow: str, position: int, hopeless: _FailedPlaces) -> tuple[int, str]:
    """Return the end and the kind of the token that starts at a position."""
    best, stop, kind = position, position + 1, "character"
    for rule in _RULES.get(shadow[position], ()):
        if (rule, position) in hopeless:
            continue
        match = rule.pattern.match(shadow, position)
        if match is None:
            if rule.reach or rule.until:
                hopeless.add(rule, position)
        elif match.end() > best:
            best, kind = match.end(), rule.name
            stop = match.end(match.lastindex or 0)
    return stop, kind


def tokens(text: str, following: str = "") -> list[str]:
    """Split one line into the tokens of the PTB tokenizer, in lower case, punctuation included.

    Args:
        text: The line; a character within it that ends a line counts as a space.
        following: The next line of the same file. The original looks past the end of a line that ends in a single
            letter and a dot, or in "No.": whether the dot ends a sentence depends on the next word.

    Returns:
        The tokens. They differ from the original's in two points, which the removal of punctuation hides: all straight
        quotes are written as closing ones, and the extra full stop after an abbreviation that ends a sentence is left
        out.
    """
    text = text.translate(LINE_ENDS)
    wide = not text.isascii() and max(text) > "\uffff"
    if wide:
        text = to_units(text)
    end = len(text)
    shadow = _stand_ins(text) + "\n" + _stand_ins(following[:_LOOK_AHEAD].translate(LINE_ENDS))
    hopeless = _FailedPlaces(shadow)
    found = []
    position = 0
    while position < end:
        if quick := _QUICK.match(shadow, position):
            word = text[position : quick.end(1)]
            if word.lower() not in _FUSED:
                found.append(lower(word))
                if quick[2]:
                    found.append(",")
                position = quick.end()
                continue
        stop, kind = _longest_token(shadow, position, hopeless)
        if not (kind == "blank" or (kind == "character" and shadow[position] in _SKIPPED)):
            piece = text[position:stop]
            token = _written_form(from_units(piece) if wide else piece, kind, shadow[position:stop])
            if token:
                found.append(token)
        position = stop
    return found
