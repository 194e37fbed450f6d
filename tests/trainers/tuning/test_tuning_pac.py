"""``capreward tune`` for PAC-S and PAC-S++ on scenes: what moves, what is written, and taking up again."""

from __future__ import annotations

import json

import pytest
import torch

import capreward
from capreward.data.scenes import scene
from capreward.encoders.loading import load_clip
from capreward.encoders.weights.configured_folders import shipped_folder
from trainers.runs.config_files import merged, read_recipe
from trainers.tuning.config import build
from trainers.tuning.objective import RECIPES
from trainers.tuning.tuning_session import run_tuning

SMALL = {
    "data": {"count": 64, "val_count": 20},
    "training": {"steps": 6, "batch_size": 8, "schedule": "constant", "warmup": 0, "lr": 3e-3, "weight_decay": 0.0},
    "evaluation": {"every": 3, "batch_size": 10},
    "checkpoint": {"every": 3},
    "device": "cpu",
}
LORA = {"objective": {"adapt": "lora", "rank": 2, "alpha": 4.0}}


def tuned(path, *more):
    values = merged(read_recipe("scenes-pac", RECIPES), SMALL)
    for other in more:
        values = merged(values, other)
    run_tuning(build(values), path, [], quiet=True)
    return load_clip(path / "last").model.state_dict()


@pytest.fixture(scope="module")
def base():
    return load_clip("scenes-clip").model.state_dict()


@pytest.fixture(scope="module")
def lora(tmp_path_factory):
    path = tmp_path_factory.mktemp("lora")
    return path, tuned(path, LORA)


def moved(state, base):
    assert state.keys() == base.keys()
    return {name for name, value in state.items() if not torch.equal(value, base[name])}


def test_projections_alone_move(tmp_path, base):
    assert moved(tuned(tmp_path, {"training": {"steps": 3}}), base) == {"visual.proj", "text_projection"}
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    first, last = [row for row in rows if row["kind"] == "eval"]
    assert first["clip_loss"] < first["loss"]
    assert last["loss"] != first["loss"]
    assert 0 <= last["text_to_image_r1"] <= last["text_to_image_r10"] <= 1


def test_factors_are_written_folded(lora, base):
    path, state = lora
    names = moved(state, base)
    assert "visual.conv1.weight" in names
    assert len(names) == 1 + 4 * (4 + 2)
    assert names == {n for n in base if n.endswith("conv1.weight") or ("resblocks" in n and base[n].ndim == 2)}
    folder = json.loads((path / "last" / "capreward.json").read_text())
    assert folder["tuned"]["objective"]["adapt"] == "lora"
    assert json.loads((path / "last" / "open_clip_config.json").read_text()) == json.loads(
        (shipped_folder("scenes-clip") / "open_clip_config.json").read_text()
    )


def test_taking_up_again_gives_the_same(tmp_path, lora):
    """Factors and the optimizer's moments come back: three steps and three more are six."""
    tuned(tmp_path, LORA, {"training": {"steps": 3}})
    again = tuned(tmp_path, LORA)
    assert all(torch.equal(value, again[name]) for name, value in lora[1].items())


def test_it_scores_by_its_path(lora):
    captions = {scene("test", i).key: scene("test", i).captions[0] for i in range(6)}
    found = []
    for source in (lora[0] / "last", "scenes-clip"):
        (score,) = capreward.score(captions, images="scenes", metrics=f"pacs(checkpoint={source})").values()
        found.append(score.per_caption)
    assert abs(found[0] - found[1]).max() > 1e-3
    assert found[0].min() > 0


@pytest.mark.parametrize("name", ["pac", "pacpp", "scenes-pac"])
def test_recipes_are_whole(name):
    config = build(read_recipe(name, RECIPES))
    assert config.objective["name"] == "pac"
    assert config.objective["adapt"] == ("lora" if name == "pacpp" else "projections")
    assert (config.objective["image_weight"], config.objective["text_weight"]) == (0.05, 0.1)
    assert config.prompt == "A photo depicts "
    assert bool(config.departures) == (not name.startswith("scenes"))
    if name == "pacpp":
        assert (config.objective["rank"], config.objective["alpha"]) == (4, 1.0)
