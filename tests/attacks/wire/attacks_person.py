"""Attacks that narrow an aggregate to one person by filters, conditions and masks."""

from __future__ import annotations

from typing import Any

import polars
from attack_list import BIT, attack
from wire_arena import Attacker, minus, where
from wire_terms import age, salary, target
from wire_worlds import AGE, HIGH, ID, LOW, PLACE, SEX, TOWN

import bastion.expressions as pl

# -- filters


@attack("one person", "population of k", "k")
def filter_on_a_trait(a: Attacker) -> Any:
    """Filters to the only person of an age and sums."""
    return a.value(a.T.filter(target).select(salary.sum()))


@attack("one person", "identifier")
def filter_on_identity(a: Attacker) -> Any:
    """Filters to an identifier and takes the mean."""
    return a.value(a.T.filter(pl.col("id") == ID).select(salary.mean()))


@attack("one person", "identifier")
def filter_on_some_identities(a: Attacker) -> Any:
    """Filters to eleven identifiers, of which the attacker knows ten people's salaries."""
    ids = [*range(1000, 1010), ID]
    known = a.others.filter(polars.col("id").is_in(ids))["salary"].sum()
    return minus(a.value(a.T.filter(pl.col("id").is_in(ids)).select(salary.sum())), known)


@attack("one person", "population of k", "k")
def filter_on_several_traits(a: Attacker) -> Any:
    """Narrows a filter trait by trait until one person is left."""
    traits = (age > 79) & (pl.col("sex") == SEX) & (pl.col("town") == TOWN)
    return a.value(a.T.filter(traits).select(salary.mean()))


@attack("one person", "population of k", "k")
def filter_inside_an_aggregate(a: Attacker) -> Any:
    """Filters the values inside the sum."""
    return a.value(a.T.select(salary.filter(target).sum()))


@attack("one person", "population of k", "open")
def filter_inside_a_group(a: Attacker) -> Any:
    """Filters the values inside the sum of each town."""
    return where(a.ask(a.T.group_by("town").agg(salary.filter(target).sum())), "town", TOWN, "salary")


@attack("one person", "population of k", "k")
def group_of_one(a: Attacker) -> Any:
    """Groups by age."""
    return where(a.ask(a.T.group_by("age").agg(salary.mean())), "age", AGE, "salary")


@attack("one person", "population of k", "k", (1, 1))
def count_of_one(a: Attacker) -> Any:
    """Counts the people of each age, to learn that the target is alone there."""
    return where(a.ask(a.T.group_by("age").agg(pl.len())), "age", AGE, "len")


@attack("one person", "population of k", "k")
def keys_together_name_one(a: Attacker) -> Any:
    """Groups by traits that are common alone and rare together."""
    cells = a.T.with_columns(old=age > 79).group_by("old", "town", "sex", "place").agg(salary.sum())
    mine = a.ask(cells)
    if "old" not in mine.columns:
        return None
    is_mine = (
        polars.col("old") & (polars.col("town") == TOWN) & (polars.col("sex") == SEX) & (polars.col("place") == PLACE)
    )
    found = mine.filter(is_mine)["salary"]
    return found[0] if len(found) else None


# -- conditions


@attack("one person", "binnings of several columns")
def when_then_null(a: Attacker) -> Any:
    """Sums a choice that is null for everybody else."""
    return a.value(a.T.select(x=pl.when(target).then(salary).otherwise(None).sum()))


@attack("one person", "binnings of several columns")
def when_then_zero(a: Attacker) -> Any:
    """Sums a choice that is zero for everybody else."""
    return a.value(a.T.select(x=pl.when(target).then(salary).otherwise(0).sum()))


@attack("one person", "binnings of several columns", truth=BIT)
def when_then_one_bit(a: Attacker) -> Any:
    """Counts the people for whom a condition on the secret holds, among one."""
    low = a.value(a.T.select(x=pl.when(target & (salary > LOW) & (salary < HIGH)).then(1).otherwise(0).sum()))
    return None if low is None else low == 1


