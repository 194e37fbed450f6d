"""Weights that are no numbers are refused at load; weights without a scale of their logits encode all the same."""

from __future__ import annotations

import math

import pytest
import torch
from captioner_files import Model, write_released
from click.testing import CliRunner
from clip_files import check_features, folder_of, model_cfg, save, small_clip, with_factors
from clipreward_files import lightning, original
from hf_files import hf_clip
from PIL import Image

from capreward.commands import main
from capreward.encoders.checkpoints.nonfinite import refuse_nonfinite
from capreward.encoders.loading import load_clip
from capreward.encoders.weights.conversion import convert
from capreward.errors import InputError
from trainers.captioners.layouts.loading import convert_captioner, open_captioner

KINDS = [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 7, 1022])
def test_one_value_is_found_wherever_it_is(kind, value, place):
    fine = torch.linspace(-6e4, 6e4, 1023).to(kind)
    tensors = {"a": fine, "n": torch.arange(4), "none": torch.zeros(0), "b": fine.clone().reshape(3, 341)}
    refuse_nonfinite(tensors, "x.pt")
    tensors["b"].view(-1)[place] = value
    with pytest.raises(InputError, match=r"^x.pt: b holds NaN or infinity in 1 of 1,023 values, so nothing") as told:
        refuse_nonfinite(tensors, "x.pt")
    assert "copy or download the file again" in str(told.value)
    tensors["a"] = torch.full((2, 5), value)
    with pytest.raises(InputError, match="a holds NaN or infinity in 10 of 10 values and 1 more of its 4 tensors, so"):
        refuse_nonfinite(tensors, "x.pt")


def broken(state, name, value=math.nan):
    """The state with one value of a tensor that is no number."""
    changed = {n: t.clone() for n, t in state.items()}
    changed[name].view(-1)[1] = value
    return changed


def layouts(folder):
    """A broken CLIP in every layout: the path and the tensor, by its name in the message."""
    state = small_clip().state_dict()
    yield save(folder / "openai.pt", broken(state, "text_projection")), "text_projection"
    wrapped = {"state_dict": {f"module.{n}": t.half() for n, t in broken(state, "visual.proj", math.inf).items()}}
    yield save(folder / "wrapped.pth", wrapped), "visual.proj"
    hf = broken(hf_clip().state_dict(), "text_model.final_layer_norm.bias")
    yield save(folder / "hf.bin", hf), "ln_final.bias"
    yield folder_of(folder / "of", broken(state, "visual.conv1.weight"), model_cfg()), "visual.conv1.weight"
    factors = with_factors(small_clip())
    name = next(n for n in factors if "lora" in n and "attn" in n)
    yield save(folder / "pacspp.pth", broken(factors, name)), "attn"


def test_every_layout_of_a_clip_is_checked(tmp_path):
    for path, name in layouts(tmp_path):
        with pytest.raises(InputError, match="holds NaN or infinity in") as told:
            load_clip(path)
        assert str(told.value).startswith(f"{path.name}: ")
        assert name in str(told.value)
        assert "\n" not in str(told.value)
        with pytest.raises(InputError, match="holds NaN or infinity in"):
            convert(path, tmp_path / "out")
    head = {f"grammar_score_head.{n}.weight": torch.randn(s, 64) for n, s in ((0, 64), (2, 2))}
    head["grammar_score_head.2.weight"][0, 0] = math.nan
    path = save(tmp_path / "g.pth", {**small_clip().state_dict(), **head})
    with pytest.raises(InputError, match=r"g.pth, grammar head: 2.weight holds NaN or infinity in 1 of 128 values"):
        load_clip(path)


