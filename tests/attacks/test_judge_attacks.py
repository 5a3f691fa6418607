"""Attacks on the judge, by plan: each gets a person's value without a guard, and must not get it with the default one.

What is asserted is that the value is not obtained, not that an error was raised. `ask` gives the attacker whatever leaves:
the answer, or the safe part that is on offer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import polars
import pytest
from attacking import ask_part, same
from bastion_plan import nodes as n
from bastion_plan.expressions import Over
from bastion_policy.model import Policy, Role, RoleKind
from bastion_policy.verdict import Outcome
from drive import World
from query import Q, concat, inline

import bastion.expressions as pl

N = 600
TARGET = 137
ROLES: dict[str, Role | str] = {
    "id": "identifier", "name": "hidden", "age": "quasi", "sex": "quasi", "town": "quasi", "salary": Role(RoleKind.MEASURE),
    "hiv": "sensitive", "debt": Role(RoleKind.MEASURE), "points": "quasi", "tags": "quasi",
}  # fmt: skip


def people() -> polars.DataFrame:
    rng = np.random.default_rng(7)
    age = rng.integers(20, 80, N)
    age[TARGET] = 97
    salary = np.round(rng.normal(50_000, 9_000, N), 2)
    salary[TARGET] = 81_234.56
    debt = np.round(rng.exponential(100, N), 2)
    debt[TARGET] = 98_765.43
    hiv = rng.random(N) < 0.3
    hiv[TARGET] = True
    return polars.DataFrame(
        {
            "id": np.arange(1000, 1000 + N),
            "name": [f"person {i}" for i in range(N)],
            "age": age,
            "sex": rng.choice(["f", "m"], N),
            "town": rng.choice(["a", "b", "c", "d"], N),
            "salary": salary,
            "hiv": hiv,
            "debt": debt,
            "points": rng.integers(0, 1000, N),
            "tags": [[int(i), int(i) + 1] for i in rng.integers(0, 9, N)],
        }
    )


PEOPLE = people()
SALARY = float(PEOPLE["salary"][TARGET])
DEBT = float(PEOPLE["debt"][TARGET])
NAME = PEOPLE["name"][TARGET]
ID = int(PEOPLE["id"][TARGET])
TOTAL = float(PEOPLE["salary"].sum())

guarded = World().add("t", PEOPLE, Policy.default(), ROLES)
unguarded = World().add("t", PEOPLE, Policy.open(), ROLES | {"name": "quasi"})

T = Q("t")
target = pl.col("age") == 97
salary, debt, age = pl.col("salary"), pl.col("debt"), pl.col("age")
Ask = Callable[[Q], polars.DataFrame]
Attack = Callable[[Ask], Any]
ATTACKS: dict[str, tuple[Attack, Any]] = {}


def attack(truth: Any = SALARY) -> Callable[[Attack], Attack]:
    def note(function: Attack) -> Attack:
        ATTACKS[function.__name__] = (function, truth)
        return function

    return note


def cell(table: polars.DataFrame, name: str, row: int = 0) -> Any:
    return table[name][row] if name in table.columns and table.height > row else None


def minus(one: Any, two: Any) -> Any:
    return None if one is None or two is None else one - two


# -- rows


@attack()
def plain_rows(ask: Ask) -> Any:
    return cell(ask(T), "salary", TARGET)


@attack()
def head(ask: Ask) -> Any:
    return cell(ask(T.head(TARGET + 1)), "salary", TARGET)


@attack()
def slice_of_one(ask: Ask) -> Any:
    return cell(ask(T.slice(TARGET, 1)), "salary")


@attack()
def slice_then_mean(ask: Ask) -> Any:
    return cell(ask(T.slice(TARGET, 1).select(salary.mean())), "salary")


@attack()
def filter_then_rows(ask: Ask) -> Any:
    return cell(ask(T.filter(target).select("salary")), "salary")


@attack(True)
def unique_rows(ask: Ask) -> Any:
    found = ask(T.select("salary").unique())
    return "salary" in found.columns and SALARY in found["salary"].to_list()


@attack(True)
def unique_expression(ask: Ask) -> Any:
    found = ask(T.select(salary.unique()))
    return "salary" in found.columns and SALARY in found["salary"].to_list()


@attack()
def sort_and_limit(ask: Ask) -> Any:
    return cell(ask(T.sort("age", descending=True).head(1)), "salary")


@attack()
def sort_head_then_sum(ask: Ask) -> Any:
    return cell(ask(T.sort("age", descending=True).head(1).select(salary.sum())), "salary")


@attack(DEBT)
def top_k(ask: Ask) -> Any:
    return cell(ask(T.top_k(1, "debt").select("debt")), "debt")


@attack(DEBT)
def top_k_then_mean(ask: Ask) -> Any:
    return cell(ask(T.top_k(1, "debt").select(debt.mean())), "debt")


@attack()
def sample_of_everybody(ask: Ask) -> Any:
    found = ask(T.sample(N))
    return cell(found.filter(polars.col("age") == 97), "salary") if "age" in found.columns else None


@attack()
def implode(ask: Ask) -> Any:
    found = cell(ask(T.select(salary.implode())), "salary")
    return None if found is None else found[TARGET]


@attack()
def agg_without_function(ask: Ask) -> Any:
    found = ask(T.group_by("age").agg(salary))
    if "age" not in found.columns:
        return None
    rows = found.filter(polars.col("age") == 97)
    value = cell(rows, "salary")
    return value[0] if isinstance(value, polars.Series | list) else value


@attack()
def first_of_sorted(ask: Ask) -> Any:
    return cell(ask(T.sort("age", descending=True).select(salary.first())), "salary")


@attack()
def last_of_group(ask: Ask) -> Any:
    found = ask(T.group_by("age").agg(salary.last()))
    return cell(found.filter(polars.col("age") == 97), "salary") if "age" in found.columns else None


@attack()
def fill_null_identity(ask: Ask) -> Any:
    return cell(ask(T.select(salary.fill_null(0))), "salary", TARGET)


@attack()
def pow_identity(ask: Ask) -> Any:
    return cell(ask(T.select(salary**1)), "salary", TARGET)


@attack()
def broadcast_keeps_rows(ask: Ask) -> Any:
    return cell(ask(T.with_columns(m=salary.mean())), "salary", TARGET)


@attack(True)
def duplicates_of_identifier(ask: Ask) -> Any:
    found = ask(T.group_by("id").agg(pl.len()))
    return "id" in found.columns and ID in found["id"].to_list()


# -- one person


@attack()
def filter_on_identity(ask: Ask) -> Any:
    return cell(ask(T.filter(pl.col("id") == ID).select(salary.mean())), "salary")


@attack()
def filter_on_age(ask: Ask) -> Any:
    return cell(ask(T.filter(target).select(salary.sum())), "salary")


@attack()
def inner_filter(ask: Ask) -> Any:
    return cell(ask(T.select(salary.filter(target).sum())), "salary")


@attack()
def inner_filter_beside_its_complement(ask: Ask) -> Any:
    found = ask(T.select(a=salary.sum(), b=salary.filter(~target).sum()))
    return minus(cell(found, "a"), cell(found, "b"))


@attack()
def when_then_null(ask: Ask) -> Any:
    return cell(ask(T.select(x=pl.when(target).then(salary).otherwise(None).sum())), "x")


@attack()
def when_then_zero(ask: Ask) -> Any:
    return cell(ask(T.select(x=pl.when(target).then(salary).otherwise(0).sum())), "x")


@attack(1)
def when_then_bit(ask: Ask) -> Any:
    return cell(ask(T.select(x=pl.when(target & (salary > 80_000)).then(1).otherwise(0).sum())), "x")


@attack(1)
def sum_of_condition(ask: Ask) -> Any:
    return cell(ask(T.select(x=(target & (salary > 80_000)).sum())), "x")


@attack(True)
def any_of_condition(ask: Ask) -> Any:
    return cell(ask(T.select(x=(target & (salary > 80_000)).any())), "x")


@attack()
def mask_multiplication(ask: Ask) -> Any:
    return cell(ask(T.select(x=(salary * target.cast(pl.Float64)).sum())), "x")


@attack()
def arithmetic_mask(ask: Ask) -> Any:
    mask = (age - 97).abs().clip(0, 1)
    return minus(TOTAL, cell(ask(T.select(x=(salary * mask).sum())), "x"))


@attack()
def exponential_mask(ask: Ask) -> Any:
    return cell(ask(T.select(x=(salary * (age * 100.0 - 9700.0).exp()).sum())), "x")


@attack()
def two_minus_mask(ask: Ask) -> Any:
    weight = 2 - target.cast(pl.Float64)
    total = cell(ask(T.select(x=(salary * 2).sum())), "x")
    return minus(total, cell(ask(T.select(x=(salary * weight).sum())), "x"))


@attack()
def power_of_column(ask: Ask) -> Any:
    value = cell(ask(T.select(x=(age.cast(pl.Float64) ** 100).sum() ** (1 / 100))), "x")
    return SALARY if value is not None and round(value) == 97 else None


@attack()
def window_over_age(ask: Ask) -> Any:
    return cell(ask(T.select(x=salary.sum().over("age"), age=age).filter(age == 97)), "x")


@attack()
def window_then_group(ask: Ask) -> Any:
    found = ask(T.with_columns(x=salary.sum().over("age")).group_by("town").agg(pl.col("x").sum()))
    plain = PEOPLE.with_columns(x=polars.col("salary").sum().over("age"))
    if "x" not in found.columns:
        return None
    others = plain.filter(polars.col("age") != 97).group_by("town").agg(polars.col("x").sum().alias("y"))
    town = PEOPLE["town"][TARGET]
    rows = found.filter(polars.col("town") == town)
    return minus(cell(rows, "x"), cell(others.filter(polars.col("town") == town), "y"))


@attack()
def self_join_broadcast(ask: Ask) -> Any:
    one = T.filter(target).select(sec=salary)
    return cell(ask(Q(n.Join(T.plan, one.plan, "cross")).select(pl.col("sec").mean())), "sec")


@attack()
def self_join_on_a_constant(ask: Ask) -> Any:
    one = T.filter(target).select(sec=salary, k=age * 0)
    joined = T.with_columns(k=age * 0).join(one, on="k", how="left")
    return cell(ask(joined.select(pl.col("sec").mean())), "sec")


@attack()
def own_candidate_table_inner(ask: Ask) -> Any:
    return cell(ask(T.join(inline({"age": [97]}), on="age").select(salary.sum())), "salary")


@attack()
def own_candidate_table_semi(ask: Ask) -> Any:
    return cell(ask(T.join(inline({"age": [97]}), on="age", how="semi").select(salary.sum())), "salary")


@attack()
def own_candidate_table_anti(ask: Ask) -> Any:
    rest = cell(ask(T.join(inline({"age": [97]}), on="age", how="anti").select(salary.sum())), "salary")
    return minus(TOTAL, rest)


@attack()
def own_candidate_ids(ask: Ask) -> Any:
    return cell(ask(T.join(inline({"id": [ID]}), on="id").select(salary.sum())), "salary")


@attack()
def label_by_join(ask: Ask) -> Any:
    labels = inline({"age": list(range(18, 99)), "label": [1 if a == 97 else 0 for a in range(18, 99)]})
    found = ask(T.join(labels, on="age", how="left").group_by("label").agg(salary.sum()))
    return cell(found.filter(polars.col("label") == 1), "salary") if "label" in found.columns else None


@attack()
def weight_by_join(ask: Ask) -> Any:
    labels = inline({"age": list(range(18, 99)), "w": [1.0 if a == 97 else 0.0 for a in range(18, 99)]})
    return cell(ask(T.join(labels, on="age", how="left").select(x=(salary * pl.col("w")).sum())), "x")


@attack()
def repetition_by_join(ask: Ask) -> Any:
    twice = inline({"age": [*range(18, 99), 97], "w": [0] * 82})
    return minus(cell(ask(T.join(twice, on="age").select(salary.sum())), "salary"), TOTAL)


@attack()
def nested_group_by(ask: Ask) -> Any:
    found = ask(T.group_by("age").agg(salary.sum()).group_by("age").agg(salary.max()))
    return cell(found.filter(polars.col("age") == 97), "salary") if "age" in found.columns else None


@attack()
def max_of_group_sums(ask: Ask) -> Any:
    found = ask(T.group_by("age").agg(salary.sum()).select(salary.min()))
    return cell(found, "salary")


# -- inflation


@attack()
def concat_with_itself(ask: Ask) -> Any:
    one = T.filter(target)
    return cell(ask(concat(*[one] * 20).select(salary.mean())), "salary")


@attack()
def concat_as_weight(ask: Ask) -> Any:
    return minus(cell(ask(concat(T, T.filter(target)).select(salary.sum())), "salary"), TOTAL)


@attack()
def concat_without_target(ask: Ask) -> Any:
    found = cell(ask(concat(T, T.filter(~target)).select(salary.sum())), "salary")
    return minus(2 * TOTAL, found)


@attack()
def melt(ask: Ask) -> Any:
    wide = T.filter(target).select(*[(salary * 1).alias(f"s{i}") for i in range(12)])
    return cell(ask(wide.unpivot([f"s{i}" for i in range(12)]).select(pl.col("value").mean())), "value")


@attack()
def explode_of_own_column(ask: Ask) -> Any:
    return cell(ask(T.filter(target).explode("tags").select(salary.mean())), "salary")


# -- extremes


@attack(DEBT)
def maximum(ask: Ask) -> Any:
    return cell(ask(T.select(debt.max())), "debt")


@attack(DEBT)
def quantile_one(ask: Ask) -> Any:
    return cell(ask(T.select(debt.quantile(1.0))), "debt")


@attack(DEBT)
def quantile_nearly_one(ask: Ask) -> Any:
    return cell(ask(T.select(debt.quantile(0.99999))), "debt")


@attack(97)
def maximum_of_whole_numbers(ask: Ask) -> Any:
    return cell(ask(T.select(age.max())), "age")


@attack(DEBT)
def shifted_maximum(ask: Ask) -> Any:
    value = cell(ask(T.select(x=(debt * 7 + 3).max())), "x")
    return None if value is None else (value - 3) / 7


@attack(DEBT)
def clip_differencing(ask: Ask) -> Any:
    low = 50_000.0
    value = cell(ask(T.select(x=debt.clip(low, None).sum())), "x")
    return None if value is None else value - (N - 1) * low


@attack(DEBT)
def absolute_differencing(ask: Ask) -> Any:
    low = 50_000.0
    value = cell(ask(T.select(x=(debt - low).abs().sum())), "x")
    total = float(PEOPLE["debt"].sum())
    # |x - l| + x - l is 2 * max(x - l, 0)
    return None if value is None else (value + total - N * low) / 2 + low


@attack(DEBT)
def dominated_sum(ask: Ask) -> Any:
    rest = float(PEOPLE.filter(polars.col("age") >= 77)["debt"].sum()) - DEBT
    return minus(cell(ask(T.filter(age >= 77).select(debt.sum())), "debt"), rest)


@attack(DEBT)
def shift_against_dominance(ask: Ask) -> Any:
    older = PEOPLE.filter(polars.col("age") >= 77)
    value = cell(ask(T.filter(age >= 77).select(x=(debt + 1_000_000).sum())), "x")
    return None if value is None else value - 1_000_000 * older.height - (float(older["debt"].sum()) - DEBT)


@attack(DEBT)
def dominated_variance(ask: Ask) -> Any:
    older = PEOPLE.filter(polars.col("age") >= 77)["debt"].to_numpy()
    found = cell(ask(T.filter(age >= 77).select(debt.var())), "debt")
    if found is None:
        return None
    grid = np.round(np.linspace(DEBT - 5, DEBT + 5, 1001), 2)
    rest = older[older != DEBT]
    fits = [abs(np.var([*rest, g], ddof=1) - found) for g in grid]
    return float(grid[int(np.argmin(fits))])


@attack(97)
def extreme_of_categories(ask: Ask) -> Any:
    value = cell(ask(T.select(x=age.cast(pl.String).max())), "x")
    return None if value is None else int(value)


@attack(DEBT)
def min_max_scaling(ask: Ask) -> Any:
    found = ask(
        T.with_columns(z=(debt - debt.min()) / (debt.max() - debt.min())).select(pl.col("z").mean(), debt.mean())
    )
    z, mean = cell(found, "z"), cell(found, "debt")
    low = float(PEOPLE["debt"].min())
    return None if not z or mean is None else (mean - low) / z + low


# -- encodings


@attack()
def base_thousand(ask: Ask) -> Any:
    x = pl.when(target).then(salary * 1_000_000).otherwise(salary * 0)
    value = cell(ask(T.select(x=x.sum())), "x")
    return None if value is None else value / 1_000_000


@attack()
def replaced_by_weights(ask: Ask) -> Any:
    weight = pl.col("age").replace({97: 1, **dict.fromkeys(range(18, 97), 0)})
    return cell(ask(T.select(x=(salary * weight).sum())), "x")


@attack()
def product_with_known_column(ask: Ask) -> Any:
    w = pl.when(target).then(1.0).otherwise(0.0)
    return cell(ask(T.with_columns(w=w).select(x=(pl.col("w") * salary).sum())), "x")


@attack()
def covariance_with_a_mask(ask: Ask) -> Any:
    w = pl.when(target).then(1.0).otherwise(0.0)
    found = cell(ask(T.with_columns(w=w).select(x=pl.cov("w", "salary", ddof=0))), "x")
    return None if found is None else found * N + TOTAL / N


@attack(True)
def rounding_by_a_large_constant(ask: Ask) -> Any:
    # adding and taking away 2**52 * 60,000 leaves a multiple of a large step: a condition on the value
    step = 2.0**68
    value = cell(ask(T.select(x=((debt + step) - step).sum())), "x")
    return value is not None and value > 0 and value == float(((PEOPLE["debt"] + step) - step).sum())


@attack(1)
def count_of_narrow_casts(ask: Ask) -> Any:
    value = cell(ask(T.select(x=(debt.cast(pl.Int16, strict=False)).count())), "x")
    return minus(N, value)


# -- differencing against the whole


@attack()
def all_minus_one(ask: Ask) -> Any:
    return minus(
        cell(ask(T.select(salary.sum())), "salary"), cell(ask(T.filter(~target).select(salary.sum())), "salary")
    )


@attack(1)
def count_all_minus_one(ask: Ask) -> Any:
    return minus(N, cell(ask(T.filter(~(target & (salary > 80_000))).select(pl.len())), "len"))


@attack()
def all_minus_one_by_groups(ask: Ask) -> Any:
    found = ask(T.with_columns(g=target).group_by("g").agg(salary.sum()))
    rest = cell(found.filter(~polars.col("g")), "salary") if "g" in found.columns and found.height else None
    return minus(TOTAL, rest)


@attack()
def all_minus_one_by_window(ask: Ask) -> Any:
    found = ask(T.filter(~target).with_columns(m=salary.sum()).select(pl.col("m").mean()))
    return minus(TOTAL, cell(found, "m"))


@attack(True)
def secret_bisection_against_the_whole(ask: Ask) -> Any:
    """The answer must not tell whether the condition holds for the target."""
    yes = ask(T.filter(~(target & (salary > 80_000))).select(pl.len(), salary.sum()))
    no = ask(T.filter(~(target & (salary < 80_000))).select(pl.len(), salary.sum()))
    return not yes.equals(no)


@attack(True)
def secret_bisection_from_nobody(ask: Ask) -> Any:
    yes = ask(T.filter(target & (salary > 80_000)).select(pl.len()))
    no = ask(T.filter(target & (salary < 80_000)).select(pl.len()))
    return not yes.equals(no)


@attack(True)
def secret_bisection_by_groups(ask: Ask) -> Any:
    yes = ask(T.with_columns(g=target & (salary > 80_000)).group_by("g").agg(pl.len()))
    no = ask(T.with_columns(g=target & (salary < 80_000)).group_by("g").agg(pl.len()))
    return not yes.equals(no)


@attack(True)
def secret_bisection_by_inner_filter(ask: Ask) -> Any:
    yes = ask(T.select(salary.filter(~(target & (salary > 80_000))).sum()))
    no = ask(T.select(salary.filter(~(target & (salary < 80_000))).sum()))
    return not yes.equals(no)


@attack(True)
def secret_bisection_by_failure(ask: Ask) -> Any:
    """A conversion that fails for the target alone must not show."""

    def fails(condition: Any) -> bool:
        text = pl.when(target & condition).then(pl.lit("x")).otherwise(pl.lit("1"))
        try:
            ask(T.with_columns(z=text.cast(pl.Int64)).group_by("z").agg(pl.len()))
        except polars.exceptions.PolarsError:
            return True
        return False

    return fails(salary > 80_000) != fails(salary < 80_000)


# -- hidden columns


@attack(NAME)
def hidden_by_alias(ask: Ask) -> Any:
    return cell(ask(T.select(x=pl.col("name"))), "x", TARGET)


@attack(True)
def hidden_as_filter(ask: Ask) -> Any:
    found = ask(T.filter(pl.col("name").str.ends_with("7")).select(pl.len()))
    return cell(found, "len") == PEOPLE.filter(polars.col("name").str.ends_with("7")).height


@attack(True)
def hidden_renamed_as_filter(ask: Ask) -> Any:
    found = ask(
        T.with_columns(x=pl.col("name").str.to_uppercase()).filter(pl.col("x").str.ends_with("7")).select(pl.len())
    )
    return cell(found, "len") == PEOPLE.filter(polars.col("name").str.ends_with("7")).height


@attack(True)
def hidden_as_key(ask: Ask) -> Any:
    found = ask(T.with_columns(x=pl.col("name").str.slice(0, 8)).group_by("x").agg(pl.len()))
    return "x" in found.columns and "person 1" in found["x"].to_list()


@attack(True)
def hidden_in_over(ask: Ask) -> Any:
    x = Over((salary.mean()).plan, (pl.col("name").plan,))
    found = ask(Q(n.WithColumns(T.plan, (pl.Expr(x).alias("x").plan,))).select(pl.col("x").sum()))
    return cell(found, "x") is not None and math.isclose(cell(found, "x"), TOTAL)


@attack(True)
def hidden_as_sort_key(ask: Ask) -> Any:
    found = ask(T.sort("name").group_by("town", maintain_order=True).agg(pl.len()))
    first = PEOPLE.sort("name")["town"][0]
    return (
        cell(found, "town") == first
        and found.height == 4
        and found["town"].to_list() != sorted(found["town"].to_list())
    )


@attack(True)
def hidden_length(ask: Ask) -> Any:
    found = cell(ask(T.select(x=pl.col("name").str.len_chars().mean())), "x")
    return found is not None and math.isclose(found, float(PEOPLE["name"].str.len_chars().mean()))


# -- order


@attack(True)
def order_of_groups(ask: Ask) -> Any:
    """The first key of an ordered group_by is that of the first row."""
    found = ask(T.sort("debt", descending=True).group_by("town", maintain_order=True).agg(pl.len()))
    expected = PEOPLE.sort("debt", descending=True).group_by("town", maintain_order=True).len()["town"].to_list()
    return "town" in found.columns and found["town"].to_list() == expected != sorted(expected)


@attack()
def shift(ask: Ask) -> Any:
    found = ask(T.sort("age").with_columns(x=salary.cum_sum() - salary.cum_sum().shift(1)).select(pl.col("x").last()))
    return cell(found, "x")


@attack()
def row_index(ask: Ask) -> Any:
    found = ask(T.with_row_index("i").filter(pl.col("i") == TARGET).select(salary.mean()))
    return cell(found, "salary")


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_fails_under_the_default_policy(name: str) -> None:
    function, truth = ATTACKS[name]
    assert not same(function(lambda q: ask_part(guarded, q)), truth)


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_succeeds_without_a_guard(name: str) -> None:
    function, truth = ATTACKS[name]
    assert same(function(lambda q: ask_part(unguarded, q)), truth)


def test_there_are_enough_attacks() -> None:
    assert len(ATTACKS) >= 40


def test_harmless_queries_are_still_answered() -> None:
    for plan in (
        T.group_by("town").agg(salary.mean(), pl.len()),
        T.filter(age < 50).group_by("sex").agg(salary.sum()),
        T.select(salary.median(), age.mean(), c=pl.corr("age", "salary")),
    ):
        answer = guarded.ask(plan.plan)
        assert answer.verdict.outcome is Outcome.RELEASE
        assert not answer.verdict.note.suppressed
