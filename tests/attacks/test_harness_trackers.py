"""Trackers, covers and margins in many small worlds: nobody's value follows with the guard, and it does without.

BASTION_FUZZ_CASES worlds per attack (8 in a normal run).
"""

from __future__ import annotations

import os
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from harness_algebra import leaks, people_by_svd, solve
from harness_trackers import ATTACKS, default, run, strict

sys.path.insert(0, str(Path(__file__).parents[1] / "oracle"))
import linear_oracle as oracle

WORLDS = int(os.environ.get("BASTION_FUZZ_CASES", "8"))
OFF = ("history", "linear_audit", "saturation")


def worlds(name: str, share: int = 1) -> range:
    """The long sessions are tried in fewer worlds."""
    return range(max(2, WORLDS // (4 * share if name == "everything" else share)))


@pytest.mark.parametrize("name", ATTACKS)
def test_default_profile_gives_nobody_away(name: str) -> None:
    found = run(name, worlds(name), default())
    assert not found.unexplained
    assert found.numbers > found.worlds, "nothing was answered: the attack tests nothing"
    assert found.got == []
    assert found.people == []


@pytest.mark.parametrize("name", ATTACKS)
def test_strict_profile_gives_nobody_away(name: str) -> None:
    found = run(name, worlds(name, 2), strict())
    assert found.numbers > found.worlds
    assert found.got == []
    assert found.people == []


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_succeed_without_history_and_audit(name: str) -> None:
    found = run(name, worlds(name), default(OFF))
    assert not found.unexplained
    assert len(found.got) >= found.worlds / 3
    assert found.people


@pytest.mark.parametrize("name", ["additive", "three_cover", "everything"])
def test_the_snap_rule_alone_is_not_enough(name: str) -> None:
    """Sets that are far from each other in pairs give a person together: what the audit is for."""
    assert run(name, worlds(name, 2), default(("linear_audit", "saturation"))).got


@pytest.mark.parametrize("seed", range(max(20, WORLDS)))
def test_what_follows_agrees_with_fractions(seed: int) -> None:
    """The harness's own algebra, on worlds that are small enough for exact fractions."""
    rng = np.random.default_rng([seed, 9])
    units, k = int(rng.integers(3, 9)), int(rng.integers(2, 5))
    masks = [m for m in (rng.random((int(rng.integers(1, 7)), units)) < 0.5) if m.any()]
    watched = [rng.random(units) < 0.3 for _ in range(2)]
    rows = [tuple(Fraction(int(x)) for x in m) for m in masks]
    found = leaks(masks, units, k, watched)
    single = tuple(i for i in range(units) if oracle.spans(rows, tuple(Fraction(int(i == j)) for j in range(units))))
    assert found.people == single == people_by_svd(masks, units)
    assert found.rank == oracle.rank(rows)
    small = [a for a in oracle.isolated_atoms(rows, units, k) if len(a) > 1]
    assert sorted(found.atoms) == sorted(small)
    exact = [i for i, w in enumerate(watched) if w.any() and oracle.spans(rows, tuple(Fraction(int(x)) for x in w))]
    assert list(found.cells) == exact
    values = rng.normal(size=units)
    for i in single:
        got = solve(masks, [float(values[m].sum()) for m in masks], np.arange(units) == i)
        assert got == pytest.approx(values[i])
