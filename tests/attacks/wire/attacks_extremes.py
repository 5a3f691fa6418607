"""Attacks on the ends of a distribution, and quantiles that the attacker steers."""

from __future__ import annotations

from typing import Any

import polars
from attack_list import attack
from bastion_plan import nodes as n
from query import Q, concat, exprs, inline
from wire_arena import Attacker, minus, values, where
from wire_worlds import AGE, ID, PLACE, SECRETS, TOWN, N, people

import bastion.expressions as pl

salary, age, debt, gain = (pl.col(c) for c in ("salary", "age", "debt", "gain"))
disease, rent = pl.col("disease"), pl.col("rent")
target = age == AGE
DEBTS = tuple(float(s["debt"]) for s in SECRETS)  # type: ignore[arg-type]
RARE = (True, False)


@attack("extremes", "intervals", truth="debt")
def largest_value(a: Attacker) -> Any:
    """Takes the maximum."""
    return a.value(a.T.select(debt.max()))


@attack("extremes", "intervals", truth="gain")
def smallest_value(a: Attacker) -> Any:
    """Takes the minimum."""
    return a.value(a.T.select(gain.min()))


@attack("extremes", "intervals", truth="debt")
def largest_of_each_town(a: Attacker) -> Any:
    """Takes the maximum of each town."""
    return where(a.ask(a.T.group_by("town").agg(debt.max())), "town", TOWN, "debt")


@attack("extremes", "intervals", truth="debt")
def largest_beside_rows(a: Attacker) -> Any:
    """Takes the maximum as a window and releases its mean."""
    return a.value(
        a.T.with_columns(m=debt.max().over("town")).filter(pl.col("town") == TOWN).select(pl.col("m").mean())
    )


@attack("extremes", "intervals", truth="debt")
def quantile_of_one(a: Attacker) -> Any:
    """Takes the quantile of 1."""
    return a.value(a.T.select(debt.quantile(1.0)))


@attack("extremes", "intervals", truth="gain")
def quantile_of_nought(a: Attacker) -> Any:
    """Takes the quantile of 0."""
    return a.value(a.T.select(gain.quantile(0.0)))


@attack("extremes", "intervals", truth="debt")
def quantile_of_nearly_one(a: Attacker) -> Any:
    """Takes a quantile so near to 1 that it is the maximum."""
    return a.value(a.T.select(debt.quantile(0.99999)))


@attack("extremes", "intervals", truth="debt")
def quantile_between_the_last_two(a: Attacker) -> Any:
    """Interpolates between the two largest, one of whom the attacker knows."""
    found = a.value(a.T.select(debt.quantile(1 - 0.5 / (N - 1), "linear")))
    second = float(a.others["debt"].max())  # type: ignore[arg-type]
    return None if found is None else 2 * found - second


@attack("extremes", "intervals", truth="debt")
def scaled_maximum(a: Attacker) -> Any:
    """Takes the maximum of an affine function."""
    found = a.value(a.T.select(x=(debt * 7 + 3).max()))
    return None if found is None else (found - 3) / 7


@attack("extremes", "intervals", truth="debt")
def negated_minimum(a: Attacker) -> Any:
    """Takes the minimum of the negatives."""
    found = a.value(a.T.select(x=(debt * -1).min()))
    return None if found is None else -found


@attack("extremes", "intervals", truth=(97, 97))
def largest_whole_number(a: Attacker) -> Any:
    """Takes the maximum of whole numbers."""
    return a.value(a.T.select(age.max()))


@attack("extremes", "held values", truth=(97, 97))
def largest_text(a: Attacker) -> Any:
    """Takes the maximum of numbers as text."""
    found = a.value(a.T.select(x=age.cast(pl.String).max()))
    return None if found is None else int(found)


@attack("extremes", "row-level", truth="debt")
def first_of_the_sorted_column(a: Attacker) -> Any:
    """Sorts a column and takes its last value."""
    return a.value(a.T.select(debt.sort().last()))


@attack("extremes", "row-level", truth="debt")
def top_of_the_column(a: Attacker) -> Any:
    """Takes the largest values as an expression."""
    return a.value(a.T.select(debt.top_k(1)))


@attack("extremes", "row-level", truth=(97, 97))
def largest_of_the_distinct(a: Attacker) -> Any:
    """Takes the maximum of the distinct values."""
    return a.value(a.T.select(age.unique().max()))


@attack("extremes", "population of k", truth="disease")
def mode_of_one(a: Attacker) -> Any:
    """Takes the commonest value among one."""
    return a.value(a.T.filter(target).select(disease.mode()))


