"""Explorers' sessions of random tables: what is shown of them, and that nobody follows from what is shown.

A normal run asks 20 queries of titanic and 5 of adult.csv.gz (where it is); a slow one holds 40 of each to the goals of
docs/utility.md, which `make utility-report` writes from the same sessions.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars
import pytest
from explorers import Data, Session, adult, explore, policy, random_query, titanic
from harness_algebra import leaks

OFF = ("history", "linear_audit", "saturation")
ADULT = adult()
#: adult.csv.gz is data of others: it is not in the repository, but in the folder beside it, where that is
needs_adult = pytest.mark.skipif(ADULT is None, reason="needs adult.csv.gz of the shared data folder")


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


@needs_adult
def test_adult_explorers_learn_tables_and_nobody() -> None:
    assert ADULT is not None
    session = explore(ADULT, 0, queries=5)
    check(session)
    assert session.share("own", "merged", "remainder") >= 0.95


#: what keeps a session from a goal: of adult.csv.gz, all means of age, which is known, of workclass by occupation and gender, of people
#: whom hours of work chose, are withheld (rule linear-audit), 74 cells of 1,142
HIDES = "7.6% are hidden since sums of known columns over people whom a measure chose are counted by their bits"


class Hidden(AssertionError):
    """More is hidden than the goal allows."""


def sessions() -> list[Any]:
    found = [pytest.param(titanic(), seed, id=f"titanic-{seed}") for seed in range(3)]
    for seed in range(3):
        missed = [pytest.mark.xfail(reason=HIDES, strict=True, raises=Hidden)] if seed == 1 else []
        found.append(pytest.param(ADULT, seed, marks=[needs_adult, *missed], id=f"adult-{seed}"))
    return found


@pytest.mark.slow
@pytest.mark.timeout(5_400)
@pytest.mark.parametrize(("data", "seed"), sessions())
def test_the_goals_of_forty_queries(data: Data, seed: int) -> None:
    """All that docs/utility.md states as goals; of adult.csv.gz a seed takes from two minutes to twelve, on an idle machine."""
    session = explore(data, seed)
    check(session)
    assert session.queries == 40
    assert explore(data, seed, weaken=OFF).recovered().people > 0, "there was nobody to recover: nothing was tried"
    assert session.share("own", "merged", "remainder") >= 0.9
    if (hidden := session.share("hidden")) > 0.05:
        raise Hidden(f"{hidden:.1%} of the cells are hidden")


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
