"""The grammar head that ships with the scenes world: size, base, and what it knows of held-out captions."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
import torch
from places import ROOT

import capreward
from capreward.data.scenes import ScenePicture, scene
from capreward.encoders.loading import load_clip
from capreward.encoders.weights.folders import shipped_folder
from trainers.tuning.corrupted_captions import Corruptor


@pytest.fixture(scope="module")
def held_out():
    """A random caption of 500 test scenes each, and a corruption of it by the words of training captions."""
    chance = random.Random(11)
    corruptor = Corruptor.of_captions(c for i in range(1500) for c in scene("train", i).captions)
    captions = [scene("test", i).captions[chance.randrange(5)] for i in range(500)]
    return captions, [corruptor.corrupt(caption, chance) for caption in captions]


def test_it_is_small_and_shares_the_image_tower_of_scenes_clip():
    files = {file.name: file.stat().st_size for file in shipped_folder("scenes-grammar").iterdir()}
    assert sum(files.values()) < 800_000
    tuned, base = load_clip("scenes-grammar"), load_clip("scenes-clip")
    for name, tensor in base.model.state_dict().items():
        assert tuned.model.state_dict()[name].equal(tensor) == name.startswith("visual."), name
    assert tuned.spec.sha256 != base.spec.sha256


def test_it_tells_held_out_captions_from_corrupted_ones(held_out):
    captions, made = held_out
    grammar = capreward.load("grammar(checkpoint=scenes-grammar, device=cpu)")
    good = grammar(capreward.Samples(captions)).numpy() > 0.5
    bad = grammar(capreward.Samples([text for _, text in made])).numpy() > 0.5
    assert (good.mean() + 1 - bad.mean()) / 2 >= 0.95
    kinds = np.array([kind for kind, _ in made])
    assert (~bad[kinds == "shuffle"]).all()
    assert (~bad[kinds == "repeat"]).mean() >= 0.9
    kept = json.loads((ROOT / "benchmarks/results/scenes_grammar.json").read_text())["figures"]["test"]
    assert good.mean() == pytest.approx(kept["recall_of_captions"], abs=0.009)


def test_captions_of_scenes_are_judged_by_it():
    pictures = [ScenePicture("test", i) for i in range(3)]
    captions = [scene("test", i).captions[0] for i in range(3)]
    lists = [" ".join(caption.split()[::-1]) for caption in captions]
    samples = capreward.Samples([*captions, *lists], images=pictures, item=[0, 1, 2, 0, 1, 2])
    both, grammar = capreward.load("clips-grammar"), capreward.load("grammar")
    cosine = capreward.load("clips(checkpoint=scenes-grammar)")(samples)
    values = grammar(samples)
    assert (values[:3] > 0.8).all()
    assert (values[3:] < 0.1).all()
    torch.testing.assert_close(both(samples), (cosine + 2 * values).float(), rtol=0, atol=1e-5)
    assert "model:scenes-grammar|" in str(grammar.signature())
