"""Weights files in every format, read without running what is in them."""

from __future__ import annotations

import argparse
from collections import OrderedDict, defaultdict

import numpy as np
import pytest
import torch
from clip_files import check_features, save, scripted, small_clip

from capreward.encoders.checkpoints.checkpoint import read_checkpoint, sha256_of
from capreward.encoders.loading import load_clip
from capreward.errors import InputError

FORMATS = {"zip": {}, "legacy": {"_use_new_zipfile_serialization": False}}


def check_tensors(found, wanted):
    assert set(found) == set(wanted)
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor), name


@pytest.fixture(scope="module")
def state():
    return small_clip().state_dict()


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_torch_files(tmp_path, state, options):
    found = read_checkpoint(save(tmp_path / "x.pth", state, **options))
    assert found.kind == ("legacy" if options else "torch")
    check_tensors(found.tensors, state)


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model"])
def test_wrapped_state_dicts(tmp_path, state, options, wrapper):
    whole = {"epoch": 3, "name": "x", wrapper: state, "optimizer": {"state": {}, "lr": 1e-3}}
    check_tensors(read_checkpoint(save(tmp_path / "x.pth", whole, **options)).tensors, state)


def test_safetensors(tmp_path, state):
    from safetensors.torch import save_file

    for name in ("x.safetensors", "x.bin"):
        save_file({n: t.contiguous() for n, t in state.items()}, tmp_path / name)
        found = read_checkpoint(tmp_path / name)
        assert found.kind == "safetensors"
        check_tensors(found.tensors, state)


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_the_restricted_reader_gives_the_tensors_that_torch_gives(tmp_path, options):
    """A numpy scalar makes torch.load(weights_only=True) refuse; all kinds of tensors then go the other way."""
    base = torch.arange(24, dtype=torch.float32)
    state = OrderedDict(
        {f"kind.{kind}": torch.tensor([0, 1, 2, 3]).to(kind) for kind in (*REAL, torch.complex64, torch.bool)}
    )
    state |= {
        "view": base[4:16].view(3, 4),
        "transposed": base.view(4, 6).t(),
        "shared": base,
        "parameter": torch.nn.Parameter(torch.randn(3)),
        "empty": torch.empty(0, 4),
        "scalar": torch.tensor(2.5),
    }
    extra = {"best": np.float64(0.3), "curve": np.arange(3.0), "seen": {1, 2}, "counts": defaultdict(int, a=1)}
    path = save(
        tmp_path / "x.pth", {"state_dict": state, **extra, "size": torch.Size([1]), "raw": b"\x00\xff"}, **options
    )
    with pytest.raises(Exception, match="numpy"):
        torch.load(path, weights_only=True)
    found = read_checkpoint(path)
    assert found.dropped == ()
    check_tensors(found.tensors, {n: t.detach() for n, t in state.items()})


REAL = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.uint8)


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_unknown_classes_are_named_and_left_out_on_request(tmp_path, state, options):
    whole = {"state_dict": state, "args": argparse.Namespace(lr=1.0, more=argparse.Namespace())}
    path = save(tmp_path / "x.pth", whole, **options)
    with pytest.raises(
        InputError, match=r"plain containers: argparse\.Namespace; type capreward convert .*--drop-unknown"
    ):
        read_checkpoint(path)
    found = read_checkpoint(path, drop_unknown=True)
    assert found.dropped == ("argparse.Namespace",)
    check_tensors(found.tensors, state)


def test_torchscript_is_read_without_its_code(tmp_path):
    model = small_clip()
    state = {n: t.clone() for n, t in model.state_dict().items()}
    path = scripted(small_clip(), tmp_path / "ViT.pt")
    found = read_checkpoint(path)
    assert found.kind == "torchscript"
    numbers = {n: int(found.tensors.pop(n)) for n in ("input_resolution", "context_length", "vocab_size")}
    assert numbers == {"input_resolution": 32, "context_length": 77, "vocab_size": 49408}
    found.tensors.pop("attn_mask")
    check_tensors(found.tensors, state)
    jit = torch.jit.load(str(path)).state_dict()
    assert {n for n in jit if n not in numbers and n != "attn_mask"} == set(state)
    check_features(load_clip(path).model, model)


def test_torchscript_in_half_precision(tmp_path):
    """As OpenAI publishes its weights; the numbers are those of the half-precision model in float32."""
    path = scripted(small_clip(), tmp_path / "ViT.pt", half=True)
    assert read_checkpoint(path).tensors["visual.proj"].dtype == torch.float16
    rounded = small_clip()
    rounded.load_state_dict({n: t.half().float() for n, t in rounded.state_dict().items()})
    clip = load_clip(path)
    assert clip.spec.layout == "openai"
    assert clip.model.visual.proj.dtype == torch.float32
    check_features(clip.model, rounded)


def test_a_scripted_module_too(tmp_path):
    """torch.jit.script keeps other attributes beside the tensors."""

    class Inner(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.randn(2, 3))
            self.register_buffer("mean", torch.randn(3))
            self.sizes = [1, 2, 3]
            self.name = "inner"

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.weight.t()

    class Outer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = torch.nn.Sequential(Inner(), torch.nn.Linear(2, 2))
            self.scale = torch.nn.Parameter(torch.tensor(3.0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.blocks(x) * self.scale

    module = Outer()
    torch.jit.script(module).save(str(tmp_path / "x.pt"))
    check_tensors(read_checkpoint(tmp_path / "x.pt").tensors, {n: t.detach() for n, t in module.state_dict().items()})


def test_loading_leaves_the_random_generator_alone(tmp_path, state):
    path = save(tmp_path / "x.pth", state)
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    load_clip(path)
    assert torch.equal(torch.rand(3), wanted)


def test_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "b").write_bytes(b"")
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of([tmp_path / "a"]) == abc
    both = sha256_of([tmp_path / "a", tmp_path / "b"])
    assert both not in (abc, sha256_of([tmp_path / "b", tmp_path / "a"]))
