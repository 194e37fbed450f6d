"""Document frequencies: counted, kept in files, and fixed in rewards."""

from __future__ import annotations

import json
import math

import numpy as np
import oracle
import pytest
from hypothesis import given
from strategies import corpora

from capreward import InputError, Samples, load
from capreward.text.corpus import reference_grams
from capreward.text.frequencies import DocumentFrequencies
from capreward.text.tokenizers import NoTokenizer

TRAIN = [["a dog runs", "the dog"], ["a man on a horse"], ["a man", "two men"], ["the red horse"]]


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


def cider_d(candidate, references, df, n_images):
    """CIDEr-D of one caption by its definition (equation 4 of the paper, sigma 6), times 10."""
    total = 0.0
    weigh = lambda g, c: c * (math.log(n_images) - math.log(max(1, df[g])))  # noqa: E731
    for r in references:
        each = 0.0
        for n in range(1, 5):
            x = {g: weigh(g, c) for g, c in oracle.grams(candidate, n).items()}
            y = {g: weigh(g, c) for g, c in oracle.grams(r, n).items()}
            dot = sum(min(v, y[g]) * y[g] for g, v in x.items() if g in y)
            length = math.sqrt(sum(v * v for v in x.values())) * math.sqrt(sum(v * v for v in y.values()))
            each += dot / length if length else 0.0
        delta = max(len(candidate.split()) - 1, 0) - max(len(r.split()) - 1, 0)
        total += each / 4 * math.exp(-(delta**2) / 72)
    return 10 * total / len(references)


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
