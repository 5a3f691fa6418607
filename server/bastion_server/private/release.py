"""From exact cells to noisy ones: what a worker measured goes in, what may leave comes out.

INVARIANT: whatever comes out is drawn by a mechanism of mechanisms.py. Which rows there are is public (declared keys) or
drawn itself (a noisy number of people passes a threshold), their order is that of the keys, and a measurement that failed
counts as one that found nobody: the answer is of the same kind.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from bastion_policy.lineage import OWN
from bastion_policy.private.cells import BIN, COUNT
from bastion_policy.private.plans import Cells
from bastion_policy.private.pricing import Noise
from bastion_policy.private.statistics import DENOMINATOR, Quantile

from bastion_server.private.mechanisms import Whole, best, gaussian, quantile_scores

#: a table's columns, as a worker takes them
Columns = dict[str, Any]


@dataclass(frozen=True)
class Exact:
    """What was measured of one table of cells: sums, and counts per bin of each quantile; None where it failed."""

    sums: pl.DataFrame | None
    bins: tuple[pl.DataFrame | None, ...]


def read(answer: bytes) -> pl.DataFrame:
    """Return a worker's measurement (an Arrow IPC stream, or a file)."""
    return (pl.read_ipc if answer.startswith(b"ARROW1") else pl.read_ipc_stream)(io.BytesIO(answer))


def noisy(cells: Cells, noise: Noise, exact: Exact) -> Columns:
    """Return one table with noise: keys `#~k0` …, numbers `#~v0` …, quantiles `#~q0` ….

    Raises:
        ServerError: server.private.cost.
    """
    keys = _keys(cells, exact.sums)
    place = {key: i for i, key in enumerate(keys)}
    vectors = []
    for i, part in enumerate(cells.parts):
        values = _placed(cells, exact.sums, f"{OWN}v{i}", place)
        drawn = gaussian(values, noise.scales[i], cells.l2(i), noise.rho)
        vectors.append((drawn, part.step))
    shown = np.arange(len(keys))
    if noise.least is not None:
        shown = np.flatnonzero(vectors[cells.people][0] >= noise.least)
    table: Columns = {}
    for j, key in enumerate(cells.keys):
        table[key.column] = [keys[i][j] for i in shown]
    for i, (drawn, step) in enumerate(vectors):
        chosen = drawn[shown]
        table[f"{OWN}v{i}"] = chosen if step == 1.0 else chosen * step
    place = {keys[j]: i for i, j in enumerate(shown)}
    for i, (quantile, _) in enumerate(cells.quantiles):
        counts = _histograms(cells, quantile, exact.bins[i], place)
        scores = [quantile_scores(row, quantile.numerator, DENOMINATOR) for row in counts]
        found = best(scores, noise.choices[i], cells.linf(i), noise.rho_choice)
        table[f"{OWN}q{i}"] = _values(quantile, found)
    return table


def _keys(cells: Cells, sums: pl.DataFrame | None) -> list[tuple[Any, ...]]:
    """All cells: the declared ones, or in the order of their keys those that anyone is in."""
    if not cells.threshold:
        return cells.domain
    if sums is None:
        return []
    return sorted(_rows(cells, sums), key=lambda key: tuple((v is not None, v) for v in key))


def _rows(cells: Cells, frame: pl.DataFrame) -> list[tuple[Any, ...]]:
    if not cells.keys:
        return [()] * frame.height
    return list(zip(*(frame[k.column].to_list() for k in cells.keys), strict=True))


def _placed(cells: Cells, sums: pl.DataFrame | None, column: str, place: Mapping[tuple[Any, ...], int]) -> Whole:
    values = np.zeros(len(place), dtype=np.int64)
    if sums is not None:
        for key, value in zip(_rows(cells, sums), sums[column].to_list(), strict=True):
            position = place.get(key)
            if position is not None:
                values[position] = value
    return values


def _histograms(
    cells: Cells, quantile: Quantile, bins: pl.DataFrame | None, place: Mapping[tuple[Any, ...], int]
) -> list[Whole]:
    counts = np.zeros((len(place), len(quantile.grid)), dtype=np.int64)
    if bins is not None:
        numbers = zip(_rows(cells, bins), bins[BIN].to_list(), bins[COUNT].to_list(), strict=True)
        for key, position, count in numbers:
            row = place.get(key)
            if row is not None:
                counts[row, position] = count
    return list(counts)


def _values(quantile: Quantile, found: Sequence[int]) -> list[float]:
    """The value that stands for a bin: its middle, or the one whole number in it."""
    grid = quantile.grid
    if len(grid) == 1 or (quantile.dtype.is_integer and grid[1] - grid[0] == 1.0):
        return [grid[i] for i in found]
    return [grid[0] if i == 0 else (grid[i - 1] + grid[i]) / 2 for i in found]
