"""The original PTB tokenizer, METEOR and SPICE against stored and hand-made values."""

from __future__ import annotations

import fcntl
import math
import os
import pickle
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from java_helpers import compile_java, count_users, needs_java, needs_javac, nothing_is_left  # noqa: F401

import capreward.java.corenlp as corenlp_module
from capreward.errors import InputError
from capreward.java.corenlp import CORENLP_FILES, spice_class_path
from capreward.java.meteor import MeteorJar
from capreward.java.originals import original
from capreward.java.process import JavaError, JavaProcess, JavaTimeout
from capreward.java.ptb import PTBJavaTokenizer
from capreward.java.runtime import Java
from capreward.java.spice import SPICE_CATEGORIES, SpiceJar

ENGINE = Path(corenlp_module.__file__).parent / "spice_json" / "spice_json.jar"

# ---------------------------------------------------------------------------------------------------- tokenizer

# Outputs of pycocoevalcap 1.2.
TOKENIZED = [
    ("A man riding a horse.", "a man riding a horse"),
    ("Two dogs -- one black, one white -- play!", "two dogs one black one white play"),
    ("It's a dog's life; isn't it?", "it 's a dog 's life is n't it"),
    ('The sign reads "STOP" in red letters.', "the sign reads stop in red letters"),
    ("A 12-year-old boy at 12:30pm", "a 12-year-old boy at 12:30 pm"),
    ("£10 and €20 and 5¢", "# 10 and $ 20 and 5 cents"),
    ("a man (left) and a woman [right] {far}", "a man -lrb- left -rrb- and a woman -lsb- right -rsb- -lcb- far -rcb-"),
    ("What?! No way!!! Really??", "what ?! no way !!! really ??"),
    ("rock 'n' roll in the '90s", "rock 'n' roll in the '90s"),
    ("100-200 and 1,000-1,640", "100-200 and 1,000-1 ,640"),
    ("café naïve résumé 中文", "café naïve résumé 中文"),
    ("smile 😀 face", "smile face"),
    ("   ", ""),
    (".", ""),
    ("", ""),
]


@pytest.mark.java
@needs_java
def test_the_tokenizer_gives_the_stored_outputs():
    tokenizer = pickle.loads(pickle.dumps(PTBJavaTokenizer()))
    assert tokenizer.name == "ptb-java"
    assert tokenizer([text for text, _ in TOKENIZED]) == [tokens for _, tokens in TOKENIZED]


@pytest.mark.java
@needs_java
def test_characters_that_break_lines_shift_no_caption():
    breaks = "\n\r\x0b\x0c\u2028\u2029"
    captions = [f"a{character}b {number}" for number, character in enumerate(breaks)]
    captions += ["a\r\n\r\nb 6", "\u2028", "a\x85b", "the end"]
    expected = [f"a b {number}" for number in range(7)]
    tokens = PTBJavaTokenizer()(captions)
    assert tokens[:8] == [*expected, ""]
    assert len(tokens) == len(captions)
    assert tokens[-1] == "the end"


@pytest.mark.java
@needs_java
def test_the_tokenizer_equals_pycocoevalcap():
    if not os.access(original("tokenizer"), os.W_OK):
        pytest.skip("pycocoevalcap writes into its own folder, which is read-only")
    if shutil.which("java") is None:
        pytest.skip("pycocoevalcap only knows the Java on PATH")
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    captions = [f"{text} {number}" for number, (text, _) in enumerate(TOKENIZED)] + ["last", ""]
    theirs = PTBTokenizer().tokenize({0: [{"caption": caption} for caption in captions]})[0]
    assert PTBJavaTokenizer()(captions) == theirs
    assert len(theirs) == len(captions)


