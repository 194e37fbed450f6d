"""``capreward convert`` on captioners: the folder captions as the original does, and nothing in a file is run."""

from __future__ import annotations

import argparse
import json
import os
import pickle

import pytest
import torch
from captioner_files import Model, crops, saved_clip, write_released
from click.testing import CliRunner
from clip_files import RESNET, Acts, save, small_clip
from clipreward_files import IMAGE, WORDS, Plain, lightning, original

from capreward import InputError
from capreward.commands import main
from capreward.data.images.preprocessing import normalise
from trainers.captioners.layouts.loading import convert_captioner, holds_captioner, open_captioner
from trainers.captioners.transformer import TransformerCaptioner
from trainers.decoding import greedy


def run(*arguments):
    return CliRunner().invoke(main, ["convert", *(str(a) for a in arguments)])


def told(done):
    assert done.exit_code == 2, done.output
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.fixture
def state():
    return original(seed=4)


@torch.no_grad()
def plain_caption(plain, grid, longest=20):
    """The original's greedy decoding, one image at a time, in float64."""
    memory, tokens = plain.states(grid.double().numpy()), [0]
    while len(tokens) <= longest:
        tokens.append(int(plain.logits(memory, tokens, padding=False)[-1].argmax()))
        if tokens[-1] == 0:
            break
    return " ".join(WORDS[t - 1] for t in tokens[1:] if t)


def test_a_converted_captioner_of_clip_caption_reward_captions_as_the_original(state, tmp_path):
    checkpoint = lightning(tmp_path / "clips-last.ckpt", state, hyper_parameters=argparse.Namespace(lr=1))
    done = run(checkpoint, tmp_path / "out", "--json")
    assert done.exit_code == 0, done.output
    fields = json.loads(done.stdout)
    assert fields["captioner"] == "TransformerCaptioner"
    assert fields["vocabulary"] == len(WORDS) + 1
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "captioner.json",
        "captioner.safetensors",
        "vocabulary.json",
    ]
    assert "takes stored features" in run(checkpoint, tmp_path / "again").stderr
    captioner = open_captioner(tmp_path / "out")
    assert fields["parameters"] == sum(p.numel() for p in captioner.parameters())
    grids = torch.randn(6, 12, IMAGE, generator=torch.Generator().manual_seed(3)).mul(0.7)
    with torch.no_grad():
        best = greedy(captioner, captioner.encode(grids), max_length=21, suppress_unknown=False)  # as the original does
        found = captioner.decode_text(best.tokens.flatten(0, 1))
    plain = Plain(state)
    assert found == [plain_caption(plain, grid) for grid in grids]
    assert len(set(found)) > 2, found


def test_options_inside_tell_the_heads(state, tmp_path):
    """``_opt`` is a pickled Namespace; with another number of heads the original computes other captions."""
    grids = torch.randn(2, 12, IMAGE, generator=torch.Generator().manual_seed(3))
    found = {}
    for heads in (2, 8):
        inside = argparse.Namespace(caption_model="transformer", num_att_heads=heads)
        data = torch.tensor(list(pickle.dumps(inside)), dtype=torch.uint8)
        path = lightning(tmp_path / f"{heads}.ckpt", {**state, "_opt": data}, opt=False)
        captioner = open_captioner(path)
        assert captioner.sizes.heads == heads
        with torch.no_grad():
            found[heads] = captioner.encode(grids).states
    assert (found[2] - found[8]).abs().max() > 1e-2
    data = torch.tensor(list(pickle.dumps(argparse.Namespace(num_att_heads=5))), dtype=torch.uint8)
    with pytest.raises(InputError, match="num_att_heads 5, which does not divide its width 32"):
        open_captioner(lightning(tmp_path / "5.ckpt", {**state, "_opt": data}, opt=False))


@pytest.mark.parametrize("place", ["_vocab", "_opt", "beside"])
def test_no_code_in_a_captioner_runs(state, tmp_path, place):
    act = Acts(os.system, f"touch {tmp_path}/was-here")
    path = tmp_path / "bad.ckpt"
    if place == "_vocab":
        lightning(path, state, pickle.dumps(act))
    elif place == "_opt":
        data = torch.tensor(list(pickle.dumps(act)), dtype=torch.uint8)
        lightning(path, {**state, "_opt": data}, opt=False)
    else:
        torch.save({"state_dict": state, "callbacks": act}, path)
    assert "system" in told(run(path, tmp_path / "out"))
    assert not (tmp_path / "was-here").exists()
    assert not (tmp_path / "out").exists()


def test_a_tower_and_a_vocabulary_may_be_named(tmp_path):
    folder = saved_clip(tmp_path / "rn.pt", (small_clip(vision=RESNET), RESNET))
    state = original(image=8 * 32)
    torch.save({"state_dict": state}, tmp_path / "bare.ckpt")
    assert "name its cocotalk.json with --vocabulary" in told(run(tmp_path / "bare.ckpt", tmp_path / "out"))
    words = tmp_path / "cocotalk.json"
    words.write_text(json.dumps({"ix_to_word": {str(i): w for i, w in enumerate(WORDS, 1)}}))
    done = run(tmp_path / "bare.ckpt", tmp_path / "out", "--vocabulary", words, "--tower", folder, "--longest", 12)
    assert done.exit_code == 0, done.output
    assert "takes pictures" in done.stderr
    captioner = open_captioner(tmp_path / "out")
    assert (captioner.longest, captioner.vocabulary.words) == (12, WORDS)
    assert str(captioner.preprocessing).startswith("448-squash-")


def test_a_converted_dico_is_the_model(tmp_path):
    model = Model()
    folder = write_released(tmp_path / "dico", model.released(), model.config())
    done = run(folder, tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "GridCaptioner" in done.stderr
    captioner = open_captioner(tmp_path / "out")
    pixels = crops(2, 32)
    tokens = torch.randint(0, 49_405, (2, 6), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        states = model.states(normalise(pixels, captioner.preprocessing))
        table = torch.log_softmax(model.logits(states, tokens), -1)[:, :-1].gather(2, tokens[:, 1:, None]).squeeze(2)
        memory = captioner.encode(captioner.look(pixels))
        torch.testing.assert_close(captioner.logprobs(memory, tokens), table, rtol=0, atol=1e-4)


def test_what_is_a_captioner_is_seen_from_its_tensors(state, tmp_path):
    clip = save(tmp_path / "clip.pth", {"state_dict": small_clip().state_dict()})
    captioner = lightning(tmp_path / "x.ckpt", state)
    convert_captioner(captioner, tmp_path / "own")
    assert [holds_captioner(p) for p in (captioner, tmp_path / "own", "scenes")] == [True] * 3
    assert [holds_captioner(p) for p in (clip, tmp_path, "ViT-B-32:openai")] == [False] * 3
    assert isinstance(open_captioner(tmp_path / "own"), TransformerCaptioner)
    assert "is a captioner, which knows no --statistics" in told(run(captioner, tmp_path / "o", "--statistics", "half"))
    assert "is a CLIP, which knows no --tower" in told(run(clip, tmp_path / "o", "--tower", "RN50:openai"))
    assert "exists and is not empty" in told(run(captioner, tmp_path / "own"))
