"""Captioners as folders: written, found again, bit for bit, and refused where they are none."""

from __future__ import annotations

import copy
import gzip
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from captioner_files import PREFIX, Model, crops, saved_clip, write_released
from clip_files import RESNET, VIT, Acts, small_clip
from rounding import check_close
from safetensors.torch import load_file, save_file

from capreward import InputError
from trainers.captioners.base import Captioner
from trainers.captioners.grid import GridCaptioner, GridSizes
from trainers.captioners.layouts.loading import convert_captioner, open_captioner
from trainers.captioners.towers import ClipTower, PatchTower, StoredTower, clip_of_source, tower_of
from trainers.captioners.transformer import TransformerCaptioner, TransformerSizes
from trainers.captioners.vocabulary import ClipVocabulary
from trainers.captioners.word_vocabulary import WordVocabulary

SMALL = {"width": 32, "heads": 4, "inner": 64, "encoder_layers": 1, "decoder_layers": 1, "longest": 16}
WORDS = ["a", "dog", "UNK"]


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    return saved_clip(tmp_path_factory.mktemp("clip") / "vit.pt", small_clip())


@pytest.fixture(scope="module")
def resnet_folder(tmp_path_factory):
    return saved_clip(tmp_path_factory.mktemp("resnet") / "rn.pt", (small_clip(vision=RESNET), RESNET))


def grid(tower, seed=0):
    torch.manual_seed(seed)
    return GridCaptioner(tower, WordVocabulary(WORDS), GridSizes(**SMALL)).eval()


def clip_tower(folder, **steps):
    return ClipTower(clip_of_source(str(folder)), str(folder), **steps)


@torch.no_grad()
def check_same(one, other, inputs):
    """Bit for bit the same tensors, and the same captioner."""
    assert type(one) is type(other)
    assert one.configuration() == other.configuration()
    mine, theirs = one.state_dict(), other.state_dict()
    assert list(mine) == list(theirs)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    tokens = one.token_rows(["a dog", "a dog dog"])
    assert torch.equal(tokens, other.token_rows(["a dog", "a dog dog"]))
    check_close(one(one.look(inputs), tokens), other(other.look(inputs), tokens))


def test_a_captioner_is_read_as_it_was_written(clip_folder, tmp_path):
    towers = [
        (clip_tower(clip_folder), crops(2, 32)),
        (PatchTower(32, 32), crops(2, 32)),
        (StoredTower((3, 8), {"model": "x", "sha": "1"}), torch.randn(2, 3, 8)),
    ]
    for number, (tower, inputs) in enumerate(towers):
        captioner = grid(tower)
        captioner.save_pretrained(tmp_path / str(number))
        check_same(captioner, GridCaptioner.from_pretrained(tmp_path / str(number)), inputs)
        check_same(captioner, open_captioner(tmp_path / str(number)), inputs)
    saved = load_file(tmp_path / "0" / "captioner.safetensors")
    assert not any("tower" in name for name in saved)
    told = json.loads((tmp_path / "0" / "captioner.json").read_text())
    assert told["tower"]["source"] == str(clip_folder)
    assert len(told["tower"]["sha256"]) == len(told["tower"]["tokens"]) == 64
    assert any(name.startswith("tower.") for name in load_file(tmp_path / "1" / "captioner.safetensors"))
    with pytest.raises(TypeError, match="holds a GridCaptioner, not a TransformerCaptioner"):
        TransformerCaptioner.from_pretrained(tmp_path / "1")


def test_a_captioner_of_words_is_read_as_it_was_written(resnet_folder, tmp_path):
    tower = clip_tower(resnet_folder, side=96, resize="squash")
    torch.manual_seed(0)
    captioner = TransformerCaptioner(tower, WordVocabulary(WORDS), TransformerSizes(**SMALL, image_dropout=0.4)).eval()
    captioner.save_pretrained(tmp_path / "words")
    found = open_captioner(tmp_path / "words")
    check_same(captioner, found, crops(2, 96))
    assert found.vocabulary.words == WORDS
    assert str(found.preprocessing).startswith("96-squash-")
    assert found.sizes.image_dropout == 0.4
    assert not any("places" in name for name in captioner.state_dict())  # sines need no file


