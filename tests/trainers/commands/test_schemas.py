"""The JSON Schemas for editors say what the code says, explain every setting, and admit what can be used."""

from __future__ import annotations

import json

import pytest
import yaml
from json_schemas import faults
from places import FIXTURES, ROOT

from capreward.errors import InputError
from trainers.commands.schemas import schemas, write
from trainers.runs.config_files import build, merged, read_recipe, recipe_names
from trainers.tuning.config import build as build_tuning
from trainers.tuning.objective import RECIPES

WRITTEN = schemas()
BUILD = {"run.json": build, "tune.json": build_tuning}
OLD = sorted((FIXTURES / "runs_0_1_0").rglob("*.yaml"))


@pytest.mark.parametrize("name", WRITTEN)
def test_the_files_are_what_the_code_says(name):
    kept = json.loads((ROOT / "schemas" / name).read_text(encoding="utf-8"))
    assert kept == WRITTEN[name], "a setting has changed; write the schemas anew: python -m trainers.commands.schemas"


def test_the_command_writes_them(tmp_path):
    write(tmp_path / "new")
    assert {p.name: json.loads(p.read_text(encoding="utf-8")) for p in (tmp_path / "new").iterdir()} == WRITTEN


@pytest.mark.parametrize("name", WRITTEN)
def test_every_setting_is_explained_in_sentences(name):
    sections = [WRITTEN[name], *WRITTEN[name]["$defs"].values()]
    assert len(sections) > 5
    for section in sections:
        assert section["additionalProperties"] is False
        for setting, told in section["properties"].items():
            assert told["description"][0].isupper(), setting
            assert told["description"].endswith("."), setting
            assert "Attributes:" not in told["description"], setting


@pytest.mark.parametrize("name", WRITTEN)
def test_every_setting_is_there(name):
    steps = {"training": {"steps": 1}}
    flat = BUILD[name](steps).to_dict()
    assert set(WRITTEN[name]["properties"]) == set(flat)
    for section, told in WRITTEN[name]["properties"].items():
        if "$ref" in told:
            assert set(WRITTEN[name]["$defs"][told["$ref"].rpartition("/")[2]]["properties"]) == set(flat[section])


@pytest.mark.parametrize("name", recipe_names())
def test_recipes_are_admitted(name):
    values = read_recipe(name)
    assert faults(values, WRITTEN["run.json"]) == []
    whole = build(merged({"reward": {"expression": "pacs"}}, values)).to_dict()
    assert faults(yaml.safe_load(yaml.safe_dump(whole)), WRITTEN["run.json"]) == []


@pytest.mark.parametrize("name", recipe_names(RECIPES))
def test_recipes_of_tuning_are_admitted(name):
    values = read_recipe(name, RECIPES)
    assert faults(values, WRITTEN["tune.json"]) == []
    assert faults(yaml.safe_load(yaml.safe_dump(build_tuning(values).to_dict())), WRITTEN["tune.json"]) == []


@pytest.mark.parametrize("path", OLD, ids=lambda p: str(p.relative_to(FIXTURES)))
def test_files_of_the_first_version_are_admitted(path):
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    schema = WRITTEN["tune.json" if "objective" in values else "run.json"]
    assert faults(values, schema) == []


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"trainning": {}}, " has no trainning"),
        ({"training": {"lrr": 1}}, ".training has no lrr"),
        ({"training": {"lr": -1}}, ".training.lr -1"),
        ({"training": {"betas": [0.9]}}, ".training.betas has 1 members"),
        ({"training": {"betas": [0.9, 1]}}, ".training.betas.1 1"),
        ({"training": {"schedule": "cos"}}, ".training.schedule is none of"),
        ({"training": 5}, ".training is no object"),
        ({"download": "perhaps"}, ".download is no boolean"),
        ({"data": {"count": 0}}, ".data.count 0"),
        ({"data": {"count": True}}, ".data.count is no integer"),
        ({"evaluation": {"max_length": 1}}, ".evaluation.max_length 1"),
        ({"logging": {"trackers": {"a": 1}}}, ".logging.trackers is no"),
        ({"optimizer": {"name": "rl"}}, ".optimizer.name is none of"),
        ({"optimizer": {"name": "dico", "beat": 1}}, ".optimizer has no beat"),
        ({"optimizer": {"name": "xe", "candidates": 2}}, ".optimizer has no candidates"),
        ({"captioner": {"sizes": {"depth": 3}}}, ".captioner.sizes has no depth"),
    ],
)
def test_what_a_run_refuses_an_editor_marks(values, where):
    assert any(fault.startswith(where) for fault in faults(values, WRITTEN["run.json"]))
    with pytest.raises(InputError):
        build(merged({"training": {"steps": 1}}, values))


@pytest.mark.parametrize(
    "values",
    [
        {"optimizer": {"candidates": 3}},  # the name is a flag's
        {"training": {"steps": 3.0, "epochs": None}},
        {"data": {"caption_column": "title"}},
        {"logging": {"trackers": "tensorboard,wandb", "project": 2024}},
    ],
)
def test_short_ways_of_writing_are_admitted(values):
    assert faults(values, WRITTEN["run.json"]) == []
