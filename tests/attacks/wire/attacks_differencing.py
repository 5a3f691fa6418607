"""Attacks that subtract answers: two of them, or three and more in the manner of trackers."""

from __future__ import annotations

from typing import Any

import polars
from attack_list import BIT, attack
from bastion_plan import nodes as n
from bastion_plan.canonical import encode
from bastion_wire import messages as m
from query import Q, concat, exprs, inline
from wire_arena import Attacker, minus, values, where
from wire_worlds import AGE, HIGH, LOW, PLACE, SEX, TOWN, N, unnamed

import bastion.expressions as pl

salary, age, sex, town = (pl.col(c) for c in ("salary", "age", "sex", "town"))
target, mine = age == AGE, pl.col("sex") == SEX
secret = target & (salary > LOW) & (salary < HIGH)
nobody = target & (salary > 1e6)
known = polars.col("sex") == SEX
RULE, OFF = "populations near earlier ones", "history"
WHOLE = "the whole table"


def total(a: Attacker, *conditions: Any) -> Any:
    """Return the sum of salaries of those who meet all conditions."""
    return a.value(a.T.filter(*conditions).select(salary.sum()))


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


@attack("differencing", RULE, OFF)
def many_averages(a: Attacker) -> Any:
    """Words both populations in a dozen ways and averages, should answers vary."""
    first = [total(a, mine, age < bound) for bound in range(98, 110)]
    second = [total(a, mine, age < AGE, age < bound) for bound in range(98, 110)]
    if None in first or None in second:
        return None
    return sum(first) / len(first) - sum(second) / len(second)


@attack("differencing", "distinct units", "open")
def weights_by_days(a: Attacker) -> Any:
    """Counts each person's row of one day, and two of the target's: the people are the same."""
    visits, day = a.table("visits"), pl.col("day")
    once = a.value(visits.filter(mine & (day == 0)).select(salary.sum()))
    rows = mine & ((day == 1) | (target & (day == 2)))
    return minus(a.value(visits.filter(rows).select(salary.sum())), once)


@attack(
    "differencing",
    "distinct units",
    "open",
    tolerance=0.03,
)
def weights_by_days_of_a_few(a: Attacker) -> Any:
    """The same in the smallest group that is answered, where rounding leaves most digits."""
    visits, day = a.table("visits"), pl.col("day")
    few = (age == 79) | (age == AGE) | ((age == 78) & mine)
    once = a.value(visits.filter(few & (day == 0)).select(salary.sum()))
    rows = few & ((day == 1) | (target & (day == 2)))
    return minus(a.value(visits.filter(rows).select(salary.sum())), once)


def twice(a: Attacker, rows: Q, first: Any, second: Any) -> Any:
    """Return what the target adds when counted twice; either condition alone takes one row of each person."""
    once = a.value(rows.filter(mine & first).select(salary.sum()))
    return minus(a.value(rows.filter(mine & (second | target)).select(salary.sum())), once)


@attack("inflation", "distinct units", "open")
def weights_by_list_elements(a: Attacker) -> Any:
    """Unpacks lists of an odd and an even number: one of them is each person once, and both are the target twice."""
    even = pl.col("tags") % 2 == 0
    return twice(a, a.T.explode("tags"), even, ~even)


@attack("inflation", "distinct units", "open")
def weights_by_a_join(a: Attacker) -> Any:
    """Joins a table of several rows per person, and takes one day of everybody and two of the target."""
    rows = a.T.join(a.table("visits").select("id", "day"), on="id").filter(pl.col("day") < 2)
    return twice(a, rows, pl.col("day") == 0, pl.col("day") == 1)


@attack("inflation", "a union of parts", "open")
def weights_by_stacked_parts(a: Attacker) -> Any:
    """Stacks the table below itself with a mark, and takes one part of everybody and both of the target."""
    rows = concat(a.T.with_columns(v=pl.lit(1)), a.T.with_columns(v=pl.lit(2)))
    return twice(a, rows, pl.col("v") == 1, pl.col("v") == 2)


