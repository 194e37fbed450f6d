"""Baselines per term, terms without one, and what scst adds for entropy and variety."""

from __future__ import annotations

import math

import pytest
import torch
from train_helpers import TINY, column, fields, rows, train

from capreward import load
from capreward.errors import InputError
from capreward.samples import Samples
from trainers.captioners.grid import GridCaptioner, GridSizes
from trainers.captioners.towers import StoredTower
from trainers.captioners.vocabulary import ClipVocabulary, target_mask
from trainers.data import open_dataset
from trainers.decoding.entropy import mean_entropies
from trainers.optimizers.base import CandidateTokens, make_optimizer
from trainers.optimizers.scst import SelfCritical
from trainers.rewards.config import RewardConfig
from trainers.rewards.rewards import load_rewards, unbaselined_terms
from trainers.runs.step import CollectedBatch

# Two images with two samples each and a greedy caption.
CAPTIONS = ["a dog", "a a a a", "one two three", "x", "a cat sits here", "the the"]
LENGTHS = torch.tensor([[2.0, 4, 3], [1, 4, 2]])
KEYS, PICTURES, REFERENCES = ["k1", "k2"], [None, None], [["r"], ["s"]]


def rewards(expression, **settings):
    config = RewardConfig(expression=expression, **settings)
    return load_rewards(config, open_dataset("scenes:train", count=3), None, {})[0]


def judged(expression, learned=2, **settings):
    monitored = settings.pop("monitored", False)
    judge = rewards(expression, **settings)
    return judge.compute(CAPTIONS, KEYS, PICTURES, REFERENCES, learned=learned, monitored=monitored)


def repetitions():
    return torch.from_numpy(load("repetition").per_caption(Samples(CAPTIONS), None)[:, 0]).float().view(2, 3)


def test_means_of_terms_leave_the_greedy_caption_out():
    found = judged("2*length - repetition", monitors="length, repetition", monitored=True)
    repeated = repetitions()
    torch.testing.assert_close(found.raw, 2 * LENGTHS - repeated)
    assert found.parts == pytest.approx({"length": 2.75, "repetition": float(repeated[:, :2].mean())})
    assert found.baselines == pytest.approx({"length": 2.5, "repetition": float(repeated[:, 2].mean())})
    whole = judged("2*length - repetition", learned=3)
    assert whole.parts["length"] == pytest.approx(float(LENGTHS.mean()))
    assert whole.baselines == {}
    alone = judged("length")
    assert (alone.parts, alone.baselines) == ({"length": 2.75}, {"length": 2.5})


def test_terms_without_a_baseline_are_added_as_they_are():
    """r = w (S(sampled) - S(greedy)) + g(sampled)."""
    found = judged("2*length + repetition", unbaselined="repetition")
    advantage = SelfCritical(candidates=2).advantage(found.raw)
    expected = 2 * (LENGTHS[:, :2] - LENGTHS[:, 2:]) + repetitions()[:, :2]
    torch.testing.assert_close(advantage, expected)
    assert found.baselines["repetition"] == pytest.approx(float(repetitions()[:, 2].mean()))  # told all the same
    alone = judged("length", unbaselined="length")
    torch.testing.assert_close(SelfCritical(candidates=2).advantage(alone.raw), LENGTHS[:, :2])


def test_a_constant_on_both_sides_changes_nothing():
    """clipreward.md 14: added to a term of the sampled and of the greedy caption, it leaves r as it is."""
    scst = SelfCritical(candidates=2)
    plain, shifted = (scst.advantage(judged(f"2*(length + {c}) + repetition").raw) for c in (0, 11))
    torch.testing.assert_close(plain, shifted)
    bare = scst.advantage(judged("2*length + (repetition + 11)", unbaselined="repetition").raw)
    torch.testing.assert_close(bare, scst.advantage(judged("2*length + repetition", unbaselined="repetition").raw))


