"""The strict profile on data: one verdict per population and column, rounded numbers, one code for whatever failed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars
import pytest
from bastion_policy.judge_strict import _relative
from bastion_policy.model import (
    Aggregation,
    AtLeastNOf,
    Dominance,
    Policy,
    Reject,
    Review,
    Role,
    RoleKind,
    Rounding,
    Suppress,
    UserId,
)
from bastion_policy.verdict import Outcome
from drive import World
from hypothesis import given
from hypothesis import strategies as st
from query import Q

import bastion.expressions as pl

RNG = np.random.default_rng(11)
N = 240
BASE = polars.DataFrame(
    {
        "id": range(N),
        "town": RNG.choice(["a", "b", "c", "d"], N).tolist(),
        "age": RNG.integers(18, 80, N),
        "pay": np.round(RNG.uniform(0, 100, N), 2),
        "debt": RNG.integers(0, 1000, N),
        "sick": (RNG.random(N) < 0.4).tolist(),
    }
)
ROLES = {
    "id": "identifier", "town": "quasi", "age": "quasi", "pay": Role(RoleKind.MEASURE, 0, 100),
    "debt": Role(RoleKind.MEASURE, 0, 1000), "sick": "sensitive",
}  # fmt: skip
T = Q("t")
pay, debt, sick, age = pl.col("pay"), pl.col("debt"), pl.col("sick"), pl.col("age")


def strict(action: Any = None, **changes: Any) -> Policy:
    return Policy(Aggregation(10), action or Suppress(), unit="id", profile="strict", **changes)


def world(frame: polars.DataFrame = BASE, policy: Policy | None = None) -> World:
    return World(remembers=False).add("t", frame, policy or strict(), ROLES, unit="id")


W = world()


def truth(**aggs: polars.Expr) -> polars.DataFrame:
    return BASE.group_by("town").agg(**aggs).sort("town")


def sig(value: float, digits: int = 3) -> float:
    return float(f"{value:.{digits - 1}e}") if value else 0.0


def fives(value: float) -> float:
    return math.floor((value + 2) / 5) * 5


# -- rounding


def test_numbers_are_rounded() -> None:
    asked = T.group_by("town").agg(
        n=pl.len(), s=pay.sum(), m=pay.mean(), v=pay.var(), d=pay.std(), i=debt.sum(), j=debt.mean(),
        b=sick.sum(), c=sick.mean(), u=pl.col("id").n_unique(), k=pay.count(),
    )  # fmt: skip
    real = truth(
        n=polars.len(), s=polars.col("pay").sum(), v=polars.col("pay").var(), i=polars.col("debt").sum(),
        b=polars.col("sick").sum(),
    )  # fmt: skip
    for shown, row in zip(
        W.ask(asked.plan).released.sort("town").iter_rows(named=True), real.iter_rows(named=True), strict=True
    ):
        n = fives(row["n"])
        assert (shown["n"], shown["u"], shown["k"]) == (n, n, n)
        assert shown["s"] == pytest.approx(sig(row["s"]))
        assert shown["m"] == pytest.approx(sig(row["s"]) / n)
        assert shown["v"] == pytest.approx(sig(row["v"]))
        assert shown["d"] == pytest.approx(math.sqrt(sig(row["v"])))
        assert (shown["i"], shown["j"]) == (fives(row["i"]), pytest.approx(fives(row["i"]) / n))
        assert (shown["b"], shown["c"]) == (fives(row["b"]), pytest.approx(fives(row["b"]) / n))


def test_types_are_those_that_were_asked_for() -> None:
    asked = T.group_by("town").agg(n=pl.len(), s=pay.sum(), m=debt.mean(), i=debt.sum(), b=sick.sum())
    direct = BASE.group_by("town").agg(
        n=polars.len(), s=polars.col("pay").sum(), m=polars.col("debt").mean(), i=polars.col("debt").sum(),
        b=polars.col("sick").sum(),
    )  # fmt: skip
    assert W.ask(asked.plan).released.schema == direct.schema


@pytest.mark.parametrize(("a", "b"), [(1000.0, 7.0), (1e-6, 0.0), (-3.0, 0.5), (1e8, 1.0)])
def test_affine_functions_do_not_peel_rounding_off(a: float, b: float) -> None:
    plain = W.ask(T.group_by("town").agg(s=pay.sum(), m=pay.mean(), n=pl.len(), v=pay.var()).plan).released.sort("town")
    moved = pay * a + b
    found = W.ask(T.group_by("town").agg(s=moved.sum(), m=moved.mean(), v=moved.var()).plan).released.sort("town")
    assert found["m"].to_list() == pytest.approx((plain["m"] * a + b).to_list())
    assert found["s"].to_list() == pytest.approx((plain["s"] * a + plain["n"] * b).to_list())
    assert found["v"].to_list() == pytest.approx((plain["v"] * a * a).to_list())


def test_an_affine_column_is_the_affine_function() -> None:
    inside = T.group_by("town").agg(s=(2 - debt / 4).sum(), m=(2 - debt / 4).mean(), v=(2 - debt / 4).var())
    beside = (
        T.with_columns(z=debt / -4).with_columns(y=pl.col("z") + 2).filter(age > 0).group_by("town")
        .agg(s=pl.col("y").sum(), m=pl.col("y").mean(), v=pl.col("y").var())
    )  # fmt: skip
    one, two = (W.ask(plan.plan).released.sort("town") for plan in (inside, beside))
    for name in "smv":
        assert two[name].to_list() == pytest.approx(one[name].to_list())


def test_a_sum_that_is_rounded_hides_a_shift_of_its_threshold() -> None:
    """Affine peeling: sum(x + B) for many B would step over the rounding's edges if the sum were rounded after the shift."""
    base = W.ask(T.select(s=debt.sum(), n=pl.len()).plan).released.row(0)
    steps = {W.ask(T.select(s=(debt + b).sum()).plan).released.item() - base[1] * b for b in range(1, 9)}
    assert steps == {base[0]}


