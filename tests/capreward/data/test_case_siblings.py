"""More files of the kinds that were misread: each gives the number of the same captions as plain JSON, or is refused."""

from __future__ import annotations

import base64
import csv
import io
import json

import pytest
from case_files import score
from click.testing import CliRunner

from capreward.commands import main

CAPTIONS = {"101": "two girls near a fence", "102": "a goat walking on a field"}
REFERENCES = {
    "101": ["Two girls paint a wooden fence .", "Girls , with brushes , beside a fence ."],
    "102": ["A goat walks over the field .", "A white goat is on a meadow ."],
}
ONE = {key: listed[:1] for key, listed in REFERENCES.items()}
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(60))).decode()


def table(rows, separator=","):
    stream = io.StringIO()
    csv.writer(stream, delimiter=separator, lineterminator="\n").writerows(rows)
    return stream.getvalue()


def piped(rows, separator="|"):
    return "".join(separator.join(row) + "\n" for row in rows)


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def wide(names, separator=","):
    return table([["image_id", *names], *([key, *listed] for key, listed in REFERENCES.items())], separator)


def rows_of(references, *extra):
    return [(key, text) for key, listed in references.items() for text in listed]


@pytest.fixture
def plain(tmp_path):
    """The numbers of the captions as plain JSON objects."""

    def numbers(references):
        (tmp_path / "plain_c.json").write_text(json.dumps(CAPTIONS))
        (tmp_path / "plain_r.json").write_text(json.dumps(references))
        return score(tmp_path / "plain_c.json", "-r", tmp_path / "plain_r.json", "-m", "bleu,rouge,cider").values

    return numbers


