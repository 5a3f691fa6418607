"""A slow, independent judge: what the guard's promise allows of an answer, decided from contributors row by row.

It shares no code with the product's judge. A released table is *explained*: every value must be the statistic of a
population that may be released as itself, of a stored population that lies nearby, or of nobody. What has no
explanation is a finding. The populations that explain an answer enter the oracle's own history.

Where the promise leaves room the oracle decides for the data subjects:

- k and the shares are the strictest of all tables of a plan; every scan occurrence must bring k units or none.
- dominance holds for the deviations from the lower and from the declared upper bound, and for numbers of rows.
- a sensitive Boolean column is summed under dominance and homogeneity; a condition, and a Boolean column that could be one,
  needs k true and k false ones, else it is the condition of nobody or of everybody.
- a mean counts as the sum in the audit, a variance as the sum and the sum of squares.
- abs, date parts and text length are allowed of plain columns only, not of shifted ones.
- n_unique of anything but units needs k units per value.
- a covariance is of 10 k units, and is the correlation to two decimals times the standard deviations, to two digits.
- a measure is no key, an identifier no key of the scientist's own table.
- of two populations in one answer that lie within k units, at most one may be shown as itself.
- without a history, the whole of a joined table is all of the join: only a history knows what the table alone would tell.
- with a history, what is hidden is protected when its margin is asked for; without one, the cells that an answer leaves out
  must come to k units at once.
- where the audit lets a population not pass, one made of whole atoms may be told of instead: those inside it, those that
  touch it, or all but few of them. It is audited as any other.
- what an answer told of in all, and a cell whose key was shown, may stand for a population near it, as a stored one may.
- which values are missing is public, as the default profile says.
- whole tables are told of from the start, in the audit of every column.
- what lies between a population and one told of before passes the rules about values by itself, whatever that one was asked for.
- an order statistic is of a column as it is stored, or of one number per person; a changed column would move the grid.

What is counted as allowed is less, where docs/guard.md withholds more: a sum tells of its population as a count does (columns
without missing values have one history); of several tables a cell stands by itself or not at all, the very people of an
earlier answer included.
"""

from __future__ import annotations

import datetime as dt
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from bastion_plan.bind import BoundPlan
from bastion_plan.expressions import Call, Expr
from bastion_policy.model import RoleKind
from row_audit import Systems
from row_follows import classes_of, following, rank, together, whole_classes
from row_frames import Behind, Boundary, Dataset, Foreign, Form, Frame, Leaf, Reader, Reading, Values, scalar
from row_intervals import fine, pieces
from row_statistics import CORRELATION, MANY, coarse, compute, known, selected, total
from row_values import Unknown, same

OTHER = "(other)"
MISSING = object()
Rows = Counter[int]
COUNTING = ("pl.len", "len", "count", "null_count", "has_nulls", "n_unique", "approx_n_unique")
SUMMED = ("sum", "mean", "var", "std", "pl.cov", "pl.corr")
TIES = ("unique", "value_counts", "mode")


@dataclass
class Limits:
    """The strictest rules of all tables of a plan."""

    k: int
    p: float | None
    shares: tuple[tuple[int, float], ...]
    differing: int
    of_all: bool
    audited: bool
    history: bool
    budget: float | None
    closed: bool


@dataclass
class Choice:
    """One permitted answer. value, or `accept` where several are. population: rows it tells about, if as itself."""

    value: Any
    kind: str  # own, stored, nobody, everybody
    population: tuple[int, ...] = ()
    accept: Callable[[Any], bool] | None = None
    vectors: list[tuple[Any, dict[tuple[str, int], Any]]] = field(default_factory=list)
    output: int = -1

    def fits(self, value: Any) -> bool:
        """Whether a released value is this answer."""
        return self.accept(value) if self.accept is not None else same(self.value, value)


@dataclass
class Finding:
    """A released value that the oracle does not allow. leak: it is what an unguarded engine would say."""

    rule: str
    where: str
    value: Any = None
    reasons: tuple[str, ...] = ()
    leak: bool = False


@dataclass
class Explained:
    """What became of an answer. cells: values that the oracle allows; shown, merged: of these, in the answer."""

    findings: list[Finding] = field(default_factory=list)
    allowed: int = 0
    shown: int = 0
    merged: int = 0
    promised: bool = True
    values: int = 0
    hidden: list[tuple[str, str]] = field(default_factory=list)


