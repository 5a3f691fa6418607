"""Which cell a row is in, by a number made of its keys: cheaper than looking keys up, where they are whole numbers close together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from bastion_plan import nodes as n
from bastion_plan.dtypes import INT64, UINT8, UINT16, UINT32
from bastion_plan.expressions import AnyExpr, Cast, Column, Literal

from bastion_policy.boundary import call
from bastion_policy.guard_cells import Cut, lit
from bastion_policy.lineage import Typed
from bastion_policy.verdict import Measured

Items = npt.NDArray[np.int32]
#: numbers that there may be
MOST = 1 << 20
#: rows that are looked up at once
PIECE = 1 << 17
_KINDS = frozenset({"Boolean", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32"})


@dataclass(frozen=True)
class Codes:
    """Numbers of rows. expr: of a row, by the names of its keys. cell: of each number, -1 where no cell has it."""

    expr: AnyExpr
    cell: Items

    @classmethod
    def of(cls, cut: Cut, cells: Measured, size: int) -> Codes | None:
        """Return the numbers by which rows find their cells; None: by their keys alone. cells: what was measured of so many cells.

        INVARIANT: rows have one number where they have the same keys, and only there: it counts from the least key of any cell to
        the largest, and a missing key has a number of its own. Each row is in a cell, for cells are made of the same rows; a row that is
        in none ends the judgement.
        """
        if not size or not cut.keys or not all(column in cells for column in cut.key_columns):
            return None
        number, top, expr = np.zeros(size, np.int64), 1, None
        for column in cut.key_columns:
            key = _Key.of(cells[column])
            if top * key.span > MOST:
                return None
            number += top * key.place
            mine = key.number(column)
            mine = call("mul", mine, lit(top)) if top > 1 else mine
            expr = mine if expr is None else call("add", expr, mine)
            top *= key.span
        cell = np.full(top, -1, np.int32)
        cell[number] = np.arange(size)
        if expr is None or np.count_nonzero(cell >= 0) != size:
            return None
        return cls(Cast(expr, UINT8 if top <= 1 << 8 else UINT16 if top <= 1 << 16 else UINT32), cell)

    def cells(self, codes: npt.NDArray[Any]) -> Items:
        """Return the cell of each row.

        Raises:
            LookupError: a row is in no cell.
        """
        if int(codes.max(initial=0)) >= self.cell.size:
            msg = "a row is in no cell"
            raise LookupError(msg)
        if bool((self.cell == np.arange(self.cell.size, dtype=np.int32)).all()):
            return codes.astype(np.int32)
        found = np.empty(codes.size, np.int32)
        for start in range(0, codes.size, PIECE):
            some = slice(start, start + PIECE)
            np.take(self.cell, codes[some], out=found[some], mode="clip")
        if int(found.min(initial=0)) < 0:
            msg = "a row is in no cell"
            raise LookupError(msg)
        return found


@dataclass(frozen=True)
class _Key:
    """The numbers of one key column. place: of each cell's key. low: what is taken off a key. span: how many there may be.

    missing: the number of a missing key, the last of them; None where no key is missing.

    INVARIANT: low is a key, so it can be written in a plan whatever the keys are: one person's key never decides whether a
    question fails.
    """

    place: npt.NDArray[np.int64]
    low: int
    span: int
    missing: int | None = None

    @classmethod
    def of(cls, keys: Sequence[Any] | npt.NDArray[Any]) -> _Key:
        if isinstance(keys, np.ndarray):
            low, high = int(keys.min()), int(keys.max())
            # far apart they are not counted
            place = keys.astype(np.int64) - low if high - low < MOST else np.zeros(keys.size, np.int64)
            return cls(place, low, high - low + 1)
        known = [int(key) for key in keys if key is not None]
        low, high = min(known, default=0), max(known, default=-1)
        apart = high - low + 1
        if apart > MOST:
            return cls(np.zeros(len(keys), np.int64), low, apart)
        place = np.array([apart if key is None else int(key) - low for key in keys], np.int64)
        missing = len(known) < len(keys)
        return cls(place, low, apart + missing, apart if missing else None)

    def number(self, column: str) -> AnyExpr:
        """Return the number of a row's key."""
        found = call("sub", Cast(Column(column), INT64), Literal(INT64, self.low))
        return found if self.missing is None else call("fill_null", found, Literal(INT64, self.missing))


def read_for_codes(cut: Cut) -> tuple[str, ...]:
    """Return the key columns of a boundary's cells that `Codes` reads: none where they are no whole numbers."""
    return cut.key_columns if all(dtype.kind in _KINDS for _, _, _, dtype in cut.boundary.keys) else ()


def every_row(typed: Typed) -> bool:
    """Whether a frame has each row of one table once, in the order in which they are stored."""
    node = typed.node
    if isinstance(node, n.Select):
        return all(isinstance(e, Column) for e in node.exprs) and every_row(typed.inputs[0])
    return isinstance(node, n.Scan)
