"""Which columns of a table play which role: by evidence, never by falling through; two readings are an error."""

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
    numbered,
    plain_name,
    role_of,
)
from capreward.data.rows import Options, id_text
from capreward.data.tables import ABSENT, KeyedTable, Table
from capreward.errors import InputError, shorten

ROW = "row"  # given as a column of ids: the number of the row is the id
_SAME_IMAGE = ("cocoid", "coco_id", "image_id", "imgid", "img_id")  # Karpathy's files have two of them, which agree


@dataclass(frozen=True)
class Columns:
    """The columns to read, as the file spells them.

    Attributes:
        id: Column of ids; None if the number of the row is the id.
        values: Columns of captions or references; several are several captions of the row's image.
        names: Columns of other names of the image (file names).
        split: Column of splits, if any.
        rejected: Columns that mark captions which do not count.
        optional: A record may lack the captions, which means that it has none.
        certain: The user named the column of ids, so that no other name of an image may contradict it.
        remarks: What a user should know about the choice.
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
        table: What the file holds.
        options: The user's own names of columns, which always win, and the role of the file.

    Raises:
        InputError: If a column is missing, or if two could play one role, or one two roles.
    """
    _refuse_twice(table)
    values, optional = caption_columns(table.names, options, table.source, table.head)
    chosen, names, remark = _Identity(table, options, values).choose()
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
    """Choose the columns that say which image a row of a table without captions (of pictures) is about.

    Args:
        table: What the file holds.
        options: The user's own name of the column of ids, which always wins.

    Returns:
        The column of ids, None where the number of the row is the id; and the columns of other names of the image.

    Raises:
        InputError: If there is none, or if two could be meant.
    """
    _refuse_twice(table)
    chosen, names, _ = _Identity(table, options, ()).choose()
    return chosen, names


def _refuse_twice(table: Table) -> None:
    if twice := next((name for name in table.names if table.names.count(name) > 1), None):
        raise InputError(f'{table.source} has two columns named "{twice}"; rename one')


def caption_columns(
    names: Sequence[str], options: Options, source: str, head: Callable[[Sequence[str]], Sequence[Sequence[object]]]
) -> tuple[tuple[str, ...], bool]:
    """The columns of captions, or of references when those are read, and whether a record may lack them.

    Args:
        names: The columns there are.
        options: The user's own names of columns, and the role of the file.
        source: The file, for messages.
        head: Gives the first rows of some columns: what they hold can speak against their names.

    Raises:
        InputError: If there is none, or if two could be meant.
    """
    flag = options.flag("caption-column")
    if options.caption_columns:
        chosen = tuple(dict.fromkeys(named_column(name, names, source, flag) for name in options.caption_columns))
        if both := next((name for name in chosen if name in options.taken), None):
            raise InputError(_both(both, names, source))
        return chosen, False
    groups = _groups([name for name in names if name not in options.taken])
    own = Role.REFERENCE if options.references else Role.PREDICTION
    for role in (own, Role.CAPTION):
        found = [group for kind, group in groups if kind is role]
        if role is own and len(found) == 1 and not options.taken:
            rivals = [group for kind, group in groups if kind is Role.CAPTION]
            better = _better(found[0], rivals, head)
            # Beside one column of references a numbered family could be the references of the file as well.
            wide = options.references and not options.paired
            found += [group for group in rivals if group in better or (wide and len(group) > 1)]
        if role is Role.CAPTION and options.taken and not options.sure:
            found = []  # which of two columns of captions is the candidates' would be a guess
        if len(found) > 1:
            raise InputError(_two(source, "references" if options.references else "captions", found, flag))
        if found:
            _refuse_no_text(found[0], head, source, flag)
            return _one(found[0], role, options, source), own is role and options.references
    raise InputError(_no_captions(names, groups, options, source))


def _better(group: list[str], rivals: list[list[str]], head: Any) -> list[list[str]]:
    """Columns of captions that hold sentences, where the one with the better name holds labels, marks or paths."""
    if _worth(group, head) == SENTENCES:
        return []
    return [rival for rival in rivals if _worth(rival, head) == SENTENCES]


def _refuse_no_text(group: list[str], head: Any, source: str, flag: str) -> None:
    """Refuse a column whose cells are all addresses or names of files."""
    seen = [value for row in head(group) for value in row]
    if len(seen) > 1 and all(isinstance(value, str) and is_place(value) for value in seen):
        holds = f'its column "{column_span(group)}" holds no captions (such as "{str(seen[0])[:40]}")'
        raise InputError(f"{source}: {holds}; name the column of captions with {flag}")


