"""Random tables: what their owner means is read, or the file is refused; no column is ever read as two things."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import subprocess
import sys

import pytest
from case_files import Scored, score

from capreward.data.caption_files import read_captions, read_captions_with_references, read_references
from capreward.data.reference_match import match
from capreward.errors import InputError

TABLES = int(os.environ.get("CAPREWARD_TABLES", "600"))

IDS = ["image_id", "Image ID", "imageId", "imgid", "cocoid", "video_id", "id", "key", "question_id", "index"]
FILES = ["image", "filename", "file_name", "image_path", "img", "Image Name", "path"]
PREDICTIONS = ["prediction", "Predictions", "generated_caption", "caption_predicted", "hypothesis", "output", "pred",
               "model_output", "response", "mt", "candidate", "predCaption"]  # fmt: skip
REFERENCES = [
    "references",
    "reference",
    "refs",
    "ground_truth",
    "gts",
    "gt_caption",
    "reference_strs",
    "Ref",
    "targets",
]
CAPTIONS = ["caption", "captions", "text", "sentence", "description", "comment", "raw", "answer", "enCap", "utterance"]
JUNK = [
    "width",
    "url",
    "model",
    "prompt",
    "caption_id",
    "tokens",
    "n_captions",
    "category",
    "license",
    "foo",
    "Unnamed: 0",
]
WORDS = ["a", "the", "dog", "cat", "man", "woman", "runs", "sits", "on", "near", "red", "blue", "table", "with", "two"]


def sentence(lot):
    return " ".join(lot.choice(WORDS) for _ in range(lot.randint(2, 7)))


class Case:
    """A table whose owner's meaning is known."""

    def __init__(self, seed):
        self.lot = lot = random.Random(seed)
        self.n = lot.randint(2, 5)
        self.columns = {}
        self.refs = {}
        self.meant = {"id": [], "captions": [""], "references": [""]}
        self.kind = lot.choice(["both", "captions", "references"])
        self._ids()
        if self.kind in ("both", "captions"):
            name = lot.choice(PREDICTIONS if lot.random() < 0.7 else CAPTIONS)
            self.captions = [sentence(lot) for _ in range(self.n)]
            self._put("captions", {name: self.captions})
        if self.kind in ("both", "references"):
            self._references()
        if lot.random() < 0.4:  # a column that could be meant as well
            self._decoy(lot.choice(PREDICTIONS + CAPTIONS + REFERENCES))
        if lot.random() < 0.2:
            self.columns.setdefault(lot.choice(["id", "index", "key"]), [str(i) for i in range(self.n)])
        for _ in range(lot.randint(0, 3)):
            self._decoy(lot.choice(JUNK))

    def _ids(self):
        lot = self.lot
        names = lot.sample(range(1000, 9999), self.n)
        self.keys = [str(k) if lot.random() < 0.5 else f"{k}.jpg" for k in names[:1]] * 0 or [str(k) for k in names]
        style = lot.choice(["id", "file", "both", "rows"])
        if style == "file":
            self.keys = [f"{key}.jpg" for key in self.keys]
            self._put("id", {lot.choice(FILES): self.keys})
        elif style == "both":
            self._put("id", {lot.choice(IDS): self.keys})
            self.columns.setdefault(lot.choice(FILES), [f"photo {key}.jpg" for key in self.keys])
        elif style == "rows":  # the id numbers the rows, several of which are about one image
            shared = [f"{key}.jpg" for key in self.keys[: max(1, self.n - 1)]]
            self.keys = [shared[min(i, len(shared) - 1)] for i in range(self.n)]
            self._put("id", {lot.choice(FILES): self.keys})
            self.columns.setdefault(
                lot.choice(["id", "index", "idx"]), [str(i + lot.choice([0])) for i in range(self.n)]
            )
        else:
            self._put("id", {lot.choice(IDS): self.keys})

    def _references(self):
        lot = self.lot
        self.lists = [[sentence(lot) for _ in range(3)] for _ in range(self.n)]
        style = lot.choice(["list", "python", "wide", "one"])
        name = lot.choice(REFERENCES if lot.random() < 0.6 else CAPTIONS)
        if style == "wide":
            dash = lot.choice(["_", "", " ", "."])
            self._put("references", {f"{name}{dash}{k + 1}": [row[k] for row in self.lists] for k in range(3)})
        elif style == "one":
            self.lists = [row[:1] for row in self.lists]
            self._put("references", {name: [row[0] for row in self.lists]})
        else:
            spell = json.dumps if style == "list" else repr
            self._put("references", {name: [spell(row) for row in self.lists]})

    def _put(self, role, columns):
        for name in columns:  # a name that is taken already
            self.columns.pop(name, None)
        self.meant[role] = list(columns)
        self.columns.update(columns)

    def _decoy(self, name):
        # An owner who has a "prediction" and means the "text" beside it cannot be understood by anybody.
        if name in PREDICTIONS and self.kind != "references" and self.meant["captions"][0] in CAPTIONS:
            return
        if name in REFERENCES and self.kind != "captions" and not set(self.meant["references"]) & set(REFERENCES):
            return
        if f"{name}.1" in self.columns:
            return  # pandas names the second of two columns "caption" so: they are one family
        self.columns.setdefault(name, [sentence(self.lot) for _ in range(self.n)])

    def text(self):
        names = list(self.columns)
        self.lot.shuffle(names)
        rows = [[self.columns[name][i] for name in names] for i in range(self.n)]
        form = self.lot.choice([",", "\t", ";", "|", "list", "jsonl", "columns"])
        if form == "list":
            return json.dumps([dict(zip(names, row, strict=True)) for row in rows])
        if form == "jsonl":
            return "\n".join(json.dumps(dict(zip(names, row, strict=True))) for row in rows) + "\n"
        if form == "columns":
            return json.dumps({name: [row[k] for row in rows] for k, name in enumerate(names)})
        if form == "|":
            return "\n".join("|".join(row) for row in [names, *rows]) + "\n"
        stream = io.StringIO()
        csv.writer(stream, delimiter=form).writerows([names, *rows])
        return stream.getvalue()

    def expected(self):
        """The captions and references that the owner means, by id."""
        captions, references = {}, {}
        for i, key in enumerate(self.keys):
            if self.kind != "references":
                captions.setdefault(key, []).append(self.captions[i])
            if self.kind != "captions":
                references.setdefault(key, []).extend(self.lists[i])
        return captions, references


