"""The command line as a person meets it: what is printed where, what is written, what is refused and how."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from places import ROOT

import capreward
from capreward.commands import COMMANDS, main

EXAMPLES = ROOT / "examples"
CAPTIONS, BASELINE = str(EXAMPLES / "captions.json"), str(EXAMPLES / "baseline.json")
REFERENCES = str(EXAMPLES / "references.json")


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def refused(*arguments):
    """Run what must be refused; the one sentence it prints."""
    done = run(*arguments)
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith(("Error: ", "Usage: "))
    return done.stderr


def process(*arguments, **environment):
    return subprocess.run(
        [sys.executable, ROOT / "cli.py", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        cwd=ROOT,
        check=False,
    )


def test_json_equals_the_python_call():
    done = run("score", CAPTIONS, BASELINE, "-r", REFERENCES, "-m", "bleu,rouge,cider", "--json")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    scores = capreward.score(CAPTIONS, REFERENCES, metrics="bleu,rouge,cider")
    assert [s["name"] for s in found["systems"]] == ["captions", "baseline"]
    assert found["systems"][0]["captions"] == found["systems"][0]["images"] == 12
    for name, row in found["systems"][0]["scores"].items():
        assert row["value"] == scores[name].value
        assert row["interval"] == list(scores[name].interval())
        assert capreward.Signature.parse(row["signature"]) == scores[name].signature
    assert found["bootstrap"] == {"resamples": 1000, "level": 0.95, "seed": 12345}


def test_the_table_goes_to_stderr_and_data_to_stdout():
    done = run("score", CAPTIONS, BASELINE, "-r", REFERENCES, "-m", "bleu4,repetition")
    assert done.stdout == ""
    for text in (
        "captions",
        "baseline",
        "BLEU-4",
        "repetition ↓",
        "12 of 12 images matched",
        "bleu4|reflen:closest|tok:ptb",
    ):
        assert text in done.stderr
    assert "\x1b" not in done.stderr, "no colour where there is no terminal"
    quiet = run("score", CAPTIONS, "-r", REFERENCES, "--quiet", "--json")
    assert quiet.stderr == ""
    assert json.loads(quiet.stdout)


def test_markdown_and_latex():
    done = run(
        "score", CAPTIONS, BASELINE, "-r", REFERENCES, "-m", "rouge,length", "--percent", "--markdown", "--latex", "-q"
    )
    scores = [capreward.score(c, REFERENCES, metrics="rouge")["rouge"].value for c in (CAPTIONS, BASELINE)]
    lines = done.stdout.splitlines()
    assert lines[0] == "| system | ROUGE-L | length |"
    assert lines[2].startswith(f"| captions | {100 * scores[0]:.2f} [")
    assert rf"captions & \textbf{{{100 * scores[0]:.2f}}}" in done.stdout
    assert f"baseline & {100 * scores[1]:.2f}" in done.stdout
    assert r"\bottomrule" in done.stdout
    assert r" & 9.0000 \\" in done.stdout, "a count is no share of anything"


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_per_caption_files(tmp_path, suffix):
    path = tmp_path / f"out.{suffix}"
    done = run("score", CAPTIONS, BASELINE, "-r", REFERENCES, "-m", "rouge,cider", "--per-caption", path)
    assert done.exit_code == 0
    if suffix == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        rows = parquet.read_table(path).to_pylist()
    elif suffix == "csv":
        rows = list(csv.DictReader(path.open()))
    else:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) == 24
    assert [r["system"] for r in rows[11:13]] == ["captions", "baseline"]
    scores = capreward.score(CAPTIONS, REFERENCES, metrics="rouge,cider")
    np.testing.assert_array_equal([float(r["cider"]) for r in rows[:12]], scores["cider"].per_caption)
    assert rows[0]["image_id"] == "beach_01"
    assert rows[0]["caption"] == scores.captions[0]
    assert os.listdir(tmp_path) == [path.name]


def test_intervals_can_be_left_out():
    found = json.loads(run("score", CAPTIONS, "-r", REFERENCES, "--resamples", 0, "--json").stdout)
    assert found["bootstrap"] is None
    assert "interval" not in found["systems"][0]["scores"]["rouge"]


def test_references_in_the_same_file(tmp_path):
    path = tmp_path / "both.jsonl"
    path.write_text(json.dumps({"image_id": 1, "caption": "a dog", "references": ["a dog", "the dog"]}) + "\n")
    found = json.loads(run("score", path, "-m", "rouge", "--json").stdout)
    assert found["systems"][0]["scores"]["rouge"]["value"] == 1.0


def test_plugins_and_expressions(tmp_path):
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "import capreward\n"
        "@capreward.reward('shout', needs={'images'})\n"
        "def shout(captions, images, **context):\n    return [1.0 for _ in captions]\n"
        "@capreward.reward('vowels')\n"
        "def vowels(captions, **context):\n"
        '    """Vowels, counted."""\n'
        "    return [sum(c in 'aeiou' for c in text) for text in captions]\n"
    )
    done = run("score", CAPTIONS, "--plugin", plugin, "-m", "vowels - 2*length", "--json")
    captions = [r["caption"] for r in json.loads(Path(CAPTIONS).read_text())]
    expected = np.mean([sum(c in "aeiou" for c in t) - 2 * len(t.split()) for t in captions])
    assert json.loads(done.stdout)["systems"][0]["scores"]["vowels - 2*length"]["value"] == pytest.approx(expected)
    assert "Vowels, counted." in run("ls", "--plugin", plugin).stdout
    assert "shout needs images; give --images FOLDER (none of the 12 images" in refused(
        "score", CAPTIONS, "--plugin", plugin, "-m", "shout"
    )


def test_drop_candidate_from_references(tmp_path):
    captions, references = tmp_path / "c.json", tmp_path / "r.json"
    captions.write_text(json.dumps({"1": "a red dog", "2": "two men"}))
    references.write_text(json.dumps({"1": ["a red dog", "a dog"], "2": ["some men"]}))
    kept = run("score", captions, "-r", references, "-m", "rouge", "--json", "-q")
    dropped = run(
        "score", captions, "-r", references, "-m", "rouge", "--json", "-q", "--drop-candidate-from-references"
    )
    values = [json.loads(d.stdout)["systems"][0]["scores"]["rouge"]["value"] for d in (kept, dropped)]
    expected = capreward.score(["a red dog", "two men"], [["a dog"], ["some men"]], metrics="rouge")["rouge"].value
    assert values[0] > values[1] == expected


def test_df_build_and_use(tmp_path):
    path = tmp_path / "df.npz"
    done = run("df", "build", REFERENCES, "-o", path)
    assert done.exit_code == 0
    assert "12 images" in done.stderr
    shown = json.loads(run("df", "show", path, "--json").stdout)
    assert shown["images"] == 12
    found = json.loads(run("score", CAPTIONS, "-r", REFERENCES, "-m", f"cider,cider-d(df={path})", "--json").stdout)
    values = [row["value"] for row in found["systems"][0]["scores"].values()]
    assert values[0] == pytest.approx(values[1], rel=1e-12)


def test_ls_and_info():
    names = [line.split()[0] for line in run("ls", "evaluators").stdout.splitlines()]
    assert names[:3] == ["bleu", "bleu1", "bleu2"]
    assert {r["name"] for r in json.loads(run("ls", "formats", "--json").stdout)} >= {"coco", "karpathy", "jsonl"}
    assert run("ls", "tokenizers").stdout.startswith("ptb ")
    found = json.loads(run("info", "--json").stdout)
    assert found["capreward"] == capreward.__version__
    assert {"torch", "java", "gpu", "spice", "meteor data"} <= set(found)


@pytest.mark.parametrize("name", [*COMMANDS, "df build", "df show"])
def test_every_command_has_help(name):
    done = run(*name.split(), "--help")
    assert done.exit_code == 0
    assert "Usage:" in done.stdout


def test_help_imports_nothing_heavy():
    code = "import sys; sys.argv = ['capreward', '--help']\ntry:\n    import capreward.commands as c; c.main()\n"
    code += (
        "except SystemExit: pass\n"
        "print(sorted(m for m in sys.modules if m in ('torch', 'numpy', 'rich', 'trainers', 'jinja2')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_scoring_text_imports_neither_torch_nor_jinja2():
    code = f"import sys\nfrom capreward.commands import main\ntry:\n    main(['score', {CAPTIONS!r}, '-r', {REFERENCES!r}, '-q'])\n"
    code += "except SystemExit: pass\nprint([m for m in ('torch', 'jinja2') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_cli_py_is_the_same_command():
    assert process("--version").stdout == f"capreward {capreward.__version__}\n"
    assert process("score", CAPTIONS, "-r", "nowhere.json").returncode == 2


def test_suggestions():
    assert "did you mean score?" in refused("scor")
    assert "did you mean cider" in refused("score", CAPTIONS, "-r", REFERENCES, "-m", "cidre")
    assert "unknown tokenizer 'ptp'" in refused("score", CAPTIONS, "-r", REFERENCES, "--tokenizer", "ptp")
    assert "column 8" in refused("score", CAPTIONS, "-r", REFERENCES, "-m", "cider +")


def test_refused_before_any_work(tmp_path):
    assert "must end in .jsonl" in refused("score", CAPTIONS, "-r", REFERENCES, "--per-caption", tmp_path / "x.txt")
    assert "there is no folder" in refused("score", CAPTIONS, "-r", REFERENCES, "--per-caption", tmp_path / "no/x.csv")
    assert "there is no such file" in refused("score", CAPTIONS, "--plugin", tmp_path / "no.py")
    sentence = refused("score", CAPTIONS)
    assert "bleu needs references; " in sentence
    assert "give the file of the references with --references FILE" in sentence
    assert "is given twice" in refused("score", CAPTIONS, CAPTIONS, "-r", REFERENCES)
    assert "must end in .npz" in refused("df", "build", REFERENCES, "-o", tmp_path / "x.pkl")
    broken = tmp_path / "broken.py"
    broken.write_text("1/0")
    assert "ZeroDivisionError" in refused("score", CAPTIONS, "--plugin", broken)
    assert os.listdir(tmp_path) == ["broken.py"]


def test_an_unwritable_output_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "replace", lambda *a: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    message = refused("score", CAPTIONS, "-r", REFERENCES, "-q", "--per-caption", tmp_path / "x.csv")
    assert "No space left on device" in message
    assert os.listdir(tmp_path) == []


BAD = {
    "not-json": ("{'a': 1}", "not valid JSON"),
    "truncated": ('[{"image_id": 1, "caption": "a do', "cut off"),
    "number": ('[{"image_id": "beach_01", "caption": 3}]', "beach_01"),
    "null": ('[{"image_id": "beach_01", "caption": null}]', "beach_01"),
    "mixed": ('[{"image_id": "beach_01", "caption": "x"}, "y"]', "row 2"),
    "duplicate": ('[{"image_id": "beach_01", "caption": "x"}, {"image_id": "beach_01", "caption": "y"}]', "--multiple"),
    "no-overlap": ('[{"image_id": "elsewhere", "caption": "x"}]', "elsewhere"),
    "missing-ids": ('{"beach_01": "x", "elsewhere": "y"}', "--allow-missing"),
    "empty": ("", "empty"),
    "nan": ("image_id,caption\nbeach_01,NaN\n", "line 2"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_caption_files_are_refused_in_one_sentence(tmp_path, kind):
    content, expected = BAD[kind]
    path = tmp_path / "captions.dat"
    path.write_text(content)
    message = refused("score", path, "-r", REFERENCES)
    assert expected in message
    assert message.count("\n") == 1


def test_bad_bytes_and_missing_files(tmp_path):
    path = tmp_path / "latin.json"
    path.write_bytes('{"beach_01": "café"}'.encode("latin-1"))
    assert "UTF-8" in refused("score", path, "-r", REFERENCES)
    path.write_bytes(b"\xef\xbb\xbf" + b'{"beach_01": "a dog"}')
    assert run("score", path, "-r", REFERENCES).exit_code == 0
    assert "captions.jsn" in refused("score", str(EXAMPLES / "captions.jsn"), "-r", REFERENCES)
    path.write_text('{"beach_01": []}')
    assert "beach_01" in refused("score", CAPTIONS, "-r", path)


def test_allow_missing_and_empty_captions(tmp_path):
    path = tmp_path / "some.json"
    path.write_text('{"beach_01": "a dog", "elsewhere": "y", "park_01": ""}')
    done = run("score", path, "-r", REFERENCES, "--allow-missing", "--json")
    found = json.loads(done.stdout)
    assert found["systems"][0]["images"] == 2
    assert any("elsewhere" in note for note in found["notes"])
    assert any("empty" in note for note in found["notes"])


def test_files_are_tokenized_as_the_original_does_and_rewards_caption_by_caption(tmp_path):
    """The original looks at the caption after one that ends in a single letter and a dot; a reward must not."""
    captions, references = {"1": "a letter K.", "2": "The dog"}, {"1": ["a letter k", "a K."], "2": ["The dog"]}
    whole = capreward.score(captions, references, metrics="rouge")["rouge"]
    alone = capreward.load("rouge")(capreward.Samples(list(captions.values()), references=list(references.values())))
    assert whole.per_caption.tolist() == [1.0, 1.0]
    assert alone[0] == pytest.approx(2.44 * (2 / 3) / (1 + 1.44 * 2 / 3))
    assert "tok:ptb-joined" in str(whole.signature)
