"""capreward pack: both layouts, the same bytes for the same input, resuming after any stop, and the look through."""

from __future__ import annotations

import hashlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from image_files import encoded, with_orientation, write_tar
from PIL import Image
from places import ROOT
from train_data_files import caption, captions_of, dico_members, dico_shards, jpeg, photo_folder, picture, stored

from capreward.commands import main
from capreward.data.images.picture_types import as_picture
from trainers.data import open_dataset
from trainers.data.jpeg_pictures import Encoding, safe_keys


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CAPREWARD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def source(tmp_path):
    """Seven photos with 5, 6, 7, 5, ... captions, and the options that find them."""
    photo_folder(tmp_path / "photos", range(7))
    (tmp_path / "c.json").write_text(json.dumps({f"{n}.jpg": captions_of(n, 5 + n % 3) for n in range(7)}))
    return [str(tmp_path / "c.json"), "-i", str(tmp_path / "photos")]


def run(*args, status=0):
    result = CliRunner().invoke(main, ["pack", *map(str, args)])
    assert result.exit_code == status, result.output
    return result


def packed(*args):
    return json.loads(run(*args, "--json").stdout)


def members(path):
    with tarfile.open(path) as archive:
        return [(m, archive.extractfile(m).read()) for m in archive]


def digests(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


# Layouts


def test_the_dico_layout(source, tmp_path):
    out = tmp_path / "out"
    told = packed(*source, "-o", out, "--shard-size", 3, "--name", "tiny", "--verify")
    assert told == {
        "out": str(out), "name": "tiny", "layout": "dico", "pattern": "tiny-{000..002}.tar", "shards": 3, "written": 3,
        "kept": 0, "samples": 7, "pictures": 7, "captions": 41, "left_out": [],
        "verified": {"shards": 3, "samples": 7, "pictures": 7, "captions": 41, "damaged": []},
    }  # fmt: skip
    found = [m for n in range(3) for m in members(out / f"tiny-{n:03d}.tar")]
    assert [m.name for m, _ in found] == [f"{n}.{ending}" for n in range(7) for ending in ("jpg", "json")]
    assert all((m.mtime, m.uid, m.gid, m.uname, m.mode) == (0, 0, 0, "", 0o644) for m, _ in found)
    assert [data for m, data in found if m.name.endswith(".jpg")] == [jpeg(n) for n in range(7)]
    assert [json.loads(data) for m, data in found if m.name.endswith(".json")] == [
        captions_of(n, 5 + n % 3) for n in range(7)
    ]
    assert json.loads((out / "datasets.json").read_text()) == {"tiny": "tiny-{000..002}.tar"}
    data = open_dataset(f"{out}/datasets.json:tiny")
    assert [data.captions(n) for n in range(7)] == [tuple(captions_of(n, 5 + n % 3)) for n in range(7)]
    assert data.notes == ()


def test_the_xe_layout(source, tmp_path):
    out = tmp_path / "out"
    told = packed(*source, "-o", out, "--layout", "xe", "--shard-size", 8, "--name", "tiny")
    assert (told["samples"], told["pictures"], told["captions"], told["shards"]) == (41, 7, 41, 6)
    found = [m for n in range(6) for m in members(out / f"tiny-{n:03d}.tar")]
    expected = [(n, which) for n in range(7) for which in range(5 + n % 3)]
    assert [m.name for m, _ in found] == [
        f"{number}__{n}.{ending}" for number, (n, _) in enumerate(expected) for ending in ("jpg", "txt")
    ]
    assert [data.decode() for _, data in found[1::2]] == [caption(n, which) for n, which in expected]
    assert [data for _, data in found[::2]] == [jpeg(n) for n, _ in expected]
    assert [len(members(out / f"tiny-{n:03d}.tar")) for n in range(6)] == [16, 16, 16, 16, 16, 2]
    assert open_dataset(f"{out}/datasets.json:tiny").captions(40) == (caption(6, 4),)


def test_webdataset_reads_ours_and_we_read_its(source, tmp_path):
    import webdataset

    out = tmp_path / "out"
    run(*source, "-o", out, "--name", "tiny")
    samples = list(webdataset.WebDataset(str(out / "tiny-000.tar"), shardshuffle=False))
    assert [s["__key__"] for s in samples] == [str(n) for n in range(7)]
    assert [json.loads(s["json"]) for s in samples] == [captions_of(n, 5 + n % 3) for n in range(7)]
    assert [s["jpg"] for s in samples] == [jpeg(n) for n in range(7)]
    with webdataset.TarWriter(str(tmp_path / "theirs.tar")) as sink:
        for n in range(4):
            sink.write({"__key__": f"{n}__COCO_{n}", "jpg": picture(n), "json": captions_of(n)})
            sink.write({"__key__": f"txt/{n}__COCO_{n}t", "png": encoded(picture(n)), "txt": caption(n)})
    theirs = open_dataset(str(tmp_path / "theirs.tar"))
    assert theirs.keys == [f"{n}__COCO_{n}{t}" for n in range(4) for t in ("", "t")]
    assert theirs.captions(2) == tuple(captions_of(1))
    assert theirs.captions(3) == (caption(1),)
    assert theirs.picture(7).open().tobytes() == picture(3).tobytes()
    again = packed(tmp_path / "theirs.tar", "-o", out, "--name", "again")
    assert again["samples"] == 8
    assert json.loads((out / "datasets.json").read_text()) == {"tiny": "tiny-000.tar", "again": "again-000.tar"}


def test_scenes_and_count(tmp_path):
    told = packed("scenes:val", "--count", 3, "-o", tmp_path, "--name", "s", "--quality", 100)
    assert told["captions"] == 15
    data = open_dataset(f"{tmp_path}/datasets.json:s")
    drawn = open_dataset("scenes:val", count=3)
    assert data.keys == drawn.keys
    assert data.captions(2) == drawn.captions(2)
    a, b = (d.picture(2).open() for d in (data, drawn))
    assert a.size == b.size == (64, 64)
    assert max(abs(x - y) for x, y in zip(a.tobytes(), b.tobytes(), strict=True)) < 16


# Pictures


def test_jpegs_are_copied_unless_they_are_too_large(tmp_path):
    large = Encoding(resize=20, quality=95)
    wide = as_picture(jpeg(1))  # 40 x 30
    shrunk = Image.open(io.BytesIO(large.encoded(wide)))
    assert shrunk.size == (27, 20)
    expected = picture_of(jpeg(1)).resize((27, 20), Image.Resampling.BICUBIC)
    assert shrunk.tobytes() == Image.open(io.BytesIO(encoded(expected, "JPEG", quality=95, subsampling=0))).tobytes()
    assert Encoding(resize=30, quality=95).encoded(wide) == jpeg(1)
    assert Encoding(resize=None, quality=5).encoded(wide) == jpeg(1)
    assert Image.open(io.BytesIO(Encoding(20, 95).encoded(as_picture(jpeg(1, width=21, height=63))))).size == (20, 60)


def picture_of(data):
    return Image.open(io.BytesIO(data)).convert("RGB")


def test_other_pictures_become_jpegs(tmp_path):
    for mode in ("L", "P", "RGBA", "1", "I;16", "CMYK"):
        kind = "TIFF" if mode == "CMYK" else "PNG"
        made = Image.open(io.BytesIO(Encoding(None, 95).encoded(as_picture(encoded(picture(1).convert(mode), kind)))))
        assert (made.format, made.mode, made.size) == ("JPEG", "RGB", (40, 30)), mode
    turned = as_picture(with_orientation(picture(1), 6))
    assert Encoding(None, 95).encoded(turned) == turned.data  # as it is, with its tag
    upright = Image.open(io.BytesIO(Encoding(20, 95).encoded(turned)))
    assert upright.size == (20, 27)
    assert upright.getexif().get(0x0112) is None


def test_keys_are_made_safe():
    keys = ["train/42.jpg", "train_42.png", "a.b.c", "COCO_val2014_000000000042", "x y", "é", " ", "train_42__2"]
    assert safe_keys(keys, unique=True) == [
        "train_42", "train_42__2", "a_b_c", "COCO_val2014_000000000042", "x_y", "é", "_", "train_42__2__2"
    ]  # fmt: skip
    assert safe_keys(keys[:2], unique=False) == ["train_42", "train_42"]


# The same bytes, whatever happens in between


def test_the_same_input_gives_the_same_bytes(source, tmp_path):
    for name, workers in (("one", 0), ("two", 2)):
        run(*source, "-o", tmp_path / name, "--shard-size", 2, "--resize", 20, "--workers", workers)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_a_second_run_keeps_what_is_whole(source, tmp_path):
    out = tmp_path / "out"
    args = (*source, "-o", out, "--shard-size", 2)
    run(*args)
    known = digests(out)
    times = {p.name: p.stat().st_mtime_ns for p in out.iterdir()}
    again = packed(*args)
    assert (again["kept"], again["written"], again["samples"], again["captions"]) == (4, 0, 7, 41)
    assert {p.name: p.stat().st_mtime_ns for p in out.iterdir()} == times
    damaged = out / "data-001.tar"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    (out / "data-002.tar").unlink()
    (out / ".data-003.tar.left").write_bytes(b"half")
    again = packed(*args)
    assert (again["kept"], again["written"]) == (2, 2)
    assert digests(out) == known
    run(*args, "--quality", 94, status=2)
    changed = json.loads(Path(source[0]).read_text())
    changed["3.jpg"].append("one more")
    Path(source[0]).write_text(json.dumps(changed))
    said = run(*args, status=2).stderr
    assert "has shards data of other settings: the captions differ" in said
    assert digests(out) == known
    (out / "data.pack.json").write_text("{}")
    assert "data.pack.json is damaged" in run(*args, status=2).stderr
    (out / "data.pack.json").unlink()
    assert "data-000.tar is there already" in run(*args, status=2).stderr


@pytest.mark.parametrize("after", [1, 3])
def test_kill_9_and_again(source, tmp_path, after):
    run(*source, "-o", tmp_path / "whole", "--shard-size", 1)
    out = tmp_path / "killed"
    script = (
        "import sys, time, trainers.data.jpeg_pictures as e\n"
        "real = e.Encoding.encoded\n"
        "def slow(self, picture):\n"
        "    time.sleep(0.15)\n"
        "    return real(self, picture)\n"
        "e.Encoding.encoded = slow\n"
        "from capreward.commands import main\n"
        "main(sys.argv[1:])\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, "pack", *source, "-o", str(out), "--shard-size", "1"],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while len(list(out.glob("data-*.tar"))) < after and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)  # in the middle of the next shard
    child.send_signal(signal.SIGKILL)
    child.wait()
    shards = sorted(p.name for p in out.glob("data-*.tar"))
    assert after <= len(shards) < 7
    assert not (out / "datasets.json").exists()
    again = packed(*source, "-o", out, "--shard-size", 1)
    assert again["kept"] in (len(shards), len(shards) - 1)
    assert digests(out) == digests(tmp_path / "whole")


def test_a_full_disk_is_one_sentence(source, tmp_path):
    out = tmp_path / "out"
    run(*source, "-o", out, "--shard-size", 1)
    limit = (out / "data-000.tar").stat().st_size + 2000
    command = [sys.executable, "cli.py", "pack", *source, "-o", str(tmp_path / "full"), "--shard-size", "7"]
    failed = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert failed.returncode == 2
    assert failed.stdout == ""
    assert failed.stderr == f"Error: cannot write {tmp_path}/full/data-000.tar: File too large\n"
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["data.pack.json"]
    run(*source, "-o", tmp_path / "full", "--shard-size", 7)
    assert len(open_dataset(f"{tmp_path}/full/datasets.json:data")) == 7


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk takes root")
def test_a_small_disk_that_fills_up(source, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        said = run(*source, "-o", disk, "--shard-size", 1, status=2).stderr
        assert "No space left on device" in said
        assert said.count("\n") == 1
        assert all(p.name.endswith((".tar", ".json")) and not p.name.startswith(".") for p in disk.iterdir())
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# Broken pictures, and the look through


def test_broken_pictures_are_refused_or_left_out(source, tmp_path):
    broken = tmp_path / "photos" / "3.jpg"
    broken.write_bytes(jpeg(3)[:300])
    out = tmp_path / "out"
    args = (*source, "-o", out, "--shard-size", 3)
    said = run(*args, status=2).stderr
    assert said.startswith(f"Error: {broken} is damaged")
    assert "--skip-broken" in said
    assert sorted(p.name for p in out.iterdir()) == ["data-000.tar", "data.pack.json"]
    told = packed(*args, "--skip-broken")
    assert (told["kept"], told["samples"], told["pictures"]) == (1, 6, 6)
    assert told["left_out"] == [f"{broken} is damaged: {told['left_out'][0].partition(': ')[2]}"]
    assert open_dataset(f"{out}/datasets.json:data").keys == ["0", "1", "2", "4", "5", "6"]
    assert "1 broken picture left out" in run(*args, "--skip-broken").stderr
    run(*args, status=2)  # without the option a shard that lacks a picture is not whole
    xe = packed(*args, "--skip-broken", "--layout", "xe", "--name", "xe")
    assert (xe["samples"], xe["captions"], xe["pictures"]) == (36, 36, 6)
    assert len(xe["left_out"]) == 1
    for n in range(7):
        (tmp_path / "photos" / f"{n}.jpg").write_bytes(b"")
    said = run(*source, "-o", tmp_path / "none", "--skip-broken", status=2).stderr
    assert "every picture of" in said


def test_verify_finds_what_is_wrong(tmp_path):
    sound = dico_shards(tmp_path, [3, 2])
    told = json.loads(run("--verify", sound, "--json").stdout)
    assert told["verified"] == {"shards": 2, "samples": 5, "pictures": 5, "captions": 25, "damaged": []}
    wrong = list(dico_members(range(10, 13)))
    wrong[0] = ("k010.jpg", jpeg(10)[:300])
    wrong[3] = ("k011.json", b"[1")
    wrong += [("k001.jpg", jpeg(1)), ("k001.json", b'["x"]')]
    wrong += [("mute.jpg", jpeg(1)), ("unseen.txt", b"y"), ("blank.jpg", jpeg(1)), ("blank.json", b'["a", " "]')]
    write_tar(tmp_path / "w.tar", wrong)
    whole = (tmp_path / "d-001.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: whole.index(b"k004.jpg")])
    (tmp_path / "end.tar").write_bytes(whole[: whole.index(b"k004.jpg") + 600])
    result = run("--verify", f"{tmp_path}/{{d-000,w,cut,end,none}}.tar", "--json", status=2)
    found = json.loads(result.stdout)["verified"]
    assert found["shards"] == 5
    assert found["samples"] == 3 + 7 + 1 + 2
    assert found["pictures"] == 3 + 5 + 1 + 1
    assert found["captions"] == 15 + 5 + 5 + 1 + 1 + 1 + 5 + 5
    text = "\n".join(found["damaged"])
    for part in (
        "k010.jpg in", "sample k011 in", "the sample k001 in", "is also in", "the sample mute in", "has no .txt or .json",
        "the sample unseen in", "has no picture", "the sample blank in", "has an empty caption", "cut.tar lacks the zeros",
        "end.tar (", "no whole tar file", "none.tar cannot be read: there is no such file",
    ):  # fmt: skip
        assert part in text, part
    assert result.stderr.splitlines()[-1].startswith(f"Error: {len(found['damaged'])} damaged: ")
    run("--verify", tmp_path / "nothing.json", status=2)


def test_what_pack_refuses(source, tmp_path):
    import torch

    assert "name the folder of the shards with --out" in run(*source, status=2).stderr
    assert "use letters, digits" in run(*source, "-o", tmp_path / "o", "--name", "a/b", status=2).stderr
    assert "is remote" in run("https://x/y.tar", "-o", tmp_path / "o", status=2).stderr
    store = stored(tmp_path / "s", [f"{n}" for n in range(7)], torch.zeros(7, 3))
    assert "is a feature store" in run(source[0], "-i", store, "-o", tmp_path / "o", status=2).stderr
    out = tmp_path / "out"
    out.mkdir()
    (out / "datasets.json").write_text("[]")
    assert "should be a JSON object" in run(*source, "-o", out, status=2).stderr
    assert [p.name for p in out.iterdir()] == ["datasets.json"]
    (tmp_path / "file").write_text("")
    assert "cannot make the folder" in run(*source, "-o", tmp_path / "file", status=2).stderr
    assert "train on them with --data" in run(*source, "-o", tmp_path / "o").stderr
    assert run(*source, "-o", tmp_path / "o", "-q").stderr == ""
