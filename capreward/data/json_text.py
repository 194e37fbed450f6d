"""A JSON parser whose messages say where the text is wrong, whether it is cut off, and which key it has twice."""

from __future__ import annotations

import json
import re
from collections import Counter

from capreward.errors import InputError


class JsonParser:
    """Parses the JSON of one file and refuses repeated keys.

    The json module would silently keep the last value of a repeated key.

    Args:
        source: The file, for messages.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._repeated: list[tuple[str, object]] = []
        self._decode = json.JSONDecoder(object_pairs_hook=self._object_of_pairs).decode

    def parse(self, text: str, at: str = "") -> object:
        """Parse one JSON value.

        Args:
            text: The JSON value, without other text.
            at: Where the value stands in the file, such as ``"line 3"``; empty if it is the whole file.

        Raises:
            InputError: If the text is not valid JSON or repeats a key. The message gives the line and the column, and
                says whether the file seems cut off.
        """
        source = self._source
        try:
            value: object = self._decode(text)
        except json.JSONDecodeError as error:
            raise InputError(_json_message(error, source, at)) from None
        except (ValueError, RecursionError) as error:
            raise InputError(f"{source}{at and ', ' + at}: this is not usable JSON ({error})") from None
        if self._repeated:
            name, owner = self._repeated[0]
            place = at or (f"again at line {_line_of_repeated_key(text, name)}" if owner is value else "in one object")
            raise InputError(
                f'{source} has the key "{name}" more than once ({place}); JSON would keep only the last: remove one'
            )
        return value

    def _object_of_pairs(self, items: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(items)
        if len(found) != len(items):
            names = [name for name, _ in items]
            self._repeated.append((next(name for name, count in Counter(names).items() if count > 1), found))
        return found


def _json_message(error: json.JSONDecodeError, source: str, at: str) -> str:
    place = f"{at}, column {error.colno}" if at else f"line {error.lineno}, column {error.colno}"
    if _cut_off(error):
        return f"{source} is not complete JSON ({place}: {error.msg}): the file seems cut off; write it again"
    return (
        f"{source} is not valid JSON ({place}: {error.msg}); repair it, or pass --format text "
        "if it holds one caption per line"
    )


def _cut_off(error: json.JSONDecodeError) -> bool:
    rest = error.doc[error.pos :].rstrip()
    if not rest or error.msg.startswith("Unterminated string"):
        return True
    if error.msg.startswith("Invalid \\"):
        return len(rest) < len("\\u0000")
    return any(word.startswith(rest) for word in ("true", "false", "null", "NaN", "-Infinity"))


def _line_of_repeated_key(text: str, name: str) -> int:
    spellings = {re.escape(json.dumps(name)), re.escape(json.dumps(name, ensure_ascii=False))}
    starts = [found.start() for found in re.finditer(rf"(?:{'|'.join(spellings)})\s*:", text)]
    return text.count("\n", 0, starts[1] if len(starts) > 1 else 0) + 1