@attack("one person", "binnings of several columns", truth=BIT)
def sum_of_a_condition(a: Attacker) -> Any:
    """Sums a condition that only the target can meet."""
    found = a.value(a.T.select(x=(target & (salary > LOW) & (salary < HIGH)).sum()))
    return None if found is None else found == 1


@attack("one person", "binnings of several columns", truth=BIT)
def any_of_a_condition(a: Attacker) -> Any:
    """Asks whether a condition holds for anybody."""
    return a.value(a.T.select(x=(target & (salary > LOW) & (salary < HIGH)).any()))


@attack("one person", "held values", "open", BIT)
def bit_by_what_is_refused(a: Attacker) -> Any:
    """Compares answers to two conditions; being refused one of them would be an answer too."""
    return a.tells(lambda c: a.T.select(s=pl.when(target & (salary > c)).then(1).otherwise(0).sum()))


@attack("one person", "held values", "open", BIT)
def bit_by_the_largest_choice(a: Attacker) -> Any:
    """Takes the maximum of ones and zeros."""
    return a.tells(lambda c: a.T.select(s=pl.when(target & (salary > c)).then(1).otherwise(0).max()))


@attack("one person", "held values", "open", BIT)
def bit_by_the_smallest_text(a: Attacker) -> Any:
    """Takes the minimum of two texts."""
    return a.tells(
        lambda c: a.T.select(s=pl.when(target & (salary > c)).then(pl.lit("x")).otherwise(pl.lit("y")).min())
    )


@attack("one person", "sensitive columns", truth="hiv")
def sensitive_column_as_filter(a: Attacker) -> Any:
    """Filters by the secret and by the person."""
    found = a.value(a.T.filter(target & pl.col("hiv")).select(pl.len()))
    return None if found is None else found == 1


@attack("one person", "sensitive columns", truth="hiv")
def sensitive_column_as_key(a: Attacker) -> Any:
    """Groups by the secret and by the person."""
    found = a.ask(a.T.with_columns(t=target).group_by("t", "hiv").agg(pl.len()))
    if "t" not in found.columns or found.height < 3:
        return None
    return found.filter(polars.col("t"))["hiv"][0]


@attack("one person", "sensitive columns", truth="hiv")
def sensitive_column_in_a_condition(a: Attacker) -> Any:
    """Counts a sensitive column with and without the target."""
    both = a.value(a.T.select(s=pl.col("hiv").sum()))
    rest = a.value(a.T.select(s=(pl.col("hiv") & ~target).sum()))
    found = minus(both, rest)
    return None if found is None else found == 1


# -- masks


@attack("one person", "products")
def mask_as_factor(a: Attacker) -> Any:
    """Multiplies with a condition cast to a number."""
    return a.value(a.T.select(x=(salary * target.cast(pl.Float64)).sum()))


@attack("one person", "products")
def mask_by_arithmetic(a: Attacker) -> Any:
    """Makes a mask by clipping the distance from the target's age."""
    total = a.value(a.T.select(salary.sum()))
    return minus(total, a.value(a.T.select(x=(salary * (age - AGE).abs().clip(0, 1)).sum())))


@attack("one person", "products")
def mask_by_exponential(a: Attacker) -> Any:
    """Makes a mask by a steep exponential."""
    return a.value(a.T.select(x=(salary * (age * 100.0 - 100.0 * AGE).exp()).sum()))


@attack("one person", "products")
def mask_of_two_minus_one(a: Attacker) -> Any:
    """Weighs everybody twice, and the target once."""
    total = a.value(a.T.select(x=(salary * 2).sum()))
    return minus(total, a.value(a.T.select(x=(salary * (2 - target.cast(pl.Float64))).sum())))


@attack("one person", "powers", truth=(97, 97))
def high_power_of_a_column(a: Attacker) -> Any:
    """Finds the maximum by the root of a sum of high powers."""
    found = a.value(a.T.select(x=(age.cast(pl.Float64) ** 100).sum() ** (1 / 100)))
    return None if found is None else round(found)
