"""Joins under every profile: whose rows come out, and who is counted: the people of every table, each by itself."""

from __future__ import annotations

from typing import Any

import msgspec
import polars
import pytest
from bastion_plan import nodes as n
from bastion_plan.bind import bind
from bastion_plan.expressions import Column
from bastion_policy.model import Aggregation, Policy, Role, RoleKind, Suppress
from bastion_policy.verdict import Outcome
from drive import World
from query import Q, inline

import bastion.expressions as pl
from bastion.sql import parse_sql

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


# -- rows of one private table that choose rows of another one


REGISTER = polars.DataFrame(
    {"id": range(1600), "age": [i % 40 for i in range(1600)], "area": [i // 40 % 4 for i in range(1600)]}
)
#: one in a cell of ten people of the register
CASES = REGISTER.filter(polars.col("id").is_in([7, 48, 321, 650])).select(who="id", age="age", area="area", stage="id")
R_ROLES = {"id": "identifier", "age": "quasi", "area": "quasi"}
C_ROLES = {"who": "identifier", "age": "quasi", "area": "quasi", "stage": Role(RoleKind.MEASURE, 0, 2000)}
R, C = Q("r"), Q("c")


def of_cases(profile: str) -> World:
    policy = Policy.open() if profile == "open" else ACTIONS[profile]("id")
    whom = Policy.open() if profile == "open" else ACTIONS[profile]("who")
    return World(remembers=True).add("r", REGISTER, policy, R_ROLES, "id").add("c", CASES, whom, C_ROLES, "who")


#: the keys of either side
CHOSEN = {
    "by a place": (["age", "area"], ["age", "area"]),
    "by a unit and a place": (["id", "age"], ["who", "age"]),
    "by a unit and what is none": (["id"], ["stage"]),
    "by what is none and a unit": (["age"], ["who"]),
    "by a computed unit": ([pl.col("id") + 0], [pl.col("who") + 0]),
}


@pytest.mark.parametrize("how", ["semi", "anti"])
@pytest.mark.parametrize("keys", CHOSEN)
@pytest.mark.parametrize("profile", ["default", "strict"])
def test_single_rows_of_a_private_table_choose_no_others(profile: str, keys: str, how: str) -> None:
    left, right = CHOSEN[keys]
    plan = R.join(C, left_on=left, right_on=right, how=how).group_by("age", "area").agg(pl.len()).plan
    answer = of_cases(profile).ask(plan)
    assert answer.table is None
    assert {f.rule for f in answer.verdict.findings} & {"join", "identifier", "strict-role"}


@pytest.mark.parametrize("how", ["semi", "anti"])
def test_where_rules_are_off_they_tell_where_single_ones_are(how: str) -> None:
    plan = R.join(C, on=["age", "area"], how=how).group_by("age", "area").agg(pl.len()).plan
    told = set(of_cases("open").ask(plan).released.select("age", "area").rows())
    true = set(CASES.select("age", "area").rows())
    assert (told if how == "semi" else set(REGISTER.select("age", "area").rows()) - told) == true


@pytest.mark.parametrize("how", ["semi", "anti"])
@pytest.mark.parametrize("profile", ["default", "strict"])
def test_the_same_people_in_two_tables_are_told(profile: str, how: str) -> None:
    """By the units of both, all of the second table: who is in it is a population of itself."""
    w = World(remembers=True).add("r", REGISTER, ACTIONS[profile]("id"), R_ROLES, "id")
    w.add("s", REGISTER.filter(polars.col("id") % 4 > 0), ACTIONS[profile]("id"), R_ROLES, "id")
    for name in ("r", "s"):
        w.facts[name] = msgspec.structs.replace(w.facts[name], unit_domain="people")
    found = w.ask(R.join(Q("s"), on="id", how=how).select(n=pl.len()).plan).released
    assert found["n"].to_list() == [1200 if how == "semi" else 400]


@pytest.mark.parametrize("profile", ["default", "strict"])
def test_not_in_of_sql_is_judged_as_an_anti_join(profile: str) -> None:
    """`NOT IN` of groups that were told is answered, and of another table of people it is not."""
    world = WORLDS[profile]

    def ask(condition: str) -> Any:
        query = f"SELECT COUNT(*) AS n, AVG(cost) AS m FROM p WHERE {condition}"
        tables = {"p": n.Scan("p"), "d": n.Scan("d")}
        return world.ask(parse_sql(query, tables, lambda plan: bind(plan, world.facts).schema))

    large = "SELECT ward FROM p GROUP BY ward HAVING AVG(cost) > 23.9"
    assert ask(f"ward NOT IN ({large})").released.rows() == ask("ward = 'a'").released.rows()
    assert ask("doctor NOT IN (SELECT did FROM d)").verdict.outcome is not Outcome.RELEASE
