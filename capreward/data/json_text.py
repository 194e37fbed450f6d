"""Parsing JSON with messages for people: where it breaks, whether it is cut off, which key is there twice."""

from __future__ import annotations

import json
import re

from capreward.errors import InputError


def parse_json(text: str, source: str, at: str = "") -> object:
    """Parse JSON, refusing repeated keys, of which the json module silently keeps the last.

    Args:
        text: One JSON value.
        source: The file, for messages.
        at: Where in the file, when the text is not all of it, e.g. ``"line 3"``.

    Raises:
        InputError: With line and column, and whether the file seems cut off.
    """
    repeated: list[tuple[str, object]] = []

    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(items)
        if len(found) != len(items):
            names = [name for name, _ in items]
            repeated.append((next(name for name in names if names.count(name) > 1), found))
        return found

    try:
        value: object = json.loads(text, object_pairs_hook=pairs)
    except json.JSONDecodeError as error:
        raise InputError(_json_message(error, source, at)) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source}{at and ', ' + at}: this is not usable JSON ({error})") from None
    if repeated:
        name, owner = repeated[0]
        place = at or (f"second time at line {_second_line(text, name)}" if owner is value else "in one object")
        raise InputError(
            f'{source} has the key "{name}" more than once ({place}); JSON would keep only the last: remove one'
        )
    return value


def _json_message(error: json.JSONDecodeError, source: str, at: str) -> str:
    place = f"{at}, column {error.colno}" if at else f"line {error.lineno}, column {error.colno}"
    cut = error.msg.startswith("Unterminated string") or error.pos >= len(error.doc.rstrip()) - 5
    if cut and not error.msg.startswith(("Extra data", "Invalid control")):
        return f"{source} is not complete JSON ({place}: {error.msg}): the file seems cut off; write it again"
    return (
        f"{source} is not valid JSON ({place}: {error.msg}); repair it, or pass --format text "
        "if it holds one caption per line"
    )


def _second_line(text: str, name: str) -> int:
    spellings = {re.escape(json.dumps(name)), re.escape(json.dumps(name, ensure_ascii=False))}
    starts = [found.start() for found in re.finditer(rf"(?:{'|'.join(spellings)})\s*:", text)]
    return text.count("\n", 0, starts[1] if len(starts) > 1 else 0) + 1
