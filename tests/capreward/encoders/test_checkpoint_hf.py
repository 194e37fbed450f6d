"""transformers' CLIP, folder or bare state dict, gives the features that transformers gives; so does the grammar CLIP."""

from __future__ import annotations

import json

import pytest
import torch
from clip_files import TEXTS, check_features, features, folder_of, model_cfg, pixels, save, small_clip, tokens
from hf_files import hf_clip
from rounding import check_close
from torch.nn.functional import normalize

from capreward.encoders.loading import load_clip
from capreward.encoders.model.open_clip_import import import_open_clip
from capreward.encoders.weights.conversion import convert
from capreward.errors import InputError

HALF = {"mean": [0.5] * 3, "std": [0.5] * 3}

import_open_clip()  # transformers imports torchvision as well
transformers = pytest.importorskip("transformers")


def hf_features(model):
    """Projected, normalised features by transformers' own forward."""
    images = model.vision_model(pixel_values=pixels(small_clip())).pooler_output
    texts = model.text_model(input_ids=tokens()).pooler_output
    return normalize(model.visual_projection(images), dim=-1), normalize(model.text_projection(texts), dim=-1)


def assert_same(clip, model):
    for mine, theirs in zip(features(clip.model), hf_features(model), strict=True):
        check_close(normalize(mine, dim=-1), theirs)


@pytest.mark.parametrize("act", ["quick_gelu", "gelu"])
@pytest.mark.parametrize("safe", [True, False])
def test_a_folder_of_transformers(tmp_path, act, safe):
    """Activation and heads come from config.json, mean and std from preprocessor_config.json."""
    model = hf_clip(act=act, image_heads=4, text_heads=2)
    if safe:
        model.save_pretrained(tmp_path / "hf")
    else:
        model.config.save_pretrained(tmp_path / "hf")
        save(tmp_path / "hf" / "pytorch_model.bin", model.state_dict())
    image = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4], "resample": 2}
    (tmp_path / "hf" / "preprocessor_config.json").write_text(json.dumps(image))
    clip = load_clip(tmp_path / "hf")
    assert_same(clip, model)
    assert (clip.spec.layout, clip.spec.name, clip.spec.notes) == ("hf", "hf", ())
    assert clip.spec.quick_gelu == (act == "quick_gelu")
    assert clip.spec.model_cfg["vision_cfg"]["head_width"] == 32
    assert clip.spec.model_cfg["text_cfg"]["heads"] == 2
    assert clip.spec.preprocessing.mean == (0.5, 0.4, 0.3)
    assert clip.spec.preprocessing.std == (0.2, 0.3, 0.4)
    assert clip.spec.preprocessing.interpolation == "bilinear"


def test_shards(tmp_path):
    model = hf_clip()
    model.save_pretrained(tmp_path / "hf", max_shard_size="5MB")
    assert len(list((tmp_path / "hf").glob("model-*.safetensors"))) > 1
    whole = load_clip(tmp_path / "hf")
    assert_same(whole, model)
    first = min((tmp_path / "hf").glob("model-*.safetensors"))
    first.unlink()
    with pytest.raises(InputError, match=f"no weights file .*{first.name}"):
        load_clip(tmp_path / "hf")


def test_a_bare_state_dict_with_the_buffers_of_old_versions(tmp_path):
    """Heads 64 wide are OpenAI's rule; position_ids are no weights."""
    model = hf_clip()
    state = dict(model.state_dict())
    state["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    state["vision_model.embeddings.position_ids"] = torch.arange(5)[None]
    clip = load_clip(save(tmp_path / "x.bin", state))
    assert_same(clip, model)
    assert clip.spec.layout == "hf"
    assert clip.spec.quick_gelu
    assert "activation and image statistics" in clip.spec.notes[0]


def test_other_epsilons(tmp_path):
    model = hf_clip(layer_norm_eps=0.1)
    model.save_pretrained(tmp_path / "hf")
    clip = load_clip(tmp_path / "hf")
    assert clip.spec.model_cfg["vision_cfg"]["norm_kwargs"] == {"eps": 0.1}
    assert_same(clip, model)


def test_folders_that_are_no_clip(tmp_path):
    model = hf_clip()
    model.save_pretrained(tmp_path / "hf")
    path = tmp_path / "hf" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "model_type": "siglip"}))
    with pytest.raises(InputError, match="has a model of type 'siglip'"):
        load_clip(tmp_path / "hf")
    config["vision_config"]["hidden_act"] = "relu"
    path.write_text(json.dumps(config))
    with pytest.raises(InputError, match="activation quick_gelu and relu; quick_gelu or gelu is needed"):
        load_clip(tmp_path / "hf")
    state = dict(model.state_dict())
    del state["text_model.encoder.layers.1.self_attn.k_proj.bias"]
    with pytest.raises(InputError, match=r"lacks one of q, k and v for transformer.resblocks.1.attn.in_proj_bias"):
        load_clip(save(tmp_path / "x.pth", state))
    with pytest.raises(InputError, match=r"has vision_model.extra, which no CLIP of transformers has"):
        load_clip(save(tmp_path / "y.pth", {**model.state_dict(), "vision_model.extra": torch.ones(1)}))


