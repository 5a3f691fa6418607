"""Group-bys of group-bys under every profile: people are counted to the end, and cells are free once they are guarded."""

from __future__ import annotations

import polars
import pytest
from bastion_policy.model import Aggregation, Policy, Role, RoleKind, Suppress
from drive import World
from query import Q

import bastion.expressions as pl

FRAME = polars.DataFrame(
    {
        "who": [i % 80 for i in range(400)] + [200 + i % 4 for i in range(200)],
        "town": ["ab"[i % 80 % 2] for i in range(400)] + ["c"] * 200,
        "kind": ["xyz"[i % 3] for i in range(600)],
        "pay": [float(i * 7 % 90) for i in range(600)],
    }
)
ROLES = {"who": "identifier", "town": "quasi", "kind": "quasi", "pay": Role(RoleKind.MEASURE, 0, 100)}
PROFILES = {
    "default": Policy(Aggregation(10), Suppress(), unit="who"),
    "strict": Policy(Aggregation(10), Suppress(), unit="who", profile="strict"),
}
WORLDS = {name: World().add("t", FRAME, policy, ROLES, unit="who") for name, policy in PROFILES.items()}
EVERY = pytest.mark.parametrize("profile", PROFILES)
T = Q("t")
pay = pl.col("pay")
PER_PERSON = T.group_by("who").agg(town=pl.col("town").first(), total=pay.sum(), n=pl.len())


@EVERY
def test_a_group_by_of_the_person_stays_private(profile: str) -> None:
    assert "row-level" in {f.rule for f in WORLDS[profile].static(PER_PERSON.plan).findings}


def test_the_second_group_by_counts_people() -> None:
    """Town c has 200 rows and 4 people."""
    shown = WORLDS["default"].ask(T.group_by("town").agg(n=pl.col("who").n_unique()).plan).released
    assert shown["town"].to_list() == ["(other)", "b"] or shown["town"].to_list() == ["a", "(other)"]


@EVERY
def test_statistics_over_people_are_released_where_people_are_enough(profile: str) -> None:
    shown = WORLDS[profile].ask(
        T.group_by("who").agg(total=pay.sum()).select(m=pl.col("total").mean(), n=pl.len()).plan
    )
    direct = FRAME.group_by("who").agg(total=polars.col("pay").sum())
    mean, people = shown.released.row(0)
    if profile == "default":
        assert (mean, people) == (pytest.approx(direct["total"].mean()), direct.height)
    else:
        assert people == 85 and mean == pytest.approx(direct["total"].mean(), rel=0.03)


@EVERY
def test_a_person_in_several_cells_is_not_several_people(profile: str) -> None:
    """One cell per person and kind is a part of a person."""
    parts = T.group_by("who", "kind").agg(total=pay.sum())
    assert WORLDS[profile].static(parts.select(pl.len()).plan).findings


@EVERY
def test_cells_may_be_grouped_again(profile: str) -> None:
    """Behind a boundary everything is arithmetic over what was released."""
    cells = T.group_by("town", "kind").agg(n=pl.len())
    again = cells.group_by("town").agg(pl.col("n").sum(), most=pl.col("n").max(), first=pl.col("n").first())
    assert not WORLDS[profile].static(again.plan).findings
    shown = WORLDS[profile].ask(cells.plan).released
    summed = WORLDS[profile].ask(again.plan).released
    direct = shown.group_by("town").agg(polars.col("n").sum()).sort("town")
    assert summed.sort("town")["n"].to_list() == direct["n"].to_list()


@EVERY
def test_a_statistic_of_a_few_people_reaches_no_second_group_by(profile: str) -> None:
    cells = T.filter(pl.col("town") == "c").group_by("kind").agg(m=pay.mean())
    shown = WORLDS[profile].ask(cells.select(x=pl.col("m").max()).plan).released
    assert shown["x"].to_list() == [None]
