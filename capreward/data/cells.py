"""Reading of one table cell, which holds one caption, a list of captions in some spelling, or a missing value."""

from __future__ import annotations

import ast
import json
import re

from capreward.errors import InputError

MISSING_CELLS = frozenset({"nan", "NaN", "None", "null", "NULL", "<NA>", "NA", "N/A", "#N/A"})
PYTHON_LISTS = "lists in Python's spelling"
SENTENCES, WORDS, NO_TEXT, EMPTY = "sentences", "words", "no text", "nothing"
_NUMBER = re.compile(r"[-+]?\d[\d.,]*(?:e[-+]?\d+)?|true|false", re.IGNORECASE)
_PLACE = re.compile(r"\w+://\S+|\S*/\S*\.\w{2,5}|\S+\.(?:jpe?g|png|txt|json)", re.IGNORECASE)
_LONGEST_LIST = 1_000_000  # characters of a list in Python's spelling; Python's parser is slow and needs much memory


def parse_cell(cell: str, where: str) -> tuple[object, str | None]:
    """Read a cell that may spell a list.

    JSON lists are parsed. A Python list of plain strings (what pandas writes) is read as a literal. A list as NumPy
    prints it is refused, because NumPy drops commas and cuts long lists. Any other text is one caption.

    Args:
        cell: The text of the cell.
        where: The place of the cell, for messages.

    Returns:
        The caption or the list, and a remark on the spelling of the list, or None.

    Raises:
        InputError: If the cell looks like a list that is neither JSON nor plain Python.
    """
    text = cell.strip()
    start = text.lstrip("[( \n\t")[:1]
    if text.startswith("array([") and text.endswith(")"):
        raise InputError(_unreadable_list_text(where, "it is NumPy's"))
    if not (text.startswith(("[", "(")) and text.endswith(("]", ")"))):
        return cell, None
    if text == "[]":
        return [], None
    if start not in ('"', "'", "{", "a") or (text.startswith("(") and "," not in text):
        return cell, None  # a caption in brackets, or a list of numbers
    if text.startswith("["):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            pass
        else:
            return (value, None) if isinstance(value, list) else (cell, None)
    if start == "a" and not text.lstrip("[( \n\t").startswith("array("):
        return cell, None
    return _python_list(text, cell, where)


def cell_content(value: object) -> str:
    """Return what a cell of captions holds.

    Args:
        value: The value of the cell.

    Returns:
        ``SENTENCES``, ``WORDS``, ``NO_TEXT`` (a number, a mark, an address or a file name) or ``EMPTY``.
    """
    if isinstance(value, (list, tuple)):
        kinds = {cell_content(item) for item in value}
        return next((kind for kind in (SENTENCES, WORDS) if kind in kinds), WORDS)
    if isinstance(value, dict):
        return SENTENCES if any(isinstance(v, (str, list)) and len(v) > 0 for v in value.values()) else NO_TEXT
    if not isinstance(value, str):
        return NO_TEXT if isinstance(value, (bool, int, float)) and value == value else EMPTY
    text = value.strip()
    if not text:
        return EMPTY
    if " " in text or not text.isascii():
        return SENTENCES
    return NO_TEXT if _NUMBER.fullmatch(text) or is_place(text) else WORDS


def is_place(text: str) -> bool:
    """Return whether a text is an address or the name of a file."""
    return _PLACE.fullmatch(text.strip()) is not None


def is_true(value: object) -> bool:
    """Return whether a mark such as ``is_rejected`` is set, in any of the spellings of JSON, CSV and pandas."""
    if isinstance(value, str):
        return value.strip().lower() in {"true", "1", "1.0", "yes"}
    return value is True or (isinstance(value, int | float) and value == 1)


def _python_list(text: str, cell: str, where: str) -> tuple[object, str | None]:
    if len(text) > _LONGEST_LIST:
        raise InputError(_unreadable_list_text(where, f"it is Python's, of {len(text):,} characters"))
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        if text.startswith("("):
            return cell, None
        why = "it is NumPy's" if "array(" in text or "..." in text else "it is neither JSON nor Python"
        raise InputError(_unreadable_list_text(where, why)) from None
    if isinstance(value, str):
        return cell, None
    found = list(value)
    if all(isinstance(item, str) for item in found) and _string_literals(text) != len(found):
        raise InputError(_unreadable_list_text(where, "it is NumPy's, without commas"))
    return found, PYTHON_LISTS


def _string_literals(text: str) -> int:
    """Count the string literals of a text; Python would join two that stand side by side."""
    import io
    import tokenize

    tokens = tokenize.generate_tokens(io.StringIO(f"({text})").readline)
    return sum(token.type == tokenize.STRING for token in tokens)


def _unreadable_list_text(where: str, why: str) -> str:
    return f"{where} looks like a list but cannot be read ({why}); write lists with json.dumps"