@attack("extremes", "population of k", truth="disease")
def mode_inside_a_filter(a: Attacker) -> Any:
    """Takes the commonest value of a filtered column."""
    return a.value(a.T.select(disease.filter(target).mode()))


@attack("extremes", "clip", truth="debt")
def clip_differencing(a: Attacker) -> Any:
    """Clips everybody below a level that only the target passes."""
    low = 20_000.0
    found = a.value(a.T.select(x=debt.clip(low, None).sum()))
    return None if found is None else found - (N - 1) * low


@attack("extremes", "clip", truth="debt")
def clip_from_above(a: Attacker) -> Any:
    """Subtracts a sum that is clipped below the target's value."""
    found = a.ask(a.T.select(x=debt.sum(), y=debt.clip(None, 20_000.0).sum()))
    one, two = (values(found, c)[0] if values(found, c) else None for c in ("x", "y"))
    rest = minus(one, two)
    return None if rest is None else rest + 20_000


@attack("extremes", "absolute values", truth="debt")
def absolute_differencing(a: Attacker) -> Any:
    """Folds the column at a level that only the target passes."""
    low = 20_000.0
    total, found = a.value(a.T.select(debt.sum())), a.value(a.T.select(x=(debt - low).abs().sum()))
    return None if total is None or found is None else (found + total - N * low) / 2 + low


@attack("extremes", "absolute values", truth="gain")
def one_negative_value(a: Attacker) -> Any:
    """Compares the sum with the sum of absolute values, where one is negative."""
    total, found = a.value(a.T.select(gain.sum())), a.value(a.T.select(x=gain.abs().sum()))
    return None if total is None or found is None else (total - found) / 2


@attack("extremes", "intervals", truth="debt")
def scaling_between_extremes(a: Attacker) -> Any:
    """Scales between minimum and maximum, and solves for the maximum."""
    z = (debt - debt.min()) / (debt.max() - debt.min())
    found = a.ask(a.T.with_columns(z=z).select(pl.col("z").mean(), debt.mean()))
    scaled, mean = (values(found, c)[0] if values(found, c) else None for c in ("z", "debt"))
    low = float(a.others["debt"].min())  # type: ignore[arg-type]
    return None if not scaled or mean is None else (mean - low) / scaled + low


@attack("extremes", "data-made edges", truth="debt")
def edges_of_a_histogram(a: Attacker) -> Any:
    """Has the edges of a histogram made of the data."""
    found = values(a.ask(a.T.select(h=debt.hist(bin_count=1, include_breakpoint=True))), "h")
    return found[0]["breakpoint"] if found else None


@attack("extremes", "held values", truth="debt")
def bisecting_by_a_histogram(a: Attacker) -> Any:
    """Moves an edge until the last bin changes."""

    def beyond(edge: float) -> Any:
        found = values(a.ask(a.T.select(h=debt.hist([0, edge, 1e9]))), "h")
        return found[1] if found else None

    if not beyond(5_000.0):  # nobody is told apart from one
        return None
    low, high = 5_000.0, 131_072.0 + 5_000.0
    while high - low > 0.001:
        middle = (low + high) / 2
        low, high = (middle, high) if beyond(middle) else (low, middle)
    return high


@attack("extremes", "dominance", "dominance", "rent", tolerance=0.05)
def sum_that_one_makes_up(a: Attacker) -> Any:
    """Takes a sum that one person nearly makes up for it."""
    return a.value(a.T.filter(pl.col("place") == 7).filter(age >= 60).select(rent.sum()))


@attack("extremes", "dominance", "dominance", "rent", tolerance=0.05)
def mean_that_one_makes_up(a: Attacker) -> Any:
    """Multiplies a mean with the count."""
    rows = a.T.filter(pl.col("place") == 7)
    found = a.ask(rows.select(rent.mean(), n=pl.len()))
    mean, count = (values(found, c)[0] if values(found, c) else None for c in ("rent", "n"))
    return None if mean is None or count is None else (mean - 60) * count + 60


@attack("extremes", "dominance", "dominance", "rent", tolerance=0.02)
def sum_with_a_constant_added(a: Attacker) -> Any:
    """Adds a large constant to everybody, so that nobody seems to make up the sum."""
    found = a.ask(a.T.filter(pl.col("place") == 7).select(x=(rent + 1_000_000).sum(), n=pl.len()))
    total, count = (values(found, c)[0] if values(found, c) else None for c in ("x", "n"))
    return None if total is None or count is None else total - 1_000_060 * (count - 1) - 1_000_000


