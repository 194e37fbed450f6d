"""SPICE: its own scorer on captions parsed by hand, and a stand-in that misbehaves in its place."""

from __future__ import annotations

import fcntl
import math
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from java_helpers import compile_java, count_users, needs_java, needs_javac, nothing_is_left  # noqa: F401

import capreward.java.corenlp as corenlp_module
from capreward import Samples, load
from capreward.errors import InputError
from capreward.java.corenlp import CORENLP_FILES, spice_class_path
from capreward.java.originals import original_file
from capreward.java.process import JavaError, JavaProcess, JavaTimeout
from capreward.java.runtime import Java
from capreward.java.spice import SPICE_CATEGORIES, SpiceJar

ENGINE = Path(corenlp_module.__file__).parent / "spice_json" / "spice_json.jar"


@pytest.fixture
def corenlp(tmp_path) -> Path:
    """Make a folder with the two files' names: CoreNLP 3.4.1, which has what scoring needs, and no models."""
    folder = tmp_path / "corenlp"
    folder.mkdir()
    (folder / CORENLP_FILES[0]).symlink_to(original_file("tokenizer", "stanford-corenlp-3.4.1.jar"))
    zipfile.ZipFile(folder / CORENLP_FILES[1], "w").close()
    return folder


def test_missing_files_are_named_with_where_they_come_from(tmp_path, monkeypatch):
    monkeypatch.delenv("CAPREWARD_CORENLP", raising=False)
    (tmp_path / CORENLP_FILES[0]).touch()
    with pytest.raises(InputError) as caught:
        spice_class_path(tmp_path)
    message = str(caught.value)
    assert f"{CORENLP_FILES[1]} is not in {tmp_path} (the argument corenlp=)" in message
    assert "https://nlp.stanford.edu/software/stanford-corenlp-full-2015-12-09.zip" in message
    assert "`export CAPREWARD_CORENLP=" in message
    monkeypatch.setenv("CAPREWARD_CORENLP", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"neither is in .*nowhere \(the environment variable CAPREWARD_CORENLP\)"):
        spice_class_path()


def test_the_class_path_follows_the_manifest(corenlp, monkeypatch):
    monkeypatch.setenv("CAPREWARD_CORENLP", str(corenlp))
    jars = spice_class_path()
    names = [jar.name for jar in jars]
    assert names[:4] == ["spice_json.jar", "spice-1.0.jar", CORENLP_FILES[0], "ejml-0.23.jar"]
    assert [jar.parent for jar in jars if jar.name in CORENLP_FILES] == [corenlp, corenlp]
    assert len(jars) == 19
    assert all(jar.is_file() for jar in jars)


def test_spice_checks_its_input_before_it_starts(corenlp):
    spice = SpiceJar(corenlp=corenlp, java=Java(Path("nowhere"), "17", "PATH"))
    assert spice.scores([], []) == []
    with pytest.raises(InputError, match="1 candidates and 0 lists"):
        spice.scores(["a"], [])
    with pytest.raises(InputError, match="item 0 has no reference"):
        spice.scores(["a"], [[]])
    with pytest.raises(InputError, match="threads=0"):
        SpiceJar(corenlp=corenlp, threads=0)


@pytest.mark.java
@needs_java
def test_spice_itself_starts_and_asks_for_the_parser(corenlp):
    with pytest.raises(JavaError, match=r"SPICE failed \(exit status 1\).*englishPCFG\.ser\.gz"):
        SpiceJar(corenlp=corenlp, heap="512M", timeout=60).scores(["a dog"], [["a dog"]])


# What the parser makes of a caption; from here on it is SPICE's own code.
PARSES = {
    "a dog": ["dog"],
    "two brown dogs": ["dog,brown", "dog,two", "dog"],
    "a bike": ["bike"],
    "a bicycle": ["bicycle"],
    "a man rides a horse": ["man,horse,ride", "man", "horse"],
    "a man by a café": ["man,café,by", "man", "café"],
    "nothing": [],
}


