"""Folders of random weights: what tuning from scratch begins with."""

from __future__ import annotations

import pytest
import torch
from click.testing import CliRunner

from capreward.encoders.loading import load_clip
from capreward.encoders.model.text_tower import text_states
from trainers.tuning import scenes_clip
from trainers.tuning.new_clip import new_model, write_new_folder

TEXTS = ["A photo depicts a red ball", "A photo depicts two red balls", "A photo depicts a blue ball"]
TEXT = {"context_length": 16, "width": 32, "heads": 2, "layers": 1}


def test_a_fresh_folder_loads_as_any_other(tmp_path):
    state = torch.random.get_rng_state()
    clip = load_clip(write_new_folder(tmp_path / "new" / "base", TEXTS, text=TEXT, embed=24))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert clip.model.text_projection.shape == (32, 24)
    assert clip.spec.model_cfg["vision_cfg"]["layers"] == 1
    tokens = clip.tokenizer(TEXTS)
    assert tokens.shape == (3, 16)
    assert clip.tokenizer.decode(tokens[1].tolist()).startswith("<start_of_text>a photo depicts two red balls ")
    assert int(tokens.max()) == clip.spec.model_cfg["text_cfg"]["vocab_size"] - 1
    assert (tokens[0] != 0).sum() == 2 + 6  # every word that comes twice is one token
    assert text_states(clip.model, tokens).shape == (3, 32)
    assert clip.spec.preprocessing.mean == (0.5, 0.5, 0.5)


def test_the_seed_decides_and_the_vocabulary_can_be_bounded(tmp_path):
    made = [write_new_folder(tmp_path / str(n), TEXTS, text=TEXT, seed=seed) for n, seed in enumerate((0, 0, 1))]
    hashes = [load_clip(folder).spec.sha256 for folder in made]
    assert hashes[0] == hashes[1] != hashes[2]
    torch.manual_seed(1)
    drawn = new_model({"model_cfg": load_clip(made[2]).spec.model_cfg}).state_dict()
    assert all(torch.equal(value, drawn[name]) for name, value in load_clip(made[2]).model.state_dict().items())
    short = load_clip(write_new_folder(tmp_path / "short", TEXTS, text=TEXT, most=3))
    assert short.spec.model_cfg["text_cfg"]["vocab_size"] == 512 + 3 + 2


@pytest.mark.parametrize("image_size", [64])
def test_an_image_tower_of_ones_own(tmp_path, image_size):
    vision = {"image_size": image_size, "patch_size": 16, "width": 64, "layers": 2}
    clip = load_clip(write_new_folder(tmp_path, TEXTS, text=TEXT, vision=vision, embed=24))
    assert clip.model.encode_image(torch.zeros(2, 3, image_size, image_size)).shape == (2, 24)
    assert clip.spec.preprocessing.size == image_size


def test_an_option_given_twice_is_refused(tmp_path):
    done = CliRunner().invoke(scenes_clip.main, ["clip", "--steps", "1", "--steps", "2", "--out", str(tmp_path)])
    assert str(done.exception) == "--steps was given twice: 1 and 2; give it once"
    assert list(tmp_path.iterdir()) == []
