"""Views of a file as captions, as references, and as both at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capreward.errors import InputError
from capreward.inspection.views import LookOptions, Readings, View, command_text, count_text

if TYPE_CHECKING:
    from capreward.data.captions import CaptionTable, References

CAPTIONS, REFERENCES, BOTH = "captions", "references", "captions and references"
_MOST = 5  # the most captions of one image that are shown


def view_captions(path: str, asked: LookOptions, seen: Readings, *, own_images: bool) -> None:
    """Read a file in every role of captions, and keep the view of each reading or the message that refuses it.

    Args:
        path: The file.
        asked: The user's options.
        seen: The readings to which the views and the messages are added.
        own_images: True if the file has pictures as well, so that no pictures need be named.
    """
    images = () if own_images else ("-i", "IMAGES")
    captions = seen.attempt(CAPTIONS, lambda: _captions_view(path, asked, images))
    references = seen.attempt(REFERENCES, lambda: _references_view(path, asked, images))
    try:
        seen.views.append(_paired_view(path, asked))
    except InputError as error:
        if captions is None and references is None and len(set(seen.refusals.values())) > 1:
            seen.refusals[BOTH] = str(error)


def _captions_view(path: str, asked: LookOptions, images: Sequence[str]) -> View:
    from capreward.data.captions import read_captions

    table = read_captions(path, **asked.reading_options())
    said = _reading_words(asked)
    several = ["--multiple"] if len(set(table.keys)) < len(table) else []
    uses = []
    if asked.split is None:  # commands that score read a whole file of captions, without a split
        uses.append(("score", command_text("score", path, *said, "-r", "REFERENCES", *several)))
        uses.append(("score with images", command_text("score", path, *said, *images, "-m", "clips", *several)))
        if table.format == "finecapeval":
            uses.append(("annotations", command_text("finecapeval", "CAPTIONS", "--data", path)))
        if _are_scenes(table.keys):
            uses.append(("score against scenes", command_text("score", path, "-i", "scenes", "-r", "scenes", *several)))
    uses.append(("retrieve", command_text("retrieve", path, *said, *_split_words(asked), *images)))
    return View(
        CAPTIONS,
        str(table.reports[0]),
        _caption_rows(table, asked.rows),
        tuple(uses),
        table.notes,
        _report_facts(table),
    )


def _references_view(path: str, asked: LookOptions, images: Sequence[str]) -> View:
    from capreward.data.captions import read_references

    found = read_references(path, flags="--{name}", **asked.reading_options())
    rows = tuple(
        {"id": key, "captions": _shorten_captions(texts)} for key, texts in list(found.references.items())[: asked.rows]
    )
    of_references = _reading_words(asked, "references-")
    uses = [
        ("references", command_text("score", "CAPTIONS", "-r", path, *of_references, *_split_words(asked))),
        (
            "document frequencies",
            command_text("df", "build", path, *_reading_words(asked), *_split_words(asked), "-o", "df.npz"),
        ),
    ]
    if not found.aligned and asked.format is None and len(asked.caption_column) < 2:
        named = {"id_column": asked.id_column, "caption_column": next(iter(asked.caption_column), None)}
        columns = [w for name, value in named.items() if value for w in ("--set", f"data.{name}={value}")]
        uses.append(("train", command_text("train", "--data", path, *columns, *_split_words(asked), *images)))
    return View(REFERENCES, str(found.reports[0]), rows, tuple(uses), found.notes, _report_facts(found))


def _paired_view(path: str, asked: LookOptions) -> View:
    from capreward.data.captions import read_captions_with_references

    table, references = read_captions_with_references(path, **asked.reading_options())
    rows = tuple(
        {**row, "references": _shorten_captions(references.references.get(row["id"], []))}
        for row in _caption_rows(table, asked.rows)
    )
    several = ["--multiple"] if len(set(table.keys)) < len(table) else []
    words = ("score", path, *_reading_words(asked), *_split_words(asked), "-m", "bleu,rouge,cider", *several)
    line = f"{table.reports[0]}; {count_text(sum(map(len, references.references.values())), 'reference')} "
    line += f"from {references.reports[0].column}"
    facts = {"captions": table.reports[0].to_dict(), "references": references.reports[0].to_dict()}
    return View(BOTH, line, rows, (("score by its own references", command_text(*words)),), (), facts)


def _caption_rows(table: CaptionTable, count: int) -> tuple[Mapping[str, Any], ...]:
    pairs = zip(table.keys[:count], table.captions[:count], strict=True)
    return tuple({"id": key, "caption": caption} for key, caption in pairs)


def _report_facts(found: CaptionTable | References) -> dict[str, Any]:
    return found.reports[0].to_dict()


def _shorten_captions(texts: Sequence[str]) -> list[str]:
    return [*texts[:_MOST], f"... {len(texts) - _MOST:,} more"] if len(texts) > _MOST else list(texts)


def _reading_words(asked: LookOptions, prefix: str = "") -> list[str]:
    """Return the user's own options as words of a command line."""
    words = []
    for name, value in (("format", asked.format), ("id-column", asked.id_column)):
        words += [] if value is None else [f"--{prefix}{name}", value]
    for column in asked.caption_column:
        words += [f"--{prefix}caption-column", column]
    return words


def _split_words(asked: LookOptions) -> list[str]:
    return [] if asked.split is None else ["--split", asked.split]


def _are_scenes(keys: Sequence[str]) -> bool:
    from capreward.data.images.scene_keys import names_scenes

    return names_scenes(Path(keys[0]).name.replace("-", ":", 1))
