"""The rules of the house that a test can see."""

from __future__ import annotations

import ast
import re
import statistics

import pytest
from places import ROOT

SOURCES = sorted([*(ROOT / "capreward").rglob("*.py"), *(ROOT / "trainers").rglob("*.py")])
TESTS = sorted((ROOT / "tests").rglob("*.py"))
assert len(SOURCES) > 40
assert len(TESTS) > 15


def functions(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]


def test_files_are_short():
    lengths = {p: p.read_text(encoding="utf-8").count("\n") for p in SOURCES}
    assert max(lengths.values()) <= 400, max(lengths, key=lengths.get)
    assert statistics.median(lengths.values()) <= 150


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_functions_are_short_and_annotated(path):
    for node in functions(path):
        assert node.end_lineno - node.lineno + 1 <= 60, f"{path}:{node.lineno} {node.name} is longer than 60 lines"
        assert node.returns is not None, f"{path}:{node.lineno} {node.name} has no return annotation"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_public_names_are_documented(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.ClassDef)
    public = [n for n in tree.body if isinstance(n, kinds) and not n.name.startswith("_")]
    assert ast.get_docstring(tree), f"{path} does not say what it is"
    assert [n.name for n in public if not ast.get_docstring(n)] == []


def test_layers_point_down():
    for path in (ROOT / "capreward").rglob("*.py"):
        assert not re.search(r"^\s*(from|import) trainers\b", path.read_text(encoding="utf-8"), re.MULTILINE), path


def test_no_tolerance_hides_a_difference():
    """A relative or absolute tolerance of 0.01 or more in a test compares nothing."""
    for path in TESTS:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = isinstance(node, ast.keyword) and node.arg in ("rtol", "atol", "rel", "abs")
            if named and isinstance(node.value, ast.Constant):
                assert node.value.value < 0.01, f"{path}:{node.value.lineno}"


def test_every_test_asserts_something():
    wanted = re.compile(r"\bassert\b|raises|assert_|check_|importorskip")
    for path in TESTS:
        source = path.read_text(encoding="utf-8")
        for node in functions(path):
            if node.name.startswith("test"):
                assert wanted.search(ast.get_source_segment(source, node)), f"{path}:{node.lineno} {node.name}"
