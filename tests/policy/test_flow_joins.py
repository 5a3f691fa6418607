"""Joins under every profile: whose rows come out, and who is counted: the people of every table, each by itself."""

from __future__ import annotations

from typing import Any

import polars
import pytest
from bastion_plan import nodes as n
from bastion_plan.expressions import Column
from bastion_policy.model import Aggregation, Policy, Role, RoleKind, Suppress
from bastion_policy.verdict import Outcome
from drive import World
from query import Q, inline

import bastion.expressions as pl

PATIENTS = polars.DataFrame(
    {
        "pid": range(120), "doctor": [i % 12 if i < 90 else i % 3 for i in range(120)], "ward": ["ab"[i % 2] for i in range(120)],
        "cost": [float(i * 7 % 50) for i in range(120)],
    }
)  # fmt: skip
DOCTORS = polars.DataFrame(
    {
        "did": range(12),
        "grade": ["hi"[i % 2] if i > 2 else "x" for i in range(12)],
        "fee": [float(i) for i in range(12)],
    }
)
P_ROLES = {"pid": "identifier", "doctor": "identifier", "ward": "quasi", "cost": Role(RoleKind.MEASURE, 0, 50)}
D_ROLES = {"did": "identifier", "grade": "quasi", "fee": Role(RoleKind.MEASURE, 0, 12)}
ACTIONS = {
    "default": lambda unit: Policy(Aggregation(5), Suppress(), unit=unit),
    "strict": lambda unit: Policy(Aggregation(5), Suppress(), unit=unit, profile="strict"),
    "private": lambda unit: Policy.private(epsilon=1.0, unit=unit),
}


def world(profile: str) -> World:
    made = World()
    made.add("p", PATIENTS, ACTIONS[profile]("pid"), P_ROLES, unit="pid")
    made.add("d", DOCTORS, ACTIONS[profile]("did"), D_ROLES, unit="did")
    made.add("again", PATIENTS, ACTIONS[profile]("pid"), P_ROLES, unit="pid")
    return made


WORLDS = {name: world(name) for name in ACTIONS}
P, D = Q("p"), Q("d")
JOINED = P.join(D, left_on="doctor", right_on="did")
EVERY = pytest.mark.parametrize("profile", ACTIONS)


def test_people_of_both_tables_are_counted() -> None:
    """Grade x has 3 doctors with many patients: as many patients as one likes do not make them 5."""
    shown = WORLDS["default"].ask(JOINED.group_by("grade").agg(n=pl.len(), c=pl.col("cost").mean()).plan).released
    truth = PATIENTS.join(DOCTORS, left_on="doctor", right_on="did")
    sizes = {g: (f["pid"].n_unique(), f["doctor"].n_unique()) for (g,), f in truth.group_by("grade")}
    assert sizes["x"][0] >= 50 > 5 > sizes["x"][1]
    assert "x" not in shown["grade"].to_list()
    for grade in shown["grade"].to_list():
        if grade not in (None, "(other)"):
            assert min(sizes[grade]) >= 4


def test_under_the_strict_profile_only_the_unit_joins() -> None:
    verdict = WORLDS["strict"].static(JOINED.group_by("ward").agg(pl.len()).plan)
    assert "identifier" in {f.rule for f in verdict.findings}
    units = P.join(Q("again").select("pid", other=pl.col("cost")), on="pid")
    assert not WORLDS["strict"].static(units.group_by("ward").agg(pl.col("other").mean()).plan).findings


def test_the_sides_of_a_self_join_are_counted_apart() -> None:
    """A cell of many left rows whose right rows are few people's shows nothing of them."""
    world = World().add(
        "t",
        PATIENTS.with_columns(friend=polars.lit(7)),
        ACTIONS["default"]("pid"),
        {**P_ROLES, "friend": "identifier"},
        unit="pid",
    )
    friends = Q("t").join(Q("t").select("pid", theirs=pl.col("cost")), left_on="friend", right_on="pid")
    for asked in (pl.len(), pl.col("theirs").mean(), pl.col("cost").mean()):
        shown = world.ask(friends.select(x=asked).plan).table
        assert shown is None or shown["x"].to_list() in ([], [None])


@EVERY
def test_a_cross_join_is_refused(profile: str) -> None:
    plan = Q(n.Join(P.plan, D.plan, "cross")).select(pl.len()).plan
    assert WORLDS[profile].static(plan).outcome is not Outcome.RELEASE


@EVERY
@pytest.mark.parametrize("how", ["left", "full", "right"])
def test_a_join_that_shows_who_is_missing_is_not_released(how: str, profile: str) -> None:
    plan = Q(n.Join(P.plan, D.plan, how, (Column("doctor"),), (Column("did"),))).select(pl.len()).plan
    assert "join" in {f.rule for f in WORLDS["default"].static(plan).findings}
    assert WORLDS[profile].static(plan).findings


@EVERY
def test_a_join_asof_is_not_released(profile: str) -> None:
    plan = Q(n.JoinAsof(P.plan, D.plan, Column("cost"), Column("fee"))).select(pl.len()).plan
    assert WORLDS[profile].static(plan).findings


@EVERY
def test_a_key_that_repeats_on_both_sides_repeats_people(profile: str) -> None:
    plan = P.join(Q("again"), on="ward").select(pl.len()).plan
    assert WORLDS[profile].static(plan).findings


@EVERY
@pytest.mark.parametrize(("keys", "free"), [([0, 1], True), ([0, 0], False)])
def test_labels_are_free_unless_they_repeat_people(keys: list[int], free: bool, profile: str) -> None:
    labels = inline({"ward": ["ab"[k] for k in keys], "label": ["u", "v"]})
    plan = P.join(labels, on="ward").group_by("ward").agg(pl.len()).plan
    found = WORLDS[profile].static(plan)
    if profile == "private":
        assert found.outcome is not Outcome.RELEASE or free
    else:
        assert (not found.findings) is free


@pytest.mark.parametrize("profile", ["default", "strict"])
def test_people_found_by_an_own_table_are_a_population(profile: str) -> None:
    """A semi join is a filter: fewer than k people found are nobody."""
    for size, shown in ((3, 0), (40, 1)):
        ages = inline({"ward": ["a"]}) if size == 40 else inline({"ward": ["none"]})
        table = WORLDS[profile].ask(P.join(ages, on="ward", how="semi").select(n=pl.len()).plan).released
        assert table.height == shown


@pytest.mark.parametrize("profile", ["default", "strict"])  # with noise it is a join of people like any other
def test_a_semi_join_with_a_chosen_part_of_a_private_table_picks_people(profile: str) -> None:
    plan = P.join(Q("again").filter(pl.col("ward") == "a"), on="pid", how="semi").select(pl.len()).plan
    assert WORLDS[profile].static(plan).findings


def test_a_join_of_the_same_people_is_counted_once_per_table() -> None:
    both = P.join(Q("again").select("pid", other=pl.col("cost")), on="pid")
    shown = WORLDS["default"].ask(both.group_by("ward").agg(n=pl.len(), o=pl.col("other").mean()).plan).released
    direct: Any = PATIENTS.group_by("ward").agg(n=polars.len(), o=polars.col("cost").mean()).sort("ward")
    assert shown.sort("ward").rows() == [(w, c, pytest.approx(o)) for w, c, o in direct.rows()]
