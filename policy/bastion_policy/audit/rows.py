"""Rows: which units a released number is computed from, and with which weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from bastion_plan.errors import InputError

from bastion_policy.audit.primes import Floats

Units = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One released number: the sum over `units` of weight times the unknown.

    Attributes:
        units: distinct unit numbers, ascending, 0 <= unit < units of the state; units of weight 0 are left out.
        weights: float64 per unit; None: all ones. Numbers that are not finite make the row refused, not an error.
    """

    units: Units
    weights: Floats | None = None

    @classmethod
    def of(cls, units: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Row:
        """Return the row over `units` (ascending integers, or a mask of all units) with `weights` (one per unit).

        Raises:
            InputError: units that are not ascending, or not as many weights as units.
        """
        found = np.asarray(units)
        if found.dtype == np.bool_:
            found = np.flatnonzero(found)
        found = found.astype(np.int64)
        if found.ndim != 1 or (found.size and (found[0] < 0 or bool((np.diff(found) <= 0).any()))):
            raise InputError("A population is not a list of ascending unit numbers.", code="input.audit.units")
        if weights is None:
            return cls(found)
        given = np.asarray(weights)
        exact = given.astype(np.float64)
        if exact.shape != found.shape:
            raise InputError("A population has not one weight per unit.", code="input.audit.weights")
        if given.dtype.kind in "iu":
            # INVARIANT: a weight that float64 cannot hold is not replaced by its neighbour; the row is refused
            exact = np.where(np.abs(exact) < 2.0**53, exact, np.nan)
        kept = exact != 0
        return cls(found[kept], None if bool((exact[kept] == 1).all()) else exact[kept])

    @property
    def exact(self) -> bool:
        """Whether all weights are finite numbers that the audit can compute with."""
        return self.weights is None or bool(np.isfinite(self.weights).all())


def distinct(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the distinct values, ascending (np.unique hashes, which takes 60 times as long)."""
    found = np.sort(values, axis=None)
    first = np.ones(found.size, bool)
    first[1:] = found[1:] != found[:-1]
    each: npt.NDArray[Any] = found[first]
    return each


def counted(place: npt.NDArray[Any], whose: npt.NDArray[Any], count: int) -> Units:
    """Return how many different people have something in each of so many places. place: of each thing, -1 for none."""
    # one number each, which is cheaper to take apart by shifting than by dividing
    bits = int(whose.max(initial=0)).bit_length()
    code = place.astype(np.int64) << bits
    code |= whose
    return np.bincount(distinct(code[code >= 0]) >> bits, minlength=count)


def partition(units: npt.ArrayLike, cells: npt.ArrayLike) -> list[Row]:
    """Return one row of ones per cell of a group_by: `cells` (integers >= 0, -1: in none) for each of `units`.

    The rows are disjoint and come in the order of the cell numbers.
    """
    cell = np.asarray(cells, dtype=np.int64)
    unit = np.asarray(units, dtype=np.int64)
    if unit.shape != cell.shape or unit.ndim != 1:
        raise InputError("A partition has not one cell per unit.", code="input.audit.units")
    order = np.lexsort((unit, cell))
    order = order[cell[order] >= 0]
    cuts = np.flatnonzero(np.diff(cell[order])) + 1
    return [Row.of(unit[part]) for part in np.split(order, cuts) if part.size]
