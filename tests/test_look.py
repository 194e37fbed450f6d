"""How files are understood, and that every command that is named for them is one that runs."""

from __future__ import annotations

import base64
import json
import pickle
import re
import shlex
import subprocess
import sys

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from case_files import ROOT, case_folder
from click.testing import CliRunner
from clip_files import folder_of, model_cfg, plain_pickle, save, small_clip, with_factors
from image_files import encoded, write_tar
from PIL import Image
from safetensors.torch import save_file

from capreward.commands import main
from capreward.inspection import kinds
from capreward.inspection.views import Asked

SHIPPED = ROOT / "capreward" / "data" / "scenes" / "weights"
PNG = encoded(Image.new("RGB", (8, 6), (1, 2, 3)))


def look(*arguments):
    return CliRunner().invoke(main, ["look", *map(str, arguments)])


def seen(*arguments):
    """What ``--json`` says: the views by role, and the refusals."""
    done = look(*arguments, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    check_commands(found)
    return {view["role"]: view for view in found["views"]}, found["refusals"]


def check_commands(found):
    """Every command that is named has these options and takes these arguments."""
    for view in found["views"]:
        for use in view["uses"]:
            words = ["9" if word == "N" else word for word in shlex.split(use["type"])]
            assert words[0] == "capreward"
            command, rest = main.get_command(click.Context(main), words[1]), words[2:]
            if isinstance(command, click.Group):
                command, rest = command.get_command(click.Context(command), rest[0]), rest[1:]
            with command.make_context(words[1], rest) as context:
                assert context.params, use


def commands(view):
    return [use["type"] for use in view["uses"]]


def written(path, value):
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


# Captions


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


def test_clips_in_their_layouts(tmp_path):
    model = small_clip()
    count = sum(t.numel() for t in model.state_dict().values())
    path = save(tmp_path / "clip.pt", model.state_dict())
    views, _ = seen(path)
    facts = views["CLIP"]["facts"]
    assert (facts["layout"], facts["embed_dim"], facts["numbers"]) == ("openai", 32, count)
    assert (facts["image tower"]["layers"], facts["image tower"]["patch_size"]) == (2, 16)
    assert f"{len(model.state_dict()):,} tensors ({count:,} numbers)" in views["CLIP"]["line"]
    assert "clips(checkpoint=" in commands(views["CLIP"])[0]
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, tmp_path / "clip.safetensors")
    assert seen(tmp_path / "clip.safetensors")[0]["CLIP"]["facts"]["embed_dim"] == 32
    folder = folder_of(tmp_path / "folder", model.state_dict(), model_cfg())
    assert seen(folder)[0]["CLIP"]["facts"]["image tower"]["width"] == 128
    torch.save(with_factors(model), tmp_path / "pp.pth")
    lora = seen(tmp_path / "pp.pth")[0]["CLIP"]
    assert lora["facts"]["layout"] == "pac-s++"
    assert commands(lora)[0].endswith(f"'pacspp(checkpoint={tmp_path}/pp.pth)'")
    shipped = seen(SHIPPED / "grammar")[0]["CLIP"]
    assert shipped["facts"]["grammar head"] is True
    assert commands(shipped)[0] == f"capreward score CAPTIONS -m 'grammar(checkpoint={SHIPPED}/grammar)'"
    inside = seen(SHIPPED / "clip" / "open_clip_model.safetensors")[0]["CLIP"]
    assert inside["facts"]["embed_dim"] == 128


def test_captioners(tmp_path):
    for name in ("captioner", "captioner/captioner.safetensors"):
        found = seen(SHIPPED / name)[0]["captioner"]
        assert found["facts"]["captioner"] == "grid"
        assert found["facts"]["tower"] == "scenes-clip"
        assert found["line"].endswith("on the tower scenes-clip, 67 tensors, 1,332,480 numbers")
        assert f"--captioner {SHIPPED / 'captioner'} " in commands(found)[0]
    torch.save({"state_dict": {"model.tgt_embed.0.lut.weight": torch.zeros(3, 2)}}, tmp_path / "c.ckpt")
    found = seen(tmp_path / "c.ckpt")[0]["captioner"]
    assert found["line"] == f"{tmp_path}/c.ckpt: captioner in CLIP-Caption-Reward's layout, 1 tensor, 6 numbers"


