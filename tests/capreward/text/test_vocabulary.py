"""What prepro_labels and prepro_ngrams give, and CIDEr-D on ids, against plain renderings (clipreward.md 2 and 5.1)."""

from __future__ import annotations

import json
import math
import os
import pickle
import random
from collections import Counter, defaultdict

import numpy as np
import pytest
from click.testing import CliRunner
from clip_files import Acts

from capreward import InputError, Samples, load
from capreward.commands import main
from capreward.data.tokenized_captions import read_sentences
from capreward.text.document_frequencies import DocumentFrequencies
from capreward.text.tokenizers import same_words
from capreward.text.vocabulary import WordNumbers, words_of_file

COMMON = ["a", "dog", "on", "the", "grass", "man", "rides", "horse", "red", "big", "small", "cat"]
RARE = ["zebra", "quokka", "axolotl"]
SPLITS = ["train", "restval", "val", "test"]


@pytest.fixture(scope="module")
def karpathy(tmp_path_factory):
    """A data set in Karpathy's layout whose words occur often, seldom, and exactly five and six times."""
    draw = random.Random(0)
    images = []
    for i in range(24):
        sentences = []
        for _ in range(draw.randint(3, 6)):
            tokens = draw.choices(COMMON, k=draw.randint(3, 22))
            sentences.append({"tokens": tokens, "raw": " ".join(tokens).capitalize() + " ."})
        split = SPLITS[i % 4] if i else "train"
        images.append(
            {"split": split, "filepath": "val2014", "filename": f"p{i}.jpg", "cocoid": 100 + i, "sentences": sentences}
        )
    for times, word in ((5, "five"), (6, "six"), (1, "zebra")):
        for k in range(times):
            images[k]["sentences"][0]["tokens"].append(word)
    del images[3]["cocoid"]
    images[3]["imgid"] = 7
    path = tmp_path_factory.mktemp("coco") / "dataset_coco.json"
    path.write_text(json.dumps({"images": images}))
    return path


def images_of(path, splits=None):
    return [i for i in json.loads(path.read_text())["images"] if splits is None or i["split"] in splits]


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def made(*arguments):
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    return done


def refused(*arguments):
    done = run(*arguments)
    assert done.exit_code == 2, done.output
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.fixture(scope="module")
def vocabulary(karpathy, tmp_path_factory):
    path = tmp_path_factory.mktemp("v") / "cocotalk.json"
    made("vocabulary", "build", karpathy, "-o", path)
    return path


@pytest.fixture(scope="module")
def frequencies(karpathy, vocabulary, tmp_path_factory):
    """Of ids, and of words."""
    folder = tmp_path_factory.mktemp("df")
    for name, flags in (("ids", ["--ids"]), ("words", [])):
        options = ("--split", "train+restval", "-v", vocabulary, "-o", folder / f"{name}.npz")
        made("df", "build", karpathy, *options, *flags)
    return folder / "ids.npz", folder / "words.npz"


def plain_vocabulary(images, threshold=5):
    """prepro_labels, written plainly."""
    counts = {}
    for image in images:
        for sentence in image["sentences"]:
            for token in sentence["tokens"]:
                counts[token] = counts.get(token, 0) + 1
    kept = [word for word, n in counts.items() if n > threshold]
    return [*kept, "UNK"] if any(n <= threshold for n in counts.values()) else kept


def plain_frequencies(images, words, *, ids):
    """prepro_ngrams, written plainly: {n-gram: images}, images."""
    numbers = {word: i for i, word in enumerate(words, 1)} | {"<eos>": 0}
    table = defaultdict(float)
    for image in images:
        grams = set()
        for sentence in image["sentences"]:
            tokens = [t if t in numbers else "UNK" for t in [*sentence["tokens"], "<eos>"]]
            tokens = [str(numbers[t]) for t in tokens] if ids else tokens
            for n in range(1, 5):
                grams |= {tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)}
        for gram in grams:
            table[gram] += 1
    return table, len(images)


def as_table(found):
    """Document frequencies as {n-gram: images}."""
    words = list(found.table.vocabulary)
    grams, table = [(w,) for w in words], {}
    for n, counts in enumerate(found.counts):
        if n:
            grams = [(*grams[k >> 31], words[k & ((1 << 31) - 1)]) for k in found.table.keys[n - 1].tolist()]
        table |= dict(zip(grams, counts.tolist(), strict=True))
    return table