def _worth(group: list[str], head: Any) -> str:
    """What the first cells of some columns hold."""
    kinds = {cell_content(value) for row in head(group) for value in row}
    return next((kind for kind in (SENTENCES, WORDS, NO_TEXT) if kind in kinds), WORDS)


def named_column(name: str, names: Sequence[str], source: str, flag: str) -> str:
    """The column that the user names, as the file spells it.

    Raises:
        InputError: There is none of that name; it says which are near.
    """
    if name in names:
        return name
    alike = [there for there in names if plain_name(there) == plain_name(name)]
    if len(alike) == 1:
        return alike[0]
    near = difflib.get_close_matches(name, names, n=1)
    meant = f' (did you mean "{near[0]}"?)' if near else ""
    raise InputError(absent(source, f'"{name}"{meant}', names, flag))


def absent(source: str, what: str, names: Sequence[str], flag: str) -> str:
    """The sentence on a column that is not there."""
    known = any(role_of(name) is not None for name in names)
    other = flag.replace("caption-column", "id-column").replace("caption_column", "id_column")
    advice = f"name one with {flag}" if known or other == flag else f"name them with {other} and {flag}"
    return f"{source} has no column for {what}; its columns are {listed_names(names)}: {advice}"


def listed_names(names: Sequence[str]) -> str:
    """Column names for a message, the long ones cut."""
    return shorten([repr(name if len(name) <= 40 else name[:37] + "...") for name in names], 12) or "none"


def _groups(names: Sequence[str]) -> list[tuple[Role, list[str]]]:
    """Columns of captions by role; numbered ones (``caption_1``, ``ref2``, pandas' ``caption.1``) form one group."""
    groups: dict[tuple[Role, str, bool], list[str]] = {}
    for name in names:
        role = role_of(name)
        if role is None or role not in CAPTION_ROLES:
            continue
        base, number = numbered(name)
        groups.setdefault((role, base, number is not None), []).append(name)
    for role, base, is_numbered in list(groups):
        alone, rest = groups.get((role, base, False)), groups.get((role, base, True))
        if not is_numbered and alone and rest and (role is Role.REFERENCE or all("." in name for name in rest)):
            groups[role, base, True] = [*alone, *rest]
            del groups[role, base, False]
    for group in groups.values():
        group.sort(key=lambda name: (numbered(name)[1] is not None, numbered(name)[1] or 0))
    return [(role, group) for (role, _, _), group in groups.items()]


def _one(group: list[str], role: Role, options: Options, source: str) -> tuple[str, ...]:
    if len(group) > 1 and role is Role.CAPTION and not options.references:
        raise InputError(
            f"{source} has {len(group)} columns of captions ({column_span(group)}), as files of references have; name "
            f"the one of the candidates with {options.flag('caption-column')}, or give the file with --references"
        )
    return tuple(group)


def column_span(names: Sequence[str]) -> str:
    """Several columns in few words: ``caption_1..caption_5``."""
    return names[0] if len(names) == 1 else f"{names[0]}..{names[-1]}" if len(names) > 2 else " and ".join(names)


def _two(source: str, what: str, groups: list[list[str]], flag: str) -> str:
    several = " or ".join(f'"{column_span(group)}"' for group in groups[:4])
    return f"{source}: the {what} could be the column {several}; say which with {flag}"


def _no_captions(names: Sequence[str], groups: Sequence[tuple[Role, list[str]]], options: Options, source: str) -> str:
    flag = options.flag("caption-column")
    other = next((group for kind, group in groups if kind is not Role.CAPTION), None)
    if options.references:
        if options.taken:
            return _both(options.taken[0], names, source)
        if other:
            return absent(
                source, f'references ("{column_span(other)}" holds predictions, which are never that)', names, flag
            )
        return absent(source, "references", names, flag)
    if other:
        return absent(source, f'captions ("{column_span(other)}" holds references)', names, flag)
    return absent(source, "captions", names, flag)


def _both(column: str, names: Sequence[str], source: str) -> str:
    others = [name for name in names if name != column and role_of(name) in (None, *CAPTION_ROLES)]
    own = f", or name a column of this file with --references-caption-column ({listed_names(others)})" if others else ""
    return (
        f'{source} holds the captions that are scored (column "{column}") and no column of references; '
        f"give the file of the references with --references FILE{own}"
    )


def _split_column(table: Table, options: Options) -> str | None:
    found = [name for name in table.names if role_of(name) is Role.SPLIT]
    if options.split is not None and not found:
        raise InputError(
            f"{table.source} has no column of splits; its columns are {listed_names(table.names)}: leave --split out"
        )
    return found[0] if found else None


