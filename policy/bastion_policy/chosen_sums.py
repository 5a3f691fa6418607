"""Sums of known columns over people whom a measure chose, and how many bits of the choice they tell.

**Why.** Somebody may know the date of birth of everybody. The sum of days of birth where `pay < c` is then a sum of known
weights, with one secret bit per person. With its digits and those of a few more (years, squares), one set of people alone
gives it, and each of them is in it or not. No cell is near k and no equation over the rationals follows, so neither edges nor the
linear audit see it. So bits are counted, as for covariances (`products`), of the column that chooses.

**How many.** A sum of whole numbers has at most half of log2(2 pi e (variance + 1/12)) bits (Cover and Thomas 2006, problem 8.7:
of all whole numbers with a variance, none has more). Where people are chosen or not each by themselves, with p, the variance is
the sum of p (1 - p) w^2 with w from the middle of the range r, so at most n r^2 / 4 for n who are expected to be chosen. Of squares the
range is r^2, and a variance is made of both. Of numbers that are not whole each of 2^53 steps may tell; no number has more
than 64 bits. Conditions, and columns of noughts and ones, are counts, which the audit and the edges see.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from bastion_plan.dtypes import BOOLEAN

from bastion_policy.boundary import Boundary, Guard, Statistic, Term
from bastion_policy.flow_chosen import choosing
from bastion_policy.judge_edges import conditions_below, values_of
from bastion_policy.lineage import Form, Source, Typed, Value, World

#: bits that a number has at most
MOST_BITS = 64.0
#: steps of numbers that are not whole, and days of dates
FLOAT_STEPS, DAYS = 2.0**53, 2.0**16


def choosers(below: Typed, boundary: Boundary, statistic: Statistic, world: World) -> frozenset[Source]:
    """Return the secret columns by which the people of a statistic are chosen: on the way, by keys, by conditions inside."""
    asked = [*conditions_below(below), *((c, below.frame) for c in statistic.population)]
    values = [*(values_of(e, frame, world) for e, frame in asked), *(value for _, _, value, _ in boundary.keys)]
    # by whom people are is told by the join itself: each row of one table has its person in the other or not
    return frozenset(s for s in choosing(values, world) if not world.is_unit(s))


def bits(
    statistic: Statistic, people: int, chosen: frozenset[Source], world: World, known: Callable[[Term], bool]
) -> float | None:
    """Return how many bits of the choice a number over so many people tells at most; None: it is no sum of known numbers.

    chosen: as `choosers` returns them. known: whether somebody may know the values of an argument.
    """
    if not chosen or statistic.guard not in (Guard.SUM, Guard.SQUARES) or statistic.function in ("count", "null_count"):
        return None
    weights = [t for t in statistic.terms if not _condition(t) and weighs(t, chosen, world, known)]
    wide = sum(_range(t, world) for t in weights)
    if wide <= 1:
        # of two whole numbers beside each other it is the count of those who have the larger one
        return None
    found = _entropy(people, wide)
    if statistic.guard is Guard.SQUARES:
        found += _entropy(people, wide**2)
    return min(max(found, 1.0), MOST_BITS)


def weighs(term: Term, chosen: frozenset[Source], world: World, known: Callable[[Term], bool]) -> bool:
    """Whether somebody may know the values of an argument that people have whom secret columns chose.

    INVARIANT: what somebody uploads they know, whatever role they gave it: a column of another owner than that of the
    column that chooses is known.
    """
    owners = {world.facts[s.dataset].owner for s in chosen}
    return known(term) or {world.facts[s.dataset].owner for s in term.value.sources} | owners != owners


def _entropy(people: int, wide: float) -> float:
    return 0.5 * math.log2(2 * math.pi * math.e * (people * wide**2 / 4 + 1 / 12))


def _condition(term: Term) -> bool:
    return term.dtype == BOOLEAN or term.value.form is Form.BITS or term.value.bit is not None


def _range(term: Term, world: World) -> float:
    """Return how far the values of an argument lie apart at most, in its steps."""
    value, dtype = term.value, term.dtype
    low, high = value.low, value.high
    source = _stretched(value)
    if source is not None:
        # stretched or moved, it tells what the column tells; whose values are known, their ends are
        low, high = world.widest(source)
        dtype = world.facts[source.dataset].column(source.column).dtype
    if dtype.kind == "Date":
        return DAYS
    if not dtype.is_integer or low is None or high is None or not math.isfinite(high - low):
        return FLOAT_STEPS
    return min(high - low, FLOAT_STEPS)


def _stretched(value: Value) -> Source | None:
    found = value.plain if value.plain is not None else value.line[0] if value.line is not None else None
    return None if found is None or found.counted else found
