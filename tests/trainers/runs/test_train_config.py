"""Configurations: what is given where, what wins, and everything that is wrong told at once."""

from __future__ import annotations

import datetime
import pickle
import subprocess
import sys

import pytest
import yaml
from train_helpers import TINY, arguments, fields, train

from capreward.commands import main
from capreward.errors import InputError
from trainers.commands.train import default_name
from trainers.commands.train_values import flag_values, values_of
from trainers.runs.config import RunConfig
from trainers.runs.config_files import build, merged, read_recipe, recipe_names, settings
from trainers.runs.session import flat, to_yaml

STEPS = {"training": {"steps": 1}}


def refused(values):
    with pytest.raises(InputError) as caught:
        build(merged(STEPS, values))
    return str(caught.value)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"trainning": {}}, "unknown setting trainning; did you mean training?"),
        ({"training": {"lrr": 1}}, "unknown setting training.lrr; did you mean training.lr?"),
        ({"data": {"lr": 1}}, "unknown setting data.lr; did you mean training.lr?"),
        ({"lr": 1}, "unknown setting lr; did you mean training.lr?"),
        ({"checkpoint": {"often": 1}}, "unknown setting checkpoint.often; known here are every, keep"),
        ({"training": {"lr": "fast"}}, "training.lr must be a number; found 'fast'"),
        ({"training": {"lr": -1}}, "training.lr must be a number, at least 0; found -1"),
        ({"training": {"lr": float("nan")}}, "training.lr must be a number, at least 0; found nan"),
        ({"training": {"batch_size": 2.5}}, "training.batch_size must be a whole number; found 2.5"),
        ({"training": {"batch_size": True}}, "training.batch_size must be a whole number; found True"),
        ({"training": {"betas": [0.9]}}, "training.betas must be a list of numbers; found [0.9]"),
        (
            {"training": {"betas": [0.9, 1]}},
            "training.betas must be a number, at least 0 and at most 0.999999; found 1",
        ),
        ({"training": {"epochs": 2}}, "training: give either steps or epochs"),
        ({"training": {"schedule": "cos"}}, "training.schedule='cos' is none of constant, linear, cosine, noam"),
        ({"training": {"schedule": "noam"}}, "training: the noam schedule needs a warmup of at least 1 step"),
        ({"training": {"clip": 0}}, "training.clip must be a number, at least 1e-12; found 0"),
        ({"training": 5}, "training is a section; found 5"),
        ({"download": "perhaps"}, "download must be true or false; found 'perhaps'"),
        ({"seed": -1}, "seed must be a whole number, at least 0"),
        ({"optimizer": {"name": "dico"}}, "the optimizer dico needs a reward; give --reward pacs"),
        ({"optimizer": {"name": "dico", "beat": 1}}, "the optimizer dico has no option 'beat'; did you mean beta?"),
        ({"optimizer": {"name": "rl"}}, "unknown optimizer 'rl'; known are xe, scst, dico"),
        ({"optimizer": {"name": 3}}, "optimizer.name is missing"),
        ({"optimizer": "dico"}, "optimizer must be a mapping; found 'dico'"),
        ({"reward": {"low": 2, "high": 1}}, "reward.low 2 must be below high 1"),
        ({"reward": {"normalise": "yes"}}, "reward.normalise='yes' is none of none, batch, running"),
        ({"captioner": {"sizes": {"width": 30, "heads": 4}}}, "captioner: width 30 must be a multiple of heads 4"),
        ({"captioner": {"sizes": {"depth": 3}}}, "captioner.sizes has no 'depth'; it has width, heads"),
        ({"captioner": {"sizes": {"width": "wide"}}}, "captioner.sizes.width must be a whole number"),
        ({"captioner": {"sizes": {"dropout": "0.1"}}}, "captioner.sizes.dropout must be a number"),
        ({"data": {"count": 0}}, "data.count must be a whole number, at least 1; found 0"),
        ({"evaluation": {"patience": 0}}, "evaluation.patience must be a whole number, at least 1"),
        ({"logging": {"trackers": {"a": 1}}}, "logging.trackers must be a list of texts; found {'a': 1}"),
        ({"logging": {"trackers": ["a", True]}}, "logging.trackers must be a list of texts; found ['a', True]"),
        ({"data": {"caption_column": 3}}, "data.caption_column must be a list of texts or null; found 3"),
        ({"data": {"count": "3"}}, "data.count must be a whole number or null; found '3'"),
        ({"training": {"lr": 10**400}}, "training.lr must be a number; found 1000"),
        ({"training": {"lr": True}}, "training.lr must be a number; found True"),
        ({"training": {"lr": "inf"}}, "training.lr must be a number, at least 0; found inf"),
        ({"training": {"schedule": True}}, "training.schedule must be a text; found True"),
        ({"training": {True: 1}}, "unknown setting training.True; known here are steps, epochs"),  # ``on`` to YAML
        ({True: 1}, "unknown setting True; known here are optimizer, seed"),
        ({"optimizer": {1: 2}}, "the keys of optimizer must be texts; found 1"),
        ({"captioner": {"sizes": {1: 2}}}, "the keys of captioner.sizes must be texts; found 1"),
        ({"captioner": {"kind": "grit"}}, "captioner.kind='grit' is none of grid, clip-reward"),
        ({"captioner": {"cropping": "torch"}}, "captioner.cropping='torch' is none of torchvision, transformers"),
        ({"evaluation": {"beams": 0}}, "evaluation.beams must be a whole number, at least 1; found 0"),
        ({"seed": 2**31}, "seed must be a whole number, at least 0 and at most 2.14748e+09; found 2147483648"),
    ],
)
def test_what_is_wrong_is_named(values, told):
    assert told in refused(values)


