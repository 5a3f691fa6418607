"""A constant that stands in a column fails where somebody is left, so what may fail is not given one."""

from __future__ import annotations

import datetime as dt
import itertools
from decimal import Decimal
from typing import Any

import polars
import pytest
from bastion_plan.errors import BastionError
from bastion_plan.expressions import Call, Column
from bastion_plan.functions.registry import find
from bastion_plan.typing import expr_dtype
from bastion_policy.flow_functions import TAKES_COLUMNS, TOTAL
from bastion_policy.flow_total import converts
from bastion_policy.model import Policy, measure
from bastion_policy.verdict import Outcome
from bastion_server.engine.dtypes import from_polars
from bastion_server.engine.expressions import lower_expr
from drive import World
from query import Q, inline

import bastion.expressions as pl

N, AGE = 400, 91
T = Q("t")
LEFT = T.filter((pl.col("age") == AGE) & (pl.col("pay") > 50))
LABELS = inline({"age": [AGE, 92], "w": [1e300, 1.0], "m": [13, 13]})
ROLES = {"id": "identifier", "age": "quasi", "q": "quasi", "pay": measure(0, 100)}


def world(pay: int) -> World:
    rows = {
        "id": range(N), "age": [20 + i % 40 for i in range(N - 1)] + [AGE], "q": [i % 7 for i in range(N)],
        "pay": [i % 50 for i in range(N - 1)] + [pay],
    }  # fmt: skip
    return World(remembers=True).add("t", polars.DataFrame(rows), Policy.default(), ROLES, "id")


def constant(value: Any, use: Any) -> Q:
    return LEFT.with_columns(m=pl.lit(value)).filter(use(pl.col("m"))).select(pl.len())


