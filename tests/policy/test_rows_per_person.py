"""How many rows a person has: a number of the person that is of no column, judged like any argument."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars
import pytest
from bastion_policy.model import Aggregation, Policy, Role, Suppress, measure
from drive import World
from query import Q

import bastion.expressions as pl

V, P, q = Q("visits"), Q("people"), pl.col("q")
EACH = V.group_by("id").agg(q=pl.len())
ROLES: dict[str, Role | str] = {
    "id": "identifier", "cost": measure(0, 1000), "town": "quasi", "age": "quasi", "all_but_one": "quasi", "many": "quasi",
}  # fmt: skip
POLICY = Policy(Aggregation(10), Suppress(), unit="id", weaken=("saturation",))
STRICT = Policy.strict(unit="id")
N = 200


def world(rows: Any = None, *, policy: Policy = POLICY, remembers: bool = True) -> World:
    """People with 1 to 6 visits each, or as many as `rows` says."""
    rng = np.random.default_rng(3)
    times = rng.integers(1, 7, N) if rows is None else np.asarray(rows)
    ids = np.repeat(np.arange(N), times)
    visits = polars.DataFrame({"id": ids, "cost": np.round(rng.uniform(0, 1000, ids.size), 2)})
    people = polars.DataFrame(
        {
            "id": range(N),
            "town": [["a", "b", "c", "d"][i % 4] for i in range(N)],
            "age": rng.integers(18, 90, N),
            "all_but_one": [i != 7 for i in range(N)],
            "many": times > np.median(times),
        }
    )
    w = World(remembers=remembers)
    for name, frame in (("visits", visits), ("people", people)):
        w.add(name, frame, policy, {c: r for c, r in ROLES.items() if c in frame.columns}, "id")
    return w


def rows_of(w: World) -> polars.DataFrame:
    return w.frames["visits"].group_by("id").agg(q=polars.len()).join(w.frames["people"], on="id")


def told(w: World, plan: Q) -> Any:
    table = w.ask(plan.plan).table
    return None if table is None or not table.height else table.to_dicts()


@pytest.mark.parametrize("policy", [POLICY, STRICT], ids=["default", "strict"])
def test_visits_per_person(policy: Policy) -> None:
    w = world(policy=policy, remembers=False)
    known = rows_of(w)["q"]
    found = told(w, EACH.select(a=q.mean(), b=q.sum(), c=q.std(), n=pl.len()))[0]
    exact = policy is POLICY
    near = 1e-9 if exact else 0.02
    assert found["a"] == pytest.approx(known.mean(), rel=near)
    assert found["b"] == pytest.approx(known.sum(), rel=near)
    assert found["c"] == pytest.approx(known.std(), rel=1e-9 if exact else 0.05)
    middle = told(w, EACH.select(a=q.median(), b=q.min(), c=q.max()))[0]
    assert middle["a"] in (3, 3.5, 4)
    assert (middle["b"], middle["c"]) == (1, 6)


@pytest.mark.parametrize("policy", [POLICY, STRICT], ids=["default", "strict"])
def test_visits_per_person_and_town(policy: Policy) -> None:
    w = world(policy=policy, remembers=False)
    joined = P.join(EACH, on="id").group_by("town").agg(q.mean())
    found = {r["town"]: r["q"] for r in told(w, joined)}
    known = dict(rows_of(w).group_by("town").agg(polars.col("q").mean()).iter_rows())
    assert found == pytest.approx(known, rel=1e-9 if policy is POLICY else 0.1)


@pytest.mark.parametrize("how", [pl.col("id").len(), pl.col("id").count(), pl.col("cost").count()])
def test_other_words_for_the_number_of_rows(how: Any) -> None:
    w = world(remembers=False)
    assert told(w, V.group_by("id").agg(q=how).select(q.mean())) == told(w, EACH.select(q.mean()))
    for lone in (pl.col("id").max(), pl.col("id").first(), pl.col("id").sum()):
        verdict = w.ask(V.group_by("id").agg(q=lone).select(q.mean()).plan).verdict
        assert "identifier" in {f.rule for f in verdict.findings}


def test_how_many_people_have_how_many_visits() -> None:
    w = world(remembers=False)
    found = told(w, EACH.group_by("q").agg(pl.len()))
    assert {r["q"]: r["len"] for r in found} == dict(rows_of(w)["q"].value_counts().iter_rows())
    for plan in (EACH.group_by("q").agg(pl.len()), EACH.filter(q > 2).select(pl.len()), EACH.select((q > 2).sum())):
        verdict = world(policy=STRICT).ask(plan.plan).verdict
        rules = {f.rule for f in verdict.findings}
        assert rules in ({"strict-role"}, {"strict-argument"}), "how many rows one has chooses nobody there"


def test_one_person_with_most_of_the_visits_is_not_told_of() -> None:
    w = world([900] + [1] * (N - 1))
    assert told(w, EACH.select(q.sum())) in (None, [{"q": None}])
    assert told(w, EACH.select(q.var())) in (None, [{"q": None}])
    # the interval of the largest holds ten people, who have one visit each
    assert told(w, EACH.select(q.max()))[0]["q"] < 900


def test_who_has_one_visit_more_than_everybody_else_is_not_told_of() -> None:
    """Everybody who is there has a visit: what is beyond it is one person's."""
    w = world([3] + [1] * (N - 1))
    assert told(w, EACH.select(q.sum())) in (None, [{"q": None}])


