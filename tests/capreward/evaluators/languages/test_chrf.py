"""chrF and chrF++ equal sacrebleu, per caption and for the corpus, and sum up."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from strategies import WORDS, corpora

from capreward import InputError, Samples, load, score
from capreward.text.ngram_corpus import reference_grams
from capreward.text.tokenizers import NoTokenizer

REASON = "sacrebleu comes with the extra languages"
NAMES = {"chrf": 0, "chrfpp": 2}
CAPTIONS = ["a dog runs, in the park.", "Một con mèo (đen) ngủ!", "", "那只狗 is running", "x"]
REFERENCES = [
    ["A dog is running in the park.", "a dog runs in a park", "dogs!"],
    ["một con mèo đen đang ngủ", ""],
    ["nothing", "at all"],
    ["那只狗在跑。"],
    ["the 'red' horse", "x"],
]


def streams(references):
    """References as sacrebleu takes them: one list per place, None where an image has fewer."""
    width = max(map(len, references))
    return [[refs[i] if i < len(refs) else None for refs in references] for i in range(width)]


def check_equal(name, captions, references):
    sacrebleu = pytest.importorskip("sacrebleu", reason=REASON)
    original = sacrebleu.CHRF(word_order=NAMES[name])
    found = load(name).corpus(Samples(captions, references=references))
    each = [original.sentence_score(c, r).score for c, r in zip(captions, references, strict=True)]
    np.testing.assert_allclose(100 * found.per_caption, each, rtol=0, atol=1e-12)
    whole = original.corpus_score(captions, streams(references)).score
    assert 100 * found.value == pytest.approx(whole, rel=0, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_values_are_sacrebleus(name):
    check_equal(name, CAPTIONS, REFERENCES)


@pytest.mark.parametrize("name", NAMES)
@given(corpus=corpora())
def test_values_of_made_up_corpora_are_sacrebleus(name, corpus):
    check_equal(name, *corpus)


@pytest.mark.parametrize("name", NAMES)
def test_many_captions_with_punctuation_are_sacrebleus(name):
    """Hundreds of captions bring ties between references, which only equal operations decide alike."""
    generator = np.random.default_rng(5)
    words = [*WORDS, "dog,", "(red)", "'tis", "x!", "chó", "Một"]
    make = lambda: " ".join(generator.choice(words, generator.integers(0, 9)))  # noqa: E731
    references = [[make() for _ in range(generator.integers(1, 6))] for _ in range(400)]
    check_equal(name, [make() for _ in references], references)


def test_values_by_hand():
    """'ab' against 'abc': orders 1 and 2 count, with precision 1 and recall (2/3 + 1/2) / 2 = 7/12."""
    samples = Samples(["a b"], references=[["zzz", "abc"]])
    recall = 7 / 12
    assert load("chrf")(samples).item() == pytest.approx(5 * recall / (4 + recall), abs=1e-15)
    # chrF++ adds words: none of 'a' and 'b' is 'abc'; the reference has no two words.
    precision, recall = 2 / 3, (2 / 3 + 1 / 2) / 3
    expected = 5 * precision * recall / (4 * precision + recall)
    assert load("chrfpp")(samples).item() == pytest.approx(expected, abs=1e-15)
    equal = Samples(["Ab.", ""], references=[["Ab."], [""]])
    assert load("chrf")(equal).tolist() == [1.0, 0.0]


def test_a_longer_caption_than_its_reference_lowers_precision_of_the_orders_that_both_have():
    """The corpus counts no n-grams of 'abc' of the orders that 'a' lacks: precision is (1 + 2) / (3 + 2) in order 1."""
    found = load("chrf").corpus(Samples(["abc", "de"], references=[["a"], ["de"]]))
    assert found.statistics.sum(0)[:9].tolist() == [5, 3, 3, 1, 1, 1, 0, 0, 0]
    precision, recall = (3 / 5 + 1) / 2, 1.0
    assert found.value == pytest.approx(5 * precision * recall / (4 * precision + recall), abs=1e-15)


def test_the_same_references_are_counted_to_several_orders():
    samples = Samples(["a b c"], references=[["a b c"]])
    assert [reference_grams(samples, NoTokenizer(), order).table.order for order in (2, 4, 6, 2)] == [2, 4, 6, 2]


def test_case_and_accents_count():
    samples = Samples(["ÉTÉ"], references=[["été"]])
    assert load("chrf")(samples).item() == 0.0


@pytest.mark.parametrize("name", NAMES)
def test_the_corpus_is_no_mean_and_halves_merge(name):
    evaluator = load(name)
    whole = evaluator.corpus(Samples(CAPTIONS, references=REFERENCES))
    assert abs(whole.value - whole.per_caption.mean()) > 1e-3
    assert whole.is_share
    halves = [evaluator.corpus(Samples(CAPTIONS[s], references=REFERENCES[s])) for s in (slice(0, 2), slice(2, 5))]
    assert halves[0].merge(halves[1]).value == whole.value
    low, high = whole.interval(resamples=200)
    assert low < whole.value < high


def test_batches_over_prepared_references():
    evaluator = pickle.loads(pickle.dumps(load("chrfpp")))
    samples = Samples(CAPTIONS, references=REFERENCES)
    prepared = pickle.loads(pickle.dumps(evaluator.prepare(samples)))
    some = Samples(["a park", CAPTIONS[0], "x"], references=REFERENCES, item=[0, 0, 4])
    expected = [
        load("chrfpp")(Samples([c], references=[REFERENCES[i]])).item()
        for c, i in zip(some.captions, some.item, strict=True)
    ]
    assert evaluator(some, prepared).tolist() == expected
    assert evaluator(samples.take(np.arange(0)), prepared).tolist() == []


def test_names_and_signatures():
    assert str(load("chrf").signature()).startswith("chrf|nc:6|nw:0|beta:2|v:")
    assert str(load("chrF++").signature()).startswith("chrfpp|nc:6|nw:2|beta:2|v:")
    assert load("chrf(word_order=2)").signature() == load("chrfpp").signature()
    with pytest.raises(InputError, match="word orders 0 .* found word_order=3"):
        load("chrf", word_order=3)


def test_a_list_of_metrics_gives_chrf_no_tokenizer():
    found = score(CAPTIONS, REFERENCES, metrics="bleu4,chrf,chrfpp", tokenizer="whitespace")
    assert list(found) == ["bleu4", "chrf", "chrfpp"]
    assert "tok" not in dict(found["chrf"].signature.fields)
