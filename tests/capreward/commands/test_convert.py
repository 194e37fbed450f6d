"""``capreward convert``: a folder that open_clip loads to the same features, with the activation and statistics kept."""

from __future__ import annotations

import argparse
import gzip
import json
import os

import pytest
import torch
from click.testing import CliRunner
from clip_files import (
    TEXT,
    VIT,
    check_features,
    features,
    folder_of,
    model_cfg,
    save,
    scripted,
    small_clip,
    with_factors,
)
from rounding import check_close

from capreward.encoders.checkpoints.checkpoint import sha256_of
from capreward.encoders.loading import load_clip
from capreward.encoders.model.open_clip_import import import_open_clip
from capreward.encoders.weights.conversion import convert
from capreward.encoders.weights.weights_request import WeightsRequest
from capreward.errors import InputError
from trainers.commands.convert import convert as command


def by_open_clip(folder):
    model, steps = import_open_clip().create_model_from_pretrained(f"local-dir:{folder}")
    return model.eval().requires_grad_(False), steps


def run(*arguments):
    return CliRunner().invoke(command, [str(a) for a in arguments])


@pytest.mark.parametrize("quick_gelu", [True, False])
@pytest.mark.parametrize("statistics, mean", [("openai", 0.48145466), ("half", 0.5), ("imagenet", 0.485)])
def test_round_trip(tmp_path, quick_gelu, statistics, mean):
    model = small_clip(quick_gelu=quick_gelu)
    path = save(tmp_path / "x.pth", {"state_dict": model.state_dict()})
    done = convert(path, tmp_path / "out", WeightsRequest(quick_gelu=quick_gelu, statistics=statistics))
    theirs, steps = by_open_clip(tmp_path / "out")
    check_features(theirs, model)
    assert steps.transforms[-1].mean[0] == mean
    clip = load_clip(tmp_path / "out")
    check_features(clip.model, model)
    assert clip.spec.quick_gelu == quick_gelu
    assert clip.spec.preprocessing.statistics == statistics
    assert clip.spec.notes == ()
    assert clip.spec.layout == done.spec.layout == "openai"
    record = json.loads((tmp_path / "out" / "capreward.json").read_text())
    assert record["source"] == {"name": "x.pth", "sha256": sha256_of([path])}
    assert record["weights"]["sha256"] == done.sha256 == clip.spec.sha256
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "x.pth"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "capreward.json",
        "open_clip_config.json",
        "open_clip_model.safetensors",
    ]


def test_image_steps_are_open_clips_own(tmp_path):
    """The folder's transform on a picture gives what the specification says."""
    from PIL import Image

    folder = folder_of(
        tmp_path / "x", small_clip().state_dict(), model_cfg(), mean=[0.5] * 3, std=[0.25] * 3, interpolation="bilinear"
    )
    convert(folder, tmp_path / "out")
    _, steps = by_open_clip(tmp_path / "out")
    pixel = steps(Image.new("RGB", (50, 40), (255, 0, 51)))
    assert pixel.shape == (3, 32, 32)
    torch.testing.assert_close(pixel[:, 0, 0], torch.tensor([2.0, -2.0, -1.2]))
    assert (
        str(load_clip(tmp_path / "out").spec.preprocessing) == "32-shortest-bilinear-0.5,0.5,0.5,0.25,0.25,0.25-careful"
    )


@pytest.mark.parametrize("kind", ["torchscript", "resnet", "custom", "lora"])
def test_other_layouts(tmp_path, kind):
    path = tmp_path / "x.pt"
    if kind == "torchscript":
        scripted(small_clip(), path, half=True)
    elif kind == "resnet":
        save(path, small_clip(vision={"image_size": 64, "layers": [1, 1, 2, 1], "width": 8}).state_dict())
    elif kind == "custom":
        custom = import_open_clip().CustomTextCLIP(**model_cfg(init_logit_bias=-10.0))
        save(path, custom.state_dict())
    else:
        save(path, {"state_dict": with_factors(small_clip())})
    done = convert(path, tmp_path / "out", WeightsRequest(quick_gelu=True, statistics="openai"))
    theirs, _ = by_open_clip(tmp_path / "out")
    check_features(theirs, load_clip(path).model)
    assert load_clip(tmp_path / "out").spec.layout == done.spec.layout
    assert done.parameters == sum(p.numel() for p in theirs.parameters())


def test_numbers_keep_the_precision_they_are_stored_in(tmp_path):
    from safetensors.torch import load_file

    half = {n: t.half() for n, t in small_clip().state_dict().items()}
    convert(save(tmp_path / "half.pth", half), tmp_path / "a")
    assert {t.dtype for t in load_file(tmp_path / "a" / "open_clip_model.safetensors").values()} == {torch.float16}
    path = save(tmp_path / "full.pth", small_clip().state_dict())
    convert(path, tmp_path / "b")
    convert(path, tmp_path / "c", fp16=True)
    full, rounded = (load_file(tmp_path / n / "open_clip_model.safetensors") for n in "bc")
    assert {t.dtype for t in full.values()} == {torch.float32}
    assert all(torch.equal(rounded[n], t.half()) for n, t in full.items())


