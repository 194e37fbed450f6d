"""What all commands have in common: options given twice, the package of trainers, and ``python -m``."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner
from places import ROOT
from train_helpers import rows, train

import capreward
from capreward.command_classes import Command, Group
from capreward.commands import COMMANDS, main

CAPTIONS, REFERENCES = ROOT / "examples/captions.json", ROOT / "examples/references.json"


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def refused(*arguments):
    done = run(*arguments)
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    return done.stderr.removeprefix("Error: ").strip()


def walked():
    """Every command with its name as it is typed."""
    context = click.Context(main)
    for name in COMMANDS:
        command = main.get_command(context, name)
        yield [name], command
        if isinstance(command, click.Group):
            yield from (([name, inner], found) for inner, found in command.commands.items())


WALKED = list(walked())


@pytest.mark.parametrize(("names", "command"), WALKED, ids=[" ".join(names) for names, _ in WALKED])
def test_every_option_of_every_command_adds_up_or_is_refused_when_given_twice(names, command):
    assert isinstance(command, (Command, Group))
    single = [p for p in command.params if isinstance(p, click.Option) and not p.multiple and not p.is_flag]
    for option in single:
        for spelt in option.opts:
            said = refused(*names, spelt, "one", option.opts[0], "two")
            assert said == f"{max(option.opts, key=len)} was given twice: one and two; give it once"
    for option in command.params:
        if isinstance(option, click.Option) and option.secondary_opts:
            assert refused(*names, option.opts[0], option.secondary_opts[0]) == (
                f"{option.opts[0]} and {option.secondary_opts[0]} were both given; give one of them"
            )


def test_there_are_many_commands_and_options_that_this_holds_for():
    assert len(WALKED) > 20
    assert sum(len(command.params) for _, command in WALKED) > 200


def test_values_are_told_shortly_and_counted():
    said = refused("score", CAPTIONS, "--seed", 1, "--split=" + "x" * 60, "--seed=2", "--seed", "3")
    assert said == "--seed was given 3 times: 1 and 2, ...; give it once"
    assert f"--split was given twice: {'x' * 37}... and b; give it once" == refused(
        "score", CAPTIONS, "--split", "x" * 60, "--split", "b"
    )


def test_a_flag_twice_help_and_what_stands_behind_two_dashes_are_fine():
    assert run("score", "--seed", 1, "--seed", 2, "--help").exit_code == 0
    assert run("score", CAPTIONS, "-r", REFERENCES, "-q", "-q", "-m", "rouge").exit_code == 0
    assert refused("score", "--seed", 1, "-r", REFERENCES, "--", "--seed") == "--seed does not exist"


def test_metrics_add_up():
    given = ["score", CAPTIONS, "-r", REFERENCES, "--json", "-q"]
    one = run(*given, "-m", "bleu1", "--metrics", "rouge,length", "-m", "CIDEr - 1")
    assert list(json.loads(one.stdout)["systems"][0]["scores"]) == ["bleu1", "rouge", "length", "cider - 1", "cider"]
    assert one.stdout == run(*given, "-m", "bleu1,rouge,length,cider - 1").stdout
    assert list(json.loads(run(*given).stdout)["systems"][0]["scores"])[-1] == "cider", "none: the usual ones"


def test_metrics_of_training_add_up(tmp_path):
    config = {
        "captioner": {"tower": "scenes-clip", "sizes": {"width": 32, "heads": 2, "inner": 64, "longest": 24}},
        "data": {"train": "scenes:train", "count": 8, "val": "scenes:val", "val_count": 4},
        "training": {"steps": 1, "batch_size": 4},
        "evaluation": {"beams": 1, "max_length": 8},
    }
    train(tmp_path, "-m", "length", "--metrics", "Repetition", config=config)
    assert {"length", "repetition"} <= rows(tmp_path / "run", "eval")[0].keys()
    assert "cider" not in rows(tmp_path / "run", "eval")[0]


def process(*arguments, cwd, **environment):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**{k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"}, **environment},
        check=False,
    )


def test_python_m_capreward_is_the_command_line(tmp_path):
    done = process("-m", "capreward", "--version", cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert done.stdout == f"capreward {capreward.__version__}\n"
    assert (
        "Usage: python -m capreward score"
        in process("-m", "capreward", "score", "--help", cwd=tmp_path, PYTHONPATH=str(ROOT)).stdout
    )


@pytest.mark.parametrize("command", [["train", "--dry-run"], ["evaluate", "x"], ["ls", "optimizers"]])
@pytest.mark.parametrize("kind", ["package", "module", "path"])
def test_a_folder_of_ones_own_called_trainers_is_said_in_one_sentence(tmp_path, command, kind):
    other = tmp_path / "mine"
    (other / "trainers" if kind != "module" else other).mkdir(parents=True)
    if kind == "module":
        (other / "trainers.py").write_text("1/0")
        hides = other / "trainers.py"
    else:
        (other / "trainers/__init__.py").write_text("1/0")
        hides = other / "trainers"
    if kind == "path":
        done = process(
            ROOT / "cli.py", *command, cwd=tmp_path, PYTHONPATH=f"{other}{os.pathsep}{ROOT}", PYTHONSAFEPATH="1"
        )
    else:
        done = process("-m", "capreward", *command, cwd=other, PYTHONPATH=str(ROOT))
    assert done.returncode == 2, done.stderr
    assert done.stderr == (
        f"Error: {hides} hides the package trainers that comes with capreward; start the command from another folder, "
        f"take {other} off PYTHONPATH, or give it another name\n"
    )


def test_a_folder_called_trainers_without_python_in_it_hides_nothing(tmp_path):
    (tmp_path / "trainers").mkdir()
    done = process("-m", "capreward", "ls", "optimizers", cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr
    assert "scst" in done.stdout
