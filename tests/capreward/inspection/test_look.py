"""How files are understood, and that every command that is named for them is one that runs."""

from __future__ import annotations

import base64
import re
import shlex
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
from case_files import ROOT
from click.testing import CliRunner
from image_files import write_tar
from look_files import PNG, commands, look, seen, written

from capreward.commands import main


def test_results_are_captions_and_references(tmp_path):
    path = written(tmp_path / "c.json", [{"image_id": n, "caption": f"a dog {n}"} for n in range(9)])
    views, refusals = seen(path, "--rows", 2)
    assert list(views) == ["captions", "references"]
    assert refusals == {}
    captions, references = views.values()
    assert captions["line"] == f"{path}: coco-results, 9 images; id from image_id, captions from caption (9)"
    assert captions["rows"] == [{"id": "0", "caption": "a dog 0"}, {"id": "1", "caption": "a dog 1"}]
    assert references["rows"][1] == {"id": "1", "captions": ["a dog 1"]}
    assert commands(captions)[0] == f"capreward score {path} -r REFERENCES"
    assert commands(references)[:2] == [
        f"capreward score CAPTIONS -r {path}",
        f"capreward df build {path} -o df.npz",
    ]
    text = look(path, "--rows", 1).stdout
    assert text.count("a dog 0") == 1  # the same rows are shown once
    assert "a dog 1" not in text
    assert "\x1b" not in text
    assert look(path, "-n", 0).stdout.count("a dog") == 0


def test_a_refused_role_is_told_and_the_other_stands(tmp_path):
    path = written(tmp_path / "p.csv", "file_name,caption_predicted\nx.wav,a drill runs\n")
    views, refusals = seen(path)
    assert list(views) == ["captions"]
    assert re.search(r'"caption_predicted" holds predictions, which are never that', refusals["references"])
    assert "not references: " in look(path).stdout


def test_a_file_that_holds_both(tmp_path):
    rows = [{"image_id": 1, "prediction": "a dog", "references": ["the dog", "a hound"]}]
    path = written(tmp_path / "b.json", rows)
    views, _ = seen(path)
    assert list(views) == ["captions", "references", "captions and references"]
    both = views["captions and references"]
    assert both["rows"] == [{"id": "1", "caption": "a dog", "references": ["the dog", "a hound"]}]
    assert commands(both) == [f"capreward score {path} -m bleu,rouge,cider"]
    assert CliRunner().invoke(main, shlex.split(commands(both)[0])[1:]).exit_code == 0


def test_reading_options_apply_and_come_back_in_the_commands(tmp_path):
    path = written(tmp_path / "vatex.json", [{"videoID": "v", "enCap": "a dog runs", "chCap": "dogs"}])
    refused = look(path)
    assert refused.exit_code == 2
    assert f"Error: {path} is understood in none of 2 ways" in refused.stderr
    assert 'could be the column "enCap" or "chCap"; say which with --caption-column' in refused.stderr
    views, _ = seen(path, "--caption-column", "enCap")
    assert commands(views["captions"])[0] == f"capreward score {path} --caption-column enCap -r REFERENCES"
    assert commands(views["references"])[0] == f"capreward score CAPTIONS -r {path} --references-caption-column enCap"
    assert views["captions"]["rows"] == [{"id": "v", "caption": "a dog runs"}]
    plain = written(tmp_path / "x.txt", "vid73 a goat\nvid74 a dog\n")
    assert look(plain).exit_code == 2
    assert seen(plain, "--format", "id-text")[0]["captions"]["rows"][0] == {"id": "vid73", "caption": "a goat"}
    split = written(
        tmp_path / "k.json",
        {"images": [{"filename": f"{s}.jpg", "split": s, "sentences": [{"raw": "a dog"}]} for s in ("train", "test")]},
    )
    refused = look(split)
    assert refused.exit_code == 2
    assert refused.stderr.startswith(f"Error: {split} has several splits: train (1 images), test (1 images)")
    views, _ = seen(split, "--split", "test")
    assert views["references"]["rows"] == [{"id": "test.jpg", "captions": ["a dog"]}]
    assert commands(views["captions"]) == [f"capreward retrieve {split} --split test -i IMAGES"]


def test_many_captions_of_an_image_are_cut_and_asked_for(tmp_path):
    path = written(tmp_path / "r.json", {"1": [f"text {n}" for n in range(8)]})
    views, _ = seen(path)
    assert views["references"]["rows"][0]["captions"][-1] == "... 3 more"
    assert all(command.endswith("--multiple") for command in commands(views["captions"])[:2])


def test_finecapeval_has_a_command_of_its_own(tmp_path):
    head = "image,caption,background,object,relation\n"
    path = written(tmp_path / "FineCapEval.csv", head + "a.jpg,a dog runs,grass,dog,runs on\n" * 5)
    views, _ = seen(path)
    assert f"capreward finecapeval CAPTIONS --data {path}" in commands(views["captions"])


def test_scenes_and_their_captions(tmp_path):
    views, _ = seen("scenes:test", "-n", 1)
    assert views["pictures and captions"]["rows"][0]["id"] == "scenes-test-000000"
    assert len(views["pictures and captions"]["rows"][0]["captions"]) == 5
    path = written(tmp_path / "s.json", {"scenes-test-000000": "a star"})
    assert f"capreward score {path} -i scenes -r scenes" in commands(seen(path)[0]["captions"])
    assert look("scenes:nowhere").exit_code == 2


