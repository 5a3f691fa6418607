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
3. *Differences.* By what two populations differ is judged for dominance, by people: those who hold 0 add nothing.

Quasi and public columns are not compared in this way: how many rows meet a condition on them tells the same, and may be asked.

INVARIANT: entering more than was told, and taking numbers of two functions of a column for one unknown, make the audit
refuse more, never less.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from bastion_policy.guard_cells import Flags, Floats, Indexes
from bastion_policy.history import Sets
from bastion_policy.history.people import by_people, even, ranked
from bastion_policy.history.sets import packs
from bastion_policy.judge_edges import SECRET
from bastion_policy.judge_history import CLOSE, MOST_DIFFERING, MOST_SNAPPED, PEOPLE, WEIGHED, Memory
from bastion_policy.lineage import Occurrence, Source, World
from bastion_policy.model import Effective


def compared(sources: Collection[Source], world: World) -> list[Source]:
    """Return the columns whose numbers are compared by people, if their tables have several rows of one."""
    roles = {s: world.role(s) for s in sources if not s.counted}
    return sorted((s for s, r in roles.items() if r.kind in SECRET and not r.varies), key=lambda s: s.column)


@dataclass(frozen=True, eq=False)
class Stood:
    """What became of the cells of a statistic. far: may be told, as far as populations go. cleared: by the audit, too.

    edge: at a threshold. ranked: the populations of those that may be told.
    """

    far: Flags
    cleared: Flags
    edge: Flags
    ranked: Sets


@dataclass(frozen=True, eq=False)
class PeopleOf:
    """The history of one column of a table with several rows per person."""

    memory: Memory
    occurrence: Occurrence
    column: str

    @property
    def _name(self) -> str:
        return f"{self.occurrence.dataset}.{self.column}"

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
        weights = [None if even(often) else often] + ([None] if per_person and not even(often) else [])
        found = Stood(flags & False, flags & False, flags & False, stand_for)
        for part, cells in packs(stand_for, flags):
            standing = snap.standing([cells], part, PEOPLE + self._name, whole=True)
            cleared = standing.far.copy()
            mine = Sets.of(people.count, *people.where(cleared).memberships, size)
            for counts in weights if audit.audits else ():
                cleared = audit.enter([mine], cleared, WEIGHED + self._name, often=counts)
            snap.enter([cells], cleared, PEOPLE + self._name)
            found.far[:] |= standing.far
            found.cleared[:] |= cleared
            found.edge[:] |= standing.edge
        self.memory.beyond |= snap.beyond or audit.beyond
        return found

    def between(self, stood: Stood, flags: Flags) -> list[tuple[int, Indexes, Indexes]]:
        """Return (cell, people, by how many rows) of what is more in a cell or in a stored population than in the other."""
        if not self.memory.snaps:
            return []
        held = self.memory.channel(self.occurrence, PEOPLE + self._name)
        roster = self.memory.lens(self.occurrence).roster
        found, left = [], MOST_DIFFERING
        for cell, part, stored, apart in held.beside(stood.ranked.where(flags), MOST_SNAPPED, CLOSE * self.memory.k):
            left -= apart
            if left < 0:
                break
            items = np.setxor1d(stood.ranked.members(cell), held.population(part, stored), assume_unique=True)
            people, often = np.unique(roster.people[items], return_counts=True)
            found.append((cell, people, often))
        return found

    def means(self, values: Floats) -> Floats:
        """Return per person the mean of a column in their rows; NaN where they have no value. values: per row of the table."""
        lens = self.memory.lens(self.occurrence)
        owner, known = lens.roster.people[lens.items], np.isfinite(values)
        size = int(lens.roster.people.max(initial=-1)) + 1
        counts = np.bincount(owner[known], minlength=size)
        with np.errstate(invalid="ignore", over="ignore"):
            shares = values[known] / np.maximum(counts, 1)[owner[known]]
            found = np.bincount(owner[known], shares, size).astype(np.float64)
        found[counts == 0] = np.nan
        return found


def sound(each: Floats, low: float, high: float | None, often: Indexes, effective: Effective) -> bool:
    """Whether what people add to a sum passes dominance, from below and, where it is known, from the upper bound.

    each: a number per person. often: how many times it is in the sum. low, high: bounds.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        sides = [each - low] + ([high - each] if high is not None else [])
    for side in sides if each.size else ():
        with np.errstate(over="ignore", invalid="ignore"):
            most = np.sort(side * often)[::-1]
            total, one, two = most.sum(), most[0], most[1] if most.size > 1 else 0.0
        if not np.isfinite(total):
            return False
        if total and not all(most[:n].sum() <= share * total for n, share in effective.shares):
            return False
        if total and effective.p is not None and total - one - two < effective.p * one:
            return False
    return True
