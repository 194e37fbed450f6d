"""The beam search that picks one alignment among the possible matches.

A state is a tuple (cost, index, last, used, chosen): ``index`` is the first reference position behind the latest match,
``last`` the candidate position behind it while the chunk is open (-1 when it is closed), ``used`` the bit set of
candidate positions taken by free matches, ``chosen`` a linked list (earlier, position, match). ``cost`` packs the
ranking (matched words descending, chunks ascending, distance ascending) into one integer.

Matches fixed beforehand touch no other match, so their positions need no bookkeeping, and no state can run dry.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

from capreward.text.meteor.branches import BEAM, LONG, MANY, Options, State, best_branches
from capreward.text.meteor.sentence import Match

_cost = itemgetter(0)


def fix_obvious(lists: Sequence[Sequence[Match]], words: int) -> list[Match | None]:
    """Matches that compete with no other: alone in their list, and on positions that no other match covers.

    Args:
        lists: per reference position, the matches that start there; a list that several positions share holds single
            words.
        words: length of the candidate.
    """
    size = len(lists)
    reference, candidate = [0] * size, [0] * words
    seen: set[int] = set()
    for position, matches in enumerate(lists):
        if len(matches) >= LONG:
            # Where it competes is known from the first time that it is met.
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
        lists: per reference position, the matches that start there, in the order they are tried.
        fixed: the matches already settled.
        words: length of the candidate.

    Returns:
        Per reference position, the match that starts there.
    """
    size = len(lists)
    # No state is charged more distance than this, so that none outweighs a chunk, nor all chunks a matched word.
    chunk = sum(map(len, lists)) * max(size, words) + 1
    gain = chunk * (size + 2)
    states: list[State] = [(0, 0, -1, 0, None)]
    known: dict[int, Options] = {}  # equal words of the reference share one list
    for position, matches in enumerate(lists):
        if len(states) > 1:
            _narrow(states)
        settled = fixed[position]
        if settled is not None:
            states = _take(states, settled, position, chunk, gain)
        elif not matches:
            states = _skip(states, position, chunk)
        elif len(states) * len(matches) < MANY:
            states = _branch(states, matches, position, chunk, gain)
        else:
            options = known.get(id(matches)) or known.setdefault(id(matches), Options.of(matches))
            best = best_branches(states, options, position, chunk, gain)
            states = _branch(states, matches, position, chunk, gain) if best is None else best
    _narrow(states)
    # Closing the open chunk is part of the last ranking; min, like a stable sort, prefers the earlier of equals.
    chosen = min(states, key=lambda state: state[0] + (chunk if state[2] >= 0 else 0))[4]
    alignment = list(fixed)
    while chosen is not None:
        chosen, position, match = chosen
        alignment[position] = match
    return alignment


def _narrow(states: list[State]) -> None:
    states.sort(key=_cost)
    del states[BEAM:]


def _skip(states: list[State], position: int, chunk: int) -> list[State]:
    return [
        state if state[2] < 0 or position < state[1] else (state[0] + chunk, state[1], -1, state[3], state[4])
        for state in states
    ]


def _take(states: list[State], match: Match, position: int, chunk: int, gain: int) -> list[State]:
    start, end, _, weight, length, _ = match
    step = abs(position - start) - weight * gain
    index = position + length
    return [
        (cost + step if last < 0 or last == start else cost + step + chunk, index, end, used, chosen)
        for cost, _, last, used, chosen in states
    ]


def _branch(states: list[State], matches: Sequence[Match], position: int, chunk: int, gain: int) -> list[State]:
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
            # The original charges the distance to the state it branches from: later branches carry it, not this one.
            cost += distance
        out.append((cost + chunk, index, -1, used, chosen) if last >= 0 else (cost, index, -1, used, chosen))
    return out
