"""What was read as what: one line on each file, so that a person sees at a glance that a wrong column was taken."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

EMPTY_CELL = "empty cell"


@dataclass
class Findings:
    """What a reader notes while it reads.

    Attributes:
        id: What the ids are taken from, such as ``"image_id"`` or ``"the line number"``.
        captions: What the captions are taken from, such as ``"caption_1..caption_5"``.
        dropped: How many captions were passed over, by reason.
        rows_dropped: Rows that cannot be read, one phrase each.
        splits: How many rows of each split were read.
        remarks: Further remarks, one phrase each.
        emptied: Ids that lost all their captions because none of them counts.
    """

    id: str = ""
    captions: str = ""
    dropped: Counter[str] = field(default_factory=Counter)
    rows_dropped: list[str] = field(default_factory=list)
    splits: Counter[str] = field(default_factory=Counter)
    remarks: list[str] = field(default_factory=list)
    emptied: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class FileReport:
    """What one file was read as; ``str`` gives the line for people.

    Attributes:
        file: The file as the user named it.
        format: The name of its format.
        role: ``"captions"`` or ``"references"``.
        images: How many images it describes.
        captions: How many captions (or references) were read.
        id: What the ids were taken from.
        column: What the captions were taken from.
        dropped: What was passed over, one phrase each.
        remarks: Further remarks, one phrase each.
    """

    file: str
    format: str
    role: str
    images: int
    captions: int
    id: str
    column: str
    dropped: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        noun = "image" if self.images == 1 else "images"
        taken = [f"id from {self.id}"] if self.id else []
        taken.append(f"{self.role} from {self.column or 'the lines'} ({self.captions:,})")
        parts = [f"{self.file}: {self.format}, {self.images:,} {noun}", ", ".join(taken), *self.dropped, *self.remarks]
        return "; ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        fields = asdict(self)
        return {**fields, "dropped": list(self.dropped), "remarks": list(self.remarks)}


def report_of(source: str, format: str, role: str, images: int, captions: int, findings: Findings) -> FileReport:
    """The report of a file that is read to its end."""
    dropped = [_dropped(reason, count) for reason, count in findings.dropped.items()]
    remarks = list(findings.remarks)
    if findings.splits:
        many = "splits " if len(findings.splits) > 1 else "split "
        remarks.append(many + ", ".join(f"{_plain(name)} ({count:,})" for name, count in findings.splits.items()))
    return FileReport(
        source,
        format,
        role,
        images,
        captions,
        findings.id,
        findings.captions,
        (*dropped, *findings.rows_dropped),
        tuple(remarks),
    )


def _plain(name: str) -> str:
    """A name from a file for a message of one line."""
    return name if name.isprintable() and len(name) <= 60 else repr(name)[1:57]


def _dropped(reason: str, count: int) -> str:
    if reason == EMPTY_CELL:
        return f"{count:,} empty cell{'s' * (count != 1)} dropped"
    return f"{count:,} row{'s' * (count != 1)} dropped: {reason}"
