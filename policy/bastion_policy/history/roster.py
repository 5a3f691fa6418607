"""The roster of a unit domain: one number per row of a person, the same in every table and version that it is in.

An *item* is what populations are made of: a person where a table has one row per person, else one row of a person.

INVARIANT: a row that is in two tables or versions of the domain has one number, so that two populations that differ by one
person differ by that person's items, whichever table they were asked of. A row whose content changed between versions of one
table is another item: its values are other unknowns, and an answer before and one after it differ by that person.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from bastion_policy.history.numbering import Hashes, Marks
from bastion_policy.history.sets import ordered
from bastion_policy.history.vintages import KEPT, MOST_COMPARED, Copy, Flags, Items, Vintage, copies, placed

#: items of one person up to which each is compared with all before it
MOST_COMPARED_ITEMS = 24
#: sets the turns of rows apart from what they hold
_TURN = np.uint64(0xD1B54A32D192ED03)


@dataclass(frozen=True, eq=False)
class Roster:
    """The items of one unit domain. Never changed in place.

    keys: what identifies an item, sorted (uint64). order: the item of each key. unit: per item, a hash of whose it is.
    content: per item, a hash of its row. table: per item, the number of the table that gave the content.
    most: items per unit, at most. tables: ids of the tables, by number. versions: per (table id, version), the item of each row.
    first: per item, the one that the same row of the person was before its content changed (itself, if it never did).
    vintages: per (table id, version), what it held.
    """

    keys: Hashes = field(default_factory=lambda: np.zeros(0, np.uint64))
    order: Items = field(default_factory=lambda: np.zeros(0, np.int32))
    unit: Hashes = field(default_factory=lambda: np.zeros(0, np.uint64))
    content: Hashes = field(default_factory=lambda: np.zeros(0, np.uint64))
    table: Items = field(default_factory=lambda: np.zeros(0, np.int32))
    most: int = 1
    tables: tuple[str, ...] = ()
    versions: dict[tuple[str, int], Items] = field(default_factory=dict)
    first: Items = field(default_factory=lambda: np.zeros(0, np.int32))
    vintages: dict[tuple[str, int], Vintage] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """The number of items."""
        return self.unit.size

    def in_order(self, dataset: str, version: int) -> bool:
        """Whether each row of a version of a table has its own number."""
        known = self._in_order.get((dataset, version))
        if known is None:
            items = self.versions[dataset, version]
            known = self._in_order[dataset, version] = bool((items == np.arange(items.size, dtype=items.dtype)).all())
        return known

    @cached_property
    def _in_order(self) -> dict[tuple[str, int], bool]:
        """What `in_order` has found."""
        return {}

    def people_of(self, dataset: str, version: int) -> int:
        """Return how many people have rows in a version of a table, which never changes."""
        known = self._people_of.get((dataset, version))
        if known is None:
            people = self.people[self.versions[dataset, version]]
            there = np.zeros(int(people.max(initial=-1)) + 1, bool)
            there[people] = True
            known = self._people_of[dataset, version] = int(np.count_nonzero(there))
        return known

    @cached_property
    def _people_of(self) -> dict[tuple[str, int], int]:
        """What `people_of` has found."""
        return {}

    @cached_property
    def changed(self) -> bool:
        """Whether the content of some row has changed."""
        return bool((self.first != np.arange(self.size)).any())

    @property
    def owner(self) -> npt.NDArray[np.int64] | None:
        """Whose each item is; None where everybody has one item."""
        return None if self.most == 1 else self.people

    @cached_property
    def people(self) -> npt.NDArray[np.int64]:
        """Whose each item is, as small whole numbers that stay the same."""
        if self.most == 1:
            # nobody has two items
            return np.arange(self.size)
        _, first, at = np.unique(self.unit, return_index=True, return_inverse=True)
        number = np.empty(first.size, np.int64)
        number[np.argsort(first)] = np.arange(first.size)
        return number[at]

    @cached_property
    def several(self) -> bool:
        """Whether people have, or had, several rows in some version of a table."""
        every = (*self.versions.values(), *(v.items for v in self.vintages.values()))
        return self.most > 1 and any(int(np.bincount(self.people[i]).max(initial=0)) > 1 for i in every)

    @cached_property
    def of_people(self) -> tuple[Items, npt.NDArray[np.int64]]:
        """The items, person by person, and where each person's begin; those of a person in their order."""
        counts = np.bincount(self.people)
        order = ordered(self.people, counts.size).astype(np.int32)
        return order, np.cumsum(counts) - counts

    @cached_property
    def _turns(self) -> tuple[Items | None, npt.NDArray[np.uint8]]:
        """The items person by person (None: as they are), and how many of their person come before each, as many as a byte holds."""
        people = self.people
        counts = np.bincount(people)
        order = self.of_people[0] if bool((people[1:] < people[:-1]).any()) else None
        turn = np.arange(people.size) - np.repeat(np.cumsum(counts) - counts, counts)
        return order, np.minimum(turn, 255).astype(np.uint8)

    def repeated(self, place: Items) -> Items | None:
        """Return the place of each item whose person has an earlier one in the same place, -1 for none; None: it costs more than to count.

        place: of every item. Items of a person are compared with those before them, next to one another in the person's order.
        """
        if self.most > MOST_COMPARED_ITEMS or place.size != self.size:
            return None
        order, turn = self._turns
        mine = place if order is None else place[order]
        found = np.zeros(mine.size, bool)
        for back in range(1, self.most):
            found[back:] |= (turn[back:] >= back) & (mine[back:] == mine[:-back])
        again: Items = mine[found]
        return again

    def entered(
        self,
        dataset: str,
        version: int,
        unit: Hashes | None,
        content: Hashes,
        marks: Mapping[str, Marks] | None = None,
        hidden: Collection[str] = (),
    ) -> Roster:
        """Return the roster with the rows of a version of a table in it; `unit` None: every row is its own unit.

        marks: what each row holds, by column. hidden: columns by which no row is another one.

        INVARIANT: a row that is nobody's is known by what it holds, wherever it stands, else by its place: rows that others leave,
        that are put into another order or that change where they stand are the same ones in the next version.
        """
        if (dataset, version) in self.versions:
            return self
        marks = dict(marks or {})
        found = self._entered(dataset, version, unit, content, marks, hidden)
        vintage, kept = Vintage(found.first[found.versions[dataset, version]], marks), dict(self.vintages)
        past = sorted(v for name, v in self.vintages if name == dataset)
        for number in past:
            last, old = self.vintages[dataset, past[-1]], number in past[: -KEPT + 1]
            kept[dataset, number] = kept[dataset, number].later(last, vintage, found.size, old=old)
        return replace(found, vintages={**kept, (dataset, version): vintage})

    def _entered(
        self,
        dataset: str,
        version: int,
        unit: Hashes | None,
        content: Hashes,
        marks: Mapping[str, Marks],
        hidden: Collection[str],
    ) -> Roster:
        tables = self.tables if dataset in self.tables else (*self.tables, dataset)
        number = tables.index(dataset)
        rows = content.size
        if unit is None:
            unit = self._rows_as_before(dataset, content)
        turn = _turns(unit)
        # INVARIANT: tables of the same people share their items: the first row of a person in one is that in all, and so on
        key = unit if turn is None else np.where(turn == 0, unit, _mixed(unit ^ _mixed(turn)))
        if turn is not None or self.most > 1:
            key = self._places_as_before(dataset, unit, content, marks, key)
        if not self.keys.size:
            # nobody is known yet: rows are items
            sort = np.argsort(key)
            item = np.arange(rows, dtype=np.int32)
            most = 1 if turn is None else int(turn.max()) + 1
            table = np.full(rows, number, np.int32)
            versions = {**self.versions, (dataset, version): item}
            return Roster(key[sort], item[sort], unit, content, table, most, tables, versions, item)
        known, at = _looked_up(self.keys, key)
        item = np.full(rows, -1, np.int32)
        item[known] = self.order[at[known]]
        changed = known.copy()
        first_here = self.table[item[known]] == number
        differs = self._differing(
            dataset, np.where(known, item, 0), {c: m for c, m in marks.items() if c not in hidden}
        )
        changed[known] &= np.where(first_here, self.content[item[known]] != content[known], differs[known])
        new = changed | ~known
        before = item.copy()
        item[new] = self.size + np.arange(int(new.sum()), dtype=np.int32)
        keys = np.concatenate([np.delete(self.keys, at[changed]), key[new]])
        order = np.concatenate([np.delete(self.order, at[changed]), item[new]])
        sort = np.argsort(keys, kind="stable")
        return Roster(
            keys[sort],
            order[sort],
            np.concatenate([self.unit, unit[new]]),
            np.concatenate([self.content, content[new]]),
            np.concatenate([self.table, np.full(int(new.sum()), number, np.int32)]),
            max(int(turn.max()) + 1 if turn is not None else 1, self.most + bool(changed.any())),
            tables,
            {**self.versions, (dataset, version): item},
            np.concatenate([self.first, np.where(changed, self.first[before], item)[new].astype(np.int32)]),
        )

    def _differing(self, dataset: str, item: Items, marks: Mapping[str, Marks]) -> Flags:
        """Return the rows that hold something else in some column than in the last version of their table.

        INVARIANT: rows that another table has brought into the roster change like others.
        """
        past = [version for name, version in self.vintages if name == dataset]
        differs = np.zeros(item.size, bool)
        if past:
            last = self.vintages[dataset, max(past)]
            place = placed(last.items, self.size)[self.first[item]]
            for column in marks.keys() & last.marks.keys():
                if marks[column].size and last.marks[column].size:
                    differs |= (place >= 0) & (marks[column] != last.marks[column][place])
        return differs

    def _places_as_before(
        self, dataset: str, unit: Hashes, content: Hashes, marks: Mapping[str, Marks], key: Hashes
    ) -> Hashes:
        """Return the key of each row, where people have several: that of the same row in what there was, else a free one.

        In the last version of the table; of a new one, in the table of the same people in which most are found. key: by turns.

        INVARIANT: a row in which nothing changed but what changed in nearly all of them is the same one wherever it stands among
        its person's.
        """
        last = {name: max(v for n, v in self.versions if n == name) for name, _ in self.versions}
        others = [(dataset, last[dataset])] if dataset in last else list(last.items())
        same, before = np.zeros(unit.size, bool), np.zeros(unit.size, np.int64)
        items = np.zeros(0, np.int32)
        for other in others:
            found, at = self._same_rows(other, unit, content, marks)
            if np.count_nonzero(found) > np.count_nonzero(same):
                same, before, items = found, at, self.versions[other]
        if not same.any():
            return key
        of_item = np.zeros(self.size, np.uint64)
        # INVARIANT: a row whose content another table has changed since is found by what it was first: it is nobody else's
        of_item[self.first[self.order]] = self.keys
        chosen = key.copy()
        chosen[same] = of_item[self.first[items[before[same]]]]
        # the others take what is left of their person's places, in order
        free, rest = np.flatnonzero(~_looked_up(np.sort(chosen[same]), key)[0]), np.flatnonzero(~same)
        place, wanted = _of_content(unit[free]), _of_content(unit[rest])
        order = np.argsort(place)
        chosen[rest] = key[free][order[_looked_up(place[order], wanted)[1]]]
        return chosen

    def _same_rows(
        self, other: tuple[str, int], unit: Hashes, content: Hashes, marks: Mapping[str, Marks]
    ) -> tuple[Flags, npt.NDArray[np.int64]]:
        """Return (rows that are in another version, where they are): first what holds the same in all columns, then in most of them.

        Columns count in which half of the rows hold what some row of their person held there.
        """
        items = self.versions[other]
        theirs, vintage = self.unit[items], self.vintages.get(other)
        found, at = _found(_mixed(content ^ _mixed(unit)), _mixed(self.content[items] ^ _mixed(theirs)))
        taken = np.zeros(items.size, bool)
        taken[at[found]] = True
        left, rest = np.flatnonzero(~found), np.flatnonzero(~taken)
        if vintage is None or not left.size or not rest.size:
            return found, at
        mine, held, kept = _mixed(unit[left]), _mixed(theirs[rest]), 0
        # some of the people
        step = np.uint64(max(1, min(left.size, rest.size) // MOST_COMPARED))
        few, others = mine % step == 0, held % step == 0
        for i, column in enumerate(sorted(marks.keys() & vintage.marks.keys())):
            if marks[column].size and vintage.marks[column].size:
                one, two = (m.astype(np.uint64) for m in (marks[column][left], vintage.marks[column][rest]))
                there = _mixed(_mixed(theirs[rest][others]) ^ two[others])
                here = np.isin(_mixed(_mixed(unit[left][few]) ^ one[few]), there)
                if np.count_nonzero(here) * 2 >= min(here.size, there.size) > 0:
                    mine, held = (_mixed(h ^ _mixed(m + np.uint64(i << 16))) for h, m in ((mine, one), (held, two)))
                    kept += 1
        if not kept:
            return found, at
        again, where = _found(mine, held)
        found[left[again]], at[left[again]] = True, rest[where[again]]
        return found, at

    def _rows_as_before(self, dataset: str, content: Hashes) -> Hashes:
        """Return whose each row is, where rows are nobody's: that of the row which it was in the last version, else a new one."""
        unit = _of_content(content)
        last = max((version for name, version in self.versions if name == dataset), default=None)
        if last is None:
            return unit
        items = self.versions[dataset, last]
        held = _of_content(self.content[items])
        order = np.argsort(held)
        same, at = _looked_up(held[order], unit)
        before = order[np.minimum(at, items.size - 1)] if items.size else at
        taken = np.zeros(items.size, bool)
        taken[before[same]] = True
        here = np.flatnonzero(~same[: items.size])
        here = here[~taken[here]]
        known = np.concatenate([np.flatnonzero(same), here])
        found, of = unit.copy(), self.unit[items]
        found[known] = of[np.concatenate([before[same], here])]
        # a new row that holds what a changed one held is another one
        others = np.ones(unit.size, bool)
        others[known] = False
        taken_by = np.sort(found[known])
        while (again := others & _looked_up(taken_by, found)[0]).any():
            found[again] = _mixed(found[again])
        return found

    def copies(self, one: tuple[str, int], column: str) -> list[Copy]:
        """Return the columns of this and other versions and tables that hold what a column does in most rows."""
        if (one, column) not in self._copies:
            self._copies[one, column] = copies(self.vintages, one, column, self.size)
        return self._copies[one, column]

    @cached_property
    def _copies(self) -> dict[tuple[tuple[str, int], str], list[Copy]]:
        return {}

    def without(self, live: set[tuple[str, int]]) -> Roster:
        """Return the roster that knows the rows of the versions `live` only; items stay."""
        kept = {key: rows for key, rows in self.versions.items() if key in live}
        return self if len(kept) == len(self.versions) else replace(self, versions=kept)


def _found(mine: Hashes, held: Hashes) -> tuple[Flags, npt.NDArray[np.int64]]:
    """Return (which of the first are among the second, where), equal ones by their turn."""
    one, other = _of_content(mine), _of_content(held)
    if not other.size:
        return np.zeros(one.size, bool), np.zeros(one.size, np.int64)
    order = np.argsort(other)
    found, at = _looked_up(other[order], one)
    return found, order[np.minimum(at, other.size - 1)]


def _looked_up(among: Hashes, wanted: Hashes) -> tuple[Flags, npt.NDArray[np.int64]]:
    """Return (which are among some others, where they are or would be). among: sorted.

    They are looked up in their own order: a million at random take ten times as long.
    """
    order = np.argsort(wanted)
    at = np.empty(wanted.size, np.int64)
    at[order] = np.searchsorted(among, wanted[order])
    found = at < among.size
    found[found] = among[at[found]] == wanted[found]
    return found, at


def _of_content(content: Hashes) -> Hashes:
    """Return numbers that tell rows apart by what they are known by, equal ones by their turn."""
    same = _turns(content)
    return _mixed(content ^ _mixed((np.zeros(content.size, np.uint64) if same is None else same) ^ _TURN))


def _turns(unit: Hashes) -> Hashes | None:
    """Return, per row, how many rows of the same unit come before it; None: everybody has one row."""
    ordered = np.sort(unit)
    if not (ordered[1:] == ordered[:-1]).any():
        return None
    order = np.argsort(unit, kind="stable")
    ordered = unit[order]
    first = np.ones(unit.size, bool)
    first[1:] = ordered[1:] != ordered[:-1]
    starts = np.maximum.accumulate(np.where(first, np.arange(unit.size), 0))
    turn = np.empty(unit.size, np.uint64)
    turn[order] = (np.arange(unit.size) - starts).astype(np.uint64)
    return turn


def _mixed(values: Hashes) -> Hashes:
    """Spread 64-bit numbers (splitmix64, Steele, Lea and Flood 2014)."""
    with np.errstate(over="ignore"):
        mixed = values + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(mixed ^ (mixed >> np.uint64(31)))
