"""The states that a beam of many states and many matches branches into, the best of them only.

A caption that repeats a word has hundreds of matches for each such word of a reference, and each state of the beam
branches into all of them, though only the first :data:`BEAM` of the ranking live on. Here all branches are ranked as
one array and none but those is built: the same states in the same order as building all and sorting them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from capreward.text.meteor.sentence import Match

BEAM = 40
MANY = 400  # branches; below it, arrays take longer than building them all
LONG = MANY // BEAM  # matches of one reference position that may branch so
FIRST = 1024  # of the branches in order; the best of all are no worse than the best of these
LIMIT = 1 << 62  # costs are compared as 64-bit integers

State = tuple[int, int, int, int, Any]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Options:
    """The K matches that start at one reference position, as arrays.

    Attributes:
        matches: in the order they are tried.
        start: [K] first candidate position of each.
        end: [K] position after the last.
        gain: [K] what each counts for.
        single: whether all of them cover one candidate word.
    """

    matches: Sequence[Match]
    start: Ints
    end: Ints
    gain: Ints
    single: bool

    @classmethod
    def of(cls, matches: Sequence[Match]) -> Options:
        """Take the matches apart."""
        start, end, gain = np.array([(m.start, m.end, m.gain) for m in matches], dtype=np.int64).T
        return cls(matches, start, end, gain, bool((end - start == 1).all()))

    def free(self, used: Sequence[int]) -> npt.NDArray[np.bool_]:
        """Which matches touch no used word, [S, K], given the used words of each state as a bit set."""
        size = max(int(self.end.max()), *map(int.bit_length, used)) // 8 + 1
        taken = np.frombuffer(b"".join([bits.to_bytes(size, "little") for bits in used]), dtype=np.uint8)
        words = np.unpackbits(taken.reshape(len(used), size), axis=1, bitorder="little")
        if self.single:
            return np.asarray(words[:, self.start] == 0)
        before = np.zeros((len(used), words.shape[1] + 1), dtype=np.int32)
        np.cumsum(words, axis=1, out=before[:, 1:])
        return np.asarray(before[:, self.end] == before[:, self.start])


def best_branches(
    states: Sequence[State], options: Options, position: int, chunk: int, gain: int
) -> list[State] | None:
    """The best :data:`BEAM` states after a reference position, best first, the earlier of equals first.

    Args:
        states: S states, best first.
        options: the matches that start here.
        position: the reference position.
        chunk: the cost of a chunk, above that of any distance.
        gain: what a matched word is worth, above any number of chunks.

    Returns:
        The states, or None where their costs lie too far apart for 64 bits.
    """
    base = states[0][0]
    if states[-1][0] - base + (int(options.gain.max()) + 1) * gain + 3 * chunk >= LIMIT:
        return None
    cost = np.array([state[0] - base for state in states], dtype=np.int64)[:, None]
    last = np.array([state[2] for state in states], dtype=np.int64)[:, None]
    inside = np.array([position < state[1] for state in states])
    free = options.free([state[3] for state in states])
    # The original charges a branch's distance to the state it branches from: later branches carry it, not this one.
    distance = np.where(free, np.abs(options.start - position), 0)
    charged = np.cumsum(distance, axis=1)
    ranking = np.empty((len(states), len(options.matches) + 1), dtype=np.int64)
    branches = ranking[:, :-1]
    np.add(charged, cost - options.gain * gain, out=branches)
    branches -= distance
    branches += ((options.start != last) & (last >= 0)) * chunk
    branches[~free] = LIMIT
    ranking[:, -1] = cost[:, 0] + charged[:, -1] + chunk * (last[:, 0] >= 0)
    # Inside a longer match there is nothing to choose.
    ranking[inside, :-1] = LIMIT
    ranking[inside, -1] = cost[inside, 0]
    return [
        _built(states[place // ranking.shape[1]], options, place % ranking.shape[1], position, base + worth)
        for place, worth in _first(ranking.ravel())
    ]


def _first(ranking: Ints) -> list[tuple[int, int]]:
    """The places of the :data:`BEAM` lowest costs that are none of :data:`LIMIT`, and the costs, in stable order."""
    # Nearly all are worse than the best of the first ones and need not be sorted.
    bound = np.partition(ranking[:FIRST], BEAM - 1)[BEAM - 1] if len(ranking) > FIRST else LIMIT
    places = np.flatnonzero(ranking <= min(int(bound), LIMIT - 1))
    places = places[np.argsort(ranking[places], kind="stable")[:BEAM]]
    return list(zip(places.tolist(), ranking[places].tolist(), strict=True))


def _built(state: State, options: Options, choice: int, position: int, cost: int) -> State:
    _, index, _, used, chosen = state
    if position < index:
        return state
    if choice == len(options.matches):
        return cost, index, -1, used, chosen
    match = options.matches[choice]
    return cost, position + match.length, match.end, used | match.mask, (chosen, position, match)
