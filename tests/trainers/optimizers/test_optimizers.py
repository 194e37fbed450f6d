"""What the optimizers make of rewards and log-probabilities: golden vectors, closed formulas, options."""

from __future__ import annotations

import math

import pytest
import torch
from rounding import check_close
from torch.nn import functional

from capreward.errors import InputError
from trainers.captioners.logprobs import token_logprobs
from trainers.optimizers.advantages import leave_one_out, spread_normalised
from trainers.optimizers.base import OPTIMIZERS, CandidateTokens, find_optimizer, make_optimizer
from trainers.optimizers.dico import DiCO
from trainers.optimizers.scst import SelfCritical, beside
from trainers.optimizers.xe import CrossEntropy

# dico.md 1.3: computed with the reference implementation's functions in float64, beta 0.2, tau 300.
REWARDS = torch.tensor([[0.800, 0.812, 0.790, 0.805, 0.811], [0.650, 0.640, 0.655, 0.655, 0.630]], dtype=torch.float64)
POLICY = torch.tensor([[-10.2, -11.5, -12.1, -9.8, -13.0], [-8.0, -9.1, -9.9, -10.4, -7.5]], dtype=torch.float64)
REFERENCE = torch.tensor([[-10.0, -12.0, -12.0, -10.0, -12.5], [-8.3, -9.0, -10.0, -10.0, -7.7]], dtype=torch.float64)


def rows(mask, learned=None):
    """Candidates of which nothing but the mask [B, K, T] counts."""
    mask = torch.as_tensor(mask, dtype=torch.bool)
    tokens = torch.zeros((*mask.shape[:2], mask.shape[2] + 1), dtype=torch.long)
    return CandidateTokens(tokens, mask, mask.shape[1] if learned is None else learned)


def dico_loss(optimizer, policy, reference=REFERENCE, rewards=REWARDS):
    """One "token" per caption, which has all of its log-probability."""
    found = rows(torch.ones(*policy.shape, 1))
    return optimizer.loss(policy.unsqueeze(-1), reference.unsqueeze(-1), found, rewards)


def test_dico_weights_are_the_published_ones():
    winners, gamma = DiCO().weights(REWARDS)
    assert winners.tolist() == [1, 2]  # of the tie .655/.655 the first
    expected = [[0.0468, 0.0, 0.9410, 0.0105, 0.0017], [2.3544e-3, 4.7289e-2, 0.0, 5.2534e-4, 9.4983e-1]]
    torch.testing.assert_close(gamma, torch.tensor(expected).double(), atol=6e-5, rtol=1e-4)
    torch.testing.assert_close(gamma.sum(-1), torch.ones(2).double())


def test_dico_loss_and_gradient_are_the_published_ones():
    policy = POLICY.clone().requires_grad_()
    loss, stats = dico_loss(DiCO(), policy)
    loss.backward()
    assert loss.item() == pytest.approx(0.6682, abs=5e-5)
    assert float(stats["chosen"]) == pytest.approx(0.06, abs=1e-12)
    assert float(stats["rejected"]) == pytest.approx(0.008349343902151585, abs=1e-12)
    assert float(stats["reward_gap"]) == pytest.approx((0.022 + 0.025) / 2)
    expected = [
        [2.2015e-03, -4.6992e-02, 4.4219e-02, 4.9122e-04, 8.1199e-05],
        [1.1873e-04, 2.3847e-03, -5.0429e-02, 2.6492e-05, 4.7899e-02],
    ]
    torch.testing.assert_close(policy.grad, torch.tensor(expected).double(), rtol=1e-4, atol=1e-8)


def test_dico_begins_at_ln_2():
    loss, stats = dico_loss(DiCO(), REFERENCE.clone())
    check_close(loss, math.log(2), torch.float64)
    assert float(stats["chosen"]) == float(stats["rejected"]) == float(stats["accuracy"]) == 0