class _Identity:
    """The choice of the column that says which image a row is about."""

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
            self.files = self._named_files([name for name in free if role_of(name) is None])

    def _named_files(self, names: Sequence[str]) -> list[str]:
        """Columns of unknown names that hold names of picture files: they may say that ids only number the rows."""
        head = self.table.head(names) if names else []
        columns = ((name, [row[place] for row in head]) for place, name in enumerate(names))
        return [name for name, seen in columns if seen and all(isinstance(v, str) and is_media_name(v) for v in seen)]

    def _paths(self) -> list[str]:
        """Columns of pictures that say where each came from, as Hugging Face's do: ``{"bytes", "path"}``."""
        head = self.table.head(self.pictures) if self.pictures else []
        columns = [(name, [row[place] for row in head]) for place, name in enumerate(self.pictures)]
        return [
            n
            for n, seen in columns
            if seen and all(isinstance(v, dict) and isinstance(v.get("path"), str) for v in seen)
        ]

    def choose(self) -> tuple[str | None, tuple[str, ...], str | None]:
        """The column of ids (None: the row's number), columns of other names, and a remark."""
        options, table = self.options, self.table
        if options.id_column is not None:
            if options.id_column == ROW and ROW not in table.names:
                return None, self._others(None), None
            chosen = named_column(options.id_column, table.names, table.source, options.flag("id-column"))
            return chosen, self._others(chosen), None
        ids = self._image_ids() or self._item_ids()
        if ids:
            return self._against_files(ids)
        named_by = self.files or self._paths()
        if named_by:
            self._agreeing_files()
            return named_by[0], self._others(named_by[0]), None
        if options.paired:
            return None, self._others(None), None
        raise InputError(
            absent(table.source, "ids", table.names, options.flag("id-column"))
            + f", or give {options.flag('id-column')} {ROW} if row n of both files is the same image"
        )

    def _others(self, chosen: str | None) -> tuple[str, ...]:
        column = self.options.image_column
        if column is not None:
            return (named_column(column, self.table.names, self.table.source, "--image-column"),)
        same = [n for n in self.images if n != chosen and {plain_name(n), plain_name(chosen or "")} <= set(_SAME_IMAGE)]
        return tuple(name for name in (*self.files, *same, *self.pictures) if name != chosen)

    def _image_ids(self) -> str | None:
        if len(self.images) > 1:
            spelt = {plain_name(name): name for name in self.images}
            if not spelt.keys() <= set(_SAME_IMAGE):
                raise InputError(self._either(self.images))
            return next(spelt[name] for name in _SAME_IMAGE if name in spelt)
        return self.images[0] if self.images else None

    def _item_ids(self) -> str | None:
        found = self.items
        if len(found) > 1:  # pandas' index is the weakest of names
            found = [name for name in found if plain_name(name) not in ("index", "idx")] or found
        if len(found) > 1:
            raise InputError(self._either(found))
        return found[0] if found else None

    def _against_files(self, chosen: str) -> tuple[str, tuple[str, ...], str | None]:
        """Hold the ids against the file names: ids that only number the rows are no ids of images."""
        weak = chosen in self.items
        if not self.files:
            return chosen, self._others(chosen), None
        other = self.files[0]
        pairs = [
            (id_text(key) or "", name)
            for _, (key, name) in self.table.rows([chosen, other])
            if isinstance(name, str) and name and key is not ABSENT
        ]
        keys = [key for key, _ in pairs]
        distinct, files = len(set(keys)), len({name for _, name in pairs})
        if files >= distinct == len(set(pairs)) or not pairs:
            return chosen, self._others(chosen), None  # each id has one file
        if weak and distinct == len(pairs) and files < distinct:
            remark = f'"{chosen}" numbers the rows'
            return other, tuple(n for n in self._others(other) if n != chosen), remark
        raise InputError(self._either([chosen, other]))

    def _agreeing_files(self) -> None:
        """Refuse two columns of file names that name different files."""
        from capreward.data.image_ids import stem

        for other in self.files[1:]:
            for _, (one, two) in self.table.rows([self.files[0], other]):
                if isinstance(one, str) and isinstance(two, str) and stem(one) != stem(two):
                    raise InputError(self._either([self.files[0], other]))

    def _either(self, names: Sequence[str]) -> str:
        several = " or ".join(f'"{name}"' for name in names[:4])
        flag = self.options.flag("id-column")
        return f"{self.table.source}: the ids could be the column {several}; say which with {flag}"


def _names_images(values: Sequence[object]) -> bool:
    """Whether a column of files holds names, not pictures."""
    return not any(is_picture(value) for value in values)
