"""Document frequencies: counted, kept in files, and fixed in rewards."""

from __future__ import annotations

import json

import numpy as np
import oracle
import pytest
from frequency_helpers import TRAIN, cider_d
from hypothesis import given
from strategies import corpora

from capreward import InputError, Samples, load
from capreward.evaluators.cider import squares_of_counts
from capreward.text.document_frequencies import DocumentFrequencies
from capreward.text.ngram_corpus import reference_grams
from capreward.text.ngrams import NgramTable
from capreward.text.tokenizers import NoTokenizer


@pytest.fixture
def train_file(tmp_path):
    path = tmp_path / "train.json"
    path.write_text(json.dumps({str(i): r for i, r in enumerate(TRAIN)}))
    return path


@pytest.fixture
def df_file(tmp_path):
    path = tmp_path / "train.npz"
    count(TRAIN).save(path)
    return path


def count(references):
    samples = Samples([], references=references, item=[])
    return DocumentFrequencies.of(reference_grams(samples, NoTokenizer()))


@given(corpora())
def test_counts_equal_their_definition(corpus):
    _, references = corpus
    found = count(references)
    words = list(found.table.vocabulary)
    expected = oracle.document_frequency(references)
    assert found.n_images == len(references)
    assert sum(found.table.sizes) == len(expected)
    assert {w: int(c) for w, c in zip(words, found.counts[0], strict=True)} == {
        g[0]: c for g, c in expected.items() if len(g) == 1
    }
    for n in range(1, 5):
        assert sorted(found.counts[n - 1].tolist()) == sorted(c for g, c in expected.items() if len(g) == n)


