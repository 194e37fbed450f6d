"""CLIP-Caption-Reward's captioner against its formulas written out (clipreward.md 3), and its checkpoints."""

from __future__ import annotations

import argparse
import json
import math
import os
import pickle

import numpy as np
import pytest
import torch
from captioner_files import saved_clip
from clip_files import RESNET, Acts, small_clip
from clipreward_files import IMAGE, WORDS, Plain, lightning, original
from rounding import check_close

from capreward import InputError
from trainers.captioners.layouts.loading import open_captioner
from trainers.captioners.towers import ClipTower, StoredTower
from trainers.captioners.transformer import TransformerCaptioner, TransformerSizes
from trainers.captioners.transformer_layers import StdNorm, sinusoids
from trainers.captioners.vocabulary import target_mask
from trainers.captioners.word_vocabulary import WordVocabulary

CAPTIONS = ["a dog on a bench", "the cat", "A zebra, on the bench."]


@pytest.fixture(scope="module")
def state():
    return original()


@pytest.fixture(scope="module")
def checkpoint(state, tmp_path_factory):
    return lightning(tmp_path_factory.mktemp("save") / "mle-last.ckpt", state, hyper=argparse.Namespace(lr=1))


@pytest.fixture(scope="module")
def captioner(checkpoint):
    return open_captioner(checkpoint)


@pytest.fixture(scope="module")
def grids():
    return torch.randn(3, 12, IMAGE, generator=torch.Generator().manual_seed(1)).mul(0.5)


@torch.no_grad()
def test_the_formulas_written_out(captioner, state, grids):
    plain = Plain(state)
    tokens = captioner.token_rows(CAPTIONS)
    assert tokens.tolist() == [[0, 1, 2, 3, 1, 4, 0], [0, 6, 5, 0, 0, 0, 0], [0, 1, 7, 3, 6, 4, 0]]
    memory = captioner.encode(grids)
    found = captioner.logprobs(memory, tokens).double().numpy()
    mask = target_mask(captioner.vocabulary, tokens)
    for i, row in enumerate(tokens.tolist()):
        states = plain.states(grids[i].double().numpy())
        assert np.abs(memory.states[i].double().numpy() - states).max() < 1e-5
        for padding in (True, False):  # no position that is scored sees padding
            logits = plain.logits(states, row[:-1], padding=padding)
            table = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
            for t in range(len(row) - 1):
                expected = table[t, row[t + 1]] if mask[i, t] else 0.0
                assert abs(found[i, t] - expected) < 1e-5
    assert found[mask.numpy()].std() > 0.5


@torch.no_grad()
def test_cached_steps_give_the_formulas_logits(captioner, state, grids):
    row = [0, 1, 2, 3, 1, 4, 0, 0]
    memory = captioner.encode(grids[:1])
    expected = Plain(state).logits(memory.states[0].double().numpy(), row, padding=False)
    cache = captioner.start(memory, len(row))
    for t, token in enumerate(row):
        logits = captioner.step(cache, torch.tensor([token]))
        assert np.abs(logits[0].double().numpy() - expected[t]).max() < 1e-5


@torch.no_grad()
def test_rows_of_one_image_share_it_in_any_order(captioner, grids):
    tokens = captioner.token_rows(CAPTIONS * 2)
    together = captioner(grids[:2], tokens)
    apart = captioner(grids[:2].repeat_interleave(3, 0), tokens)
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-5)
    swapped = captioner(grids[[1, 0]], tokens[[3, 4, 5, 0, 1, 2]])
    torch.testing.assert_close(swapped, together[[3, 4, 5, 0, 1, 2]], rtol=0, atol=1e-5)


def test_every_weight_learns_and_dropout_is_for_training(captioner, grids):
    tokens = captioner.token_rows(CAPTIONS)
    captioner.zero_grad()
    captioner(grids, tokens).sum().backward()
    assert [n for n, p in captioner.named_parameters() if p.grad is None] == []
    captioner.zero_grad()
    with torch.no_grad():
        assert torch.equal(captioner(grids, tokens), captioner(grids, tokens))
        captioner.train()
        assert (captioner(grids, tokens) - captioner(grids, tokens)).abs().max() > 1e-2
        captioner.eval()


