"""Names, suggestions, dotted paths, entry points and custom rewards."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import capreward
from capreward import Evaluator, InputError, Samples, load, reward
from capreward.evaluators import evaluators
from capreward.registry import Entry, Registry


@reward("test-exclamations")
def exclamations(captions, weight=1.0, **context):
    """How often a caption shouts."""
    return [weight * c.count("!") for c in captions]


@reward("test-keys", needs={"references"}, higher_is_better=False)
def keys(captions, references, keys, item, images=None, **context):
    """Sees all there is to see."""
    return [len(r) + 10 * int(i) if k != "skip" else None for r, k, i in zip(references, keys, item, strict=True)]


def undecorated(captions, **context):
    return [1.0 for _ in captions]


@pytest.mark.parametrize(
    ("name", "near"),
    [("cidr", "cider"), ("cider_e", "cider-d"), ("Blue", "bleu"), ("rougen", "rouge"), ("cider-d-repetition", "space")],
)
def test_unknown_names_get_suggestions(name, near):
    with pytest.raises(InputError, match=near):
        load(name)


def test_every_name_loads_or_says_what_is_missing():
    loaded = [load(n) for n in evaluators if evaluators[n].origin == "capreward"]
    assert len(loaded) >= 17
    for name, evaluator in zip((n for n in evaluators if evaluators[n].origin == "capreward"), loaded, strict=True):
        assert evaluator.name == name
        assert frozenset(evaluators[name].needs) == evaluator.needs or name == "self-cider"


def test_unknown_options_are_refused():
    with pytest.raises(InputError, match="cider-d has no option 'dff'; did you mean df?"):
        load("cider-d", dff=1)
    with pytest.raises(InputError, match="bleu2 has no option 'only'"):
        load("bleu2", only=1)
    with pytest.raises(InputError, match="orders 1 to 4"):
        load("bleu(only=5)")


def test_a_function_is_an_evaluator():
    evaluator = load("test-exclamations(weight=2) + length", tokenizer="none")
    assert isinstance(evaluator, Evaluator)
    assert evaluator(Samples(["a dog!!", "b"])).tolist() == [6.0, 1.0]
    assert exclamations(["!"]) == [1.0], "the function itself stays callable"


def test_a_function_sees_its_context_and_none_is_nan():
    samples = Samples(["x", "y", "z"], references=[["a", "b"], ["c"]], item=[1, 0, 1], key=["p", "skip"])
    evaluator = load("test-keys")
    np.testing.assert_array_equal(evaluator(samples).numpy(), [np.nan, 2.0, np.nan])
    assert evaluator.corpus(samples).value == 2.0
    assert not evaluator.higher_is_better


def test_dotted_paths_name_functions_and_classes():
    assert load("test_registry:undecorated")(Samples(["a"])).tolist() == [1.0]
    assert load("test_registry:exclamations(weight=3)")(Samples(["!"])).tolist() == [3.0]
    assert load("capreward.evaluators.bleu:Bleu(only=2)").name == "bleu2"
    with pytest.raises(InputError, match="cannot import the evaluator 'no_such:thing'"):
        load("no_such:thing")
    with pytest.raises(InputError, match="is a str"):
        load("test_registry:__name__")


def test_custom_rewards_are_checked():
    with pytest.raises(InputError, match="cannot name a reward"):
        reward("two words")
    with pytest.raises(InputError, match="needs 'image'"):
        reward("fine", needs={"image"})
    with pytest.raises(InputError, match=r"must accept \*\*context"):
        load("test_registry:no_context")
    with pytest.raises(InputError, match="no option 'colour'; it has weight"):
        load("test-exclamations(colour=1)")
    with pytest.raises(InputError, match="returned 1 values for 2 captions"):
        load("test_registry:too_few")(Samples(["a", "b"]))
    with pytest.raises(InputError, match="is no number"):
        load("test_registry:words")(Samples(["a"]))
    with pytest.raises(InputError, match="needs references"):
        load("test-keys")(Samples(["a"]))


def no_context(captions):
    return [0.0]


def too_few(captions, **context):
    return [0.0]


def words(captions, **context):
    return ["many"]


def test_a_taken_name_is_refused():
    with pytest.raises(InputError, match="'bleu' is taken by capreward"):
        reward("bleu")(undecorated)
    assert evaluators["bleu"].origin == "capreward"


def test_entry_points_are_found(monkeypatch):
    class Point:
        name, value, dist = "outside", "test_registry:undecorated", None

    monkeypatch.setattr("capreward.registry.entry_points", lambda group: [Point] if group == "g" else [])
    registry = Registry({"inside": Entry("test_registry:words")}, group="g")
    assert list(registry) == ["inside", "outside"]
    assert registry.load("outside")(Samples(["a"])).tolist() == [1.0]


@pytest.mark.parametrize("name", ["test-exclamations(weight=2)", "bleu", "rouge - repetition", "cider(df=references)"])
def test_evaluators_are_picklable(name):
    samples = Samples(["a dog!", "a man"], references=[["a dog"], ["the man"]])
    evaluator = load(name, tokenizer="none")
    again = pickle.loads(pickle.dumps(evaluator))
    np.testing.assert_array_equal(again(samples).numpy(), evaluator(samples).numpy())
    assert again.signature() == evaluator.signature()


def test_a_name_may_fix_options_of_a_function():
    registry = Registry({"twice": Entry(exclamations, options={"weight": 2})}, group="none")
    assert registry.load("twice")(Samples(["!!"])).tolist() == [4.0]


def test_public_names_exist():
    assert all(getattr(capreward, name) is not None for name in capreward.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = capreward.nothing
