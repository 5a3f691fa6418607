"""Judges one boundary: which cells stand, which are answered as a stored population, which are merged or gone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from bastion_plan import nodes as n
from bastion_plan.dtypes import BOOLEAN, INT64
from bastion_plan.expressions import Alias, AnyExpr, Call, Cast, Column, Expr
from bastion_plan.nodes import AnyNode, Node

from bastion_policy.approvals import Shows
from bastion_policy.boundary import Boundary, Guard, Statistic, Term, call
from bastion_policy.facts import DatasetFacts, PrivateFacts
from bastion_policy.flow import boundaries
from bastion_policy.guard_cells import (
    ROWS,
    Cut,
    Flags,
    Floats,
    Indexes,
    Measurer,
    Plan,
    Steps,
    X,
    both,
    floats,
    ints,
)
from bastion_policy.guard_codes import Codes, every_row, read_for_codes
from bastion_policy.guard_plans import Rewriter, as_float, lenient, nesting
from bastion_policy.history import History, Sets
from bastion_policy.history.coverage import covered
from bastion_policy.judge_bits import Budget
from bastion_policy.judge_corrections import tell_approved
from bastion_policy.judge_differences import SUMMED, Differences
from bastion_policy.judge_earlier import MOST_SNAPPED, as_earlier
from bastion_policy.judge_edges import (
    conditions_below,
    conditions_on_measures,
    keys_of_measures,
    mixed,
    mixes,
    narrowing,
    thresholds,
    values_of,
    ways,
)
from bastion_policy.judge_history import Memory, digest
from bastion_policy.judge_homogeneity import least_differing
from bastion_policy.judge_leaving import Answered, Cells, Leaving, Near
from bastion_policy.judge_made import makes_rows, of_everybody
from bastion_policy.judge_memory import EDGE_BUDGET
from bastion_policy.judge_missing import filled, left_out
from bastion_policy.judge_people import PeopleOf, compared
from bastion_policy.judge_repeats import Repeats, repeats
from bastion_policy.judge_rules import Judged
from bastion_policy.judge_snap import Standing
from bastion_policy.judge_values import ValueRules
from bastion_policy.judge_watch import Part, Watcher
from bastion_policy.judge_whole import Wholes
from bastion_policy.lineage import OWN, Frame, Occurrence, Source, Typed, World
from bastion_policy.model import Effective
from bastion_policy.statistics import knowable
from bastion_policy.verdict import Measure, Measured

#: steps of adding a next cell to the remainder row that are counted exactly before it is given up
MAX_ADDED = 40
#: cells that are taken out besides those that fail, before all are
MAX_HIDDEN = 12
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


@dataclass
class BoundaryJudge:
    """Judges one boundary of a typed plan."""

    typed: Typed
    facts: Mapping[str, DatasetFacts]
    private: Mapping[str, PrivateFacts]
    effective: Effective
    world: World
    history: History
    done: Mapping[int, Node]
    name: str

    def __post_init__(self) -> None:
        assert isinstance(self.typed.boundary, Boundary)
        self.boundary = self.typed.boundary
        self.below = self.typed.inputs[0]
        self.frame = self.below.frame
        self.k = self.effective.k
        self.whole = Wholes(self.below, self.done, self.facts, self.private, self.k)
        self.kept: frozenset[str] = frozenset()
        self.memory = Memory(self.history, self.frame.occurrences, self.effective)
        #: which rows of the frame repeat; None: it is not looked at
        self.repeats: Repeats | None = None
        #: what chooses people by a measure: steps below, group keys
        #: the measures by which people are chosen, whose values someone may search for by thresholds
        self.chosen_by: set[str] = set()
        self.narrowing = narrowing(self.below, self.world, self.chosen_by)
        self.measured_keys = keys_of_measures(self.boundary, self.world, self.chosen_by)
        for statistic in self.boundary.statistics:
            self._conditions(statistic)
        self.memory.searched = bool(self.chosen_by)
        #: whether a person's row may be in the frame as several, and each cell holds some of everybody's
        self.makes_rows = makes_rows(self.below)
        self.of_everybody = self.makes_rows and of_everybody(self.below, self.boundary, self.world)
        self.dropped = left_out(self.below)
        self.filled = filled(self.below, self.boundary, self.world, self.private, self.effective)
        used = [(d, self.facts[d].version, self.facts[d].policy_version) for d in sorted(n.scans(self.typed.node))]
        #: of the tables in the question
        self.versions = hashlib.sha256(repr(used).encode()).digest()[:12]
        #: of what decides who is in which cell
        self.plan_digest = digest(n.Select(self.below.node, tuple(e for _, e, _, _ in self.boundary.keys)))

    @property
    def _leaving(self) -> Leaving:
        return Leaving(self.boundary, self.effective, self.world, self.name, self.kept)

    # -- cuts

    def _cut(self, name: str, *, whole: bool = False, keys: bool = True) -> Cut:
        def plan(carry: bool, rows: bool = False) -> AnyNode:
            return Rewriter(self.facts, self.done, carry, whole, rows).build(self.below)

        exprs = tuple(lenient(e) for _, e, _, _ in self.boundary.keys) if keys else ()
        cut = self._of(name, plan, exprs)
        cut.dtypes = tuple(dtype for _, _, _, dtype in self.boundary.keys) if keys else ()
        return cut

    def _of(self, name: str, plan: Plan, keys: tuple[AnyExpr, ...] = ()) -> Cut:
        row_units = all(self.facts[o.dataset].unit is None for o in self.frame.occurrences)
        nested = nesting(self.below)
        return Cut(name, plan, self.boundary, keys, self.frame.occurrences, self._rows_per_unit(), row_units, nested)

    def _rows_per_unit(self) -> int | None:
        if self.frame.fanned or len(self.frame.occurrences) != 1:
            return None
        if self.frame.per_unit:
            return 1
        return max(1, self.private[self.frame.occurrences[0].dataset].max_rows_per_unit)

    def _rules(self, cut: Cut, memory: Memory | None) -> ValueRules:
        rules = ValueRules(
            cut,
            self.effective,
            self.world,
            dict(self.private),
            memory,
            self.plan_digest + cut.name.removeprefix(self.name).encode(),
            None if self.makes_rows else self._as_listed(memory),
            everybody=(self.of_everybody and cut.name == self.name)
            or (not cut.keys and (cut.name == f"{self.name}w" or (cut.name == self.name and not self.frame.narrowed))),
            repeats=self.repeats if memory is not None else None,
            filled=self.filled,
            dropped=self.dropped if cut.name == self.name and not cut.keys else None,
        )
        cut.extra, cut.lists = rules.guard_columns(), rules.lists()
        self.kept = frozenset(cut.extra)
        return rules

    def _as_listed(self, memory: Memory | None) -> Callable[[str, Sequence[Indexes], bool], Steps]:
        def listed(name: str, populations: Sequence[Indexes], enters: bool) -> Steps:
            return self._listed(name, populations, memory if enters else None, instead=True)

        return listed

    # -- the judgement

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
        return self.memory.cells(m, Codes.of(m.cut, table, m.size), every=every_row(self.below))

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

    def _wording(self) -> Steps:
        """Return what the words of the question mean this time: its plan, the tables' versions and the cells that it reads."""
        found = [self.versions, self.plan_digest]
        for i, node in enumerate(boundaries(self.typed)[:-1]):
            read = self.done[id(node)]
            answer = yield Measure(read, f"{self.name}i{i}")
            columns = [list(answer[c]) for c in sorted(answer) if c != "__height"]
            found.append(repr(sorted(map(repr, zip(*columns, strict=True)))).encode())
        return hashlib.sha256(b"".join(found)).digest()

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

    def _conditions(self, statistic: Statistic) -> tuple[Expr, ...]:
        return conditions_on_measures(statistic, self.frame, self.world, self.chosen_by)

    def _edges(self, m: Measurer, past: Past, parts: Sequence[Part]) -> Steps:
        """Return what tells apart the populations of the question that were chosen by a measure and lie at a threshold.

        INVARIANT: one cell is enough, whatever the others are: one that is not there, hidden or put together as well.
        """
        found: list[bytes] = []
        if not self.memory.snaps or not self.chosen_by:
            return found
        # INVARIANT: a threshold that another table's version or other cells give is another one under the same words
        wording = yield from self._wording()
        if self.narrowing or self.measured_keys:
            clear = past.own & ~past.standing.edge if past.standing is not None else past.own
            repeated = any(close.any() for part in parts for close in part.judged.close.values())
            keys = [(self.boundary.keys[i][1], self.frame) for i in self.measured_keys]
            repeated |= self._most_rows > 1 and self._stays([*conditions_below(self.below), *keys])
            some = repeated or mixes(self.below, self.world) or not clear.all()
            if some or (yield from self._missing(m)):
                # each part of a stack, each of a person's rows and each key has thresholds of its own
                count = max(1, ways(self.below, self.narrowing)) + max(0, len(self.measured_keys) - 1)
                if mixes(self.below, self.world):
                    found_in = conditions_below(self.below)
                    many = sum(thresholds([c], frame, self.world, self._most_rows) for c, frame in found_in)
                    count *= max(1, min(many, self._most_rows))
                found += [hashlib.sha256(wording + i.to_bytes(4)).digest()[:12] for i in range(count)]
        for i, s in enumerate(self.boundary.statistics):
            conditions = self._conditions(s)
            some = any((part.own & ~_clear(part.judged, i)).any() for part in parts)
            some |= self._most_rows > 1 and self._stays([(c, self.frame) for c in conditions])
            if conditions and (some or mixed(conditions, self.frame, self.world)):
                several = mixed(conditions, self.frame, self.world)
                count = max(1, thresholds(conditions, self.frame, self.world, self._most_rows)) if several else 1
                mark = wording + repr(conditions).encode()
                found += [hashlib.sha256(mark + i.to_bytes(4)).digest()[:12] for i in range(count)]
        return found

    def _stays(self, conditions: Sequence[tuple[Expr, Frame]]) -> bool:
        """Whether a condition is about a column that may stay the same in a person's rows.

        INVARIANT: the same condition on other rows of the same people is then the same choice, far from thresholds of rows.
        """
        return any(compared(values_of(c, frame, self.world).sources, self.world) for c, frame in conditions)

    @property
    def _most_rows(self) -> int:
        """How many rows of one person there may be in the frame, as far as it matters."""
        several = self.repeats is not None and bool(self.repeats.often)
        several |= any(self.memory.lens(o).most > 1 for o in self.frame.occurrences)
        return EDGE_BUDGET + 1 if several else 1

    def _missing(self, m: Measurer) -> Steps:
        """Whether there may be groups that nobody is in because of a measure: as many as fewer than k would be in.

        Which bins there could be of other keys than conditions is not known.
        """
        keys = self.boundary.keys
        if any(keys[i][3] != BOOLEAN for i in self.measured_keys):
            return True
        if not keys:
            return False
        rows = Rewriter(self.facts, self.done, without=self.narrowing).build(self.below)
        others = [Alias(lenient(e), f"{X}{i}") for i, (_, e, _, _) in enumerate(keys) if i not in self.measured_keys]
        one = (Alias(Call("pl.len"), X),)
        cells = n.GroupBy(rows, tuple(others), one) if others else n.Select(rows, one)
        possible = yield from m.ask(n.Select(cells, one))
        there: AnyNode = n.Scan(m.cut.name)
        if self.measured_keys:
            told = both([call("is_not_null", Column(self.boundary.key_columns[i])) for i in self.measured_keys])
            there = n.Filter(there, told)  # type: ignore[arg-type]
        answer = yield from m.ask(n.Select(there, one))
        return bool(floats(answer[X])[0] < floats(possible[X])[0] * 2 ** len(self.measured_keys))

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

    # -- what was released before

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

    @staticmethod
    def _in_rest(m: Measurer, rest: Cut | str | None, members: Indexes) -> Flags:
        """Return which cells are in the remainder."""
        return np.isin(np.arange(m.size), members) if rest is not None else np.zeros(m.size, bool)

    def _listed(
        self, name: str, populations: Sequence[Indexes], memory: Memory | None, *, instead: bool = False
    ) -> Steps:
        """Judge populations that are given by their rows in the only table; returns (cut, Judged).

        instead: they stand for those of one statistic.
        """
        (occurrence,) = self.frame.occurrences
        numbers = np.repeat(np.arange(len(populations)), [rows.size for rows in populations])
        tables: dict[str, Mapping[str, Any]] = {
            f"{name}.rows": {f"{OWN}row": np.concatenate(populations), f"{OWN}q": numbers}
        }

        def plan(carry: bool, rows: bool = False) -> AnyNode:
            whole = Rewriter(self.facts, self.done, carry, True, True).build(self.below)
            on = (Cast(Column(occurrence.row), INT64),)
            return n.Join(whole, n.Scan(f"{name}.rows"), left_on=on, right_on=(Column(f"{OWN}row"),))

        cut = self._of(name, plan, (Column(f"{OWN}q"),))
        kept = self.kept
        rules = self._rules(cut, memory)
        rules.instead, rules.following = instead, memory is None
        rules.repeats = self.repeats if instead or memory is not None else None
        self.kept = kept | self.kept if memory is not None else kept
        table = yield Measure(cut.table(), name, rules.returned(), tables)
        m = Measurer(cut, int(table["__height"]), tables)
        judged = yield from rules.judge(m, table, np.ones(m.size, bool))
        if m.size != len(populations):
            # INVARIANT: populations are told apart by their place. Where the rows of one are not there (lists without elements),
            # nothing is told of any.
            none = np.zeros(len(populations), bool)
            judged = Judged(none.size, none.astype(np.float64), [none.copy() for _ in judged.shown])
        return cut, judged

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

    def _values(self, cut: Cut, o: Occurrence, of: Term | Source) -> Steps:
        """Return a number per row of a table, NaN where there is none: of an argument, or of a stored column."""
        return (yield from self._numbers(cut, o, of))[0]

    def _numbers(self, cut: Cut, o: Occurrence, of: Term | Source) -> Steps:
        """Return (a number per row of a table, the rows of which it is known or missing); nobody may write into them."""
        key = (of.dataset, self.facts[of.dataset].version, of.column) if isinstance(of, Source) else None
        held = self.history.columns.get(key) if key is not None and key[0] == o.dataset else None
        if held is not None:
            return held, np.ones(held.size, bool)
        if isinstance(of, Term):
            rows: AnyNode = Rewriter(self.facts, self.done, False, True, True).build(self.below)
            number, expr = Column(o.row), as_float(lenient(of.expr), of.dtype)
            rows = n.Select(rows, (number, Alias(expr, X)))
            for _ in range(cut.nested.get(o.index, 0)):
                rows = n.Explode(rows, (number,))
        else:
            dtype, size = self.facts[of.dataset].column(of.column).dtype, self.private[of.dataset].rows
            if not (dtype.is_numeric or dtype.is_temporal or dtype.kind == "Boolean"):
                return np.full(size, np.nan), np.zeros(
                    size, bool
                )  # only what the elements of a list come to is a number
            expr, number = as_float(Column(of.column), dtype), Column(o.row)
            rows = n.Select(n.WithRowIndex(n.Scan(of.dataset), o.row), (number, Alias(expr, X)))
        present = n.Filter(rows, call("is_not_null", number))
        answer = yield Measure(present, f"{self.name}v", (o.row, X))
        at = ints(answer[o.row])
        found, seen = np.full(self.private[o.dataset].rows, np.nan), np.zeros(self.private[o.dataset].rows, bool)
        seen[at] = True
        if isinstance(of, Term) and (self.makes_rows or len({x.occurrence for x in of.value.sources}) > 1):
            # of columns of several tables, or of several rows that were made of one: all that a row adds
            found[seen] = np.bincount(at, np.nan_to_num(floats(answer[X])), seen.size)[seen]
        else:
            found[at] = floats(answer[X])
        found.flags.writeable = False
        if key is not None and key[0] == o.dataset and seen.all():
            self.history.columns.put(key, found)
        return found, seen

    def _watch(self, cut: Cut, parts: Sequence[Part]) -> Steps:
        """Withhold numbers from which others would follow that fail the rules about values."""
        if not parts:
            return

        def repeated(o: Occurrence, s: Statistic) -> bool:
            found = self.repeats
            if found is None or o.index not in found.often:
                return False
            return s.guard is Guard.PRODUCTS or bool(cut.nested.get(o.index, 0)) or found.of_elements(s)

        def of_common_knowledge(term: Term) -> bool:
            return knowable(term.value, self.world)

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
            of_common_knowledge,
            listed,
        )
        Budget(self.memory, self.boundary.statistics, self.versions, self.plan_digest, of_common_knowledge).spend(parts)
        yield from watcher.tell(parts)

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

    def _only(self, cut: Cut, members: Indexes) -> dict[str, Any]:
        return {f"{cut.name}.only": {"only": np.asarray(members, np.int64)}}

    # -- the remainder row

    def _remainder(self, m: Measurer, rows: Floats, own: Flags, small: Flags, asked: Sequence[Sets] | None) -> Steps:
        """Return (a cut, "whole" or None; the cells in it). asked: who is in the cells, where there is a history.

        INVARIANT: what is hidden passes the population rule as one cell, or nothing of it is shown. Cells answered as the
        whole table are never added: whether 0 or 1 .. k - 1 units are outside such a cell must look the same.
        """
        members = np.flatnonzero(small)
        if not m.cut.keys or not members.size:
            return None, members
        candidates = np.flatnonzero(own)
        candidates = candidates[np.argsort(rows[candidates], kind="stable")]
        for added in range(min(candidates.size, MAX_ADDED) + 1):
            chosen = np.concatenate([members, candidates[:added]])
            cut = self._union(m.cut, f"{self.name}r", chosen)
            one = Measurer(cut, 1, self._only(m.cut, chosen))
            total = np.array([rows[chosen].sum()])
            enough = yield from one.at_least(self.k, total, np.ones(1, bool))
            if enough[0]:
                near, some = yield from self.whole.near_whole(one, total, np.ones(1, bool))
                if asked is not None and not near[0] and not some[0]:
                    together = [sets.union(chosen) for sets in asked]
                    if not self.memory.standing(together, np.ones(1, bool), plan=self.plan_digest).far[0]:
                        continue
                neither = some[0] or (near[0] and self.makes_rows)
                return (None, members) if neither else ("whole" if near[0] else cut, chosen)
        return None, members

    def _union(self, cut: Cut, name: str, members: Indexes) -> Cut:
        """Return some cells as one."""
        return self._of(name, cut.members(members))

    def _single(self, cut: Cut, tables: dict[str, Any], memory: Memory | None = None) -> Steps:
        """Judge a cut of one cell: the whole table or the remainder; returns (cut, Judged). memory: where it is released."""
        rules = self._rules(cut, memory)
        table = yield Measure(cut.table(), cut.name, rules.returned(), tables)
        m = Measurer(cut, 1, tables)
        enough = yield from m.at_least(self.k, floats(table[ROWS]), np.ones(1, bool))
        judged = yield from rules.judge(m, table, enough)
        return cut, judged

    def _hide_more(self, cut: Cut, judged: Judged, own: Flags) -> Steps:
        """Where cells of a column were taken out, take out the next smallest until all that is hidden passes as one cell.

        INVARIANT: what is missing is the difference of a margin and the cells shown. Where the margin itself does not pass,
        there is nothing to subtract from, and a second cell is enough.
        """
        known: dict[bytes, Judged] = {}

        def passes(position: int, hidden: Flags) -> Steps:
            union = known.get(hidden.tobytes())
            if union is None:
                members = np.flatnonzero(hidden)
                together = self._union(cut, f"{self.name}h{len(known)}", members)
                _, union = yield from self._single(together, self._only(cut, members))
                known[hidden.tobytes()] = union
            return bool(union.shown[position][0])

        for position, (statistic, shown) in enumerate(zip(self.boundary.statistics, judged.shown, strict=True)):
            hidden = own & ~shown & ~judged.uneven.get(position, own & False)
            if statistic.guard in (Guard.INTERVAL, Guard.TIED) or not hidden.any():
                continue
            rest = np.flatnonzero(own & shown)
            rest = rest[np.argsort(judged.rows[rest], kind="stable")]
            alone = 1 if hidden.sum() == 1 else 0
            margin = yield from passes(position, own)
            for added in range(alone, rest.size + 1 if margin else alone):
                more = hidden.copy()
                more[rest[:added]] = True
                if added == alone + MAX_HIDDEN:
                    alone = rest.size
                    break
                if (yield from passes(position, more)):
                    alone = added
                    break
            shown[rest[:alone]] = False


def _clear(judged: Judged, i: int) -> Flags:
    """Return the cells in which what a statistic's conditions pick is answered as itself, far from any threshold."""
    clear = judged.shown[i].copy()
    for flags in (judged.without.get(i), judged.settled.get(i), judged.edges.get(i), judged.close.get(i)):
        clear &= ~flags if flags is not None else True
    return clear
