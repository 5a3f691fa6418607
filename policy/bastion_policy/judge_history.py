"""The history, as the judge of one boundary asks it: which populations stand, and what their release adds."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from bastion_plan import nodes as n
from bastion_plan.canonical import encode
from bastion_plan.expressions import Alias, AnyExpr, Column, Expr
from bastion_plan.nodes import AnyNode, Node

from bastion_policy import judge_approved, judge_versions
from bastion_policy.approvals import Shows
from bastion_policy.audit import AuditRules, Clearance, Row, distinct
from bastion_policy.boundary import call
from bastion_policy.guard_cells import INDEX, Flags, Indexes, Measurer, Steps, X, both, ints
from bastion_policy.guard_plans import lenient
from bastion_policy.history import FAR, FULL, NEAR, SAME, Channel, Distances, History, Lens, Sets, audited
from bastion_policy.history.past import Hashes, Past
from bastion_policy.history.people import classes
from bastion_policy.history.sets import together
from bastion_policy.judge_channels import (
    APPROVED,
    BLURRED,
    FIRST,
    OF_PEOPLE,
    PICKED,
    RELEASED,
    SHOWN,
    WEIGHED,
    channel_of,
)
from bastion_policy.lineage import Occurrence, Source
from bastion_policy.model import Effective

#: answers at a threshold that predicates on one measure may have: each tells at most one bit about one person's value to who
#: knows all others on that side of it
EDGE_BUDGET = 8
#: plans that are known to be answered as themselves
MOST_SETTLED = 4096
#: rows of differences that are looked at beside one answer, of a column; what sums prove does not count
MOST_LOOKED_AT = 2_000_000
#: begins what is kept of a whole table that a stored population stands in for
NEAR_WHOLE = "near "
#: rows apart, as a multiple of k, up to which populations are judged by their difference though neither lies inside the other
CLOSE = 32


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


@dataclass
class Memory:
    """The history of the tables whose rows a boundary counts."""

    history: History
    occurrences: tuple[Occurrence, ...]
    effective: Effective

    def __post_init__(self) -> None:
        known = bool(self.occurrences) and bool(self.history.lenses)
        if known and not all(o.dataset in self.history.lenses for o in self.occurrences):
            # INVARIANT: one table without a history is no reason to forget that of the others
            msg = "a table of the query has no history"
            raise LookupError(msg)
        #: whether populations are compared at all
        self.snaps = known and "history" not in self.effective.weakened
        self.audits = known and self.effective.linear_audit is not None
        self.on = self.snaps or self.audits
        self.k = self.effective.k
        #: whether something was refused because the history could not hold it, not because of what it tells
        self.beyond = False
        #: whether who is asked about was chosen by what somebody may search for, so that it matters where a threshold lies
        self.searched = False
        #: by unit domain, what was stored before the question
        self.before: dict[str, Past] = dict(self.history.pasts)

    def lens(self, occurrence: Occurrence) -> Lens:
        """Return the view of the table that an occurrence scans."""
        return self.history.lenses[occurrence.dataset]

    def alone(self, occurrence: Occurrence) -> Memory:
        """Return the memory of one of the tables."""
        return Memory(self.history, (occurrence,), self.effective)

    @property
    def refusal(self) -> str:
        """The rule by which what is not cleared is refused."""
        return "audit-capacity" if self.beyond else "linear-audit"

    # -- what is asked again

    def _asked_again(self, plan: bytes) -> bytes:
        versions = [(o.dataset, self.lens(o).version) for o in self.occurrences]
        return hashlib.sha256(plan + repr((versions, self.effective)).encode()).digest()[:16]

    def settled(self, plan: bytes) -> bool:
        """Whether all of a plan was answered as itself before, on the same versions and under the same rules.

        INVARIANT: then every number of it was released, so nothing needs to be compared; this is known without data.
        """
        key = self._asked_again(plan) if self.on else b""
        return self.on and all(
            key in self.history.pasts[self.history.domains[o.dataset]].settled for o in self.occurrences
        )

    def settle(self, plan: bytes) -> None:
        """Remember that all of a plan is answered as itself."""
        for domain in {self.history.domains[o.dataset] for o in self.occurrences} if self.on else ():
            past = self.history.pasts[domain]
            if len(past.settled) < MOST_SETTLED:
                self.history.pasts[domain] = replace(past, settled=past.settled | {self._asked_again(plan)})

    # -- edges

    def exhausted(self, measures: Collection[str]) -> bool:
        """Whether predicates on a measure lay at thresholds too often: what they tell now is for the owner to decide."""
        if not self.snaps or not measures:
            return False
        pasts = [self.history.pasts[self.history.domains[o.dataset]] for o in self.occurrences]
        return any(_spent(past.edges, measure) >= EDGE_BUDGET for past in pasts for measure in measures)

    def edge(self, asked: Collection[bytes], before: Mapping[str, Past], measures: Collection[str]) -> bool:
        """Count what chose people by measures and lay at a threshold; returns whether that is too much for one query.

        asked: what tells such populations apart; the same one counts once, for each of the measures. before: the pasts before
        the query, to which all goes back where it is too much, but for what was counted.
        """
        over, marks = False, [_mark(measure) + a for a in dict.fromkeys(asked) for measure in measures]
        for domain in {self.history.domains[o.dataset] for o in self.occurrences} if self.snaps else ():
            past = self.history.pasts[domain]
            edges = (*past.edges, *(a for a in marks if a not in past.edges))
            over |= any(_spent(edges, m) > max(EDGE_BUDGET, _spent(past.edges, m)) for m in measures)
            self.history.pasts[domain] = replace(past, edges=edges)
        if over:
            counted = {domain: past.edges for domain, past in self.history.pasts.items()}
            self.history.pasts.update({d: replace(past, edges=counted[d]) for d, past in before.items()})
        return over

    # -- who is in a cell

    def columns(self, name: str, condition: Expr | None = None) -> dict[str, AnyExpr]:
        """Return the guard columns that list the rows of a cell (those that meet a condition), one per occurrence."""
        if not self.on:
            return {}
        found: dict[str, AnyExpr] = {}
        for o in self.occurrences:
            row: AnyExpr = Column(o.row)
            if condition is not None:
                row = call("filter", row, lenient(condition))
            found[f"{name}_{o.index}"] = call("implode", row)
        return found

    def members(self, m: Measurer, name: str) -> Steps:
        """Return the items of every cell, per occurrence, as listed under `name`."""
        found: list[Sets] = []
        for o in self.occurrences:
            column = f"{name}_{o.index}"
            plan = n.Explode(n.Select(n.Scan(m.cut.name), (Column(INDEX), Column(column))), (Column(column),))
            for _ in range(m.cut.nested.get(o.index, 0)):
                plan = n.Explode(plan, (Column(column),))
            listed = n.Filter(plan, call("is_not_null", Column(column)))
            answer = yield from m.ask(listed, returns=(INDEX, column))
            found.append(self._sets(o, m.size, answer[INDEX], answer[column]))
        return found

    def cells(self, m: Measurer) -> Steps:
        """Return the items of every cell, per occurrence.

        The rows are found by the keys of the kept cells, which costs less than listing them in the same pass.
        """
        found: list[Sets] = []
        plan, tables = m.cut.located(False, rows=True)
        for o in self.occurrences:
            listed: AnyNode = n.Select(plan, (Column(INDEX), Column(o.row)))
            for _ in range(m.cut.nested.get(o.index, 0)):
                listed = n.Explode(listed, (Column(o.row),))
            there = n.Filter(listed, call("is_not_null", Column(o.row)))
            answer = yield from m.ask(there, tables, returns=(INDEX, o.row))
            found.append(self._sets(o, m.size, answer[INDEX], answer[o.row]))
        return found

    def _sets(self, o: Occurrence, count: int, cell: Any, row: Any) -> Sets:
        lens = self.lens(o)
        rows = np.asarray(row)
        return Sets.of(count, np.asarray(cell), rows if lens.in_order else lens.items[rows], lens.roster.size)

    # -- the snap rule

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

    # -- releases

    def enter(
        self,
        asked: Sequence[Sets],
        flags: Flags,
        channel: str = "",
        hidden: Flags | None = None,
        plan: bytes = b"",
        *,
        told: bool = False,
        often: Sequence[Indexes] | None = None,
    ) -> Flags:
        """Audit populations and store them; returns which of them are cleared. hidden: cells whose numbers are withheld.

        told: they are told of, whatever comes of it. often: per cell, how often each item is in its number; None: once.

        INVARIANT: what is not cleared is not stored, and must not be released; what is withheld must not follow from the rest.

        INVARIANT: a cell is told of in all its tables or in none. What one table cleared and a later one refused is entered
        again without it: nothing of it is shown, and as a stored population it would stand for what was never told.
        """
        cleared = flags.copy()
        veiled = flags & False if hidden is None else hidden
        if not self.on or not (flags | veiled).any():
            return cleared
        before = dict(self.history.pasts)
        people = [self._same_people(o, sets, cleared, channel) for o, sets in zip(self.occurrences, asked, strict=True)]
        while True:
            after = []
            for (o, sets), same in zip(zip(self.occurrences, asked, strict=True), people, strict=True):
                if self.lens(o).roster.changed and not channel.startswith(OF_PEOPLE):
                    self._begin(o, channel)
                    cleared &= self._cleared(o, self.as_first(o, sets), cleared, FIRST + channel, veiled, plan)
                    after.append(cleared.copy())
                cleared &= self._cleared(o, sets, cleared, channel, veiled, plan, often, same)
                after.append(cleared.copy())
            if not channel:
                for o, sets in zip(self.occurrences, asked, strict=True):
                    cleared &= judge_versions.told(self, o, sets, cleared)
                    after.append(cleared.copy())
            # the first table may not have stored what it refused itself; each round has fewer cells
            if told or all((found == cleared).all() for found in after):
                return cleared
            self.history.pasts.update(before)

    def _begin(self, o: Occurrence, channel: str) -> None:
        """Begin to compare rows whatever has become of their content: all that is stored is of rows as they were first."""
        past = self.history.pasts[self.history.domains[o.dataset]]
        if FIRST + channel not in past.channels:
            self.put(o, FIRST + channel, self.channel(o, channel))

    def as_first(self, o: Occurrence, sets: Sets) -> Sets:
        """Return populations as rows that keep their number when their content changes."""
        roster = self.lens(o).roster
        cells, items = sets.memberships
        return Sets.of(sets.count, cells, roster.first[items], roster.size)

    def _cleared(
        self,
        o: Occurrence,
        sets: Sets,
        flags: Flags,
        channel: str,
        hidden: Flags,
        plan: bytes,
        often: Sequence[Indexes] | None = None,
        people: Flags | None = None,
    ) -> Flags:
        held = self.channel(o, channel)
        most, unit = self.scale(o, channel)
        new = flags
        if self.snaps:
            # what was released as itself tells nothing new
            new = flags & (held.distances(sets.where(flags), 1, 1, unit).state != SAME)
            if people is not None and (new & people).any():
                # nor does what was released of the very people, of whom few have changed
                near = held.distances(sets.where(new & people), self.k, most, unit).state == NEAR
                new &= ~(people & near)
        asked = sets.where(new)

        def stored(cells: Sets) -> Sets:
            return cells if often is None else classes(cells, often)

        if not held.room(stored(asked)):
            self.beyond |= bool(new.any())
            return np.asarray(flags & ~new)
        following = held.released(stored(asked), plan)
        if not self.audits:
            self.put(o, channel, replace(following, audit=None))
            return flags
        rules = self._rules(most)
        more = tuple(sets.members(int(c)) for c in np.flatnonzero(hidden))
        following = replace(following, hidden=held.hiding(more))
        owner = self._owner(o, channel)
        capped = rules.tau is not None and rules.tau * self.k < 1  # by a cap that large atoms alone do not keep
        if not capped and (
            following.coarse(self.k, owner, most)
            or (held.audit is None and following.certain(self.k, most, rules.share, self.history.draw(32)))
        ):
            self.put(o, channel, replace(following, audit=None))
            return flags
        state = audited(held, rules, self.history.draw(32), owner)
        if state is None:
            self.beyond |= bool(new.any())
            return np.asarray(flags & ~new)
        # earlier rows win: the largest populations first, so that what is refused is small and fits into the remainder row
        chosen = np.flatnonzero(new)
        chosen = chosen[np.argsort(-sets.sizes[chosen], kind="stable")]
        rows = asked.rows(list(chosen))
        if often is not None:
            rows = [Row.of(row.units, often[int(c)]) for c, row in zip(chosen, rows, strict=True)]
        found = state.releasable(rows, [Row.of(items) for items in more])
        self.beyond |= any(v.clearance is Clearance.BEYOND_CAPACITY for v in found.refused.values())
        accepted = np.zeros(flags.size, bool)
        accepted[chosen[list(found.accepted)]] = True
        following = (
            following if len(found.accepted) == chosen.size else held.released(stored(sets.where(accepted)), plan)
        )
        self.put(o, channel, replace(following, hidden=held.hiding(more), audit=state.commit(found)))
        return flags & (~new | accepted)

    def stacked(self, asked: Sequence[Sets], flags: Flags, plan: bytes) -> bool:
        """Keep who is in the cells of a table that is in the plan several times, in all its parts; False: there is no room.

        INVARIANT: the numbers told are those of all parts, whatever follows of each.
        """
        stacks: dict[str, list[tuple[Occurrence, Sets]]] = {}
        for o, sets in zip(self.occurrences, asked, strict=True):
            stacks.setdefault(o.dataset, []).append((o, sets))
        for parts in stacks.values() if self.snaps and flags.any() else ():
            o, every = parts[0][0], together([sets.where(flags) for _, sets in parts])
            for name in (FIRST, "") if self.lens(o).roster.changed else ("",):
                held = self.channel(o, name)
                if len(parts) > 1 and not held.room(every):
                    self.beyond = True
                    return False
                if len(parts) > 1:
                    self.put(o, name, held.released(self.as_first(o, every) if name else every, plan))
            if len(parts) > 1 and not judge_versions.told(self, o, every, every.sizes > 0).any():
                return False
        return True

    def approve(self, asked: Sequence[Sets], shows: Shows | None = None, channel: str = "", *, picked: int = 0) -> None:
        """Enter populations that the owner released, whatever the rules say of them. shows: what of them; None: who they are. picked:
        numbers of people that nobody can name.

        INVARIANT: those that the audit does not clear are kept apart, so that it can go on; what comes near them is withheld, and so
        is what comes near others once they are taken out of both.
        """
        for o, sets in zip(self.occurrences, asked, strict=True):
            self.put(o, RELEASED, self.channel(o, RELEASED))
            every = sets.sizes > 0
            alone = self.alone(o)
            if not channel:
                judge_versions.told(alone, o, sets, every)
            cleared = alone.enter([sets], alone.standing([sets], every, channel, whole=True).far, channel, told=True)
            if (every & ~cleared).any():
                held = self.channel(o, APPROVED + channel)
                self.put(o, APPROVED + channel, held.released(sets.where(every & ~cleared)))
                domain = self.history.domains[o.dataset]
                self.history.pasts[domain] = replace(self.history.pasts[domain], voided=True)
            if picked:
                self.put(o, PICKED, self.channel(o, PICKED).released(together([sets])))
                domain = self.history.domains[o.dataset]
                past = self.history.pasts[domain]
                self.history.pasts[domain] = replace(past, picked=past.picked + picked)
            shows = Shows() if shows is None else shows
            mine = sets.where(every if shows.rows else every & ~cleared)
            judge_approved.told(self, o, together([sets]), shows)
            if shows.mixed:
                self.blur([Sets.one(self.lens(o).items, self.lens(o).roster.size)], shows.maybe, (o,))
            elif mine.sizes.any() and not shows.plainly:
                self.blur([mine], shows.maybe, (o,))
            elif mine.sizes.any():
                judge_approved.shown(self, o, together([mine]), shows)
            if mine.sizes.any() and (shows.plainly or shows.rows):
                self.put(o, SHOWN, self.channel(o, SHOWN).released(mine))

    def approved(self, o: Occurrence) -> bool:
        """Whether an owner released anything of a table's people."""
        return RELEASED in self.history.pasts[self.history.domains[o.dataset]].channels

    def blur(self, asked: Sequence[Sets], sources: frozenset[Source], of: Sequence[Occurrence] | None = None) -> None:
        """Remember whom numbers are about that an owner released, of which nobody can tell what of each person is in them."""
        for o, sets in zip(self.occurrences if of is None else of, asked, strict=True):
            for column in sorted({s.column for s in sources if s.occurrence == o.index}):
                self.put(o, BLURRED + column, self.channel(o, BLURRED + column).released(together([sets])))

    def blurred(self, o: Occurrence, sets: Sets, column: str) -> Flags:
        """Return the populations in which somebody is of whom such a number was released, of a column.

        INVARIANT: a sum over some of a group, or one with weights, gives with another number of the group what was left out or
        weighed otherwise. No number of the column is told of them any more that was not told before.
        """
        found = np.zeros(sets.count, bool)
        names = [n for n in self.history.pasts[self.history.domains[o.dataset]].channels if n.startswith(BLURRED)]
        if not self.snaps or not names:
            return found
        lens = self.lens(o)
        for of in {column, *(c.column for c in lens.roster.copies((lens.dataset, lens.version), column))}:
            if BLURRED + of in names:
                found |= judge_approved.among(self, o, BLURRED + of, sets, "")
        return found

    def instead(
        self, asked: Sequence[Sets], cell: int, channel: str = "", *, near: bool = False
    ) -> tuple[int, int] | None:
        """Return (part, stored) of a population that may be answered instead of a cell. near: one within k people of it.

        First what follows already and differs by a few people; then those made of whole atoms inside or around the cell.

        INVARIANT: it is a population like any other: far from the stored ones or one of them, audited, and stored.
        """
        if len(self.occurrences) != 1:
            return None
        (o,), (sets,) = self.occurrences, asked
        items = sets.members(cell)
        for union in self._candidates(o, channel, items, near=near):
            if abs(int(union.size) - items.size) * 2 > items.size:
                continue
            one = np.ones(1, bool)
            candidate = [Sets.one(union, self.channel(o, channel).labels.size)]
            standing = self.standing(candidate, one, channel)
            if (
                standing.near[0]
                and self.population(int(standing.part[0]), int(standing.stored[0]), channel) is not None
            ):
                return int(standing.part[0]), int(standing.stored[0])
            if standing.far[0] and self.enter(candidate, one, channel)[0]:
                found = self.channel(o, channel).distances(candidate[0], 1, 1, self.lens(o).roster.unit)
                return int(found.part[0]), int(found.stored[0])
        return None

    def _candidates(self, o: Occurrence, channel: str, items: Any, *, near: bool) -> Iterator[Any]:
        held = self.channel(o, channel)
        if held.audit is not None:
            most, unit = self.scale(o, channel)
            owner = self._owner(o, channel)
            state = audited(held, self._rules(most), b"", owner)
            found = state.follows(Row.of(items)) if state is not None else None
            # INVARIANT: people are counted; where one has several rows, the audit's bound is on rows, and on many of them
            if found is not None and np.unique(unit[np.setxor1d(items, found)]).size < self.k:
                yield found
        if not near:
            yield held.around(items, inside=True)
            yield held.around(items, inside=False)

    def scale(self, o: Occurrence, channel: str) -> tuple[int, Hashes]:
        """Return (items per person at most, whose each item is) of a channel."""
        roster = self.lens(o).roster
        if not channel.startswith(WEIGHED):
            return roster.most, roster.unit
        return 1, np.arange(int(roster.people.max()) + 1, dtype=np.uint64)

    def _owner(self, o: Occurrence, channel: str) -> Indexes | None:
        """Return whose each item of a channel is; None: each is another one's."""
        return None if channel.startswith(WEIGHED) else self.lens(o).roster.owner

    def _rules(self, most: int, k: int | None = None) -> AuditRules:
        """Return the audit's rules in items.

        INVARIANT (tier bound): a support of more than (k - 1) * M items is of at least k people.
        """
        k = self.k if k is None else k
        audit = self.effective.linear_audit
        assert audit is not None
        share = self.effective.saturation.share if self.effective.saturation is not None else None
        return AuditRules(max(2, (k - 1) * most + 1), audit.pairs, share, audit.tau, people=max(2, k))

    def channel(self, o: Occurrence, channel: str) -> Channel:
        """Return a channel of a table's domain."""
        past = self.history.pasts[self.history.domains[o.dataset]]
        return past.channel(channel, self.scale(o, channel)[1].size)

    def put(self, o: Occurrence, name: str, channel: Channel) -> None:
        """Replace a channel of a table's domain."""
        domain = self.history.domains[o.dataset]
        self.history.pasts[domain] = self.history.pasts[domain].with_channel(name, channel)

    # -- the whole tables

    def wholes(self, m: Measurer, sources: frozenset[Source] = frozenset(), *, near: bool = False) -> Steps:
        """Enter the whole tables (of a channel: those who have values) unless they are; returns whether each stands.

        near: or whether a stored population stands in for it, because they differ in fewer than k people.

        INVARIANT: the whole table counts as released from the start, in every channel. Where few people came since an earlier version
        the whole of that one was, and this one is never told as itself: whoever asks for it, or for all but a few of it, is answered
        as the stored one, or, k people away from that and from all others, as themselves.
        """
        channel, stands = channel_of(sources), True
        if not self.on:
            return True
        for o in self.occurrences:
            mine = frozenset(s for s in sources if s.occurrence == o.index)
            past = self.history.pasts[self.history.domains[o.dataset]]
            lens = self.lens(o)
            key = (lens.dataset, lens.version, channel)
            if key not in past.wholes:
                items = lens.items
                if mine:
                    kept = yield from self._present(m, o, mine)
                    items = lens.items[kept]
                asked = Sets.one(items, lens.roster.size)
                alone = self.alone(o)
                one = np.ones(1, bool)
                standing = alone.standing([asked], one, channel, whole=True)
                fits = bool(standing.far[0]) and bool(alone.enter([asked], one, channel)[0])
                found = {key: fits}
                if standing.near[0] or standing.earlier[0, 0] >= 0:
                    found[lens.dataset, lens.version, NEAR_WHOLE + channel] = True
                domain = self.history.domains[o.dataset]
                past = self.history.pasts[domain]
                self.history.pasts[domain] = past = replace(past, wholes={**past.wholes, **found})
            instead = past.wholes.get((lens.dataset, lens.version, NEAR_WHOLE + channel), False)
            stands &= past.wholes[key] or (near and instead)
        return stands

    def reserve(self, m: Measurer, tables: Mapping[str, tuple[tuple[str, ...], ...]]) -> Steps:
        """Enter the tables that the owners reserved, unless they are: their cells of enough people count as released.

        tables: key columns by dataset.
        """
        for o in self.occurrences if self.on else ():
            for keys in tables.get(o.dataset, ()):
                domain, lens = self.history.domains[o.dataset], self.lens(o)
                key = (lens.dataset, lens.version, "reserved " + repr(keys))
                if key in self.history.pasts[domain].wholes:
                    continue
                columns = tuple(Column(c) for c in keys)
                rows = n.WithRowIndex(n.Scan(o.dataset), X)
                cells = n.GroupBy(rows, columns, (Alias(call("implode", Column(X)), X),))
                numbered = n.WithRowIndex(n.Select(cells, (Column(X),)), INDEX)
                answer = yield from m.ask(n.Explode(numbered, (Column(X),)))
                cell = ints(answer[INDEX])
                asked = self._sets(o, int(cell.max()) + 1 if cell.size else 0, cell, answer[X])
                alone = self.alone(o)
                people = np.array([distinct(lens.roster.unit[asked.members(c)]).size for c in range(asked.count)])
                standing = alone.standing([asked], people >= self.k, whole=True)
                alone.enter([asked], standing.far, plan=digest(n.Select(n.Scan(o.dataset), columns)))
                past = self.history.pasts[domain]
                self.history.pasts[domain] = replace(past, wholes={**past.wholes, key: True})

    def valued(self, m: Measurer, o: Occurrence, source: Source) -> Steps:
        """Return the items of the rows in which a column has a value."""
        rows = yield from self._present(m, o, frozenset({source}))
        return self.lens(o).items[rows]

    def _present(self, m: Measurer, o: Occurrence, sources: frozenset[Source]) -> Steps:
        present = both([call("is_not_null", Column(s.column)) for s in sorted(sources, key=lambda s: s.column)])
        assert present is not None
        listed = n.Filter(n.WithRowIndex(n.Scan(o.dataset), X), present)  # type: ignore[arg-type]
        answer = yield from m.ask(n.Select(listed, (Column(X),)), returns=(X,))
        return ints(answer[X])


def _mark(measure: str) -> bytes:
    """Return how what is counted for a measure begins."""
    return hashlib.sha256(measure.encode()).digest()[:8]


def _spent(edges: Collection[bytes], measure: str) -> int:
    return sum(edge.startswith(_mark(measure)) for edge in edges)


def digest(node: Node) -> bytes:
    """Return what tells plans apart."""
    return hashlib.sha256(encode(node)).digest()[:12]


def _asked_by(held: Channel, plan: bytes, found: Distances) -> Flags:
    """Return the cells whose stored population a plan asked for."""
    return np.array([p >= 0 and bool(plan) and held.plans[p] == plan for p in found.part], bool)
