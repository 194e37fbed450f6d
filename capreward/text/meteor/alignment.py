"""The alignment of a candidate with a reference: the possible matches, the choice among them, and its 23 statistics."""

from __future__ import annotations

from collections.abc import Sequence

from capreward.text.meteor.alignment_search import best_alignment, fix_obvious
from capreward.text.meteor.sentence import EXACT, PARAPHRASE, Candidate, Match, Sentence


def align(candidate: Candidate, reference: Sentence) -> list[Match | None]:
    """Return METEOR's alignment of a candidate with one reference.

    Returns:
        The match that starts at each reference position, or None.
    """
    lists = possible_matches(candidate, reference)
    words = len(candidate.sentence.keys)
    fixed = fix_obvious(lists, words)
    free = any(matches and settled is None for matches, settled in zip(lists, fixed, strict=True))
    return best_alignment(lists, fixed, words) if free else fixed


def possible_matches(candidate: Candidate, reference: Sentence) -> list[list[Match]]:
    """Return every possible match of a candidate with a reference.

    Returns:
        One list of matches for each reference position at which they start, in the order in which they are tried.
    """
    make = candidate.make
    if candidate.sentence.keys == reference.keys:
        # Captions that are equal word for word have exact matches only.
        return [[make(EXACT, start, 1, 1) for start in candidate.exact[key]] for key in reference.keys]
    lists = list(map(candidate.__getitem__, reference.words))
    # References share the lists of single-word matches, so a list is copied when it is extended.
    theirs = candidate.places
    for position, length, node in reference.phrases:
        row = candidate.forward.get(node)
        if row is None or candidate.sentence.nodes.isdisjoint(row):
            continue
        found = [
            make(PARAPHRASE, start, words, length) for paraphrase in row for start, words in theirs.get(paraphrase, ())
        ]
        lists[position] = lists[position] + found
    related = [entry for entry in candidate.backward if not reference.nodes.isdisjoint(entry[2])]
    mine = reference.places() if related else {}
    added: dict[int, list[Match]] = {}
    for start, words, row in related:
        for paraphrase in row:
            for position, length in mine.get(paraphrase, ()):
                added.setdefault(position, []).append(make(PARAPHRASE, start, words, length))
    for position, found in added.items():
        lists[position] = lists[position] + found
    return lists


def statistics(candidate: Sentence, reference: Sentence, alignment: Sequence[Match | None]) -> list[int]:
    """Return the 23 counts from which a score is computed.

    Returns:
        The number of words of the candidate and of the reference, and of function words of both; for each of the four
        modules, the number of matched content words of both and of matched function words of both; the number of
        chunks; and the number of matched words of both.
    """
    ours = [word.function for word in candidate.words]
    theirs = [word.function for word in reference.words]
    counts = [0] * 23
    counts[:4] = len(ours), len(theirs), sum(ours), sum(theirs)
    behind = (-1, -1)
    for position, match in enumerate(alignment):
        if match is None:
            continue
        start, end, _, _, length, module = match
        base = 4 + 4 * module
        if end - start == length == 1:
            counts[base + 2 if ours[start] else base] += 1
            counts[base + 3 if theirs[position] else base + 1] += 1
        else:
            functions = sum(ours[start:end]), sum(theirs[position : position + length])
            counts[base] += end - start - functions[0]
            counts[base + 1] += length - functions[1]
            counts[base + 2] += functions[0]
            counts[base + 3] += functions[1]
        if behind != (position, start):
            counts[20] += 1
        behind = (position + length, end)
        counts[21] += end - start
        counts[22] += length
    return counts