class Oracle:
    """Judges the answers to one audience, one after another."""

    def __init__(
        self, datasets: Mapping[str, Dataset], requester: str, foreign: Foreign | None = None, *, history: bool = True
    ) -> None:
        self.datasets, self.requester, self.foreign, self.remembers = datasets, requester, foreign, history
        self.stored: dict[str, list[Rows]] = {name: [] for name in datasets}
        #: cells whose keys were shown
        self.answered: dict[str, list[Rows]] = {name: [] for name in datasets}
        self.unions: dict[str, list[Rows]] = {name: [] for name in datasets}
        units = {name: [d.unit(i) for i in range(len(d.rows))] for name, d in datasets.items()}
        self.systems = Systems(units, self._from_the_start)
        #: the same, in which a sum tells of its population as a count does: columns without missing values have one history
        self.histories = Systems(units, self._from_the_start)
        #: the frames and keys that were asked for
        self.asked: list[tuple[Any, ...]] = []

    # -- reading

    def read(self, bound: BoundPlan) -> Reading:
        """Evaluate a plan without releasing anything; raises Unknown where the oracle has no definition."""
        self.reader = Reader(self.datasets, bound, self._window, self.foreign)
        return self.reader.read(bound.root)

    def limits(self, frame: Frame) -> Limits:
        found = [self.datasets[d].facts.effective(self.requester) for d in set(frame.occurrences.values())]
        return Limits(
            k=max(e.k for e in found),
            p=max((e.p for e in found if e.p is not None), default=None),
            shares=tuple(s for e in found for s in e.shares),
            differing=max((e.homogeneity.min_differing for e in found if e.homogeneity), default=0),
            of_all=any(e.homogeneity is not None and e.homogeneity.columns == "all" for e in found),
            audited=self.remembers and any(e.linear_audit is not None for e in found),
            history=self.remembers and any("history" not in e.weakened for e in found),
            budget=min(
                (e.saturation.share for e in found if self.remembers and e.saturation is not None), default=None
            ),
            closed=any(e.zone in ("closed", "private") for e in found),
        )

    # -- populations

    def base(self, frame: Frame, rows: Iterable[int]) -> dict[str, Rows]:
        """How often each row of each dataset is in a population."""
        found: dict[str, Rows] = {d: Counter() for d in frame.occurrences.values()}
        for i in rows:
            for occurrence, row in frame.rows[i].origin:
                found[frame.occurrences[occurrence]][row] += 1
        return found

    def _each(self, frame: Frame, rows: Iterable[int]) -> list[tuple[str, Rows]]:
        """The rows that each of several scan occurrences brings."""
        rows = list(rows)
        return [
            (d, Counter(row for i in rows for o, row in frame.rows[i].origin if o == occurrence))
            for occurrence, d in frame.occurrences.items()
            if len(frame.occurrences) > 1
        ]

    def units(self, dataset: str, rows: Iterable[int]) -> int:
        return len({self.datasets[dataset].unit(r) for r in rows})

    def people(self, frame: Frame, rows: Iterable[int], datasets: Iterable[str] = ()) -> int:
        """The fewest units that one of the scan occurrences brings (of those that bring any)."""
        by: dict[int, set[Any]] = {}
        for i in rows:
            for occurrence, row in frame.rows[i].origin:
                dataset = frame.occurrences[occurrence]
                if not datasets or dataset in datasets:
                    by.setdefault(occurrence, set()).add(self.datasets[dataset].unit(row))
        return min((len(u) for u in by.values()), default=0)

    def everybody(self, frame: Frame, rows: Iterable[int]) -> int:
        """The fewest units of one dataset, over all its occurrences."""
        return min((self.units(d, base) for d, base in self.base(frame, rows).items() if base), default=0)

    def apart(self, dataset: str, one: Rows, two: Rows) -> int:
        """Number of units whose rows differ."""
        return self.units(dataset, {r for r, _ in one.items() ^ two.items()})

    def whole(self, dataset: str, times: int = 1) -> Rows:
        return Counter(dict.fromkeys(range(len(self.datasets[dataset].rows)), times))

    def _from_the_start(self, system: Any, dataset: str) -> list[int]:
        """The rows of a table that count as told of: those with a value in the columns of a system."""
        while isinstance(system, tuple):
            system = system[0]
        columns = [c for d, c in system if d == dataset] if isinstance(system, frozenset) else []
        rows = self.datasets[dataset].rows
        return [i for i, row in enumerate(rows) if all(row[c] is not None for c in columns)]

    def target(self, frame: Frame, rows: Sequence[int], limits: Limits, peers: Sequence[Sequence[int]]) -> list[Any]:
        """As which populations a population may be answered: "own", "nobody", or positions of a stored one's rows."""
        if self.people(frame, rows) < limits.k:
            return ["nobody"]
        own, found = True, []
        for dataset, base in self.base(frame, rows).items():
            times = sum(d == dataset for d in frame.occurrences.values())
            near = [self.whole(dataset, t) for t in range(1, times + 1)]
            if not limits.history and len(set(frame.occurrences.values())) > 1:
                near = [self.base(frame, range(len(frame.rows)))[dataset]]
            near += self.stored[dataset] if limits.history else []
            for s in near:
                distance = self.apart(dataset, base, s)
                if distance == 0:
                    continue
                if distance < limits.k:
                    own = False
                    positions = self.rows_for(frame, dataset, s)
                    if positions is not None:
                        found.append(positions)
            parts = [rows for d, rows in self._each(frame, rows) if d == dataset]
            if len(parts) > 1 and all(self.apart(dataset, part, self.whole(dataset)) < limits.k for part in parts):
                # every part leaves out a few people only: each is the whole table
                found.append(self.rows_for(frame, dataset, self.whole(dataset, times)) or [])
            for s in self.unions[dataset] if limits.history else []:
                # what an answer told of in all was not told of by itself: it may stand for what lies near
                if 0 < self.apart(dataset, base, s) < limits.k and (positions := self.rows_for(frame, dataset, s)):
                    found.append(positions)
        for peer in peers:
            base, other = self.base(frame, rows), self.base(frame, peer)
            if any(0 < self.apart(d, base[d], other[d]) < limits.k for d in base):
                found.append(list(peer))
        return (["own"] if own else []) + found

    def rows_for(self, frame: Frame, dataset: str, wanted: Rows) -> list[int] | None:
        """Positions (ghosts included) that make up a population of the dataset, if the frame has them."""
        occurrences = [o for o, d in frame.occurrences.items() if d == dataset]
        if len(occurrences) != 1:
            return self._several(frame, dataset, wanted)
        left, found = Counter(wanted), []
        candidates = sorted(range(len(frame.rows)), key=lambda i: (-len(frame.rows[i].origin), not frame.rows[i].alive))
        for i in candidates:
            mine = Counter(r for o, r in frame.rows[i].origin if o == occurrences[0])
            if mine and all(left[r] >= c for r, c in mine.items()):
                left -= mine
                found.append(i)
        return None if +left else sorted(found)

    def _several(self, frame: Frame, dataset: str, wanted: Rows) -> list[int] | None:
        left, found = Counter(wanted), []
        for i in sorted(range(len(frame.rows)), key=lambda i: not frame.rows[i].alive):
            mine = Counter(r for o, r in frame.rows[i].origin if frame.occurrences[o] == dataset)
            if mine and all(left[r] >= c for r, c in mine.items()):
                left -= mine
                found.append(i)
        return None if +left else sorted(found)

    # -- choices of one statistic

    def choices(
        self, boundary: Boundary, leaf: Leaf, cell: Sequence[int], limits: Limits, peers: Sequence[Sequence[int]] = ()
    ) -> list[Choice]:
        """What may be said of one statistic in one cell, besides null."""
        if boundary.forbidden or leaf.forbidden or limits.closed:
            return []
        rows = selected(leaf, cell)
        found: list[Choice] = []
        for target in self.target(boundary.frame, rows, limits, peers):
            if target == "nobody":
                found.append(nobody(leaf))
            elif target == "own":
                found += self._valued(boundary.frame, leaf, rows, limits, "own", peers)
            else:
                found += self._valued(boundary.frame, leaf, target, limits, "stored", peers)
        if leaf.conditions:
            # the cell as it would be answered, and the condition within it
            for target in self.target(boundary.frame, cell, limits, ()):
                if (
                    not isinstance(target, str)
                    and self.people(boundary.frame, inside := selected(leaf, target)) >= limits.k
                ):
                    found += self._valued(boundary.frame, leaf, inside, limits, "own", peers)
            if self._leaves_few(boundary.frame, sorted(set(cell) - set(rows)), limits):
                found += self._valued(boundary.frame, leaf, cell, limits, "stored", peers)
        return found

    def _leaves_few(self, frame: Frame, rows: Sequence[int], limits: Limits) -> bool:
        """Whether what a condition leaves out is about fewer than k units of one of several scan occurrences.

        Then the cell may be told instead: every occurrence is counted by itself.
        """
        each = [
            self.units(d, (row for i in rows for o, row in frame.rows[i].origin if o == occurrence))
            for occurrence, d in frame.occurrences.items()
        ]
        return len(each) > 1 and min(each) < limits.k

    def _valued(
        self, frame: Frame, leaf: Leaf, rows: Sequence[int], limits: Limits, kind: str, peers: Sequence[Sequence[int]]
    ) -> list[Choice]:
        """The statistic over a population that may be told about."""
        name = leaf.function
        columns = [[a.values[i] for i in rows] for a in leaf.args]
        height = len(rows)

        def own(value: Any = None, vectors: Any = (), accept: Any = None) -> Choice:
            return Choice(value, kind, tuple(rows), accept, list(vectors))

        if name in ("pl.len", "len"):
            fine = self._nobody_dominates(frame, rows, lambda _: 1.0, limits)
            return [own(height, [self._ones(frame, rows)])] if fine else []
        if name == "has_nulls":
            return [own(accept=lambda _: True)]
        full = [i for i in rows if all(a.values[i] is not None for a in leaf.args)]
        if name in ("count", "null_count"):
            return self._nulls(frame, leaf, rows, full, limits, own)
        if name in ("n_unique", "approx_n_unique"):
            held = self._held(frame, leaf.args[0].values, rows, limits.k)
            if self._counted(leaf) or held:
                return [own(compute(name, columns, height, leaf.options), accept=rough if "approx" in name else None)]
            return []
        if name in TIES:
            raise Unknown(name)
        if self.people(frame, full) < limits.k:
            return [nobody(leaf)]
        if name in ("pl.cov", "pl.corr"):
            fine = all(a.lineage.form in (Form.COLUMN, Form.FUNCTION) for a in leaf.args)
            fine = fine and self.people(frame, full) >= MANY * limits.k
            fine = fine and all(self._leverage(frame, a.values, full, limits.k) for a in leaf.args)
            if fine and all(self._differ(frame, a, full, limits) for a in leaf.args):
                found = compute(name, columns, height, leaf.options)
                parts = (compute("pl.corr", columns, height, CORRELATION), found)
                return [own(accept=partial(coarse, name, *parts))]
            return []
        return self._of_column(frame, leaf, rows, full, limits, kind, peers)

    def _nulls(
        self, frame: Frame, leaf: Leaf, rows: Sequence[int], full: list[int], limits: Limits, own: Callable[..., Choice]
    ) -> list[Choice]:
        """Counts of what is there and what is missing: which, is public, so that a small one may be told or not."""
        few = self.people(frame, full) < limits.k
        missing = [i for i in rows if i not in set(full)]
        counted = full if leaf.function == "count" else missing
        if self.people(frame, counted) >= limits.k and not self._nobody_dominates(
            frame, counted, lambda _: 1.0, limits
        ):
            return []
        n = len(full) if leaf.function == "count" else len(missing)
        found = [own(n)]
        if few or self.people(frame, missing) < limits.k:
            found += [Choice(0, "nobody"), Choice(len(rows), "everybody")]
        return found

    def _of_column(
        self,
        frame: Frame,
        leaf: Leaf,
        rows: Sequence[int],
        full: list[int],
        limits: Limits,
        kind: str,
        peers: Sequence[Sequence[int]],
    ) -> list[Choice]:
        """Statistics of one column's values."""
        name, arg = leaf.function, leaf.args[0]
        some = [arg.values[i] for i in full]
        value = compute(name, [[arg.values[i] for i in rows]], len(rows), leaf.options) if some else None
        form, truth = (
            arg.lineage.form,
            all(isinstance(x, bool) or (x in (0, 1) and arg.lineage.form is Form.BITS) for x in some),
        )
        if form is Form.MIX:
            return []
        # where fewer than so many differ, neither side of yes or no is told, whichever way it is asked
        if form is not Form.NULLS and (self._bit(leaf) or truth) and not self._differ(frame, arg, full, limits):
            return []
        if self._bit(leaf):
            return self._condition(frame, leaf, rows, full, limits, kind, peers)
        if truth and (form in (Form.BITS, Form.NULLS) or name in ("any", "all", "min", "max")):
            found = self._condition(frame, leaf, rows, full, limits, kind, peers)
            # which values are missing is public
            return [*found, Choice(value, kind, tuple(rows))] if form is Form.NULLS else found
        # a sum of columns is told by the sums of these, each of which must pass
        split = form is Form.COMBINATION and name in ("sum", "mean")
        if not all(self._differ(frame, part, full, limits) for part in (leaf.parts if split else (arg,))):
            return []
        if name in ("min", "max", "nan_min", "nan_max", "median", "quantile"):
            return [self._ordered(frame, leaf, full, limits, kind, rows)]
        if form in (Form.BINNED, Form.BITS, Form.NULLS):
            return [Choice(value, kind, tuple(rows))] if self._held(frame, arg.values, full, limits.k) else []
        if not self._numbers(some):
            return []
        if not split and not self._dominated(frame, leaf, full, limits, squares=name in ("var", "std")):
            return []
        if not all(self._dominated_by(frame, part, part.lineage.bounds, full, limits) for part in leaf.parts):
            return []
        system, weights = self._system(leaf), self._weights(frame, self._unknown(frame, arg, full))
        vectors = [(system, weights)]
        if name in ("var", "std"):
            vectors.append(((system, "squares"), weights))
        return [Choice(value, kind, tuple(rows), None, vectors)]

    def _bit(self, leaf: Leaf) -> bool:
        """Whether an argument is a Boolean column that could choose rows, or written as two numbers: its sum counts those."""
        lineage = leaf.args[0].lineage
        facts = [self.datasets[d].facts.column(c) for d, c in lineage.columns]
        return (
            lineage.form in (Form.COLUMN, Form.FUNCTION)
            and len({x for x in leaf.args[0].values if x is not None}) <= 2
            and bool(facts)
            and all(f.dtype.kind == "Boolean" and f.role.predicates for f in facts)
        )

    def _numbers(self, values: Iterable[Any]) -> bool:
        return all(isinstance(x, int | float) and abs(x) < float("inf") for x in values)

    def _condition(
        self,
        frame: Frame,
        leaf: Leaf,
        rows: Sequence[int],
        full: list[int],
        limits: Limits,
        kind: str,
        peers: Sequence[Sequence[int]],
    ) -> list[Choice]:
        """A bit per row: its true rows are a population of their own."""
        values, name = leaf.args[0].values, leaf.function
        known_values = sorted({x for x in values if x is not None})
        # a Boolean column may be written as two other numbers
        low, high = known_values if len(known_values) == 2 else (known_values * 2 if known_values else (False, True))
        if all(x in (0, 1) for x in known_values):
            low, high = False, True
        true = [i for i in full if values[i] == high]
        false = [i for i in full if values[i] != high]
        few, all_but = self.people(frame, true) < limits.k, self.people(frame, false) < limits.k
        if name in ("any", "max"):
            found = [Choice(low if few else high, kind, tuple(rows))]
            return found + ([Choice(high, "everybody")] if all_but else [])
        if name in ("all", "min"):
            found = [Choice(high if all_but else low, kind, tuple(rows))]
            return found + ([Choice(low, "nobody")] if few else [])
        n = len(full)
        found = []

        def answer(t: int, how: str, population: Sequence[int], vectors: Any = ()) -> Choice:
            bits: list[Any] = [high] * t + [low] * (n - t)
            if t > n:
                return Choice(t if name == "sum" else t / n, how, tuple(population), None, list(vectors))
            if name not in ("sum", "mean", "var", "std"):
                raise Unknown(f"{name} of a condition")
            return Choice(compute(name, [bits], n, leaf.options), how, tuple(population), None, list(vectors))

        # each of several scan occurrences is counted by itself
        if few or self._leaves_few(frame, true, limits):
            found.append(answer(0, "nobody", ()))
        if all_but or self._leaves_few(frame, false, limits):
            found.append(answer(n, "everybody", ()))
        if not few and not all_but:
            for target in self.target(frame, true, limits, peers):
                if target == "own":
                    found.append(answer(len(true), kind, true, [self._ones(frame, true)]))
                elif target != "nobody":
                    found.append(answer(len(target), "stored", ()))
        return found

    def _ordered(
        self, frame: Frame, leaf: Leaf, full: list[int], limits: Limits, kind: str, rows: Sequence[int]
    ) -> Choice:
        """Order statistics: intervals of a public grid for numbers, held values for categories."""
        values, name = leaf.args[0].values, leaf.function
        holders: dict[Any, list[int]] = {}
        for i in full:
            holders.setdefault(values[i], []).append(i)
        held = {x for x, who in holders.items() if self.people(frame, who) >= limits.k}
        some = [values[i] for i in full]
        if all(isinstance(x, str) for x in some):
            end = min if name in ("min", "nan_min") else max
            value = end(held) if held else MISSING
            return Choice(value, kind, tuple(rows), lambda x: x == value)
        ordered = self._numbers(some) or all(isinstance(x, dt.date) for x in some)
        if not ordered or leaf.args[0].lineage.form not in (Form.COLUMN, Form.FUNCTION):
            return Choice(None, kind, tuple(rows), lambda x: x in held)
        bounds = leaf.args[0].lineage.bounds
        position = {"min": 0.0, "max": 1.0, "nan_min": 0.0, "nan_max": 1.0, "median": 0.5}.get(
            name, leaf.options.get("quantile", 0.0)
        )
        dates = isinstance(some[0], dt.date)
        integers = dates or all(isinstance(y, int) for y in some)
        numbers = {i: days(values[i]) if dates else values[i] for i in full}
        found = list(self._pieces(frame, numbers, position, bounds, limits.k, integers, dates))
        allowed = [middle for middle, _ in found]

        def accept(x: Any) -> bool:
            middle = days(x) if dates else x
            if isinstance(middle, bool) or not isinstance(middle, int | float):
                return False
            texts = {float(f(shown)) for shown in allowed for f in ((math.floor, round) if integers else (float,))}
            return any(same(t, float(middle)) for t in {*texts, *allowed})

        return Choice(None if any(sure for _, sure in found) else MISSING, kind, tuple(rows), accept)

    def _pieces(
        self, frame: Frame, numbers: dict[int, float], position: float, bounds: tuple[float, float] | None, k: int,
        integers: bool, dates: bool,
    ) -> Iterable[tuple[float, bool]]:  # fmt: skip
        """The intervals that an order statistic may read as, and whether the judge must know of them.

        People are counted one by one where each has one row, else by their rows: more than k - 1 may have, or a cell of k.
        """
        bins = {i: fine(x, bounds, days=dates) for i, x in numbers.items()}
        most = max(max(self._by_unit_rows(d, base)) for d, base in self.base(frame, numbers).items())
        largest = {d: max(Counter(map(self.datasets[d].unit, range(len(self.datasets[d].rows)))).values()) for d in
                   frame.occurrences.values()}  # fmt: skip

        def tier(most: float) -> Callable[[Sequence[int]], bool]:
            def enough(rows: Sequence[int]) -> bool:
                together: dict[Any, list[int]] = {}
                for i in rows:
                    together.setdefault(bins[i], []).append(i)
                return len(rows) > (k - 1) * most or any(self.people(frame, x) >= k for x in together.values())

            return enough

        single = len(frame.occurrences) == 1 and max(largest.values()) == 1 and most == 1
        # of joined rows the judge may know no bound, nor that a join repeated nothing
        tiers = [tier(1)] if single else [tier(max(largest.values())), tier(math.inf), tier(1)]
        for enough in tiers:
            made = pieces(numbers, enough, bounds, integers=integers, days=dates)
            slack = k * 2 * max(most, *largest.values()) if enough is not tiers[0] or not single else k
            at = position * len(numbers)
            for x in made:
                near = x.begin - slack <= at <= x.end + slack
                end = x is made[0 if position <= 0 else -1] if position in (0.0, 1.0) else near
                if end and self.people(frame, x.inside) >= k:
                    yield x.middle, single or enough is tiers[1]

    def _by_unit_rows(self, dataset: str, rows: Rows) -> list[int]:
        """How many rows each unit has."""
        found: Counter[Any] = Counter()
        for row, times in rows.items():
            found[self.datasets[dataset].unit(row)] += times
        return list(found.values()) or [1]

    def _settled(self, boundary: Boundary, leaf: Leaf, rows: Sequence[int], limits: Limits) -> bool:
        """Whether all that lies between a population and one told of before passes the rules about values by itself.

        Of two nested populations that were both answered what lies between them is answered, too (docs/guard.md, rule 8).
        """
        frame = boundary.frame
        if not limits.history or len(frame.occurrences) != 1 or not leaf.args or leaf.function in COUNTING:
            return True
        ((dataset, base),) = self.base(frame, rows).items()
        for told in [self.whole(dataset), *self.stored[dataset], *self.answered[dataset]]:
            one, two = (base - told, told - base)
            if bool(one) == bool(two):
                continue  # the very same, or neither lies inside the other
            between = self.rows_for(frame, dataset, one or two)
            if between is None:
                continue
            full = [i for i in between if all(a.values[i] is not None for a in leaf.args)]
            if self.people(frame, full) < limits.k:
                continue  # the history of those who have a value has decided
            if not self._passes(frame, leaf, full, limits):
                return False
        return True

    def _between(self, boundary: Boundary, chosen: list[Choice], limits: Limits, found: Explained) -> None:
        """No two sums of one column of which the difference is a sum that the rules about values would not let pass."""
        if not limits.history or len(boundary.frame.occurrences) != 1:
            return
        for choice in chosen:
            name, expr = boundary.outputs[choice.output] if choice.output >= 0 else ("", None)
            leaf = boundary.leaves.get(expr)  # type: ignore[arg-type]
            if leaf is None or leaf.function not in ("sum", "mean", "var", "std") or not choice.vectors:
                continue
            system, weights = choice.vectors[0]
            for told in self.systems.rows.get(system, []):
                if told.keys() == weights.keys() or {*told.values(), *weights.values()} != {1}:
                    continue
                if told.keys() <= weights.keys() or weights.keys() <= told.keys():
                    between = Counter(row for _, row in told.keys() ^ weights.keys())
                    rows = self.rows_for(boundary.frame, next(iter(weights))[0], between)
                    if rows is None or self.people(boundary.frame, rows) < limits.k:
                        continue  # few people are the audit's
                    if not self._passes(boundary.frame, leaf, rows, limits):
                        where = f"{name}: {len(rows)} rows {rows[:12]} between {len(told)} and {len(weights)}"
                        found.findings.append(Finding("between", where, choice.value, leak=True))

    def _passes(self, frame: Frame, leaf: Leaf, full: list[int], limits: Limits) -> bool:
        """Whether the rules about values hold of a statistic's argument in some rows."""
        squares = leaf.function in ("var", "std", "pl.cov", "pl.corr")
        for arg in leaf.parts or leaf.args:
            if not self._differ(frame, arg, full, limits):
                return False
            numbers = self._numbers([arg.values[i] for i in full]) and arg.lineage.form is Form.COLUMN
            if (
                numbers
                and leaf.function in SUMMED
                and not self._dominated_by(frame, arg, arg.lineage.bounds, full, limits, squares=squares)
            ):
                return False
        return True

    # -- rules of values

    def _by_unit(self, frame: Frame, rows: Iterable[int], weights: Callable[[int], float]) -> list[dict[Any, float]]:
        """Contributions per unit, one table per scan occurrence."""
        found: dict[int, dict[Any, float]] = {}
        for i in rows:
            seen = set()
            for occurrence, row in frame.rows[i].origin:
                unit = self.datasets[frame.occurrences[occurrence]].unit(row)
                if (occurrence, unit) in seen:
                    continue
                seen.add((occurrence, unit))
                mine = found.setdefault(occurrence, {})
                mine[unit] = mine.get(unit, 0.0) + weights(i)
        return list(found.values())

    def _dominated(self, frame: Frame, leaf: Leaf, rows: list[int], limits: Limits, *, squares: bool) -> bool:
        """Whether no unit makes up a sum, seen from either bound."""
        arg = leaf.args[0]
        bounds = arg.lineage.bounds
        if bounds is None and isinstance(call := leaf.call.args[0], Call) and call.function.startswith("str.len"):
            bounds = (0, 0)  # a public fact
        return self._dominated_by(frame, arg, bounds, rows, limits, squares=squares)

    def _dominated_by(
        self, frame: Frame, arg: Values, bounds: tuple[float, float] | None, rows: list[int], limits: Limits,
        *, squares: bool = False,
    ) -> bool:  # fmt: skip
        values = arg.values
        if limits.p is None and not limits.shares:
            return True
        observed = [x for x in values if x is not None and self._numbers([x])]
        low, high = min(observed), max(observed)
        if bounds is not None:
            low, high = min(low, bounds[0]), max(high, bounds[1])
        sides = [lambda i: values[i] - low]
        if self._declared(arg):
            sides.append(lambda i: high - values[i])
        if squares:
            mean = total([values[i] for i in rows]) / len(rows)
            sides.append(lambda i: (values[i] - mean) ** 2)
        return all(self._nobody_dominates(frame, rows, side, limits) for side in sides)

    def _declared(self, arg: Values) -> bool:
        """Whether everybody knows the upper bound: the owner declared it, or the column says yes or no."""
        facts = [self.datasets[d].facts.column(c) for d, c in arg.lineage.columns]
        known_bound = arg.lineage.bounds is not None and all(f.role.upper is not None for f in facts)
        return bool(facts) and (known_bound or all(f.dtype.kind == "Boolean" for f in facts))

    def _nobody_dominates(
        self, frame: Frame, rows: Iterable[int], contribution: Callable[[int], float], limits: Limits
    ) -> bool:
        """The p% rule and the n-k rules for contributions that are not negative."""
        if limits.p is None and not limits.shares:
            return True
        for shares in self._by_unit(frame, rows, contribution):
            parts = sorted(shares.values(), reverse=True)
            everything = total(parts)
            slack = 1e-9 * max(1.0, abs(everything))
            if limits.p is not None and everything - sum(parts[:2]) < limits.p * parts[0] - slack:
                return False
            if any(sum(parts[:m]) > share * everything + slack for m, share in limits.shares):
                return False
        return True

    def _leverage(self, frame: Frame, values: Sequence[Any], rows: list[int], k: int) -> bool:
        """Whether no unit has more than 1/k of a column's spread."""
        some = [values[i] for i in rows]
        if not self._numbers(some):
            return False
        mean = total(some) / len(some)
        spread = total([(x - mean) ** 2 for x in some])
        each = self._by_unit(frame, rows, lambda i: (values[i] - mean) ** 2)
        return spread > 0 and all(max(u.values()) <= spread / k * (1 + 1e-9) for u in each)

    def _held(self, frame: Frame, values: Sequence[Any], rows: Iterable[int], k: int) -> bool:
        """Whether k units hold every value."""
        holders: dict[Any, list[int]] = {}
        for i in rows:
            holders.setdefault(values[i], []).append(i)
        return all(self.people(frame, who) >= k for who in holders.values())

    def _differ(self, frame: Frame, arg: Values, rows: list[int], limits: Limits) -> bool:
        """Homogeneity: enough units differ from the most common value."""
        if not limits.differing:
            return True
        watched = limits.of_all and arg.lineage.private
        for dataset, column in arg.lineage.columns:
            facts = self.datasets[dataset].facts.column(column)
            kinds = ("Boolean", "String", "Categorical", "Enum")
            watched |= facts.role.kind is RoleKind.SENSITIVE and facts.dtype.kind in kinds
        if not watched:
            return True
        for occurrence in frame.occurrences:
            values: dict[Any, set[Any]] = {}
            for i in rows:
                for o, row in frame.rows[i].origin:
                    if o == occurrence:
                        values.setdefault(arg.values[i], set()).add(self.datasets[frame.occurrences[o]].unit(row))
            if values:
                most = max(values, key=lambda x: len(values[x]))
                others = set[Any]().union(*(who for x, who in values.items() if x != most))
                if len(others) < limits.differing:
                    return False
        return True

    def _counted(self, leaf: Leaf) -> bool:
        """Whether an argument is one that is counted distinct."""
        lineage = leaf.args[0].lineage
        return lineage.plain and all(self.datasets[d].facts.unit == c for d, c in lineage.columns)

    # -- rows of the audit

    def _weights(self, frame: Frame, rows: Iterable[int]) -> dict[tuple[str, int], int]:
        found: Counter[tuple[str, int]] = Counter()
        for i in rows:
            for occurrence, row in frame.rows[i].origin:
                found[frame.occurrences[occurrence], row] += 1
        return dict(found)

    def _unknown(self, frame: Frame, arg: Values, rows: Iterable[int]) -> list[int]:
        """Of some rows those in which no column of an argument is missing: which are missing is public."""
        found = []
        for i in rows:
            stored = [
                [self.datasets[d].rows[r][c] for occurrence, r in frame.rows[i].origin if occurrence == o]
                for o, d, c in arg.lineage.sources
            ]
            if all(not values or any(x is not None for x in values) for values in stored):
                found.append(i)
        return found

    def _ones(self, frame: Frame, rows: Iterable[int]) -> tuple[Any, dict[tuple[str, int], int]]:
        return "ones", self._weights(frame, rows)

    def _system(self, leaf: Leaf) -> Any:
        """Which column's values a sum is about: affine functions are their column."""
        lineage = leaf.args[0].lineage
        return lineage.columns if lineage.form is Form.COLUMN else (lineage.columns, leaf.call.args[0])

    # -- whole answers

    def release(self, boundary: Boundary) -> tuple[dict[tuple[Any, ...], list[list[Choice] | None]], list[Any]]:
        """The oracle's own answer: choices per shown key and output (None: unknown), and the keys in the remainder."""
        limits = self.limits(boundary.frame)
        frame, cells = boundary.frame, boundary.cells
        if boundary.forbidden or limits.closed:
            return {}, []
        targets = {key: self.target(frame, rows, limits, ()) for key, rows in cells.items()}
        covered = {i for t in targets.values() if "own" not in t for rows in t if rows != "nobody" for i in rows}
        small = [key for key, t in targets.items() if t == ["nobody"]]
        merged = [key for key in small if not covered.issuperset(cells[key])]
        small = list(merged)
        if small:
            others = sorted((k for k in cells if k not in small), key=lambda k: self.people(frame, cells[k]))
            while others and self.people(frame, [i for k in merged for i in cells[k]]) < limits.k:
                merged.append(others.pop(0))
        shown = {}
        for key, rows in cells.items():
            if key not in merged and targets[key] != ["nobody"]:
                shown[key] = [self._outputs(boundary, expr, rows, limits) for _, expr in boundary.outputs]
        return shown, merged

    def _away(
        self, boundary: Boundary, expr: Expr, shown: Mapping[tuple[Any, ...], list[list[Choice] | None]],
        merged: list[Any], at: int, limits: Limits,
    ) -> set[Any]:  # fmt: skip
        """Cells hidden so that what is hidden of a statistic passes the rules as one."""
        leaf = boundary.leaves.get(expr)  # type: ignore[call-overload]
        if leaf is None:
            return set()
        hidden = {key for key, outputs in shown.items() if not any(map(countable, outputs[at] or ()))}
        together = [i for key in merged for i in boundary.cells[key]]
        if not any(map(countable, self.choices(boundary, leaf, together, limits))):
            hidden |= set(merged)
        others = sorted(
            set(shown) - hidden, key=lambda k: self.people(boundary.frame, selected(leaf, boundary.cells[k]))
        )
        while True:
            rows = [i for key in hidden for i in boundary.cells[key]]
            chosen = selected(leaf, rows)
            if not others or not chosen or any(map(countable, self.choices(boundary, leaf, rows, limits))):
                return hidden
            hidden.add(others.pop(0))

    def _outputs(self, boundary: Boundary, expr: Expr, rows: Sequence[int], limits: Limits) -> list[Choice] | None:
        """The permitted values of one output in one cell; None where they cannot be listed."""
        if not scalar(expr):
            return []  # rows in a cell
        peers = [list(rows)] + [selected(leaf, rows) for leaf in boundary.leaves.values() if leaf.conditions]
        inside = [c for c in boundary.leaves if occurs(c, expr)]
        if inside == [expr]:
            return self.choices(boundary, boundary.leaves[inside[0]], rows, limits, peers)
        options = [self.choices(boundary, boundary.leaves[c], rows, limits, peers) for c in inside]
        if any(o.accept is not None for few in options for o in few):
            return None
        found = []
        for combination in itertools.islice(itertools.product(*options), 64):
            value = self.reader.arithmetic(expr, dict(zip(inside, (c.value for c in combination), strict=True)))
            kind = next((c.kind for c in combination if c.kind != "own"), "own")
            population = next((c.population for c in combination if c.kind == "own"), ())
            found.append(Choice(value, kind, population, None, [x for c in combination for x in c.vectors]))
            found[-1].parts = combination  # type: ignore[attr-defined]
        return found

    def _window(self, boundary: Boundary) -> dict[tuple[Any, ...], list[Any]]:
        """Values of a window: what the oracle itself would release; merged cells keep their keys."""
        shown, merged = self.release(boundary)
        limits = self.limits(boundary.frame)
        values = {}
        # its cells are populations as well, whether the column is used or not
        for rows in (*boundary.cells.values(), [i for k in merged for i in boundary.cells[k]]):
            for d, base in self.base(boundary.frame, rows).items():
                if base and base not in self.unions[d]:
                    self.unions[d].append(base)
        if merged:
            together = [i for k in merged for i in boundary.cells[k]]
            rest = [self._outputs(boundary, e, together, limits) for _, e in boundary.outputs]
            shown = shown | dict.fromkeys(merged, rest)
        for key, outputs in shown.items():
            if any(o is None or any(c.accept is not None for c in o) for o in outputs):
                raise Unknown("window of an order statistic")
            values[key] = [o[0].value if o else None for o in outputs]
        return values

    def explain(self, boundary: Boundary, table: list[dict[str, Any]]) -> Explained:
        """Explain a released table (empty: nothing was released), and remember it."""
        limits = self.limits(boundary.frame)
        odd = any(leaf.cautious or leaf.forbidden for leaf in boundary.leaves.values())
        found = Explained(promised=not (boundary.cautious or odd))
        if boundary.tied:
            self._tied(boundary, table, limits, found)
            return found
        scenarios = [self._scenario(boundary, table, limits, split) for split in self._splits(boundary, table)]
        best = min(scenarios, key=lambda s: len(s[0]))
        before = {d: [self.whole(d), *rows] for d, rows in self.stored.items()}
        cells_of = getattr(boundary.node, "input", None), getattr(boundary.node, "keys", ())
        found.findings += best[0]
        chosen: list[Choice] = self._cleared(boundary, best[1], limits)
        found.values = sum(1 for row in table for name, _ in boundary.outputs if row[name] is not None)
        self._near(boundary.frame, chosen, limits, found)
        self._remember(boundary, table, best[2], chosen, limits, found)
        if found.promised:
            self._count(boundary, table, best[2], limits, found, {} if cells_of in self.asked else before)
        self.asked.append(cells_of)
        return found

    def _cleared(self, boundary: Boundary, chosen: list[Choice], limits: Limits) -> list[Choice]:
        """Choices of which the audit clears as many as it can: what reads the same may tell of another population.

        The largest first, as earlier answers win.
        """
        if (
            not limits.audited
            or len(boundary.frame.occurrences) != 1
            or self._sound(self.systems.copy(), chosen, limits)
        ):
            return chosen
        trial, found = self.systems.copy(), list(chosen)
        for at in sorted(range(len(chosen)), key=lambda i: -len(chosen[i].population)):
            choice = chosen[at]
            if choice.kind == "own" and choice.vectors and not self._sound(trial.copy(), [choice], limits):
                (expr,) = [e for i, (_, e) in enumerate(boundary.outputs) if i == choice.output]
                for rows in self._instead(boundary, choice.population, found, limits):
                    other = self._on(boundary, expr, rows, limits, choice.value)
                    if other is not None and self._sound(trial.copy(), [other], limits):
                        other.output = choice.output
                        found[at] = other
                        break
            self._sound(trial, [found[at]], limits)
        return found

    @staticmethod
    def _sound(systems: Systems, chosen: list[Choice], limits: Limits) -> bool:
        """Whether nobody is isolated with some more choices, which are added."""
        for c in flat(chosen):
            for system, weights in c.vectors if c.kind in ("own", "stored") else ():
                systems.add(system, weights)
        return not systems.isolated(limits.k)

    def _splits(self, boundary: Boundary, table: list[dict[str, Any]]) -> list[dict[int, tuple[Any, ...] | None]]:
        """Ways to read the rows of a table: key by position, None for the remainder row."""
        if not boundary.keys:
            return [dict.fromkeys(range(len(table)), ())]
        keys = [tuple(row[k] for k in boundary.keys) for row in table]
        unclear = [i for i, key in enumerate(keys) if all(x is None or x == OTHER for x in key)]
        plain: dict[int, tuple[Any, ...] | None] = {i: key for i, key in enumerate(keys) if i not in unclear}
        found = [plain | {i: keys[i] for i in unclear if i != rest} | {rest: None} for rest in unclear]
        return [*found, plain | {i: keys[i] for i in unclear}]

    def _scenario(
        self, boundary: Boundary, table: list[dict[str, Any]], limits: Limits, split: dict[int, tuple[Any, ...] | None]
    ) -> tuple[list[Finding], list[Choice], dict[int, tuple[Any, ...] | None]]:
        findings: list[Finding] = []
        chosen: list[Choice] = []
        shown = {key for key in split.values() if key is not None}
        if len(shown) < sum(key is not None for key in split.values()):
            findings.append(Finding("rows", "a key is shown twice"))
        rest = [i for key, rows in boundary.cells.items() if key not in shown for i in rows]
        later: list[tuple[Sequence[int], dict[str, Any], list[Finding], list[Choice]]] = []
        for at, key in split.items():
            if key is not None and key not in boundary.cells and boundary.keys:
                findings.append(Finding("key", f"{key} is nobody's key"))
                continue
            cell = rest if key is None else boundary.cells.get(key, [])
            values = {name: table[at][name] for name, _ in boundary.outputs}
            if boundary.keys and self.target(boundary.frame, cell, limits, ()) == ["nobody"]:
                n = self.people(boundary.frame, cell)
                findings.append(Finding("key of few", f"{key}: {n} units", values, leak=True))
                continue
            if boundary.keys and (boundary.forbidden or limits.closed):
                reasons = tuple(sorted(boundary.forbidden)) or ("closed",)
                findings.append(Finding("forbidden", str(key), values, reasons, leak=True))
                continue
            odd: list[Finding] = []
            fine: list[Choice] = []
            for number, (name, expr) in enumerate(boundary.outputs):
                if values[name] is None:
                    continue
                found = self._match(boundary, expr, cell, limits, values[name])
                if isinstance(found, Finding):
                    found.where = f"{key if key is not None else OTHER}.{name}"
                    odd.append(found)
                elif found is not None:
                    found.output = number
                    fine.append(found)
            if odd:
                later.append((cell, values, odd, fine))
            else:
                chosen += fine
        if boundary.keys and shown:
            covered = {i for c in flat(chosen) if c.kind == "stored" for i in c.population}
            for key in shown:
                found = self.target(boundary.frame, boundary.cells.get(key, []), limits, ())
                covered |= {i for t in found if not isinstance(t, str) and "own" not in found for i in t}
            left = [i for i in rest if i not in covered] if None not in split.values() else []
            n = self.everybody(boundary.frame, left)
            if (
                0 < n < limits.k
                and not self.remembers
                and "own" in self.target(boundary.frame, boundary.frame.alive, limits, ())
            ):
                findings.append(Finding("hidden rest", f"{n} units in {len(set(boundary.cells) - shown)} cells"))
        for cell, values, odd, fine in later:
            instead = self._of_atoms(boundary, cell, limits, values, chosen)
            chosen += fine if instead is None else instead
            findings += odd if instead is None else []
        return findings, chosen, split

    def _match(
        self, boundary: Boundary, expr: Expr, cell: Sequence[int], limits: Limits, value: Any
    ) -> Choice | Finding | None:
        options = self._outputs(boundary, expr, cell, limits)
        if options is None:
            return None
        fitting = [o for o in options if o.fits(value)]
        if fitting:
            # of those that say the same: what was told before or is the cell, its own people, what was only asked for
            return min(fitting, key=lambda o: 1 if o.kind == "own" else 0 if self._told(boundary.frame, o, cell) else 2)
        reasons = set(boundary.forbidden)
        for c in boundary.leaves:
            if occurs(c, expr):
                reasons |= boundary.leaves[c].forbidden
        leak = False
        try:
            from row_statistics import statistic

            leaves = {c: statistic(leaf, cell) for c, leaf in boundary.leaves.items() if occurs(c, expr)}
            leak = same(self.reader.arithmetic(expr, leaves), value)
        except Unknown:
            pass
        reasons |= {f"allowed: {o.kind} {o.value!r}" for o in options}
        for c in boundary.leaves:
            if occurs(c, expr):
                reasons.add(self._facts(boundary.frame, boundary.leaves[c], cell, limits))
        return Finding("value", "", value, tuple(sorted(reasons)), leak)

    def _told(self, frame: Frame, choice: Choice, cell: Sequence[int]) -> bool:
        """Whether a choice tells of nobody new, or of the cell."""
        bases, here = self.base(frame, choice.population).items(), self.base(frame, cell)
        return all(not base or base in (self.whole(d), here[d]) or base in self.stored[d] for d, base in bases)

    def _of_atoms(
        self, boundary: Boundary, cell: Sequence[int], limits: Limits, values: Mapping[str, Any], told_now: list[Choice]
    ) -> list[Choice] | None:
        """Answers about one population that is made of whole atoms, where the audit lets no other pass."""
        frame = boundary.frame
        if not limits.audited or len(frame.occurrences) != 1 or boundary.forbidden:
            return None
        starts = [list(cell)]
        starts += [selected(leaf, cell) for leaf in boundary.leaves.values() if leaf.conditions]
        for start in starts:
            for rows in self._instead(boundary, start, told_now, limits):
                found = self._all_on(boundary, rows, limits, values)
                if found is not None:
                    return found
        for atoms in self._small_atoms(boundary, limits):
            for start in starts:
                rows = sorted(set(start) ^ {i for a in atoms for i in a})
                if (
                    not 0 < self.units(*self._changed(frame, start, rows)) < limits.k
                    or self.people(frame, rows) < limits.k
                ):
                    continue
                found = self._all_on(boundary, rows, limits, values)
                if found is not None:
                    return found
        return self._one_by_one(boundary, cell, limits, values, told_now)

    def _one_by_one(
        self, boundary: Boundary, cell: Sequence[int], limits: Limits, values: Mapping[str, Any], told_now: list[Choice]
    ) -> list[Choice] | None:
        """Values of a row each by itself: who meets a condition, and who has a value, are populations of their own."""
        fine = []
        for number, (name, expr) in enumerate(boundary.outputs):
            if values[name] is None:
                continue
            found = self._match(boundary, expr, cell, limits, values[name])
            inside = [leaf for c, leaf in boundary.leaves.items() if occurs(c, expr)]
            if isinstance(found, Finding):
                tried = itertools.chain.from_iterable(
                    self._instead(boundary, start, told_now, limits, leaf if full else None)
                    for leaf in inside
                    for full in (False, True)
                    for start in self._starts(boundary, leaf, cell, told_now, limits, full=full)
                )
                options = (self._on(boundary, expr, rows, limits, values[name], cell) for rows in tried)
                found = next((o for o in options if o is not None), None)
                if found is None:
                    return None
                found.kind = "stored"  # it stands for another one, in a history of its own
            if found is not None:
                found.output = number
                fine.append(found)
        return fine

    def _starts(
        self, boundary: Boundary, leaf: Leaf, cell: Sequence[int], told_now: list[Choice], limits: Limits, *, full: bool
    ) -> Iterable[list[int]]:
        """Populations to begin with: the cell, who meets the conditions, and who of these has a value, in the cell or in what
        is answered instead of it."""
        if not full:
            return [list(cell), selected(leaf, cell)]
        others = itertools.islice(self._instead(boundary, cell, told_now, limits), 60)
        return (known(leaf, rows) for rows in itertools.chain([cell], others))

    def _instead(
        self, boundary: Boundary, start: Sequence[int], told_now: list[Choice], limits: Limits, leaf: Leaf | None = None
    ) -> Iterable[list[int]]:
        """What may be answered instead of a population that the audit lets not pass.

        The atoms inside it, and those that touch it (atoms are what no answer tells apart); and what is near it and follows
        from the answers. leaf: of those who have a value of its argument, among the populations that are so too.
        """
        frame = boundary.frame
        (dataset,) = frame.occurrences.values()
        everybody = range(len(self.datasets[dataset].rows))
        units = [self.datasets[dataset].unit(i) for i in everybody]
        base = self.base(frame, start)[dataset]
        now = [self.base(frame, c.population)[dataset] for c in flat(told_now) if c.population]
        before = [self.whole(dataset), *self.stored[dataset]]
        # a cell that may be told of stands beside this one, whatever becomes of its values
        beside = [self.base(frame, cell)[dataset] for cell in boundary.cells.values()]
        beside += [self.base(frame, rows)[dataset] for rows in self._picked(boundary)]
        beside = [b for b in beside if b != base and self.units(dataset, b) >= limits.k]
        # what was asked need not have been told: the whole may be all that tells rows apart
        tables: list[list[Rows]] = [
            before,
            before + now,
            before + beside,
            before + now + self.unions[dataset],
            before[:1],
        ]
        if leaf is not None:
            present = Counter(i for r in frame.rows for _, i in r.origin)
            for i, r in enumerate(frame.rows):
                if any(a.values[i] is None for a in leaf.args):
                    present -= Counter(x for _, x in r.origin)
            tables = [[Counter({i: c for i, c in t.items() if present[i]}) for t in table] for table in tables]
        seen = []
        for chosen, least in itertools.chain(
            ((c, len(sets) == 1) for sets in tables for c in whole_classes(sets, base, everybody)),
            ((c, False) for sets in tables for c in following(sets, base, units, limits.k)),
            ((c, True) for c in together(tables[3], base)),
        ):
            positions = self.rows_for(frame, dataset, chosen)
            half = abs(chosen.total() - base.total()) * 2 <= base.total()
            if chosen and chosen not in seen and (half or not least) and positions is not None:
                seen.append(chosen)
                yield positions

    def _picked(self, boundary: Boundary) -> Iterable[list[int]]:
        """Who meets the conditions inside statistics, in every cell, and of these who says yes."""
        for leaf in boundary.leaves.values():
            for rows in map(partial(selected, leaf), boundary.cells.values()):
                yield rows
                if leaf.args and len(values := {leaf.args[0].values[i] for i in rows} - {None}) == 2:
                    yield [i for i in rows if leaf.args[0].values[i] == max(values)]

    def _all_on(
        self, boundary: Boundary, rows: list[int], limits: Limits, values: Mapping[str, Any]
    ) -> list[Choice] | None:
        """All values of a row as those of one population."""
        found = []
        for number, (name, expr) in enumerate(boundary.outputs):
            if values[name] is None:
                continue
            choice = self._on(boundary, expr, rows, limits, values[name])
            if choice is None:
                return None
            choice.output = number
            found.append(choice)
        return found

    def _on(
        self, boundary: Boundary, expr: Expr, rows: list[int], limits: Limits, value: Any, cell: Sequence[int] = ()
    ) -> Choice | None:
        """A value as the one of a given population; in arithmetic over several statistics, one of them.

        cell: of which the others are.
        """
        leaf = boundary.leaves.get(expr)  # type: ignore[call-overload]
        if leaf is not None and leaf.conditions:
            options = self._valued(boundary.frame, leaf, rows, limits, "own", ())
            options += self.choices(boundary, leaf, rows, limits)
        else:
            options = self._outputs(boundary, expr, rows, limits) or []
            if leaf is None and cell:
                options = [*options, *self._mixed(boundary, expr, rows, limits, cell)]
        return next((o for o in options if o.fits(value)), None)

    def _mixed(
        self, boundary: Boundary, expr: Expr, rows: list[int], limits: Limits, cell: Sequence[int]
    ) -> Iterable[Choice]:
        """Arithmetic over statistics, each of a cell or of what is answered instead."""
        inside = [c for c in boundary.leaves if occurs(c, expr)]
        options = [
            self.choices(boundary, boundary.leaves[c], cell, limits)
            + self._valued(boundary.frame, boundary.leaves[c], rows, limits, "own", ())
            for c in inside
        ]
        if any(o.accept is not None for few in options for o in few):
            return
        for combination in itertools.islice(itertools.product(*options), 64):
            value = self.reader.arithmetic(expr, dict(zip(inside, (c.value for c in combination), strict=True)))
            found = Choice(value, "own", tuple(rows), None, [x for c in combination for x in c.vectors])
            found.parts = combination  # type: ignore[attr-defined]
            yield found

    def _changed(self, frame: Frame, one: Sequence[int], two: Sequence[int]) -> tuple[str, set[int]]:
        (dataset,) = frame.occurrences.values()
        return dataset, {row for i in set(one) ^ set(two) for _, row in frame.rows[i].origin}

    def _small_atoms(self, boundary: Boundary, limits: Limits) -> list[tuple[tuple[int, ...], ...]]:
        """Up to three classes of few people that nothing released, and nothing asked now, tells apart."""
        frame = boundary.frame
        (dataset,) = frame.occurrences.values()
        key_of = {i: key for key, rows in boundary.cells.items() for i in rows}
        classes: dict[Any, list[int]] = {}
        for i, row in enumerate(frame.rows):
            mine = [r for _, r in row.origin]
            told = tuple(all(s[r] for r in mine) for s in self.stored[dataset])
            asked = tuple(all(c.values[i] is True for c in leaf.conditions) for leaf in boundary.leaves.values())
            classes.setdefault((told, asked, row.alive, key_of.get(i)), []).append(i)
        small = [tuple(rows) for rows in classes.values() if self.people(frame, rows) < limits.k][:60]
        return [c for size in (1, 2, 3)[: 3 if len(small) <= 16 else 2] for c in itertools.combinations(small, size)]

    def _facts(self, frame: Frame, leaf: Leaf, cell: Sequence[int], limits: Limits) -> str:
        """What the rules look at, for whoever reads a finding."""
        rows, full = selected(leaf, cell), known(leaf, cell)
        words = [
            f"{leaf.function}: k={limits.k}",
            f"{self.people(frame, rows)} units",
            f"{self.people(frame, full)} with a value",
        ]
        if leaf.args and full and self._numbers([leaf.args[0].values[i] for i in full]):
            form = leaf.args[0].lineage.form
            words += [form.name.lower(), f"differ {self._differ(frame, leaf.args[0], full, limits)}"]
            words.append(
                f"dominance {self._dominated(frame, leaf, full, limits, squares=leaf.function in ('var', 'std'))}"
            )
            each = self._by_unit(frame, full, lambda i: float(leaf.args[0].values[i]))
            words += [str(sorted(round(x, 2) for x in u.values())[-12:]) for u in each]
        return ", ".join(words)

    def _near(self, frame: Frame, chosen: list[Choice], limits: Limits, found: Explained) -> None:
        """No two populations of one answer within k units, both as themselves."""
        if not limits.history:
            return
        own: dict[tuple[int, ...], Choice] = {}
        for c in flat(chosen):
            if c.kind == "own" and c.population:
                own[c.population] = c
        for (a, one), (b, two) in itertools.combinations(own.items(), 2):
            left, right = self.base(frame, a), self.base(frame, b)
            for d in left:
                distance = self.apart(d, left[d], right[d])
                if 0 < distance < limits.k:
                    where = f"{len(a)} and {len(b)} rows of {d} differ by {distance} units"
                    found.findings.append(Finding("near", where, (one.value, two.value), leak=True))

    def _remember(
        self, boundary: Boundary, table: list[dict[str, Any]], split: dict[int, tuple[Any, ...] | None],
        chosen: list[Choice], limits: Limits, found: Explained,
    ) -> None:  # fmt: skip
        """Enter an answer into the history, and audit everything that was released."""
        frame = boundary.frame
        self._between(boundary, chosen, limits, found)
        for c in flat(chosen):
            if c.kind not in ("own", "stored"):
                continue
            for d, base in self.base(frame, c.population).items():
                if base and base not in self.stored[d]:
                    self.stored[d].append(base)
            for system, weights in c.vectors:
                self.systems.add(system, weights)
            for system, weights in (*c.vectors, self._ones(frame, c.population)):
                self.histories.add(system, weights)
        for i, (name, expr) in enumerate(boundary.outputs):
            told = [row for c in chosen if c.output == i for row in c.population]
            for d, base in self.base(frame, told).items():
                if base and base not in self.unions[d]:
                    self.unions[d].append(base)
            self._note_hidden(boundary, name, expr, table, split, limits)
        # of a table that is stacked onto itself each occurrence is counted, and remembered, by itself, also if another is not
        rest = [i for key, rows in boundary.cells.items() if key not in split.values() for i in rows]
        for d, part in (p for rows in (rest, *boundary.cells.values()) for p in self._each(frame, rows)):
            if part and part not in self.unions[d]:
                self.unions[d].append(part)
        asked = [boundary.cells[key] for key in split.values() if key in boundary.cells]
        for rows in asked:
            for d, base in self.base(frame, rows).items():
                if base and base not in self.answered[d]:
                    self.answered[d].append(base)
        asked += [selected(leaf, cell) for leaf in boundary.leaves.values() if leaf.conditions for cell in list(asked)]
        for rows in asked:
            for d, base in self.base(frame, rows).items():
                if base and base not in self.unions[d]:
                    self.unions[d].append(base)
        if limits.audited and not found.findings:
            for system, rows in self.systems.isolated(limits.k):
                found.findings.append(Finding("audit", f"{system}: {len(rows)} rows {rows[:12]}", leak=True))

    def _note_hidden(
        self, boundary: Boundary, name: str, expr: Expr, table: list[dict[str, Any]],
        split: dict[int, tuple[Any, ...] | None], limits: Limits,
    ) -> None:  # fmt: skip
        """Cells that may not be told by themselves are not to be found by combining others."""
        leaf = boundary.leaves.get(expr)  # type: ignore[call-overload]
        shown = {key: table[at][name] for at, key in split.items() if key is not None}
        if leaf is None or not limits.audited or not any(x is not None for x in shown.values()):
            return
        counting = leaf.function in ("pl.len", "len")
        if not counting and (
            leaf.function not in ("sum", "mean") or leaf.args[0].lineage.form is not Form.COLUMN or self._bit(leaf)
        ):
            return
        for key, cell in boundary.cells.items():
            rows = selected(leaf, cell) if counting else known(leaf, cell)
            if shown.get(key) is None and rows and not any(map(countable, self.choices(boundary, leaf, cell, limits))):
                weights = self._weights(
                    boundary.frame, rows if counting else self._unknown(boundary.frame, leaf.args[0], rows)
                )
                for systems in (self.systems, self.histories):
                    systems.hide("ones" if counting else self._system(leaf), weights)

    # -- tied values

    def _tied(self, boundary: Boundary, table: list[dict[str, Any]], limits: Limits, found: Explained) -> None:
        (name, expr), *_ = boundary.outputs
        (leaf,) = boundary.leaves.values()
        if boundary.keys or leaf.call != expr:
            raise Unknown("tied values in cells")
        rows = selected(leaf, boundary.frame.alive)
        cells: dict[Any, list[int]] = {}
        for i in rows:
            cells.setdefault(leaf.args[0].values[i], []).append(i)
        reasons = tuple(boundary.forbidden | leaf.forbidden | (frozenset({"closed"}) if limits.closed else frozenset()))
        safe = {x: c for x, c in cells.items() if self.target(boundary.frame, c, limits, ()) != ["nobody"]}
        shown, entered = 0, list[tuple[str, Rows]]()
        for row in table:
            item = row[name]
            value = next(iter(item.values())) if leaf.function == "value_counts" else item
            count = list(item.values())[1] if leaf.function == "value_counts" else None
            shown += 1
            if value is None and value not in safe:
                continue  # the remainder row bears no value
            if reasons:
                found.findings.append(Finding("forbidden", name, item, reasons, leak=True))
            elif value not in safe and value == OTHER:
                continue
            elif value not in safe:
                found.findings.append(Finding("tied value of few", name, item, leak=True))
            elif count is not None and value is not None:
                targets = self.target(boundary.frame, safe[value], limits, ())
                fine = {len(safe[value]) if t == "own" else len(t) for t in targets}
                if count not in fine and limits.audited and len(boundary.frame.occurrences) == 1:
                    instead = next(
                        (r for r in self._instead(boundary, safe[value], [], limits) if len(r) == count), None
                    )
                    if instead is not None:
                        fine.add(count)
                        entered += list(self.base(boundary.frame, instead).items())
                if leaf.options.get("normalize") is False and count not in fine:
                    found.findings.append(Finding("value", name, item, (f"allowed: {sorted(fine)}",)))
            elif leaf.function == "mode" and not self.remembers and len(safe[value]) < max(map(len, safe.values())):
                found.findings.append(Finding("value", name, item, ("not the most frequent",)))
        for d, base in entered:
            if base and base not in self.stored[d]:
                self.stored[d].append(base)
        if not reasons:
            # all of its cells were told of, also those that are not the most frequent
            counted = [list(r[name].values()) for r in table] if leaf.function == "value_counts" else []
            # a count may be that of a stored population, which was told of before
            told = [value for value, count in counted if count is not None and count == len(safe.get(value, ()))]
            items = [row[name] for row in table]
            seen = [next(iter(x.values())) if leaf.function == "value_counts" else x for x in items]
            for value, cell in safe.items():
                own = "own" in self.target(boundary.frame, cell, limits, ())
                if own and value in told:
                    self.histories.add(*self._ones(boundary.frame, cell))
                for d, base in self.base(boundary.frame, cell).items():
                    alone = own and shown and leaf.function != "mode" and value in seen
                    known_before = self.stored[d] if alone else self.unions[d]
                    if base and base not in known_before:
                        known_before.append(base)
                if own and value in told:
                    self.systems.add(*self._ones(boundary.frame, cell))
            if limits.audited and not found.findings:
                for system, rows in self.systems.isolated(limits.k):
                    found.findings.append(Finding("audit", f"{system}: {len(rows)} rows {rows[:12]}", leak=True))
            for few in ([x for x in cells if x not in safe], [x for x in cells if x not in seen]):
                for d, base in self.base(boundary.frame, [i for x in few for i in cells[x]]).items():
                    if base and base not in self.unions[d]:
                        self.unions[d].append(base)
        if leaf.function != "mode" and not reasons and None not in cells:
            self._count_tied(boundary, leaf, table, safe, limits, found)
        found.promised = found.promised and not leaf.cautious
        found.values = shown

    def _count_tied(
        self, boundary: Boundary, leaf: Leaf, table: list[dict[str, Any]], safe: dict[Any, list[int]], limits: Limits,
        found: Explained,
    ) -> None:  # fmt: skip
        """Count the values that may be shown, and how many of them are; what is put together has no value."""
        (name, _), *_ = boundary.outputs
        values = [next(iter(r[name].values())) if leaf.function == "value_counts" else r[name] for r in table]
        rest = any(x not in safe for x in values)
        trial = self.histories.copy()
        for x, cell in safe.items():
            choice = Choice(len(cell), "own", tuple(cell), None, [self._ones(boundary.frame, cell)])
            if x in values or rest:
                found.shown, found.merged = found.shown + (x in values), found.merged + (x not in values)
            elif (limits.audited and not trial.could([choice], limits.k)) or not self._within_budget(
                boundary.frame, choice, limits
            ):
                continue
            else:
                found.hidden.append((f"{leaf.function} of {leaf.args[0].lineage.form.name}", name))
            found.allowed += 1

    # -- what could have been shown

    def _count(
        self, boundary: Boundary, table: list[dict[str, Any]], split: dict[int, tuple[Any, ...] | None],
        limits: Limits, found: Explained, before: Mapping[str, Sequence[Rows]],
    ) -> None:  # fmt: skip
        """Count the values that the oracle allows, and how many of them are in the answer.

        before: what was told of before the question.
        """
        shown, merged = self.release(boundary)
        away = {
            name: self._away(boundary, expr, shown, merged, i, limits)
            for i, (name, expr) in enumerate(boundary.outputs)
        }
        at = {key: i for i, key in split.items()}
        trial = self.histories.copy()
        several = len(boundary.frame.occurrences) > 1

        def entered(choice: Choice) -> Choice:
            return replace(choice, vectors=[*choice.vectors, self._ones(boundary.frame, choice.population)])

        for key, outputs in shown.items():
            # what is inside a cell is told with it: of several tables a cell stands by itself or not at all
            if several and (
                "own" not in self.target(boundary.frame, boundary.cells[key], limits, ())
                or (limits.history and self._told_apart(boundary.frame, boundary.cells[key], before))
            ):
                continue
            for (name, expr), options in zip(boundary.outputs, outputs, strict=True):
                cautious = any(boundary.leaves[c].cautious for c in boundary.leaves if occurs(c, expr))
                kinds = ("own",) if several else ("own", "stored")
                if cautious or key in away.get(name, ()) or not any(countable(o, kinds) for o in options or ()):
                    continue
                inside = [leaf for c, leaf in boundary.leaves.items() if occurs(c, expr)]
                cell = boundary.cells[key]
                if not all(
                    self._settled(boundary, leaf, selected(leaf, cell), limits)
                    for leaf in inside
                    if leaf.conditions or leaf.function in SUMMED
                ):
                    continue
                found.allowed += 1
                if key in at and table[at[key]][name] is not None:
                    found.shown += 1
                elif None in at and key not in at and table[at[None]][name] is not None:
                    found.merged += 1
                elif (limits.audited and not trial.could(map(entered, options or []), limits.k)) or not any(
                    self._within_budget(boundary.frame, o, limits) for o in options or ()
                ):
                    found.allowed -= 1
                else:
                    words = [f"{x.function} of {'/'.join(a.lineage.form.name for a in x.args)}" for x in inside]
                    where = " of a condition" if any(x.conditions for x in inside) else ""
                    found.hidden.append((" and ".join(words) + where, f"{key}.{name}"))

    def _told_apart(self, frame: Frame, rows: Sequence[int], before: Mapping[str, Sequence[Rows]]) -> bool:
        """Whether the people of one of several tables are the very same as in an earlier answer to another question.

        The very same and nearly the same read alike, and of several tables there is no one population that could be told.
        """
        return any(base in before.get(d, ()) for d, base in self.base(frame, rows).items())

    def _within_budget(self, frame: Frame, choice: Choice, limits: Limits) -> bool:
        """Whether one more number is within the rank budget: a share of the atoms, where one of k units counts as k."""
        if limits.budget is None:
            return True
        for d, base in self.base(frame, choice.population).items():
            rows = [self.whole(d), *self.stored[d], base]
            classes = classes_of(rows, range(len(self.datasets[d].rows)))
            worth = sum(min(self.units(d, c), max(limits.k, math.ceil(1 / limits.budget))) for c in classes.values())
            if rank([[key[i] for key in classes] for i in range(len(rows))]) > limits.budget * worth:
                return False
        return True


