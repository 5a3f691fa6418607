"""What stands around the cursor: open brackets, calls and texts, and the expression before a dot. Text alone; nothing runs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_PREFIX = re.compile(r"(?<!\w)[rRbBuUfF]{1,2}\Z")
_PAIRS = {")": "(", "]": "[", "}": "{"}


@dataclass(frozen=True, slots=True)
class Opened:
    """Something that is open at the cursor.

    kind: "(", "[", "{", "text", or "field" for the braces of an f-string. start: where it begins. inside: where what is
    in it begins. quote: of a text. formatted: an f-string.
    """

    kind: str
    start: int
    inside: int
    quote: str = ""
    formatted: bool = False


@dataclass(slots=True)
class Surroundings:
    """What a text leaves open, the innermost last; and what it closed: the end of each bracket or text -> its start."""

    opened: list[Opened] = field(default_factory=list)
    closed: dict[int, int] = field(default_factory=dict)
    comment: bool = False

    @property
    def text(self) -> Opened | None:
        """The text that the cursor stands in, if it does."""
        return self.opened[-1] if self.opened and self.opened[-1].kind == "text" else None


def scan(before: str) -> Surroundings:
    """Return what is open at the end of a text."""
    found = Surroundings()
    at = 0
    while at < len(before):
        inner = found.opened[-1] if found.opened else None
        at = _in_text(found, before, at, inner) if inner and inner.kind == "text" else _in_code(found, before, at)
    return found


def _in_text(found: Surroundings, before: str, at: int, inner: Opened) -> int:
    character = before[at]
    if character == "\\":
        return at + 2
    if before.startswith(inner.quote, at):
        _close_text(found, at + len(inner.quote))
        return at + len(inner.quote)
    if character == "\n" and len(inner.quote) == 1:
        found.opened.pop()
    elif inner.formatted and character == "{":
        if before.startswith("{{", at):
            return at + 2
        found.opened.append(Opened("field", at, at + 1))
    return at + 1


def _in_code(found: Surroundings, before: str, at: int) -> int:
    character = before[at]
    if character == "#":
        end = before.find("\n", at)
        found.comment = end < 0
        return len(before) if end < 0 else end
    if character in "\"'":
        holder = _holder(found)
        if holder is not None and before.startswith(holder.quote, at):  # the f-string ends before its braces do
            while found.opened[-1] is not holder:
                found.opened.pop()
            return at
        quote = character * 3 if before.startswith(character * 3, at) else character
        prefix = _PREFIX.search(before[max(0, at - 3) : at])
        letters = prefix[0] if prefix else ""
        formatted = "f" in letters.lower()
        found.opened.append(Opened("text", at - len(letters), at + len(quote), quote, formatted))
        return at + len(quote)
    if character in "([{":
        found.opened.append(Opened(character, at, at + 1))
    elif character in ")]}" and found.opened:
        inner = found.opened[-1]
        if inner.kind == _PAIRS[character] or (inner.kind == "field" and character == "}"):
            found.opened.pop()
            found.closed[at + 1] = inner.start
    return at + 1


def _holder(found: Surroundings) -> Opened | None:
    """Return the f-string in whose braces the cursor stands."""
    for position in range(len(found.opened) - 1, 0, -1):
        if found.opened[position].kind == "field":
            return found.opened[position - 1]
    return None


def _close_text(found: Surroundings, end: int) -> None:
    found.closed[end] = found.opened.pop().start


def primary(before: str, around: Surroundings) -> str:
    """Return the expression that ends a text, with its members, calls and subscripts: `x.a(1)[0]`; empty if there is none."""
    end = len(before.rstrip())
    at = end
    while at:
        start = around.closed.get(at)
        if start is not None:
            at = start
            if at and (before[at - 1].isalnum() or before[at - 1] in "_)]\"'"):
                continue  # a call or a subscript of what stands before
        else:
            start = at
            while start and (before[start - 1].isalnum() or before[start - 1] == "_"):
                start -= 1
            if start == at:
                return ""
            at = start
        rest = before[:at].rstrip()
        if not rest.endswith("."):
            break
        at = len(rest[:-1].rstrip())
    return before[at:end].strip()


def callee(before: str, around: Surroundings, opened: Opened) -> str:
    """Return the expression that an open parenthesis calls; empty where it groups."""
    if opened.kind != "(":
        return ""
    head = before[: opened.start]
    return primary(head, around) if head[-1:].isalnum() or head[-1:] in "_)]" else ""
