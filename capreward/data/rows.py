"""The checks of ids and captions: what a format's reader yields becomes checked captions here and nowhere else."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum

from capreward.data.file_report import Findings
from capreward.errors import InputError


class PassedRow(Enum):
    """Stands in place of the captions of a row that adds no caption to its image."""

    NOTHING = "its cell is empty"
    REJECTED = "its caption does not count"


NOTHING, REJECTED = PassedRow.NOTHING, PassedRow.REJECTED


@dataclass(frozen=True)
class Options:
    """The options for reading one file.

    Attributes:
        references: If True, the file is read as references rather than as candidates.
        split: The split to read, such as ``test``; None reads all rows.
        id_column: The name of the column of ids; ``"row"`` takes the number of the row; None takes a usual name.
        caption_column: The name of the column of captions (or references), or several; None takes a usual name.
        image_column: The name of the column of picture files; None takes a usual name.
        paired: True if the file holds candidates and references, or if nothing has to be matched, so that the number
            of the row can be the id where there is none.
        taken: The columns that are already read as candidates, and therefore hold no references.
        sure: True if the name of the candidates' column says that it holds candidates, or if the user named both
            columns.
        pictures: True if the file is read for the pictures that it holds.
        flags: How the command spells its options for this file, such as ``"--{name}"`` or ``"--set data.{key}=NAME"``;
            None gives ``"--{name}"`` with the usual prefix.
    """

    references: bool = False
    split: str | None = None
    id_column: str | None = None
    caption_column: str | Sequence[str] | None = None
    image_column: str | None = None
    paired: bool = False
    taken: tuple[str, ...] = ()
    sure: bool = True
    pictures: bool = False
    flags: str | None = None

    @property
    def caption_columns(self) -> tuple[str, ...]:
        """Return the columns of captions that the user names."""
        if self.caption_column is None:
            return ()
        return (self.caption_column,) if isinstance(self.caption_column, str) else tuple(self.caption_column)

    def flag(self, name: str) -> str:
        """Return the command-line option of a name for this file, such as ``--references-id-column``, for messages."""
        prefix = "references-" if self.references else "images-" if self.pictures else ""
        spelling = self.flags or f"--{prefix}{{name}}"
        return spelling.format(name=name, key=name.replace("-", "_"))


@dataclass(frozen=True)
class ParsedFile:
    """The rows that a format's reader found, before they are checked.

    Attributes:
        rows: Triples of position, id, and caption or list of captions, in file order.
        unit: What a position counts: ``"row"``, ``"line"``, ``"entry"``, ...
        aliases: Other names of the ids, such as file names: ``{name: id}``; the id is None where two ids share the
            name. The dictionary is complete once ``rows`` is exhausted.
        uniform: True if either every row must hold one caption or every row must hold a list.
        aligned: True if the rows have no ids, so that the position is the id.
        certain: True if the format or the user says what the id is, so that no other name of an image may contradict
            it.
        findings: What was read from which column; complete once ``rows`` is exhausted.
        columns: The columns of captions, as the file spells them.
    """

    rows: Iterable[tuple[int, object, object]]
    unit: str
    aliases: dict[str, str | None] = field(default_factory=dict)
    uniform: bool = True
    aligned: bool = False
    certain: bool = True
    findings: Findings = field(default_factory=Findings)
    columns: tuple[str, ...] = ()


def caption_text(item: object) -> object:
    """Return the caption in one entry of a list: a text, ``{"raw", "tokens"}`` as Karpathy writes, or ``{"caption"}``.

    An entry of any other kind is returned as it is, to be refused by the check of captions.
    """
    if not isinstance(item, dict):
        return item
    for name in ("raw", "caption", "text"):
        if isinstance(item.get(name), str):
            return item[name]
    tokens = item.get("tokens")
    return " ".join(map(str, tokens)) if isinstance(tokens, list) else item.get("caption", item)


def describe(value: object) -> str:
    """Describe a value in the words of a JSON file, such as ``null`` or ``a list``, for messages."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and math.isnan(value):
        return "NaN (a missing value)"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return "text"
    if isinstance(value, list):
        return "a list"
    return "an object" if isinstance(value, dict) else f"of type {type(value).__name__}"


def shown_id(key: str) -> str:
    """Spell an id for a message of one line, with escaped control characters and at most 60 characters."""
    plain = key if key.isprintable() else repr(key)[1:-1]
    return plain if len(plain) <= 60 else plain[:57] + "..."


def id_text(value: object) -> str | None:
    """Return an id as text, or None if the value cannot be an id; ``42.0``, as pandas writes integers, is ``42``."""
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return None


def add_alias(aliases: dict[str, str | None], alias: str, key: str | None) -> None:
    """Add another name of an id to the aliases; a name that two ids share gets None and identifies neither."""
    if aliases.setdefault(alias, key) != key:
        aliases[alias] = None


def split_rows(split: str | None) -> set[str]:
    """Return the splits that a text such as ``"train+restval"`` names; the set is empty for None."""
    return set() if split is None else set(split.split("+"))


