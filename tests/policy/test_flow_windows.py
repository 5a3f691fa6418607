"""Windows under every profile: what comes back to the rows is what would have been released, and people are counted."""

from __future__ import annotations

import datetime as dt

import polars
import pytest
from bastion_policy.model import Aggregation, Policy, Role, RoleKind, Suppress
from bastion_policy.verdict import Outcome
from drive import World
from query import Q

import bastion.expressions as pl

#: town c has 30 rows of 3 people
FRAME = polars.DataFrame(
    {
        "who": [i % 60 for i in range(300)] + [100 + i % 3 for i in range(30)],
        "town": ["ab"[i % 2] for i in range(300)] + ["c"] * 30,
        "day": list(range(300)) + list(range(30)),
        "pay": [float(i * 7 % 90) for i in range(300)] + [80.0 + i for i in range(30)],
    }
)
ROLES = {"who": "identifier", "town": "quasi", "day": "quasi", "pay": Role(RoleKind.MEASURE, 0, 120)}
PROFILES = {
    "default": Policy(Aggregation(10), Suppress(), unit="who"),
    "strict": Policy(Aggregation(10), Suppress(), unit="who", profile="strict"),
    "private": Policy.private(epsilon=1.0, unit="who"),
}
WORLDS = {name: World().add("t", FRAME, policy, ROLES, unit="who") for name, policy in PROFILES.items()}
EVERY = pytest.mark.parametrize("profile", PROFILES)
T = Q("t")
pay = pl.col("pay")


def test_a_window_over_few_people_brings_back_what_would_be_released() -> None:
    """Town c has rows enough, and too few people: its own mean never reaches the rows."""
    spread = T.with_columns(m=pay.mean().over("town"))
    shown = WORLDS["default"].ask(spread.group_by("town").agg(x=(pl.col("m") > 90).sum(), n=pl.len()).plan).table
    assert shown is None or "c" not in shown["town"].to_list()
    own = FRAME.filter(polars.col("town") == "c")["pay"].mean()
    means = WORLDS["default"].ask(T.group_by("town").agg(m=pay.mean()).plan).released
    assert all(abs(m - own) > 1 for m in means["m"])


ACROSS = {
    "shift": pay.shift(1), "diff": pay.diff(), "running sum": pay.cum_sum(), "rank": pay.rank(), "rolling": pay.rolling_mean(2),
    "fill": pay.forward_fill(), "window of another key": pay.cum_sum().over("town"), "distinct": pl.col("town").is_first_distinct(),
    "ordered": pay.shift(1).over("town", order_by="day"),
}  # fmt: skip


@EVERY
@pytest.mark.parametrize("name", ACROSS)
def test_what_reads_other_people_is_not_released(name: str, profile: str) -> None:
    plan = T.with_columns(x=ACROSS[name]).select(pl.col("x").sum()).plan
    assert WORLDS[profile].static(plan).findings


WITHIN = {
    "shift": pay.shift(1).over("who"), "diff": pay.diff().over("who"), "running sum": pay.cum_sum().over("who"),
    "rank": pay.rank().over("who"), "rolling": pay.rolling_mean(2).over("who"),
}  # fmt: skip


@pytest.mark.parametrize("name", WITHIN)
def test_what_reads_one_person_is_a_column_of_that_person(name: str) -> None:
    plan = T.with_columns(x=WITHIN[name]).group_by("town").agg(pl.col("x").mean())
    assert not WORLDS["default"].static(plan.plan).findings
    shown = WORLDS["default"].ask(plan.plan).table
    assert shown is None or "c" not in shown["town"].to_list()
    # the strict profile takes columns as they are stored
    assert {f.rule for f in WORLDS["strict"].static(plan.plan).findings} == {"strict-argument"}


@EVERY
def test_a_person_is_not_split_by_another_key(profile: str) -> None:
    plan = T.with_columns(x=pay.sum().over("who", "town")).select(pl.col("x").mean()).plan
    assert WORLDS[profile].static(plan).findings


@EVERY
def test_an_index_of_rows_is_not_released(profile: str) -> None:
    assert WORLDS[profile].static(T.with_row_index().select(pl.col("index").mean()).plan).findings


@EVERY
def test_windows_show_no_rows(profile: str) -> None:
    verdict = WORLDS[profile].static(T.with_columns(m=pay.mean().over("town")).plan)
    assert verdict.findings
    if profile != "default":
        return
    assert WORLDS[profile].ask(T.with_columns(m=pay.mean().over("town")).plan).verdict.outcome is not Outcome.REVIEW


def test_a_mean_of_gaps_says_what_to_ask_instead() -> None:
    """What a window takes of one person's rows may come of other rows, too; the fix is taken."""
    frame = polars.DataFrame(
        {
            "who": [i % 60 for i in range(300)],
            "date": [dt.date(2024, 1, 1) + dt.timedelta(days=i) for i in range(300)],
            "pay": [float(i) for i in range(300)],
        }
    )
    roles = {"who": "identifier", "date": "quasi", "pay": "measure"}
    w = World().add("t", frame, PROFILES["default"], roles, unit="who")
    date = pl.col("date")
    gap = date.diff().over("who").dt.total_days()
    for plan in (
        T.select(gap.mean()),
        T.sort("date").with_columns(z=gap).select(pl.col("z").mean()),
        T.with_columns(z=pay.diff().over("who")).select(pl.col("z").median()),
    ):
        (finding,) = w.ask(plan.plan).verdict.findings
        assert finding.rule == "argument"
        assert "window takes from one person's rows" in finding.reason
        assert ".max())" in finding.fix
    instead = (
        T.group_by("who").agg(date.max()).select(date.median()),
        T.group_by("who").agg(pay.max()).select(pay.median()),
        T.group_by(date.dt.month()).agg(pl.len()),
    )
    assert all(w.ask(plan.plan).released.height for plan in instead)
