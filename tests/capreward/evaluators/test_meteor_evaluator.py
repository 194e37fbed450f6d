"""METEOR as an evaluator: the engine's values, batches, shared items and sums."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from capreward import InputError, Samples, load, score
from capreward.evaluators import meteor as module

CAPTIONS = ["a dog runs in the park", "the cat sat on the mat", "two children", "a dog runs in the park"]
REFERENCES = [
    ["a dog is running through a park", "the puppy runs in a park"],
    ["a cat sits on a mat", "a cat is on the rug"],
    ["Two kids are playing with a red ball."],
]
ITEM = [0, 1, 2, 1]


def samples():
    return Samples(CAPTIONS, references=REFERENCES, item=ITEM)


def test_golden_values(golden):
    items = golden["items"].values()
    found = score([i["candidate"] for i in items], [i["references"] for i in items], metrics="meteor")["meteor"]
    np.testing.assert_array_equal(found.per_caption, [i["meteor"] for i in items])
    assert found.value == pytest.approx(golden["corpus"]["meteor"], abs=1e-15)


def test_batches_change_nothing(monkeypatch):
    evaluator = load("meteor")
    whole = evaluator(samples()).tolist()
    monkeypatch.setattr(module, "BATCH", 1)
    assert load("meteor")(samples()).tolist() == whole
    alone = [evaluator(Samples([c], references=[REFERENCES[i]])).item() for c, i in zip(CAPTIONS, ITEM, strict=True)]
    assert whole == alone
    assert whole[0] != whole[3]


def test_prepared_references_serve_many_batches():
    evaluator = load("meteor")
    prepared = pickle.loads(pickle.dumps(evaluator.prepare(samples())))
    again = pickle.loads(pickle.dumps(evaluator))
    for candidates, item in ((["a cat on a mat"], [1]), (CAPTIONS[:2], [2, 0])):
        batch = Samples(candidates, item=item, key=["x", "y", "z"])
        expected = evaluator(Samples(candidates, references=[REFERENCES[i] for i in item])).tolist()
        assert again(batch, prepared).tolist() == expected


def test_the_corpus_is_no_mean_and_halves_merge():
    evaluator = load("meteor")
    whole = evaluator.corpus(Samples(CAPTIONS[:3], references=REFERENCES))
    assert abs(whole.value - whole.per_caption.mean()) > 1e-3
    halves = [evaluator.corpus(Samples(CAPTIONS[s], references=REFERENCES[s])) for s in (slice(0, 1), slice(1, 3))]
    assert halves[0].merge(halves[1]).value == whole.value
    low, high = whole.interval(resamples=200)
    assert low < whole.value < high


def test_images_without_references_are_nan():
    values = load("meteor")(Samples(["a dog", "a cat"], references=[["a dog"], []]))
    assert values[0] > 0.99
    assert np.isnan(values[1].item())


def test_progress_is_reported():
    seen = []
    score(CAPTIONS[:3], REFERENCES, metrics="length,meteor", progress=lambda *step: seen.append(step))
    assert seen[0] == ("length", 0, 2)
    assert seen[-1] == ("meteor", 2.0, 2)


@pytest.mark.parametrize("tokenizer", ["whitespace", "syllable", "characters"])
def test_tokenizers_of_other_languages_are_refused(tokenizer):
    with pytest.raises(InputError, match=f"^meteor is English only.* takes no tokenizer {tokenizer};") as refused:
        score(CAPTIONS[:3], REFERENCES, metrics="bleu,meteor", tokenizer=tokenizer)
    assert "\n" not in str(refused.value)
    found = score(CAPTIONS[:3], REFERENCES, metrics="rouge,meteor(tokenizer=ptb)", tokenizer=tokenizer)
    assert [dict(s.signature.fields)["tok"] for s in found.values()] == [tokenizer, "ptb"]


@pytest.mark.parametrize("tokenizer", ["ptb", "ptb-joined", "none"])
def test_english_and_tokenized_captions_are_judged(tokenizer):
    found = score(["a dog"], [["a dog"]], metrics="meteor", tokenizer=tokenizer)["meteor"]
    assert found.value > 0.9
    assert f"|tok:{tokenizer}|" in str(found.signature)
