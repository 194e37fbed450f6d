"""Values that are no numbers, and empty captions that have one: the notes that say so."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from train_helpers import fields, rows, train

from capreward import Evaluator, InputError, Samples, load, reward, score
from capreward.data.scenes import picture_of
from trainers.watch.rules import warnings_of


class Given(Evaluator):
    """Values that are given."""

    name = "given"

    def __init__(self, *numbers: float, name: str = "given") -> None:
        self.numbers, self.name = numbers, name

    def values(self, samples, prepared):
        return np.array([self.numbers[int(samples.key[i])] for i in samples.item])


@reward("test-sometimes")
def sometimes(captions, **context):
    return [None if "no" in text else float(len(text)) for text in captions]


def notes(*numbers, captions=None, **options):
    samples = Samples(captions or [f"caption {n}" for n in range(len(numbers))])
    return score(samples, metrics=[Given(*numbers)], **options).notes


def test_values_that_are_numbers_need_no_note():
    assert notes(0.0, -1.0, 2.5) == []


def test_captions_without_a_number_are_counted_and_named():
    nan, inf = float("nan"), float("inf")
    assert notes(nan, nan) == [
        "given: 2 of 2 captions have no number (NaN): images 0, 1; so the value of all is NaN",
    ]
    assert notes(1.0, nan, 3.0) == [
        "given: 1 of 3 captions has no number (NaN): image 1; the value is that of the others",
    ]
    assert notes(1.0, -inf) == [
        "given: 1 of 2 captions has an infinite value: image 1; so the value of all is infinite"
    ]
    assert len(notes(nan, inf)) == 2


def test_an_expression_names_the_term_and_itself():
    samples = Samples(["a dog", "no"], references=[["a dog"], ["a cat"]])
    found = score(samples, metrics="rouge + test-sometimes")
    said = "1 of 2 captions has no number"
    assert [note for note in found.notes if said in note] == [
        f"test-sometimes: {said} (None or NaN): image 1; the value is that of the others",
        f"rouge + test-sometimes: {said} (NaN): image 1; the value is that of the others",
    ]


def test_what_does_not_apply_is_no_fault():
    samples = Samples(["a dog", "a cat", "a cow"], references=[["a dog"], []], item=[0, 0, 1])
    assert score(samples, metrics="rouge,self-cider,mbleu,rouge - self-cider").notes == []


def test_a_corpus_value_that_is_none_is_said():
    class Infinite(Given):
        def finish(self, sums):
            return np.where(sums[..., 1:] > 1, np.inf, sums[..., :1])

    found = Infinite(1.0, 2.0).corpus(Samples(["a", "b"]))
    assert found.notes == ("given: the value of all 2 captions is no number (inf)",)


def test_none_from_a_reward_is_said_with_its_number():
    samples = Samples(["yes", "no", "no no"])
    found = score(samples, metrics="test-sometimes")
    assert found["test-sometimes"].value == 3.0
    assert found.notes == [
        "test-sometimes: 2 of 3 captions have no number (None or NaN): images 1, 2; the value is that of the others"
    ]
    evaluator = load("test-sometimes")
    with pytest.warns(RuntimeWarning, match=r"test-sometimes: 2 of 3 captions have no finite number \(None or NaN\)"):
        assert evaluator(samples).isnan().tolist() == [False, True, True]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert evaluator(samples).isnan().sum() == 2  # told once
        assert load("rouge")(Samples(["a", "b"], references=[["a"], []])).isnan().tolist() == [False, True]
    with pytest.warns(RuntimeWarning, match=r"1 \+ test-sometimes: 2 of 3"):
        load("1 + test-sometimes")(samples)


def test_an_empty_caption_that_counts_like_any_other_is_said():
    assert notes(0.5, 0.25, 0.75, captions=["", "a dog", " \t"]) == [
        "given: 2 of 3 captions are empty and count like any other, 0.6250 on average: images 0, 2"
    ]
    assert notes(0.5, captions=["\n"]) == ["given: 1 of 1 caption is empty and counts like any other, 0.5000: image 0"]
    three = ["", "a dog", "a car"], [["a cat"], ["a dog"], ["a red car"]]
    assert score(*three, metrics="bleu,rouge,cider,repetition,length").notes == []


def test_pacs_says_what_an_empty_caption_has():
    key = "scenes-test-000003"
    samples = Samples(["", "a red ball"], images=[picture_of(key)] * 2, key=[key, "other"])
    found = score(samples, metrics="pacs")
    value = found["pacs"].per_caption[0]
    assert value > 0.5
    assert f"pacs: 1 of 2 captions is empty and counts like any other, {value:.4f}: image {key}" in found.notes


def test_broken_weights_of_an_encoder_are_said(monkeypatch):
    from capreward.evaluators.clip_score import ClipScore

    monkeypatch.setattr(ClipScore, "scores", lambda self, samples, ready: torch.full((len(samples),), torch.nan))
    samples = Samples(["a", "b"], images=[picture_of("scenes-test-000003"), picture_of("scenes-test-000004")])
    found = score(samples, metrics="pacs")
    assert "pacs: 2 of 2 captions have no number (NaN): images 0, 1; so the value of all is NaN" in found.notes


def test_rewards_must_still_be_numbers():
    @reward("test-words")
    def words(captions, **context):
        return ["many" for _ in captions]

    with pytest.raises(InputError, match="is no number"):
        load("test-words")(Samples(["a"]))


def test_empty_candidates_are_warned_of_once():
    some = [{"kind": "train", "step": n, "empty": share} for n, share in enumerate([0.0, 0.125, 0.5])]
    told = [w for w in warnings_of(some) if w.name == "empty"]
    assert [w.sentence for w in told] == [
        "12.5% of candidates are empty captions at step 1, and the reward scores them like any other"
    ]
    assert warnings_of(some[:1]) == []


def test_a_run_whose_candidates_are_empty_says_so(tmp_path, monkeypatch):
    from trainers.captioners.grid import GridCaptioner

    monkeypatch.setattr(GridCaptioner, "decode_text", lambda self, tokens: ["", *["a dog"] * (len(tokens) - 1)])
    extra = ["--optimizer", "scst", "--reward", "length", "--candidates", "2", "--baseline", "mean", "--steps", "3"]
    told = train(tmp_path, *extra, *fields("optimizer", max_length=12))
    assert told.count("warning (empty): 6.2% of candidates are empty captions at step 1") == 1
    assert [row["empty"] for row in rows(tmp_path / "run", "train")] == [1 / 16] * 3