def test_one_population_has_one_number_wherever_it_appears() -> None:
    cells = W.ask(T.group_by("town").agg(n=pl.len(), s=pay.sum()).plan).released
    for town, n, s in cells.iter_rows():
        alone = W.ask(T.filter(pl.col("town") == town).select(n=pl.len(), s=pay.sum()).plan).released
        inside = W.ask(T.select(s=pay.filter(pl.col("town") == town).sum(), c=pl.lit(0)).plan).released
        assert alone.row(0) == (n, s)
        assert inside["s"].item() == s


def test_the_remainder_row_is_rounded_too() -> None:
    frame = BASE.with_columns(town=polars.when(polars.col("id") < 7).then(polars.lit("z")).otherwise("town"))
    shown = world(frame).ask(T.group_by("town").agg(n=pl.len(), s=debt.sum()).plan).released
    assert "(other)" in shown["town"].to_list()
    assert all(v % 5 == 0 for v in [*shown["n"], *shown["s"]])


def test_a_default_policy_may_ask_for_rounding_alone() -> None:
    rounding = Policy(AtLeastNOf(2, (Aggregation(10), Rounding(10, 2))), Review(), unit="id")
    shown = (
        world(policy=rounding)
        .ask(T.filter(pay > 30).select(n=pl.len(), s=pay.sum(), h=(pay > 60).mean()).plan)
        .released
    )
    n, s, h = shown.row(0)
    kept = BASE.filter(polars.col("pay") > 30)["pay"]
    rounded = math.floor((kept.len() + 5) / 10) * 10
    assert n == rounded
    assert s == pytest.approx(sig(kept.sum(), 2))
    assert h == pytest.approx(math.floor(((kept > 60).sum() + 5) / 10) * 10 / rounded)


# -- one verdict

ASKED = {
    "sum": pay.sum(), "mean": pay.mean(), "var": pay.var(), "std": pay.std(), "median": pay.median(), "max": pay.max(),
    "affine": (2 * pay + 1).mean(), "cov": pl.cov("pay", "age"), "corr": pl.corr("pay", "debt"),
}  # fmt: skip