@given(corpora())
def test_fixed_frequencies_give_the_definition(corpus):
    """Words and n-grams that the frequencies have never seen count as seen in no image."""
    captions, references = corpus
    df, fixed = oracle.document_frequency(TRAIN), count(TRAIN)
    found = load("cider-d", df=fixed, tokenizer="none")(Samples(captions, references=references)).numpy()
    expected = [cider_d(c, r, df, len(TRAIN)) for c, r in zip(captions, references, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


def test_a_file_a_reference_file_and_the_object_agree(df_file, train_file):
    samples = Samples(["a dog on a horse", "unseen words"], references=[["a dog"], ["unseen horse words"]])
    sources = (df_file, str(train_file), count(TRAIN))
    values = [load("cider-d", df=s, tokenizer="none")(samples).tolist() for s in sources]
    assert values[0] == values[1] == values[2]
    assert values[0][0] > 0
    text = f"cider-d(df={df_file})"
    assert load(text, tokenizer="none")(samples).tolist() == values[0]


def test_a_fixed_reward_does_not_depend_on_the_batch(df_file):
    reward = load("cider-d", df=df_file, tokenizer="none")
    references = [["a dog runs"], ["two red men"], ["a man on a horse", "a horse"]]
    together = reward(Samples(["a dog", "two men", "a horse"], references=references)).tolist()
    alone = [
        reward(Samples([c], references=[r])).item()
        for c, r in zip(["a dog", "two men", "a horse"], references, strict=True)
    ]
    assert together == pytest.approx(alone, rel=1e-12)
    assert all(v > 0 for v in alone)


@pytest.mark.parametrize("name", ["cider", "cider-d", "cider-plain", "cider-d - repetition"])
def test_a_reward_without_fixed_frequencies_is_refused(name):
    with pytest.raises(InputError, match=r"as a reward needs fixed document frequencies.*df build"):
        load(name)(Samples(["a"], references=[["a"]]))


def test_files_are_exact_and_signed(df_file):
    again = DocumentFrequencies.load(df_file)
    first = count(TRAIN)
    assert again.table.vocabulary == first.table.vocabulary
    assert all(np.array_equal(a, b) for a, b in zip(again.counts, first.counts, strict=True))
    assert again.digest == first.digest != count(TRAIN[:3]).digest
    with np.load(df_file) as file:
        assert "allow_pickle" not in file  # numpy before 2.2 takes the option for an array
    signature = str(load("cider-d", df=df_file, tokenizer="none").signature())
    assert signature == f"cider-d|df:train.npz(4,{first.digest})|tok:none|v:0.1.0"


def test_bad_files_are_refused(tmp_path, df_file):
    with pytest.raises(InputError, match="counted with none; write cider-d"):
        load("cider-d", df=df_file)
    with pytest.raises(InputError, match="there is no document-frequency file"):
        DocumentFrequencies.load(tmp_path / "none.npz")
    for content in (b"", b"text", b"PK\x03\x04 broken"):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(InputError, match="is no document-frequency file"):
            DocumentFrequencies.load(tmp_path / "bad.npz")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(InputError, match="is no document-frequency file"):
        DocumentFrequencies.load(tmp_path / "other.npz")
    with pytest.raises(InputError, match="df must be a path"):
        load("cider-d", df=3)


def test_nothing_half_written_is_left(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(InputError, match="No space left"):
        count(TRAIN).save(tmp_path / "x.npz")
    assert list(tmp_path.iterdir()) == []


SHARED = [["a dog runs", "the dog"], ["a man on a horse"], ["the red horse", "a man"]]
JUDGED = ["a dog", "the dog runs", "a man", "a red horse", "the horse", "a dog on a horse"]
ITEM = [0, 0, 1, 2, 2, 2]


@pytest.mark.parametrize("name", ["cider", "cider-d", "cider-plain"])
def test_documents_may_be_judged_captions(name):
    """Per caption the frequencies are those of pycocoevalcap, given each caption with its image's references."""
    shared = Samples(JUDGED, references=SHARED, item=ITEM)
    apart = Samples(JUDGED, references=[SHARED[i] for i in ITEM])
    score = load(name, tokenizer="none", df_per="caption").corpus(shared)
    np.testing.assert_array_equal(score.per_caption, load(name, tokenizer="none").corpus(apart).per_caption)
    assert (score.per_caption != load(name, tokenizer="none").corpus(shared).per_caption).any()
    assert str(score.signature) == f"{name}|df_per:caption|tok:none|refs:1-2|df:references(6)|v:0.1.0"
    if name != "cider-plain":
        np.testing.assert_array_equal(score.per_caption, oracle.cider(JUDGED, apart.references)[1])


def test_per_image_is_the_default_and_unsigned():
    shared = Samples(JUDGED, references=SHARED, item=ITEM)
    named, bare = (load("cider", tokenizer="none", **o).corpus(shared) for o in ({"df_per": "image"}, {}))
    np.testing.assert_array_equal(named.per_caption, bare.per_caption)
    assert str(named.signature) == str(bare.signature) == "cider|tok:none|refs:1-2|df:references(3)|v:0.1.0"


@given(corpora(min_items=2))
def test_per_caption_is_per_image_where_all_have_as_many(corpus):
    """For n-grams that occur in some reference; and an image by which no caption is judged is no document then."""
    _, references = corpus
    captions = [refs[0] for refs in references[1:]] + [references[0][0]]
    twice = Samples(captions * 2, references=references, item=[*range(len(captions))] * 2)
    one, other = (load("cider", tokenizer="none", df_per=per).corpus(twice).per_caption for per in ("image", "caption"))
    np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)
    more = Samples(captions, references=[*references, ["an unjudged image"]], item=[*range(len(captions))])
    alone = load("cider", tokenizer="none").corpus(Samples(captions, references=references)).per_caption
    np.testing.assert_array_equal(load("cider", tokenizer="none", df_per="caption").corpus(more).per_caption, alone)


@pytest.mark.parametrize("per", ["image", "caption"])
def test_captions_without_references_are_no_documents(per):
    bare = Samples([*JUDGED, "a cat"], references=[*SHARED, []], item=[*ITEM, 3])
    full = load("cider", tokenizer="none", df_per=per).corpus(Samples(JUDGED, references=SHARED, item=ITEM))
    score = load("cider", tokenizer="none", df_per=per).corpus(bare)
    np.testing.assert_array_equal(score.per_caption[:-1], full.per_caption)
    assert np.isnan(score.per_caption[-1])


def test_documents_per_caption_are_refused_where_they_mean_nothing(df_file):
    with pytest.raises(InputError, match="df_per is image or caption, found 'judgement'"):
        load("cider", df_per="judgement")
    with pytest.raises(InputError, match="df_per=caption counts the references of the call, and df names other"):
        load("cider", df=df_file, tokenizer="none", df_per="caption")
    with pytest.raises(InputError, match=r"which are others in every batch; as a reward write cider\(df=FILE\)"):
        load("cider(df=references,df_per=caption)")(Samples(["a"], references=[["a"]]))


def test_a_judged_set_has_its_published_correlation(shared_data):
    """Flickr8k-Expert: Kendall's tau-c of CIDEr per judgement, as papers print it, and per image."""
    images = json.loads((shared_data / "flickr8k" / "flickr8k.json").read_text())
    rows = [(i, j["caption"], j["rating"]) for i, im in enumerate(images.values()) for j in im["human_judgement"]]
    references = [im["ground_truth"] for im in images.values()]
    samples = Samples([c for _, c, _ in rows], references=references, item=[i for i, *_ in rows])
    ratings = np.array([rating for *_, rating in rows])
    found = [tau_c(load("cider", df_per=per).corpus(samples).per_caption, ratings) for per in ("caption", "image")]
    assert [round(100 * tau, 3) for tau in found] == [43.891, 43.829]


def tau_c(values, ratings):
    """Stuart's tau-c: 2 (concordant - discordant) / (N^2 (m - 1) / m), m the fewer of distinct values and ratings."""
    level = np.unique(values, return_inverse=True)[1]
    difference = 0
    lower = np.zeros(level.max() + 1, dtype=np.int64)
    for rating in np.unique(ratings):
        mine = np.bincount(level[ratings == rating], minlength=len(lower))
        below = np.cumsum(lower)
        difference += int((mine * (2 * below - lower - below[-1])).sum())
        lower += mine
    m = min(len(np.unique(ratings)), len(lower))
    return 2 * difference / (len(values) ** 2 * (m - 1) / m)


@pytest.mark.parametrize("times", [1, 2, 3])
def test_squares_are_powers(times):
    """The original squares by ``pow``, which rounds a few of these weights in another way than a product does."""
    counted = np.arange(5000)
    table = NgramTable({f"w{i}": i for i in counted.tolist()}, ())
    frequencies = DocumentFrequencies(table, [counted], 5000, "none", "made up")
    # The last is the weight of words that occur nowhere.
    weights = [float(np.log(5000.0) - np.log(max(1.0, df))) for df in (*counted.tolist(), 0)]
    found = squares_of_counts(np.full(5001, times), frequencies.idf[0].copy(), frequencies.squares[0].copy())
    assert frequencies.idf[0].tolist() == weights
    assert found.tolist() == [pow(times * weight, 2) for weight in weights]