def test_the_grammar_head_travels_along(tmp_path):
    torch.manual_seed(0)
    head = {"grammar_score_head.0.weight": torch.randn(64, 64), "grammar_score_head.2.weight": torch.randn(2, 64)}
    state = {**small_clip().state_dict(), **head}
    path = save(tmp_path / "last.ckpt", {"state_dict": state, "callbacks": {argparse.Namespace: {"best": 1.0}}})
    refused = run(path, tmp_path / "out")
    assert isinstance(refused.exception, InputError)
    assert "argparse.Namespace; type capreward convert FILE OUT_DIR --drop-unknown" in str(refused.exception)
    assert not (tmp_path / "out").exists()
    done = run(path, tmp_path / "out", "--drop-unknown", "--json")
    assert done.exit_code == 0
    assert "objects of argparse.Namespace in last.ckpt are left out" in json.loads(done.stdout)["notes"]
    clip = load_clip(tmp_path / "out")
    assert clip.spec.layout == "grammar"
    pooled = torch.randn(3, 64)
    wanted = (pooled @ head["grammar_score_head.0.weight"].T).relu() @ head["grammar_score_head.2.weight"].T
    check_close(clip.grammar_head(pooled), wanted)
    changed = save(tmp_path / "g.pth", {**state, "grammar_score_head.2.weight": torch.zeros(2, 64)})
    convert(changed, tmp_path / "other")
    assert load_clip(tmp_path / "other").spec.sha256 != clip.spec.sha256  # the head counts


def test_a_text_tower_needs_its_base(tmp_path):
    head = {"grammar_score_head.0.weight": torch.eye(64), "grammar_score_head.2.weight": torch.ones(2, 64)}
    whole = small_clip().state_dict()
    path = save(tmp_path / "g.pth", {**{n: t for n, t in whole.items() if not n.startswith("visual.")}, **head})
    refused = run(path, tmp_path / "out")
    assert "has no image tower, which open_clip needs; give the CLIP that it was tuned from" in str(refused.exception)
    base = save(tmp_path / "base.pth", small_clip(seed=5).state_dict())
    assert run(path, tmp_path / "out", "--base", base).exit_code == 0
    theirs, _ = by_open_clip(tmp_path / "out")
    check_close(features(theirs)[0], features(small_clip(seed=5))[0])
    check_close(features(theirs)[1], features(small_clip())[1])


def test_a_vocabulary_travels_along(tmp_path):
    text = {**TEXT, "vocab_size": 516, "context_length": 16, "tokenizer_kwargs": {"bpe_path": "bpe.txt.gz"}}
    model = small_clip(text={**TEXT, "vocab_size": 516, "context_length": 16})
    folder = folder_of(tmp_path / "x", model.state_dict(), model_cfg(text=text))
    with gzip.open(folder / "bpe.txt.gz", "wt") as file:
        file.write("#version: 0.2\na t</w>\nc at</w>")
    convert(folder, tmp_path / "out")
    ids = load_clip(tmp_path / "out").tokenizer(["a cat"])
    assert torch.equal(ids, load_clip(folder).tokenizer(["a cat"]))
    assert ids[0, 2] == 513


def test_heads_of_a_configuration_are_kept(tmp_path):
    config = model_cfg(vision={**VIT, "head_width": 32})
    model = small_clip(vision={**VIT, "head_width": 32})
    convert(folder_of(tmp_path / "x", model.state_dict(), config), tmp_path / "out")
    check_features(by_open_clip(tmp_path / "out")[0], model)


def test_what_the_command_prints(tmp_path):
    model = small_clip(quick_gelu=False)
    path = save(tmp_path / "x.pth", model.state_dict())
    done = run(path, tmp_path / "a")
    count = f"{sum(p.numel() for p in model.parameters()):,}"
    assert (done.exit_code, done.stdout) == (0, "")
    assert (
        f"{tmp_path / 'a'}: openai layout, {count} parameters, QuickGELU, images 32-shortest-bicubic-openai"
        in done.stderr
    )
    assert "note: x.pth does not say its activation and image statistics; taken: QuickGELU and OpenAI's" in done.stderr
    done = run(path, tmp_path / "b", "--no-quick-gelu", "--statistics", "half", "--json")
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert found["model_cfg"]["quick_gelu"] is False
    assert found["preprocessing"] == "32-shortest-bicubic-half-careful"
    assert found["notes"] == []
    assert found["sha256"] == sha256_of([tmp_path / "b" / "open_clip_model.safetensors"])


def test_nothing_is_overwritten_and_nothing_is_left_behind(tmp_path):
    path = save(tmp_path / "x.pth", small_clip().state_dict())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    assert "exists and is not empty; name a new folder" in str(run(path, tmp_path / "full").exception)
    assert "exists; name a new folder" in str(run(path, path).exception)
    assert "there is no folder" in str(run(path, tmp_path / "no" / "out").exception)
    bad = save(tmp_path / "bad.pth", {"x": torch.ones(2)})
    assert "is no CLIP" in str(run(bad, tmp_path / "out").exception)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.pth", "full", "x.pth"]
    (tmp_path / "empty").mkdir()
    assert run(path, tmp_path / "empty").exit_code == 0
    assert (tmp_path / "empty" / "open_clip_model.safetensors").is_file()
    assert os.stat(tmp_path / "empty").st_mode & 0o777 == 0o755