@pytest.fixture(scope="module")
def fill_cache(tmp_path_factory):
    return compile_java(tmp_path_factory.mktemp("fill"), "FillCache.java")


@pytest.mark.java
@needs_java
@needs_javac
def test_spice_scores_parsed_captions_as_computed_by_hand(corenlp, fill_cache, tmp_path):
    cache = tmp_path / "a cache"
    cache.mkdir()
    spice = SpiceJar(corenlp=corenlp, cache=cache, heap="512M", timeout=60, threads=1)
    lines = "".join("\t".join([caption, *tuples]) + "\n" for caption, tuples in PARSES.items())
    (tmp_path / "parses.txt").write_text(lines, encoding="utf-8")
    path = os.pathsep.join(map(str, [fill_cache, *spice.class_path]))
    arguments = ["-cp", path, "FillCache", str(cache), str(tmp_path / "parses.txt")]
    with JavaProcess(arguments, name="FillCache", options=spice._options()) as process:
        process.run()

    items = [
        ("two brown dogs", ["a dog"]),
        ("a dog", ["two brown dogs"]),
        ("a bike", ["a bicycle"]),
        ("a man by a café", ["a man by a café", "a man rides a horse"]),
        ("nothing", ["nothing"]),
        ("a dog", ["two brown dogs"]),
    ]
    scores = spice.scores([candidate for candidate, _ in items], [references for _, references in items])
    # Tuples: {dog, dog-brown, dog-two} against {dog}, and the other way round; a synonym; 3 of 5; none at all.
    assert [s["All"]["f"] for s in scores] == pytest.approx([0.5, 0.5, 1.0, 0.75, 0.0, 0.5], abs=1e-15)
    assert [s["All"]["pr"] for s in scores] == pytest.approx([1 / 3, 1.0, 1.0, 1.0, 0.0, 1.0], abs=1e-15)
    assert [s["All"]["re"] for s in scores] == pytest.approx([1.0, 1 / 3, 1.0, 3 / 5, 0.0, 1 / 3], abs=1e-15)
    assert [[s["All"][name] for name in ("tp", "fp", "fn")] for s in scores[:4]] == [
        [1, 2, 0],
        [1, 0, 2],
        [1, 0, 0],
        [3, 0, 2],
    ]
    assert [list(s) for s in scores] == [list(SPICE_CATEGORIES)] * len(items)
    assert math.isnan(scores[0]["Color"]["f"])  # no colour in the references
    assert scores[1]["Color"] == scores[1]["Cardinality"] == {
        "f": 0.0, "pr": 0.0, "re": 0.0, "tp": 0.0, "fp": 0.0, "fn": 1.0, "numImages": 1.0,
    }  # fmt: skip
    assert scores[3]["Relation"]["f"] == pytest.approx(2 / 3, abs=1e-15)
    assert math.isnan(scores[4]["Object"]["f"])

    options = {"corenlp": str(corenlp), "cache": str(cache), "heap": "512M", "threads": 1, "tokenizer": "none"}
    samples = Samples([candidate for candidate, _ in items], references=[references for _, references in items])
    score = load("spice", detailed=True, **options).corpus(samples)
    assert score.parts["spice"].per_caption.tolist() == [s["All"]["f"] for s in scores]
    assert score.parts["spice"].value == pytest.approx(3.25 / 6, abs=1e-15)
    relations = [s["Relation"]["f"] for s in scores if not math.isnan(s["Relation"]["f"])]
    assert score.parts["spice-relation"].value == pytest.approx(sum(relations) / len(relations), abs=1e-15)
    assert load("spice", **options)(samples).tolist() == [s["All"]["f"] for s in scores]


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    return compile_java(tmp_path_factory.mktemp("spice"), "SpiceScorer.java")


@pytest.fixture
def spice(corenlp, stand_in):
    """Run a program in SPICE's place that behaves as the first candidate says."""

    def make(**settings) -> SpiceJar:
        jar = SpiceJar(corenlp=corenlp, **{"heap": "64M", "timeout": 20.0, "threads": 3, **settings})
        jar.class_path = [stand_in]
        return jar

    return make


