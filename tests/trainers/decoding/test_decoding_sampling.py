"""Sampling: the distribution, its cuts, seeds; and the search for the likeliest tokens."""

from __future__ import annotations

import pytest
import torch
from decoding_helpers import Table, Words, grid, table_memory
from rounding import check_close
from scipy import stats

from trainers.decoding import Decoding, greedy, sample
from trainers.decoding.likeliest_tokens import greatest, likeliest
from trainers.decoding.token_draws import NUCLEUS, draw, invert

WORDS = Words(12, 9, 10, 11)


def seeded(number=0):
    return torch.Generator().manual_seed(number)


def one_step(logits, count=20_000, **settings):
    """How often each token is drawn after the begin token, [V]."""
    words = Words(len(logits), len(logits) - 3, len(logits) - 2, len(logits) - 1)
    captioner = Table(logits.view(1, 1, -1), words)
    found = sample(captioner, table_memory([0]), candidates=count, max_length=2, generator=seeded(7), **settings)
    assert found.tokens.shape == (1, count, 2)
    return found.tokens[0, :, 1].bincount(minlength=len(logits))


def check_frequencies(counts, probabilities):
    """Chi-square; what has no probability never occurs."""
    possible = probabilities > 0
    assert counts[~possible].sum() == 0
    expected = probabilities[possible].double() * counts.sum() / probabilities.double().sum()
    assert possible.sum() == 1 or stats.chisquare(counts[possible].double(), expected).pvalue > 1e-3


def nucleus(probabilities, top_p):
    """The likeliest tokens that have the probability ``top_p`` together; one after the other."""
    kept = torch.zeros_like(probabilities)
    total = 0.0
    for token in probabilities.argsort(descending=True).tolist():
        if total >= top_p:
            break
        kept[token] = probabilities[token]
        total += float(probabilities[token])
    return kept


LOGITS = torch.randn(40, generator=seeded(1)) * 2


def test_tokens_are_drawn_as_often_as_they_are_likely():
    check_frequencies(one_step(LOGITS, suppress=False), LOGITS.softmax(0))


def test_temperature_sharpens():
    check_frequencies(one_step(LOGITS, suppress=False, temperature=0.6), (LOGITS / 0.6).softmax(0))


def test_suppressed_tokens_are_never_drawn():
    expected = LOGITS.softmax(0)
    expected[[37, 39]] = 0
    check_frequencies(one_step(LOGITS), expected)


@pytest.mark.parametrize("top_k", [1, 3, 7])
def test_top_k_draws_from_the_likeliest(top_k):
    heated = (LOGITS / 1.5).softmax(0)
    expected = heated * (heated >= heated.topk(top_k).values[-1])
    counts = one_step(LOGITS, suppress=False, temperature=1.5, top_k=top_k)
    check_frequencies(counts, expected)
    assert (counts > 0).sum() == top_k


@pytest.mark.parametrize("top_p", [0.05, 0.5, 0.8, 0.95])
def test_top_p_draws_from_the_nucleus(top_p):
    counts = one_step(LOGITS, suppress=False, top_p=top_p)
    check_frequencies(counts, nucleus(LOGITS.softmax(0), top_p))


def test_the_nucleus_is_that_of_the_tokens_that_are_allowed():
    logits = LOGITS.clone()
    logits[[37, 39]] = 5.0  # begin and padding
    allowed = logits.softmax(0)
    allowed[[37, 39]] = 0
    check_frequencies(one_step(logits, top_p=0.8), nucleus(allowed / allowed.sum(), 0.8))


def test_top_p_cuts_what_top_k_has_left():
    kept = LOGITS.softmax(0) * LOGITS.ge(LOGITS.topk(6).values[-1])
    check_frequencies(one_step(LOGITS, suppress=False, top_k=6, top_p=0.7), nucleus(kept / kept.sum(), 0.7))


@pytest.mark.parametrize("spread", [3.0, 0.1], ids=["among the first", "among all"])
def test_top_p_of_a_large_vocabulary(spread):
    logits = torch.randn(2, 5003, generator=seeded(2)) * spread
    uniforms = torch.rand(2, 4000, generator=seeded(3), dtype=torch.float64)
    settings = Decoding(method="sample", top_p=0.6)
    _, tokens = draw(logits, uniforms, settings)
    for row in range(2):
        support = nucleus(logits[row].softmax(0), 0.6) > 0
        assert (support.sum() > NUCLEUS) == (spread < 1)
        assert support[tokens[row]].all()
        most = logits[row].argmax()
        assert (tokens[row] == most).sum() > 0 or spread < 1


def test_transformers_cuts_agree():
    pytest.importorskip("transformers")
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    logits = torch.randn(6, 40, generator=seeded(4)) * 2
    uniforms = torch.rand(6, 3000, generator=seeded(5), dtype=torch.float64)
    _, tokens = draw(logits, uniforms, Decoding(method="sample", temperature=0.8, top_k=9, top_p=0.85))
    theirs = logits
    for warp in (TemperatureLogitsWarper(0.8), TopKLogitsWarper(9), TopPLogitsWarper(0.85)):
        theirs = warp(None, theirs)
    for row in range(6):
        check_frequencies(tokens[row].bincount(minlength=40), theirs[row].softmax(0))


