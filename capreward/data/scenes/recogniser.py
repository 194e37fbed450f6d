"""An exact recogniser of the captions' grammar: an automaton of the rules, whose states are built when needed."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from functools import lru_cache

from capreward.data.scenes.grammar_rules import JOINS, START, WRONG_ARTICLE, rules, vocabulary

_SYMBOL = re.compile(r"([A-Z_]+|[a-z]+)([?*]?)(?:\.([a-z]))?")
ACCEPT = 0


class Recogniser:
    """Recognises whether a caption belongs to the language.

    The rules do not refer to each other in a circle, so a nondeterministic automaton is built from the end to the
    start; each rule is built once for each state that may follow it. A set of its states becomes a state of a
    deterministic automaton when a caption first reaches it.
    """

    def __init__(self) -> None:
        self._words: list[dict[str, list[int]]] = [{}]
        self._empty: list[list[int]] = [[]]
        self._built: dict[tuple[str, int], int] = {}
        start = self._build_symbol(START, ACCEPT)
        self._sets: dict[frozenset[int], int] = {}
        self._steps: list[dict[str, int]] = []
        self._members: list[frozenset[int]] = []
        self._start = self._state_of_set({start})

    def accepts(self, words: list[str]) -> bool:
        """Return whether the words, in lower case, form a caption; "a" and "an" are not distinguished."""
        state = self._start
        for word in words:
            following = self._steps[state].get(word)
            if following is None:
                following = self._add_step(state, word)
            state = following
        return ACCEPT in self._members[state]

    def _add_step(self, state: int, word: str) -> int:
        targets = {t for s in self._members[state] for t in self._words[s].get(word, ())}
        following = self._state_of_set(targets)
        if word in vocabulary():  # otherwise captions with many unknown words would fill the memory
            self._steps[state][word] = following
        return following

    def _state_of_set(self, states: set[int]) -> int:
        """Return the number of a set of states, after adding all states that are reached without a word."""
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

    def _new_state(self) -> int:
        self._words.append({})
        self._empty.append([])
        return len(self._words) - 1

    def _build_symbol(self, symbol: str, after: int) -> int:
        """Return the state from which ``symbol`` leads to the state ``after``."""
        if (symbol, after) not in self._built:
            state = self._built[symbol, after] = self._new_state()
            for row in _alternatives(symbol):
                if row.isalpha() and row.islower():
                    self._words[state].setdefault(row, []).append(after)
                else:
                    self._empty[state] += [self._build_row(forms, after) for forms in agreeing_forms(row)]
        return self._built[symbol, after]

    def _build_row(self, row: list[tuple[str, str]], after: int) -> int:
        for symbol, often in reversed(row):
            for _ in range(JOINS if often == "*" else 1):
                before = self._build_symbol(symbol, after)
                if often:
                    fork = self._new_state()
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
def parse_row(row: str) -> tuple[tuple[str, str, str], ...]:
    """Return the symbols of an alternative, including commas, as triples.

    A triple holds the name of the symbol, ``?``, ``*`` or nothing, and the slot or nothing.
    """
    matches = [(word, _SYMBOL.fullmatch(word)) for word in row.split()]
    return tuple((m[1], m[2], m[3] or "") if m else (word, "", "") for word, m in matches)


def agreeing_forms(row: str) -> list[list[tuple[str, str]]]:
    """Return the forms of an alternative: one for each choice of singular or plural in the slots that need agreement.

    A slot needs agreement if two or more symbols have it; the slot of one symbol alone becomes ``NP.any``. ``NP.s`` in
    the rules stays as it is.
    """
    symbols = [symbol for symbol in parse_row(row) if symbol[0] != ","]
    uses = Counter(slot for _, _, slot in symbols if slot in ("a", "b", "c"))
    slots = sorted(slot for slot, times in uses.items() if times > 1)
    forms = []
    for numbers in itertools.product("sp", repeat=len(slots)):
        number = dict.fromkeys(uses, "any") | dict(zip(slots, numbers, strict=True))
        forms.append([(name + (f".{number.get(slot, slot)}" if slot else ""), often) for name, often, slot in symbols])
    return forms


@lru_cache(maxsize=1)
def recogniser() -> Recogniser:
    """Return the recogniser, which is built at the first call."""
    return Recogniser()


def is_grammatical(caption: str) -> bool:
    """Return whether a caption is grammatical by the rules.

    Case, commas and a final full stop do not matter. The whole language counts, also captions that fit no picture; a
    word that is not in the vocabulary makes a caption ungrammatical.
    """
    words = caption.lower().replace(",", " ").strip().removesuffix(".").split()
    return bool(words) and not WRONG_ARTICLE.search(" ".join(words)) and recogniser().accepts(words)