def test_the_visits_of_one_person_are_not_the_total_less_the_others() -> None:
    w = world()
    total = told(w, EACH.select(q.sum()))[0]["q"]
    known = rows_of(w)
    mine = known.filter(polars.col("id") == 7)["q"].item()
    for some in (
        P.filter(pl.col("all_but_one")).join(EACH, on="id").select(q.sum()),
        P.join(EACH, on="id").filter(pl.col("all_but_one")).select(q.sum()),
        P.join(EACH, on="id").select(q=q.filter(pl.col("all_but_one")).sum()),
    ):
        found = told(w, some)
        assert found is None or found[0]["q"] in (None, total), "else the difference is one person's visits"
        assert found is None or found[0]["q"] != total - mine


def test_repeated_rows_do_not_weigh_people_by_their_visits() -> None:
    """The number of every person as often as they have rows is the sum of squares: with it and the like, weights follow."""
    w = world()
    found = w.ask(V.join(EACH, on="id").select(q.sum()).plan)
    assert found.table is None or found.table["q"].item() is None
    assert "uneven-rows" in {f.rule for f in found.verdict.findings}


def test_covariances_with_known_columns_are_rounded_and_counted() -> None:
    w = world()
    asked = [P.join(EACH, on="id").select(pl.cov(pl.col("age") * i + 1, "q")) for i in range(1, 8)]
    answers = [told(w, one) for one in asked]
    assert sum(a is not None and a[0][next(iter(a[0]))] is not None for a in answers) <= N // 128 + 1


@pytest.mark.parametrize("policy", [POLICY, STRICT], ids=["default", "strict"])
def test_what_is_sensitive_is_not_weighed_by_the_number_of_rows(policy: Policy) -> None:
    """Somebody may know how often each person came: three such sums say who has what."""
    w = world(policy=policy)
    secret = w.frames["people"].with_columns(sick=polars.col("age") % 3 == 0)
    roles = {c: r for c, r in ROLES.items() if c in secret.columns} | {"sick": "sensitive"}
    w.add("people", secret, policy, roles, "id")
    for kind in (pl.cov, pl.corr):
        answer = w.ask(P.join(EACH, on="id").select(kind(pl.col("sick").cast(pl.Float64), "q")).plan)
        assert answer.table is None
        assert "argument" in {f.rule for f in answer.verdict.findings}


@pytest.mark.parametrize("how", [pl.len(), pl.col("cost").count(), pl.col("cost").sum()], ids=["len", "count", "sum"])
def test_whether_a_shift_is_taken_does_not_depend_on_the_most_rows_of_one(how: Any) -> None:
    """It costs nothing to ask whether it is: the power of ten is all that may be told."""
    taken = []
    for most in (11, 99):
        w = world([most, *([5] * (N - 1))], remembers=False)
        plans = [V.group_by("id").agg(q=how).select((q + 2.0 * 10**power).mean()) for power in range(2, 9)]
        taken.append(["argument" not in {f.rule for f in w.ask(plan.plan).verdict.findings} for plan in plans])
    assert taken[0] == taken[1]
    assert set(taken[0]) == {True, False}
