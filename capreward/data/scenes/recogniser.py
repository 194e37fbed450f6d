"""An exact recogniser of the captions' grammar: the rules as an automaton, whose states are found when needed."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from functools import lru_cache

from capreward.data.scenes.grammar_rules import JOINS, START, WRONG_ARTICLE, rules, vocabulary

_SYMBOL = re.compile(r"([A-Z_]+|[a-z]+)([?*]?)(?:\.([a-z]))?")
ACCEPT = 0


class Recogniser:
    """Tells whether a caption belongs to the language.

    The rules call each other without a circle, so a nondeterministic automaton is built from the end to the start; each
    rule is built once for each state that may follow it. Its sets of states become states of a deterministic automaton
    when a caption first leads there.
    """

    def __init__(self) -> None:
        self._words: list[dict[str, list[int]]] = [{}]
        self._empty: list[list[int]] = [[]]
        self._built: dict[tuple[str, int], int] = {}
        start = self._symbol(START, ACCEPT)
        self._sets: dict[frozenset[int], int] = {}
        self._steps: list[dict[str, int]] = []
        self._members: list[frozenset[int]] = []
        self._start = self._set({start})

    def accepts(self, words: list[str]) -> bool:
        """Whether the words, in lower case, form a caption; articles are taken for each other."""
        state = self._start
        for word in words:
            following = self._steps[state].get(word)
            if following is None:
                following = self._follow(state, word)
            state = following
        return ACCEPT in self._members[state]

    def _follow(self, state: int, word: str) -> int:
        targets = {t for s in self._members[state] for t in self._words[s].get(word, ())}
        following = self._set(targets)
        if word in vocabulary():  # else captions of ever new words would fill the memory
            self._steps[state][word] = following
        return following

    def _set(self, states: set[int]) -> int:
        """The number of a set of states, closed under steps without a word."""
        todo = list(states)
        while todo:
            for following in self._empty[todo.pop()]:
                if following not in states:
                    states.add(following)
                    todo.append(following)
        members = frozenset(states)
        if members not in self._sets:
            self._sets[members] = len(self._members)
            self._members.append(members)
            self._steps.append({})
        return self._sets[members]

    def _state(self) -> int:
        self._words.append({})
        self._empty.append([])
        return len(self._words) - 1

    def _symbol(self, symbol: str, after: int) -> int:
        """The state from which ``symbol`` leads to the state ``after``."""
        if (symbol, after) not in self._built:
            state = self._built[symbol, after] = self._state()
            for row in _alternatives(symbol):
                if row.isalpha() and row.islower():
                    self._words[state].setdefault(row, []).append(after)
                else:
                    self._empty[state] += [self._row(forms, after) for forms in agreeing(row)]
        return self._built[symbol, after]

    def _row(self, row: list[tuple[str, str]], after: int) -> int:
        for symbol, often in reversed(row):
            for _ in range(JOINS if often == "*" else 1):
                before = self._symbol(symbol, after)
                if often:
                    fork = self._state()
                    self._empty[fork] += [before, after]
                    before = fork
                after = before
        return after


def _alternatives(symbol: str) -> tuple[str, ...]:
    if symbol.islower():
        return (symbol,)
    stem, _, number = symbol.partition(".")
    return rules()[f"{stem}.s"] + rules()[f"{stem}.p"] if number == "any" else rules()[symbol]


@lru_cache(maxsize=4096)
def parsed(row: str) -> tuple[tuple[str, str, str], ...]:
    """The symbols of an alternative, commas too: name, ``?`` or ``*`` or nothing, and slot or nothing."""
    matches = [(word, _SYMBOL.fullmatch(word)) for word in row.split()]
    return tuple((m[1], m[2], m[3] or "") if m else (word, "", "") for word, m in matches)


def agreeing(row: str) -> list[list[tuple[str, str]]]:
    """The alternative with every choice of numbers for the slots on which something must agree.

    ``NP.s`` in the rules themselves stays as it is; a slot with one symbol alone becomes ``NP.any``.
    """
    symbols = [symbol for symbol in parsed(row) if symbol[0] != ","]
    uses = Counter(slot for _, _, slot in symbols if slot in ("a", "b", "c"))
    slots = sorted(slot for slot, times in uses.items() if times > 1)
    forms = []
    for numbers in itertools.product("sp", repeat=len(slots)):
        number = dict.fromkeys(uses, "any") | dict(zip(slots, numbers, strict=True))
        forms.append([(name + (f".{number.get(slot, slot)}" if slot else ""), often) for name, often, slot in symbols])
    return forms


@lru_cache(maxsize=1)
def recogniser() -> Recogniser:
    """The recogniser, built at the first call."""
    return Recogniser()


def is_grammatical(caption: str) -> bool:
    """Whether a caption is grammatical, as the rules define it.

    Case, commas and a final full stop are not judged. The whole language counts, also what no picture shows; a word
    from outside the vocabulary makes a caption ungrammatical.
    """
    words = caption.lower().replace(",", " ").strip().removesuffix(".").split()
    return bool(words) and not WRONG_ARTICLE.search(" ".join(words)) and recogniser().accepts(words)
