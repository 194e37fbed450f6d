"""open_clip's MODEL:TAG and the hub's names: read from caches, never fetched unasked, with the tag's activation."""

from __future__ import annotations

import functools
import http.server
import json
import shutil
import threading

import pytest
from clip_files import check_features, folder_of, model_cfg, save, scripted, small_clip

from capreward.encoders.loading import load_clip
from capreward.encoders.model.open_clip_import import import_open_clip
from capreward.encoders.weights.tags import find_tag, names_model
from capreward.errors import InputError

HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "interpolation": "bilinear", "resize_mode": "squash"}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home, and an empty cache of the hub, which is offline."""
    from huggingface_hub import constants

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    (tmp_path / ".cache" / "clip").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def tiny(monkeypatch):
    """A small model in open_clip's registry: its configuration says GELU, as ViT-B-32's does, and its tag QuickGELU."""
    open_clip = import_open_clip()
    config = {n: v for n, v in model_cfg().items() if n != "quick_gelu"}
    tag = {"url": "http://127.0.0.1:9/models/tiny.pt", "quick_gelu": True, **HALF}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "Tiny-16", config)
    monkeypatch.setitem(
        open_clip.pretrained._PRETRAINED, "Tiny-16", {"mine": tag, "plain": {**tag, "quick_gelu": False}}
    )
    return tag


def cached(home, repository, files):
    """Lay files out as the hub's cache keeps them."""
    folder = home / "hub" / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    shutil.copytree(files, folder / "snapshots" / "abc")


def test_a_cached_tag_has_the_tags_activation_and_statistics(home, tiny):
    model = small_clip(quick_gelu=True)
    scripted(small_clip(quick_gelu=True), home / ".cache" / "clip" / "tiny.pt")
    clip = load_clip("Tiny-16:mine")
    check_features(clip.model, model)
    assert clip.spec.quick_gelu
    assert (clip.spec.name, clip.spec.layout, clip.spec.notes) == ("Tiny-16:mine", "openai", ())
    assert str(clip.spec.preprocessing) == "32-squash-bilinear-half-careful"
    save(home / ".cache" / "clip" / "tiny.pt", model.state_dict())  # open_clip 3 reads no TorchScript
    with pytest.warns(UserWarning, match="QuickGELU mismatch"):
        open_clips = import_open_clip().create_model("Tiny-16", pretrained="mine").eval().requires_grad_(False)
    with pytest.raises(AssertionError):
        check_features(clip.model, open_clips)
    plain = load_clip("Tiny-16:plain")
    assert not plain.spec.quick_gelu
    check_features(plain.model, open_clips)
    assert load_clip("Tiny-16:plain", quick_gelu=True).spec.notes[0].startswith("Tiny-16:plain runs with QuickGELU")


def test_every_tag_of_open_clip_gets_its_own_activation():
    """The trap: more than twenty tags were trained with QuickGELU while the model they are listed under says GELU."""
    open_clip = import_open_clip()
    trapped = [
        (model, tag)
        for model, tag in open_clip.list_pretrained()
        if open_clip.get_pretrained_cfg(model, tag).get("quick_gelu")
        and not open_clip.get_model_config(model).get("quick_gelu")
    ]
    assert ("ViT-B-32", "openai") in trapped
    assert len(trapped) >= 20


def test_what_is_not_here_is_not_fetched_unasked(home, tiny):
    for source in ("Tiny-16:mine", "ViT-B-32:openai", "ViT-B/32:openai", "hf-hub:someone/some-clip"):
        with pytest.raises(InputError, match=f"{source} is not on this computer; add --download"):
            load_clip(source)
    assert list((home / ".cache" / "clip").iterdir()) == []


def test_a_fetch_that_fails_is_one_sentence(home, tiny):
    for source in ("Tiny-16:mine", "hf-hub:someone/some-clip"):
        with pytest.raises(
            InputError, match=f"{source} cannot be fetched .*; fetch it elsewhere and name the file"
        ) as error:
            load_clip(source, download=True)
        assert "\n" not in str(error.value)


def test_a_tag_is_fetched_when_asked(home, tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    model = small_clip()
    save(folder / "tiny.pt", model.state_dict())
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        tiny["url"] = f"http://127.0.0.1:{server.server_port}/tiny.pt"
        clip = load_clip("Tiny-16:mine", download=True)
        server.shutdown()
    check_features(clip.model, model)
    check_features(load_clip("Tiny-16:mine").model, model)  # now from the cache


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_a_tag_on_the_hub(home, tiny, tmp_path):
    model = small_clip()
    cached(home, "org/tiny", folder_of(tmp_path / "x", model.state_dict(), {}))
    tag = {"hf_hub": "org/tiny/", "url": ""}
    assert find_tag(tag).name == "open_clip_model.safetensors"
    assert find_tag({"hf_hub": "org/other/", "url": ""}) is None
    tiny.update(tag)
    check_features(load_clip("Tiny-16:mine").model, model)


def test_a_repository_of_the_hub(home, tmp_path):
    model = small_clip(quick_gelu=False)
    folder = folder_of(tmp_path / "x", model.state_dict(), model_cfg(quick_gelu=False), **HALF)
    cached(home, "org/open", folder)
    clip = load_clip("hf-hub:org/open")
    check_features(clip.model, model)
    assert clip.spec.name == "hf-hub:org/open"
    assert clip.spec.preprocessing.statistics == "half"
    (folder / "open_clip_model.safetensors").unlink()
    cached(home, "org/half-fetched", folder)
    with pytest.raises(InputError, match="hf-hub:org/half-fetched is not on this computer"):
        load_clip("hf-hub:org/half-fetched")


def test_unknown_names():
    with pytest.raises(
        InputError, match=r"no file ViT-B-23:openai, and open_clip has no model ViT-B-23; did you mean ViT-B-"
    ):
        load_clip("ViT-B-23:openai")
    with pytest.raises(InputError, match=r"open_clip has no weights opnai of ViT-B-32; it has openai, laion400m_e31"):
        load_clip("ViT-B-32:opnai")
    with pytest.raises(InputError, match="no weights file or folder ViT-B-32; name one, open_clip's MODEL:TAG"):
        load_clip("ViT-B-32")
    with pytest.raises(InputError, match="is no name of the hub; write hf-hub:ORGANISATION/NAME"):
        load_clip("hf-hub:a/b/c")


def test_which_sources_name_what_to_fetch(tmp_path):
    assert [names_model(s) for s in ("ViT-B-32:openai", "ViT-B/32:openai", "hf-hub:a/b")] == [True] * 3
    assert [names_model(s) for s in ("weights.pth", "local-dir:/x", "local-dir:x", "C:\\x.pth")] == [False] * 4


def test_a_custom_model_of_open_clip(home, tiny, monkeypatch):
    """A text tower under ``text.``, with a projection that has a bias and pooling of its own."""
    open_clip = import_open_clip()
    text = {**model_cfg()["text_cfg"], "proj_bias": True, "pool_type": "last", "no_causal_mask": True}
    config = {**model_cfg(text=text), "custom_text": True, "init_logit_bias": -10}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "Tiny-16", config)
    model = open_clip.create_model("Tiny-16").eval().requires_grad_(False)
    save(
        home / ".cache" / "clip" / "tiny.pt", {"state_dict": {f"module.{n}": t for n, t in model.state_dict().items()}}
    )
    clip = load_clip("Tiny-16:mine")
    assert isinstance(clip.model, open_clip.CustomTextCLIP)
    check_features(clip.model, model)
    assert json.dumps(clip.spec.fields())