def test_sizes_of_the_original():
    with torch.device("meta"):
        whole = TransformerCaptioner(StoredTower((196, 2048)), WordVocabulary([f"w{i}" for i in range(9487)]))
    assert sum(p.numel() for p in whole.parameters()) == 54_914_832
    assert (whole.dropout.p, whole.image_dropout.p, whole.longest) == (0.1, 0.5, 21)
    assert sum(len(whole.get_submodule(n)) for n in ("encoder", "decoder")) == 12


def test_initial_weights_are_xavier_s():
    torch.manual_seed(0)
    sizes = TransformerSizes(width=64, inner=128, encoder_layers=1, decoder_layers=1)
    found = TransformerCaptioner(StoredTower((4, 10)), WordVocabulary(WORDS), sizes)
    attention = found.decoder[0].cross_attention
    for matrix in (attention.query.weight, *attention.key_value.weight.chunk(2), attention.out.weight):
        limit = math.sqrt(6 / (64 + 64))
        assert 0.98 * limit < matrix.abs().max() <= limit
    assert 0.95 * math.sqrt(6 / (8 + 64)) < found.words.weight.abs().max() <= math.sqrt(6 / (8 + 64))
    assert found.bridge.weight.abs().max() <= 1 / math.sqrt(10)  # torch's own


def test_the_layer_norm_is_the_original_s():
    norm = StdNorm(3)
    assert norm(torch.tensor([[1.0, 2.0, 6.0]])).tolist()[0] == pytest.approx(
        [-2 / math.sqrt(7), -1 / math.sqrt(7), 3 / math.sqrt(7)], abs=1e-5
    )
    assert norm(torch.full((1, 3), 5.0)).tolist() == [[0.0, 0.0, 0.0]]
    tiny = norm(torch.tensor([[0.0, 1e-6, 2e-6]]))
    assert tiny.tolist()[0] == pytest.approx([-0.5, 0.0, 0.5], abs=1e-6)  # eps outside the root


def test_positions():
    table = sinusoids(3, 4)
    assert table[0].tolist() == [0, 1, 0, 1]
    assert table[2].tolist() == pytest.approx([math.sin(2), math.cos(2), math.sin(0.02), math.cos(0.02)], abs=1e-6)


def test_masks_of_rows_that_begin_end_and_pad_with_0():
    vocabulary = WordVocabulary([f"w{i}" for i in range(9)])
    rows = torch.tensor([[0, 5, 7, 0, 0]])
    assert target_mask(vocabulary, rows).tolist() == [[True, True, True, False]]
    full = torch.tensor([[0, *([3] * 20)]])
    assert target_mask(vocabulary, full).all()
    assert target_mask(vocabulary, torch.tensor([[0, 0, 0]])).tolist() == [[True, False]]


def test_words_and_back(captioner):
    vocabulary = captioner.vocabulary
    assert vocabulary.words == WORDS
    assert (vocabulary.size, vocabulary.bos, vocabulary.eos, vocabulary.pad) == (8, 0, 0, 0)
    assert vocabulary.encode("A zebra's BENCH!") == [1, 7, 4]
    assert vocabulary.decode([1, 7, 4]) == "a UNK bench"
    assert captioner.decode_text(captioner.token_rows(CAPTIONS)) == [
        "a dog on a bench",
        "the cat",
        "a UNK on the bench",
    ]
    assert captioner.decode_text(torch.tensor([[0, 1, 2, 0, 3]])) == ["a dog"]
    assert WordVocabulary(["sun@@", "set"]).decode([1, 2]) == "sunset"
    with pytest.raises(InputError, match="neither 'zebra' of 'a zebra' nor UNK"):
        WordVocabulary(["a"]).encode("a zebra")
    with pytest.raises(InputError, match="needs words that differ"):
        WordVocabulary(["a", "a"])


def test_a_vocabulary_of_captions():
    captions = ["a dog runs", "A dog.", "a cat", "dog runs"]
    assert WordVocabulary.of_captions(captions, threshold=1).words == ["a", "dog", "runs", "UNK"]
    assert WordVocabulary.of_captions(captions, threshold=0).words == ["a", "dog", "runs", "cat"]
    assert WordVocabulary.of_captions(["a b"] * 5 + ["b"], threshold=5).words == ["b", "UNK"]


