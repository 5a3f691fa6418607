"""Attacks that narrow an aggregate to one person: filters, masks, windows, joins, nested tables."""

from __future__ import annotations

from typing import Any

import polars
from attack_list import BIT, attack
from bastion_plan import nodes as n
from bastion_plan.dtypes import DType
from bastion_plan.expressions import Column, Over
from query import Q, exprs, inline
from wire_arena import Attacker, minus, values, where
from wire_worlds import AGE, EVERYBODY_ELSE, HIGH, ID, LOW, PLACE, SEX, TOWN

import bastion.expressions as pl

salary, age, debt = (pl.col(c) for c in ("salary", "age", "debt"))
target = age == AGE


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


@attack("one person", "homogeneity", "homogeneity", "clinic")
def everybody_of_a_clinic(a: Attacker) -> Any:
    """Reads a share of nought or one in a group: it holds for each of its members."""
    found = where(a.ask(a.T.group_by("clinic").agg(pl.col("hiv").mean())), "clinic", 3, "hiv")
    return bool(found) if found in (0.0, 1.0) else None


@attack("one person", "homogeneity", "homogeneity", "clinic")
def everybody_of_a_clinic_by_sums(a: Attacker) -> Any:
    """Compares the sum of a group with its count."""
    found = a.ask(a.T.filter(pl.col("clinic") == 3).select(s=pl.col("hiv").sum(), n=pl.col("hiv").count()))
    one, count = (values(found, c)[0] if values(found, c) else None for c in ("s", "n"))
    return None if one is None or one not in (0, count) else one == count


@attack("one person", "homogeneity", "homogeneity", "clinic")
def nobody_else_of_a_clinic(a: Attacker) -> Any:
    """Reads the share of the opposite in a group."""
    found = where(a.ask(a.T.group_by("clinic").agg(x=(~pl.col("hiv")).mean())), "clinic", 3, "x")
    return found == 0.0 if found in (0.0, 1.0) else None


def in_the_clinic(a: Attacker, expr: Any, rows: Any = None) -> Any:
    """Return a statistic of the clinic, from a table by clinic or from the clinic alone."""
    if rows is None:
        return where(a.ask(a.T.group_by("clinic").agg(x=expr)), "clinic", 3, "x")
    return a.value(rows.select(x=expr))


hiv, grade = pl.col("hiv"), pl.col("grade")
clinic = pl.col("clinic") == 3


@attack("one person", "homogeneity", "open", "clinic")
def all_of_a_clinic(a: Attacker) -> Any:
    """Asks whether all of a group have it."""
    found, some = in_the_clinic(a, hiv.all()), in_the_clinic(a, hiv.any())
    return found if found is not None and found == some else None


@attack("one person", "homogeneity", "homogeneity", "clinic")
def bits_of_a_clinic_as_numbers(a: Attacker) -> Any:
    """Casts the Boolean to a number before its mean."""
    found = in_the_clinic(a, hiv.cast(pl.Int64).mean())
    return bool(found) if found in (0.0, 1.0) else None


@attack("one person", "homogeneity", "open", "clinic")
def bits_of_a_clinic_moved(a: Attacker) -> Any:
    """Moves and scales the Boolean before its mean."""
    found = in_the_clinic(a, (hiv.cast(pl.Float64) * 3 - 7).mean())
    return None if found is None or round(found, 9) not in (-7, -4) else round(found, 9) == -4


@attack(
    "one person",
    "homogeneity",
    "homogeneity",
    "clinic",
)
def clinic_less_the_others(a: Attacker) -> Any:
    """Subtracts the other clinics' counts from everybody's."""
    total = a.value(a.T.select(hiv.sum()))
    rest = a.value(a.T.filter(~clinic).select(hiv.sum()))
    found = minus(total, rest)
    return None if found not in (0, 15) else found == 15


@attack("one person", "homogeneity", "homogeneity", "clinic")
def clinic_less_the_cells_that_are_shown(a: Attacker) -> Any:
    """Subtracts the clinics that are shown from everybody's count."""
    total, found = a.value(a.T.select(hiv.sum())), a.ask(a.T.group_by("clinic").agg(hiv.sum()))
    if "clinic" not in found.columns:
        return None
    mine = where(found, "clinic", 3, "hiv")
    shown = [v for c, v in zip(found["clinic"], found["hiv"], strict=True) if c not in (None, 3)]
    left = mine if mine is not None else minus(total, *shown)
    return None if left not in (0, 15) else left == 15


@attack("one person", "homogeneity", "homogeneity", "clinic")
def share_of_a_grade(a: Attacker) -> Any:
    """Takes the share of one value of a sensitive text in a group."""
    found = in_the_clinic(a, (grade == "hi").mean())
    return bool(found) if found in (0.0, 1.0) else None