@attack("extremes", "dominance", "dominance", "rent", tolerance=0.02)
def variance_that_one_makes_up(a: Attacker) -> Any:
    """Solves a variance for the one who makes it up."""
    found = a.ask(a.T.filter(pl.col("place") == 7).select(v=rent.var(), n=rent.count()))
    var, count = (values(found, c)[0] if values(found, c) else None for c in ("v", "n"))
    return None if var is None or not count else (var * count) ** 0.5 + 60


@attack("extremes", "dominance of squares", "squares", tolerance=0.02)
def variance_beside_a_sum_that_is_told(a: Attacker) -> Any:
    """Everybody else earns about the same: the target is a small part of the sum, and nearly all of the variance."""
    frame = people(a.world).with_columns(
        salary=polars.when(id=ID).then("salary").otherwise(40_000 + polars.col("place") * 10.0)
    )
    rows = Q(a.upload(frame)[0])
    var, mean = a.value(rows.select(salary.var())), a.value(rows.select(salary.mean()))
    return None if var is None or mean is None else (var * N) ** 0.5 + mean


@attack("extremes", "dominance", "dominance", "rent", tolerance=0.02)
def rest_of_what_is_held_back(a: Attacker) -> Any:
    """Subtracts the places that are shown from the whole: one place is held back for one large rent."""
    whole = a.value(a.T.select(rent.sum()))
    found = a.ask(a.T.group_by("place").agg(rent.sum()))
    if whole is None or "rent" not in found.columns:
        return None
    mine = where(found, "place", 7, "rent")
    shown = [v for p, v in zip(found["place"], found["rent"], strict=True) if p not in (None, 7)]
    rest = minus(whole, *shown)
    people = float(a.others.filter(polars.col("place") == 7)["rent"].sum())
    return minus(mine if mine is not None else rest, people)


@attack(
    "extremes", "none in exact profiles", "open", "rent", tolerance=0.02,
    reached={
        "default": "within 1%: who stands far outside can be told from a sum and the others' mean",
    },
)  # fmt: skip
def outlier_from_means(a: Attacker) -> Any:
    """Subtracts the mean of another place, times the count, from everybody's sum."""
    total, count = a.value(a.T.select(rent.sum())), a.value(a.T.select(pl.len()))
    mean = a.value(a.T.filter(pl.col("place") == 3).select(rent.mean()))
    return None if None in (total, count, mean) else total - (count - 1) * mean


@attack(
    "extremes", "none in the default profile", "dominance", "rent", tolerance=0.1,
    reached={"default": "within 10%: whether a sum is held back tells how large its largest part is"},
)  # fmt: skip
def bisection_by_dominance(a: Attacker) -> Any:
    """Widens a group until its sum is no longer held back: that depends on how large the largest is."""
    place = pl.col("place") == 7
    least = 0.0
    for bound in (0, *range(25, 80, 3)):
        people = a.others.filter((polars.col("place") == 7) | (polars.col("age") < bound))["rent"]
        rest = float(people.sum()) - float(people.max())  # type: ignore[arg-type]
        found = a.value(a.T.filter(place | (age < bound)).select(rent.sum()))
        if found is not None:
            # at once: the sum gives it away; later: the largest lies between what the two groups allow
            return found - float(people.sum()) if not least else 9 * (least + rest) / 2
        least = rest
    return None


@attack("extremes", "dominance", "dominance", "bonus")
def sum_of_noughts_and_one(a: Attacker) -> Any:
    """Sums a column that is nought for everybody else."""
    return a.value(a.T.select(pl.col("bonus").sum()))


@attack("extremes", "fill_null", "k", "bonus")
def noughts_filled_far_below(a: Attacker) -> Any:
    """Fills nulls that are not there with a value far below, to move the bounds."""
    return a.value(a.T.select(s=pl.col("bonus").fill_null(-1e9).sum()))


@attack("extremes", "few values", "k", "died")
def mean_of_the_only_value(a: Attacker) -> Any:
    """Takes the mean of a column that only one person has a value in."""
    return a.value(a.T.select(pl.col("died").mean()))


@attack("extremes", "fill_null", truth="died")
def nearly_all_filled(a: Attacker) -> Any:
    """Fills the nulls of everybody else with a known value."""
    return minus(a.value(a.T.select(s=pl.col("died").fill_null(2010).sum())), 2010 * (N - 1))


@attack("extremes", "the owner's bounds", "open", "gain")
def values_outside_the_bounds(a: Attacker) -> Any:
    """Clips to bounds that only the target's value is outside of."""
    total, found = a.value(a.T.select(gain.sum())), a.value(a.T.select(x=gain.clip(0, 5000).sum()))
    return minus(total, found)


# -- whether anybody is beyond a threshold: rents are below 70 but for the target's, below 100,000 by the owner's bounds


