"""From what a format's reader yields to checked captions: the one place that judges ids and captions."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from capreward.errors import InputError


@dataclass(frozen=True)
class Options:
    """How to read one file.

    Attributes:
        references: Read the file as references rather than as candidates.
        split: Split to keep, for the Karpathy format.
        id_column: Column of ids, when its name is not a usual one.
        caption_column: Column of captions (or references), when its name is not a usual one.
        image_column: Column of picture files, when its name is not a usual one.
        own_column: References must have a column of their own, beside the candidates' one.
    """

    references: bool = False
    split: str | None = None
    id_column: str | None = None
    caption_column: str | None = None
    image_column: str | None = None
    own_column: bool = False

    def flag(self, name: str) -> str:
        """The command-line option that says this for the file at hand, for messages."""
        return f"--references-{name}" if self.references and not self.own_column else f"--{name}"


@dataclass(frozen=True)
class Parsed:
    """What a format's reader found, unchecked.

    Attributes:
        rows: ``(position, id, caption or list of captions)`` in file order.
        unit: What a position counts: ``"row"``, ``"line"``, ``"entry"``, ...
        aliases: Other names of the ids (file names), complete once ``rows`` is exhausted; None where two ids share one.
        uniform: All rows hold one caption, or all hold a list.
        aligned: Rows have no ids: the position is the id.
    """

    rows: Iterable[tuple[int, object, object]]
    unit: str
    aliases: dict[str, str | None] = field(default_factory=dict)
    uniform: bool = True
    aligned: bool = False


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


def shown(key: str) -> str:
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
                f"{self.source}, {self.unit} {position} (id {shown(key)}): the caption is {describe(value)}, not text; "
                'write "" if the model said nothing'
            )
        if not value.isascii():
            self._whole_characters(value, "caption", f"{position} (id {shown(key)})")
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
        items = [item["caption"] if isinstance(item, dict) and "caption" in item else item for item in value]
        return [self.caption(item, key, position) for item in items]

    def same_kind(self, value: object, first: object, key: str, position: int) -> None:
        """Refuse a file in which some captions are texts and others lists."""
        if value != [] and isinstance(value, list) != isinstance(first, list):
            raise InputError(
                f"{self.source}, {self.unit} {position} (id {shown(key)}): the caption is {describe(value)} while "
                f"the first is {describe(first)}; write all of them one way"
            )


def _checked(parsed: Parsed, source: str) -> Iterator[tuple[int, str, object, list[str]]]:
    """The rows as (position, id, value, captions in it), each checked."""
    check = Checker(source, parsed.unit)
    first: object = None
    for position, raw, value in parsed.rows:
        key = check.id(raw, position)
        first = value if first is None or first == [] else first
        if parsed.uniform:
            check.same_kind(value, first, key, position)
        yield position, key, value, check.captions(value, key, position)


def collect_captions(parsed: Parsed, source: str) -> tuple[list[str], list[str], array[int]]:
    """Check the rows of a candidate file.

    Returns:
        Ids, captions and positions, one of each per caption in file order.
    """
    keys: list[str] = []
    captions: list[str] = []
    positions = array("Q")
    for position, key, _, found in _checked(parsed, source):
        if not found:
            raise InputError(
                f"{source}, {parsed.unit} {position} (id {shown(key)}): the list of captions is empty; "
                'write [""] if the model said nothing'
            )
        keys.extend([key] * len(found))
        captions.extend(found)
        positions.extend([position] * len(found))
    if not keys:
        raise InputError(f"{source} holds no captions")
    return keys, captions, positions


def collect_references(parsed: Parsed, source: str) -> dict[str, list[str]]:
    """Check the rows of a reference file and group them by id, in file order; an empty list stays one."""
    references: dict[str, list[str]] = {}
    for position, key, value, found in _checked(parsed, source):
        known = references.get(key)
        if known is None:
            references[key] = found
        elif not isinstance(value, list):
            known.extend(found)
        elif known != found:
            # Rows of one image may repeat its references (several candidates each); they must then agree.
            raise InputError(
                f"{source}, {parsed.unit} {position}: id {shown(key)} appears again with other references; "
                "give each image one list"
            )
    if not references:
        raise InputError(f"{source} holds no references")
    return references
