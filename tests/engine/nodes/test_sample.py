"""Random rows: whole rows of the frame, as many as asked for, the same ones for the same seed."""

from __future__ import annotations

from collections import Counter

import polars as pl
import pytest
from bastion_plan import nodes as n
from plan_strategies import T, random_frame, rows_of, through

FRAME = random_frame(5, 40)


def sample(**options: object) -> pl.DataFrame:
    _, lazy = through(n.Sample(T, **options), {"t": FRAME})  # type: ignore[arg-type]
    return lazy.collect()


@pytest.mark.parametrize(
    ("options", "height"), [({"n": 7}, 7), ({"fraction": 0.25}, 10), ({"n": 0}, 0), ({"n": 40}, 40)]
)
@pytest.mark.parametrize("seed", [1, None])
@pytest.mark.parametrize("shuffle", [False, True])
def test_rows_are_rows_of_the_frame_each_at_most_once(
    options: dict[str, object], height: int, shuffle: bool, seed: int | None
) -> None:
    found = sample(**options, shuffle=shuffle, seed=seed)
    assert found.height == height
    assert not Counter(rows_of(found, ordered=False)) - Counter(rows_of(FRAME, ordered=False))


def test_with_replacement_may_exceed_the_frame() -> None:
    found = sample(n=200, with_replacement=True, seed=1)
    assert found.height == 200
    assert set(rows_of(found, ordered=False)) <= set(rows_of(FRAME, ordered=False))


def test_same_seed_same_rows_other_seed_other_rows() -> None:
    first = rows_of(sample(n=12, seed=3), ordered=True)
    assert rows_of(sample(n=12, seed=3), ordered=True) == first
    assert any(rows_of(sample(n=12, seed=other), ordered=True) != first for other in (4, 5))


def test_every_row_can_be_drawn() -> None:
    drawn: set[str] = set()
    for seed in range(60):
        drawn |= set(rows_of(sample(n=5, seed=seed), ordered=True))
    assert drawn == set(rows_of(FRAME, ordered=True))


def test_empty_frame() -> None:
    _, lazy = through(n.Sample(T, fraction=0.5, seed=1), {"t": FRAME.head(0)})
    assert lazy.collect().shape == (0, FRAME.width)