def test_captioners_of_every_layout_are_checked(tmp_path):
    model = Model(places=12)
    state = {n: t.clone() for n, t in model.released().items()}
    own = tmp_path / "own"
    convert_captioner(write_released(tmp_path / "fine", state, model.config()), own)
    state["decoder.transformer.h.0.mlp.c_fc.weight"][0, 0] = math.inf
    path = write_released(tmp_path / "dico", state, model.config())
    with pytest.raises(InputError, match=r"dico: decoder.0.widen.weight holds NaN or infinity in 1 of 4,096"):
        open_captioner(path)
    tower = {**model.released()}
    tower["encoder.vision_encoder.pre_layrnorm.bias"] = torch.full((64,), math.nan)
    with pytest.raises(InputError, match="visual.ln_pre.bias holds NaN or infinity in 64 of 64 values"):
        open_captioner(write_released(tmp_path / "tower", tower, model.config()))
    path = lightning(tmp_path / "clips-last.ckpt", broken(original(), "att_embed.0.bias"))
    with pytest.raises(InputError, match=r"clips-last.ckpt: bridge.bias holds NaN or infinity in 1 of 32 values"):
        open_captioner(path)
    from safetensors.torch import load_file, save_file

    file = own / "captioner.safetensors"
    save_file(broken(load_file(file), "final_norm.weight"), file)
    with pytest.raises(InputError, match="captioner.safetensors: final_norm.weight holds NaN or infinity in 1 of 32"):
        open_captioner(own)


def scored(folder, checkpoint):
    (folder / "p").mkdir(exist_ok=True)
    Image.new("RGB", (50, 40), (9, 90, 200)).save(folder / "p" / "a.png")
    (folder / "c.json").write_text('[{"image_id": "a", "caption": "a dog"}]')
    metric = f"clips(checkpoint={checkpoint})"
    return CliRunner().invoke(main, ["score", str(folder / "c.json"), "--images", str(folder / "p"), "-m", metric])


def test_a_score_is_refused_in_one_sentence(tmp_path):
    path = save(tmp_path / "nan.pt", {**small_clip().state_dict(), "text_projection": torch.full((64, 32), math.nan)})
    done = scored(tmp_path, path)
    assert done.exit_code == 2
    assert "nan.pt: text_projection holds NaN or infinity in 2,048 of 2,048 values" in done.stderr
    assert done.stdout == ""


NOTE = "scaleless.pt has no logit_scale: no feature depends on it, but these weights cannot be tuned or converted"


def test_features_need_no_scale(tmp_path):
    model = small_clip()
    state = {n: t for n, t in model.state_dict().items() if n != "logit_scale"}
    clip = load_clip(save(tmp_path / "scaleless.pt", state))
    check_features(clip.model, model)
    assert NOTE in clip.spec.notes
    assert math.isnan(clip.model.logit_scale)  # nothing may be computed with it unnoticed
    whole = load_clip(save(tmp_path / "whole.pt", model.state_dict()))
    assert not any("logit_scale" in note for note in whole.spec.notes)
    folder = folder_of(tmp_path / "of", state, model_cfg())
    found = load_clip(folder)
    check_features(found.model, model)
    assert any(note.startswith("of has no logit_scale") for note in found.spec.notes)
    hf = {n: t for n, t in hf_clip().state_dict().items() if n != "logit_scale"}
    check_features(
        load_clip(save(tmp_path / "h.bin", hf)).model, load_clip(save(tmp_path / "w.bin", hf_clip().state_dict())).model
    )
    done = scored(tmp_path, tmp_path / "scaleless.pt")
    assert done.exit_code == 0, done.output
    assert NOTE in " ".join(done.stderr.split())
    assert scored(tmp_path, tmp_path / "whole.pt").stdout == done.stdout


def test_what_needs_the_scale_is_refused(tmp_path):
    state = {n: t for n, t in small_clip().state_dict().items() if n != "logit_scale"}
    path = save(tmp_path / "scaleless.pt", state)
    message = r"scaleless.pt has no logit_scale; features do not need it, to tune or convert these weights does"
    with pytest.raises(InputError, match=message):
        convert(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    done = CliRunner().invoke(
        main, ["tune", "--recipe", "scenes-grammar", "--base", str(path), "-r", str(tmp_path / "r")]
    )
    assert done.exit_code == 2
    assert "has no logit_scale; features do not need it" in " ".join(done.stderr.split())
    del state["ln_final.bias"]
    with pytest.raises(InputError, match="lacks ln_final.bias"):
        load_clip(save(tmp_path / "less.pt", state))
