"""Attacks that subtract two answers: everybody less one, or two large populations that differ by one person."""

from __future__ import annotations

from typing import Any

from attack_list import BIT, attack
from bastion_plan import nodes as n
from query import concat, inline
from wire_arena import Attacker, minus, values, where
from wire_terms import OFF, RULE, WHOLE, age, mine, nobody, salary, secret, sex, target, total, town
from wire_worlds import AGE, PLACE, SEX, TOWN, N

import bastion.expressions as pl

# -- against everybody


@attack("differencing", WHOLE, "k")
def all_minus_one(a: Attacker) -> Any:
    """Subtracts everybody but one from everybody."""
    return minus(total(a), total(a, ~target))


@attack("differencing", WHOLE, "k")
def all_minus_one_by_means(a: Attacker) -> Any:
    """The same with means, multiplied by known counts."""
    one, two = a.value(a.T.select(salary.mean())), a.value(a.T.filter(~target).select(salary.mean()))
    return None if one is None or two is None else one * N - two * (N - 1)


@attack("differencing", WHOLE, "k", BIT)
def all_minus_one_by_counts(a: Attacker) -> Any:
    """Counts everybody but the target if a condition holds."""
    found = a.value(a.T.filter(~secret).select(pl.len()))
    return None if found is None else found == N - 1


@attack("differencing", WHOLE, "k")
def all_minus_one_by_groups(a: Attacker) -> Any:
    """Groups by whether one is the target."""
    rest = where(a.ask(a.T.with_columns(g=target).group_by("g").agg(salary.sum())), "g", False, "salary")
    return minus(total(a), rest)


@attack("differencing", WHOLE, "k")
def all_minus_one_by_a_window(a: Attacker) -> Any:
    """Takes the sum of everybody but the target as a window."""
    found = a.ask(a.T.filter(~target).with_columns(m=salary.sum()).select(pl.col("m").mean()))
    return minus(total(a), (values(found, "m") or [None])[0])


@attack("differencing", WHOLE, "k")
def all_minus_one_in_one_query(a: Attacker) -> Any:
    """Takes both sums in one query and subtracts them there."""
    return a.value(a.T.select(x=salary.sum() - salary.filter(~target).sum()))


@attack("differencing", WHOLE, "k")
def all_minus_one_by_variances(a: Attacker) -> Any:
    """Solves two variances and a mean for the one who is left out."""

    def moments(*conditions: Any) -> tuple[Any, Any]:
        found = a.ask(a.T.filter(*conditions).select(v=salary.var(ddof=0), m=salary.mean()))
        return (values(found, "v") or [None])[0], (values(found, "m") or [None])[0]

    (v1, m1), (v2, m2) = moments(), moments(~target)
    if None in (v1, v2, m1, m2):
        return None
    square = (v1 + m1 * m1) * N - (v2 + m2 * m2) * (N - 1)
    return square**0.5 if square > 0 else None


@attack("differencing", WHOLE, "k", BIT)
def bisection_against_everybody(a: Attacker) -> Any:
    """Compares answers that leave out the target if a condition on the secret holds."""
    return a.tells(lambda c: a.T.filter(~(target & (salary > c))).select(pl.len(), salary.sum()))


@attack("differencing", "population of k", "k", BIT)
def bisection_from_nobody(a: Attacker) -> Any:
    """Compares answers that hold the target alone if a condition on the secret holds."""
    return a.tells(lambda c: a.T.filter(target & (salary > c)).select(pl.len()))


@attack("differencing", "held values", "open", BIT)
def bisection_by_groups(a: Attacker) -> Any:
    """Groups by a condition on the secret."""
    return a.tells(lambda c: a.T.with_columns(g=target & (salary > c)).group_by("g").agg(pl.len()).sort("g"))


@attack("differencing", WHOLE, "k", BIT)
def bisection_by_inner_filters(a: Attacker) -> Any:
    """Leaves out the target inside the sum if a condition on the secret holds."""
    return a.tells(lambda c: a.T.select(salary.filter(~(target & (salary > c))).sum()))


# -- between large populations


@attack("differencing", RULE, OFF)
def half_minus_one(a: Attacker) -> Any:
    """Subtracts all of one sex but the target from all of that sex."""
    return minus(total(a, mine), total(a, mine, ~target))


@attack("differencing", RULE, OFF)
def one_more_than_half(a: Attacker) -> Any:
    """Adds the target to the other sex, before the other sex is asked for."""
    more = total(a, ~mine | target)
    return minus(more, total(a, ~mine))


@attack("differencing", RULE, OFF)
def half_minus_one_by_means(a: Attacker) -> Any:
    """Multiplies means by counts."""

    def moments(*conditions: Any) -> Any:
        found = a.ask(a.T.filter(*conditions).select(m=salary.mean(), c=pl.len()))
        parts = values(found, "m"), values(found, "c")
        return None if not parts[0] or parts[0][0] is None else parts[0][0] * parts[1][0]

    return minus(moments(mine), moments(mine, ~target))


@attack("differencing", RULE, OFF)
def half_minus_one_by_groups(a: Attacker) -> Any:
    """Groups by sex, with and without the target."""
    one = where(a.ask(a.T.group_by("sex").agg(salary.sum())), "sex", SEX, "salary")
    two = where(a.ask(a.T.filter(~target).group_by("sex").agg(salary.sum())), "sex", SEX, "salary")
    return minus(one, two)


@attack("differencing", RULE, OFF)
def half_minus_one_in_one_query(a: Attacker) -> Any:
    """Filters inside two sums of one query."""
    found = a.ask(a.T.select(x=salary.filter(mine).sum(), y=salary.filter(mine & ~target).sum()))
    return minus((values(found, "x") or [None])[0], (values(found, "y") or [None])[0])


