"""What versions of a table held, and which rows held the same in two of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from bastion_policy.history.numbering import MISSING, Marks

Items = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]
#: versions of a table of which it is kept what each row held, the last one included; of older ones, whether it has changed since
KEPT = 4
#: rows by which two columns are taken for copies of each other
MOST_COMPARED = 1 << 14
_NONE = np.zeros(0, np.uint16)


@dataclass(frozen=True, eq=False)
class Vintage:
    """What a version of a table held. items: of each row, as it was first. marks: by column.

    changed: of an old version, by column, one bit per row instead: whether it has changed since, or is gone.
    """

    items: Items
    marks: dict[str, Marks]
    changed: dict[str, npt.NDArray[np.uint8]] = field(default_factory=dict)

    def later(self, last: Vintage, new: Vintage, size: int, *, old: bool) -> Vintage:
        """Return what is kept once there is a version after the last one. size: of the roster. old: whether it is an old one by then."""
        if not old:
            return self
        if self.changed or not self.marks:
            step = {c: last.differs(new, c, size) for c in self.changed}
            place = placed(last.items, size)[self.items]
            more = {c: np.where(place < 0, True, found[place]) for c, found in step.items()}
            return replace(self, changed={c: bits | np.packbits(more[c]) for c, bits in self.changed.items()})
        return replace(self, marks={}, changed={c: np.packbits(self.differs(new, c, size)) for c in self.marks})

    def differs(self, other: Vintage, column: str, size: int) -> Flags:
        """Return the rows whose value in a column is another one in another version, or is not known there."""
        mine, theirs = self.marks.get(column, _NONE), other.marks.get(column, _NONE)
        differs = np.ones(self.items.size, bool)
        if mine.size and theirs.size:
            place = placed(other.items, size)[self.items]
            there = place >= 0
            differs[there] = mine[there] != theirs[place[there]]
        return differs

    def unchanged(self, column: str) -> Items:
        """Return the items of an old version that have not changed in a column since."""
        return np.asarray(self.items[np.unpackbits(self.changed[column], count=self.items.size) == 0], np.int32)


@dataclass(frozen=True, eq=False)
class Agreement:
    """What a number may have been told of: items that held the same then, and those known to have held something else.

    Of the others nobody knows. nothing: those known to have held no value then; None: nobody is known to.
    """

    same: Flags
    other: Flags
    nothing: Flags | None = None

    def __and__(self, also: Agreement) -> Agreement:
        """Return what holds of two columns together."""
        nothing = [x for x in (self.nothing, also.nothing) if x is not None]
        return Agreement(
            self.same & also.same, self.other | also.other, np.logical_or.reduce(nothing) if nothing else None
        )


def agreements(
    vintages: Mapping[tuple[str, int], Vintage],
    one: tuple[str, int],
    other: tuple[str, int] | None,
    column: str,
    size: int,
) -> list[Agreement]:
    """Return what numbers told of another version (or table) may have been of, beside a column of this one; empty: of nothing.

    Items are as they were first; size: how many there are. other None: nobody knows of which version.

    The column may have another name there, or a second one beside its own (a raw column, and the corrected one): columns that agree
    in most rows may be it, each by itself. In another version of the table one that agrees nowhere may be the same in other words.

    INVARIANT: what is not known is no licence. Where nobody knows whether a column is the same, it may be, and it may be another.
    """
    mine, theirs = vintages.get(one), None if other is None else vintages.get(other)
    if other is None or mine is None or theirs is None or not mine.marks.get(column, _NONE).size:
        return [_same(size)] if one == other else _either(size)
    if theirs.changed:
        return _since(vintages, one, other, column, size)
    found = []
    for name in theirs.marks:
        found += _beside(mine, theirs, column, name, size, itself=one == other)
    if column not in theirs.marks and one[0] == other[0] and theirs.marks.keys() - mine.marks.keys():
        found.append(_same(size))
    return found


@dataclass(frozen=True, eq=False)
class Copy:
    """A column that holds what another one does in most rows. of: (table id, version). agreement: with the other one."""

    of: tuple[str, int]
    column: str
    agreement: Agreement


def copies(vintages: Mapping[tuple[str, int], Vintage], one: tuple[str, int], column: str, size: int) -> list[Copy]:
    """Return the other columns of a table, and those of its other versions and of other tables, that hold the same in most rows."""
    mine = vintages.get(one)
    if mine is None or not mine.marks.get(column, _NONE).size:
        return []
    found: list[Copy] = []
    for other, theirs in vintages.items():
        if column in theirs.changed:
            changed = _since(vintages, one, other, column, size)
            found += [Copy(other, column, agreement) for agreement in changed]
        for name, marks in theirs.marks.items():
            if marks.size and (other, name) != (one, column):
                beside = _beside(mine, theirs, column, name, size, itself=other == one)
                found += [Copy(other, name, agreement) for agreement in beside]
    return found


def _beside(mine: Vintage, theirs: Vintage, column: str, name: str, size: int, *, itself: bool) -> list[Agreement]:
    """Return what holds if a number was told of a column that has this name there; itself: it is the very same version."""
    if itself and name == column:
        return [_same(size)]
    here, there = mine.marks[column], theirs.marks[name]
    if not there.size:
        return _either(size) if name == column or column not in theirs.marks else []
    items, both = mine.items, np.ones(mine.items.size, bool)
    if not itself:
        at = placed(theirs.items, size)[items]
        both = at >= 0
        here, there = here[both], there[at[both]]
    copies = _copies(here, there)
    if name != column and not copies:
        return []
    same, other, nothing = np.full(size, itself), np.zeros(size, bool), np.zeros(size, bool)
    same[items[both]] = here == there
    other[items[both]] = here != there
    nothing[items[both]] = there == MISSING
    found = Agreement(same, other, nothing)
    # what has changed nearly everywhere may say the same in other words: in another currency, in another type
    return [found] if copies else [found, _same(size)]


def _since(
    vintages: Mapping[tuple[str, int], Vintage], one: tuple[str, int], other: tuple[str, int], column: str, size: int
) -> list[Agreement]:
    """Return what may be the same since an old version of a table, of which it is known what has not changed since.

    INVARIANT: what has changed since may have changed back, and a column that was gone meanwhile may have held the same all the
    time: first all is supposed to be as it was, then all that has changed to have been something else.
    """
    held, number = vintages[other], max(version for name, version in vintages if name == other[0])
    mine, last = vintages[one], vintages[other[0], number]
    found: list[Agreement] = []
    for name in held.changed:
        if last.marks.get(name, _NONE).size:
            same = np.zeros(size, bool)
            same[held.unchanged(name)] = True
            for now in _beside(mine, last, column, name, size, itself=one == (other[0], number)):
                found += [Agreement(now.same, now.same & False), Agreement(now.same & same, now.other | ~same)]
        elif name == column or column not in held.changed:
            found += _either(size)
    return found


def _same(size: int) -> Agreement:
    return Agreement(np.ones(size, bool), np.zeros(size, bool))


def _either(size: int) -> list[Agreement]:
    return [_same(size), Agreement(np.zeros(size, bool), np.zeros(size, bool))]


def different(found: list[Agreement]) -> Iterator[Agreement]:
    """Yield those that are not the same as one before."""
    seen: set[Any] = set()
    for one in found:
        key = (np.packbits(one.same).tobytes(), np.packbits(one.other).tobytes())
        if key not in seen:
            seen.add(key)
            yield one


def _copies(one: Marks, other: Marks) -> bool:
    """Whether two columns agree in half of the rows in which they would not by chance (Cohen's kappa, 1960)."""
    some = slice(None, None, max(1, one.size // MOST_COMPARED))
    one, other = one[some], other[some]
    agreeing = float(np.mean(one == other)) if one.size else 0.0
    if agreeing < 0.5:
        # whatever they would by chance
        return False
    shares = np.bincount(one, minlength=1 << 16) * (np.bincount(other, minlength=1 << 16) / one.size**2)
    chance = float(shares.sum())
    return agreeing - chance >= (1 - chance) / 2 and agreeing > chance


def placed(items: Items, size: int) -> npt.NDArray[np.int64]:
    """Return where each item stands; -1: nowhere."""
    place = np.full(size, -1, np.int64)
    place[items] = np.arange(items.size)
    return place
