"""What the tests of the Java programs share."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from places import TESTS

from capreward.errors import InputError
from capreward.java.runtime import find_java

SOURCES = TESTS / "helpers" / "java"


@functools.cache
def java_is_missing() -> str:
    """Why there is no Java, empty when there is one."""
    try:
        find_java(minimum=8)
    except InputError as error:
        return str(error)
    return ""


needs_java = pytest.mark.skipif(bool(java_is_missing()), reason=java_is_missing() or "Java is there")
needs_javac = pytest.mark.skipif(shutil.which("javac") is None, reason="the stand-in programs need javac")


def compile_java(folder: Path, *names: str) -> Path:
    """Compile programs of tests/helpers/java for Java 8 and newer into a folder."""
    sources = [str(SOURCES / name) for name in names]
    done = subprocess.run(
        ["javac", "--release", "8", "-Xlint:-options", "-d", str(folder), *sources], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return folder


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that is dead but not yet reaped does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, check=False).stdout.strip()
    return bool(state) and not state.startswith(b"Z")


def count_users(folder: Path) -> int:
    """How many running processes name a folder on their command line."""
    lines = subprocess.run(["ps", "-ww", "-eo", "args"], capture_output=True, check=True).stdout.decode().splitlines()
    return sum(str(folder) in line for line in lines)


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Give each test an own temporary folder and see that it is empty afterwards."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield
    assert list(folder.iterdir()) == []
