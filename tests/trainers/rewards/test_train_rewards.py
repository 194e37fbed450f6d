"""Rewards on their way to the optimizer: clipped, normalised, logged by term; and steps that are shared out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from train_helpers import TINY

from capreward.errors import InputError
from trainers.data import open_dataset
from trainers.optimizers.base import CandidateTokens, make_optimizer
from trainers.rewards.config import RewardConfig
from trainers.rewards.rewards import RunningMoments, load_rewards
from trainers.runs.step import CollectedBatch, NonFinite, Stepper

RAW = torch.tensor([[1.0, 2.0, 6.0], [-3.0, 0.0, 0.0]])


def rewards(expression="length", **settings):
    config = RewardConfig(expression=expression, **settings)
    return load_rewards(config, open_dataset("scenes:train", count=3), None, {})[0]


def shaped(raw=RAW, **settings):
    return rewards(**settings).clip_and_normalise(raw, raw.flatten())


def test_rewards_stay_as_they_are():
    assert shaped() is RAW


def test_rewards_are_clipped():
    assert shaped(low=-1.0, high=2.0).tolist() == [[1, 2, 2], [-1, 0, 0]]
    assert shaped(low=0.5).tolist() == [[1, 2, 6], [0.5, 0.5, 0.5]]
    assert shaped(high=0.0).tolist() == [[0, 0, 0], [-3, 0, 0]]


def test_rewards_of_a_batch_get_mean_0_and_deviation_1():
    mean, deviation = 1.0, math.sqrt((0 + 1 + 25 + 16 + 1 + 1) / 6)
    torch.testing.assert_close(shaped(normalise="batch"), (RAW - mean) / deviation)
    clipped = torch.tensor([1.0, 2, 2, 0, 0, 0])
    expected = (clipped - 5 / 6) / clipped.std(correction=0)
    torch.testing.assert_close(shaped(normalise="batch", low=0.0, high=2.0).flatten(), expected)
    assert shaped(torch.full((2, 3), 0.4), normalise="batch").abs().max() < 0.1  # nothing is blown up


def test_other_processes_count_in_the_mean():
    found = rewards(normalise="batch").clip_and_normalise(RAW, torch.cat([RAW.flatten(), torch.full((6,), 9.0)]))
    both = torch.cat([RAW.flatten(), torch.full((6,), 9.0)])
    torch.testing.assert_close(found, (RAW - both.mean()) / both.std(correction=0))


def test_running_moments_are_those_of_all_rewards():
    judge = rewards(normalise="running")
    generator = torch.Generator().manual_seed(2)
    batches = [torch.randn(4, 5, generator=generator) * 3 + 2 for _ in range(6)]
    for batch in batches[:-1]:
        judge.clip_and_normalise(batch, batch.flatten())
    found = judge.clip_and_normalise(batches[-1], batches[-1].flatten())
    seen = np.concatenate([batch.numpy().ravel() for batch in batches]).astype(np.float64)
    assert judge.moments.count == 120
    assert judge.moments.mean == pytest.approx(seen.mean(), rel=1e-9)
    assert judge.moments.deviation == pytest.approx(seen.std(), rel=1e-9)
    torch.testing.assert_close(found, (batches[-1] - float(seen.mean())) / float(seen.std()))
    assert RunningMoments().deviation == 0


def test_judging_logs_each_term_and_monitors_when_asked():
    judge = rewards("2*length - repetition", monitors="length")
    captions = ["a dog", "a a a a", "one two three", "x"]
    found = judge.compute(captions, ["k1", "k2"], [None, None], [["r"], ["s"]], monitored=True)
    lengths = [2, 4, 3, 1]
    assert found.parts["length"] == pytest.approx(2.5)
    assert 0 < found.parts["repetition"] < 1
    assert found.raw.shape == (2, 2)
    assert found.raw[0, 0] == 4
    assert found.raw.flatten().mean() == pytest.approx(2 * np.mean(lengths) - found.parts["repetition"])
    silent = rewards("length", monitors="repetition").compute(captions, ["k1", "k2"], [None, None], [["r"], ["s"]])
    assert silent.parts == {}


def test_a_reward_that_should_be_low_is_noted():
    config = RewardConfig(expression="repetition")
    notes = load_rewards(config, open_dataset("scenes:train", count=3), None, {})[1]
    assert notes == ["repetition is better when lower, and the reward is maximised; did you mean -repetition?"]


def test_frequencies_are_those_of_these_training_captions(tmp_path):
    config = RewardConfig(expression="cider-d")
    for count in (3, 4):
        _, notes = load_rewards(config, open_dataset("scenes:train", count=count), tmp_path, {})
        assert "document frequencies from the training captions" in notes[0]
    assert len(list(tmp_path.iterdir())) == 2  # not those of the other set


def test_a_list_is_no_reward(tmp_path):
    with pytest.raises(InputError, match="join its terms"):
        load_rewards(RewardConfig(expression="length, cider-d"), open_dataset("scenes:train", count=3), tmp_path, {})
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def accelerator():
    from accelerate import Accelerator

    return Accelerator(cpu=True, gradient_accumulation_steps=4)


@pytest.fixture
def captioner():
    from trainers.captioners.grid import GridCaptioner, GridSizes
    from trainers.captioners.towers import StoredTower
    from trainers.captioners.vocabulary import ClipVocabulary

    torch.manual_seed(0)
    return GridCaptioner(
        StoredTower((5, 12)), ClipVocabulary(), GridSizes(**{**TINY["captioner"]["sizes"], "dropout": 0})
    )


def collected(captioner, k, learned):
    """Eight images with candidates of every length and rewards."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(1, 300, (8, k, 9), generator=generator)
    lengths = torch.randint(1, 9, (8, k), generator=generator)
    places = torch.arange(1, 9)
    tokens[..., 0] = captioner.vocabulary.bos
    tokens[..., 1:][places == lengths.unsqueeze(-1)] = captioner.vocabulary.eos
    mask = places <= lengths.unsqueeze(-1)
    tokens[..., 1:][~mask] = captioner.vocabulary.pad
    inputs = torch.randn(8, 5, 12, generator=generator)
    values = torch.rand(8, k, generator=generator)
    return CollectedBatch(
        [str(i) for i in range(8)], inputs, CandidateTokens(tokens, mask, learned), ["x"] * 8 * k, values, values
    )


