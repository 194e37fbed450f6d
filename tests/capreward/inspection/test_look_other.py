"""``capreward look`` at weights, frequencies, runs and recipes."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import torch
from case_files import case_folder
from click.testing import CliRunner
from clip_files import folder_of, model_cfg, plain_pickle, save, small_clip, with_factors
from look_files import SHIPPED, TRAIN, check_commands, commands, look, run_folder, seen, written
from safetensors.torch import save_file

from capreward.commands import main
from capreward.inspection import identification
from capreward.inspection.views import LookOptions


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
        found = identification.identify_file(str(folder / name), LookOptions())
        columns = {v.role: v.facts["column"] for v in found.views if v.role in ("captions", "references")}
        assert columns == roles, name
        check_commands(found.to_dict())
    pictures = {
        v.role: v for v in identification.identify_file(str(folder / "F12g_hf_coco.parquet"), LookOptions()).views
    }["pictures"]
    assert pictures.rows == tuple({"id": str(n), "picture": "PNG 8 x 8 RGB"} for n in range(3))
