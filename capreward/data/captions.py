"""Readers of caption files of any supported format: captions become one table, references one dictionary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from capreward.data.file_content import Content, load_content, same_file
from capreward.data.file_report import FileReport, report_of
from capreward.data.formats.registry import find_format, format_names, recognise
from capreward.data.image_ids import IdIndex
from capreward.data.roles import Role, role_of
from capreward.data.rows import Options, ParsedFile, collect_captions, collect_references, shown_id
from capreward.data.text_notes import notes_on
from capreward.errors import InputError

Columns = str | Sequence[str] | None

__all__ = [
    "CaptionTable",
    "References",
    "format_names",
    "read_captions",
    "read_captions_with_references",
    "read_references",
]


@dataclass(frozen=True)
class CaptionTable:
    """Candidate captions, one row per caption, in file order; an id repeats if its image has several captions.

    Attributes:
        source: The file as the user named it.
        format: The name of the file's format.
        keys: The id of each caption's image, as text.
        captions: The captions, unchanged.
        positions: Where each caption stands in the file, counted from 1.
        unit: What positions count: ``"row"``, ``"line"``, ``"entry"``, ...
        aliases: Other names of the ids, such as file names: ``{name: id}``.
        aligned: True if the file has no ids, so that its line numbers are the ids.
        certain: True if the format or the user says what the id is, so that no other name of an image may contradict
            it.
        notes: What a user should know about the captions, one sentence each.
        reports: What was read from which column; empty for captions that are given in Python.
    """

    source: str
    format: str
    keys: list[str]
    captions: list[str]
    positions: Sequence[int]
    unit: str = "row"
    aliases: dict[str, str] = field(default_factory=dict)
    aligned: bool = False
    certain: bool = True
    notes: tuple[str, ...] = ()
    reports: tuple[FileReport, ...] = ()

    def __len__(self) -> int:
        """Return the number of captions."""
        return len(self.captions)


@dataclass(frozen=True)
class References:
    """The reference captions of each image, in file order.

    Attributes:
        source: The file or files as the user named them.
        format: The name of the format, or several joined by ``+``.
        references: The reference captions of each image: ``{id: [captions]}``.
        aliases: Other names of the ids, such as file names: ``{name: id}``.
        aligned: True if the files have no ids, so that their line numbers are the ids.
        notes: What a user should know about the references, one sentence each.
        certain: True if the format or the user says what the id is, so that no other name of an image may contradict
            it.
        emptied: The ids of images whose references are all marked as not counting; these images are not scored.
        reports: What was read from which column, one report per file; empty for references that are given in Python.
    """

    source: str
    format: str
    references: dict[str, list[str]]
    aliases: dict[str, str] = field(default_factory=dict)
    aligned: bool = False
    notes: tuple[str, ...] = ()
    certain: bool = True
    emptied: frozenset[str] = frozenset()
    reports: tuple[FileReport, ...] = ()

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.references)


def read_captions(
    path: str | Path,
    *,
    format: str | None = None,
    split: str | None = None,
    id_column: str | None = None,
    caption_column: Columns = None,
    image_column: str | None = None,
    paired: bool = False,
) -> CaptionTable:
    """Read a file of candidate captions.

    Args:
        path: The file, plain or gzipped, or a brace pattern of tar shards such as ``test-{000..007}.tar``.
        format: The name of the format, one of :func:`format_names`; None recognises it by the content.
        split: The split to read, for files with splits; ``"train+restval"`` joins two; None reads all rows of a table.
        id_column: The name of the column of ids; ``"row"`` takes the number of the row; None takes a usual name.
        caption_column: The name of the column of captions, or several, each of which gives an image one more caption;
            None takes a usual name.
        image_column: The name of the column of picture files; None takes a usual name.
        paired: If True, nothing has to be matched with another file, so that rows without ids are numbered.

    Raises:
        InputError: If the file cannot be used; the message says what was found, where, and what to do.
    """
    options = Options(
        split=split, id_column=id_column, caption_column=caption_column, image_column=image_column, paired=paired
    )
    return _read_captions(load_content(path), format, options)[0]


def read_references(
    paths: str | Path | Sequence[str | Path],
    *,
    format: str | None = None,
    split: str | None = None,
    id_column: str | None = None,
    caption_column: Columns = None,
    image_column: str | None = None,
    flags: str | None = None,
) -> References:
    """Read references from one or several files.

    Several text files without ids give each line one reference per file; a blank line then means that the file has no
    reference for that line, as in sacrebleu. Several files with ids are joined: an image in two of them has the
    references of both.

    Args:
        paths: The file or files.
        format: The name of the format, one of :func:`format_names`; None recognises it by the content.
        split: The split to read, for files with splits; ``"train+restval"`` joins two; None reads all rows of a table.
        id_column: The name of the column of ids; ``"row"`` takes the number of the row; None takes a usual name.
        caption_column: The name of the column of references, or several, whose references add up; None takes a usual
            name.
        image_column: The name of the column of picture files; None takes a usual name.
        flags: How messages spell the options of the command, such as ``"--{name}"``; None gives
            ``"--references-{name}"``.

    Raises:
        InputError: If a file cannot be used, or files without ids have different numbers of lines.
    """
    listed = [paths] if isinstance(paths, str | Path) else list(paths)
    if not listed:
        raise InputError("no references file was given")
    for place, path in enumerate(listed):
        if any(same_file(path, other) for other in listed[:place]):
            raise InputError(f"{path} is given twice as references; give each file once")
    options = Options(
        references=True,
        split=split,
        id_column=id_column,
        caption_column=caption_column,
        image_column=image_column,
        flags=flags,
    )
    return _join_references([_read_references(load_content(path), format, options)[0] for path in listed])


def read_captions_with_references(
    path: str | Path,
    *,
    format: str | None = None,
    split: str | None = None,
    id_column: str | None = None,
    caption_column: Columns = None,
    references_column: Columns = None,
    image_column: str | None = None,
) -> tuple[CaptionTable, References]:
    """Read candidates and references that stand in one file, in columns such as ``caption`` and ``references``.

    An image may have several rows (candidates) if each repeats the same references. Where there are no ids, the number
    of the row is the id. No column is read as both candidates and references.

    Args:
        path: A file with named columns, or the file of CLIPScore's human judgements.
        format: The name of the format, one of :func:`format_names`; None recognises it by the content.
        split: The split to read, for files with splits; None reads all rows of a table.
        id_column: The name of the column of ids; ``"row"`` takes the number of the row; None takes a usual name.
        caption_column: The name of the column of candidates; None takes a usual name.
        references_column: The name of the column of references, or several, whose references add up; None takes a usual
            name.
        image_column: The name of the column of picture files; None takes a usual name.

    Raises:
        InputError: If the file cannot be used or has no column of references besides that of the candidates.
    """
    content = load_content(path)
    options = Options(
        split=split, id_column=id_column, caption_column=caption_column, image_column=image_column, paired=True
    )
    table, taken = _read_captions(content, format, options)
    if not taken:
        raise InputError(
            f"{content.source} is read as {table.format}, which has captions of one kind alone: they cannot be "
            "candidates and references at once; give the file of the references with --references FILE"
        )
    by_name = all(role_of(name) is Role.PREDICTION for name in taken)
    again = replace(options, references=True, caption_column=references_column, taken=taken, sure=by_name)
    references, columns = _read_references(content, format, again)
    if not columns or set(columns) & set(taken):
        raise InputError(
            f"{content.source}: the captions that are scored and the references would be the same "
            f'("{"+".join(taken)}"); give the file of the references with --references FILE'
        )
    if table.aligned != references.aligned:
        raise InputError(
            f"{content.source}: the ids of captions and references differ; name their column with --id-column"
        )
    return table, references


def _read_captions(content: Content, format: str | None, options: Options) -> tuple[CaptionTable, tuple[str, ...]]:
    name, parsed = _parse(content, format, options)
    keys, captions, positions = collect_captions(parsed, content.source)
    report = report_of(content.source, name, "captions", len(set(keys)), len(captions), parsed.findings)
    table = CaptionTable(
        content.source,
        name,
        keys,
        captions,
        positions,
        parsed.unit,
        _unambiguous(parsed.aliases),
        parsed.aligned,
        parsed.certain,
        notes_on(captions, "captions", content.source),
        (report,),
    )
    return table, parsed.columns


def _read_references(content: Content, format: str | None, options: Options) -> tuple[References, tuple[str, ...]]:
    name, parsed = _parse(content, format, options)
    references = collect_references(parsed, content.source)
    texts = [text for listed in references.values() for text in listed]
    report = report_of(
        content.source, name, "references", len([v for v in references.values() if v]), len(texts), parsed.findings
    )
    found = References(
        content.source,
        name,
        references,
        _unambiguous(parsed.aliases),
        parsed.aligned,
        notes_on(texts, "references", content.source),
        parsed.certain,
        frozenset(parsed.findings.emptied),
        (report,),
    )
    return found, parsed.columns


def _parse(content: Content, format: str | None, options: Options) -> tuple[str, ParsedFile]:
    flag = options.flag("format")
    try:
        name = format if format is not None else recognise(content, options)
        chosen = find_format(name)
        if chosen.kind != content.kind:
            raise InputError(
                f"{content.source} is a {content.kind} file and cannot be read as {name}; leave {flag} out"
            )
        chosen.check_options(name, options, content.source)
        return name, chosen.read(content, options)
    except InputError as error:
        # The code that recognises formats does not know the role of the file; for references the option is named
        # otherwise.
        raise InputError(str(error).replace(" --format ", f" {flag} ")) from error


def _unambiguous(aliases: dict[str, str | None]) -> dict[str, str]:
    return {alias: key for alias, key in aliases.items() if key is not None}


def _join_references(parts: list[References]) -> References:
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    for part in parts[1:]:
        if part.aligned != first.aligned:
            without, having = (part, first) if part.aligned else (first, part)
            raise InputError(f"{without.source} has no ids but {having.source} has; give references of one kind")
    if first.aligned and len({len(part) for part in parts}) > 1:
        counts = ", ".join(f"{part.source} ({len(part):,})" for part in parts)
        raise InputError(
            f"the reference files have different numbers of lines: {counts}; line n of each must be the same image"
        )
    _refuse_two_spellings(parts)
    joined: dict[str, list[str]] = {}
    aliases: dict[str, str] = {}
    for part in parts:
        aliases.update(part.aliases)
        for key, captions in part.references.items():
            joined.setdefault(key, []).extend(captions)
    notes = tuple(note for part in parts for note in part.notes)
    if first.aligned:
        blank = _drop_blank_padding(joined)
        many = f"{blank:,} blank lines in the reference files were taken for missing references"
        one = "1 blank line in the reference files was taken for a missing reference"
        notes = (*notes, *((many if blank > 1 else one,) if blank else ()))
    merged = replace(
        first,
        source=", ".join(part.source for part in parts),
        references=joined,
        aliases=aliases,
        notes=notes,
        certain=all(part.certain for part in parts),
        emptied=frozenset().union(*(part.emptied for part in parts)) - joined.keys(),
        reports=tuple(report for part in parts for report in part.reports),
    )
    return replace(merged, format="+".join(dict.fromkeys(part.format for part in parts)))


def _refuse_two_spellings(parts: list[References]) -> None:
    """Refuse files if one writes ``42`` where another writes ``000000000042.jpg``: they would be two images."""
    known: dict[str, None] = {}
    for part in parts:
        index = IdIndex(known, {}, "the files of references")
        for key in part.references if known else ():
            hit = None if key in known else index.find(key)
            if hit is not None:
                raise InputError(
                    f'{part.source} has the id "{shown_id(key)}" where another file of references has '
                    f'"{shown_id(hit[0])}"; write the ids of all files in one way'
                )
        known.update(dict.fromkeys(part.references))


def _drop_blank_padding(references: dict[str, list[str]]) -> int:
    """Remove blank references of images that have other references, and return how many were removed.

    A text file without ids can only write a missing reference as a blank line.
    """
    dropped = 0
    for key, captions in references.items():
        said = [caption for caption in captions if caption.strip()]
        if said and len(said) < len(captions):
            dropped += len(captions) - len(said)
            references[key] = said
    return dropped
