"""``capreward embed --tokens grid``: the features of CLIP-Caption-Reward's captioners (clipreward.md 2.3)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from clip_files import RESNET, save, small_clip
from clipreward_files import lightning, original
from PIL import Image

from capreward import InputError
from capreward.commands import embed as command
from capreward.commands import main
from capreward.encoders.store.feature_store import FeatureStore
from trainers.captioners.layouts.loading import open_captioner

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
VISION = {**RESNET, "image_size": 224}


def run(*arguments):
    return CliRunner().invoke(main, ["embed", *(str(a) for a in arguments)])


def grid_of(state, picture):
    """The last layer's map of OpenAI's ModifiedResNet by its published names, [14, 14, D]: height, width, channel."""

    def conv(name, x, **how):
        return F.conv2d(x, state[f"visual.{name}.weight"], **how)

    def norm(name, x):
        parts = (state[f"visual.{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *parts, training=False)

    side = np.asarray(picture.resize((448, 448), Image.BICUBIC).convert("RGB"), dtype=np.float32) / 255
    x = torch.from_numpy((side - np.float32(MEAN)) / np.float32(STD)).permute(2, 0, 1)[None]
    x = F.relu(norm("bn1", conv("conv1", x, stride=2, padding=1)))
    x = F.relu(norm("bn2", conv("conv2", x, padding=1)))
    x = F.avg_pool2d(F.relu(norm("bn3", conv("conv3", x, padding=1))), 2)
    for layer in range(1, 5):
        block = 0
        while f"visual.layer{layer}.{block}.conv1.weight" in state:
            here, stride = f"layer{layer}.{block}", 2 if layer > 1 and block == 0 else 1
            y = F.relu(norm(f"{here}.bn1", conv(f"{here}.conv1", x)))
            y = F.relu(norm(f"{here}.bn2", conv(f"{here}.conv2", y, padding=1)))
            y = norm(f"{here}.bn3", conv(f"{here}.conv3", F.avg_pool2d(y, stride)))
            if block == 0:
                x = norm(f"{here}.downsample.1", conv(f"{here}.downsample.0", F.avg_pool2d(x, stride)))
            x = F.relu(y + x)
            block += 1
    return x[0].permute(1, 2, 0)


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    state = small_clip(vision=VISION).state_dict()
    return save(tmp_path_factory.mktemp("rn") / "RN50.pt", state), state


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    draw = np.random.default_rng(1)
    for name, size in (("a.png", (520, 300)), ("b.png", (410, 700))):
        coarse = Image.fromarray(draw.integers(0, 256, (6, 5, 3), dtype=np.uint8))
        coarse.resize(size, Image.BICUBIC).save(folder / name)
    return folder


@torch.no_grad()
def test_the_grid_is_the_last_layer_before_pooling(resnet, photos, tmp_path, monkeypatch):
    path, state = resnet
    monkeypatch.setattr(command, "GRID_MODEL", str(path))  # the published weights are 244 MB
    done = run(photos, "-o", tmp_path / "grids", "--tokens", "grid", "--statistics", "openai", "--quick-gelu")
    assert done.exit_code == 0, done.output
    assert done.stderr.splitlines()[1].endswith("196 x 256 numbers each")
    store = FeatureStore(tmp_path / "grids")
    assert (store.shape, list(store.keys)) == ((196, 256), ["a", "b"])
    assert store.fields["prep"].startswith("448-squash-bicubic")
    found = store.features(range(2)).reshape(2, 14, 14, 256)
    for grid, name in zip(found, ("a.png", "b.png"), strict=True):
        expected = grid_of(state, Image.open(photos / name))
        assert expected.std() > 0.02
        torch.testing.assert_close(grid, expected, rtol=0, atol=2e-5)
        assert (expected - expected.transpose(0, 1)).abs().max() > 1e-3


def test_tokens_alone_are_as_they_were_and_a_vit_has_no_grid(resnet, photos, tmp_path):
    path, _ = resnet
    steps = ("--statistics", "openai", "--quick-gelu", "--count", 1)
    done = run(photos, "-o", tmp_path / "all", "--model", path, *steps, "--tokens")
    assert done.exit_code == 0, done.output
    assert FeatureStore(tmp_path / "all").shape == (49, 256)
    done = run(photos, "-o", tmp_path / "wide", "--model", path, *steps, "--tokens", "grid", "--side", 96)
    assert FeatureStore(tmp_path / "wide").shape == (9, 256)
    vit = save(tmp_path / "vit.pt", small_clip().state_dict())
    done = run(photos, "-o", tmp_path / "vit", "--model", vit, *steps, "--tokens", "grid")
    assert done.exit_code == 2
    assert "--tokens grid is of a ResNet such as RN50:openai" in done.stderr
    done = run(photos, "-o", tmp_path / "vit", "--model", path, "--tokens", "cells")
    assert done.exit_code == 2
    assert "'all', 'grid'" in done.stderr


def test_published_grids_are_kept_row_by_row(tmp_path):
    folder = tmp_path / "cocotalk_clip_RN50_att"
    folder.mkdir()
    grids = np.random.default_rng(0).standard_normal((3, 14, 14, 20)).astype(np.float32)
    for i in range(2):
        np.savez_compressed(folder / f"{100 + i}.npz", feat=grids[i])
    done = run(folder, "-o", tmp_path / "s", "--published", "--part-size", 1)
    assert done.exit_code == 0, done.output
    np.savez_compressed(folder / "102.npz", feat=grids[2])
    done = run(folder, "-o", tmp_path / "s", "--published")
    assert done.stderr.splitlines()[0] == f"1 features kept in {tmp_path / 's'}, 2 there already"
    store = FeatureStore(tmp_path / "s")
    assert (store.shape, sorted(store.keys)) == ((196, 20), ["100", "101", "102"])
    rows = [store.row_of(str(100 + i)) for i in range(3)]
    assert np.array_equal(store.features(rows).numpy(), grids.reshape(3, 196, 20))
    captioner = open_captioner(lightning(tmp_path / "x.ckpt", original(image=20)))
    captioner.tower.check_store(store)
    assert captioner.look(store.features(rows)).shape == (3, 196, 20)
    with pytest.raises(InputError, match="holds tokens"):
        store.check({"model": "x"})


@pytest.mark.parametrize(
    ("files", "flags", "message"),
    [
        ({}, (), "has no .npz and no .npy"),
        ({"a.npz": np.zeros((2, 2, 3)), "b.npy": np.zeros((2, 2, 3))}, (), "has both .npz and .npy"),
        ({"a.npy": np.zeros((2, 2, 3)), "b.npy": np.zeros((3, 2, 3))}, (), "give grids of one size"),
        ({"a.npy": np.zeros(3)}, (), "a grid of features is height x width x channels"),
        ({"a.npy": np.array([{"a": 1}], dtype=object)}, (), "holds no array feat that can be read"),
        ({"a.npy": np.zeros((2, 2, 3))}, ("--tokens", "grid"), "leave --tokens out"),
        ({"a.npy": np.zeros((2, 2, 3))}, ("--shard", "0/2"), "leave --shard out"),
    ],
)
def test_what_is_no_folder_of_grids(tmp_path, files, flags, message):
    folder = tmp_path / "grids"
    folder.mkdir()
    for name, array in files.items():
        (np.save if name.endswith("npy") else np.savez)(folder / name, array)
    done = run(folder, "-o", tmp_path / "s", "--published", *flags)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
