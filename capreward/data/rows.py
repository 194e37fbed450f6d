"""From what a format's reader yields to checked captions: the one place that judges ids and captions."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum

from capreward.data.file_report import Findings
from capreward.errors import InputError


class PassedRow(Enum):
    """In place of the captions of a row: it adds none to its image."""

    NOTHING = "its cell is empty"
    REJECTED = "its caption does not count"


NOTHING, REJECTED = PassedRow.NOTHING, PassedRow.REJECTED


@dataclass(frozen=True)
class Options:
    """How to read one file.

    Attributes:
        references: Read the file as references rather than as candidates.
        split: Split to keep.
        id_column: Column of ids; ``"row"`` for the number of the row.
        caption_column: Column of captions (or references), or several.
        image_column: Column of picture files.
        paired: The file holds candidates and references (or nothing has to be matched), so that the number of the row
            can be the id where there is none.
        taken: Columns that are read as candidates already, which therefore are no references.
        sure: The column of the candidates is known by its name, or both columns are named by the user.
        pictures: The file is read for the pictures that it holds.
        flags: How the command spells its options for this file, such as ``"--{name}"``, ``"--set data.{key}=NAME"``.
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
        """The columns of captions that the user names."""
        if self.caption_column is None:
            return ()
        return (self.caption_column,) if isinstance(self.caption_column, str) else tuple(self.caption_column)

    def flag(self, name: str) -> str:
        """The command-line option that says this for the file at hand, for messages."""
        prefix = "references-" if self.references else "images-" if self.pictures else ""
        spelling = self.flags or f"--{prefix}{{name}}"
        return spelling.format(name=name, key=name.replace("-", "_"))


@dataclass(frozen=True)
class ParsedFile:
    """What a format's reader found, unchecked.

    Attributes:
        rows: ``(position, id, caption or list of captions)`` in file order.
        unit: What a position counts: ``"row"``, ``"line"``, ``"entry"``, ...
        aliases: Other names of the ids (file names), complete once ``rows`` is exhausted; None where two ids share one.
        uniform: All rows hold one caption, or all hold a list.
        aligned: Rows have no ids: the position is the id.
        certain: No other name of an image may contradict its id: the format or the user says which is the id.
        findings: What was read as what; complete once ``rows`` is exhausted.
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
    """The caption in one entry of a list: text, ``{"raw", "tokens"}`` as Karpathy writes, or ``{"caption"}``."""
    if not isinstance(item, dict):
        return item
    for name in ("raw", "caption", "text"):
        if isinstance(item.get(name), str):
            return item[name]
    tokens = item.get("tokens")
    return " ".join(map(str, tokens)) if isinstance(tokens, list) else item.get("caption", item)


def describe(value: object) -> str:
    """Name a value in the words of a JSON file, for messages."""
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
    """Spell an id for a one-line message: control characters escaped, and no longer than a line takes."""
    plain = key if key.isprintable() else repr(key)[1:-1]
    return plain if len(plain) <= 60 else plain[:57] + "..."


def id_text(value: object) -> str | None:
    """Return the id as text, or None if the value cannot be an id; ``42.0``, as pandas writes integers, is ``42``."""
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
    """Note another name of an id; a name that two ids share (None) identifies neither."""
    if aliases.setdefault(alias, key) != key:
        aliases[alias] = None


def split_rows(split: str | None) -> set[str]:
    """The splits that ``"train+restval"`` names; empty for None."""
    return set() if split is None else set(split.split("+"))


@dataclass(frozen=True)
class Checker:
    """Checks ids and captions of one file and says where a bad one stands."""

    source: str
    unit: str

    def id(self, value: object, position: int) -> str:
        """Return the id as text or raise InputError."""
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
        """Return the caption or raise InputError."""
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
        """Return the captions of one image, given as text, a list of texts or of ``{"caption": text}``."""
        if not isinstance(value, list):
            return [self.caption(value, key, position)]
        if all(type(item) is str for item in value) and "".join(value).isascii():
            return list(value)  # most lists: nothing in them has to be looked at
        return [self.caption(caption_text(item), key, position) for item in value]

    def same_kind(self, value: object, first: object, key: str, position: int) -> None:
        """Refuse a file in which some captions are texts and others lists."""
        if value != [] and isinstance(value, list) != isinstance(first, list):
            raise InputError(
                f"{self.source}, {self.unit} {position} (id {shown_id(key)}): the caption is {describe(value)} while "
                f"the first is {describe(first)}; write all of them one way"
            )


def _checked(parsed: ParsedFile, source: str) -> Iterator[tuple[int, str, object, list[str]]]:
    """The rows as (position, id, value, captions in it), each checked."""
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
        Ids, captions and positions, one of each per caption in file order.
    """
    keys: list[str] = []
    captions: list[str] = []
    positions = array("Q")
    for position, key, value, found in _checked(parsed, source):
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
    """Check the rows of a reference file and group them by id, in file order; an empty list stays one."""
    references: dict[str, list[str]] = {}
    rejected: dict[str, None] = {}
    for position, key, value, found in _checked(parsed, source):
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
