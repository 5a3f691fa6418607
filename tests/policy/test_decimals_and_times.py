"""Decimals and times at the ends of what their types hold: no statistic fails, or warns, by a value."""

from __future__ import annotations

import warnings
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import polars
import pytest
from bastion_policy.model import Aggregation, Policy, Role, Suppress, measure
from drive import World
from query import Q

import bastion.expressions as pl

N = 200
T, x = Q("t"), pl.col("x")
POLICY = Policy(Aggregation(10), Suppress(), unit="id")
STRICT = Policy.strict(unit="id")
ORDER = {"median": x.median(), "min": x.min(), "max": x.max(), "quantile": x.quantile(0.3)}
QUESTIONS = {
    **ORDER, "sum": x.sum(), "mean": x.mean(), "var": x.var(), "std": x.std(), "some": x.filter(pl.col("y") > 0.3).sum(),
    "some ordered": x.filter(pl.col("y") > 0.3).max(), "when": pl.when(pl.col("y") > 0.3).then(x).sum(),
    "filled": x.fill_null(0).sum(), "turned": (-x).sum(), "covariance": pl.cov(x.cast(pl.Float64), pl.col("y")), "condition": (x > 50).sum(),
    "as floats": x.cast(pl.Float64).sum(), "median of floats": x.cast(pl.Float64).median(),
}  # fmt: skip


def decimals(values: list[int | None], precision: int, scale: int) -> polars.Series:
    with localcontext() as context:
        context.prec = 60
        found = [None if v is None else Decimal(v).scaleb(-scale) for v in values]
        return polars.Series("x", found, dtype=polars.Decimal(precision, scale))


def world(
    x: polars.Series, *, policy: Policy = POLICY, remembers: bool = False, role: Role | str = "measure", rows: int = 1
) -> World:
    ids = np.arange(x.len()) // rows
    frame = polars.DataFrame({"id": ids, "g": ids % 2, "y": np.random.default_rng(4).uniform(0, 1, x.len()), "x": x})
    roles: Any = {"id": "identifier", "g": "quasi", "x": role, "y": "quasi" if policy is STRICT else "measure"}
    return World(remembers=remembers).add("t", frame, policy, roles, "id")


def told(w: World, plan: Q) -> Any:
    table = w.ask(plan.plan).table
    return None if table is None or not table.height else table[table.columns[-1]].to_list()


#: the ends in `make test`, and what lies between them in `make test-all`
DIGITS = [
    (38, 0), (38, 38), (12, 2), (27, 0),
    *(pytest.param(between, marks=pytest.mark.slow) for between in ((38, 2), (38, 20), (26, 4))),
]  # fmt: skip


