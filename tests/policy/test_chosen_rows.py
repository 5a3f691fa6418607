"""Numbers per person tell what decided which of the person's rows there are, and how many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars
import pytest
from bastion_policy.judge_memory import EDGE_BUDGET
from bastion_policy.model import Aggregation, Policy, Review, Role, RoleKind
from drive import World
from query import Q

import bastion.expressions as pl

PEOPLE, MONTHS, TARGET = 1200, 12, 97
RNG = np.random.default_rng(4)
AGES = np.append(RNG.integers(20, 80, PEOPLE - 1), TARGET)
FRAME = polars.DataFrame(
    {
        "id": np.repeat(np.arange(PEOPLE), MONTHS),
        "age": np.repeat(AGES, MONTHS),
        "month": np.tile(np.arange(MONTHS), PEOPLE),
        "pay": RNG.integers(1000, 9192, PEOPLE * MONTHS).astype(float),
    }
).with_columns(bonus=polars.when(polars.col("month") % 2 == 1).then(polars.col("pay") % 7))
ROLES: dict[str, Any] = {
    "id": "identifier", "age": "quasi", "month": "quasi", "pay": Role(RoleKind.MEASURE, varies=True),
    "bonus": Role(RoleKind.MEASURE, varies=True),
}  # fmt: skip
T, age, month, pay, n_ = Q("t"), pl.col("age"), pl.col("month"), pl.col("pay"), pl.col("n")
OURS, OTHERS, MINE = age.is_in(list(range(20, 40))), age.is_in(list(range(40, 60))), age == TARGET
#: three rows of the target, one of some, two of others
FEW_ROWS = (MINE & (month < 3)) | (OURS & (month == 0)) | (OTHERS & (month < 2))
DEFAULT = Policy(Aggregation(10), Review(), unit_domain="people")


PERSONS = FRAME.group_by("id").agg(age=polars.col("age").first(), wealth=polars.col("pay").mean())


def world(policy: Policy = DEFAULT) -> World:
    w = World(remembers=True).add("t", FRAME, policy, ROLES, "id")
    return w.add("people", PERSONS, policy, {"id": "identifier", "age": "quasi", "wealth": "measure"}, "id")


def edges(w: World, plan: Q) -> int:
    answer = w.ask(plan.plan)
    if answer.table is None:
        assert {f.rule for f in answer.verdict.findings} == {"edge-budget"}
        return EDGE_BUDGET + 1
    return sum(len(past.edges) for past in w.pasts.values())


def rules(w: World, plan: Q) -> set[str]:
    return {f.rule for f in w.ask(plan.plan).verdict.findings}


# -- how many rows a person has, chosen by columns that everybody knows

NUMBERS: dict[str, Any] = {
    "len": pl.len(),
    "len and nothing": pl.len() + 0,
    "of the measure": pay.len(),
    "values of it": pay.count(),
    "values of it in words": pay.is_not_null().sum(),
    "other functions": pay.n_unique(),
    "a condition": (pl.len() == 1).cast(pl.Int64) + (pl.len() == 3).cast(pl.Int64) * 3,
}


@pytest.mark.parametrize("form", NUMBERS)
def test_how_many_rows_there_are_is_another_column(form: str) -> None:
    per = T.filter(FEW_ROWS).group_by("id").agg(n=NUMBERS[form], p=pay.first())
    assert edges(world(), per.filter((n_ == 1) | ((n_ == 3) & (pl.col("p") < 5000))).select(pl.len()))


def test_windows_of_few_rows_are_of_their_number() -> None:
    for n in (pay.len().over("id"), pay.cum_count().over("id"), pay.shift(2).over("id").is_not_null().cast(pl.Int64)):
        rows = T.filter(FEW_ROWS).with_columns(n=n)
        assert edges(world(), rows.filter((n_ == 1) | ((n_ == 3) & (pay < 5000))).select(pl.col("id").n_unique()))


def test_sums_of_chosen_rows_are_of_their_number() -> None:
    """Some earn more in six months than anybody in one, and others more in twelve than they in six."""
    rows = (MINE & (month == 0)) | (OURS & (month < 3)) | OTHERS
    per = T.filter(rows).group_by("id").agg(p=pay.sum())
    assert edges(world(), per.filter(pl.col("p").is_between(3000, 28_000)).select(pl.len()))


# -- how many are left once a measure chose

LOW = pay < 1300
CHOSEN = T.filter(LOW).group_by("id")


LEFT: dict[str, Callable[[], Q]] = {
    "rows": lambda: CHOSEN.agg(n=pl.len(), a=age.first()),
    "last month": lambda: CHOSEN.agg(n=month.max(), a=age.first()),
    "first month": lambda: T.sort("month").filter(LOW).group_by("id").agg(n=month.first(), a=age.first()),
    "months": lambda: CHOSEN.agg(n=month.sum(), a=age.first()),
    "computed": lambda: CHOSEN.agg(m=pl.len(), a=age.first()).with_columns(n=pl.col("m") * 2),
    "a window": lambda: T.filter(LOW).with_columns(n=age.len().over("id"), a=age),
    "without nulls": lambda: T.with_columns(x=pay % 3).drop_nulls("x").group_by("id").agg(n=pl.len(), a=age.first()),
    "joined": lambda: Q("people").join(CHOSEN.agg(n=pl.len()), on="id").with_columns(a=age),
}


@pytest.mark.parametrize("form", LEFT)
def test_what_a_measure_left_is_of_the_measure(form: str) -> None:
    a = pl.col("a")
    some = a.is_in(list(range(20, 40))) | (a.is_in(list(range(40, 60))) & (n_ == 2)) | (a == TARGET)
    assert edges(world(), LEFT[form]().filter(some).select(pl.col("id").n_unique()))
    inside = pl.col("id").filter(some).n_unique()
    assert edges(world(), LEFT[form]().select(inside))


def test_as_a_key_it_is_a_bin_of_the_measure() -> None:
    for key in (n_, n_ // 6, n_ > 1):
        for n in (pl.len(), month.max(), age.sum()):
            assert edges(world(), CHOSEN.agg(n=n).group_by(key.alias("key")).agg(pl.len())) == 1
    # everybody has one age
    some = T.filter(~MINE).filter(pay < 2000).group_by("id").agg(n=age.first())
    for key in (n_ // 20, n_ < 40):
        assert edges(world(), some.group_by(key.alias("key")).agg(pl.len())) == 0


def test_one_number_per_person_is_one_threshold() -> None:
    for condition in (n_ >= 2, n_.is_in([2, 3, 5]), n_.is_between(2, 9)):
        w = world()
        plan = CHOSEN.agg(n=pl.len()).filter(condition).select(pl.len())
        assert w.ask(plan.plan).released.height == 1
        assert edges(w, plan) == 1


@pytest.mark.parametrize("n", [pl.len(), month.max(), age.sum(), pay.std().is_null().cast(pl.Int64)])
def test_a_search_by_rows_that_are_left_ends(n: Any) -> None:
    w, asked = world(), 0
    for bound in range(2000, 8000, 250):
        per = T.filter(pay < bound).group_by("id").agg(n=n, a=age.first())
        if w.ask(per.filter((pl.col("a") < 60) | (n_ > 3)).select(pl.len()).plan).table is None:
            break
        asked += 1
    assert asked <= EDGE_BUDGET


FREE: dict[str, Callable[[], Q]] = {
    "rows": lambda: T.group_by("id").agg(n=pl.len()).filter(n_ > 3).select(pl.len()),
    "of a few months": lambda: T.filter(month < 6).group_by("id").agg(n=pl.len()).filter(n_ > 3).select(pl.len()),
    "by the number": lambda: T.filter(month < 6).group_by("id").agg(n=pl.len()).group_by("n").agg(pl.len()),
    "windows": lambda: T.filter(age.len().over("id") > 3).select(pl.len()),
    "rows that are left": lambda: CHOSEN.agg(n=pl.len()).select(n_.mean()),
    "a mean": lambda: T.group_by("id").agg(n=pay.mean()).filter(n_ > 5000).select(pl.len()),
    "a mean of a few months": lambda: (
        T.filter(month < 6).group_by("id").agg(n=pay.mean()).filter(n_ > 5000).select(pl.len())
    ),
    "a sum": lambda: T.group_by("id").agg(n=pay.sum()).filter(n_ > 60_000).select(pl.len()),
    "counts of values": lambda: T.group_by("id").agg(n=pl.col("bonus").count()).select(n_.mean()),
}


@pytest.mark.parametrize("form", FREE)
def test_ordinary_numbers_cost_nothing(form: str) -> None:
    w = world()
    assert w.ask(FREE[form]().plan).released.height
    assert edges(w, FREE[form]()) == 0


def test_a_measure_that_chose_whole_people_left_all_their_rows() -> None:
    rich = Q("people").filter(pl.col("wealth") > 5000).join(T.filter(month < 6), on="id")
    asked = edges(world(), rich.select(pl.col("id").n_unique()))
    assert edges(world(), rich.filter(month.len().over("id") > 3).select(pl.col("id").n_unique())) == asked


# -- the strict profile

SPELT: dict[str, Callable[[], Q]] = {
    "len": lambda: T.group_by("id").agg(n=pl.len()).filter(n_ > 3).select(pl.len()),
    "len and nothing": lambda: T.group_by("id").agg(n=pl.len() + 0).filter(n_ > 3).select(pl.len()),
    "of a known column": lambda: T.group_by("id").agg(n=age.len()).filter(n_ > 3).select(pl.len()),
    "its values": lambda: T.group_by("id").agg(n=age.count()).group_by("n").agg(pl.len()),
    "a window": lambda: T.filter(age.len().over("id") > 3).select(pl.len()),
    "values in a window": lambda: T.filter(age.count().over("id") > 3).select(pl.col("id").n_unique()),
    "counted up": lambda: T.filter(age.cum_count().over("id") > 3).select(pl.col("id").n_unique()),
    "inside": lambda: T.group_by("id").agg(n=pl.lit(1).filter(pl.len() > 3).len()).filter(n_ > 0).select(pl.len()),
    "inside a statistic": lambda: (
        T.group_by("id").agg(n=age.len(), a=age.first()).select(pl.col("a").filter(n_ > 3).median())
    ),
}


@pytest.mark.parametrize("form", SPELT)
def test_under_the_strict_profile_the_number_of_rows_chooses_nobody(form: str) -> None:
    assert "strict-role" in rules(world(Policy.strict(unit="id")), SPELT[form]())


def test_under_the_strict_profile_it_is_aggregated() -> None:
    for n in (pl.len(), age.len(), age.count()):
        found = world(Policy.strict(unit="id")).ask(T.group_by("id").agg(n=n).select(n_.mean()).plan)
        assert found.table is not None, found.verdict.findings
    months = T.filter(month < 6).group_by("id").agg(n=month.n_unique(), a=age.sum())
    for condition in (n_ > 3, pl.col("a") > 60):
        assert world(Policy.strict(unit="id")).ask(months.filter(condition).select(pl.len()).plan).table is not None


# -- how long a list is

LISTS = polars.DataFrame(
    {"id": range(PEOPLE), "age": AGES, "d": [[f"d{i}" for i in range(int(k))] for k in RNG.integers(1, 9, PEOPLE)]}
)


def lists(role: str) -> World:
    return World(remembers=True).add("t", LISTS, DEFAULT, {"id": "identifier", "age": "quasi", "d": role}, "id")


EACH = T.explode("d").group_by("id").agg(n=pl.len(), a=age.first())
LENGTHS: dict[str, Callable[[], Q]] = {
    "filter": lambda: EACH.filter((pl.col("a") < 40) | (n_ > 4)).select(pl.len()),
    "key": lambda: EACH.group_by("n").agg(pl.len()),
    "inside": lambda: EACH.select(pl.col("a").filter(n_ > 4).median()),
    "of a known column": lambda: T.explode("d").group_by("id").agg(n=age.len()).filter(n_ > 4).select(pl.len()),
    "sum of a known column": lambda: T.explode("d").group_by("id").agg(n=age.sum()).filter(n_ > 99).select(pl.len()),
    "a window": lambda: T.explode("d").filter(age.len().over("id") > 4).select(pl.col("id").n_unique()),
}


@pytest.mark.parametrize("form", LENGTHS)
def test_the_length_of_a_list_is_of_the_list(form: str) -> None:
    assert rules(lists("sensitive"), LENGTHS[form]()) == {"sensitive"}
    if form in ("filter", "key"):
        assert edges(lists("measure"), LENGTHS[form]()) >= 1
    w = lists("quasi")
    assert w.ask(LENGTHS[form]().plan).released.height
    assert edges(w, LENGTHS[form]()) == 0


def test_a_search_for_a_length_ends() -> None:
    w, asked = lists("measure"), 0
    for first in range(20, 60):
        some = (pl.col("a") == first) | ((pl.col("a") == TARGET) & (n_ > 4))
        if w.ask(EACH.filter(some).select(pl.len()).plan).table is None:
            break
        asked += 1
    assert asked <= EDGE_BUDGET


# -- whether the row that comes last in the order of a measure has a value

LAST = T.sort("pay").group_by("id").agg(b=pl.col("bonus").last(), a=age.first())
B = pl.col("b")


def test_whether_the_best_paid_month_has_a_value_is_of_the_pay() -> None:
    for plan in (
        LAST.filter(B.is_null()).select(pl.len()),
        LAST.drop_nulls("b").select(pl.len()),
        LAST.filter(B.fill_null(0) >= 0).select(pl.len()),
        T.sort("pay").filter(pl.col("bonus").last().over("id").is_null()).select(pl.col("id").n_unique()),
        T.filter(pay < 5000).group_by("id").agg(b=pl.col("bonus").last()).filter(B.is_null()).select(pl.len()),
        T.filter(pay < 5000).group_by("id").agg(b=pl.col("bonus").last()).drop_nulls("b").select(pl.len()),
    ):
        assert edges(world(), plan)
    for how in (B.null_count(), B.count(), B.is_null().sum(), B.is_not_null().mean()):
        assert rules(world(), LAST.select(how)) == {"argument"}


def test_whether_the_last_month_has_one_is_public() -> None:
    by_month = T.sort("month").group_by("id").agg(b=pl.col("bonus").last())
    for plan in (by_month.filter(B.is_not_null()).select(pl.len()), by_month.drop_nulls("b").select(pl.len())):
        w = world()
        assert w.ask(plan.plan).released["len"].to_list() == [PEOPLE]
        assert edges(w, plan) == 0
    assert world().ask(LAST.select(B.median()).plan).released.height == 1
