"""``capreward embed --tokens``: what captioners look at, stored; evaluators and other captioners refuse it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captioner_files import saved_clip
from click.testing import CliRunner
from clip_files import RESNET, small_clip
from PIL import Image

import capreward
from capreward import InputError, Samples
from capreward.commands import main
from capreward.data.images.picture_lists import list_pictures
from capreward.data.images.picture_types import as_picture
from capreward.data.images.preprocessing import normalise, prepare
from capreward.encoders import feature_extraction
from capreward.encoders.feature_extraction import embed_images
from capreward.encoders.image_token_encoder import TokenEncoder
from capreward.encoders.loading import load_clip
from capreward.encoders.store.feature_store import FeatureStore
from trainers.captioners.towers import ClipTower, PatchTower, StoredTower, tower_of


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    return str(saved_clip(tmp_path_factory.mktemp("vit") / "vit.pt", small_clip()))


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    return str(saved_clip(tmp_path_factory.mktemp("rn") / "rn.pt", (small_clip(vision=RESNET), RESNET)))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    draw = np.random.default_rng(1)
    for name in ("a.png", "b.png", "c.png"):
        Image.fromarray(draw.integers(0, 256, (60, 90, 3), dtype=np.uint8)).save(folder / name)
    return folder


def run(*arguments):
    return CliRunner().invoke(main, ["embed", *(str(a) for a in arguments)])


def crops_of(photos, tower):
    pictures = [as_picture(p) for p in list_pictures(photos)[1]]
    return torch.from_numpy(np.stack([prepare(p, tower.preprocessing) for p in pictures]))


def test_stored_tokens_are_the_tower_s(vit, resnet, photos, tmp_path):
    for source, steps, shape in ((vit, {}, (5, 128)), (resnet, {"side": 96, "resize": "squash"}, (9, 256))):
        tower = ClipTower(load_clip(source), source, **steps)
        encoder = TokenEncoder(load_clip(source), **steps)
        store_path = tmp_path / f"{shape[0]}"
        done = embed_images(encoder, *list_pictures(photos), store_path)
        store = FeatureStore(store_path)
        assert (done.new, store.shape, store.kind) == (3, shape, "image")
        expected = tower.look(crops_of(photos, tower))
        assert expected.std() > 0.05
        torch.testing.assert_close(store.features(range(3)), expected, rtol=0, atol=1e-4)
        assert tower.check_store(store) is None
        assert torch.equal(tower.look(store.features([1])), store.features([1]))
        assert store.fields["tokens"] == tower.digest[:12]


def test_tokens_are_those_before_the_last_norm(vit, photos):
    """Pooling, norm and projection of the stored tokens give the encoder's own feature."""
    clip = load_clip(vit)
    tower = ClipTower(clip, vit)
    pixels = crops_of(photos, tower)
    visual = clip.model.visual
    pooled = visual.ln_post(tower.look(pixels)[:, 0]) @ visual.proj
    torch.testing.assert_close(
        pooled, clip.model.encode_image(normalise(pixels, tower.preprocessing)), rtol=0, atol=1e-5
    )


def test_a_grid_s_tokens_are_its_cells_row_by_row(resnet, photos):
    clip = load_clip(resnet)
    tower = ClipTower(clip, resnet)
    pixels = crops_of(photos, tower)
    grids = []
    clip.model.visual.layer4.register_forward_hook(lambda _, __, grid: grids.append(grid))
    clip.model.encode_image(normalise(pixels, tower.preprocessing))
    tokens = tower.look(pixels)
    assert grids[0].shape == (3, 256, 2, 2)
    for row in range(2):
        for column in range(2):
            torch.testing.assert_close(tokens[:, 2 * row + column], grids[0][:, :, row, column], rtol=0, atol=1e-5)
    assert (tokens[:, 1] - tokens[:, 2]).abs().max() > 1e-3


def test_the_command_stores_tokens_and_goes_on(vit, resnet, photos, tmp_path):
    options = ("--model", resnet, "--tokens", "--side", 64, "--resize", "squash", "--fp16", "--part-size", 2)
    done = run(photos, "-o", tmp_path / "s", *options, "--count", 1)
    assert done.exit_code == 0, done.output
    assert done.stderr.splitlines()[1].endswith(
        "fp32 " + FeatureStore(tmp_path / "s").fields["tokens"] + ", 4 x 256 numbers each"
    )
    done = run(photos, "-o", tmp_path / "s", *options)
    assert done.stderr.splitlines()[0] == f"2 pictures embedded into {tmp_path / 's'}, 1 there already"
    store = FeatureStore(tmp_path / "s")
    assert (store.shape, store.dtype, len(store)) == ((4, 256), "float16", 3)
    assert store.fields["prep"].startswith("64-squash-")
    tower = ClipTower(load_clip(resnet), resnet, side=64, resize="squash")
    torch.testing.assert_close(store.features(range(3)), tower.look(crops_of(photos, tower)), rtol=2e-3, atol=2e-3)
    other = run(photos, "-o", tmp_path / "s", "--model", resnet, "--tokens", "--fp16")
    assert other.exit_code == 2
    assert "not" in other.stderr
    assert run(photos, "-o", tmp_path / "s", "--model", resnet, "--fp16").exit_code == 2


