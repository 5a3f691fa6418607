"""What a cell gives: the value of its last expression, printed text, and what the front end has to do with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class CellResult:
    """The outcome of a cell.

    kind: "nothing" (no last expression, or None); "card" (`value` is the `bastion_wire.messages.Dataset` of a bare
    dataset: show it, ask for nothing); "frame" (`value` is a lazy frame: run it and show its result); "text" (`value` is
    text to show as it is, from `?` or `%`); "value" (anything else, a fetched `polars.DataFrame` included).
    printed: text of `print`. displayed: values given to `display`, in order. notes: older spellings that were used.
    requests: nothing is ever filed by showing a value.
    """

    kind: str
    value: Any = None
    printed: str = ""
    displayed: tuple[Any, ...] = ()
    notes: tuple[str, ...] = field(default=())