@attack("one person", "homogeneity", "homogeneity", "clinic")
def share_of_grades_but_one(a: Attacker) -> Any:
    """Takes the share of all other values."""
    found = in_the_clinic(a, (grade != "lo").mean())
    return bool(found) if found in (0.0, 1.0) else None


@attack("one person", "homogeneity", "open", "clinic")
def share_of_listed_grades(a: Attacker) -> Any:
    """Takes the share of values in a list."""
    found = in_the_clinic(a, grade.is_in(["hi", "mid"]).mean())
    return bool(found) if found in (0.0, 1.0) else None


@attack(
    "one person",
    "homogeneity",
    "homogeneity",
    "clinic",
)
def commonest_grade(a: Attacker) -> Any:
    """Compares the smallest with the largest text of a group."""
    low, high = in_the_clinic(a, grade.min()), in_the_clinic(a, grade.max())
    return low == "hi" if low is not None and low == high else None


@attack("one person", "homogeneity", "open", "clinic")
def grades_counted(a: Attacker) -> Any:
    """Counts the values of a sensitive text in a group."""
    found = values(a.ask(a.T.filter(clinic).select(grade.value_counts())), "grade")
    return found[0]["grade"] == "hi" if len(found) == 1 else None


@attack("one person", "homogeneity", "open", "clinic")
def distinct_grades(a: Attacker) -> Any:
    """Lists the distinct values of a group."""
    found = values(a.ask(a.T.filter(clinic).select(grade.unique())), "grade")
    return found[0] == "hi" if len(found) == 1 else None


@attack("one person", "homogeneity", "open", "clinic")
def grade_by_mode(a: Attacker) -> Any:
    """Takes the mode of a group, and of the group without it."""
    found = values(a.ask(a.T.filter(clinic).select(grade.mode())), "grade")
    rest = a.value(a.T.filter(clinic).select(x=(grade != found[0]).sum())) if len(found) == 1 else None
    return found[0] == "hi" if rest == 0 else None


@attack("one person", "homogeneity", "open", "clinic")
def length_of_grades(a: Attacker) -> Any:
    """Counts the letters of a sensitive text."""
    found = in_the_clinic(a, grade.str.starts_with("h").mean())
    return bool(found) if found in (0.0, 1.0) else None


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


# -- windows


@attack("one person", "population of k", "open")
def window_over_a_trait(a: Attacker) -> Any:
    """Sums over each age, and keeps the rows of one."""
    return a.value(a.T.with_columns(x=salary.sum().over("age")).filter(target).select(pl.col("x").max()))


@attack("one person", "row-level")
def window_over_the_identity(a: Attacker) -> Any:
    """Sums over each identifier, which is the row itself, and fetches the rows."""
    return where(a.ask(a.T.select("age", x=salary.sum().over("id"))), "age", AGE, "x")


@attack("one person", "population of k", "open")
def window_then_group(a: Attacker) -> Any:
    """Sums windows by town; knows all other windows."""
    found = a.ask(a.T.with_columns(x=salary.sum().over("age")).group_by("town").agg(pl.col("x").sum()))
    rest = EVERYBODY_ELSE.with_columns(x=polars.col("salary").sum().over("age")).filter(polars.col("town") == TOWN)
    return minus(where(found, "town", TOWN, "x"), rest["x"].sum())


@attack("one person", "keys beside the unit")
def window_over_unit_and_condition(a: Attacker) -> Any:
    """Adds the condition to a window over the unit."""
    over = Over(salary.sum().plan, (pl.col("id").plan, target.plan))
    rows = a.T.with_columns(pl.Expr(over).alias("x")).filter(target)
    return a.value(rows.select(s=pl.col("x").sum()))


@attack("one person", "windows")
def rolling_window_of_one(a: Attacker) -> Any:
    """Rolls a window of one year over the ages."""
    rolled = a.T.sort("age").of(n.Rolling, exprs("age")[0], "1i", exprs(salary.sum().alias("pay")))
    return where(a.ask(rolled), "age", AGE, "pay")


@attack("one person", "population of k", "k")
def dynamic_window_of_one(a: Attacker) -> Any:
    """Groups the ages into windows of one year."""
    windows = a.T.sort("age").of(n.GroupByDynamic, exprs("age")[0], "1i", exprs(salary.sum().alias("pay")))
    return where(a.ask(windows), "age", AGE, "pay")


