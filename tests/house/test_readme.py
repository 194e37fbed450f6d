"""The README's first screen and the examples in docstrings are what the code says today."""

from __future__ import annotations

import doctest
import importlib
import re
import shlex

import pytest
from click.testing import CliRunner
from places import ROOT

from capreward.commands import main

NUMBER = re.compile(r"(?<![\w.])\d+\.\d+(?![\w.])")  # not the parts of a version
README = (ROOT / "README.md").read_text(encoding="utf-8")


def lines_of(text):
    """Lines without the blanks at their ends, and without empty ones."""
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def test_the_first_command_prints_what_the_readme_shows(monkeypatch):
    monkeypatch.chdir(ROOT)
    block = re.search(r"```console\n\$ capreward (score .*?)```", README, re.DOTALL)[1]
    command, _, shown = block.replace("\\\n", " ").partition("\n")
    done = CliRunner().invoke(main, shlex.split(command))
    assert done.exit_code == 0
    assert lines_of(done.stderr) == lines_of(shown)


def test_the_first_python_lines_give_what_their_comments_say(monkeypatch):
    monkeypatch.chdir(ROOT)
    block = re.search(r"```python\n(import capreward\n.*?)```", README, re.DOTALL)[1]
    checked = 0
    names = {}
    code = ""
    for line in block.splitlines():
        statement, mark, comment = line.partition("  # ")
        code += statement + "\n"
        if mark and not line.startswith(" "):
            *before, last = code.strip().split("\n")
            exec("\n".join(before), names)
            printed = re.fullmatch(r"print\((.*)\)", last.strip())
            value = eval(printed[1] if printed else last, names)
            found = str(value) if printed else repr(value)
            if "[12]" in comment:
                assert (str(value.dtype), value.shape) == ("float64", (12,))
            else:
                digits = [len(number.partition(".")[2]) for number in NUMBER.findall(comment)]
                for number, places in zip(NUMBER.findall(found), digits, strict=True):
                    found = found.replace(number, f"{float(number):.{places}f}")
                assert found == comment.strip(), last
            code = ""
            checked += 1
    assert checked == 5


@pytest.mark.parametrize("name", ["capreward.scoring", "capreward.scores", "capreward.custom_rewards"])
def test_docstring_examples(name):
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert failed == 0
    assert tried >= 3
