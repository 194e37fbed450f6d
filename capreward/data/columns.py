"""The choice of a table's columns: each role needs evidence, and two possible readings are an error."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from capreward.data.cells import NO_TEXT, SENTENCES, WORDS, cell_content, is_place
from capreward.data.roles import (
    CAPTION_ROLES,
    ROW_NAMES,
    Role,
    is_media_name,
    is_picture,
    plain_name,
    role_of,
    split_number,
)
from capreward.data.rows import Options, id_text
from capreward.data.tables import ABSENT, KeyedTable, Table
from capreward.errors import InputError, shorten

ROW = "row"  # if the user gives this as the column of ids, the number of the row is the id
_SAME_IMAGE = ("cocoid", "coco_id", "image_id", "imgid", "img_id")  # Karpathy's files have two of them, which agree


@dataclass(frozen=True)
class Columns:
    """The columns to read, as the file spells them.

    Attributes:
        id: The column of ids; None if the number of the row is the id.
        values: The columns of captions or references; each of several columns gives the row's image one more.
        names: The columns of other names of the image, such as file names.
        split: The column of splits, or None.
        rejected: The columns that mark captions which do not count.
        optional: True if a record may lack the column of captions, which means that it has no captions.
        certain: True if the user named the column of ids, so that no other name of an image may contradict it.
        remarks: What a user should know about the choice, one phrase each.
    """

    id: str | None
    values: tuple[str, ...]
    names: tuple[str, ...] = ()
    split: str | None = None
    rejected: tuple[str, ...] = ()
    optional: bool = False
    certain: bool = False
    remarks: tuple[str, ...] = field(default=())


def choose_columns(table: Table, options: Options) -> Columns:
    """Choose the columns to read.

    Args:
        table: The table of the file.
        options: The user's own names of columns, which always win, and the role of the file.

    Raises:
        InputError: If a column is missing, if two columns could play one role, or if one column would play two roles.
    """
    _refuse_twice(table)
    values, optional = caption_columns(table.names, options, table.source, table.head)
    chosen, names, remark = _IdChoice(table, options, values).choose_columns()
    if chosen in values:
        raise InputError(
            f'{table.source}: the column "{chosen}" cannot be both ids and captions; '
            f"name two columns with {options.flag('id-column')} and {options.flag('caption-column')}"
        )
    split = _split_column(table, options)
    rejected = tuple(name for name in table.names if role_of(name) is Role.REJECTED)
    remarks = (remark,) if remark else ()
    return Columns(chosen, values, names, split, rejected, optional, options.id_column is not None, remarks)


def choose_identity(table: Table, options: Options) -> tuple[str | None, tuple[str, ...]]:
    """Choose the columns that say which image a row of a table of pictures, without captions, is about.

    Args:
        table: The table of the file.
        options: The user's own name of the column of ids, which always wins.

    Returns:
        The column of ids, which is None if the number of the row is the id, and the columns of other names of the
        image.

    Raises:
        InputError: If there is no column of ids, or if two could be meant.
    """
    _refuse_twice(table)
    chosen, names, _ = _IdChoice(table, options, ()).choose_columns()
    return chosen, names


def _refuse_twice(table: Table) -> None:
    if twice := next((name for name in table.names if table.names.count(name) > 1), None):
        raise InputError(f'{table.source} has two columns named "{twice}"; rename one')


def caption_columns(
    names: Sequence[str], options: Options, source: str, head: Callable[[Sequence[str]], Sequence[Sequence[object]]]
) -> tuple[tuple[str, ...], bool]:
    """Choose the columns of captions, or of references if the file is read as references.

    Args:
        names: The names of all columns.
        options: The user's own names of columns, and the role of the file.
        source: The file, for messages.
        head: A function that returns the first rows of some columns; their cells can speak against their names.

    Returns:
        The columns, and whether a record may lack them.

    Raises:
        InputError: If there is no such column, or if two could be meant.
    """
    flag = options.flag("caption-column")
    if options.caption_columns:
        chosen = tuple(dict.fromkeys(named_column(name, names, source, flag) for name in options.caption_columns))
        if both := next((name for name in chosen if name in options.taken), None):
            raise InputError(_no_references_text(both, names, source))
        return chosen, False
    groups = _groups([name for name in names if name not in options.taken])
    own = Role.REFERENCE if options.references else Role.PREDICTION
    for role in (own, Role.CAPTION):
        found = [group for kind, group in groups if kind is role]
        if role is own and len(found) == 1 and not options.taken:
            rivals = [group for kind, group in groups if kind is Role.CAPTION]
            better = _better_columns(found[0], rivals, head)
            # Beside one column of references a numbered family could be the references of the file as well.
            wide = options.references and not options.paired
            found += [group for group in rivals if group in better or (wide and len(group) > 1)]
        if role is Role.CAPTION and options.taken and not options.sure:
            found = []  # to say which of two columns of captions holds the candidates would be a guess
        if len(found) > 1:
            raise InputError(
                _ambiguous_captions_text(source, "references" if options.references else "captions", found, flag)
            )
        if found:
            _refuse_no_text(found[0], head, source, flag)
            return _single_candidate_column(found[0], role, options, source), own is role and options.references
    raise InputError(_no_captions_text(names, groups, options, source))


def _better_columns(group: list[str], rivals: list[list[str]], head: Any) -> list[list[str]]:
    """Return the columns that hold sentences, if the column with the better name holds labels, marks or paths."""
    if _content_of(group, head) == SENTENCES:
        return []
    return [rival for rival in rivals if _content_of(rival, head) == SENTENCES]


def _refuse_no_text(group: list[str], head: Any, source: str, flag: str) -> None:
    """Refuse a column whose cells are all addresses or names of files."""
    seen = [value for row in head(group) for value in row]
    if len(seen) > 1 and all(isinstance(value, str) and is_place(value) for value in seen):
        holds = f'its column "{column_span(group)}" holds no captions (such as "{str(seen[0])[:40]}")'
        raise InputError(f"{source}: {holds}; name the column of captions with {flag}")


def _content_of(group: list[str], head: Any) -> str:
    """Return what the first cells of some columns hold: ``SENTENCES``, ``WORDS`` or ``NO_TEXT``."""
    kinds = {cell_content(value) for row in head(group) for value in row}
    return next((kind for kind in (SENTENCES, WORDS, NO_TEXT) if kind in kinds), WORDS)


def named_column(name: str, names: Sequence[str], source: str, flag: str) -> str:
    """Return the column that the user names, as the file spells it.

    Raises:
        InputError: If there is no column of that name; the message says which name is near.
    """
    if name in names:
        return name
    alike = [there for there in names if plain_name(there) == plain_name(name)]
    if len(alike) == 1:
        return alike[0]
    near = difflib.get_close_matches(name, names, n=1)
    meant = f' (did you mean "{near[0]}"?)' if near else ""
    raise InputError(absent_column_text(source, f'"{name}"{meant}', names, flag))


def absent_column_text(source: str, what: str, names: Sequence[str], flag: str) -> str:
    """Return the message on a column that the file does not have."""
    known = any(role_of(name) is not None for name in names)
    other = flag.replace("caption-column", "id-column").replace("caption_column", "id_column")
    advice = f"name one with {flag}" if known or other == flag else f"name them with {other} and {flag}"
    return f"{source} has no column for {what}; its columns are {column_names_text(names)}: {advice}"


def column_names_text(names: Sequence[str]) -> str:
    """List names of columns for a message, and cut the long ones."""
    return shorten([repr(name if len(name) <= 40 else name[:37] + "...") for name in names], 12) or "none"


def _groups(names: Sequence[str]) -> list[tuple[Role, list[str]]]:
    """Group the columns of captions by role and name.

    Numbered columns (``caption_1``, ``ref2``, pandas' ``caption.1``) form one group.
    """
    groups: dict[tuple[Role, str, bool], list[str]] = {}
    for name in names:
        role = role_of(name)
        if role is None or role not in CAPTION_ROLES:
            continue
        base, number = split_number(name)
        groups.setdefault((role, base, number is not None), []).append(name)
    for role, base, is_numbered in list(groups):
        alone, rest = groups.get((role, base, False)), groups.get((role, base, True))
        if not is_numbered and alone and rest and (role is Role.REFERENCE or all("." in name for name in rest)):
            groups[role, base, True] = [*alone, *rest]
            del groups[role, base, False]
    for group in groups.values():
        group.sort(key=lambda name: (split_number(name)[1] is not None, split_number(name)[1] or 0))
    return [(role, group) for (role, _, _), group in groups.items()]


def _single_candidate_column(group: list[str], role: Role, options: Options, source: str) -> tuple[str, ...]:
    if len(group) > 1 and role is Role.CAPTION and not options.references:
        raise InputError(
            f"{source} has {len(group)} columns of captions ({column_span(group)}), as files of references have; name "
            f"the one of the candidates with {options.flag('caption-column')}, or give the file with --references"
        )
    return tuple(group)


def column_span(names: Sequence[str]) -> str:
    """Name several columns in few words, such as ``caption_1..caption_5``."""
    return names[0] if len(names) == 1 else f"{names[0]}..{names[-1]}" if len(names) > 2 else " and ".join(names)


def _ambiguous_captions_text(source: str, what: str, groups: list[list[str]], flag: str) -> str:
    several = " or ".join(f'"{column_span(group)}"' for group in groups[:4])
    return f"{source}: the {what} could be the column {several}; say which with {flag}"


def _no_captions_text(
    names: Sequence[str], groups: Sequence[tuple[Role, list[str]]], options: Options, source: str
) -> str:
    flag = options.flag("caption-column")
    other = next((group for kind, group in groups if kind is not Role.CAPTION), None)
    if options.references:
        if options.taken:
            return _no_references_text(options.taken[0], names, source)
        if other:
            return absent_column_text(
                source, f'references ("{column_span(other)}" holds predictions, which are never that)', names, flag
            )
        return absent_column_text(source, "references", names, flag)
    if other:
        return absent_column_text(source, f'captions ("{column_span(other)}" holds references)', names, flag)
    return absent_column_text(source, "captions", names, flag)


def _no_references_text(column: str, names: Sequence[str], source: str) -> str:
    others = [name for name in names if name != column and role_of(name) in (None, *CAPTION_ROLES)]
    there = column_names_text(others)
    own = f", or name a column of this file with --references-caption-column ({there})" if others else ""
    return (
        f'{source} holds the captions that are scored (column "{column}") and no column of references; '
        f"give the file of the references with --references FILE{own}"
    )


def _split_column(table: Table, options: Options) -> str | None:
    found = [name for name in table.names if role_of(name) is Role.SPLIT]
    if options.split is not None and not found:
        there = column_names_text(table.names)
        raise InputError(f"{table.source} has no column of splits; its columns are {there}: leave --split out")
    return found[0] if found else None


class _IdChoice:
    """Chooses the column that says which image a row is about."""

    def __init__(self, table: Table, options: Options, values: Sequence[str]) -> None:
        self.table = table
        self.options = options
        free = [name for name in table.names if name not in values]
        self.images = [name for name in free if role_of(name) is Role.IMAGE_ID]
        self.items = [name for name in free if role_of(name) is Role.ITEM_ID and plain_name(name) not in ROW_NAMES]
        self.items += [name for name in free if name == KeyedTable.KEY]
        files = [name for name in free if role_of(name) is Role.FILE]
        head = table.head(files) if files else []
        self.files = [name for place, name in enumerate(files) if _names_images([row[place] for row in head])]
        self.pictures = [name for name in files if name not in self.files]
        if not self.files and (self.images or self.items):
            self.files = self._file_name_columns([name for name in free if role_of(name) is None])

    def _file_name_columns(self, names: Sequence[str]) -> list[str]:
        """Return the columns of unknown names that hold names of picture files.

        They may show that the ids only number the rows.
        """
        head = self.table.head(names) if names else []
        columns = ((name, [row[place] for row in head]) for place, name in enumerate(names))
        return [name for name, seen in columns if seen and all(isinstance(v, str) and is_media_name(v) for v in seen)]

    def _pictures_with_paths(self) -> list[str]:
        """Return the columns of pictures that name each picture's file, as Hugging Face's do: ``{"bytes", "path"}``."""
        head = self.table.head(self.pictures) if self.pictures else []
        columns = [(name, [row[place] for row in head]) for place, name in enumerate(self.pictures)]
        return [
            n
            for n, seen in columns
            if seen and all(isinstance(v, dict) and isinstance(v.get("path"), str) for v in seen)
        ]

    def choose_columns(self) -> tuple[str | None, tuple[str, ...], str | None]:
        """Choose the column of ids.

        Returns:
            The column of ids, which is None if the number of the row is the id; the columns of other names; and a
            remark on the choice, or None.
        """
        options, table = self.options, self.table
        if options.id_column is not None:
            if options.id_column == ROW and ROW not in table.names:
                return None, self._alias_columns(None), None
            chosen = named_column(options.id_column, table.names, table.source, options.flag("id-column"))
            return chosen, self._alias_columns(chosen), None
        ids = self._image_id_column() or self._item_id_column()
        if ids:
            return self._check_against_files(ids)
        named_by = self.files or self._pictures_with_paths()
        if named_by:
            self._refuse_differing_files()
            return named_by[0], self._alias_columns(named_by[0]), None
        if options.paired:
            return None, self._alias_columns(None), None
        raise InputError(
            absent_column_text(table.source, "ids", table.names, options.flag("id-column"))
            + f", or give {options.flag('id-column')} {ROW} if row n of both files is the same image"
        )

    def _alias_columns(self, chosen: str | None) -> tuple[str, ...]:
        column = self.options.image_column
        if column is not None:
            return (named_column(column, self.table.names, self.table.source, "--image-column"),)
        same = [n for n in self.images if n != chosen and {plain_name(n), plain_name(chosen or "")} <= set(_SAME_IMAGE)]
        return tuple(name for name in (*self.files, *same, *self.pictures) if name != chosen)

    def _image_id_column(self) -> str | None:
        if len(self.images) > 1:
            spelt = {plain_name(name): name for name in self.images}
            if not spelt.keys() <= set(_SAME_IMAGE):
                raise InputError(self._ambiguous_ids_text(self.images))
            return next(spelt[name] for name in _SAME_IMAGE if name in spelt)
        return self.images[0] if self.images else None

    def _item_id_column(self) -> str | None:
        found = self.items
        if len(found) > 1:  # "index" is the weakest name, since pandas writes its index under it
            found = [name for name in found if plain_name(name) not in ("index", "idx")] or found
        if len(found) > 1:
            raise InputError(self._ambiguous_ids_text(found))
        return found[0] if found else None

    def _check_against_files(self, chosen: str) -> tuple[str, tuple[str, ...], str | None]:
        """Compare the ids with the file names: ids that only number the rows are no ids of images."""
        weak = chosen in self.items
        if not self.files:
            return chosen, self._alias_columns(chosen), None
        other = self.files[0]
        pairs = [
            (id_text(key) or "", name)
            for _, (key, name) in self.table.rows([chosen, other])
            if isinstance(name, str) and name and key is not ABSENT
        ]
        keys = [key for key, _ in pairs]
        distinct, files = len(set(keys)), len({name for _, name in pairs})
        if files >= distinct == len(set(pairs)) or not pairs:
            return chosen, self._alias_columns(chosen), None  # every id has one file
        if weak and distinct == len(pairs) and files < distinct:
            remark = f'"{chosen}" numbers the rows'
            return other, tuple(n for n in self._alias_columns(other) if n != chosen), remark
        raise InputError(self._ambiguous_ids_text([chosen, other]))

    def _refuse_differing_files(self) -> None:
        """Refuse two columns of file names that name different files."""
        from capreward.data.image_ids import stem

        for other in self.files[1:]:
            for _, (one, two) in self.table.rows([self.files[0], other]):
                if isinstance(one, str) and isinstance(two, str) and stem(one) != stem(two):
                    raise InputError(self._ambiguous_ids_text([self.files[0], other]))

    def _ambiguous_ids_text(self, names: Sequence[str]) -> str:
        several = " or ".join(f'"{name}"' for name in names[:4])
        flag = self.options.flag("id-column")
        return f"{self.table.source}: the ids could be the column {several}; say which with {flag}"


def _names_images(values: Sequence[object]) -> bool:
    """Return whether a column of files holds names and not pictures."""
    return not any(is_picture(value) for value in values)
