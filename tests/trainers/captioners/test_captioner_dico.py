"""DiCO's checkpoints: a model of transformers' own classes and the captioner that its files give are one."""

from __future__ import annotations

import json

import pytest
import torch
from captioner_files import PREFIX, Model, crops, saved_clip, write_released
from clip_files import VIT, small_clip

from capreward import InputError
from capreward.data.images.preprocessing import normalise
from trainers.captioners.layouts.dico_captioner import open_dico
from trainers.captioners.layouts.dico_tensors import is_dico, read_dico
from trainers.captioners.layouts.loading import open_captioner
from trainers.captioners.towers import StoredTower, clip_of_source, tower_of

ROWS = 3


@pytest.fixture(scope="module")
def model():
    return Model()


@pytest.fixture(scope="module")
def state(model):
    return model.released()


@pytest.fixture(scope="module")
def tokens():
    return torch.randint(0, 49_409, (ROWS, 10), generator=torch.Generator().manual_seed(2))


def opened(folder, **options):
    return open_dico(read_dico(folder), **options)


@torch.no_grad()
def check_same(captioner, model, tokens, tolerance=1e-5):
    pixels = crops(ROWS, 32)
    memory = captioner.encode(captioner.look(pixels))
    states = model.states(normalise(pixels, captioner.preprocessing))
    torch.testing.assert_close(memory.states, states, rtol=0, atol=tolerance)
    assert states.std() > 0.1
    logits = model.logits(states, tokens)
    cache = captioner.start(memory, tokens.shape[1])
    for place in range(tokens.shape[1]):
        step = captioner.step(cache, tokens[:, place])
        torch.testing.assert_close(step, logits[:, place], rtol=0, atol=tolerance)
    table = torch.log_softmax(logits, -1)[:, :-1].gather(2, tokens[:, 1:, None]).squeeze(2)
    rows = tokens.clone()
    rows[:, 1:] = rows[:, 1:].clamp(max=49_405)  # all of them are scored
    table = torch.log_softmax(model.logits(states, rows), -1)[:, :-1].gather(2, rows[:, 1:, None]).squeeze(2)
    torch.testing.assert_close(captioner.logprobs(memory, rows), table, rtol=0, atol=tolerance)


def test_a_released_folder_is_the_model(model, state, tokens, tmp_path):
    folder = write_released(tmp_path / "dico", state, model.config())
    captioner = opened(folder)
    assert (captioner.sizes.heads, captioner.sizes.inner, captioner.longest) == (2, 128, 24)
    assert (captioner.sizes.encoder_layers, captioner.sizes.decoder_layers) == (1, 2)
    assert not captioner.training
    check_same(captioner, model, tokens)


def test_a_bare_file_without_configuration_has_heads_64_wide(tokens, tmp_path):
    model = Model(width=128, heads=2, vision=128)
    state = model.released()
    assert model.bridge is None  # as wide as its tower
    folder = write_released(tmp_path / "dico", state, safetensors=True)
    captioner = open_captioner(folder / "model.safetensors", longest=12)
    assert captioner.longest == 12
    check_same(captioner, model, tokens)
    check_same(open_captioner(folder), model, tokens)


@pytest.mark.parametrize("safetensors", [True, False])
def test_half_precision_files_compute_in_single_precision(model, state, tokens, tmp_path, safetensors):
    folder = write_released(tmp_path / "dico", state, model.config(), half=True, safetensors=safetensors)
    captioner = opened(folder)
    assert {p.dtype for p in captioner.parameters()} == {torch.float32}
    rounded = Model()
    rounded.load_state_dict({n: t.half().float() for n, t in model.state_dict().items()})
    check_same(captioner, rounded, tokens)


def test_dead_weights_are_left_out_and_token_type_is_not(model, state, tmp_path):
    captioner = opened(write_released(tmp_path / "dico", state, model.config()))
    used = sum(p.numel() for p in captioner.parameters())
    bert = sum(p.numel() for n, p in model.encoder.named_parameters() if "pooler" not in n and "word_emb" not in n)
    whole = bert + sum(p.numel() for m in (model.bridge, model.decoder) for p in m.parameters())
    unreached = (12 - 5) * 32 + 2 * 32
    assert used == whole - unreached
    expected = state["encoder.encoder.embeddings.position_embeddings.weight"][:5]
    expected = expected + state["encoder.encoder.embeddings.token_type_embeddings.weight"][0]
    assert torch.equal(captioner.image_positions, expected)
    assert not any("tower" in name for name in captioner.state_dict())


def test_pictures_are_cut_as_its_authors_did_and_stay_so(model, state, tmp_path):
    folder = write_released(tmp_path / "dico", state, model.config())
    captioner = opened(folder)
    assert str(captioner.preprocessing) == "32-shortest-bicubic-openai-careful-transformers"
    captioner.save_pretrained(tmp_path / "own")
    found = open_captioner(tmp_path / "own")
    assert found.preprocessing == captioner.preprocessing
    told = json.loads((tmp_path / "own" / "captioner.json").read_text())
    # As 0.1.0 wrote it: no cropping, which means torchvision's.
    del told["tower"]["cropping"]
    told["tower"]["prep"] = told["tower"]["prep"].removesuffix("-transformers")
    (tmp_path / "own" / "captioner.json").write_text(json.dumps(told))
    older = open_captioner(tmp_path / "own")
    assert str(older.preprocessing) == "32-shortest-bicubic-openai-careful"
    with pytest.raises(InputError, match="cut as torchvision does, not transformers; leave captioner.cropping out"):
        open_captioner(tmp_path / "own", cropping="transformers")
    assert opened(folder, cropping="torchvision").preprocessing == older.preprocessing


