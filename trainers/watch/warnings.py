"""The rows that a run has logged, and the warnings that follow from them; each warning is logged once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from trainers.watch.rules import Row, warnings_of

COLUMNS = ("reward", "judge", "reward_spread", "judge_spread", "repetition", "length", "unfinished", "grammar", "empty")
MOST = 512  # rows of a kind; of more, neighbours are averaged


class LoggedRows(Protocol):
    """The rows of a log, such as :class:`trainers.runs.folder.RunFolder`."""

    @property
    def metrics(self) -> Path:
        """The file of the rows."""
        ...

    def rows(self) -> Iterable[dict[str, Any]]:
        """Return the rows of the file."""
        ...


class WarningLog(Protocol):
    """A log that takes warnings, such as :class:`trainers.runs.log.RunLog`."""

    def warn(self, step: int, name: str, sentence: str) -> None:
        """Log a warning of a rule at a step."""
        ...


class Watch:
    """A watch over every row of the log.

    All processes add the same rows and come to the same warnings.

    Args:
        folder: The folder of the run; its rows are read again when the run is resumed.
        log: The log that takes the warnings.

    Attributes:
        warned: The names of the rules that have warned; they are part of a checkpoint.
    """

    def __init__(self, folder: LoggedRows, log: WarningLog) -> None:
        self.folder = folder
        self.log = log
        self.warned: list[str] = []
        self._rows: dict[str, list[Row]] = {"train": [], "eval": []}

    def add_row(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Add a row of kind ``train`` or ``eval``, and log new warnings."""
        self._add(kind, step, values)
        if not self._has_reward():
            return
        for warning in warnings_of([*self._rows["train"], *self._rows["eval"]]):
            if warning.name not in self.warned:
                self.warned.append(warning.name)
                self.log.warn(step, warning.name, warning.sentence)

    def restore(self, step: int, warned: list[str]) -> None:
        """Go back to a checkpoint: keep the rows until ``step`` and the warnings until then."""
        self.warned = list(warned)
        self._rows = {"train": [], "eval": []}
        for row in self.folder.rows() if self.folder.metrics.is_file() else ():
            if row["kind"] in self._rows and row["step"] <= step:
                self._add(row["kind"], row["step"], row)

    def _has_reward(self) -> bool:
        """Return whether the run learns from a reward."""
        return any("reward" in row for row in self._rows["train"])

    def _add(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        columns = {name: values[name] for name in COLUMNS if values.get(name) is not None}
        rows = self._rows[kind]
        rows.append({"kind": kind, "step": step, **columns})
        if len(rows) > MOST:
            pairs = [(rows[n], rows[n + 1]) for n in range(1, len(rows) - 1, 2)]
            rows[1:-1] = [_between(*pair) for pair in pairs]


def _between(one: Row, other: Row) -> Row:
    """Return the mean of two rows, at the step of the later one."""
    names = [name for name in COLUMNS if name in one and name in other]
    return {"kind": other["kind"], "step": other["step"], **{n: (one[n] + other[n]) / 2 for n in names}}
