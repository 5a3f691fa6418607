"""Attacks by columns that were filled, cast or computed in a step of their own before they are aggregated.

Each works where the owner put no guard, and not else. `step` says how the column is made: in a step of its own, under its
own name, or inside the aggregate; the three must protect alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars
import pytest
from attacking import ask_part, same
from bastion_policy.model import Policy, Role, RoleKind
from drive import World
from query import Q

import bastion.expressions as pl

N = 300
TARGET = 7
SECRET = 981_234.5
ROLES: dict[str, Role | str] = {
    "id": "identifier", "name": "hidden", "town": "quasi", "age": "quasi", "pay": Role(RoleKind.MEASURE),
    "debt": Role(RoleKind.MEASURE), "hiv": "sensitive", "child": "quasi",
}  # fmt: skip


def people() -> polars.DataFrame:
    """In town a one person earns most of all that is known; the debt of one person alone is known in town b."""
    rng = np.random.default_rng(5)
    town = np.array(["a", "b", "c"] * (N // 3))
    pay = np.round(rng.uniform(900, 1100, N), 2).tolist()
    pay = [None if t == "a" and i % 2 else p for i, (t, p) in enumerate(zip(town, pay, strict=True))]
    target = 6  # of town a, pay known
    pay[target] = SECRET
    debt = [SECRET if i == TARGET else None if t == "b" else 500.0 for i, t in enumerate(town)]
    return polars.DataFrame(
        {
            "id": np.arange(N), "name": ["Ada" if i == TARGET else "someone" for i in range(N)], "town": town,
            "age": np.where(np.arange(N) == TARGET, 97, rng.integers(20, 80, N)), "pay": pay, "debt": debt,
            "hiv": np.arange(N) == TARGET, "child": (np.arange(N) == TARGET).astype(int),
        }
    )  # fmt: skip


PEOPLE = people()
T = Q("people")
Ask = Callable[[Q], polars.DataFrame]
Make = Callable[[Any, str, Callable[[Any], Any]], Q]


def beside(value: Any, name: str, of: Callable[[Any], Any]) -> Q:
    """The column under a new name."""
    return T.with_columns(z=value).group_by("town").agg(of(pl.col("z")).alias("out"))


def replaced(value: Any, name: str, of: Callable[[Any], Any]) -> Q:
    """The column in the place of the one that it is computed from."""
    return T.with_columns(value.alias(name)).sort("town").group_by("town").agg(of(pl.col(name)).alias("out"))


def renamed(value: Any, name: str, of: Callable[[Any], Any]) -> Q:
    """The column through a chain of steps."""
    steps = (
        T.select("town", z=value).with_columns(y=pl.col("z")).select("town", x=pl.col("y")).filter(pl.col("town") < "d")
    )
    return steps.group_by("town").agg(of(pl.col("x")).alias("out"))


def within(value: Any, name: str, of: Callable[[Any], Any]) -> Q:
    """The column inside the aggregate."""
    return T.group_by("town").agg(of(value).alias("out"))


def cell(table: polars.DataFrame, town: str) -> Any:
    found = table.filter(polars.col("town") == town)["out"] if "out" in table.columns else polars.Series([])
    return found[0] if len(found) else None


def close(found: Any, secret: float, within: float) -> float | None:
    """The secret if what was found is as near to it as makes no difference to the attacker."""
    return secret if isinstance(found, float) and abs(found - secret) <= within else None


def fills_hide_who_dominates(ask: Ask, make: Make) -> Any:
    """All others become so large that nobody stands out; the attacker takes them off again."""
    missing, known = N // 6, N // 6
    total = cell(ask(make(pl.col("pay").fill_null(1e6), "pay", lambda e: e.sum())), "a")
    return None if total is None else close(total - missing * 1e6 - (known - 1) * 1000, SECRET, 5000)


def fills_hide_that_one_is_known(ask: Ask, make: Make) -> Any:
    return cell(ask(make(pl.col("debt").fill_null(0), "debt", lambda e: e.sum())), "b")


def fills_with_an_average_hide_it_too(ask: Ask, make: Make) -> Any:
    debt = pl.col("debt")
    if make is within:
        return None  # an aggregate inside an aggregate is for the owner
    mean = cell(ask(make(debt.fill_null(debt.filter(pl.col("town") == "c").mean()), "debt", lambda e: e.mean())), "b")
    return None if mean is None else close(mean * (N // 3) - (N // 3 - 1) * 500, SECRET, 1)


def a_cast_is_a_condition(ask: Ask, make: Make) -> Any:
    """How many are not 0: the one who is differs from nobody."""
    count = cell(ask(make(pl.col("child").cast(pl.Boolean), "child", lambda e: e.sum())), "b")
    return None if count is None else float(count) * SECRET


def a_mask_in_a_step(ask: Ask, make: Make) -> Any:
    mask = (pl.col("age") == 97).cast(pl.Float64)
    return cell(ask(make(pl.col("debt").fill_null(0) * mask, "debt", lambda e: e.sum())), "b")


def a_mask_by_when(ask: Ask, make: Make) -> Any:
    mask = pl.when(pl.col("age") == 97).then(pl.col("debt")).otherwise(None)
    return cell(ask(make(mask, "debt", lambda e: e.sum())), "b")


def a_filled_mask(ask: Ask, make: Make) -> Any:
    mask = pl.when(pl.col("age") == 97).then(pl.col("debt")).otherwise(None)
    return cell(ask(make(mask.fill_null(0), "debt", lambda e: e.sum())), "b")


def absorbed_in_a_step(ask: Ask, make: Make) -> Any:
    """(x * tiny + y) - y, where y is 0 for one person only: the floats of all others lose it."""
    others = (pl.col("age") != 97).cast(pl.Float64) * 1e9
    value = (pl.col("debt").fill_null(0) * 1e-9 + others) - others
    total = cell(ask(make(value, "debt", lambda e: e.sum())), "b")
    return None if total is None else close(total * 1e9, SECRET, 1000)


def a_product_in_a_step(ask: Ask, make: Make) -> Any:
    total = cell(ask(make(pl.col("debt").fill_null(0) * pl.col("child"), "debt", lambda e: e.sum())), "b")
    return None if total is None else float(total)


def hidden_text_as_a_number(ask: Ask, make: Make) -> Any:
    count = cell(ask(make(pl.col("name") == "Ada", "name", lambda e: e.sum())), "b")
    return None if count is None else float(count) * SECRET


def a_sensitive_bit_through_casts(ask: Ask, make: Make) -> Any:
    count = cell(ask(make(pl.col("hiv").cast(pl.Int64).cast(pl.Boolean), "hiv", lambda e: e.sum())), "b")
    return None if count is None else float(count) * SECRET


ATTACKS = [
    fills_hide_who_dominates, fills_hide_that_one_is_known, fills_with_an_average_hide_it_too, a_cast_is_a_condition,
    a_mask_in_a_step, a_mask_by_when, a_filled_mask, absorbed_in_a_step, a_product_in_a_step, hidden_text_as_a_number,
    a_sensitive_bit_through_casts,
]  # fmt: skip
MAKES = [within, beside, replaced, renamed]


@pytest.fixture(scope="module")
def guarded() -> World:
    return World().add("people", PEOPLE, Policy.default(), ROLES)


@pytest.fixture(scope="module")
def unguarded() -> World:
    return World().add("people", PEOPLE, Policy.open(), {**ROLES, "name": "quasi"})


@pytest.mark.parametrize("make", MAKES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda f: f.__name__)
def test_the_value_is_not_obtained(guarded: World, attack: Any, make: Make) -> None:
    assert not same(attack(lambda q: ask_part(guarded, q), make), SECRET)


@pytest.mark.parametrize("make", MAKES[1:], ids=lambda f: f.__name__)
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda f: f.__name__)
def test_it_would_be_without_a_guard(unguarded: World, attack: Any, make: Make) -> None:
    assert same(attack(lambda q: ask_part(unguarded, q), make), SECRET)


def test_the_same_in_steps_is_the_same_population() -> None:
    """What was answered inside an aggregate is answered again in steps, and all but one is still all."""
    ordinary = PEOPLE.with_columns(pay=polars.when(polars.col("pay") < 2000).then("pay"))
    world = World(remembers=True).add("people", ordinary, Policy.default(), ROLES)
    pay = pl.col("pay")
    first = world.ask(T.select(pay.fill_null(0).sum()).plan).released["pay"][0]
    again = world.ask(T.with_columns(pay.fill_null(0)).select(pay.sum()).plan)
    assert again.released["pay"][0] == pytest.approx(first)
    steps = T.with_columns(pay.fill_null(0), one=pl.col("age") == 97).filter(~pl.col("one"))
    less = world.ask(steps.select(pay.sum()).plan)
    assert less.table is None or less.table["pay"][0] in (None, pytest.approx(first))