def test_vocabulary_is_prepro_labels(karpathy, vocabulary, tmp_path):
    expected = plain_vocabulary(images_of(karpathy))
    found = json.loads(vocabulary.read_text())
    assert found["ix_to_word"] == {str(i): w for i, w in enumerate(expected, 1)}
    assert expected[-1] == "UNK"
    assert "six" in expected
    assert not {"five", "zebra"} & set(expected)
    assert words_of_file(vocabulary) == expected
    assert found["images"][0] == {"id": 100, "split": "train", "file_path": "val2014/p0.jpg"}
    assert found["images"][3]["id"] == 7
    assert len(found["images"]) == 24
    made("vocabulary", "build", karpathy, "-o", tmp_path / "t.json", "--split", "train+restval", "--threshold", "3")
    assert words_of_file(tmp_path / "t.json") == plain_vocabulary(images_of(karpathy, ["train", "restval"]), 3)
    done = made("vocabulary", "build", karpathy, "-o", tmp_path / "all.json", "--threshold", "0")
    assert words_of_file(tmp_path / "all.json")[-1] != "UNK"
    assert "UNK" not in done.stderr


def test_other_files_are_split_as_karpathy_s_are(tmp_path):
    path = tmp_path / "refs.json"
    path.write_text(json.dumps({"a": ["A dog's ball, red.", "Dogs!"], "b": ["a DOG"]}))
    found = read_sentences(path)
    assert [(i.key, i.sentences) for i in found] == [
        ("a", [["a", "dogs", "ball", "red"], ["dogs"]]),
        ("b", [["a", "dog"]]),
    ]
    made("vocabulary", "build", path, "-o", tmp_path / "v.json", "--threshold", "1")
    assert words_of_file(tmp_path / "v.json") == ["a", "dogs", "UNK"]


def test_labels_are_prepro_labels(karpathy, vocabulary, tmp_path):
    path = tmp_path / "labels.npz"
    made("vocabulary", "labels", karpathy, "-v", vocabulary, "-o", path)
    words = plain_vocabulary(images_of(karpathy))
    numbers = {word: i for i, word in enumerate(words, 1)}
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    assert {a.dtype for n, a in arrays.items() if n != "ids"} == {np.dtype(np.uint32)}
    row, n_cut = 0, 0
    for i, image in enumerate(images_of(karpathy)):
        assert arrays["label_start_ix"][i] == row + 1
        for sentence in image["sentences"]:
            expected = [numbers.get(t, numbers["UNK"]) for t in sentence["tokens"]][:16]
            assert arrays["labels"][row].tolist() == expected + [0] * (16 - len(expected))
            assert arrays["label_length"][row] == min(16, len(sentence["tokens"]))
            n_cut += len(sentence["tokens"]) > 16
            row += 1
        assert arrays["label_end_ix"][i] == row
    assert n_cut > 5
    assert arrays["labels"].shape == (row, 16)
    assert arrays["ids"].tolist()[:4] == ["100", "101", "102", "7"]
    made("vocabulary", "labels", karpathy, "-v", vocabulary, "-o", path, "--max-length", "4", "--split", "test")
    assert np.load(path)["labels"].shape[1] == 4


@pytest.mark.parametrize("ids", [True, False])
def test_frequencies_are_prepro_ngrams(karpathy, vocabulary, frequencies, tmp_path, ids):
    words = words_of_file(vocabulary)
    expected, images = plain_frequencies(images_of(karpathy, ["train", "restval"]), words, ids=ids)
    found = DocumentFrequencies.load(frequencies[0 if ids else 1])
    assert as_table(found) == expected
    assert found.n_images == images == 12
    assert found.tokenizer == f"{'ids' if ids else 'words'}-{WordNumbers(words).digest}"
    assert any(len(gram) == 4 and gram[-1] == ("0" if ids else "<eos>") for gram in expected)
    pickled = tmp_path / "coco-train.p"
    pickled.write_bytes(pickle.dumps({"document_frequency": expected, "ref_len": images}, protocol=2))
    made("df", "convert", pickled, tmp_path / "out.npz", "-v", vocabulary)
    again = DocumentFrequencies.load(tmp_path / "out.npz")
    assert (as_table(again), again.n_images, again.tokenizer) == (expected, images, found.tokenizer)
    made("df", "convert", pickled, tmp_path / "bare.npz")
    assert DocumentFrequencies.load(tmp_path / "bare.npz").tokenizer == ("ids" if ids else "words")


