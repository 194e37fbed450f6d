"""Files whose first reading is the wrong one: a better name on a worse column, ids in two spellings, objects of objects."""

from __future__ import annotations

import csv
import io
import json

import pytest
from case_files import score

import capreward
from capreward.data.caption_files import read_captions, read_captions_with_references, read_references
from capreward.errors import InputError

CAPTIONS = {"42": "a dog runs on the grass", "73": "two men ride a red bike", "139": "a cat sits on a table"}
REFERENCES = {
    "42": ["a brown dog runs through the grass", "the dog is running"],
    "73": ["two men on a red bicycle", "men ride a bike"],
    "139": ["a cat is sitting on a table", "the cat sits"],
}
LONG = [(key, text) for key, listed in REFERENCES.items() for text in listed]


def table(rows, separator=","):
    stream = io.StringIO()
    csv.writer(stream, delimiter=separator, lineterminator="\n").writerows(rows)
    return stream.getvalue()


def check_refused(read, path, *parts, **options):
    with pytest.raises(InputError) as caught:
        read(path, **options)
    assert [part for part in parts if part not in str(caught.value)] == [], str(caught.value)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("target", ["dog", "dog", "bike", "bike", "cat", "cat"]),
        ("gt", ["0", "1", "0", "1", "0", "1"]),
        ("reference", ["http://x/1"] * 6),
        ("gold", ["True"] * 6),
    ],
)
def test_a_better_name_on_a_worse_column_of_references(tmp_path, name, values):
    path = tmp_path / "r.csv"
    rows = [(key, text, value) for (key, text), value in zip(LONG, values, strict=True)]
    path.write_text(table([["image_id", "caption", name], *rows]))
    check_refused(read_references, path, f'"{name}" or "caption"', "--references-caption-column")
    assert read_references(path, caption_column="caption").references == REFERENCES


@pytest.mark.parametrize(
    ("name", "value"),
    [("candidate", 0), ("mt", "blip"), ("generated", True), ("output", "out/42.png"), ("pred", "dog")],
)
@pytest.mark.parametrize("spell", [json.dumps, lambda rows: table([list(rows[0]), *map(dict.values, rows)])])
def test_a_better_name_on_a_worse_column_of_candidates(tmp_path, name, value, spell):
    path = tmp_path / "c"
    path.write_text(spell([{"image_id": key, "caption": text, name: value} for key, text in CAPTIONS.items()]))
    check_refused(read_captions, path, f'"{name}" or "caption"', "--caption-column")


@pytest.mark.parametrize(
    "name",
    [
        "model_answer",
        "llava_response",
        "model_prediction",
        "system_output",
        "pred_txt",
        "filtered_resps",
        "modelResponse",
    ],
)
def test_a_prediction_beside_the_answer(tmp_path, name):
    path = tmp_path / "c.json"
    rows = [{"image_id": k, "answer": REFERENCES[k], name: c} for k, c in CAPTIONS.items()]
    path.write_text(json.dumps(rows))
    table_, references = read_captions_with_references(path)
    assert (table_.captions, references.references) == (list(CAPTIONS.values()), REFERENCES)


@pytest.mark.parametrize("name", ["gpt_answer", "caption_blip", "blip_caption", "long_description"])
def test_two_columns_that_only_say_caption(tmp_path, name):
    path = tmp_path / "c.json"
    rows = [{"image_id": k, "caption": "people wrote this", name: c} for k, c in CAPTIONS.items()]
    path.write_text(json.dumps(rows))
    check_refused(read_captions, path, f'"caption" or "{name}"')
    check_refused(read_captions_with_references, path, f'"caption" or "{name}"')
    # Nor is one of them the references because the other is named as the captions.
    check_refused(read_captions_with_references, path, "--references FILE", caption_column=name)
    both = read_captions_with_references(path, caption_column=name, references_column="caption")
    assert both[0].captions == list(CAPTIONS.values())


@pytest.mark.parametrize("name", ["has_caption", "caption_id", "n_captions", "response_time", "caption_lang"])
def test_columns_about_captions_are_none(tmp_path, name):
    path = tmp_path / "c.csv"
    path.write_text(table([["image_id", name], ["42", "1"], ["73", "0"]]))
    check_refused(read_captions, path, "no column for captions", f"'{name}'")


