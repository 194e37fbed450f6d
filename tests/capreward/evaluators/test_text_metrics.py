"""BLEU, ROUGE-L and CIDEr equal pycocoevalcap, on golden vectors and live on corpora made up by hypothesis."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from hypothesis import assume, given
from strategies import corpora

from capreward import Samples, load
from capreward.scoring import load_list
from capreward.text.ngrams import distinct

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
        np.testing.assert_array_equal(part.per_caption, each[n])
        assert part.value == whole[n]


@given(corpora())
def test_rouge_equals_pycocoevalcap(corpus):
    candidates, references = corpus
    whole, each = oracle.rouge(candidates, references)
    score = load("rouge", tokenizer="none").corpus(Samples(candidates, references=references))
    np.testing.assert_array_equal(score.per_caption, each)
    assert score.value == whole


@given(corpora())
def test_cider_equals_pycocoevalcap(corpus):
    candidates, references = corpus
    assume(any(r for refs in references for r in refs))  # the original fails where no reference has a word
    whole, each = oracle.cider(candidates, references)
    score = load("cider", tokenizer="none").corpus(Samples(candidates, references=references))
    np.testing.assert_array_equal(score.per_caption, each)
    assert score.value == whole


def test_cider_of_captions_that_repeat_themselves_equals_pycocoevalcap():
    """Counts above one, n-grams that come again after others, and weights whose square ``pow`` rounds otherwise."""
    generator = np.random.default_rng(3)
    make = lambda: " ".join(f"w{i}" for i in generator.zipf(1.5, 40) % 60)  # noqa: E731
    references = [[make() for _ in range(3)] for _ in range(400)]
    candidates = [refs[0][:60] + " " + make() for refs in references]
    whole, each = oracle.cider(candidates, references)
    score = load("cider", tokenizer="none").corpus(Samples(candidates, references=references))
    np.testing.assert_array_equal(score.per_caption, each)
    assert score.value == whole


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


@pytest.mark.parametrize("name", ["cider", "cider-d", "cider(df_per=caption)"])
def test_one_image_has_no_cider(name):
    """ln(1) = 0: with one image every weight is 0, however many captions it has; a note says so."""
    samples = Samples(["a dog", "a cat"], references=[["a dog"]], item=[0, 0])
    score = load(name, **({} if "(" in name else {"tokenizer": "none"})).corpus(samples)
    assert score.per_caption.tolist() == [0.0, 0.0]
    plain = name.partition("(")[0]
    assert score.notes == (
        f"{plain} weighs words by how rare they are, and with 1 image every value is 0 by definition; count a larger set "
        f"with capreward df build REFS -o df.npz, and give {plain}(df=df.npz)",
    )


def test_two_images_have_a_note_and_three_have_none():
    references = [["a dog"], ["a cat"], ["a man"]]
    two = load("cider").corpus(Samples(["a dog", "a cat"], references=references[:2]))
    assert two.per_caption.min() > 0
    assert len(two.notes) == 1
    assert "2 images are too few" in two.notes[0]
    assert load("cider").corpus(Samples(["a dog", "a cat", "a man"], references=references)).notes == ()
    bare = Samples(["a dog", "a cat"], references=[["a dog"], ["a cat"], []], item=[0, 1])
    assert "2 images are too few" in load("cider").corpus(bare).notes[0]


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
        np.testing.assert_array_equal(bleu.parts[f"bleu{n + 1}"].per_caption, expected[1][n])
        assert bleu.parts[f"bleu{n + 1}"].value == expected[0][n]
    np.testing.assert_array_equal(rouge.per_caption, oracle.rouge(candidates, theirs)[1])
    np.testing.assert_array_equal(cider.per_caption, oracle.cider(candidates, theirs)[1])


def test_distinct_keys_are_the_same_where_key_and_place_do_not_fit_in_one_number():
    keys = np.array([7, 3, 7, 3, 3, 9], dtype=np.int64)
    place = np.array([4, 0, 6, 1, 2, 5], dtype=np.int64)
    expected = [[3, 7, 9], [0, 4, 5], [3, 2, 1]]
    assert [a.tolist() for a in distinct(keys, place)] == expected
    far = [a.tolist() for a in distinct(keys + (1 << 61), place)]
    assert far == [[k + (1 << 61) for k in expected[0]], *expected[1:]]
    assert [len(a) for a in distinct(keys[:0], place[:0])] == [0, 0, 0]
