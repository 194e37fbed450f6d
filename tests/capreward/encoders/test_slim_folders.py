"""Folders of a text tower and a grammar head alone, completed by the weights that they were tuned from."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from click.testing import CliRunner
from clip_files import TEXT, folder_of, model_cfg, save, small_clip
from hf_files import grammar_head
from rounding import check_close
from safetensors.torch import load_file, save_file

import capreward
from capreward.encoders.encoder import Encoder
from capreward.encoders.loading import load_clip
from capreward.encoders.weights import configured_folders
from capreward.encoders.weights.configured_folders import digest_of, shipped_folder
from capreward.errors import InputError
from trainers.commands.convert import convert

SCENES = shipped_folder("scenes-clip")


def slim_folder(path, state, config, base, head, *, vocabulary=None, more=()):
    """What ``capreward tune`` writes with ``slim``."""
    path.mkdir(parents=True)
    kept = {n: t.contiguous() for n, t in state.items() if not n.startswith("visual.") or n in more}
    save_file(kept, path / "open_clip_model.safetensors")
    save_file(head.state_dict(), path / "grammar_head.safetensors")
    (path / "open_clip_config.json").write_text(json.dumps(config))
    (path / "capreward.json").write_text(json.dumps({"layout": "grammar", "base": base}))
    if vocabulary is not None:
        shutil.copy(vocabulary, path)
    return path


@pytest.fixture
def tuned():
    """scenes-clip with a text tower that has moved."""
    state = dict(load_clip("scenes-clip").model.state_dict())
    moved = {n: t + 0.05 if not n.startswith("visual.") and t.ndim == 1 else t for n, t in state.items()}
    return {n: t for n, t in moved.items() if n != "attn_mask"}


@pytest.fixture
def scenes_grammar(tmp_path, tuned):
    config = json.loads((SCENES / "open_clip_config.json").read_text())
    base = {"source": "scenes-clip", "sha256": digest_of(SCENES)}
    vocabulary = SCENES / "bpe.txt.gz"
    return slim_folder(tmp_path / "grammar", tuned, config, base, grammar_head(width=96), vocabulary=vocabulary)


def test_the_image_tower_is_the_bases(scenes_grammar, tuned):
    clip, base = load_clip(scenes_grammar), load_clip("scenes-clip")
    pictures = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    check_close(clip.model.encode_image(pictures), base.model.encode_image(pictures))
    tokens = base.tokenizer(["a red ball", "two cubes"])
    assert torch.equal(clip.tokenizer(["a red ball", "two cubes"]), tokens)
    assert (clip.model.encode_text(tokens) - base.model.encode_text(tokens)).abs().max() > 1e-3
    for name in ("ln_final.weight", "text_projection", "logit_scale"):
        assert torch.equal(clip.model.state_dict()[name], tuned[name])
    assert (clip.spec.name, clip.spec.layout) == ("grammar", "grammar")


def test_a_vocabulary_that_is_not_there_is_the_bases(scenes_grammar):
    (scenes_grammar / "bpe.txt.gz").unlink()
    tokens = load_clip("scenes-clip").tokenizer(["a red ball"])
    assert torch.equal(load_clip(scenes_grammar).tokenizer(["a red ball"]), tokens)


def test_the_hash_covers_both(scenes_grammar, tmp_path):
    whole = load_clip(scenes_grammar).spec.sha256
    assert whole == digest_of(scenes_grammar)
    assert whole != digest_of(SCENES)
    head = load_file(scenes_grammar / "grammar_head.safetensors")
    other = shutil.copytree(scenes_grammar, tmp_path / "other")
    save_file({n: t * 2 for n, t in head.items()}, other / "grammar_head.safetensors")
    assert digest_of(other) != whole
    changed = shutil.copytree(SCENES, tmp_path / "clip")
    state = load_file(SCENES / "open_clip_model.safetensors")
    save_file(
        {n: t * 1.5 if n == "visual.proj" else t for n, t in state.items()}, changed / "open_clip_model.safetensors"
    )
    record = {"base": {"source": str(changed), "sha256": digest_of(changed)}}
    (other / "capreward.json").write_text(json.dumps(record))
    save_file(head, other / "grammar_head.safetensors")
    assert load_clip(other).spec.sha256 == digest_of(other) != whole  # the same text tower on other images


def test_a_base_that_is_missing_or_another_is_one_sentence(scenes_grammar, tmp_path):
    record = {"base": {"source": str(tmp_path / "gone"), "sha256": digest_of(SCENES)}}
    (scenes_grammar / "capreward.json").write_text(json.dumps(record))
    with pytest.raises(InputError) as caught:
        load_clip(scenes_grammar)
    said = str(caught.value)
    assert said.startswith(
        f"{scenes_grammar} has the image tower of {tmp_path / 'gone'}, which cannot be read (there is"
    )
    assert said.endswith("; give it by base= or --base")
    moved = load_clip(scenes_grammar, base="scenes-clip")  # where it is now
    assert moved.spec.sha256 == digest_of(scenes_grammar)
    with pytest.raises(InputError) as caught:
        load_clip(scenes_grammar, base="scenes-pacs")
    sha, other = digest_of(SCENES)[:12], digest_of(shipped_folder("scenes-pacs"))[:12]
    assert str(caught.value) == (
        f"{scenes_grammar} was tuned from {tmp_path / 'gone'} with sha256 {sha}, and scenes-pacs has {other}; "
        "give the right weights by base= or --base"
    )
    (scenes_grammar / "capreward.json").write_text('{"base": "scenes-clip"}')
    with pytest.raises(InputError, match='its base is no object with "source" and "sha256"'):
        load_clip(scenes_grammar)


def test_opens_by_name_and_judges_scenes(scenes_grammar, monkeypatch):
    """The weights of ``scenes-grammar`` are found for pictures of scenes, and for captions with their names."""
    named = configured_folders.shipped_folder
    monkeypatch.setattr(
        configured_folders, "shipped_folder", lambda n: scenes_grammar if n == "scenes-grammar" else named(n)
    )
    captions = {f"scenes-test-{i:06d}": c for i, c in enumerate(["a red ball .", "ball ball a a", "two blue cubes ."])}
    scores = capreward.score(captions, images="scenes", metrics="grammar,clips-grammar,clips")
    alone = capreward.score(captions, metrics="grammar")
    assert "|model:scenes-grammar|sha:" in str(alone["grammar"].signature)
    assert alone["grammar"].per_caption == pytest.approx(scores["grammar"].per_caption, abs=1e-6)
    assert alone["grammar"].notes == ("captions of scenes are judged by scenes-grammar, which ships with capreward",)
    assert "pictures of scenes are judged by scenes-grammar, which ships with capreward" in scores.notes
    clip = load_clip(scenes_grammar)
    states = Encoder(clip).text_features([f"A photo depicts {c}" for c in captions.values()]).states
    assert scores["grammar"].per_caption == pytest.approx(clip.grammar_head(states).softmax(-1)[:, 1].numpy(), abs=1e-6)
    assert len({str(s.signature) for s in scores.columns()}) == 3
    with pytest.raises(InputError, match="grammar needs clip_negative_text-last.ckpt"):
        capreward.score({"photo-1": "a dog"}, metrics="grammar")


def test_the_same_image_tower_encodes_pictures_once(scenes_grammar, tmp_path):
    """clips and clips-grammar look through one image tower: features and stores of either serve both."""
    from capreward.data.scenes import picture_of
    from capreward.encoders.feature_extraction import embed_images

    keys = [f"scenes-test-{i:06d}" for i in range(3)]
    images = [picture_of(key) for key in keys]
    reward = capreward.load(f"clips + clips-grammar(checkpoint={scenes_grammar})", device="cpu")
    samples = capreward.Samples(["a ball", "a cube", "a cone"], images=images)
    clips, tuned = reward.terms.values()
    seen = []
    for term in (clips, tuned):
        term.encoder(samples).clip.model.visual.register_forward_pre_hook(
            lambda module, given: seen.append(len(given[0]))
        )
    wanted = reward(samples)
    assert seen == [3]
    embed_images(clips.encoder(samples), keys, images, tmp_path / "store")
    embed_images(tuned.encoder(samples), keys, images, tmp_path / "other")
    for store in ("store", "other"):
        stored = capreward.score(
            dict(zip(keys, samples.captions, strict=True)), images=tmp_path / store, metrics=[reward]
        )
        torch.testing.assert_close(torch.from_numpy(next(iter(stored.values())).per_caption), wanted, rtol=0, atol=1e-5)
        captions = dict(zip(keys, samples.captions, strict=True))
        for term in (clips, tuned):  # each alone
            found = next(iter(capreward.score(captions, images=tmp_path / store, metrics=[term]).values()))
            assert found.per_caption == pytest.approx(term(samples).double().numpy(), abs=1e-5)


def test_other_image_towers_see_for_themselves(tmp_path):
    """Two evaluators of the same samples share pictures' features only where their image towers are the same."""
    from capreward.data.scenes import picture_of

    samples = capreward.Samples(["a ball", "a cube"], images=[picture_of(f"scenes-test-{i:06d}") for i in range(2)])
    each = [capreward.load("clips", checkpoint=f"scenes-{n}", device="cpu") for n in ("clip", "pacs")]
    alone = [e(capreward.Samples(samples.captions, images=samples.images)) for e in each]
    for evaluator, wanted in zip(each, alone, strict=True):
        torch.testing.assert_close(evaluator(samples), wanted, rtol=0, atol=1e-5)
    assert (alone[0] - alone[1]).abs().max() > 1e-3