def part(micro_batch, rows):
    found = micro_batch.candidates
    cut = CandidateTokens(found.tokens[rows], found.mask[rows], found.learned)
    return CollectedBatch(
        micro_batch.keys[rows], micro_batch.inputs[rows], cut, [], micro_batch.raw[rows], micro_batch.rewards[rows]
    )


@pytest.mark.parametrize(
    ("name", "options"),
    [("scst", {"candidates": 3}), ("scst", {"candidates": 4, "baseline": "mean"}), ("dico", {"candidates": 4})],
)
def test_micro_batches_give_the_gradient_of_the_whole(accelerator, captioner, name, options):
    """4 x 2 = 1 x 8 for given candidates: statistics and gradients."""
    optimizer = make_optimizer(name, {**options, "dropout": False})
    learned = options["candidates"]
    micro_batch = collected(captioner, learned + (name == "scst" and options.get("baseline") is None), learned)
    reference = captioner.frozen_copy()
    for tensor in captioner.parameters():
        tensor.data.add_(0.01 * torch.randn(tensor.shape, generator=torch.Generator().manual_seed(7)))
    found = []
    for micro_batches in ([part(micro_batch, slice(i, i + 2)) for i in (0, 2, 4, 6)], [micro_batch]):
        accelerator.gradient_accumulation_steps = len(micro_batches)
        stepper = Stepper(captioner, captioner, reference, optimizer, None, accelerator, 0)
        for each in micro_batches:
            with torch.no_grad():
                rows = each.candidates.learned_rows()
                each.reference = reference(each.inputs, rows).view(len(each.keys), learned, -1)
        captioner.zero_grad()
        stats = stepper.accumulate_gradient(micro_batches)
        gradients = [p.grad.clone() for p in captioner.parameters() if p.grad is not None]
        found.append((stats, gradients))
    (four, gradients), (one, whole) = found
    for name in four.keys() - {"advantage_spread"}:  # a deviation is no mean
        assert float(four[name]) == pytest.approx(float(one[name]), rel=1e-5, abs=1e-6), name
    assert float(one["tokens"]) == float(micro_batch.candidates.learned_mask().sum())
    assert len(gradients) == len(whole)
    for mine, theirs in zip(gradients, whole, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-7)


