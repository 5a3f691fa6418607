"""How large a cell and its values may be, and how much work one cell may cause."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bastion_plan.errors import LanguageError


@dataclass(frozen=True, slots=True)
class Limits:
    """All limits of one cell.

    source: characters. nodes, depth: of the syntax tree. steps: rounds of all loops together. work: evaluated syntax
    nodes plus touched values, in all. text: characters of one string. weight: values inside one value, nested ones
    included (16 characters of text count as one). kept: weight of all names of the session together. bits: of an integer.
    printed, displays, shown: characters of printed output, displayed values and their bytes below one cell; what is over
    them is left out, the cell goes on.
    """

    source: int = 100_000
    nodes: int = 20_000
    depth: int = 120
    steps: int = 10_000
    work: int = 3_000_000
    text: int = 1_000_000
    weight: int = 200_000
    bits: int = 256
    kept: int = 2_000_000
    printed: int = 200_000
    displays: int = 200
    shown: int = 10_000_000
    format_width: int = 1_000


def over(what: str, limit: int, *, next_step: str = "", code: str = "language.limit") -> LanguageError:
    """Return the error for something over a limit."""
    msg = f"{what} (the limit is {limit:,})."
    return LanguageError(msg, code=code, next_step=next_step or "Make it smaller; large data belongs on the server.")


class Meter:
    """What one cell has used up of its limits."""

    __slots__ = ("limits", "steps", "work")

    def __init__(self, limits: Limits) -> None:
        self.limits, self.steps, self.work = limits, 0, 0

    def step(self) -> None:
        """Count one round of a loop."""
        self.steps += 1
        if self.steps > self.limits.steps:
            raise over("The loops of the cell take too many rounds", self.limits.steps)
        self.spend(1)

    def spend(self, units: int) -> None:
        """Count work."""
        self.work += units
        if self.work > self.limits.work:
            raise over("The cell causes too much work", self.limits.work)

    def integer(self, value: int) -> int:
        """Return an integer that is not too large."""
        if value.bit_length() > self.limits.bits:
            raise over("The number has too many bits", self.limits.bits, next_step="Use a float.")
        return value

    def length(self, count: int, what: str = "The list is too long") -> None:
        """Refuse a length before anything of that length is made."""
        if count > self.limits.weight:
            raise over(what, self.limits.weight)
        self.spend(max(count, 0))

    def characters(self, count: int) -> None:
        """Refuse a text length before the text is made."""
        if count > self.limits.text:
            raise over("The text is too long", self.limits.text)
        self.spend(max(count, 0) // 16)

    def value(self, value: Any) -> Any:
        """Return a value whose size is within the limits, nested values included. Shared parts count each time.

        INVARIANT: every container that evaluation makes passes here, so printing, comparing and copying any value takes
        at most `weight` steps.
        """
        stack, weight = [value], 0
        while stack:
            item = stack.pop()
            weight += 1
            if isinstance(item, str | bytes):
                if len(item) > self.limits.text:
                    raise over("The text is too long", self.limits.text)
                weight += len(item) // 16
            elif isinstance(item, bool):
                pass
            elif isinstance(item, int):
                self.integer(item)
            elif isinstance(item, Mapping):
                stack.extend(item.keys())
                stack.extend(item.values())
            elif isinstance(item, list | tuple | set | frozenset):
                stack.extend(item)
            if weight + len(stack) > self.limits.weight:
                self.spend(weight)
                raise over("The value is too large", self.limits.weight)
        self.spend(weight)
        return value


def take(values: Iterable[Any], meter: Meter) -> list[Any]:
    """Return an iterable as a list, refused before it grows too long."""
    out = []
    for value in values:
        out.append(value)
        if len(out) > meter.limits.weight:
            raise over("The list is too long", meter.limits.weight)
    meter.spend(len(out))
    return out
