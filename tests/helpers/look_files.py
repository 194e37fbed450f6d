"""What the tests of ``capreward look`` share."""

from __future__ import annotations

import json
import shlex

import click
from case_files import ROOT
from click.testing import CliRunner
from image_files import encoded
from PIL import Image

from capreward.commands import main

SHIPPED = ROOT / "capreward" / "data" / "scenes" / "weights"


PNG = encoded(Image.new("RGB", (8, 6), (1, 2, 3)))


def look(*arguments):
    return CliRunner().invoke(main, ["look", *map(str, arguments)])


def seen(*arguments):
    """What ``--json`` says: the views by role, and the refusals."""
    done = look(*arguments, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    check_commands(found)
    return {view["role"]: view for view in found["views"]}, found["refusals"]


def check_commands(found):
    """Every command that is named has these options and takes these arguments."""
    for view in found["views"]:
        for use in view["uses"]:
            words = ["9" if word == "N" else word for word in shlex.split(use["type"])]
            assert words[0] == "capreward"
            command, rest = main.get_command(click.Context(main), words[1]), words[2:]
            if isinstance(command, click.Group):
                command, rest = command.get_command(click.Context(command), rest[0]), rest[1:]
            with command.make_context(words[1], rest) as context:
                assert context.params, use


def commands(view):
    return [use["type"] for use in view["uses"]]


def written(path, value):
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


# Captions


def run_folder(tmp_path, config, rows=""):
    folder = tmp_path / "run"
    (folder / "checkpoints" / "step-00000004").mkdir(parents=True)
    (folder / "best").mkdir()
    written(folder / "config.yaml", config)
    written(folder / "metrics.jsonl", rows)
    return folder


TRAIN = "optimizer: {name: dico}\nreward: {expression: pacs}\ntraining: {steps: 8, lr: 0.1}\nplugins: [evil.py]\n"
