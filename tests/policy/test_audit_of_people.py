"""The linear audit where several rows are one person's: what is counted is people, and none of them is told by itself."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from bastion_policy.audit import AuditRules, AuditState, Row
from bastion_policy.audit.primes import draw, independent
from hypothesis import given
from hypothesis import strategies as st

SEED = b"0123456789abcdef"


def rank(rows: list[list[Fraction]]) -> int:
    """By elimination with fractions."""
    left, found = [row[:] for row in rows], 0
    for column in range(len(left[0]) if left else 0):
        pivot = next((i for i in range(found, len(left)) if left[i][column]), None)
        if pivot is None:
            continue
        left[found], left[pivot] = left[pivot], left[found]
        for i in range(found + 1, len(left)):
            factor = left[i][column] / left[found][column]
            left[i] = [a - factor * b for a, b in zip(left[i], left[found], strict=True)]
        found += 1
    return found


def start(owner: np.ndarray, people: int = 3) -> AuditState:
    most = int(np.bincount(owner).max())
    rules = AuditRules(k=(people - 1) * most + 1, share=None, people=people)
    return replace(AuditState.start(owner.size, rules, SEED), owner=owner)


WORLDS = st.integers(6, 14).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 4), min_size=n, max_size=n),
        st.lists(st.lists(st.booleans(), min_size=n, max_size=n), min_size=1, max_size=8),
    )
)


@given(WORLDS)
def test_nobody_is_told_by_themselves(world):
    """No combination of what is released lives on one person's rows: found by fractions, whatever the person's coefficients."""
    owner, asked = np.unique(np.array(world[0]), return_inverse=True)[1], world[1]
    rows = [Row.of(np.flatnonzero(row).astype(np.int32)) for row in asked]
    found = start(owner).releasable(rows)
    told = [[Fraction(int(x)) for x in asked[i]] for i in found.accepted]
    for person in np.unique(owner):
        outside = [[x for x, o in zip(row, owner, strict=True) if o != person] for row in told]
        assert rank(outside) == rank(told)
    for i in found.accepted:
        assert np.unique(owner[np.flatnonzero(asked[i])]).size >= 3 or not any(asked[i])


@given(WORLDS)
def test_many_at_once_are_judged_as_strictly_as_one_by_one(world):
    """What is refused before anything is entered is refused by itself as well, whatever was taken."""
    owner = np.unique(np.array(world[0]), return_inverse=True)[1]
    rows = [Row.of(np.flatnonzero(row).astype(np.int32)) for row in world[1] if any(row)]
    state = start(owner)
    for i, verdict in state._hopeless(rows).items():
        assert state.consider([rows[i]]).rule == verdict.rule


def test_a_person_in_several_atoms_is_found_through_several_rows():
    """Each number is of three people and more, and so is each row of the echelon form: two of them together are one person's."""
    owner = np.array([0, 2, 1, 0, 3, 1, 1, 0])
    every = [Row.of(np.array(units, np.int32)) for units in ([4, 6, 7], [3, 4, 5], [0, 1, 2, 3, 4, 7], [0, 1, 3, 6])]
    told = start(owner).releasable(every)
    assert told.accepted == (0, 1, 2)
    assert told.refused[3].rule == "unit"


@pytest.mark.parametrize(("rows", "expected"), [([[1, 0], [0, 1]], True), ([[1, 2], [2, 4]], False), ([[0, 0]], False)])
def test_independence_modulo_a_prime(rows, expected):
    assert independent(np.array(rows, float), draw(SEED)[0]) is expected
