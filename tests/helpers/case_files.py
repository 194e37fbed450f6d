"""Files in the shapes that people have, in which an earlier version read a wrong number without a word."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from places import ROOT

from capreward.commands import main


def case_folder() -> Path:
    """The folder of such files; tests that need it are skipped without it."""
    folder = Path(os.environ.get("CAPREWARD_CASES", ROOT.parent / "shared" / "cases"))
    if not folder.is_dir():
        pytest.skip(f"no caption files in {folder}; set CAPREWARD_CASES")
    return folder


class Scored:
    """What a run of ``capreward score --json`` said."""

    def __init__(self, arguments, status, out, err):
        self.arguments, self.status, self.out, self.err = arguments, status, out, err

    @property
    def table(self):
        assert self.status == 0, self.err
        return json.loads(self.out)

    @property
    def values(self):
        return {name: found["value"] for name, found in self.table["systems"][0]["scores"].items()}

    @property
    def images(self):
        return self.table["systems"][0]["images"]

    @property
    def notes(self):
        return " | ".join(self.table["notes"])

    @property
    def files(self):
        return self.table["files"]


def score(*arguments):
    """Run ``capreward score`` in process."""
    given = ["score", *map(str, arguments), "--json", "--resamples", "0"]
    done = CliRunner().invoke(main, given)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Scored(given, done.exit_code, done.stdout, done.stderr)