def test_stored_tokens_of_its_tower_are_known_by_their_cropping(model, state, tmp_path):
    folder = write_released(tmp_path / "dico", state, model.config())
    captioner = opened(folder)
    stored = StoredTower(captioner.tower.shape, captioner.tower.encoder)
    looking = tower_of(stored.configuration(), source=str(folder))
    assert looking.preprocessing == captioner.preprocessing
    told = {**captioner.tower.encoder, "prep": "32-shortest-bicubic-openai-careful"}
    other = tower_of(StoredTower(captioner.tower.shape, told).configuration(), source=str(folder))
    assert other.preprocessing.cropping == "torchvision"


def test_another_file_of_the_same_tower_may_be_named(model, state, tokens, tmp_path):
    folder = write_released(tmp_path / "dico", state, model.config())
    with pytest.raises(InputError, match=r"small.* is not the image tower that .*dico was trained on; leave it out"):
        opened(folder, tower=str(saved_clip(tmp_path / "small.pt", small_clip())))
    bare = {n: t for n, t in state.items() if not n.startswith(PREFIX)}
    clip = clip_with_tower_of(model)
    without = write_released(tmp_path / "bare", bare, model.config())
    with pytest.raises(InputError, match=r"bare has no image tower; name its weights with --tower"):
        opened(without)
    path = saved_clip(tmp_path / "clip.pt", clip)
    check_same(opened(without, tower=str(path)), model, tokens)
    check_same(opened(folder, tower=str(path)), model, tokens)


def clip_with_tower_of(model):
    """open_clip's model whose image tower is transformers' one, with any text tower."""
    from capreward.encoders.layouts.huggingface import from_hf

    vision = {**VIT, "width": 64, "head_width": 32, "mlp_ratio": 2.0}
    whole = small_clip(vision=vision)
    names = {f"vision_model.{n.removeprefix('vision_model.')}": t for n, t in model.vision.state_dict().items()}
    found = {**whole.state_dict(), **from_hf(names, "test")}
    whole.load_state_dict(found)
    return whole, vision


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda s: s.pop("decoder.transformer.ln_f.weight"), "lacks decoder.transformer.ln_f.weight"),
        (lambda s: s.pop("encoder.encoder.encoder.layer.0.attention.self.key.bias"), "lacks .*self.key.bias"),
        (lambda s: s.pop(f"{PREFIX}pre_layrnorm.weight"), "no whole|does not fit|lacks"),
        (lambda s: s.pop("decoder.transformer.wte.weight"), "is no DiCO checkpoint: none of its .* tensors is"),
        (lambda s: s.update({"decoder.extra.weight": torch.zeros(2)}), "has decoder.extra.weight, which no DiCO"),
        (lambda s: s.update({"decoder.lm_head.weight": torch.zeros(49_409, 32)}), "is not its word embedding"),
        (
            lambda s: s.update({"decoder.transformer.wte.weight": torch.zeros(100, 32)}),
            "embeds 100 tokens; .* are 49,409",
        ),
        (
            lambda s: s.update({"encoder.encoder.embeddings.position_embeddings.weight": torch.zeros(4, 32)}),
            "has places for 4 image tokens, and its tower gives 5",
        ),
        (
            lambda s: s.update({"decoder.transformer.h.0.attn.c_proj.weight": torch.zeros(32, 16)}),
            r"decoder.0.self_attention.out.weight is \[16, 32\]",
        ),
    ],
)
def test_what_does_not_fit_is_said_in_one_sentence(model, state, tmp_path, change, message):
    changed = dict(state)
    change(changed)
    folder = write_released(tmp_path / "dico", changed, model.config(), safetensors=True)
    with pytest.raises(InputError, match=message) as raised:
        opened(folder)
    assert "\n" not in str(raised.value)


def test_a_clip_beside_a_released_configuration_is_still_a_clip(model, state, tmp_path):
    folder = write_released(tmp_path / "dico", state, model.config())
    torch.save(small_clip().state_dict(), folder / "clip.pt")
    assert not is_dico(folder / "clip.pt")
    assert is_dico(folder / "pytorch_model.bin")
    assert clip_of_source(str(folder / "clip.pt")).tokenizer is not None
    assert clip_of_source(str(folder)).tokenizer is None  # the tower inside the checkpoint


def test_configurations_of_other_models_are_refused(model, state, tmp_path):
    for part, name, value, message in (
        ("decoder", "n_head", 4, "number of heads of 2 in its encoder and 4"),
        ("decoder", "activation_function", "relu", "its decoder has activation_function 'relu'; DiCO's has 'gelu_new'"),
        ("decoder", "layer_norm_epsilon", 1e-6, "layer_norm_epsilon 1e-06"),
    ):
        config = model.config()
        config[part][name] = value
        folder = write_released(tmp_path / name, state, config)
        with pytest.raises(InputError, match=message):
            opened(folder)
    with pytest.raises(InputError, match="has places for 24 tokens of a caption; longest=25 is more"):
        opened(write_released(tmp_path / "dico", state, model.config()), longest=25)