def plain_cider_d(hypothesis, references, table, images):
    """CIDEr-D of index strings as cider's scorer has it, in plain Python; x10."""

    def grams(text):
        tokens = text.split()
        return [Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)) for n in range(1, 5)]

    def weigh(counts):
        return [{g: c * (math.log(images) - math.log(max(1.0, table.get(g, 0)))) for g, c in o.items()} for o in counts]

    mine, length = weigh(grams(hypothesis)), sum(grams(hypothesis)[1].values())
    scores = np.zeros(4)
    for reference in references:
        theirs, other = weigh(grams(reference)), sum(grams(reference)[1].values())
        for n in range(4):
            dot = sum(min(v, theirs[n].get(g, 0)) * theirs[n].get(g, 0) for g, v in mine[n].items())
            norm = math.sqrt(sum(v * v for v in mine[n].values())) * math.sqrt(sum(v * v for v in theirs[n].values()))
            scores[n] += (dot / norm if norm else 0) * math.exp(-((length - other) ** 2) / (2 * 6.0**2))
    return scores.mean() / len(references) * 10


def index_string(row):
    """A row of ids up to and including the first 0."""
    return " ".join(map(str, row[: row.index(0) + 1] if 0 in row else row))


def test_cider_d_on_ids_is_the_original_reward(karpathy, vocabulary, frequencies):
    """Hypotheses up to and including the first 0 (none at length 20), references as label rows of 16."""
    words = words_of_file(vocabulary)
    numbers = {word: i for i, word in enumerate(words, 1)}
    table, images = plain_frequencies(images_of(karpathy, ["train", "restval"]), words, ids=True)
    draw = random.Random(3)
    captions, references, expected = [], [], []
    for image in images_of(karpathy):
        long = [s["tokens"] for s in image["sentences"]]
        hypothesis = draw.choice([draw.choices([*COMMON, "zebra"], k=draw.choice([3, 8, 19, 20, 21])), long[0][:12]])
        captions.append(" ".join(hypothesis))
        references.append([s["raw"] for s in image["sentences"]])
        row = ([numbers.get(w, numbers["UNK"]) for w in hypothesis] + [0] * 20)[:20]
        labels = [([numbers.get(w, numbers["UNK"]) for w in s["raw"].lower().rstrip(" .").split()] + [0] * 16)[:16]
                  for s in image["sentences"]]  # fmt: skip
        expected.append(plain_cider_d(index_string(row), [index_string(r) for r in labels], table, images))
    samples = Samples(captions, references=references)
    by_ids = load(f"cider-d(df={frequencies[0]},vocabulary={vocabulary})")
    np.testing.assert_allclose(by_ids(samples).numpy(), expected, rtol=1e-9, atol=1e-12)
    assert np.std(expected) > 0.3
    by_words = load("cider-d", df=str(frequencies[1]), vocabulary=str(vocabulary), tokenizer="ptb-joined")
    np.testing.assert_allclose(by_words(samples).numpy(), expected, rtol=1e-9, atol=1e-12)
    digest = WordNumbers(words).digest
    assert f"|tok:ids-{digest}|" in str(by_ids.signature())
    assert f"|tok:words-{digest}|" in str(by_words.signature())


def test_a_caption_against_itself_is_ten(vocabulary, frequencies, karpathy):
    """clipreward.md 14, for captions of four words or more; the end token makes a 4-gram of three."""
    reward = load("cider-d", df=frequencies[0], vocabulary=vocabulary)
    captions = ["a dog on the grass", "man rides horse red big", "big red dog cat man " * 3, "big dog cat man " * 4]
    values = reward(Samples(captions, references=[[c] for c in captions])).tolist()
    assert values[:3] == pytest.approx([10.0] * 3, rel=1e-9)
    assert 9 < values[3] < 9.99  # of 16 words: the hypothesis has an end token, the label has no place for one
    # words that are no words of the vocabulary are one word, so that these agree
    assert reward(
        Samples(["zebra dog on the grass"], references=[["quokka dog on the grass"]])
    ).item() == pytest.approx(10)
    # the end token counts: without it a prefix would be closer
    assert reward(Samples(["a dog on the"], references=[["a dog on the grass"]])).item() < 8


def test_references_of_the_call_and_files_of_captions_serve_too(vocabulary, tmp_path):
    refs = {"1": ["a red dog on the grass"], "2": ["the man rides"], "3": ["a cat"]}
    (tmp_path / "refs.json").write_text(json.dumps(refs))
    samples = Samples(["a dog on the grass", "man", "a cat"], references=list(refs.values()))
    made("df", "build", tmp_path / "refs.json", "-v", vocabulary, "--ids", "-o", tmp_path / "refs.npz")
    found = [
        load("cider-d", df=df, vocabulary=vocabulary)(samples).tolist()
        for df in ("references", tmp_path / "refs.json", tmp_path / "refs.npz")
    ]
    assert found[0] == found[1] == found[2]
    assert found[0][0] > 1


