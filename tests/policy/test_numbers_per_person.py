"""Numbers per person that are added up weigh everybody's rows alike, and bend nothing (`judge_averages`)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars
import pytest
from bastion_policy.model import Aggregation, Policy, Role, Suppress, measure
from bastion_policy.roles import RoleKind
from drive import World
from query import Q

import bastion.expressions as pl

T = Q("t")
pay, month, age, z = (pl.col(c) for c in ("pay", "month", "age", "z"))
PEOPLE, TARGET = 240, 17
RNG = np.random.default_rng(4)
DEFAULT, STRICT = Policy.default(), Policy.strict(unit="id")
OFF = Policy(Aggregation(10), Suppress(), unit="id", weaken=("history", "linear_audit", "saturation"))
BOTH = pytest.mark.parametrize("policy", [DEFAULT, STRICT], ids=["default", "strict"])
#: two months of everybody
EVEN = polars.DataFrame(
    {
        "id": np.repeat(np.arange(PEOPLE), 2),
        "age": np.repeat([18 if i == TARGET else 20 + i % 60 for i in range(PEOPLE)], 2),
        "month": np.tile([1, 2], PEOPLE),
        "pay": RNG.integers(1000, 9000, 2 * PEOPLE),
    }
)
#: one person lacks a month
UNEVEN = EVEN.filter((polars.col("id") != TARGET) | (polars.col("month") == 2))
MINE = float(UNEVEN.filter(polars.col("id") == TARGET)["pay"][0])


def world(frame: polars.DataFrame, policy: Policy = DEFAULT, *, varies: bool = True, kind: str = "measure") -> World:
    secret = Role(RoleKind(kind), varies=varies) if kind == "sensitive" else measure(0, 20_000, varies=varies)
    roles: dict[str, Role | str] = {"id": "identifier", "age": "quasi", "month": "quasi", "pay": secret}
    return World(remembers=True).add("t", frame, policy, roles, "id")


def told(w: World, q: Q) -> tuple[Any, set[str]]:
    """Return (the only number of an answer, None where it is withheld; the rules)."""
    answer = w.ask(q.plan)
    table = answer.table
    found = None if table is None or not table.height else table.item()
    return found, {f.rule for f in answer.verdict.findings}


def each(made: Any, rows: Q = T) -> Q:
    return rows.group_by("id").agg(z=made)


# -- means weigh a row by the number of rows


@BOTH
@pytest.mark.parametrize("kind", ["measure", "sensitive"])
def test_who_lacks_a_month_is_not_left_over(kind: str, policy: Policy) -> None:
    """Twice the means less the rows is what is counted once too often."""
    w = world(UNEVEN, policy, kind=kind)
    means, rules = told(w, each(pay.mean()).select(z.sum()))
    assert means is None
    assert "uneven-means" in rules
    assert told(w, T.select(pay.sum()))[0] is not None
    off = world(UNEVEN, OFF, kind=kind)
    means, rows = (told(off, q)[0] for q in (each(pay.mean()).select(z.sum()), T.select(pay.sum())))
    assert 2 * means - rows == pytest.approx(MINE)


@BOTH
def test_nobody_is_chosen_to_be_the_only_one_with_two_rows(policy: Policy) -> None:
    """One month of everybody and both of some: with both numbers, the first month of the others."""
    some = list(range(20, 50))
    rows = T.filter((month == 1) | age.is_in([*some, 18]))
    w = world(EVEN, policy)
    assert told(w, each(pay.mean(), rows).select(z.sum()))[0] is None
    first = told(w, T.filter(month == 1).select(pay.sum()))[0]
    assert first is not None
    off = world(EVEN, OFF)
    means, sums, known = (
        told(off, q)[0]
        for q in (
            each(pay.mean(), rows).select(z.sum()),
            rows.select(pay.sum()),
            T.filter(month == 1, age.is_in(some)).select(pay.sum()),
        )
    )
    true = EVEN.filter((polars.col("id") == TARGET) & (polars.col("month") == 1))["pay"][0]
    assert EVEN.filter(polars.col("month") == 1)["pay"].sum() - (2 * means - sums) - known == pytest.approx(true)


FORMS: dict[str, Q] = {
    "sum": each(pay.mean()).select(z.sum()),
    "mean": each(pay.mean()).select(z.mean()),
    "variance": each(pay.mean()).select(z.var()),
    "of some": each(pay.mean()).select(z.filter(z > 1500).sum()),
    "stretched": each((pay * 2 + 100).mean()).select((z * 3).sum()),
    "as floats": each(pay.cast(pl.Float64).mean()).select(z.sum()),
    "beside a sum": T.group_by("id").agg(z=pay.mean(), y=pay.sum()).select((z + pl.col("y")).sum()),
    "put together again": each(z.sum(), each(pay.mean())).select(z.sum()),
    "in groups": T.group_by("id").agg(z=pay.mean(), g=pl.col("age").first()).filter(pl.col("g") < 30).select(z.mean()),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_means_of_each_persons_rows_are_told_where_all_have_equally_many(name: str) -> None:
    assert told(world(EVEN), FORMS[name])[0] is not None
    found, rules = told(world(UNEVEN), FORMS[name])
    assert found is None
    assert "uneven-means" in rules


ORDINARY: dict[str, Q] = {
    "sums": each(pay.sum()).select(z.mean()),
    "spread of sums": each(pay.sum()).select(z.std()),
    "stretched": each(pay.sum()).select((z * 3).sum()),
    "of sums again": each(z.mean(), each(pay.sum())).select(z.sum()),
    "median of means": each(pay.mean()).select(z.median()),
    "quantile of means": each(pay.mean()).select(z.quantile(0.25)),
    "one month": each(pay.mean(), T.filter(month == 2)).select(z.mean()),
    "mean of rows": T.select(pay.mean()),
    "months": T.filter(month == 2).select(pay.mean()),
}


@BOTH
@pytest.mark.parametrize("name", ORDINARY)
def test_what_panels_are_asked_for_is_told(name: str, policy: Policy) -> None:
    """Whether all have as many months or not."""
    for frame in (EVEN, UNEVEN):
        found, rules = told(world(frame, policy), ORDINARY[name])
        assert found is not None, rules


def test_the_reason_says_what_to_ask_instead() -> None:
    (finding,) = world(UNEVEN).ask(FORMS["mean"].plan).verdict.findings
    assert all(word in finding.fix for word in ("sum()", "len()", "median"))


@BOTH
def test_a_value_that_is_missing_is_a_row_less(policy: Policy) -> None:
    lacks = (polars.col("id") == TARGET) & (polars.col("month") == 1)
    holes = EVEN.with_columns(pay=polars.when(lacks).then(None).otherwise("pay"))
    assert told(world(holes, policy), FORMS["sum"])[0] is None
    off = world(holes, OFF)
    assert 2 * told(off, FORMS["sum"])[0] - told(off, T.select(pay.sum()))[0] == pytest.approx(MINE)
    # of others all have as many; the strict profile does not tell whose values are missing
    both = T.filter(age.is_between(20, 40))
    if policy is DEFAULT:
        assert told(world(holes), each(pay.mean(), both).select(z.sum()))[0] is not None


@BOTH
def test_of_a_column_that_stays_the_same_the_audit_has_both_weights(policy: Policy) -> None:
    w = world(UNEVEN, policy, varies=False)
    means, rows = (told(w, q)[0] for q in (FORMS["sum"], T.select(pay.sum())))
    assert None in (means, rows)
    assert told(world(EVEN, policy, varies=False), FORMS["sum"])[0] is not None


def test_who_may_be_the_one_row_more_counts_as_an_edge() -> None:
    """Whether means are told says whether the only one who may have a row less is beyond the threshold."""
    w = world(EVEN)
    found = [
        told(w, each(pay.mean(), T.filter((month == 1) | (pay > 1000 + i), age < 60 + i)).select(z.sum()))[1]
        for i in range(12)
    ]
    assert "edge-budget" in found[-1]


# -- elements of lists


LISTS = [RNG.integers(1000, 9000, 3).tolist() for _ in range(PEOPLE)]
SHORT = [values[:2] if i == TARGET else values for i, values in enumerate(LISTS)]
TORN = [[*values, None] if len(values) == 2 else values for values in SHORT]
OPENED = T.explode("pay")


@pytest.mark.parametrize("varies", [False, True])
@pytest.mark.parametrize("lists", [SHORT, TORN], ids=["short", "with a null"])
def test_elements_are_weighed_as_rows_are(lists: list[Any], varies: bool) -> None:
    questions = each(pay.mean(), OPENED).select(z.sum()), OPENED.select(pay.sum())

    def asked(policy: Policy, values: list[Any]) -> list[Any]:
        frame = polars.DataFrame({"id": range(PEOPLE), "age": 30, "month": 1, "pay": values})
        w = world(frame, policy, varies=varies, kind="sensitive")
        return [told(w, q)[0] for q in questions]

    assert asked(DEFAULT, lists)[0] is None
    assert None not in asked(DEFAULT, LISTS)
    means, rows = asked(OFF, lists)
    assert 2 * (3 * means - rows) == pytest.approx(sum(SHORT[TARGET]))


# -- spreads are bent


@BOTH
@pytest.mark.parametrize("varies", [False, True])
def test_the_only_one_who_lost_is_not_found(varies: bool, policy: Policy) -> None:
    """The spread of two rows is how far they lie apart, whichever is the larger one."""
    one = RNG.integers(1000, 9000, PEOPLE)
    two = one + RNG.integers(50, 900, PEOPLE)
    two[TARGET] = one[TARGET] - 437
    frame = EVEN.sort("month", "id").with_columns(pay=polars.Series(np.concatenate([one, two])))
    months = [T.filter(month == i).select(pay.sum()) for i in (1, 2)]
    for spread in (pay.std(), pay.var(), pay.std(ddof=0)):
        found, rules = told(world(frame, policy, varies=varies), each(spread).select(z.sum()))
        assert found is None
        assert rules & {"argument", "strict-argument"}
    off = world(frame, Policy.open(), varies=varies)
    apart, first, second = (told(off, q)[0] for q in (each(pay.std()).select(z.sum()), *months))
    assert (apart * math.sqrt(2) - (second - first)) / 2 == pytest.approx(437)


@pytest.mark.parametrize("statistic", ["sum", "mean", "var", "std"])
@pytest.mark.parametrize("made", [pay.std(), pay.var(), pay.var(ddof=0)], ids=["std", "var", "ddof"])
def test_spreads_per_person_are_not_added_up(made: Any, statistic: str) -> None:
    """Several divisors tell those who have two rows from those who have three."""
    assert told(world(EVEN), each(made).select(getattr(z, statistic)()))[0] is None
    one_row = EVEN.filter(polars.col("month") == 1)
    assert "argument" not in told(world(one_row), each(made).select(getattr(z, statistic)()))[1]


def test_the_number_of_rows_and_the_median_of_spreads_are_told() -> None:
    for frame in (EVEN, UNEVEN):
        assert told(world(frame), each(pl.len()).select(z.sum()))[0] == frame.height
    rows = EVEN.rename({"pay": "paid"})
    w = World(remembers=True).add("t", rows, DEFAULT, {"id": "identifier", "paid": "measure"}, "id")
    assert told(w, each(pl.col("paid").std()).select(z.median()))[0] is not None
