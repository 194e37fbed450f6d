"""Beam search and diverse beam search against a plain implementation of their rules (dico.md 2.5; clipreward.md 3.1)."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from decoding_helpers import Table, Words, table_memory

from trainers.decoding import beam_search, diverse_beam_search
from trainers.decoding.hypotheses import Hypotheses

NEVER = np.float32(-1e9)


def plain_search(
    logprobs, words, *, beams, max_length, length_penalty=1.0, min_length=0, forbidden=(), groups=1, diversity=0.5
):
    """All finished captions of one image, best first, as (score, tokens): lists, one step after the other.

    ``logprobs(tokens)`` gives the float32 log-probabilities of the next token.
    """
    width = beams // groups
    searches = [Search(width, words, length_penalty) for _ in range(groups)]
    for length in range(1, max_length):
        taken = []
        for search in searches:
            if not search.done:
                search.step(length, logprobs, min_length, forbidden, taken, np.float32(diversity))
                taken += [beam["tokens"][-1] for beam in search.running]
        if all(search.done for search in searches):
            break
    finished = []
    for search in searches:
        if not search.done:
            for beam in search.running:
                search.finish(beam, max_length, beam["tokens"])
        finished += search.finished
    return sorted(finished, key=lambda found: -found["own"])


class Search:
    """One group of beams of one image."""

    def __init__(self, width, words, length_penalty):
        self.width, self.words, self.length_penalty = width, words, length_penalty
        self.running = [
            {"score": np.float32(0) if b == 0 else NEVER, "own": np.float32(0), "tokens": [words.bos]}
            for b in range(width)
        ]
        self.finished, self.done = [], False

    def step(self, length, logprobs, min_length, forbidden, taken, diversity):
        candidates = []
        for beam in self.running:
            row = logprobs(beam["tokens"])
            for token in range(self.words.size):
                if token in forbidden or (token == self.words.eos and length < min_length):
                    continue
                score = beam["score"] + row[token]
                score = score - diversity * np.float32(taken.count(token))
                candidates.append({"score": score, "own": beam["own"] + row[token], "tokens": [*beam["tokens"], token]})
        candidates = sorted(candidates, key=lambda found: -found["score"])[: 2 * self.width]
        self.running = []
        for rank, found in enumerate(candidates):
            if found["tokens"][-1] != self.words.eos:
                self.running.append(found)
            elif rank < self.width:
                self.finish(found, length, found["tokens"])
            if len(self.running) == self.width:
                break
        if len(self.finished) == self.width:
            worst = min(found["score"] for found in self.finished)
            self.done = bool(worst >= candidates[0]["score"] / np.float32(length**self.length_penalty))

    def finish(self, beam, counted, tokens):
        norm = np.float32(counted**self.length_penalty)
        self.finished.append({"score": beam["score"] / norm, "own": beam["own"] / norm, "tokens": tokens})
        self.finished = sorted(self.finished, key=lambda found: -found["score"])[: self.width]


def random_table(seed, images, size, eos, places=61):
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(images, places, size, generator=generator) * 2
    table[:, :, eos] += torch.rand(images, 1, generator=generator) * 10 - 6
    return table


def next_logprobs(captioner, image):
    """What the plain search asks for, from the same table."""
    table = captioner.table[image].log_softmax(-1).numpy()

    def logprobs(tokens):
        place = 0
        for token in tokens:
            place = captioner.next(place, token)
        return table[place]

    return logprobs


def check_equal(found, image, expected, words):
    tokens = found.tokens[image].tolist()
    for k, wanted in enumerate(expected[: len(tokens)]):
        row = wanted["tokens"]
        assert tokens[k] == row + [words.pad] * (len(tokens[k]) - len(row))
        assert found.lengths[image, k] == len(row) - 1
        assert found.finished[image, k] == (row[-1] == words.eos)
        assert found.scores[image, k].item() == pytest.approx(float(wanted["own"]), rel=1e-5, abs=1e-6)


def compare(seed, images, *, groups=None):
    draw = random.Random(seed)
    words = Words(draw.choice([24, 40]), *draw.sample(range(24), 3))
    captioner = Table(random_table(seed, images, words.size, words.eos), words)
    groups = groups or 1
    settings = {
        "beams": groups * (draw.choice([1, 2, 3, 5]) if groups == 1 else draw.choice([1, 2])),
        "max_length": draw.choice([2, 3, 6, 12]),
        "length_penalty": draw.choice([0.0, 0.5, 1.0, 1.5]),
    }
    settings["min_length"] = draw.choice([0, 0, settings["max_length"] - 1])
    suppress = draw.random() < 0.5
    order = draw.sample(range(images), images)
    extra = {"groups": groups, "diversity": draw.choice([0.0, 0.5, 2.0])} if groups > 1 else {}
    method = diverse_beam_search if groups > 1 else beam_search
    found = method(captioner, table_memory(order), candidates=settings["beams"], suppress=suppress, **settings, **extra)
    forbidden = {words.bos, words.pad} - {words.eos} if suppress else ()
    for place, image in enumerate(order):
        expected = plain_search(next_logprobs(captioner, image), words, forbidden=forbidden, **settings, **extra)
        check_equal(found, place, expected, words)
    return found.lengths.flatten().tolist()


@pytest.mark.parametrize("seed", range(8))
def test_beam_search_follows_the_rules(seed):
    lengths = []
    for part in range(6):
        lengths += compare(10 * seed + part, images=22)
    assert len(set(lengths)) >= 4


@pytest.mark.parametrize("groups", [2, 3, 5])
def test_diverse_beam_search_follows_the_rules(groups):
    for seed in range(4):
        assert compare(1000 + seed, images=8, groups=groups)


# Hand-made captioners: what may follow, by the tokens so far; log-probabilities are made of given probabilities.

WORDS = Words(size=20, bos=17, eos=18, pad=19)


class Told(Table):
    """Probabilities are told by the tokens so far; what is left is shared evenly by tokens 10 to 16."""

    def __init__(self, told, words=WORDS):
        super().__init__(torch.zeros(1, 1, words.size), words)
        self.told, self.rows = told, None

    def start(self, memory, longest):
        cache = super().start(memory, longest)
        cache.tokens = [()] * len(memory)
        cache.reorder = lambda rows: setattr(cache, "tokens", [cache.tokens[i] for i in rows.tolist()])
        return cache

    def step(self, cache, tokens):
        cache.tokens = [(*old, new) for old, new in zip(cache.tokens, tokens.tolist(), strict=True)]
        return torch.stack([self.logits(old[1:]) for old in cache.tokens])

    def logits(self, tokens):
        told = self.told(tokens)
        rest = (1 - sum(told.values())) / 7
        row = torch.full((self.vocabulary.size,), 1e-12)
        for token, probability in [*((t, rest) for t in range(10, 17)), *told.items()]:
            row[token] = probability
        return row.log()


E = WORDS.eos


def told_search(told, **settings):
    return beam_search(Told(told), table_memory([0]), suppress=False, **settings)


def texts(found, image=0):
    return [
        row[1 : 1 + length]
        for row, length in zip(found.tokens[image].tolist(), found.lengths[image].tolist(), strict=True)
    ]


def test_an_end_token_outside_the_best_beams_is_dropped():
    def told(tokens):
        return {1: 0.5, 2: 0.3, E: 0.15} if not tokens else {E: 0.9}

    found = told_search(told, beams=2, candidates=2, max_length=6, length_penalty=0.0)
    assert texts(found) == [[1, E], [2, E]]  # the caption of no words ranked third at the first step
    found = told_search(told, beams=3, candidates=3, max_length=6, length_penalty=0.0)
    assert texts(found) == [[1, E], [2, E], [E]]


def test_all_beams_end_at_once():
    found = told_search(
        lambda tokens: {1: 0.4, 2: 0.35} if not tokens else {E: 0.999}, beams=2, candidates=2, max_length=9
    )
    assert texts(found) == [[1, E], [2, E]]
    expected = torch.tensor([0.4 * 0.999, 0.35 * 0.999]).log() / 2
    torch.testing.assert_close(found.scores[0], expected)
    assert found.tokens.shape == (1, 2, 3)


def test_unfinished_captions_are_divided_by_one_token_more():
    told = {(): {1: 0.6, 2: 0.3}}
    found = told_search(lambda tokens: told.get(tokens, {3: 0.9}), beams=2, candidates=2, max_length=4)
    assert texts(found) == [[1, 3, 3], [2, 3, 3]]
    assert not found.finished.any()
    total = torch.tensor([0.6 * 0.81, 0.3 * 0.81]).log()
    torch.testing.assert_close(found.scores[0], total / 4)
    theirs = told_search(
        lambda tokens: told.get(tokens, {3: 0.9}), beams=2, candidates=2, max_length=4, rules="transformers"
    )
    torch.testing.assert_close(theirs.scores[0], total / 3)


@pytest.mark.parametrize("rules, words", [("dico", 2), ("transformers", 1)])
def test_the_search_ends_when_no_beam_can_become_better(rules, words):
    """Better continuations that come later are not looked for.

    After two tokens both captions are finished. DiCO's rules compare the worst with the best candidate of the step,
    which is one that has just ended, and go on; those of transformers compare it with the best beam that goes on.
    """
    asked = []

    def told(tokens):
        asked.append(len(tokens))
        return {1: 0.5, 2: 0.4} if not tokens else {E: 0.95} if len(tokens) == 1 else {3: 0.999}

    found = told_search(told, beams=2, candidates=2, max_length=20, rules=rules)
    assert texts(found) == [[1, E], [2, E]]
    assert max(asked) == words


def test_the_search_goes_on_while_the_best_candidate_beats_the_worst():
    def told(tokens):
        if not tokens:
            return {1: 0.6, E: 0.3}
        return {1: {E: 0.1, 2: 0.85}, 2: {3: 0.99}, 3: {E: 0.97}}.get(tokens[-1], {})

    found = told_search(told, beams=2, candidates=2, max_length=10)
    assert texts(found)[0] == [1, 2, 3, E]
    assert found.finished.all()


def test_of_equals_the_first_beam_and_then_the_first_token_come_first():
    def told(tokens):
        return {4: 0.45, 2: 0.45} if not tokens else {7: 0.49, 5: 0.49} if len(tokens) == 1 else {E: 0.98}

    found = told_search(told, beams=4, candidates=4, max_length=8)
    assert texts(found) == [[2, 5, E], [2, 7, E], [4, 5, E], [4, 7, E]]
    assert len(set(found.scores[0].tolist())) == 1


def test_of_equals_the_caption_that_ended_first_stays():
    kept = Hypotheses((1, 1, 2, 3), 0, torch.device("cpu"))

    def add(scores, tokens, length):
        rows = torch.tensor([[[token] * 3 for token in tokens]])
        scores = torch.tensor([scores])
        kept.add(0, scores, scores - 1, rows, length, torch.tensor([[True, False]]))

    add([-2.0, -torch.inf], [5, 6], 1)
    assert kept.worst(0).item() == -torch.inf
    add([-2.0, -3.0], [7, 8], 2)
    add([-2.0, -2.0], [9, 10], 3)
    assert kept.tokens[0, 0, :, 0].tolist() == [5, 7]
    assert kept.lengths.tolist() == [[[1, 2]]]
    assert kept.own.tolist() == [[[-3.0, -3.0]]]
    add([-1.0, -1.5], [11, 12], 4)
    assert kept.tokens[0, 0, :, 0].tolist() == [11, 12]
    assert kept.ended.tolist() == [[[True, False]]]
    assert kept.worst(0).item() == -1.5


def test_begin_and_padding_are_not_written_unless_wanted():
    def told(tokens):
        return {WORDS.bos: 0.5, WORDS.pad: 0.3, 1: 0.1, E: 0.05} if not tokens else {E: 0.9}

    free = beam_search(Told(told), table_memory([0]), beams=2, candidates=2, max_length=5, suppress=False)
    assert [row[0] for row in texts(free)] == [WORDS.bos, WORDS.pad]
    held = beam_search(Told(told), table_memory([0]), beams=2, candidates=2, max_length=5, length_penalty=0.0)
    assert texts(held) == [[1, E], [E]]
    # The probability is the model's own: it is not shared out anew among the tokens that are allowed.
    torch.testing.assert_close(held.scores[0, 0], torch.tensor(0.1 * 0.9).log())


def test_later_groups_are_kept_from_the_words_of_earlier_ones():
    def told(tokens):
        return {1: 0.5, 2: 0.3, 3: 0.1} if not tokens else {E: 0.98}

    def groups(diversity):
        found = diverse_beam_search(
            Told(told),
            table_memory([0]),
            beams=3,
            groups=3,
            candidates=3,
            diversity=diversity,
            max_length=5,
            suppress=False,
        )
        return texts(found)

    assert groups(0.0) == [[1, E], [1, E], [1, E]]
    assert groups(0.5) == [[1, E], [1, E], [2, E]]  # log .5 - .5 is above log .3, log .5 - 1 is below
    assert groups(2.0) == [[1, E], [2, E], [3, E]]
