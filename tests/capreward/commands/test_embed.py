"""``capreward embed``: the features of pictures and captions, once and for all, whatever stops it on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tarfile
import time

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from clip_helpers import small_model, write_folder
from PIL import Image
from places import ROOT
from rounding import check_close

import capreward
from capreward import InputError, Samples
from capreward.commands import main
from capreward.data.images.picture_lists import list_pictures
from capreward.encoders.feature_extraction import embed_images, embed_texts
from capreward.encoders.pool import EncoderPool, EncoderSettings
from capreward.encoders.store.feature_store import FeatureStore


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return f"local-dir:{write_folder(tmp_path_factory.mktemp('clip') / 'small', small_model())}"


@pytest.fixture(scope="module")
def encoder(clip):
    return EncoderPool().encoder(EncoderSettings(clip))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Nine pictures, two of them in a folder and two that differ in their endings alone."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "more").mkdir()
    draw = np.random.default_rng(1)
    names = [*(f"{i:012d}.png" for i in range(5)), "more/a.png", "more/b.png", "c.png", "c.bmp"]
    for name in names:
        Image.fromarray(draw.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(folder / name)
    return folder


def run(*arguments):
    return CliRunner().invoke(main, ["embed", *(str(a) for a in arguments)])


def refused(*arguments):
    done = run(*arguments)
    assert done.exit_code == 2, done.output
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def process(*arguments):
    command = [sys.executable, ROOT / "cli.py", "embed", *(str(a) for a in arguments)]
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})


def by_key(path):
    store = FeatureStore(path)
    return dict(zip(store.keys, store.features(range(len(store))), strict=True))


def test_keys_of_a_folder_of_shards_and_of_scenes(photos, tmp_path):
    keys, pictures = list_pictures(photos)
    assert keys == [*(f"{i:012d}" for i in range(5)), "c.bmp", "c.png", "more/a", "more/b"]
    assert str(pictures[-1]) == f"{photos}/more/b.png"
    assert list_pictures(photos, 2)[0] == keys[:2]
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.add(photos / "c.png", "s/0007.png")
        archive.add(photos / "c.bmp", "s/0003.bmp")
    assert list_pictures(tmp_path / "x.tar")[0] == ["0007", "0003"]
    assert list_pictures("scenes:val:7", 2)[0] == ["scenes-val-000000-s7", "scenes-val-000001-s7"]
    keys, pictures = list_pictures("scenes")
    assert (len(keys), keys[-1]) == (1000, "scenes-test-000999")
    assert pictures[-1].key == list_pictures("scenes:test", 1000)[1][-1].key
    with pytest.raises(InputError, match="nowhere does not exist; give a folder of pictures, a .tar or scenes:test"):
        list_pictures(tmp_path / "nowhere")
    with pytest.raises(InputError, match="is a file; give a folder"):
        list_pictures(photos / "c.png")


def test_features_are_the_encoder_s_own(encoder, photos, tmp_path):
    keys, pictures = list_pictures(photos)
    done = embed_images(encoder, keys, pictures, tmp_path, part_size=4)
    assert (done.new, done.present, done.elsewhere, done.broken) == (9, 0, 0, [])
    store = FeatureStore(tmp_path)
    assert store.keys == keys
    assert store.fields == {k: str(v) for k, v in encoder.fields().items()}
    assert store.header.sha256 == encoder.spec.sha256
    assert len(list(tmp_path.glob("part-*"))) == 3
    expected = encoder.image_features(pictures).values
    assert torch.allclose(store.features(range(9)), expected, rtol=0, atol=1e-5)
    assert not torch.allclose(expected.norm(dim=-1), torch.ones(9), atol=1e-3)  # kept as projected
    assert store.check(encoder.fields()) is None


def test_scores_from_features_are_those_from_pictures(encoder, clip, photos, tmp_path):
    keys, pictures = list_pictures(photos)
    embed_images(encoder, keys, pictures, tmp_path)
    store = FeatureStore(tmp_path)
    captions = [f"a picture of {key} on a table" for key in keys]
    clips = capreward.load("clips", checkpoint=clip, clamp=False)
    ready = clips(Samples(captions, images=[store.stored(k) for k in keys]))
    assert torch.allclose(ready, clips(Samples(captions, images=pictures)), rtol=0, atol=1e-6)
    assert ready.std() > 1e-3


def test_an_evaluator_refuses_features_of_another_encoder(encoder, photos, tmp_path):
    embed_images(encoder, *list_pictures(photos), tmp_path / "s")
    other = write_folder(tmp_path / "other", small_model(seed=1))
    samples = Samples(["a dog"], images=[FeatureStore(tmp_path / "s").stored("c.png")])
    with pytest.raises(InputError, match=r"features in .*/s are of small \(sha .*\), the evaluator uses other \(sha"):
        capreward.load("clips", checkpoint=f"local-dir:{other}")(samples)


def test_running_again_adds_what_is_missing(encoder, photos, tmp_path):
    keys, pictures = list_pictures(photos)
    embed_images(encoder, keys[:4], pictures[:4], tmp_path)
    done = embed_images(encoder, keys, pictures, tmp_path)
    assert (done.new, done.present) == (5, 4)
    assert FeatureStore(tmp_path).keys == keys
    before = sorted(tmp_path.iterdir())
    assert embed_images(encoder, keys, pictures, tmp_path).new == 0
    assert sorted(tmp_path.iterdir()) == before


def test_broken_pictures_are_refused_or_left_out(encoder, photos, tmp_path):
    keys, pictures = list_pictures(photos)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff no more")
    given = [*pictures[:2], broken, *pictures[3:]]
    with pytest.raises(InputError, match=r"1 of 9 pictures is broken: .*broken\.jpg"):
        embed_images(encoder, keys, given, tmp_path / "s")
    assert len(FeatureStore(tmp_path / "s")) == 0
    done = embed_images(encoder, keys, given, tmp_path / "s", skip_broken=True)
    assert done.new == 8
    assert [key for key, _ in done.broken] == [keys[2]]
    assert FeatureStore(tmp_path / "s").keys == [*keys[:2], *keys[3:]]
    assert embed_images(encoder, keys, pictures, tmp_path / "s").new == 1  # mended
    expected = encoder.image_features(pictures[2:3]).values[0]
    assert torch.allclose(FeatureStore(tmp_path / "s").stored(keys[2]).feature(), expected, atol=1e-5)


def test_texts_with_their_prompt(encoder, tmp_path):
    texts = ["a dog", "two zebras", "a dog " * 90]
    done = embed_texts(encoder, ["1#0", "1#1", "2#0"], texts, tmp_path, prompt="A photo depicts ")
    assert (done.new, done.cut) == (3, 1)
    store = FeatureStore(tmp_path)
    assert (store.kind, store.header.prompt, store.texts) == ("text", "A photo depicts ", texts)
    expected = encoder.text_features(["A photo depicts " + t for t in texts]).values
    assert torch.allclose(store.features([0, 1, 2]), expected, rtol=0, atol=1e-5)
    bare = encoder.text_features(texts).values
    assert (store.features([0]) - bare[:1]).abs().max() > 1e-2


def test_the_command_embeds_a_folder(clip, photos, tmp_path):
    done = run(photos, "-o", tmp_path / "s", "--checkpoint", clip, "--fp16")
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    first, second = done.stderr.splitlines()[:2]
    assert first == f"9 pictures embedded into {tmp_path / 's'}"
    assert second.startswith("small ")
    assert second.endswith("fp32, 32 numbers each")
    assert FeatureStore(tmp_path / "s").dtype == "float16"
    again = run(photos, "-o", tmp_path / "s", "--checkpoint", clip, "--fp16")
    assert again.stderr.splitlines()[0] == f"0 pictures embedded into {tmp_path / 's'}, 9 there already"
    assert "with dtype 'float16', not dtype 'float32'" in refused(photos, "-o", tmp_path / "s", "--checkpoint", clip)
    assert run(photos, "-o", tmp_path / "t", "--checkpoint", clip, "-q").stderr == ""


def test_the_command_embeds_the_images_of_captions(clip, photos, tmp_path):
    captions = tmp_path / "c.csv"
    captions.write_text("image_id,caption\n3,a dog\n3,the dog\n1,a cat\n", encoding="utf-8")
    done = run(photos, "-o", tmp_path / "s", "--checkpoint", clip, "--captions", captions)
    assert done.exit_code == 0, done.output
    found = by_key(tmp_path / "s")
    assert list(found) == ["3", "1"]
    run(photos, "-o", tmp_path / "one", "--checkpoint", clip, "--captions", captions, "--count", 1)
    assert list(by_key(tmp_path / "one")) == ["3"]
    run(photos, "-o", tmp_path / "all", "--checkpoint", clip)
    assert torch.allclose(found["3"], by_key(tmp_path / "all")["000000000003"], rtol=0, atol=1e-5)


def test_the_command_embeds_captions(clip, tmp_path, encoder):
    captions = tmp_path / "c.csv"
    captions.write_text("image_id,caption\n3,a dog\n1,a cat\n3,the dog\n", encoding="utf-8")
    done = run("--text", "--captions", captions, "-o", tmp_path / "s", "--checkpoint", clip)
    assert done.exit_code == 0, done.output
    found = by_key(tmp_path / "s")
    assert list(found) == ["3#0", "1#0", "3#1"]
    expected = encoder.text_features(["A photo depicts the dog"]).values[0]
    assert torch.allclose(found["3#1"], expected, rtol=0, atol=1e-5)
    run(
        "--text",
        "--captions",
        captions,
        "-o",
        tmp_path / "bare",
        "--checkpoint",
        clip,
        "--prompt",
        "none",
        "--count",
        2,
    )
    assert FeatureStore(tmp_path / "bare").keys == ["3#0", "1#0"]
    assert FeatureStore(tmp_path / "bare").header.prompt == ""


def test_what_the_command_refuses(clip, photos, tmp_path):
    out = ("-o", tmp_path / "s", "--checkpoint", clip)
    assert "nothing to embed; name a folder" in refused(*out)
    assert "--shard 4/4: write I/N with I from 0 to N - 1, such as 0/4" in refused(photos, *out, "--shard", "4/4")
    assert "--shard half: write I/N" in refused(photos, *out, "--shard", "half")
    assert "--text embeds the captions of a file" in refused(photos, *out, "--text")
    assert "--prompt goes before captions; add --text" in refused(photos, *out, "--prompt", "x")
    assert not (tmp_path / "s").exists()


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(clip, tmp_path):
    arguments = ("scenes:test", "--count", 300, "--checkpoint", clip, "--part-size", 1, "--workers", 0, "-q", "-o")
    killed = process(*arguments, tmp_path / "killed")
    deadline = time.monotonic() + 120
    while not list((tmp_path / "killed").glob("part-*")):
        assert killed.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.001)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    at = len(FeatureStore(tmp_path / "killed"))
    assert 1 <= at < 300
    assert process(*arguments, tmp_path / "killed").wait() == 0
    assert process(*arguments, tmp_path / "whole").wait() == 0
    assert FeatureStore(tmp_path / "killed").keys == FeatureStore(tmp_path / "whole").keys
    killed_features, whole = by_key(tmp_path / "killed"), by_key(tmp_path / "whole")
    assert len(whole) == 300
    for key, value in whole.items():  # a batch begins elsewhere
        check_close(killed_features[key], value)


@pytest.mark.slow
def test_processes_share_the_work(clip, encoder, tmp_path):
    arguments = ("scenes:test", "--count", 100, "--checkpoint", clip, "--part-size", 16, "-q", "-o", tmp_path / "s")
    assert [p.wait() for p in [process(*arguments, "--shard", f"{i}/2") for i in range(2)]] == [0, 0]
    names = {p.name.rpartition("-")[0] for p in (tmp_path / "s").glob("part-*")}
    assert names == {"part-0-of-2", "part-1-of-2"}
    keys, pictures = list_pictures("scenes:test", 100)
    expected = encoder.image_features(pictures).values
    found = by_key(tmp_path / "s")
    assert sorted(found) == keys
    assert torch.allclose(torch.stack([found[k] for k in keys]), expected, rtol=0, atol=1e-5)
