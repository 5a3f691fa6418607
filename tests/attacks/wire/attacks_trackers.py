"""Attacks that solve for one person from three and more answers, in the manner of trackers."""

from __future__ import annotations

from typing import Any

from attack_list import BIT, attack
from bastion_wire import messages as m
from query import Q
from wire_arena import Attacker, minus, values, where
from wire_terms import OFF, age, mine, nobody, salary, secret, sex, target, total, town
from wire_worlds import PLACE, TOWN

import bastion.expressions as pl

REPAIRED = "one bit a question: a sum that would isolate the target is answered without her, and marked as such"


def parts(a: Attacker) -> tuple[Any, Any, Any]:
    """Return three disjoint large conditions without the target."""
    return town == "b", town == "c", town == "d"


@attack("trackers", "linear audit", OFF)
def individual_tracker(a: Attacker) -> Any:
    """Asks for a trait, and for the trait without what only the target has besides."""
    return minus(total(a, mine, age > 49), total(a, mine, (age > 49) & ~(age > 80)))


@attack("trackers", "linear audit", OFF)
def general_tracker(a: Attacker) -> Any:
    """Adds the target to a tracker and to its complement, and subtracts everybody."""
    tracker = pl.col("place") < 5
    one, two = total(a, tracker | target), total(a, ~tracker | target)
    return None if None in (one, two) else minus(one + two, total(a))


@attack("trackers", "linear audit", OFF)
def double_tracker(a: Attacker) -> Any:
    """Uses a tracker within a wider one: the wider one is the inner and the ring around it."""
    inner, outer = pl.col("place") < 3, pl.col("place") < 6
    found = total(a, inner | target), total(a, outer & ~inner), total(a, outer)
    return None if None in found else found[0] + found[1] - found[2]


@attack("trackers", "linear audit", OFF)
def additive_tracker(a: Attacker) -> Any:
    """Asks for A with the target, for B, and for A and B together."""
    one, two, _ = parts(a)
    with_target, alone = total(a, one | target), total(a, two)
    return None if None in (with_target, alone) else minus(with_target + alone, total(a, one | two))


@attack("trackers", "linear audit", OFF)
def three_cover(a: Attacker) -> Any:
    """Covers three parts twice by pairs, and asks for all three with the target."""
    one, two, three = parts(a)
    pairs = [total(a, one | two), total(a, two | three), total(a, one | three)]
    found = total(a, one | two | three | target)
    return None if None in pairs or found is None else found - sum(pairs) / 2


@attack("trackers", "linear audit", OFF)
def three_cover_of_one_sex(a: Attacker) -> Any:
    """The same with the target inside one of the parts of the last."""
    one, two, three = (mine & p for p in (town == TOWN, town == "b", town == "c"))
    pairs = [total(a, one | two), total(a, two | three), total(a, one | three)]
    found = total(a, (one | two | three) & ~target)
    return None if None in pairs or found is None else sum(pairs) / 2 - found


@attack("trackers", "linear audit", OFF)
def four_cover(a: Attacker) -> Any:
    """Covers four towns three times by triples, and leaves the target out of the last."""
    towns = [town == t for t in "abcd"]
    triples = [
        total(a, mine & (towns[i] | towns[j] | towns[k])) for i, j, k in ((0, 1, 2), (0, 1, 3), (0, 2, 3), (1, 2, 3))
    ]
    found = total(a, mine & (town != "nowhere") & ~target)
    return None if None in triples or found is None else sum(triples) / 3 - found


