"""What an owner approved is known: cells and rows of it are taken out of later, and of earlier, populations.

The owner decides to show some small cells or rows. That gives nobody a value that was not shown.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import polars
import pytest
from bastion_plan.bind import bind
from bastion_policy.judge import witness
from bastion_policy.model import Aggregation, Policy, Suppress, measure
from drive import World
from query import Q

import bastion.expressions as pl

SIZE, GROUPS, SOUGHT = 40, 60, 12
GROUP, PLACE = np.arange(SIZE * GROUPS) // SIZE, np.arange(SIZE * GROUPS) % SIZE
POINTS = np.random.default_rng(5).integers(2000, 9000, GROUP.size)
#: of a group ten have nothing, beside the one who is sought
POINTS[(GROUP == 3) & (PLACE >= 20) & (PLACE < 30)] = 0
TRUE = float(POINTS[3 * SIZE + SOUGHT])
FRAME = polars.DataFrame({"id": np.arange(GROUP.size), "g": GROUP, "a": PLACE, "points": POINTS})
ROLES: dict[str, Any] = {"id": "identifier", "g": "quasi", "a": "quasi", "points": measure(0, 10_000)}
OFF = ("history", "linear_audit", "saturation")
T, points, g, a = Q("t"), pl.col("points"), pl.col("g"), pl.col("a")
ONE = (g == 3) & (a == SOUGHT)
NOTHING = (g == 3) & (a >= 20) & (a < 30)
SHOWN = (g == 5) & (a < 20)
APPROVALS: dict[str, Any] = {
    "rows": T.filter(SHOWN).select("a", "points"),
    "rows of a window": T.filter(SHOWN).with_columns(m=points.sum().over("g")).select("a", "points", "m"),
    "cells of five": T.filter(SHOWN).group_by((a // 5).alias("q")).agg(points.sum()),
    "cells of one": T.filter(SHOWN).group_by("a").agg(points.sum()),
}


def world(setting: str) -> World:
    off = OFF if setting == "off" else ()
    policy = Policy.strict("id") if setting == "strict" else Policy(Aggregation(10), Suppress(), weaken=off)
    return World(remembers=True).add("t", FRAME, policy, ROLES, "id")


def total(w: World, who: Any) -> float | None:
    found = w.ask(T.filter(who).select(z=points.sum()).plan).table
    value: Any = found["z"][0] if found is not None and found.height else None
    return value


def known(w: World, approved: str, below: int) -> float:
    """Let the owner approve; returns what those below a place come to."""
    table = w.approve(APPROVALS[approved].plan)
    key = "q" if "q" in table.columns else "a"
    return float(table.filter(polars.col(key) < (below // 5 if key == "q" else below))["points"].sum())


def near(found: float | None, true: float) -> bool:
    return found is not None and abs(found - true) <= 10


SETTINGS = ["default", "strict", "off"]


@pytest.mark.parametrize("below", [5, 10, 15, 20])
@pytest.mark.parametrize("approved", APPROVALS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_what_is_left_beside_what_was_approved_is_of_many(setting: str, approved: str, below: int) -> None:
    w = world(setting)
    shown = known(w, approved, below)
    found = total(w, (SHOWN & (a < below)) | ONE)
    left = None if found is None else found - shown
    # off: five and one more are no cell
    assert near(left, TRUE) is (setting == "off" and below >= 10)


@pytest.mark.parametrize("approved", APPROVALS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_what_is_left_passes_the_rules_about_values(setting: str, approved: str) -> None:
    w = world(setting)
    shown = known(w, approved, 20)
    found = total(w, SHOWN | ONE | NOTHING)
    assert near(None if found is None else found - shown, TRUE) is (setting == "off")


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("approved", APPROVALS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_questions_before_and_after_an_approval(setting: str, approved: str, order: str) -> None:
    """A group and what is approved, and the group less one of it."""
    w = world(setting)
    shown = known(w, approved, 20) if order == "before" else 0.0
    one = total(w, SHOWN | (g == 3))
    if order == "after":
        shown = known(w, approved, 20)
    two = total(w, (g == 3) & (a != SOUGHT))
    assert one is not None
    assert near(None if two is None else one - shown - two, TRUE) is (setting == "off")


@pytest.mark.parametrize("approved", APPROVALS)
def test_other_people_are_answered(approved: str) -> None:
    w = world("default")
    shown = known(w, approved, 20)
    assert total(w, g == 7) == POINTS[GROUP == 7].sum()
    found = total(w, SHOWN | (g == 8))
    assert found is not None
    assert found - shown == POINTS[GROUP == 8].sum()


# -- what is known of whom an owner showed, whatever becomes of the table


def again(w: World, frame: polars.DataFrame) -> None:
    """Publish a new version."""
    facts = w.facts["t"]
    w.add("t", frame, facts.policy, {c: ROLES.get(c, "quasi") for c in frame.columns}, "id")
    w.facts["t"] = msgspec.structs.replace(w.facts["t"], version=facts.version + 1)


@pytest.mark.parametrize("approved", APPROVALS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_a_new_version_does_not_forget_what_was_approved(setting: str, approved: str) -> None:
    w = world(setting)
    again(w, FRAME.with_columns(seen=polars.lit(1)))
    shown = known(w, approved, 20)
    again(w, FRAME.with_columns(seen=polars.lit(2)))
    found = total(w, SHOWN | ONE)
    assert near(None if found is None else found - shown, TRUE) is (setting == "off")


@pytest.mark.parametrize("setting", SETTINGS)
def test_cells_that_overlap_give_single_people(setting: str) -> None:
    """Cells of two and of three: those in one of them alone are known."""
    w, singles = world(setting), {}
    for size in (2, 3):
        table = w.approve(T.filter((g == 5) | (g == 6)).group_by("g", (a // size).alias("q")).agg(points.sum()).plan)
        singles[size] = {(x, q): p for x, q, p in table.rows()}
    alone = {(x, 6 * i + 2): singles[3][x, 2 * i] - singles[2][x, 3 * i] for x in (5, 6) for i in range(6)}
    who = (g == 5) & (a % 6 == 2) & (a < 36) | (g == 6) & (a % 6 == 2) & (a < 36)
    found = total(w, who | ONE)
    assert near(None if found is None else found - sum(alone.values()), TRUE) is (setting == "off")


#: approved numbers that are those of single people, who can be told by their places; and whose they are
PICKED: dict[str, tuple[Q, Any]] = {
    "lists": (T.filter(g == 5).group_by("g").agg("a", "points"), (g == 5) & (a < 12)),
    "lists of some": (T.filter(g == 5).group_by("g").agg(a.head(12), points.head(12)), (g == 5) & (a < 12)),
    "one list": (T.filter(g == 5).select(points.implode()), (g == 5) & (a < 12)),
    "first of each": (T.group_by("g").agg(a.first(), points.first()), (a == 0) & (g >= 10) & (g < 22)),
    "a row of many": (T.group_by("g").agg(points.sort_by("a").get(0)), (a == 0) & (g >= 10) & (g < 22)),
}


@pytest.mark.parametrize("picked", PICKED)
@pytest.mark.parametrize("setting", SETTINGS)
def test_what_was_picked_of_cells_is_known(setting: str, picked: str) -> None:
    plan, who = PICKED[picked]
    w = world(setting)
    w.approve(plan.plan)
    shown = float(FRAME.filter(polars.sql_expr("g = 5 and a < 12") if "list" in picked else polars.sql_expr("a = 0 and g >= 10 and g < 22"))["points"].sum())  # fmt: skip
    found = total(w, who | ONE)
    assert near(None if found is None else found - shown, TRUE) is (setting == "off")


def test_much_more_people_than_were_picked_are_answered() -> None:
    w = world("default")
    w.approve(T.filter(g < 3).group_by("g").agg(points.first()).plan)
    assert total(w, g == 2) == POINTS[GROUP == 2].sum(), "three of forty are no one's secret"
    assert total(w, g == 9) == POINTS[GROUP == 9].sum()


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("approved", ["rows", "cells"])
def test_another_month_of_those_who_were_shown(setting: str, approved: str) -> None:
    months = polars.concat([FRAME.with_columns(month=polars.lit(m)) for m in (0, 1)])
    off = OFF if setting == "off" else ()
    policy = Policy.strict("id") if setting == "strict" else Policy(Aggregation(10), Suppress(), weaken=off)
    w = World(remembers=True).add("t", months, policy, ROLES | {"month": "quasi"}, "id")
    month = pl.col("month")
    plan = T.filter(SHOWN, month == 0)
    w.approve(
        (
            plan.select("a", "points") if approved == "rows" else plan.group_by((a // 5).alias("q")).agg(points.sum())
        ).plan
    )
    shown = float(FRAME.filter(polars.sql_expr("g = 5 and a < 20"))["points"].sum())
    found = total(w, (month == 1) & (SHOWN | ONE))
    assert near(None if found is None else found - shown, TRUE) is (setting == "off")


def completing(w: World, asked: Q, who: str = "alice") -> float:
    """Return of how many people an approval would give away more than it shows."""
    bound = bind(asked.plan, w.facts)
    judgement = witness(bound, w.facts, w.private, who, w.history(who, ["t"]))
    return float(w._played(judgement, {})[0].facts["completed"])


@pytest.mark.parametrize("setting", ["default", "strict"])
def test_an_owner_is_told_of_whom_an_approval_gives_away_more_than_it_shows(setting: str) -> None:
    w = world(setting)
    rows = T.select("a", "points")

    def but(left: int) -> Q:
        return T.filter((g == 7) & (a >= left)).select("a", "points")

    assert completing(w, but(1)) == 0, "no number of the group was told"
    table = w.ask(T.group_by("g").agg(points.sum()).plan).table
    assert table is not None
    assert table.height == GROUPS
    assert [completing(w, but(left)) for left in (0, 1, 3, 9, 10, 20)] == [0, 1, 3, 9, 0, 0]
    assert completing(w, but(1), "bob") == 0, "he was told nothing"
    cells = T.filter((g == 7) & (a >= 2)).group_by(a // 3).agg(points.sum())
    assert completing(w, cells) == 2, "cells of three are shown as their people are"
    assert completing(w, rows) == 0
    w.approve(but(12).plan)
    assert completing(w, but(12)) == 0
    assert completing(w, T.filter((g == 7) & (a < 12) & (a > 0)).select("a", "points")) == 1, (
        "with what was shown before"
    )
