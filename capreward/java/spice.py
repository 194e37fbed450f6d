"""SPICE by its original program, ``spice-1.0.jar``."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from capreward.errors import InputError
from capreward.java.corenlp import spice_class_path
from capreward.java.items import check_items
from capreward.java.process import JavaError, JavaProcess, quote_stderr
from capreward.java.runtime import Java, find_java

SPICE_CATEGORIES = ("All", "Object", "Attribute", "Relation", "Cardinality", "Color", "Size")
_FIELDS = frozenset({"f", "pr", "re", "tp", "fp", "fn", "numImages"})

# The serialiser of the cache uses the internals of these packages, which Java 16 and newer allow only on request
# (coco-caption issue 59).
_OPENED = ("java.lang", "java.math", "java.net", "java.text", "java.util", "java.util.concurrent")


class SpiceJar:
    """SPICE: F-score of the objects, attributes and relations that a caption shares with its references.

    The scoring of the program is unchanged. The original runs up to Java 14. Here, any Java from 8 on is accepted: the
    JavaScript engine with which the program indents its output is replaced, and the program's cache, which needs
    internals of Java that newer releases close, is off by default. By its source, the cache holds only the parse of
    each caption, so scores do not depend on it. Java 11, 17 and 25 were tested on captions that are already parsed; the
    parser itself is not part of the tests.

    The merging of graph nodes follows Java's identity hashes, so that a repeated run may differ in rare items, as in
    the original.

    Source: Anderson et al., SPICE: Semantic Propositional Image Caption Evaluation (ECCV 2016). The program is AGPL-3.0
    and comes with pycocoevalcap; it is run, not linked.

    Args:
        corenlp: The folder with the two CoreNLP 3.6.0 jars; see ``spice_class_path``.
        cache: The folder that keeps parses between calls; it is created if it does not exist. One call uses it at a
            time; other calls wait, for ``timeout`` seconds at most. None keeps no parses.
        heap: The most memory for Java objects. The original uses 8G, which is more than many machines have.
        timeout: The seconds for one call, including the loading of the parser.
        threads: The number of threads of the parser; None means one per core.
        java: The Java runtime; None finds one.

    Raises:
        InputError: If a file or a Java is missing, or if ``threads`` is less than 1.
    """

    def __init__(
        self,
        *,
        corenlp: str | os.PathLike[str] | None = None,
        cache: str | os.PathLike[str] | None = None,
        heap: str = "4G",
        timeout: float = 3600.0,
        threads: int | None = None,
        java: Java | None = None,
    ) -> None:
        if threads is not None and threads < 1:
            raise InputError(f"threads={threads} must be 1 or more.")
        self.class_path = spice_class_path(corenlp)
        self.java = java or find_java(minimum=8)
        self.cache = None if cache is None else Path(cache).expanduser().absolute()
        self.heap = heap
        self.timeout = timeout
        self.threads = threads or os.cpu_count() or 1

    def scores(
        self, candidates: Sequence[str], references: Sequence[Sequence[str]]
    ) -> list[dict[str, dict[str, float]]]:
        """Score candidates against their references.

        Args:
            candidates: The N captions, raw or tokenized as for the other metrics; a caption may occur more than once.
            references: The references of each candidate, one or more.

        Returns:
            The scores of each candidate, in the order of the candidates: ``{"All": {"f", "pr", "re", "tp", "fp", "fn",
            "numImages"}, "Object": ..., ...}`` with the keys of ``SPICE_CATEGORIES``. SPICE is ``["All"]["f"]``, in
            [0, 1]; the corpus value is its mean. If no tuple of a category occurs in the references, its f, pr and re
            are NaN.

        Raises:
            InputError: If the lengths differ, if an item has no reference, or if the cache folder cannot be used.
            JavaError: If the program fails; the message holds the end of its stderr.
            JavaTimeout: If the program takes longer than ``timeout``; it is then ended.
        """
        check_items(candidates, references, "SPICE")
        if not candidates:
            return []
        # The ids are numbers, since the original returns the items in another order.
        items = [
            {"image_id": number, "test": candidate, "refs": list(texts)}
            for number, (candidate, texts) in enumerate(zip(candidates, references, strict=True))
        ]
        with _locked_cache(self.cache, self.timeout):
            text = self._run_program(items)
        return _read_scores(text, len(items))

    def _run_program(self, items: list[dict[str, Any]]) -> str:
        with JavaProcess(
            self._arguments(),
            name="SPICE",
            java=self.java,
            heap=self.heap,
            options=self._options(),
            timeout=self.timeout,
        ) as process:
            # Java reads ASCII in the same way in every encoding.
            (process.folder / "in.json").write_text(json.dumps(items), encoding="ascii")
            process.run()
            output = process.folder / "out.json"
            if not output.exists():
                raise JavaError(
                    f"SPICE ended without writing its scores.{quote_stderr(process.stderr)}", process.stderr, 0
                )
            return output.read_text(encoding="utf-8")

    def _arguments(self) -> list[str]:
        path = os.pathsep.join(str(jar) for jar in self.class_path)
        arguments = ["-cp", path, "edu.anu.spice.SpiceScorer", "in.json", "-out", "out.json"]
        arguments += ["-subset", "-silent", "-threads", str(self.threads)]
        return arguments if self.cache is None else [*arguments, "-cache", str(self.cache)]

    def _options(self) -> list[str]:
        if self.java.feature < 9 or self.cache is None:
            return []
        return [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED]


def _read_scores(text: str, count: int) -> list[dict[str, dict[str, float]]]:
    try:
        found = {
            item["image_id"]: {category: _checked_fields(fields) for category, fields in item["scores"].items()}
            for item in json.loads(text)
        }
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise JavaError(f"SPICE wrote something else than scores: {text[:200]!r} ({error!r}).") from error
    if sorted(found) != list(range(count)):
        raise JavaError(f"SPICE gave scores of {len(found)} items for {count} candidates.")
    for scores in found.values():
        if set(scores) != set(SPICE_CATEGORIES):
            raise JavaError(f"SPICE gave the categories {sorted(scores)} instead of {sorted(SPICE_CATEGORIES)}.")
    return [{category: found[number][category] for category in SPICE_CATEGORIES} for number in range(count)]


def _checked_fields(fields: dict[str, float | None]) -> dict[str, float]:
    if set(fields) != _FIELDS:
        raise KeyError(f"fields {sorted(fields)}")
    return {name: math.nan if value is None else float(value) for name, value in fields.items()}


@contextlib.contextmanager
def _locked_cache(folder: Path | None, timeout: float) -> Iterator[None]:
    """Lock a cache folder for this call, since two programs that share one hang or fail with MDB_CURSOR_FULL."""
    if folder is None:
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "capreward.lock").open("a")
    except OSError as error:
        raise InputError(
            f"the SPICE cache {folder} cannot be used ({error}); give cache= a writable folder."
        ) from error
    with lock:
        _wait_for_lock(lock, folder, timeout)
        yield


def _wait_for_lock(lock: IO[str], folder: Path, timeout: float) -> None:
    try:
        import fcntl
    except ImportError as error:
        raise InputError("cache= needs a POSIX system, where a folder can be locked; leave it out.") from error
    deadline = time.monotonic() + timeout
    while True:
        try:
            # The operating system releases the lock when the file is closed, even if the process is killed.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise InputError(
                    f"the SPICE cache {folder} was in use by another run for {timeout:g} seconds; give this one its "
                    "own folder or leave cache= out."
                ) from None
            time.sleep(0.05)