def test_other_weights_are_refused(tmp_path):
    torch.save({"a": torch.zeros(2)}, tmp_path / "other.pt")
    refused = look(tmp_path / "other.pt")
    assert refused.exit_code == 2
    assert "other.pt is no CLIP: none of its 1 tensors is token_embedding.weight" in refused.stderr

    class Evil:
        def __reduce__(self):
            return (print, ("run",))

    (tmp_path / "evil.p").write_bytes(pickle.dumps(Evil()))
    refused = look(tmp_path / "evil.p")
    assert refused.exit_code == 2
    assert "nothing was run" in refused.stderr
    assert "run\n" not in refused.stdout


# What is made of captions


def test_document_frequencies_vocabularies_and_labels(tmp_path):
    references = written(tmp_path / "r.json", {"1": ["a dog runs"], "2": ["a cat"]})
    run = CliRunner().invoke
    assert run(main, ["df", "build", str(references), "-o", str(tmp_path / "df.npz")]).exit_code == 0
    views, _ = seen(tmp_path / "df.npz")
    found = views["document frequencies"]
    assert found["line"] == f"{tmp_path}/df.npz: document frequencies of 2 images, tokenizer ptb"
    assert [row["kinds"] for row in found["rows"]] == ["4", "3", "1", "0"]
    assert commands(found)[0] == f"capreward score CAPTIONS -r REFERENCES -m 'cider-d(df={tmp_path}/df.npz)'"
    words = tmp_path / "w.json"
    assert run(main, ["vocabulary", "build", str(references), "-o", str(words), "--threshold", "0"]).exit_code == 0
    views, _ = seen(words, "-n", 2)
    assert views["vocabulary"]["line"] == f"{words}: vocabulary of 4 words (ix_to_word)"
    assert views["vocabulary"]["rows"] == [{"number": 1, "word": "a"}, {"number": 2, "word": "dog"}]
    labels = tmp_path / "l.npz"
    assert run(main, ["vocabulary", "labels", str(references), "-v", str(words), "-o", str(labels)]).exit_code == 0
    assert seen(labels)[0]["labels"]["line"] == f"{labels}: 2 captions of 2 images as word ids, 16 each"
    table = {"document_frequency": {("1",): 2.0, ("2",): 1.0, ("1", "2"): 1.0}, "ref_len": 2.0}
    plain_pickle(tmp_path / "idxs.p", table)
    found = seen(tmp_path / "idxs.p")[0]["document frequencies"]
    assert found["line"] == f"{tmp_path}/idxs.p: pickle of document frequencies of 2 images, counted over ids"
    assert commands(found) == [f"capreward df convert {tmp_path}/idxs.p {tmp_path}/idxs.npz -v VOCABULARY"]
    plain_pickle(tmp_path / "alone.p", {("a", "dog"): 1.0, ("a",): 2.0, ("dog",): 1.0})
    alone = seen(tmp_path / "alone.p")[0]["document frequencies"]
    assert commands(alone) == [f"capreward df convert {tmp_path}/alone.p {tmp_path}/alone.npz --images N"]
    assert [row["kinds"] for row in alone["rows"]] == ["2", "1", "0", "0"]
    sets = written(tmp_path / "datasets.json", {"train": "x-{0..1}.tar"})
    assert commands(seen(sets)[0]["sets of shards"]) == [f"capreward train --data {sets}:train"]
    np.savez(tmp_path / "other.npz", a=np.zeros(2))
    assert look(tmp_path / "other.npz").exit_code == 2


# Runs and configurations


def run_folder(tmp_path, config, rows=""):
    folder = tmp_path / "run"
    (folder / "checkpoints" / "step-00000004").mkdir(parents=True)
    (folder / "best").mkdir()
    written(folder / "config.yaml", config)
    written(folder / "metrics.jsonl", rows)
    return folder


TRAIN = "optimizer: {name: dico}\nreward: {expression: pacs}\ntraining: {steps: 8, lr: 0.1}\nplugins: [evil.py]\n"


