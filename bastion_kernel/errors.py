"""Errors as Jupyter shows them: our own sentences, the line they are about, never a Python traceback."""

from __future__ import annotations

from bastion_plan.errors import BastionError

from bastion.render.denials import error_text
from bastion.render.safe_text import MAX_LINE, safe_text


def describe(error: BaseException, code: str = "") -> tuple[str, str, list[str]]:
    """Return (name, message, traceback lines) of an error.

    INVARIANT: the text is made of our own sentences; an unexpected exception is named by its class alone, because its
    words may hold anything.
    """
    if isinstance(error, BastionError):
        return (
            type(error).__name__,
            safe_text(error.message, MAX_LINE),
            [*_place(error, code), *error_text(error, place=False).splitlines()],
        )
    name = type(error).__name__
    text = f"Something went wrong in the kernel ({name}). The next cell works. [internal.kernel]"
    return name, text, [text]


def _place(error: BastionError, code: str) -> list[str]:
    """Return the line of the cell that the error is about, with the place marked."""
    number, column = error.details.get("line"), error.details.get("column", 1)
    lines = code.split("\n")
    if not isinstance(number, int) or not 1 <= number <= len(lines) or not isinstance(column, int):
        return []
    text = lines[number - 1]
    end = error.details.get("end_column")
    same = error.details.get("end_line", number) == number
    width = (end if isinstance(end, int) and same else len(text) + 1) - column
    if len(text) > 160:
        return [f"line {number}, column {column}:"]
    label = f"{number} │ "
    return [label + safe_text(text), " " * (len(label) + column - 1) + "^" * max(1, min(width, len(text) + 1 - column))]