BOTH = {
    "list of people and a generated caption": (
        "x.jsonl",
        lines({"file": f"{k}.jpg", "caption": REFERENCES[k], "generated_caption": c} for k, c in CAPTIONS.items()),
    ),
    "hypothesis and ground truth": (
        "x.csv",
        table([["image", "hypothesis", "ground_truth"],
               *([f"{k}.png", c, json.dumps(REFERENCES[k])] for k, c in CAPTIONS.items())]),
    ),
    "records by id": ("x.json", json.dumps({k: {"pred": c, "gts": REFERENCES[k]} for k, c in CAPTIONS.items()})),
    "output and text": (
        "x.json", json.dumps([{"id": int(k), "output": c, "text": REFERENCES[k]} for k, c in CAPTIONS.items()]),
    ),
    "numbered references": (
        "x.tsv",
        table([["id", "model_output", "reference_1", "reference_2"],
               *([k, c, *REFERENCES[k]] for k, c in CAPTIONS.items())], "\t"),
    ),
    "pandas' names of doubled columns": (
        "x.csv",
        table([["", "caption_pred", "caption", "caption.1"],
               *([str(n), CAPTIONS[k], *REFERENCES[k]] for n, k in enumerate(CAPTIONS))]),
    ),
    "columns": (
        "x.json",
        json.dumps({"prediction": list(CAPTIONS.values()), "references": list(REFERENCES.values())}),
    ),
    "pandas by column": (
        "x.json",
        json.dumps({"prediction": dict(enumerate(CAPTIONS.values())), "refs": dict(enumerate(REFERENCES.values()))}),
    ),
    "pandas split": (
        "x.json",
        json.dumps({"columns": ["response", "captions"], "index": [0, 1],
                    "data": [[CAPTIONS[k], REFERENCES[k]] for k in CAPTIONS]}),
    ),
    "pictures in base64": (
        "x.tsv",
        table([["index", "image", "question", "answer", "prediction"],
               *([str(n), PNG, "Describe.", repr(REFERENCES[k]), CAPTIONS[k]] for n, k in enumerate(CAPTIONS))], "\t"),
    ),
    "results beside facts": (
        "x.json",
        json.dumps({"model": "m", "date": "today", "results": [
            {"doc_id": n, "pred": CAPTIONS[k], "target": REFERENCES[k]} for n, k in enumerate(CAPTIONS)]}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(BOTH))
@pytest.mark.parametrize("given", [False, True])
def test_both_in_one_file(tmp_path, plain, name, given):
    file, text = BOTH[name]
    path = tmp_path / file
    path.write_text(text)
    more = ["-r", path] if given else []
    done = score(path, *more, "-m", "bleu,rouge,cider")
    assert done.values == plain(REFERENCES)


def workbook(rows):
    openpyxl = pytest.importorskip("openpyxl")
    book, stream = openpyxl.Workbook(), io.BytesIO()
    for row in rows:
        book.active.append(row)
    book.save(stream)
    return stream.getvalue()


def test_a_workbook_as_vlmevalkit_writes_it(tmp_path, plain):
    rows = [["index", "image", "answer", "prediction"],
            *([n, PNG, json.dumps(REFERENCES[k]), CAPTIONS[k]] for n, k in enumerate(CAPTIONS))]  # fmt: skip
    (tmp_path / "x.xlsx").write_bytes(workbook(rows))
    assert score(tmp_path / "x.xlsx", "-m", "bleu,rouge,cider").values == plain(REFERENCES)
    (tmp_path / "r.xlsx").write_bytes(
        workbook([["image_id", "caption"], *([int(k), t] for k, t in rows_of(REFERENCES))])
    )
    (tmp_path / "c.json").write_text(json.dumps(CAPTIONS))
    done = score(tmp_path / "c.json", "-r", tmp_path / "r.xlsx", "-m", "bleu,rouge,cider")
    assert done.values == plain(REFERENCES)


REFERENCE_FILES = {
    "semicolons": ("r.csv", table([["image_id", "caption"], *rows_of(REFERENCES)], ";"), REFERENCES),
    "pipes": ("r.txt", piped([("image_name", " comment"), *rows_of(REFERENCES)]), REFERENCES),
    "tabs without a header": ("r.txt", piped(rows_of(REFERENCES), "\t"), REFERENCES),
    "file names, a colon": ("r.txt", "".join(f"{k}.jpg: {text}\n" for k, text in rows_of(REFERENCES)), REFERENCES),
    "file names and numbers, a blank": (
        "r.txt", "".join(f"{k}.jpg#{n} {text}\n" for k, listed in REFERENCES.items() for n, text in enumerate(listed)),
        REFERENCES,
    ),
    "numbers after #, in a cell": (
        "r.csv",
        table([["image", "caption"], *((f"{k}.jpg#{n}", t) for k, ts in REFERENCES.items() for n, t in enumerate(ts))]),
        REFERENCES,
    ),
    "a header with a blank": ("r.txt", "image_id caption\n" + "".join(f"{k} {t}\n" for k, t in rows_of(REFERENCES)), REFERENCES),
    "pandas' index": (
        "r.csv", table([["Unnamed: 0", "image", "caption"],
                        *((str(n), *row) for n, row in enumerate(rows_of(REFERENCES)))]), REFERENCES,
    ),
    "a number per row beside the file": (
        "r.csv", table([["index", "file_name", "caption"],
                        *((str(n), f"{k}.jpg", t) for n, (k, t) in enumerate(rows_of(REFERENCES), 1))]), REFERENCES,
    ),
    "a number per row beside a file of an unknown name": (
        "r.csv",
        table([["id", "which", "caption"], *((str(n), f"{k}.jpg", t) for n, (k, t) in enumerate(rows_of(REFERENCES)))]),
        REFERENCES,
    ),
    "pandas by row": (
        "r.json", json.dumps({str(n): {"image": f"{k}.jpg", "caption": t} for n, (k, t) in enumerate(rows_of(REFERENCES))}),
        REFERENCES,
    ),
    "an id of each sentence": (
        "r.json", json.dumps([{"id": n, "sen_id": n, "video_id": k, "caption": t} for n, (k, t) in enumerate(rows_of(REFERENCES))]),
        REFERENCES,
    ),
    "rejected in a table": (
        "r.csv", table([["image_id", "caption", "is_rejected"], *((*row, "False") for row in rows_of(REFERENCES)),
                        ["101", "quality issues", "True"], ["102", "nothing", "1"]]), REFERENCES,
    ),
    "precanned in lines": (
        "r.jsonl", lines([*({"image_id": k, "caption": t, "is_precanned": False} for k, t in rows_of(REFERENCES)),
                          {"image_id": 102, "caption": "too dark", "is_precanned": True}]), REFERENCES,
    ),
    "a tuple in a cell": (
        "r.csv", table([["image_id", "caption"], *([k, repr(tuple(ts))] for k, ts in REFERENCES.items())]), REFERENCES,
    ),
    "objects in a cell": (
        "r.csv", table([["cocoid", "sentences"], *([k, json.dumps([{"raw": t} for t in ts])] for k, ts in REFERENCES.items())]),
        REFERENCES,
    ),
    "pandas' objects in a cell": (
        "r.csv", table([["cocoid", "sentences"], *([k, repr([{"raw": t, "sentid": 1} for t in ts])] for k, ts in REFERENCES.items())]),
        REFERENCES,
    ),
    "a list spelt in JSON text": (
        "r.json", json.dumps([{"image_id": k, "answer": json.dumps(ts)} for k, ts in REFERENCES.items()]), REFERENCES,
    ),
    "numbered without a dash": ("r.csv", wide(["caption1", "caption2"]), REFERENCES),
    "numbered from nought": ("r.tsv", wide(["caption_0", "caption_1"], "\t"), REFERENCES),
    "numbered with blanks": ("r.csv", wide(["Caption 1", "Caption 2"]), REFERENCES),
    "numbered objects, flattened": ("r.csv", wide(["sentences.0.raw", "sentences.1.raw"]), REFERENCES),
    "a wide table with an empty cell": (
        "r.csv", table([["image_id", "ref1", "ref2"], ["101", ONE["101"][0], ""], ["102", ONE["102"][0], ""]]), ONE,
    ),
    "VATEX in one language": (
        "r.json", json.dumps([{"videoID": k, "enCap": ts} for k, ts in REFERENCES.items()]), REFERENCES,
    ),
    "MSVD's columns": (
        "r.csv", table([["VideoID", "Description"], *rows_of(REFERENCES)]), REFERENCES,
    ),
    "lists of one length": (
        "r.json", json.dumps({"cocoid": [int(k) for k, _ in rows_of(REFERENCES)], "text": [t for _, t in rows_of(REFERENCES)]}),
        REFERENCES,
    ),
    "padded ids in file names": (
        "r.jsonl", lines({"image_path": f"val/COCO_val2014_{int(k):012}.jpg", "captions": ts} for k, ts in REFERENCES.items()),
        REFERENCES,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(REFERENCE_FILES))
def test_files_of_references(tmp_path, plain, name):
    file, text, meant = REFERENCE_FILES[name]
    (tmp_path / file).write_text(text)
    (tmp_path / "c.json").write_text(json.dumps([{"image_id": int(k), "caption": c} for k, c in CAPTIONS.items()]))
    done = score(tmp_path / "c.json", "-r", tmp_path / file, "-m", "bleu,rouge,cider")
    assert done.values == plain(meant)
    told = done.files[1]
    assert (told["images"], told["captions"]) == (2, sum(map(len, meant.values())))


CANDIDATE_FILES = {
    "LLaVA": ("c.jsonl", lines({"question_id": k, "prompt": "Describe.", "text": c} for k, c in CAPTIONS.items())),
    "answers": ("c.jsonl", lines({"question_id": int(k), "question": "?", "answer": c} for k, c in CAPTIONS.items())),
    "a list of one": ("c.csv", table([["image_id", "prediction"], *([k, json.dumps([c])] for k, c in CAPTIONS.items())])),
    "semicolons": ("c.csv", table([["id", "caption"], *CAPTIONS.items()], ";")),
    "predictions beside people's": (
        "c.csv", table([["image_id", "caption", "prediction"], *([k, "no", c] for k, c in CAPTIONS.items())]),
    ),
    "an evaluation": (
        "c.json", json.dumps({"overall": {"CIDEr": 1}, "imgToEval": {
            k: {"image_id": int(k), "caption": c, "CIDEr": 0.5} for k, c in CAPTIONS.items()}}),
    ),
    "rows doubled": (
        "c.json", json.dumps([{"image_id": int(k), "caption": c} for k, c in [*CAPTIONS.items(), *CAPTIONS.items()]]),
    ),
    "a picture object": (
        "c.jsonl", lines({"image": {"bytes": None, "path": f"x/{k}.jpg"}, "caption": c, "imgid": int(k)}
                         for k, c in CAPTIONS.items()),
    ),
    "capitals": ("c.csv", table([["Image ID", "Generated Caption"], *CAPTIONS.items()])),
    "a byte order mark": ("c.csv", "\ufeff" + table([["image_id", "caption"], *CAPTIONS.items()])),
}  # fmt: skip


@pytest.mark.parametrize("name", list(CANDIDATE_FILES))
def test_files_of_candidates(tmp_path, plain, name):
    file, text = CANDIDATE_FILES[name]
    (tmp_path / file).write_text(text, encoding="utf-8")
    (tmp_path / "r.json").write_text(json.dumps(REFERENCES))
    done = score(tmp_path / file, "-r", tmp_path / "r.json", "-m", "bleu,rouge,cider")
    assert done.values == plain(REFERENCES)


NUMPY = "\"['Two girls paint .'\n 'Girls beside a fence .']\""
REFUSED = {
    "predictions alone": (table([["image_id", "prediction"], *CAPTIONS.items()]), ["predictions", "never"]),
    "names that nobody knows": ("pic;words\n101.jpg;two girls\n102.jpg;a goat\n", ["'pic', 'words'", "id-column"]),
    "a table by its structure": ("101|two girls|5\n102|a goat|4\n", ["header"]),
    "numbered lines": ("1, two girls\n2, a goat\n", ["--references-format text"]),
    "two languages": (
        json.dumps([{"videoID": "101", "enCap": ["a"], "chCap": ["b"]}]), ['"enCap" or "chCap"', "-caption-column"],
    ),
    "two of the same kind": (table([["image_id", "references", "gt"], ["101", "a", "b"]]), ['"references" or "gt"']),
    "NumPy's list": (f"image_id,captions\n101,{NUMPY}\n", ["NumPy", "json.dumps"]),
    "NumPy's array": ("image_id,captions\n101,\"array(['a'], dtype=object)\"\n", ["NumPy", "json.dumps"]),
    "numbers as ids of images": (
        table([["image_id", "file_name", "caption"], *((str(n), f"{k}.jpg", t) for n, (k, t) in enumerate(rows_of(REFERENCES)))]),
        ['"image_id" or "file_name"', "--references-id-column"],
    ),
    "two files per row": (
        table([["image", "file_name", "caption"], ["101.jpg", "7.jpg", "a"], ["102.jpg", "8.jpg", "b"]]),
        ['"image" or "file_name"'],
    ),
    "one object": (json.dumps({"name": "x", "label": "dog", "said": "a dog runs"}), ["'name', 'label', 'said'", "--references-format dict"]),
    "columns of two lengths": (json.dumps({"image_id": [101, 102], "caption": ["a"]}), ["different lengths"]),
    "all rejected": (
        json.dumps({"annotations": [{"image_id": 101, "caption": "a", "is_rejected": True}]}), ["is_rejected"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_cannot_be_understood_is_refused(tmp_path, name):
    text, parts = REFUSED[name]
    (tmp_path / "r").write_text(text, encoding="utf-8")
    (tmp_path / "c.json").write_text(json.dumps(CAPTIONS))
    done = score(tmp_path / "c.json", "-r", tmp_path / "r")
    assert done.status == 2
    assert [part for part in parts if part not in done.err] == [], done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    "text",
    [
        "a man, a dog\na cat, a tree\n",
        "a man, image\nthe dog\n",
        "two girls; one boy\nthree men; a dog\n",
        "a caption | with a pipe\nanother | one\n",
        "2 dogs run\na cat sits\n",
        "in 2014, a man\nin 2015, a cat\n",
        "Caption this: a dog\nA photo of a cat\n",
        "(a dog)\n[a cat]\n",
    ],
)
def test_plain_captions_stay_text(tmp_path, text):
    (tmp_path / "c.txt").write_text(text)
    (tmp_path / "r.txt").write_text("a man and a dog\na cat in a tree\n")
    done = score(tmp_path / "c.txt", "-r", tmp_path / "r.txt", "-m", "bleu1")
    assert [file["format"] for file in done.files] == ["text", "text"]
    assert done.images == 2


def test_ids_and_names_of_files_that_contradict_each_other(tmp_path):
    """Row 0 is about 1.jpg, row 1 about 0.jpg: whether results for 0 and 1 mean rows or files cannot be known."""
    (tmp_path / "r.csv").write_text("id,file_name,caption\n0,1.jpg,a dog runs\n1,0.jpg,a cat sits\n")
    (tmp_path / "c.json").write_text(json.dumps({"0": "a dog runs", "1": "a cat sits"}))
    done = score(tmp_path / "c.json", "-r", tmp_path / "r.csv", "-m", "bleu1")
    assert done.status == 2
    assert "--references-id-column" in done.err
    for column, value in (("id", 1.0), ("file_name", 1 / 3)):
        told = score(tmp_path / "c.json", "-r", tmp_path / "r.csv", "-m", "bleu1", "--references-id-column", column)
        assert told.values["bleu1"] == pytest.approx(value)


def test_differing_rows_of_one_image_are_still_refused(tmp_path):
    (tmp_path / "c.json").write_text(json.dumps([{"image_id": 1, "caption": "a"}, {"image_id": 1, "caption": "b"}]))
    done = score(tmp_path / "c.json", "-m", "repetition")
    assert done.status == 2
    assert "--multiple" in done.err
    both = score(tmp_path / "c.json", "-m", "repetition", "--multiple")
    assert both.table["systems"][0]["captions"] == 2


def test_identical_rows_are_kept_where_an_image_has_several(tmp_path):
    (tmp_path / "c.json").write_text(json.dumps([{"image_id": 1, "caption": "a"}, {"image_id": 1, "caption": "a"}]))
    assert score(tmp_path / "c.json", "-m", "repetition", "--multiple").table["systems"][0]["captions"] == 2


@pytest.mark.parametrize(
    ("command", "flag"),
    [
        (["df", "build", "FILE", "-o", "x.npz"], "--caption-column"),
        (["vocabulary", "build", "FILE", "-o", "x.json"], "--caption-column"),
        (["retrieve", "FILE", "--images", "scenes"], "--caption-column"),
        (["embed", "--text", "--captions", "FILE", "-o", "x"], "--caption-column"),
        (["pack", "FILE", "-i", ".", "-o", "shards"], "--caption-column"),
        (["score", "FILE", "-m", "repetition"], "--caption-column"),
        (["score", "c.json", "-r", "FILE"], "--references-caption-column"),
        (
            ["train", "--set", "data.train=FILE", "--set", "data.images=.", "--dry-run"],
            "--set data.caption_column=NAME",
        ),
    ],
)
def test_a_refusal_names_the_flag_of_its_command(tmp_path, monkeypatch, command, flag):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.json").write_text(json.dumps(CAPTIONS))
    (tmp_path / "FILE").write_text("image_id,caption,text\n101,a,b\n102,c,d\n")
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 2
    assert f'"caption" or "text"; say which with {flag}\n' in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["FILE", "c.json"]
