"""Judges one boundary: which cells stand, which are answered as a stored population, which are merged or gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from bastion_plan.dtypes import BOOLEAN
from bastion_plan.expressions import Column

from bastion_policy.approvals import Shows
from bastion_policy.boundary import Guard, Statistic
from bastion_policy.chosen_sums import bits
from bastion_policy.flow import boundaries
from bastion_policy.guard_cells import ROWS, Cut, Floats, Measurer, Steps, floats
from bastion_policy.guard_codes import Codes, every_row, read_for_codes
from bastion_policy.history import History
from bastion_policy.judge_bits import Budget
from bastion_policy.judge_corrections import tell_approved
from bastion_policy.judge_differences import SUMMED, Differences
from bastion_policy.judge_history import Memory, digest
from bastion_policy.judge_homogeneity import least_differing
from bastion_policy.judge_leaving import Answered, Cells
from bastion_policy.judge_repeats import repeats
from bastion_policy.judge_rules import Judged
from bastion_policy.judge_searched import Searched
from bastion_policy.judge_watch import Part, Watcher
from bastion_policy.lineage import Occurrence
from bastion_policy.roles import RoleKind
from bastion_policy.verdict import Measure, Measured


class BoundaryJudge(Searched):
    """Judges one boundary of a typed plan."""

    @property
    def spent(self) -> bool:
        """Whether the question is for the owner, whatever the data holds: measures have chosen people at thresholds too often."""
        asked = self._settling
        return self.memory.exhausted(self.chosen_by) and not (asked is not None and self.memory.settled(asked))

    def run(self) -> Steps:
        """Measure and judge; returns Cells."""
        before, asked = dict(self.history.pasts), self._settling
        if asked is not None and self.memory.settled(asked):
            self.memory = Memory(History(), self.frame.occurrences, self.effective)
        cut = self._cut(self.name)
        if self.memory.on:
            lenses = self.history.lenses
            self.repeats = yield from repeats(
                self.below, self.boundary.statistics, self.world, self.private, self.done, lenses, self.k, self.name
            )
        rules = self._rules(cut, self.memory)
        keys = read_for_codes(cut) if self.memory.on else ()
        table = yield Measure(cut.table(), cut.name, (*rules.returned(), *keys))
        m = Measurer(cut, int(table["__height"]))
        rows = floats(table[ROWS])
        inside = (yield from self._inside(m, table)) if self._counts_people(cut, rows) else None
        if inside is not None and inside[0].disjoint:
            m.people = self.memory.people_in(self.frame.occurrences[0], inside[0])
            m.lone = m.people == rows
            inside = [inside[0].apart(m.lone)]
        own, whole, mixed = yield from self._populations(m, rows)
        small = ~own & ~whole & ~mixed & (rows > 0)
        if self.memory.exhausted(self.chosen_by):
            return self._for_the_owner(cut)
        inside = (yield from self._inside(m, table)) if self.memory.on and inside is None else inside
        past = self._of_chosen((yield from self._remembered(m, inside, rows, own, whole, small)), own)
        judged = yield from rules.judge(m, table, past.own)
        everybody = None
        if past.whole.any() or past.rest == "whole":
            everybody = yield from self._single(self._cut(f"{self.name}w", whole=True, keys=False), {}, self.memory)
        others = None
        if isinstance(past.rest, Cut):
            others = yield from self._single(past.rest, self._only(cut, past.members), self.memory)
        elif past.rest == "whole":
            others = everybody
        near = yield from self._near(cut, past)
        parts = self._parts(past, judged, near, everybody, others)
        yield from self._differences(cut, parts)
        own = past.own | past.withheld
        if past.withheld.any():
            judged.failed += [(i, past.rule) for i in self._leaving.used()]
        # what is withheld only because of how often its rows repeat may be asked without the repetitions
        failed = {i: past.own & ~shown & ~judged.uneven.get(i, own & False) for i, shown in enumerate(judged.shown)}
        if cut.keys:
            yield from self._hide_more(cut, judged, past.own)
        yield from self._watch(cut, [replace(p, failed=failed if p.judged is judged else {}) for p in parts])
        if self.memory.edge((yield from self._edges(m, past, parts)), before, self.chosen_by):
            return self._for_the_owner(cut)
        if asked is not None and past.own.all() and all(shown.all() for shown in judged.shown) and not judged.stored:
            self.memory.settle(asked)
        answered = Answered(judged, own, past.whole, past.members, everybody, others, near)
        cells = yield from self._leaving.compose(cut, answered)
        cells.coverage = self._coverage(past)
        return cells

    def _inside(self, m: Measurer, table: Measured) -> Steps:
        """Return who is in the cells, per occurrence. table: what was measured of them."""
        every = every_row(self.below)
        return self.memory.cells(
            m, Codes.of(m.cut, table, m.size), every=every, key=self._stored_key if every else None
        )

    @property
    def _stored_key(self) -> str | None:
        """The stored column that is the only key, as it is; None: keys are others."""
        if len(self.boundary.keys) != 1 or len(self.frame.occurrences) != 1:
            return None
        _, expr, value, _ = self.boundary.keys[0]
        source = value.plain
        if source is None or not isinstance(expr, Column) or expr.name != source.column:
            return None
        # INVARIANT: what is hidden by the policy is not in the frame, whatever an earlier policy let in
        hidden = self.facts[source.dataset].column(source.column).role.kind is RoleKind.HIDDEN
        return None if hidden else source.column

    def _counts_people(self, cut: Cut, rows: Floats) -> bool:
        """Whether people are counted in the cells without the engine: in those of one table in which rows do not tell how many there are.

        INVARIANT: each row of the frame is one row of the table, and each of them is somebody's.
        """
        most = cut.rows_per_unit
        if not self.memory.on or len(cut.occurrences) != 1 or most is None or self.makes_rows:
            return False
        if not ((rows >= self.k) & (rows <= (self.k - 1) * most)).any():
            return False
        dataset = cut.occurrences[0].dataset
        unit = self.facts[dataset].unit
        known = self.private[dataset].columns.get(unit) if unit is not None else None
        return known is not None and not known.nulls and not any(cut.nested.values())

    def _populations(self, m: Measurer, rows: Floats) -> Steps:
        """Return (own, whole, mixed); see `Wholes.populations`.

        INVARIANT: where rows were made, the whole table has other numbers than a cell of all people: it is not answered instead.
        """
        if self.of_everybody:
            own = yield from m.at_least(self.k, rows, np.ones(m.size, bool))
            return own, own & False, own & False
        own, whole, mixed = yield from self.whole.populations(m, rows)
        return (own, whole & False, mixed | whole) if self.makes_rows else (own, whole, mixed)

    @property
    def _settling(self) -> bytes | None:
        """Return what tells questions apart that have one answer as long as they are answered as themselves; None: none does.

        INVARIANT: what was released to others, or before, may differ the next time, and so may other tables: whoever a join with
        such cells chooses, or a later version of another table, is another population under the same words.
        """
        return self.versions + digest(self.typed.node) if len(boundaries(self.typed)) == 1 else None

    def _for_the_owner(self, cut: Cut) -> Cells:
        """Show nothing: whether there is something to show is what was asked too often."""
        cells = Cells(self._leaving.output(cut, [], joined=False), empty=True)
        cells.failed["edge-budget"] = {o.name for o in self.boundary.outputs}
        return cells

    def witness(self, shows: Shows) -> Steps:
        """Enter the cells into the history as released, whatever the rules say of them."""
        if not self.memory.on:
            return
        cut = self._cut(self.name)
        rules = self._rules(cut, self.memory)
        table = yield Measure(cut.table(), cut.name, rules.returned())
        m = Measurer(cut, int(table["__height"]))
        yield from self.memory.wholes(m)
        # a list may hold all of a cell
        picked = shows.picks * (int(floats(table[ROWS]).sum()) if shows.many else m.size)
        asked = yield from self.memory.cells(m)
        self.memory.approve(asked, shows, picked=picked)
        self.memory.blur(asked, shows.loose)
        for s in (s for s in self.boundary.statistics if not s.population):
            tell_approved(self.memory, s, asked, self.world)
        for o, source in self._choosing():
            self._people(o, source).approve(asked[self.memory.occurrences.index(o)])
        yield from rules.witness(m)

    def _differences(self, cut: Cut, parts: Sequence[Part]) -> Steps:
        """Withhold numbers whose difference from a stored population does not pass the rules about values.

        INVARIANT: this holds of what is told instead of a cell as of the cell.
        """
        for part in parts:
            self._of_one_population(part.judged)
            yield from self._between_people(cut, part.judged)
        nested = [o for o, lists in cut.nested.items() if lists]
        values = partial(self._numbers, cut)
        judge = Differences(
            self.memory, self.boundary.statistics, self.world, self.private, nested, values, self.makes_rows
        )
        yield from judge.judge(parts)

    def _of_one_population(self, judged: Judged) -> None:
        """Withhold arithmetic over conditional statistics of which some are answered without the condition, and others with it."""
        for output in self.boundary.outputs:
            mine = [i for i in output.statistics if self.boundary.statistics[i].population]
            if len(mine) < 2:
                continue
            others = np.array(
                [judged.without.get(i, judged.shown[i] & False) | judged.elsewhere(i) for i in mine], bool
            )
            mixed = others.any(axis=0) & ~others.all(axis=0)
            for i in mine:
                if (judged.shown[i] & mixed).any():
                    judged.shown[i] &= ~mixed
                    judged.failed.append((i, "min-agg-size"))

    def _between_people(self, cut: Cut, judged: Judged) -> Steps:
        """Withhold numbers that differ from stored ones by what few people hold, where people have several rows."""
        for i, source, people, stood in judged.people:
            guard = self.boundary.statistics[i].guard
            summed = guard in (*SUMMED, Guard.HELD)
            pairs, many = people.pairs(stood, stood.cleared & judged.shown[i]) if summed else ([], [])
            if judged.shown[i][many].any():
                judged.shown[i][many] = False
                judged.failed.append((i, "audit-capacity"))
            dtype = self.facts[source.dataset].column(source.column).dtype
            if not pairs or not (dtype.is_numeric or dtype.is_temporal or dtype == BOOLEAN):
                continue
            values = yield from self._values(cut, people.occurrence, source)
            role = self.world.role(source)
            low = role.lower if role.lower is not None else float(np.nanmin(values, initial=np.inf))
            upper = 1.0 if dtype == BOOLEAN else role.upper
            differing = least_differing(source, self.effective, self.world, self.private)
            for cell in people.unsound(stood, pairs, values, low, upper, differing):
                if judged.shown[i][cell]:
                    judged.shown[i][cell] = False
                    judged.failed.append((i, "dominance"))

    def _watch(self, cut: Cut, parts: Sequence[Part]) -> Steps:
        """Withhold numbers from which others would follow that fail the rules about values."""
        if not parts:
            return

        def repeated(o: Occurrence, s: Statistic) -> bool:
            found = self.repeats
            if found is None or o.index not in found.often:
                return False
            return s.guard is Guard.PRODUCTS or bool(cut.nested.get(o.index, 0)) or found.of_elements(s)

        several = {
            o.index for o in self.frame.occurrences if cut.nested.get(o.index, 0) and self.memory.lens(o).most > 1
        }
        apart = len(self.frame.occurrences) == 1 and not any(cut.nested.values())
        listed = partial(self._listed, memory=None) if apart else None
        watcher = Watcher(
            self.memory,
            self.boundary.statistics,
            self.name,
            frozenset(several),
            repeated,
            partial(self._values, cut),
            self._known,
            listed,
        )
        Budget(
            self.memory,
            self.boundary.statistics,
            self.versions,
            self.plan_digest,
            self._known,
            self.world,
            self._choosers,
            lambda s, people: bits(s, people, self._choosers(s), self.world, self._known),
        ).spend(parts)
        yield from watcher.tell(parts)
