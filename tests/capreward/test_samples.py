"""What is judged, and what is refused."""

from __future__ import annotations

import pickle

import pytest

from capreward import InputError, Samples
from capreward.text.tokenizers import NAMES, tokenized_references, tokenizer_of


def test_defaults():
    samples = Samples(["a", "b"], references=["one", ["two", "three"]])
    assert samples.item.tolist() == [0, 1]
    assert samples.key == ["0", "1"]
    assert samples.references == [["one"], ["two", "three"]]
    assert len(samples) == samples.n_items == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"captions": "a dog"}, "found one string"),
        ({"captions": ["a", None]}, r"captions\[1\] is None"),
        ({"captions": ["a"], "references": [["x", 3]]}, r"references\[0\]\[1\] is 3"),
        ({"captions": ["a"], "references": [5]}, "is a int"),
        ({"captions": ["a"], "references": [["x"], ["y"]]}, "1 captions and 2 items"),
        ({"captions": ["a"], "references": [["x"]], "key": ["p", "q"]}, "1 references, 2 key"),
        ({"captions": ["a"], "references": [["x"]], "item": [1]}, "outside 0..0"),
        ({"captions": ["a"], "references": [["x"]], "item": [-1]}, "outside 0..0"),
        ({"captions": ["a"], "references": [["x"]], "item": [0, 0]}, "one whole number per caption"),
        ({"captions": ["a"], "references": [["x"]], "item": [0.0]}, "one whole number per caption"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        Samples(arguments.pop("captions"), **arguments)


def test_candidates_are_dropped_from_their_own_references_only():
    samples = Samples(["a dog ", "a cat"], references=[["a dog", "a cat", "A dog"], ["a dog", "a cat"]])
    kept = samples.without_candidates_in_references()
    assert kept.references == [["a cat", "A dog"], ["a dog"]]
    assert samples.references[0] == ["a dog", "a cat", "A dog"]


def test_all_candidates_of_an_item_are_dropped():
    samples = Samples(["x", "y"], references=[["x", "y", "z"]], item=[0, 0])
    assert samples.without_candidates_in_references().references == [["z"]]


def test_the_memo_stays_out_of_pickles():
    samples = Samples(["a"])
    assert samples.memo("k", lambda: 1) == samples.memo("k", lambda: 2) == 1
    assert pickle.loads(pickle.dumps(samples)).memo("k", lambda: 3) == 3


def test_references_keep_their_places_through_every_tokenizer():
    references = [["A dog.", "the Cat", "A dog."], [], ["a letter K."], ["The end"]]
    tokenized = {
        n: tokenized_references(Samples([], references=references, item=[]), tokenizer_of(n)) for n in NAMES[:2]
    }
    assert tokenized["ptb"] == [["a dog", "the cat", "a dog"], [], ["a letter k."], ["the end"]]
    assert tokenized["ptb-joined"] == [["a dog", "the cat", "a dog"], [], ["a letter k"], ["the end"]]


def test_take_keeps_the_items():
    samples = Samples(["a", "b", "c"], references=[["x"], ["y"]], item=[0, 1, 1], key=["p", "q"])
    some = samples.take([2])
    assert (some.captions, some.item.tolist(), some.n_items, some.key) == (["c"], [1], 2, ["p", "q"])
