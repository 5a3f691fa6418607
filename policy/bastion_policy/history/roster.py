"""The roster of a unit domain: one number per row of a person, the same in every table and version that it is in.

An *item* is what populations are made of: a person where a table has one row per person, else one row of a person.

INVARIANT: a row that is in two tables or versions of the domain has one number, so that two populations that differ by one
person differ by that person's items, whichever table they were asked of. A row whose content changed between versions of one
table is another item: its values are other unknowns, and an answer before and one after it differ by that person.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from bastion_plan import nodes as n
from bastion_plan.expressions import Alias, AnyExpr, Column
from bastion_plan.nodes import AnyNode

from bastion_policy.boundary import call
from bastion_policy.facts import DatasetFacts
from bastion_policy.lineage import OWN

Hashes = npt.NDArray[np.uint64]
Items = npt.NDArray[np.int32]
UNIT, CONTENT = f"{OWN}unit", f"{OWN}content"


def numbering_plan(facts: DatasetFacts) -> AnyNode:
    """Return the plan that gives, per row of a table, a 64-bit hash of its unit (if it has one) and of all its values."""
    content: AnyExpr | None = None
    for i, column in enumerate(facts.columns):
        part = call("hash", Column(column.name), seed=i + 2)
        content = part if content is None else call("add", content, part)
    assert content is not None
    columns: list[AnyExpr] = [Alias(content, CONTENT)]
    if facts.unit is not None:
        columns.append(Alias(call("hash", Column(facts.unit), seed=1), UNIT))
    return n.Select(n.Scan(facts.id), tuple(columns))


@dataclass(frozen=True, eq=False)
class Roster:
    """The items of one unit domain. Never changed in place.

    keys: what identifies an item, sorted (uint64). order: the item of each key. unit: per item, a hash of whose it is.
    content: per item, a hash of its row. table: per item, the number of the table that gave the content.
    most: items per unit, at most. tables: ids of the tables, by number. versions: per (table id, version), the item of each row.
    first: per item, the one that the same row of the person was before its content changed (itself, if it never did).
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

    @property
    def size(self) -> int:
        """The number of items."""
        return self.unit.size

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
        _, first, at = np.unique(self.unit, return_index=True, return_inverse=True)
        number = np.empty(first.size, np.int64)
        number[np.argsort(first)] = np.arange(first.size)
        return number[at]

    @cached_property
    def several(self) -> bool:
        """Whether people have several rows in some version of a table."""
        return self.most > 1 and any(
            int(np.bincount(self.people[i]).max(initial=0)) > 1 for i in self.versions.values()
        )

    @cached_property
    def of_people(self) -> tuple[Items, npt.NDArray[np.int64]]:
        """The items, person by person, and where each person's begin; those of a person in their order."""
        order = np.argsort(self.people, kind="stable").astype(np.int32)
        counts = np.bincount(self.people)
        return order, np.cumsum(counts) - counts

    def entered(self, dataset: str, version: int, unit: Hashes | None, content: Hashes) -> Roster:
        """Return the roster with the rows of a version of a table in it; `unit` None: every row is its own unit.

        INVARIANT: a row that is nobody's is known by what it holds, wherever it stands, else by its place: rows that others leave,
        that are put into another order or that change where they stand are the same ones in the next version.
        """
        if (dataset, version) in self.versions:
            return self
        tables = self.tables if dataset in self.tables else (*self.tables, dataset)
        number = tables.index(dataset)
        rows = content.size
        if unit is None:
            unit = self._rows_as_before(dataset, content)
        turn = _turns(unit)
        # INVARIANT: tables of the same people share their items: the first row of a person in one is that in all, and so on
        key = unit if turn is None else np.where(turn == 0, unit, _mixed(unit ^ _mixed(turn)))
        if not self.keys.size:
            # nobody is known yet: rows are items
            sort = np.argsort(key)
            item = np.arange(rows, dtype=np.int32)
            most = 1 if turn is None else int(turn.max()) + 1
            table = np.full(rows, number, np.int32)
            versions = {**self.versions, (dataset, version): item}
            return Roster(key[sort], item[sort], unit, content, table, most, tables, versions, item)
        at = np.searchsorted(self.keys, key)
        known = at < self.keys.size
        known[known] = self.keys[at[known]] == key[known]
        item = np.full(rows, -1, np.int32)
        item[known] = self.order[at[known]]
        changed = known.copy()
        changed[known] &= (self.table[item[known]] == number) & (self.content[item[known]] != content[known])
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

    def _rows_as_before(self, dataset: str, content: Hashes) -> Hashes:
        """Return whose each row is, where rows are nobody's: that of the row which it was in the last version, else a new one."""
        unit = _of_content(content)
        last = max((version for name, version in self.versions if name == dataset), default=None)
        if last is None:
            return unit
        items = self.versions[dataset, last]
        held = _of_content(self.content[items])
        order = np.argsort(held)
        at = np.minimum(np.searchsorted(held, unit, sorter=order), items.size - 1)
        before = order[at] if items.size else at
        same = held[before] == unit if items.size else np.zeros(unit.size, bool)
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
        while (again := others & np.isin(found, found[known])).any():
            found[again] = _mixed(found[again])
        return found

    def without(self, live: set[tuple[str, int]]) -> Roster:
        """Return the roster that knows the rows of the versions `live` only; items stay."""
        kept = {key: rows for key, rows in self.versions.items() if key in live}
        return self if len(kept) == len(self.versions) else replace(self, versions=kept)


def _of_content(content: Hashes) -> Hashes:
    """Return numbers that tell rows apart by what they hold, equal ones by their turn."""
    same = _turns(content)
    return _mixed(content) if same is None else _mixed(content ^ _mixed(same))


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
