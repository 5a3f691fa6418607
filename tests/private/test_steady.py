"""A row's values are the same bits wherever it stands: alone, among its likes, and whatever was joined to it."""

from __future__ import annotations

import itertools
import math
import random
import struct
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from bastion_plan import nodes as n
from bastion_plan.bind import bind
from bastion_plan.dtypes import DYN_FLOAT, DYN_INT, FLOAT64, INT64, DType
from bastion_plan.errors import BindError
from bastion_plan.expressions import Alias, Call, Column, Expr, Literal, Ternary
from bastion_plan.functions.registry import find
from bastion_policy.model import Policy
from bastion_policy.private.cells import LEVELS
from bastion_policy.private.functions import TOTAL
from bastion_policy.private.rows import Refused, RowTyping
from bastion_policy.private.statistics import DENOMINATOR
from bastion_policy.roles import measure
from bastion_server.engine.lower import lower
from bastion_server.private.mechanisms import quantile_scores
from bastion_server.private.release import _histograms
from noisy import Desk, Table
from query import Q

from bastion import pl as b

X, Y, I = b.col("x"), b.col("y"), b.col("i")  # noqa: E741
#: likes of a row, so many that the engine makes several pieces of them on many threads, and of one
MANY = 67


def desk(frame: pl.DataFrame, **tables: pl.DataFrame) -> Desk:
    found = {}
    for name, each in {"t": frame, **tables}.items():
        roles = {c: "identifier" if c == "pid" else "quasi" for c in each.columns}
        found[name] = Table(each, Policy.private(1.0, 1e-6, unit="pid", roles=roles), "pid", "people")
    return Desk(found)


def bits(value: Any) -> Any:
    return "nan" if isinstance(value, float) and math.isnan(value) else struct.pack("<d", value or 0.0) if isinstance(value, float) else value  # fmt: skip


def rows_of(world: Desk, plan: n.AnyNode) -> list[Any]:
    """The bits of the last column of a plan as it runs before noise."""
    bound = bind(plan, world.facts)
    rows = RowTyping(bound, world.facts, 2).rows(bound.root)
    found = lower(rows.plan, {k: t.frame.lazy() for k, t in world.tables.items()}).collect()[list(rows.columns)[-1]]
    return [bits(v) for v in (found.to_physical() if found.dtype.is_temporal() else found).to_list()]


def alike(expr: Any, **row: Any) -> list[Any]:
    """The different bits that an expression gives of equal rows, of which there are few or many."""
    plan = (
        Q("t").with_columns(z=expr).plan
        if not isinstance(expr, Expr)
        else n.WithColumns(Q("t").plan, (Alias(expr, "z"),))
    )
    return list(
        {
            v
            for many in (1, 2, 3, MANY)
            for v in rows_of(desk(pl.DataFrame({"pid": range(many), **{k: [v] * many for k, v in row.items()}})), plan)
        }
    )


QUOTIENTS = {
    "quotient": X / 0.1, "rounded down": X // 0.1, "rest": X % 0.1, "of whole numbers": I / 49, "typed": X / b.lit(0.1, dtype=b.Float64),
    "computed": X / (b.lit(1) / 10), "chosen": X / b.when(I > 0).then(0.1).otherwise(0.2), "filled": X // b.when(I < 0).then(0.2).otherwise(None).fill_null(0.1),
    "largest": X // b.max_horizontal(b.lit(0.1), b.lit(0.05)), "first": X % b.coalesce(b.when(I < 0).then(0.1), b.lit(0.1)),
    "half": X.cast(b.Float32) / 0.1, "one within another": (X / 0.1) // (Y / 0.1), "of a quotient": 1 / (X / 0.1 - 3), "times": X / 0.1 * Y / 49,
}  # fmt: skip


@pytest.mark.parametrize("name", QUOTIENTS)
def test_quotients_by_what_is_one_for_all_rows_are_the_same_alone_and_among_others(name):
    assert len(alike(QUOTIENTS[name], x=0.3, y=0.1, i=49)) == 1


