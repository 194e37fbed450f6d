"""Real-shaped files: each gives its owner's number (computed with pycocoevalcap's programs), or a refusal that helps."""

from __future__ import annotations

import runpy
import shutil

import pytest
from case_files import case_folder, score
from click.testing import CliRunner

from capreward.commands import main


@pytest.fixture(scope="module")
def cases():
    return case_folder()


def run(cases, *arguments):
    return score(*(cases / a if (cases / str(a)).is_file() else a for a in arguments))


CIDER, BLEU = "cider", "bleu1"
RIGHT = {
    "F1a": (["F1a_own_column.json", "-r", "F1a_own_column.json", "-m", "cider"], {CIDER: 1.5991}),
    "F1a alone": (["F1a_own_column.json", "-m", "cider"], {CIDER: 1.5991}),
    "F1c": (["F1c_vlm_eval.tsv", "-r", "F1c_vlm_eval.tsv", "-m", "cider"], {CIDER: 2.7497}),
    "F10b": (["F10b_pred_and_wide_refs.csv", "-r", "F10b_pred_and_wide_refs.csv", "-m", "cider"], {CIDER: 0.9391}),
    "F2a": (["F2a_pipe_cand.csv", "-r", "F2a_pipe_ref.csv", "-m", "cider,bleu"], {CIDER: 2.8497, BLEU: 0.5783}),
    "F2c ids": (
        ["F2c_space_cand.txt", "-r", "F2c_space_ref.txt", "-m", "bleu",
         "--format", "id-text", "--references-format", "id-text"], {BLEU: 0.7239},
    ),
    "F3a": (["F3a_vizwiz_results.json", "-r", "F3a_vizwiz_ann.json", "-m", "cider,bleu"], {CIDER: 2.2019, BLEU: 0.3333}),
    "F4a": (["F4a_results.json", "-r", "F4a_hf_flickr30k.csv", "-m", "cider,bleu"], {CIDER: 2.1048, BLEU: 0.6319}),
    "F4a named": (
        ["F4a_results.json", "-r", "F4a_hf_flickr30k.csv", "--references-caption-column", "raw", "-m", "cider"],
        {CIDER: 2.1048},
    ),
    "F4b": (["F4b_results.json", "-r", "F4b_json_list_captions.csv", "-m", "bleu"], {BLEU: 0.5714}),
    "F4e": (
        ["F4e_vlm_answer_repr.tsv", "-r", "F4e_vlm_answer_repr.tsv", "--id-column", "index",
         "--references-id-column", "index", "--references-caption-column", "answer", "-m", "cider"], {CIDER: 2.7497},
    ),
    "F5a two": (
        ["F5a_clotho_pred.csv", "--caption-column", "caption_predicted", "-r", "F5a_clotho_refs.csv",
         "--references-caption-column", "caption_1", "--references-caption-column", "caption_2", "-m", "cider"],
        {CIDER: 1.3151},
    ),
    "F5a all": (["F5a_clotho_pred.csv", "-r", "F5a_clotho_refs.csv", "-m", "cider"], {CIDER: 1.0536}),
    "F6a": (["F6a_results.json", "-r", "F6a_row_id_refs.csv", "-m", "cider"], {CIDER: 2.3316}),
    "F9b": (["F5b_results.json", "-r", "F9b_wide.tsv", "-m", "cider,bleu"], {CIDER: 4.7652, BLEU: 1.0}),
    "F12a": (["F12a_results.json", "-r", "F12a_msrvtt.json", "-m", "cider"], {CIDER: 1.9864}),
    "F12b": (["F12b_results.json", "-r", "F12b_textcaps.json", "-m", "cider"], {CIDER: 2.8097}),
    "F13a": (["F13a_llava.jsonl", "-r", "F13a_refs.json", "-m", "cider"], {CIDER: 2.7497}),
    "F13c": (
        ["F13c_results.json", "-r", "F13c_vatex.json", "--references-caption-column", "enCap", "-m", "cider"],
        {CIDER: 3.5659},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(RIGHT))
def test_the_number_is_the_owners(cases, name):
    arguments, expected = RIGHT[name]
    found = run(cases, *arguments).values
    assert {metric: round(found[metric], 4) for metric in expected} == expected


REFUSED = {
    "F2c": (["F2c_space_cand.txt", "-r", "F2c_space_ref.txt", "-m", "bleu"], ["--format id-text", "--format text"]),
    "F19": (["F19_one_line.jsonl", "-m", "repetition"], ["'description'", "'image_file'", "--id-column"]),
    "F13c": (["F13c_results.json", "-r", "F13c_vatex.json"], ["enCap", "chCap", "--references-caption-column"]),
    "F12d as references": (["F5b_results.json", "-r", "F12d_imgToEval.json"], ["no references"]),
    "one column for two roles": (["F5b_results.json", "-r", "F5b_results.json"], ['"caption"', "--references FILE"]),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_could_be_two_things_is_refused(cases, name):
    arguments, parts = REFUSED[name]
    done = run(cases, *arguments)
    assert done.status == 2
    assert [part for part in parts if part not in done.err] == [], done.err
    assert done.out == ""


def test_the_broken_row_of_a_table_is_named(cases):
    done = run(cases, "F2e_kaggle_results.json", "-r", "F2e_kaggle_pipe_broken_row.csv", "-m", "cider")
    assert done.images == 2
    told = next(file for file in done.files if file["role"] == "references")
    assert (told["captions"], told["id"], told["column"]) == (3, "image_name", "comment")
    assert told["dropped"] == ["1 row dropped: too few cells (line 5)"]


def test_vizwiz_says_what_it_drops(cases):
    done = run(cases, "F3a_vizwiz_results.json", "-r", "F3a_vizwiz_ann.json", "-m", "cider")
    assert done.images == 2
    assert "902" in done.notes
    told = next(file for file in done.files if file["role"] == "references")
    assert told["dropped"] == ["3 rows dropped: is_precanned", "1 row dropped: is_rejected"]


def test_metrics_add_up(cases):
    assert set(run(cases, "F5b_results.json", "-r", "F5b_refs.json", "-m", "bleu1", "-m", "cider").values) == {
        "bleu1", "cider",
    }  # fmt: skip


@pytest.mark.parametrize(("name", "images"), [("F6c_train_row_id.csv", 3), ("F9a_clotho.csv", 2)])
def test_document_frequencies_count_images(cases, tmp_path, name, images):
    done = CliRunner().invoke(main, ["df", "build", str(cases / name), "-o", str(tmp_path / "df.npz")])
    assert done.exit_code == 0, done.stderr
    assert f"{images} images" in done.stderr


def test_predictions_are_no_references_for_document_frequencies(cases, tmp_path):
    for name, captions in (("F1a_own_column.json", "captions (2)"), ("F1c_vlm_eval.tsv", "answer (4)")):
        done = CliRunner().invoke(main, ["df", "build", str(cases / name), "-o", str(tmp_path / f"{name}.npz")])
        assert f"references from {captions}" in done.stderr
    only = tmp_path / "only.csv"
    only.write_text("image_id,prediction\n1,a dog\n")
    done = CliRunner().invoke(main, ["df", "build", str(only), "-o", str(tmp_path / "only.npz")])
    assert done.exit_code == 2
    assert "never" in done.stderr
    assert not (tmp_path / "only.npz").exists()


def test_rows_without_ids_are_numbered_within_one_file(cases):
    done = run(cases, "F10a_no_id.jsonl", "-m", "cider,bleu")
    assert (done.images, done.files[0]["id"]) == (2, "the row number")


def test_an_empty_cell_is_an_empty_caption(cases):
    done = run(cases, "F11a_empty_prediction.csv", "-r", "F11a_refs.json", "-m", "bleu")
    assert done.images == 3
    assert "1 caption of" in done.notes
    assert "empty" in done.notes


@pytest.mark.parametrize("name", ["F12d_imgToEval.json", "F12f_dict_of_lists.json"])
def test_other_layouts_of_candidates(cases, name):
    expected = run(cases, "F5b_results.json", "-r", "F5b_refs.json", "-m", "cider").values
    assert run(cases, name, "-r", "F5b_refs.json", "-m", "cider").values == expected


@pytest.mark.parametrize("name", ["F12g_hf_coco.parquet", "F12h_hf_flickr.parquet"])
def test_hugging_face_exports(cases, name, tmp_path):
    pytest.importorskip("pyarrow")
    results = tmp_path / "results.json"
    results.write_text('{"0": "a red square", "1": "one blue tile", "2": "a green square"}')
    done = run(cases, results, "-r", name, "-m", "bleu")
    assert done.values["bleu1"] == pytest.approx(1.0)
    assert done.files[1]["captions"] == 6


def test_a_picture_object_is_no_id(cases):
    done = run(cases, "F12l_image_object.jsonl", "-r", "F5b_refs.json", "-m", "cider")
    assert (done.images, done.files[0]["id"]) == (2, "img_id")


def test_one_image_has_no_cider(cases):
    assert "1 image" in run(cases, "F14_one.json", "-r", "F14_refs.json", "-m", "cider").notes


def test_texts_without_blanks_are_noted(cases):
    done = run(cases, "F16_japanese_results.json", "-r", "F16_japanese_refs.json", "-m", "bleu")
    assert "--tokenizer characters" in done.notes
    by_character = run(
        cases, "F16_japanese_results.json", "-r", "F16_japanese_refs.json", "-m", "bleu", "--tokenizer", "characters"
    )
    assert by_character.values["bleu1"] > done.values["bleu1"]


def test_tokens_of_a_model_are_noted(cases):
    notes = run(cases, "F17a_special_tokens.json", "-r", "F5b_refs.json", "-m", "bleu").notes
    assert "2 of 2 captions hold tokens of a model" in notes
    assert "<pad>" in notes


def test_identical_rows_count_once(cases):
    done = run(cases, "F18_identical_duplicates.json", "-r", "F5b_refs.json", "-m", "cider")
    assert done.values == run(cases, "F5b_results.json", "-r", "F5b_refs.json", "-m", "cider").values
    assert "1 row repeats" in done.notes


def test_weights_that_are_no_number_are_refused(cases, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(cases / "F8_nan_checkpoint.py"))
    (tmp_path / "c.json").write_text('{"scenes-test-000000": "a dog"}')
    done = run(cases, "c.json", "--images", "scenes", "-m", "clips(checkpoint=F8_nan.pt)")
    assert done.status == 2
    assert "text_projection" in done.err


def test_long_captions_do_not_stall_meteor(cases, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(cases / "F7_long_meteor.py", tmp_path)
    runpy.run_path("F7_long_meteor.py")
    assert run(cases, "F7_cand.json", "-r", "F7_refs.json", "-m", "meteor").values["meteor"] > 0


def test_vramas_frequencies_convert(cases, tmp_path):
    output = tmp_path / "df.npz"
    done = CliRunner().invoke(main, ["df", "convert", str(cases / "F23_plain_df.p"), str(output), "--images", "9"])
    assert done.exit_code == 0, done.stderr
    hint = run(cases, "F5b_results.json", "-r", "F5b_refs.json", "-m", f"cider(df={cases / 'F23_plain_df.p'})")
    assert "capreward df convert" in hint.err
