"""Rows that a join, an unpivot or an explode repeats: what is told of them is never a sum of weights that the filter chose."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any

import numpy as np
import polars
import pytest
from bastion_policy.model import Policy, Role, RoleKind, Suppress
from drive import Answer, World
from query import Q

import bastion.expressions as pl

N, MONTHS = 300, 12
RNG = np.random.default_rng(3)
WHO = np.arange(N)
EMP = polars.DataFrame(
    {
        "id": WHO, "g": WHO % 15, "a": WHO // 15, "secret": RNG.integers(0, 10000, N),
        "u": RNG.integers(0, 100, N), "v": RNG.integers(0, 100, N), "tags": [[3, 4, 5, 6]] * N,
        "some": [sorted(RNG.choice(8, 1 + i % 3, replace=False).tolist()) for i in range(N)],
    }
)  # fmt: skip
PAY = polars.DataFrame(
    {
        "id": np.repeat(WHO, MONTHS), "month": np.tile(np.arange(MONTHS), N),
        "amount": RNG.integers(0, 100, N * MONTHS), "late": RNG.integers(0, 2, N * MONTHS) == 1,
    }
)  # fmt: skip
SMALL = Role(RoleKind.MEASURE, 0, 100)
EMP_ROLES: dict[str, Role | str] = {
    "id": "identifier", "g": "quasi", "a": "quasi", "secret": Role(RoleKind.MEASURE, 0, 10000), "u": SMALL, "v": SMALL,
    "tags": "quasi", "some": "quasi",
}  # fmt: skip
PAY_ROLES: dict[str, Role | str] = {"id": "identifier", "month": "quasi", "amount": SMALL, "late": "quasi"}
TRUE = 7468
OFF = ("history", "linear_audit", "saturation")
SECRET, G, MONTH, VARIABLE, TAG = (pl.col(c) for c in ("secret", "g", "month", "variable", "tags"))
TARGET = (G == 3) & (pl.col("a") == 8)
T, JOINED = Q("emp"), Q("pay").join(Q("emp"), on="id")
MELTED = T.unpivot(on=["u", "v"], index=["g", "a", "secret"])
OPENED = T.explode("tags")


def world(profile: str = "default", weaken: tuple[str, ...] = (), pay: polars.DataFrame = PAY) -> World:
    w = World(remembers=True)
    made = {"default": Policy.default, "strict": lambda: Policy.strict(unit="id")}[profile]()
    policy = Policy(made.safe_zone, Suppress(), profile=made.profile, weaken=weaken)
    return w.add("emp", EMP, policy, EMP_ROLES, unit="id").add("pay", pay, policy, PAY_ROLES, unit="id")


def number(answer: Answer) -> Any:
    return None if answer.table is None or not answer.table.height else answer.table.row(0)[0]


def rules(answer: Answer) -> set[str]:
    return {f.rule for f in answer.verdict.findings}


def asked(w: World, plans: Sequence[Any], order: Sequence[int]) -> list[Any]:
    """The numbers of some plans, asked in an order."""
    found: list[Any] = [None] * len(plans)
    for i in order:
        found[i] = number(w.ask(plans[i].plan))
    return found


def test_the_target_is_who_is_meant() -> None:
    assert EMP["secret"][123] == TRUE
    assert EMP.filter((polars.col("g") == 3) & (polars.col("a") == 8))["id"].to_list() == [123]


def weights() -> list[tuple[Q, Q, Q, float]]:
    """Two groups once each, both once and the target more often, and how much more often."""
    groups = (G == 3) | (G == 4)
    found = []
    once, again = MONTH == 0, (groups & (MONTH == 1)) | (TARGET & (MONTH >= 2) & (MONTH <= 5))
    found.append((JOINED.filter(once & (G == 3)), JOINED.filter(once & (G == 4)), JOINED.filter(again), 4.0))
    for rows, first, times in ((MELTED, VARIABLE == "u", 1.0), (OPENED, TAG == 3, 3.0)):
        both = rows.filter((groups & first) | TARGET)
        found.append((rows.filter(first & (G == 3)), rows.filter(first & (G == 4)), both, times))
    return found


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize(("case", "profile"), [(0, "default"), (0, "strict"), (1, "default"), (2, "default")])
def test_nobody_is_counted_more_often_than_the_others(case: int, profile: str, order: tuple[int, ...]) -> None:
    *parts, times = weights()[case]
    plans = [p.select(SECRET.sum(), pl.len()) for p in parts]
    one, two, both = asked(world(profile), plans, order)
    assert both is None
    assert (one, two) != (None, None), "what is in once is told"
    one, two, both = asked(world(weaken=OFF), plans, order)
    assert (both - one - two) / times == pytest.approx(TRUE)


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("profile", ["default", "strict"])
def test_nobody_is_counted_less_often_than_everybody_twice(profile: str, order: tuple[int, ...]) -> None:
    """Everybody twice less everybody once is everybody once, whoever is in one of them once more."""
    plans = [
        JOINED.filter((G == 3) & ((MONTH == 0) | (TARGET & (MONTH == 1)))).select(SECRET.sum()),
        JOINED.filter((G == 5) & (MONTH == 0)).select(SECRET.sum()),
        JOINED.filter(((G == 3) | (G == 5)) & (MONTH >= 2) & (MONTH <= 3)).select(SECRET.sum()),
    ]
    found = asked(world(profile), plans, order)
    assert found[0] is None
    assert None not in found[1:]
    more, one, twice = asked(world(weaken=OFF), plans, order)
    assert more - (twice / 2 - one) == pytest.approx(TRUE)


UNEVEN = (G < 5) & ((MONTH == 0) | (TARGET & (MONTH == 1)))
EVENLY = (G < 5) & (MONTH < 2)
STATISTICS = {
    "sum": SECRET.sum(),
    "mean": SECRET.mean(),
    "shifted": (SECRET * 2 + 1).mean(),
    "var": SECRET.var(),
    "std": SECRET.std(),
    "cov": pl.cov(SECRET, pl.col("u")),
    "corr": pl.corr(SECRET, pl.col("amount")),
    "condition": (SECRET > 5000).sum(),
    "share": (SECRET > 5000).mean(),
}


@pytest.mark.parametrize("name", list(STATISTICS))
def test_no_statistic_of_weights_is_told(name: str) -> None:
    """Withheld for one person who is in twice; where all are, it is told."""
    told = STATISTICS[name].alias("x")
    bad = world().ask(JOINED.filter(UNEVEN).select(told).plan)
    assert number(bad) is None
    assert "uneven-rows" in rules(bad)
    assert "uneven-rows" not in rules(world().ask(JOINED.filter(EVENLY).select(told).plan))


@pytest.mark.parametrize("profile", ["default", "strict"])
def test_conditions_inside_count_by_themselves(profile: str) -> None:
    """Of all months everybody is in equally often, of those that the condition picks one is in more often."""
    more = SECRET.filter((MONTH < 3) & (G < 7) | (TARGET & (MONTH == 5))).sum()
    assert number(world(profile).ask(JOINED.select(x=more).plan)) is None
    fine = world(profile).ask(JOINED.select(x=SECRET.filter((MONTH < 3) & (G < 7)).sum()).plan)
    assert "uneven-rows" not in rules(fine)


@pytest.mark.parametrize("profile", ["default", "strict"])
def test_columns_of_the_table_with_several_rows_are_told(profile: str) -> None:
    """Each of its rows is in once, however many a person has."""
    some = PAY.filter((polars.col("id") + polars.col("month")) % 7 > 0)
    plan = JOINED.group_by("g").agg(pl.col("amount").mean(), n=pl.len(), c=pl.col("amount").count()).sort("g").plan
    answer = world(profile, pay=some).ask(plan)
    table = some.join(EMP.select("id", "g"), on="id").group_by("g").agg(polars.col("amount").mean()).sort("g")
    assert answer.released.height == 15
    assert answer.released["amount"].to_numpy() == pytest.approx(table["amount"].to_numpy(), rel=0.02)
    withheld = world(profile, pay=some).ask(JOINED.group_by("g").agg(SECRET.mean()).plan)
    assert withheld.table is None or withheld.table["secret"].is_null().all()


@pytest.mark.parametrize("profile", ["default", "strict"])
def test_cells_are_decided_one_by_one(profile: str) -> None:
    """The people of one group have one row more: its mean is withheld, the others' are as they are."""
    more = polars.concat(
        [PAY, PAY.filter((polars.col("id") % 15 == 2) & (polars.col("id") < 150)).filter(polars.col("month") == 1)]
    )
    table = world(profile, pay=more).ask(JOINED.group_by("g").agg(SECRET.mean(), n=pl.len()).sort("g").plan).table
    assert table is not None
    missing = table.filter(polars.col("secret").is_null())["g"].to_list()
    assert missing == [2]
    mine = EMP.filter(polars.col("g") != 2).group_by("g").agg(polars.col("secret").mean()).sort("g")
    told = table.filter(polars.col("g") != 2)["secret"].to_numpy()
    assert told == pytest.approx(mine["secret"].to_numpy(), rel=0.01)