def test_merges_of_its_own_travel_with_a_captioner(tmp_path):
    import open_clip

    openai = gzip.decompress((Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz").read_bytes())
    merges = tmp_path / "merges.txt.gz"
    merges.write_bytes(gzip.compress(b"\n".join(openai.split(b"\n")[:301])))
    captioner = GridCaptioner(StoredTower((3, 8)), ClipVocabulary(merges), GridSizes(**SMALL)).eval()
    assert captioner.vocabulary.size == 2 * 256 + 300 + 2 + 1
    captioner.save_pretrained(tmp_path / "c")
    check_same(captioner, open_captioner(tmp_path / "c"), torch.randn(2, 3, 8))
    own = tmp_path / "c" / "bpe.txt.gz"
    own.write_bytes(own.read_bytes()[:100])
    assert "bpe.txt.gz cannot be read" in refused(tmp_path / "c")


def test_a_run_means_its_best_captioner_else_its_last(tmp_path):
    first, second = grid(PatchTower(32, 32), 1), grid(PatchTower(32, 32), 2)
    run = tmp_path / "run"
    second.save_pretrained(run / "last")
    check_same(open_captioner(run), second, crops(2, 32))
    first.save_pretrained(run / "best")
    check_same(open_captioner(run), first, crops(2, 32))
    check_same(open_captioner(run / "last"), second, crops(2, 32))
    check_same(open_captioner(run / "best" / "captioner.safetensors"), first, crops(2, 32))


def test_the_tower_may_lie_elsewhere_but_must_be_the_same(clip_folder, tmp_path):
    moved = shutil.copytree(clip_folder, tmp_path / "moved")
    captioner = grid(clip_tower(moved))
    captioner.save_pretrained(tmp_path / "c")
    shutil.rmtree(moved)
    with pytest.raises(InputError, match="there is no weights file or folder .*moved"):
        open_captioner(tmp_path / "c")
    found = open_captioner(tmp_path / "c", tower=str(clip_folder))
    check_close(found.look(crops(2, 32)), captioner.look(crops(2, 32)))
    other = saved_clip(tmp_path / "other.pt", small_clip(seed=1))
    with pytest.raises(
        InputError, match=r"was trained on the tower .*moved \(\w{12}\), and .*other holds others"
    ) as told:
        open_captioner(tmp_path / "c", tower=str(other))
    assert "--tower" in str(told.value)


def test_another_file_of_the_same_tower_is_known_by_its_tensors(clip_folder, tmp_path):
    captioner = grid(clip_tower(clip_folder))
    captioner.save_pretrained(tmp_path / "c")
    whole = small_clip()
    with torch.no_grad():
        whole.token_embedding.weight.zero_()  # another text tower: another file, the same tokens
        whole.visual.proj.zero_()
    other = saved_clip(tmp_path / "other.pt", whole)
    found = open_captioner(tmp_path / "c", tower=str(other))
    check_close(found.look(crops(2, 32)), captioner.look(crops(2, 32)))
    assert found.tower.sha256 != captioner.tower.sha256
    with torch.no_grad():
        whole.visual.transformer.resblocks[1].mlp.c_proj.bias[3] += 0.01
    shutil.rmtree(other)
    with pytest.raises(InputError, match="holds others"):
        open_captioner(tmp_path / "c", tower=str(saved_clip(tmp_path / "other.pt", whole)))


def test_a_tower_inside_a_checkpoint_is_named_and_found_again(tmp_path):
    model = Model()
    folder = write_released(tmp_path / "dico", model.released(), model.config())
    first = convert_captioner(folder, tmp_path / "own", longest=12)
    assert sorted(p.name for p in (tmp_path / "own").iterdir()) == ["captioner.json", "captioner.safetensors"]
    check_same(first, open_captioner(tmp_path / "own"), crops(2, 32))
    assert (tmp_path / "own" / "captioner.safetensors").stat().st_size < 8e6
    bare = write_released(tmp_path / "bare", model.released(), safetensors=True) / "model.safetensors"
    with pytest.raises(InputError, match="is 32 wide, so its heads, 64 wide in DiCO's, cannot be told; put its config"):
        open_captioner(bare)
    half = write_released(tmp_path / "half", model.released(), model.config(), half=True)
    found = open_captioner(tmp_path / "own", tower=str(half))  # rounded, and still the same tower
    torch.testing.assert_close(found.look(crops(2, 32)), first.look(crops(2, 32)), rtol=0, atol=5e-3)


def test_what_convert_refuses(tmp_path):
    grid(PatchTower(32, 32)).save_pretrained(tmp_path / "c")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    with pytest.raises(InputError, match="full exists and is not empty; name a new folder"):
        convert_captioner(tmp_path / "c", tmp_path / "full")
    with pytest.raises(InputError, match="there is no folder .*nowhere"):
        convert_captioner(tmp_path / "c", tmp_path / "nowhere" / "x")
    with pytest.raises(InputError, match="there is no captioner"):
        convert_captioner(tmp_path / "d", tmp_path / "new")
    assert not (tmp_path / "new").exists()
    (tmp_path / "empty").mkdir()
    done = convert_captioner(tmp_path / "c", tmp_path / "empty")
    check_same(done, open_captioner(tmp_path / "empty"), crops(2, 32))
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def refused(source, **options):
    with pytest.raises(InputError) as told:
        open_captioner(source, **options)
    assert "\n" not in str(told.value)
    return str(told.value)


def test_what_is_no_captioner_is_told_in_one_sentence(clip_folder, tmp_path):
    assert "there is no captioner" in refused(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "no captioner that says what it is; name one of its checkpoints (found: none)" in refused(tmp_path / "empty")
    assert "is no captioner: none of its" in refused(clip_folder / "open_clip_model.safetensors")
    page = tmp_path / "page.ckpt"
    page.write_text("<!DOCTYPE html><html>Google Drive: Quota exceeded</html>")
    assert "is Google Drive's page that its download quota is spent" in refused(page)
    whole = write_released(tmp_path / "dico", Model().released(), Model().config())
    data = (whole / "pytorch_model.bin").read_bytes()
    (whole / "pytorch_model.bin").write_bytes(data[: len(data) // 2])
    assert "is damaged: the end of the archive is missing" in refused(whole)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"model_type": "bert"}')
    assert "holds another model, no captioner" in refused(tmp_path / "other")
    (tmp_path / "other" / "config.json").write_text("{")
    assert "cannot be read as JSON" in refused(tmp_path / "other")


def test_damaged_folders_are_told_in_one_sentence(tmp_path):
    folder = tmp_path / "c"
    grid(PatchTower(32, 32)).save_pretrained(folder)
    config, weights = folder / "captioner.json", folder / "captioner.safetensors"
    told, data = json.loads(config.read_text()), weights.read_bytes()
    tensors = {n: t.clone() for n, t in load_file(weights).items()}  # not mapped: the file is written over
    for change, message in (
        ({"captioner": "lstm"}, "names the captioner 'lstm'; known are grid, clip-reward"),
        ({"vocabulary": {"kind": "runes"}}, "names the vocabulary 'runes'; known are clip and words"),
        ({"tower": {"kind": "vgg"}}, "the tower is 'vgg'; known are clip, patch and stored"),
        ({"sizes": {"depth": 3}}, "must be numbers for decoder_layers, dropout"),
        ({"sizes": {**told["sizes"], "inner": 128}}, "and the configuration says"),
    ):
        config.write_text(json.dumps({**told, **change}))
        assert message in refused(folder)
    config.write_text(json.dumps({n: v for n, v in told.items() if n != "tower"}))
    assert "is damaged: it has no 'tower'" in refused(folder)
    config.write_text("[]")
    assert "cannot be read as a captioner's" in refused(folder)
    config.write_text(json.dumps(told))
    weights.write_bytes(data[:1000])
    assert "cannot be read as safetensors" in refused(folder)
    save_file({n: t for n, t in tensors.items() if n != "final_norm.bias"}, weights)
    assert "lacks final_norm.bias (1 missing, 0 unknown)" in refused(folder)
    save_file({**tensors, "more": torch.zeros(1)}, weights)
    assert "has more, which this captioner has not" in refused(folder)
    weights.write_bytes(data)
    assert isinstance(open_captioner(folder), Captioner)
    assert "has a vocabulary of its own; leave --vocabulary out" in refused(folder, vocabulary="x.json")
    assert "has a longest of its own" in refused(folder, longest=30)


def test_the_captioner_of_scenes_is_shipped_or_missed():
    import capreward

    if (Path(capreward.__file__).parent / "data/scenes/weights/captioner").is_dir():
        assert isinstance(open_captioner("scenes"), Captioner)
    else:
        assert "ships no captioner of scenes" in refused("scenes")


def test_no_checkpoint_is_run(tmp_path):
    state = Model().released()
    folder = write_released(tmp_path / "dico", state, Model().config())
    torch.save({**state, "extra": Acts(os.system, f"touch {tmp_path}/opened")}, folder / "pytorch_model.bin")
    assert "is a pickle with code" in refused(folder)
    assert not (tmp_path / "opened").exists()


def test_a_tower_is_loaded_as_it_was(tmp_path):
    """Activation, statistics and decoding may not stand in a file; what the captioner was trained with is kept."""
    path = tmp_path / "bare.pt"
    torch.save(small_clip().state_dict(), path)
    clip = clip_of_source(str(path), quick_gelu=False, statistics="half", decode="original")
    captioner = grid(ClipTower(clip, str(path)))
    captioner.save_pretrained(tmp_path / "c")
    check_same(captioner, open_captioner(tmp_path / "c"), crops(2, 32))
    assert str(captioner.preprocessing) == "32-shortest-bicubic-half-original"
    with pytest.raises(InputError, match="was trained with activation gelu, and its tower .* comes with .* quickgelu"):
        open_captioner(tmp_path / "c", quick_gelu=True)


def test_copies_share_the_frozen_tower(clip_folder):
    captioner = grid(clip_tower(clip_folder))
    reference = copy.deepcopy(captioner)
    assert reference.tower._frozen.model is captioner.tower._frozen.model
    assert reference.words.weight is not captioner.words.weight
    frozen = captioner.frozen_copy()
    assert frozen.tower._frozen.model is captioner.tower._frozen.model
    assert frozen.tower._frozen.tokenizer is captioner.tower._frozen.tokenizer
    assert captioner.frozen_parts() == [captioner.tower._frozen.model]
    assert not any(p.requires_grad for p in frozen.parameters())
    assert not any("tower" in name for name, _ in captioner.named_modules() if "." in name)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_towers_work_in_half_precision(clip_folder, resnet_folder, precision):
    for folder, side in ((clip_folder, 32), (resnet_folder, 64)):
        half = ClipTower(clip_of_source(str(folder), precision=precision), str(folder))
        whole = clip_tower(folder)
        found, expected = half.look(crops(2, side)), whole.look(crops(2, side))
        assert found.dtype == torch.float32
        assert 0 < (found - expected).norm() < 0.02 * expected.norm()
        assert tower_of(whole.configuration(), precision=precision).look(crops(2, side)).equal(found)


def test_towers_refuse_what_they_cannot_take(clip_folder, resnet_folder):
    with pytest.raises(InputError, match="has positions for 32 pixels a side, not 64|takes 32 pixels a side"):
        clip_tower(clip_folder, side=64)
    with pytest.raises(InputError, match="a ResNet's side must be a multiple of 32; found 100"):
        clip_tower(resnet_folder, side=100)
    with pytest.raises(InputError, match="resize is 'stretch'; it must be shortest or squash"):
        clip_tower(resnet_folder, resize="stretch")
    assert clip_tower(resnet_folder, side=96).shape == (9, 256)
    assert clip_tower(clip_folder).shape == (5, VIT["width"])
    assert PREFIX.endswith(".")
