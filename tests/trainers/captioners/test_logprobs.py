"""Log-probabilities of given tokens: torch's own, whatever way they are computed."""

from __future__ import annotations

import math

import pytest
import torch
from rounding import check_close

from trainers.captioners import logprobs
from trainers.captioners.logprobs import token_logprobs

ROWS, WIDTH, VOCABULARY = 11, 6, 17


def inputs(dtype=torch.float64, seed=0):
    draw = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(*shape, generator=draw, dtype=torch.float64).to(dtype).requires_grad_()

    targets = torch.randint(0, VOCABULARY, (ROWS,), generator=draw)
    return random(ROWS, WIDTH), random(VOCABULARY, WIDTH), targets, random(VOCABULARY)


def plain(hidden, weight, targets, bias, smoothing):
    """The definition, in float64."""
    table = torch.log_softmax(hidden.double() @ weight.double().T + (0 if bias is None else bias.double()), dim=-1)
    return (1 - smoothing) * table[torch.arange(len(targets)), targets] + smoothing * table.mean(-1)


def both(smoothing, with_bias, dtype=torch.float32):
    """Values and gradients, ours and the definition's."""
    found = []
    for function in (lambda *a: token_logprobs(*a[:4], smoothing=a[4]), plain):
        hidden, weight, targets, bias = inputs(dtype)
        bias = bias if with_bias else None
        values = function(hidden, weight, targets, bias, smoothing)
        (values * torch.linspace(-1, 2, ROWS)).sum().backward()
        found.append([values.detach(), hidden.grad, weight.grad, *([bias.grad] if with_bias else [])])
    return found


@pytest.fixture(params=["kept", "again"])
def way(request, monkeypatch):
    """Three rows at a time; logits kept for the way back, or computed again."""
    monkeypatch.setattr(logprobs, "CHUNK", 3 * VOCABULARY)
    monkeypatch.setattr(logprobs, "MOST_KEPT_LOGITS", 1 << 20 if request.param == "kept" else 0)


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_values_and_gradients_are_autograd_s(way, smoothing, with_bias):
    ours, theirs = both(smoothing, with_bias)
    for mine, expected in zip(ours, theirs, strict=True):
        check_close(mine, expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_gradient_is_the_closed_formula(smoothing):
    hidden, weight, targets, bias = inputs(torch.float32)
    weights = torch.linspace(-1, 2, ROWS)
    (token_logprobs(hidden, weight, targets, bias, smoothing=smoothing) * weights).sum().backward()
    p = torch.softmax((hidden @ weight.T + bias).detach().double(), -1)
    onehot = torch.zeros_like(p).scatter_(1, targets[:, None], 1.0)
    to_logits = weights[:, None] * ((1 - smoothing) * onehot + smoothing / VOCABULARY - p)
    torch.testing.assert_close(bias.grad.double(), to_logits.sum(0), rtol=0, atol=2e-6)
    torch.testing.assert_close(weight.grad.double(), to_logits.T @ hidden.detach().double(), rtol=0, atol=4e-6)
    torch.testing.assert_close(hidden.grad.double(), to_logits @ weight.detach().double(), rtol=0, atol=4e-6)


def test_a_value_by_hand():
    logits = torch.tensor([[1.0, 2.0, 3.0], [0.0, 1.0, 0.0]])
    found = token_logprobs(logits, torch.eye(3), torch.tensor([2, 1]))
    assert found.tolist() == pytest.approx([-0.40760596, -math.log(1 + 2 / math.e)], abs=1e-6)
    smoothed = token_logprobs(logits[:1], torch.eye(3), torch.tensor([2]), smoothing=0.3)
    assert smoothed.item() == pytest.approx(0.7 * -0.40760596 + 0.3 * (2 - 3.40760596), abs=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_chunks_change_nothing(monkeypatch, smoothing):
    whole, _ = both(smoothing, True)
    monkeypatch.setattr(logprobs, "CHUNK", VOCABULARY)
    kept, _ = both(smoothing, True)
    monkeypatch.setattr(logprobs, "MOST_KEPT_LOGITS", 0)
    again, _ = both(smoothing, True)
    for one, two, three in zip(whole, kept, again, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-6)
        assert torch.equal(two, three)


def test_half_precision_states_give_single_precision_values(way):
    hidden, weight, targets, bias = inputs(torch.bfloat16)
    found = token_logprobs(hidden, weight.float(), targets, bias.float())
    assert found.dtype == torch.float32
    (found * torch.linspace(-1, 2, ROWS)).sum().backward()
    assert hidden.grad.dtype == torch.bfloat16
    ours, theirs = both(0.0, True, torch.bfloat16)
    assert (ours[0] - theirs[0]).abs().max() < 0.05  # logits are rounded to 8 bits
    for mine, expected in zip(ours[1:], theirs[1:], strict=True):
        assert mine.dtype == torch.bfloat16
        assert (mine.double() - expected.double()).norm() < 0.03 * expected.double().norm()


def test_gradients_are_given_to_those_that_want_them():
    hidden, weight, targets, bias = inputs(torch.float32)
    token_logprobs(hidden, weight.detach(), targets, bias.detach()).sum().backward()
    assert hidden.grad is not None
    assert weight.grad is None
    with torch.no_grad():
        assert not token_logprobs(hidden, weight, targets, bias).requires_grad
    none = token_logprobs(hidden[:0], weight, targets[:0], bias)
    assert none.shape == (0,)