def test_quotients_are_those_of_the_engine_for_columns():
    assert alike(X / 0.1, x=0.3) == [bits(0.3 / 0.1)]
    assert alike(I / 49, i=49) == [bits(1.0)]
    assert alike(X // 0.1, x=0.3) == [bits(0.3 // 0.1)]


def test_durations_are_divided_alike():
    span = Literal(DType("Duration", unit="us"), 49)
    assert alike(Call("truediv", (Column("n"), span)), n=timedelta(microseconds=49)) == [bits(1.0)]


def test_quotients_by_a_constant_column_and_by_one_that_a_row_was_joined_to():
    plan = Q("t").with_columns(c=b.lit(0.1)).with_columns(z=X // b.col("c")).plan
    found = {
        v for many in (1, 3, MANY) for v in rows_of(desk(pl.DataFrame({"pid": range(many), "x": [0.3] * many})), plan)
    }
    assert found == {bits(2.0)}
    table = n.Inline((n.InlineColumn("k", INT64, (1,)), n.InlineColumn("c", FLOAT64, (0.1,))))
    joined = n.Join(Q("t").plan, table, "left", (Column("k"),), (Column("k"),))
    for plan in (Q(joined).with_columns(z=X / b.col("c")).plan, Q(joined).with_columns(z=X % b.col("c")).plan):
        world = (pl.DataFrame({"pid": range(m), "x": [0.3] * m, "k": [1] * m}) for m in (1, 3, MANY))
        assert len({v for each in world for v in rows_of(desk(each), plan)}) == 1


def test_whoever_else_is_in_a_table_that_is_joined():
    """A table of one row is one value to the engine, however often it is met."""
    many = pl.DataFrame({"pid": [1] * MANY, "x": [0.3] * MANY})
    one = pl.DataFrame({"pid": [1], "c": [0.1]})
    others = pl.DataFrame({"pid": [1, 2, 3], "c": [0.1, 0.2, 0.3]})
    plan = Q("t").join(Q("v"), "pid").with_columns(z=X // b.col("c")).plan
    first, second = ({*rows_of(desk(many, v=v), plan)} for v in (one, others))
    assert first == second


def test_keys_of_both_sides_of_a_join_are_computed_alike():
    frame = pl.DataFrame({"pid": range(MANY), "x": [0.3] * MANY})
    for how in ("inner", "semi", "anti"):
        plan = Q("t").join(Q("v"), how=how, left_on=["pid", X // 0.1], right_on=["pid", X // 0.1]).select("pid").plan
        found = rows_of(desk(frame, v=frame), plan)
        assert len(found) == (0 if how == "anti" else MANY)


NOUGHTS = {
    "added": 1 / (X + 0.0), "taken from it": 1 / (0.0 - Y), "taken off": 1 / (X - b.lit(0.0) * -1), "across": 1 / b.sum_horizontal(X, b.lit(0.0)),
    "mean across": 1 / b.mean_horizontal(X, b.lit(0.0)), "as it is": 1 / X, "as text": X.cast(b.String), "text of a sum": (X + 0.0).cast(b.String),
    "rounded down": 1 // (X + 0.0), "clipped": 1 / X.clip(0, 1), "typed": 1 / (X + b.lit(0.0, dtype=b.Float64)),
}  # fmt: skip


@pytest.mark.parametrize("name", NOUGHTS)
def test_the_sign_of_nought_is_read_nowhere(name):
    found = alike(NOUGHTS[name], x=-0.0, y=0.0)
    assert found in ([bits(math.inf)], ["0.0"])


def test_the_smallest_and_largest_of_a_person_are_the_same_whoever_else_is_there():
    """Of 0.0 and -0.0, whichever comes first: 50 people and 49, each with both."""
    sums = []
    for people in (50, 49):
        frame = pl.DataFrame([(p, m) for p in range(people) for m in (0.0, -0.0)], schema=["pid", "x"], orient="row")
        world = desk(frame)
        per = Q("t").group_by("pid").agg(X.max().alias("z"), X.min().alias("y"))
        priced = world.priced(per.select(*((1 / b.col(c)).clip(-1, 1).sum().alias(c) for c in "zy")))
        (cells,), (exact,) = priced.draft.cells, world.measured(priced)
        sums.append([round(v * p.step) for v, p in zip(exact.sums.row(0), cells.parts, strict=True)])
    assert sums == [[50, 50], [49, 49]]


def test_a_median_moves_by_one_person_only():
    """Values of the grid itself, whose bin a rounding decides."""
    high, share = 150.0, 7 / 256

    def histogram(people: int) -> tuple[np.ndarray, Any]:
        frame = pl.DataFrame({"pid": range(people), "x": [high * share] * people})
        roles = {"pid": "identifier", "x": measure(0, high)}
        world = Desk.of(frame, Policy.private(1.0, 1e-6, unit="pid", roles=roles), "pid")
        priced = world.priced(Q("t").select(X.median()))
        (cells,), (exact,) = priced.draft.cells, world.measured(priced)
        return _histograms(cells, cells.quantiles[0][0], exact.bins[0], {(): 0})[0], cells

    found = [histogram(people) for people in range(1, MANY)]
    for (one, cells), (two, _) in itertools.pairwise(found):
        scores = [quantile_scores(v, cells.quantiles[0][0].numerator, DENOMINATOR) for v in (one, two)]
        assert int(np.max(np.abs(scores[0] - scores[1]))) <= cells.linf(0)


def test_sums_of_fractions_move_by_one_person_only():
    """Values in the middle of two steps of a sum: which of them it is must not depend on others."""
    for high in (49.0, 50_000.0, 98.1):
        rng, step = random.Random(7), high / LEVELS
        middles = [(rng.randrange(LEVELS) + 0.5) * step for _ in range(4_000)]
        values = [v for v in middles if round(v / step) != round(v * (1 / step))][:MANY]
        assert values
        policy = Policy.private(1.0, 1e-6, unit="pid", roles={"pid": "identifier", "x": measure(0, high)})

        def total(values: list[float], policy: Policy = policy) -> int:
            world = Desk.of(pl.DataFrame({"pid": range(len(values)), "x": values}), policy, "pid")
            return int(world.measured(world.priced(Q("t").select(X.sum())))[0].sums.item())

        assert total(values) == sum(total([v]) for v in values)


# -- every function that is taken, of odd values

ODD = [math.nan, math.inf, -math.inf, 1e308, 5e-324, -0.0, 0.0, 49.0, 0.3, 0.1, 1 / 3, -5.0, None]
FRAME = pl.DataFrame(
    {
        "pid": range(len(ODD)), "x": ODD, "y": [*ODD[5:], *ODD[:5]],
        "f": pl.Series([*ODD[3:], *ODD[:3]], dtype=pl.Float32), "i": [0, 1, -1, 3, 7, 49, -5, 2**63 - 1, -(2**63), 2**53 + 1, 2**53, 10, None],
        "n": pl.Series([0, 1, -1, 3, 7, 49, -5, 2**63 - 1, -(2**63), 2**53 + 1, 2**53, 10, None], dtype=pl.Duration("us")),
        "t": [i % 2 == 0 for i in range(len(ODD))],
    }
)  # fmt: skip
CONSTANTS: tuple[Expr, ...] = (
    Literal(DYN_FLOAT, 0.1), Literal(DYN_FLOAT, 0.0), Literal(DYN_FLOAT, -0.0), Literal(DYN_INT, 49), Literal(FLOAT64, 3.0),
    Ternary(Call("is_null", (Column("t"),)), Literal(FLOAT64, 7.0), Literal(FLOAT64, 0.1)),
)  # fmt: skip


def calls(name: str) -> list[Expr]:
    function = find(name)
    assert function is not None
    needed = max(1, sum(not a.optional for a in function.args))
    columns: list[Expr] = [Column(c) for c in FRAME.columns if c != "pid"]
    if needed == 1 and not function.args[0].variadic:
        return [Call(name, (c,)) for c in columns]
    if needed == 2 or function.args[0].variadic:
        return [Call(name, pair) for c in columns for d in (*columns, *CONSTANTS) for pair in ((c, d), (d, c))]
    return [Call(name, (c, *CONSTANTS[3 : 2 + needed])) for c in columns]


#: those whose bits depend on the engine's pieces where nothing is done about it
SUSPECTS = frozenset({"truediv", "floordiv", "mod", "add", "sub", "pl.sum_horizontal", "pl.mean_horizontal"})
#: functions of texts, categories, dates and lists: no odd number goes into them
OTHER_TYPES = frozenset(
    """
    cat.len_bytes cat.len_chars dt.century dt.date dt.day dt.hour dt.is_leap_year dt.iso_year dt.microsecond dt.millennium
    dt.millisecond dt.minute dt.month dt.nanosecond dt.ordinal_day dt.quarter dt.second dt.week dt.weekday dt.year is_in
    str.ends_with str.head str.len_bytes str.len_chars str.slice str.starts_with str.strip_chars str.strip_chars_end
    str.strip_chars_start str.strip_prefix str.strip_suffix str.tail str.to_lowercase str.to_uppercase
    """.split()
)
NAMES = [pytest.param(f, marks=() if f in SUSPECTS else pytest.mark.slow, id=f) for f in sorted(TOTAL - OTHER_TYPES)]


def taken_of(name: str) -> list[Expr]:
    """Return the calls of a function with odd numbers that are taken."""
    taken: list[Expr] = []
    for call in calls(name):
        try:
            bound = bind(n.WithColumns(Q("t").plan, (Alias(call, "z"),)), desk(FRAME).facts)
            RowTyping(bound, desk(FRAME).facts, 2).rows(bound.root)
        except (BindError, Refused):
            continue
        taken.append(call)
    return taken


def test_no_function_that_takes_numbers_is_left_out():
    assert {name for name in OTHER_TYPES if taken_of(name)} == set()


@pytest.mark.parametrize("name", NAMES)
def test_every_function_gives_a_row_the_same_alone_and_among_others(name):
    taken = taken_of(name)
    assert taken

    def each(frame: pl.DataFrame) -> pl.DataFrame:
        world = desk(frame)
        plan = n.WithColumns(Q("t").plan, tuple(Alias(c, f"z{i}") for i, c in enumerate(taken)))
        bound = bind(plan, world.facts)
        rows = RowTyping(bound, world.facts, 2).rows(bound.root)
        found = lower(rows.plan, {"t": frame.lazy()}).collect().select(f"z{i}" for i in range(len(taken)))
        return found.with_columns(pl.col(c).to_physical() for c, t in found.schema.items() if t.is_temporal())

    among = each(FRAME)
    for at in range(FRAME.height):
        mine = [bits(v) for v in among.row(at)]
        alone = [bits(v) for v in each(FRAME.slice(at, 1)).row(0)]
        likes = [bits(v) for v in each(pl.concat([FRAME.slice(at, 1)] * 5)).row(3)]
        for call, one, two, three in zip(taken, mine, alone, likes, strict=True):
            assert one == two == three, (call, FRAME.row(at))