def test_unbaselined_terms_are_terms_of_the_reward():
    def terms(expression, unbaselined):
        return unbaselined_terms(RewardConfig(expression=expression, unbaselined=unbaselined))

    assert terms("2*length + repetition", None) == frozenset()
    assert terms("2*length + 0.5*repetition(n=2)", "repetition") == {"repetition(n=2)"}
    assert terms("length - repetition(n=2) + repetition(n=1)", "repetition(n=1)") == {"repetition(n=1)"}
    with pytest.raises(InputError, match="names clips, and the reward has length, repetition"):
        terms("length + repetition", "clips")
    with pytest.raises(InputError, match="multiplies with another evaluator"):
        terms("length*(1 - repetition)", "repetition")
    with pytest.raises(InputError, match="leave out low and high"):
        RewardConfig(expression="length", unbaselined="length", high=1.0).check()


@pytest.mark.parametrize("flags", [["--optimizer", "dico"], ["--optimizer", "scst", "--baseline", "mean"]])
def test_unbaselined_needs_a_greedy_baseline(tmp_path, flags):
    told = train(tmp_path, *flags, "--reward", "length", *fields("reward", unbaselined="length"), status=2)
    assert "reward.unbaselined leaves terms out of the greedy baseline" in told


def test_rows_tell_each_term_with_its_baseline_and_advantage(tmp_path):
    extra = ["--optimizer", "scst", "--reward", "2*length - repetition", "--steps", "2", "--accumulation", "2"]
    train(tmp_path, *extra, *fields("data", val=None), *fields("optimizer", max_length=10))
    for row in rows(tmp_path / "run", "train"):
        for term in ("length", "repetition"):
            gained = row[f"reward/{term}"] - row[f"baseline/{term}"]
            assert row[f"advantage/{term}"] == pytest.approx(gained, abs=1e-6)
        whole = 2 * row["advantage/length"] - row["advantage/repetition"]
        assert row["advantage"] == pytest.approx(whole, abs=1e-5)
        assert row["reward"] == pytest.approx(2 * row["reward/length"] - row["reward/repetition"], abs=1e-5)


@pytest.fixture
def captioner():
    torch.manual_seed(3)
    sizes = GridSizes(**{**TINY["captioner"]["sizes"], "dropout": 0})
    return GridCaptioner(StoredTower((5, 12)), ClipVocabulary(), sizes).eval()


@torch.no_grad()
def test_entropies_are_those_of_the_whole_distributions(captioner):
    words = captioner.vocabulary
    tokens = torch.randint(1, 300, (2, 3, 6), generator=torch.Generator().manual_seed(1))
    tokens[..., 0] = words.bos
    tokens[0, 1, 3:] = torch.tensor([words.eos, words.pad, words.pad])
    tokens[1, 2, 1:] = torch.tensor([words.eos, *[words.pad] * 4])
    memory = captioner.encode(torch.randn(2, 5, 12))
    found = mean_entropies(captioner, memory, tokens)
    mask = target_mask(words, tokens)
    assert mask.sum(-1).tolist() == [[5, 3, 5], [5, 5, 1]]
    for image in range(2):
        for k in range(3):
            total = 0.0
            for at in range(5):  # each distribution anew, from the words before it
                cache = captioner.start(type(memory)(memory.states[image : image + 1]), 6)
                for token in tokens[image, k, : at + 1]:
                    logits = captioner.step(cache, token.view(1))
                p = torch.softmax(logits[0].double(), -1)
                total += float(-(p * p.log()).sum()) * bool(mask[image, k, at])
            assert float(found[image, k]) == pytest.approx(total / int(mask[image, k].sum()), rel=1e-5)
    assert not found.requires_grad


def scored(entropy=None, diversity=None):
    mask = torch.ones(2, 3, 4, dtype=torch.bool)
    return CandidateTokens(torch.zeros(2, 3, 5, dtype=torch.long), mask, 2, entropy, diversity)