def test_later_tokens_follow_their_own_past():
    """Pairs of tokens of a captioner with a cache occur as often as one pass without cache says."""
    captioner, memory = grid(2, WORDS, images=2, sharpness=2.5, longest=4)
    found = sample(captioner, memory, candidates=6000, max_length=3, generator=seeded(1))
    pairs = torch.cartesian_prod(torch.tensor([WORDS.bos]), torch.arange(9), torch.tensor([*range(9), WORDS.eos]))
    for image in range(2):
        with torch.no_grad():
            logprobs = captioner.logprobs(type(memory)(memory.states[image : image + 1]), pairs).sum(1)
        drawn = found.tokens[image, found.lengths[image] == 2]
        counts = (drawn[:, None] == pairs).all(-1).sum(0)
        often = logprobs > -6
        expected = logprobs[often].double().softmax(0) * counts[often].sum()
        assert often.sum() > 15
        assert stats.chisquare(counts[often].double(), expected).pvalue > 1e-3


def test_samples_are_told_by_their_generator_alone():
    captioner, memory = grid(0, WORDS, images=3, end=5, rise=0.5)

    def tokens(seed):
        torch.manual_seed(seed * 100)
        return sample(captioner, memory, candidates=5, max_length=12, generator=seeded(seed)).tokens

    torch.manual_seed(0)
    state = torch.get_rng_state()
    sample(captioner, memory, candidates=5, max_length=12, generator=seeded(1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(tokens(1), tokens(1))
    assert tokens(1).shape != tokens(2).shape or not torch.equal(tokens(1), tokens(2))


def test_top_k_of_one_is_greedy():
    captioner, memory = grid(0, WORDS, images=6, end=5, rise=0.5)
    found = sample(captioner, memory, candidates=2, max_length=12, top_k=1)
    expected = greedy(captioner, memory, max_length=12)
    assert torch.equal(found.tokens, expected.tokens.expand(-1, 2, -1))
    torch.testing.assert_close(found.scores, expected.scores.expand(-1, 2))


@pytest.mark.parametrize("size", [5, 300, 5003])
def test_values_are_looked_up_in_the_distribution_function(size):
    weights = torch.rand(3, size, generator=seeded(1)) * (torch.rand(3, size, generator=seeded(2)) < 0.3)
    weights[:, 2] = 1
    uniforms = torch.cat(
        [
            torch.rand(3, 500, generator=seeded(3), dtype=torch.float64),
            torch.tensor([[0.0, 1 - 2**-53]] * 3, dtype=torch.float64),
        ],
        1,
    )
    places = invert(weights, uniforms)
    assert (weights.gather(1, places) > 0).all()
    sums = weights.double().cumsum(1)
    sums = sums / sums[:, -1:]
    before = (sums - weights / weights.double().sum(1, keepdim=True)).gather(1, places)
    assert (before <= uniforms + 1e-6).all()
    assert (uniforms <= sums.gather(1, places) + 1e-6).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "searches, beams, size, count",
    [(3, 1, 11, 9), (4, 5, 100, 10), (3, 5, 1024, 10), (2, 5, 5003, 16), (1, 3, 49_409, 6)],
)
def test_the_likeliest_are_those_of_the_whole_table(searches, beams, size, count, dtype):
    logits = (torch.randn(searches * beams, size, generator=seeded(size)) * 2).to(dtype)
    logits[-1, -1] = 30.0  # in the tail that fills no block
    given = logits.clone()
    running = torch.randn(searches, beams, generator=seeded(2))
    forbidden = [int(logits[0].argmax()), 1]
    values, beam, token = likeliest(logits, running, count, forbidden)
    table = logits.float().log_softmax(-1)
    own = table.view(searches, beams, size).clone()
    own[:, :, forbidden] = -torch.inf
    totals = (own + running.unsqueeze(2)).flatten(1)
    expected = totals.topk(count).values
    torch.testing.assert_close(values + running.gather(1, beam), expected)
    check_close(values, own.flatten(1).gather(1, beam * size + token))
    assert torch.equal(logits, given)
    ties = (beam * size + token).diff(dim=1)[expected.diff(dim=1) == 0]
    assert (ties > 0).all()


@pytest.mark.parametrize("size", [50, 5003])
def test_the_greatest_is_the_first_of_equals(size):
    logits = torch.randn(5, size, generator=seeded(1)).clamp(max=1.5)
    logits[1, -1] = 9.0
    logits[2, 3] = logits[2, -2] = 8.0
    logits[3, 1] = logits[3, 40] = 7.0
    values, tokens = greatest(logits)
    assert tokens.tolist()[1:4] == [size - 1, 3, 1]
    assert tokens[0] == int((logits[0] == logits[0].max()).nonzero()[0])
    torch.testing.assert_close(values, logits.log_softmax(-1).gather(1, tokens.unsqueeze(1)).squeeze(1))
    given = logits.clone()
    values, tokens = greatest(logits, [1, 3])
    assert tokens.tolist()[1:4] == [size - 1, size - 2, 40]
    assert torch.equal(logits, given)
    torch.testing.assert_close(values, logits.log_softmax(-1).gather(1, tokens.unsqueeze(1)).squeeze(1))
