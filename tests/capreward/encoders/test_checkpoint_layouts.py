"""Each layout loads to the features of the model that wrote it; the architecture is read off the shapes."""

from __future__ import annotations

import json
import math

import pytest
import torch
from clip_files import (
    RESNET,
    TEXT,
    TEXTS,
    VIT,
    check_features,
    features,
    folder_of,
    model_cfg,
    pixels,
    save,
    small_clip,
)
from rounding import check_close

from capreward.encoders.layouts.recognition import recognise
from capreward.encoders.loading import load_clip
from capreward.encoders.model.open_clip_import import import_open_clip
from capreward.encoders.spec import STATISTICS
from capreward.encoders.weights.resolution import read_weights
from capreward.encoders.weights.weights_request import WeightsRequest
from capreward.errors import InputError


def test_openai_state_dict(tmp_path):
    model = small_clip()
    clip = load_clip(save(tmp_path / "x.pth", {"state_dict": model.state_dict()}))
    check_features(clip.model, model)
    assert clip.spec.layout == "openai"
    assert clip.spec.name == "x.pth"
    assert clip.spec.quick_gelu
    assert clip.spec.preprocessing.size == 32
    assert clip.spec.preprocessing.mean == STATISTICS["openai"][0]
    assert clip.spec.notes == (
        "x.pth does not say its activation and image statistics; taken: QuickGELU and OpenAI's "
        "(quick_gelu and statistics change that)",
    )
    assert not clip.model.training
    assert not any(p.requires_grad for p in clip.model.parameters())
    assert torch.equal(clip.tokenizer(TEXTS), import_open_clip().tokenize(TEXTS))


def test_the_user_says_what_a_file_does_not(tmp_path):
    model = small_clip(quick_gelu=False)
    path = save(tmp_path / "x.pth", model.state_dict())
    clip = load_clip(path, quick_gelu=False, statistics="half", decode="original")
    check_features(clip.model, model)
    assert clip.spec.notes == ()
    assert str(clip.spec.preprocessing) == "32-shortest-bicubic-half-original"
    assert clip.spec.fields()["act"] == "gelu"
    with pytest.raises(AssertionError):
        check_features(load_clip(path).model, model)
    assert "its image statistics; taken: OpenAI's" in load_clip(path, quick_gelu=True).spec.notes[0]
    assert "its activation; taken: QuickGELU" in load_clip(path, statistics="imagenet").spec.notes[0]
    with pytest.raises(InputError, match="statistics='laion' is none of openai, half, imagenet"):
        load_clip(path, statistics="laion")
    with pytest.raises(InputError, match="precision='fp8' is none of fp32, fp16, bf16"):
        load_clip(path, precision="fp8")
    with pytest.raises(InputError, match="decode='fast' is none of"):
        load_clip(path, decode="fast")


@pytest.mark.parametrize("prefix", ["module.", "module._orig_mod.", "clip.", "model.clip_model."])
def test_prefixes_of_training_code(tmp_path, prefix):
    model = small_clip()
    state = {f"{prefix}{n}": t for n, t in model.state_dict().items()}
    check_features(load_clip(save(tmp_path / "x.pth", {"epoch": 1, "state_dict": state})).model, model)


def test_open_clip_with_a_bias_and_a_custom_text_tower(tmp_path):
    model = small_clip(init_logit_bias=-10.0)
    clip = load_clip(save(tmp_path / "a.pth", model.state_dict()))
    check_features(clip.model, model)
    assert clip.spec.layout == "open_clip"
    assert torch.equal(clip.model.logit_bias, model.logit_bias)
    custom = import_open_clip().CustomTextCLIP(**model_cfg(nonscalar_logit_scale=True)).eval().requires_grad_(False)
    clip = load_clip(save(tmp_path / "b.pth", custom.state_dict()))
    check_features(clip.model, custom)
    assert clip.spec.layout == "open_clip"
    assert isinstance(clip.model, import_open_clip().CLIP)


@pytest.mark.parametrize(
    "vision, text",
    [
        (RESNET, TEXT),
        ({**RESNET, "image_size": 96, "width": 16}, TEXT),
        ({"image_size": 48, "patch_size": 8, "width": 64, "layers": 3}, {**TEXT, "context_length": 32, "layers": 1}),
        ({**VIT, "width": 1280, "head_width": 80, "layers": 1}, {**TEXT, "width": 128, "heads": 2}),
        ({**VIT, "mlp_ratio": 4.3637, "ls_init_value": 0.1, "no_ln_pre": True}, {**TEXT, "mlp_ratio": 2.5}),
    ],
    ids=["resnet", "resnet-wide", "patch-8", "vit-h-heads", "odd"],
)
def test_architectures(tmp_path, vision, text):
    model = small_clip(vision=vision, text=text)
    clip = load_clip(save(tmp_path / "x.pth", model.state_dict()))
    assert clip.spec.preprocessing.size == vision["image_size"]
    assert clip.tokenizer.context_length == text["context_length"]
    ids = clip.tokenizer(TEXTS)
    for mine, theirs in (
        (clip.model.encode_image(pixels(model)), model.encode_image(pixels(model))),
        (clip.model.encode_text(ids), model.encode_text(ids)),
    ):
        check_close(mine, theirs)


