"""What is no weights gives one sentence, and nothing in it runs."""

from __future__ import annotations

import argparse
import io
import os
import pickle
import struct
import subprocess
import zipfile
from functools import partial

import pytest
import torch
from clip_files import Acts, plain_pickle, save, scripted, small_clip

from capreward.encoders.checkpoints.checkpoint import read_checkpoint
from capreward.encoders.checkpoints.unpickler import Builder, RestrictedUnpickler
from capreward.encoders.loading import load_clip
from capreward.errors import InputError

LEGACY = {"_use_new_zipfile_serialization": False}


def refused(path, **options):
    """The one sentence that a file gives."""
    with pytest.raises(InputError) as error:
        load_clip(path, **options)
    message = str(error.value)
    assert "\n" not in message
    assert "Traceback" not in message
    assert len(message) < 500
    return message


@pytest.fixture(scope="module")
def state():
    return small_clip().state_dict()


@pytest.fixture(scope="module")
def torchscript(tmp_path_factory):
    return scripted(small_clip(), tmp_path_factory.mktemp("jit") / "clip.pt")


def written(path, content):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "content, sentence",
    [
        (b"", "is empty; download it again"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 1\n", "is a Git LFS pointer"),
        (b"\n<!DOCTYPE html><html><body>Not found</body></html>", "is an HTML page, not weights"),
        (
            b"<html><body>Google Drive - Quota exceeded</body>",
            "is Google Drive's page that its download quota is spent",
        ),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "is an HTML page"),
        (b"\x1f\x8b\x08\x00abc", "unpack this archive first"),
        (b"\x89HDF\r\n\x1a\nabc", "HDF5 holds no torch weights"),
        (b"hello", "is no weights file: it begins with b'hello'"),
        (b"captions, written by hand", "is no weights file: it begins with b'captions'"),
        (b"\x80\x02", "is damaged: its pickle cannot be read"),
        (b"\x80\x02}q\x00X\x00", "is damaged"),
    ],
)
@pytest.mark.parametrize("name", ["weights.pth", "weights.pt"])
def test_files_that_are_something_else(tmp_path, content, sentence, name):
    assert sentence in refused(written(tmp_path / name, content))


def test_an_html_page_as_safetensors(tmp_path):
    assert "is an HTML page" in refused(written(tmp_path / "x.safetensors", b"<html>"))


