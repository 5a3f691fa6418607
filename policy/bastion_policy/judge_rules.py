"""The rules about the values in a cell: dominance, homogeneity, leverage, held values, tied values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from bastion_plan import nodes as n
from bastion_plan.dtypes import BOOLEAN, FLOAT64
from bastion_plan.expressions import Alias, AnyExpr, Cast, Column, Expr, Literal, Over

from bastion_policy.boundary import Guard, Statistic, Term, call
from bastion_policy.facts import PrivateFacts
from bastion_policy.guard_cells import (
    INDEX,
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
from bastion_policy.judge_homogeneity import differing, least_apart, threshold, watched
from bastion_policy.judge_intervals import intervals
from bastion_policy.judge_people import PeopleOf, Stood
from bastion_policy.lineage import OWN, Form, Source, Value, World
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
    covariance. inner: populations that conditions inside statistics pick, by statistic. among: where such a statistic is
    itself a condition's count, whom it is counted among. edges: where such a population lies at a threshold. uneven: where
    only rows that are in more often than others keep a statistic from being told. close: where whether they are may lie at
    a single one. people: what became of populations of people with several rows, by statistic and column.
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
class Rules:
    """Judges the values that the statistics of one cut are made of, cell by cell."""

    cut: Cut
    effective: Effective
    world: World
    private: dict[str, PrivateFacts]
    #: whether its numbers are not told, but follow from told ones
    following: bool = field(default=False, kw_only=True)

    def _may_miss(self, term: Term) -> bool:
        """Whether some rows may have no value of an argument."""
        stored = [s for s in term.value.sources if not s.counted]
        nulls = (self.private[s.dataset].columns[s.column].nulls for s in stored)
        return term.value.makes_nulls or (bool(stored) and self.cut.rows_per_unit is None) or any(nulls)

    def _chooses(self, term: Term) -> bool:
        """Whether an argument is a yes-or-no column that could choose people."""
        return chooses(term.value, self.world)

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
            return (yield from self._sum_rule(m, one, rows, rows, shown, both(s.population)))
        for j, term in enumerate(s.terms):
            count = table.get(f"{OWN}c{i}_{j}")
            counted = floats(found.rows if count is None else count)
            total = table.get(f"{OWN}g{i}_{j}")
            if total is None:
                total = floats(table[f"{OWN}s{i}"])
                if s.function == "mean":
                    with np.errstate(over="ignore"):
                        total = np.where(counted > 0, np.nan_to_num(total) * counted, 0.0)
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
            passed = yield from self._sum_rule(m, term, floats(total), counted, shown & ok & ~few, both(s.population))
            ok &= passed
            if s.guard is Guard.SQUARES:
                passed = yield from self._square_rule(m, table, i, s, term, counted, shown & ok & ~few)
                ok &= passed
        asked = shown & ok & ~found.few.get(i, shown & False)
        return ok & (yield from self._differing(m, i, s, asked, found))

    def _sum_rule(
        self, m: Measurer, term: Term, total: Floats, counted: Floats, shown: Flags, condition: Expr | None
    ) -> Steps:
        """Dominance of one argument: first by bounds, then exactly where they prove nothing.

        INVARIANT: it holds of the deviations from the lower bound and of those from the upper one: a sum tells as much of who
        is far below the top as of who is far above the bottom, wherever everybody knows the top. And of those from 0, where
        values lie on both of its sides: a sum is that of the few who add something, whoever else is there.
        total, counted: the sum of the values, and how many there are.
        """
        if not self._dominance_on():
            return np.ones(m.size, bool)
        low, high = term.value.low, term.value.high
        x = as_float(lenient(where(condition, term.expr)), term.dtype)
        ok, ends = np.ones(m.size, bool), list[tuple[AnyExpr, Flags]]()
        for end in ("low", "high", "nought"):
            if (end == "high" and not declared(term.value, self.world)) or (
                end == "nought" and low is not None and low >= 0
            ):
                continue
            proven = np.zeros(m.size, bool)
            if low is not None and high is not None:
                with np.errstate(over="ignore", invalid="ignore"):
                    match end:
                        case "low":
                            proven = self._proven(total - counted * low, high - low, m.most)
                        case "high":
                            proven = self._proven(counted * high - total, high - low, m.most)
                        case _:
                            proven = self._proven(np.abs(total), max(-low, high), m.most)
            if not (shown & ~proven).any():
                continue
            if end == "low" and low is None:
                low = yield from self._edge(m, term, "min")
            edge = {"low": low, "high": high, "nought": 0.0}[end]
            if edge is None:
                edge = yield from self._edge(m, term, "max")
            of = (x, Literal(FLOAT64, float(edge) if np.isfinite(edge) else 0.0))
            if end == "nought":
                ok = yield from self._exact(m, shown & ok, [(x, proven)], signed=True)
            else:
                ends.append((call("sub", *(of if end == "low" else of[::-1])), proven))
        ok &= yield from self._exact(m, shown & ok, ends)
        return ok & (yield from self._per_row_rule(m, term, x, shown & ok))

    def _per_row_rule(self, m: Measurer, term: Term, x: AnyExpr, shown: Flags) -> Steps:
        """Dominance of sums of a person's rows, seen from the bounds of their rows.

        INVARIANT: added up person by person a column's sum is the same number, of which as much stands out: a person with n rows
        deviates from n times the bound, not from what the most rows that anybody has would come to.
        """
        ok = np.ones(m.size, bool)
        if term.value.per_row is None:
            return ok
        source, factor, shift = term.value.per_row
        weight = next((o.weight for o in self.cut.occurrences if o.index == source.occurrence), None)
        if weight is None:
            return ~shown  # not known how many rows they are
        low, high = self.world.widest(source)
        for bound, upper in ((low, False), (high if declared(term.value, self.world) else None, True)):
            if bound is None or not np.isfinite(bound):
                continue
            above, edge = upper == (factor >= 0), factor * float(bound) + shift
            if not above and edge == 0 == term.value.low:
                continue  # the sums were seen from there
            all_at = call("mul", Cast(Column(weight), FLOAT64), Literal(FLOAT64, edge))
            contribution = call("sub", all_at, x) if above else call("sub", x, all_at)
            ok &= yield from self._exact(m, shown & ok, [(contribution, shown & False)], weighed=True)
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
                ok = self._proven(variance * (counted - ddof), width, m.most)
        if not self._dominance_on():
            return np.ones(m.size, bool)
        return (yield from self._exact(m, shown, [(self._squares(term, both(s.population)), ok)]))

    @staticmethod
    def _squares(term: Term, condition: Expr | None) -> AnyExpr:
        x = as_float(lenient(where(condition, term.expr)), term.dtype)
        mean = Over(call("mean", x), (Column(INDEX),))
        deviation = call("sub", x, mean)
        return call("mul", deviation, deviation)

    def _dominance_on(self) -> bool:
        return self.effective.p is not None or bool(self.effective.shares)

    def _proven(self, total: Floats, width: float, most: int | Indexes | None) -> Flags:
        """Return where bounds alone prove that nobody dominates.

        INVARIANT: with M rows per unit and contributions of a row in [0, B], the two largest units have at most 2*M*B, and
        (T - t1 - t2) / t1 >= (T - 2MB) / MB falls with t1, so T >= (2 + p) * M * B proves the p% rule; the n-k rule is
        proven by n * M * B <= share * T. NaN and infinity prove nothing. most: M, of all cells or of each (`Measurer.most`).
        """
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

    def _exact(
        self,
        m: Measurer,
        shown: Flags,
        asked: Sequence[tuple[AnyExpr, Flags]],
        *,
        signed: bool = False,
        weighed: bool = False,
    ) -> Steps:
        """Return in which cells nobody dominates any of some contributions. asked: each, and where that is proven.

        The others among the cells `shown` are measured, for all contributions at once; what is not shown passes.
        """
        passed = np.ones(m.size, bool)
        rest = np.flatnonzero(shown & ~np.logical_and.reduce([passed, *(proven for _, proven in asked)]))
        for occurrence in self.cut.occurrences if rest.size else ():
            found = yield from m.contributions(occurrence, rest, [x for x, _ in asked], signed=signed, weighed=weighed)
            for (total, one, two), (_, proven) in zip(found, asked, strict=True):
                with np.errstate(invalid="ignore", over="ignore"):
                    good = np.isfinite(total)
                    if self.effective.p is not None:
                        good &= total - one - two >= self.effective.p * one
                    for count, share in self.effective.shares:
                        top = one if count == 1 else one + (count - 1) * two
                        good &= top <= share * total
                    # nobody deviates from the bound at all: nobody dominates
                    good |= total == 0
                passed[rest] &= (good | proven)[rest]
        return passed

    def _edge(self, m: Measurer, term: Term, function: str) -> Steps:
        """The smallest or largest value in the whole cut, where no bound is known; NaN where it is no number."""
        x = call(function, as_float(lenient(term.expr), term.dtype))
        answer = yield from m.ask(n.Select(self.cut.plan(False), (Alias(x, X),)))
        value = floats(answer[X])
        return float(value[0]) if value.size and np.isfinite(value[0]) else np.nan

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
        """Whether enough people differ, of arguments that may have more than two values, or whose values are not summed."""
        ok = np.ones(m.size, bool)
        if self.effective.profile == "strict":
            return ok  # the strict profile judges columns
        summed = s.guard in (Guard.SUM, Guard.SQUARES)
        for term in s.terms:
            least = least_apart(term, self.effective, self.world, self.private)
            if not least or (summed and self._halved(term) is not None):
                continue
            passed = yield from differing(m, term.expr, least, shown & ok, both(s.population))
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
                ((total, one, _),) = yield from m.contributions(occurrence, rest, [squares])
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
