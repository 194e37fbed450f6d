"""The original METEOR 1.5 program, by which the native implementation is tested."""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import TracebackType

import numpy as np
import numpy.typing as npt

from capreward.errors import InputError
from capreward.java.items import check_items
from capreward.java.originals import original_file
from capreward.java.process import JavaError, JavaProcess
from capreward.java.runtime import Java

_LINE_BREAKS = re.compile("[\n\r]")


class MeteorJar:
    """Runs ``meteor-1.5.jar`` as pycocoevalcap does, in a ``with`` block.

    The program loads its paraphrase table once (about 15 seconds), on the first call, and then serves all later calls.
    One object serves one thread.

    Source: Denkowski and Lavie, Meteor Universal (WMT 2014); the program as patched for the COCO evaluation.

    Args:
        heap: The memory for Java; the original uses 2G.
        timeout: The seconds for one answer; the first answer includes loading.
        java: The Java runtime; None finds one.

    Raises:
        InputError: If there is no Java or no pycocoevalcap.
    """

    def __init__(self, heap: str = "2G", timeout: float = 300.0, java: Java | None = None) -> None:
        jar = original_file("meteor", "meteor-1.5.jar")
        arguments = ["-jar", str(jar), "-", "-", "-stdio", "-l", "en", "-norm"]
        self._process = JavaProcess(arguments, name="METEOR", java=java, heap=heap, timeout=timeout)

    def __enter__(self) -> MeteorJar:
        self._process.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.__exit__(kind, error, trace)

    @property
    def pid(self) -> int | None:
        """The process id of the program; None before the first call and after the block."""
        return self._process.pid

    def scores(
        self, candidates: Sequence[str], references: Sequence[Sequence[str]]
    ) -> tuple[npt.NDArray[np.float64], float]:
        """Score candidates against their references, both tokenized.

        Args:
            candidates: The N captions; line breaks in them and in references become spaces, and ``|||`` is removed.
            references: The references of each candidate, one or more.

        Returns:
            The score of each candidate, ``[N]`` in [0, 1], and the corpus score (NaN if N is 0), which is computed from
            summed statistics and is not the mean.

        Raises:
            InputError: If the lengths differ, or if an item has no reference.
            JavaError: If the program fails.
        """
        check_items(candidates, references, "METEOR")
        if not candidates:
            return np.empty(0), float("nan")
        if self._process.pid is None:
            self._process.start()
        try:
            values = self._score_lines([_score_line(*pair) for pair in zip(candidates, references, strict=True)])
        except InputError:
            raise
        except BaseException:
            # This holds for an interruption too: an unread answer would be taken for the answer to a later question.
            self._process.close()
            raise
        return np.array(values[:-1]), values[-1]

    def _score_lines(self, lines: list[str]) -> list[float]:
        statistics = [self._process.ask(line) for line in lines]
        self._process.send(" ||| ".join(["EVAL", *statistics]))
        return [_parse_score(self._process.receive()) for _ in range(len(lines) + 1)]


def _parse_score(answer: str) -> float:
    try:
        return float(answer)
    except ValueError as error:
        raise JavaError(f"METEOR answered {answer[:200]!r} where a score was due.") from error


def _score_line(candidate: str, references: Sequence[str]) -> str:
    # The original cleans only the candidate; a reference with "|||" in it would become two references.
    texts = [_clean_caption(text) for text in references] + [_clean_caption(candidate).replace("  ", " ")]
    return " ||| ".join(["SCORE", *texts])


def _clean_caption(text: str) -> str:
    return _LINE_BREAKS.sub(" ", text).replace("|||", "")