def test_runs_are_told_without_running_what_they_name(tmp_path):
    rows = [
        '{"step": 2, "kind": "train", "loss": 2.0}',
        '{"step": 4, "kind": "train", "loss": 1.5}',
        '{"step": 4, "kind": "eval", "cider": 0.75}',
        '{"step": 4, "ki',
        "[1]",
    ]
    folder = run_folder(tmp_path, TRAIN, "\n".join(rows))
    written(folder / "evil.py", "raise SystemExit(7)")
    views, _ = seen(folder)
    found = views["run"]
    assert found["line"] == f"{folder}: run of capreward train (dico), 4 of 8 steps, 1 checkpoint, best"
    assert found["facts"]["figures"] == {"train loss": 1.5, "eval cider": 0.75}
    assert {"what": "reward.expression", "value": "pacs"} in found["rows"]
    assert {"what": "eval cider", "value": "0.75"} in found["rows"]
    assert found["notes"] == [f"2 lines of {folder}/metrics.jsonl cannot be read"]
    assert commands(found) == [
        f"capreward caption IMAGES --captioner {folder} -o captions.json",
        f"capreward evaluate {folder}",
        f"capreward report {folder} -o report.html",
        f"capreward train --run {folder}",
    ]


@pytest.mark.parametrize(
    "objective, metric",
    [("{name: grammar}", "grammar"), ("{name: pac, adapt: lora}", "pacspp"), ("{name: pac}", "pacs")],
)
def test_tuned_evaluators_are_metrics(tmp_path, objective, metric):
    folder = run_folder(tmp_path, f"objective: {objective}\n")
    found = seen(folder)[0]["run"]
    assert found["line"].startswith(
        f"{folder}: run of capreward tune ({objective[7:].split(',')[0].strip('}')}), 0 steps"
    )
    assert f"-m '{metric}(checkpoint={folder}/best)'" in commands(found)[0]
    assert commands(found)[-1] == f"capreward tune --run {folder}"


def test_recipes_and_configurations(tmp_path):
    found = seen("dico-coco")[0]["recipe"]
    assert found["line"] == "dico-coco: recipe of capreward train (dico)"
    assert commands(found)[0] == "capreward train --recipe dico-coco --run FOLDER"
    assert seen("scenes-grammar")[0]["recipe"]["line"].endswith("capreward tune (grammar)")
    path = written(tmp_path / "c.yaml", TRAIN)
    found = seen(path)[0]["configuration"]
    assert commands(found)[0] == f"capreward train --config {path} --run FOLDER"
    assert any("names plugins" in note for note in found["notes"])
    for text in ("a: 2020-13-45", "[" * 5000, "- a\n", "x: 1\n", "a: b: c"):
        written(path, text)
        refused = look(path)
        assert refused.exit_code == 2
        assert refused.stderr.startswith(f"Error: {path} ")
        assert refused.stderr.count("\n") == 1


def test_what_is_not_there_and_what_is_nothing(tmp_path):
    written(tmp_path / "captions.json", {"1": "a dog"})
    refused = look(tmp_path / "caption.json")
    assert refused.exit_code == 2
    assert f"did you mean {tmp_path}/captions.json" in refused.stderr
    page = written(tmp_path / "page.json", "<!DOCTYPE html><html></html>")
    refused = look(page)
    assert refused.exit_code == 2
    assert (
        refused.stderr
        == f"Error: {page} is a web page, not a caption file; the formats are {refused.stderr.split('formats are ')[1]}"
    )
    assert json.loads(look(page, "--json").stdout)["views"] == []


def test_every_shape_that_people_have_is_told():
    """Of each file whose owner means one thing, that reading is offered."""
    folder = case_folder()
    expected = {
        "F1a_own_column.json": {"captions": "prediction", "references": "captions"},
        "F1c_vlm_eval.tsv": {"captions": "prediction", "references": "answer"},
        "F5a_clotho_refs.csv": {"references": "caption_1..caption_5"},
        "F6a_row_id_refs.csv": {"captions": "caption", "references": "caption"},
        "F12b_textcaps.json": {"captions": "caption_str", "references": "reference_strs"},
        "F12g_hf_coco.parquet": {"captions": "sentences", "references": "sentences"},
        "F2c_space_ref.txt": {},
    }
    for name, roles in expected.items():
        found = kinds.look_at(str(folder / name), Asked())
        columns = {v.role: v.facts["column"] for v in found.views if v.role in ("captions", "references")}
        assert columns == roles, name
        check_commands(found.to_dict())
    pictures = {v.role: v for v in kinds.look_at(str(folder / "F12g_hf_coco.parquet"), Asked()).views}["pictures"]
    assert pictures.rows == tuple({"id": str(n), "picture": "PNG 8 x 8 RGB"} for n in range(3))
