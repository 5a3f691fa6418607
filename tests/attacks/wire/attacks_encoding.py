"""Attacks that pack a value into a number that may leave: weights, digits, rounding, overflow, nulls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars
from attack_list import BIT, attack
from query import Q, inline
from wire_arena import Attacker, minus, values
from wire_worlds import AGE, HIGH, LOW, TARGET, TOWN, N, people

import bastion.expressions as pl

salary, age, debt, gain = (pl.col(c) for c in ("salary", "age", "debt", "gain"))
target = age == AGE
#: what the design does not promise
OUTSIDE = "exact: who knows everybody else's values subtracts them (outside knowledge)"


@attack("encoding", "binnings of several columns")
def digits_far_above(a: Attacker) -> Any:
    """Multiplies one person's value into digits that nobody else uses."""
    x = pl.when(target).then(salary * 1_000_000).otherwise(salary * 0)
    found = a.value(a.T.select(x=x.sum()))
    return None if found is None else found / 1_000_000


@attack("encoding", "products", truth="hiv")
def powers_of_two_times_a_bit(a: Attacker) -> Any:
    """Weighs a Boolean by a power of two for each person of a group, and reads the digits."""
    ids = [1137, *range(1200, 1214)]
    weights = inline({"id": ids, "w": [2.0**i for i in range(len(ids))]})
    found = a.value(a.T.join(weights, on="id").select(x=(pl.col("hiv").cast(pl.Float64) * pl.col("w")).sum()))
    return None if found is None else bool(int(found) & 1)


@attack("encoding", "products", truth="hiv")
def powers_of_two_of_a_trait(a: Attacker) -> Any:
    """Weighs a Boolean by two to the power of the age."""
    found = a.value(a.T.select(x=(pl.col("hiv").cast(pl.Float64) * (2.0 ** (age - 40).cast(pl.Float64))).sum()))
    return None if found is None else found >= 2.0 ** (AGE - 40)


@attack("encoding", "binnings of several columns")
def weights_by_replacement(a: Attacker) -> Any:
    """Replaces ages by weights that are nought but for one."""
    weight = age.replace({AGE: 1, **dict.fromkeys(range(18, AGE), 0)})
    return a.value(a.T.select(x=(salary * weight).sum()))


