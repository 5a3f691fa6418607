"""The rules about values: dominance, homogeneity, leverage, held values, tied values, per cell and statistic."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from bastion_plan import nodes as n
from bastion_plan.dtypes import BOOLEAN, FLOAT64
from bastion_plan.expressions import Alias, AnyExpr, Cast, Column, Expr, Literal, Over

from bastion_policy.boundary import Guard, Statistic, Term, call
from bastion_policy.facts import PrivateFacts
from bastion_policy.flow_strict import secret
from bastion_policy.guard_cells import (
    INDEX,
    ROWS,
    Cut,
    Flags,
    Floats,
    Indexes,
    Measurer,
    Steps,
    X,
    both,
    floats,
    ints,
    lit,
    where,
)
from bastion_policy.guard_plans import as_float, lenient
from bastion_policy.history import Sets
from bastion_policy.history.sets import Items
from bastion_policy.judge_history import MOST_SNAPPED, Memory, Standing, channel_of
from bastion_policy.judge_homogeneity import differing, threshold, watched
from bastion_policy.judge_intervals import intervals
from bastion_policy.judge_people import PeopleOf, Stood, compared
from bastion_policy.judge_repeats import Evenness, Repeats
from bastion_policy.judge_strict import JUDGED, ColumnVerdicts, guard_columns
from bastion_policy.lineage import OWN, Form, Occurrence, Source, Value, World
from bastion_policy.model import Effective
from bastion_policy.products import LEAST
from bastion_policy.rounding import round_whole
from bastion_policy.statistics import chooses, declared
from bastion_policy.verdict import Measured

_ONE = Value(form=Form.COLUMN, low=0.0, high=1.0)


@dataclass
class Judged:
    """One table of cells after the value rules.

    shown: per statistic, in which cells it may leave. swapped: values shown instead (interval middles). without: where
    the statistic is answered without its own conditions. failed: rules that failed, by statistic. few: where fewer than k
    units have a value at all. alike: where fewer people differ than homogeneity asks for. settled: where a condition is
    answered as nobody or everybody. stored: numbers of stored populations of their own channel, shown instead (NaN
    elsewhere). told: these populations, as items, by statistic and cell. paired: people with a value in both arguments, by
    covariance. inner: populations that conditions inside statistics
    pick, by statistic. among: where such a statistic is itself a condition's count, whom it is counted among. edges: where such a population lies at a threshold. uneven: where only rows that are in more often than
    others keep a statistic from being told. close: where whether they are may lie at a single one. people: what became of
    populations of people with several rows, by statistic and column.
    """

    height: int
    rows: Floats
    shown: list[Flags] = field(default_factory=list)
    swapped: dict[int, Floats] = field(default_factory=dict)
    without: dict[int, Flags] = field(default_factory=dict)
    failed: list[tuple[int, str]] = field(default_factory=list)
    few: dict[int, Flags] = field(default_factory=dict)
    alike: dict[int, Flags] = field(default_factory=dict)
    settled: dict[int, Flags] = field(default_factory=dict)
    stored: dict[int, Floats] = field(default_factory=dict)
    told: dict[int, dict[int, Items]] = field(default_factory=dict)
    paired: dict[int, Floats] = field(default_factory=dict)
    inner: dict[int, tuple[Sequence[Sets], Flags]] = field(default_factory=dict)
    among: dict[int, tuple[Sequence[Sets], Flags]] = field(default_factory=dict)
    edges: dict[int, Flags] = field(default_factory=dict)
    uneven: dict[int, Flags] = field(default_factory=dict)
    close: dict[int, Flags] = field(default_factory=dict)
    people: list[tuple[int, Source, PeopleOf, Stood]] = field(default_factory=list)

    def elsewhere(self, i: int) -> Flags:
        """Return the cells in which a statistic is that of another population."""
        return np.isin(np.arange(self.height), list(self.told.get(i, ())))

    def speaks_of(self, i: int, sets: Sets) -> Sets:
        """Return whom the numbers of a statistic are about. sets: who is in its populations."""
        told = self.told.get(i)
        if not told:
            return sets
        cells, items = sets.where(~self.elsewhere(i)).memberships
        more = np.repeat(list(told), [len(x) for x in told.values()])
        return Sets.of(sets.count, np.append(cells, more), np.concatenate([items, *told.values()]))


@dataclass
class ValueRules:
    """Judges the statistics of one cut."""

    cut: Cut
    effective: Effective
    world: World
    private: dict[str, PrivateFacts]
    memory: Memory | None = None
    plan: bytes = b""
    #: judges populations that are given by their rows, and enters them where it is told to
    listed: Callable[[str, Sequence[Indexes], bool], Steps] | None = None
    #: whether the cut is of stored populations that stand for others
    instead: bool = False
    #: whether the cut is the whole table, by what the plan says
    everybody: bool = False
    #: whether its numbers are not told, but follow from told ones
    following: bool = False
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
            condition = both(s.population)
            assert condition is not None
            found.append((self._named(condition), condition, frozenset()))
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

    def _declared(self, term: Term) -> bool:
        return declared(term.value, self.world)

    def _secret(self, s: Statistic) -> frozenset[Source]:
        """Return the secret columns whose missing values a statistic counts under the strict profile.

        INVARIANT: what they pick is no population of cells, else those of later questions would depend on secret values.
        """
        if self.effective.profile != "strict" or s.guard is not Guard.HELD:
            return frozenset()  # what a quasi or public column picks is a population like any other
        return frozenset(x for x in s.sources if secret(frozenset({x}), self.world))

    def _may_miss(self, term: Term) -> bool:
        """Whether some rows may have no value of an argument."""
        stored = [s for s in term.value.sources if not s.counted]
        nulls = (self.private[s.dataset].columns[s.column].nulls for s in stored)
        return term.value.makes_nulls or (bool(stored) and self.cut.rows_per_unit is None) or any(nulls)

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

    def _chooses(self, term: Term) -> bool:
        """Whether an argument is a yes-or-no column that could choose people."""
        return chooses(term.value, self.world)

    def _counts(self, s: Statistic) -> bool:
        """Whether a statistic counts those who say yes under the strict profile, which judges it as a column."""
        strict = self.effective.profile == "strict" and s.guard in (Guard.SUM, Guard.SQUARES) and bool(s.terms)
        return strict and s.terms[0].dtype.kind == "Boolean" and self._chooses(s.terms[0])

    def _watched(self, term: Term) -> bool:
        """Whether homogeneity holds for an argument."""
        return watched(term, self.effective, self.world, self.private)

    def _halved(self, term: Term) -> Literal | None:
        """Return a number between the two values of a watched argument, None where there may be more than two."""
        middle = threshold(term, self.private) if self._watched(term) else None
        return None if middle is None else Literal(FLOAT64, middle)

    def _sum_known(self, s: Statistic, term: Term) -> bool:
        """Whether the sum of the argument can be read off the statistic itself."""
        if s.function not in ("sum", "mean") or len(s.terms) != 1 or term.dtype.is_temporal:
            return False
        if s.function == "mean" or term.dtype.is_float or term.dtype.kind == "Boolean":
            return True
        # INVARIANT: sums of whole numbers wrap around; they are read only where they cannot
        edges = (term.value.low, term.value.high)
        rows = max((p.rows for p in self.private.values()), default=0)
        return None not in edges and rows * max(abs(e) for e in edges if e is not None) < 2**62

    def _no_nulls(self, term: Term) -> bool:
        plain = term.value.plain
        if plain is None or self.cut.rows_per_unit is None:
            return False
        measured = self.private[plain.dataset].columns.get(plain.column)
        return measured is not None and measured.nulls == 0

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
        """Return the cells in which a statistic's rows are in equally often."""
        if self.repeats is None or not self.repeats.concerned(s) or not shown.any():
            return np.ones(m.size, bool)
        even, close = yield from self.repeats.judge(m, s, self._evenness)
        # where the cell is answered instead of a condition, it is the cell's rows that count
        even |= found.without.get(i, shown & False)
        found.uneven[i], found.close[i] = shown & passed & ~even, shown & close
        if (shown & ~even).any():
            found.failed.append((i, "uneven-rows"))
        return even

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
                    alone.approve([asked[i] for i in mine], channel_of(part))
            columns, populations = self._of_people(s)
            for (o, source), population in product(columns, populations):
                asked = yield from memory.members(m, self._named(population))
                self._people(memory, o, source).approve(asked[memory.occurrences.index(o)])

    def _of_people(self, s: Statistic) -> tuple[list[tuple[Occurrence, Source]], list[Expr]]:
        """Return (columns, populations) of a statistic that are compared by people: of tables with several rows of one."""
        memory = self.memory
        if memory is None or not memory.on or not s.terms or s.function in ("count", "null_count"):
            return [], []
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
        whole = yield from memory.wholes(m, sources)
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
            or s.guard not in (Guard.SUM, Guard.SQUARES)
            or s.dtype.is_temporal
        ):
            return answered
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

    def _rule(self, m: Measurer, table: Measured, i: int, s: Statistic, shown: Flags, found: Judged) -> Steps:
        match s.guard:
            case Guard.SUM | Guard.SQUARES if s.terms and self.effective.profile == "strict":
                return np.ones(m.size, bool)  # its columns are judged, whatever the statistic
            case Guard.SUM | Guard.SQUARES:
                return (yield from self._dominance(m, table, i, s, shown, found))
            case Guard.PRODUCTS:
                return (yield from self._leverage(m, i, s, shown, found))
            case Guard.HELD:
                found.swapped[i] = yield from self._held(m, table, i, s, shown, found)
                return np.ones(m.size, bool)
            case Guard.TIED:
                held = ints(table[f"{OWN}e{i}"]) > 0
                # INVARIANT (strict): whether there is a value that k hold is no reason to withhold: null says as much
                differing = yield from self._differing(m, i, s, shown & held, found)
                return differing & (held | (self.effective.profile == "strict"))
            case Guard.INTERVAL:
                base = self.effective.rounding.base if self.effective.rounding is not None else 1
                values, known = yield from intervals(m, s, self.world, self.effective.k, shown, base)
                found.swapped[i] = values
                differing = yield from self._differing(m, i, s, shown & known, found)
                return differing & (known | (self.effective.profile == "strict"))
            case _:
                return np.ones(m.size, bool)

    def _dominance(self, m: Measurer, table: Measured, i: int, s: Statistic, shown: Flags, found: Judged) -> Steps:
        ok = np.ones(m.size, bool)
        if not s.terms:  # a count: the column of ones
            one = Term(lit(1), _ONE, FLOAT64)
            rows = floats(table.get(f"{OWN}p{i}", found.rows))
            return (yield from self._sum_rule(m, one, rows, shown, both(s.population)))
        for j, term in enumerate(s.terms):
            count = table.get(f"{OWN}c{i}_{j}")
            counted = floats(found.rows if count is None else count)
            total = table.get(f"{OWN}g{i}_{j}")
            if total is None:
                total = floats(table[f"{OWN}s{i}"])
                if s.function == "mean":
                    with np.errstate(over="ignore"):
                        total = np.where(counted > 0, np.nan_to_num(total) * counted, 0.0)
            deviations = None
            if term.value.low is not None:
                with np.errstate(over="ignore", invalid="ignore"):
                    deviations = floats(total) - counted * term.value.low
            few = np.zeros(m.size, bool)
            if count is not None:
                # INVARIANT: a sum of nobody and one of fewer than k look the same, whatever the value rules say
                present = call("is_not_null", lenient(term.expr))
                enough = yield from m.at_least(self.effective.k, counted, shown, both([*s.population, present]))
                few = shown & ~enough
                found.few[i] = found.few.get(i, np.zeros(m.size, bool)) | few
            if (middle := self._halved(term)) is not None:
                asked = shown & ok & ~few
                passed = yield from self._homogeneous(m, table, i, term, middle, counted, asked, both(s.population))
                found.alike[i] = found.alike.get(i, shown & False) | (asked & ~passed)
                ok &= passed | ~asked
            above = counted if self._declared(term) else None
            passed = yield from self._sum_rule(m, term, deviations, shown & ok & ~few, both(s.population), above)
            ok &= passed
            if s.guard is Guard.SQUARES:
                passed = yield from self._square_rule(m, table, i, s, term, counted, shown & ok & ~few)
                ok &= passed
        asked = shown & ok & ~found.few.get(i, shown & False)
        return ok & (yield from self._differing(m, i, s, asked, found))

    def _sum_rule(
        self,
        m: Measurer,
        term: Term,
        deviations: Floats | None,
        shown: Flags,
        condition: Expr | None,
        counted: Floats | None = None,
    ) -> Steps:
        """Dominance of one argument: first by bounds, then exactly where they prove nothing.

        INVARIANT: it holds of the deviations from the lower bound and of those from the upper one: a sum tells as much of who
        is far below the top as of who is far above the bottom, wherever everybody knows the top. counted: rows with a value,
        where it is to hold from above.
        """
        if not self._dominance_on():
            return np.ones(m.size, bool)
        low, high = term.value.low, term.value.high
        bounded = low is not None and high is not None
        proven = np.zeros(m.size, bool)
        x = as_float(lenient(where(condition, term.expr)), term.dtype)
        ok = np.ones(m.size, bool)
        for side, bound in (("low", low), ("high", high))[: 1 if counted is None else 2]:
            if bounded and deviations is not None:
                with np.errstate(over="ignore", invalid="ignore"):
                    total = deviations if side == "low" or counted is None else counted * (high - low) - deviations  # type: ignore[operator]
                proven = self._proven(total, high - low)  # type: ignore[operator]
            rest = np.flatnonzero(shown & ok & ~proven)
            if not rest.size:
                continue
            edge = bound if bound is not None else (yield from self._edge(m, term, "min" if side == "low" else "max"))
            ends = (x, Literal(FLOAT64, float(edge)))
            contribution = call("sub", *(ends if side == "low" else ends[::-1]))
            ok &= (yield from self._exact(m, rest, contribution, proven)) | ~shown
        return ok

    def _square_rule(
        self, m: Measurer, table: Measured, i: int, s: Statistic, term: Term, counted: Floats, shown: Flags
    ) -> Steps:
        ok = np.zeros(m.size, bool)
        low, high = term.value.low, term.value.high
        variance = floats(table[f"{OWN}s{i}"])
        if s.function == "std":
            variance = variance**2
        ddof = int(getattr(s.call, "option", lambda *_: 1)("ddof", 1))
        if low is not None and high is not None:
            # a deviation from the mean is at most the width of the bounds
            with np.errstate(over="ignore"):
                width = float(np.square(np.float64(high - low)))
                ok = self._proven(variance * (counted - ddof), width)
        rest = np.flatnonzero(shown & ~ok)
        if not self._dominance_on() or not rest.size:
            return np.ones(m.size, bool) if not self._dominance_on() else ok | ~shown
        squares = self._squares(term, both(s.population))
        return (yield from self._exact(m, rest, squares, ok)) | ~shown

    @staticmethod
    def _squares(term: Term, condition: Expr | None) -> AnyExpr:
        x = as_float(lenient(where(condition, term.expr)), term.dtype)
        mean = Over(call("mean", x), (Column(INDEX),))
        deviation = call("sub", x, mean)
        return call("mul", deviation, deviation)

    def _dominance_on(self) -> bool:
        return self.effective.p is not None or bool(self.effective.shares)

    def _proven(self, total: Floats, width: float) -> Flags:
        """Return where bounds alone prove that nobody dominates.

        INVARIANT: with M rows per unit and contributions of a row in [0, B], the two largest units have at most 2*M*B, and
        (T - t1 - t2) / t1 >= (T - 2MB) / MB falls with t1, so T >= (2 + p) * M * B proves the p% rule; the n-k rule is
        proven by n * M * B <= share * T. NaN and infinity prove nothing.
        """
        most = self.cut.rows_per_unit
        if most is None or not np.isfinite(width):
            return np.zeros(total.shape, bool)
        top = most * width
        with np.errstate(invalid="ignore", over="ignore"):
            ok = np.isfinite(total) & (total >= 0)
            if self.effective.p is not None:
                ok &= total - 2 * top >= self.effective.p * top
            for count, share in self.effective.shares:
                ok &= count * top <= share * total
        return ok

    def _exact(self, m: Measurer, rest: np.ndarray, contribution: AnyExpr, ok: Flags) -> Steps:
        passed = ok.copy()
        passed[rest] = True
        for occurrence in self.cut.occurrences:
            total, one, two = yield from m.contributions(occurrence, rest, contribution)
            with np.errstate(invalid="ignore", over="ignore"):
                good = np.isfinite(total)
                if self.effective.p is not None:
                    good &= total - one - two >= self.effective.p * one
                for count, share in self.effective.shares:
                    top = one if count == 1 else one + (count - 1) * two
                    good &= top <= share * total
                # nobody deviates from the bound at all: nobody dominates
                good |= total == 0
            passed[rest] &= good[rest]
        return passed

    def _edge(self, m: Measurer, term: Term, function: str) -> Steps:
        """The smallest or largest value in the whole cut, where no bound is known."""
        x = call(function, as_float(lenient(term.expr), term.dtype))
        answer = yield from m.ask(n.Select(self.cut.plan(False), (Alias(x, X),)))
        value = floats(answer[X])
        return float(value[0]) if value.size and np.isfinite(value[0]) else 0.0

    def _homogeneous(
        self,
        m: Measurer,
        table: Measured,
        i: int,
        term: Term,
        middle: Literal,
        counted: Floats,
        shown: Flags,
        condition: Expr | None,
    ) -> Steps:
        """Fewer than `min_differing` units differ from the rest: the cell says what nearly everybody is.

        Of two values, without another pass over the rows. middle: a number between them.
        """
        assert self.effective.homogeneity is not None
        least = self.effective.homogeneity.min_differing
        high = floats(table[f"{OWN}h{i}"])
        x = as_float(lenient(where(condition, term.expr)), term.dtype)
        ones = yield from m.at_least(least, high, shown, call("gt", x, middle))
        zeros = yield from m.at_least(least, counted - high, shown, call("le", x, middle))
        return ones & zeros

    def _differing(self, m: Measurer, i: int, s: Statistic, shown: Flags, found: Judged) -> Steps:
        """Homogeneity of watched arguments that may have more than two values, or whose values are not summed."""
        ok = np.ones(m.size, bool)
        if self.effective.homogeneity is None or self.effective.profile == "strict":
            return ok  # the strict profile judges columns
        summed = s.guard in (Guard.SUM, Guard.SQUARES)
        for term in s.terms:
            if not self._watched(term) or (summed and self._halved(term) is not None):
                continue
            passed = yield from differing(
                m, term.expr, self.effective.homogeneity.min_differing, shown & ok, both(s.population)
            )
            found.alike[i] = found.alike.get(i, shown & False) | (shown & ~passed)
            ok &= passed
        return ok

    def _leverage(self, m: Measurer, i: int, s: Statistic, shown: Flags, found: Judged) -> Steps:
        """Covariances are sums weighted by the other argument: nobody may have more than 1/k of either's squares."""
        ok = np.ones(m.size, bool)
        rest = np.flatnonzero(shown)
        present = both([call("is_not_null", t.expr) for t in s.terms] + list(s.population))
        if rest.size:
            counted = yield from m.fewest(rest, present)
            found.few[i] = shown & (counted < self.effective.k)
            shown = shown & ~found.few[i]
            found.paired[i] = counted
            if not self.following:
                # INVARIANT: a number is told of many people; one that follows from rounded ones is not, but for its size
                ok &= ~shown | (counted >= LEAST * self.effective.k)
            rest = np.flatnonzero(shown & ok)
        for term in s.terms:
            for occurrence in self.cut.occurrences:
                if not rest.size:
                    continue
                squares = self._squares(term, present)
                total, one, _ = yield from m.contributions(occurrence, rest, squares)
                with np.errstate(invalid="ignore", over="ignore"):
                    # INVARIANT: a column of one value looks like one in which a single person differs
                    ok &= ~shown | (np.isfinite(total) & (total > 0) & (one * self.effective.k <= total))
        return ok & (yield from self._differing(m, i, s, shown & ok, found))

    def _held(self, m: Measurer, table: Measured, i: int, s: Statistic, shown: Flags, found: Judged) -> Steps:
        """The sum or mean of a condition, whose two sides are populations inside the cell.

        INVARIANT: fewer than k units on the side that meets it are answered as nobody, fewer than k on the other side as
        everybody, and nothing else shows which it was.
        """
        k = self.effective.k
        expr = Cast(lenient(where(both(s.population), s.terms[0].expr)), BOOLEAN, strict=False)
        met, unmet = floats(table[f"{OWN}h{i}"]), floats(table[f"{OWN}f{i}"])
        some = yield from m.at_least(k, met, shown, expr)
        others = yield from m.at_least(k, unmet, shown & some, call("not_", expr))
        everybody = met + unmet
        found.settled[i] = ~(some & others)
        # INVARIANT: where fewer than k have a value at all there is nobody to tell about, whichever side they are on
        enough = yield from m.at_least(k, everybody, shown & ~(some | others), call("is_not_null", expr))
        found.few[i] = found.few.get(i, shown & False) | (shown & ~(some | others) & ~enough)
        if self.effective.profile != "strict" and self._watched(s.terms[0]):
            # INVARIANT: where fewer than so many differ, neither side of the condition is told
            least = self.effective.homogeneity.min_differing  # type: ignore[union-attr]
            ones = yield from m.at_least(least, met, shown, expr)
            zeros = yield from m.at_least(least, unmet, shown, call("not_", expr))
            if (shown & ~(ones & zeros)).any():
                found.failed.append((i, "homogeneity"))
            found.few[i] = found.few.get(i, shown & False) | (shown & ~(ones & zeros))
        answer = np.where(some, np.where(others, met, everybody), 0.0)
        if self.effective.rounding is not None:
            base = self.effective.rounding.base
            answer, everybody = round_whole(answer, base), round_whole(everybody, base)
        return answer if s.function == "sum" else answer / np.maximum(everybody, 1.0)


_RULES = {
    Guard.SUM: "dominance",
    Guard.SQUARES: "dominance",
    Guard.PRODUCTS: "leverage",
    Guard.HELD: "held-values",
    Guard.TIED: "tied-values",
    Guard.NOTHING: "min-agg-size",
}
