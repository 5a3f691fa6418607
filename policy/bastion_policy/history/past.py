"""The snap rule: a population close to one that was released is answered as that one.

**The rule.** The *distance* of two populations is the number of units with an item in exactly one of them. A population
within fewer than k units of a stored one is answered as the stored one (the earliest); only one that is k or more away from
all is evaluated as itself, and stored. So the difference of any two answers is nothing, or about k or more units.

**Channels.** A number about a column with missing values tells only of those who have one, so such a column has stored
populations of its own, the *contributors*: two populations of people, k apart, whose contributors are one apart, would give
that one's value. Which values are missing counts as known. The channel "" holds the populations as such.

**Exactness.** Populations are kept as sets of *atoms*, the classes of items that no stored population tells apart: each
stored partition is one number per atom. Splitting an atom copies its column. Distances are exact counts, not estimates.
Which stored partitions are counted at all is found by a few atoms of each population (`history.near`).

INVARIANT: every doubt ends in "not far": what is too large to be compared is not released.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from bastion_policy.audit import AuditRules, AuditState, Row, checks, distinct
from bastion_policy.audit.atoms import Atoms, numbered
from bastion_policy.audit.rows import counted
from bastion_policy.history.certain import certain
from bastion_policy.history.hidden import Hidden
from bastion_policy.history.near import Cells, around, close
from bastion_policy.history.sets import Ints, Items, Sets, zeros

Hashes = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]
FAR, SAME, NEAR, FULL = 0, 1, 2, 3
#: entries (stored partitions times atoms) of one channel; beyond it the history is full, and nothing new is released
CAPACITY = 1 << 28
#: cells of a partition below which two bytes hold their numbers
NARROW = 1 << 14
#: partitions that are all counted
FEW = 16
#: cells that share items, which are kept as partitions of their own
MOST_OVERLAPPING = 64


@dataclass(frozen=True, eq=False)
class Distances:
    """What the snap rule says of cells. state: FAR, SAME, NEAR or FULL. part, stored: of the population that decides.

    closest: items apart from the nearest other stored population, or from nobody; exact below 2 * k people's.
    """

    state: npt.NDArray[np.int8]
    part: Ints
    stored: Ints
    closest: Ints


@dataclass(frozen=True, eq=False)
class Beside:
    """Cells and stored populations beside them: `apart[i]` items are in only one of cell[i] and (part[i], stored[i]).

    nested: 1 where the stored one lies inside the cell, -1 where the cell does in it, else 0.
    """

    cell: Ints
    part: Ints
    stored: Ints
    apart: Ints
    nested: Ints

    def some(self, flags: npt.NDArray[np.bool_]) -> Beside:
        """Return the flagged pairs."""
        return Beside(self.cell[flags], self.part[flags], self.stored[flags], self.apart[flags], self.nested[flags])

    def nearest_first(self) -> Iterator[tuple[int, int, int, int]]:
        """Iterate over (cell, part, stored, items apart), the fewest apart first."""
        order = np.argsort(self.apart, kind="stable")
        columns = (column[order].tolist() for column in (self.cell, self.part, self.stored, self.apart))
        return zip(*columns, strict=True)


@dataclass(frozen=True, eq=False)
class Channel:
    """The stored populations of one channel, in the order of their release. Never changed in place.

    labels: the atom of each item. sizes: items per atom. parts: one row per stored partition, one column per atom: the
    cell that the atom is in, -1 for none. plans: for each, a digest of the plan that it was asked by. hidden: items of cells
    whose own number was withheld. audit: the linear audit of the same releases; None where it is off, or not needed yet.
    cells: the stored populations one by one. lone: atoms in which no two items are one person's, as far as known; not kept on the disk.
    """

    labels: Items
    sizes: Ints
    parts: Items
    plans: tuple[bytes, ...] = ()
    hidden: Hidden = field(default_factory=lambda: Hidden.of(()))
    audit: AuditState | None = None
    cells: Cells = field(default_factory=Cells.none)
    lone: Flags | None = None

    @classmethod
    def empty(cls, items: int) -> Channel:
        """Return a channel in which nothing was released about `items` items."""
        return cls(zeros(items), np.array([items], np.int64), np.zeros((0, 1), np.int16))

    def grown(self, items: int) -> Channel:
        """Return the channel for a domain of that many items; no release has touched the new ones."""
        more = items - self.labels.size
        if more <= 0:
            return self
        labels = np.concatenate([self.labels, np.full(more, self.sizes.size, np.int32)])
        parts = np.concatenate([self.parts, np.full((self.parts.shape[0], 1), -1, self.parts.dtype)], axis=1)
        audit = self.audit.grown(more) if self.audit is not None else None
        lone = np.append(self.lone, False) if self.lone is not None else None
        return replace(self, labels=labels, sizes=np.append(self.sizes, more), parts=parts, audit=audit, lone=lone)

    # -- the snap rule

    def distances(self, asked: Sets, k: int, most: int, unit: Hashes) -> Distances:
        """Say of each cell whether it is far from all stored populations, the same as one, or near one.

        k: units. most: items per unit at most. unit: whose each item is.

        INVARIANT (tier bound): more than (k - 1) * most items are of at least k units. Where fewer differ, units are counted.
        """
        state = np.full(asked.count, FAR, np.int8)
        part, stored = np.full(asked.count, -1, np.int64), np.full(asked.count, -1, np.int64)
        overlaps = list(self._overlaps(asked, 2 * k * most))
        # counted while the populations met the atoms
        closest = asked.sizes.copy()
        for p, c, s, apart, _ in overlaps:
            np.minimum.at(closest, c[apart > 0], apart[apart > 0])
            for at in np.flatnonzero((apart <= (k - 1) * most) & (state[c] != SAME)):
                where = int(c[at])
                if apart[at] == 0:
                    # INVARIANT: a population that was released as itself is answered so again, whatever else is near
                    state[where], part[where], stored[where] = SAME, p, s[at]
                elif state[where] == FAR and self._units_apart(asked, where, p, int(s[at]), k, most, unit):
                    state[where], part[where], stored[where] = NEAR, p, s[at]
        return Distances(state, part, stored, closest)

    def beside(self, asked: Sets, within: int, *, same: bool = False) -> Beside:
        """Return the stored populations that overlap with cells; same: or are the same.

        Those of which one lies inside the other, and those with fewer than `within` items apart.
        """
        found = [np.zeros((5, 0), np.int64)]
        for p, c, s, apart, nested in self._overlaps(asked, within, nested=True):
            at = np.flatnonzero(((nested != 0) | (apart < within)) & ((apart > 0) | same))
            found.append(np.stack([c[at], np.full(at.size, p), s[at], apart[at], nested[at]]))
        return Beside(*np.concatenate(found, axis=1))

    def _overlaps(
        self, asked: Sets, within: int, *, nested: bool = False
    ) -> Iterator[tuple[int, Ints, Ints, Ints, Ints]]:
        """Iterate over (part, cells, stored, items apart, which lies inside the other) of what has items in common.

        The last is 1 where the stored one lies inside, -1 where the cell does, else 0.

        Only partitions with a pair of fewer than `within` items apart are needed; nested: and those in which one lies inside
        the other.
        """
        if not self.parts.shape[0]:
            return
        cell, atom, lengths = self._met(asked)
        if not cell.size:
            return
        among = np.arange(self.parts.shape[0])
        if among.size > FEW and (asked.disjoint or not nested):
            among = close(self.parts, self.cells, cell, atom, lengths, asked.sizes, within)
            if nested:
                whole = around(self.parts, self.cells, cell, atom, lengths, asked.sizes, self.sizes)
                among = np.union1d(among, whole)
        for p in among.tolist():
            row = self.parts[p]
            inside = row[atom]
            hit = inside >= 0
            if not hit.any():
                continue
            cells = int(row.max()) + 1
            pair, common = _weighed(cell[hit] * cells + inside[hit], lengths[hit], asked.count * cells)
            c, s = pair // cells, pair % cells
            mine = asked.sizes[c]
            theirs = np.bincount(row[row >= 0], self.sizes[row >= 0], cells).astype(np.int64)[s]
            yield p, c, s, mine + theirs - 2 * common, np.where(common == theirs, 1, np.where(common == mine, -1, 0))

    def _met(self, asked: Sets) -> tuple[Ints, Ints, Ints]:
        """Return (cell, atom, items in both) of all that meet."""
        atoms = self.sizes.size
        if asked.disjoint:
            met = asked.crossed(self.labels, atoms)
            there = np.append(asked.kept, False)[met.cell]
            return met.cell[there], met.atom[there], met.size[there]
        cells, items = asked.memberships
        code, lengths = np.unique(cells * atoms + self.labels[items], return_counts=True)
        return code // atoms, code % atoms, lengths

    def _units_apart(self, asked: Sets, cell: int, part: int, stored: int, k: int, most: int, unit: Hashes) -> bool:
        """Whether fewer than k units have an item in exactly one of two populations."""
        if most == 1:
            return True
        apart = np.setxor1d(asked.members(cell), self.population(part, stored), assume_unique=True)
        return int(distinct(unit[apart]).size) < k

    @cached_property
    def _by_atom(self) -> tuple[Items, Ints]:
        """The items, atom by atom, and where each atom's begin."""
        order = np.argsort(self.labels, kind="stable").astype(np.int32)
        return order, np.cumsum(self.sizes) - self.sizes

    def members(self, part: int, stored: int) -> Items:
        """Return the items of a stored population, ascending: for many of one channel, each as cheap as it is small."""
        atoms = np.flatnonzero(self.parts[part] == stored)
        order, start = self._by_atom
        sizes = self.sizes[atoms]
        at = np.repeat(start[atoms] - (np.cumsum(sizes) - sizes), sizes) + np.arange(int(sizes.sum()))
        return np.sort(order[at])

    def populations(self, part: int) -> Sets:
        """Return the populations of a stored partition."""
        row = self.parts[part]
        count = int(row.max(initial=-1)) + 1
        return Sets(count, row[self.labels], np.ones(count, bool))

    def asked_by(self, plans: Collection[bytes]) -> Channel:
        """Return the channel with those partitions alone that one of some plans asked for."""
        some = [number for number, plan in enumerate(self.plans) if plan in plans]
        parts, theirs = self.parts[some], tuple(self.plans[number] for number in some)
        return Channel(self.labels, self.sizes, parts, theirs, cells=Cells.of(parts, self.sizes))

    def population(self, part: int, stored: int) -> Items:
        """Return the items of a stored population, ascending."""
        return np.flatnonzero((self.parts[part] == stored)[self.labels]).astype(np.int32)

    # -- releases

    def room(self, asked: Sets) -> bool:
        """Whether there is room for one more release."""
        few = asked.disjoint or asked.count <= MOST_OVERLAPPING
        most = min(self.labels.size, self.sizes.size * (asked.count + 1))
        return few and (self.parts.shape[0] + 1) * most + self.withheld <= CAPACITY

    @property
    def withheld(self) -> int:
        """Items of hidden cells."""
        return self.hidden.items.size

    def hiding(self, more: Hidden) -> Hidden:
        """Return the hidden cells with those of `more` that are not among them, while there is room.

        INVARIANT: who asks the same again and again makes no history larger.
        """
        return self.hidden.plus(more, CAPACITY - self.withheld) if len(more) else self.hidden

    def coarse(self, k: int, owner: Ints | None = None, most: int = 1) -> bool:
        """Whether every atom is of k people at least. owner: whose each item is, where people have several, `most` at most.

        INVARIANT: every combination of released numbers is constant on atoms, so where all atoms are large none of them tells
        about fewer people: there is nothing to audit. (Tier bound: more than (k - 1) * most items are of k people.)
        """
        there = self.sizes > 0
        small = there & (self.sizes <= (k - 1) * most)
        if most == 1 or owner is None or not small.any():
            return not small.any()
        if bool((self.sizes[small] < k).any()):
            # there are no more people than items
            return False
        if self.lone is not None:
            small &= ~self.lone
        if not small.any():
            return True
        items = np.flatnonzero(small[self.labels])
        return bool((counted(self.labels[items], owner[items], self.sizes.size)[small] >= k).all())

    def certain(self, k: int, most: int, share: float | None, seed: bytes) -> bool:
        """Whether nothing but zero is about fewer than k people, within the rank budget `share`: nothing to audit then.

        INVARIANT (tier bound): more than (k - 1) * most items are of k people.
        """
        # INVARIANT: the rank is bounded from above here, so the budget is kept
        rank = int((self.parts.max(axis=1, initial=-1) + 1).sum())
        if share is not None and rank > checks.budget(self.sizes // most, k, share):
            return False
        return certain(self.parts, self.sizes, (k - 1) * most + 1, seed)

    def around(self, items: Items, *, inside: bool) -> Items:
        """Return the atoms that lie inside a set of items (or that touch it), as items."""
        here = np.bincount(self.labels[items], minlength=self.sizes.size)
        chosen = (here == self.sizes) & (here > 0) if inside else here > 0
        return np.flatnonzero(chosen[self.labels]).astype(np.int32)

    def released(self, asked: Sets, plan: bytes = b"") -> Channel:
        """Return the channel with these populations stored (empty cells are none)."""
        if asked.disjoint:
            return self._stored(asked, plan)
        channel = self
        for cell in np.flatnonzero(asked.sizes):
            channel = channel._stored(Sets.one(asked.members(int(cell)), self.labels.size), plan)
        return channel

    def _stored(self, asked: Sets, plan: bytes) -> Channel:
        if not asked.sizes.any():
            return self
        met = asked.crossed(self.labels, self.sizes.size)
        cell = np.where(np.append(asked.kept, False)[met.cell], met.cell, -1)
        if asked.kept.all():
            atom, at, size = met.atom, met.at, met.size
            if atom.size == self.sizes.size and bool((atom == np.arange(atom.size)).all()):
                # no atom is split
                at = self.labels
        else:
            # what is not kept is as good as in none
            width = asked.count + 1
            code, again = numbered(met.atom * width + cell + 1, self.sizes.size * width)
            atom, cell = code // width, code % width - 1
            at, size = again.astype(np.int32)[met.at], np.bincount(again, met.size).astype(np.int64)
        # INVARIANT: a count of cells that is one more than the last number fits as well
        row: npt.NDArray[Any] = cell.astype(np.int16 if asked.count < NARROW else np.int32)
        parts = np.empty((self.parts.shape[0] + 1, atom.size), np.promote_types(self.parts.dtype, row.dtype))
        np.take(self.parts.astype(parts.dtype, copy=False), atom, axis=1, out=parts[:-1], mode="clip")
        parts[-1] = row
        cells = self.cells.renumbered(atom, self.sizes.size).plus(row, size)
        lone = self._lone(asked, atom, cell)
        return replace(self, labels=at, sizes=size, parts=parts, plans=(*self.plans, plan), cells=cells, lone=lone)

    def _lone(self, asked: Sets, atom: Ints, cell: Ints) -> Flags | None:
        """Return the atoms in which no two items are one person's. atom: of each, the one it was part of. cell: the asked one.

        INVARIANT: what holds of a population's items holds of a part of them. Whose an item is never changes.
        """
        found = None if self.lone is None else self.lone[atom]
        if asked.lone is None:
            return found
        mine = np.append(asked.lone, False)[cell]
        return mine if found is None else found | mine


@dataclass(frozen=True, eq=False)
class Past:
    """What was released to one audience about one unit domain.

    channels: by name; see the module's page. wholes: whether a (table id, version, channel) as a whole stands for itself;
    what was reserved of a version under names of its own.
    edges: queries with predicates on measures whose answer lay at a threshold, as short digests. voided: an owner released
    what the rules would not have. settled: digests of what was answered whole, as itself: asked again, it adds nothing. picked: numbers
    that an owner released of people whom nobody can name from the plan (a first row, a product).
    """

    channels: dict[str, Channel] = field(default_factory=dict)
    wholes: dict[tuple[str, int, str], bool] = field(default_factory=dict)
    edges: tuple[bytes, ...] = ()
    voided: bool = False
    settled: frozenset[bytes] = frozenset()
    picked: int = 0

    def channel(self, name: str, items: int) -> Channel:
        """Return a channel for a domain of so many items."""
        found = self.channels.get(name)
        return Channel.empty(items) if found is None else found.grown(items)

    def with_channel(self, name: str, channel: Channel) -> Past:
        """Return the past with a channel replaced."""
        return replace(self, channels={**self.channels, name: channel})


def audited(channel: Channel, rules: AuditRules, seed: bytes, owner: Ints | None = None) -> AuditState | None:
    """Return the channel's audit under `rules`, made of the stored populations where there is none yet; None: too large.

    owner: whose each item is, where people have several.
    """
    if channel.audit is not None:
        return replace(channel.audit, rules=rules, owner=owner)
    state = AuditState.over(Atoms(channel.labels, channel.sizes), list(channel.parts), rules, seed)
    state = state if state is None else replace(state, owner=owner)
    return state if state is None else state.knowing((), [Row.of(items) for items in channel.hidden])


def _weighed(code: Ints, weight: Ints, top: int) -> tuple[Ints, Ints]:
    """Return the distinct codes (0 <= code < top) and the weight of each."""
    if top <= 8 * max(code.size, 1024):
        total = np.bincount(code, weight, top).astype(np.int64)
        found = np.flatnonzero(total)
        return found, total[found]
    found, at = numbered(code, top)
    return found, np.bincount(at, weight, found.size).astype(np.int64)