@attack("differencing", RULE, OFF)
def half_minus_one_within_one_expression(a: Attacker) -> Any:
    """Subtracts two filtered sums in one expression, so that neither is shown."""
    return a.value(a.T.select(x=salary.filter(mine).sum() - salary.filter(mine & ~target).sum()))


@attack("differencing", RULE, OFF)
def half_minus_one_by_candidates(a: Attacker) -> Any:
    """Leaves out the target by an anti join."""
    rest = a.T.filter(mine).join(inline({"age": [AGE]}), on="age", how="anti")
    return minus(total(a, mine), a.value(rest.select(salary.sum())))


@attack("differencing", RULE, OFF)
def half_minus_one_by_labels(a: Attacker) -> Any:
    """Joins labels for all ages but one."""
    labels = inline({"age": [i for i in range(130) if i != AGE]})
    return minus(total(a, mine), a.value(a.T.filter(mine).join(labels, on="age").select(salary.sum())))


@attack("differencing", RULE, "open")
def half_minus_one_by_a_window(a: Attacker) -> Any:
    """Takes the smaller population as a window over the sex."""
    rows = a.T.filter(~target).with_columns(m=salary.sum().over("sex")).filter(mine)
    return minus(total(a, mine), a.value(rows.select(pl.col("m").mean())))


@attack("differencing", RULE, OFF)
def half_minus_one_by_a_pivot(a: Attacker) -> Any:
    """Takes the smaller population as a cell of a pivot."""
    rows = a.T.filter(~target).with_columns(k=pl.lit(1))
    found = a.ask(rows.of(n.Pivot, "sex", ("f", "m"), ("k",), ("salary",), "sum"))
    return minus(total(a, mine), (values(found, SEX) or [None])[0])


@attack("differencing", RULE, OFF)
def half_minus_one_as_a_union(a: Attacker) -> Any:
    """Puts the smaller population together from two towns' parts."""
    parts = concat(a.T.filter(mine, town == TOWN, ~target), a.T.filter(mine, town != TOWN))
    return minus(total(a, mine), a.value(parts.select(salary.sum())))


@attack("differencing", RULE, OFF)
def thresholds_side_by_side(a: Attacker) -> Any:
    """Moves a bound by the one year that has the target alone."""
    return minus(total(a, mine, age < AGE + 1), total(a, mine, age < AGE))


@attack("differencing", RULE, OFF)
def bounds_moved_in_steps(a: Attacker) -> Any:
    """Moves a bound step by step down to the population without the target."""
    sums = [total(a, mine, age < bound) for bound in (98, 90, 85, 81)]
    return minus(sums[0], sums[-1])


@attack("differencing", RULE, OFF)
def the_same_people_rephrased(a: Attacker) -> Any:
    """Words the smaller population differently, by what it is not."""
    return minus(total(a, mine), total(a, ~((sex == "m") | (age > 96))))


@attack("differencing", RULE, OFF)
def complement_of_the_complement(a: Attacker) -> Any:
    """Subtracts the other sex with the target from everybody, and compares with one sex."""
    return minus(total(a, mine), minus(total(a), total(a, ~mine | target)))


@attack("differencing", RULE, OFF, BIT)
def equal_or_nearly_equal(a: Attacker) -> Any:
    """Compares a population with itself less the target if a condition on the secret holds."""
    a.ask(a.T.filter(mine).select(pl.len(), salary.sum()))
    one = a.ask(a.T.filter(mine & ~nobody).select(pl.len(), salary.sum()))
    two = a.ask(a.T.filter(mine & ~secret).select(pl.len(), salary.sum()))
    return None if not one.height or not two.height else not one.equals(two)


@attack("differencing", RULE, OFF)
def many_averages(a: Attacker) -> Any:
    """Words both populations in a dozen ways and averages, should answers vary."""
    first = [total(a, mine, age < bound) for bound in range(98, 110)]
    second = [total(a, mine, age < AGE, age < bound) for bound in range(98, 110)]
    if None in first or None in second:
        return None
    return sum(first) / len(first) - sum(second) / len(second)


@attack("differencing", RULE, OFF)
def answers_asked_for_at_once(a: Attacker) -> Any:
    """Sends six pairs of populations at once, hoping that none of a pair has been written down before the other."""
    groups = [mine, town == TOWN, pl.col("place") == PLACE, age > 49, pl.col("place") > 5, town != "b"]
    plans = [a.T.filter(g & c).select(salary.sum()).plan for g in groups for c in (age > 0, ~target)]
    found = a.line().together(plans)
    sums = [t["salary"][0] if t is not None and t.height else None for t in found]
    differences = [minus(one, two) for one, two in zip(sums[::2], sums[1::2], strict=True)]
    likely = [d for d in differences if d is not None and 60_000 < d < 100_000]
    return likely[0] if likely else None


@attack("differencing", "distinct units", OFF)
def visits_minus_one(a: Attacker) -> Any:
    """Leaves out one person of a table with three rows each."""
    visits = a.table("visits")
    found = minus(*(a.value(visits.filter(c).select(salary.sum())) for c in (mine, mine & ~target)))
    return None if found is None else found / 3


@attack("differencing", "distinct units", "open")
def one_visit_minus_one(a: Attacker) -> Any:
    """Leaves out one visit of one person: no person is missing."""
    visits = a.table("visits")
    day = pl.col("day") == 1
    return minus(*(a.value(visits.filter(c).select(salary.sum())) for c in (mine, mine & ~(target & day))))
