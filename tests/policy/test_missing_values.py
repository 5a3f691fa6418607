"""A sum of nothing is 0: people whose values are missing must not count as people with one."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import polars
import pytest
from bastion_policy import judge_cuts
from bastion_policy.model import Aggregation, Policy, Suppress, measure
from drive import World
from query import Q

import bastion.expressions as pl

N, GROUP = 400, 40
RNG = np.random.default_rng(2)
#: twelve of a group have no points, and three others are asked for beside them
FRAME = polars.DataFrame(
    {
        "id": np.arange(N), "g": np.arange(N) // GROUP, "a": np.arange(N) % GROUP,
        "points": [None if i // GROUP == 3 and i % GROUP < 12 else int(v) for i, v in enumerate(RNG.integers(100, 9000, N))],
        "ill": [None if i // GROUP == 3 and i % GROUP < 12 else bool(v) for i, v in enumerate(RNG.random(N) < 0.5)],
    }
)  # fmt: skip
ROLES: dict[str, Any] = {"id": "identifier", "g": "quasi", "a": "quasi", "points": measure(0, 10_000), "ill": "sensitive"}  # fmt: skip
T, points, few = Q("t"), pl.col("points"), (pl.col("g") == 3) & (pl.col("a") < 15)
OF_THREE = float(FRAME.filter((polars.col("g") == 3) & (polars.col("a") < 15))["points"].sum())
#: numbers about fifteen people, of whom three have a value
FILLED = {
    "a sum per person": T.filter(few).group_by("id").agg(z=points.sum()).select(pl.col("z").sum()),
    "its mean": T.filter(few).group_by("id").agg(z=points.sum()).select(pl.col("z").mean() * 15),
    "scaled": T.filter(few).group_by("id").agg(z=points.sum() * 2).select(pl.col("z").sum() / 2),
    "a window": T.filter(few).with_columns(z=points.sum().over("id")).select(pl.col("z").sum()),
    "a window inside": T.filter(few).select(points.sum().over("id").sum()),
}


def world(profile: str, *weaken: str) -> World:
    policy = Policy.strict("id") if profile == "strict" else Policy(Aggregation(10), Suppress(), weaken=weaken)
    return World(remembers=True).add("t", FRAME, policy, ROLES, "id")


def number(w: World, q: Q) -> Any:
    table = w.ask(q.plan).table
    return None if table is None or not table.height else table[table.columns[0]][0]


@pytest.mark.parametrize("profile", ["default", "strict"])
@pytest.mark.parametrize("name", FILLED)
def test_people_without_a_value_are_not_counted(name: str, profile: str) -> None:
    w = world(profile)
    assert number(w, FILLED[name]) is None
    rules = {f.rule for f in w.ask(FILLED[name].plan).verdict.findings}
    assert rules & {"missing-values", "argument", "strict-argument"}


@pytest.mark.parametrize("name", FILLED)
def test_three_of_them_are_told_where_the_rules_are_off(name: str) -> None:
    table = World().add("t", FRAME, Policy.open(), ROLES, "id").ask(FILLED[name].plan).table
    assert table is not None
    assert table[table.columns[0]][0] == pytest.approx(OF_THREE)


def test_where_they_are_left_out_the_others_count() -> None:
    whole = FRAME["points"].drop_nulls()
    for rows in (T.drop_nulls("points"), T.filter(points.is_not_null())):
        w = world("default")
        assert number(w, rows.group_by("id").agg(z=points.sum()).select(pl.col("z").mean())) == pytest.approx(
            whole.mean()
        )
        assert number(w, rows.filter(few).group_by("id").agg(z=points.sum()).select(pl.col("z").sum())) is None
    # a mean of nothing is nothing
    mean = T.group_by("id").agg(z=points.mean()).select(pl.col("z").mean())
    assert number(world("default"), mean) == pytest.approx(whole.mean())


def test_yes_or_no_of_a_person_is_no_where_it_is_missing() -> None:
    asked = T.filter(pl.col("g") == 3).group_by("id").agg(z=pl.col("ill").any()).select(pl.col("z").sum())
    answer = world("default").ask(asked.plan)
    assert answer.table is None or answer.table.item() is None


@pytest.mark.parametrize("counted", ["count", "null_count", "n_unique"])
def test_strict_does_not_count_them_person_by_person(counted: str) -> None:
    """3 to 9 missing values look like none; added up person by person they would be told."""
    for seen, outcome in (("strict", False), ("default", True)):
        q = T.group_by("id").agg(z=getattr(points, counted)()).select(pl.col("z").sum())
        answer = world(seen).ask(q.plan)
        assert (answer.table is not None and answer.table.item() is not None) is outcome
        assert outcome or "strict-argument" in {f.rule for f in answer.verdict.findings}


# -- who has a value, known by other tables and by other numbers of the same column


#: twelve of group 3 have no points: without them and one more the sum differs by that one's
ONE = FRAME.with_columns(other=polars.col("a") % 9 + 1)
SOUGHT = float(FRAME.filter((polars.col("g") == 3) & (polars.col("a") == 12))["points"].item())
THIRD, LESS = pl.col("g") == 3, (pl.col("g") == 3) & (pl.col("a") > 12)
SUM = T.filter(THIRD).select(z=points.sum())
OTHER = float(ONE.filter((polars.col("g") == 3) & (polars.col("a") > 12))["other"].sum())
LONG = T.unpivot(["points", "other"], ["g", "a"]).filter(LESS)
#: the second question, and what it is of the sum of points
AGAIN: dict[str, tuple[Q, Any]] = {
    "the same table": (T.filter(LESS).select(z=points.sum()), lambda z: z),
    "a second table": (Q("u").filter(LESS).select(z=points.sum()), lambda z: z),
    "melted": (LONG.select(z=pl.col("value").sum()), lambda z: z - OTHER),
    "melted and filtered": (LONG.filter(pl.col("variable") == "points").select(z=pl.col("value").sum()), lambda z: z),
    "derived": (T.filter(LESS).select(z=(points * 2 + pl.col("other")).sum()), lambda z: (z - OTHER) / 2),
}


def with_formula(profile: str) -> World:
    off = ("dominance", "homogeneity", "history", "linear_audit", "saturation") if profile == "off" else ()
    policy = Policy.strict("id") if profile == "strict" else Policy(Aggregation(10), Suppress(), weaken=off)
    if profile == "open":
        policy = Policy.open()
    policy = msgspec.structs.replace(policy, derived={"y": "points * 2 + other"})
    w, roles = World(remembers=True), ROLES | {"other": measure(0, 100)}
    for name in ("t", "u"):
        w.add(name, ONE, policy, roles, "id")
        w.facts[name] = msgspec.structs.replace(w.facts[name], unit_domain="people")
    return w


def less(profile: str, name: str, *, turned: bool) -> float | None:
    """Return the difference of the two numbers, asked in either order; None where one is withheld."""
    second, of_points = AGAIN[name]
    w, asked = with_formula(profile), (SUM, second)
    found = [number(w, q) for q in (reversed(asked) if turned else asked)]
    one, two = reversed(found) if turned else found
    return None if one is None or two is None else float(one - of_points(two))


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("profile", ["default", "strict"])
@pytest.mark.parametrize("name", AGAIN)
def test_one_who_has_a_value_is_not_left_over(name: str, profile: str, turned: bool) -> None:
    found = less(profile, name, turned=turned)
    assert found is None or abs(found - SOUGHT) > 0.05 * SOUGHT


@pytest.mark.parametrize("name", AGAIN)
def test_they_are_where_the_rules_are_off(name: str) -> None:
    assert less("open", name, turned=False) == pytest.approx(SOUGHT)


# -- people without an answer do not differ from those who are all alike


ill, said = pl.col("ill"), pl.col("said")
#: a dozen who are all alike, beside a dozen of whom nothing is known
ALIKE = (pl.col("g") == 3) & (pl.col("a") < 24)
GIVEN: dict[str, Any] = {
    "filled": ill.fill_null(False),
    "filled the other way": ill.fill_null(True),
    "equal": ill.eq_missing(pl.lit(True)),
    "not equal": ill.ne_missing(pl.lit(True)),
    "either": pl.when(ill).then(1).otherwise(0),
    "where it is missing": pl.when(ill.is_null()).then(False).otherwise(ill),
    "and there": ill & ill.is_not_null(),
    "or missing": ill | ill.is_null(),
    "coalesced": pl.coalesce(ill, False),
    "in": said.is_in(["yes"], nulls_equal=True),
    "text filled": said.fill_null("none") == "yes",
    "replaced": said.replace_strict(["yes", None], [1, 0], default=0),
    "of several": pl.all_horizontal(ill, ill.is_not_null()),
}
SHOWN: dict[str, Any] = {"sum": lambda x: x.cast(pl.Int64).sum(), "mean": lambda x: x.cast(pl.Int64).mean(), "least": lambda x: x.min()}  # fmt: skip


def _alike(yes: bool, *, mixed: bool = False) -> World:
    there = [i // GROUP == 3 and i % GROUP < 12 for i in range(N)]
    missing = [i // GROUP == 3 and 12 <= i % GROUP < 24 for i in range(N)]
    sick = [None if m else (i % 2 == 0 if mixed else yes) if t else bool(i % 3) for i, t, m in zip(range(N), there, missing, strict=True)]  # fmt: skip
    frame = FRAME.with_columns(ill=polars.Series(sick), said=polars.Series([None if s is None else "yes" if s else "no" for s in sick]))  # fmt: skip
    return World(remembers=True).add(
        "t", frame, Policy(Aggregation(10), Suppress()), ROLES | {"said": "sensitive"}, "id"
    )


@pytest.mark.parametrize("yes", [True, False])
@pytest.mark.parametrize("shown", SHOWN)
@pytest.mark.parametrize("given", GIVEN)
def test_those_without_an_answer_hide_nobody(given: str, shown: str, yes: bool) -> None:
    assert number(_alike(yes), T.filter(ALIKE).select(SHOWN[shown](GIVEN[given]))) is None


@pytest.mark.parametrize("given", ["filled", "either", "text filled"])
def test_nor_before_the_last_step(given: str) -> None:
    made = T.filter(ALIKE).with_columns(made=GIVEN[given].cast(pl.Int64))
    assert number(_alike(True), made.select(pl.col("made").sum())) is None


def test_those_with_an_answer_are_told() -> None:
    there = T.filter(ALIKE).drop_nulls("ill")
    assert number(_alike(True, mixed=True), there.select(ill.fill_null(False).sum())) == 6
    assert number(_alike(True, mixed=True), T.filter(ALIKE).select(ill.sum())) == 6
    assert number(_alike(True, mixed=True), T.filter(ALIKE).select(ill.is_not_null().sum())) == 12
    assert number(_alike(True), T.filter(ALIKE).select(points.fill_null(0).mean())) is not None, (
        "numbers are no yes or no"
    )


@pytest.mark.parametrize("given", ["filled", "equal", "and there", "coalesced", "in", "text filled", "of several"])
def test_they_do_without_the_rule(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge_cuts, "filled", lambda *_: frozenset())
    assert number(_alike(True), T.filter(ALIKE).select(SHOWN["sum"](GIVEN[given]))) == 12