@attack("encoding", "products")
def moments_with_a_known_column(a: Attacker) -> Any:
    """Sums products with a weight made of the age, which is nought but for the oldest."""
    return a.value(a.T.select(x=(salary * ((age - 20) // 77)).sum()))


@attack("encoding", "products")
def power_sums(a: Attacker) -> Any:
    """Sums high powers, of which the largest value makes up nearly all."""
    found = a.value(a.T.select(x=(salary**40).sum()))
    rest = float((a.others["salary"] ** 40).sum())
    return None if found is None else (found - rest) ** (1 / 40)


@attack("encoding", "products")
def covariance_with_a_mask(a: Attacker) -> Any:
    """Takes the covariance with a mask of one."""
    w = pl.when(target).then(1.0).otherwise(0.0)
    found, mean = (
        a.value(a.T.with_columns(w=w).select(x=pl.cov("w", "salary", ddof=0))),
        a.value(a.T.select(salary.mean())),
    )
    return None if found is None or mean is None else found * N + mean


@attack("encoding", "leverage", "open")
def covariance_with_a_share(a: Attacker) -> Any:
    """Takes the covariance with a stored column that is one for the target alone."""
    share = pl.col("share").cast(pl.Float64)
    found, mean = a.value(a.T.select(x=pl.cov(share, salary, ddof=0))), a.value(a.T.select(salary.mean()))
    return None if found is None or mean is None else found * N + mean


@attack("encoding", "leverage", "leverage", "rent", tolerance=0.03)
def covariance_with_known_points(a: Attacker) -> Any:
    """Knows everybody's points: the covariance of a town is nearly all one large rent's, times how far those points are off."""
    rows = a.T.filter(pl.col("town") == TOWN)
    found = a.value(rows.select(x=pl.cov("rent", "points")))
    points = people(0).filter(polars.col("town") == TOWN)["points"]
    far = people(0)["points"][TARGET] - points.mean()
    return None if found is None else found * (len(points) - 1) / far + 60


@attack("encoding", "leverage", "open", tolerance=1e-3)
def correlation_with_a_share(a: Attacker) -> Any:
    """Takes the correlation with a stored column that is one for the target alone."""
    share = pl.col("share").cast(pl.Float64)
    found = a.ask(a.T.select(x=pl.corr(share, salary), m=salary.mean(), s=salary.std(ddof=0)))
    corr, mean, std = (values(found, c)[0] if values(found, c) else None for c in ("x", "m", "s"))
    return None if corr is None or mean is None or std is None else corr * std * (N - 1) ** 0.5 + mean


@attack("encoding", "leverage", "open")
def variance_of_a_share(a: Attacker) -> Any:
    """Sums a stored column times a column, by the variance of their sum."""
    share = pl.col("share").cast(pl.Float64)
    both = a.value(a.T.select(x=(salary + share * 1000).var(ddof=0)))
    one = a.value(a.T.select(x=salary.var(ddof=0)))
    mean = a.value(a.T.select(salary.mean()))
    if both is None or one is None or mean is None:
        return None
    p = 1 / N
    return (both - one - 1e6 * p * (1 - p)) / 2000 * N + mean


@attack("encoding", "rounding", "k", tolerance=1e-2, reached={"default": OUTSIDE})
def affine_peeling_of_rounding(a: Attacker) -> Any:
    """Knows everybody else; subtracts their mean from each value, so that rounding leaves the digits that matter."""
    rest = float(a.others["salary"].sum())
    return a.value(a.T.select(x=(salary - rest / N).sum()))


@attack("encoding", "rounding", "k", tolerance=1e-2, reached={"default": OUTSIDE})
def dithered_rounding(a: Attacker) -> Any:
    """Knows everybody else; moves a sum by many constants and averages what rounding leaves."""
    rest, shifts = float(a.others["salary"].sum()), [i * 9.7 for i in range(12)]
    found = [minus(a.value(a.T.select(x=(salary + c).sum())), N * c, rest) for c in shifts]
    return None if None in found else float(np.mean(found))


@attack("encoding", "combinations of columns")
def digits_absorbed_by_a_sum(a: Attacker) -> Any:
    """Adds a difference that absorbs all values but the target's, for whom it is nought."""
    tiny = salary * 1e-9 * 1e-9 * 1e-3
    found = a.value(a.T.select(s=((tiny + (age - AGE)) - (age - AGE)).sum()))
    return None if found is None else found * 1e21


@attack("encoding", "combinations of columns")
def digits_absorbed_by_a_mean(a: Attacker) -> Any:
    """The same in a mean."""
    tiny = salary * 1e-9 * 1e-9 * 1e-3
    found = a.value(a.T.select(s=((tiny + (age - AGE)) - (age - AGE)).mean()))
    return None if found is None else found * 1e21 * N


@attack("encoding", "constants", truth=(True, False))
def constants_that_round(a: Attacker) -> Any:
    """Adds and takes away a constant so large that a value is rounded to nought or to a step."""
    step = 2.0 ** (53 + 16)  # values below 2**16 vanish
    found = a.value(a.T.select(x=((debt + step) - step).sum()))
    return None if found is None else found > 0


@attack("encoding", "constants", truth=BIT)
def values_that_underflow(a: Attacker) -> Any:
    """Scales the column so that only values beyond a threshold survive a narrow cast."""

    def make(edge: float) -> Q:
        tiny = salary * 1e-9 * 1e-9 * 1e-9 * 1e-9 * 1e-9
        return a.T.filter(age > 76).select(s=(tiny * (0.7e-45 / edge * 1e45)).cast(pl.Float32).sum())

    return a.tells(make)


@attack("encoding", "constants", truth=BIT)
def values_that_overflow(a: Attacker) -> Any:
    """Scales the column so that values beyond a threshold become infinite in a narrow cast."""

    def infinite(edge: float) -> bool | None:
        big = salary * 1e9 * 1e9 * 1e9 * (3.4028235677973366e38 / edge / 1e27)
        found = a.value(a.T.select(s=big.cast(pl.Float32).max()))
        return None if found is None else bool(np.isinf(found))

    return beyond(infinite)


@attack("encoding", "constants", truth=BIT)
def values_that_overflow_by_text(a: Attacker) -> Any:
    """Writes the large constant as text."""

    def infinite(edge: float) -> bool | None:
        factor = pl.lit(repr(1.7976931348623157e308 / edge)).cast(pl.Float64)
        found = a.value(a.T.with_columns(x=salary * factor).select(s=pl.col("x").max()))
        return None if found is None else bool(np.isinf(found))

    return beyond(infinite)


def beyond(infinite: Callable[[float], bool | None]) -> bool | None:
    """Return whether the largest salary lies between the two thresholds."""
    low, high = infinite(LOW), infinite(HIGH)
    return None if low is None or high is None else low and not high


@attack("encoding", "narrow numbers", truth=(1, 1))
def small_integers_that_wrap(a: Attacker) -> Any:
    """Adds a constant that overflows the target's value alone."""
    narrow, noughts = pl.col("a8"), pl.col("p8") * 0
    plain = a.value(a.T.select(age.sum()))
    found = a.value(a.T.select(s=(narrow + noughts + pl.lit(31).cast(pl.Int8)).sum()))
    return None if found is None or plain is None else (plain + 31 * N - found) / 256


@attack("encoding", "combinations of columns")
def pattern_of_nulls(a: Attacker) -> Any:
    """Adds nought times a column that only one person has a value in."""
    return a.value(a.T.select(s=(salary + pl.col("died") * 0).sum()))


@attack("encoding", "narrowing casts", truth=(True, True))
def counts_of_narrow_casts(a: Attacker) -> Any:
    """Counts which values still fit a narrow type."""
    found = a.value(a.T.select(x=(debt.cast(pl.Int16, strict=False)).count()))
    return None if found is None else minus(N, found) == 1


@attack("encoding", "narrowing casts", truth=(True, False))
def text_that_is_no_number(a: Attacker) -> Any:
    """Counts which codes are numbers."""
    found = a.value(a.T.select(s=pl.col("code").cast(pl.Float64, strict=False).count()))
    return None if found is None else found == N - 1


@attack("encoding", "narrowing casts", truth=(True, True))
def whole_numbers_of_floats(a: Attacker) -> Any:
    """Scales and cuts off, so that only the target's value is not nought."""
    found = a.value(a.T.select(s=(salary / 74_000).cast(pl.Int64).sum()))
    return None if found is None else found == 1


@attack("encoding", "held values", "open", (True, True))
def bins_of_one_column(a: Attacker) -> Any:
    """Divides into bins of which one holds the target alone."""
    found = a.value(a.T.select(s=(salary // 74_000).sum()))
    return None if found is None else found == 1


@attack("encoding", "conditions on one column", "open", BIT)
def condition_of_one_column(a: Attacker) -> Any:
    """Counts who is beyond a threshold; nobody but the target can be."""
    return a.tells(lambda edge: a.T.select(s=(salary > edge).sum()))


@attack("encoding", "conditions on one column", "open", BIT)
def share_of_one_column(a: Attacker) -> Any:
    """Takes the share of who is below a threshold."""
    return a.tells(lambda edge: a.T.select(s=(salary <= edge).mean()))


@attack("encoding", "conditions of several columns", truth=(True, True))
def conditions_that_become_null(a: Attacker) -> Any:
    """Makes a condition null for the target: neither it nor its opposite counts them."""
    hit = pl.when(target).then(None).otherwise(age > 50)
    found = minus(N, a.value(a.T.select(s=hit.sum())), a.value(a.T.select(s=(~hit).sum())))
    return None if found is None else found == 1


@attack("encoding", "roots", truth=(True, True))
def roots_of_negative_values(a: Attacker) -> Any:
    """Takes roots: where one value is negative the sum is not a number."""
    found = a.value(a.T.select(s=gain.sqrt().sum()))
    return None if found is None else bool(np.isnan(found))


@attack("encoding", "constants", truth=(True, True))
def shifts_upon_shifts(a: Attacker) -> Any:
    """Makes room for larger shifts by smaller ones, until a column has one value."""
    shifted = salary * 1e-9 * 1e-4
    for power in (-4, 1, 6, 9):
        shifted = shifted + 10.0**power
    for power in (9, 6, 1, -4):
        shifted = shifted - 10.0**power
    found = a.value(a.T.with_columns(x=shifted).select(s=pl.col("x").n_unique()))
    return None if found is None else found == 1


@attack("encoding", "filtered pairs", truth=BIT)
def shapes_of_filtered_columns(a: Attacker) -> Any:
    """Correlates two filtered columns: unequal lengths are an error, equal ones are not."""
    both = age > 50
    return a.tells(lambda c: a.T.select(s=pl.corr(salary.filter(both), debt.filter(both & ~(target & (salary > c))))))


@attack("encoding", "packed values")
def numbers_packed_into_text(a: Attacker) -> Any:
    """Writes a column as text of which the target's is the longest, and takes the maximum."""
    text = pl.when(target).then(salary.cast(pl.String)).otherwise(pl.lit(""))
    found = a.value(a.T.select(x=text.max()))
    return float(found) if found else None


@attack("encoding", "distances of text", truth=(True, False))
def lengths_of_codes(a: Attacker) -> Any:
    """Counts the codes that match a pattern."""
    found = a.value(a.T.select(x=pl.col("code").str.contains("[a-z]").sum()))
    return None if found is None else found == 1
