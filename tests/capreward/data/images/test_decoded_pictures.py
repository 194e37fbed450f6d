"""Pictures that bring their crops are the same pictures to every evaluator, and are not decoded again."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from train_data_files import jpeg

import capreward
from capreward import Samples
from capreward.data.images.cropped_picture import without_crops
from capreward.data.images.loader import Loader
from capreward.data.images.pictures import BytesPicture, DecodedPicture, as_picture
from capreward.data.images.preprocessing import prepare
from capreward.data.scenes import ScenePicture
from capreward.encoders.spec import Preprocessing
from capreward.evaluators.clip_weights import shows_scenes
from capreward.evaluators.function import FunctionEvaluator, declaration_of
from trainers.data import Batches, open_dataset


def scene_batch(also):
    batches = Batches(open_dataset("scenes", count=12), Preprocessing(size=32), batch_size=12, seed=0, also=also)
    return next(iter(batches))


@pytest.mark.parametrize("metric", ["clips", "pacs", "refclips", "scene-facts"])
def test_scores_are_the_same_with_crops_and_without(metric, monkeypatch):
    evaluator = capreward.load(metric)
    plain = scene_batch([])
    captions = [each[2] for each in plain.captions]
    references = [each[:2] for each in plain.captions]
    before = Samples(captions, images=plain.pictures, references=references)
    assert shows_scenes(before)
    scores = evaluator(before)
    wanted = Preprocessing(64) if metric == "scene-facts" else evaluator.encoder(before).spec.preprocessing
    shown = scene_batch([wanted])
    assert all(isinstance(p, DecodedPicture) for p in shown.pictures)
    if metric != "scene-facts":

        def never(self):
            raise AssertionError("decoded again")

        monkeypatch.setattr(ScenePicture, "open", never)
    after = Samples(captions, images=shown.pictures, references=references)
    assert shows_scenes(after)
    assert torch.equal(evaluator(after), scores)


def test_a_mixture_is_no_scene_set():
    photo = DecodedPicture(BytesPicture(jpeg(1)), {})
    scene = DecodedPicture(ScenePicture("test", 1), {})
    assert not shows_scenes(Samples(["a", "b"], images=[photo, scene]))
    assert shows_scenes(Samples(["a", "b"], images=[scene, ScenePicture("test", 2)]))


def test_a_picture_with_crops_is_the_picture_itself():
    inner = BytesPicture(jpeg(1), "one.jpg")
    small, large = Preprocessing(size=8), Preprocessing(size=16)
    crop = np.full((8, 8, 3), 7, dtype=np.uint8)
    shown = DecodedPicture(inner, {small: crop})
    assert str(shown) == "one.jpg"
    assert shown.key == inner.key
    assert shown.open().tobytes() == inner.open().tobytes()
    assert as_picture(shown) is shown
    assert without_crops(shown) is inner
    assert without_crops(inner) is inner
    assert without_crops(None) is None
    assert prepare(shown, small) is crop
    assert np.array_equal(prepare(shown, large), prepare(inner, large))
    again = pickle.loads(pickle.dumps(shown))
    assert again.picture == inner
    assert np.array_equal(again.crop(small), crop)


def test_crops_at_hand_need_no_workers():
    small = Preprocessing(size=8)
    pictures = [BytesPicture(jpeg(n)) for n in range(40)]
    shown = [DecodedPicture(p, {small: prepare(p, small)}) for p in pictures]
    loader = Loader(shown, small, batch_size=40, workers=2)
    assert loader.workers == 0
    assert Loader(shown, Preprocessing(size=9), batch_size=40, workers=2).workers == 2
    assert Loader([*shown, pictures[0]], small, batch_size=40, workers=2).workers == 2
    ((indices, pixels),) = loader
    assert indices == list(range(40))
    assert np.array_equal(pixels[3].numpy(), prepare(pictures[3], small))


def test_rewards_of_ones_own_get_the_picture_itself():
    seen = []

    def look(captions, images, **context):
        seen.extend(images)
        return [0.0] * len(captions)

    inner = ScenePicture("test", 1)
    FunctionEvaluator(look, declaration_of(look, "look"))(Samples(["a"], images=[DecodedPicture(inner, {})]))
    assert seen == [inner]