def countable(choice: Choice, kinds: Sequence[str] = ("own", "stored")) -> bool:
    """Whether a choice says something."""
    there = choice.value is not MISSING and (choice.value is not None or choice.accept is not None)
    return choice.kind in kinds and there


def flat(chosen: Iterable[Choice]) -> Iterable[Choice]:
    """Choices, those of compound outputs one by one."""
    for c in chosen:
        yield from getattr(c, "parts", (c,))


def nobody(leaf: Leaf) -> Choice:
    """The answer about nobody."""
    return Choice(compute(leaf.function, [[] for _ in leaf.args], 0, leaf.options), "nobody")


def rough(_: Any) -> bool:
    return True


def occurs(part: Expr, whole: Expr) -> bool:
    from row_frames import descend

    return any(e == part for e in descend(whole))


def days(x: Any) -> Any:
    """Days since 1970 of a date or a time."""
    if isinstance(x, dt.datetime):
        x = x.date()
    return (x - dt.date(1970, 1, 1)).days if isinstance(x, dt.date) else x


def judged(reading: Reading) -> Boundary | None:
    """The boundary whose cells leave, None for a plan of single rows."""
    if isinstance(reading, Behind):
        return reading.inner
    return reading if isinstance(reading, Boundary) else None


__all__ = ["Explained", "Finding", "Oracle", "judged", "known"]
