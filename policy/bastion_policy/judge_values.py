"""The verdict on each cell and statistic: the rules about its values, and where its populations stand in the history."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from bastion_plan import nodes as n
from bastion_plan.dtypes import BOOLEAN, FLOAT64
from bastion_plan.expressions import Alias, AnyExpr, Cast, Column, Expr, Literal

from bastion_policy.boundary import Guard, Statistic, call
from bastion_policy.flow_strict import secret
from bastion_policy.guard_cells import (
    ROWS,
    Flags,
    Indexes,
    Measurer,
    Steps,
    both,
    floats,
    where,
)
from bastion_policy.guard_plans import as_float, lenient
from bastion_policy.history import Sets
from bastion_policy.judge_averages import Averages
from bastion_policy.judge_channels import channel_of
from bastion_policy.judge_corrections import tell_approved
from bastion_policy.judge_earlier import MOST_SNAPPED, as_earlier
from bastion_policy.judge_history import Memory
from bastion_policy.judge_people import PeopleOf, Stood, compared
from bastion_policy.judge_repeats import Evenness, Repeats
from bastion_policy.judge_rules import Judged, Rules
from bastion_policy.judge_snap import Standing
from bastion_policy.judge_strict import JUDGED, ColumnVerdicts, guard_columns
from bastion_policy.lineage import OWN, Form, Occurrence, Source
from bastion_policy.verdict import Measured


@dataclass
class ValueRules(Rules):
    """Judges the statistics of one cut: their values, and the populations they are about."""

    memory: Memory | None = None
    plan: bytes = b""
    #: judges populations that are given by their rows, and enters them where it is told to
    listed: Callable[[str, Sequence[Indexes], bool], Steps] | None = None
    #: whether the cut is of stored populations that stand for others
    instead: bool = False
    #: whether the cut is the whole table, by what the plan says
    everybody: bool = False
    #: which rows repeat, where that is to be looked at
    repeats: Repeats | None = None
    #: statistics in which people without a value count as having one
    filled: frozenset[int] = frozenset()
    #: (dataset, column) whose missing values alone leave rows out; None: something else does
    dropped: frozenset[tuple[str, str]] | None = None

    def __post_init__(self) -> None:
        self._names: list[Expr] = []
        self._stood: dict[tuple[int, str, Expr], Stood] = {}
        self._evenness: dict[tuple[int, Expr | None], Evenness] = {}

    # -- what is measured in the same pass

    def guard_columns(self) -> dict[str, AnyExpr]:
        """Return the guard columns of the statistics, to be computed with them."""
        extra: dict[str, AnyExpr] = {}
        self.cut.tied = self.effective.k
        for i, s in enumerate(self.cut.boundary.statistics):
            condition = both(s.population)
            if condition is not None:
                extra[f"{OWN}p{i}"] = call("sum", lenient(condition))
            for j, term in enumerate(s.terms):
                expr = lenient(where(condition, term.expr))
                match s.guard:
                    case Guard.SUM | Guard.SQUARES:
                        if not self._no_nulls(term) or condition is not None:
                            extra[f"{OWN}c{i}_{j}"] = call("count", expr)
                        if not self._sum_known(s, term):
                            extra[f"{OWN}g{i}_{j}"] = call("sum", as_float(expr, term.dtype))
                        if (middle := self._halved(term)) is not None:
                            extra[f"{OWN}h{i}"] = call("sum", call("gt", as_float(expr, term.dtype), middle))
                    case Guard.HELD:
                        bits = Cast(expr, BOOLEAN, strict=False)
                        extra[f"{OWN}h{i}"] = call("sum", bits)
                        extra[f"{OWN}f{i}"] = call("sum", call("not_", bits))
                    case _:
                        pass
        return extra | guard_columns(self.cut.boundary.statistics, self.effective, self.world)

    def lists(self) -> dict[str, AnyExpr]:
        """Return the columns that list who is in the populations of the cells, for the history."""
        if self.memory is None:
            return {}
        found: dict[str, AnyExpr] = {}
        for s in self.cut.boundary.statistics:
            for name, condition, _ in self._asked(s):
                found |= self.memory.columns(name, condition)
            for population in self._of_people(s)[1]:
                found |= self.memory.columns(self._named(population), population)
        return found

    @staticmethod
    def _chosen(s: Statistic) -> Expr:
        """Return the condition inside a statistic that picks its rows."""
        condition = both(s.population)
        assert condition is not None
        return condition

    @staticmethod
    def _present(s: Statistic) -> Expr:
        """Return the condition that a row is in a statistic's numbers."""
        present = both([*s.population, *(call("is_not_null", t.expr) for t in s.terms)])
        assert present is not None
        return present

    def _asked(self, s: Statistic) -> list[tuple[str, Expr, frozenset[Source]]]:
        """Return the populations of a statistic besides its cell: (name, condition, sources of the channel).

        INVARIANT: what a condition inside a statistic picks is a population; and so are those who have a value, where some
        have none.
        """
        found: list[tuple[str, Expr, frozenset[Source]]] = []
        conditions: list[Expr] = list(s.population)
        if s.guard is Guard.HELD and s.population and (s.function == "mean" or self._watched(s.terms[0])):
            # the mean's divisor counts them, and of a watched column they may be nearly all alike
            found.append((self._named(self._chosen(s)), self._chosen(s), frozenset()))
        if s.guard is Guard.HELD or self._counts(s):
            conditions.append(Cast(lenient(s.terms[0].expr), BOOLEAN, strict=False))
        if conditions:
            condition = both(conditions)
            assert condition is not None
            found.append((self._named(condition), condition, self._secret(s)))
        if s.guard in (Guard.SUM, Guard.SQUARES, Guard.PRODUCTS) and s.function != "count":
            missing = [t for t in s.terms if self._may_miss(t)]
            if missing:
                condition = both([*s.population, *(call("is_not_null", t.expr) for t in missing)])
                assert condition is not None
                sources = frozenset(x for t in missing for x in t.value.sources if not x.counted)
                found.append((self._named(condition), condition, sources))
        return found

    def _secret(self, s: Statistic) -> frozenset[Source]:
        """Return the secret columns whose missing values a statistic counts under the strict profile.

        INVARIANT: what they pick is no population of cells, else those of later questions would depend on secret values.
        """
        if self.effective.profile != "strict" or s.guard is not Guard.HELD:
            return frozenset()  # what a quasi or public column picks is a population like any other
        return frozenset(x for x in s.sources if secret(frozenset({x}), self.world))

    def _named(self, condition: Expr) -> str:
        if condition not in self._names:
            self._names.append(condition)
        return f"{OWN}l{self._names.index(condition)}"

    def returned(self) -> tuple[str, ...]:
        """Return the columns that the judge needs to see."""
        own = [f"{OWN}s{i}" for i, s in enumerate(self.cut.boundary.statistics) if self._reads_value(s)]
        tied = [f"{OWN}e{i}" for i, s in enumerate(self.cut.boundary.statistics) if s.guard is Guard.TIED]
        return (ROWS, *own, *tied, *self.cut.extra)

    def _reads_value(self, s: Statistic) -> bool:
        return s.guard is Guard.SQUARES or (s.guard is Guard.SUM and any(self._sum_known(s, t) for t in s.terms))

    def _counts(self, s: Statistic) -> bool:
        """Whether a statistic counts those who say yes under the strict profile, which judges it as a column."""
        strict = self.effective.profile == "strict" and s.guard in (Guard.SUM, Guard.SQUARES) and bool(s.terms)
        return strict and s.terms[0].dtype.kind == "Boolean" and self._chooses(s.terms[0])

    # -- the verdicts

    def judge(self, measurer: Measurer, table: Measured, own: Flags) -> Steps:
        """Return what may be shown of the cells `own`; the others are not looked at."""
        found = Judged(measurer.size, floats(table[ROWS]))
        strict = ColumnVerdicts(self) if self.effective.profile == "strict" else None
        for i, s in enumerate(self.cut.boundary.statistics):
            shown = own.copy()
            if s.population:
                population = yield from self._population(measurer, table, i, s, shown, found)
                shown = population
            passed = yield from self._rule(measurer, table, i, s, shown, found)
            few = found.few.get(i, np.zeros(measurer.size, bool))
            passed = passed & ~few
            if strict is not None:
                # INVARIANT: whatever fails looks the same, too few values included
                if s.guard in JUDGED:
                    verdict = yield from strict.passes(measurer, table, i, s, shown, found.without.get(i))
                    passed = passed & verdict
                if (shown & ~passed).any():
                    found.failed.append((i, _RULES.get(s.guard, "held-values")))
            else:
                alike = found.alike.get(i, np.zeros(measurer.size, bool))
                if (shown & ~passed & ~few & alike).any():
                    found.failed.append((i, "homogeneity"))
                if (shown & ~passed & ~few & ~alike).any() and s.guard not in (Guard.INTERVAL, Guard.TIED):
                    found.failed.append((i, _RULES[s.guard]))
            if i in self.filled:
                if (shown & passed).any():
                    found.failed.append((i, "missing-values"))
                passed = passed & False
            even = yield from self._even(measurer, i, s, shown, passed, found)
            passed = passed & even
            # INVARIANT (strict): what is stored depends on who is in a population alone, not on whether its values pass
            asked = shown & even if strict is not None else shown & passed
            remembered = yield from self._remembered(measurer, i, s, asked, found)
            found.shown.append(remembered & passed)
        return found

    def _even(self, m: Measurer, i: int, s: Statistic, shown: Flags, passed: Flags, found: Judged) -> Steps:
        """Return the cells in which a statistic's rows are in equally often, and none weighs more than another."""
        every, judged = np.ones(m.size, bool), list[tuple[str, Flags, Flags]]()
        if self.repeats is None or not shown.any():
            return every
        if self.repeats.concerned(s):
            judged.append(("uneven-rows", *(yield from self.repeats.judge(m, s, self._evenness))))
        if self._averages.weighed(s):
            judged.append(("uneven-means", *(yield from self._averages.judge(m, s))))
        for rule, even, close in judged:
            # where the cell is answered instead of a condition, it is the cell's rows that count
            even = even | found.without.get(i, shown & False)
            found.close[i] = found.close.get(i, shown & False) | (shown & close)
            if (shown & ~even).any():
                found.failed.append((i, rule))
            every &= even
        found.uneven[i] = shown & passed & ~every
        return every

    @cached_property
    def _averages(self) -> Averages:
        assert self.repeats is not None
        return Averages(self.repeats, self.world, self.private, self.cut.nested)

    def _remembered(self, m: Measurer, i: int, s: Statistic, shown: Flags, found: Judged) -> Steps:
        """Return where the statistic's own populations stand beside what was released before."""
        memory = self.memory
        if memory is None or not memory.on:
            return shown
        asked = self._asked(s)
        columns, populations = self._of_people(s)
        for at, (name, condition, sources) in enumerate(asked):
            more = at + 1 < len(asked) or bool(columns)
            shown = yield from self._stands(m, memory, i, name, condition, sources, shown, found, more=more)
            for source in sorted(sources, key=lambda x: x.column) if len(sources) > 1 else ():
                # INVARIANT: what is told of several columns together is told of those who have a value in each
                alone = frozenset({source})
                shown = yield from self._stands(m, memory, i, name, condition, alone, shown, found, more=more)
            if at == 0 and len(asked) > 1 and s.guard is Guard.HELD and i in found.inner:
                found.among[i] = found.inner[i]
        for of, population in product(columns, populations):
            shown = yield from self._people_stand(m, memory, i, of, population, shown, found)
        return shown

    def witness(self, m: Measurer) -> Steps:
        """Enter what statistics are about into the history as released, whatever the rules say of it."""
        memory = self.memory
        assert memory is not None
        for s in self.cut.boundary.statistics:
            for name, _, sources in self._asked(s):
                asked = yield from memory.members(m, name)
                for part in [sources, *(frozenset({x}) for x in sources if len(sources) > 1)]:
                    of = {x.occurrence for x in part}
                    mine = [i for i, o in enumerate(memory.occurrences) if not of or o.index in of]
                    alone = Memory(memory.history, tuple(memory.occurrences[i] for i in mine), memory.effective)
                    yield from alone.wholes(m, part)
                    alone.approve([asked[i] for i in mine], channel=channel_of(part))
                if s.population and name == self._named(self._chosen(s)):
                    tell_approved(memory, s, asked, self.world)
            columns, populations = self._of_people(s)
            for (o, source), population in product(columns, populations):
                asked = yield from memory.members(m, self._named(population))
                self._people(memory, o, source).approve(asked[memory.occurrences.index(o)])

    def _of_people(self, s: Statistic) -> tuple[list[tuple[Occurrence, Source]], list[Expr]]:
        """Return (columns, populations) of a statistic that are compared by people: of tables with several rows of one."""
        memory = self.memory
        if memory is None or not memory.on or not s.terms or s.function in ("count", "null_count"):
            return [], []
        if self.effective.profile != "strict" and all(t.value.form is Form.NULLS for t in s.terms):
            return [], []  # which values are missing is public
        of = {o.index: o for o in memory.occurrences if memory.lens(o).roster.several}
        found = [(of[x.occurrence], x) for x in compared(s.sources, self.world) if x.occurrence in of]
        populations = [self._present(s)] if found else []
        if found and s.guard is Guard.HELD:
            chosen = both([*s.population, Cast(lenient(s.terms[0].expr), BOOLEAN, strict=False)])
            assert chosen is not None
            populations.append(chosen)
        return found, populations

    def _people(self, memory: Memory, o: Occurrence, source: Source) -> PeopleOf:
        return PeopleOf(memory, o, source.column, self.world.facts[o.dataset].policy_version > 1)

    def _people_stand(
        self,
        m: Measurer,
        memory: Memory,
        i: int,
        of: tuple[Occurrence, Source],
        population: Expr,
        shown: Flags,
        found: Judged,
    ) -> Steps:
        """Return where the people stand whose rows a statistic is about."""
        (o, source), none = of, np.zeros(m.size, bool)
        mine = shown & ~found.without.get(i, none) & ~found.settled.get(i, none) & ~found.elsewhere(i)
        if not mine.any():
            return shown
        asked = yield from memory.members(m, self._named(population))
        rows, per_person = asked[memory.occurrences.index(o)], bool(self.cut.nested.get(o.index, 0))
        if per_person and self.private[o.dataset].columns[source.column].nulls:
            # INVARIANT: a row without a value has no weight in its person's number
            rows = rows.among((yield from memory.valued(m, o, source)))
        people, key = self._people(memory, o, source), (o.index, source.column, population)
        known = self._stood.get(key)
        if known is None:
            stood = people.stand(rows, mine, per_person=per_person)
        else:
            # another statistic of the same rows: what it was told of is the same
            stood = known.joined(people.stand(rows, mine & ~known.looked, per_person=per_person))
        self._stood[key] = stood
        found.edges[i] = found.edges.get(i, none) | stood.edge
        found.people.append((i, source, people, stood))
        nobody = mine & (rows.sizes == 0)
        if (mine & ~stood.far & ~nobody).any():
            found.failed.append((i, "same-people"))
        if (stood.far & ~stood.cleared).any():
            found.failed.append((i, memory.refusal))
        return shown & (stood.cleared | nobody | ~mine)

    def _stands(
        self,
        m: Measurer,
        memory: Memory,
        i: int,
        name: str,
        condition: Expr,
        sources: frozenset[Source],
        shown: Flags,
        found: Judged,
        *,
        more: bool = False,
    ) -> Steps:
        # what decides who is in these populations, and where they come from
        plan = hashlib.sha256(self.plan + repr(condition).encode()).digest()[:12]
        # where the cell, nobody or everybody is answered instead, there is no population of its own
        none = np.zeros(m.size, bool)
        # INVARIANT: where another population was told, it was compared in all channels; that of the cell is not told of
        mine = shown & ~found.without.get(i, none) & ~found.settled.get(i, none) & ~found.elsewhere(i)
        if not mine.any():
            return shown
        asked = yield from memory.members(m, name)
        if sources:
            # those who have a value are a population of the table that holds it; of a joined one they are no other than in the cell
            of = [i for i, o in enumerate(memory.occurrences) if o.index in {s.occurrence for s in sources}]
            asked, searched = [asked[i] for i in of], memory.searched
            memory = Memory(memory.history, tuple(memory.occurrences[i] for i in of), memory.effective)
            memory.searched = searched
            (first, *_), lists = memory.occurrences, [bool(self.cut.nested.get(o.index, 0)) for o in memory.occurrences]
            if len(sources) == 1 and (len(self.cut.boundary.statistics[i].sources) > 1 or any(lists)):
                (source,) = sources
                valued = yield from memory.valued(m, first, source)
                asked = [sets.among(valued) for sets in asked]
        # INVARIANT (strict): what is not the very same is not told there, so the groups that are would tell where somebody came
        whole = yield from memory.wholes(m, sources, near=self.effective.profile != "strict")
        channel = channel_of(sources)
        far, cleared = none, none
        if whole:
            s = self.cut.boundary.statistics[i]
            # INVARIANT: of the whole table those who have a value are known without data; who meets a condition is not. Of a stored
            # population they are, where which values are missing is public
            public = self.effective.profile != "strict"
            dropped = public and self.dropped is not None and self.dropped <= {(x.dataset, x.column) for x in sources}
            known = self.everybody or (self.instead and public) or dropped
            whole_table = known and not s.population and s.guard is not Guard.HELD
            standing = memory.standing(asked, mine, channel, plan, whole=whole_table)
            found.edges[i] = found.edges.get(i, none) | standing.edge
            far, cleared = standing.far, memory.enter(asked, standing.far, channel, plan=plan)
        if not channel:
            found.inner[i] = (asked, cleared)
        answered = none
        if whole and (mine & ~cleared).any():
            left = mine & ~cleared
            if len(self.cut.occurrences) == 1:
                answered = yield from self._as_stored(m, memory, i, asked, channel, left, standing, found, more=more)
        if (mine & ~far & ~answered).any():
            found.failed.append((i, "history"))
        if (far & ~cleared & ~answered).any():
            found.failed.append((i, memory.refusal))
        if self.memory is not None:
            self.memory.beyond |= memory.beyond
        return shown & (cleared | ~mine | answered)

    def _as_stored(
        self,
        m: Measurer,
        memory: Memory,
        i: int,
        asked: Sequence[Sets],
        channel: str,
        left: Flags,
        standing: Standing,
        found: Judged,
        *,
        more: bool,
    ) -> Steps:
        """Answer a statistic's own populations as stored ones, where there are; returns where.

        INVARIANT: the number is that of the stored population, all of it, and passes the rules about values there. more: those
        of it who have a value have channels of their own, in which nobody may have compared them before: it is judged as a new
        answer there.
        """
        answered = np.zeros(m.size, bool)
        s = self.cut.boundary.statistics[i]
        alone = i if s.without is None else s.without
        if (
            self.listed is None
            or (more and self.instead)
            or len(memory.occurrences) != 1
            or any(self.cut.nested.values())
            or self.effective.rounding is not None
            or not (s.guard in (Guard.SUM, Guard.SQUARES) or self._only_counts(s))
            or s.dtype.is_temporal
        ):
            return answered
        standing = as_earlier(memory, standing, channel)
        populations: dict[tuple[int, int], Indexes] = {}
        places: list[tuple[int, tuple[int, int]]] = []
        for cell in np.flatnonzero(left)[:MOST_SNAPPED]:
            at: tuple[int, int] | None = (int(standing.part[cell]), int(standing.stored[cell]))
            if not standing.near[cell]:
                at = memory.instead(asked, int(cell), channel) if standing.far[cell] else None
            rows = memory.population(*at, channel) if at is not None else None
            if at is not None and rows is not None:
                populations[at] = rows
                places.append((int(cell), at))
        if not places:
            return answered
        if self._only_counts(s):
            values = found.stored.setdefault(i, np.full(m.size, np.nan))
            for cell, at in places:
                of = found.rows[cell] if s.function == "mean" else 1.0
                values[cell], answered[cell] = populations[at].size / of, True
            return answered
        cut, judged = yield from self.listed(f"{self.cut.name}e{i}{channel and 'v'}", list(populations.values()), more)
        value = f"{OWN}s{alone}"
        answer = yield from m.ask(n.Select(n.Scan(cut.name), (Alias(Cast(Column(value), FLOAT64), value),)))
        numbers = {at: position for position, at in enumerate(populations)}
        values = found.stored.setdefault(i, np.full(m.size, np.nan))
        for cell, at in places:
            position = numbers[at]
            items = judged.told.get(alone, {}).get(position)
            number = (floats(answer[value]) if items is None else judged.stored[alone])[position]
            if judged.shown[alone][position] and np.isfinite(number):
                values[cell], answered[cell] = number, True
                (o,) = memory.occurrences
                stored = memory.channel(o, channel).population(*at)
                found.told.setdefault(i, {})[int(cell)] = stored if items is None else items
        return answered

    def _only_counts(self, s: Statistic) -> bool:
        """Whether a statistic counts those in a cell who meet a condition on quasi and public columns, known of all: a number of people.

        INVARIANT: of a stored population it tells what `len` does, which its group is answered with as well.
        """
        if s.guard is not Guard.HELD or s.function not in ("sum", "mean") or s.population or len(s.terms) != 1:
            return False
        sources = s.terms[0].value.sources
        # a mean is of those of whom the condition is known
        missing = any(self.private[x.dataset].columns[x.column].nulls for x in sources if not x.counted)
        return not (missing and s.function == "mean") and not secret(sources, self.world)

    def _population(self, m: Measurer, table: Measured, i: int, s: Statistic, own: Flags, found: Judged) -> Steps:
        """Inner filters choose a population of their own inside the cell.

        INVARIANT: within k units of nobody it is answered as nothing; within k units of the cell as the cell, so that 0
        and 1 .. k-1 are one outcome at both ends.
        """
        k = self.effective.k
        condition = both(s.population)
        assert condition is not None
        rows = floats(table[f"{OWN}p{i}"])
        enough = yield from m.at_least(k, rows, own, condition)
        rest = call("not_", call("fill_null", condition, Literal(BOOLEAN, False)))
        far = yield from m.at_least(k, found.rows - rows, own & enough, rest)
        found.without[i] = own & enough & ~far
        return own & enough


_RULES = {
    Guard.SUM: "dominance",
    Guard.SQUARES: "dominance",
    Guard.PRODUCTS: "leverage",
    Guard.HELD: "held-values",
    Guard.TIED: "tied-values",
    Guard.NOTHING: "min-agg-size",
}
