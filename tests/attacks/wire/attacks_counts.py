"""Attacks that compare counts and marks with and without the target, and average them where they vary."""

from __future__ import annotations

from typing import Any

from attack_list import BIT, attack
from bastion_plan import nodes as n
from bastion_plan.canonical import encode
from bastion_wire import messages as m
from query import Q, exprs
from wire_arena import Attacker, minus, values, where
from wire_terms import OFF, RULE, age, mine, nobody, salary, secret, target, total, town
from wire_worlds import TOWN, unnamed

import bastion.expressions as pl


def merged(a: Attacker, condition: Any) -> tuple[Any, ...] | None:
    """Return everything but the number that comes with a release."""
    body, _ = a.line().query(a.T.filter(condition).select(salary.sum()).plan)
    a.told.append("answered" if isinstance(body, m.Table) else "denied or failed")
    note = getattr(body, "note", None)
    return None if note is None else (note.merged, note.suppressed, note.partial, note.notes, body.height)


@attack(
    "differencing",
    "one answer for equal and nearly equal",
    "open",
    BIT,
)
def bit_by_the_merged_mark(a: Attacker) -> Any:
    """Looks whether an answer is marked as that of a stored population, or is that population's own."""
    if a.setting == "open":
        return minus(total(a, mine), total(a, mine & ~secret)) > 1
    marks = [merged(a, c) for c in (mine, mine & ~nobody, mine & ~secret)]
    return None if None in marks else marks[1] != marks[2]


@attack(
    "differencing",
    "one answer for equal and nearly equal",
    "open",
    tolerance=1e-3,
)
def bisection_by_the_merged_mark(a: Attacker) -> Any:
    """Bisects the salary by the mark of a stored population's answer."""
    merged(a, mine)
    low, high, same = 0.0, 131_072.0, merged(a, mine & ~nobody)
    whole = total(a, mine) if a.setting == "open" else 0.0
    while high - low > 60 and same is not None:
        middle = (low + high) / 2
        rest = mine & ~(target & (salary > middle))
        above = total(a, rest) < whole - 1 if a.setting == "open" else merged(a, rest) != same
        low, high = (middle, high) if above else (low, middle)
    return (low + high) / 2


@attack("differencing", "one answer for equal and nearly equal", "open", BIT)
def bit_by_the_mark_of_the_whole(a: Attacker) -> Any:
    """Compares the marks of everybody, once less the target if a condition holds and once less nobody."""
    if a.setting == "open":
        return minus(total(a, ~nobody), total(a, ~secret)) > 1
    marks = [merged(a, c) for c in (~nobody, ~secret)]
    return None if None in marks else marks[0] != marks[1]


@attack("differencing", "one answer for equal and nearly equal", "open", BIT)
def bit_by_the_mark_of_nobody(a: Attacker) -> Any:
    """Compares the marks of nobody and of the target if a condition holds."""
    if a.setting == "open":
        return total(a, secret) > 1
    marks = [merged(a, c) for c in (nobody, secret)]
    return None if None in marks else marks[0] != marks[1]


@attack(
    "differencing",
    "one answer for equal and nearly equal",
    "open",
    BIT,
)
def bit_by_the_last_digits(a: Attacker) -> Any:
    """Looks at the last digits of sums, which the order of the summands decides."""
    found = [a.value(a.T.filter(c).select(x=salary.sum() * 1e9)) for c in (mine, mine & ~nobody, mine & ~secret)]
    return None if None in found else found[1] != found[2]


@attack("differencing", RULE, OFF, BIT)
def half_minus_one_by_counts(a: Attacker) -> Any:
    """Counts instead of sums."""
    one = a.value(a.T.filter(mine).select(pl.len()))
    two = a.value(a.T.filter(mine & ~secret).select(pl.len()))
    found = minus(one, two)
    return None if found is None else found == 1


@attack("differencing", RULE, OFF, BIT)
def half_minus_one_by_distinct_people(a: Attacker) -> Any:
    """Counts distinct identifiers."""
    one = a.value(a.T.filter(mine).select(pl.col("id").n_unique()))
    found = minus(one, a.value(a.T.filter(mine & ~secret).select(pl.col("id").n_unique())))
    return None if found is None else found == 1


@attack("differencing", RULE, OFF, "hiv")
def half_minus_one_of_a_bit(a: Attacker) -> Any:
    """Sums a Boolean over one sex with and without the target."""
    found = minus(*(a.value(a.T.filter(c).select(pl.col("hiv").sum())) for c in (mine, mine & ~target)))
    return None if found is None else found == 1


@attack("differencing", RULE, OFF, BIT)
def histograms_with_and_without(a: Attacker) -> Any:
    """Compares histograms with and without the target."""
    edges = [0.0, 50_000.0, 120_000.0]
    one, two = (a.ask(a.T.filter(c).select(h=salary.hist(edges))) for c in (mine, mine & ~secret))
    if not one.height or not two.height:
        return None
    first, second = values(one, "h"), values(two, "h")
    return None if None in (first[1], second[1]) else first[1] - second[1] == 1