def test_dico_gradient_is_the_closed_formula():
    generator = torch.Generator().manual_seed(3)
    policy, reference = (torch.randn(7, 4, 6, generator=generator).double() for _ in range(2))
    rewards = torch.rand(7, 4, generator=generator).double()
    policy.requires_grad_()
    optimizer = DiCO(beta=0.3, tau=4.0)
    loss, stats = optimizer.loss(policy, reference, rows(torch.ones(7, 4, 6)), rewards)
    loss.backward()
    total, right = 0.0, 0
    for b in range(7):  # a plain loop beside the tensors
        ratio = [(policy[b, k] - reference[b, k]).sum().item() for k in range(4)]
        given = rewards[b].tolist()
        win = given.index(max(given))
        powers = [math.exp(4.0 * (given[win] - r)) if k != win else 0.0 for k, r in enumerate(given)]
        gamma = [p / sum(powers) for p in powers]
        z = 0.3 * (ratio[win] - sum(g * r for g, r in zip(gamma, ratio, strict=True)))
        total += math.log1p(math.exp(-z)) / 7
        right += z > 0
        pull = 0.3 / (1 + math.exp(z)) / 7
        for k in range(4):
            slope = -pull if k == win else pull * gamma[k]
            torch.testing.assert_close(policy.grad[b, k], torch.full((6,), slope).double())
    assert loss.item() == pytest.approx(total, abs=1e-12)
    assert float(stats["accuracy"]) == pytest.approx(right / 7)


def test_dico_spread_takes_the_scale_out():
    optimizer = DiCO(tau=2.0, spread="image")
    gamma = optimizer.weights(REWARDS)[1]
    torch.testing.assert_close(optimizer.weights(REWARDS * 1000 + 5)[1], gamma)
    deviation = REWARDS[0].std(correction=0)
    gaps = 2.0 * (REWARDS[0, 1] - REWARDS[0, [0, 2, 3, 4]]) / deviation
    torch.testing.assert_close(gamma[0, [0, 2, 3, 4]], torch.softmax(gaps, -1))


def test_equal_rewards_weigh_losers_evenly():
    for spread in ("none", "image"):
        winners, gamma = DiCO(spread=spread).weights(torch.full((1, 5), 0.7))
        assert winners.tolist() == [0]
        torch.testing.assert_close(gamma, torch.tensor([[0.0, 0.25, 0.25, 0.25, 0.25]]))


def test_spread_normalised_has_mean_0_and_deviation_1():
    found = spread_normalised(torch.tensor([[1.0, 2.0, 6.0], [4.0, 4.0, 4.0]]))
    root = math.sqrt(14 / 3)
    torch.testing.assert_close(found, torch.tensor([[-2 / root, -1 / root, 3 / root], [0.0, 0.0, 0.0]]))


def test_scst_is_one_mean_over_all_tokens():
    policy = torch.tensor([[[-1.0, -2.0, 0.0, 0.0], [-0.5, -0.25, -1.0, -2.0]]], dtype=torch.float64)
    mask = [[[1, 1, 0, 0], [1, 1, 1, 1], [1, 1, 1, 0]]]
    rewards = torch.tensor([[0.9, 0.1, 0.5]], dtype=torch.float64)
    policy.requires_grad_()
    optimizer = SelfCritical(candidates=2)
    found = rows(mask, learned=2)
    loss, stats = optimizer.loss(policy, None, found, rewards)
    loss.backward()
    # lengths 2 and 4: divided by 6, not by 2 (clipreward.md 14)
    assert float(optimizer.weight(found)) == 6
    assert loss.item() == pytest.approx(-(0.4 * -3.0 + -0.4 * -3.75) / 6)
    expected = torch.tensor([[[-0.4, -0.4, 0, 0], [0.4, 0.4, 0.4, 0.4]]], dtype=torch.float64) / 6
    torch.testing.assert_close(policy.grad, expected)
    assert float(stats["advantage"]) == pytest.approx(0, abs=1e-12)
    assert float(stats["advantage_spread"]) == pytest.approx(0.4)