def test_what_was_withheld_for_its_repetitions_is_told_without_them() -> None:
    w = world()
    assert number(w.ask(JOINED.filter(UNEVEN).select(SECRET.sum()).plan)) is None
    assert number(w.ask(JOINED.filter((G < 4) & (MONTH == 0)).select(SECRET.sum()).plan)) is not None
    assert number(w.ask(T.filter((G > 3) & (G < 9)).select(SECRET.sum()).plan)) is not None


def test_per_person_sums_of_repeated_rows_are_weights_too() -> None:
    rows = MELTED_BY_PERSON.filter(((G < 5) & (VARIABLE == "u")) | TARGET)
    assert number(world().ask(rows.group_by("id", "g").agg(x=SECRET.sum()).select(pl.col("x").sum()).plan)) is None
    # twice a number of their own in every list, or the lists themselves more often
    each = T.group_by("id").agg(x=SECRET.sum(), g=G.first(), a=pl.col("a").first())
    joined = Q("pay").join(each, on="id").filter(UNEVEN)
    assert number(world().ask(joined.select(pl.col("x").sum()).plan)) is None


MELTED_BY_PERSON = T.unpivot(on=["u", "v"], index=["id", "g", "a", "secret"])


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_elements_of_the_target_are_those_of_the_others(order: tuple[int, ...]) -> None:
    """One column of everybody, the other one of the target: both are in once, and the sums differ by the target's numbers."""
    groups, value = (G == 3) | (G == 4), pl.col("value")
    swapped = (groups & ~TARGET & (VARIABLE == "u")) | (TARGET & (VARIABLE == "v"))
    plans = [
        MELTED.filter((G == 3) & (VARIABLE == "u")).select(value.sum()),
        MELTED.filter((G == 4) & (VARIABLE == "u")).select(value.sum()),
        MELTED.filter(swapped).select(value.sum()),
    ]
    found = asked(world(), plans, order)
    assert found[2] is None
    one, two, both = asked(world(weaken=OFF), plans, order)
    assert both - one - two == EMP["v"][123] - EMP["u"][123]


