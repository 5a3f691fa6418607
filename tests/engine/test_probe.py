"""Calls that fail by how they are written fail before any row is read, wherever they stand."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars
import pytest
from bastion_plan import nodes as n
from bastion_server.engine.lower import lower
from bastion_server.engine.probe import Fails, probe
from query import Q

import bastion.expressions as pl

TYPES = {
    "i": polars.Int64, "s": polars.String, "d": polars.Date, "l": polars.List(polars.Int64), "e": polars.Enum(["x"]),
    "c": polars.Categorical, "m": polars.Decimal(10, 2), "t": polars.Datetime("us", "UTC"), "n": polars.Null,
    "r": polars.Struct({"a": polars.Int64}), "a": polars.Array(polars.Float64, 2), "u": polars.Duration("ms"), "b": polars.Binary,
    "p": polars.UInt64, "o": polars.Boolean, "w": polars.Datetime("ns"),
}  # fmt: skip
T = Q("t")
s, i, d = pl.col("s"), pl.col("i"), pl.col("d")

WRONG: dict[str, Any] = {
    "a pattern": s.str.contains("("),
    "a pattern of another": s.str.extract("(", 1),
    "bounds beyond the type": i.clip(0, 1e300),
    "a month": pl.date(2020, 13, 1).is_null(),
    "a base": s.str.to_integer(base=40, strict=False),
    "a format": d.dt.strftime("%Q"),
    "a length of time": d.dt.truncate("1x"),
    "a power": (pl.lit(2) ** pl.lit(-1)) > 0,
    "a mapping": pl.lit(3).replace_strict({1: 1}),
    "an offset": pl.date(2020, 1, 1).dt.offset_by("1x"),
    "a cast": s.cast(pl.Date, strict=False),
    "a cast of a date": d.cast(pl.Boolean, strict=False),
    "within a call": s.str.contains("(").not_(),
    "a quotient of yes and no": pl.col("o") // 0.5,
    "a quotient of constants": pl.lit(True) // 0.5,
    "nothing less yes": pl.lit(None) - pl.col("o"),
    "no member": pl.col("e") >= "zz",
    "between no members": pl.col("e").is_between(pl.lit("x"), pl.lit("zz")),
    "a negative number for an unsigned one": pl.col("p").fill_null(-1),
    "the first of an unsigned and a negative one": pl.coalesce("p", -1),
    "the larger of an unsigned and a negative one": pl.max_horizontal("p", -1),
    "a choice of an unsigned and a negative one": pl.when(pl.col("o")).then(pl.col("p")).otherwise(-1),
    "a day beyond nanoseconds": pl.coalesce("w", "d"),
    "a choice of days": pl.when(pl.col("o")).then(pl.col("w")).otherwise(pl.col("d")),
}
RIGHT: dict[str, Any] = {
    "a pattern": s.str.contains("(a)"),
    "bounds": i.clip(0, 10),
    "a month": pl.date(2020, 12, 1) > d,
    "a list": pl.col("l").list.get(5, null_on_oob=True),
    "a category": pl.col("c").cat.len_chars(),
    "an enum": pl.col("e").cast(pl.String).str.len_chars(),
    "a decimal": pl.col("m").is_between(1, 2),
    "a zone": pl.col("t").dt.month(),
    "a field": pl.col("r").struct.field("a"),
    "an array": pl.col("a").arr.sum(),
    "a length of time": pl.col("u").dt.total_days(),
    "nothing": pl.col("n").is_null(),
    "a moved date": d + dt.timedelta(days=3),
    "a list of texts": s.is_in(["a", "b"]),
    "of an aggregate": s.first().str.len_chars(),
    "of a window": s.max().over("i").str.starts_with("a"),
    "a mean": i.mean().round(2),
    "a day in a time": d < pl.col("t").dt.date(),
    "a day beside a literal": pl.col("w") > dt.datetime(2020, 1, 1),
    "a missing number": i.fill_null(-1),
    "an unsigned one": pl.col("p").fill_null(0) + 1,
    "a quotient": i // 2 + i % 7,
    "a member": pl.col("e") >= "x",
    "a choice": pl.when(pl.col("o")).then(i).otherwise(-1.5),
    "yes and no": pl.col("o") & (i > 3) | pl.col("o").fill_null(False),
    "a text of several": pl.concat_str(["s", "i"], separator="-"),
    "the larger": pl.max_horizontal("i", 3),
    "a length": d - d.min(),
}
PLACES: dict[str, Any] = {
    "a branch": lambda e: T.with_columns(z=pl.when(i > 0).then(e)),
    "a filter": lambda e: T.filter(pl.when(i > 0).then(e).is_null()).select(pl.len()),
    "a group": lambda e: T.filter(i > 0).group_by("s").agg(e.is_null().sum()),
    "below a step": lambda e: T.with_columns(z=pl.when(i > 0).then(e)).filter(pl.col("i") > 3).select(pl.len()),
    "a side of a join": lambda e: T.join(T.with_columns(z=e).select("i", "z"), on="i", how="left"),
}


def table(rows: int) -> dict[str, polars.LazyFrame]:
    values = {"i": 1, "s": "a", "d": dt.date(2020, 1, 1)}
    return {"t": polars.DataFrame({c: [values.get(c)] * rows for c in TYPES}, schema=TYPES).lazy()}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", WRONG)
def test_what_is_written_wrongly_fails_without_rows(name: str, place: str) -> None:
    plan: n.Node = PLACES[place](WRONG[name]).plan
    with pytest.raises(Fails):
        probe(plan, table(0))
    with pytest.raises(Fails):
        probe(plan, table(2))


@pytest.mark.parametrize("how", ["vertical_relaxed", "diagonal_relaxed"])
def test_columns_that_are_not_always_stacked_fail_without_rows(how: str) -> None:
    stacked = [T.select(pl.col(c).alias("z")).plan for c in ("d", "u")]
    with pytest.raises(Fails):
        probe(n.Concat(tuple(stacked), how), table(0))
    with pytest.raises(Fails):
        probe(n.Unpivot(T.select("d", "u").plan), table(0))
    probe(n.Concat((stacked[0], stacked[0]), how), table(0))


def test_the_engine_alone_fails_where_somebody_is() -> None:
    plan = PLACES["a branch"](WRONG["a month"]).plan
    assert lower(plan, table(0)).collect().height == 0
    with pytest.raises(polars.exceptions.PolarsError):
        lower(plan, table(1)).collect()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", RIGHT)
def test_what_is_written_well_goes_on(name: str, place: str) -> None:
    probe(PLACES[place](RIGHT[name]).plan, table(0))


def test_a_function_that_may_fail_is_tried_on_no_value() -> None:
    """What an owner approves may fail at some values; that is not known without them."""
    probe(T.select(s.str.json_decode(pl.Int64), s.replace_strict({"b": 1})).plan, table(0))


@pytest.mark.parametrize("rows", [0, 1])
def test_a_conversion_that_some_values_do_not_allow_is_not_wrong(rows: int) -> None:
    """On an open table it fails at such a value, as in Polars; on others it gives null."""
    found = (
        s.str.to_date("%Y-%m-%d"),
        s.str.to_date(),
        s.str.to_integer(),
        pl.col("l").list.get(5),
        s.str.strptime(pl.Date, "%Y"),
    )
    probe(T.with_columns(**{f"z{at}": expr for at, expr in enumerate(found)}).plan, table(rows))
