"""The kinds of values that a configuration file holds, for pydantic: what YAML and people write becomes what is meant.

Whole numbers may be written as ``3.0``. Numbers may be texts, because YAML 1.1 reads ``1e-4`` as a text. Texts may be
numbers, and a list of texts may be one text. True and false are never numbers or texts.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema


class Section:
    """A configuration or a part of it, a dataclass: pydantic refuses settings that it does not have.

    Only values from outside are checked, by ``pydantic.TypeAdapter``; what code makes or replaces is taken as it is.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _number(value: Any) -> Any:
    try:
        return float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else value
    except (ValueError, OverflowError):
        return value  # pydantic refuses it


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _comma_separated(value: Any) -> Any:
    return value.split(",") if isinstance(value, str) else value


def _row(value: Any) -> Any:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


def _pair(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


WHOLE, NUMBER, TEXT, ROW, PAIR = (BeforeValidator(f) for f in (_whole, _number, _text, _row, _pair))
STRICT = Field(strict=True)
FINITE = Field(strict=True, allow_inf_nan=False)

Flag = Annotated[bool, STRICT]
Number = Annotated[float, STRICT, NUMBER]
FromZero = Annotated[float, FINITE, Field(ge=0), NUMBER]  # numbers from 0 on
WholeFromZero = Annotated[int, STRICT, Field(ge=0), WHOLE]
WholeFromOne = Annotated[int, STRICT, Field(ge=1), WHOLE]
Text = Annotated[str, STRICT, TEXT, WithJsonSchema({"type": ["string", "number"]})]
Texts = Annotated[  # a list, or one text with commas
    list[Text],
    STRICT,
    BeforeValidator(_comma_separated),
    WithJsonSchema({"type": ["array", "string"], "items": {"type": ["string", "number"]}}),
]
TextRow = Annotated[  # a list, or one text, which may hold commas
    tuple[Text, ...],
    STRICT,
    ROW,
    WithJsonSchema({"type": ["array", "string"], "items": {"type": ["string", "number"]}}),
]
Options = Annotated[dict[str, Any], STRICT, WithJsonSchema({"type": "object"})]