def test_ids_in_two_spellings_across_files_of_references(tmp_path):
    one, two = tmp_path / "1.json", tmp_path / "2.json"
    one.write_text(json.dumps({"42": ["a"], "73": ["b"]}))
    for spelling in ("COCO_val2014_000000000042.jpg", "000000000042", "42.jpg"):
        two.write_text(json.dumps({spelling: ["c"], "139": ["d"]}))
        with pytest.raises(InputError, match=f'"{spelling}" where another file of references has "42"'):
            read_references([one, two])
    with pytest.raises(InputError, match="image 42 twice"):
        capreward.score({"42": "a"}, {42: ["a"], "42": ["b"]}, metrics="rouge")
    (tmp_path / "r.csv").write_text("image_id,caption\n42,a\n42 ,b\n")
    assert read_references(tmp_path / "r.csv").references == {"42": ["a", "b"]}


def test_row_numbers_count_within_the_split(tmp_path):
    path = tmp_path / "r.csv"
    rows = [(key, listed[0], "test") for key, listed in REFERENCES.items()]
    path.write_text(table([["image_id", "caption", "split"], ["9", "no", "train"], *rows]))
    (tmp_path / "c.txt").write_text("\n".join(CAPTIONS.values()) + "\n")
    more = ["--references-id-column", "row", "--split", "test", "-m", "rouge"]
    done = score(tmp_path / "c.txt", "-r", path, *more)
    first = {key: listed[:1] for key, listed in REFERENCES.items()}
    assert done.values["rouge"] == capreward.score(CAPTIONS, first, metrics="rouge")["rouge"].value
    check_refused(read_references, path, "no split restvall", "test, train", split="test+restvall")


def test_a_shard_pattern_is_its_own_references(tmp_path):
    import tarfile

    for number in range(2):
        data = f"a caption {number}".encode()
        with tarfile.open(tmp_path / f"s-{number:03}.tar", "w") as archive:
            info = tarfile.TarInfo(f"{number}.txt")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    for pattern in ("s-{000..001}.tar", "s-{000,001}.tar", "s-000.tar"):
        done = score(tmp_path / "s-{000..001}.tar", "-r", tmp_path / pattern, "-m", "rouge")
        assert done.status == 2
        assert "cannot be candidates and references at once" in done.err


def test_a_copy_of_the_captions_as_references_is_noted(tmp_path):
    for name in ("c.json", "copy.json"):
        (tmp_path / name).write_text(json.dumps(CAPTIONS))
    assert "every caption of" in score(tmp_path / "c.json", "-r", tmp_path / "copy.json", "-m", "rouge").notes
    (tmp_path / "r.json").write_text(json.dumps(REFERENCES))
    assert "every caption of" not in score(tmp_path / "c.json", "-r", tmp_path / "r.json", "-m", "rouge").notes


@pytest.mark.parametrize("spell", [json.dumps, repr])
def test_lists_spelt_in_text_are_lists_everywhere(tmp_path, spell):
    path = tmp_path / "r.json"
    path.write_text(json.dumps({key: spell(listed) for key, listed in REFERENCES.items()}))
    assert read_references(path).references == REFERENCES
    path.write_text(json.dumps([spell(listed) for listed in REFERENCES.values()]))
    assert list(read_references(path).references.values()) == list(REFERENCES.values())
    # What only looks like a list is what a model said.
    for said in ('["a cat', "array(1) on a screen", '["STOP"] sign on a pole', "[a dog]"):
        path.write_text(json.dumps([{"image_id": 1, "caption": said}]))
        assert read_captions(path).captions == [said]


@pytest.mark.parametrize("cell", ["NA", "N/A", "#N/A", "nan"])
def test_words_for_missing_values(tmp_path, cell):
    path = tmp_path / "c.csv"
    path.write_text(f"image_id,caption\n42,a dog runs\n73,{cell}\n")
    check_refused(read_captions, path, f'"{cell}"', "missing value")
    path.write_text(f"image_id,ref_1,ref_2\n42,a dog,the dog\n73,a cat,{cell}\n139,a cow, \n")
    found = read_references(path)
    assert found.references == {"42": ["a dog", "the dog"], "73": ["a cat"], "139": ["a cow"]}
    assert found.reports[0].dropped == ("2 empty cells dropped",)


@pytest.mark.parametrize(
    ("value", "part"),
    [
        (
            {"airplane": [{"filename": "42.jpg", "raw": "a"}, {"filename": "7.jpg", "raw": "b"}], "beach": []},
            "ids of their own",
        ),
        ({"train": ["a dog", "b"], "test": ["c d"]}, "holds the splits"),
        ({"Bleu_1": 0.5, "CIDEr": 1.0}, "holds numbers"),
        ([["42", "a brown dog runs"], ["73", "two men"]], "pairs of an id and a caption"),
        ([[42, "a brown dog runs"]], "pairs of an id and a caption"),
    ],
)
def test_objects_that_are_no_ids_and_captions(tmp_path, value, part):
    path = tmp_path / "r.json"
    path.write_text(json.dumps(value))
    check_refused(read_references, path, part)


