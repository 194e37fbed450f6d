"""Reports on what was read from which column: one line per file, so that a user sees at once if a column is wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

EMPTY_CELL = "empty cell"


@dataclass
class Findings:
    """The notes that a reader takes while it reads a file.

    Attributes:
        id: What the ids are taken from, such as ``"image_id"`` or ``"the line number"``.
        captions: What the captions are taken from, such as ``"caption_1..caption_5"``.
        dropped: The number of captions that were passed over, by reason.
        rows_dropped: The rows that cannot be read, in phrases such as ``"2 rows dropped: too few cells (line 3, 7)"``.
        splits: The number of rows that were read, by split.
        remarks: Further remarks, one phrase each.
        emptied: The ids that have no captions left because none of their captions counts.
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
    """The report on how one file was read; ``str`` gives it as one line for people.

    Attributes:
        file: The file as the user named it.
        format: The name of the file's format.
        role: What the file was read as: ``"captions"`` or ``"references"``.
        images: The number of images that the file describes.
        captions: The number of captions (or references) that were read.
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
        """Return the fields as plain values for JSON."""
        fields = asdict(self)
        return {**fields, "dropped": list(self.dropped), "remarks": list(self.remarks)}


def report_of(source: str, format: str, role: str, images: int, captions: int, findings: Findings) -> FileReport:
    """Return the report on a file that has been read to its end."""
    dropped = [_dropped_text(reason, count) for reason, count in findings.dropped.items()]
    remarks = list(findings.remarks)
    if findings.splits:
        many = "splits " if len(findings.splits) > 1 else "split "
        remarks.append(
            many + ", ".join(f"{_printable_name(name)} ({count:,})" for name, count in findings.splits.items())
        )
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


def _printable_name(name: str) -> str:
    """Spell a name from a file so that it fits into a message of one line."""
    return name if name.isprintable() and len(name) <= 60 else repr(name)[1:57]


def _dropped_text(reason: str, count: int) -> str:
    if reason == EMPTY_CELL:
        return f"{count:,} empty cell{'s' * (count != 1)} dropped"
    return f"{count:,} row{'s' * (count != 1)} dropped: {reason}"
