"""vrama91's document frequencies: a pickled table of n-grams alone, of which the number of images has to be told."""

from __future__ import annotations

import pickle
from collections import defaultdict

import numpy as np
import oracle
import pytest
from click.testing import CliRunner
from frequency_helpers import TRAIN, cider_d

from capreward import InputError, Samples, load
from capreward.commands import main
from capreward.text.document_frequencies import DocumentFrequencies

# What Python 2 wrote of {("caf\xc3\xa9",): 2.0, ("a",): 1.0}, a defaultdict(float): words as bytes in UTF-8.
PYTHON2 = (
    b"\x80\x02ccollections\ndefaultdict\nc__builtin__\nfloat\n\x85R(U\x05caf\xc3\xa9\x85G@\x00\x00\x00\x00\x00\x00\x00"
    b"U\x01a\x85G?\xf0\x00\x00\x00\x00\x00\x00u."
)


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def refused(*arguments):
    done = run(*arguments)
    assert done.exit_code == 2, done.output
    return done.output


@pytest.fixture
def table():
    found = defaultdict(float)
    for gram, images in oracle.document_frequency(TRAIN).items():
        found[gram] += images
    return found


@pytest.fixture
def pickled(tmp_path, table):
    path = tmp_path / "coco-val-df.p"
    path.write_bytes(pickle.dumps(table, protocol=2))
    return path


def test_values_are_those_of_the_table_and_the_number_told(pickled, table, tmp_path):
    output = tmp_path / "df.npz"
    done = run("df", "convert", pickled, output, "--images", 40504, "--tokenizer", "none")
    assert done.exit_code == 0, done.output
    assert "40,504 images" in done.output
    captions, references = ["a dog on a horse", "two unseen"], [["a man on a horse", "a dog"], ["two men"]]
    samples = Samples(captions, references=references)
    found = load("cider-d", df=str(output), tokenizer="none")(samples).numpy()
    expected = [cider_d(c, r, table, 40504) for c, r in zip(captions, references, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    plain = load("cider-plain", df=str(output), tokenizer="none")(samples).numpy()
    expected = [oracle.cider_plain(c, r, table, 40504) for c, r in zip(captions, references, strict=True)]
    np.testing.assert_allclose(plain, expected, rtol=1e-12)


def test_the_number_of_images_is_asked_for_and_checked(pickled, tmp_path):
    output = tmp_path / "df.npz"
    assert "give --images N (40504 for vrama91's coco-val-df.p)" in refused("df", "convert", pickled, output)
    assert "counts 'a' in 3 images, and --images says 2" in refused("df", "convert", pickled, output, "--images", 2)
    assert "--images is 0" in refused("df", "convert", pickled, output, "--images", 0)
    whole = tmp_path / "whole.p"
    whole.write_bytes(pickle.dumps({"document_frequency": {("a",): 1.0}, "ref_len": 3}))
    message = "says itself that it is of 3 images; leave --images out"
    assert message in refused("df", "convert", whole, output, "--images", 4)
    assert not output.exists()


def test_words_of_python_2_are_read_as_utf_8(tmp_path):
    path = tmp_path / "x.p"
    path.write_bytes(PYTHON2)
    assert run("df", "convert", path, tmp_path / "x.npz", "--images", 9).exit_code == 0
    found = DocumentFrequencies.load(tmp_path / "x.npz")
    assert dict(zip(found.table.vocabulary, found.counts[0].tolist(), strict=True)) == {"café": 2, "a": 1}
    assert found.tokenizer == "ptb"


def test_parts_that_a_table_lacks_occur_in_no_image(tmp_path):
    path = tmp_path / "x.p"
    path.write_bytes(pickle.dumps({("a",): 2.0, ("a", "dog", "runs"): 1.0}))
    assert run("df", "convert", path, tmp_path / "x.npz", "--images", 9).exit_code == 0
    found = DocumentFrequencies.load(tmp_path / "x.npz")
    assert dict(zip(found.table.vocabulary, found.counts[0].tolist(), strict=True)) == {"a": 2, "dog": 0, "runs": 0}
    assert [c.tolist() for c in found.counts[1:]] == [[0], [1], []]


def test_a_table_with_end_tokens_is_one(tmp_path):
    path = tmp_path / "x.p"
    path.write_bytes(pickle.dumps({("a",): 2.0, ("<eos>",): 3.0, ("a", "<eos>"): 1.0}))
    assert run("df", "convert", path, tmp_path / "x.npz", "--images", 9).exit_code == 0
    assert DocumentFrequencies.load(tmp_path / "x.npz").tokenizer == "ptb+eos"
    assert load("cider-d", df=str(tmp_path / "x.npz"), eos=True).given


@pytest.mark.parametrize(("name", "protocol"), [("x.p", 0), ("x.p", 2), ("x.pkl", 0), ("x", 4)])
def test_a_pickle_given_as_frequencies_is_named(tmp_path, table, name, protocol):
    path = tmp_path / name
    path.write_bytes(pickle.dumps(table, protocol=protocol))
    expected = f"{path} is a pickle; convert it first: capreward df convert {path} {tmp_path / 'x.npz'}"
    with pytest.raises(InputError) as error:
        load("cider-d", df=str(path))
    assert str(error.value) == expected
    assert expected in refused("df", "show", path)
