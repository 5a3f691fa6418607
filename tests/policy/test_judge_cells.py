"""What leaves a boundary: values as Polars computes them, populations snapped, small cells merged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars
import pytest
from bastion_policy.model import Aggregation, FalseRule, Log, Policy, Reject, Review, Role, RoleKind, Suppress
from bastion_policy.verdict import Outcome
from drive import World
from polars.testing import assert_frame_equal
from query import Q, concat

import bastion.expressions as pl

TITANIC = polars.read_csv(Path(__file__).parents[2] / "notebooks" / "data" / "titanic.csv")
W = World().add("t", TITANIC, Policy.default(), {"Name": "hidden"})
T = Q("t")
survived, fare = pl.col("Survived"), pl.col("Fare")


def test_survival_by_class() -> None:
    table = W.ask(T.group_by("Pclass").agg(survived.mean()).plan).released
    assert table["Survived"].round(6).to_list() == [0.62963, 0.472826, 0.242363]


def test_two_keys_are_released_as_polars_has_them() -> None:
    plan = T.group_by("Pclass", "Sex").agg(survived.mean(), pl.len(), f=fare.sum())
    direct = TITANIC.group_by("Pclass", "Sex").agg(
        polars.col("Survived").mean(), polars.len(), f=polars.col("Fare").sum()
    )
    assert_frame_equal(W.ask(plan.plan).released, direct.sort("Pclass", "Sex"))


def test_a_guarded_mean_adds_the_number_of_rows_only() -> None:
    answer = W.ask(T.group_by("Pclass").agg(survived.mean()).plan)
    assert len(answer.measures) == 1
    assert [a.name for a in answer.measures[0].plan.input.input.aggs] == ["#~n", "#~s0"]  # type: ignore[attr-defined]


def test_rows_need_review_and_come_masked_once_approved() -> None:
    answer = W.ask(T.head(5).plan)
    assert answer.verdict.outcome is Outcome.REVIEW
    assert answer.table is None
    summary = W.ask(T.head(5).plan, safe_part=True).table
    assert summary is not None and summary["len"][0] == 891
    assert "Name_count" not in summary.columns
    rows = W.approved(T.with_columns(x=pl.col("Name").str.to_uppercase()).head(5).plan)
    assert rows["Name"].to_list() == rows["x"].to_list() == ["*"] * 5
    assert rows["Age"].to_list() == TITANIC["Age"].head(5).to_list()


@pytest.mark.parametrize("grouped", [False, True])
def test_a_spread_that_one_person_makes_is_withheld_though_the_sum_is_told(grouped: bool) -> None:
    """All earn about 50 but one: a small part of what they earn together, and nearly all of how they differ."""
    even = np.where(np.arange(400) // 5 % 2, 49.9, 50.1)
    frame = polars.DataFrame({"id": np.arange(400), "g": np.arange(400) % 5, "even": even})
    frame = frame.with_columns(x=polars.when(id=7).then(100.0).otherwise("even"))
    pay = Role(RoleKind.MEASURE, 0, 100)
    policy = Policy(Aggregation(10), Suppress())
    w = World().add("t", frame, policy, {"id": "identifier", "g": "quasi", "x": pay, "even": pay}, "id")
    x, even_ = pl.col("x"), pl.col("even")
    found = [x.sum().alias("s"), x.var().alias("v"), x.std().alias("d"), even_.var().alias("e"), even_.std().alias("f")]
    answer = w.ask((T.group_by("g").agg(*found) if grouped else T.select(*found)).plan).released
    sums = frame.group_by("g").agg(polars.col("x").sum()).sort("g")["x"] if grouped else [frame["x"].sum()]
    assert answer["s"].to_list() == pytest.approx(list(sums))
    at = 7 % 5 if grouped else 0
    assert answer["v"][at] is None
    assert answer["d"][at] is None
    assert None not in answer["e"].to_list() + answer["f"].to_list()


def test_small_cells_are_one_remainder_row() -> None:
    answer = W.ask(T.group_by("Cabin").agg(pl.len(), fare.mean()).plan)
    table = answer.released
    assert table["Cabin"].to_list() == [None, "(other)"]
    assert table["len"].to_list() == [687, 204]
    rest = TITANIC.filter(polars.col("Cabin").is_not_null())["Fare"].mean()
    assert table["Fare"][1] == pytest.approx(rest)
    assert answer.verdict.note.merged == 1


def test_a_remainder_of_too_few_takes_the_smallest_other_cell_along() -> None:
    frame = polars.DataFrame({"g": ["a"] * 50 + ["b"] * 20 + ["c"] * 30 + ["d"] * 3, "x": [1.0] * 103})
    table = World().add("t", frame, roles={"g": "quasi"}).ask(T.group_by("g").agg(pl.len()).plan).released
    assert table.rows() == [("(other)", 23), ("a", 50), ("c", 30)]


def test_a_nearly_whole_cell_hides_whether_anybody_is_missing() -> None:
    outcomes = []
    for missing in range(12):
        frame = polars.DataFrame({"g": ["a"] * (100 - missing) + ["b"] * missing, "x": np.arange(100.0)})
        table = World().add("t", frame, roles={"g": "quasi", "x": Role(RoleKind.MEASURE)})
        outcomes.append(table.ask(T.group_by("g").agg(pl.len(), pl.col("x").sum()).plan).released.rows())
    assert outcomes[0] == [("a", 100, 4950.0)]
    assert all(o == outcomes[0] for o in outcomes[:10])
    assert [r[:2] for r in outcomes[10]] == [("a", 90), ("b", 10)]


@pytest.mark.parametrize("unit", [None, "u"])
def test_too_few_and_all_but_few_are_one_outcome_each(unit: str | None) -> None:
    frame = polars.DataFrame({"u": np.arange(100), "x": np.arange(100.0)})
    if unit:
        frame = polars.concat([frame, frame, frame])
    world = World().add("t", frame, roles={"u": "identifier", "x": Role(RoleKind.MEASURE, 0, 100)}, unit=unit)

    def answer(low: float) -> list[tuple[object, ...]]:
        return world.ask(T.filter(pl.col("x") >= low).select(pl.len(), pl.col("x").sum()).plan).released.rows()

    whole = [answer(low) for low in range(10)]
    assert all(w == [(frame.height, frame["x"].sum())] for w in whole)
    assert answer(10) == [(frame.height * 9 // 10, frame.filter(polars.col("x") >= 10)["x"].sum())]
    assert len(answer(90)) == 1
    assert [answer(low) for low in (91, 95, 99, 200)] == [[]] * 4


def test_the_empty_answer_says_the_same_of_nobody_and_of_a_few() -> None:
    few = W.ask(T.filter(pl.col("Age") > 75).select(survived.mean()).plan)
    none = W.ask(T.filter(pl.col("Age") > 200).select(survived.mean()).plan)
    assert few.released.equals(none.released)
    assert few.verdict.note == none.verdict.note
    assert len(few.measures) == len(none.measures)


def test_a_table_of_fewer_than_k_units_answers_nothing() -> None:
    world = World().add("t", TITANIC.head(9), Policy.default(), {"Name": "hidden"})
    assert world.ask(T.select(pl.len()).plan).released.height == 0


def test_inner_filters_snap_to_nobody_and_to_the_cell() -> None:
    plan = T.select(
        few=fare.filter(pl.col("Age") > 75).mean(), all_but=fare.filter(pl.col("SibSp") < 8).mean(), all=fare.mean()
    )
    row = W.ask(plan.plan).released.row(0, named=True)
    assert row["few"] is None
    assert row["all_but"] == row["all"] == pytest.approx(TITANIC["Fare"].mean())


def test_dominance_takes_a_cell_out_and_offers_the_rest() -> None:
    frame = polars.DataFrame({"g": ["a"] * 20 + ["b"] * 20 + ["c"] * 20, "x": [1.0] * 20 + [2.0] * 40})
    frame = frame.with_columns(
        polars.when(polars.int_range(60) == 0).then(1000.0).otherwise(polars.col("x")).alias("x")
    )
    world = World().add("t", frame, roles={"g": "quasi", "x": Role(RoleKind.MEASURE, 0, 1000)})
    plan = T.group_by("g").agg(pl.col("x").sum(), pl.len()).plan
    answer = world.ask(plan)
    assert answer.verdict.outcome is Outcome.REVIEW
    assert {f.rule for f in answer.verdict.findings} == {"dominance"}
    safe = world.ask(plan, safe_part=True).table
    assert safe is not None
    # a second cell is hidden, else the total gives the first one back
    assert safe["x"].null_count() == 2
    assert safe["x"][0] is None
    assert safe["len"].to_list() == [20, 20, 20]
    assert (answer.verdict.safe_cells, answer.verdict.total_cells) == (4, 6)


def test_actions_decide_about_cells_that_fail() -> None:
    frame = polars.DataFrame({"g": ["a"] * 20 + ["b"] * 20, "x": [1000.0] + [1.0] * 39})
    roles = {"g": "quasi", "x": Role(RoleKind.MEASURE, 0, 1000)}
    plan = T.group_by("g").agg(pl.col("x").sum(), pl.len()).plan

    def ask(**policy: object) -> object:
        return World().add("t", frame, Policy(safe_zone=Aggregation(10), **policy), roles).ask(plan)  # type: ignore[arg-type]

    logged = ask(unsafe_handling=Log())
    assert logged.released["x"].sum() == frame["x"].sum()  # type: ignore[attr-defined]
    assert logged.verdict.note.logged_unsafe  # type: ignore[attr-defined]
    suppressed = ask(unsafe_handling=Suppress())
    assert suppressed.released["x"].null_count() == 2  # type: ignore[attr-defined]
    assert suppressed.released["len"].null_count() == 0  # type: ignore[attr-defined]
    rejected = ask(unsafe_handling=Reject())
    assert (rejected.verdict.outcome, rejected.table) == (Outcome.REFUSE, None)  # type: ignore[attr-defined]
    outside = ask(unsafe_handling=Review(), review_zone=FalseRule())
    assert outside.verdict.outcome is Outcome.REFUSE  # type: ignore[attr-defined]


def test_homogeneity_of_sensitive_booleans() -> None:
    frame = polars.DataFrame({"g": ["a"] * 30 + ["b"] * 30, "sick": [True] * 30 + [True, False] * 15})
    world = World().add("t", frame, roles={"g": "quasi", "sick": "sensitive"})
    for sick in (pl.col("sick"), ~pl.col("sick"), pl.col("sick").cast(int)):
        plan = T.group_by("g").agg(sick.mean()).plan
        assert world.ask(plan).verdict.outcome is Outcome.REVIEW
    plan = T.group_by("g").agg(pl.col("sick").mean()).plan
    assert World().add("t", frame, roles={"g": "quasi", "sick": "quasi"}).ask(plan).verdict.outcome is Outcome.RELEASE


def test_dominance_counts_from_both_bounds() -> None:
    frame = polars.DataFrame({"x": [100.0] * 29 + [20.0] + [50.0] * 30, "g": ["a"] * 30 + ["b"] * 30})
    world = World().add("t", frame, roles={"x": Role(RoleKind.MEASURE, 0, 100), "g": "quasi"})
    answer = world.ask(T.group_by("g").agg(pl.col("x").sum()).plan)
    assert answer.verdict.outcome is Outcome.REVIEW, "all but one at the top: the sum is that one's value"
    assert [f.rule for f in answer.verdict.findings] == ["dominance"]


def test_conditions_are_judged_on_both_sides() -> None:
    frame = polars.DataFrame({"x": [float(i) for i in range(100)]})
    world = World().add("t", frame, roles={"x": Role(RoleKind.MEASURE, 0, 100)})
    for edge, shown in ((50, 0.5), (95, 0.0), (4, 1.0), (10, 0.9)):
        answer = world.ask(T.select(p=(pl.col("x") >= edge).mean()).plan)
        assert answer.released["p"][0] == shown, edge
        assert not answer.verdict.note.notes


def test_order_statistics_are_middles_of_intervals_that_hold_k_people() -> None:
    row = W.ask(T.select(a=fare.min(), b=fare.median(), c=fare.max(), d=pl.col("SibSp").max()).plan).released.row(0)
    assert row[0] == 0.0  # fifteen people paid nothing
    assert abs(row[1] - TITANIC["Fare"].median()) < 1
    assert row[2] != TITANIC["Fare"].max()
    assert row[3] is not None


def test_declared_bounds_give_equal_steps() -> None:
    frame = polars.DataFrame({"x": np.linspace(0, 1000, 1001)})
    world = World().add("t", frame, roles={"x": Role(RoleKind.MEASURE, 0, 1000)})
    row = world.ask(T.select(a=pl.col("x").min(), b=pl.col("x").median(), c=pl.col("x").max()).plan).released.row(0)
    assert row == (5.0, 505.0, 995.0)


def test_text_extremes_are_shown_only_if_held_by_k() -> None:
    row = W.ask(T.select(a=pl.col("Sex").min(), b=pl.col("Cabin").max()).plan).released.row(0)
    assert row == ("female", None)


def test_describe_works_cell_by_cell() -> None:
    numbers = ["Survived", "Pclass", "Age", "SibSp", "Parch", "Fare"]
    exprs = {}
    for c in TITANIC.columns:
        if c == "Name":
            continue
        exprs |= {f"count:{c}": pl.col(c).count(), f"null_count:{c}": pl.col(c).null_count()}
    for c in numbers:
        x = pl.col(c)
        exprs |= {f"mean:{c}": x.mean(), f"std:{c}": x.std(), f"min:{c}": x.min(), f"max:{c}": x.max()}
        exprs |= {f"{q}:{c}": x.quantile(q) for q in (0.25, 0.5, 0.75)}
    answer = W.ask(T.select(**exprs).plan)
    table = answer.released
    for c in numbers:
        assert table[f"mean:{c}"][0] == pytest.approx(TITANIC[c].mean())
        assert table[f"std:{c}"][0] == pytest.approx(TITANIC[c].std())
    assert table["null_count:Cabin"][0] == 687
    assert sum(table[c].null_count() for c in table.columns) <= 3


def test_distinct_units_count_not_rows() -> None:
    frame = polars.DataFrame(
        {"u": [0] * 500 + list(range(1, 5)) + list(range(5, 45)), "g": ["a"] * 504 + ["b"] * 40, "x": 1.0}
    )
    world = World().add("t", frame, roles={"u": "identifier", "g": "quasi"}, unit="u")
    answer = world.ask(T.group_by("g").agg(pl.col("x").mean()).plan)
    # five people stand behind the 504 rows of `a`
    assert "a" not in answer.released["g"].to_list() if answer.verdict.outcome is Outcome.RELEASE else True
    assert answer.table is None or answer.table.filter(polars.col("g") == "a").height == 0


def test_counts_are_dominated_too_when_a_unit_has_many_rows() -> None:
    frame = polars.DataFrame({"u": [0] * 5000 + list(range(1, 60)), "g": ["a"] * 5059})
    world = World().add("t", frame, roles={"u": "identifier", "g": "quasi"}, unit="u")
    assert world.ask(T.select(pl.len()).plan).verdict.outcome is Outcome.REVIEW


def two_tables() -> World:
    rng = np.random.default_rng(3)
    visits = polars.DataFrame({"pid": rng.integers(0, 200, 1500), "cost": rng.uniform(0, 100, 1500).round(2)})
    patients = polars.DataFrame(
        {"pid": np.arange(200), "ward": rng.choice(["n", "s"], 200), "age": rng.integers(20, 90, 200)}
    )
    world = World().add("v", visits, roles={"pid": "identifier", "cost": Role(RoleKind.MEASURE, 0, 100)}, unit="pid")
    return world.add("p", patients, roles={"pid": "identifier", "age": "quasi", "ward": "quasi"}, unit="pid")


def test_join_of_the_owners_tables() -> None:
    world = two_tables()
    plan = Q("v").join(Q("p"), on="pid").group_by("ward").agg(pl.col("cost").sum(), pl.len())
    direct = (
        world.frames["v"].join(world.frames["p"], on="pid").group_by("ward").agg(polars.col("cost").sum(), polars.len())
    )
    assert_frame_equal(world.ask(plan.plan).released, direct.sort("ward"))


def test_join_with_few_people_on_one_side_shows_nothing() -> None:
    world = two_tables()
    few = Q("p").filter((pl.col("age") == 50) & (pl.col("ward") == "n")).select("pid", "ward")
    table = world.ask(Q("v").join(few, on="pid").select(pl.col("cost").sum()).plan).released
    assert table.height == 0


def test_pre_aggregation_counts_units() -> None:
    world = two_tables()
    plan = Q("v").group_by("pid").agg(total=pl.col("cost").sum()).select(pl.col("total").mean(), pl.len())
    direct = world.frames["v"].group_by("pid").agg(total=polars.col("cost").sum())
    row = world.ask(plan.plan).released.row(0)
    assert row == (pytest.approx(direct["total"].mean()), direct.height)


def test_pre_aggregation_after_a_filter_that_leaves_out_one_visit_is_the_whole() -> None:
    world = two_tables()
    whole = Q("v").group_by("pid").agg(t=pl.col("cost").sum()).select(pl.col("t").sum())
    most = world.frames["v"]["cost"].max()
    part = Q("v").filter(pl.col("cost") < most).group_by("pid").agg(t=pl.col("cost").sum()).select(pl.col("t").sum())
    assert world.ask(part.plan).released.row(0) == pytest.approx(world.ask(whole.plan).released.row(0))


def test_concat_needs_k_people_of_every_part() -> None:
    world = two_tables()
    both = concat(Q("v"), Q("v").filter(pl.col("cost") > 99.9)).select(pl.col("cost").sum())
    assert world.ask(both.plan).released.height == 0


def test_windows_bring_back_what_would_be_released() -> None:
    frame = polars.DataFrame({"g": ["a"] * 40 + ["b"] * 40 + ["c"] * 2, "x": [float(i) for i in range(82)]})
    world = World().add("t", frame, roles={"g": "quasi", "x": Role(RoleKind.MEASURE, 0, 100)})
    plan = T.with_columns(m=pl.col("x").mean().over("g")).group_by("m").agg(pl.len())
    table = world.ask(plan.plan).released.sort("m")
    merged = frame.filter(polars.col("g") != "b")["x"].mean()
    assert table["m"].to_list() == [pytest.approx(merged), 59.5]
    assert table["len"].to_list() == [42, 40]


def test_equal_cells_are_merged_in_the_same_way_every_time() -> None:
    rng = np.random.default_rng(0)
    rows = polars.DataFrame({"g": ["a"] * 40 + ["b"] * 40 + ["c"] * 2})
    tables = set()
    for _ in range(5):
        shuffled = rows[rng.permutation(rows.height)]
        world = World().add("t", shuffled, roles={"g": "quasi"})
        tables.add(tuple(world.ask(T.group_by("g").agg(pl.len()).plan).released.rows()))
    assert tables == {(("(other)", 42), ("b", 40))}


def test_zero_rows_and_all_null_columns() -> None:
    empty = World().add("t", TITANIC.head(0), Policy.default(), {"Name": "hidden"})
    assert empty.ask(T.group_by("Pclass").agg(survived.mean()).plan).released.height == 0
    nulls = polars.DataFrame({"g": ["a"] * 30, "x": polars.Series([None] * 30, dtype=polars.Float64)})
    world = World().add("t", nulls, roles={"g": "quasi", "x": Role(RoleKind.MEASURE)})
    table = world.ask(T.select(pl.col("x").mean(), n=pl.col("x").count(), m=pl.col("x").max()).plan).released
    assert table.row(0) == (None, 0, None)


def test_facts_for_the_audit() -> None:
    facts = W.ask(T.group_by("Pclass").agg(survived.mean()).plan).verdict.facts
    assert facts["columns"] == ["t.Pclass", "t.Survived"]
    assert facts["statistics"] == ["mean"]
    assert facts["smallest_cell"] == 184
    assert facts["units"] == 891


def test_closed_and_open_zones() -> None:
    plan = T.group_by("Pclass").agg(survived.mean()).plan
    closed = W.with_policy(Policy(safe_zone=FalseRule(), unsafe_handling=Review())).ask(plan)
    assert (closed.verdict.outcome, closed.verdict.safe_part) == (Outcome.REVIEW, None)
    opened = W.with_policy(Policy.open()).ask(T.plan).released
    assert opened["Age"].equals(TITANIC["Age"])
    assert set(opened["Name"]) == {"*"}


def test_a_hidden_column_in_one_cell_leaves_the_others_on_offer() -> None:
    plan = T.select(a=pl.col("Name").count(), b=fare.mean(), c=pl.col("PassengerId").max()).plan
    answer = W.ask(plan)
    assert (answer.verdict.outcome, answer.table) == (Outcome.REFUSE, None)
    safe = W.ask(plan, safe_part=True).table
    assert safe is not None
    assert safe.row(0) == (None, pytest.approx(TITANIC["Fare"].mean()), None)
    logged = W.with_policy(Policy(safe_zone=Aggregation(10), unsafe_handling=Log())).ask(plan)
    assert logged.verdict.outcome is Outcome.REFUSE
