"""PAC-S++'s low-rank factors folded once, against a forward that applies them at every step."""

from __future__ import annotations

import pytest
import torch
from clip_files import TEXT, VIT, features, pixels, save, small_clip, tokens, with_factors
from torch.nn import functional as F

from capreward.encoders.layouts.recognition import recognise
from capreward.encoders.loading import load_clip
from capreward.encoders.model.open_clip_import import import_open_clip
from capreward.errors import InputError


def lora_linear(s, x, weight, bias, a, b):
    return F.linear(x, s[weight], s[bias]) + 0.25 * F.linear(F.linear(x, s[a]), s[b])


def block(s, p, x, heads, mask, mlp):
    """One residual block with the factors applied beside the weights."""
    norm = F.layer_norm(x, x.shape[-1:], s[f"{p}ln_1.weight"], s[f"{p}ln_1.bias"])
    qkv = lora_linear(
        s,
        norm,
        f"{p}attn.in_proj_weight",
        f"{p}attn.in_proj_bias",
        f"{p}attn.in_proj_weight_lora_A",
        f"{p}attn.in_proj_weight_lora_B",
    )
    n, length, width = x.shape
    q, k, v = (t.view(n, length, heads, width // heads).transpose(1, 2) for t in qkv.chunk(3, -1))
    scores = q @ k.transpose(-1, -2) / (width // heads) ** 0.5
    seen = (scores if mask is None else scores + mask).softmax(-1) @ v
    names = [f"{p}attn.out_proj.{n}" for n in ("weight", "bias", "lora_A", "lora_B")]
    x = x + lora_linear(s, seen.transpose(1, 2).reshape(n, length, width), *names)
    norm = F.layer_norm(x, x.shape[-1:], s[f"{p}ln_2.weight"], s[f"{p}ln_2.bias"])
    for layer in ("c_fc", "c_proj"):
        names = [f"{p}mlp.{layer}.{n}" for n in ("weight", "bias", "lora_A", "lora_B")]
        norm = lora_linear(s, norm, *names) if mlp else F.linear(norm, s[names[0]], s[names[1]])
        if layer == "c_fc":
            norm = norm * torch.sigmoid(1.702 * norm)
    return x + norm


def unfolded(s, images, ids, *, mlp=False):
    """Image and text features as the original's modules compute them: factors at run time, the MLP's ignored."""
    patch = s["visual.conv1.weight"].shape[-1]
    update = (s["visual.conv1.lora_B"] @ s["visual.conv1.lora_A"]).view(s["visual.conv1.weight"].shape)
    x = F.conv2d(images, s["visual.conv1.weight"] + 0.25 * update, stride=patch).flatten(2).transpose(1, 2)
    x = torch.cat([s["visual.class_embedding"].expand(len(x), 1, -1), x], 1) + s["visual.positional_embedding"]
    x = F.layer_norm(x, x.shape[-1:], s["visual.ln_pre.weight"], s["visual.ln_pre.bias"])
    for layer in range(2):
        x = block(s, f"visual.transformer.resblocks.{layer}.", x, x.shape[-1] // 64, None, mlp)
    image = F.layer_norm(x[:, 0], x.shape[-1:], s["visual.ln_post.weight"], s["visual.ln_post.bias"]) @ s["visual.proj"]
    x = s["token_embedding.weight"][ids] + s["positional_embedding"]
    mask = torch.full((ids.shape[1], ids.shape[1]), float("-inf")).triu(1)
    for layer in range(2):
        x = block(s, f"transformer.resblocks.{layer}.", x, x.shape[-1] // 64, mask, mlp)
    x = F.layer_norm(x, x.shape[-1:], s["ln_final.weight"], s["ln_final.bias"])
    return image, x[torch.arange(len(ids)), ids.argmax(-1)] @ s["text_projection"]


@pytest.mark.parametrize("mlp", [False, True])
def test_folded_features_equal_unfolded_ones(tmp_path, mlp):
    model = small_clip()
    state = with_factors(model)
    clip = load_clip(save(tmp_path / "pac++.pth", {"state_dict": state}), lora_mlp=mlp)
    assert clip.spec.layout == "pac-s++"
    wanted = unfolded(state, pixels(model), tokens(), mlp=mlp)
    other = unfolded(state, pixels(model), tokens(), mlp=not mlp)
    for mine, theirs, wrong, plain in zip(features(clip.model), wanted, other, features(model), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-5)
        assert (mine - wrong).abs().max() > 0.05
        assert (mine - plain).abs().max() > 0.05


def test_what_is_left_out_is_said(tmp_path):
    """How much the stored MLP factors would change the weights they belong to, at most."""
    state = with_factors(small_clip())
    sizes = [
        float(0.25 * (state[n[:-1] + "B"] @ t).norm() / state[n.replace("lora_A", "weight")].norm())
        for n, t in state.items()
        if "mlp" in n and n.endswith("lora_A")
    ]
    path = save(tmp_path / "x.pth", {"state_dict": state})
    note = load_clip(path).spec.notes[0]
    assert note.startswith("the LoRA factors of 8 MLP layers are left out, as PAC-S++'s own loader does; they would")
    assert f"by up to {100 * max(sizes):.2g}% of their norm (lora_mlp=True, --lora-mlp folds them)" in note
    asked = {"quick_gelu": True, "statistics": "openai"}
    assert load_clip(path, lora_mlp=True, **asked).spec.notes == ()
    merged = save(tmp_path / "y.pth", {"state_dict": with_factors(small_clip(), mlp=0.0)})
    assert load_clip(merged, **asked).spec.notes == ()


def test_the_convolution_is_reshaped_row_by_row():
    """B A of [out p, in p] has the numbers of [out, in, p, p] in order."""
    model = small_clip()
    state = with_factors(model)
    found = recognise(state, "x").tensors["visual.conv1.weight"]
    product = state["visual.conv1.lora_B"] @ state["visual.conv1.lora_A"]
    at = found[5, 2, 7, 3] - state["visual.conv1.weight"][5, 2, 7, 3]
    flat = ((5 * 3 + 2) * 16 + 7) * 16 + 3
    assert at == pytest.approx(0.25 * product.flatten()[flat].item(), abs=1e-5)


def test_half_precision_files_fold_in_float32(tmp_path):
    state = {n: t.half() for n, t in with_factors(small_clip()).items()}
    clip = load_clip(save(tmp_path / "x.pth", {"state_dict": state}))
    wanted = unfolded({n: t.float() for n, t in state.items()}, pixels(small_clip()), tokens())
    for mine, theirs in zip(features(clip.model), wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name, tensors, blocks", [("ViT-B-32", 496, 24), ("ViT-L-14", 736, 36)])
def test_full_sizes(name, tensors, blocks):
    """The published files' count of tensors; folding leaves the plain CLIP's, with all of them filled."""
    with torch.device("meta"):
        model = import_open_clip().CLIP(**import_open_clip().get_model_config(name))
        shapes = {n: torch.empty(t.shape) for n, t in model.state_dict().items()}
        width, _, patch, _ = shapes["visual.conv1.weight"].shape
        state = dict(shapes)
        state["visual.conv1.lora_A"] = torch.empty(4 * patch, 3 * patch)
        state["visual.conv1.lora_B"] = torch.empty(width * patch, 4 * patch)
        for weight in [n for n in shapes if n.endswith("attn.in_proj_weight")]:
            d, stem = shapes[weight].shape[1], weight.removesuffix("attn.in_proj_weight")
            parts = {"attn.out_proj.": (d, d), "mlp.c_fc.": (4 * d, d), "mlp.c_proj.": (d, 4 * d)}
            for part, (rows, columns) in {"attn.in_proj_weight_": (3 * d, d), **parts}.items():
                state[f"{stem}{part}lora_A"] = torch.empty(4, columns)
                state[f"{stem}{part}lora_B"] = torch.empty(rows, 4)
    assert len(state) == tensors
    assert sum(n.endswith("in_proj_weight") for n in shapes) == blocks
    layout = recognise(state, name)
    assert layout.name == "pac-s++"
    assert {n: t.shape for n, t in layout.tensors.items()} == {n: t.shape for n, t in shapes.items()}


def test_factors_that_do_not_fit(tmp_path):
    state = with_factors(small_clip(vision=VIT, text=TEXT))
    name = "transformer.resblocks.0.attn.out_proj.lora_"
    less = {n: t for n, t in state.items() if n != f"{name}B"}
    with pytest.raises(InputError, match=f"{name}A has no {name}B beside it"):
        load_clip(save(tmp_path / "a.pth", less))
    alone = {**state, "visual.lora_A": torch.ones(4, 4), "visual.lora_B": torch.ones(4, 4)}
    with pytest.raises(InputError, match=r"visual.lora_A has no visual.weight beside it"):
        load_clip(save(tmp_path / "b.pth", alone))
    with pytest.raises(InputError, match="do not give its shape"):
        load_clip(save(tmp_path / "c.pth", {**state, f"{name}B": torch.ones(65, 4)}))
    with pytest.raises(InputError, match="no product"):
        load_clip(save(tmp_path / "d.pth", {**state, f"{name}B": torch.ones(64, 5)}))
