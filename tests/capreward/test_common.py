"""Systems scored on different images: said under every table, and restricted by --common."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

import capreward
from capreward import InputError, Samples
from capreward.commands import main
from capreward.common_images import common_images, restrict_to_common, shared_count_if_different

REFERENCES = {str(n): [f"a dog number {n} runs", f"dog {n} is running"] for n in range(6)}
XE = {str(n): f"a dog {n} runs" for n in range(6)}
RL = {f"{n:03d}.jpg": f"dog number {n}" for n in (5, 3, 1, 2)}
FOOTNOTE = "The systems are scored on different images (xe 6, rl 4; 4 shared): values do not compare."


@pytest.fixture
def files(tmp_path):
    for name, content in (("xe", XE), ("rl", RL), ("refs", REFERENCES), ("same", dict(reversed(XE.items())))):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return tmp_path


def run(files, *arguments, names=("xe", "rl"), metrics="rouge,cider,bleu4"):
    asked = [str(files / f"{name}.json") for name in names]
    return CliRunner().invoke(
        main, ["score", *asked, "-r", str(files / "refs.json"), "-m", metrics, *map(str, arguments)]
    )


def test_every_output_says_that_images_differ_and_none_calls_a_value_best(files):
    done = run(files, "--markdown", "--latex", "--resamples", 0)
    assert done.exit_code == 0, done.stderr
    assert f"note: {FOOTNOTE}" in done.stderr
    assert "--common scores the images alone that all caption files describe" in done.stderr
    assert done.stdout.count(FOOTNOTE) == 2, "below the Markdown table and below the LaTeX one"
    assert r"\par\smallskip{\footnotesize The systems" in done.stdout
    assert r"\textbf" not in done.stdout
    assert FOOTNOTE in json.loads(run(files, "--json", "-q").stdout)["notes"]


def test_the_same_images_in_another_order_or_spelling_compare(files):
    done = run(files, "--latex", "--resamples", 0, names=("xe", "same"), metrics="rouge")
    assert "different images" not in done.stdout + done.stderr
    assert r"\textbf" in done.stdout
    assert shared_count_if_different([["1", "2"], ["002.jpg", "COCO_val2014_000000000001.jpg"]]) is None
    assert shared_count_if_different([["1", "2"], ["2", "3"], ["2", "4", "5"]]) == 1
    assert shared_count_if_different([["7", "007"], ["7", "8"]]) == 1, (
        "ids that mean one image count as they are written"
    )
    assert shared_count_if_different([["1"]]) is None


def test_common_scores_the_shared_images_as_if_there_were_no_others(files):
    done = run(files, "--common", "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    alone = {n: XE[n] for n in "1235"}
    expected = capreward.score(alone, {n: REFERENCES[n] for n in "1235"}, metrics="rouge,cider,bleu4")
    xe, rl = found["systems"]
    assert (xe["images"], xe["captions"], rl["images"]) == (4, 4, 4)
    for name in expected:
        assert xe["scores"][name]["value"] == expected[name].value
        assert xe["scores"][name]["signature"] == str(expected[name].signature)
        assert xe["scores"][name]["interval"] == list(expected[name].interval())
    assert found["notes"] == ["xe: 2 captions of images that not all systems describe left out (--common)"]
    assert run(files, "--common", "--latex", "-q").stdout.count(r"\textbf") == 3


def test_common_needs_systems_that_share_images(files):
    assert "give two caption files or more" in run(files, "--common", names=("xe",)).stderr
    (files / "other.json").write_text(json.dumps({"0": "a dog"}))
    done = run(files, "--common", names=("rl", "other"))
    assert done.exit_code == 2
    assert "no image has a caption by all systems" in done.stderr


def test_restricted_samples_keep_what_belongs_to_each_image():
    one = Samples(
        ["p", "q", "r", "s"], references=[["x0"], ["x1"], ["x2"]], images=["i0", "i1", "i2"], item=[2, 0, 1, 2],
        key=["a", "b", "c"],
    )  # fmt: skip
    two = Samples(["t", "u"], references=[["x2"], ["x0"]], key=["c", "a"])
    (first, second), notes = restrict_to_common([one, two])
    assert first.captions == ["p", "q", "s"]
    assert first.caption_keys == ("c", "a", "c")
    assert (first.key, first.images, first.references) == (["a", "c"], ["i0", "i2"], [["x0"], ["x2"]])
    assert first.item.tolist() == [1, 0, 1]
    assert second is two
    assert notes == ["1 caption of images that not all systems describe left out (--common)", ""]
    assert common_images([["b", "a"], ["a", "b", "c"]]) == [["b", "a"], ["b", "a"]]
    with pytest.raises(InputError, match="mean one image"):
        common_images([["7", "07"], ["7"]])


def test_a_gallery_says_it_too(files):
    from capreward.reports.gallery import write_gallery
    from capreward.reports.results import Results, SystemResult

    scores = [capreward.score(c, {k: ["a dog"] for k in c}, metrics="rouge") for c in (XE, {"1": "a dog"})]
    systems = [SystemResult(n, s, {}, len(s.captions)) for n, s in zip(("xe", "one"), scores, strict=True)]
    write_gallery(files / "page.html", Results(systems), lambda key: None)
    text = (files / "page.html").read_text(encoding="utf-8")
    assert "The systems are scored on different images (xe 6, one 1; 1 shared)" in text
    assert np.isfinite(scores[0]["rouge"].value)
