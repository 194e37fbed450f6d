"""Low-rank factors on a frozen CLIP: injected, trained, folded, written as PAC-S++ writes them and read back."""

from __future__ import annotations

import copy

import pytest
import torch
from clip_files import RESNET, check_features, features, pixels, save, small_clip, tokens

from capreward.encoders.layouts.recognition import recognise
from capreward.encoders.loading import load_clip
from capreward.encoders.model.open_clip_import import import_open_clip
from capreward.errors import InputError
from trainers.tuning.lora_factors import Factors, add_lora, folded_state, published_state

READ = {"quick_gelu": True, "statistics": "openai"}


def custom_clip():
    """The same towers in open_clip's other class."""
    from clip_files import model_cfg

    torch.manual_seed(3)
    return import_open_clip().CustomTextCLIP(**model_cfg()).eval()


def trained(model, rank=4, alpha=1.0, seed=2):
    """A copy with factors that matter."""
    copied = copy.deepcopy(model)
    torch.manual_seed(seed)
    names = add_lora(copied, rank, alpha)
    with torch.no_grad():
        for module in copied.modules():
            if isinstance(module, Factors):
                module.lora_B.normal_(std=0.3)
    return copied, names


def factors_of(model, name):
    owner, _, weight = name.rpartition(".")
    return model.get_submodule(owner).parametrizations[weight][0]


def by_hand(model, tuned, names, rank, alpha):
    """The plain model with W + alpha / rank * B A in each named weight."""
    plain = copy.deepcopy(model)
    state = plain.state_dict()
    for name in names:
        factors = factors_of(tuned, name)
        state[name] += (alpha / rank * factors.lora_B @ factors.lora_A).detach().view(state[name].shape)
    return plain


@pytest.mark.parametrize("make", [small_clip, custom_clip])
def test_untrained_factors_change_nothing(make):
    model = make()
    copied = copy.deepcopy(model)
    add_lora(copied)
    check_features(copied, model)
    before, after = model.state_dict(), folded_state(copied)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert folded_state(model).keys() == before.keys()


@pytest.mark.parametrize("make", [small_clip, custom_clip])
@pytest.mark.parametrize(("rank", "alpha"), [(4, 1.0), (2, 8.0)])
def test_features_are_those_of_the_sum(make, rank, alpha):
    model = make()
    tuned, names = trained(model, rank, alpha)
    check_features(tuned, by_hand(model, tuned, names, rank, alpha))
    for mine, plain in zip(features(tuned), features(model), strict=True):
        assert (mine - plain).abs().max() > 0.01
    folded = make()
    folded.load_state_dict(folded_state(tuned))
    check_features(tuned, folded)


def test_factors_alone_are_trained():
    """Every factor gets a gradient through its tower, nothing else does; with B at zero, A gets none yet."""
    model = small_clip().requires_grad_(True)
    names = add_lora(model)
    assert len(names) == 1 + 4 * (2 + 2)
    wanted = {name for name, value in model.named_parameters() if value.requires_grad}
    assert wanted == {name for name, _ in model.named_parameters() if name.endswith(("lora_A", "lora_B"))}
    assert len(wanted) == 2 * len(names)
    for turn in range(2):
        image, text = model.encode_image(pixels(model)), model.encode_text(tokens())
        (image.square().sum() + text.square().sum()).backward()
        for name, value in model.named_parameters():
            if name in wanted:
                assert bool(value.grad.abs().max() > 0) == (turn > 0 or name.endswith("lora_B")), name
            else:
                assert value.grad is None, name
        with torch.no_grad():
            for value in model.parameters():
                if value.grad is not None:
                    value -= 0.01 * value.grad / value.grad.norm().clamp(min=1e-9)
                    value.grad = None


def test_shapes_and_first_values():
    torch.manual_seed(0)
    model = small_clip()
    add_lora(model, rank=3)
    conv = factors_of(model, "visual.conv1.weight")
    assert conv.lora_A.shape == (3 * 16, 3 * 16)
    assert conv.lora_B.shape == (128 * 16, 3 * 16)
    query = factors_of(model, "transformer.resblocks.1.attn.in_proj_weight")
    assert query.lora_A.shape == (3, 64)
    assert query.lora_B.shape == (192, 3)
    bound = 1 / 64**0.5  # Kaiming's with a = sqrt(5)
    assert 0.9 * bound < query.lora_A.abs().max() <= bound
    assert all(not m.lora_B.any() for m in model.modules() if isinstance(m, Factors))


