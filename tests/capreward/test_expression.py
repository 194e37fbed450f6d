"""The expression language: what parses, to what value, and what is refused where."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capreward import InputError, Samples, load
from capreward.expression import Metric, canonical, literal, parse, parse_list
from capreward.scoring import load_list

SAMPLES = Samples(["a dog a dog a dog", "two men on horses", ""], references=[["a dog"], ["two men"], ["a man"]])


def value(expression):
    return load(expression, tokenizer="none")(SAMPLES).numpy()


LENGTH = np.array([6.0, 4.0, 0.0])


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("length", LENGTH),
        ("2*length", 2 * LENGTH),
        ("length*.5 + 1", LENGTH / 2 + 1),
        ("-length", -LENGTH),
        ("1 - length - 2", -1 - LENGTH),
        ("1 - (length - 2)", 3 - LENGTH),
        ("2*(length + 1)*(length - 1)", 2 * (LENGTH + 1) * (LENGTH - 1)),
        ("1e1*length+-1", 10 * LENGTH - 1),
        ("- - length", LENGTH),
        ("length*length", LENGTH**2),
    ],
)
def test_arithmetic(expression, expected):
    np.testing.assert_allclose(value(expression), expected, rtol=1e-15)


def test_terms_are_the_evaluators_own_values():
    parts = [value("rouge"), value("repetition(n=2)")]
    np.testing.assert_allclose(value("rouge - 0.5*repetition(n=2)"), parts[0] - 0.5 * parts[1], rtol=1e-15)
    assert parts[1].tolist() == [1 - 2 / 5, 0.0, 0.0]


def test_names_keep_their_hyphens():
    assert parse("cider-d") == Metric("cider-d")
    assert canonical(parse("cider-d -repetition")) == "cider-d - repetition"


def test_options_are_read_as_what_they_look_like():
    node = parse("""x(df=a/b-c.npz, n=4,w=2.5,on=True,name="a, (b)", other='q', none=None)""")
    assert dict(node.options) == {
        "df": "a/b-c.npz",
        "n": 4,
        "w": 2.5,
        "on": True,
        "name": "a, (b)",
        "other": "q",
        "none": None,
    }
    assert literal("1_") == "1_"


def test_a_list_splits_at_top_level_commas_only():
    assert [canonical(n) for n in parse_list("bleu, cider(df=x,sigma=3),rouge+1")] == [
        "bleu",
        "cider(df=x,sigma=3)",
        "rouge + 1",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "column 1: expected a metric's name, a number or '(', found 'the end'"),
        ("bleu +", "column 7: expected a metric's name"),
        ("(bleu", "column 6: expected ')'"),
        ("bleu rouge", "column 6: expected an operator"),
        ("bleu/2", "column 5: expected an operator"),
        ("bleu(only)", "column 6: expected an option such as df="),
        ("bleu(only=1", "expected ',' or ')'"),
        ("bleu(only=1,only=2)", "only is given twice"),
        ("bleu(only=)", "expected a value"),
        ("bleu,", "expected a metric's name"),
        ("__import__('os').system('ls')", "expected an option"),
        ("(" * 5000 + "bleu", "nested too deeply"),
    ],
)
def test_malformed_text_is_refused_with_its_column(text, message):
    with pytest.raises(InputError) as caught:
        parse_list(text)
    assert message in str(caught.value)


def test_a_list_is_no_reward():
    with pytest.raises(InputError, match="list of 2 metrics"):
        load("bleu,rouge")


def test_a_number_alone_is_no_metric():
    with pytest.raises(InputError, match="names no metric"):
        load("2 + 3")


def test_options_beside_an_expression_are_refused():
    with pytest.raises(InputError, match="belong inside the expression"):
        load("bleu + rouge", only=1)


def test_a_metric_asked_for_twice_is_refused():
    with pytest.raises(InputError, match="'bleu' is asked for twice"):
        load_list("bleu,rouge,bleu")


def test_the_corpus_value_is_the_mean_and_the_terms_are_parts():
    score = load("rouge + 2*bleu4", tokenizer="none").corpus(SAMPLES)
    assert score.value == pytest.approx(value("rouge + 2*bleu4").mean(), abs=1e-15)
    assert list(score.parts) == ["rouge", "bleu4"]
    assert score.parts["bleu4"].value == load("bleu4", tokenizer="none").corpus(SAMPLES).value


def test_a_corpus_only_evaluator_cannot_be_combined():
    with pytest.raises(InputError, match="vocabulary judges a whole corpus"):
        load("vocabulary + length")


nodes = st.recursive(
    st.sampled_from(["length", "rouge", "repetition(n=2)"]) | st.integers(0, 9).map(str),
    lambda inner: st.tuples(inner, st.sampled_from([" + ", " - ", "*"]), inner).map(lambda t: f"({t[0]}{t[1]}{t[2]})"),
    max_leaves=8,
)


@given(nodes)
def test_canonical_spelling_means_the_same(text):
    node = parse(text)
    again = parse(canonical(node))
    known = {"length": 3.0, "rouge": 0.25, "repetition(n=2)": 7.0}
    assert _python(canonical(again), known) == _python(canonical(node), known) == pytest.approx(_python(text, known))


def _python(text, known):
    for name, number in known.items():
        text = text.replace(name, repr(number))
    return eval(text)
