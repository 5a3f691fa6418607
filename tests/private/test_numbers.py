"""Overflow and floating point: the attacks on record, and why they do not work here.

Mironov 2012, "On significance of the least significant bits for differential privacy"; Casacuberta, Shoemate, Vadhan,
Wagaman 2022, "Widespread underestimation of sensitivity in differentially private libraries and how to fix it".
"""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from bastion_plan import nodes as n
from bastion_plan.dtypes import FLOAT64, INT64, STRING, DType
from bastion_plan.errors import BindError, ServerError
from bastion_plan.expressions import Alias, Call, Cast, Column, Expr, Literal, Ternary
from bastion_plan.functions.registry import find
from bastion_policy.model import Policy
from bastion_policy.private.cells import LEVELS, MAX_ROWS, fixed_point
from bastion_policy.private.functions import CASTS, TOTAL
from bastion_policy.private.rows import Refused
from bastion_policy.roles import measure
from bastion_server.private.mechanisms import best, gaussian
from hypothesis import given
from hypothesis import strategies as st
from noisy import Desk
from query import Q

from bastion import pl as b

BOUNDS = st.tuples(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300)).filter(
    lambda p: p[0] < p[1] and math.isfinite(p[1] - p[0]) and p[1] - p[0] > 1e-290
)


@given(BOUNDS, st.booleans(), st.booleans(), st.booleans())
def test_no_sum_can_overflow_whatever_the_bounds(bounds, whole, centred, squared):
    centre = (bounds[0] + bounds[1]) / 2 if centred or squared else 0.0
    part = fixed_point(Column("x"), INT64 if whole else FLOAT64, bounds, centre, squared=squared)
    assert 0 < part.bound <= LEVELS
    assert (MAX_ROWS - 1) * part.bound < 2**63


def sum_of(values: list[float | None], low: float, high: float) -> tuple[int, float]:
    world = Desk.of(pl.DataFrame({"x": pl.Series(values, dtype=pl.Float64)}),
                    Policy.private(1.0, unit="row", roles={"x": measure(low, high)}))  # fmt: skip
    priced = world.priced(Q("t").select(b.col("x").sum()))
    (exact,) = world.measured(priced)
    return exact.sums.item(), priced.draft.cells[0].parts[0].step


def test_the_sum_does_not_depend_on_the_order_of_rows():
    """Their attack: floats are added up in another order where one row is missing, and all roundings change at once."""
    rng = np.random.default_rng(5)
    values = (rng.random(5_000) * 10.0 ** rng.integers(-12, 12, 5_000)).tolist()
    first, _ = sum_of(values, 0, 1e12)
    shuffled = {sum_of(rng.permutation(values).tolist(), 0, 1e12)[0] for _ in range(5)}
    assert shuffled == {first}
    plain = {sum(rng.permutation(values).tolist()) for _ in range(20)}
    assert len(plain) > 1, "added up as floats, the order shows"


def test_one_large_row_does_not_swallow_the_small_ones():
    """2**53 + 1 is 2**53 in floats: a neighbour's row would decide whether thousands of ones count."""
    small = [1.0] * 4_000
    large, step = sum_of([*small, 2.0**53], 0, 2.0**53)
    without, _ = sum_of(small, 0, 2.0**53)
    assert large - without == pytest.approx(2.0**53 / step, abs=1), "exactly one row's part, clipped and rounded"


def test_extremes_of_every_type_stay_within_their_part():
    for dtype in (pl.Int8, pl.Int64, pl.UInt64, pl.Float32, pl.Float64):
        series = pl.Series([0], dtype=dtype).extend(
            pl.select(low=dtype.min(), high=dtype.max()).unpivot()["value"].cast(dtype)
            if dtype.is_integer()
            else pl.Series([math.inf, -math.inf, math.nan, 1e38, -1e38], dtype=dtype)
        )
        world = Desk.of(series.to_frame("x"), Policy.private(1.0, unit="row", roles={"x": measure(-7, 9)}))
        priced = world.priced(Q("t").select(b.col("x").sum(), b.col("x").var().alias("v")))
        (exact,) = world.measured(priced)
        for part, total in zip(priced.draft.cells[0].parts, exact.sums.row(0), strict=True):
            assert abs(total) <= part.bound * series.len()


def test_noise_is_of_whole_numbers_so_its_last_bits_tell_nothing():
    """Textbook noise on floats leaves holes: some sums could never have given a certain answer, which rules them out."""
    found = gaussian(np.full(40_000, 10), 3.0, 1.0, 1.0)
    assert found.dtype == np.int64
    assert set(range(3, 18)) <= set(found.tolist()), "every whole number near is reached"


