"""The declared dependencies and the file by which `make test-oldest` installs the oldest of them."""

from __future__ import annotations

import re
import tomllib

from places import ROOT

TESTED = ("parquet", "tables", "java", "languages", "dev")
REQUIREMENT = re.compile(r"([A-Za-z0-9_.-]+)>=([0-9][0-9.]*)(?:,<[0-9.]+)?")


def declared():
    """Name and lower bound of every requirement that the tests install, but for the package's own extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    every = [*project["dependencies"], *(r for extra in TESTED for r in project["optional-dependencies"][extra])]
    return [REQUIREMENT.fullmatch(r).groups() for r in every if not r.startswith("capreward[")]


def test_the_oldest_versions_are_the_declared_bounds():
    lines = (ROOT / "tests/constraints-oldest.txt").read_text(encoding="utf-8").splitlines()
    pinned = [tuple(line.split("==")) for line in lines if not line.startswith("#")]
    assert pinned == sorted(declared(), key=lambda pair: pair[0].lower())
    assert len(dict(pinned)) == len(pinned) > 20
