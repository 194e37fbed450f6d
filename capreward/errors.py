"""The errors that end a command with one sentence, and the shortening of lists in messages."""

from __future__ import annotations


class InputError(ValueError):
    """The error for input that cannot be used.

    The message is one sentence (two at most) that says what was found, where, and what to type instead. The command
    line prints it without a traceback and exits with status 2.
    """


class ProgramError(RuntimeError):
    """The error for a failed program that capreward runs; the input is not at fault, and the exit status is 1."""


def shorten(names: list[str], limit: int = 3) -> str:
    """Join names for a message and show at most ``limit`` of them: ``"a, b, c and 7 more"``."""
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
