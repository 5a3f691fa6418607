"""The history, as the judge of one boundary adds to it: what a release tells, what an owner releases, the whole tables."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from bastion_plan import nodes as n
from bastion_plan.canonical import encode
from bastion_plan.expressions import Alias, Column
from bastion_plan.nodes import Node

from bastion_policy import judge_approved, judge_versions
from bastion_policy.approvals import Shows
from bastion_policy.audit import Clearance, Row, distinct
from bastion_policy.boundary import call
from bastion_policy.guard_cells import INDEX, Flags, Indexes, Measurer, Steps, X, both, ints
from bastion_policy.history import NEAR, SAME, Sets, audited
from bastion_policy.history.hidden import Hidden
from bastion_policy.history.people import classes
from bastion_policy.history.sets import together
from bastion_policy.judge_channels import APPROVED, BLURRED, FIRST, OF_PEOPLE, PICKED, RELEASED, SHOWN, channel_of
from bastion_policy.judge_snap import Snapping
from bastion_policy.lineage import Occurrence, Source

#: rows of differences that are looked at beside one answer, of a column; what sums prove does not count
MOST_LOOKED_AT = 2_000_000
#: begins what is kept of a whole table that a stored population stands in for
NEAR_WHOLE = "near "
#: rows apart, as a multiple of k, up to which populations are judged by their difference though neither lies inside the other
CLOSE = 32


class Memory(Snapping):
    """The history of the tables whose rows a boundary counts, and what it adds to that."""

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
        more = Hidden.cells(sets.where(hidden))
        veiled = held.hiding(more)
        following = replace(following, hidden=veiled)
        owner = self._owner(o, channel)
        # INVARIANT: a unit of an atom of s units has a leverage of 1/s at most, so that a cap is kept where all atoms are that large;
        # that no combination is about few people does not keep it
        cap = 1.0 if rules.tau is None else rules.tau
        if (cap * self.k >= 1 and following.coarse(self.k, owner, most)) or (
            rules.tau is None and held.audit is None and following.certain(self.k, most, rules.share, self.history.draw(32))
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
        self.put(o, channel, replace(following, hidden=veiled, audit=state.commit(found)))
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
                asked = lens.everybody
                if mine:
                    kept = yield from self._present(m, o, mine)
                    asked = Sets.one(lens.items[kept], lens.roster.size)
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
                # in the order of the keys: which population is entered first decides which atoms there are, and nothing else is to
                numbered = n.WithRowIndex(n.Select(n.Sort(cells, columns), (Column(X),)), INDEX)
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


def digest(node: Node) -> bytes:
    """Return what tells plans apart."""
    return hashlib.sha256(encode(node)).digest()[:12]