@attack("inflation", "columns into rows", "open")
def weights_by_melted_columns(a: Attacker) -> Any:
    """Turns a column and its copy into rows, and takes one of everybody and both of the target."""
    rows = a.T.select("age", "sex", salary=salary, copy=salary).unpivot(["salary", "copy"], ["age", "sex"])
    rows = rows.with_columns(salary=pl.col("value"))
    return twice(a, rows, pl.col("variable") == "salary", pl.col("variable") == "copy")


@attack("inflation", "distinct units", "open")
def weights_by_persons_sums(a: Attacker) -> Any:
    """Sums each person's rows first: one day of everybody, two of the target."""
    visits, day = a.table("visits"), pl.col("day")
    found = []
    for rows in (day == 0, (day == 1) | (target & (day == 2))):
        each = visits.filter(mine & rows).group_by("id").agg(pay=salary.sum())
        found.append(a.value(each.select(pl.col("pay").sum())))
    return minus(found[1], found[0])


@attack(
    "inflation",
    "distinct units",
    "open",
    tolerance=0.03,
)
def weights_by_a_join_of_a_few(a: Attacker) -> Any:
    """Joins several rows per person in the smallest group that is answered."""
    day = pl.col("day")
    few = (age == 79) | (age == AGE) | ((age == 78) & mine)
    rows = a.T.join(a.table("visits").select("id", "day"), on="id").filter(few)
    once = a.value(rows.filter(day == 0).select(salary.sum()))
    return minus(a.value(rows.filter((day == 1) | (target & (day == 2))).select(salary.sum())), once)


@attack("differencing", "distinct units", "open")
def weights_by_days_and_counts(a: Attacker) -> Any:
    """The same by a mean and a count of rows."""
    visits, day = a.table("visits"), pl.col("day")
    found = []
    for rows in (mine & (day == 0), mine & ((day == 1) | (target & (day == 2)))):
        table = a.ask(visits.filter(rows).select(m=salary.mean(), c=salary.count()))
        mean, count = ((values(table, k) or [None])[0] for k in "mc")
        found.append(None if mean is None or count is None else mean * count)
    return minus(found[1], found[0])


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


@attack("differencing", "hidden together", "open")
def margins_less_shown_cells(a: Attacker) -> Any:
    """Subtracts the cells that are shown from their margin, and knows the others of what is held back."""
    rows = a.T.filter(mine).with_columns(old=age > 77)
    margin = where(a.ask(a.T.filter(mine).group_by("town").agg(salary.sum())), "town", TOWN, "salary")
    cells = a.ask(rows.group_by("town", "old").agg(salary.sum()))
    if "old" not in cells.columns:
        return None
    shown = cells.filter((polars.col("town") == TOWN) & ~polars.col("old"))["salary"].to_list()
    others = a.others.filter(known & (polars.col("town") == TOWN) & (polars.col("age") > 77))["salary"].sum()
    return minus(margin, *shown, others) if len(shown) == 1 else None


@attack("differencing", RULE, OFF)
def margins_less_filtered_cells(a: Attacker) -> Any:
    """The same with the small cells filtered away beforehand."""
    margin = where(a.ask(a.T.filter(mine).group_by("town").agg(salary.sum())), "town", TOWN, "salary")
    cells = a.ask(a.T.filter(mine, age <= 77).group_by("town").agg(salary.sum()))
    others = a.others.filter(known & (polars.col("town") == TOWN) & (polars.col("age") > 77))["salary"].sum()
    return minus(margin, where(cells, "town", TOWN, "salary"), others)


@attack("differencing", RULE, OFF, tolerance=1e-3)
def a_cell_of_each_margin(a: Attacker) -> Any:
    """Has two tables whose cells overlap, and solves for the one cell that neither shows."""
    by_town = a.ask(a.T.filter(mine).group_by("town").agg(salary.sum()))
    by_place = a.ask(a.T.filter(mine, ~(target & (town == TOWN))).group_by("place").agg(salary.sum()))
    if by_town.height != 4 or by_place.height != 5 or by_town["salary"].null_count():
        return None
    return float(by_town["salary"].sum()) - float(by_place["salary"].sum())