def test_all_that_is_wrong_is_told_at_once():
    wrong = {
        "training": {"lr": "x", "batch": 3},
        "data": {"workers": -1},
        "optimizer": {"name": "scst", "baseline": "beam"},
        "colour": 1,
    }
    lines = refused(wrong).splitlines()
    assert lines[0] == "5 settings cannot be used:"
    assert all(line.startswith("  - ") for line in lines[1:])
    for part in ("training.lr", "training.batch", "data.workers", "baseline", "colour"):
        assert sum(part in line for line in lines) == 1, lines


def test_sentences_follow_the_order_of_what_was_written_each_setting_once():
    wrong = {
        "training": {"shade": 2, "betas": [1, 2], "clip": 0},
        "colour": 1,
        "data": {"count": 0},
        datetime.date(2020, 1, 1): 3,
        "checkpoint": {"every": 0, "evry": 1},
    }
    starts = ["unknown setting training.shade;", "training.betas must", "training.clip must", "unknown setting colour;"]
    starts += [
        "data.count must",
        "unknown setting 2020-01-01;",
        "checkpoint.every must",
        "unknown setting checkpoint.evry;",
    ]
    lines = refused(wrong).splitlines()
    assert lines[0] == "8 settings cannot be used:"
    assert [line.startswith(f"  - {start}") for line, start in zip(lines[1:], starts, strict=True)] == [True] * 8


def test_a_pair_of_numbers_is_no_text():
    assert refused({"training": {"betas": "1"}}) == "training.betas must be a list of numbers; found '1'"


def test_all_that_is_wrong_in_one_section_is_told_at_once():
    lines = refused({"training": {"lr": -1, "betas": [2, 2], "clip": 0, "precision": "fp8"}}).splitlines()
    assert lines == [
        "4 settings cannot be used:",
        "  - training.lr must be a number, at least 0; found -1.0",
        "  - training.betas must be a number, at least 0 and at most 0.999999; found 2.0",
        "  - training.clip must be a number, at least 1e-12; found 0.0",
        "  - training.precision='fp8' is none of fp32, bf16, fp16",
    ]