@dataclass(frozen=True)
class Checker:
    """Checks the ids and captions of one file; its errors say where a bad one stands.

    Attributes:
        source: The file, for messages.
        unit: What positions count: ``"row"``, ``"line"``, ``"entry"``, ...
    """

    source: str
    unit: str

    def id(self, value: object, position: int) -> str:
        """Return the id as text.

        Raises:
            InputError: If the value is neither a text that is not blank nor a whole number, or holds half a character.
        """
        key = id_text(value)
        if key is None:
            found = "empty" if isinstance(value, str) else describe(value)
            raise InputError(
                f"{self.source}, {self.unit} {position}: the id is {found}; it must be text or a whole number"
            )
        if not key.isascii():
            self._whole_characters(key, "id", f"{position}")
        return key

    def caption(self, value: object, key: str, position: int) -> str:
        """Return the caption.

        Raises:
            InputError: If the value is no text, or holds half a character.
        """
        if not isinstance(value, str):
            raise InputError(
                f"{self.source}, {self.unit} {position} (id {shown_id(key)}): the caption is {describe(value)}, not "
                'text; write "" if the model said nothing'
            )
        if not value.isascii():
            self._whole_characters(value, "caption", f"{position} (id {shown_id(key)})")
        return value

    def _whole_characters(self, text: str, what: str, place: str) -> None:
        """Refuse lone surrogates: JSON can spell them, but no file or terminal can show them."""
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InputError(
                f"{self.source}, {self.unit} {place}: the {what} holds half a character "
                "(a lone surrogate such as \\ud83d); write the whole character or remove it"
            ) from None

    def captions(self, value: object, key: str, position: int) -> list[str]:
        """Return the captions of one image, which are given as a text or as a list of texts or ``{"caption": text}``.

        Raises:
            InputError: If a caption is no text, or holds half a character.
        """
        if not isinstance(value, list):
            return [self.caption(value, key, position)]
        if all(type(item) is str for item in value) and "".join(value).isascii():
            return list(value)  # most lists are of this kind, and no entry needs a check of its own
        return [self.caption(caption_text(item), key, position) for item in value]

    def same_kind(self, value: object, first: object, key: str, position: int) -> None:
        """Refuse a file in which some captions are texts and others are lists.

        Raises:
            InputError: If one of the two values is a list and the other is not.
        """
        if value != [] and isinstance(value, list) != isinstance(first, list):
            raise InputError(
                f"{self.source}, {self.unit} {position} (id {shown_id(key)}): the caption is {describe(value)} while "
                f"the first is {describe(first)}; write all of them one way"
            )


def _checked_rows(parsed: ParsedFile, source: str) -> Iterator[tuple[int, str, object, list[str]]]:
    """Yield the rows as (position, id, value, captions in the value), each checked."""
    check = Checker(source, parsed.unit)
    first: object = None
    for position, raw, value in parsed.rows:
        key = check.id(raw, position)
        if isinstance(value, PassedRow):
            yield position, key, value, []
            continue
        first = value if first is None or first == [] else first
        if parsed.uniform:
            check.same_kind(value, first, key, position)
        yield position, key, value, check.captions(value, key, position)


def collect_captions(parsed: ParsedFile, source: str) -> tuple[list[str], list[str], array[int]]:
    """Check the rows of a candidate file.

    Returns:
        The ids, the captions and the positions, one of each per caption, in file order.

    Raises:
        InputError: If an id or a caption is not usable, or if there are no captions.
    """
    keys: list[str] = []
    captions: list[str] = []
    positions = array("Q")
    for position, key, value, found in _checked_rows(parsed, source):
        if not found and not isinstance(value, PassedRow):
            raise InputError(
                f"{source}, {parsed.unit} {position} (id {shown_id(key)}): the list of captions is empty; "
                'write [""] if the model said nothing'
            )
        keys.extend([key] * len(found))
        captions.extend(found)
        positions.extend([position] * len(found))
    if not keys:
        raise InputError(f"{source} holds no captions")
    return keys, captions, positions


def collect_references(parsed: ParsedFile, source: str) -> dict[str, list[str]]:
    """Check the rows of a reference file and group them by id, in file order.

    Returns:
        The references of each id; an empty list stays an empty list.

    Raises:
        InputError: If an id or a reference is not usable, if an id has two different lists, or if no reference is left.
    """
    references: dict[str, list[str]] = {}
    rejected: dict[str, None] = {}
    for position, key, value, found in _checked_rows(parsed, source):
        known = references.get(key)
        if value is REJECTED:
            rejected[key] = None
        if known is None:
            references[key] = found
        elif not isinstance(value, list):
            known.extend(found)
        elif known != found:
            # Rows of one image may repeat its references (several candidates each); they must then agree.
            raise InputError(
                f"{source}, {parsed.unit} {position}: id {shown_id(key)} appears again with other references; "
                "give each image one list"
            )
    if not references:
        raise InputError(f"{source} holds no references")
    emptied = [key for key in rejected if not references[key]]
    if emptied:
        parsed.findings.emptied += emptied
        for key in emptied:
            del references[key]
        if not references:
            raise InputError(
                f"{source} holds no references: all of them are marked as {next(iter(parsed.findings.dropped))}"
            )
    return references