@attack("one person", "windows")
def moved_window_of_one(a: Attacker) -> Any:
    """Moves the windows so that one holds the target alone."""
    windows = a.T.sort("age").of(
        n.GroupByDynamic, exprs("age")[0], "17i", exprs(salary.sum().alias("pay")), offset="12i"
    )
    found = a.ask(windows)
    return values(found, "pay")[-1] if values(found, "pay") else None


@attack("one person", "order-dependent")
def ranks_as_keys(a: Attacker) -> Any:
    """Groups by the rank of the age."""
    found = a.ask(a.T.with_columns(r=age.rank("dense")).group_by("r").agg(salary.sum()).sort("r"))
    return values(found, "salary")[-1] if values(found, "salary") else None


@attack("one person", "binnings of data-made edges")
def quantile_bins_as_keys(a: Attacker) -> Any:
    """Groups by quantile bins so thin that one holds the oldest alone."""
    found = a.ask(a.T.with_columns(b=age.qcut([0.9999]).cast(pl.String)).group_by("b").agg(pl.len(), salary.sum()))
    mine = found.filter(polars.col("len") == 1) if "len" in found.columns else found
    return mine["salary"][0] if "salary" in mine.columns and mine.height else None


@attack("one person", "population of k", "k")
def cut_bins_as_keys(a: Attacker) -> Any:
    """Groups by bins of the attacker's own edges."""
    found = a.ask(a.T.with_columns(b=age // 97).group_by("b").agg(salary.sum()))
    return where(found, "b", 1, "salary")


@attack("one person", "population of k", "k")
def cell_of_a_pivot(a: Attacker) -> Any:
    """Pivots ages against sexes."""
    found = a.ask(a.T.of(n.Pivot, "sex", (SEX,), ("age",), ("salary",), "sum"))
    return where(found, "age", AGE, found.columns[-1]) if found.columns else None


# -- joins


@attack("one person", "joins that multiply")
def broadcast_by_a_cross_join(a: Attacker) -> Any:
    """Joins the target's row to everybody's and takes the mean."""
    one = a.T.filter(target).select(sec=salary)
    return a.value(Q(n.Join(a.T.plan, one.plan, "cross")).select(pl.col("sec").mean()))


@attack("one person", "joins of private tables")
def broadcast_by_a_constant(a: Attacker) -> Any:
    """Joins the target's row to everybody's by a computed constant."""
    one = a.T.filter(target).select(sec=salary, k=age * 0)
    joined = a.T.with_columns(k=age * 0).join(one, on="k", how="left")
    return a.value(joined.select(pl.col("sec").mean()))


@attack("one person", "joins of private tables")
def broadcast_by_a_trait(a: Attacker) -> Any:
    """Joins the target's row to all of one sex."""
    one = a.T.filter(target).select("sex", sec=salary)
    return a.value(a.T.join(one, on="sex").select(pl.col("sec").mean()))


@attack("one person", "population of k", "k")
def candidates_inner(a: Attacker) -> Any:
    """Joins a table of candidates."""
    return a.value(a.T.join(inline({"age": [AGE]}), on="age").select(salary.sum()))


@attack("one person", "population of k", "k")
def candidates_semi(a: Attacker) -> Any:
    """Keeps who is in a table of candidates."""
    return a.value(a.T.join(inline({"age": [AGE]}), on="age", how="semi").select(salary.sum()))


@attack("one person", "the whole table", "k")
def candidates_anti(a: Attacker) -> Any:
    """Leaves out who is in a table of candidates, and subtracts from the whole."""
    total = a.value(a.T.select(salary.sum()))
    return minus(total, a.value(a.T.join(inline({"age": [AGE]}), on="age", how="anti").select(salary.sum())))


@attack("one person", "joins that multiply")
def candidates_cross(a: Attacker) -> Any:
    """Crosses a table of candidates with everybody and compares afterwards."""
    crossed = Q(n.Join(a.T.plan, inline({"c": [AGE]}).plan, "cross")).filter(age == pl.col("c"))
    return a.value(crossed.select(salary.sum()))


@attack("one person", "joins of private tables")
def candidates_asof(a: Attacker) -> Any:
    """Finds the nearest candidate of each row."""
    labels = n.Inline((n.InlineColumn("age", DType("Int64"), (0, 90)), n.InlineColumn("k", DType("Int64"), (0, 1))))
    joined = Q(n.JoinAsof(a.T.sort("age").plan, labels, Column("age"), Column("age")))
    return a.value(joined.filter(pl.col("k") == 1).select(salary.sum()))


@attack("one person", "identifier")
def candidates_by_identifier(a: Attacker) -> Any:
    """Joins a table of candidates by an identifier."""
    return a.value(a.T.join(inline({"id": [ID]}), on="id").select(salary.sum()))


@attack("one person", "population of k", "k")
def labels_by_join(a: Attacker) -> Any:
    """Labels every age by a join, one of them apart."""
    ages = list(range(18, 99))
    labels = inline({"age": ages, "label": [int(x == AGE) for x in ages]})
    return where(
        a.ask(a.T.join(labels, on="age", how="left").group_by("label").agg(salary.sum())), "label", 1, "salary"
    )


@attack("one person", "held values", "open", BIT)
def bits_by_labels(a: Attacker) -> Any:
    """Sums labels of a condition."""

    def make(edge: float) -> Q:
        labels = inline({"k": [True, False], "v": [1, 0]})
        return a.T.with_columns(k=target & (salary > edge)).join(labels, on="k").select(s=pl.col("v").sum())

    return a.tells(make)


@attack("one person", "products")
def weights_by_join(a: Attacker) -> Any:
    """Joins weights that are nought but for one age, and sums the products."""
    ages = list(range(18, 99))
    labels = inline({"age": ages, "w": [float(x == AGE) for x in ages]})
    return a.value(a.T.join(labels, on="age", how="left").select(x=(salary * pl.col("w")).sum()))


@attack("one person", "joins of two people's tables", "open")
def join_that_loses_one(a: Attacker) -> Any:
    """Joins a table of everybody but the target, and subtracts from the whole."""
    total = a.value(a.T.select(salary.sum()))
    return minus(total, a.value(a.T.join(a.table("others"), on="id").select(salary.sum())))


@attack("one person", "joins of two people's tables", "open")
def join_on_computed_keys(a: Attacker) -> Any:
    """Makes the key null for the target before a join with the same table."""
    total = a.value(a.T.select(salary.sum()))
    keyed = a.T.with_columns(k=pl.when(~target).then(pl.col("id")))
    return minus(total, a.value(keyed.join(a.T.select(k=pl.col("id")), on="k").select(salary.sum())))


@attack("one person", "lineage of joined columns")
def name_like_another(a: Attacker) -> Any:
    """Names a product like a plain column of the other side of a join."""
    left = a.T.select("id", a=age)
    right = a.T.select("id", a=age, ab=salary * target.cast(pl.Float64))
    return a.value(left.join(right, on="id").select(pl.col("ab").sum()))


@attack("one person", "joins of private tables")
def difference_across_a_left_join(a: Attacker) -> Any:
    """Joins everybody's sums but the target's to the people of one sex."""
    rest = a.T.filter(~target).group_by("id").agg(k=salary.sum())
    joined = a.T.join(rest, on="id", how="left").filter(pl.col("sex") == SEX)
    return a.value(joined.select(salary.sum() - pl.col("k").sum()))


# -- tables of tables


@attack("one person", "population of k", "k")
def nested_group_by(a: Attacker) -> Any:
    """Groups what was grouped."""
    nested = a.T.group_by("age").agg(salary.sum()).group_by("age").agg(salary.max())
    return where(a.ask(nested), "age", AGE, "salary")


@attack("one person", "population of k", "k")
def maximum_of_group_means(a: Attacker) -> Any:
    """Takes the largest mean of all groups."""
    return a.value(a.T.group_by("age").agg(salary.mean()).select(salary.max()))


@attack("one person", "keys beside the unit")
def extremes_of_persons(a: Attacker) -> Any:
    """Groups by person and takes the largest of all persons' sums."""
    return a.value(a.T.group_by("id").agg(salary.sum()).select(salary.max()))


@attack("one person", "a union of parts", "open")
def parts_with_opposite_signs(a: Attacker) -> Any:
    """Stacks everybody and the negatives of everybody else."""
    parts = a.T.select(v=salary * 1.0), a.T.filter(~target).select(v=salary * -1.0), a.T.select(v=salary * 0.0)
    return a.value(Q(n.Concat(tuple(p.plan for p in parts))).select(pl.col("v").sum()))


@attack("one person", "columns into rows")
def columns_with_opposite_signs(a: Attacker) -> Any:
    """Turns a column and its negative into rows, and filters one of them."""
    wide = a.T.filter(pl.col("sex") == SEX).select("age", x=salary * 1.0, y=salary * -1.0)
    rows = wide.unpivot(["x", "y"], ["age"]).filter((pl.col("variable") == "x") | ~target)
    return a.value(rows.select(pl.col("value").sum()))


@attack("one person", "structs")
def product_in_a_struct(a: Attacker) -> Any:
    """Hides a mask in a struct and unpacks it again."""
    packed = a.T.select(z=pl.struct((salary * target.cast(pl.Float64)).alias("m")))
    return a.value(Q(n.Unnest(packed.plan, (Column("z"),))).select(pl.col("m").sum()))