def test_values_become_what_their_kind_is():
    values = settings(["training.lr=1e-4", "training.steps=3.0", "training.betas=[0.8, 1e-1]", "about=7"])
    config = build(merged(values, {"logging": {"trackers": "tensorboard,wandb"}, "data": {"val": None}}))
    assert (config.training.lr, config.training.steps, config.training.betas) == (1e-4, 3, (0.8, 0.1))
    assert isinstance(config.training.steps, int)
    assert config.logging.trackers == ["tensorboard", "wandb"]
    assert (config.data.val, config.about) == (None, "7")


def test_what_people_write_in_short_is_taken():
    values = {"data": {"caption_column": "title", "count": 3.0}, "reward": {"low": "-inf", "high": 2}, "about": 0.5}
    config = build(merged(STEPS, merged(values, {"captioner": {"resize": ""}})))
    assert config.data.caption_column == ("title",)
    assert repr((config.data.count, config.reward.low, config.reward.high)) == "(3, -inf, 2.0)"
    assert (config.about, config.captioner.resize) == ("0.5", "")
    assert pickle.loads(pickle.dumps(config)) == config


def test_what_a_module_needs_not_is_not_imported():
    """The help of the commands knows no pydantic, and a configuration no torch."""
    code = "import sys; import {}; sys.exit([m for m in {} if m in sys.modules] or 0)"
    for module, heavy in (
        ("trainers.commands.train, trainers.commands.tune, trainers.commands.ls, capreward", ["pydantic", "torch"]),
        ("trainers.runs.config, trainers.runs.config_checks", ["torch"]),
    ):
        done = subprocess.run([sys.executable, "-c", code.format(module, heavy)], capture_output=True, text=True)
        assert done.returncode == 0, f"{module} imports {done.stderr}"


def test_an_optimizer_is_kept_with_all_its_options():
    config = build({**STEPS, "optimizer": {"label_smoothing": 0.1}})
    assert config.optimizer == {"name": "xe", "captions": 1, "label_smoothing": 0.1, "dropout": True}
    assert build(config.to_dict()) == config


def test_another_optimizer_takes_none_of_the_options_before():
    base = {"optimizer": {"name": "dico", "beta": 1}, "training": {"lr": 1, "steps": 2}}
    assert merged(base, {"optimizer": {"name": "xe"}})["optimizer"] == {"name": "xe"}
    assert merged(base, {"optimizer": {"name": "dico", "tau": 2}})["optimizer"] == {"name": "dico", "beta": 1, "tau": 2}
    assert merged(base, {"training": {"lr": 3}})["training"] == {"lr": 3, "steps": 2}


@pytest.mark.parametrize("pair", ["training.lr", "=3", " =3"])
def test_a_setting_needs_a_name_and_a_value(pair):
    with pytest.raises(InputError, match=r"write --set section\.key=value"):
        settings([pair])


