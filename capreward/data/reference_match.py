"""The pairing of candidate captions with the references of their images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from capreward.data.captions import CaptionTable, References
from capreward.data.file_report import FileReport
from capreward.data.image_ids import AS_NAMES, AS_NUMBERS, EXACTLY, IdIndex
from capreward.data.rows import shown_id
from capreward.errors import InputError, shorten


@dataclass(frozen=True)
class ReferenceMatch:
    """Candidates with their references, ready to be scored.

    Attributes:
        keys: The id of each item (image), as the candidate file writes it.
        captions: The N captions that are scored, unchanged, in file order.
        item: The item that each caption describes, as an index into ``keys``.
        references: The references of each item; empty if none were given.
        rows: The row of each caption in the candidate table, counted from 0.
        report: One line that says how many images matched, and in which manner.
        notes: What a user should know about the pairing, one sentence each.
        files: What was read from which column, one report per file.
    """

    keys: list[str]
    captions: list[str]
    item: list[int]
    references: list[list[str]]
    rows: Sequence[int]
    report: str
    notes: list[str] = field(default_factory=list)
    files: tuple[FileReport, ...] = ()


def match(
    candidates: CaptionTable, references: References | None, *, allow_missing: bool = False, multiple: bool = False
) -> ReferenceMatch:
    """Pair each candidate caption with the references of its image.

    Ids match as they are, or as file names, or as numbers; see :mod:`capreward.data.image_ids`. Images with references
    but no candidate are counted in the report; as in COCO's own evaluation, they are not an error.

    Args:
        candidates: The captions to score.
        references: The references, or None to score without any.
        allow_missing: If True, candidates whose image has no references are left out; otherwise they are refused.
        multiple: If True, an image may have several captions.

    Raises:
        InputError: If ids repeat, are ambiguous, or have no references.
    """
    files = (*candidates.reports, *(references.reports if references is not None else ()))
    met = _match_captions(candidates, references, allow_missing=allow_missing, multiple=multiple)
    return replace(met, files=files)


def _match_captions(
    candidates: CaptionTable, references: References | None, *, allow_missing: bool, multiple: bool
) -> ReferenceMatch:
    notes = list(candidates.notes)
    table, rows = candidates, list(range(len(candidates)))
    if not multiple:
        table, rows = _without_duplicates(candidates, notes)
        _refuse_repeated(table)
    empty = sum(not caption.strip() for caption in table.captions)
    if empty:
        notes.append(f"{_count(empty, 'caption')} of {table.source} {_are(empty)} empty; scored as such")
    keys = list(dict.fromkeys(table.keys))
    if references is None:
        report = f"{_count(len(keys), 'image')}, {_count(len(table), 'caption')}, no references"
        return _assemble(table, keys, {}, rows, report, notes)
    _check_alignment(candidates, references)
    found, how = _pair_ids(table, keys, references)
    if not found:
        raise InputError(_no_overlap_text(keys[0], table.source, references))
    _refuse_shared_references(found, table.source, references.source)
    texts, left_out = _references_of_images(table, keys, found, references, allow_missing, notes)
    report = _match_report(len(texts), len(references), left_out, how)
    return _assemble(table, [key for key in keys if key in texts], texts, rows, report, notes)


def _references_of_images(
    table: CaptionTable,
    keys: list[str],
    found: dict[str, str],
    references: References,
    allow_missing: bool,
    notes: list[str],
) -> tuple[dict[str, list[str]], int]:
    """Return the references of each image, and the number of images that are left out because they have none.

    Notes on both are appended to ``notes``.
    """
    uncounted = [key for key, name in found.items() if name in references.emptied]
    if len(uncounted) == len(found):
        raise InputError(f"{references.source} has no references that count for the images of {table.source}")
    known = {key: name for key, name in found.items() if name not in references.emptied}
    texts = {key: references.references[name] for key, name in known.items() if references.references[name]}
    left_out = [key for key in keys if key not in texts and found.get(key) not in references.emptied]
    if left_out:
        if not allow_missing or not texts:
            raise InputError(_missing_references_text(left_out, found, len(texts), table.source, references.source))
        notes.append(f"{_count(len(left_out), 'image')} without references left out: {_ids_text(left_out)}")
    if uncounted:
        images = f"{_count(len(uncounted), 'image')} of {table.source} left out"
        notes.append(f"{images}, since no reference of {references.source} counts for them: {_ids_text(uncounted)}")
    notes.extend(references.notes)
    if len(texts) > 1 and all(c in texts[k] for k, c in zip(table.keys, table.captions, strict=True) if k in texts):
        notes.append(
            f"every caption of {table.source} equals one of its references in {references.source}; "
            "check that this is the file you mean"
        )
    blank = sum(not text.strip() for listed in texts.values() for text in listed)
    if blank:
        notes.append(f"{_count(blank, 'reference')} of {references.source} {_are(blank)} empty; kept as such")
    return texts, len(left_out)


def _assemble(
    table: CaptionTable,
    keys: list[str],
    texts: dict[str, list[str]],
    rows: Sequence[int],
    report: str,
    notes: list[str],
) -> ReferenceMatch:
    place = {key: number for number, key in enumerate(keys)}
    references = [texts[key] for key in keys] if texts else []
    kept: Sequence[int] = range(len(table))
    captions = table.captions
    if len(place) < len(set(table.keys)):
        kept = [row for row, key in enumerate(table.keys) if key in place]
        captions = [table.captions[row] for row in kept]
    item = [place[table.keys[row]] for row in kept]
    return ReferenceMatch(keys, captions, item, references, [rows[row] for row in kept], report, notes)


def _without_duplicates(table: CaptionTable, notes: list[str]) -> tuple[CaptionTable, list[int]]:
    """Return the table without rows that repeat the id and the caption of another row, and the rows that are left.

    An evaluation on several processes fills its last batch up with captions that it already has.
    """
    if len(set(table.keys)) == len(table):
        return table, list(range(len(table)))
    seen: dict[tuple[str, str], int] = {}
    for row, pair in enumerate(zip(table.keys, table.captions, strict=True)):
        seen.setdefault(pair, row)
    rows = list(seen.values())
    if doubled := len(table) - len(rows):
        times = "row repeats" if doubled == 1 else "rows repeat"
        notes.append(f"{doubled:,} {times} the id and the caption of another in {table.source}; dropped")
    kept = replace(
        table,
        keys=[table.keys[row] for row in rows],
        captions=[table.captions[row] for row in rows],
        positions=[table.positions[row] for row in rows],
    )
    return kept, rows


def _pair_ids(table: CaptionTable, keys: list[str], references: References) -> tuple[dict[str, str], dict[str, int]]:
    """Find the reference id of each candidate id, and count in which manner each was found."""
    known = {**references.references, **{key: [] for key in references.emptied}}
    index = IdIndex(known, references.aliases, references.source)
    names: dict[str, list[str]] = {}
    for alias, key in table.aliases.items():
        names.setdefault(key, []).append(alias)
    found = {key: key for key in keys if key in known}
    if references.aliases and not references.certain:
        for key in found:
            _refuse_contradiction(key, key, index.find_by_alias(key), references.source, "--references-id-column")
    how = {EXACTLY: len(found), AS_NAMES: 0, AS_NUMBERS: 0}
    doubtful = bool(names) and not table.certain
    for key in keys if len(found) < len(keys) or doubtful else ():
        for name in (key, *names.get(key, ())):
            if key in found and not doubtful:
                break
            hit = index.find(name) if name != key or key not in found else None
            if hit is None:
                continue
            if key in found:
                _refuse_contradiction(key, found[key], hit[0], table.source, "--id-column", name)
                continue
            found[key], manner = hit
            how[AS_NAMES if name != key else manner] += 1
    return found, how


def _refuse_contradiction(key: str, one: str, other: str | None, source: str, flag: str, name: str = "") -> None:
    """Refuse an id if the column of ids and the column of file names mean different images."""
    if other is not None and other != one:
        written = f' (its file is "{shown_id(name)}")' if name else ""
        raise InputError(
            f'{source}: the id "{shown_id(key)}"{written} could be the image "{shown_id(one)}" or, by the names of the '
            f'files, "{shown_id(other)}"; say which column holds the ids with {flag}'
        )


def _refuse_repeated(table: CaptionTable) -> None:
    if len(set(table.keys)) == len(table.keys):
        return
    places: dict[str, list[int]] = {}
    for key, position in zip(table.keys, table.positions, strict=True):
        places.setdefault(key, []).append(position)
    repeated = [key for key, listed in places.items() if len(listed) > 1]
    first = places[repeated[0]]
    spots = list(dict.fromkeys(map(str, first)))
    where = f"{table.unit}{'' if len(spots) == 1 else 's'} {shorten(spots, 4)}"
    others = len(repeated) - 1
    more = f", and {_count(others, 'other id')} {'repeats' if others == 1 else 'repeat'} too" if others else ""
    raise InputError(
        f"{table.source} has {len(first)} captions for id {shown_id(repeated[0])} ({where}){more}; "
        "keep one each, or pass --multiple to score several captions per image"
    )


def _refuse_shared_references(found: dict[str, str], source: str, reference_source: str) -> None:
    if len(set(found.values())) == len(found):
        return
    owner: dict[str, str] = {}
    for key, name in found.items():
        other = owner.setdefault(name, key)
        if other != key:
            raise InputError(
                f'{source} has both "{shown_id(other)}" and "{shown_id(key)}", which both match "{shown_id(name)}" of '
                f"{reference_source}; write the ids of both files one way"
            )


def _check_alignment(table: CaptionTable, references: References) -> None:
    if table.aligned and references.aligned:
        if len(table) != len(references):
            raise InputError(
                f"{table.source} has {len(table):,} lines and {references.source} has {len(references):,}; "
                "line n of each must be the same image"
            )
    elif table.aligned or references.aligned:
        bare, keyed = (table.source, references.source) if table.aligned else (references.source, table.source)
        raise InputError(
            f"{bare} has no ids, only lines in order, while {keyed} has ids; give both as plain text, or both with "
            "ids, or number the rows of both: --id-column row --references-id-column row"
        )


def _no_overlap_text(key: str, source: str, references: References) -> str:
    name = next(iter(references.references))
    return (
        f'none of the ids of {source} is in {references.source}: the first are "{shown_id(key)}" and '
        f'"{shown_id(name)}"; check that the files belong together, or choose the column with '
        "--id-column or --references-id-column"
    )


def _missing_references_text(
    left_out: list[str], found: dict[str, str], usable: int, source: str, reference_source: str
) -> str:
    empty = [key for key in left_out if key in found]
    if len(empty) == len(left_out):
        what = f"{reference_source} has an empty list of references for {_count(len(empty), 'image')} of {source}"
    else:
        what = f"{reference_source} has no references for {_count(len(left_out), 'image')} of {source}"
    advice = f"pass --allow-missing to score the {usable:,} that match" if usable else "add references"
    return f"{what}: {_ids_text(left_out)}; {advice}"


def _match_report(matched: int, total: int, left_out: int, how: dict[str, int]) -> str:
    used = [name for name, count in how.items() if count]
    manner = used[0] if len(used) == 1 else ", ".join(f"{how[name]:,} {name}" for name in used)
    text = f"{matched:,} of {total:,} images matched (ids matched {manner})"
    if matched < total:
        text += f"; {total - matched:,} with references have no caption"
    return text + (f"; {left_out:,} without references left out" if left_out else "")


def _ids_text(keys: list[str]) -> str:
    return shorten([shown_id(key) for key in keys[:3]] + keys[3:])


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _are(number: int) -> str:
    return "is" if number == 1 else "are"