def test_elements_are_told_by_column_and_whole() -> None:
    """Means by the column they come from, of whole lists, and by their value."""
    table = (
        world()
        .ask(MELTED.filter(G < 8).group_by("variable").agg(pl.col("value").mean()).sort("variable").plan)
        .released
    )
    half = EMP.filter(polars.col("g") < 8)
    assert table["value"].to_list() == pytest.approx([half["u"].mean(), half["v"].mean()])
    lists = T.explode("some")
    told = world().ask(lists.filter(G < 8).select(pl.col("some").mean(), n=pl.len()).plan).released
    assert told.row(0) == pytest.approx((half["some"].explode().mean(), half["some"].list.len().sum()))
    by_tag = world().ask(lists.group_by("some").agg(SECRET.mean(), n=pl.len()).sort("some").plan).released
    known = EMP.explode("some").group_by("some").agg(polars.col("secret").mean()).sort("some")
    assert by_tag["secret"].to_list() == pytest.approx(known["secret"].to_list())


@pytest.mark.parametrize("how", ["unpivot", "join"])
def test_dominated_sums_do_not_follow_from_repeated_ones(how: str) -> None:
    """The group of one who has most of it, as the total less the others' sums, each a few times over."""
    people, group = 1000, 40
    who = np.arange(people)
    g = np.where(who < group, 0, 1 + who % 4)
    x = np.where(g == 0, RNG.uniform(0, 5, people), RNG.uniform(0, 1000, people))
    x[3] = 6000.0
    frame = polars.DataFrame({"id": who, "g": g, "x": np.round(x, 2), "u": 0 * g, "v": 0 * g})
    roles: dict[str, Role | str] = {**dict.fromkeys(["g", "u", "v"], "quasi"), "id": "identifier"}
    roles["x"] = Role(RoleKind.MEASURE, 0, 10000)
    days = polars.DataFrame({"id": np.repeat(who, 2), "day": np.tile([0, 1], people)})

    def found(*weaken: str) -> list[Any]:
        policy = Policy(Policy.default().safe_zone, Suppress(), weaken=weaken)
        w = World(remembers=True).add("t", frame, policy, roles, unit="id")
        w.add("s", days, policy, {"id": "identifier", "day": "quasi"}, unit="id")
        rows = Q("t").unpivot(on=["u", "v"], index=["g", "x"]) if how == "unpivot" else Q("s").join(Q("t"), on="id")
        plans = [Q("t"), *(rows.filter(pl.col("g") == i) for i in range(1, 5))]
        return [number(w.ask(p.select(pl.col("x").sum()).plan)) for p in plans]

    assert None in found()
    total, *parts = found(*OFF)
    assert total - sum(parts) / 2 == pytest.approx(frame.filter(polars.col("g") == 0)["x"].sum())