@pytest.mark.java
@needs_java
@needs_javac
def test_scores_come_back_in_the_order_given(spice):
    candidates = ["x" * length for length in (5, 1, 10, 1, 2, 3, 4, 6, 7, 8, 9, 11)]
    scores = spice().scores(candidates, [["r"]] * len(candidates))
    assert [s["All"]["f"] for s in scores] == [1.0 / len(candidate) for candidate in candidates]
    assert math.isnan(scores[0]["Color"]["f"])
    assert scores[0]["Color"]["fn"] == 3.0


@pytest.mark.java
@needs_java
@needs_javac
@pytest.mark.parametrize(
    "behaviour, message",
    [
        ("crash", r"SPICE failed \(exit status 1\).*RuntimeException: Unable to resolve englishPCFG"),
        ("fewer", "scores of 1 items for 2 candidates"),
        ("malformed", "something else than scores"),
        ("nothing", "without writing its scores"),
    ],
)
def test_a_failure_of_spice_is_told(spice, behaviour, message):
    with pytest.raises(JavaError, match=message):
        spice().scores([behaviour, "b"], [["r"], ["r"]])


@pytest.mark.java
@needs_java
@needs_javac
def test_a_hanging_spice_is_ended(spice, stand_in):
    with pytest.raises(JavaTimeout, match=r"SPICE gave no answer within 0\.6 seconds"):
        spice(timeout=0.6).scores(["slow"], [["r"]])
    assert count_users(stand_in) == 0


@pytest.mark.java
@needs_java
@needs_javac
def test_a_cache_serves_one_run_at_a_time(spice, tmp_path):
    cache = tmp_path / "deep" / "cache"
    jar = spice(cache=cache, timeout=5.0)
    assert jar.scores(["ab"], [["r"]])[0]["All"]["f"] == 0.5
    with (cache / "capreward.lock").open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        jar.timeout = 0.2
        with pytest.raises(InputError, match=r"in use by another run for 0\.2 seconds"):
            jar.scores(["ab"], [["r"]])
    jar.timeout = 5.0
    assert jar.scores(["ab"], [["r"]])[0]["All"]["f"] == 0.5
    with pytest.raises(InputError, match="cannot be used"):
        spice(cache=cache / "capreward.lock").scores(["ab"], [["r"]])


@pytest.mark.java
@needs_java
@needs_javac
def test_the_json_engine_knows_only_what_spice_asks(tmp_path):
    compile_java(tmp_path, "StandIn.java")
    path = os.pathsep.join([str(ENGINE), str(tmp_path)])

    def evaluate(script: str) -> str:
        with JavaProcess(["-cp", path, "StandIn", "script", script], name="Script", heap="64M") as process:
            return process.run()

    assert evaluate("result = JSON.stringify(JSON.parse(jsonString), null, 2)") == '[{"f": 0.1}]\n'
    with pytest.raises(JavaError, match="only SPICE's JSON indentation is supported, not: 1 \\+ 1"):
        evaluate("1 + 1")


def test_the_json_engine_is_built_from_its_source(tmp_path):
    if shutil.which("javac") is None or "javac 17." not in subprocess.getoutput("javac -version"):
        pytest.skip("needs javac 17, which built it: other compilers write other bytes")
    compile_java(tmp_path, str(ENGINE.with_name("SpiceJsonEngineFactory.java")))
    built = {file.name: file.read_bytes() for file in (tmp_path / "capreward").glob("*.class")}
    with zipfile.ZipFile(ENGINE) as archive:
        shipped = {Path(name).name: archive.read(name) for name in archive.namelist() if name.endswith(".class")}
        service = archive.read("META-INF/services/javax.script.ScriptEngineFactory")
    assert service.strip() == b"capreward.SpiceJsonEngineFactory"
    assert len(built) == 2
    assert built == shipped