@pytest.mark.parametrize("share", [0.0005, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors", "torchscript"])
def test_truncated_files(tmp_path, state, torchscript, kind, share):
    path = tmp_path / ("x.safetensors" if kind == "safetensors" else "x.pth")
    if kind == "safetensors":
        from safetensors.torch import save_file

        save_file(state, path)
    elif kind == "torchscript":
        path.write_bytes(torchscript.read_bytes())
    else:
        save(path, state, **(LEGACY if kind == "legacy" else {}))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    assert "is damaged" in refused(path)


def test_a_flipped_bit_in_an_archive(tmp_path, state):
    """The zip's checksum covers the tensors where the restricted reader reads them."""
    path = save(tmp_path / "x.pth", {"state_dict": state, "args": argparse.Namespace()})
    content = bytearray(path.read_bytes())
    at = content.index(state["text_projection"].numpy().tobytes())
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"is damaged: Bad CRC-32 for file .*data/"):
        read_checkpoint(path, drop_unknown=True)


def test_a_record_that_is_short(tmp_path, state):
    """Whole as an archive, with numbers missing inside."""
    path, cut = save(tmp_path / "x.pth", {"state_dict": state, "args": argparse.Namespace()}), tmp_path / "cut.pth"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(cut, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, content[:-4] if name.endswith("/data/0") else content)
    with pytest.raises(InputError, match=r"is damaged: x/data/0 has [\d,]+ bytes of [\d,]+; download it again"):
        read_checkpoint(cut, drop_unknown=True)


def test_a_tensor_larger_than_what_is_stored(tmp_path):
    """A stride of 0 would blow one number up to any size."""
    path = save(tmp_path / "x.pth", {"w": torch.zeros(1).expand(1000), "args": argparse.Namespace()})
    with pytest.raises(InputError, match="a tensor of 1,000 numbers over 1 stored"):
        read_checkpoint(path, drop_unknown=True)


def test_other_zip_archives(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
        archive.writestr("captions.json", "{}")
    assert "is a zip archive of other files (captions.json), not of torch" in refused(tmp_path / "x.pth")


def test_missing_files_and_folders(tmp_path):
    assert f"there is no weights file or folder {tmp_path / 'x.pth'}" in refused(tmp_path / "x.pth")
    assert "there is no folder" in refused(f"local-dir:{tmp_path / 'x'}")
    assert "is a folder without open_clip_config.json or config.json; name a weights file" in refused(tmp_path)
    save(tmp_path / "a.pth", {})
    assert "name one of its files: a.pth" in refused(tmp_path)


def test_other_models(tmp_path):
    resnet = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Linear(8, 10))
    message = refused(save(tmp_path / "resnet.pth", resnet.state_dict()))
    assert "is no CLIP: none of its 9 tensors is token_embedding.weight" in message
    assert "found 0.weight, 0.bias, 1.weight and 6 more" in message
    assert "holds no tensors; its top level has 'epoch'" in refused(save(tmp_path / "x.pth", {"epoch": 3}))
    assert "holds a list, not a table of tensors" in refused(save(tmp_path / "y.pth", [torch.ones(2)]))
    assert "holds a Tensor, not a table of tensors" in refused(save(tmp_path / "z.pth", torch.ones(2)))


def test_a_clip_with_parts_missing(tmp_path, state):
    less = {n: t for n, t in state.items() if n != "visual.transformer.resblocks.1.mlp.c_fc.bias"}
    message = refused(save(tmp_path / "a.pth", less))
    assert "does not fit its architecture: it lacks visual.transformer.resblocks.1.mlp.c_fc.bias" in message
    more = {**state, "decoder.weight": torch.ones(1)}
    assert "it has decoder.weight" in refused(save(tmp_path / "b.pth", more))
    wrong = {**state, "visual.ln_post.bias": torch.ones(7)}
    assert "visual.ln_post.bias is (7,) and should be (128,)" in refused(save(tmp_path / "c.pth", wrong))
    less = {n: t for n, t in state.items() if n != "ln_final.weight"}
    assert "is no whole CLIP: it has no ln_final.weight" in refused(save(tmp_path / "d.pth", less))
    odd = {**state, "visual.positional_embedding": torch.ones(7, 128)}
    assert "6 positions for image patches, which is no square grid" in refused(save(tmp_path / "e.pth", odd))


def hostile(target, sentinel):
    """Calls that would leave a file behind."""
    command = f"touch {sentinel}"
    return {
        "os.system": Acts(os.system, command),
        "subprocess": Acts(subprocess.Popen, ["touch", str(sentinel)]),
        "eval": Acts(eval, f"open({str(sentinel)!r}, 'w')"),
        "exec": Acts(exec, f"open({str(sentinel)!r}, 'w')"),
        "getattr": Acts(getattr, "text", "upper"),
        "open": Acts(open, str(sentinel), "w"),
    }[target]


NAMED = {
    "os.system": f"{os.name}.system",
    "subprocess": "subprocess.Popen",
    "eval": ".eval",
    "exec": ".exec",
    "getattr": ".getattr",
    "open": "io.open",
}


@pytest.mark.parametrize("target", NAMED)
@pytest.mark.parametrize("options", [{}, LEGACY], ids=["zip", "legacy"])
def test_pickles_with_code_run_nothing(tmp_path, state, target, options):
    sentinel = tmp_path / "ran"
    whole = {"state_dict": dict(state), "hook": hostile(target, sentinel)}
    path = save(tmp_path / "x.pth", whole, **options)
    for drop in (False, True):
        with pytest.raises(InputError, match="is a pickle with code: opening it the ordinary way would call") as error:
            read_checkpoint(path, drop_unknown=drop)
        assert NAMED[target] in str(error.value)
        assert "nothing was run" in str(error.value)
    assert not sentinel.exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_bare_pickles_with_code(tmp_path, protocol):
    sentinel = tmp_path / "ran"
    path = plain_pickle(tmp_path / "x.pth", Acts(os.system, f"touch {sentinel}"), protocol)
    assert f"would call {os.name}.system" in refused(path)
    assert not sentinel.exists()
    pickle.loads(path.read_bytes())  # it is armed
    assert sentinel.exists()


def test_pickles_of_other_programs(tmp_path):
    assert "torch.save did not write" in refused(plain_pickle(tmp_path / "x.pkl", {"a": [1.0, 2.0]}))


def test_code_in_a_torchscript_archive(tmp_path, torchscript):
    sentinel, bad = tmp_path / "ran", tmp_path / "bad.pt"
    with zipfile.ZipFile(torchscript) as source, zipfile.ZipFile(bad, "w") as target:
        for name in source.namelist():
            evil = name.endswith("/data.pkl")
            content = pickle.dumps(Acts(os.system, f"touch {sentinel}"), 2) if evil else source.read(name)
            target.writestr(name, content)
    assert f"would call {os.name}.system" in refused(bad)
    assert not sentinel.exists()


def test_a_whole_pickled_model_is_named(tmp_path):
    path = save(tmp_path / "x.pth", torch.nn.Linear(2, 2))
    assert "plain containers: torch.nn.modules.linear.Linear" in refused(path)
    with pytest.raises(InputError, match="holds a .*Linear, not a table of tensors; save model.state_dict"):
        read_checkpoint(path, drop_unknown=True)


def test_functions_are_never_called_even_where_unknown_is_left_out(tmp_path, state):
    """A function of an unlisted module, and a partial: inert stand-ins both."""
    sentinel = tmp_path / "ran"
    bomb = partial(os.mkdir, str(sentinel))
    path = save(tmp_path / "x.pth", {"state_dict": state, "hook": Acts(os.path.join, "a", "b"), "more": bomb})
    with pytest.raises(InputError, match="pickle with code"):
        read_checkpoint(path, drop_unknown=True)
    assert not sentinel.exists()
    path = save(tmp_path / "y.pth", {"state_dict": state, "hook": Acts(argparse.FileType, "w")})
    assert read_checkpoint(path, drop_unknown=True).dropped == ("argparse.FileType",)


def unpickled(content):
    reader = RestrictedUnpickler(io.BytesIO(content), lambda pid: None)
    return reader, reader.load()


def test_a_pickle_cannot_change_what_it_may_call():
    """BUILD with a state sets attributes; the functions and stand-in classes that a pickle gets refuse it."""
    for name in ("torch._utils\n_rebuild_tensor_v2", "torch\nSize", "argparse\nNamespace", "__builtin__\nobject"):
        set_attributes = b"\x80\x02c" + name.encode() + b"\nN}X\x01\x00\x00\x00aK\x01s\x86b."
        with pytest.raises((pickle.UnpicklingError, TypeError)):
            unpickled(set_attributes)
    with pytest.raises(pickle.UnpicklingError, match="sets '__call__'"):
        Builder(len).__call__ = print


def test_stand_ins_take_whatever_is_done_to_them():
    class Odd(dict):
        pass

    value = Odd(a=1)
    value.more = [argparse.Namespace(x=1)]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        reader, found = unpickled(pickle.dumps([argparse.Namespace(y=2)], protocol))
        assert reader.unknown == ["argparse.Namespace"]
        assert not hasattr(found[0], "y")
        assert not isinstance(found[0], argparse.Namespace)


def test_tensors_reaching_outside_their_storage(tmp_path):
    """A view beyond the stored numbers would read other memory."""
    path = save(tmp_path / "x.pth", {"w": torch.arange(4.0), "n": argparse.Namespace()}, **LEGACY)
    content = path.read_bytes()
    size = b"K\x04\x85"  # the tuple (4,), the tensor's shape
    assert content.count(size) == 1
    path.write_bytes(content.replace(size, b"K\x09\x85"))
    with pytest.raises(InputError, match=r"is damaged.*out of bounds"):
        read_checkpoint(path, drop_unknown=True)


def test_a_legacy_file_that_names_more_than_it_holds(tmp_path):
    path = save(tmp_path / "x.pth", {"w": torch.arange(4.0), "n": argparse.Namespace()}, **LEGACY)
    content = path.read_bytes()
    end = struct.pack("<q", 4)
    at = content.rindex(end)
    path.write_bytes(content[:at] + struct.pack("<q", 400) + content[at + 8 :])
    with pytest.raises(InputError, match="is damaged: it ends before its last tensors"):
        read_checkpoint(path, drop_unknown=True)