def test_what_the_command_refuses(vit, photos, tmp_path):
    for arguments, message in (
        (("--side", 64), "--side belongs to tokens; add --tokens"),
        (("--resize", "squash"), "--resize belongs to tokens; add --tokens"),
        (("--cropping", "transformers"), "--cropping belongs to tokens; add --tokens"),
        (("--tokens", "--side", 64), "64"),
    ):
        done = run(photos, "-o", tmp_path / "s", "--model", vit, *arguments)
        assert done.exit_code == 2
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
    done = run("--text", "--captions", "x.csv", "-o", tmp_path / "s", "--tokens")
    assert "--tokens, --side, --resize and --cropping are for pictures" in done.stderr
    assert not (tmp_path / "s").exists()


def test_evaluators_refuse_tokens(vit, photos, tmp_path):
    embed_images(TokenEncoder(load_clip(vit)), *list_pictures(photos), tmp_path)
    samples = Samples(["a dog"], images=[FeatureStore(tmp_path).stored("a")])
    with pytest.raises(InputError, match=r"holds tokens \[5, 128\] for captioners, not one feature of each picture"):
        capreward.load("clips", checkpoint=vit)(samples)


def test_captioners_refuse_other_features(vit, resnet, photos, tmp_path):
    tokens, pooled, other = tmp_path / "tokens", tmp_path / "pooled", tmp_path / "other"
    embed_images(TokenEncoder(load_clip(vit)), *list_pictures(photos), tokens)
    store = FeatureStore(tokens)
    known = StoredTower(store.shape, store.fields)
    assert known.check_store(store) is None
    assert tower_of(known.configuration()).check_store(store) is None
    assert StoredTower((5, 128)).check_store(store) is None  # of unknown origin
    assert run(photos, "-o", pooled, "--model", vit).exit_code == 0
    clip = ClipTower(load_clip(vit), vit)
    with pytest.raises(
        InputError, match=r"holds image features \[32\]; this captioner takes image features \[5, 128\]"
    ):
        clip.check_store(FeatureStore(pooled))
    folder = saved_clip(tmp_path / "strange.pt", small_clip(seed=1))
    embed_images(TokenEncoder(load_clip(folder)), *list_pictures(photos), other)
    for tower in (known, clip):
        with pytest.raises(
            InputError, match=r"features in .*other are of strange \(sha .*\), this captioner looks through vit"
        ):
            tower.check_store(FeatureStore(other))
    sides = tmp_path / "sides"
    embed_images(TokenEncoder(load_clip(resnet), resize="squash"), *list_pictures(photos), sides)
    with pytest.raises(
        InputError, match=r"preprocessing 64-squash.*, this captioner's tower takes preprocessing 64-shortest"
    ):
        ClipTower(load_clip(resnet), resnet).check_store(FeatureStore(sides))
    with pytest.raises(InputError, match="takes pictures"):
        PatchTower(32, 32).check_store(store)


def test_a_captioner_of_stored_tokens_takes_their_tower_for_pictures(resnet, vit, photos, tmp_path):
    embed_images(TokenEncoder(load_clip(resnet), side=96, resize="squash"), *list_pictures(photos), tmp_path / "s")
    store = FeatureStore(tmp_path / "s")
    stored = StoredTower(store.shape, store.fields)
    with pytest.raises(InputError, match="no tower for pictures; name the one with --tower"):
        stored.look(torch.zeros(1, 96, 96, 3, dtype=torch.uint8))
    tower = tower_of(stored.configuration(), source=resnet)
    torch.testing.assert_close(tower.look(crops_of(photos, tower)), store.features(range(3)), rtol=0, atol=1e-4)
    assert tower_of(tower.configuration()).preprocessing == tower.preprocessing
    for configuration, message in (
        (StoredTower((5, 128)).configuration(), "stored features of unknown origin"),
        (StoredTower((1, 32), {"model": "x", "sha": "1", "prep": "2"}).configuration(), "trained on pooled features"),
        (PatchTower(32, 32).configuration(), "trained its own tower"),
    ):
        with pytest.raises(InputError, match=message):
            tower_of(configuration, source=vit)
    other = str(saved_clip(tmp_path / "other.pt", (small_clip(seed=3, vision=RESNET), RESNET)))
    with pytest.raises(InputError, match="holds others"):
        tower_of(stored.configuration(), source=other)


def test_a_feature_of_one_token_is_no_pooled_feature(tmp_path, vit, photos):
    assert run(photos, "-o", tmp_path / "pooled", "--model", vit).exit_code == 0
    store = FeatureStore(tmp_path / "pooled")
    assert StoredTower((1, 32), store.fields).check_store(store) is None
    with pytest.raises(InputError, match="this captioner looks through"):
        StoredTower((1, 32), {**store.fields, "tokens": "0" * 12}).check_store(store)


def test_parts_of_many_tokens_are_small(vit, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(feature_extraction, "PART_NUMBERS", 2 * 5 * 128)
    embed_images(TokenEncoder(load_clip(vit)), *list_pictures(photos), tmp_path)
    assert len(list(tmp_path.glob("part-*"))) == 2