def test_records_by_split_as_r2gen_has_them(tmp_path):
    path = tmp_path / "annotation.json"
    splits = {"train": {"42": "a dog"}, "test": {"73": "a bike", "139": "a cat"}}
    rows = {s: [{"id": k, "report": t, "image_path": [f"{k}/0.png"]} for k, t in v.items()] for s, v in splits.items()}
    path.write_text(json.dumps(rows))
    check_refused(read_references, path, "train (1 rows), test (2 rows)", "--split test")
    assert read_references(path, split="test").references == {"73": ["a bike"], "139": ["a cat"]}
    check_refused(read_references, path, "no split dev", split="dev")


@pytest.mark.parametrize("name", ["captions", "results", "predictions"])
def test_captions_by_id_beside_facts(tmp_path, name):
    path = tmp_path / "c.json"
    for facts in ({}, {"model": "m", "cider": 1.0}):
        path.write_text(json.dumps({**facts, name: CAPTIONS}))
        found = read_captions(path)
        assert dict(zip(found.keys, found.captions, strict=True)) == CAPTIONS
        assert f'entries from "{name}"' in str(found.reports[0])
    path.write_text(json.dumps({name: REFERENCES}))
    assert read_references(path).references == REFERENCES


def test_an_image_without_captions_does_not_hide_the_others(tmp_path):
    path = tmp_path / "r.json"
    path.write_text(json.dumps({"42": [{"caption": "a dog"}], "73": []}))
    assert read_references(path).references == {"42": ["a dog"], "73": []}


def test_pandas_columns_in_another_order_and_with_ids_as_index(tmp_path):
    path = tmp_path / "c.json"
    keys, said = list(CAPTIONS), list(CAPTIONS.values())
    path.write_text(json.dumps({"image_id": dict(zip("012", keys, strict=True)),
                                "caption": {"2": said[2], "0": said[0], "1": said[1]}}))  # fmt: skip
    assert dict(zip(*_pairs(path), strict=True)) == CAPTIONS
    path.write_text(json.dumps({"caption": CAPTIONS, "score": dict.fromkeys(CAPTIONS, 1)}))
    assert dict(zip(*_pairs(path), strict=True)) == CAPTIONS
    path.write_text(json.dumps({"columns": ["caption"], "index": keys, "data": [[text] for text in said]}))
    assert dict(zip(*_pairs(path), strict=True)) == CAPTIONS


def _pairs(path):
    found = read_captions(path)
    return found.keys, found.captions


def test_several_ids_of_one_file_are_refused(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text(
        table([["img_id", "filename", "caption"], ["0", "42.jpg", "a"], ["7", "42.jpg", "b"], ["42", "9.jpg", "c"]])
    )
    check_refused(read_references, path, '"img_id" or "filename"', "--references-id-column")


def test_pictures_with_paths_are_ids(tmp_path):
    path = tmp_path / "c.jsonl"
    rows = ({"image": {"bytes": None, "path": f"x/{key}.jpg"}, "caption": text} for key, text in CAPTIONS.items())
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "r.json").write_text(json.dumps(REFERENCES))
    done = score(path, "-r", tmp_path / "r.json", "-m", "rouge")
    assert done.values["rouge"] == capreward.score(CAPTIONS, REFERENCES, metrics="rouge")["rouge"].value


def test_refusals_name_the_flags_there_are(tmp_path):
    (tmp_path / "c.json").write_text(json.dumps(CAPTIONS))
    (tmp_path / "r.json").write_text(json.dumps(REFERENCES))
    (tmp_path / "r.txt").write_text("vid42 a\nvid73 b\n")
    given = [tmp_path / "c.json", "-r", tmp_path / "r.json"]
    assert "leave --split out" in score(*given, "--split", "test").err
    assert "leave --references-id-column out" in score(*given, "--references-id-column", "x").err
    assert "leave --references-format out" in score(*given, "--references-format", "parquet").err
    assert "--references-format id-text" in score(tmp_path / "c.json", "-r", tmp_path / "r.txt").err
    own = score(tmp_path / "c.json", "-m", "bleu").err
    assert "--references-caption-column" not in own