def test_vocabularies_are_told_apart(karpathy, vocabulary, frequencies, tmp_path):
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"ix_to_word": {"1": "a", "2": "UNK"}}))
    with pytest.raises(InputError, match=r"of another vocabulary's words \(ids-\w{8}\); write cider-d\(df=...,vocab"):
        load("cider-d", df=frequencies[0], vocabulary=other)
    with pytest.raises(InputError, match=r"of a vocabulary's words"):
        load("cider-d", df=frequencies[0])
    assert same_words("ids", "ids-12345678")
    assert not same_words("ids-87654321", "ids-12345678")
    assert not same_words("words-12345678", "ids-12345678")
    assert same_words("ptb", "ptb-joined")
    bare = tmp_path / "bare.json"
    bare.write_text(json.dumps({"ix_to_word": {"1": "a"}}))
    with pytest.raises(InputError, match="neither 'zebra' nor UNK"):
        load("cider-d", df="references", vocabulary=bare)(Samples(["a zebra"], references=[["a"]]))


def test_no_pickle_is_run(tmp_path):
    path = tmp_path / "coco-train-idxs.p"
    act = Acts(os.system, f"touch {tmp_path}/was-here")
    for bad in (act, {"document_frequency": act, "ref_len": 3}, {"document_frequency": {("1",): 1.0}, "ref_len": act}):
        for protocol in (0, 2, 4):
            path.write_bytes(pickle.dumps(bad, protocol=protocol))
            assert "system; nothing was run" in refused("df", "convert", path, tmp_path / "out.npz")
    assert not (tmp_path / "was-here").exists()
    assert not (tmp_path / "out.npz").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], "is no pickle of document_frequency and ref_len"),
        ({"document_frequency": {}, "ref_len": 3}, "is no table of n-grams"),
        ({"document_frequency": {"ab": 1.0}, "ref_len": 3}, "'ab' is no n-gram"),
        ({"document_frequency": {("a b",): 1.0}, "ref_len": 3}, "is no n-gram"),
        ({"document_frequency": {("a",): 1.5}, "ref_len": 3}, "must be a whole number"),
        ({"document_frequency": {("a",): 1.0, ("a", "b"): 1.0}, "ref_len": 3}, "it is damaged"),
        ({"document_frequency": {("a",): 1.0}, "ref_len": 0}, "must be the number of images"),
        ({"document_frequency": {("9999",): 1.0}, "ref_len": 1}, "counts 9999, which the vocabulary of"),
        ({"document_frequency": {("gnu",): 1.0, ("<eos>",): 1.0}, "ref_len": 1}, "counts gnu, which the vocabulary of"),
    ],
)
def test_pickles_that_are_refused(tmp_path, vocabulary, content, message):
    path = tmp_path / "x.p"
    path.write_bytes(pickle.dumps(content))
    assert message in refused("df", "convert", path, tmp_path / "out.npz", "-v", vocabulary)
    path.write_bytes(pickle.dumps(content)[:-5])
    assert "is no pickle of" in refused("df", "convert", path, tmp_path / "out.npz")


def test_what_the_commands_refuse(karpathy, vocabulary, tmp_path):
    out = tmp_path / "x.npz"
    assert "name it with --vocabulary" in refused("df", "build", karpathy, "-o", out, "--ids")
    assert "must end in .json" in refused("vocabulary", "build", karpathy, "-o", out)
    assert "must end in .npz" in refused("vocabulary", "labels", karpathy, "-v", vocabulary, "-o", tmp_path / "x.h5")
    assert "there is no folder" in refused("vocabulary", "build", karpathy, "-o", tmp_path / "no" / "x.json")
    assert "has no split dev; it has train" in refused(
        "vocabulary", "build", karpathy, "-o", "x.json", "--split", "dev"
    )
    assert "occurs more than 9999 times" in refused(
        "vocabulary", "build", karpathy, "-o", tmp_path / "x.json", "--threshold", "9999"
    )
    assert "cannot be read" in refused("df", "convert", tmp_path / "none.p", out)
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps({"images": [{"split": "train", "cocoid": 1, "sentences": [{"words": []}]}]}))
    assert "neither tokens nor raw text" in refused("vocabulary", "build", broken, "-o", tmp_path / "x.json")
    broken.write_text(json.dumps({"images": [{"split": "train", "cocoid": 1, "sentences": []}]}))
    assert "no id or no sentences" in refused(
        "vocabulary", "build", broken, "-o", tmp_path / "x.json", "--format", "karpathy"
    )