def test_a_vocabulary_of_its_own(tmp_path):
    """A small CLIP of transformers with its tokenizer in the folder; the feature is that of the end token."""
    model = hf_clip()
    model.save_pretrained(tmp_path / "hf")
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    config["text_config"]["vocab_size"] = 8
    (tmp_path / "hf" / "config.json").write_text(json.dumps(config))
    state = {n: t[:8] if "token_embedding" in n else t for n, t in model.state_dict().items()}
    from safetensors.torch import save_file

    save_file({n: t.clone() for n, t in state.items()}, tmp_path / "hf" / "model.safetensors")
    with pytest.raises(InputError, match="its text tower knows 8 tokens"):
        load_clip(tmp_path / "hf")
    vocabulary = {"a</w>": 0, "b</w>": 1, "a": 2, "b": 3, "ab</w>": 4, "!": 5, "<|startoftext|>": 6, "<|endoftext|>": 7}
    (tmp_path / "hf" / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "hf" / "merges.txt").write_text("#version: 0.2\na b</w>\n")
    (tmp_path / "hf" / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer"}))
    clip = load_clip(tmp_path / "hf")
    ids = clip.tokenizer(["ab a"])
    assert ids[0, :4].tolist() == [6, 4, 0, 7]
    convert(tmp_path / "hf", tmp_path / "out")
    assert torch.equal(load_clip(tmp_path / "out").tokenizer(["ab a"]), ids)
    assert torch.equal(import_open_clip().get_tokenizer(f"local-dir:{tmp_path / 'out'}")(["ab a"]), ids)
    assert ids.shape == (1, 77)


@pytest.fixture(scope="module")
def grammar():
    """CLIP-Caption-Reward's checkpoint as its training writes it: prefix, head, buffers, optimiser state."""
    model = hf_clip(seed=3)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        head = torch.nn.Sequential(
            torch.nn.Linear(64, 64, bias=False), torch.nn.ReLU(), torch.nn.Linear(64, 2, bias=False)
        )
    state = {f"clip_model.{n}": t for n, t in model.state_dict().items()}
    state["clip_model.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    state |= {f"grammar_score_head.{n}": t for n, t in head.state_dict().items()}
    return model, head.eval().requires_grad_(False), state


def grammar_probability(clip):
    """softmax(head(pooled text))[1], the pooled text before the projection."""
    projection, clip.model.text_projection = clip.model.text_projection, None
    pooled = clip.model.encode_text(tokens())
    clip.model.text_projection = projection
    return clip.grammar_head(pooled).softmax(-1)[:, 1]


def check_grammar(clip, model, head):
    wanted = head(model.text_model(input_ids=tokens()).pooler_output).softmax(-1)[:, 1]
    check_close(grammar_probability(clip), wanted)
    assert wanted.max() - wanted.min() > 1e-3


def test_grammar_checkpoint(tmp_path, grammar):
    model, head, state = grammar
    path = save(tmp_path / "clip_negative_text-last.ckpt", {"epoch": 1, "state_dict": state, "optimizer_states": [{}]})
    clip = load_clip(path, quick_gelu=True, statistics="openai")
    assert clip.spec.layout == "grammar"
    assert clip.spec.notes == ()
    assert_same(clip, model)
    check_grammar(clip, model, head)
    assert load_clip(save(tmp_path / "x.pth", model.state_dict())).grammar_head is None


def test_grammar_checkpoint_without_its_image_tower(tmp_path, grammar):
    """Texts can be judged; images need the CLIP that it was tuned from."""
    model, head, state = grammar
    less = {n: t for n, t in state.items() if "vision_model" not in n and "visual_projection" not in n}
    path = save(tmp_path / "g.ckpt", {"state_dict": less})
    clip = load_clip(path)
    check_grammar(clip, model, head)
    assert clip.spec.notes[0].startswith("g.ckpt has no image tower: give the CLIP that it was tuned from by base=")
    with pytest.raises(InputError, match="g.ckpt has no image tower; give the CLIP"):
        clip.model.encode_image(torch.zeros(1, 3, 32, 32))
    other = small_clip(seed=7)
    base = save(tmp_path / "base.pth", other.state_dict())
    whole = load_clip(path, base=base)
    check_grammar(whole, model, head)
    check_close(whole.model.encode_image(pixels(other)), other.encode_image(pixels(other)))
    assert whole.spec.name == "g.ckpt+base.pth"
    assert whole.spec.sha256 not in (clip.spec.sha256, load_clip(base).spec.sha256)
    own = load_clip(
        path, base=folder_of(tmp_path / "own", small_clip().state_dict(), model_cfg(quick_gelu=False), **HALF)
    )
    assert (own.spec.quick_gelu, own.spec.preprocessing.statistics, own.spec.notes) == (False, "half", ())
    wide = save(tmp_path / "wide.pth", small_clip(embed=48).state_dict())
    with pytest.raises(InputError, match="have features of 32 and 48 numbers; they must be the same"):
        load_clip(path, base=wide)


def test_a_text_tower_alone_is_no_encoder(tmp_path):
    text = {n: t for n, t in small_clip().state_dict().items() if not n.startswith("visual.")}
    with pytest.raises(InputError, match="has a text tower and no image tower; give the CLIP that it was tuned from"):
        load_clip(save(tmp_path / "x.pth", text))
    bad = {**small_clip().state_dict(), "grammar_score_head.0.weight": torch.ones(4, 4)}
    with pytest.raises(InputError, match=r"its grammar head is .*; 0.weight \[d, d\] and 2.weight \[2, d\] are needed"):
        load_clip(save(tmp_path / "y.pth", bad))


def test_the_grammar_head_in_openais_names(tmp_path):
    """The same head beside a CLIP in open_clip's names, such as a converted one."""
    head = {"grammar_score_head.0.weight": torch.eye(64), "grammar_score_head.2.weight": torch.ones(2, 64)}
    model = small_clip()
    clip = load_clip(save(tmp_path / "x.pth", {**model.state_dict(), **head}))
    assert clip.spec.layout == "grammar"
    check_features(clip.model, model)
    check_close(grammar_probability(clip), torch.full((len(TEXTS),), 0.5))
    assert model_cfg()["embed_dim"] == clip.spec.model_cfg["embed_dim"]
