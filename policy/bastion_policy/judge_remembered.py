"""What earlier releases make of a boundary's cells: which stand, which are answered as a stored population, which are gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bastion_policy.guard_cells import Cut, Flags, Floats, Indexes, Measurer, Steps
from bastion_policy.history import Sets
from bastion_policy.history.coverage import covered
from bastion_policy.judge_earlier import MOST_SNAPPED, as_earlier
from bastion_policy.judge_edges import conditions_below, values_of
from bastion_policy.judge_leaving import Near
from bastion_policy.judge_people import PeopleOf, compared
from bastion_policy.judge_remainder import Remainder
from bastion_policy.judge_rules import Judged
from bastion_policy.judge_snap import Standing
from bastion_policy.judge_watch import Part
from bastion_policy.lineage import Occurrence, Source

#: times that cells which the audit refuses are put into the remainder row
MAX_TRIES = 4


@dataclass(eq=False)
class Past:
    """What the history makes of the cells.

    own: stand for themselves. whole: answered as the whole table. near: answered as a stored population. withheld: shown
    without numbers, because of `rule`. rest, members: the remainder row and the cells in it.
    """

    own: Flags
    whole: Flags
    near: Flags
    withheld: Flags
    rest: Cut | str | None
    members: Indexes
    rule: str = ""
    standing: Standing | None = None
    asked: Sequence[Sets] | None = None


class Remembered(Remainder):
    """Compares a boundary's cells with what was released before."""

    def _remembered(
        self, m: Measurer, asked: Sequence[Sets] | None, rows: Floats, own: Flags, whole: Flags, small: Flags
    ) -> Steps:
        """Compare the cells with what was released before, and find the remainder; returns Past. asked: who is in them.

        INVARIANT: what the audit does not clear is put into the remainder row, which is audited in its turn; what it does
        not clear even there is withheld.
        """
        memory, none = self.memory, np.zeros(m.size, bool)
        if asked is None:
            rest, members = yield from self._remainder(m, rows, own, small, None)
            return Past(own & ~self._in_rest(m, rest, members), whole, none, none, rest, members)
        stands = yield from memory.wholes(m)
        yield from memory.reserve(m, {o.dataset: self.facts[o.dataset].policy.reserved for o in self.frame.occurrences})
        memory.before = dict(self.history.pasts)
        plan, everybody = self.plan_digest, self.of_everybody or (not m.cut.keys and not self.frame.narrowed)
        standing = memory.standing(asked, own, plan=plan, whole=everybody, one_edge=True)
        if self.makes_rows:
            standing = replace(standing, near=none, blocked=standing.blocked | standing.near)
        elif (standing.earlier >= 0).any():
            # INVARIANT: cells of too few people are withheld before anything is told beside them
            memory.enter(asked, none, hidden=small & (rows > 0), plan=plan)
            standing = as_earlier(memory, standing)
        withheld = standing.blocked if stands else standing.blocked | whole
        whole = whole if stands else none
        # what was put together when this was asked before is so again, if it is then the same
        echo = memory.echoes(standing, plan)
        own, rule = standing.far | echo, "history"
        before = dict(self.history.pasts)
        refused, tries = none, MAX_TRIES if m.cut.keys and not self.boundary.window else 1
        for last in [False] * (tries - 1) + [True]:
            self.history.pasts.update(before)
            rest, members = yield from self._remainder(m, rows, own & ~refused, small | refused, asked)
            in_rest = self._in_rest(m, rest, members)
            alone = own & ~echo & ~refused & ~in_rest
            # INVARIANT: cells of too few people are withheld, alone and whatever else is asked
            cleared = memory.enter(asked, alone, hidden=small & (rows > 0), plan=plan)
            if isinstance(rest, Cut):
                together = [sets.union(members) for sets in asked]
                if not memory.enter(together, np.ones(1, bool), plan=plan).all():
                    # the large cells that were to hide in it stand for themselves again, if they can
                    back, in_rest = own & ~echo & ~refused & ~alone, none
                    rest, alone = None, alone | back
                    cleared |= memory.enter(asked, back, plan=plan)
            left = refused if rest is None else none
            bad, near = (alone & ~cleared) | left, standing.near & ~(echo & in_rest)
            for cell in np.flatnonzero(bad) if not (memory.beyond or self.makes_rows) else ():
                found = memory.instead(asked, int(cell), near=not last)
                if found is not None:
                    standing.part[cell], standing.stored[cell] = found
                    near[cell], bad[cell] = True, False
            if not bad.any() or memory.beyond:
                break
            refused = refused | bad
        if bad.any():
            withheld, rule = withheld | bad, memory.refusal
        own = alone & cleared
        if not memory.stacked(asked, own, plan):
            withheld, own, rule = withheld | own, none, memory.refusal
        return Past(own, whole, near, withheld, rest, members, rule, standing, asked)

    def _of_chosen(self, past: Past, large: Flags) -> Past:
        """Compare whom a column chose that may be the same in all of a person's rows, by people, whichever rows they are.

        INVARIANT: how many of last month's rows are in a band of pay, and how many of this month's without one person, tells that
        person's band; rows alone have nothing in common. What a condition inside a statistic picks is compared in the same way.
        And cells of too few people are gone with a remainder that may not be told: only those of enough, `large`, have a key.
        """
        memory = self.memory
        if not memory.snaps or past.asked is None:
            return past
        own, rest = past.own.copy(), past.rest
        for o, source in self._choosing():
            people, at = self._people(o, source), memory.occurrences.index(o)
            if own.any():
                own &= people.stand(past.asked[at], own, per_person=False).cleared
            if isinstance(rest, Cut):
                together = past.asked[at].union(past.members)
                rest = rest if people.stand(together, np.ones(1, bool), per_person=False).cleared[0] else None
        gone = rest is None and past.rest is not None
        left = (past.own & ~own) | (self._in_rest_of(past) & large if gone else own & False)
        if not left.any() and not gone:
            return past
        return replace(past, own=own, rest=rest, withheld=past.withheld | left, rule="same-people")

    def _choosing(self) -> list[tuple[Occurrence, Source]]:
        """Return the columns that choose who is in the cells and whose numbers are of people, of tables with several rows of one."""
        several = {o.index: o for o in self.memory.occurrences if self.memory.lens(o).roster.several}
        conditions = [values_of(e, frame, self.world) for e, frame in conditions_below(self.below)]
        values = [*conditions, *(value for _, _, value, _ in self.boundary.keys)] if several else []
        sources = {x for value in values for x in value.sources}
        return [(several[x.occurrence], x) for x in compared(sources, self.world) if x.occurrence in several]

    def _people(self, o: Occurrence, source: Source) -> PeopleOf:
        return PeopleOf(self.memory, o, source.column, self.facts[o.dataset].policy_version > 1)

    @staticmethod
    def _in_rest_of(past: Past) -> Flags:
        """Return which cells are in the remainder."""
        return np.isin(np.arange(past.own.size), past.members)

    def _near(self, cut: Cut, past: Past) -> Steps:
        """Evaluate the stored populations that cells are answered as; returns (cut, Judged, cells, numbers) or None.

        INVARIANT: the statistic is evaluated on the stored population, all of it: the table without predicates, its rows
        alone.
        """
        standing = past.standing
        if standing is None or not past.near.any():
            return None
        cells = np.flatnonzero(past.near)
        pairs = sorted({(int(standing.part[c]), int(standing.stored[c])) for c in cells})
        found = (
            {pair: self.memory.population(*pair) for pair in pairs[:MOST_SNAPPED]}
            if not any(cut.nested.values())
            else {}
        )
        here = {pair: rows for pair, rows in found.items() if rows is not None}
        numbers = {pair: i for i, pair in enumerate(here)}
        gone = np.array([(int(standing.part[c]), int(standing.stored[c])) not in here for c in cells])
        past.withheld[cells[gone]] = True
        cells = cells[~gone]
        if not cells.size:
            return None
        stored, judged = yield from self._listed(f"{self.name}n", list(here.values()), self.memory)
        at = [numbers[int(standing.part[c]), int(standing.stored[c])] for c in cells]
        return Near(stored, judged, cells, np.array(at, np.int64), list(here))

    def _parts(
        self,
        past: Past,
        judged: Judged,
        near: Near | None,
        everybody: tuple[Cut, Judged] | None,
        others: tuple[Cut, Judged] | None,
    ) -> list[Part]:
        """Return all that is told, and of whom, where there is a history."""
        if past.asked is None:
            return []
        parts, one = [Part(judged, past.asked, past.own, inner=judged.inner)], np.ones(1, bool)
        if near is not None:
            (occurrence,) = self.frame.occurrences
            sets = self.memory.stored(occurrence, near.places)
            parts.append(Part(near.judged, [sets], np.ones(near.judged.height, bool), inner=near.judged.inner))
        if everybody is not None:
            whole = [self.memory.lens(o).everybody for o in self.frame.occurrences]
            parts.append(Part(everybody[1], whole, one, inner=everybody[1].inner))
        if isinstance(past.rest, Cut) and others is not None:
            together = [sets.union(past.members) for sets in past.asked]
            parts.append(Part(others[1], together, one, inner=others[1].inner))
        return parts

    def _coverage(self, past: Past) -> float | None:
        """Return the share of all units who are in some cell that is shown, for the owner."""
        if past.whole.any() or past.rest == "whole":
            return 1.0
        if past.asked is None:
            return None
        told = past.own | past.near
        if past.rest is not None:
            told[past.members] = True
        shares = [
            covered(self.memory.lens(o), sets.where(told))
            for o, sets in zip(self.frame.occurrences, past.asked, strict=True)
        ]
        return max(shares, default=None)
