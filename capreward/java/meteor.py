"""The original METEOR 1.5 program, as an oracle for the native one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import TracebackType

import numpy as np
import numpy.typing as npt

from capreward.errors import InputError
from capreward.java.items import check_items
from capreward.java.originals import original
from capreward.java.process import JavaError, JavaProcess
from capreward.java.runtime import Java

_LINE_BREAKS = re.compile("[\n\r]")


class MeteorJar:
    """``meteor-1.5.jar`` driven as pycocoevalcap drives it, in a ``with`` block.

    The program loads its paraphrase table once (about 15 seconds), on the first call, and serves every later one.
    One object serves one thread.

    Source: Denkowski and Lavie, Meteor Universal (WMT 2014); the program as patched for the COCO evaluation.

    Args:
        heap: memory for Java; 2G is the original's.
        timeout: seconds for one answer, the first of which includes loading.
        java: the runtime; None finds one.

    Raises:
        InputError: no Java or no pycocoevalcap.
    """

    def __init__(self, heap: str = "2G", timeout: float = 300.0, java: Java | None = None) -> None:
        jar = original("meteor", "meteor-1.5.jar")
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
        """The process id of the program, None before the first call and after the block."""
        return self._process.pid

    def scores(
        self, candidates: Sequence[str], references: Sequence[Sequence[str]]
    ) -> tuple[npt.NDArray[np.float64], float]:
        """Score candidates against their references, both tokenized.

        Args:
            candidates: N captions. Line breaks in them and in references become spaces, ``|||`` is removed.
            references: per candidate, one or more captions.

        Returns:
            The score of each candidate, ``[N]`` in [0, 1], and the corpus score (NaN when N is 0), which is computed
            from summed statistics and is not the mean.

        Raises:
            InputError: the lengths differ, or an item has no reference.
            JavaError: the program failed.
        """
        check_items(candidates, references, "METEOR")
        if not candidates:
            return np.empty(0), float("nan")
        if self._process.pid is None:
            self._process.start()
        try:
            values = self._converse([_score_line(*pair) for pair in zip(candidates, references, strict=True)])
        except InputError:
            raise
        except BaseException:
            # Also when interrupted: an answer left unread would be taken for that to a later question.
            self._process.close()
            raise
        return np.array(values[:-1]), values[-1]

    def _converse(self, lines: list[str]) -> list[float]:
        statistics = [self._process.ask(line) for line in lines]
        self._process.send(" ||| ".join(["EVAL", *statistics]))
        return [_number(self._process.receive()) for _ in range(len(lines) + 1)]


def _number(answer: str) -> float:
    try:
        return float(answer)
    except ValueError as error:
        raise JavaError(f"METEOR answered {answer[:200]!r} where a score was due.") from error


def _score_line(candidate: str, references: Sequence[str]) -> str:
    # The original cleans only the candidate; a reference with "|||" in it would become two references.
    texts = [_clean(text) for text in references] + [_clean(candidate).replace("  ", " ")]
    return " ||| ".join(["SCORE", *texts])


def _clean(text: str) -> str:
    return _LINE_BREAKS.sub(" ", text).replace("|||", "")
