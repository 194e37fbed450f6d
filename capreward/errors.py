"""The one exception for bad input: a sentence for the person at the terminal."""

from __future__ import annotations


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one sentence (two at most) that says what was found, where, and what to type instead. The command
    line prints it without a traceback and exits with status 2.
    """


class ProgramError(RuntimeError):
    """A program that capreward runs has failed; no fault of the input. The command line exits with status 1."""


def shorten(names: list[str], limit: int = 3) -> str:
    """Join names for a message, naming at most ``limit`` of them: ``"a, b, c and 7 more"``."""
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