def test_no_captions_need_no_java(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert PTBJavaTokenizer()([]) == []


@pytest.mark.java
@needs_java
def test_a_lost_line_and_broken_unicode_are_errors(monkeypatch):
    with pytest.raises(InputError, match="caption 2 is not valid Unicode"):
        PTBJavaTokenizer()(["fine", "half \ud83d"])
    monkeypatch.setattr(JavaProcess, "run", lambda _: "one\ntwo")
    with pytest.raises(JavaError, match="2 lines for 3 captions"):
        PTBJavaTokenizer()(["one", "two", "three"])


# ------------------------------------------------------------------------------------------------------- METEOR

# Outputs of pycocoevalcap 1.2: tokenized candidate, references, score. Their corpus score is 0.2896401776781528.
METEOR = [
    ("a dog runs in the park", ["a dog is running through a park", "the puppy runs in a park"], 0.3196413750944834),
    ("the cat sat on the mat", ["a cat sits on a mat", "a cat is on the rug"], 0.37417456858415504),
    (
        "a man is riding a brown horse on the beach",
        [
            "a person rides a horse along the shore",
            "a man on horseback at the beach",
            "someone riding a brown horse near the ocean",
        ],
        0.3433979169820929,
    ),
    (
        "two children",
        ["two kids are playing with a red ball in the yard", "children play in a garden"],
        0.12060301507537688,
    ),
    ("a a a a a a a a", ["a red bus", "a bus on a street"], 0.0903954802259887),
    ("", ["an empty caption", "nothing"], 0.0),
    ("a bus", ["a bus", "a red bus"], 1.0),
    (
        "a woman 's hand is n't holding the half-eaten sandwich",
        ["a hand holding a half eaten sandwich", "the woman holds a sandwich"],
        0.3863656243121846,
    ),
    ("street", ["a busy street with cars", "street"], 1.0),
    (
        "a large white airplane flying through a blue sky over some tall buildings in the city",
        [
            "a plane flies over the city",
            "an airplane in the sky above skyscrapers",
            "a jet flying over tall buildings",
        ],
        0.2709869075945524,
    ),
]
SINGLE = [
    ("a man is riding a horse", "a person rides a horse", 0.3860112511037072),
    ("i don't know bob's dog", "i do n't know bob 's dog", 0.2739667945895073),
    ("a black-and-white dog", "a black and white dog", 1.0),
]


@pytest.mark.java
@needs_java
@pytest.mark.parametrize("language", ["", "de"])
def test_meteor_gives_the_stored_scores_under_any_locale(monkeypatch, language):
    if language:
        monkeypatch.setenv("JAVA_TOOL_OPTIONS", f"-Duser.language={language}")
    with MeteorJar() as meteor:
        candidates, references, expected = (list(column) for column in zip(*METEOR, strict=True))
        values, corpus = meteor.scores(candidates, references)
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-12)
        assert corpus == pytest.approx(0.2896401776781528, abs=1e-12)
        # The same process serves the next call, whose corpus score is its own.
        assert meteor.scores(candidates[:2], references[:2])[1] == pytest.approx(0.34249702738507193, abs=1e-12)
        broken = [(text.replace(" ", "\n", 1), [reference.replace(" ", "\r", 1)]) for text, reference, _ in SINGLE]
        values, _ = meteor.scores([text for text, _ in broken], [texts for _, texts in broken])
        np.testing.assert_allclose(values, [score for _, _, score in SINGLE], rtol=0, atol=1e-12)
        values, _ = meteor.scores(["a ||| bus"], [["a ||| red ||| bus", "nothing"]])
        assert values == pytest.approx(meteor.scores(["a bus"], [["a red bus", "nothing"]])[0], abs=1e-12)


@pytest.mark.java
@needs_java
def test_meteor_says_what_is_wrong_with_the_input():
    with MeteorJar() as meteor:
        with pytest.raises(InputError, match="2 candidates and 1 lists"):
            meteor.scores(["a", "b"], [["a"]])
        with pytest.raises(InputError, match="item 1 has no reference"):
            meteor.scores(["a", "b"], [["a"], []])
        values, corpus = meteor.scores([], [])
        assert values.shape == (0,)
        assert math.isnan(corpus)
        assert meteor.pid is None  # none of this needed the program
    with pytest.raises(RuntimeError, match="inside its `with` block"):
        meteor.scores(["a"], [["a"]])


@pytest.mark.java
@needs_java
def test_an_interrupted_meteor_answers_no_later_question(monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    with MeteorJar() as meteor:
        monkeypatch.setattr(JavaProcess, "receive", interrupt)
        with pytest.raises(KeyboardInterrupt):
            meteor.scores(["a"], [["a"]])
        assert meteor.pid is None


# -------------------------------------------------------------------------------------------------------- SPICE


@pytest.fixture
def corenlp(tmp_path) -> Path:
    """Make a folder with the two files' names: CoreNLP 3.4.1, which has what scoring needs, and no models."""
    folder = tmp_path / "corenlp"
    folder.mkdir()
    (folder / CORENLP_FILES[0]).symlink_to(original("tokenizer", "stanford-corenlp-3.4.1.jar"))
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
