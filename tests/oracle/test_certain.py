"""Partitions that leave nothing to audit are told from those that do, against fractions and all small sets of people."""

from __future__ import annotations

import os
import secrets
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from bastion_policy.history.certain import certain

sys.path.insert(0, str(Path(__file__).parent))
from linear_oracle import rank, vector

K = 4
CASES = int(os.environ.get("BASTION_FUZZ_CASES", "400"))


def tells_of_few(parts: np.ndarray, sizes: np.ndarray) -> bool:
    """Whether some combination is not zero on fewer than K people."""
    cells = [(p, c) for p, row in enumerate(parts) for c in range(row.max() + 1)]
    atoms = [vector(float(parts[p, i] == c) for p, c in cells) for i in range(parts.shape[1])]
    whole = rank(atoms)
    for count in range(1, K):
        for few in combinations(range(len(atoms)), count):
            if sizes[list(few)].sum() < K and rank([a for i, a in enumerate(atoms) if i not in few]) < whole:
                return True
    return False


def worlds(count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Iterate over random partitions, and the sizes of their classes."""
    rng, found = np.random.default_rng(7), 0
    while found < count:
        rows, atoms = int(rng.integers(1, 5)), int(rng.integers(1, 10))
        parts = np.unique(rng.integers(-1, 3, (rows, atoms)), axis=1)
        sizes = rng.choice([1, 1, 2, 3, 8], parts.shape[1])
        people = [np.bincount(row[row >= 0], sizes[row >= 0]) for row in parts]
        # most cells are of K people or more, as released ones are
        if rng.random() < 0.02 or all(bool((cells[cells > 0] >= K).all()) for cells in people):
            found += 1
            yield parts.astype(np.int32), sizes


def test_it_says_so_only_where_it_is_so() -> None:
    outcomes = Counter()
    for parts, sizes in worlds(max(400, CASES)):
        said = certain(parts, sizes, K, secrets.token_bytes(32))
        true = not tells_of_few(parts, sizes)
        assert true or not said, (parts, sizes)
        if parts.shape[0] > 1:
            outcomes[said, true] += 1
    assert outcomes[True, True] > 50
    assert outcomes[False, False] > 50


def test_many_small_classes_of_two_tables_are_certain() -> None:
    """Forty groups of eight beside six: most classes are of one or two people."""
    rng = np.random.default_rng(0)
    pairs, sizes = np.unique(np.stack([np.arange(320) // 8, rng.integers(0, 6, 320)]), axis=1, return_counts=True)
    assert np.mean(sizes < K) > 0.9
    assert certain(pairs.astype(np.int32), sizes, K, secrets.token_bytes(32))


def test_groups_that_split_few_others_are_not() -> None:
    """Two tables that cut one group of ten into nine and one, and agree on everybody else."""
    parts = np.array([[0, 0], [0, 1], [1, 1], [2, 2]], np.int32).T
    sizes = np.array([9, 1, 20, 20])
    assert not certain(parts, sizes, K, secrets.token_bytes(32))
    assert tells_of_few(parts, sizes)


def test_a_class_that_follows_is_seen() -> None:
    """Three cells that overlap in a cycle."""
    parts = np.array([[0, 0, -1], [0, -1, 0], [-1, 0, 0]], np.int32).T
    assert not certain(parts, np.array([3, 30, 30]), K, secrets.token_bytes(32))


@pytest.mark.parametrize("others", [1, 2])
def test_a_table_of_thousands_is_quick(others: int) -> None:
    rng = np.random.default_rng(1)
    people = 100_000
    groups = rng.integers(0, 8000, people)
    groups[np.bincount(groups)[groups] < 10] = -1
    asked = [groups, *(rng.integers(0, 7, people) for _ in range(others))]
    parts, sizes = np.unique(np.stack(asked), axis=1, return_counts=True)
    assert certain(parts.astype(np.int32), sizes, 10, secrets.token_bytes(32))
