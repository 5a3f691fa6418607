"""Rounded statistics: against arithmetic in fractions, and consistent wherever a population appears."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

import numpy as np
import polars
import pytest
from bastion_plan.dtypes import FLOAT64, INT64, DType
from bastion_plan.expressions import Alias, Call, Column, Literal
from bastion_plan.nodes import Scan, Select
from bastion_policy.boundary import Guard, Statistic, Term
from bastion_policy.lineage import Form, Value
from bastion_policy.rounding import Kept, round_whole, rounded, significant, whole
from bastion_policy.rules import Rounding
from bastion_server.engine.lower import lower
from hypothesis import given
from hypothesis import strategies as st

RULE = Rounding()


def run(expr: Any, **columns: Any) -> list[Any]:
    frame = polars.DataFrame(columns, strict=False)
    return lower(Select(Scan("t"), (Alias(expr, "x"),)), {"t": frame.lazy()}).collect()["x"].to_list()


@given(st.lists(st.integers(-(2**40), 2**40), min_size=1), st.integers(2, 12))
def test_whole_numbers_are_rounded_to_the_nearest_multiple(values: list[int], base: int) -> None:
    found = run(whole(Column("v"), base), v=values)
    for value, shown in zip(values, found, strict=True):
        assert shown % base == 0
        assert abs(shown - value) * 2 <= base
    assert round_whole(values, base).tolist() == found


def test_sums_of_wide_whole_numbers_do_not_wrap_around() -> None:
    series = polars.Series("v", [2**63 + 6], dtype=polars.UInt64)
    assert run(whole(Column("v"), 5, DType("UInt64")), v=series) == [2**63 + 7]


@given(st.lists(st.floats(-1e12, 1e12).filter(lambda v: v == 0 or abs(v) > 1e-9), min_size=1), st.integers(1, 6))
def test_other_numbers_keep_some_digits(values: list[float], digits: int) -> None:
    context = Context(prec=digits, rounding=ROUND_HALF_UP)
    for value, shown in zip(values, run(significant(Column("v"), Rounding(digits=digits)), v=values), strict=True):
        wanted = float(context.create_decimal(Decimal(value)))
        # a value that lies on an edge, as far as floating-point numbers tell, may go either way
        step = 10.0 ** (math.floor(math.log10(abs(value))) - digits + 1) if value else 0.0
        assert math.isclose(shown, wanted, rel_tol=1e-9) or abs(abs(shown - wanted) - step) <= 1e-6 * step


def test_what_is_no_ordinary_number_stays() -> None:
    shown = run(significant(Column("v"), RULE), v=[0.0, math.inf, math.nan, None])
    assert shown[0] == 0 and shown[1] == math.inf and math.isnan(shown[2]) and shown[3] is None


def statistic(function: str, argument: DType, dtype: DType, guard: Guard = Guard.SUM) -> Statistic:
    term = Term(Column("x"), Value(form=Form.COLUMN), argument)
    return Statistic(Call(function, (Column("x"),)), function, guard, dtype, (term,))


KEPT = Kept(Column("n"), Column("c"), Column("g"), Column("v"))
WHOLE = Kept(Column("n"), Column("c"), Column("g"), Column("v"), True)


def test_a_mean_is_the_rounded_sum_over_the_rounded_count() -> None:
    for argument, kept, totals in (
        (INT64, WHOLE, [153.0, 7.0]),
        (FLOAT64, WHOLE, [11.0, 3.0]),
        (FLOAT64, KEPT, [1234.5, 0.01239]),
    ):
        asked = {"g": totals, "n": [31, 22], "c": [28, 22], "s": [1.0, 1.0]}
        means = run(rounded(statistic("mean", argument, FLOAT64), Column("s"), kept, RULE), **asked)
        sums = run(rounded(statistic("sum", argument, FLOAT64), Column("g"), kept, RULE), **asked)
        assert means == pytest.approx([sums[0] / 30, sums[1] / 20])


def test_a_mean_of_nobody_who_is_left_by_rounding_is_null() -> None:
    assert run(rounded(statistic("mean", INT64, FLOAT64), Column("s"), KEPT, RULE), g=[5], c=[2], n=[2], s=[2.5]) == [
        None
    ]


def test_a_deviation_is_the_root_of_the_rounded_variance() -> None:
    one = run(rounded(statistic("std", FLOAT64, FLOAT64, Guard.SQUARES), Column("s"), KEPT, RULE), v=[2.34567], s=[1.5])
    assert one == pytest.approx([math.sqrt(2.35)])


def test_a_constant_is_shown_as_it_is() -> None:
    """One for each row of people is not told where numbers are rounded (see test_constants_and_when.py)."""
    constant = Statistic(Call("sum", (Literal(INT64, 13),)), "sum", Guard.SUM, INT64)
    assert run(rounded(constant, Column("s"), KEPT, RULE), s=[13], n=[8], c=[8]) == [13]


def test_intervals_and_tied_values_stay() -> None:
    for guard in (Guard.INTERVAL, Guard.TIED):
        s = statistic("median", FLOAT64, FLOAT64, guard)
        assert rounded(s, Column("s"), KEPT, RULE) == Column("s")


def test_times_are_rounded_in_ticks() -> None:
    lasting = polars.Series("s", [123_456_789], dtype=polars.Duration("us"))
    s = statistic("sum", DType("Duration", unit="us"), DType("Duration", unit="us"))
    assert run(rounded(s, Column("s"), KEPT, RULE), s=lasting)[0].total_seconds() == pytest.approx(123.0)


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=30))
def test_margins_differ_from_their_cells_by_rounding_alone(cells: list[int]) -> None:
    shown, margin = run(whole(Column("v"), 5), v=cells), run(whole(Column("v"), 5), v=[sum(cells)])[0]
    assert abs(sum(shown) - margin) <= 2 * (len(cells) + 1)
    assert np.all(round_whole(cells, 5) == shown)


@given(st.lists(st.booleans(), min_size=12, max_size=60).filter(lambda bits: 3 <= sum(bits) <= len(bits) - 3))
def test_the_variance_of_bits_says_no_more_than_their_rounded_number(bits: list[bool]) -> None:
    """All columns whose squares round alike have one variance."""
    values = np.array(bits, float)
    n, spread = len(bits), float(((values - values.mean()) ** 2).sum())
    asked = {"v": [values.var(ddof=1)], "s": [values.var(ddof=1)], "c": [n], "n": [n], "g": [values.sum()]}
    shown = run(rounded(statistic("var", INT64, FLOAT64, Guard.SQUARES), Column("s"), WHOLE, RULE), **asked)
    assert shown == pytest.approx([round_whole([round(spread)], 5)[0] / (round_whole([n], 5)[0] - 1)])
