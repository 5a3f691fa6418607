"""Rows that a join, an unpivot or an explode repeats: a number of them is told where each is in it equally often.

The history holds who is in a cell. Where the rows of a table repeat in a frame, who asks chooses how often each of them does:
a filter of the other table's rows takes one month of everybody and five of one person. The sum is then one of *weights*, and
two of them over the same people differ by one person's value, several times, although the populations are the same. So where
rows of a table do repeat, every row of the table that is in a cell must be in it equally often: the number is then the plain
sum a few times over, and compared, audited and watched as that. Otherwise it is withheld.

**Whose columns.** A sum, mean, variance, covariance or condition is about the tables of its arguments; only their rows count. In a
join of people with a table of several rows per person, rows of the latter occur once, so its columns are not concerned. A
number of rows is that of any table, or of any part below another, whose rows are in the cell equally often.

**Elements.** Columns that an unpivot or an explode made have another value in each repetition. There an item must be in with
all its repetitions, whatever their number: what is added up is a number of its own, the sum of them. Or all items of a cell
are from the same columns: of what an unpivot made the column is known.

INVARIANT: who is in how often depends on the plan, the predicates and on how tables hang together, never on what is added up.

INVARIANT: that one row is in once more than the others is a threshold like that of k people: where it may lie at a value, it is
counted as one (`close`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
import numpy.typing as npt
from bastion_plan import nodes as n
from bastion_plan.expressions import Alias, AnyExpr, Call, Column, Expr
from bastion_plan.nodes import AnyNode, Node

from bastion_policy.audit import distinct
from bastion_policy.boundary import Guard, Statistic, call
from bastion_policy.facts import PrivateFacts
from bastion_policy.flow_joins import once
from bastion_policy.flow_trees import output_name
from bastion_policy.guard_cells import INDEX, Flags, Indexes, Measurer, Steps, X, both, ints
from bastion_policy.guard_plans import Rewriter, lenient, nesting, turned
from bastion_policy.history import Lens
from bastion_policy.lineage import Occurrence, Source, Typed, World
from bastion_policy.verdict import Measure

#: ways of counting the rows of a frame by whole tables that are looked at
MOST_BASES = 64
#: what a statistic is told of that numbers of rows say nothing about
FREE = frozenset({Guard.INTERVAL, Guard.TIED})


@dataclass(frozen=True, eq=False)
class Evenness:
    """How often the items of an occurrence are in cells.

    even: all equally often. complete: all with every repetition that there is. alike: from the same unpivoted columns. close:
    fewer than k people are in more or less often than most.
    """

    even: Flags
    complete: Flags
    alike: Flags
    close: Flags


@dataclass(eq=False)
class Repeats:
    """The rows of a boundary's frame that may be there several times.

    often: by occurrence whose rows may repeat, how often each row of the table is in the frame without predicates, where that is
    needed: its rows do repeat then. elements: sources of the columns that were made of several. bases: occurrences whose rows together are all rows of the
    frame, each once.
    """

    below: Typed
    k: int
    lenses: Mapping[str, Lens]
    often: dict[int, Indexes | None] = field(default_factory=dict)
    elements: frozenset[Source] = frozenset()
    bases: Sequence[frozenset[int]] = ()

    @property
    def occurrences(self) -> dict[int, Occurrence]:
        """The tables of the frame."""
        return {o.index: o for o in self.below.frame.occurrences}

    def concerned(self, s: Statistic) -> bool:
        """Whether it matters for a statistic how often rows are in."""
        if not self.often or s.guard in FREE or s.function == "n_unique":
            return False
        if s.terms:
            return any(x.occurrence in self.often for x in s.sources)
        return not any(base.isdisjoint(self.often) for base in self.bases)

    def of_elements(self, s: Statistic) -> bool:
        """Whether an argument has another value in each repetition of a row."""
        return any(
            t.value.plain is None and t.value.line is None and not t.value.sources.isdisjoint(self.elements)
            for t in s.terms
        )

    def judge(self, m: Measurer, s: Statistic, known: dict[tuple[int, Expr | None], Evenness]) -> Steps:
        """Return (cells in which a statistic's rows are in equally often, cells at the threshold of that).

        known: what was measured of the cut before, by occurrence and condition.
        """
        condition = both(s.population)

        def measured(index: int) -> Steps:
            if (index, condition) not in known:
                found = yield from self._evenness(m, self.occurrences[index], condition)
                known[index, condition] = found
            return known[index, condition]

        close = np.zeros(m.size, bool)
        if s.terms:
            good = np.ones(m.size, bool)
            for index in sorted({x.occurrence for x in s.sources} & set(self.often)):
                evenness = yield from measured(index)
                good &= (evenness.complete | evenness.alike) if self.of_elements(s) else evenness.even
                close |= evenness.close
            return good, close
        good = np.zeros(m.size, bool)
        for base in self.bases:
            fits = np.ones(m.size, bool)
            for index in sorted(base & set(self.often)):
                evenness = yield from measured(index)
                fits &= evenness.even | evenness.complete
                close |= evenness.close
            good |= fits
        return good, close

    def _evenness(self, m: Measurer, o: Occurrence, condition: Expr | None) -> Steps:
        plan, tables = m.cut.located(False, rows=True)
        if condition is not None:
            plan = n.Filter(plan, lenient(condition))
        turn = o.index in turned(self.below)
        more = (Column(o.turn),) if turn else ()
        rows, levels = unlisted(n.Select(plan, (Column(INDEX), Column(o.row), *more)), o, m.cut.nested)
        counts: list[AnyExpr] = [Alias(Call("pl.len"), X)]
        counts += [Alias(call("n_unique", Column(c)), f"{X}l{i}") for i, c in enumerate(levels)]
        counts += [Alias(call("n_unique", c), f"{X}t") for c in more]
        answer = yield from m.ask(n.GroupBy(rows, (Column(INDEX), Column(o.row)), tuple(counts)), tables)
        cell, row, times = ints(answer[INDEX]), ints(answer[o.row]), ints(answer[X])
        even = equal(m.size, cell, times)
        for i in range(len(levels)):
            even &= equal(m.size, cell, ints(answer[f"{X}l{i}"]))
        often = self.often[o.index]
        complete = np.zeros(m.size, bool) if often is None else np.bincount(cell, times != often[row], m.size) == 0
        alike = np.zeros(m.size, bool)
        if turn:
            each = n.GroupBy(rows, (Column(INDEX),), (Alias(call("n_unique", Column(o.turn)), X),))
            kinds = m.spread((yield from m.ask(each, tables)), X)
            # every item once from each of the columns that there are in the cell
            apart = (times != ints(answer[f"{X}t"])) | (times != kinds[cell])
            alike = even & (np.bincount(cell, apart, m.size) == 0)
        lens = self.lenses[o.dataset]
        unit = lens.roster.unit[lens.items[row]]
        return Evenness(even, complete, alike, nearly_equal(m.size, cell, times, unit, self.k))


def repeats(
    below: Typed,
    statistics: Sequence[Statistic],
    world: World,
    private: Mapping[str, PrivateFacts],
    done: Mapping[int, Node],
    lenses: Mapping[str, Lens],
    k: int,
    name: str,
) -> Steps:
    """Find which rows of a frame repeat, as far as statistics need it; returns Repeats.

    INVARIANT: it depends on whole tables, on no predicate.
    """
    found = Repeats(below, k, lenses)
    may = _may_repeat(below, world)
    if not may:
        return found
    found.bases = _bases(below)
    found.elements, opened = _elements(below)
    found.often = dict.fromkeys(sorted(may))
    if not any(found.concerned(s) for s in statistics):
        found.often = {}
        return found
    products = {x.occurrence for s in statistics if s.guard is Guard.PRODUCTS for x in s.sources}
    whole = Rewriter(world.facts, done, whole=True, rows=True).build(below)
    for o in below.frame.occurrences:
        if o.index not in may & (opened | products):
            continue
        rows, _ = unlisted(n.Select(whole, (Column(o.row),)), o, nesting(below))
        times = n.GroupBy(rows, (Column(o.row),), (Alias(Call("pl.len"), X),))
        answer = yield Measure(times, f"{name}t{o.index}", (o.row, X))
        often = np.zeros(private[o.dataset].rows, np.int64)
        often[ints(answer[o.row])] = ints(answer[X])
        found.often[o.index] = often
        if often.max(initial=0) <= 1:
            del found.often[o.index]
    return found


def _may_repeat(typed: Typed, world: World) -> set[int]:
    """Return the occurrences whose rows some step on the way may repeat."""
    below = [t for t in typed.inputs if t.frame.private]
    found = set[int]().union(*(_may_repeat(t, world) for t in below))
    every = {o.index for o in typed.frame.occurrences}
    match typed.node:
        case n.Join(how="semi" | "anti"):
            return found & every
        case n.Join(left_on=left_on, right_on=right_on) if len(below) == 2:
            left, right = typed.inputs
            if not once(right.frame, right_on, world):
                found |= {o.index for o in left.frame.occurrences}
            if not once(left.frame, left_on, world):
                found |= {o.index for o in right.frame.occurrences}
        case n.Concat():
            pass
        case _:
            # an unpivot, an explode, a table whose keys may repeat, or what is not known
            if typed.frame.fanned and not any(t.frame.fanned for t in below):
                found |= every
            elif isinstance(typed.node, n.Unpivot | n.Explode | n.Join | n.JoinAsof):
                found |= every if typed.frame.fanned else set()
    return found


def unlisted(plan: AnyNode, o: Occurrence, depths: Mapping[int, int]) -> tuple[AnyNode, list[str]]:
    """Return one row per number of a source row, and the names of columns that number the rows that held it in lists."""
    levels = []
    for level in range(depths.get(o.index, 0)):
        levels.append(f"{X}f{level}")
        plan = n.Explode(n.WithRowIndex(plan, levels[-1]), (Column(o.row),))
    return n.Filter(plan, call("is_not_null", Column(o.row))), levels


def equal(size: int, cell: Indexes, times: Indexes) -> Flags:
    """Return the cells in which all numbers are the same."""
    low, high = np.full(size, np.iinfo(np.int64).max), np.zeros(size, np.int64)
    np.minimum.at(low, cell, times)
    np.maximum.at(high, cell, times)
    return low >= high


def nearly_equal(size: int, cell: Indexes, times: Indexes, unit: npt.NDArray[np.uint64], k: int) -> Flags:
    """Return the cells in which all but the rows of fewer than k people are in equally often."""
    width = int(times.max(initial=0)) + 1
    code, at, counts = np.unique(cell * width + times, return_inverse=True, return_counts=True)
    order = np.lexsort((counts, code // width))
    usual = np.zeros(size, np.int64)
    usual[code[order] // width] = code[order] % width  # the last of each cell is the most frequent
    other = (code % width)[at] != usual[cell]
    found = np.ones(size, bool)
    for number in np.flatnonzero(np.bincount(cell[other], minlength=size) >= k):
        found[number] = distinct(unit[other & (cell == number)]).size < k
    return found


def _elements(typed: Typed) -> tuple[frozenset[Source], set[int]]:
    """Return the sources of columns that unpivots and explodes on the way were made of, and whose rows these repeat."""
    seen: set[int] = set()
    sources: set[Source] = set()
    opened: set[int] = set()
    stack = [typed]
    while stack:
        found = stack.pop()
        if id(found) in seen or not found.frame.private:
            continue
        seen.add(id(found))
        stack += found.inputs
        names: Sequence[str] = ()
        match found.node:
            case n.Explode(columns=columns):
                names = [output_name(c) for c in columns]
            case n.Unpivot(on=on, index=index):
                kept = {output_name(e) for e in index}
                schema = found.inputs[0].frame.schema
                names = [output_name(e) for e in on] if on is not None else [c for c in schema if c not in kept]
            case _:
                continue
        opened |= {o.index for o in found.frame.occurrences}
        sources = sources.union(*(found.inputs[0].frame.columns[name].sources for name in names))
    return frozenset(sources), opened


def _bases(typed: Typed) -> list[frozenset[int]]:
    """Return sets of occurrences whose rows together are all rows of a frame."""
    if typed.occurrence is not None:
        return [frozenset({typed.occurrence.index})]
    below = [t for t in typed.inputs if t.frame.private]
    found: list[frozenset[int]]
    match typed.node:
        case n.Join(how="semi" | "anti"):
            found = _bases(typed.inputs[0])
        case n.Concat():
            parts = [_bases(t) for t in below]
            found = [frozenset().union(*chosen) for chosen, _ in zip(product(*parts), range(MOST_BASES), strict=False)]
        case n.Join() | n.JoinAsof():
            found = [base for t in below for base in _bases(t)]
        case _:
            # windows bring cells back to the frame that they were made of
            found = _bases(below[0]) if below else []
    return found[:MOST_BASES]