def test_captions_are_looked_at_without_torch(tmp_path):
    path = written(tmp_path / "c.json", [{"image_id": 1, "caption": "a dog"}])
    code = (
        "import sys; from capreward.commands import main\n"
        f"main(['look', {str(path)!r}], standalone_mode=False)\n"
        "assert 'torch' not in sys.modules and 'trainers' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr


# Pictures


def test_tables_with_pictures(tmp_path):
    rows = [{"image_id": n, "caption": "a dog", "image": {"bytes": PNG, "path": f"{n}.png"}} for n in range(3)]
    rows.append({"image_id": 3, "caption": "a cat", "image": {"bytes": b"nothing", "path": "3.png"}})
    path = tmp_path / "d.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    views, _ = seen(path)
    assert list(views) == ["captions", "references", "pictures"]
    assert views["pictures"]["line"] == f"{path}: 4 pictures in the column image, id from image_id"
    assert views["pictures"]["rows"][0] == {"id": "0", "picture": "PNG 8 x 6 RGB"}
    assert views["pictures"]["rows"][3]["picture"].startswith("broken: the picture of id 3 ")
    assert f"capreward score {path} -m clips" in commands(views["captions"])  # it needs no --images
    assert f"capreward train --data {path}" in commands(views["references"])


def test_tables_of_paths_are_pictures_where_the_files_are(tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    path = written(tmp_path / "l.csv", "image,caption\na.png,a dog\n")
    views, _ = seen(path)
    assert views["pictures"]["line"] == f"{path}: 1 path of pictures in the column image, id from image"
    assert views["pictures"]["rows"] == [{"id": "a.png", "picture": "PNG 8 x 6 RGB"}]
    (tmp_path / "a.png").unlink()
    assert list(seen(path)[0]) == ["captions", "references"]


def test_two_columns_of_pictures_are_a_refusal_beside_captions(tmp_path):
    text = base64.b64encode(PNG).decode()
    path = written(tmp_path / "two.tsv", f"id\timage\tphoto\tcaption\n1\t{text}\t{text}\ta dog\n")
    views, refusals = seen(path)
    assert "captions" in views
    assert refusals["pictures"].endswith('could be the column "image" or "photo"; say which with --image-column')
    views, refusals = seen(path, "--image-column", "photo")
    assert refusals == {}
    assert "--image-column photo" in commands(views["pictures"])[0]


def test_folders_shards_and_lists(tmp_path):
    (tmp_path / "p").mkdir()
    for n in range(3):
        (tmp_path / "p" / f"{n}.png").write_bytes(PNG)
    views, _ = seen(tmp_path / "p", "-n", 2)
    assert views["pictures"]["line"].startswith(f"{tmp_path}/p: folder, 3 pictures; ")
    assert views["pictures"]["rows"] == [{"id": str(n), "picture": "PNG 8 x 6 RGB"} for n in range(2)]
    for n in range(2):
        members = [(f"{n}.png", PNG), (f"{n}.txt", f"dog {n}".encode())]
        write_tar(tmp_path / f"s-{n}.tar", members)
    pattern = str(tmp_path / "s-{0..1}.tar")
    views, _ = seen(pattern)
    assert list(views) == ["pictures", "captions", "references", "training shards"]
    assert views["pictures"]["line"].startswith(f"{pattern}: 2 tar shards, 2 pictures; ")
    assert views["captions"]["rows"][1] == {"id": "1", "caption": "dog 1"}
    assert f"capreward train --data '{pattern}'" in commands(views["training shards"])
    write_tar(tmp_path / "only.tar", [("1.png", PNG)])
    views, refusals = seen(tmp_path / "only.tar")
    assert list(views) == ["pictures"]
    assert "has no .txt or .json members with captions" in refusals["captions"]
    listed = written(tmp_path / "list.json", {"ix_to_word": {"1": "a"}, "images": [{"id": 7, "file_path": "p/0.png"}]})
    views, _ = seen(listed)
    assert views["vocabulary"]["line"] == f"{listed}: vocabulary of 1 word (ix_to_word)"
    assert views["pictures"]["rows"] == [{"id": "7", "picture": "PNG 8 x 6 RGB"}]
    assert seen(tmp_path / "p" / "0.png")[0]["picture"]["rows"] == [{"picture": "PNG 8 x 6 RGB"}]
    (tmp_path / "empty").mkdir()
    assert look(tmp_path / "empty").exit_code == 2


def test_feature_stores(tmp_path):
    args = ["embed", "scenes:test", "--count", "4", "-o", str(tmp_path / "f"), "-q"]
    assert CliRunner().invoke(main, args).exit_code == 0
    views, _ = seen(tmp_path / "f", "-n", 1)
    assert re.fullmatch(
        rf"{tmp_path}/f: 4 features of images, 128 numbers each \(float32\), by scenes-clip \(sha [0-9a-f]{{12}}\)",
        views["features"]["line"],
    )
    assert views["features"]["rows"] == [{"key": "scenes-test-000000"}]
    assert commands(views["features"])[0].endswith("-m 'clips(checkpoint=scenes-clip)'")


# Weights
