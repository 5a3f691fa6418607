"""Tables below each other under every profile: the people of every part are counted, none of them twice."""

from __future__ import annotations

import polars
import pytest
from bastion_policy.model import Aggregation, Policy, Role, RoleKind, Suppress
from drive import World
from query import Q, concat

import bastion.expressions as pl

NORTH = polars.DataFrame(
    {"who": range(100), "town": ["ab"[i % 2] for i in range(100)], "pay": [float(i % 60) for i in range(100)]}
)
SOUTH = polars.DataFrame(
    {
        "who": range(1000, 1060),
        "town": ["a" if i < 57 else "c" for i in range(60)],
        "pay": [float(i % 50) for i in range(60)],
    }
)
ROLES = {"who": "identifier", "town": "quasi", "pay": Role(RoleKind.MEASURE, 0, 60)}
PROFILES = {
    "default": Policy(Aggregation(10), Suppress(), unit="who"),
    "strict": Policy(Aggregation(10), Suppress(), unit="who", profile="strict"),
    "private": Policy.private(epsilon=1.0, unit="who"),
}
EVERY = pytest.mark.parametrize("profile", PROFILES)


def world(policy: Policy) -> World:
    return World().add("n", NORTH, policy, ROLES, unit="who").add("s", SOUTH, policy, ROLES, unit="who")


WORLDS = {name: world(policy) for name, policy in PROFILES.items()}
N, S = Q("n"), Q("s")
pay = pl.col("pay")


def test_every_part_needs_enough_people_of_its_own() -> None:
    """Town c has 3 people of the south and none of the north; town b has none of the south."""
    shown = WORLDS["default"].ask(concat(N, S).group_by("town").agg(n=pl.len()).plan).released
    assert "c" not in shown["town"].to_list()
    assert "b" not in shown["town"].to_list()


def test_both_parts_together_are_answered() -> None:
    shown = WORLDS["default"].ask(concat(N, S).select(n=pl.len(), m=pay.mean()).plan).released
    assert shown.row(0) == (160, pytest.approx(polars.concat([NORTH, SOUTH])["pay"].mean()))
    rounded = WORLDS["strict"].ask(concat(N, S).select(n=pl.len()).plan).released
    assert rounded.item() == 160


@pytest.mark.parametrize("copies", [2, 5])
def test_copies_of_a_few_people_are_a_few_people(copies: int) -> None:
    few = N.filter(pl.col("town") == "a").filter(pl.col("town") != "a")
    some = S.filter(pl.col("town") == "c")
    for plan in (concat(*[few] * copies), concat(*[some] * (4 * copies))):
        assert WORLDS["default"].ask(plan.select(n=pl.len()).plan).released.height == 0
        # where numbers are rounded, rows are not repeated at all
        found = WORLDS["strict"].static(plan.select(n=pl.len()).plan).findings
        assert "repeated-rows" in {f.rule for f in found}


@EVERY
@pytest.mark.parametrize(
    "plan",
    [
        concat(N, N.with_columns(pay=-pay)).select(pay.sum()),
        concat(N.select("who", "town", x=pay), N.select("who", "town", x=-pay)).select(pl.col("x").sum()),
        concat(N, N.with_columns(pay=pl.lit(0.0))).select(pay.sum()),
    ],
    ids=["negated", "renamed", "zeroed"],
)
def test_a_part_is_never_taken_away_from_another(plan: Q, profile: str) -> None:
    assert WORLDS[profile].static(plan.plan).findings


@pytest.mark.parametrize("profile", ["default", "strict"])
def test_which_part_a_row_is_of_is_a_key_and_no_weight(profile: str) -> None:
    tagged = concat(N.with_columns(part=pl.lit(1)), S.with_columns(part=pl.lit(1000)))
    assert WORLDS[profile].static(tagged.select(pl.col("part").sum()).plan).findings
    assert not WORLDS[profile].static(tagged.group_by("part").agg(pl.len()).plan).findings


@EVERY
def test_columns_below_each_other_are_not_one_column_of_people(profile: str) -> None:
    plan = N.unpivot(["pay"], ["town"]).group_by("variable").agg(pl.len())
    assert WORLDS[profile].static(plan.plan).findings or profile != "private"
    mixed = concat(N.select("who", x=pay), N.select("who", x=pl.col("town").str.len_chars().cast(pl.Float64)))
    assert WORLDS[profile].static(mixed.select(pl.col("x").sum()).plan).findings