QUESTIONS: dict[str, Q] = {
    "bounds by a condition": T.filter(
        pl.col("q").clip(pl.when((pl.col("age") == AGE) & (pl.col("pay") > 50)).then(1e300).otherwise(0.0)) >= 0
    ).select(pl.len()),
    "bounds of a label": LEFT.join(LABELS, on="age", how="left")
    .filter(pl.col("q").clip(pl.col("w")) >= 0)
    .select(pl.len()),
    "bounds in a column": LEFT.with_columns(w=pl.lit(1e300))
    .filter(pl.col("q").clip(pl.col("w")) >= 0)
    .select(pl.len()),
    "a constant that is clipped": LEFT.filter(pl.lit(3).clip(pl.col("q") * 1e300) >= 0).select(pl.len()),
    "a month": constant(13, lambda m: pl.date(2020, m, 1).is_not_null()),
    "a month of a label": LEFT.join(LABELS, on="age", how="left")
    .filter(pl.date(2020, pl.col("m"), 1).is_not_null())
    .select(pl.len()),
    "a power": constant(-1, lambda m: (pl.lit(2) ** m) > 0),
    "a pattern": constant("(", lambda m: pl.lit("a").str.contains(m)),
    "a mapping": constant(3, lambda m: m.replace_strict({1: 1}) == 1),
    "a document": constant("{", lambda m: m.str.json_decode(pl.Int64).is_null()),
    "digits": constant("zz", lambda m: m.str.decode("hex").is_null()),
    "an offset": constant("1x", lambda m: pl.date(2020, 1, 1).dt.offset_by(m).is_null()),
    "copies": constant(-1, lambda m: pl.lit("a").repeat_by(m).list.len() > 0),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_one_person_does_not_decide_whether_it_fails(name: str) -> None:
    outcomes = [world(pay).ask(QUESTIONS[name].plan).verdict for pay in (80, 20)]
    assert outcomes[0].outcome == outcomes[1].outcome != Outcome.RELEASE
    assert [f.rule for f in outcomes[0].findings] == [f.rule for f in outcomes[1].findings]


def test_what_is_written_down_is_taken() -> None:
    for q in (
        T.filter(pl.col("q").clip(0, 5) > 2).select(pl.len()),
        T.with_columns(z=pl.col("pay").fill_null(pl.col("pay").mean())).select(pl.col("z").sum()),
        T.filter(pl.date(2020, 1, 1).dt.offset_by("1y") > pl.date(2020, 1, 2)).select(pl.len()),
    ):
        assert world(20).ask(q.plan).verdict.outcome is Outcome.RELEASE


#: values that types end at
ENDS: dict[Any, list[Any]] = {
    polars.Int8: [-128, 127], polars.UInt8: [0, 255], polars.Int64: [-(2**63), 2**63 - 1], polars.UInt64: [0, 2**64 - 1],
    polars.Int128: [-(2**127), 2**127 - 1], polars.Float32: [float("nan"), 3e38], polars.Float64: [float("inf"), -1e308],
    polars.Boolean: [True, False], polars.String: ["", "(\u00e9"], polars.Date: [dt.date(1, 1, 1), dt.date(9999, 12, 31)],
    polars.Datetime("ns"): [dt.datetime(1700, 1, 1), dt.datetime(2262, 1, 1)], polars.Categorical: ["a", "b"],
    polars.Datetime("us", "Europe/Paris"): [dt.datetime(2020, 3, 29, 2, 30), dt.datetime(9000, 1, 1)],
    polars.Duration("us"): [dt.timedelta(days=-(10**6)), dt.timedelta(days=10**6)], polars.Time: [dt.time(), dt.time(23, 59, 59)],
    polars.Null: [None, None], polars.Binary: [b"", b"x"], polars.List(polars.Int64): [[], [2**63 - 1]],
    polars.Decimal(38, 0): [Decimal(10) ** 37, -(Decimal(10) ** 37)],
}  # fmt: skip
#: who of these may be taken decimals and dates is for other rules (tests/policy/test_failing_values.py)
ELSEWHERE = (polars.Decimal, polars.Date, polars.Datetime, polars.Time, polars.Duration)


def column(name: str, dtype: Any, swap: bool) -> polars.Series:
    values = ENDS[dtype][::-1] if swap else ENDS[dtype]
    made = polars.Series(name, list(values), strict=False)
    return (
        made.dt.replace_time_zone("Europe/Paris", ambiguous="null", non_existent="null")
        if "Paris" in str(dtype)
        else made.cast(dtype)
    )


@pytest.mark.parametrize("function", sorted(TAKES_COLUMNS))
def test_columns_of_any_types_do_not_fail_where_rows_are(function: str) -> None:
    """What fails of two columns fails without rows: of whatever they hold there is a value."""
    spec = find(function)
    assert spec is not None
    assert function in TOTAL
    odd = []
    for one, two in itertools.product(ENDS, ENDS):
        if isinstance(one, ELSEWHERE) or isinstance(two, ELSEWHERE) or one in ELSEWHERE or two in ELSEWHERE:
            continue
        frame = polars.DataFrame([column("a", one, False), column("b", two, False), column("c", two, True)])
        schema = {name: from_polars(dtype) for name, dtype in frame.schema.items()}
        for args in (("a", "b"), ("b", "a"), ("a", "b", "c")):
            options = (("f_string", "{}" * len(args)),) if function == "pl.format" else ()
            try:
                call = Call(function, tuple(map(Column, args)), options)
                expr_dtype(call, schema)
                frame.clear().select(lower_expr(call).alias("z"))
            except (BastionError, polars.exceptions.PolarsError):  # it does not bind, or fails whatever the rows are
                continue
            try:
                frame.select(lower_expr(call).alias("z"))
            except polars.exceptions.PolarsError as error:
                odd.append((one, two, args, str(error)[:80]))
    assert not odd


TARGETS = [*ENDS, polars.Enum(["a", "b"]), polars.Int16, polars.UInt32, polars.Datetime("ms"), polars.Duration("ns")]


@pytest.mark.parametrize("source", ENDS, ids=str)
def test_casts_that_are_taken_do_not_fail_where_rows_are(source: Any) -> None:
    """Whatever the values are: a cast that the engine does not know fails of any, and of none says nothing."""
    frame = polars.DataFrame([column("a", source, False)])
    taken = [t for t in TARGETS if converts(from_polars(frame.schema["a"]), from_polars(t))]
    assert taken
    for target in taken:
        if isinstance(target, polars.Decimal) or "Europe" in str(target):
            continue  # not given private columns at all
        frame.select(polars.col("a").cast(target, strict=False))


@pytest.mark.parametrize("target", [pl.Date, pl.Boolean, pl.Time, pl.Duration])
def test_a_cast_that_fails_of_any_value_is_not_run(target: Any) -> None:
    plan = T.with_columns(town=pl.lit("a")).filter(
        pl.when((pl.col("age") == AGE) & (pl.col("pay") > 50)).then(pl.col("town").cast(target, strict=False)).is_null()
    )
    assert world(80).ask(plan.select(pl.len()).plan).verdict.outcome is not Outcome.RELEASE
