"""BLEU, ROUGE-L and CIDEr equal pycocoevalcap, on golden vectors and live on corpora made up by hypothesis."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from hypothesis import assume, given
from strategies import corpora

from capreward import Samples, load
from capreward.scoring import load_list

TIGHT = {"rtol": 0, "atol": 1e-12}


def per_caption(name, samples):
    return load(name, tokenizer="none").corpus(samples).per_caption


@pytest.fixture(scope="module")
def golden_samples(golden):
    items = golden["items"].values()
    return Samples([i["tok_candidate"] for i in items], references=[i["tok_references"] for i in items])


def test_golden_bleu(golden, golden_samples):
    score = load("bleu", tokenizer="none").corpus(golden_samples)
    expected = np.array([i["bleu"] for i in golden["items"].values()])
    for n in range(4):
        part = score.parts[f"bleu{n + 1}"]
        np.testing.assert_allclose(part.per_caption, expected[:, n], **TIGHT)
        assert part.value == pytest.approx(golden["corpus"]["bleu"][n], abs=1e-12)
    assert score.value == score.parts["bleu4"].value


@pytest.mark.parametrize(("name", "key"), [("rouge", "rouge_l"), ("cider", "cider_d"), ("cider-d", "cider_d")])
def test_golden_rouge_and_cider(golden, golden_samples, name, key):
    score = load(name, tokenizer="none").corpus(golden_samples)
    np.testing.assert_allclose(score.per_caption, [i[key] for i in golden["items"].values()], **TIGHT)
    assert score.value == pytest.approx(golden["corpus"][key], abs=1e-12)


@given(corpora())
def test_bleu_equals_pycocoevalcap(corpus):
    candidates, references = corpus
    whole, each = oracle.bleu(candidates, references)
    score = load("bleu", tokenizer="none").corpus(Samples(candidates, references=references))
    for n in range(4):
        part = score.parts[f"bleu{n + 1}"]
        np.testing.assert_allclose(part.per_caption, each[n], rtol=1e-12, atol=1e-15)
        assert part.value == pytest.approx(whole[n], rel=1e-12, abs=1e-15)


@given(corpora())
def test_rouge_equals_pycocoevalcap(corpus):
    candidates, references = corpus
    _, each = oracle.rouge(candidates, references)
    found = per_caption("rouge", Samples(candidates, references=references))
    np.testing.assert_array_equal(found, each)


@given(corpora())
def test_cider_equals_pycocoevalcap(corpus):
    candidates, references = corpus
    assume(any(r for refs in references for r in refs))  # the original fails where no reference has a word
    whole, each = oracle.cider(candidates, references)
    score = load("cider", tokenizer="none").corpus(Samples(candidates, references=references))
    np.testing.assert_allclose(score.per_caption, each, **TIGHT)
    assert score.value == pytest.approx(whole, abs=1e-12)


@given(corpora())
def test_plain_cider_equals_its_definition(corpus):
    candidates, references = corpus
    df, n = oracle.document_frequency(references), len(references)
    expected = [oracle.cider_plain(c, r, df, n) for c, r in zip(candidates, references, strict=True)]
    np.testing.assert_allclose(
        per_caption("cider-plain", Samples(candidates, references=references)), expected, **TIGHT
    )


def test_plain_cider_is_not_cider_d():
    samples = Samples(["a dog a dog", "a man"], references=[["a dog"], ["a man on a horse"]])
    plain, clipped = per_caption("cider-plain", samples), per_caption("cider-d", samples)
    assert (plain > clipped + 0.1).all()


@pytest.mark.parametrize("words", [63, 64, 65, 200])
def test_rouge_of_long_captions_equals_pycocoevalcap(words):
    generator = np.random.default_rng(words)
    make = lambda n: " ".join(f"w{i}" for i in generator.integers(0, 9, n))  # noqa: E731
    candidates = [make(words), make(3), make(words)]
    references = [[make(words), make(words + 1)], [make(words)], [make(5)]]
    _, each = oracle.rouge(candidates, references)
    np.testing.assert_array_equal(per_caption("rouge", Samples(candidates, references=references)), each)


def test_rouge_splits_at_single_blanks_only():
    """An empty caption is one empty word and a no-break space stays inside a word, as in the original."""
    samples = Samples(["", "1\u00a01/2 cups", ""], references=[[""], ["1 1/2 cups"], ["a"]])
    _, each = oracle.rouge(samples.captions, samples.references)
    np.testing.assert_array_equal(per_caption("rouge", samples), each)
    assert each[0] == 1.0


def test_bleu_takes_the_shorter_of_two_equally_close_references():
    samples = Samples(["a b c d"], references=[["a b c d e f", "a b"]])
    statistics = load("bleu", tokenizer="none").corpus(samples).statistics
    assert statistics[0, 8:].tolist() == [4, 2]


def test_one_image_has_no_cider():
    """ln(1) = 0: with one image every weight is 0."""
    assert per_caption("cider", Samples(["a dog"], references=[["a dog"]])).tolist() == [0.0]


def test_several_candidates_share_an_item():
    """K candidates of an item have the values they have as items of their own."""
    references = [["a dog runs", "the dog"], ["two men on a horse"]]
    captions = ["a dog", "the dog runs", "two men"]
    shared = Samples(captions, references=references, item=[0, 0, 1])
    apart = Samples(captions, references=[references[0], references[0], references[1]])
    for name in ("bleu", "rouge"):
        np.testing.assert_array_equal(per_caption(name, shared), per_caption(name, apart))
    assert load("cider", tokenizer="none").corpus(shared).statistics.shape == (2, 2)


def test_real_outputs_equal_pycocoevalcap(shared_data):
    """300 COCO outputs against their references, tokenized by blanks; the whole files are compared under -m java."""
    import json

    folder = shared_data / "coco_karpathy_test"
    references = json.loads((folder / "refs_5000.json").read_text())
    results = json.loads((folder / "outputs/puret_scst_test27.json").read_text())[:300]
    candidates = [r["caption"].lower() for r in results]
    theirs = [[c.lower() for c in references[str(r["image_id"])]] for r in results]
    samples = Samples(candidates, references=theirs)
    bleu, rouge, cider = (e.corpus(samples) for e in load_list("bleu,rouge,cider", tokenizer="none"))
    expected = oracle.bleu(candidates, theirs)
    for n in range(4):
        np.testing.assert_allclose(bleu.parts[f"bleu{n + 1}"].per_caption, expected[1][n], rtol=0, atol=1e-15)
        assert bleu.parts[f"bleu{n + 1}"].value == pytest.approx(expected[0][n], abs=1e-15)
    np.testing.assert_array_equal(rouge.per_caption, oracle.rouge(candidates, theirs)[1])
    np.testing.assert_allclose(cider.per_caption, oracle.cider(candidates, theirs)[1], rtol=0, atol=1e-13)