def read(case, path):
    """What the reader makes of it: captions and references by id."""
    captions, references, columns = {}, {}, []
    if case.kind == "both":
        table, found = read_captions_with_references(path)
        match(table, found, multiple=True)
        references = found.references
        columns = [table.reports[0].column, found.reports[0].column]
    elif case.kind == "captions":
        table = read_captions(path)
    if case.kind == "references":
        references = read_references(path).references
    else:
        for key, caption in zip(table.keys, table.captions, strict=True):
            captions.setdefault(key, []).append(caption)
    return captions, references, columns


def refused(case, path):
    """What the reader makes of it, or its sentence against it."""
    try:
        return read(case, path)
    except InputError as error:
        return str(error)


def outcome(seed, path):
    """``read`` or ``refused``; anything else fails."""
    case = Case(seed)
    text = case.text()
    path.write_text(text, encoding="utf-8")
    done = refused(case, path)
    if isinstance(done, str):
        assert "\n" not in done
        return "refused"
    captions, references, columns = done
    # An image may go by another of its names; what is said of it may not change, nor the order of the images.
    found = list(captions.values()), list(references.values())
    meant = tuple(list(known.values()) for known in case.expected())
    assert found == meant, f"seed {seed}: {case.meant} read as {columns} in\n{text}"
    assert len(set(columns)) == len(columns)
    return "read"


def scored(seed, folder, run):
    """``read`` if the command gives the number of the same captions as plain JSON, ``refused`` if it refuses."""
    case = Case(seed)
    if case.kind != "both":
        return "another kind"
    path, files = folder / "table", [folder / name for name in ("captions.json", "references.json")]
    path.write_text(case.text(), encoding="utf-8")
    for file, known in zip(files, case.expected(), strict=True):
        file.write_text(json.dumps(known))
    metrics = ["-m", "bleu,cider", "--multiple"]
    done = run(path, *metrics)
    if done.status:
        assert (done.status, done.out, done.err.count("\n")) == (2, "", 1), done.err
        return "refused"
    assert done.values == run(files[0], "-r", files[1], *metrics).values, f"seed {seed}"
    return "read"


def command(*arguments):
    """Run the console script's function in a process of its own."""
    given = ["score", *map(str, arguments), "--json", "--resamples", "0"]
    done = subprocess.run([sys.executable, "-m", "capreward", *given], capture_output=True, text=True)
    return Scored(given, done.returncode, done.stdout, done.stderr)


def test_random_tables_are_read_as_meant_or_refused(tmp_path):
    outcomes = [outcome(seed, tmp_path / "table") for seed in range(TABLES)]
    # A reader that refuses all would pass: two thirds of the tables have one reading alone.
    assert outcomes.count("read") > 0.6 * TABLES


def test_random_tables_give_the_right_number_or_none(tmp_path):
    outcomes = [scored(seed, tmp_path, score) for seed in range(60)]
    assert outcomes.count("read") >= 8


@pytest.mark.slow
def test_ten_thousand_tables(tmp_path):
    outcomes = [outcome(seed, tmp_path / "table") for seed in range(10_000)]
    assert outcomes.count("read") > 6_000


@pytest.mark.slow
def test_two_hundred_tables_through_the_command_line(tmp_path):
    outcomes = [scored(seed, tmp_path, command) for seed in range(600)]
    assert outcomes.count("read") + outcomes.count("refused") >= 150
    assert outcomes.count("read") >= 80
