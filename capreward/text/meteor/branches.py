"""The best branches of a beam that has many states and many matches.

If a caption repeats a word, each such word of a reference has hundreds of matches. Each state of the beam branches into
all of them, but only the first :data:`BEAM` of the ranking are kept. Here all branches are ranked as one array, and
only those that are kept are built. The states and their order are the same as if all were built and sorted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from capreward.text.meteor.sentence import Match

BEAM = 40
MANY = 400  # with fewer branches than this, arrays take longer than building all branches
LONG = MANY // BEAM  # a reference position with this number of matches may have so many branches
FIRST = 1024  # the number of first branches whose best ones bound the cost of the best branches
LIMIT = 1 << 62  # costs are compared as 64-bit integers

State = tuple[int, int, int, int, Any]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Options:
    """The K matches that start at one reference position, as arrays.

    Attributes:
        matches: The matches in the order in which they are tried.
        start: The first candidate position of each match, [K].
        end: The position after the last candidate word of each match, [K].
        gain: The value of each match in the search, [K].
        single: True if every match covers one candidate word.
    """

    matches: Sequence[Match]
    start: Ints
    end: Ints
    gain: Ints
    single: bool

    @classmethod
    def of(cls, matches: Sequence[Match]) -> Options:
        """Make the arrays of some matches."""
        start, end, gain = np.array([(m.start, m.end, m.gain) for m in matches], dtype=np.int64).T
        return cls(matches, start, end, gain, bool((end - start == 1).all()))

    def free(self, used: Sequence[int]) -> npt.NDArray[np.bool_]:
        """Return which matches touch no used word in each state, [S, K].

        Args:
            used: The used candidate words of each of S states, as a bit set.
        """
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
    """Return the best :data:`BEAM` states after a reference position, the best first, the earlier of equals first.

    Args:
        states: The S states before the position, the best first.
        options: The matches that start at the position.
        position: The reference position.
        chunk: The cost of a chunk, which is larger than the cost of any distance.
        gain: The value of a matched word, which is larger than the cost of any number of chunks.

    Returns:
        The states, or None if their costs differ by more than 64 bits can hold.
    """
    base = states[0][0]
    if states[-1][0] - base + (int(options.gain.max()) + 1) * gain + 3 * chunk >= LIMIT:
        return None
    cost = np.array([state[0] - base for state in states], dtype=np.int64)[:, None]
    last = np.array([state[2] for state in states], dtype=np.int64)[:, None]
    inside = np.array([position < state[1] for state in states])
    free = options.free([state[3] for state in states])
    # The original adds the distance of a branch to the state that it branches from, so that the later branches have
    # it, and this one does not.
    distance = np.where(free, np.abs(options.start - position), 0)
    charged = np.cumsum(distance, axis=1)
    ranking = np.empty((len(states), len(options.matches) + 1), dtype=np.int64)
    branches = ranking[:, :-1]
    np.add(charged, cost - options.gain * gain, out=branches)
    branches -= distance
    branches += ((options.start != last) & (last >= 0)) * chunk
    branches[~free] = LIMIT
    ranking[:, -1] = cost[:, 0] + charged[:, -1] + chunk * (last[:, 0] >= 0)
    # Within a longer match, there is nothing to choose.
    ranking[inside, :-1] = LIMIT
    ranking[inside, -1] = cost[inside, 0]
    return [
        _build_state(states[place // ranking.shape[1]], options, place % ranking.shape[1], position, base + worth)
        for place, worth in _lowest_costs(ranking.ravel())
    ]


def _lowest_costs(ranking: Ints) -> list[tuple[int, int]]:
    """Return the places and values of the :data:`BEAM` lowest costs below :data:`LIMIT`, in stable order."""
    # Nearly all costs are higher than the best of the first ones, so they need not be sorted.
    bound = np.partition(ranking[:FIRST], BEAM - 1)[BEAM - 1] if len(ranking) > FIRST else LIMIT
    places = np.flatnonzero(ranking <= min(int(bound), LIMIT - 1))
    places = places[np.argsort(ranking[places], kind="stable")[:BEAM]]
    return list(zip(places.tolist(), ranking[places].tolist(), strict=True))


def _build_state(state: State, options: Options, choice: int, position: int, cost: int) -> State:
    _, index, _, used, chosen = state
    if position < index:
        return state
    if choice == len(options.matches):
        return cost, index, -1, used, chosen
    match = options.matches[choice]
    return cost, position + match.length, match.end, used | match.mask, (chosen, position, match)