def test_logged_statistics_are_what_they_say(accelerator, captioner):
    optimizer = make_optimizer("scst", {"candidates": 3, "dropout": False})
    micro_batch = collected(captioner, 4, 3)
    micro_batch.parts = {"pacs": 0.25}
    with torch.no_grad():
        policy = captioner(micro_batch.inputs, micro_batch.candidates.learned_rows()).view(8, 3, -1)
    micro_batch.reference = policy - 0.5 * micro_batch.candidates.learned_mask()
    accelerator.gradient_accumulation_steps = 1
    stats = Stepper(captioner, captioner, None, optimizer, None, accelerator, 0).accumulate_gradient([micro_batch])
    lengths = micro_batch.candidates.learned_mask().sum(-1).float()
    assert float(stats["reward"]) == pytest.approx(
        float(micro_batch.raw[:, :3].mean())
    )  # the baseline is not learned from
    assert float(stats["length"]) == pytest.approx(float(lengths.mean()))
    assert float(stats["kl"]) == pytest.approx(float(0.5 * lengths.mean()), rel=1e-5)
    assert float(stats["logprob"]) == pytest.approx(float(policy.sum() / lengths.sum()), rel=1e-5)
    assert float(stats["reward/pacs"]) == 0.25


def test_a_reward_that_is_no_number_is_found_before_learning(accelerator, captioner):
    judge = rewards()
    micro_batch = collected(captioner, 4, 3)
    micro_batch.raw[5, 2] = float("inf")
    stepper = Stepper(captioner, captioner, None, make_optimizer("dico"), judge, accelerator, 0)
    with pytest.raises(NonFinite) as caught:
        stepper.normalise_rewards([micro_batch])
    assert caught.value.what == "reward"
    assert caught.value.rows[5]["rewards"][2] == "inf"
    assert len(caught.value.rows[5]["captions"]) == 4


def test_chance_follows_from_seed_step_and_nothing_else(accelerator, captioner):
    def drawn(seed, step):
        stepper = Stepper(captioner, captioner, None, make_optimizer("xe"), None, accelerator, seed)
        generator = stepper.seed_step(step)
        return torch.rand(3, generator=generator).tolist() + torch.rand(3).tolist()

    assert drawn(0, 5) == drawn(0, 5)
    all_drawn = [tuple(drawn(seed, step)) for seed in (0, 1) for step in (0, 1, 2)]
    assert len(set(all_drawn)) == 6


def test_references_learned_from_follow_from_seed_and_step(accelerator, captioner):
    from trainers.data.batch import Batch

    captions = [tuple(f"caption number {i} of {n}" for i in range(5)) for n in range(4)]
    features = torch.zeros(4, 5, 12)
    batch = Batch([str(n) for n in range(4)], [None] * 4, captions, None, features, [], 0, 0)

    def taken(seed, step):
        stepper = Stepper(captioner, captioner, None, make_optimizer("xe"), None, accelerator, seed)
        generator = stepper.seed_step(step)
        micro_batches = [stepper.collect(batch, generator, monitored=False, compared=False) for _ in range(2)]
        return tuple(
            t for micro_batch in micro_batches for t in captioner.decode_text(micro_batch.candidates.tokens[:, 0])
        )

    assert taken(0, 3) == taken(0, 3)
    assert taken(0, 3)[:4] != taken(0, 3)[4:]  # two micro-batches of one step
    assert len({taken(seed, step) for seed in (0, 1) for step in (0, 1, 2)}) == 6