def spoiled(**values: Any) -> polars.DataFrame:
    """The base table with other values of `pay` in town a."""
    there = polars.col("town") == "a"
    return BASE.with_columns(polars.when(there).then(v).otherwise(polars.col(c)).alias(c) for c, v in values.items())


SPOILED = {
    "one dominates the sum": spoiled(pay=polars.when(polars.col("id") == polars.col("id").filter(polars.col("town") == "a").first()).then(100.0).otherwise(0.0)),
    "two dominate the spread": spoiled(pay=polars.when(polars.col("id") < 6).then(100.0).otherwise(50.0 + polars.col("id") / 1e4)),
    "all are alike": spoiled(pay=polars.lit(42.0)),
    "all but two are alike": spoiled(pay=polars.when(polars.col("id") < 4).then(polars.col("pay")).otherwise(42.0)),
    "few have a value": spoiled(pay=polars.when(polars.col("id") < 12).then(polars.col("pay"))),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILED)
def test_what_fails_a_rule_shows_no_statistic_of_its_column(name: str) -> None:
    there = world(SPOILED[name])
    for asked, expr in ASKED.items():
        shown = there.ask(T.group_by("town").agg(x=expr).plan).released
        assert shown.filter(polars.col("town") == "a")["x"].to_list() == [None], asked
    shown = there.ask(T.group_by("town").agg(n=pl.len(), d=debt.mean()).plan).released
    assert shown["d"].null_count() == 0


@pytest.mark.parametrize("name", SPOILED)
def test_alone_and_together_are_one_verdict(name: str) -> None:
    there = world(SPOILED[name])
    together = there.ask(T.group_by("town").agg(**ASKED).plan).released.sort("town")
    for asked, expr in ASKED.items():
        alone = there.ask(T.group_by("town").agg(x=expr).plan).released.sort("town")
        assert alone["x"].is_null().to_list() == together[asked].is_null().to_list(), asked


def test_a_condition_is_judged_on_both_its_sides() -> None:
    """The other side of an inner filter is the cell less it: where it fails, neither is shown."""
    frame = BASE.with_columns(
        pay=polars.when(polars.col("age") > 50).then(polars.lit(42.0)).otherwise(polars.col("pay"))
    )
    there = world(frame)
    shown = there.ask(T.select(a=pay.filter(age > 50).sum(), b=pay.filter(age <= 50).sum(), c=pay.sum()).plan).released
    assert shown["a"].item() is None and shown["b"].item() is None
    assert shown["c"].item() is not None
    alone = there.ask(T.select(b=pay.filter(age <= 50).sum()).plan).released
    assert alone["b"].item() is None


def test_a_shift_does_not_talk_dominance_down() -> None:
    """`x + B` against dominance: contributions are deviations from the bound, whatever is added to the column."""
    there = world(SPOILED["one dominates the sum"])
    shown = there.ask(T.group_by("town").agg(x=(pay + 1e6).sum(), y=(pay + 50).mean()).plan).released
    assert shown.filter(polars.col("town") == "a").row(0)[1:] == (None, None)


# -- one code


def test_one_code_says_that_something_is_withheld() -> None:
    notes = set()
    for frame in SPOILED.values():
        answer = world(frame).ask(T.group_by("town").agg(x=pay.sum()).plan)
        assert answer.verdict.outcome is Outcome.RELEASE
        notes.add(answer.verdict.note)
        assert {f.rule for f in answer.verdict.findings if not f.private} == {"suppressed"}
        assert any(f.private for f in answer.verdict.findings)
        assert (answer.verdict.safe_cells, answer.verdict.total_cells, answer.verdict.note.suppressed) == (0, 0, None)
    assert len(notes) == 1