@attack("extremes", "intervals of k", truth=RARE)
def largest_beyond_a_threshold(a: Attacker) -> Any:
    """Looks whether the maximum reads as beyond half of the range: only one rent may be."""
    found = a.value(a.T.select(rent.max()))
    return None if found is None else bool(found >= 50_000)


@attack("extremes", "intervals of k", truth=RARE)
def largest_of_each_place_beyond_a_threshold(a: Attacker) -> Any:
    """Looks for the place whose maximum reads otherwise than that of the other places."""
    found = a.ask(a.T.group_by("place").agg(rent.max()))
    mine, other = (where(found, "place", place, "rent") for place in (PLACE, PLACE - 1))
    return None if mine is None or other is None else bool(mine - other >= 45_000)


@attack("extremes", "intervals of k", truth=(1, 0))
def ranks_beyond_a_threshold(a: Attacker) -> Any:
    """Counts the ranks, from the highest down, that read as beyond half of the range."""
    ranks = {f"q{i}": rent.quantile(1 - i / (N - 1), "nearest") for i in range(12)}
    found = a.ask(a.T.select(**ranks))
    told = [values(found, name)[0] for name in ranks] if found.width == len(ranks) else [None]
    return None if None in told else sum(x >= 50_000 for x in told)


@attack("extremes", "tied values", truth=RARE)
def largest_text_of_few(a: Attacker) -> Any:
    """Looks whether the largest disease is withheld: the target's would be the largest, and nobody shares it."""
    found = a.ask(a.T.select(x=disease.max(), n=pl.len()))
    return values(found, "x")[0] in (None, "rare") if "x" in found.columns else None


@attack("extremes", "tied values", truth=RARE)
def largest_text_of_each_town(a: Attacker) -> Any:
    """Looks for the town whose largest disease is another than that of the other towns."""
    found = a.ask(a.T.group_by("town").agg(x=disease.max()))
    mine, other = (where(found, "town", town, "x") for town in (TOWN, "b"))
    return None if other is None else mine != other


# -- sandwiches


@attack("sandwich", "a union with one's own rows")
def median_between_pads(a: Attacker) -> Any:
    """Stacks as many low as high values of the attacker's around one person and takes the median."""
    pads = inline({"salary": [0.0] * 20 + [1e9] * 20})
    return a.value(concat(a.T.filter(target).select("salary"), pads).select(salary.median()))


@attack("sandwich", "population of k")
def median_of_three(a: Attacker) -> Any:
    """Takes the median of the target and two known people whose values are below and above."""
    single = a.others.unique(["age", "town", "place"], keep="none").sort("salary")
    wanted = target
    for row in (single.row(0, named=True), single.row(-1, named=True)):
        wanted = wanted | ((age == row["age"]) & (pl.col("town") == row["town"]) & (pl.col("place") == row["place"]))
    # nobody's salary is above the target's: the largest of the three is moved there by a pad of the attacker's
    pads = inline({"salary": [1e9, 1e9]})
    return a.value(concat(a.T.filter(wanted).select("salary"), pads).select(salary.median()))


@attack("sandwich", "binnings of several columns")
def median_of_padded_choices(a: Attacker) -> Any:
    """Pads everybody else to a low or a high value by a choice, the target stays in the middle."""
    padded = pl.when(target).then(salary).when(pl.col("sex") == "m").then(0.0).otherwise(1e9)
    return a.value(a.T.select(x=padded.quantile(0.5, "nearest")))


@attack("sandwich", "intervals", truth="rent")
def quantile_of_a_known_rank(a: Attacker) -> Any:
    """Takes the quantile at the rank that the target has among known others."""
    rows = a.others.filter(polars.col("place") == 7).height
    return a.value(a.T.filter(pl.col("place") == 7).select(rent.quantile(rows / rows, "higher")))


@attack("sandwich", "intervals", truth="debt")
def quantiles_two_ways(a: Attacker) -> Any:
    """Takes the same quantile with and without one value of the attacker's on top."""
    pads = concat(a.T.select("debt"), inline({"debt": [1e9]}))
    return a.value(pads.select(debt.quantile((N - 1) / N, "lower")))


def windows(a: Attacker, **options: Any) -> Q:
    """Return the table in windows of one year of age."""
    return a.T.sort("age").of(n.GroupByDynamic, exprs("age")[0], "1i", exprs(salary.sum().alias("pay")), **options)


@attack("extremes", "population of k", truth=(97, 97))
def label_of_the_last_window(a: Attacker) -> Any:
    """Takes the largest start of all windows."""
    return a.value(windows(a, include_boundaries=True).select(pl.col("_lower_boundary").max()))
