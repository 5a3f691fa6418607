"""Partitions that leave nothing to audit are told from those that do, against fractions."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path

import numpy as np
import pytest
from bastion_policy.history.certain import certain
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from linear_oracle import rank, vector

PARTS = st.integers(1, 4).flatmap(
    lambda rows: st.lists(st.lists(st.integers(-1, 3), min_size=rows, max_size=rows), min_size=1, max_size=9)
)


def vanishing(parts: np.ndarray, large: np.ndarray) -> bool:
    """Whether some combination that is not zero everywhere is zero on all large atoms."""
    cells = [(p, c) for p, row in enumerate(parts) for c in range(row.max() + 1)]
    atoms = [vector(float(parts[p, i] == c) for p, c in cells) for i in range(parts.shape[1])]
    return rank(atoms) > rank([a for a, there in zip(atoms, large, strict=True) if there])


@settings(deadline=None, max_examples=200)
@given(PARTS, st.data())
def test_it_says_so_only_where_it_is_so(atoms: list[list[int]], data: st.DataObject) -> None:
    parts = np.array(atoms, np.int32).T
    sizes = np.array([data.draw(st.sampled_from([1, 3, 10, 40])) for _ in atoms], np.int64)
    found = certain(parts, sizes, sizes >= 10, secrets.token_bytes(32))
    if found:
        assert not vanishing(parts, sizes >= 10)


@pytest.mark.parametrize("small", [0, 1, 5])
def test_two_tables_with_some_small_atoms_are_certain(small: int) -> None:
    """A cross of 40 and 6 cells, all but a few of its atoms large."""
    parts = np.array([[a, b] for a in range(40) for b in range(6)], np.int32).T
    sizes = np.full(240, 12, np.int64)
    sizes[:: max(1, 240 // small) if small else 241][:small] = 3
    assert certain(parts, sizes, sizes >= 10, secrets.token_bytes(32))
    assert not vanishing(parts, sizes >= 10)


def test_a_row_of_small_atoms_is_not() -> None:
    parts = np.array([[a, b] for a in range(5) for b in range(4)], np.int32).T
    sizes = np.where(parts[0] == 2, 4, 20)
    assert not certain(parts, sizes, sizes >= 10, secrets.token_bytes(32))


def test_a_class_that_follows_is_seen() -> None:
    """Three cells that overlap in a cycle, whose large atoms do not tie them together."""
    parts = np.array([[0, 0, -1], [0, -1, 0], [-1, 0, 0]], np.int32).T
    assert not certain(parts, np.array([3, 30, 30]), np.array([False, True, True]), secrets.token_bytes(32))