PUBLISHED = {
    "ViT-B-32": (302, 151_277_313, 512),
    "ViT-L-14": (446, 427_616_513, 768),
    "ViT-B-16": (302, 149_620_737, 512),
    "RN50": (None, 102_007_137, 1024),
    "RN50x4": (None, 178_300_601, 640),
    "ViT-H-14": (None, 986_109_441, 1024),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_full_sizes(name):
    """Tensors and parameters of the published models; open_clip's own configuration is found again."""
    count, parameters, embed = PUBLISHED[name]
    config = import_open_clip().get_model_config(name)
    with torch.device("meta"):
        model = import_open_clip().CLIP(**config)
    state = model.state_dict()
    assert sum(p.numel() for p in model.parameters()) == parameters
    layout = recognise(state, name)
    found = layout.model_cfg
    assert count in (None, len(state), len(layout.tensors))
    assert found["embed_dim"] == embed == config["embed_dim"]
    with torch.device("meta"):
        again = import_open_clip().CLIP(**found)
    assert {n: t.shape for n, t in again.state_dict().items()} == {n: t.shape for n, t in state.items()}
    heads = [block.attn.num_heads for n, block in model.named_modules() if n.endswith("resblocks.0")]
    assert heads == [block.attn.num_heads for n, block in again.named_modules() if n.endswith("resblocks.0")]
    assert found["vision_cfg"]["image_size"] == config["vision_cfg"]["image_size"]


def test_widths_whose_heads_cannot_be_told(tmp_path):
    model = small_clip(vision={**VIT, "width": 96, "head_width": 32})
    with pytest.raises(
        InputError, match="its image tower is 96 wide, so its heads, 64 wide in OpenAI's, cannot be told"
    ):
        load_clip(save(tmp_path / "x.pth", model.state_dict()))


def test_towers_that_shapes_do_not_tell(tmp_path):
    state = small_clip().state_dict()
    timm = {n.replace("visual.", "visual.trunk."): t for n, t in state.items()}
    with pytest.raises(InputError, match="image tower of timm.*give the folder with its open_clip_config.json"):
        load_clip(save(tmp_path / "a.pth", timm))
    bert = {n.replace("token_embedding", "text.transformer.embeddings.word_embeddings"): t for n, t in state.items()}
    with pytest.raises(InputError, match="text tower of transformers.*give the folder"):
        load_clip(save(tmp_path / "b.pth", bert))


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_is_open_clips_own(tmp_path, precision):
    model = small_clip()
    config = model_cfg()
    folder = folder_of(tmp_path / "x", model.state_dict(), config)
    other = import_open_clip().create_model(f"local-dir:{folder}", precision=precision).eval().requires_grad_(False)
    clip = load_clip(folder, precision=precision)
    mine, theirs = clip.model.state_dict(), other.state_dict()
    assert {n: t.dtype for n, t in mine.items()} == {n: t.dtype for n, t in theirs.items()}
    assert clip.model.visual.proj.dtype == clip.model.text_projection.dtype != torch.float32
    assert clip.model.ln_final.weight.dtype == torch.float32
    assert all(torch.equal(mine[n], t) for n, t in theirs.items())
    dtype = mine["text_projection"].dtype
    ids = clip.tokenizer(TEXTS)
    image = pixels(model).to(dtype)
    assert torch.equal(clip.model.encode_image(image), other.encode_image(image))
    assert torch.equal(clip.model.encode_text(ids), other.encode_text(ids))


def test_an_open_clip_folder_says_itself(tmp_path):
    model = small_clip(quick_gelu=False, vision={**VIT, "head_width": 32})
    config = model_cfg(quick_gelu=False, vision={**VIT, "head_width": 32})
    half = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bilinear", "resize_mode": "squash"}
    folder = folder_of(tmp_path / "mine", model.state_dict(), config, **half)
    for source in (folder, f"local-dir:{folder}", folder / "open_clip_model.safetensors"):
        clip = load_clip(source)
        check_features(clip.model, model)
        assert (clip.spec.name, clip.spec.layout, clip.spec.notes) == ("mine", "open_clip", ())
        assert str(clip.spec.preprocessing) == "32-squash-bilinear-half-careful"
    changed = load_clip(folder, quick_gelu=True, statistics="openai").spec
    assert changed.notes == ("mine runs with QuickGELU as asked; its configuration says GELU",)
    assert changed.preprocessing.statistics == "openai"
    with pytest.raises(AssertionError):
        check_features(load_clip(folder, quick_gelu=True).model, model)


def test_a_folder_with_a_vocabulary_of_its_own(tmp_path, monkeypatch):
    """The merges lie beside the weights and are named relative to the folder, wherever the program runs."""
    import gzip

    merges = ["#version: 0.2", "a t</w>", "c at</w>"]
    vocabulary = 512 + 2 + 2
    text = {**TEXT, "vocab_size": vocabulary, "context_length": 16, "tokenizer_kwargs": {"bpe_path": "bpe.txt.gz"}}
    model = small_clip(text={**TEXT, "vocab_size": vocabulary, "context_length": 16})
    folder = folder_of(tmp_path / "mine", model.state_dict(), model_cfg(text=text))
    with pytest.raises(InputError, match="there is no vocabulary .*bpe.txt.gz, which its configuration names"):
        load_clip(folder)
    (folder / "bpe.txt.gz").write_bytes(b"no gzip")
    with pytest.raises(InputError, match="its vocabulary .*bpe.txt.gz cannot be read"):
        load_clip(folder)
    with gzip.open(folder / "bpe.txt.gz", "wt") as file:
        file.write("\n".join(merges))
    monkeypatch.chdir(tmp_path)
    clip = load_clip("mine")
    assert clip.tokenizer(["a cat"])[0, :5].tolist() == [514, 320 - 256 + 256, 513, 515, 0]
    assert clip.tokenizer(["a cat"]).shape == (1, 16)
    del text["tokenizer_kwargs"]
    plain = folder_of(tmp_path / "plain", model.state_dict(), model_cfg(text=text))
    with pytest.raises(InputError, match="its text tower knows 516 tokens and the vocabulary has 49,408"):
        load_clip(plain)


def test_bad_folders(tmp_path):
    state = small_clip().state_dict()
    folder = folder_of(tmp_path / "a", state, model_cfg(embed=33))
    with pytest.raises(InputError, match=r"text_projection is \(64, 32\) and should be \(64, 33\)"):
        load_clip(folder)
    config = folder / "open_clip_config.json"
    for content, sentence in (
        ("{", "cannot be read as JSON"),
        ("[]", "holds a list; a JSON object is needed"),
        ('{"model_cfg": {}}', "has no model_cfg with embed_dim"),
    ):
        config.write_text(content)
        with pytest.raises(InputError, match=sentence):
            load_clip(folder)
    for change, sentence in (
        ({"vision_cfg": {**VIT, "image_size": [32, 64]}}, "takes images of 64 by 32 pixels; only square ones"),
        ({"vision_cfg": {**VIT, "unknown_option": 3}}, "open_clip cannot build its architecture .*unknown_option"),
    ):
        config.write_text(json.dumps({"model_cfg": {**model_cfg(), **change}}))
        with pytest.raises(InputError, match=sentence):
            load_clip(folder)
    config.write_text(json.dumps({"model_cfg": model_cfg(), "preprocess_cfg": {"resize_mode": "longest"}}))
    with pytest.raises(InputError, match="resize mode 'longest'; only shortest and squash"):
        load_clip(folder)
    config.write_text(json.dumps({"model_cfg": model_cfg()}))
    (folder / "open_clip_model.safetensors").unlink()
    with pytest.raises(InputError, match="has no open_clip_model.safetensors beside its configuration"):
        load_clip(folder)


def test_a_folder_cannot_ask_for_code(tmp_path):
    text = {**TEXT, "hf_tokenizer_name": "evil", "tokenizer_kwargs": {"trust_remote_code": True}}
    folder = folder_of(tmp_path / "x", small_clip().state_dict(), model_cfg(text=text))
    with pytest.raises(InputError, match="wants to run code of its own"):
        load_clip(folder)


def test_a_folder_cannot_ask_for_the_network(tmp_path, monkeypatch):
    """A tokenizer or a text tower of the hub is fetched when asked only."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    state = small_clip().state_dict()
    folder = folder_of(tmp_path / "a", state, model_cfg(text={**TEXT, "hf_tokenizer_name": "someone/no-tokenizer"}))
    with pytest.raises(InputError, match="a: its tokenizer someone/no-tokenizer cannot be loaded .*add --download"):
        load_clip(folder)
    folder = folder_of(tmp_path / "b", state, model_cfg(text={"hf_model_name": "someone/no-tower"}))
    with pytest.raises(InputError, match="b needs the configuration of someone/no-tower; add --download"):
        load_clip(folder)


def test_the_hash_is_that_of_the_file(tmp_path):
    import hashlib

    path = save(tmp_path / "x.pth", small_clip().state_dict())
    weights = read_weights(path, WeightsRequest(quick_gelu=True, statistics="openai"))
    assert weights.spec.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert weights.spec.fields()["sha"] == weights.spec.sha256[:12]
    folder = folder_of(tmp_path / "y", small_clip().state_dict(), model_cfg())
    content = (folder / "open_clip_model.safetensors").read_bytes()
    assert read_weights(folder).spec.sha256 == hashlib.sha256(content).hexdigest()


def test_features_differ_between_weights(tmp_path):
    """The comparison of this file can fail: another seed gives other features."""
    first, second = features(small_clip(0)), features(small_clip(1))
    assert math.isfinite(float(first[0].sum()))
    assert not any(torch.allclose(a, b, atol=1e-3) for a, b in zip(first, second, strict=True))
