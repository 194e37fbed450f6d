"""The loop on real runs of seconds: what is learned, logged, evaluated and kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from train_helpers import TINY, column, farthest, fields, rows, same_weights, train, weights

from capreward.data.scenes import scene
from trainers.captioners.base import Captioner
from trainers.runs.config import TrainingConfig
from trainers.runs.config_files import build
from trainers.runs.initial_captioner import make_captioner
from trainers.runs.schedules import adamw, learning_rate

STILL = [*fields("captioner", sizes={**TINY["captioner"]["sizes"], "dropout": 0})]
QUIET = [*fields("data", val=None)]
PLUGIN = '''
import capreward

@capreward.reward("as")
def count_as(captions, **context):
    """Words "a"."""
    return [caption.split().count("a") for caption in captions]
'''


@pytest.fixture(scope="module")
def xe(tmp_path_factory):
    """A captioner that has learned four pictures, and the run it comes from."""
    folder = tmp_path_factory.mktemp("xe")
    extra = ["--count", "4", "--steps", "100", "--lr", "1e-2", "--eval-every", "50", *STILL]
    train(folder, *extra, *fields("data", val="scenes:train", val_count=4), *fields("logging", every=50))
    return folder / "run"


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    """A file with the reward "as"."""
    path = tmp_path_factory.mktemp("plugin") / "as.py"
    path.write_text(PLUGIN)
    return path


def from_run(xe, optimizer, reward, *extra):
    """Arguments of a run that goes on from a captioner."""
    return ["--optimizer", optimizer, "--captioner", str(xe), "--reward", reward, *extra]


def test_xe_learns_what_can_be_learned_by_heart(xe):
    losses = column(xe, "loss")
    assert len(losses) == 2
    assert losses[0] > 2 * losses[1]
    cider = column(xe, "cider", "eval")
    assert cider[0] < 0.05
    assert cider[2] > 0.5
    assert column(xe, "step", "eval") == [0, 50, 100]
    assert rows(xe, "eval")[-1]["unfinished"] < 1


def test_rows_are_complete(xe):
    for row in rows(xe, "train"):
        assert row.keys() == {"step", "kind", "loss", "logprob", "grad_norm", "lr", "tokens/s", "images"}
        assert row["logprob"] == pytest.approx(-row["loss"], abs=1e-5)  # of xe the same
        assert row["images"] == row["step"] * 8
        assert row["lr"] == pytest.approx(0.01)
        assert row["tokens/s"] > 0
    for row in rows(xe, "eval"):
        assert row.keys() == {"step", "kind", "cider", "unfinished"}


def test_the_best_and_the_last_captioner_are_kept(tmp_path):
    extra = ["--count", "4", "--steps", "30", "--lr", "1e-2", "--eval-every", "10", *STILL]
    train(tmp_path, *extra, *fields("data", val="scenes:train", val_count=4))
    run = tmp_path / "run"
    found = {row["step"]: row["cider"] for row in rows(run, "eval")}
    best = max(found, key=found.get)
    kept = json.loads((run / "checkpoints/step-00000030/progress.json").read_text())
    assert (kept["best_step"], kept["best"]) == (best, found[best])
    again = json.loads((run / f"samples/step-{best:08d}.jsonl").read_text(encoding="utf-8").splitlines()[0])
    captioner = Captioner.from_pretrained(run / "best")
    item = scene("train", 0)
    assert again["key"] == item.key
    assert again["references"] == list(item.captions)
    assert captioner.longest == 24
    last = Captioner.from_pretrained(run / "last")
    assert last.state_dict().keys() == captioner.state_dict().keys()


def test_the_worst_value_is_best_of_a_metric_that_should_be_low(tmp_path):
    metrics = fields("evaluation", metrics="length, repetition", best="repetition")
    train(tmp_path, "--lr", "1e-2", "--eval-every", "1", *metrics)
    found = {row["step"]: row["repetition"] for row in rows(tmp_path / "run", "eval")}
    assert len(set(found.values())) > 1
    kept = json.loads((tmp_path / "run/checkpoints/step-00000006/progress.json").read_text())
    assert kept["best"] == min(found.values())
    assert kept["best_step"] == min(found, key=found.get)


def test_patience_ends_a_run_and_more_of_it_goes_on(tmp_path):
    still = ["--lr", "0", "--eval-every", "1", "--steps", "8"]  # nothing gets better
    told = train(tmp_path, *still, "--patience", "3")
    assert "no better cider in 3 evaluations since step 0" in told
    assert column(tmp_path / "run", "step", "eval") == [0, 1, 2, 3]
    assert "this run is over: no better cider" in train(tmp_path, *still, "--patience", "3")
    assert column(tmp_path / "run", "step", "eval") == [0, 1, 2, 3]
    train(tmp_path, *still, "--patience", "5")
    assert column(tmp_path / "run", "step", "eval") == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("optimizer", ["scst", "dico"])
def test_the_reward_rises(tmp_path, xe, plugin, optimizer):
    tuned = {"dico": {"tau": 1, "max_length": 16}, "scst": {"max_length": 16}}[optimizer]
    extra = ["--steps", "16", "--lr", "4e-3", "--plugin", str(plugin), *fields("optimizer", **tuned), *QUIET]
    train(tmp_path, *from_run(xe, optimizer, "as", *extra), *fields("training", clip=None))
    reward = column(tmp_path / "run", "reward")
    assert sum(reward[-4:]) > sum(reward[:4]) + 4, reward
    assert all(row["reward"] >= 0 for row in rows(tmp_path / "run", "train"))
    assert {"kl", "length", "repetition", "reward", "loss"} <= rows(tmp_path / "run", "train")[0].keys()


def test_the_first_update_sees_no_difference_from_the_reference(tmp_path, xe):
    plain = fields("optimizer", dropout=False, search_dropout=False, max_length=12)
    train(tmp_path, *from_run(xe, "dico", "length", "--steps", "2", *plain, *QUIET))
    first, second = rows(tmp_path / "run", "train")
    assert first["kl"] == 0
    assert first["chosen"] == first["rejected"] == 0
    assert first["loss"] == pytest.approx(0.6931472, abs=1e-6)
    assert second["kl"] != 0


STEPS = {
    "xe": [],
    "xe, three captions": fields("optimizer", captions=3),
    "dico": fields("optimizer", dropout=False, search_dropout=False, max_length=10, tau=2),
}


@pytest.mark.parametrize("kind", STEPS)
def test_accumulation_learns_the_same(tmp_path, xe, kind):
    """4 micro-batches of 2 or 1 batch of 8: one update is the same update."""
    # With a large eps Adam does not blow up the rounding of gradients that are next to nothing.
    base = ["--steps", "4", *QUIET, *fields("training", clip=0.5, eps=1e-2)]
    base += from_run(xe, "dico", "length") if kind == "dico" else ["--optimizer", "xe", *STILL]
    base += STEPS[kind]
    train(tmp_path, *base, "--batch-size", "2", "--accumulation", "4", run="four")
    train(tmp_path, *base, "--batch-size", "8", run="one")
    for name in ("loss", "logprob", "grad_norm"):
        four, one = column(tmp_path / "four", name), column(tmp_path / "one", name)
        assert four == pytest.approx(one, rel=1e-6, abs=1e-6), name
    assert column(tmp_path / "four", "images") == [8, 16, 24, 32]
    assert farthest(tmp_path / "four", tmp_path / "one") < 1e-6


@pytest.mark.parametrize("optimizer", ["xe", "scst", "dico"])
def test_the_same_seed_gives_the_same_bits(tmp_path, xe, optimizer):
    extra = ["--steps", "3", *QUIET]
    if optimizer != "xe":
        options = {"dropout": True, "max_length": 10, **({"search": "sample"} if optimizer == "dico" else {})}
        extra += [*from_run(xe, optimizer, "length"), *fields("optimizer", **options)]
    train(tmp_path, *extra, run="one")
    train(tmp_path, *extra, "--workers", "2", run="again")
    train(tmp_path, *extra, "--seed", "7", run="other")
    assert same_weights(tmp_path / "one", tmp_path / "again")
    assert not same_weights(tmp_path / "one", tmp_path / "other")


def test_terms_and_monitors_are_logged_for_themselves(tmp_path, xe):
    extra = ["--monitor", "repetition, length", "--reward-every", "2", "--steps", "4", *QUIET]
    told = train(tmp_path, *from_run(xe, "scst", "pacs + cider-d", *extra), *fields("optimizer", max_length=10))
    run = tmp_path / "run"
    assert "CIDEr takes its document frequencies from the training captions" in told
    assert len(list(run.glob("document-frequencies-*.npz"))) == 1
    for row in rows(run, "train"):
        sampled = [name for name in row if name.startswith("reward/")]
        expected = {"reward/pacs", "reward/cider-d"} | (
            {"reward/repetition", "reward/length"} if row["step"] % 2 == 0 else set()
        )
        assert set(sampled) == expected
        assert row["reward/pacs"] > 0


def test_rows_are_means_over_their_steps(tmp_path):
    train(tmp_path, *QUIET, "--steps", "5", run="each")
    train(tmp_path, *QUIET, "--steps", "5", *fields("logging", every=2), run="two")
    each, two = rows(tmp_path / "each"), rows(tmp_path / "two")
    assert [row["step"] for row in two] == [2, 4, 5]  # the last step is told in any case
    for row, (first, second) in zip(two, ((0, 1), (2, 3), (4, 4)), strict=True):
        for name in ("loss", "grad_norm", "lr"):
            assert row[name] == pytest.approx((each[first][name] + each[second][name]) / 2, rel=1e-6)


def test_tensorboard_gets_every_row(tmp_path):
    event_file = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    train(tmp_path, "--track", "tensorboard", "--steps", "3")
    found = {}
    for path in (tmp_path / "run").rglob("events.out.*"):
        for event in event_file.EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                found.setdefault(value.tag, []).append(event.step)
    assert found["train/loss"] == [1, 2, 3]
    assert found["eval/cider"] == [0, 3]


def test_samples_hold_captions_and_references(tmp_path):
    train(tmp_path, "--steps", "2", *fields("evaluation", samples=4))
    for step in (0, 2):
        lines = (tmp_path / f"run/samples/step-{step:08d}.jsonl").read_text(encoding="utf-8").splitlines()
        found = [json.loads(line) for line in lines]
        assert [row["key"] for row in found] == [scene("val", i).key for i in range(4)]
        assert all(isinstance(row["caption"], str) and len(row["references"]) == 5 for row in found)


def test_no_steps_evaluate_and_keep_what_there_is(tmp_path, xe):
    train(tmp_path, "--captioner", str(xe), "--steps", "0")
    assert column(tmp_path / "run", "step", "eval") == [0]
    assert rows(tmp_path / "run", "train") == []
    before = weights(xe, "best")
    assert all(before[name].equal(tensor) for name, tensor in weights(tmp_path / "run").items())


def test_gradients_are_clipped(tmp_path):
    def moved(*extra, run):
        train(tmp_path, *QUIET, "--steps", "1", "--lr", "1", *fields("training", eps=1e4), *extra, run=run)
        train(tmp_path, *QUIET, "--steps", "0", run="start")
        start, end = weights(tmp_path / "start"), weights(tmp_path / run)
        return sum(float((end[n] - start[n]).double().square().sum()) for n in start) ** 0.5

    free = moved(*fields("training", clip=None), run="free")
    norm = column(tmp_path / "free", "grad_norm")[0]
    clipped = moved(*fields("training", clip=norm / 4), run="clipped")
    assert column(tmp_path / "clipped", "grad_norm")[0] == norm  # told before clipping
    # With a large eps the first update of Adam is lr * gradient / eps; with a huge one it drowns in the weights' rounding.
    assert free * 1e4 == pytest.approx(norm, rel=5e-4)
    assert clipped / free == pytest.approx(0.25, rel=5e-4)


@pytest.mark.slow
def test_bf16_learns(tmp_path):
    import subprocess

    from train_helpers import finish, start

    assert finish(start(tmp_path, "--precision", "bf16", "--steps", "3", *QUIET, stdout=subprocess.DEVNULL))
    losses = column(tmp_path / "run", "loss")
    assert losses[2] < losses[0]
    assert weights(tmp_path / "run")["words.weight"].dtype is torch.float32


def rates(steps=10, width=512, **settings):
    training = TrainingConfig(steps=steps, **settings)
    return [learning_rate(training, step, steps, width) for step in range(steps)]


def test_schedules():
    assert rates(3, lr=0.5) == [0.5] * 3
    assert rates(4, lr=1.0, schedule="linear") == [1.0, 0.75, 0.5, 0.25]
    assert rates(6, lr=1.0, schedule="linear", warmup=2) == [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    half = [1.0, 0.5 + 0.25 * 2**0.5, 0.5, 0.5 - 0.25 * 2**0.5]
    assert rates(4, lr=1.0, schedule="cosine") == pytest.approx(half)
    assert rates(8, lr=2.0, schedule="cosine", warmup=0.5)[:5] == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.0])
    assert rates(4, lr=1.0, warmup=4) == [0.25, 0.5, 0.75, 1.0]


def test_noam_is_the_published_schedule():
    """clipreward.md 14: d 512, warm-up 20,000."""
    training = TrainingConfig(steps=40_000, lr=1.0, schedule="noam", warmup=20_000)
    at = [learning_rate(training, step - 1, 40_000, 512) for step in (14_175, 20_000, 20_001, 80_000)]
    assert at[0] == pytest.approx(2.2148e-4, abs=5e-9)
    assert at[1] == pytest.approx(3.125e-4, abs=1e-12)
    assert at[2] < at[1]
    assert at[3] == pytest.approx(1.5625e-4, abs=1e-12)


def test_weight_decay_is_for_matrices():
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    model[0].bias.requires_grad_(False)
    groups = adamw(model, TrainingConfig(steps=1, lr=0.1, weight_decay=0.5, betas=(0.8, 0.9), eps=1e-3)).param_groups
    assert [[tuple(p.shape) for p in group["params"]] for group in groups] == [[(2, 3)], [(2,), (2,)]]
    assert [group["weight_decay"] for group in groups] == [0.5, 0.0]
    assert (groups[0]["betas"], groups[0]["eps"], groups[0]["lr"]) == ((0.8, 0.9), 1e-3, 0.1)


def test_a_run_folder_holds_what_it_says(xe):
    names = {path.name for path in Path(xe).iterdir()}
    assert names == {"best", "checkpoints", "config.yaml", "last", "metrics.jsonl", "run.log", "samples"}
    assert [p.name for p in sorted((xe / "checkpoints").iterdir())] == ["step-00000100"]
    log = (xe / "run.log").read_text().splitlines()
    assert log[0].endswith(f"xe on 4 pictures of scenes:train, 100 steps, in {xe}")
    assert "all 100 steps done; best cider" in log[-1]


def test_new_captioners_begin_as_their_seed_says_whatever_was_drawn_before():
    sizes = {"width": 16, "heads": 2, "inner": 16, "encoder_layers": 1, "decoder_layers": 1}
    captioner = {"tower": "patch", "vocabulary": "clip", "sizes": sizes}

    def begun(seed, draws):
        torch.manual_seed(draws)
        values = {"seed": seed, "training": {"steps": 1}, "captioner": captioner}
        return make_captioner(build(values), None).state_dict()

    one, again, other = begun(3, 0), begun(3, 1), begun(4, 0)
    assert any(name.startswith("tower.") for name in one)
    assert all(torch.equal(one[name], again[name]) for name in one)
    drawn = [name for name in one if name.endswith("weight") and one[name].std() > 0]
    assert len(drawn) > 10
    assert not any(torch.equal(one[name], other[name]) for name in drawn)