@pytest.mark.parametrize("lora_mlp", [False, True])
@pytest.mark.parametrize(("rank", "alpha"), [(4, 1.0), (2, 6.0)])
def test_published_layout_reads_back(tmp_path, lora_mlp, rank, alpha):
    """However the MLP's factors are read."""
    tuned, _ = trained(small_clip(), rank, alpha)
    path = save(tmp_path / "pac++.pth", {"state_dict": published_state(tuned)})
    clip = load_clip(path, lora_mlp=lora_mlp, **READ)
    assert clip.spec.layout == "pac-s++"
    assert clip.spec.notes == ()
    check_features(clip.model, tuned)


@pytest.mark.parametrize(("name", "count"), [("ViT-B-32", 496), ("ViT-L-14", 736)])
def test_published_names_and_shapes(name, count):
    """The published files' number of tensors (metrics.md 1.6)."""
    with torch.device("meta"):
        model = import_open_clip().CLIP(**import_open_clip().get_model_config(name))
        plain = {n: t.shape for n, t in model.state_dict().items()}
        add_lora(model)
        state = published_state(model)
    assert len(state) == count
    text, image = model.ln_final.weight.shape[0], model.visual.ln_post.weight.shape[0]
    patch = model.visual.conv1.weight.shape[-1]
    shapes = {n: tuple(t.shape) for n, t in state.items()}
    assert shapes["visual.conv1.lora_A"] == (4 * patch, 3 * patch)
    assert shapes["visual.conv1.lora_B"] == (image * patch, 4 * patch)
    for prefix, d in (("", text), ("visual.", image)):
        block = f"{prefix}transformer.resblocks.11."
        assert shapes[f"{block}attn.in_proj_weight_lora_A"] == (4, d)
        assert shapes[f"{block}attn.in_proj_weight_lora_B"] == (3 * d, 4)
        assert shapes[f"{block}attn.out_proj.lora_A"] == (4, d)
        assert shapes[f"{block}mlp.c_fc.lora_B"] == (4 * d, 4)
        assert shapes[f"{block}mlp.c_proj.lora_A"] == (4, 4 * d)
    read = recognise(state, name)
    assert read.name == "pac-s++"
    assert {n: t.shape for n, t in read.tensors.items()} == plain


def test_half_precision_weights_and_autocast():
    """The sum is formed in float32 whatever runs around it."""
    model = small_clip().to(torch.bfloat16)
    tuned, names = trained(model)
    weight = tuned.visual.conv1.weight
    assert weight.dtype == torch.bfloat16
    factors = factors_of(tuned, names[0])
    update = 0.25 * (factors.lora_B.double() @ factors.lora_A.double()).view(weight.shape)
    exact = model.visual.conv1.weight.double() + update
    torch.testing.assert_close(weight, exact.to(torch.bfloat16), rtol=0.008, atol=1e-7)
    single, _ = trained(small_clip())
    plain = single.visual.conv1.weight
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(single.visual.conv1.weight, plain)


def test_what_takes_no_factors():
    with pytest.raises(InputError, match=r"this image tower is a ModifiedResNet: use adapt: projections"):
        add_lora(small_clip(vision=RESNET))
    with pytest.raises(InputError, match="rank of 1 or more and an alpha above 0; found 0 and 1"):
        add_lora(small_clip(), rank=0)
    with pytest.raises(InputError, match="found 4 and -1"):
        add_lora(small_clip(), alpha=-1)
    tuned, _ = trained(small_clip())
    with pytest.raises(InputError, match="has LoRA factors already"):
        add_lora(tuned)
    with pytest.raises(InputError, match="no LoRA factors to write"):
        published_state(small_clip())
    odd = small_clip()
    odd.text = torch.nn.Identity()
    with pytest.raises(InputError, match="open_clip's own text tower; this one is a Identity"):
        add_lora(odd)
