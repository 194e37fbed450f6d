"""Which search captions are decoded by: flags, then the run, then the authors of a released checkpoint."""

from __future__ import annotations

import dataclasses
import json

import pytest
import yaml
from captioner_files import Model, write_released
from clipreward_files import lightning, original
from run_helpers import called
from train_helpers import TINY, fields, train

from capreward import InputError
from capreward.data.scenes import picture_of
from trainers.captioners.layouts.loading import convert_captioner, open_captioner
from trainers.comparison.named_captioners import decoding_for, source_of
from trainers.decoding import Decoding
from trainers.evaluation.config import EvaluationConfig
from trainers.evaluation.search_settings import describe_search, keep_begun_search, search_of, with_search

DICO = {"beams": 5, "max_length": 30, "length_penalty": 1.0, "rules": "dico", "suppress": False}
CLIP_REWARD = {"beams": 1, "max_length": 21, "length_penalty": 0.0, "rules": "clip-reward"}


@pytest.fixture(scope="module")
def dico(tmp_path_factory):
    model = Model(places=40)
    return write_released(tmp_path_factory.mktemp("released") / "dico", model.released(), model.config())


@pytest.fixture(scope="module")
def clip_reward(tmp_path_factory):
    return lightning(tmp_path_factory.mktemp("released") / "clips-last.ckpt", original())


def decoded(path, **asked):
    source = source_of(str(path))
    return decoding_for([source], source.open(), **asked)


def test_a_released_checkpoint_brings_its_authors_search_and_keeps_it(dico, clip_reward, tmp_path):
    for path, known in ((dico, DICO), (clip_reward, CLIP_REWARD)):
        assert open_captioner(path).decoding == known
        assert decoded(path) == Decoding(**known)
        own = tmp_path / path.stem
        convert_captioner(path, own)
        assert json.loads((own / "captioner.json").read_text())["decoding"] == known
        assert decoded(own) == Decoding(**known)
    assert describe_search(decoded(clip_reward)) == (
        "beam search with 1 beam, at most 21 tokens, no length penalty, the rules of clip-reward"
    )
    assert describe_search(decoded(dico)) == "beam search with 5 beams, at most 30 tokens"
    assert decoding_for([source_of(str(dico))], open_captioner(dico, longest=12)).max_length == 12
    assert decoded(clip_reward, beams=4, max_length=7, length_penalty="wu_0.9") == Decoding(
        beams=4, max_length=7, length_penalty="wu_0.9", rules="clip-reward"
    )


def test_a_captioner_without_authors_is_searched_as_ever(dico, tmp_path):
    convert_captioner(dico, tmp_path / "own")
    file = tmp_path / "own" / "captioner.json"
    known = json.loads(file.read_text())
    file.write_text(json.dumps({n: v for n, v in known.items() if n != "decoding"}))  # as 0.1.0 wrote it
    assert open_captioner(tmp_path / "own").decoding is None
    assert decoded(tmp_path / "own") == Decoding(beams=5, max_length=40)
    file.write_text(json.dumps({**known, "decoding": {"beam": 3}}))
    with pytest.raises(InputError, match="decoding has no setting 'beam'"):
        decoded(tmp_path / "own")
    file.write_text(json.dumps({**known, "decoding": 3}))
    with pytest.raises(InputError, match="its decoding is 3, no table of settings"):
        open_captioner(tmp_path / "own")


def test_the_command_says_so_and_flags_win(dico, tmp_path):
    picture_of("scenes-test-000000").open().save(tmp_path / "a.png")
    note = "note: dico is decoded as its authors do; --beams, --max-length, --length-penalty and --rules win"
    done = called("caption", tmp_path, "-c", dico)
    assert "(beam search with 5 beams, at most 30 tokens)" in done.stderr
    assert note.replace("dico", str(dico), 1) in done.stderr
    flags = ("--beams", 2, "--max-length", 6, "--length-penalty", 0, "--rules", "transformers")
    done = called("caption", tmp_path, "-c", dico, *flags)
    assert "(beam search with 2 beams, at most 6 tokens, no length penalty, the rules of transformers)" in done.stderr
    for flags, words in (
        (("--greedy",), "greedy search, at most 30"),
        (("--candidates", 6), "beam search with 6 beams, at most 30"),
        (("--groups", 5), "diverse beam search with 5 beams in 5 groups"),
    ):
        assert words in called("caption", tmp_path, "-c", dico, *flags).stderr


