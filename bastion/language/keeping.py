"""How much the names of a session hold together: what one cell may make is bounded by `Meter`, what stays is bounded here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bastion_plan.errors import LanguageError

from bastion.client.training.tokenizers import RemoteTokenizer
from bastion.language.limits import Limits, Meter

_HELD = (str, bytes, list, tuple, set, frozenset, dict, RemoteTokenizer)


class Kept:
    """The weights of the names that cells have assigned (`Limits.weight` says what a value weighs)."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._weights: dict[str, int] = {}
        self._total = 0

    def hold(self, name: str, value: Any, meter: Meter) -> None:
        """Count a value that a name is about to hold.

        Raises:
            LanguageError: language.memory, all names together would hold too much; the name keeps what it had.
        """
        weight = weigh(value) if isinstance(value, _HELD) else 1
        meter.spend(weight // 8)
        total = self._total - self._weights.get(name, 0) + weight
        if total > self._limits.kept and weight > 1:
            largest = sorted(self._weights, key=self._weights.__getitem__, reverse=True)[:3]
            msg = f"The names of this session hold too much (the limit is {self._limits.kept:,} values)."
            step = f"Free some first: del {', '.join(largest)}." if largest else "Make it smaller."
            raise LanguageError(msg, code="language.memory", next_step=step)
        self._weights[name] = weight
        self._total = total

    def drop(self, name: str) -> None:
        """Count a name no more."""
        self._total -= self._weights.pop(name, 0)


def weigh(value: Any) -> int:
    """Return the number of values in a value, nested ones included; 16 characters of text count as one.

    A value that evaluation made is no heavier than `Limits.weight`, so this ends soon.
    """
    stack, weight = [value], 0
    while stack:
        item = stack.pop()
        weight += 1
        if isinstance(item, str | bytes):
            weight += len(item) // 16
        elif isinstance(item, RemoteTokenizer):
            weight += item.weight
        elif isinstance(item, Mapping):
            stack.extend(item.keys())
            stack.extend(item.values())
        elif isinstance(item, list | tuple | set | frozenset):
            stack.extend(item)
    return weight
