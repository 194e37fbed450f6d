"""Decoding against transformers' generate on the same weights, token for token."""

from __future__ import annotations

import random

import pytest
import torch
from decoding_helpers import Words, grid, transformers_decode, transformers_twin

from trainers.decoding import beam_search, greedy

pytest.importorskip("transformers")


def cases(seed, models, per_model):
    """Random captioners, whose captions end early, late or never, and random settings."""
    draw = random.Random(seed)
    for number in range(models):
        words = Words(draw.choice([30, 90]), *draw.sample(range(3, 30), 3))
        captioner, memory = grid(
            1000 * seed + number,
            words,
            images=draw.choice([1, 2, 4]),
            layers=draw.choice([1, 2]),
            longest=16,
            sharpness=draw.choice([2, 3, 5]),
            end=draw.choice([draw.uniform(-4, 4), draw.uniform(-4, 8), 40]),
            rise=draw.uniform(0.7, 3),
        )
        twin = transformers_twin(captioner)
        for _ in range(per_model):
            yield captioner, memory, twin, draw


def compare_beams(seed, models, per_model):
    """How many cases were equal, and the lengths that occurred."""
    lengths = []
    for captioner, memory, twin, draw in cases(seed, models, per_model):
        beams = draw.choice([2, 3, 5, 6])
        shared = {
            "max_length": draw.choice([2, draw.randint(3, 15), 16]),
            "length_penalty": draw.choice([0.0, 0.6, 1.0, 2.0]),
        }
        shared["min_length"] = draw.choice([0, 0, 0, shared["max_length"] - 1])
        kept = draw.randint(1, beams)
        ours = beam_search(
            captioner, memory, beams=beams, candidates=kept, rules="transformers", suppress=False, **shared
        )
        theirs = transformers_decode(
            twin, memory, num_beams=beams, num_return_sequences=kept, do_sample=False, early_stopping=False, **shared
        )
        assert ours.tokens.flatten(0, 1).tolist() == theirs.tolist()
        lengths += ours.lengths.flatten().tolist()
    return lengths


@pytest.mark.parametrize("seed", range(5))
def test_beam_search_is_transformers_beam_search(seed):
    lengths = compare_beams(seed, models=5, per_model=8)
    assert max(lengths) == 15
    assert len(set(lengths)) >= 6


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 120))
def test_beam_search_is_transformers_beam_search_in_many_cases(seed):
    assert len(set(compare_beams(seed, models=8, per_model=6))) >= 5


@pytest.mark.parametrize("seed", range(2))
def test_greedy_is_transformers_greedy(seed):
    for captioner, memory, twin, draw in cases(50 + seed, models=6, per_model=2):
        shared = {"max_length": draw.choice([2, 9, 16])}
        shared["min_length"] = draw.choice([0, shared["max_length"] - 1])
        ours = greedy(captioner, memory, suppress=False, **shared)
        theirs = transformers_decode(twin, memory, num_beams=1, do_sample=False, **shared)
        assert ours.tokens.squeeze(1).tolist() == theirs.tolist()


def test_teacher_forcing_is_transformers_forward():
    captioner, memory = grid(3, Words(40, 1, 2, 3), images=2)
    tokens = torch.tensor([[1, 5, 6, 7, 8], [1, 9, 9, 4, 0]])
    from transformers.modeling_outputs import BaseModelOutput

    with torch.no_grad():
        logits = transformers_twin(captioner)(
            encoder_outputs=BaseModelOutput(last_hidden_state=memory.states), decoder_input_ids=tokens
        ).logits
    expected = logits.log_softmax(-1)[:, :-1].gather(2, tokens[:, 1:].unsqueeze(2)).squeeze(2)
    torch.testing.assert_close(captioner.logprobs(memory, tokens).detach(), expected, rtol=1e-4, atol=1e-4)