def test_the_vocabulary_is_inside_or_named(state, captioner, grids, tmp_path):
    bare = torch.save({"state_dict": state}, tmp_path / "bare.ckpt") or tmp_path / "bare.ckpt"
    with pytest.raises(InputError, match=r"bare.ckpt has no vocabulary inside; name its cocotalk.json with --vocab"):
        open_captioner(bare)
    (tmp_path / "cocotalk.json").write_text(
        json.dumps({"ix_to_word": {str(i): w for i, w in enumerate(WORDS, 1)}, "images": []})
    )
    named = open_captioner(bare, vocabulary=tmp_path / "cocotalk.json")
    assert named.vocabulary.words == WORDS
    check_close(named.encode(grids).states, captioner.encode(grids).states)
    for table, message in (
        ({"ix_to_word": {"1": "a", "3": "b"}}, "must number its words from 1 on without a gap"),
        ({"ix_to_word": {"1": "a"}}, r"other.json has 1 words, and .*bare.ckpt has 7; name the file"),
        ({"images": []}, "has neither ix_to_word nor words"),
    ):
        (tmp_path / "other.json").write_text(json.dumps(table))
        with pytest.raises(InputError, match=message):
            open_captioner(bare, vocabulary=tmp_path / "other.json")


def test_no_pickle_inside_is_run(state, tmp_path):
    act = Acts(os.system, f"touch {tmp_path}/was-here")
    for name, bad, message in (
        ("acts", pickle.dumps(act), r"is a pickle that names (posix|nt)\.system; nothing was run"),
        ("object", pickle.dumps(argparse.Namespace(a=1)), r"is a pickle that names argparse\.Namespace"),
        ("cut", pickle.dumps({"1": "a"})[:-4], "is no table of words"),
        ("list", pickle.dumps(["a"]), "is no table of words"),
    ):
        with pytest.raises(InputError, match=message):
            open_captioner(lightning(tmp_path / f"{name}.ckpt", state, bad))
    whole = tmp_path / "whole.ckpt"
    torch.save({"state_dict": state, "callbacks": act}, whole)
    with pytest.raises(InputError, match=r"is a pickle with code: .*system"):
        open_captioner(whole)
    assert not (tmp_path / "was-here").exists()


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda s: s.pop("model.generator.proj.bias"), "lacks head.bias"),
        (lambda s: s.pop("model.encoder.layers.1.self_attn.linears.1.weight"), "lacks keys or values for encoder.1"),
        (lambda s: s.pop("att_embed.0.weight"), "lacks att_embed.0.weight"),
        (lambda s: s.update({"model.x.weight": torch.zeros(1)}), "has model.x.weight, which no checkpoint of CLIP-C"),
        (
            lambda s: s.update({"model.encoder.layers.0.sublayer.2.norm.a_2": torch.zeros(1)}),
            "sublayer.2.norm.a_2, which",
        ),
        (lambda s: s.update({"model.decoder.norm.a_2": torch.zeros(3)}), r"final_norm.weight is \[3\]"),
    ],
)
def test_what_does_not_fit_is_said_in_one_sentence(state, tmp_path, change, message):
    changed = dict(state)
    change(changed)
    with pytest.raises(InputError, match=message) as raised:
        open_captioner(lightning(tmp_path / "x.ckpt", changed))
    assert "\n" not in str(raised.value)


def test_pictures_are_squashed_to_448_pixels(tmp_path):
    resnet = small_clip(vision=RESNET)
    folder = saved_clip(tmp_path / "rn.pt", (resnet, RESNET))
    state = original(image=8 * 32)
    found = open_captioner(lightning(tmp_path / "x.ckpt", state), tower=str(folder))
    assert isinstance(found.tower, ClipTower)
    assert found.tower.shape == (196, 256)
    assert str(found.preprocessing) == "448-squash-bicubic-openai-careful"
    pixels = torch.randint(0, 256, (1, 448, 448, 3), dtype=torch.uint8)
    assert found.look(pixels).shape == (1, 196, 256)
    with pytest.raises(InputError, match="takes features 20 wide, and .* gives 256; name RN50"):
        open_captioner(lightning(tmp_path / "y.ckpt", original()), tower=str(folder))
