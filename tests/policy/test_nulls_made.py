"""What is null where its column is not is in neither side of a condition: the true would be told exactly."""

from __future__ import annotations

from typing import Any

import polars
import pytest
from bastion_plan.dtypes import DType
from bastion_policy.flow_nulls import keeps_values
from bastion_policy.model import Aggregation, Policy, Review
from bastion_policy.verdict import Outcome
from bastion_server.engine.dtypes import to_polars
from drive import World
from query import Q

import bastion.expressions as pl

N = 60
T = Q("t")
x, n, day = pl.col("x"), pl.col("n"), pl.col("day")
NONE, NO_NUMBER = pl.lit(None, dtype=pl.Boolean), pl.lit(None, dtype=pl.Float64)
#: five of sixty are above
BELOW = x < 55


def world() -> World:
    days = polars.Series([19_000] * 55 + [110_000] * 5, dtype=polars.Int32).cast(polars.Date)
    frame = polars.DataFrame(
        {"id": range(N), "x": [float(i) for i in range(N)], "n": [*range(55), *[300] * 5], "day": days}
    )
    roles = {"id": "identifier", "x": "measure", "n": "quasi", "day": "quasi"}
    return World().add("t", frame, Policy(Aggregation(10), Review()), roles, "id")


#: null for five people, true for all others
MADE: dict[str, Any] = {
    "or nothing": BELOW | NONE,
    "not and nothing": ~(~BELOW & NONE),
    "or a comparison with nothing": BELOW | (NO_NUMBER > 3),
    "or the person compared with nothing": BELOW | (x > NO_NUMBER),
    "or what a conversion makes nothing": BELOW | (pl.lit("x").cast(pl.Int8, strict=False) > 3),
    "any": pl.any_horizontal(BELOW, NONE),
    "not all": ~pl.all_horizontal(~BELOW, NONE),
    "not between": ~x.is_between(55, NO_NUMBER),
    "else a cast of nothing": pl.when(BELOW).then(True).otherwise(pl.lit(None).cast(pl.Boolean)),
    "else a second choice": pl.when(BELOW).then(True).otherwise(pl.when(x > 900).then(True)),
    "a number that does not fit": (n.clip(0, 1000) + 0).cast(pl.Int8) > -200,
    "a rounded one": ((x + 72.6).round(0).cast(pl.Int8) > -200),
    "a day before a date that nanoseconds do not have": day.dt.truncate("1d").cast(pl.Datetime("ns")).dt.year() > 0,
    "a cast of a sum": (x + x + 18).cast(pl.Int8) > -200,
}  # fmt: skip


@pytest.mark.parametrize("name", MADE)
def test_who_is_neither_true_nor_false_is_not_left_out(name: str) -> None:
    for plan in (T.select(MADE[name].sum()), T.with_columns(z=MADE[name]).select(pl.col("z").sum())):
        table = world().ask(plan.plan).table
        assert table is None or table.item() != N - 5


@pytest.mark.parametrize(
    "steps",
    [
        T.with_columns(z=NO_NUMBER).select((BELOW | (pl.col("z") > 3)).sum()),
        T.with_columns(z=x > NO_NUMBER).select((BELOW | pl.col("z")).sum()),
        T.with_columns(z=x.filter(x > 1e6).mean()).select((BELOW | (pl.col("z") > 3)).sum()),
        T.with_columns(z=x.filter(x > 1e6).mean()).with_columns(z=x > pl.col("z")).select((BELOW | pl.col("z")).sum()),
    ],
)
def test_nothing_of_an_earlier_step_is_known(steps: Q) -> None:
    assert world().ask(steps.plan).table is None


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (BELOW.sum(), 60),
        ((BELOW & (x > 20)).sum(), 34),
        (x.is_between(20, 40).sum(), 21),
        ((x > 20).cast(pl.Int8).sum(), 39),
        (pl.when(x > 20).then(1).otherwise(0).sum(), 39),
        ((day.dt.truncate("1y").cast(pl.Datetime("us")).dt.year() > 0).sum(), 60),
        ((n.is_in([1, 2, 3]) | (n > 20)).sum(), 42),
    ],
)
def test_conditions_are_counted(asked: Any, found: int) -> None:
    judged = world().ask(T.select(asked).plan)
    assert judged.verdict.outcome is Outcome.RELEASE, judged.verdict.findings
    assert judged.released.item() == found


def test_comparisons_with_released_numbers_are_counted() -> None:
    m = T.with_columns(m=x.mean(), s=x.std())
    near = x.is_between(pl.col("m") - pl.col("s"), pl.col("m") + pl.col("s"))
    for plan in (m.select((x > pl.col("m")).sum()), m.select(near.sum())):
        assert world().ask(plan.plan).table is not None


KINDS = [
    DType("Boolean"), *(DType(f"{u}Int{b}") for u in ("", "U") for b in (8, 16, 32, 64)), DType("Float32"), DType("Float64"),
    DType("String"), DType("Date"), *(DType("Datetime", unit=u) for u in ("ms", "us", "ns")), DType("Time"),
    *(DType("Duration", unit=u) for u in ("ms", "us", "ns")),
]  # fmt: skip


def ends(dtype: DType) -> polars.Series:
    """Return the least and the greatest values of a type, of dates those of the calendar."""
    kind = dtype.kind
    if "Int" in kind:
        bits, signed = int(kind.partition("Int")[2]), not kind.startswith("U")
        values: list[Any] = [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if signed else [0, 2**bits - 1]
    elif kind in ("Date", "Datetime"):
        day = {"ms": 86_400_000, "us": 86_400_000_000, None: 1}.get(dtype.unit, 0)
        values = [-719_162 * day, 2_932_896 * day] if day else [-(2**63) + 1, 2**63 - 1]
        return polars.Series(values, dtype=polars.Int64).cast(to_polars(dtype))
    elif kind in ("Time", "Duration"):
        values = [0, 86_399_999_999_999] if kind == "Time" else [-(2**63) + 1, 2**63 - 1]
        return polars.Series(values, dtype=polars.Int64).cast(to_polars(dtype))
    else:
        values = {"Boolean": [False, True], "String": ["", "é"]}.get(kind, [float("nan"), float("inf")])
    return polars.Series(values, dtype=to_polars(dtype))


@pytest.mark.parametrize("source", KINDS, ids=str)
def test_casts_that_are_said_to_keep_values_do(source: DType) -> None:
    kept = [target for target in KINDS if keeps_values(source, target)]
    assert source in kept
    for target in kept:
        assert ends(source).cast(to_polars(target), strict=False).null_count() == 0, target
