"""The Penn Treebank tokenizer."""

from __future__ import annotations

import re
from types import MappingProxyType

from capreward.text.ptb_characters import LINE_ENDS, StandIns
from capreward.text.ptb_rules import RULES, Rule

REMOVED = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])

_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_SYMBOLS = {
    "–": "--", "…": "...", '"': "''", "£": "#", "€": "$", "¢": "cents", "\u00ad": "-",
    "¼": "1/4", "½": "1/2", "¾": "3/4", "⅓": "1/3", "⅔": "2/3",
    "‘": "`", "’": "'", "“": "``", "”": "''", "‹": "`", "›": "'",
}
_ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "quot": "''", "apos": "'", "nbsp": "", "mdash": "--", "ndash": "--", "md": "--"}
_ENTITY_LETTER = re.compile("&[aeiou](?:acute|grave|uml);", re.IGNORECASE)
_SKIPPED = frozenset(" \t\u00a0\x00‐٫")


def _table() -> MappingProxyType[str, tuple[Rule, ...]]:
    starts = {c for rule in RULES for c in rule.starts}
    return MappingProxyType({c: tuple(rule for rule in RULES if c in rule.starts) for c in starts})

TABLE = _table()

def _written(token: str, kind: str, shadow: str) -> str:
    if kind == "char":
        return _BRACKETS.get(token) or _SYMBOLS.get(shadow) or token.lower()
    if kind == "ellipsis": return "..."
    if kind == "dash": return "--"
    if kind == "quotes":
        return "".join(_SYMBOLS.get(s, t) for s, t in zip(shadow, token))
    if kind == "entity":
        name = token[1:-1]
        return _ENTITIES.get(name if name.lower() in ("quot", "apos") else name.lower(), token.lower())
    if kind == "clitic":
        token = (token.replace("&apos;", "'").replace("\x91","`").replace("\x92","'").replace("’", "'").replace("‘", "`").replace("‛","`").replace("‹","`").replace("›","'"))
    if kind == "ampersand": token = re.sub("&amp;", "&", token, flags=2)
    if kind in ("smiley", "phone"):
        token = token.replace("(", "-lrb-").replace(")", "-rrb-")
    if kind in ("url", "email", "file"):
        return token.lower().replace(" ", "\u00a0")
    return token.lower().replace("\u00ad", "").replace(" ", "\u00a0") or "-"


def tokens(text: str) -> list[str]:
    """All."""
    text = text.translate(LINE_ENDS)
    shadow = text if text.isascii() and text.isprintable() else text.translate(StandIns())
    if "&" in shadow:
        shadow = _ENTITY_LETTER.sub(lambda m: "\u0300" * len(m[0]), shadow)
    shadow += "\n"
    out = []
    hopeless: dict[int, int] = {}
    pos, end = 0, len(text)
    while pos < end:
        c = shadow[pos]
        best, stop, kind = 0, pos + 1, "char"
        for rule in TABLE.get(c, ()):
            if hopeless and hopeless.get(id(rule), 0) > pos:
                continue
            m = rule.pattern.match(shadow, pos)
            if m is None:
                if rule.until and shadow.find(rule.until, pos) < 0:
                    hopeless[id(rule)] = end
                elif rule.reach and (r := rule.reach.match(shadow, pos)):
                    hopeless[id(rule)] = r.end()
            elif m.end() - pos > best:
                best, kind = m.end() - pos, rule.name
                stop = m.end(m.lastindex) if m.lastindex else m.end()
        if kind == "char" and c in _SKIPPED:
            pos += 1
            continue
        t = _written(text[pos:stop], kind, shadow[pos:stop])
        if t: out.append(t)
        pos = stop
    return out


def tokenize(text: str) -> str:
    """One."""
    return " ".join(t for t in tokens(text) if t not in REMOVED)