@attack("differencing", RULE, OFF, BIT)
def value_counts_with_and_without(a: Attacker) -> Any:
    """Compares the counts of all values, with and without the target."""
    found = [a.ask(a.T.filter(c).select(town.value_counts())) for c in (mine, mine & ~secret)]
    counts = [{v["town"]: v["count"] for v in values(t, "town")} for t in found]
    return None if not all(TOWN in c for c in counts) else counts[0][TOWN] - counts[1][TOWN] == 1


@attack("differencing", RULE, OFF, BIT)
def value_counts_filtered_inside(a: Attacker) -> Any:
    """Filters the column inside, and counts its values."""
    found = [a.ask(a.T.select(town.filter(c).value_counts())) for c in (mine, mine & ~secret)]
    counts = [{v["town"]: v["count"] for v in values(t, "town")} for t in found]
    return None if not all(TOWN in c for c in counts) else counts[0][TOWN] - counts[1][TOWN] == 1


@attack("differencing", RULE, OFF, BIT)
def windows_with_and_without(a: Attacker) -> Any:
    """Compares counts by windows of years, with and without the target."""
    found = []
    for condition in (mine, mine & ~secret):
        rows = (
            a.T.filter(condition).sort("age").of(n.GroupByDynamic, exprs("age")[0], "49i", exprs(pl.len().alias("c")))
        )
        found.append(where(a.ask(rows), "age", 49, "c"))
    difference = minus(*found)
    return None if difference is None else difference == 1


@attack("differencing", RULE, OFF, BIT)
def shares_with_and_without(a: Attacker) -> Any:
    """Counts who is above a threshold, with and without the target."""
    found = []
    for condition in (mine, mine & ~secret):
        found.append(a.value(a.T.filter(condition).select(x=(salary > 60_000).sum())))
    difference = minus(*found)
    return None if difference is None else difference == 1


@attack("differencing", "budget", OFF, BIT)
def counts_averaged_over_wordings(a: Attacker) -> Any:
    """Words two counts in up to 120 ways and averages them, as long as there are answers."""

    def average(condition: Any) -> float | None:
        found: list[float] = []
        for bound in range(98, 218):
            one = a.value(a.T.filter(condition & (age < bound)).select(pl.len()))
            if one is None or (len(found) == 3 and len(set(found)) == 1):
                break
            found.append(float(one))
        return sum(found) / len(found) if found else None

    rest = minus(average(mine), average(mine & ~secret))
    return None if rest is None else rest > 0.5


def difference_of_counts(a: Attacker, who: str = "a", bound: int = 200) -> float | None:
    """Return how many of one sex the second of two counts lacks."""
    one = a.value(a.T.filter(mine & (age < bound)).select(pl.len()), who=who)
    return minus(one, a.value(a.T.filter(mine & ~secret & (age < bound)).select(pl.len()), who=who))


def mean_above_half(found: list[float | None]) -> bool | None:
    """Return whether the mean of what was found is above one half."""
    numbers = [float(f) for f in found if f is not None]
    return sum(numbers) / len(numbers) > 0.5 if numbers else None


@attack("differencing", "budget", OFF, BIT)
def the_same_counts_again(a: Attacker) -> Any:
    """Asks the very same two questions eight times and averages."""
    return mean_above_half([difference_of_counts(a) for _ in range(8)])


@attack("audiences", "budget of all", OFF, BIT)
def counts_averaged_over_identities(a: Attacker) -> Any:
    """Two identities spend what each of them may, and average."""
    return mean_above_half([difference_of_counts(a, who, 200 + i) for i in range(6) for who in "ab"])


@attack("versions", "budget of all", OFF, BIT, own=True)
def counts_averaged_over_versions(a: Attacker) -> Any:
    """Asks again whenever the owner uploads the same table anew."""
    found = []
    for _ in range(4):
        found.append(difference_of_counts(a))
        a.replace(unnamed(a.world))
    return mean_above_half(found)


@attack("saved filters", "budget of all", OFF, BIT)
def counts_averaged_over_saved_frames(a: Attacker) -> Any:
    """Saves the table under several names, and asks each of them."""
    found: list[float | None] = []
    for i in range(4):
        name = f"{a.attack.name}-{a.setting}-{a.world}-{a.turn}-{i}"
        saved = a.say(m.Save(encode(a.T.filter(age < 200 + i).plan), name))
        if isinstance(saved, m.Dataset):
            one = a.value(Q(saved.facts.id).filter(mine).select(pl.len()))
            found.append(minus(one, a.value(Q(saved.facts.id).filter(mine & ~secret).select(pl.len()))))
    return mean_above_half(found)