@attack("trackers", "linear audit", "k")
def two_binnings(a: Attacker) -> Any:
    """Groups the ages in two ways whose edges differ by a year, and subtracts."""
    one = a.ask(a.T.filter(mine).group_by((age // 49).alias("b")).agg(salary.sum()))
    two = a.ask(a.T.filter(mine).group_by(((age + 1) // 49).alias("b")).agg(salary.sum()))
    cells = [where(t, "b", b, "salary") for t in (one, two) for b in (1, 0)]
    if None in cells:
        return None
    upper, lower, moved, shorter = cells
    return upper - moved + (lower - shorter)


@attack("trackers", "linear audit", OFF)
def towns_and_places(a: Attacker) -> Any:
    """Asks for a row and a column of a table, for both together, and for their crossing without the target."""
    row, column = mine & (town == TOWN), mine & (pl.col("place") == PLACE)
    found = total(a, row), total(a, column), total(a, row | column), total(a, row & column & ~target)
    return None if None in found else found[0] + found[1] - found[2] - found[3]


@attack("trackers", "linear audit", OFF)
def chains_of_steps(a: Attacker) -> Any:
    """Goes from one population to another by steps that are all large."""
    one, two, three = (mine & (pl.col("place") == p) for p in (1, 3, 5))
    steps = [total(a, one | target), total(a, one | two), total(a, two | three), total(a, three)]
    return None if None in steps else steps[0] - steps[1] + steps[2] - steps[3]


@attack("trackers", "linear audit", OFF)
def tracker_by_means_and_counts(a: Attacker) -> Any:
    """An additive tracker of means times counts."""

    def amount(condition: Any) -> Any:
        found = a.ask(a.T.filter(condition).select(m=salary.mean(), c=pl.len()))
        return None if not values(found, "m") or found["m"][0] is None else found["m"][0] * found["c"][0]

    one, two, _ = parts(a)
    found = amount(one | target), amount(two), amount(one | two)
    return None if None in found else found[0] + found[1] - found[2]


@attack("trackers", "linear audit", OFF, BIT)
def tracker_of_counts(a: Attacker) -> Any:
    """An additive tracker of counts, with a condition on the secret."""

    def count(condition: Any) -> Any:
        return a.value(a.T.filter(condition).select(pl.len()))

    one, two, _ = parts(a)
    found = count(one | secret), count(two), count(one | two)
    return None if None in found else found[0] + found[1] - found[2] == 1


@attack("trackers", "linear audit", OFF, "hiv")
def tracker_of_bits(a: Attacker) -> Any:
    """An additive tracker of a Boolean."""

    def count(condition: Any) -> Any:
        return a.value(a.T.filter(condition).select(pl.col("hiv").sum()))

    one, two, _ = parts(a)
    found = count(one | target), count(two), count(one | two)
    return None if None in found else found[0] + found[1] - found[2] == 1


def itself(a: Attacker, condition: Any, rows: Q | None = None) -> bool | None:
    """Return whether a sum is answered as itself: not refused, nor marked; None where the question is not allowed."""
    body, table = a.line().query((rows or a.T).filter(condition).select(salary.sum()).plan)
    a.told.append(f"{body.outcome}: {body.rule}" if isinstance(body, m.Denial) else "answered")
    if isinstance(body, m.Denial):
        return None if body.outcome == "refuse" else False
    shown = table is not None and table.height > 0 and table["salary"][0] is not None
    return shown and not body.note.merged and not body.note.partial


@attack("trackers", "denial budget", "open", BIT, reached={"default": REPAIRED})
def bit_by_a_refused_tracker(a: Attacker) -> Any:
    """Asks for A and B together and for B; whether A with the target, if a condition holds, is refused tells the condition."""
    one, two, _ = parts(a)
    sums = total(a, one | two), total(a, two)
    if a.setting == "open":
        return minus(total(a, one | secret), minus(*sums)) > 1
    found = itself(a, one | secret)
    return None if None in sums or found is None else not found


@attack("trackers", "denial budget", "open", tolerance=1e-3)
def bisection_by_refused_trackers(a: Attacker) -> Any:
    """Bisects the salary by one tracker after another: each tells whether the target is above a threshold."""
    low, high = 0.0, 131_072.0
    ring = (pl.col("place") == 5) & mine
    groups = [(pl.col("place") == p) & (sex == s) for s in "mf" for p in (0, 1, 2, 3, 4, 6, 8, 9)]
    for group in groups:
        if high - low <= 60:
            break
        middle = (low + high) / 2
        above = target & (salary > middle)
        sums = total(a, group | ring), total(a, ring)
        if a.setting == "open":
            alone: bool | None = minus(total(a, group | above), minus(*sums)) < 1
        else:
            alone = itself(a, group | above)
        if alone is None or None in sums:
            return None
        low, high = (low, middle) if alone else (middle, high)
    return (low + high) / 2


@attack("trackers", "denial budget", "open", BIT, reached={"default": REPAIRED})
def bit_by_a_refused_cover(a: Attacker) -> Any:
    """The same with a cover of three: what it tells is refused if the target is in it."""
    one, two, three = parts(a)
    pairs = [total(a, one | two), total(a, two | three), total(a, one | three)]
    if None in pairs:
        return None
    if a.setting == "open":
        return total(a, one | two | three | secret) - sum(pairs) / 2 > 1
    found = itself(a, one | two | three | secret)
    return None if found is None else not found


@attack(
    "trackers",
    "denial budget",
    "open",
    BIT,
)
def bit_by_a_refused_join(a: Attacker) -> Any:
    """Joins a second table, where no stored population can be answered instead: near ones are refused, equal ones not."""
    joined = a.T.join(a.table("kin").select("id"), on="id")
    if a.setting == "open":
        sums = [a.value(joined.filter(c).select(salary.sum())) for c in (mine, mine & ~secret)]
        return minus(*sums) > 1
    marks = [itself(a, c, joined) for c in (mine, mine & ~nobody, mine & ~secret)]
    return None if None in marks else marks[1] != marks[2]


@attack("trackers", "linear audit", OFF)
def tracker_in_one_query(a: Attacker) -> Any:
    """All three sums of an additive tracker in one query."""
    one, two, _ = parts(a)
    sums = {"x": one | target, "y": two, "z": one | two}
    found = a.ask(a.T.select(**{k: salary.filter(c).sum() for k, c in sums.items()}))
    x, y, z = ((values(found, c) or [None])[0] for c in "xyz")
    return None if None in (x, y, z) else x + y - z


@attack("trackers", "linear audit", OFF)
def tracker_by_affine_functions(a: Attacker) -> Any:
    """Asks each sum of an additive tracker for another affine function of the column."""
    one, two, _ = parts(a)
    first = a.value(a.T.filter(one | target).select(x=(salary * 2).sum()))
    second = a.value(a.T.filter(two).select(x=(salary * -3).sum()))
    third = a.value(a.T.filter(one | two).select(x=(salary / 4).sum()))
    return None if None in (first, second, third) else first / 2 - second / 3 - third * 4


@attack("trackers", "linear audit", OFF)
def tracker_of_combinations(a: Attacker) -> Any:
    """Adds another column to each sum of an additive tracker, and subtracts its own sums."""
    one, two, _ = parts(a)
    points = pl.col("points")
    found = [
        a.ask(a.T.filter(c).select(x=(salary + points).sum(), y=points.sum())) for c in (one | target, two, one | two)
    ]
    sums = [minus((values(t, "x") or [None])[0], (values(t, "y") or [None])[0]) for t in found]
    return None if None in sums else sums[0] + sums[1] - sums[2]


@attack("trackers", "linear audit", OFF)
def tracker_of_variances(a: Attacker) -> Any:
    """Takes sums out of variances and means of a column that is moved."""
    one, two, _ = parts(a)
    sums = []
    for condition in (one | target, two, one | two):
        found = a.ask(a.T.filter(condition).select(m=salary.mean(), v=salary.var(ddof=0), c=salary.count()))
        m, v, c = ((values(found, k) or [None])[0] for k in "mvc")
        sums.append(None if None in (m, v, c) else (v + m * m) * c)
    square = None if None in sums else sums[0] + sums[1] - sums[2]
    return None if square is None or square <= 0 else square**0.5
