"""The two mechanisms, from OpenDP: the discrete Gaussian over whole numbers, and the choice by noisy scores.

Both sample without floating point (the discrete Gaussian by Canonne, Kamath and Steinke 2020; the scores' Gumbel noise to
as many bits as a comparison needs), so the last bits of what leaves carry nothing (Mironov 2012), and OpenDP's own maps,
which round outwards, say what a draw costs. opendp.polars is not used: it pins another Polars.

INVARIANT: nothing is drawn that costs more than was paid for: the map of the very mechanism that draws is asked first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from bastion_plan.errors import ServerError

Whole = np.ndarray[Any, np.dtype[np.int64]]

#: numbers that are noised in one call
_BATCH = 50_000


@lru_cache(maxsize=1)
def _opendp() -> Any:
    """OpenDP, loaded when noise is first needed: that takes most of a second."""
    import opendp.prelude as dp

    dp.enable_features("contrib")  # OpenDP's word for constructors whose written proof is still under review
    return dp


def _affordable(measurement: Any, distance: float, rho: float) -> Callable[[Any], Any]:
    cost = measurement.map(distance)
    if not cost <= rho:
        msg = "The noise would cost more than was paid."
        raise ServerError(msg, code="server.private.cost")
    return measurement  # type: ignore[no-any-return]


def gaussian(values: Whole, scale: float, sensitivity: float, rho: float) -> Whole:
    """Return whole numbers with discrete Gaussian noise, each of its own.

    Args:
        values: int64, of any length; what leaves is as long.
        scale: deviation. sensitivity: L2, of the whole vector, in whole numbers. rho: paid for.

    Raises:
        ServerError: server.private.cost.
    """
    dp = _opendp()
    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T=float)
    draw = _affordable(dp.m.make_gaussian(*space, scale=scale), sensitivity, rho)
    parts = [draw(values[i : i + _BATCH].tolist()) for i in range(0, len(values), _BATCH)]
    # parts of one vector: each differs by no more than the whole, and their squares add up to it
    return np.array([v for part in parts for v in part], dtype=np.int64)


def best(scores: Sequence[Whole], scale: float, sensitivity: int, rho: float) -> list[int]:
    """Return per row of scores the position of the best one, by scores with Gumbel noise.

    Args:
        scores: int64, one array per cell. scale: of the noise. sensitivity: L-infinity, of the scores of one cell.
        rho: paid for each cell.

    Raises:
        ServerError: server.private.cost.
    """
    dp = _opendp()
    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.linf_distance(T="i64")
    choose = _affordable(dp.m.make_noisy_max(*space, dp.zero_concentrated_divergence(), scale=scale), sensitivity, rho)
    return [int(choose(row.tolist())) for row in scores]


def quantile_scores(counts: Whole, numerator: int, denominator: int) -> Whole:
    """Return how well each bin holds a quantile, 0 at best.

    counts: rows per bin. Bin j is right where numerator * total lies within denominator * [rows below j, rows up to j];
    the score is minus the distance. See bastion_policy.private.statistics.Quantile.sensitivity.
    """
    upto = np.cumsum(counts) * denominator
    below = upto - counts * denominator
    wanted = int(counts.sum()) * numerator
    scores: Whole = -np.maximum(0, np.maximum(below - wanted, wanted - upto))
    return scores
