"""Explorers' sessions of random tables: what is shown of them, and that nobody follows from what is shown.

A normal run asks 20 queries of titanic and 5 of adult.csv.gz (where it is); `make utility-report` asks 40 of each and writes
docs/utility.md.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars
import pytest
from explorers import Data, Session, adult, explore, policy, random_query, titanic
from harness_algebra import leaks

OFF = ("history", "linear_audit", "saturation")
ADULT = adult()


def check(session: Session) -> None:
    """Nobody follows, by elimination and by singular values; and every number was explained."""
    found = session.recovered()
    assert not session.unexplained
    assert found.people == 0
    assert session.by_svd() == 0
    assert found.groups == 0
    assert found.small == 0


@pytest.mark.parametrize("seed", range(3))
def test_titanic_explorers_learn_tables_and_nobody(seed: int) -> None:
    session = explore(titanic(), seed, queries=20)
    check(session)
    assert session.small_tables >= 5, "hardly a table had a small cell: nothing was tried"
    assert session.share("own", "merged", "remainder") >= 0.9
    assert session.share("hidden") <= 0.1, "5% of 40 queries; 20 have fewer cells to spare"


def test_titanic_explorers_find_people_without_history_and_audit() -> None:
    assert sum(explore(titanic(), seed, queries=20, weaken=OFF).recovered().people for seed in range(3)) > 0


@pytest.mark.skipif(ADULT is None, reason="needs adult.csv.gz of the shared data folder")
def test_adult_explorers_learn_tables_and_nobody() -> None:
    assert ADULT is not None
    session = explore(ADULT, 0, queries=5)
    check(session)
    assert session.share("own", "merged", "remainder") >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_forty_queries_of_titanic(seed: int) -> None:
    session = explore(titanic(), seed)
    check(session)
    assert session.share("own", "merged", "remainder") >= 0.9
    assert session.share("hidden") <= 0.05
    assert explore(titanic(), seed, weaken=OFF).recovered().people > 0


def test_numbers_of_another_table_are_not_explained() -> None:
    """The reconstruction does not take any number for any population."""
    data = titanic()
    other = replace(data, frame=data.frame.with_columns(polars.col("Fare") * 1.5, polars.col("Age").shuffle(seed=1)))
    told, asked = _session(data, data), _session(other, data)
    assert not told.unexplained
    assert len(asked.unexplained) > 10


def _session(served: Data, believed: Data) -> Session:
    from drive import World

    world = World(remembers=True).add("t", served.frame, policy(), served.roles)
    session, rng = Session(believed, 10), np.random.default_rng(5)
    for _ in range(15):
        query = random_query(believed, rng)
        table = world.ask(query.plan.plan).table
        session.note(query, polars.DataFrame() if table is None else table, world)
    return session


def test_margins_less_cells_are_seen_to_follow() -> None:
    """The check itself, on an answer that a guard must not give: a small cell and its margin less the others."""
    session = Session(titanic(), 10)
    first, rest, small = np.zeros(891, bool), np.zeros(891, bool), np.zeros(891, bool)
    first[:100], rest[:97], small[97:100] = True, True, True
    found = leaks([first, rest], 891, 10, [small])
    assert found.cells == (0,)
    assert found.atoms == ((97, 98, 99),)
    assert not found.people
    session.rows["n"], session.small["n"] = [first, rest], [small]
    assert (session.recovered().groups, session.recovered().small) == (1, 1)
