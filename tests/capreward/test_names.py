"""Names of metrics as papers print them, wherever a metric is named."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from places import ROOT

from capreward import InputError, Samples, load, reward, score
from capreward.commands import main
from capreward.evaluators import evaluators
from capreward.expression import Metric, Number, Operation, canonical, parse, parse_list
from capreward.metric_names import matching_name
from capreward.registry import Entry, Registry
from capreward.reports.results import LABELS

CAPTIONS, REFERENCES = ROOT / "examples/captions.json", ROOT / "examples/references.json"

PRINTED = {
    "CIDEr": "cider", "BLEU-4": "bleu4", "Bleu_1": "bleu1", "BLEU@2": "bleu2", "B@3": "bleu3", "B-4": "bleu4",
    "BLEU": "bleu", "ROUGE-L": "rouge", "ROUGE_L": "rouge", "rougeL": "rouge", "METEOR": "meteor", "SPICE": "spice",
    "CLIP-S": "clips", "CLIPScore": "clips", "PAC-S": "pacs", "PACScore": "pacs", "RefCLIP-S": "refclips",
    "RefCLIPScore": "refclips", "RefPAC-S": "refpacs", "RefPACScore": "refpacs", "PAC-S++": "pacspp",
    "PAC-Score++": "pacspp", "RefPAC-S++": "refpacspp", "CIDEr-D": "cider-d", "CIDErD": "cider-d",
    "cider_d": "cider-d", "Self-CIDEr": "self-cider", "SELF_CIDER": "self-cider", "mBLEU-4": "mbleu4",
    "mBLEU": "mbleu", "FineCapEval": "finecapeval", "CLIP-S-Grammar": "clips-grammar", "Repetition": "repetition",
}  # fmt: skip


@pytest.mark.parametrize("printed", PRINTED)
def test_a_printed_name_is_the_evaluator_of_that_name(printed):
    assert parse(printed) == Metric(PRINTED[printed])
    assert load(printed).name == PRINTED[printed]
    assert printed in evaluators


def test_every_heading_that_a_table_prints_can_be_typed():
    typed = {name: heading for name, heading in LABELS.items() if name in list(evaluators)}
    assert len(typed) >= 14
    for name, heading in typed.items():
        assert load(heading).name == name


def test_every_registered_name_is_itself_in_any_case():
    names = [name for name in evaluators if evaluators[name].origin == "capreward"]
    assert [parse(name.upper().replace("-", "_")).name for name in names] == names


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("BLEU-4 - CIDEr", Operation("-", Metric("bleu4"), Metric("cider"))),
        ("BLEU-4 -CIDEr", Operation("-", Metric("bleu4"), Metric("cider"))),
        ("CIDEr - 4", Operation("-", Metric("cider"), Number(4.0))),
        ("PAC-S++ + CIDEr", Operation("+", Metric("pacspp"), Metric("cider"))),
        ("PAC-S+++CIDEr", Operation("+", Metric("pacspp"), Metric("cider"))),
        ("PAC-S+CIDEr", Operation("+", Metric("pacs"), Metric("cider"))),
        ("2*PAC-S++*CLIP-S", Operation("*", Operation("*", Number(2.0), Metric("pacspp")), Metric("clips"))),
        ("-ROUGE_L", Operation("*", Number(-1.0), Metric("rouge"))),
        ("CIDEr-D(df=A-B.npz)", Metric("cider-d", (("df", "A-B.npz"),))),
    ],
)
def test_signs_in_names_are_no_operators_and_operators_are_none_of_the_name(text, expected):
    assert parse(text) == expected


def test_the_output_and_the_signatures_are_those_of_the_registered_names(monkeypatch):
    spelt = ["BLEU-4,ROUGE_L,CIDEr - 0.5*Length", "bleu4,rouge,cider - 0.5*length"]
    out = [
        CliRunner().invoke(main, ["score", str(CAPTIONS), "-r", str(REFERENCES), "-m", text, "--json"])
        for text in spelt
    ]
    assert out[0].exit_code == 0, out[0].stderr
    assert out[0].stdout == out[1].stdout
    assert out[0].stderr == out[1].stderr
    assert list(json.loads(out[0].stdout)["systems"][0]["scores"]) == [
        "bleu4", "rouge", "cider - 0.5*length", "cider", "length",
    ]  # fmt: skip


def test_options_and_shared_options_reach_the_evaluator():
    assert load("BLEU-2", tokenizer="none").signature() == load("bleu2", tokenizer="none").signature()
    assert str(load("CIDEr-D", df="references").signature()) == str(load("cider-d", df="references").signature())
    assert load("Rouge_L + Length", tokenizer="none").name == "rouge + length"


def test_scores_are_found_by_any_spelling():
    scores = score(["a dog"], [["a dog"]], metrics="BLEU,ROUGE-L")
    assert scores["BLEU-2"] is scores["bleu2"]
    assert scores["Rouge_L"].value == 1.0
    assert "CIDEr" not in scores


def test_the_same_metric_in_two_spellings_is_asked_for_twice():
    with pytest.raises(InputError, match="the metric 'cider' is asked for twice"):
        score(["a"], [["a"]], metrics="CIDEr,cider")


def test_coco_is_its_list_of_metrics():
    assert [canonical(node) for node in parse_list("COCO, length")] == ["bleu", "meteor", "rouge", "cider", "length"]
    with pytest.raises(InputError, match="coco is the list bleu,meteor,rouge,cider; it cannot be a part"):
        load("coco + length")
    with pytest.raises(InputError, match="coco is the list bleu,meteor,rouge,cider"):
        load("everything")


def test_a_registered_name_wins_exactly_and_other_spellings_of_both_are_refused():
    registry = Registry({"shout": Entry("m:a"), "cider": Entry("m:b"), "CIDEr": Entry("m:c")}, group="none")
    assert [registry.find(name) for name in ("cider", "CIDEr", "SHOUT")] == ["cider", "CIDEr", "shout"]
    assert registry.find("nothing") is None
    with pytest.raises(InputError, match="'Cider' can be cider or CIDEr; write one of them exactly"):
        registry.find("Cider")


def test_a_reward_of_ones_own_named_as_a_metric_is_printed_wins(monkeypatch):
    monkeypatch.setattr(evaluators, "_entries", dict(evaluators._entries))

    @reward("CIDEr")
    def own(captions, **context):
        return [7.0 for _ in captions]

    assert load("CIDEr - 1")(Samples(["a"])).tolist() == [6.0]
    assert load("cider").name == "cider"


@pytest.mark.parametrize("name", ["PAC-S++", "B@4", "a.b", "a:b"])
def test_a_reward_is_not_named_by_signs_of_spelling(name):
    with pytest.raises(InputError, match="cannot name a reward"):
        reward(name)


@pytest.mark.parametrize(
    ("name", "near"),
    [("CIDRe", "cider"), ("BLEU-5", "bleu"), ("PACS+", "expected"), ("ROUGE-1", "rouge"), ("BLEU-4-CIDEr", "space")],
)
def test_what_is_no_spelling_of_anything_gets_suggestions(name, near):
    with pytest.raises(InputError, match=near):
        load(name)


def test_a_spelling_stands_for_a_known_name_alone():
    assert matching_name("Rouge-L", ["rouge", "cider"]) == "rouge"
    assert matching_name("Rouge-L", ["cider"]) is None
    for text in ("-rouge", "rouge-", " rouge", "rouge+", "rouge++l", ""):
        assert matching_name(text, ["rouge"]) is None
