"""People in cells of few rows, where people have several: counted by who is in the cells, and judged row by row where each row is another's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars
import pytest
from bastion_policy.audit.rows import counted
from bastion_policy.guard_cells import Measurer
from bastion_policy.history import Channel, Roster, Sets
from bastion_policy.history import roster as of_rosters
from bastion_policy.judge_cells import BoundaryJudge
from bastion_policy.model import Aggregation, Policy, Role, Suppress, measure
from drive import World
from query import Q

import bastion.expressions as pl

K = 10
ROLES: dict[str, Role | str] = {"id": "identifier", "town": "quasi", "pay": measure(0, 1000, varies=True)}
POLICY = Policy(Aggregation(K), Suppress(), unit="id")
STRICT = Policy.strict(unit="id")
ASKED = Q("t").group_by("town").agg(a=pl.col("pay").sum(), n=pl.len()).plan


def world(policy: Policy = POLICY) -> World:
    """Towns of few rows: of as many people, of nine, and one in which a person's three rows make up nearly all that there is.

    And two in which nearly everybody has the same: all but two people, and all but three rows of one.
    """
    rows: list[tuple[int, str, float]] = []
    first = 0
    for town, people in (("a", 16), ("b", 14), ("c", 13), ("d", 12)):
        rows += [(first + i, town, 100.0 + i) for i in range(people)]
        first += people
    for town in ("nine", "other nine"):
        rows += [(first + i % 9, town, 100.0) for i in range(13)]
        first += 9
    # by rows nobody dominates: 800 and 800 of 2550; by people one has 2400 of it
    rows += [(first, "one has most", 800.0)] * 3 + [(first + i, "one has most", 15.0) for i in range(1, 11)]
    first += 11
    rows += [(first + i, "alike", 100.0 + max(0, i - 10)) for i in range(13)]
    first += 13
    rows += [(first + i, "alike but for one", 100.0) for i in range(15)]
    rows += [(first + 15, "alike but for one", 100.0 + i) for i in range(1, 4)]
    frame = polars.DataFrame(rows, schema=["id", "town", "pay"], orient="row")
    return World(remembers=True).add("t", frame, policy, ROLES, "id")


def test_people_are_counted_and_weighed() -> None:
    answer = world().ask(ASKED)
    found = {row["town"]: (row["a"], row["n"]) for row in answer.released.to_dicts()}
    assert found["a"] == (sum(100.0 + i for i in range(16)), 16)
    assert found["one has most"] == (None, 13)
    assert not {"nine", "other nine"} & found.keys()
    assert found["(other)"] == (2600.0, 26)


@pytest.mark.parametrize("policy", [POLICY, STRICT], ids=["default", "strict"])
def test_the_engine_counts_the_same_people(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    pay = pl.col("pay")
    aggs = {"a": pay.sum(), "s": pay.std()} | (
        {} if policy is STRICT else {"h": (pay > 101).sum(), "m": (pay > 101).mean()}
    )
    asked = Q("t").group_by("town").agg(n=pl.len(), **aggs).plan
    here = world(policy).ask(asked)
    monkeypatch.setattr(BoundaryJudge, "_counts_people", lambda *_: False)
    there = world(policy).ask(asked)
    assert here.table is not None and there.table is not None
    assert here.table.sort("town").equals(there.table.sort("town"))
    # right after the cells were measured
    assert ["n_unique" in repr(answer.measures[1].plan) for answer in (here, there)] == [False, True]
    if policy is STRICT:
        shown = dict(here.table.select("town", "a").iter_rows())
        assert shown["a"] is not None and shown["alike"] is None and shown["alike but for one"] is None


def test_bounds_of_one_row_prove_where_each_row_is_another_persons(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = polars.DataFrame(
        [(i % 30, f"{i // 12}", 400.0 + i % 200) for i in range(360)], schema=["id", "town", "pay"], orient="row"
    )

    def asked() -> tuple[polars.DataFrame, int]:
        answer = World(remembers=True).add("t", frame, POLICY, ROLES, "id").ask(ASKED)
        return answer.released.sort("town"), len(answer.measures)

    here, measures = asked()
    assert here["a"].null_count() == 0 and here.height == 30
    monkeypatch.setattr(Measurer, "most", property(lambda m: m.cut.rows_per_unit))
    there, more = asked()
    assert here.equals(there)
    # seen from the most rows that anybody has, nothing is proven
    assert measures < more


@pytest.mark.parametrize("apart", [1, 7919])
def test_people_are_counted_as_by_sorting(apart: int, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = np.random.default_rng(4)
    unit = drawn.permutation(np.repeat(np.arange(300, dtype=np.uint64) * apart, drawn.integers(1, 6, 300)))
    unit = np.sort(unit) if apart == 1 else unit
    roster = Roster().entered("t", 1, unit, unit)
    place = drawn.integers(-1, 40, unit.size).astype(np.int32)
    again = roster.repeated(place)
    assert again is not None and (again >= 0).any()
    sizes = np.bincount(place[place >= 0], minlength=40)
    found = sizes - np.bincount(again[again >= 0], minlength=40)
    assert found.tolist() == counted(place, roster.people, 40).tolist()
    monkeypatch.setattr(of_rosters, "MOST_COMPARED_ITEMS", 1)
    assert roster.repeated(place) is None


def test_atoms_are_as_large_as_counted_whatever_is_known_of_them() -> None:
    drawn, k = np.random.default_rng(5), 3
    seen = set()
    for _ in range(60):
        roster = Roster().entered("t", 1, drawn.integers(0, 40, 60).astype(np.uint64), np.arange(60, dtype=np.uint64))
        first, second = (Sets.of(6, drawn.integers(0, n, 60), np.arange(60), 60) for n in (6, 2))
        assert first.place is not None
        lone = first.sizes == counted(first.place, roster.people, 6)
        channels = [Channel.empty(60).released(one) for one in (first, first.apart(lone))]
        assert channels[0].lone is None
        for one, other in (channels, [channel.released(second) for channel in channels]):
            assert other.lone is not None
            known = [channel.coarse(k, roster.owner, roster.most) for channel in (one, other)]
            assert known[0] == known[1] == bool((counted(one.labels, roster.people, one.sizes.size) >= k).all())
            there = np.bincount(other.labels, minlength=other.sizes.size)
            assert (counted(other.labels, roster.people, other.sizes.size)[other.lone] == there[other.lone]).all()
            seen.add((known[0], bool(other.lone.any())))
    assert {flag for flag, _ in seen} == {True, False} and any(some for _, some in seen)
    assert replace(channels[1], lone=None).coarse(k, roster.owner, roster.most) == known[1]