def test_noise_at_the_edge_of_64_bits_is_cut_off_not_wrapped():
    found = gaussian(np.array([2**63 - 1, -(2**63)] * 200), 1e6, 1.0, 1.0)
    assert (found[::2] > 0).all()
    assert (found[1::2] < 0).all()


def test_nothing_is_drawn_that_costs_more_than_was_paid():
    with pytest.raises(ServerError) as caught:
        gaussian(np.array([1]), 1.0, 2.0, 1.9)  # 2^2 / 2 = 2
    assert caught.value.code == "server.private.cost"
    gaussian(np.array([1]), 1.0, 2.0, 2.0)
    with pytest.raises(ServerError):
        best([np.array([1, 2])], 1.0, 2, 1.9)
    best([np.array([1, 2])], 1.0, 2, 2.0)


EXTREMES = pl.DataFrame(
    {
        "i": [-(2**63), 2**63 - 1, 0, -1, None], "u": pl.Series([0, 2**64 - 1, 1, 2, None], dtype=pl.UInt64), "f": [math.nan, math.inf, -math.inf, 1e308, None],
        "s": ["", "\0", "🙂" * 50, "x" * 10_000, None], "t": [True, False, None, True, False],
        "d": pl.Series([-(2**31), 2**31 - 1, 0, 1, None], dtype=pl.Int32).cast(pl.Date),
        "w": pl.Series([-(2**63), 2**63 - 1, 0, 1, None], dtype=pl.Int64).cast(pl.Datetime("us")),
        "n": pl.Series([-(2**63), 2**63 - 1, 0, 1, None], dtype=pl.Int64).cast(pl.Duration("ns")),
        "h": pl.Series([0, 86_399_999_999_999, 1, 2, None], dtype=pl.Int64).cast(pl.Time),
        "c": pl.Series(["a", "b", None, "c", "a"], dtype=pl.Categorical),
        "e": pl.Series(["a", "b", None, "b", "a"], dtype=pl.Enum(["a", "b"])),
    }
)  # fmt: skip


def asked(world: Desk, expr: Expr) -> bool:
    """Whether the expression is taken; then it has run over all extremes."""
    counted = n.Select(n.WithColumns(Q("t").plan, (Alias(expr, "y"),)), (Alias(Call("count", (Column("y"),)), "y"),))
    try:
        priced = world.priced(Q(counted))
    except (BindError, Refused):
        return False
    world.measured(priced)
    return True


def extremes() -> Desk:
    return Desk.of(EXTREMES, Policy.private(1.0, unit="row", roles=dict.fromkeys(EXTREMES.columns, "quasi")))


@pytest.mark.parametrize("name", sorted(TOTAL))
def test_functions_before_noise_never_fail(name):
    """Each one, of every column it takes, with the most extreme values: whether a query fails must tell nothing."""
    function = find(name)
    needed = sum(not a.optional for a in function.args)
    world, columns = extremes(), [Column(c) for c in EXTREMES.columns]
    tried = 0
    for first in columns:
        for second in columns if needed > 1 else [None]:
            more = [first] if needed > 2 else []
            tried += asked(world, Call(name, tuple(a for a in (first, second, *more) if a is not None)))
        if needed > 1:
            for literal in (
                Literal(INT64, 0),
                Literal(INT64, -(2**63)),
                Literal(FLOAT64, math.nan),
                Literal(STRING, "b"),
            ):
                tried += asked(world, Call(name, (first, *[literal] * (needed - 1))))
    if name == "is_in":
        tried += asked(world, Call(name, (Column("i"), Literal(DType("List", inner=INT64), (1, 2)))))
    assert tried, "nothing was tried"


@pytest.mark.parametrize("kind", sorted(CASTS))
def test_casts_before_noise_never_fail(kind):
    dtype = DType(kind, unit="ns") if kind in ("Datetime", "Duration") else DType(kind)
    world = extremes()
    assert sum(asked(world, Cast(Column(c), dtype)) for c in EXTREMES.columns)


def test_types_that_the_engine_cannot_always_bring_together_do_not_meet():
    world = extremes()
    for first, second in (("d", "w"), ("s", "e"), ("s", "c"), ("w", "n")):
        assert not asked(world, Call("eq", (Column(first), Column(second))))
        assert not asked(world, Ternary(Column("t"), Column(first), Column(second)))
    assert asked(world, Call("eq", (Column("c"), Literal(STRING, "a"))))


def test_what_may_fail_or_grow_is_not_taken():
    for name in (
        "str.to_integer",
        "list.get",
        "repeat_by",
        "str.pad_start",
        "pow",
        "replace_strict",
        "dt.truncate",
        "hash",
    ):
        assert find(name) is not None
        assert name not in TOTAL
