"""The row oracle knows what strict policies, rounding, pairs, leverage caps and reserved tables ask for.

Each question is asked of the judge, whose answer the oracle explains; an answer that breaks the rule is found out.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import polars
import pytest
from bastion_policy.model import Aggregation, AtLeastNOf, LinearAudit, Policy, Rounding, Suppress, measure
from drive import World
from query import Q, concat

import bastion.expressions as pl

sys.path.insert(0, str(Path(__file__).parent))
import shards
from random_queries import Maker, drawn, made
from row_model import Finding
from row_play import read, written
from row_rounding import significant, whole
from row_watched import Watched

T, age, pay, flag, n = Q("t"), pl.col("age"), pl.col("pay"), pl.col("flag"), pl.len()
ROLES = {
    "id": "identifier",
    "age": "quasi",
    "flag": "quasi",
    "sick": "sensitive",
    "pay": measure(0, 100),
    "won": "measure",
}
STRICT = Policy(Aggregation(5), Suppress(), profile="strict", unit="id")
ROWS = polars.DataFrame(
    {
        "id": range(61), "age": range(61), "flag": [i % 2 == 0 for i in range(61)], "sick": [i % 3 == 0 for i in range(61)],
        "pay": [round(30.13 + 7.77 * i % 61, 2) for i in range(61)],
        # of those below twenty all have won the same but two
        "won": [4 if 2 <= i < 20 else i % 13 for i in range(61)],
    }
)  # fmt: skip


def watched(policy: Policy = STRICT, *, remembers: bool = False) -> Watched:
    """A world of the rows above, under a policy."""
    return Watched(World(remembers=remembers).add("t", ROWS, policy, ROLES, "id"))


STATISTICS = {
    "count": (n, 61, 60), "sum of fractions": (pay.sum(), None, 3610.0), "mean": (pay.mean(), None, 3610 / 60),
    "sum of whole numbers": (age.sum(), 1830, 1830), "twice and one": ((2 * pay + 1).sum(), None, 7280.0),
    "variance of whole numbers": (age.var(), None, 18910 / 59), "who say yes": (flag.sum(), 31, 30),
    "share of those": (flag.mean(), 31 / 61, 0.5), "those without a value": (pay.null_count(), 0, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", STATISTICS)
def test_numbers_are_rounded(name: str) -> None:
    expr, exact, told = STATISTICS[name]
    q = T.select(x=expr)
    (row,) = watched().ask(q)
    assert row["x"] == pytest.approx(told)
    unguarded = ROWS.select(x=polars.lit(exact)) if exact is not None else None
    true = unguarded["x"][0] if unguarded is not None else _plain(name)
    if true != pytest.approx(told):
        assert watched().rules(q, [{"x": true}]) == {"value"}
    assert watched().rules(q, [{"x": told * 1.02 + 5}]) == {"value"}


def _plain(name: str) -> float:
    column = ROWS["pay"]
    return {
        "sum of fractions": column.sum(), "mean": column.mean(), "twice and one": (2 * column + 1).sum(),
        "variance of whole numbers": ROWS["age"].var(),
    }[name]  # fmt: skip


def test_values_that_are_missing_are_no_condition() -> None:
    """Of a secret column a sum leaves them out as it is; how many there are is another matter."""
    assert watched().ask(T.select(x=pay.drop_nulls().sum())) == [{"x": 3610.0}]
    assert watched().ask(T.drop_nulls("pay").select(x=pay.sum())) == []


def test_nulls_of_a_when_are_the_rows_less_those_with_a_value() -> None:
    q = T.select(x=pl.when(age < 20).then(pay).otherwise(None).null_count())
    assert watched().ask(q) == [{"x": 40}]
    assert watched().rules(q, [{"x": 40}]) == set()
    assert watched().rules(q, [{"x": 41}]) == {"value"}


def test_a_default_policy_may_round() -> None:
    policy = Policy(AtLeastNOf(2, [Aggregation(5), Rounding(10, 2)]), Suppress())
    assert watched(policy).ask(T.select(x=pay.sum(), y=n)) == [{"x": 3600.0, "y": 60}]
    assert watched(policy).rules(T.select(y=n), [{"y": 61}]) == {"value"}
    stacked = concat(T, T).select(y=n)
    assert watched(policy).ask(stacked) == []
    assert watched(policy).rules(stacked, [{"y": 120}]) == {"value"}


REFUSED = {
    "a measure in a filter": T.filter(pay > 40).select(x=n), "a bin as a key": T.group_by((pay > 40).alias("g")).agg(x=n),
    "a condition": T.select(x=(age > 30).sum()), "a bend": T.select(x=pay.abs().sum()),
    "two columns": T.select(x=(pay + age).sum()), "a filter inside": T.select(x=age.filter(pay > 40).sum()),
    "missing values": T.drop_nulls("won").select(x=n), "another divisor": T.select(x=age.var(ddof=3)),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_strict_refuses(name: str) -> None:
    q = REFUSED[name]
    assert watched().ask(q) == []
    keyed = "g" in str(q.plan.keys) if hasattr(q.plan, "keys") else False
    assert watched().rules(q, [{"g": True, "x": 30} if keyed else {"x": 30}]) in ({"value"}, {"forbidden"})


@pytest.mark.parametrize("statistic", ["sum", "mean", "var", "median", "max"])
def test_one_verdict_holds_for_every_statistic(statistic: str) -> None:
    """Two people hold another value than the others: no statistic of the column is told."""
    q = T.filter(age < 20).select(n=n, x=getattr(pl.col("won"), statistic)())
    (row,) = watched().ask(q)
    assert row["n"] == 20
    assert row["x"] is None
    assert watched().rules(q, [{"n": 20, "x": {"sum": 75, "mean": 3.75}.get(statistic, 4.0)}]) == {"value"}


def test_both_sides_of_a_condition_are_judged() -> None:
    """Those of forty and more pass; those whom the condition leaves out do not, and are had by the whole."""
    q = T.filter(age < 35).select(n=n, x=pl.col("won").filter(age >= 20).sum())
    (row,) = watched().ask(q)
    assert row["x"] is None
    assert watched().rules(q, [{"n": 35, "x": 90}]) == {"value"}


def test_pairs_are_found() -> None:
    """One sum less two others is about two people, whom a third answer does not tell apart."""
    policy = Policy(
        AtLeastNOf(2, [Aggregation(5), LinearAudit(pairs=True)]), Suppress(), weaken=("saturation", "history")
    )
    parts = [T.filter(age < 30), T.filter(age < 15), T.filter((age >= 15) & (age < 30) & (age != 20) & (age != 25))]
    told = [[{"x": float(ROWS.filter(c)["pay"].sum())}] for c in _same(parts)]
    w = watched(policy, remembers=True)
    for q, rows in zip(parts[:2], told[:2], strict=True):
        assert w.rules(q.select(x=pay.sum()), rows) == set()
    assert "audit" in w.rules(parts[2].select(x=pay.sum()), told[2])


def _same(parts: list[Q]) -> list[polars.Expr]:
    c = polars.col("age")
    return [c < 30, c < 15, (c >= 15) & (c < 30) & (c != 20) & (c != 25)][: len(parts)]


@pytest.mark.parametrize(("tau", "found"), [(0.5, set()), (0.1, {"audit"})])
def test_a_leverage_cap_holds(tau: float, found: set[str]) -> None:
    """Of a cell of six each has a sixth."""
    policy = Policy(AtLeastNOf(2, [Aggregation(5), LinearAudit(tau=tau)]), Suppress(), weaken=("saturation",))
    assert watched(policy, remembers=True).rules(T.filter(age < 6).select(x=n), [{"x": 6}]) == found


def test_reserved_tables_are_answered() -> None:
    policy = Policy(Aggregation(5), Suppress(), reserved=(("flag",),))
    w = watched(policy, remembers=True)
    w.ask(T.filter(flag & (age != 6)).select(x=n))  # answered as those who are reserved
    q = T.group_by("flag").agg(x=n)
    assert "reserved" in w.rules(q, [])
    w = watched(policy, remembers=True)
    w.ask(T.filter(flag & (age != 6)).select(x=n))
    assert {row["x"] for row in w.ask(q)} == {30, 31}


def test_numbers_half_way_may_be_either() -> None:
    assert whole(12, 5) == [10]
    assert whole(12.5 - 1e-12, 5) == [15, 10]
    assert whole(5, 10) == [10, 0]
    assert significant(1235.0, 3) == [1230.0, 1240.0]
    assert significant(-0.0012345, 3) == [-0.00123]


def test_a_case_is_played_again() -> None:
    import random

    case = made(random.Random(5).randint, 6)
    other = read(written(case))
    assert other.people.equals(case.people)
    assert [str(q.plan) for q in other.queries] == [str(q.plan) for q in case.queries]
    assert (other.policy, other.roles) == (case.policy, case.roles)
    assert drawn(iter(case.draws).__next__, 6).draws == case.draws
    assert Maker(random.Random(1).randint).filters


def test_a_shard_goes_on_after_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every case that fails is in the report, with what plays it again."""
    played: list[Any] = []

    def play(case: Any, *, remembers: bool) -> list[Finding]:
        played.append(case)
        if len(played) == 2:
            raise ZeroDivisionError
        return [Finding("value", "here")] if len(played) == 3 else []

    monkeypatch.setattr(shards, "play", play)
    broken, wrong = shards.shard(7, 6)
    assert len(played) == 6
    assert "ZeroDivisionError" in broken
    assert "Finding(rule='value', where='here'" in wrong
    again = wrong.partition("--again ")[2].split()[0]
    assert read(again).draws == played[2].draws
