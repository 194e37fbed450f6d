"""Caption files, references, and the matching of their ids."""

from capreward.data.captions import (
    CaptionTable,
    References,
    read_captions,
    read_captions_with_references,
    read_references,
)
from capreward.data.formats.registry import format_names, format_summaries
from capreward.data.mappings import as_references, as_table
from capreward.data.reference_match import ReferenceMatch, match

__all__ = [
    "CaptionTable",
    "ReferenceMatch",
    "References",
    "as_references",
    "as_table",
    "format_names",
    "format_summaries",
    "match",
    "read_captions",
    "read_captions_with_references",
    "read_references",
]
