"""``cider-d(eos=true)``: captions and references end in one more word."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import oracle
import pytest
from click.testing import CliRunner
from frequency_helpers import TRAIN, cider_d
from hypothesis import assume, given
from strategies import corpora

from capreward import InputError, Samples, load
from capreward.commands import main
from capreward.evaluators.cider import frequencies_of_files
from capreward.text.document_frequencies import DocumentFrequencies
from capreward.text.tokenizers import EndTokenizer, NoTokenizer, same_words
from trainers.rewards.config import RewardConfig
from trainers.rewards.rewards import load_rewards


def ended(text):
    """The rule itself: one more word."""
    return " ".join([*text.split(), "<eos>"])


@pytest.fixture
def train_file(tmp_path):
    path = tmp_path / "train.json"
    path.write_text(json.dumps({str(i): r for i, r in enumerate(TRAIN)}))
    return path


def built(train_file, *options):
    output = train_file.with_name("".join(["df", *options, ".npz"]))
    done = CliRunner().invoke(
        main, ["df", "build", str(train_file), "-o", str(output), "--tokenizer", "none", *options]
    )
    assert done.exit_code == 0, done.output
    return output


@given(corpora())
def test_values_are_those_of_captions_with_one_more_word(corpus):
    captions, references = corpus
    more = [ended(c) for c in captions], [[ended(r) for r in refs] for refs in references]
    score = load("cider-d", tokenizer="none", eos=True).corpus(Samples(captions, references=references))
    whole, each = oracle.cider(*more)
    np.testing.assert_array_equal(score.per_caption, each)
    assert score.value == whole


@given(corpora())
def test_fixed_frequencies_have_end_tokens_too(corpus):
    captions, references = corpus
    assume(any(captions))
    train = [[ended(r) for r in refs] for refs in TRAIN]
    df = oracle.document_frequency(train)
    fixed = DocumentFrequencies.of(load("cider-d", tokenizer="none", eos=True).prepare(items(TRAIN)).grams)
    found = load("cider-d", df=fixed, tokenizer="none", eos=True)(Samples(captions, references=references)).numpy()
    expected = [
        cider_d(ended(c), [ended(r) for r in refs], df, len(train))
        for c, refs in zip(captions, references, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


def items(references):
    return Samples([], references=references, item=[])


def test_a_caption_that_breaks_off_loses_more_with_end_tokens(train_file):
    """The reason of it: "a man on a" shares no n-gram that ends a reference."""
    samples = Samples(["a man on a", "a horse"], references=[["a man on a horse"]], item=[0, 0])
    df = str(built(train_file)), str(built(train_file, "--eos"))
    without, with_end = (
        load("cider-d", df=d, tokenizer="none", eos=e)(samples).tolist() for d, e in zip(df, (False, True), strict=True)
    )
    assert without[0] > with_end[0]
    assert without[1] < with_end[1]


def test_the_file_remembers_and_a_mismatch_is_refused(train_file):
    plain, with_end = built(train_file), built(train_file, "--eos")
    assert DocumentFrequencies.load(with_end).tokenizer == "none+eos"
    assert load("cider-d", df=with_end, tokenizer="none", eos=True).signature().fields[1] == ("tok", "none+eos")
    with pytest.raises(InputError, match=r"with an end token in every caption; write cider-d\(df=...,eos=true\), or"):
        load("cider-d", df=with_end, tokenizer="none")
    with pytest.raises(InputError, match=r"were counted without end tokens; write cider-d\(df=...\), or .* with --eos"):
        load("cider-d", df=plain, tokenizer="none", eos=True)
    with pytest.raises(InputError, match="counted with none\\+eos; write"):
        load("cider-d", df=with_end, eos=True)


def test_file_object_and_references_count_the_same(train_file):
    with_end = built(train_file, "--eos")
    counted = frequencies_of_files([train_file], "none", source="df--eos.npz", eos=True)
    assert counted.digest == DocumentFrequencies.load(with_end).digest
    assert counted.digest != frequencies_of_files([train_file], "none", source="x").digest
    samples = Samples(["a dog on a horse", "unseen words"], references=[["a dog"], ["unseen horse words"]])
    values = [
        load("cider-d", df=df, tokenizer="none", eos=True)(samples).tolist()
        for df in (str(with_end), str(train_file), counted)
    ]
    assert values[0] == values[1] == values[2]
    assert values[0][0] > 0


def test_an_empty_caption_is_an_end_token_alone():
    assert EndTokenizer(NoTokenizer())(["", "a dog"]) == ["<eos>", "a dog <eos>"]
    assert same_words("ptb-joined+eos", "ptb+eos")
    assert not same_words("ptb+eos", "ptb")


def test_what_cannot_be_is_refused(tmp_path, train_file):
    words = tmp_path / "words.json"
    words.write_text(json.dumps({"ix_to_word": {"1": "a", "2": "UNK"}}))
    with pytest.raises(InputError, match="eos is true or false, found 'yes'"):
        load("cider-d", eos="yes")
    with pytest.raises(InputError, match="end in an end token with vocabulary=FILE already; leave eos out"):
        load("cider-d", vocabulary=words, eos=True)
    done = CliRunner().invoke(
        main, ["df", "build", str(train_file), "-o", str(tmp_path / "x.npz"), "-v", str(words), "--eos"]
    )
    assert done.exit_code == 2
    assert "leave --eos (eos=True) out" in done.output


class Captioned:
    """What a run's frequencies are counted on, of a dataset."""

    source = "made up"

    def __len__(self):
        return len(TRAIN)

    def __getitem__(self, position):
        return SimpleNamespace(captions=TRAIN[position])

    def fingerprint(self):
        return "abc"


def rewards_of(folder, expression, monitors="", varied=False):
    config = RewardConfig(expression=expression, monitors=monitors)
    return load_rewards(config, dataset=Captioned(), folder=folder, shared={}, varied=varied)


def test_a_run_counts_its_training_captions_as_its_reward_does(tmp_path):
    rewards, notes = rewards_of(tmp_path, "cider-d(eos=true) - 0.5*repetition", "cider, length", varied=True)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["document-frequencies-abc-eos.npz", "document-frequencies-abc.npz"]
    assert len(notes) == 2
    assert "document-frequencies-abc-eos.npz(4," in str(rewards.evaluator.signature())
    assert "document-frequencies-abc.npz(4," in str(rewards.monitors[0].signature())
    assert "document-frequencies-abc.npz(4," in str(rewards.diversity.signature())
    with pytest.raises(InputError, match=r"cider-d\(eos=true\) counts an end token, cider none; give both eos=true"):
        rewards_of(tmp_path, "cider-d(eos=true) + cider")


def test_frequencies_without_end_tokens_are_counted_where_nothing_asks_for_them(tmp_path):
    rewards_of(tmp_path, "cider-d", "length")
    assert [path.name for path in tmp_path.iterdir()] == ["document-frequencies-abc.npz"]
