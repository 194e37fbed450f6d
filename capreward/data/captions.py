"""Reading caption files of any supported format into one table, and references into one dictionary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from capreward.data.file_content import Content, load, same_file
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
    """Candidate captions, one row per caption in file order; ids repeat if an image has several.

    Attributes:
        source: The file as the user named it.
        format: The name of its format.
        keys: The id of each caption's image, as text.
        captions: The captions, unchanged.
        positions: Where each caption stands in the file, counted from 1.
        unit: What positions count: ``"row"``, ``"line"``, ``"entry"``, ...
        aliases: Other names of the ids (file names).
        aligned: The file has no ids; its line numbers stand for them.
        certain: No other name of an image may contradict its id: the format or the user says which is the id.
        notes: What a user should know about the captions.
        reports: What was read as what; none for captions that are given in Python.
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
    """Reference captions per image, in file order.

    Attributes:
        source: The file or files as the user named them.
        format: The name of the format, or several joined by ``+``.
        references: ``{id: [captions]}``.
        aliases: Other names of the ids (file names).
        aligned: The files have no ids; their line numbers stand for them.
        notes: What a user should know about the reading.
        certain: No other name of an image may contradict its id: the format or the user says which is the id.
        emptied: Images whose references are all marked as ones that do not count; they are not judged.
        reports: What was read as what, file by file; none for references that are given in Python.
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
        format: One of :func:`format_names`; recognised by the content if None.
        split: Split to keep, for files with splits; ``"train+restval"`` joins two.
        id_column: Name of the column of ids, if it is not a usual one; ``"row"`` for the number of the row.
        caption_column: Name of the column of captions, if it is not a usual one; several give each image several.
        image_column: Name of the column of picture files, if it is not a usual one.
        paired: Nothing has to be matched with another file, so that rows without ids are numbered.

    Raises:
        InputError: If the file cannot be used, with what was found, where, and what to do.
    """
    options = Options(
        split=split, id_column=id_column, caption_column=caption_column, image_column=image_column, paired=paired
    )
    return _read_captions(load(path), format, options)[0]


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

    Several text files without ids give each line one reference per file; a blank line then stands for "none here", as
    sacrebleu has it. Several files with ids are joined: an image in two of them has the references of both.

    Args:
        paths: The file or files.
        format: One of :func:`format_names`; recognised by the content if None.
        split: Split to keep, for files with splits; ``"train+restval"`` joins two.
        id_column: Name of the column of ids, if it is not a usual one; ``"row"`` for the number of the row.
        caption_column: Name of the column of references, if it is not a usual one; several add up.
        image_column: Name of the column of picture files, if it is not a usual one.
        flags: How messages spell the options of the command: ``"--{name}"``; ``"--references-{name}"`` by default.

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
    return _join([_read_references(load(path), format, options)[0] for path in listed])


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
    of the row is the id. No column is read as both.

    Args:
        path: A file with named columns, or CLIPScore's judgements.
        format: One of :func:`format_names`; recognised by the content if None.
        split: Split to keep, for files with splits.
        id_column: Name of the column of ids, if it is not a usual one; ``"row"`` for the number of the row.
        caption_column: Name of the column of candidates, if it is not a usual one.
        references_column: Name of the column of references, if it is not a usual one; several add up.
        image_column: Name of the column of picture files, if it is not a usual one.

    Raises:
        InputError: If the file cannot be used or has no column of references besides that of the candidates.
    """
    content = load(path)
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
        _known(parsed.aliases),
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
        _known(parsed.aliases),
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
        # What recognises files does not know whose file it is; of references the option has another name.
        raise InputError(str(error).replace(" --format ", f" {flag} ")) from error


def _known(aliases: dict[str, str | None]) -> dict[str, str]:
    return {alias: key for alias, key in aliases.items() if key is not None}


def _join(parts: list[References]) -> References:
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
        blank = _drop_padding(joined)
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
    """Refuse files of which one writes ``42`` where another writes ``000000000042.jpg``: they would be two images."""
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


def _drop_padding(references: dict[str, list[str]]) -> int:
    """Remove blank references of images that have others, and count them; aligned text has no other way to say none."""
    dropped = 0
    for key, captions in references.items():
        said = [caption for caption in captions if caption.strip()]
        if said and len(said) < len(captions):
            dropped += len(captions) - len(said)
            references[key] = said
    return dropped
