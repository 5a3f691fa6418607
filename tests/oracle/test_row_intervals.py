"""The pieces that order statistics are shown as, against their definition."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from bastion_policy.judge_intervals import Histogram, Pieces
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from row_intervals import fine, pieces

BOUNDS = (-20.0, 180.0)


def drawn(kind: str, seed: int, people: int) -> list[float]:
    """Values of a kind: many alike, few far out, both signs."""
    rng = np.random.default_rng(seed)
    match kind:
        case "bounded":
            return [float(x) for x in np.round(rng.normal(80, 40, people).clip(-20, 179), 1)]
        case "days":
            return [float(x) for x in rng.integers(-300, 10.0 ** rng.integers(2, 5), people)]
        case "signed":
            return [float(x) for x in np.round(rng.normal(0, 10.0 ** rng.integers(-1, 3), people), 1)]
        case _:
            return [float(x) for x in np.round(rng.exponential(50, people) ** 2, 1) * rng.integers(0, 2, people)]


@pytest.mark.parametrize("kind", ["bounded", "days", "signed", "noughts"])
@given(st.integers(0, 2**32 - 1), st.integers(1, 70), st.integers(1, 9))
def test_pieces_are_what_the_definition_says(kind: str, seed: int, people: int, k: int) -> None:
    values = drawn(kind, seed, people)
    bounds, days = BOUNDS if kind == "bounded" else None, kind == "days"
    bins = [fine(x, bounds, days=days) for x in values]
    keys, counts = np.unique(
        [(1 if b.digits >= 0 or b.whole else -1, b.power, b.digits if b.whole else abs(b.digits)) for b in bins],
        axis=0,
        return_counts=True,
    )
    sign, power, digits = keys.T.astype(np.int64)
    rows = counts.astype(float)
    made = Pieces(Histogram(sign * 0, sign, power, digits, rows, rows, whole=bounds is not None or days), k, 1)
    wanted = pieces(dict(enumerate(values)), lambda x: len(x) >= k, bounds, integers=False, days=days)
    if not wanted:
        assert people < k
        assert not made.known.any()
        return
    low, high = made.low, made.high
    if bounds is not None:
        low, high = (bounds[0] + (bounds[1] - bounds[0]) / 100 * x for x in (low, high))
    middles = np.floor((low + np.maximum(high - 1, low)) / 2) if days else (low + high) / 2
    assert made.total[made.start].tolist() == [x.begin for x in wanted]
    assert middles == pytest.approx([x.middle for x in wanted])