def test_flags_win_over_files_and_files_over_recipes(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("training: {lr: 0.5, batch_size: 4}\nseed: 9\n")
    flags = flag_values({"lr": 0.25, "workers": 0, "plugin": (), "download": None, "track": "tensorboard"})
    values, _ = values_of(flags, "scenes-dico", path, ["seed=3"])
    assert values["training"] == {"steps": 200, "batch_size": 4, "lr": 0.25}
    assert (values["seed"], values["data"]["workers"]) == (3, 0)
    assert values["optimizer"]["name"] == "dico"


def test_epochs_in_place_of_a_recipe_s_steps():
    values, _ = values_of(flag_values({"epochs": 2.0}), "scenes-xe", None, [])
    assert values["training"]["steps"] is None
    assert build(values).training.epochs == 2
    with pytest.raises(InputError, match="give either --steps or --epochs"):
        values_of(flag_values({"epochs": 2.0, "steps": 3}), "scenes-xe", None, [])


def test_no_data_means_scenes_and_other_data_no_held_out_items():
    values, notes = values_of(flag_values({"optimizer": "dico", "reward": "pacs"}), None, None, [])
    assert values["captioner"]["init"] == "scenes"
    assert notes == ["no data is named: training on the embedded scenes world with the recipe scenes-dico"]
    values, notes = values_of(flag_values({"data": "a.json", "steps": 3}), None, None, [])
    assert values["data"] == {"train": "a.json", "val": None}
    assert "nothing is evaluated" in notes[0]


@pytest.mark.parametrize("name", recipe_names())
def test_recipes_are_configurations(name):
    values = read_recipe(name)
    optimizer = values["optimizer"]["name"]
    config = build(values if optimizer == "xe" else merged({"reward": {"expression": "pacs"}}, values))
    assert config.about
    assert config.optimizer["name"] == optimizer


def test_unknown_recipes_and_files(tmp_path):
    with pytest.raises(InputError, match="there is no recipe 'scenes-dicko'; did you mean scenes-dico"):
        read_recipe("scenes-dicko")
    (tmp_path / "bad.yaml").write_text("a: [1,")
    (tmp_path / "list.yaml").write_text("- 1\n")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    for name, told in (
        ("bad.yaml", "is no valid YAML"),
        ("list.yaml", "must hold keys and values; found a list"),
        ("none.yaml", "cannot be read: No such file"),
        ("bytes.yaml", "is no UTF-8 text"),
    ):
        with pytest.raises(InputError, match=told):
            values_of({}, None, tmp_path / name, [])


def test_an_empty_file_changes_nothing(tmp_path):
    (tmp_path / "empty.yaml").write_text("")
    assert values_of({}, "scenes-xe", tmp_path / "empty.yaml", [])[0] == read_recipe("scenes-xe")


def test_a_dry_run_writes_nothing_and_prints_what_can_be_given_back(tmp_path, monkeypatch):
    from click.testing import CliRunner

    monkeypatch.chdir(tmp_path)
    extra = ["--optimizer", "dico", "--reward", "length + cider-d", "--epochs", "1.5", "--dry-run", "--lr", "1e-6"]
    given = [*arguments(tmp_path, *extra), *fields("optimizer", max_length=20)]
    given += ["--set", "training.steps=null"]
    done = CliRunner().invoke(main, given)
    assert done.exit_code == 0, done.output
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tiny.yaml"]
    printed = yaml.safe_load(done.stdout)
    assert printed["training"]["lr"] == 1e-6
    (tmp_path / "back.yaml").write_text(done.stdout)
    again = CliRunner().invoke(main, ["train", "--config", str(tmp_path / "back.yaml"), "--dry-run"])
    assert again.exit_code == 0, again.output
    assert again.stdout == done.stdout
    assert to_yaml(build(printed)) == done.stdout
    shown = " ".join(done.stderr.split())
    for part in (
        "steps 4",
        "images 24",
        "held-out images 6",
        "images per step 8",
        "parameters, trained",
        "epochs 1.33",
    ):
        assert part in shown, shown


def test_folders_are_named_after_optimizer_and_reward():
    assert default_name("xe", "pacs") == "xe"
    assert default_name("dico", "pacs") == "dico-pacs"
    assert default_name("scst", "2*clips + cider-d") == "scst-2_clips_cider-d"
    assert len(default_name("scst", "a" * 300)) < 100
    with pytest.raises(InputError, match="names nothing"):
        default_name("scst", "+")


def test_flat_names_every_setting():
    found = flat(RunConfig().to_dict())
    assert found["training.lr"] == 1e-4
    assert found["training.betas"] == "[0.9, 0.999]"
    assert not any(isinstance(value, (dict, list)) for value in found.values())


def test_the_saved_configuration_is_the_run_s(tmp_path):
    train(tmp_path, "--steps", "0", *fields("data", val=None))
    saved = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    assert saved["captioner"]["sizes"] == TINY["captioner"]["sizes"]
    assert build(saved).to_dict() == saved
