"""Attacks by values and their counts, histograms, windows and pivots. Each works where the owner put no guard, not else.

`ask` gives the attacker whatever leaves: the answer, or the safe part on offer. What is asserted is that the value is not
obtained, not that an error was raised.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars
from attacking import Ask, Attacks, minus, played, values
from bastion_plan import nodes as n
from bastion_policy.model import Policy, Role, RoleKind
from drive import World
from query import Q, exprs, inline

import bastion.expressions as pl

N = 600
TARGET = 137
ROLES: dict[str, Role | str] = {
    "id": "identifier", "age": "quasi", "sex": "quasi", "town": "quasi", "salary": Role(RoleKind.MEASURE),
    "hiv": "sensitive", "debt": Role(RoleKind.MEASURE), "points": "quasi", "disease": "quasi",
    "floor": "quasi", "ward": "quasi",
}  # fmt: skip


def people() -> polars.DataFrame:
    rng = np.random.default_rng(13)
    age = rng.integers(20, 80, N)
    age[TARGET] = 97
    salary = np.round(rng.normal(50_000, 9_000, N), 2)
    salary[TARGET] = 51_234.56
    debt = np.round(rng.exponential(100, N), 2)
    debt[TARGET] = 98_765.43
    disease = [f"d{i}" for i in rng.integers(0, 3, N)]
    disease[TARGET] = "rare"
    # two small groups, and a larger one of the key that the remainder row has
    floor = [7] * 6 + [8] * 6 + [None if i % 20 == TARGET % 20 else 1 for i in range(12, N)]
    ward = [str(i) if i else "(other)" for i in np.array([i or 0 for i in floor])]
    return polars.DataFrame(
        {
            "id": np.arange(1000, 1000 + N), "age": age, "sex": rng.choice(["f", "m"], N),
            "town": rng.choice(["a", "b", "c"], N), "salary": salary, "hiv": np.arange(N) % 4 == 1, "debt": debt,
            "points": rng.integers(0, 1000, N), "disease": disease, "floor": floor, "ward": ward,
        }
    )  # fmt: skip


PEOPLE = people()
SALARY, DEBT = float(PEOPLE["salary"][TARGET]), float(PEOPLE["debt"][TARGET])
guarded = World().add("t", PEOPLE, Policy.default(), ROLES, unit="id")
unguarded = World().add("t", PEOPLE, Policy.open(), ROLES, unit="id")

T = Q("t")
age, salary, debt, points, disease = (pl.col(c) for c in ("age", "salary", "debt", "points", "disease"))
target = age == 97
ATTACKS = Attacks(SALARY)
attack = ATTACKS.note


def only(table: polars.DataFrame, name: str) -> Any:
    found = values(table, name)
    return found[0] if len(found) == 1 else None


# -- the existence of a rare value


@attack(True)
def a_rare_value_in_unique(ask: Ask) -> Any:
    return "rare" in values(ask(T.select(disease.unique())), "disease")


@attack(True)
def a_rare_value_in_unique_rows(ask: Ask) -> Any:
    return "rare" in values(ask(T.select("disease").unique()), "disease")


@attack(True)
def a_rare_value_in_the_subset(ask: Ask) -> Any:
    return "rare" in values(ask(T.unique("disease").select("disease")), "disease")


@attack(True)
def a_rare_value_told_by_a_bit(ask: Ask) -> Any:
    return only(ask(T.select(b=(disease.unique() == "rare").any())), "b")


@attack(True)
def a_rare_value_in_value_counts(ask: Ask) -> Any:
    return any(v["disease"] == "rare" for v in values(ask(T.select(disease.value_counts())), "disease"))


@attack(1 / N)
def the_share_of_a_rare_value(ask: Ask) -> Any:
    found = values(ask(T.select(disease.value_counts(normalize=True))), "disease")
    return min((v["proportion"] for v in found), default=None)


@attack(1)
def the_smallest_count(ask: Ask) -> Any:
    return only(ask(T.select(c=disease.value_counts().struct.field("count").min())), "c")


@attack(True)
def a_rare_value_by_a_join_of_values(ask: Ask) -> Any:
    found = ask(inline({"disease": ["rare", "none"]}).join(T.select(disease.unique()), on="disease", how="semi"))
    return values(found, "disease") == ["rare"]


@attack(True)
def a_rare_value_in_a_pivot(ask: Ask) -> Any:
    found = ask(T.of(n.Pivot, "sex", ("f", "m"), ("disease",), ("salary",), "len"))
    return "rare" in values(found, "disease")


@attack(True)
def a_rare_value_as_a_column_of_a_pivot(ask: Ask) -> Any:
    found = ask(T.of(n.Pivot, "disease", ("rare", "none"), ("sex",), ("salary",), "len"))
    return any(values(found, "rare")) and values(found, "rare") != values(found, "none")


# -- how many values there are


@attack(PEOPLE["points"].n_unique())
def how_many_values(ask: Ask) -> Any:
    return only(ask(T.select(points.unique().len())), "points")


@attack(PEOPLE["disease"].n_unique())
def how_many_values_are_counted(ask: Ask) -> Any:
    return only(ask(T.select(c=disease.value_counts().len())), "c")


@attack(PEOPLE["age"].n_unique())
def how_many_windows(ask: Ask) -> Any:
    return only(ask(windows().select(pl.len())), "len")


# -- the value of a person


@attack("rare")
def mode_of_one(ask: Ask) -> Any:
    return only(ask(T.filter(target).select(disease.mode())), "disease")


@attack("rare")
def mode_of_one_inside(ask: Ask) -> Any:
    return only(ask(T.select(disease.filter(target).mode())), "disease")


@attack(True)
def mode_of_a_secret(ask: Ask) -> Any:
    return only(ask(T.filter(target).select(pl.col("hiv").mode())), "hiv")


@attack(SALARY)
def values_of_one(ask: Ask) -> Any:
    found = values(ask(T.select(salary.filter(target).value_counts())), "salary")
    return found[0]["salary"] if len(found) == 1 else None


@attack(True)
def salaries_by_mode(ask: Ask) -> Any:
    return SALARY in values(ask(T.select(salary.mode())), "salary")


@attack(SALARY)
def a_window_of_one(ask: Ask) -> Any:
    found = ask(windows())
    return only(found.filter(polars.col("age") == 97), "pay") if "age" in found.columns else None


@attack(SALARY)
def a_cell_of_a_pivot(ask: Ask) -> Any:
    found = ask(T.of(n.Pivot, "sex", (PEOPLE["sex"][TARGET],), ("age",), ("salary",), "sum"))
    return only(found.filter(polars.col("age") == 97), found.columns[-1]) if "age" in found.columns else None


@attack(SALARY)
def a_pivot_of_one(ask: Ask) -> Any:
    found = ask(T.filter(target).of(n.Pivot, "sex", (PEOPLE["sex"][TARGET],), ("town",), ("salary",), "mean"))
    return only(found, found.columns[-1]) if found.columns else None


@attack(SALARY)
def a_pivot_less_its_parts(ask: Ask) -> Any:
    """All of a sex, less the diseases that are shown."""
    columns = ("d0", "d1", "d2")
    found = ask(T.of(n.Pivot, "disease", columns, ("sex",), ("salary",), "sum"))
    whole = ask(T.group_by("sex").agg(salary.sum()))
    if not {"sex", *columns} <= set(found.columns):
        return None
    mine = polars.col("sex") == PEOPLE["sex"][TARGET]
    parts = [only(found.filter(mine), c) for c in columns]
    return minus(only(whole.filter(mine), "salary"), *parts)


@attack(SALARY)
def the_first_of_a_pivot(ask: Ask) -> Any:
    found = ask(T.of(n.Pivot, "age", (97,), ("disease",), ("salary",), "first"))
    return only(found.filter(polars.col("disease") == "rare"), "97") if "97" in found.columns else None


@attack(SALARY)
def rolling_over_one(ask: Ask) -> Any:
    found = ask(T.sort("age").of(n.Rolling, exprs("age")[0], "1i", exprs(salary.sum().alias("pay"))))
    return only(found.filter(polars.col("age") == 97), "pay") if "age" in found.columns else None


# -- exact extremes


@attack(97)
def the_largest_of_unique(ask: Ask) -> Any:
    return only(ask(T.select(age.unique().max())), "age")


@attack(97)
def the_last_window(ask: Ask) -> Any:
    return only(ask(windows(include_boundaries=True).select(pl.col("_lower_boundary").max())), "_lower_boundary")


@attack(DEBT)
def edges_of_a_histogram(ask: Ask) -> Any:
    found = values(ask(T.select(h=debt.hist(bin_count=1, include_breakpoint=True))), "h")
    return found[0]["breakpoint"] if found else None


@attack(True)
def bisecting_an_extreme(ask: Ask) -> Any:
    """The bin beyond holds one person up to their debt, and nobody above."""

    def beyond(edge: float) -> Any:
        found = values(ask(T.select(h=debt.hist([0, edge, 1e9]))), "h")
        return found[1] if found else None

    return beyond(DEBT - 0.01) != beyond(DEBT + 0.01)


@attack(1)
def a_narrow_bin(ask: Ask) -> Any:
    found = values(ask(T.select(h=salary.hist([SALARY - 0.001, SALARY + 0.001]))), "h")
    return found[0] if found else None


@attack(1)
def a_narrow_bin_by_its_neighbours(ask: Ask) -> Any:
    found = values(ask(T.select(h=salary.hist([0, SALARY - 0.001, SALARY + 0.001, 1e9]))), "h")
    return minus(N, found[0], found[2]) if found else None


@attack(1)
def a_narrow_bin_of_a_few(ask: Ask) -> Any:
    found = values(ask(T.select(h=salary.filter(target).hist([0, SALARY + 0.001]))), "h")
    return found[0] if found else None


# -- people counted several times


@attack(SALARY)
def a_person_repeated_by_missing_keys(ask: Ask) -> Any:
    """The remainder row has the key of those whose key is missing, so a join with it doubles their rows."""
    return _repeated(ask, "floor", nulls_equal=True)


@attack(SALARY)
def a_person_repeated_by_the_name_of_the_rest(ask: Ask) -> Any:
    return _repeated(ask, "ward")


def _repeated(ask: Ask, key: str, **options: Any) -> Any:
    rows = T
    for i in range(4):
        cells = T.group_by(key).agg(pl.len().alias(f"n{i}"))
        rows = Q(n.Join(rows.plan, cells.plan, "inner", exprs(key), exprs(key), **options))
    return only(ask(rows.filter(target).select(salary.mean())), "salary")


def windows(**options: Any) -> Q:
    (index,), aggs = exprs("age"), exprs(salary.sum().alias("pay"))
    return T.sort("age").of(n.GroupByDynamic, index, "1i", aggs, **options)


test_attack_fails_under_the_default_policy, test_attack_succeeds_without_a_guard = played(ATTACKS, guarded, unguarded)