def test_whether_rows_are_in_once_more_is_searched_for_a_few_times_only() -> None:
    """Who is in twice if a value lies beyond a threshold: withheld or not is one bit, and counts as one at an edge."""
    w, outcomes = world(), []
    for i in range(14):
        more = TARGET & (pl.col("secret") > 1000 + 500 * i) & (MONTH == 1)
        outcomes.append(rules(w.ask(JOINED.filter(((G < 5) & (MONTH == 0)) | more).select(SECRET.sum()).plan)))
    assert "edge-budget" in outcomes[-1]


def test_strict_decides_by_public_columns_alone() -> None:
    """Other secrets, same decisions."""
    plans = [JOINED.filter(UNEVEN), JOINED.filter(EVENLY), JOINED]
    shown = []
    for values in (EMP["secret"], EMP["secret"].reverse(), polars.Series("secret", RNG.integers(0, 10000, N))):
        w = World(remembers=True).add(
            "emp", EMP.with_columns(values.alias("secret")), Policy.strict(unit="id"), EMP_ROLES, "id"
        )
        w.add("pay", PAY, Policy.strict(unit="id"), PAY_ROLES, "id")
        answers = [w.ask(p.group_by("g").agg(SECRET.sum(), n=pl.len()).sort("g").plan) for p in plans]
        told = [
            None if a.table is None else a.table.with_columns(polars.col("secret").is_null()).rows() for a in answers
        ]
        shown.append((told, [sorted(rules(a)) for a in answers]))
    assert shown[0] == shown[1] == shown[2]
    assert "suppressed" in shown[0][1][0]


def test_lists_without_elements_between_two_answers() -> None:
    """What lies between two populations may explode to nothing; those that do not must not be taken for it."""
    people, days = 120, 3
    who = np.repeat(np.arange(people), days)
    lists = polars.Series([[[1, 2], [], None][i % 3] for i in range(people * days)])
    frame = polars.DataFrame(
        {"id": who, "g": who % 4, "day": np.tile(np.arange(days), people), "a": who // 4, "x": lists}
    )
    roles = {"id": "identifier", "g": "quasi", "day": "quasi", "a": "quasi", "x": "quasi"}
    for first in (pl.col("a").sum(), pl.len()):
        w = World(remembers=True).add("t", frame, Policy.default(), roles, "id")
        assert w.ask(Q("t").group_by("g").agg(first).plan).table is not None
        plan = Q("t").explode("x").group_by("g").agg(pl.col("a").sum(), pl.len()).plan
        assert all(f.rule != "rule-failed" for f in w.ask(plan).verdict.findings)