def test_scst_is_0_for_equal_rewards_and_blind_to_a_constant():
    policy = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(1)).double()
    rewards = torch.rand(3, 6, generator=torch.Generator().manual_seed(2)).double()
    found = rows(torch.ones(3, 6, 8), learned=5)
    for baseline, given in (("greedy", rewards), ("mean", rewards[:, :5])):
        optimizer = SelfCritical(baseline=baseline)
        none = float(optimizer.loss(policy, None, found, torch.full_like(given, 0.37))[0])
        assert none == pytest.approx(0, abs=1e-12)
        shifted, plain = (float(optimizer.loss(policy, None, found, r)[0]) for r in (given + 11, given))
        assert shifted == pytest.approx(plain, abs=1e-12)
    bare = SelfCritical(baseline="none")
    assert float(bare.loss(policy, None, found, rewards[:, :5])[0]) == pytest.approx(
        float(-(rewards[:, :5, None] * policy).sum() / 120)
    )


def test_the_mean_of_the_others():
    rewards = torch.tensor([[1.0, 2.0, 6.0], [0.0, 0.5, 0.25]], dtype=torch.float64)
    expected = [[1 - 4.0, 2 - 3.5, 6 - 1.5], [0 - 0.375, 0.5 - 0.125, 0.25 - 0.25]]
    torch.testing.assert_close(leave_one_out(rewards), torch.tensor(expected).double())
    torch.testing.assert_close(SelfCritical(candidates=3, baseline="mean").advantage(rewards), leave_one_out(rewards))
    with pytest.raises(InputError, match="at least 2 candidates"):
        leave_one_out(rewards[:, :1])


def test_beside_pads_the_shorter():
    joined = beside(torch.tensor([[[1, 2, 3]]]), torch.tensor([[[1, 4, 5, 6]]]), pad=9)
    assert joined.tolist() == [[[1, 2, 3, 9], [1, 4, 5, 6]]]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_xe_is_torch_cross_entropy(smoothing):
    """With the head's log-probabilities, loss and gradient of torch's own, padding ignored."""
    generator = torch.Generator().manual_seed(5)
    hidden = torch.randn(2, 3, 7, 8, generator=generator)
    weight = torch.randn(11, 8, generator=generator)
    targets = torch.randint(0, 11, (2, 3, 7), generator=generator)
    mask = torch.arange(7) < torch.tensor([[7, 3, 1], [5, 6, 2]]).unsqueeze(-1)
    found = []
    for own in (True, False):
        h, w = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
        if own:
            optimizer = CrossEntropy(captions=3, label_smoothing=smoothing)
            flat = token_logprobs(h[mask], w, targets[mask], smoothing=optimizer.smoothing)
            policy = torch.zeros(mask.shape).masked_scatter(mask, flat)
            loss, _ = optimizer.loss(policy, None, rows(mask), None)
        else:
            ignored = targets.masked_fill(~mask, -100)
            logits = (h @ w.T).flatten(0, 2)
            loss = functional.cross_entropy(logits, ignored.flatten(), ignore_index=-100, label_smoothing=smoothing)
        loss.backward()
        found.append((loss.detach(), h.grad, w.grad))
    for mine, torchs in zip(*found, strict=True):
        torch.testing.assert_close(mine, torchs, rtol=1e-5, atol=1e-6)


class WordRows:
    """A captioner of which only tokens are asked: a caption is one number."""

    class vocabulary:
        bos, eos, pad = 0, 98, 99

    def token_rows(self, captions):
        return torch.tensor([[0, int(c), 98] for c in captions])


def taken(optimizer, captions, generator):
    return optimizer.reference_candidates(WordRows(), captions, generator).tokens[..., 1]


def test_xe_takes_all_references_before_one_repeats():
    captions = [[str(10 * i + j) for j in range(1, n + 1)] for i, n in enumerate((5, 7, 1, 3))]
    for seed in range(20):
        chosen = taken(CrossEntropy(captions=5), captions, torch.Generator().manual_seed(seed))
        assert chosen.shape == (4, 5)
        assert sorted(chosen[0].tolist()) == [1, 2, 3, 4, 5]
        assert len(set(chosen[1].tolist())) == 5
        assert chosen[2].tolist() == [21] * 5
        assert set(chosen[3, :3].tolist()) == {31, 32, 33}
        assert len(set(chosen[3, 3:].tolist())) == 2


