"""What the attack suites share: asking for all that may be had, and telling whether an attack got its value."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import polars
import pytest
from drive import World
from query import Q

#: what an attacker may do: ask, and read what leaves
Ask = Callable[[Q], Any]
Attack = Callable[[Ask], Any]


class Attacks(dict[str, tuple[Attack, Any]]):
    """Attacks by name, each with the value it is after. usual: what most are after."""

    def __init__(self, usual: Any = None) -> None:
        super().__init__()
        self._usual = usual

    def note(self, truth: Any = None) -> Callable[[Attack], Attack]:
        """Register a function."""

        def registered(function: Attack) -> Attack:
            assert function.__name__ not in self, function.__name__
            self[function.__name__] = (function, self._usual if truth is None else truth)
            return function

        return registered


def same(one: Any, two: Any) -> bool:
    """Whether an attack's finding is the value."""
    if isinstance(one, float | int) and isinstance(two, float | int) and not isinstance(two, bool):
        return math.isclose(one, two, rel_tol=1e-6)
    return one is not None and type(one) is type(two) and bool(one == two)


def ask_part(world: World, plan: Q) -> polars.DataFrame:
    """Return the answer, else its safe part, else an empty table."""
    answer = world.ask(plan.plan)
    if answer.table is None and answer.verdict.safe_part is not None:
        answer = world.ask(plan.plan, safe_part=True)
    return answer.table if answer.table is not None else polars.DataFrame()


def values(table: polars.DataFrame, name: str) -> list[Any]:
    """Return a column as a list, empty where there is none."""
    return table[name].to_list() if name in table.columns else []


def cell(table: polars.DataFrame, name: str, row: int = 0) -> Any:
    """Return one value of a column, None where there is none."""
    found = values(table, name)
    return found[row] if len(found) > row else None


def minus(one: Any, *others: Any) -> Any:
    """Return a difference, None where a part is missing."""
    return None if one is None or any(o is None for o in others) else one - sum(others)


def played(attacks: Attacks, guarded: World, unguarded: World) -> tuple[Callable[[str], None], Callable[[str], None]]:
    """Return two tests: each attack fails in a guarded world, and succeeds in the same one without a guard.

    To be called once all attacks are registered.
    """

    @pytest.mark.parametrize("name", attacks)
    def fails(name: str) -> None:
        function, truth = attacks[name]
        assert not same(function(lambda q: ask_part(guarded, q)), truth)

    @pytest.mark.parametrize("name", attacks)
    def succeeds(name: str) -> None:
        function, truth = attacks[name]
        assert same(function(lambda q: ask_part(unguarded, q)), truth)

    return fails, succeeds
