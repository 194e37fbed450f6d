"""The results: the scores of several systems side by side, ready for any table or file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from capreward._version import __version__
from capreward.common_images import shared_count_if_different
from capreward.data.file_report import FileReport
from capreward.samples import Samples
from capreward.scores import Score, Scores

Interval = tuple[float, float] | None


@dataclass(frozen=True)
class Bootstrap:
    """The settings of the bootstrap that drew the intervals."""

    resamples: int = 1000
    level: float = 0.95
    seed: int = 12345

    def __str__(self) -> str:
        return f"{self.level:.0%} bootstrap interval over images, {self.resamples:,} resamples, seed {self.seed}"


@dataclass(frozen=True)
class SystemResult:
    """The results of one system.

    Attributes:
        name: The label of the system.
        scores: The scores of the system.
        intervals: The interval of each metric; empty if none were requested.
        matched: A sentence for people on how its captions met the references.
        n_images: The number of judged images.
        samples: The judged samples, for reports that show them.
    """

    name: str
    scores: Scores
    intervals: dict[str, Interval]
    n_images: int
    matched: str = ""
    samples: Samples | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Results:
    """The results of several systems on the same metrics.

    Attributes:
        systems: The systems in the order of the table.
        bootstrap: The settings of the intervals; None if none were drawn.
        notes: Notes for people on the numbers.
    """

    systems: Sequence[SystemResult]
    bootstrap: Bootstrap | None = None
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def columns(self) -> list[Score]:
        """The first system's scores: names and directions of the columns."""
        return self.systems[0].scores.columns()

    @cached_property
    def footnote(self) -> str | None:
        """A note that the systems were scored on different images, which makes no value the best; else None."""
        keys = [system.scores.caption_keys for system in self.systems]
        shared = shared_count_if_different(keys)
        if shared is None:
            return None
        counts = ", ".join(f"{s.name} {len(set(k)):,}" for s, k in zip(self.systems, keys, strict=True))
        return f"The systems are scored on different images ({counts}; {shared:,} shared): values do not compare."

    @property
    def all_notes(self) -> list[str]:
        """The footnote and the notes."""
        return [*([] if self.footnote is None else [self.footnote]), *self.notes]

    def signatures(self) -> list[str]:
        """Return the distinct signatures; the members of a family share one."""
        return list(dict.fromkeys(str(c.signature) for s in self.systems for c in s.scores.columns()))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        systems = []
        for system in self.systems:
            known = system.intervals if self.bootstrap else None
            row = {"name": system.name, "captions": len(system.scores.captions), "images": system.n_images}
            systems.append({**row, "scores": system.scores.to_dict(intervals=known)})
        drawn = None if self.bootstrap is None else asdict(self.bootstrap)
        files = [report.to_dict() for report in self.files()]
        head = {"capreward": __version__, "bootstrap": drawn, "files": files}
        return {**head, "systems": systems, "notes": self.all_notes}

    def files(self) -> list[FileReport]:
        """Return the reports on what was read from which file, each file and role once."""
        return list(dict.fromkeys(report for system in self.systems for report in system.scores.files))


_RETRIEVAL = {
    **{f"r{cut}": f"R@{cut}" for cut in (1, 5, 10, 50)},
    "medr": "median rank",
    "meanr": "mean rank",
    "mrr": "MRR",
}
LABELS = {
    **{f"bleu{n}": f"BLEU-{n}" for n in range(1, 5)},
    **{f"mbleu{n}": f"mBLEU-{n}" for n in range(1, 5)},
    "bleu-avg": "BLEU-avg",
    "chrf": "chrF",
    "chrfpp": "chrF++",
    "meteor": "METEOR",
    "rouge": "ROUGE-L",
    "cider": "CIDEr",
    "cider-d": "CIDEr-D",
    "spice": "SPICE",
    "clips": "CLIP-S",
    "refclips": "RefCLIP-S",
    "pacs": "PAC-S",
    "refpacs": "RefPAC-S",
    "pacspp": "PAC-S++",
    "refpacspp": "RefPAC-S++",
    "self-cider": "Self-CIDEr",
    "judge": "held-out judge",
    **{
        f"retrieval-{way.lower()}-{part}": f"{way} {said}"
        for way in ("T2I", "I2T")
        for part, said in _RETRIEVAL.items()
    },
}


def label(name: str) -> str:
    """Return the name of a metric as papers print it; other names stay, but lose the folders of files in them."""
    return LABELS.get(name) or re.sub(r"=[^=,()]*/", "=", name)


def format_value(value: float, column: Score, *, percent: bool = False) -> str:
    """Return four decimals, or two of a share times 100; a count over the whole corpus as a whole number."""
    if value != value:
        return "-"
    if column.per_caption is None and not column.is_share:
        return f"{value:,.0f}"
    return f"{100 * value:.2f}" if percent and column.is_share else f"{value:.4f}"
