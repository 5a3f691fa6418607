"""The rules about values, each on the smallest data that shows it: yes-or-no columns, homogeneity, dominance from above."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import polars
import pytest
from bastion_policy.model import Aggregation, AtLeastNOf, Homogeneity, Policy, Role, RoleKind, Suppress, measure
from bastion_policy.verdict import Outcome
from drive import World
from query import Q

import bastion.expressions as pl

T = Q("t")
flag, pay, job = pl.col("flag"), pl.col("pay"), pl.col("job")
K, N = 10, 24


def people(true: int, missing: int = 0, *, role: str = "quasi", unit: str | None = None, **options: Any) -> World:
    """A group x of 24 people, `true` of whom say yes and `missing` nothing, beside a group y of 40, half of whom do."""
    here = [True] * true + [None] * missing + [False] * (N - true - missing)
    frame = polars.DataFrame(
        {
            "id": range(N + 40),
            "g": ["x"] * N + ["y"] * 40,
            "flag": here + [True, False] * 20,
            "pay": [float(i % 50) for i in range(N + 40)],
            "age": [i % 30 for i in range(N + 40)],
        }
    )
    roles = {"id": "identifier", "g": "quasi", "flag": role, "pay": measure(0, 100), "age": "quasi"}
    return World(**options).add("t", frame, Policy(Aggregation(K), Suppress()), roles, unit)


def of_x(world: World, expr: Any, q: Q = T) -> Any:
    table = world.ask(q.group_by("g").agg(a=expr).plan).table
    assert table is not None
    return table.filter(polars.col("g") == "x")["a"].to_list()[0]


#: statistics of a yes-or-no column, and their value if `t` of `n` people say yes
BITS: dict[str, tuple[Callable[[], Any], Callable[[int, int], float | bool | None]]] = {
    "sum": (lambda: flag.sum(), lambda t, n: t),
    "mean": (lambda: flag.mean(), lambda t, n: t / n),
    "var": (lambda: flag.var(), lambda t, n: t * (n - t) / n / (n - 1)),
    "std": (lambda: flag.std(ddof=0), lambda t, n: math.sqrt(t * (n - t)) / n),
    "min": (lambda: flag.min(), lambda t, n: t == n),
    "max": (lambda: flag.max(), lambda t, n: t > 0),
    "a cast": (lambda: flag.cast(polars.Int64).sum(), lambda t, n: t),
    "a float": (lambda: flag.cast(polars.Float64).mean(), lambda t, n: t / n),
    "largest cast": (lambda: flag.cast(polars.Int64).max(), lambda t, n: float(t > 0)),
    "affine": (lambda: (flag * 2 + 1).sum(), lambda t, n: 2 * t + n),
    "affine mean": (lambda: (flag.cast(polars.Int64) * -4 + 3).mean(), lambda t, n: 3 - 4 * t / n),
    "affine var": (lambda: (flag * 3).var(), lambda t, n: 9 * t * (n - t) / n / (n - 1)),
    "when": (lambda: pl.when(flag).then(1).otherwise(0).sum(), lambda t, n: t),
}


@pytest.mark.parametrize("name", BITS)
@pytest.mark.parametrize("true", [0, 1, 2, 9, 10, 14, 15, 22, 23, 24])
def test_a_yes_or_no_column_is_the_condition_it_is(name: str, true: int) -> None:
    """0 and 1 to k - 1 who say yes are one answer, and so are all and all but 1 to k - 1."""
    made, value = BITS[name]
    told = 0 if true < K else N if N - true < K else true
    assert of_x(people(true), made()) == pytest.approx(value(told, N))


@pytest.mark.parametrize("true", [0, 9, 12, 24])
def test_a_computed_yes_or_no_column_is_one_as_well(true: int) -> None:
    told = 0 if true < K else N if N - true < K else true
    computed = T.with_columns(z=(flag.cast(polars.Int64) * 2 + 3))
    assert of_x(people(true), pl.col("z").sum(), computed) == 2 * told + 3 * N
    assert of_x(people(true), pl.col("z").mean(), computed) == pytest.approx(3 + 2 * told / N)


@pytest.mark.parametrize("true", [0, 1, 9, 12, 23])
def test_one_row_per_person_is_summed_as_it_is(true: int) -> None:
    told = 0 if true < K else N if N - true < K else true
    each = T.group_by("id", "g").agg(f=flag.sum())
    answer = people(true, unit="id").ask(each.select(pl.col("f").sum()).plan)
    whole = told + 20 if true not in (1, 9, 23) else None
    if answer.table is not None and whole is not None:
        assert true + 20 - answer.table["f"][0] == pytest.approx(0)
    windows = T.with_columns(f=flag.sum().over("id"))
    found = people(true, unit="id").ask(windows.group_by("g").agg(pl.col("f").sum()).plan)
    assert found.table is None or found.table["f"].to_list() == [None, None]


def test_a_shift_that_only_the_data_tell_is_for_the_owner() -> None:
    shifted = T.with_columns(z=flag.cast(polars.Int64) - flag.cast(polars.Int64).mean()).select(z=pl.col("z").sum())
    world = people(12).with_policy(Policy.default())
    assert world.ask(shifted.plan).verdict.outcome is Outcome.REVIEW


@pytest.mark.parametrize("made", [flag.median(), flag.cast(polars.Int64).quantile(0.99)])
def test_quantiles_of_a_yes_or_no_column_are_for_the_owner(made: Any) -> None:
    world = people(1).with_policy(Policy.default())
    assert world.ask(T.group_by("g").agg(a=made).plan).verdict.outcome is Outcome.REVIEW


def test_the_divisor_of_a_share_is_a_population_as_well() -> None:
    """The share and the number of those who say yes tell how many there are: 30 of 64, so that 29 of them are 30."""
    some = pl.col("age") < 14
    asked = T.select(n=flag.filter(some).sum(), m=flag.filter(some).mean())
    fewer = T.filter(some & (pl.col("pay") > 0)).select(n=pl.len())
    world = people(12, remembers=True)
    told = world.ask(asked.plan).released
    there = round(told["n"][0] / told["m"][0])
    alone = people(12).ask(fewer.plan).released["n"][0]
    assert 0 < there - alone < K
    after = world.ask(fewer.plan).table
    assert after is None or after["n"].to_list() in ([], [there], [None])


@pytest.mark.parametrize("true", [0, 2, 6])
def test_fewer_than_k_who_say_anything_say_nothing(true: int) -> None:
    for name in ("sum", "mean", "max"):
        assert of_x(people(true, missing=16), BITS[name][0]()) is None


@pytest.mark.parametrize("true", [0, 1, 2, 22, 23, 24])
def test_a_sensitive_yes_or_no_column_is_held_to_homogeneity(true: int) -> None:
    world = people(true, role="sensitive").with_policy(Policy.default())
    answer = world.ask(T.group_by("g").agg(flag.sum()).plan)
    assert answer.verdict.outcome is Outcome.REVIEW
    assert {f.rule for f in answer.verdict.findings} == {"homogeneity"}
    assert "nearly everybody has the same value" in answer.verdict.findings[0].reason


def test_a_sum_of_those_who_say_yes_is_remembered_as_their_population() -> None:
    """12 of x say yes. After the sum, 11 of them are 12: so nobody is told from the others."""
    world = people(12, remembers=True)
    asked = T.group_by("g").agg(flag.sum())
    assert sorted(world.ask(asked.plan).released["flag"].to_list()) == [12, 20]
    few = T.filter((pl.col("g") == "x") & (pl.col("age") > 0)).select(n=flag.sum())
    alone = people(12).ask(few.plan).table
    assert alone is not None and alone["n"].to_list() == [11]
    after = world.ask(few.plan).table
    assert after is None or after["n"].to_list() in ([], [12], [None])
    inside = T.filter((pl.col("g") == "x") & (pl.col("age") > 0) & flag).select(n=pl.len())
    fresh = people(12, remembers=True)
    fresh.ask(asked.plan)
    found = fresh.ask(inside.plan).table
    assert found is None or found["n"].to_list() in ([], [12])


# -- homogeneity


def all_alike(values: list[Any], kind: str = "quasi", *, columns: str = "all") -> World:
    frame = polars.DataFrame({"g": ["x"] * 20 + ["y"] * 20, "v": [*values, *(values[0:1] * 10), *(values[-1:] * 10)]})
    zone = AtLeastNOf(2, [Aggregation(4), Homogeneity(3, columns)])
    return World().add("t", frame, Policy(zone, Suppress(), weaken=("dominance",)), {"g": "quasi", "v": kind})


AGES = [5] * 18 + [6, 7]


@pytest.mark.parametrize("function", ["sum", "mean", "var", "median", "min", "max"])
@pytest.mark.parametrize(("differ", "shown"), [(0, False), (2, False), (3, True)])
def test_numbers_of_all_columns_must_differ(function: str, differ: int, shown: bool) -> None:
    world = all_alike([5] * (20 - differ) + [6, 7, 8][:differ] if differ else [5] * 20)
    answer = world.ask(T.group_by("g").agg(a=getattr(pl.col("v"), function)()).plan)
    assert answer.table is not None
    assert (answer.table.filter(polars.col("g") == "x")["a"][0] is not None) == shown or function in (
        "min",
        "max",
        "median",
    )
    if not shown:
        assert answer.table.filter(polars.col("g") == "x")["a"][0] is None
        assert "homogeneity" in {f.rule for f in answer.verdict.findings}


def test_numbers_of_quasi_columns_may_be_alike_where_the_rule_is_for_sensitive_ones() -> None:
    answer = all_alike([5] * 20, columns="sensitive").ask(T.group_by("g").agg(pl.col("v").mean()).plan)
    assert answer.released.sort("g")["v"].to_list() == [5.0, 5.0]


def test_a_key_in_its_own_cell_is_no_exception() -> None:
    answer = all_alike([5] * 10 + [6] * 10).ask(T.group_by("v").agg(pl.len(), m=pl.col("v").mean()).plan)
    assert answer.table is not None
    assert answer.table["m"].to_list() == [None, None]
    assert answer.table["len"].to_list() == [20, 20]


@pytest.mark.parametrize("function", ["min", "max"])
@pytest.mark.parametrize(("differ", "shown"), [(0, False), (2, False), (8, True)])
def test_categories_that_nearly_everybody_has_are_not_told(function: str, differ: int, shown: bool) -> None:
    values = ["nurse"] * (20 - differ) + (["cook"] if function == "max" else ["vet"]) * differ
    world = all_alike(values, "sensitive", columns="sensitive")
    answer = world.ask(T.group_by("g").agg(a=getattr(pl.col("v"), function)()).plan)
    assert answer.table is not None
    assert answer.table.filter(polars.col("g") == "x")["a"][0] == ("nurse" if shown else None)
    if not shown:
        assert "homogeneity" in {f.rule for f in answer.verdict.findings}


def test_people_with_several_rows_differ_if_one_of_their_rows_does() -> None:
    """Everybody has 0 once: that is not what everybody has."""
    frame = polars.DataFrame(
        {"id": [i // 4 for i in range(80)], "v": [0.0 if i % 4 == 0 else float(i % 9) for i in range(80)]}
    )
    zone = AtLeastNOf(2, [Aggregation(10), Homogeneity(5, "all")])
    world = World().add("t", frame, Policy(zone, Suppress()), {"id": "identifier", "v": measure(0, 10)}, "id")
    assert world.ask(T.select(pl.col("v").sum()).plan).released["v"][0] == pytest.approx(frame["v"].sum())
    same = frame.with_columns(v=polars.when(polars.col("id") < 17).then(1.0).otherwise(polars.col("v")))
    world = World().add("t", same, Policy(zone, Suppress()), {"id": "identifier", "v": measure(0, 10)}, "id")
    answer = world.ask(T.select(pl.col("v").sum()).plan)
    assert answer.table is not None and answer.table["v"].to_list() == [None]


def test_a_covariance_with_a_column_of_one_value_tells_as_little_as_with_one_that_nearly_is() -> None:
    for differ in (0, 1, 2):
        answer = people(0).with_policy(Policy(Aggregation(K), Suppress()))
        frame = answer.frames["t"].with_columns(c=polars.Series([1.0] * differ + [0.0] * (N + 40 - differ)))
        roles = {"id": "identifier", "g": "quasi", "pay": measure(0, 100), "c": measure(0, 1)}
        world = World().add("t", frame, Policy(Aggregation(K), Suppress()), roles)
        table = world.ask(T.select(c=pl.cov("pay", "c")).plan).table
        assert table is not None and table["c"].to_list() == [None]


# -- dominance


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize(("below", "shown"), [(0, True), (1, False), (2, False), (3, True)])
def test_dominance_holds_from_the_declared_upper_bound_as_well(declared: bool, below: int, shown: bool) -> None:
    """Of 20 people who all have the most there may be, one or two who do not stand out."""
    role, shown = (measure(0, 5), shown) if declared else (Role(RoleKind.MEASURE), True)
    values = [2.0, 1.0, 2.0][:below] + [5.0] * (20 - below) + [0.0, 1.0, 2.0, 3.0, 4.0] * 4
    frame = polars.DataFrame({"g": ["x"] * 20 + ["y"] * 20, "v": values})
    world = World().add("t", frame, Policy(Aggregation(K), Suppress()), {"g": "quasi", "v": role})
    answer = world.ask(T.group_by("g").agg(pl.col("v").sum()).plan)
    assert answer.table is not None
    assert (answer.table.filter(polars.col("g") == "x")["v"][0] is not None) == shown
    assert {f.rule for f in answer.verdict.findings} == (set() if shown else {"dominance"})


# -- what is told of a refusal


@pytest.mark.parametrize("policy", [Policy.strict(unit="id"), Policy(Aggregation(10), Suppress())])
def test_what_has_no_safe_part_is_denied_with_its_reason(policy: Policy) -> None:
    """Keys beside nulls are no safe part: they would look like missing values."""
    frame = polars.DataFrame({"id": range(60), "g": ["x", "y"] * 30, "when": ["2024-05-01", "2024-06-01"] * 30})
    world = World().add("t", frame, policy, {"id": "identifier", "g": "quasi", "when": "quasi"}, "id")
    parsed = pl.col("when").str.to_date("%Y-%m-%d").max()
    for q in (T.group_by("g").agg(a=parsed), T.group_by("g").agg(a=parsed).sort("g"), T.select(a=parsed)):
        answer = world.ask(q.plan)
        assert (answer.verdict.outcome, answer.table) == (Outcome.REFUSE, None)
        assert world.static(q.plan).outcome is Outcome.REFUSE
        assert {f.rule for f in answer.verdict.findings} <= {"strict-argument", "argument"}
    beside = world.ask(T.group_by("g").agg(pl.len(), a=parsed).plan)
    assert beside.released.sort("g").to_dicts() == [{"g": g, "len": 30, "a": None} for g in "xy"]
    assert beside.verdict.findings


@pytest.mark.parametrize("true", [0, 2, 3, 9, 10, 14, 15, 22, 24])
def test_strict_tells_of_a_yes_or_no_column_with_k_on_both_sides(true: int) -> None:
    """3 of 24 differ enough for homogeneity, but are too few to be a population."""
    frame = people(true).frames["t"]
    roles = {"id": "identifier", "g": "quasi", "flag": "quasi", "pay": measure(0, 100), "age": "quasi"}
    world = World(remembers=True).add("t", frame, Policy.strict(unit="id"), roles, "id")
    for made, value in (BITS["sum"], BITS["mean"], BITS["max"]):
        told = of_x(world, made())
        assert (told is not None) == (K <= true <= N - K)
        if told is not None:
            assert told == pytest.approx(value(true, N), abs=0.15 * max(1, value(true, N) or 0))


def test_the_length_of_a_sensitive_text_is_a_bin() -> None:
    """A sum and a variance of three lengths count each of three diseases, the rare one, too."""
    frame = polars.DataFrame({"id": range(60), "ill": ["flu"] * 30 + ["asthma"] * 29 + ["hypertension"]})
    for role, there in (("sensitive", False), ("quasi", True)):
        w = World().add("t", frame, Policy.default(), {"id": "identifier", "ill": role}, "id")
        for length in (pl.col("ill").str.len_chars(), pl.col("ill").str.len_bytes()):
            assert (w.ask(T.select(length.sum()).plan).table is not None) is there


# -- arithmetic over numbers of which some are answered as those of another population


def of_sides(missing: int, policy: Policy) -> World:
    """Return a cell of ten people, five of whom are in; some of the others have no debt."""
    debt = [None if i < missing else 100.0 * i + 7 for i in range(60)]
    frame = polars.DataFrame({"id": range(60), "g": ["x"] * 10 + ["y"] * 50, "inside": [i > 4 for i in range(60)]})
    roles = {"id": "identifier", "g": "quasi", "inside": "quasi", "debt": measure(0, 10_000)}
    return World(remembers=True).add("t", frame.with_columns(debt=polars.Series(debt)), policy, roles, "id")


INSIDE, DEBT = pl.col("inside"), pl.col("debt")
MIXED: dict[str, tuple[Callable[[], Any], Callable[[float, int], float]]] = {
    "a multiple": (lambda: (DEBT * 2 + 1).filter(INSIDE).sum(), lambda s, n: 2 * s + n),
    "moved": (lambda: (DEBT - 50).filter(INSIDE).sum(), lambda s, n: s - 50 * n),
    "turned round": (lambda: (1000 - DEBT).filter(INSIDE).sum(), lambda s, n: 1000 * n - s),
}
SEPARATE = (DEBT.filter(INSIDE).sum(), DEBT.filter(INSIDE).count())


@pytest.mark.parametrize("missing", [1, 2, 4])
@pytest.mark.parametrize("name", MIXED)
def test_no_number_is_of_two_populations(name: str, missing: int) -> None:
    """With few debts on the other side the sum inside is answered as the whole cell's; the count inside is its own."""
    make, value = MIXED[name]
    policy = Policy(Aggregation(5), Suppress(), weaken=("dominance",))
    asked = T.group_by("g").agg(x=make())
    table = of_sides(missing, policy).ask(asked.plan).table
    told = None if table is None else dict(table.select("g", "x").rows()).get("x")
    inside, cell = [100.0 * i + 7 for i in range(5, 10)], [100.0 * i + 7 for i in range(missing, 10)]
    wholes = [value(sum(x), len(x)) for x in (inside, cell)]
    assert told is None or told in [pytest.approx(w) for w in wholes], "of those inside, or of the whole cell"
    # asked alone, the sum is of one of them and the count of the other
    found = [of_sides(missing, policy).ask(T.group_by("g").agg(x=x).plan).released for x in SEPARATE]
    assert [dict(f.rows())["x"] for f in found] == [sum(cell), 5]
    # where the rules are off it is the number of those inside
    off = of_sides(missing, Policy.open()).ask(asked.plan).released
    assert dict(off.rows())["x"] == pytest.approx(wholes[0])
