"""The Penn Treebank tokenizer."""

from __future__ import annotations

from collections.abc import Sequence

from capreward.text.ptb_characters import SPACES, StandIns
from capreward.text.ptb_rules import RULES, Rule

REMOVED = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_SYMBOLS = {"–": "--", "…": "...", "“": "``", "”": "''", "‘": "`", "’": "'", '"': "''", "£": "#", "€": "$", "¢": "cents",
            "¼": "1/4", "½": "1/2", "¾": "3/4", "⅓": "1/3", "⅔": "2/3"}


def _table() -> dict[str, list[Rule]]:
    table: dict[str, list[Rule]] = {}
    for rule in RULES:
        for c in rule.starts:
            table.setdefault(c, []).append(rule)
    return table

TABLE = _table()

def _normal(token: str, kind: str, shadow: str) -> str:
    if token in _BRACKETS: return _BRACKETS[token]
    if shadow in _SYMBOLS: return _SYMBOLS[shadow]
    if kind == "dots": return "..."
    if kind == "dashes": return "--"
    if kind == "entity": return {"amp": "&", "lt": "<", "gt": ">", "quot": "''", "apos": "'"}[token[1:-1].lower()]
    if kind in ("clitic", "n't"):
        token = token.replace("’", "'").replace("&apos;", "'").replace("‘", "`")
    if kind == "ampersand": token = token.replace("&amp;", "&")
    return token.lower().replace("\u00ad", "").replace(" ", "\xa0") or "-"

def tokens(text: str) -> list[str]:
    """All."""
    text = text.translate(SPACES)
    shadow = text if text.isascii() and text.isprintable() else text.translate(StandIns())
    out = []
    pos, end = 0, len(text)
    while pos < end:
        c = shadow[pos]
        if c in " \xa0\x00‐٫":
            if c in " \xa0\x00" or not TABLE.get(c):
                pos += 1
                continue
        best, stop, kind = 1, pos + 1, "char"
        for rule in TABLE.get(c, ()):
            m = rule.pattern.match(shadow, pos)
            if m and m.end() - pos > best or m and kind == "char":
                best, kind = m.end() - pos, rule.name
                stop = m.end(m.lastindex) if m.lastindex else m.end()
        out.append(_normal(text[pos:stop], kind, shadow[pos:stop]))
        pos = stop
    return out


def tokenize(text: str) -> str:
    """One."""
    return " ".join(t for t in tokens(text) if t not in REMOVED)