@attack(
    "differencing", "none in exact profiles", "k", tolerance=1e-2,
    reached={
        "default": "exact: nine who share a group of ten know each other (outside knowledge)",
        "strict": "within rounding: nine who share a group of ten know each other (outside knowledge)",
    },
)  # fmt: skip
def nine_insiders_of_a_group(a: Attacker) -> Any:
    """Nine people of a group of ten put their own values together."""
    group = a.others.filter(known & (polars.col("town") == TOWN)).sort("age", descending=True)
    for least in range(int(group["age"][8]), 19, -1):
        insiders = group.filter(polars.col("age") >= least)
        if insiders.height >= 9:
            break
    found = total(a, mine, town == TOWN, age >= least)
    return minus(found, float(insiders["salary"].sum()))


@attack("differencing", RULE, OFF)
def pair_with_an_insider(a: Attacker) -> Any:
    """Leaves out the target and an insider, who knows their own value."""
    insider = a.others.filter(known & (polars.col("age") == 79)).row(0, named=True)
    own = (age == 79) & (town == insider["town"]) & (pl.col("place") == insider["place"])
    group = (
        polars.col("age").eq(79) & (polars.col("town") == insider["town"]) & (polars.col("place") == insider["place"])
    )
    value = float(a.others.filter(known & group)["salary"].sum())
    return minus(total(a, mine), total(a, mine, ~target, ~own), value)


EDGE = (
    "one bit a question: who knows nine others and filters by the secret itself moves the edge onto the target; "
    "a budget ends it after eight"
)


REPAIRED = "one bit a question: a sum that would isolate the target is answered without her, and marked as such"


def nine_others(a: Attacker, *conditions: Any) -> Any:
    """Return a condition that nine known people meet, each told apart by their traits."""
    known_people = a.others.unique(["age", "town", "place"], keep="none", maintain_order=True).filter(*conditions)
    found = None
    for row in known_people.head(9).iter_rows(named=True):
        one = (age == row["age"]) & (town == row["town"]) & (pl.col("place") == row["place"])
        found = one if found is None else found | one
    return found


def ten(a: Attacker, condition: Any) -> bool | None:
    """Return whether ten are counted or nobody, None where neither is answered."""
    told = len(a.told)
    found = a.value(a.T.filter(condition).select(pl.len()))
    if found is None:
        return False if a.told[told:] == ["answered"] else None
    return found >= 10


@attack("differencing", "quasi predicates", "open", BIT, reached={"default": EDGE})
def padding_to_the_edge(a: Attacker) -> Any:
    """Asks for nine known people, and for the target if a condition on the secret holds: ten are answered, nine not."""
    return ten(a, nine_others(a) | secret)


@attack("differencing", "quasi predicates", "open", BIT, reached={"default": EDGE})
def padding_from_the_whole(a: Attacker) -> Any:
    """Leaves nine known people out, and the target if a condition on the secret holds: ten are missing, or nobody."""
    found = a.value(a.T.filter(~(nine_others(a) | secret)).select(pl.len()))
    return None if found is None else found == N - 10


@attack("differencing", "quasi predicates", "open", BIT, reached={"default": EDGE})
def padding_from_a_stored_population(a: Attacker) -> Any:
    """Leaves nine of one sex out, and the target if a condition holds, after that sex has been asked for."""
    whole = a.value(a.T.filter(mine).select(pl.len()))
    rest = a.value(a.T.filter(mine & ~(nine_others(a, known) | secret)).select(pl.len()))
    found = minus(whole, rest)
    return None if found is None else found == 10


@attack(
    "differencing",
    "denial budget",
    "open",
    tolerance=1e-3,
)
def bisection_at_the_edge(a: Attacker) -> Any:
    """Asks the same with one threshold after another, until the salary is known."""
    nine, low, high = nine_others(a), 0.0, 131_072.0
    while high - low > 60:
        middle = (low + high) / 2
        above = ten(a, nine | (target & (salary > middle)))
        if above is None:
            return None
        low, high = (middle, high) if above else (low, middle)
    return (low + high) / 2


# -- trackers


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
