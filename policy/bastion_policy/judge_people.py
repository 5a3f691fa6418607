"""Tables in which people have several rows: numbers are compared by whose rows are in them, whichever these are.

A column may stay the same in a person's rows, change by what everybody knows, or by little: a pay, an age, a weight, what a
quarter's months have in common. Then rows of one person are as good as each other, and two populations without a row in common may
differ by one person's value: last month's sum less this month's sum of all the others. No measurement tells such columns apart
from others, since who asks chooses the people and the months. So every measure and every sensitive column counts as one of
*numbers of people*, of which each row is a copy, unless its owner declares that it varies (`Role.varies`): that what one of a
person's rows holds tells nothing of the others.

1. *Populations.* The rows of a cell stand for the same number of rows of the same people. Two populations are the same where
   they are of the same people, each as often; where fewer than k people differ, the second number is withheld. What a
   condition inside a statistic picks is such a population, too.
2. *The linear audit.* One unknown per person and column, whatever function of it is added up, with the number of
   their rows as a weight. Of a number per person (a sum or a mean of their rows, in a group_by of the unit) it is not known how it
   counts the rows, so it is entered twice: each person once, and as often as they have rows. Any sum or mean of a person's rows is
   made of the two.
3. *Differences.* By what two populations differ is judged for dominance, by people: those who hold 0 add nothing. Of the very same
   people in other rows it is what changed: of nobody, or of k people at least.

Quasi and public columns are not compared in this way: how many rows meet a condition on them tells the same, and may be asked.

INVARIANT: entering more than was told, and taking numbers of two functions of a column for one unknown, make the audit
refuse more, never less.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from bastion_policy.guard_cells import Flags, Floats, Indexes
from bastion_policy.history import SAME, Sets
from bastion_policy.history.hidden import Hidden
from bastion_policy.history.people import by_people, even, ranked
from bastion_policy.history.sets import packs
from bastion_policy.judge_channels import PEOPLE, ROWS_TOLD, WEIGHED
from bastion_policy.judge_history import CLOSE, MOST_LOOKED_AT, Memory
from bastion_policy.lineage import Occurrence, Source, World
from bastion_policy.model import Effective

#: what stands for the plan of a population that was told of the column itself
_TOLD = b"told"


def compared(sources: Collection[Source], world: World) -> list[Source]:
    """Return the columns whose numbers are compared by people, if their tables have several rows of one."""
    roles = {s: world.role(s) for s in sources if not s.counted}
    return sorted((s for s, r in roles.items() if r.steady), key=lambda s: s.column)


@dataclass(frozen=True, eq=False)
class Stood:
    """What became of the cells of a statistic. far: may be told, as far as populations go. cleared: by the audit, too.

    looked: the cells. edge: at a threshold. rows, ranked: the populations, and those that stand for them. per_person: see
    `PeopleOf.stand`.
    """

    looked: Flags
    far: Flags
    cleared: Flags
    edge: Flags
    rows: Sets
    ranked: Sets
    per_person: bool

    def joined(self, other: Stood) -> Stood:
        """Return what became of the cells of both, which are others of the same populations."""
        return replace(
            self,
            looked=self.looked | other.looked,
            far=self.far | other.far,
            cleared=self.cleared | other.cleared,
            edge=self.edge | other.edge,
        )


@dataclass(frozen=True, eq=False)
class PeopleOf:
    """The history of one column of people of whom some table has several rows. Tables of a domain share columns of one name."""

    memory: Memory
    occurrence: Occurrence
    column: str
    #: whether the table's policy was changed
    changed: bool

    def stand(self, rows: Sets, flags: Flags, *, per_person: bool) -> Stood:
        """Compare, audit and enter the populations of flagged cells, one after another where they share people.

        per_person: what is added up is one number per person, made of the rows that are in the cell.
        """
        history, effective = self.memory.history, self.memory.effective
        snap, audit = (Memory(history, (self.occurrence,), effective) for _ in range(2))
        snap.audits = audit.snaps = False
        roster = self.memory.lens(self.occurrence).roster
        people, often = by_people(roster, rows)
        size = int(roster.people.max(initial=-1)) + 1
        stand_for = ranked(roster, people, often)
        self._begin()
        weights = [None if even(often) else often] + ([None] if per_person and not even(often) else [])
        found = Stood(flags, flags & False, flags & False, flags & False, rows, stand_for, per_person)
        for part, cells in packs(stand_for, flags):
            standing = snap.standing([cells], part, PEOPLE + self.column, whole=True)
            # the same people, each as often, were audited when they were told first
            again = self._again(cells) if len(weights) == 1 else part & False
            cleared = standing.far & ~again
            mine = Sets.of(people.count, *people.where(cleared).memberships, size)
            for counts in weights if audit.audits else ():
                cleared = audit.enter([mine], cleared, WEIGHED + self.column, often=counts)
            cleared = cleared | (standing.far & again)
            cleared = self._told(cells, Sets.of(rows.count, *rows.where(cleared).memberships, roster.size), cleared)
            found.far[:] |= standing.far
            found.cleared[:] |= cleared
            found.edge[:] |= standing.edge
        self.memory.beyond |= snap.beyond or audit.beyond
        return found

    def _again(self, ranked: Sets) -> Flags:
        """Return the populations that were told before, of this column."""
        held, unit = (
            self.memory.channel(self.occurrence, PEOPLE + self.column),
            self.memory.lens(self.occurrence).roster.unit,
        )
        found = held.distances(ranked, 1, 1, unit)
        return np.array(
            [s == SAME and held.plans[p] == _TOLD for s, p in zip(found.state, found.part, strict=True)], bool
        )

    def _begin(self) -> None:
        """Begin with all that was told of other tables of the same people, which may hold the column with one row per person.

        And of earlier versions, in which everybody may have had one row, or under earlier policies, which may have said that the
        column varies.

        INVARIANT: a person's only row there is the first of their rows here.
        """
        o, lens = self.occurrence, self.memory.lens(self.occurrence)
        past = self.memory.history.pasts[self.memory.history.domains[o.dataset]]
        earlier = any(key[:2] != (lens.dataset, lens.version) for key in past.wholes)
        if PEOPLE + self.column in past.channels or not (earlier or self.changed or len(lens.roster.tables) > 1):
            return
        before = replace(self.memory.channel(o, ""), audit=None, hidden=Hidden.of(()))
        for name in (PEOPLE, ROWS_TOLD):
            self.memory.put(o, name + self.column, before)
        for part in range(before.parts.shape[0]):
            self._known(before.populations(part))

    def _known(self, rows: Sets) -> None:
        """Enter what is known by now into the audit of people, whatever it makes of it."""
        audit = Memory(self.memory.history, (self.occurrence,), self.memory.effective)
        audit.snaps = False
        if not audit.audits:
            return
        people, often = by_people(self.memory.lens(self.occurrence).roster, rows)
        for flags, cells in packs(people, people.sizes > 0):
            audit.enter([cells], flags, WEIGHED + self.column, often=None if even(often) else often, told=True)

    def _told(self, ranked: Sets, rows: Sets, cleared: Flags, plan: bytes = _TOLD) -> Flags:
        """Keep what is told: the rows, and those that stand for them; returns which cells there was room for.

        INVARIANT: both are kept partition by partition, so that a number is one in both.
        """
        o, unit = self.occurrence, self.memory.lens(self.occurrence).roster.unit
        stood, told = (self.memory.channel(o, name + self.column) for name in (PEOPLE, ROWS_TOLD))
        # the very same rows tell nothing new
        new = cleared & (told.distances(rows, 1, 1, unit).state != SAME) & (rows.sizes > 0)
        if not new.any():
            return cleared
        if not stood.room(ranked.where(new)) or not told.room(rows.where(new)):
            self.memory.beyond = True
            return np.asarray(cleared & ~new)
        self.memory.put(o, PEOPLE + self.column, stood.released(ranked.where(new), plan))
        self.memory.put(o, ROWS_TOLD + self.column, told.released(rows.where(new), plan))
        return cleared

    def approve(self, rows: Sets) -> None:
        """Enter what the owner released, whatever the rules say of it."""
        roster = self.memory.lens(self.occurrence).roster
        people, often = by_people(roster, rows)
        stand_for = ranked(roster, people, often)
        self._begin()
        for part, cells in packs(stand_for, rows.sizes > 0):
            mine = Sets.of(rows.count, *rows.where(part).memberships, roster.size)
            self._told(cells, mine, part, b"")
            self._known(mine)

    def pairs(self, stood: Stood, flags: Flags) -> tuple[list[tuple[int, int, int]], list[int]]:
        """Return (cell, part, stored) of stored populations whose numbers may be subtracted from those of cells.

        And the cells with more of them than can be looked at.
        """
        if not self.memory.snaps:
            return [], []
        held = self.memory.channel(self.occurrence, PEOPLE + self.column)
        left, found, many = MOST_LOOKED_AT, [], []
        beside = held.beside(stood.ranked.where(flags), CLOSE * self.memory.k, same=True)
        for cell, part, stored, apart in beside.nearest_first():
            left -= max(apart, 1)
            if left >= 0:
                found.append((cell, part, stored))
            else:
                many.append(cell)
        return found, many

    def unsound(
        self,
        stood: Stood,
        pairs: Sequence[tuple[int, int, int]],
        values: Floats,
        low: float,
        high: float | None,
        differing: int = 0,
    ) -> list[int]:
        """Return the cells of whose pairs the difference is about few people, or one of them makes up most of it.

        values: per row of the table. low, high: bounds. differing: how many must hold another value than most of them. What
        cannot be looked up (rows of other tables and versions) counts with what its person's rows hold on average.

        INVARIANT: of the same people each holds what their rows in the one population hold less those in the other. Where people
        differ, only those do who are in more often; what the others hold may be known to be the same.
        """
        lens, k = self.memory.lens(self.occurrence), self.memory.k
        corrected = self._corrected
        told = self.memory.channel(self.occurrence, ROWS_TOLD + self.column)
        stands = self.memory.channel(self.occurrence, PEOPLE + self.column)
        owner, means = lens.roster.people, self._means(values)
        bad = []
        for cell, part, stored in pairs:
            one, two = stood.rows.members(cell), told.members(part, stored)
            if np.array_equal(one, two):
                continue
            # INVARIANT: what few people held then, and hold no more, is in the difference whatever they hold now
            if any(0 < np.unique(owner[two[other[two]]]).size < k for other in corrected):
                bad.append(cell)
                continue
            items, sign = np.concatenate([one, two]), np.repeat([1.0, -1.0], [one.size, two.size])
            row = lens.rows[items]
            value = np.where(row >= 0, values[np.maximum(row, 0)], means[owner[items]])
            known = np.isfinite(value)
            people, at = np.unique(owner[items[known]], return_inverse=True)
            apart = np.setxor1d(stood.ranked.members(cell), stands.members(part, stored), assume_unique=True)
            more = np.isin(people, owner[apart]) if apart.size else np.ones(people.size, bool)
            if apart.size and _alike(at, value[known], more) < differing:
                bad.append(cell)
                continue
            with np.errstate(over="ignore", invalid="ignore"):
                sides = [value[known] - low]
                if high is not None:
                    # those who are in the one population more often may be known to hold the least, the others the most
                    mine = np.bincount(at, sign[known], people.size)[at] > 0
                    below, above = value[known] - low, high - value[known]
                    sides += [above, np.where(mine, below, above), np.where(mine, above, below)]
                if low < 0:
                    sides.append(value[known])
            for side in sides:
                with np.errstate(over="ignore", invalid="ignore"):
                    each = [np.abs(np.bincount(at, sign[known] * side, people.size))[more]]
                    if stood.per_person:
                        each += [np.abs(self._apiece(at, sign[known], side, people.size))[more]]
                bad += [
                    cell for one_each in each if not sound(one_each, k if not apart.size else 0, self.memory.effective)
                ]
        return bad

    @cached_property
    def _corrected(self) -> list[Flags]:
        """The items whose row held another value of the column, by version and table: of which one numbers were told is not kept."""
        lens = self.memory.lens(self.occurrence)
        copies = lens.roster.copies((lens.dataset, lens.version), self.column)
        return [copy.agreement.other[lens.roster.first] for copy in copies if copy.column == self.column]

    @staticmethod
    def _apiece(at: Indexes, sign: Floats, side: Floats, size: int) -> Floats:
        """Return each person's mean in the one population less that in the other."""
        found = np.zeros(size)
        for one in (1.0, -1.0):
            mine = sign == one
            counts = np.bincount(at[mine], minlength=size)
            found += one * np.bincount(at[mine], side[mine], size) / np.maximum(counts, 1)
        return found

    def _means(self, values: Floats) -> Floats:
        """Return per person the mean of a column in their rows; NaN where they have no value."""
        lens = self.memory.lens(self.occurrence)
        owner, known = lens.roster.people[lens.items], np.isfinite(values)
        size = int(lens.roster.people.max(initial=-1)) + 1
        counts = np.bincount(owner[known], minlength=size)
        with np.errstate(invalid="ignore", over="ignore"):
            shares = values[known] / np.maximum(counts, 1)[owner[known]]
            found = np.bincount(owner[known], shares, size).astype(np.float64)
        found[counts == 0] = np.nan
        return found


def _alike(at: Indexes, value: Floats, chosen: Flags) -> int:
    """Return how many of the chosen people hold another value than the one that most of them hold in all of their rows."""
    least, most = np.full(chosen.size, np.inf), np.full(chosen.size, -np.inf)
    np.minimum.at(least, at, value)
    np.maximum.at(most, at, value)
    _, counts = np.unique(least[chosen & (least == most)], return_counts=True)
    return int(chosen.sum()) - int(counts.max(initial=0))


def sound(each: Floats, least: int, effective: Effective) -> bool:
    """Whether what people add to a difference passes dominance, and none or `least` of them add something.

    each: a number per person, 0 and above.
    """
    most = np.sort(each)[::-1]
    if not most.size or most[0] == 0:
        return True
    with np.errstate(over="ignore", invalid="ignore"):
        total, one, two = most.sum(), most[0], most[1] if most.size > 1 else 0.0
        if not np.isfinite(total) or np.count_nonzero(most > 1e-9 * one) < least:
            return False
        if not all(most[:n].sum() <= share * total for n, share in effective.shares):
            return False
        return effective.p is None or bool(total - one - two >= effective.p * one)
