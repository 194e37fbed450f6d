"""The rooms of the house: no import runs in a circle, modules are nouns, folders are not full, tests mirror the tree."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest
from places import ROOT, TESTS

SOURCES = sorted([*(ROOT / "capreward").rglob("*.py"), *(ROOT / "trainers").rglob("*.py")])
GERUNDS = {
    "decoding", "tuning", "scoring", "loading", "preprocessing", "packing", "sampling", "serving", "training",
}  # fmt: skip
# Names that said nothing to a reader who saw them alone.
EMPTY = {
    "best", "common", "course", "files", "fresh", "gathering", "helpers", "keeping", "kept", "kinds", "listing", "making",
    "misc", "named", "opening", "ordered", "running", "showing", "sizing", "sources", "stepping", "stopping", "tally",
    "utils", "watching",
}  # fmt: skip
FULL = 20  # files that a folder holds at most, besides its ``__init__.py``


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_in(tree: ast.AST) -> set[str]:
    """The names that a module imports: at its top, within functions and for types; ``a.b`` of ``from a import b`` too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "write imports from the top of the package"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found


def graph_of(texts: dict[str, str]) -> dict[str, set[str]]:
    """For each module the modules among ``texts`` that it imports; a package counts where a name of its own is taken."""
    graph = {}
    for module, text in texts.items():
        names = imports_in(ast.parse(text))
        taken = {name for name in names if name in texts}
        # ``from a.b import c`` names the package a.b itself only where c is no module of it.
        whole = {name.rpartition(".")[0] for name in names if name in texts}
        direct = {name for name in names if name not in texts}
        used = {name.rpartition(".")[0] for name in direct}
        graph[module] = {name for name in taken if name not in whole or name in used} - {module}
    return graph


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The sets of modules that reach each other: strongly connected components of more than one (Tarjan 1972)."""
    number, lowest, stack, found = {}, {}, [], []

    def visit(node: str) -> None:
        number[node] = lowest[node] = len(number)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in number:
                visit(other)
                lowest[node] = min(lowest[node], lowest[other])
            elif other in stack:
                lowest[node] = min(lowest[node], number[other])
        if lowest[node] == number[node]:
            at = stack.index(node)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for node in graph:
        if node not in number:
            visit(node)
    return found


def test_no_import_runs_in_a_circle():
    graph = graph_of({module_of(path): path.read_text(encoding="utf-8") for path in SOURCES})
    assert sum(map(len, graph.values())) > 1000
    assert circles(graph) == []


def test_circles_are_found_wherever_the_import_stands():
    texts = {
        "a": "import b",
        "b": "def f():\n    from c import x",
        "c": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from a import y",
        "p": "from p.q import z",
        "p.q": "from p import w",
        "s": "",
        "s.t": "from s import u",
        "s.u": "",
    }
    assert circles(graph_of(texts)) == [["a", "b", "c"], ["p", "p.q"]]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_is_a_noun(path):
    words = path.stem.split("_")
    assert not words[-1].endswith("ing") or words[-1] in GERUNDS, (
        f"{path.stem} is what is done, not what the file holds"
    )
    assert path.stem not in EMPTY, f"{path.stem} says nothing of what the file holds"


def test_folders_are_not_full():
    counts = Counter(path.parent for path in SOURCES if path.name != "__init__.py")
    assert {str(folder.relative_to(ROOT)): n for folder, n in counts.items() if n > FULL} == {}


def test_tests_mirror_the_tree():
    """A test lies in the folder of tests that bears the name of a folder of code, or among the few of the whole house."""
    own = {TESTS, TESTS / "house", TESTS / "benchmarks"}
    for path in TESTS.rglob("test_*.py"):
        folder = path.parent
        assert folder in own or (ROOT / folder.relative_to(TESTS)).is_dir(), path
    assert {p.name for p in TESTS.glob("*.py")} == {"conftest.py", "test_gpu.py"}
    names = Counter(path.name for path in TESTS.rglob("test_*.py"))
    assert [name for name, n in names.items() if n > 1] == []


def test_the_contracts_of_import_linter_name_every_room():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    layers = re.search(r'containers = \["trainers"\].*?layers = \[(.*?)\]', text, re.DOTALL)
    assert layers is not None
    named = set(re.findall(r"\w+", layers[1]))
    assert named == {p.name for p in (ROOT / "trainers").iterdir() if p.is_dir() and p.name != "__pycache__"}
