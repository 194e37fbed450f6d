"""Tuning from the command line: what moves, what is written, what is told."""

from __future__ import annotations

import json
import math
import shutil

import pytest
import torch
import yaml
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from train_helpers import column, fields, finish, rows
from tune_helpers import HEAD, MODEL, TINY, farthest, same, start, tune, tuned

import capreward
from capreward.commands import main
from capreward.data.scenes import ScenePicture, scene
from capreward.encoders.loading import load_clip
from capreward.encoders.weights.configured_folders import shipped_folder
from trainers.runs.config_files import read_recipe, recipe_names
from trainers.runs.folder import PROGRESS
from trainers.tuning.config import build
from trainers.tuning.objective import RECIPES


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short run."""
    folder = tmp_path_factory.mktemp("tune")
    told = tune(folder)
    return folder / "run", told


def test_the_frozen_side_does_not_move_and_the_rest_does(run):
    before = {n: t.float() for n, t in load_file(shipped_folder("scenes-clip") / MODEL).items()}
    after = tuned(run[0])
    moved = {name for name in before if not before[name].equal(after[name])}
    assert moved == {name for name in before if not name.startswith("visual.")}
    assert set(after) - set(before) == {"head.0.weight", "head.2.weight"}


def test_what_is_written_loads_and_scores(run):
    clip = load_clip(run[0] / "last")
    assert clip.spec.layout == "grammar"
    assert clip.grammar_head[0].weight.equal(load_file(run[0] / "last" / HEAD)["0.weight"])
    seen = scene("val", 3)
    samples = capreward.Samples([seen.captions[0], "a dog dog the"], images=[ScenePicture("val", 3)] * 2)
    scores = capreward.load(f"clips(checkpoint={run[0] / 'last'})")(samples)
    assert scores[0] > scores[1] > 0
    record = json.loads((run[0] / "last" / "capreward.json").read_text())
    assert record["source"]["name"] == "scenes-clip"
    assert record["tuned"]["steps"] == 4
    assert record["tuned"]["objective"]["least"] == 1
    assert "base" not in record


def test_the_rows_tell_losses_and_figures(run):
    assert [row["step"] for row in rows(run[0], "eval")] == [0, 2, 4]
    for row in rows(run[0], "train"):
        assert row["loss"] == pytest.approx(row["clip_loss"] + row["grammar_loss"], abs=1e-5)
        assert row["pairs"] == 8 * row["step"]
    assert column(run[0], "lr") == [1e-3] * 4
    losses = column(run[0], "loss", "eval")
    progress = json.loads((run[0] / "checkpoints/step-00000004" / PROGRESS).read_text())
    assert progress["best"] == min(losses)
    assert progress["best_step"] == [0, 2, 4][losses.index(min(losses))]
    assert "grammar from scenes-clip on 24 pairs of scenes:train, 4 steps" in run[1]
    assert f"best loss {min(losses):.4f}" in run[1]
    assert "the tuned CLIP is in" in run[1]


def test_held_out_figures_are_those_of_the_weights_written(run):
    """Retrieval, from pictures and texts by the model alone, and the loss as a mean over batches of four."""
    from torch.nn.functional import cross_entropy, normalize

    from capreward.data.images.preprocessing import normalise, prepare
    from trainers.captioners.word_vocabulary import split_words

    clip = load_clip(run[0] / "last")
    pixels = torch.stack(
        [torch.from_numpy(prepare(ScenePicture("val", i), clip.spec.preprocessing)) for i in range(10)]
    )
    image = normalize(clip.model.encode_image(normalise(pixels, clip.spec.preprocessing)), dim=-1)
    captions = [" ".join(split_words(scene("val", i).captions[0])) for i in range(10)]
    text = normalize(clip.model.encode_text(clip.tokenizer(captions)), dim=-1)
    cosine = text @ image.T
    last = rows(run[0], "eval")[-1]
    assert last["text_to_image_r1"] == pytest.approx(float((cosine.argmax(1) == torch.arange(10)).float().mean()))
    assert last["image_to_text_r1"] == pytest.approx(float((cosine.argmax(0) == torch.arange(10)).float().mean()))
    total = 0.0
    for start_at in (0, 4, 8):
        part = clip.model.logit_scale.exp() * cosine[start_at : start_at + 4, start_at : start_at + 4]
        own = torch.arange(len(part))
        total += float(cross_entropy(part, own) + cross_entropy(part.T, own)) / 2 * len(part)
    assert last["clip_loss"] == pytest.approx(total / 10, abs=1e-5)


def test_a_run_taken_up_again_ends_the_same(tmp_path, run):
    shutil.copytree(run[0], tmp_path / "run")
    for step in (4,):
        shutil.rmtree(tmp_path / f"run/checkpoints/step-{step:08d}")
    shutil.rmtree(tmp_path / "run/last")
    assert "going on from step 2 of 4" in tune(tmp_path)
    assert same(run[0], tmp_path / "run")
    assert same(run[0], tmp_path / "run", "best")
    timeless = [
        [{k: v for k, v in row.items() if k != "tokens/s"} for row in rows(r)] for r in (run[0], tmp_path / "run")
    ]
    assert timeless[0] == timeless[1]
    assert "this run is over" in tune(tmp_path)


@pytest.mark.slow
def test_kill_9_changes_nothing(tmp_path, run):
    import time

    process = start(tmp_path, start_new_session=True)
    kept = tmp_path / "run/checkpoints"
    end = time.monotonic() + 200
    while not list(kept.glob("step-*")) and time.monotonic() < end and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    finish(start(tmp_path))
    assert same(run[0], tmp_path / "run")


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        (["--lr", "0.1"], "training.lr 0.001, and now it is 0.1; give another --run"),
        (["--prompt", "A photo depicts "], "prompt '', and now it is 'A photo depicts '"),
        (["--base", "scenes-judge"], "base 'scenes-clip', and now it is 'scenes-judge'"),
        (fields("objective", least=2), "objective.least 1, and now it is 2"),
    ],
)
def test_changed_settings_are_refused(run, extra, told):
    assert told in tune(run[0].parent, *extra, status=2)


def test_stored_features_stand_for_pictures(tmp_path):
    """Those that the run makes first, and those of a store."""
    steady = fields("training", eps=1e-2)  # Adam would blow up the rounding of gradients that are next to nothing
    tune(tmp_path, *steady, run="pixels")
    tune(tmp_path, *steady, *fields("data", embed=True), run="embedded")
    assert farthest(tmp_path / "pixels", tmp_path / "embedded") < 1e-5
    for name in ("loss", "text_to_image_r1", "accuracy"):
        values = [column(tmp_path / which, name, "eval") for which in ("embedded", "pixels")]
        assert values[0] == pytest.approx(values[1], abs=1e-5)
    stores = tmp_path / "embedded/features"
    named = ["--images", str(stores / "train"), "--val-images", str(stores / "val")]
    tune(tmp_path, *steady, *named, run="stored")
    assert same(tmp_path / "embedded", tmp_path / "stored")
    told = tune(tmp_path, *named, "--base", "scenes-judge", run="other", status=2)
    assert "embed them anew" in told
    assert not (tmp_path / "other").exists()


@pytest.fixture
def captions_file(tmp_path):
    """Captions of twelve scenes, one a line, and two that cannot be corrupted."""
    path = tmp_path / "captions.txt"
    path.write_text("\n".join([*(scene("train", i).captions[0] for i in range(12)), "boat", "boat boat"]) + "\n")
    return str(path)


def test_texts_alone(tmp_path, captions_file):
    told = tune(tmp_path, "--data", captions_file, "--val", captions_file, *fields("data", count=None, val_count=None))
    assert "is used without images: there is no contrastive loss" in told
    assert "2 captions of" in told
    assert "too short for grammar left out" in told
    assert "grammar from scenes-clip on 12 items of captions alone" in told
    for row in rows(tmp_path / "run"):
        assert row["loss"] == row["grammar_loss"]
        assert "clip_loss" not in row
        assert "text_to_image_r1" not in row
    before, after = load_file(shipped_folder("scenes-clip") / MODEL), tuned(tmp_path / "run")
    assert after["logit_scale"].equal(before["logit_scale"].float())  # no image says anything about it
    assert after["text_projection"].equal(before["text_projection"].float())
    assert not after["token_embedding.weight"].equal(before["token_embedding.weight"].float())


def test_scenes_without_their_pictures(tmp_path):
    tune(tmp_path, "--images", "none", "--steps", "1")
    assert all("clip_loss" not in row for row in rows(tmp_path / "run"))


def test_slim_leaves_the_image_tower_out(tmp_path):
    tune(tmp_path, "--slim", "--steps", "1")
    names = set(load_file(tmp_path / "run/last" / MODEL))
    whole = set(load_file(shipped_folder("scenes-clip") / MODEL))
    assert names == {name for name in whole if not name.startswith("visual.")}
    record = json.loads((tmp_path / "run/last/capreward.json").read_text())
    assert record["base"] == {"source": "scenes-clip", "sha256": load_clip("scenes-clip").spec.sha256}


def test_sixteen_bits_round_the_towers_and_not_the_head(tmp_path, run):
    tune(tmp_path, "--fp16")
    whole, half = tuned(run[0]), tuned(tmp_path / "run")
    assert {n: t.dtype for n, t in half.items()} == {
        n: torch.float32 if n.startswith("head.") else torch.float16 for n in whole
    }
    assert all(half[name].equal(tensor.to(half[name].dtype)) for name, tensor in whole.items())


def test_tuning_goes_on_with_the_head_that_is_there(tmp_path, run):
    tune(tmp_path, "--base", str(run[0] / "last"), "--steps", "0")
    assert tuned(tmp_path / "run")["head.0.weight"].equal(tuned(run[0])["head.0.weight"])


def test_the_logit_scale_is_clamped_where_asked(tmp_path):
    shutil.copytree(shipped_folder("scenes-clip"), tmp_path / "hot")
    state = {name: tensor.float() for name, tensor in load_file(tmp_path / "hot" / MODEL).items()}
    save_file({**state, "logit_scale": torch.tensor(4.75)}, tmp_path / "hot" / MODEL)
    extra = ["--base", str(tmp_path / "hot"), "--lr", "0", "--steps", "1", *fields("data", val=None)]
    for clamp in (True, False):
        tune(tmp_path, *extra, *fields("training", clamp=clamp), run=str(clamp))
    scales = {clamp: float(tuned(tmp_path / str(clamp))["logit_scale"]) for clamp in (True, False)}
    assert scales == pytest.approx({True: math.log(100), False: 4.75}, abs=1e-6)


def test_pairs_with_scenes_drawn_anew(tmp_path):
    """PAC-S: only the projections move; taken up again it ends the same."""
    extra = ["--more-captions", "scenes", "--more-images", "scenes", "--set", "objective.name=pac"]
    config = {**TINY, "objective": {"name": "pac"}}
    tune(tmp_path, *extra, config=config)
    before, after = load_file(shipped_folder("scenes-clip") / MODEL), tuned(tmp_path / "run")
    moved = {name for name in before if not before[name].float().equal(after[name])}
    assert moved == {"visual.proj", "text_projection"}
    shutil.copytree(tmp_path / "run", tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut/checkpoints/step-00000004")
    shutil.rmtree(tmp_path / "cut/last")
    assert "going on from step 2" in tune(tmp_path, *extra, run="cut", config=config)
    assert same(tmp_path / "run", tmp_path / "cut")


def test_two_processes_compare_each_pair_with_all(tmp_path):
    """The pool is that of one process with twice the batch, and so are loss, gradient and figures."""
    steady = [*fields("training", eps=1e-2), *fields("evaluation", batch_size=5), "--device", "cpu", "--steps", "3"]
    steady += fields("objective", prefixes=1.0)
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    finish(start(tmp_path, *steady, "--batch-size", "4", run="two", launcher=launcher))
    tune(tmp_path, *steady, "--batch-size", "8", run="one")
    for name in ("loss", "clip_loss", "grammar_loss", "prefix_loss", "accuracy", "grad_norm", "pairs"):
        assert column(tmp_path / "two", name) == pytest.approx(column(tmp_path / "one", name), abs=1e-5), name
    assert farthest(tmp_path / "two", tmp_path / "one") < 1e-5
    for name in ("loss", "accuracy", "auc", "text_to_image_r1", "image_to_text_r5"):
        assert column(tmp_path / "two", name, "eval") == pytest.approx(column(tmp_path / "one", name, "eval"), abs=1e-5)


@pytest.mark.parametrize("name", recipe_names(RECIPES))
def test_recipes_are_whole(name):
    values = read_recipe(name, RECIPES)
    assert values["about"].endswith(".")
    assert build(values).make_objective().options().keys() <= build(values).objective.keys()


def test_the_published_hyper_parameters():
    published = build(read_recipe("grammar", RECIPES))
    training = published.training
    assert (training.batch_size, training.epochs, training.lr, training.schedule) == (1600, 30, 1e-4, "constant")
    assert (training.eps, training.weight_decay, training.decay, training.clip) == (1e-6, 0.01, "published", None)
    assert (published.prompt, published.base, training.clamp, training.betas) == (
        "",
        "ViT-B-32:openai",
        False,
        (0.9, 0.999),
    )


def invoked(*arguments):
    return CliRunner().invoke(main, list(arguments))


def test_with_no_data_a_recipe_falls_back_to_scenes_and_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    extra = ["--count", "20", "--val-count", "5", "--precision", "fp32"]  # a process keeps to one precision
    done = invoked("tune", "--recipe", "grammar", "--dry-run", *extra)
    assert done.exit_code == 0
    told = "data/dataset_coco.json is not here: tuning on the embedded scenes world with the recipe scenes-grammar"
    assert told in " ".join(done.stderr.split())
    printed = yaml.safe_load(done.stdout)
    assert printed["data"]["train"] == "scenes:train"
    assert build(printed).to_dict() == printed
    assert "parameters, trained" in done.stderr
    assert "349,825" in done.stderr


def test_recipes_are_listed_apart():
    listed = invoked("ls", "recipes").stdout
    train, _, tuning = listed.partition("of capreward tune:")
    assert "dico-coco" in train
    assert "grammar-better" not in train
    assert all(name in tuning for name in ("grammar", "grammar-better", "pac", "pacpp", "scenes-grammar", "scenes-pac"))
    assert "grammar" in invoked("ls", "objectives").stdout