@pytest.mark.parametrize(("action", "outcome"), [(Review(), Outcome.REVIEW), (Reject(), Outcome.REFUSE)])
def test_other_actions_say_no_more(action: Any, outcome: Outcome) -> None:
    for frame in SPOILED.values():
        verdict = world(frame, strict(action)).ask(T.group_by("town").agg(x=pay.sum()).plan).verdict
        assert verdict.outcome is outcome
        assert [f.rule for f in verdict.findings if not f.private] == ["suppressed"]
        assert (verdict.safe_cells, verdict.total_cells) == (0, 0)


def test_static_reasons_are_told_in_full() -> None:
    verdict = W.ask(T.filter(pay > 3).select(pl.len()).plan).verdict
    assert [f.rule for f in verdict.findings] == ["strict-role"]


def test_a_trusted_user_gets_everything_as_it_is() -> None:
    zone = AtLeastNOf(1, (UserId("bob"), Aggregation(10)))
    there = world(policy=Policy(zone, Suppress(), unit="id", profile="strict"))
    shown = there.ask(T.select(pay.sum()).plan, "bob").released
    assert shown.item() == pytest.approx(BASE["pay"].sum())


def test_more_rules_only_add() -> None:
    tight = strict().__class__(
        AtLeastNOf(2, (Aggregation(10), Dominance(n=1, share=0.01))), Suppress(), unit="id", profile="strict"
    )
    shown = world(policy=tight).ask(T.group_by("town").agg(x=pay.mean(), n=pl.len()).plan).released
    assert shown["x"].null_count() == shown.height


# -- several rows per person


def test_people_are_counted_where_they_have_several_rows() -> None:
    """Homogeneity counts people: two people with many rows each are two."""
    rows = polars.concat([BASE.filter(polars.col("id") >= 4)] + [BASE.filter(polars.col("id") < 2)] * 40)
    frame = rows.with_columns(pay=polars.when(polars.col("id") < 2).then(polars.col("pay")).otherwise(42.0))
    there = World(remembers=False).add("t", frame, strict(), ROLES, unit="id")
    shown = there.ask(T.select(x=pay.mean(), d=debt.mean()).plan).released
    assert shown["x"].item() is None


def test_who_is_far_below_the_top_dominates_too() -> None:
    """All but one have the most that is possible: the sum says what the one has."""
    frame = BASE.with_columns(pay=polars.when(polars.col("id") < 4).then(polars.col("id") * 3.0).otherwise(100.0))
    only = frame.with_columns(pay=polars.when(polars.col("id") == 3).then(2.0).otherwise(99.0 + polars.col("id") % 2))
    assert world(only).ask(T.select(x=pay.mean()).plan).released["x"].to_list() == [None]


def test_numbers_that_are_none_prove_nothing() -> None:
    for wrong in (math.inf, math.nan):
        frame = BASE.with_columns(pay=polars.when(polars.col("id") == 5).then(wrong).otherwise(polars.col("pay")))
        there = world(frame)
        for asked, expr in ASKED.items():
            if asked in ("median", "max"):
                continue
            assert there.ask(T.select(x=expr).plan).released["x"].to_list() == [None], asked


@given(
    st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=4), min_size=1, max_size=25),
    st.sampled_from([1, 2, 3]),
)
def test_proofs_by_spread_prove_what_they_say(units: list[list[int]], scale: int) -> None:
    """Against counting: rows that differ from every value, and dominance of squares."""
    rows = np.array([v * scale for unit in units for v in unit], float)
    counted, most = np.array([float(rows.size)]), max(map(len, units))
    squares = np.array([((rows - rows.mean()) ** 2).sum()])
    spread = _relative(squares, np.array([rows.sum()]), counted, 0.0, 12.0 * scale)
    differ = min(int((rows != v).sum()) for v in np.unique(rows))
    if np.isfinite(spread[0]):
        assert spread[0] / (1 + spread[0] / counted[0]) <= differ
        parts = sorted((((np.array(u) * scale - rows.mean()) ** 2).sum() for u in units), reverse=True)
        if spread[0] >= 2.1 * most and len(parts) > 2:
            assert squares[0] - parts[0] - parts[1] >= 0.1 * parts[0] - 1e-9
