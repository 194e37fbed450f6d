"""Beam search by the rules of CLIP-Caption-Reward: a caption that ends takes a place, and no search is cut short."""

from __future__ import annotations

import random

import pytest
import torch
from decoding_helpers import Words, grid

from capreward import InputError
from trainers.captioners.base import Memory
from trainers.decoding import Decoding, beam_search

PENALTIES = {0.0: lambda n: 1.0, "wu_0.9": lambda n: (5 + n) ** 0.9 / 6**0.9, "avg_0": float, "wu_0.4": None}
PENALTIES["wu_0.4"] = lambda n: ((5 + n) / 6) ** 0.4


def following(captioner, state, words):
    """Log-probabilities of what follows some words of one image."""
    cache = captioner.start(Memory(state[None]), len(words) + 1)
    for word in words:
        logits = captioner.step(cache, torch.tensor([word]))
    return torch.log_softmax(logits[0].double(), -1).tolist()


def plain(captioner, state, beams, longest, penalty):
    """The search as clipreward.md 3 and its source tell it, one image, lists and loops: [(score, words)], best first.

    The best ``beams`` continuations of all live captions are taken at every step, ended ones among them; one that ends
    is put aside, with its score, and is not continued; at the last step all are put aside.
    """
    end, begin = captioner.vocabulary.eos, captioner.vocabulary.bos
    live, aside = [(0.0, [])], []
    for place in range(1, longest):
        found = []
        for total, words in live:
            for word, value in enumerate(following(captioner, state, [begin, *words])):
                found.append((total + value, [*words, word]))
        live = []
        for total, words in sorted(found, key=lambda each: -each[0])[:beams]:
            if words[-1] == end or place == longest - 1:
                aside.append((total / penalty(place), words))
            else:
                live.append((total, words))
    return sorted(aside, key=lambda each: -each[0])[:beams]


def cases(models):
    draw = random.Random(3)
    for number in range(models):
        shape = {"sharpness": draw.choice([2, 3, 5]), "end": draw.uniform(-2, 8), "rise": draw.uniform(0.7, 3)}
        captioner, memory = grid(number, Words(30, 0, 0, 0), images=2, layers=1, longest=10, **shape)
        for _ in range(3):
            beams, longest = draw.choice([1, 2, 3, 5]), draw.choice([3, 6, 10])
            yield captioner, memory, beams, longest, draw.choice(list(PENALTIES))


def test_every_candidate_is_that_of_the_plain_search():
    lengths, others, many = set(), 0, 0
    for captioner, memory, beams, longest, penalty in cases(12):
        how = {"beams": beams, "candidates": beams, "max_length": longest, "length_penalty": penalty}
        ours = beam_search(captioner, memory, rules="clip-reward", **how)
        dico = beam_search(captioner, memory, **how)
        for image, state in enumerate(memory.states):
            wanted = plain(captioner, state, beams, longest, PENALTIES[penalty])
            assert len(wanted) == beams
            for rank, (score, words) in enumerate(wanted):
                length = int(ours.lengths[image, rank])
                assert ours.tokens[image, rank, 1 : length + 1].tolist() == words
                assert float(ours.scores[image, rank]) == pytest.approx(score, abs=1e-4)
                assert bool(ours.finished[image, rank]) == (words[-1] == 0)
                lengths.add(length)
            other = dico.tokens[image, 0, 1 : 1 + int(dico.lengths[image, 0])].tolist()
            others += other != wanted[0][1]
            many += 1
    assert many == 72
    assert len(lengths) > 5
    assert others > 2  # the rules of DiCO go on with as many captions as there are beams


def test_one_beam_without_penalty_is_greedy():
    captioner, memory = grid(5, Words(40, 0, 0, 0), images=6, longest=12, end=6, rise=1.5)
    one = beam_search(captioner, memory, beams=1, length_penalty=0.0, rules="clip-reward", max_length=12)
    for image, state in enumerate(memory.states):
        words = [0]
        while len(words) < 12 and (len(words) == 1 or words[-1] != 0):
            table = following(captioner, state, words)
            words.append(table.index(max(table)))
        length = int(one.lengths[image, 0])
        assert one.tokens[image, 0, : length + 1].tolist() == words


def test_diverse_search_has_other_rules():
    with pytest.raises(InputError, match="the rules clip-reward are of the method beam"):
        Decoding(method="diverse", groups=5, rules="clip-reward")