def test_xe_takes_other_references_each_time():
    captions = [[str(j) for j in range(5)]]
    generator = torch.Generator().manual_seed(0)
    seen = {int(taken(CrossEntropy(), captions, generator)) for _ in range(60)}
    assert seen == {0, 1, 2, 3, 4}


def test_xe_choice_does_not_depend_on_the_batching():
    captions = [[str(10 * i + j) for j in range(n)] for i, n in enumerate((5, 2, 7, 1, 3, 5))]
    for count in (1, 2, 6):
        optimizer = CrossEntropy(captions=count)
        whole = taken(optimizer, captions, torch.Generator().manual_seed(4))
        generator = torch.Generator().manual_seed(4)
        parts = [taken(optimizer, captions[i : i + 2], generator) for i in (0, 2, 4)]
        assert torch.equal(torch.cat(parts), whole)


def test_xe_tokens_are_masked_behind_the_end():
    found = CrossEntropy().reference_candidates(WordRows(), [["7"], ["8"]], torch.Generator())
    assert found.mask.tolist() == [[[True, True]], [[True, True]]]
    assert float(CrossEntropy().weight(found)) == 4
    policy = torch.tensor([[[-1.0, -2.0]], [[-3.0, -6.0]]])
    assert float(CrossEntropy().loss(policy, None, found, None)[0]) == 3.0


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("dico", {"beta": 0}, "beta must be a number, at least 1e-06; found 0"),
        ("dico", {"beta": "big"}, "beta must be a number"),
        ("dico", {"tau": float("inf")}, "tau must be a number"),
        ("dico", {"tau": float("nan")}, "tau must be a number"),
        ("dico", {"candidates": 1}, "candidates must be a whole number, at least 2; found 1"),
        ("dico", {"search": "greedy"}, "search='greedy' is none of beam, sample, diverse"),
        ("dico", {"spread": "batch"}, "spread='batch' is none of none, image"),
        ("dico", {"dropout": 1}, "dropout must be true or false; found 1"),
        ("dico", {"search_dropout": "no"}, "search_dropout must be true or false"),
        ("dico", {"max_length": 2.5}, "max_length must be a whole number"),
        ("dico", {"beat": 1}, "has no option 'beat'; did you mean beta?"),
        ("scst", {"baseline": "beam"}, "baseline='beam' is none of greedy, mean, none"),
        ("scst", {"baseline": "mean", "candidates": 1}, "candidates must be a whole number, at least 2"),
        ("scst", {"temperature": 0}, "temperature must be a number, at least 0.01"),
        ("scst", {"max_length": True}, "max_length must be a whole number"),
        ("scst", {"dropout": None}, "dropout must be true or false"),
        ("xe", {"captions": 0}, "captions must be a whole number, at least 1"),
        ("xe", {"label_smoothing": 1}, "label_smoothing must be a number, at least 0 and at most 0.999"),
        ("xe", {"zzz": 1}, "has no option 'zzz'; it has captions, label_smoothing, dropout"),
        ("dicco", {}, "unknown optimizer 'dicco'; did you mean dico?"),
        ("ppo", {}, "known are xe, scst, dico"),
    ],
)
def test_bad_options_are_refused(name, options, told):
    with pytest.raises(InputError) as caught:
        make_optimizer(name, options)
    assert told in str(caught.value)


def test_options_make_the_same_optimizer_again():
    for name in OPTIMIZERS:
        made = make_optimizer(name)
        again = make_optimizer(name, made.options())
        assert again.options() == made.options()
        assert isinstance(made, find_optimizer(name))
        assert made.name == name
    changed = make_optimizer("scst", {"candidates": 3, "baseline": "mean", "dropout": True})
    assert changed.search_dropout
    assert (changed.candidates, changed.options()["baseline"]) == (3, "mean")


def test_published_defaults():
    assert make_optimizer("dico").options() == {
        "beta": 0.2,
        "tau": 300.0,
        "search": "beam",
        "spread": "none",
        "temperature": 1.0,
        "max_length": 30,
        "dropout": True,
        "search_dropout": True,
        "candidates": 5,
    }
    scst = make_optimizer("scst").options()
    assert (scst["candidates"], scst["baseline"], scst["temperature"]) == (5, "greedy", 1.0)
