"""What every evaluator of text must keep to, whatever the captions."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import corpora

from capreward import Samples
from capreward.scoring import load_list

TEXT = [
    *("bleu", "rouge", "cider(df=references)", "cider-plain(df=references)", "cider-d(df=references,eos=true)"),
    *("bleu-avg", "chrf", "chrfpp", "repetition", "length"),
]
ALONE = [
    "bleu",
    "bleu-avg",
    "rouge",
    "chrf",
    "chrfpp",
    "repetition",
    "length",
]  # a caption's value depends on its own item alone
TIGHT = {"rtol": 1e-12, "atol": 1e-15}


def load(name, *, tokenizer):
    """Make the evaluator, with the tokenizer if it has one: chrF judges captions as they are written."""
    return load_list(name, tokenizer=tokenizer)[0]


def judge(name, samples, prepared=None):
    return load(name, tokenizer="none")(samples, prepared).numpy()


@pytest.mark.parametrize("name", TEXT)
@given(corpus=corpora(), data=st.data())
def test_order_of_captions_does_not_matter(name, corpus, data):
    captions, references = corpus
    order = data.draw(st.permutations(range(len(captions))))
    values = judge(name, Samples(captions, references=references))
    moved = judge(name, Samples([captions[i] for i in order], references=[references[i] for i in order]))
    np.testing.assert_allclose(moved, values[order], **TIGHT)


@pytest.mark.parametrize("name", TEXT)
@given(corpus=corpora(), data=st.data())
def test_order_of_references_does_not_matter(name, corpus, data):
    captions, references = corpus
    moved = [data.draw(st.permutations(r)) for r in references]
    values = judge(name, Samples(captions, references=references))
    np.testing.assert_allclose(judge(name, Samples(captions, references=moved)), values, **TIGHT)


@pytest.mark.parametrize("name", ALONE)
@given(corpus=corpora())
def test_a_caption_alone_has_the_value_it_has_in_a_batch(name, corpus):
    captions, references = corpus
    values = judge(name, Samples(captions, references=references))
    alone = [judge(name, Samples([c], references=[r]))[0] for c, r in zip(captions, references, strict=True)]
    np.testing.assert_allclose(alone, values, **TIGHT)


@pytest.mark.parametrize("name", TEXT)
@given(corpus=corpora(), data=st.data())
def test_batches_over_prepared_items_equal_one_call(name, corpus, data):
    """Candidates in any batches, items prepared once and pickled on the way, have the values of one call."""
    captions, references = corpus
    evaluator = load(name, tokenizer="none")
    samples = Samples(captions, references=references)
    prepared = pickle.loads(pickle.dumps(evaluator.prepare(samples)))
    cut = data.draw(st.integers(0, len(captions)))
    parts = [samples.take(np.arange(len(captions))[part]) for part in (slice(None, cut), slice(cut, None))]
    batched = np.concatenate([evaluator(part, prepared).numpy() for part in parts])
    np.testing.assert_allclose(batched, evaluator(samples).numpy(), **TIGHT)


@pytest.mark.parametrize("name", ALONE)
@given(corpus=corpora(), times=st.integers(2, 3))
def test_duplicating_the_corpus_multiplies_the_statistics(name, corpus, times):
    """BLEU's value moves by its smoothing constants where nothing matches; what they smooth does not."""
    captions, references = corpus
    evaluator = load(name, tokenizer="none")
    once = evaluator.corpus(Samples(captions, references=references))
    often = evaluator.corpus(Samples(captions * times, references=references * times))
    np.testing.assert_allclose(often.statistics.sum(0), times * once.statistics.sum(0), rtol=1e-12)
    np.testing.assert_allclose(often.per_caption[: len(captions)], once.per_caption, **TIGHT)
    if not name.startswith("bleu"):
        assert often.value == pytest.approx(once.value, rel=1e-12)


@pytest.mark.parametrize("name", ["cider", "cider-plain"])
@given(corpus=corpora(), times=st.integers(2, 3), data=st.data())
def test_duplicating_the_corpus_leaves_cider_as_it_is(name, corpus, times, data):
    """Document frequencies and images grow together, for n-grams that occur in some reference."""
    _, references = corpus
    known = st.sampled_from([r for refs in references for r in refs])
    captions = data.draw(st.lists(known, min_size=len(references), max_size=len(references)))
    evaluator = load(name, tokenizer="none")
    once = evaluator.corpus(Samples(captions, references=references))
    often = evaluator.corpus(Samples(captions * times, references=references * times))
    assert often.value == pytest.approx(once.value, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", ["rouge", "chrf", "chrfpp", "cider(df=references)", "cider-plain(df=references)"])
@given(corpus=corpora())
def test_duplicating_references_changes_nothing(name, corpus):
    captions, references = corpus
    values = judge(name, Samples(captions, references=references))
    np.testing.assert_allclose(judge(name, Samples(captions, references=[r * 2 for r in references])), values, **TIGHT)


@pytest.mark.parametrize(
    ("name", "top"), [*((name, 1) for name in ALONE if name != "length"), ("cider(df=references)", 10)]
)
@given(corpus=corpora())
def test_values_stay_in_range(name, top, corpus):
    captions, references = corpus
    values = judge(name, Samples(captions, references=references))
    assert ((values >= 0) & (values <= top + 1e-9)).all()


@given(corpus=corpora(min_items=2))
def test_a_caption_equal_to_all_its_references_is_best(corpus):
    _, references = corpus
    captions = [r[0] for r in references]
    samples = Samples(captions, references=[[c] * 2 for c in captions])
    np.testing.assert_allclose(judge("rouge", samples), 1.0)
    cider = judge("cider(df=references)", samples)
    plain = judge("cider-plain(df=references)", samples)
    np.testing.assert_allclose(cider, plain, rtol=1e-12)
