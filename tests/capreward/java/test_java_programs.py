"""The original PTB tokenizer and METEOR against stored values of pycocoevalcap."""

from __future__ import annotations

import math
import os
import pickle
import shutil

import numpy as np
import pytest
from java_helpers import compile_java, count_users, needs_java, needs_javac, nothing_is_left  # noqa: F401
from meteor_golden import GOLDEN

from capreward.errors import InputError
from capreward.java.meteor import MeteorJar
from capreward.java.originals import original_file
from capreward.java.process import JavaError, JavaProcess
from capreward.java.ptb import PTBJavaTokenizer

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
    if not os.access(original_file("tokenizer"), os.W_OK):
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
        candidates, references, expected = (list(column) for column in zip(*GOLDEN, strict=True))
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
