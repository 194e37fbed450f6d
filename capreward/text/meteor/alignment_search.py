"""The beam search that chooses one alignment among the possible matches.

A state is a tuple (cost, index, last, used, chosen):

- ``cost`` packs the ranking (matched words descending, chunks ascending, distance ascending) into one integer;
- ``index`` is the first reference position after the latest match;
- ``last`` is the candidate position after the latest match while the chunk is open, and -1 when it is closed;
- ``used`` is the bit set of candidate positions that free matches take;
- ``chosen`` is a linked list (earlier, position, match).

Matches that are fixed beforehand touch no other match, so ``used`` need not hold their positions, and every state can
go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

from capreward.text.meteor.branches import BEAM, LONG, MANY, Options, State, best_branches
from capreward.text.meteor.sentence import Match

_cost = itemgetter(0)


def fix_obvious(lists: Sequence[Sequence[Match]], words: int) -> list[Match | None]:
    """Return the matches that compete with no other match.

    Such a match is alone in its list, and no other match covers one of its positions.

    Args:
        lists: The matches that start at each reference position; a list that several positions share holds matches of
            single words.
        words: The number of words of the candidate.

    Returns:
        The fixed match that starts at each reference position, or None.
    """
    size = len(lists)
    reference, candidate = [0] * size, [0] * words
    seen: set[int] = set()
    for position, matches in enumerate(lists):
        if len(matches) >= LONG:
            # A shared list is counted once, which is enough to find the matches that compete with it.
            if id(matches) in seen:
                continue
            seen.add(id(matches))
        for start, end, _, _, length, _ in matches:
            candidate[start] += 1
            reference[position] += 1
            for covered in range(start + 1, end):
                candidate[covered] += 1
            for covered in range(position + 1, position + length):
                reference[covered] += 1
    fixed: list[Match | None] = [None] * size
    for position, matches in enumerate(lists):
        if len(matches) == 1:
            start, end, _, _, length, _ = matches[0]
            if max(candidate[start:end]) == 1 and max(reference[position : position + length]) == 1:
                fixed[position] = matches[0]
    return fixed


def best_alignment(lists: Sequence[Sequence[Match]], fixed: Sequence[Match | None], words: int) -> list[Match | None]:
    """Choose a consistent set of matches.

    Args:
        lists: The matches that start at each reference position, in the order in which they are tried.
        fixed: The matches that are fixed already, as :func:`fix_obvious` returns them.
        words: The number of words of the candidate.

    Returns:
        The match that starts at each reference position, or None.
    """
    size = len(lists)
    # No state has more distance than this, so no distance outweighs a chunk, and all chunks do not outweigh a word.
    chunk = sum(map(len, lists)) * max(size, words) + 1
    gain = chunk * (size + 2)
    states: list[State] = [(0, 0, -1, 0, None)]
    known: dict[int, Options] = {}  # by the list of matches, which equal words of the reference share
    for position, matches in enumerate(lists):
        if len(states) > 1:
            _keep_best(states)
        settled = fixed[position]
        if settled is not None:
            states = _take_fixed_match(states, settled, position, chunk, gain)
        elif not matches:
            states = _skip_position(states, position, chunk)
        elif len(states) * len(matches) < MANY:
            states = _branch_states(states, matches, position, chunk, gain)
        else:
            options = known.get(id(matches)) or known.setdefault(id(matches), Options.of(matches))
            best = best_branches(states, options, position, chunk, gain)
            states = _branch_states(states, matches, position, chunk, gain) if best is None else best
    _keep_best(states)
    # The last ranking includes the closing of the open chunk; min, like a stable sort, prefers the earlier of equals.
    chosen = min(states, key=lambda state: state[0] + (chunk if state[2] >= 0 else 0))[4]
    alignment = list(fixed)
    while chosen is not None:
        chosen, position, match = chosen
        alignment[position] = match
    return alignment


def _keep_best(states: list[State]) -> None:
    states.sort(key=_cost)
    del states[BEAM:]


def _skip_position(states: list[State], position: int, chunk: int) -> list[State]:
    return [
        state if state[2] < 0 or position < state[1] else (state[0] + chunk, state[1], -1, state[3], state[4])
        for state in states
    ]


def _take_fixed_match(states: list[State], match: Match, position: int, chunk: int, gain: int) -> list[State]:
    start, end, _, weight, length, _ = match
    step = abs(position - start) - weight * gain
    index = position + length
    return [
        (cost + step if last < 0 or last == start else cost + step + chunk, index, end, used, chosen)
        for cost, _, last, used, chosen in states
    ]


def _branch_states(states: list[State], matches: Sequence[Match], position: int, chunk: int, gain: int) -> list[State]:
    options = [
        (m.start, m.end, m.mask, m.gain * gain, position + m.length, abs(position - m.start), m) for m in matches
    ]
    out: list[State] = []
    for state in states:
        cost, index, last, used, chosen = state
        if position < index:
            out.append(state)
            continue
        for start, end, mask, worth, behind, distance, match in options:
            if used & mask:
                continue
            opened = chunk if last >= 0 and last != start else 0
            out.append((cost - worth + opened, behind, end, used | mask, (chosen, position, match)))
            # The original adds the distance to the state that it branches from: later branches have it, this one does
            # not.
            cost += distance
        out.append((cost + chunk, index, -1, used, chosen) if last >= 0 else (cost, index, -1, used, chosen))
    return out
