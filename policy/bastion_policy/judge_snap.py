"""The snap rule, as the judge of one boundary asks it: which populations stand, and which are answered as stored ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bastion_policy import judge_approved
from bastion_policy.audit import Row
from bastion_policy.guard_cells import Flags, Indexes
from bastion_policy.history import FAR, FULL, NEAR, SAME, Channel, Distances, Sets, audited
from bastion_policy.judge_channels import APPROVED, FIRST, OF_PEOPLE
from bastion_policy.judge_memory import MemoryBase
from bastion_policy.lineage import Occurrence


@dataclass(frozen=True, eq=False)
class Standing:
    """What the snap rule says of the cells of a cut.

    far: stand for themselves. near: are answered as the stored population `part`, `stored` of the only table.
    blocked: near a stored population that cannot be evaluated here, or the history is full. edge: so few are in the cell,
    or between it and a stored population or one that follows from stored ones, that fewer than k more or less would change what is
    answered. earlier: (2 x cells) of those blocked ones that are the people of an earlier version, or nearly: (part, stored) of rows
    as they were first, else -1; see `judge_earlier`.
    """

    far: Flags
    near: Flags
    blocked: Flags
    part: Indexes
    stored: Indexes
    edge: Flags
    earlier: Indexes


class Snapping(MemoryBase):
    """A memory that compares populations with those that were released before."""

    def standing(
        self,
        asked: Sequence[Sets],
        flags: Flags,
        channel: str = "",
        plan: bytes = b"",
        *,
        whole: bool = False,
        one_edge: bool = False,
    ) -> Standing:
        """Compare populations with those that were released before. whole: they are whole tables, by what the plan says.

        one_edge: a cell that does not stand counts as an edge, and one is enough: others are not looked for.

        INVARIANT: the very same population and one a few people apart have one outcome: both are answered as the stored one,
        in the same way. Only what the same plan asked for before is answered as itself again; that is known without data.

        INVARIANT: with several tables in a plan a cell stands only if it does in each; there is no one stored population
        that could be answered instead.
        """
        count = flags.size
        near, blocked = np.zeros(count, bool), np.zeros(count, bool)
        part, stored = np.full(count, -1), np.full(count, -1)
        edge, apart = np.zeros(count, bool), []
        earlier = np.full((2, count), -1)
        if self.snaps:
            for o, sets in zip(self.occurrences, asked, strict=True):
                held = self.channel(o, channel)
                most, unit = self.scale(o, channel)
                found = held.distances(sets.where(flags), self.k, most, unit)
                again = found.state == SAME
                if not whole:
                    again &= _asked_by(held, plan, found)
                rows = self._as_before(o, sets, flags, channel, self.k, most)
                # the very people of a stored one, whatever they hold now, if the same plan asked for them or it is everybody
                people = np.zeros(count, bool)
                if rows is not None:
                    people = rows.state == SAME
                    if not whole:
                        people &= _asked_by(self.channel(o, FIRST + channel), plan, rows)
                # INVARIANT: who is in it decides, not what they hold now: else a cell that goes would tell whose values changed. What a
                # change does to numbers of the columns concerned is for the rules about values
                again |= (found.state == NEAR) & people
                near |= np.isin(found.state, (NEAR, SAME)) & ~again
                edge |= found.closest < 2 * self.k * most
                apart.append((o, sets, found.state == FAR))
                blocked |= found.state == FULL
                part, stored = found.part, found.stored
                before = np.zeros(count, bool)
                if rows is not None:
                    # INVARIANT: a new version is no way around: with few people apart it is not another population
                    before = (rows.state != FAR) & ~people & ~near & ~again
                    edge |= rows.closest < 2 * self.k * most
                    earlier = np.where(before & flags, (rows.part, rows.stored), -1)
                if APPROVED + channel in self.history.pasts[self.history.domains[o.dataset]].channels:
                    owners = self.channel(o, APPROVED + channel).distances(sets.where(flags), self.k, most, unit)
                    blocked |= (owners.state != FAR) & ~again
                if judge_approved.shown_any(self, o, channel):
                    # INVARIANT: it is not known which numbers were told of a stored population: another one of it is a new one
                    told = self._answered(o, sets, found.state == NEAR, found, channel)
                    blocked |= judge_approved.near_shown(self, o, told, flags, channel) & ~before
                # what was told of an earlier version is another matter only if nothing else speaks against it
                earlier = np.where(blocked, -1, earlier)
                blocked |= before
        if len(self.occurrences) != 1:
            blocked, near, earlier = blocked | near, np.zeros(count, bool), np.full((2, count), -1)
        near &= flags & ~blocked
        blocked &= flags
        far = flags & ~near & ~blocked
        for o, sets, new in apart if self.searched and self.audits else ():
            if one_edge and not (far & ~edge).all():
                break
            edge |= self._nearly(o, sets, flags & new & ~edge, channel, one=one_edge)
        return Standing(far, near, blocked, part, stored, edge & flags, earlier)

    def _as_before(
        self, o: Occurrence, sets: Sets, flags: Flags, channel: str, k: int = 1, most: int = 1
    ) -> Distances | None:
        """Compare populations with stored ones by rows as they were first, whatever they hold now; None: no row has changed."""
        roster = self.lens(o).roster
        if not roster.changed or channel.startswith(OF_PEOPLE):
            return None
        self._begin(o, channel)
        return self.channel(o, FIRST + channel).distances(self.as_first(o, sets).where(flags), k, most, roster.unit)

    def _same_people(self, o: Occurrence, sets: Sets, flags: Flags, channel: str) -> Flags:
        """Return the populations of the very people of a stored one, whatever they hold now."""
        found = self._as_before(o, sets, flags, channel)
        return np.zeros(flags.size, bool) if found is None else found.state == SAME

    def of_changed(self, o: Occurrence, sets: Sets) -> Flags:
        """Return the populations of the very people of a stored one, of whom some hold something else now."""
        people = self._same_people(o, sets, sets.sizes > 0, "")
        exact = self.channel(o, "").distances(sets, 1, 1, self.lens(o).roster.unit).state == SAME
        return np.asarray(people & ~exact)

    def _answered(self, o: Occurrence, sets: Sets, near: Flags, found: Distances, channel: str) -> Sets:
        """Return the populations that are answered: near ones are answered as the stored one."""
        held, (of, items) = self.channel(o, channel), sets.memberships
        stored = {int(c): held.population(int(found.part[c]), int(found.stored[c])) for c in np.flatnonzero(near)}
        cells = [of[~near[of]], *(np.full(i.size, c, of.dtype) for c, i in stored.items())]
        members = [items[~near[of]], *stored.values()]
        return Sets.of(sets.count, np.concatenate(cells), np.concatenate(members), held.labels.size)

    def _nearly(self, o: Occurrence, sets: Sets, flags: Flags, channel: str, *, one: bool) -> Flags:
        """Return the cells (one: the first) whose numbers follow from what was told, but for fewer than 2k people.

        INVARIANT: a search costs the same whichever way it goes. Of two groups and both together with one person more, chosen by a
        measure, the third follows where the person is not chosen, and is refused where they are: an edge, either way.
        """
        if not flags.any():
            return flags
        most, _ = self.scale(o, channel)
        rules, found = self._rules(most, 2 * self.k), np.zeros(flags.size, bool)
        compared = [(channel, sets)]
        if self.lens(o).roster.changed and not channel.startswith(OF_PEOPLE):
            # INVARIANT: what was told of earlier versions refuses as well, so what follows from it is an edge, too
            compared.append((FIRST + channel, self.as_first(o, sets)))
        for name, asked in compared:
            state = audited(self.channel(o, name), rules, self.history.draw(32), self._owner(o, name))
            for cell in np.flatnonzero(flags & ~found):
                found[cell] = state is not None and state.nearly(Row.of(asked.members(int(cell))))
                if one and found[cell]:
                    return found
        return found

    def echoes(self, standing: Standing, plan: bytes) -> Flags:
        """Return the cells that are near a population which the very same question was answered with before.

        A group that small ones were put together with differs from all of them by few people.
        """
        found = standing.near.copy()
        if len(self.occurrences) == 1 and found.any():
            plans = self.channel(self.occurrences[0], "").plans
            found[found] = [plans[p] == plan for p in standing.part[found]]
        return found & (len(self.occurrences) == 1)

    def stored(self, o: Occurrence, places: Sequence[tuple[int, int]]) -> Sets:
        """Return stored populations (part, stored)."""
        held = self.channel(o, "")
        found = [held.population(*place) for place in places]
        numbers = np.repeat(np.arange(len(found)), [items.size for items in found])
        return Sets.of(len(found), numbers, np.concatenate(found), held.labels.size)

    def population(self, part: int, stored: int, channel: str = "") -> Indexes | None:
        """Return the rows of a stored population in the only table; None: not all of it is there.

        INVARIANT: a stored population is answered whole or not at all; what it has lost meanwhile would be a difference.
        """
        (o,) = self.occurrences
        lens = self.lens(o)
        found = lens.rows[lens.roster.first[self.channel(o, channel).population(part, stored)]]
        return None if (found < 0).any() else found


def _asked_by(held: Channel, plan: bytes, found: Distances) -> Flags:
    """Return the cells whose stored population a plan asked for."""
    of_plan = np.array([bool(plan) and one == plan for one in held.plans] + [False], bool)
    return np.asarray(of_plan[found.part])
