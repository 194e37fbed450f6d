"""The CLIPs that ship with the scenes world: their size, their layout, and that they see what they should."""

from __future__ import annotations

import json

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from places import ROOT

import capreward
from capreward.data.scenes import scene
from capreward.encoders.loading import load_clip
from capreward.encoders.weights.folders import shipped_folder
from trainers.tuning.contrastive_losses import retrieval_ranks

NAMES = ("scenes-clip", "scenes-pacs", "scenes-judge")


def test_all_weights_together_stay_small():
    sizes = [file.stat().st_size for name in NAMES for file in shipped_folder(name).iterdir()]
    assert len(sizes) == 9
    assert sum(sizes) <= 6 * 2**20


@pytest.mark.parametrize("name", NAMES)
def test_open_clip_itself_loads_them_alike(name):
    folder = shipped_folder(name)
    theirs, steps = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    pictures = [Image.fromarray(scene("test", i).draw()) for i in range(8)]
    evaluator = capreward.load("clips", checkpoint=name, device="cpu")
    encoder = evaluator.encoder(capreward.Samples([], item=[]))
    tokenizer = open_clip.SimpleTokenizer(str(folder / "bpe.txt.gz"), context_length=encoder.context_length)
    texts = [scene("test", i).captions[0] for i in range(8)]
    with torch.no_grad():
        image = theirs.eval().encode_image(torch.stack([steps(p) for p in pictures]))
        text = theirs.encode_text(tokenizer(texts))
    torch.testing.assert_close(encoder.image_features(pictures).values, image, rtol=0, atol=1e-4)
    torch.testing.assert_close(encoder.text_features(texts).values, text, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_the_right_picture_is_found_among_a_thousand(name):
    """R@1 of the fullest caption among the first 1,000 test pictures, whose combinations training never showed."""
    evaluator = capreward.load("clips", checkpoint=name, device="cpu")
    encoder = evaluator.encoder(capreward.Samples([], item=[]))
    scenes = [scene("test", i) for i in range(1000)]
    image = encoder.image_features([s.draw() for s in scenes], workers=0).values
    text = encoder.text_features([f"A photo depicts {s.captions[0]}" for s in scenes])
    assert not text.cut.any()
    unit = torch.nn.functional.normalize
    share = (retrieval_ranks(unit(text.values), unit(image)) == 0).float().mean().item()
    assert share >= 0.6
    kept = ROOT / "benchmarks" / "results" / f"scenes_{name.removeprefix('scenes-')}.json"
    report = json.loads(kept.read_text())
    assert share == pytest.approx(report["retrieval_of_1000"]["test"]["text_to_image_r1"], abs=0.004)


def test_the_three_differ_in_weights_and_the_judge_in_architecture():
    specs = [load_clip(name).spec for name in NAMES]
    assert len({s.sha256 for s in specs}) == 3
    assert specs[0].model_cfg["vision_cfg"] == specs[1].model_cfg["vision_cfg"]
    assert isinstance(specs[2].model_cfg["vision_cfg"]["layers"], list)
    assert not isinstance(specs[0].model_cfg["vision_cfg"]["layers"], list)


def test_scenes_are_judged_by_their_own_weights():
    captions = {scene("test", i).key: scene("test", i).captions[0] for i in range(20)}
    keys = list(captions)
    wrong = {key: captions[keys[i - 1]] for i, key in enumerate(keys)}
    right = capreward.score(captions, images="scenes", metrics="clips,pacs,scene-facts,scene-grammar")
    other = capreward.score(wrong, images="scenes", metrics="clips,pacs,scene-facts,scene-grammar")
    for name in ("clips", "pacs"):
        assert np.mean(right[name].per_caption > other[name].per_caption) >= 0.9
        assert f"model:scenes-{'clip' if name == 'clips' else 'pacs'}|" in str(right[name].signature)
    assert right["scene-facts"].value == 1.0
    assert other["scene-facts"].value < 0.7
    assert right["scene-grammar"].value == other["scene-grammar"].value == 1.0


def test_the_same_scenes_through_a_store_and_from_numbers(tmp_path):
    from click.testing import CliRunner

    from capreward.commands import main

    store = tmp_path / "store"
    done = CliRunner().invoke(main, ["embed", "scenes:test", "--count", "30", "-o", str(store), "-q"])
    assert done.exit_code == 0, done.output
    captions = {scene("test", i).key: scene("test", i).captions[1] for i in range(30)}
    drawn = capreward.score(captions, images="scenes", metrics="clips")
    kept = capreward.score(captions, images=str(store), metrics="clips")
    numbered = capreward.score(
        {str(i): c for i, c in enumerate(captions.values())}, images="scenes:test", metrics="clips"
    )
    np.testing.assert_allclose(kept["clips"].per_caption, drawn["clips"].per_caption, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(numbered["clips"].per_caption), drawn["clips"].per_caption)
    assert drawn["clips"].signature == kept["clips"].signature


def test_facts_are_known_of_stored_features_too(tmp_path):
    from click.testing import CliRunner

    from capreward.commands import main

    done = CliRunner().invoke(main, ["embed", "scenes:val", "--count", "5", "-o", str(tmp_path / "store"), "-q"])
    assert done.exit_code == 0, done.output
    captions = {scene("val", i).key: scene("val", i).captions[0] for i in range(5)}
    scores = capreward.score(captions, images=str(tmp_path / "store"), metrics="scene-facts,clips")
    assert scores["scene-facts"].value == 1.0
    assert scores["clips"].value > 1


def test_rounded_features_are_named_in_the_signature(tmp_path):
    from click.testing import CliRunner

    from capreward.commands import main

    done = CliRunner().invoke(main, ["embed", "scenes:val", "--count", "5", "-o", str(tmp_path / "h"), "--fp16", "-q"])
    assert done.exit_code == 0, done.output
    captions = {scene("val", i).key: scene("val", i).captions[0] for i in range(5)}
    rounded = capreward.score(captions, images=str(tmp_path / "h"), metrics="clips")["clips"]
    exact = capreward.score(captions, images="scenes", metrics="clips")["clips"]
    assert "|features:float16|" in str(rounded.signature)
    assert "features" not in str(exact.signature)
    assert 0 < abs(rounded.value - exact.value) < 0.001


def test_pictures_that_do_not_say_what_they_are_get_the_name_of_the_weights(tmp_path, monkeypatch):
    for name in ("CAPREWARD_WEIGHTS", "CAPREWARD_CACHE", "HF_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    picture = Image.fromarray(scene("test", 3).draw())
    for name, weights in (("pacs", "scenes-pacs"), ("refpacs", "scenes-pacs"), ("clips", "scenes-clip")):
        samples = capreward.Samples(["a red ball"], references=[["a ball"]], images=[picture])
        with pytest.raises(
            capreward.InputError, match=rf"\(checkpoint={weights}\) as a metric, or --checkpoint {weights}$"
        ):
            capreward.load(name, device="cpu")(samples)
        assert capreward.load(name, checkpoint=weights, device="cpu")(samples).isfinite().all()
