"""What the named evaluators need: found by name, checked before it is kept, never fetched unasked."""

from __future__ import annotations

import argparse
import functools
import http.server
import json
import os
import threading
from dataclasses import dataclass

import pytest
import torch
from click.testing import CliRunner
from clip_files import TEXT, VIT, check_features, folder_of, model_cfg, save, small_clip, with_factors

from capreward.commands.weights import weights as command
from capreward.encoders.checkpoints.checkpoint import sha256_of
from capreward.encoders.loading import load_clip
from capreward.encoders.weights import user_library
from capreward.encoders.weights.catalogue import CATALOGUE, entry_of, find_weights, published_settings
from capreward.encoders.weights.conversion import convert
from capreward.encoders.weights.weights_request import WeightsRequest
from capreward.errors import InputError

B32 = {"vision": {"image_size": 64, "patch_size": 32, "width": 64, "layers": 2}, "embed": 512}
L14 = {"vision": {"image_size": 28, "patch_size": 14, "width": 64, "layers": 2}, "embed": 768}


@pytest.fixture(autouse=True)
def empty_home(tmp_path, monkeypatch):
    """No weights anywhere: neither kept ones nor caches of this machine."""
    from huggingface_hub import constants

    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CAPREWARD_CACHE", raising=False)
    monkeypatch.delenv("CAPREWARD_WEIGHTS", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "cache" / "capreward" / "weights"


def run(*arguments):
    return CliRunner().invoke(command, [str(a) for a in arguments])


def refused(*arguments):
    done = run(*arguments)
    assert isinstance(done.exception, InputError), done.output
    return str(done.exception)


def pacs(path, **options):
    return save(path, {"state_dict": small_clip(**{**B32, **options}).state_dict()})


def test_the_catalogue():
    """The constants that no file says, as published."""
    settings = {
        (e.family, e.variant): (e.files[0], e.quick_gelu, e.statistics, e.embed_dim, e.patch) for e in CATALOGUE
    }
    assert settings == {
        ("clips", "B/32"): ("ViT-B-32.pt", True, "openai", 512, 32),
        ("pacs", "B/32"): ("clip_ViT-B-32.pth", True, "openai", 512, 32),
        ("pacs", "L/14"): ("openClip_ViT-L-14.pth", False, "half", 768, 14),
        ("pacspp", "B/32"): ("PAC++_clip_ViT-B-32.pth", True, "openai", 512, 32),
        ("pacspp", "L/14"): ("PAC++_clip_ViT-L-14.pth", True, "openai", 768, 14),
        ("grammar", "B/32"): ("clip_negative_text-last.ckpt", True, "openai", 512, 32),
    }
    assert entry_of("refpacs", "ViT-L/14") is entry_of("pacs", "open_clip_ViT-L/14") is entry_of("pacs", "L/14")
    assert entry_of("refclips").sha256.startswith("40d365715913")
    with pytest.raises(InputError, match="pacs has no variant 'H/14'; it has B/32 and L/14"):
        entry_of("pacs", "H/14")
    with pytest.raises(
        InputError, match="no weights are published for 'bleu'; there are some for clips, refclips, pacs"
    ):
        entry_of("bleu")


def test_what_is_missing_is_said_with_what_to_type(empty_home):
    with pytest.raises(InputError) as error:
        find_weights("refpacs")
    message = str(error.value)
    assert message.startswith(
        f"refpacs needs clip_ViT-B-32.pth, which is not in {empty_home}; its authors publish it at"
    )
    assert "drive.google.com/file/d/1F-0Pma-vfJPAiDzeyl-iEdSXZIO1cDae" in message
    assert message.endswith("download it, then type capreward weights add clip_ViT-B-32.pth")
    with pytest.raises(InputError, match="and open_clip's cache.*type capreward weights get clips, or download"):
        find_weights("clips")


def test_found_by_file_name(tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    path = pacs(second / "clip_ViT-B-32.pth")
    monkeypatch.setenv("CAPREWARD_WEIGHTS", f"{first}{os.pathsep}{second}")
    found = find_weights("pacs")
    assert (found.path, found.quick_gelu, found.statistics, found.origin) == (path, True, "openai", "CAPREWARD_WEIGHTS")
    clip = load_clip(found.path, quick_gelu=found.quick_gelu, statistics=found.statistics)
    check_features(clip.model, small_clip(**B32))
    assert clip.spec.notes == ()
    large = save(first / "openClip_ViT-L-14.pth", {"state_dict": small_clip(**L14).state_dict()})
    found = find_weights("pacs", "L/14")
    assert (found.path, found.quick_gelu, found.statistics) == (large, False, "half")


def test_found_as_a_converted_folder(tmp_path, monkeypatch):
    """By the name of its source, or by its own; the folder says its activation itself."""
    folder = tmp_path / "mine"
    folder.mkdir()
    monkeypatch.setenv("CAPREWARD_WEIGHTS", str(folder))
    source = pacs(tmp_path / "clip_ViT-B-32.pth")
    convert(source, folder / "any-name")
    found = find_weights("pacs")
    assert (found.path, found.quick_gelu, found.statistics) == (folder / "any-name", None, None)
    folder_of(folder / "openClip_ViT-L-14", small_clip(**L14).state_dict(), model_cfg(**L14, quick_gelu=False))
    assert find_weights("pacs", "L/14").path == folder / "openClip_ViT-L-14"


def test_open_clips_cache_counts(tmp_path):
    folder = tmp_path / "hub" / "models--timm--vit_base_patch32_clip_224.openai"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    (folder / "snapshots" / "abc").mkdir(parents=True)
    (folder / "snapshots" / "abc" / "open_clip_model.safetensors").write_bytes(b"x")
    found = find_weights("clips")
    assert found.path == folder / "snapshots" / "abc" / "open_clip_model.safetensors"
    assert (found.quick_gelu, found.statistics, found.origin) == (True, "openai", "open_clip's cache")
    with pytest.raises(InputError):
        find_weights("pacs")


def test_adding_a_file(tmp_path, empty_home):
    source = pacs(tmp_path / "clip_ViT-B-32.pth")
    done = run("add", source)
    assert (done.exit_code, done.stdout) == (0, "")
    kept_file = empty_home / "clip_ViT-B-32.pth"
    assert done.stderr == f"pacs (B/32): kept as {kept_file}, sha256 {sha256_of([source])}\n"
    assert kept_file.read_bytes() == source.read_bytes()
    record = json.loads((empty_home / "clip_ViT-B-32.pth.json").read_text())
    assert record == {
        "for": "pacs",
        "variant": "B/32",
        "name": "clip_ViT-B-32.pth",
        "sha256": sha256_of([source]),
        "layout": "openai",
    }
    assert find_weights("refpacs").path == kept_file
    assert find_weights("refpacs").origin == "capreward weights add"
    assert "is already kept as" in run("add", source).stderr
    other = pacs(tmp_path / "tuned.pth", seed=9)
    message = refused("add", other, "--as", "pacs")
    assert message == f"{kept_file} already holds other weights for pacs (B/32); remove it first"
    assert sorted(p.name for p in empty_home.iterdir()) == ["clip_ViT-B-32.pth", "clip_ViT-B-32.pth.json"]


def test_adding_under_another_name(tmp_path, empty_home):
    """--as says the evaluator; the variant follows from the patches unless it is said too."""
    path = save(tmp_path / "mine.pth", small_clip(**L14).state_dict())
    assert "mine.pth has the name of no published weights; say what it is for: --as clips, pacs" in refused("add", path)
    assert run("add", path, "--as", "pacs").exit_code == 0
    assert find_weights("pacs", "L/14").path == empty_home / "openClip_ViT-L-14.pth"
    assert json.loads((empty_home / "openClip_ViT-L-14.pth.json").read_text())["name"] == "mine.pth"
    message = refused("add", path, "--as", "PAC-S:B/32")
    assert "has features of 768 numbers and patches of 14 pixels; pacs (B/32) has 512 and 32" in message


def test_adding_a_folder(tmp_path, empty_home):
    source = save(tmp_path / "openClip_ViT-L-14.pth", small_clip(**L14, quick_gelu=False).state_dict())
    convert(source, tmp_path / "converted", WeightsRequest(quick_gelu=False, statistics="half"))
    assert run("add", tmp_path / "converted").exit_code == 0
    found = find_weights("pacs", "L/14")
    assert found.path == empty_home / "openClip_ViT-L-14"
    check_features(load_clip(found.path).model, small_clip(**L14, quick_gelu=False))
    assert "is already kept" in run("add", tmp_path / "converted").stderr
    assert (
        run(
            "add", folder_of(tmp_path / "x", small_clip(**B32).state_dict(), model_cfg(**B32)), "--as", "clips"
        ).exit_code
        == 0
    )
    assert find_weights("clips").path == empty_home / "ViT-B-32"


def test_what_is_refused_is_not_kept(tmp_path, empty_home):
    html = tmp_path / "clip_ViT-B-32.pth"
    html.write_bytes(b"<!DOCTYPE html><html><title>Google Drive - Quota exceeded</title>")
    assert "Google Drive's page that its download quota is spent" in refused("add", html)
    assert "there is no file or folder" in refused("add", tmp_path / "none.pth")
    lora = save(tmp_path / "lora.pth", {"state_dict": with_factors(small_clip(**B32))})
    assert "has the layout pac-s++; pacs (B/32) needs openai or open_clip or hf" in refused("add", lora, "--as", "pacs")
    plain = pacs(tmp_path / "PAC++_clip_ViT-B-32.pth")
    assert "has the layout openai; pacspp (B/32) needs pac-s++" in refused("add", plain)
    openai = pacs(tmp_path / "ViT-B-32.pt")
    assert "has the SHA-256" in refused("add", openai)
    assert "its authors state 40d365715913" in refused("add", openai)
    state = small_clip(**B32).state_dict()
    less = save(tmp_path / "less.pth", {n: t for n, t in state.items() if not n.endswith("c_fc.bias")})
    assert "it lacks" in refused("add", less, "--as", "pacs")
    assert not empty_home.exists() or list(empty_home.iterdir()) == []
    assert run("add", lora, "--as", "pacspp").exit_code == 0
    assert find_weights("refpacspp").path == empty_home / "PAC++_clip_ViT-B-32.pth"


def test_the_grammar_checkpoint(tmp_path):
    head = {"grammar_score_head.0.weight": torch.eye(64), "grammar_score_head.2.weight": torch.ones(2, 64)}
    path = save(tmp_path / "clip_negative_text-last.ckpt", {"state_dict": {**small_clip(**B32).state_dict(), **head}})
    assert "needs grammar" in refused("add", pacs(tmp_path / "x.pth"), "--as", "grammar")
    assert run("add", path).exit_code == 0
    assert load_clip(find_weights("clips-grammar").path).grammar_head is not None


def test_the_list(tmp_path, monkeypatch):
    monkeypatch.setenv("CAPREWARD_WEIGHTS", str(tmp_path))
    path = pacs(tmp_path / "clip_ViT-B-32.pth")
    fake = pacs(tmp_path / "ViT-B-32.pt")
    rows = json.loads(run("--json").stdout)
    assert [(r["evaluators"][0], r["variant"]) for r in rows] == [(e.family, e.variant) for e in CATALOGUE]
    assert rows[1]["found"] == str(path)
    assert rows[1]["sha256"] == sha256_of([path])
    assert rows[2]["found"] is rows[2]["sha256"] is None
    assert "1G1DAGQf5fW2U3u7K3Dn-eCC6koMDyvsU" in rows[2]["published"]
    text = run().stdout
    assert (
        f"pacs, refpacs (B/32)  clip_ViT-B-32.pth\n    {path} (CAPREWARD_WEIGHTS)\n    sha256 {sha256_of([path])}\n"
        in text
    )
    assert f"sha256 {sha256_of([fake])}, not the published file" in text
    assert "pacspp, refpacspp (B/32)  PAC++_clip_ViT-B-32.pth\n    not found; published at https://ailb-web" in text


class Files(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; cut.pth claims more than it sends."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.path != "/cut.pth":
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"x" * 10)


@pytest.fixture
def server(tmp_path):
    (tmp_path / "www").mkdir()
    handler = functools.partial(Files, directory=str(tmp_path / "www"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield tmp_path / "www", f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_fetching(server, empty_home):
    folder, address = server
    entry = entry_of("pacspp")
    path = save(folder / "good.pth", {"state_dict": with_factors(small_clip(**B32))})
    (folder / "page.pth").write_bytes(b"<html>sign in</html>")
    for name, sentence in (
        ("none.pth", r"cannot be fetched \(HTTP Error 404.*in a browser and type capreward weights add PAC"),
        ("page.pth", "is an HTML page, not weights"),
        ("cut.pth", "cut.pth (cannot be fetched|broke off after 10 of 1,000 bytes)"),
    ):
        with pytest.raises(InputError, match=sentence):
            user_library.fetch(entry, f"{address}/{name}")
        assert list(empty_home.iterdir()) == []
    told = []
    done = user_library.fetch(entry, f"{address}/good.pth", lambda read, total: told.append((read, total)))
    assert done.path == empty_home / "PAC++_clip_ViT-B-32.pth"
    assert done.sha256 == sha256_of([path])
    assert told[-1] == (path.stat().st_size, path.stat().st_size)
    assert find_weights("pacspp").path == done.path
    save(folder / "openai.pt", small_clip(**B32).state_dict())
    with pytest.raises(InputError, match="has the SHA-256"):
        user_library.fetch(entry_of("clips"), f"{address}/openai.pt")


def test_get_fetches(server, empty_home, monkeypatch):
    folder, address = server
    save(folder / "good.pth", {"state_dict": with_factors(small_clip(**B32))})
    asked = []

    def fetch(entry, url, progress=None, kept_fetch=user_library.fetch):
        asked.append(url)
        return kept_fetch(entry, f"{address}/good.pth", progress)

    monkeypatch.setattr(user_library, "fetch", fetch)
    done = run("get", "PAC-S++")
    assert done.exit_code == 0, done.output
    assert f"kept as {empty_home / 'PAC++_clip_ViT-B-32.pth'}" in done.stderr
    assert asked == [entry_of("pacspp").url]
    again = run("get", "refpacspp", "--download")
    assert f"is here already: {empty_home / 'PAC++_clip_ViT-B-32.pth'}" in again.stderr
    assert len(asked) == 1


def test_get_says_why_it_cannot(empty_home):
    message = refused("get", "pacs")
    assert message.startswith(
        "clip_ViT-B-32.pth has no plain address; open github.com/aimagelab/pacscore: https://drive"
    )
    assert message.endswith("then type capreward weights add clip_ViT-B-32.pth")


@dataclass(frozen=True)
class Settings:
    checkpoint: str
    quick_gelu: bool | None = None
    statistics: str | None = None


def test_a_checkpoint_of_the_users_own_gets_what_its_evaluator_was_published_with(tmp_path):
    """By the file's name, by the variant that is named, or by the patches; a folder and a tag say their own."""
    small, large = pacs(tmp_path / "tuned.pth"), save(tmp_path / "big.pth", small_clip(**L14).state_dict())
    named = save(tmp_path / "openClip_ViT-L-14.pth", {})  # never opened: its name says it

    def settings(path, name="pacs", variant=None, **given):
        found = published_settings(Settings(str(path), **given), name, variant)
        return found.quick_gelu, found.statistics

    assert settings(small) == settings(small, "clips") == (True, "openai")
    assert settings(large) == settings(named) == settings(small, variant="L/14") == (False, "half")
    assert settings(large, "pacspp") == (True, "openai")
    assert settings(large, quick_gelu=True) == (True, "half")
    assert settings(large, statistics="imagenet", quick_gelu=False) == (False, "imagenet")
    folder = folder_of(tmp_path / "x", small_clip(**B32).state_dict(), model_cfg(**B32))
    for own in (
        folder,
        folder / "open_clip_model.safetensors",
        f"local-dir:{folder}",
        "ViT-B-32:openai",
        "scenes-pacs",
    ):
        assert settings(own) == (None, None)
    patchless = save(
        tmp_path / "rn.pth", small_clip(vision={"image_size": 64, "layers": [1, 1, 1, 1], "width": 8}).state_dict()
    )
    assert settings(patchless) == (None, None)
    odd = save(tmp_path / "odd.pth", small_clip(vision=VIT, text=TEXT).state_dict())
    assert settings(odd) == (None, None)


def test_a_file_with_other_objects_is_kept_without_them_where_asked(tmp_path, empty_home):
    """As a folder of convert, so that evaluators load it without being asked again."""
    state = {"state_dict": small_clip(**B32).state_dict(), "hparams": argparse.Namespace(lr=1)}
    path = save(tmp_path / "clip_ViT-B-32.pth", state)
    for options in ((), ("--as", "pacs")):
        told = refused("add", path, *options)
        assert "argparse.Namespace; type capreward convert FILE OUT_DIR --drop-unknown" in told
    assert not empty_home.exists()
    for options in ((), ("--as", "pacs:B/32")):
        done = run("add", path, "--drop-unknown", *options)
        assert done.exit_code == 0, done.output
    assert "is already kept as" in done.stderr
    found = find_weights("pacs")
    assert found.path == empty_home / "clip_ViT-B-32"
    clip = load_clip(found.path, quick_gelu=found.quick_gelu, statistics=found.statistics)
    check_features(clip.model, small_clip(**B32))
    assert clip.spec.quick_gelu
    assert [p.name for p in empty_home.iterdir() if p.name.startswith(".")] == []
    nan = {**small_clip(**B32).state_dict(), "ln_final.bias": torch.full((64,), float("nan"))}
    assert "ln_final.bias holds NaN or infinity in 64 of 64" in refused(
        "add", save(tmp_path / "n.pth", nan), "--as=pacs"
    )
