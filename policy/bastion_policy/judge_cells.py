"""Judges one boundary: which cells stand, which are answered as a stored population, which are merged or gone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from bastion_plan import nodes as n
from bastion_plan.dtypes import BOOLEAN, DATE, FLOAT64, INT32, INT64, NULL, STRING, UINT32, DType
from bastion_plan.expressions import Alias, AnyExpr, Call, Cast, Column, Expr, Literal, Ternary
from bastion_plan.nodes import AnyNode, Node

from bastion_policy.boundary import REST, Boundary, Guard, Output, Statistic, Term, call
from bastion_policy.facts import DatasetFacts, PrivateFacts
from bastion_policy.flow import boundaries
from bastion_policy.guard_cells import (
    INDEX,
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
from bastion_policy.guard_plans import Rewriter, as_float, lenient, nesting
from bastion_policy.history import History, Sets
from bastion_policy.history.coverage import covered
from bastion_policy.judge_bits import Budget
from bastion_policy.judge_edges import conditions_on_measures, keys_of_measures, mixed, mixes, narrowing, ways
from bastion_policy.judge_history import MOST_SNAPPED, Memory, Standing, digest
from bastion_policy.judge_people import sound
from bastion_policy.judge_repeats import Repeats, repeats
from bastion_policy.judge_strict import as_shown
from bastion_policy.judge_values import Judged, ValueRules
from bastion_policy.judge_watch import Part, Watcher
from bastion_policy.lineage import OWN, Occurrence, Source, Typed, World
from bastion_policy.model import Effective
from bastion_policy.roles import RoleKind
from bastion_policy.verdict import Measure

REMAINDER = "(other)"
#: steps of adding a next cell to the remainder row that are counted exactly before it is given up
MAX_ADDED = 40
#: cells that are taken out besides those that fail, before all are
MAX_HIDDEN = 12
#: statistics whose differences are numbers of those in between
SUMMED = (Guard.SUM, Guard.SQUARES, Guard.PRODUCTS, Guard.HELD)
#: digits of fractions: the last ones are those of the order in which rows were added up
DIGITS, DIGITS_32 = 12, 6
#: times that cells which the audit refuses are put into the remainder row
MAX_TRIES = 4


@dataclass
class Cells:
    """What became of one boundary.

    plan: reads the cells that may leave. merged: rows answered as a stored population or folded into the remainder.
    again: of these, rows answered as a stored population. coverage: share of all units who are in what is shown, if known.
    hidden: cells whose statistics were taken out, total: all cells that could be shown. smallest: rows of the smallest
    cell that is shown. empty: nothing is shown. left_out: steps behind leave the remainder row out.
    coarse: there are covariances in it. failed: rules that failed, with the output columns concerned.
    """

    plan: AnyNode
    merged: int = 0
    again: int = 0
    coverage: float | None = None
    hidden: int = 0
    total: int = 0
    smallest: int = 0
    empty: bool = False
    left_out: bool = False
    coarse: bool = False
    failed: dict[str, set[str]] = field(default_factory=dict)


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


@dataclass(frozen=True, eq=False)
class Near:
    """Cells that are answered as stored populations: `numbers[i]` is the row of `cells[i]` in the stored ones' table.

    places: (part, stored) of its rows.
    """

    cut: Cut
    judged: Judged
    cells: Indexes
    numbers: Indexes
    places: list[tuple[int, int]]


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
        used = [(d, self.facts[d].version, self.facts[d].policy_version) for d in sorted(n.scans(self.typed.node))]
        #: of the tables in the question
        self.versions = hashlib.sha256(repr(used).encode()).digest()[:12]
        #: of what decides who is in which cell
        self.plan_digest = digest(n.Select(self.below.node, tuple(e for _, e, _, _ in self.boundary.keys)))

    # -- cuts

    def _cut(self, name: str, *, whole: bool = False, keys: bool = True) -> Cut:
        def plan(carry: bool, rows: bool = False) -> AnyNode:
            return Rewriter(self.facts, self.done, carry, whole, rows).build(self.below)

        exprs = tuple(lenient(e) for _, e, _, _ in self.boundary.keys) if keys else ()
        return self._of(name, plan, exprs)

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
            lambda name, populations, enters: self._listed(name, populations, memory if enters else None, instead=True),
            everybody=not cut.keys
            and (cut.name == f"{self.name}w" or (cut.name == self.name and not self.frame.narrowed)),
            repeats=self.repeats if memory is not None else None,
        )
        cut.extra, cut.lists = rules.guard_columns(), rules.lists()
        self.kept = frozenset(cut.extra)
        return rules

    # -- the judgement

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
        table = yield Measure(cut.table(), cut.name, rules.returned())
        m = Measurer(cut, int(table["__height"]))
        rows = floats(table[ROWS])
        own, whole, mixed = yield from self._populations(m, rows)
        small = ~own & ~whole & ~mixed & (rows > 0)
        if self.memory.exhausted(self.chosen_by):
            return self._for_the_owner(cut)
        past = yield from self._remembered(m, rows, own, whole, small)
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
            judged.failed += [(i, past.rule) for i in self._used()]
        # what is withheld only because of how often its rows repeat may be asked without the repetitions
        failed = {i: past.own & ~shown & ~judged.uneven.get(i, own & False) for i, shown in enumerate(judged.shown)}
        if cut.keys:
            yield from self._hide_more(cut, judged, past.own)
        yield from self._watch(cut, [replace(p, failed=failed if p.judged is judged else {}) for p in parts])
        if self.memory.edge((yield from self._edges(m, past, parts)), before, self.chosen_by):
            return self._for_the_owner(cut)
        if asked is not None and past.own.all() and all(shown.all() for shown in judged.shown) and not judged.stored:
            self.memory.settle(asked)
        cells = yield from self._compose(cut, m, judged, own, past.whole, past.members, everybody, others, near)
        cells.coverage = self._coverage(past)
        return cells

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
            some = repeated or mixes(self.below, self.world) or not clear.all()
            if some or (yield from self._missing(m)):
                # each part of a stack and each key has thresholds of its own
                count = max(1, ways(self.below, self.narrowing)) + max(0, len(self.measured_keys) - 1)
                found += [hashlib.sha256(wording + i.to_bytes(4)).digest()[:12] for i in range(count)]
        for i, s in enumerate(self.boundary.statistics):
            conditions = self._conditions(s)
            some = any((part.own & ~_clear(part.judged, i)).any() for part in parts)
            if conditions and (some or mixed(conditions, self.frame, self.world)):
                found.append(hashlib.sha256(wording + repr(conditions).encode()).digest()[:12])
        return found

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
        cells = Cells(self._output(cut, [], joined=False), empty=True)
        cells.failed["edge-budget"] = {o.name for o in self.boundary.outputs}
        return cells

    def witness(self) -> Steps:
        """Enter the cells into the history as released, whatever the rules say of them."""
        if not self.memory.on:
            return
        cut = self._cut(self.name)
        keys = tuple(Alias(k, c) for k, c in zip(cut.keys, cut.key_columns, strict=True))
        frame, one = cut.plan(False), (Alias(Call("pl.len"), ROWS),)
        cells = n.GroupBy(frame, keys, one) if keys else n.Select(frame, one)
        table = yield Measure(n.WithRowIndex(cells, INDEX), cut.name, (INDEX,))
        m = Measurer(cut, int(table["__height"]))
        yield from self.memory.wholes(m)
        self.memory.approve((yield from self.memory.cells(m)))

    # -- what was released before

    def _remembered(self, m: Measurer, rows: Floats, own: Flags, whole: Flags, small: Flags) -> Steps:
        """Compare the cells with what was released before, and find the remainder; returns Past.

        INVARIANT: what the audit does not clear is put into the remainder row, which is audited in its turn; what it does
        not clear even there is withheld.
        """
        memory, none = self.memory, np.zeros(m.size, bool)
        if not memory.on:
            rest, members = yield from self._remainder(m, rows, own, small, None)
            return Past(own & ~self._in_rest(m, rest, members), whole, none, none, rest, members)
        asked = yield from memory.cells(m)
        stands = yield from memory.wholes(m)
        yield from memory.reserve(m, {o.dataset: self.facts[o.dataset].policy.reserved for o in self.frame.occurrences})
        memory.before = {o.dataset: memory.channel(o, "") for o in memory.occurrences}
        plan, everybody = self.plan_digest, not m.cut.keys and not self.frame.narrowed
        standing = memory.standing(asked, own, plan=plan, whole=everybody)
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
            for cell in np.flatnonzero(bad) if not memory.beyond else ():
                found = memory.instead(asked, int(cell), near=not last)
                if found is not None:
                    standing.part[cell], standing.stored[cell] = found
                    near[cell], bad[cell] = True, False
            if not bad.any() or memory.beyond:
                break
            refused = refused | bad
        if bad.any():
            withheld, rule = withheld | bad, memory.refusal
        return Past(alone & cleared, whole, near, withheld, rest, members, rule, standing, asked)

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
            lenses = [self.memory.lens(o) for o in self.frame.occurrences]
            whole = [Sets.one(lens.items, lens.roster.size) for lens in lenses]
            parts.append(Part(everybody[1], whole, one, inner=everybody[1].inner))
        if isinstance(past.rest, Cut) and others is not None:
            together = [sets.union(past.members) for sets in past.asked]
            parts.append(Part(others[1], together, one, inner=others[1].inner))
        return parts

    def _differences(self, cut: Cut, parts: Sequence[Part]) -> Steps:
        """Withhold numbers whose difference from a stored population does not pass the rules about values.

        INVARIANT: of two nested populations that were both answered, what lies between them is answered too; so it is a cell
        like any other, in the whole table to begin with. This holds of what is told instead of a cell as of the cell.
        """
        for part in parts:
            yield from self._between_people(cut, part.judged)
        if not self.memory.on or any(cut.nested.values()):
            return
        for number, part in enumerate(parts):
            name, statistics = f"{self.name}d{number}_", self.boundary.statistics
            # numbers of people who say yes are populations of their own, which the snap rule keeps apart
            kept = [(i, s) for i, s in enumerate(statistics) if i not in part.inner]
            cells = [(i, i) for i, s in kept if s.terms and not s.population and s.guard in SUMMED]
            yield from self._between(name, part.asked, part.own, cells, part.judged, now=number > 0)
            for i, s in enumerate(statistics):
                # what a condition inside a statistic picks is compared by the statistic without it
                alone = i if s.without is None else s.without
                asked, flags = part.inner.get(i, (part.asked, part.own))
                if i in part.inner and s.without is not None and statistics[alone].terms:
                    yield from self._between(f"{name}{i}_", asked, flags, [(i, alone)], part.judged)
                if i in part.judged.told:
                    sets, flags = part.judged.speaks_of(i, asked[0]), part.judged.elsewhere(i)
                    yield from self._between(f"{name}{i}s", [sets], flags, [(i, alone)], part.judged, now=True)

    def _between(
        self,
        name: str,
        asked: Sequence[Sets],
        flags: Flags,
        statistics: Sequence[tuple[int, int]],
        judged: Judged,
        *,
        now: bool = False,
    ) -> Steps:
        """Judge differences from stored populations, those of the same question too if `now`.

        statistics: (whose numbers are withheld, which is judged).
        """
        now = now or any(i != alone for i, alone in statistics)
        found = self.memory.differences(asked, flags, inner=now) if statistics else []
        if not found:
            return
        _, between = yield from self._listed(name, [rows for _, rows in found], None)
        cells = np.array([cell for cell, _ in found])
        for i, alone in statistics:
            # where too few between them have a value, their own history has decided
            few = between.few.get(alone, np.zeros(between.height, bool))
            bad = cells[(~between.shown[alone] & ~few)[: cells.size]]
            if judged.shown[i][bad].any():
                judged.shown[i][bad] = False
                judged.failed += [(i, rule) for j, rule in between.failed if j == alone] or [(i, "min-agg-size")]

    def _between_people(self, cut: Cut, judged: Judged) -> Steps:
        """Withhold numbers whose difference from a stored one one person makes up, where people have several rows."""
        for i, source, people, stood in judged.people:
            guard = self.boundary.statistics[i].guard
            flags = stood.cleared & judged.shown[i]
            found = people.between(stood, flags) if guard in SUMMED else []
            dtype = self.facts[source.dataset].column(source.column).dtype
            if not found or not (dtype.is_numeric or dtype.is_temporal or dtype == BOOLEAN):
                continue
            means = people.means((yield from self._values(cut, people.occurrence, source)))
            role = self.world.role(source)
            low = role.lower if role.lower is not None else float(np.nanmin(means, initial=np.inf))
            upper = 1.0 if dtype == BOOLEAN else role.upper
            for cell, who, often in found:
                known = np.isfinite(means[who])
                if not sound(means[who][known], low, upper, often[known], self.effective) and judged.shown[i][cell]:
                    judged.shown[i][cell] = False
                    judged.failed.append((i, "dominance"))

    def _values(self, cut: Cut, o: Occurrence, of: Term | Source) -> Steps:
        """Return a number per row of a table, NaN where there is none: of an argument, or of a stored column."""
        if isinstance(of, Term):
            rows: AnyNode = Rewriter(self.facts, self.done, False, True, True).build(self.below)
            number, expr = Column(o.row), as_float(lenient(of.expr), of.dtype)
            rows = n.Select(rows, (number, Alias(expr, X)))
            for _ in range(cut.nested.get(o.index, 0)):
                rows = n.Explode(rows, (number,))
        else:
            dtype = self.facts[of.dataset].column(of.column).dtype
            expr, number = as_float(Column(of.column), dtype), Column(o.row)
            rows = n.Select(n.WithRowIndex(n.Scan(of.dataset), o.row), (number, Alias(expr, X)))
        present = n.Filter(rows, call("is_not_null", number))
        answer = yield Measure(present, f"{self.name}v", (o.row, X))
        found = np.full(self.private[o.dataset].rows, np.nan)
        found[ints(answer[o.row])] = floats(answer[X])
        return found

    def _watch(self, cut: Cut, parts: Sequence[Part]) -> Steps:
        """Withhold numbers from which others would follow that fail the rules about values."""
        if not parts:
            return

        def repeated(o: Occurrence, s: Statistic) -> bool:
            found = self.repeats
            if found is None or o.index not in found.often:
                return False
            return s.guard is Guard.PRODUCTS or bool(cut.nested.get(o.index, 0)) or found.of_elements(s)

        def known(term: Term) -> bool:
            secret = (RoleKind.MEASURE, RoleKind.SENSITIVE)
            # how many rows a person has is of no column
            return not term.value.sources or any(self.world.role(s).kind not in secret for s in term.value.sources)

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
            known,
            listed,
        )
        Budget(self.memory, self.boundary.statistics, self.versions, self.plan_digest, known).spend(parts)
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
        return {f"{cut.name}.only": {"only": [int(i) for i in members]}}

    def _populations(self, m: Measurer, rows: Floats) -> Steps:
        """Return (own, whole, mixed): cells that stand for themselves, those answered as the whole table, those gone.

        INVARIANT: with several tables (or one several times) in a plan, a cell stands for itself only if it is far from the
        whole of each; near the whole of some alone it is neither, and nothing is shown.
        """
        none = np.zeros(m.size, bool)
        own = yield from m.at_least(self.k, rows, np.ones(m.size, bool))
        if not m.cut.keys and not self.frame.narrowed:
            return own, none, none
        near, some = yield from self._near_whole(m, rows, own)
        return own & ~near & ~some, near, some

    def _near_whole(self, m: Measurer, rows: Floats, own: Flags) -> Steps:
        """Return the cells that leave out fewer than k units (units with any row that is not in the cell).

        First those near the whole in every occurrence, then those near it in some but not all.

        INVARIANT (tier bound): more than (k - 1) * M rows outside belong to at least k units.
        """
        total = yield from self._whole_rows(m)
        outside, most = total - rows, m.cut.rows_per_unit
        far = outside >= self.k if most == 1 else np.zeros(m.size, bool)
        if most is not None and most > 1:
            far = outside > (self.k - 1) * most
        open_cells = own & ~far
        # whole rows of a pre-aggregated frame may hide that some of a unit's rows were left out
        if not open_cells.any() or (most == 1 and not self.frame.grouped):
            return own & ~far, np.zeros(m.size, bool)
        near, some = open_cells.copy(), np.zeros(m.size, bool)
        lost = False
        for occurrence in m.cut.occurrences:
            inside, everybody = yield from self._inside(m, occurrence, np.flatnonzero(open_cells))
            near &= everybody - inside < self.k
            some |= everybody - inside < self.k
            # INVARIANT: a join that leaves a few people out is near the whole table, and is not the whole table
            lost |= 0 < self._people(occurrence) - everybody < self.k
        for dataset in {o.dataset for o in m.cut.occurrences}:
            together = [o for o in m.cut.occurrences if o.dataset == dataset]
            if len(together) > 1:
                # INVARIANT: parts of one table that are put together may leave out a few people only together
                inside = yield from self._inside_together(m, together, np.flatnonzero(open_cells))
                some |= self._people(together[0]) - inside < self.k
        near &= not lost
        return near, open_cells & some & ~near

    def _people(self, occurrence: Occurrence) -> int:
        """Return the number of units of the table an occurrence scans."""
        private, unit = self.private[occurrence.dataset], self.facts[occurrence.dataset].unit
        column = private.columns.get(unit) if unit is not None else None
        return private.units - (1 if column is not None and column.nulls else 0)

    def _inside(self, m: Measurer, occurrence: Any, only: Indexes) -> Steps:
        """Return (units all of whose rows are in the cell, units of the whole table)."""
        whole = Rewriter(self.facts, self.done, True, True).build(self.below)
        unit, weight = Column(occurrence.unit), Column(occurrence.weight)
        present = call("is_not_null", unit)
        everything = n.GroupBy(n.Filter(whole, present), (unit,), (Alias(call("sum", weight), f"{X}b"),))
        located, tables = m.cut.located(True, only)
        in_cell = n.GroupBy(n.Filter(located, present), (Column(INDEX), unit), (Alias(call("sum", weight), f"{X}a"),))
        joined = n.Join(in_cell, everything, left_on=(unit,), right_on=(unit,))
        full = n.Filter(joined, call("ge", Column(f"{X}a"), Column(f"{X}b")))
        counted = n.GroupBy(full, (Column(INDEX),), (Alias(Call("pl.len"), X),))
        answer = yield from m.ask(counted, tables)
        units = yield from m.ask(n.Select(everything, (Alias(Call("pl.len"), X),)))
        return m.spread(answer, X), float(floats(units[X])[0])

    def _inside_together(self, m: Measurer, occurrences: list[Occurrence], only: Indexes) -> Steps:
        """Return the units all of whose rows are in the cell, those of all occurrences of their table counted."""
        first, weight = occurrences[0], f"{X}a"
        whole = Rewriter(self.facts, self.done, True, True).build(self.below)
        present = n.Filter(whole, call("is_not_null", Column(first.unit)))
        everything = n.GroupBy(present, (Column(first.unit),), (Alias(call("sum", Column(first.weight)), f"{X}b"),))
        located, tables = m.cut.located(True, only)
        parts = []
        for o in occurrences:
            columns = (Column(INDEX), Alias(Column(o.unit), f"{X}u"), Alias(Column(o.weight), weight))
            parts.append(n.Select(n.Filter(located, call("is_not_null", Column(o.unit))), columns))
        stacked = n.Concat(tuple(parts), "vertical_relaxed")
        keys = (Column(INDEX), Column(f"{X}u"))
        in_cell = n.GroupBy(stacked, keys, (Alias(call("sum", Column(weight)), weight),))
        joined = n.Join(in_cell, everything, left_on=(Column(f"{X}u"),), right_on=(Column(first.unit),))
        full = n.Filter(joined, call("ge", Column(weight), Column(f"{X}b")))
        counted = n.GroupBy(full, (Column(INDEX),), (Alias(Call("pl.len"), X),))
        answer = yield from m.ask(counted, tables)
        return m.spread(answer, X)

    def _whole_rows(self, m: Measurer) -> Steps:
        """Return the number of rows of the frame without predicates."""
        known = _known_rows(self.below, self.private)
        if known is not None:
            return float(known)
        whole = Rewriter(self.facts, self.done, False, True).build(self.below)
        answer = yield from m.ask(n.Select(whole, (Alias(Call("pl.len"), X),)))
        return float(floats(answer[X])[0])

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
                near, some = yield from self._near_whole(one, total, np.ones(1, bool))
                if asked is not None and not near[0] and not some[0]:
                    together = [sets.union(chosen) for sets in asked]
                    if not self.memory.standing(together, np.ones(1, bool), plan=self.plan_digest).far[0]:
                        continue
                return (None, members) if some[0] else ("whole" if near[0] else cut, chosen)
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

    # -- what may leave

    def _compose(
        self,
        cut: Cut,
        m: Measurer,
        judged: Judged,
        own: Flags,
        whole: Flags,
        members: Indexes,
        everybody: tuple[Cut, Judged] | None,
        others: tuple[Cut, Judged] | None,
        near: Near | None,
    ) -> Steps:
        tables: dict[str, Any] = {}
        parts: list[AnyNode] = []
        used = self._used()
        plain = bool(own.all()) and not judged.swapped and not judged.without and not judged.stored
        plain = plain and all(bool(judged.shown[i].all()) for i in used)
        if plain:
            parts.append(self._stats(n.Scan(cut.name), cut.keys, {}, judged))
        elif own.any():
            flags = self._flags(judged, own)
            tables[f"{cut.name}.flags"] = flags
            beside = n.Concat((n.Scan(cut.name), n.Scan(f"{cut.name}.flags")), "horizontal")
            parts.append(self._stats(n.Filter(beside, Column(f"{OWN}own")), cut.keys, flags, judged))
        merged = 0
        if everybody is not None and whole.any():
            parts.append(self._spread(cut, f"{cut.name}.whole", np.flatnonzero(whole), everybody, tables))
            merged += int(whole.sum())
        if near is not None:
            parts.append(self._as_stored(cut, near, tables))
            merged += near.cells.size
        if others is not None and self.boundary.window:
            parts.append(self._spread(cut, f"{cut.name}.others", members, others, tables))
        elif others is not None:
            parts.append(self._one_row(others, tables))
            merged += 1
        for part in (judged, *(p[1] for p in (everybody, others) if p is not None)):
            merged += max((int((~np.isnan(v)).sum()) for v in part.stored.values()), default=0)
        left_out = others is not None and self.boundary.marked
        if self.boundary.marked:
            parts = [self._marked(p, rest=left_out and p is parts[-1]) for p in parts]
        again = merged - int(others is not None and not self.boundary.window)
        cells = Cells(n.Scan(f"{self.name}o"), merged, again, empty=not parts, left_out=left_out)
        plan = self._output(cut, parts, joined=near is not None)
        self._account(cells, judged, own, whole, everybody, others, near)
        cells.coarse = any(s.guard is Guard.PRODUCTS for s in self.boundary.statistics)
        if not tables:
            # nothing of the judge's own goes into it: what may leave is read straight from the kept table
            cells.plan = plan
            return cells
        yield Measure(plan, f"{self.name}o", (), tables)
        return cells

    def _used(self) -> set[int]:
        """Statistics that some output shows (not only as the unfiltered form of another)."""
        return {i for o in self.boundary.outputs if not o.findings for i in o.statistics}

    def _flags(self, judged: Judged, own: Flags) -> dict[str, Any]:
        flags: dict[str, Any] = {f"{OWN}own": own.tolist()}
        for i, shown in enumerate(judged.shown):
            flags[f"{OWN}ok{i}"] = shown.tolist()
            if i in judged.swapped:
                values = judged.swapped[i]
                known = shown & ~np.isnan(values)
                flags[f"{OWN}sw{i}"] = [float(v) if ok else None for v, ok in zip(values, known, strict=True)]
            if i in judged.stored:
                flags[f"{OWN}st{i}"] = [None if np.isnan(v) else float(v) for v in judged.stored[i]]
            if i in judged.without:
                flags[f"{OWN}wo{i}"] = judged.without[i].tolist()
        return flags

    def _as_stored(self, cut: Cut, near: Near, tables: dict[str, Any]) -> AnyNode:
        """Return the keys of cells beside the numbers of the stored populations they are answered as."""
        flags = self._flags(near.judged, np.ones(near.judged.height, bool))
        tables[f"{near.cut.name}.flags"] = flags
        beside = n.Concat((n.Scan(near.cut.name), n.Scan(f"{near.cut.name}.flags")), "horizontal")
        stats = self._stats(beside, (), flags, near.judged, (Alias(Cast(Column(INDEX), INT64), f"{OWN}q"),))
        columns = (*(Column(f"{OWN}s{i}") for i in range(len(self.boundary.statistics))), Column(ROWS))
        if not cut.keys:
            return n.Select(stats, columns)
        tables[f"{near.cut.name}.cells"] = {"only": near.cells, f"{OWN}q": near.numbers}
        on = (Cast(Column(INDEX), INT64),)
        chosen = n.Join(n.Scan(cut.name), n.Scan(f"{near.cut.name}.cells"), left_on=on, right_on=(Column("only"),))
        keys = tuple(Column(c) for c in self.boundary.key_columns)
        kept = n.Select(chosen, (*keys, Column(f"{OWN}q")))
        joined = n.Join(kept, stats, left_on=(Column(f"{OWN}q"),), right_on=(Column(f"{OWN}q"),))
        return n.Select(joined, (*keys, *columns))

    def _stats(
        self,
        table: AnyNode,
        keys: tuple[AnyExpr, ...],
        flags: Mapping[str, Any],
        judged: Judged,
        more: tuple[AnyExpr, ...] = (),
    ) -> AnyNode:
        """Return keys and statistics of a kept table, with what may not leave as null."""
        exprs: list[AnyExpr] = [*(Column(c) for c in self.boundary.key_columns if keys), *more]
        shown: list[AnyExpr] = []
        for i, s in enumerate(self.boundary.statistics):
            value: AnyExpr = Column(f"{OWN}s{i}")
            if i in judged.swapped:
                value = _from_middle(Column(f"{OWN}sw{i}"), s.dtype)
            value = as_shown(i, s, value, self.kept, self.effective, self.world)
            if flags and i in judged.stored:
                stored = _from_middle(Column(f"{OWN}st{i}"), s.dtype)
                value = Ternary(call("is_not_null", Column(f"{OWN}st{i}")), stored, value)
            if flags:
                value = Ternary(Column(f"{OWN}ok{i}"), value, Literal(NULL))
            shown.append(value)
        for i, s in enumerate(self.boundary.statistics):
            value = shown[i]
            if flags and s.without is not None and i in judged.without:
                value = Ternary(Column(f"{OWN}wo{i}"), shown[s.without], value)
            exprs.append(Alias(_steadily(value, s.dtype), f"{OWN}s{i}"))
        return n.Select(table, (*exprs, Column(ROWS)))

    def _single_row(self, single: tuple[Cut, Judged], tables: dict[str, Any]) -> AnyNode:
        cut, judged = single
        flags = self._flags(judged, np.ones(1, bool))
        tables[f"{cut.name}.flags"] = flags
        beside = n.Concat((n.Scan(cut.name), n.Scan(f"{cut.name}.flags")), "horizontal")
        # too few people altogether: no row
        enough = n.Filter(beside, call("ge", Column(ROWS), Literal(UINT32, min(self.k, 2**32 - 1))))
        return self._stats(enough, (), flags, judged)

    def _one_row(self, single: tuple[Cut, Judged], tables: dict[str, Any]) -> AnyNode:
        """Return the remainder row: `(other)` in text keys, null in others."""
        row = self._single_row(single, tables)
        keys: list[AnyExpr] = []
        for (_, _, _, dtype), column in zip(self.boundary.keys, self.boundary.key_columns, strict=True):
            value: AnyExpr = Literal(STRING, REMAINDER) if dtype == STRING else Cast(Literal(NULL), dtype)
            keys.append(Alias(value, column))
        stats = tuple(Column(f"{OWN}s{i}") for i in range(len(self.boundary.statistics)))
        return n.Select(row, (*keys, *stats, Column(ROWS)))

    def _spread(
        self, cut: Cut, name: str, cells: Indexes, single: tuple[Cut, Judged], tables: dict[str, Any]
    ) -> AnyNode:
        """Return the keys of some cells beside the numbers of another population."""
        row = self._single_row(single, tables)
        if not cut.keys:
            return row
        tables[name] = {"only": [int(i) for i in cells]}
        chosen = n.Join(
            n.Scan(cut.name), n.Scan(name), how="semi", left_on=(Cast(Column(INDEX), INT64),),
            right_on=(Column("only"),),
        )  # fmt: skip
        keys = n.Select(chosen, tuple(Column(c) for c in self.boundary.key_columns))
        return n.Join(keys, row, how="cross")

    @staticmethod
    def _marked(part: AnyNode, *, rest: bool) -> AnyNode:
        return n.WithColumns(part, (Alias(Literal(BOOLEAN, rest), REST),))

    def _output(self, cut: Cut, parts: list[AnyNode], *, joined: bool) -> AnyNode:
        boundary = self.boundary
        if not parts:
            none = n.Slice(self._stats(n.Scan(cut.name), cut.keys, {}, Judged(0, np.zeros(0))), 0, 0)
            parts = [self._marked(none, rest=False) if boundary.marked else none]
        plan = parts[0] if len(parts) == 1 else n.Concat(tuple(parts), "vertical_relaxed")
        keys = tuple(Alias(Column(c), name) for (name, *_), c in zip(boundary.keys, boundary.key_columns, strict=True))
        if cut.keys and (len(parts) > 1 or joined):
            plan = n.Sort(plan, tuple(Column(c) for c in boundary.key_columns))
        mark = (Column(REST),) if boundary.marked else ()
        return n.Select(plan, (*keys, *(self._column(o) for o in boundary.outputs), *mark))

    def _column(self, output: Output) -> AnyExpr:
        value = output.expr
        if output.findings:
            value = Literal(NULL)
        elif not output.statistics:
            # INVARIANT: a released column derives from data; constants alone keep their rows' number, nothing else
            value = output.expr
        return Alias(Cast(value, output.dtype, strict=False), output.name)

    def _account(
        self,
        cells: Cells,
        judged: Judged,
        own: Flags,
        whole: Flags,
        everybody: tuple[Cut, Judged] | None,
        others: tuple[Cut, Judged] | None,
        near: Near | None,
    ) -> None:
        outputs = [o for o in self.boundary.outputs if not o.findings]
        tables = [(judged, own)]
        if everybody is not None and whole.any():
            tables.append((everybody[1], np.ones(1, bool)))
        if others is not None:
            tables.append((others[1], np.ones(1, bool)))
        if near is not None:
            tables.append((near.judged, np.ones(near.judged.height, bool)))
        names = {i: {o.name for o in outputs if i in o.statistics} for i in range(len(self.boundary.statistics))}
        for part, stands in tables:
            for o in outputs:
                bad = np.zeros(part.height, bool)
                for i in o.statistics:
                    bad |= ~part.shown[i] & ~part.without.get(i, np.zeros(part.height, bool))
                cells.hidden += int((bad & stands).sum())
                cells.total += int(stands.sum())
            for i, rule in part.failed:
                # a statistic that only stands in for another is that other's failure where it is shown
                users = names[i] or self._users(i, part, names)
                if users:
                    cells.failed.setdefault(rule, set()).update(users)
        sizes = judged.rows[own]
        cells.smallest = int(sizes.min()) if sizes.size else 0

    def _users(self, i: int, part: Judged, names: Mapping[int, set[str]]) -> set[str]:
        found: set[str] = set()
        for j, s in enumerate(self.boundary.statistics):
            if s.without == i and (part.without.get(j, np.zeros(1, bool)) & ~part.shown[i]).any():
                found |= names[j]
        return found


def _clear(judged: Judged, i: int) -> Flags:
    """Return the cells in which what a statistic's conditions pick is answered as itself, far from any threshold."""
    clear = judged.shown[i].copy()
    for flags in (judged.without.get(i), judged.settled.get(i), judged.edges.get(i), judged.close.get(i)):
        clear &= ~flags if flags is not None else True
    return clear