@pytest.mark.parametrize("policy", [POLICY, STRICT], ids=["default", "strict"])
@pytest.mark.parametrize("digits", DIGITS)
def test_no_decimal_fails(digits: tuple[int, int], policy: Policy) -> None:
    top = 10 ** digits[0] - 1
    for values in ([top] * N, [-top, top] * (N // 2), [None, *range(N - 2), top], [*range(N - 1), -top]):
        w = world(decimals(values, *digits), policy=policy, remembers=True)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for expr in QUESTIONS.values():
                if policy is POLICY or "condition" not in str(expr):
                    w.ask(T.select(expr.alias("r")).plan)
                    w.ask(T.group_by("g").agg(expr.alias("r")).plan)


@pytest.mark.parametrize("policy", [POLICY, STRICT], ids=["default", "strict"])
def test_no_sum_of_a_person_s_decimals_fails(policy: Policy) -> None:
    each = {
        name: T.group_by("id").agg(q=expr).select(pl.col("q").mean())
        for name, expr in {"sum": x.sum(), "max": x.max(), "mean": x.mean(), "product": x.product(), "first": x.first()}.items()
    } | {
        name: T.with_columns(q=expr.over("id")).select(pl.col("q").median())
        for name, expr in {"diff": x.diff(), "cum_sum": x.cum_sum(), "shift": x.shift(), "all": x.sum()}.items()
    }  # fmt: skip
    top = 10**38 - 1
    for values in ([top, -top, top, top] * (N // 4), list(range(N))):
        w = world(decimals(values, 38, 0), policy=policy, rows=4)
        for name, plan in each.items():
            verdict = w.ask(plan.plan).verdict
            failing = any("fails at some values" in f.reason for f in verdict.findings)
            if name in ("product", "sum", "diff", "cum_sum", "all"):
                assert failing or values[0] == 0, name
            else:
                assert not failing, name


def test_small_decimals_of_many_digits_are_added_up_exactly() -> None:
    cents = [10_000 + 7 * i for i in range(N)]
    (found,) = told(world(decimals(cents, 38, 2)), T.select(x.sum()))
    assert found == Decimal(sum(cents)) / 100
    large = [10**35 + 10**30 * i for i in range(N)]
    (found,) = told(world(decimals(large, 38, 2)), T.select(x.sum()))
    assert float(found) == pytest.approx(sum(large) / 100, rel=1e-11)


@pytest.mark.parametrize("policy", [POLICY, STRICT], ids=["default", "strict"])
@pytest.mark.parametrize("bounds", [None, (0, 1000)])
def test_decimals_have_the_intervals_of_the_same_floats(bounds: tuple[float, float] | None, policy: Policy) -> None:
    values = decimals([int(v) for v in np.random.default_rng(5).uniform(0, 100_000, N)], 12, 2)
    role = measure(*bounds) if bounds else measure()
    stored, floats = (
        world(values, policy=policy, role=role),
        world(values.cast(polars.Float64), policy=policy, role=role),
    )
    for name, expr in ORDER.items():
        cast = {"median": x.cast(pl.Float64).median(), "min": x.cast(pl.Float64).min(), "max": x.cast(pl.Float64).max()}
        (known,) = told(floats, T.select(expr))
        assert known is not None, name
        assert float(told(stored, T.select(expr))[0]) == pytest.approx(known, abs=0.01)
        if name in cast:
            assert told(stored, T.select(cast[name]))[0] == pytest.approx(float(told(stored, T.select(expr))[0]))
    written = T.with_columns(z=x.cast(pl.Float64)).group_by("g").agg(pl.col("z").median())
    plain = T.group_by("g").agg(x.cast(pl.Float64).median())
    assert sorted(told(stored, written)) == sorted(told(stored, plain))


def test_the_largest_decimal_is_not_one_person_s() -> None:
    """Nine people beyond all others read like nobody: the interval of the largest holds ten."""
    few = decimals([*(100 + i % 50 for i in range(N - 9)), *([99_999] * 9)], 12, 2)
    none = decimals([100 + i % 50 for i in range(N)], 12, 2)
    for expr in (x.max(), x.cast(pl.Float64).max(), x.quantile(0.99), x.quantile(1.0)):
        shown = told(world(few), T.select(expr))
        assert float(shown[0]) < 10
        assert shown == told(world(none), T.select(expr))


@pytest.mark.parametrize("unit", ["ns", "us", "ms"])
def test_times_at_the_ends_of_what_64_bits_hold(unit: Any) -> None:
    ends = {"ns": 2**63, "us": 95_026_236 * 86_400_000_000, "ms": 95_026_236 * 86_400_000}[unit]
    for values in ([-ends] * N, [ends - 1] * N, [-ends, ends - 1] * (N // 2), [*range(N - 1), ends - 1]):
        times = polars.Series("x", values, dtype=polars.Int64).cast(polars.Datetime(unit))
        w = world(times, remembers=True)
        for name, expr in ORDER.items():
            if name == "quantile":
                continue  # not of times
            found = w.ask(T.select(expr).plan).table
            assert found is None or found.null_count().item() == 0, name
            w.ask(T.group_by("g").agg(expr.alias("r")).plan)