def test_evaluate_takes_it_too_and_says_so(dico):
    asked = ("evaluate", dico, "--data", "scenes:test", "--count", 2, "-m", "length", "--resamples", 0)
    done = called(*asked)
    assert done.exit_code == 0, done.output
    told = " ".join(done.stderr.split())
    assert "(beam search with 5 beams, at most 30 tokens; as its authors do, but for what is asked)" in told
    told = " ".join(called(*asked, "--beams", 1, "--max-length", 9, "--rules", "clip-reward").stderr.split())
    assert "(beam search with 1 beam, at most 9 tokens, the rules of clip-reward; as its authors do" in told


def test_diverse_search_of_a_captioner_with_rules_of_its_own(clip_reward):
    from trainers.commands.decoding_options import DecodingOptions, decoding_of

    source = source_of(str(clip_reward))
    names = [field.name for field in dataclasses.fields(DecodingOptions)]
    options = DecodingOptions.of({**dict.fromkeys(names), "groups": 2})
    found = decoding_of(options, source, source.open())
    assert (found.method, found.beams, found.rules, found.length_penalty) == ("diverse", 2, "dico", 0.0)
    with pytest.raises(InputError, match="the rules clip-reward are of the method beam"):
        decoding_of(dataclasses.replace(options, rules="clip-reward"), source, source.open())


def test_evaluations_of_a_run_take_it_unless_told_otherwise(clip_reward):
    captioner = open_captioner(clip_reward)
    free = with_search(EvaluationConfig(), captioner)
    assert search_of(free) == Decoding(**CLIP_REWARD)
    asked = EvaluationConfig(beams=3, max_length=9, decoding={"length_penalty": 1.0})
    assert search_of(with_search(asked, captioner)) == Decoding(beams=3, max_length=9, rules="clip-reward")
    captioner.decoding = None
    assert search_of(with_search(EvaluationConfig(), captioner)) == Decoding(beams=5, max_length=30)
    with pytest.raises(InputError, match=r"evaluation.decoding has no beams; give evaluation.beams"):
        with_search(EvaluationConfig(decoding={"beams": 3}), captioner)
    with pytest.raises(InputError, match="decoding has no setting 'lenght_penalty'"):
        with_search(EvaluationConfig(decoding={"lenght_penalty": 3}), captioner)


def test_a_run_that_goes_on_searches_as_it_began(clip_reward):
    """0.1.0 wrote beams and max_length, searched by the rules of DiCO, and asked no captioner."""
    captioner = open_captioner(clip_reward)
    older = keep_begun_search(EvaluationConfig(), {"beams": 5, "max_length": 21})
    assert search_of(with_search(older, captioner)) == Decoding(beams=5, max_length=21)
    begun = with_search(EvaluationConfig(), captioner)
    again = keep_begun_search(EvaluationConfig(beams=2), {"beams": 1, "max_length": 21, "decoding": begun.decoding})
    assert search_of(with_search(again, captioner)) == Decoding(**{**CLIP_REWARD, "beams": 2})


def test_a_run_tells_and_keeps_what_it_took(dico, tmp_path):
    config = {**TINY, "captioner": {"init": str(dico)}, "evaluation": {"every": 4, "metrics": "length"}}
    short = ["--steps", "1", "--val-count", "1", *fields("evaluation", max_length=8)]
    said = train(tmp_path, *short, config=config)
    assert (
        "evaluations decode as the captioner's authors do, but for what is asked: beam search with 5 beams, at most 8"
    ) in said
    kept = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["evaluation"]
    assert (kept["beams"], kept["max_length"]) == (5, 8)
    assert kept["decoding"] == {"length_penalty": 1.0, "rules": "dico", "suppress": False}
    assert json.loads((tmp_path / "run" / "last" / "captioner.json").read_text())["decoding"] == DICO
    source = source_of(str(tmp_path / "run"))
    assert decoding_for([source], source.open()) == Decoding(beams=5, max_length=8, suppress=False)