def _steadily(value: AnyExpr, dtype: DType) -> AnyExpr:
    """Return a statistic without its last digits, which are those of the order in which rows and threads add up.

    INVARIANT: the same people and nearly the same read alike, to the last digit, and so do the same rows in another order.
    """
    if not dtype.is_float:
        return value
    # where nothing is shown, the value is null of no type
    typed = Cast(value, dtype, strict=False)
    return call("round_sig_figs", typed, digits=DIGITS if dtype == FLOAT64 else DIGITS_32)


def _from_middle(value: Expr, dtype: DType) -> AnyExpr:
    if dtype.kind in ("Date", "Datetime"):
        return Cast(Cast(Cast(value, INT32, strict=False), DATE), dtype)  # type: ignore[arg-type]
    return Cast(value, dtype, strict=False)  # type: ignore[arg-type]


def _known_rows(typed: Typed, private: Mapping[str, PrivateFacts]) -> int | None:
    """Return the rows of a frame without predicates, where the registered facts tell."""
    node = typed.node
    match node:
        case n.Scan(dataset=dataset):
            return private[dataset].rows
        case n.Filter() | n.Select() | n.WithColumns() | n.Sort() | n.Reverse() | n.DropNulls() | n.FillNull():
            return _known_rows(typed.inputs[0], private)
        case n.Join(how="inner" | "left" | "semi" | "anti") if not typed.inputs[1].frame.private:
            return _known_rows(typed.inputs[0], private) if typed.inputs[0].frame.private else None
        case _:
            return None