def test_parts_of_the_image_tower_may_be_its_own(tmp_path):
    """Tuned projections come with the text tower; pictures then have features of their own."""
    base = folder_of(tmp_path / "base", small_clip().state_dict(), model_cfg())
    state = {**small_clip(seed=1).state_dict()}
    named = {"source": str(base), "sha256": digest_of(base)}
    config = {"model_cfg": model_cfg(text=TEXT), "preprocess_cfg": {}}
    path = slim_folder(tmp_path / "x", state, config, named, grammar_head(), more=("visual.proj",))
    clip = load_clip(path)
    assert torch.equal(clip.model.visual.proj, state["visual.proj"])
    assert torch.equal(clip.model.visual.conv1.weight, small_clip().visual.conv1.weight)
    assert Encoder(clip).image_fields() == Encoder(clip).fields()
    less = {n: t for n, t in state.items() if n != "ln_final.weight"}
    short = slim_folder(tmp_path / "y", less, config, named, grammar_head())
    with pytest.raises(InputError, match="does not fit its architecture: it lacks ln_final.weight"):
        load_clip(short)  # a text tower is never completed


def test_convert_writes_it_whole(scenes_grammar, tmp_path):
    out = tmp_path / "out"
    done = CliRunner().invoke(convert, [str(scenes_grammar), str(out)])
    assert done.exit_code == 0, done.output
    whole, slim = load_clip(out), load_clip(scenes_grammar)
    assert all(torch.equal(t, slim.model.state_dict()[n]) for n, t in whole.model.state_dict().items())
    assert torch.equal(whole.grammar_head[2].weight, slim.grammar_head[2].weight)
    assert "base" not in json.loads((out / "capreward.json").read_text())


def test_a_folder_without_record_takes_the_base_that_is_named(tmp_path):
    state = {n: t for n, t in small_clip(seed=1).state_dict().items() if not n.startswith("visual.")}
    path = folder_of(tmp_path / "x", state, model_cfg())
    base = save(tmp_path / "base.pth", small_clip().state_dict())
    clip = load_clip(path, base=base)
    assert clip.spec.name == "x+base.pth"
    assert torch.equal(clip.model.visual.proj, small_clip().visual.proj)
    assert torch.equal(clip.model.text_projection, small_clip(seed=1).text_projection)