def test_entropy_is_added_before_the_baseline_and_self_cider_behind_it():
    entropy, diversity = torch.tensor([[0.5, 1.5], [2.0, 2.0]]), torch.tensor([0.3, 0.9])
    given = torch.tensor([[1.0, 2.0, 4.0], [0.0, 1.0, 0.5]])
    greedy = SelfCritical(candidates=2, entropy_weight=0.1, self_cider_weight=2.0)
    expected = given[:, :2] + 0.1 * entropy - given[:, 2:] + 2 * diversity.unsqueeze(1)
    torch.testing.assert_close(greedy.advantage(given, scored(entropy, diversity)), expected)
    mean = SelfCritical(candidates=2, baseline="mean", entropy_weight=0.1, self_cider_weight=2.0)
    raised = given[:, :2] + 0.1 * entropy
    expected = raised - raised.flip(1) + 2 * diversity.unsqueeze(1)
    torch.testing.assert_close(mean.advantage(given[:, :2], scored(entropy, diversity)), expected)
    # a constant of an image is cancelled where it is part of the reward
    constant = given[:, :2] + diversity.unsqueeze(1)
    torch.testing.assert_close(mean.advantage(constant, scored()), mean.advantage(given[:, :2], scored()))
    policy = torch.full((2, 2, 4), -1.0, requires_grad=True)
    loss, stats = mean.loss(policy, None, scored(entropy, diversity), given[:, :2])
    assert loss.item() == pytest.approx(float(expected.mean()), abs=1e-6)
    assert float(stats["entropy"]) == pytest.approx(1.5)
    assert float(stats["self-cider"]) == pytest.approx(0.6)


def test_self_cider_is_that_of_the_samples_alone():
    judge = load_rewards(RewardConfig(expression="length"), None, None, {}, varied=True)[0]
    assert judge.diversity is not None
    captions = ["a dog runs", "a dog runs", "far away", "a dog runs", "two cats sleep", "a dog runs"]
    references = [["a dog runs", "a cat"], ["two cats sleep here"]]
    found = judge.compute(captions, KEYS, PICTURES, references, learned=2)
    assert found.diversity.tolist() == pytest.approx([0.0, 1.0], abs=1e-6)  # equal samples; samples with nothing shared


def test_weights_of_entropy_and_variety_are_learned_from(tmp_path):
    base = ["--optimizer", "scst", "--reward", "length", "--steps", "1", *fields("data", val=None)]
    options = {"max_length": 10, "entropy_weight": 0.5, "self_cider_weight": 0.25}
    train(tmp_path, *base, *fields("optimizer", max_length=10), run="plain")
    train(tmp_path, *base, *fields("optimizer", **options), run="both")
    plain, both = (rows(tmp_path / run, "train")[0] for run in ("plain", "both"))
    assert both["reward"] == plain["reward"]  # the same samples, by what judges them
    assert both["self-cider"] > 0
    assert 0 < both["entropy"] < math.log(49409)
    gained = 0.5 * both["entropy"] + 0.25 * both["self-cider"]
    assert both["advantage"] == pytest.approx(plain["advantage"] + gained, rel=1e-4)
    assert column(tmp_path / "both", "loss") != column(tmp_path / "plain", "loss")
    assert len(list((tmp_path / "both").glob("document-frequencies-*.npz"))) == 1


def test_options_out_of_range_are_refused():
    with pytest.raises(InputError, match="entropy_weight must be a number, at least 0"):
        make_optimizer("scst", {"entropy_weight": -1})
    with pytest.raises(InputError, match="at least 2 candidates"):
        make_optimizer("scst", {"self_cider_weight": 1, "candidates": 1})


def test_texts_without_those_of_the_baseline():
    work = CollectedBatch(["a", "b"], torch.zeros(2), scored(), [f"text {n}" for n in range(6)])
    assert work.learned_texts() == ["text 0", "text 1", "text 3", "text 4"]
