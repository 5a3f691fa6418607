"""What may be said of one statistic in one cell."""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from row_frames import Boundary, Form, Frame, Leaf
from row_intervals import fine, pieces
from row_model import MISSING, TIES, Choice, Limits, nobody
from row_rules import Rules
from row_statistics import CORRELATION, MANY, coarse, compute, known, selected
from row_values import Unknown, same


class Choices(Rules):
    """The values that one statistic may have in an answer."""

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
        kinds = [self.datasets[d].facts.column(c).dtype for d, c in leaf.args[0].lineage.columns]
        # a column of whole numbers is one, whatever it is cast to
        integers = dates or all(isinstance(y, int) for y in some) or (bool(kinds) and all(t.is_integer for t in kinds))
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

    def _counted(self, leaf: Leaf) -> bool:
        """Whether an argument is one that is counted distinct."""
        lineage = leaf.args[0].lineage
        return lineage.plain and all(self.datasets[d].facts.unit == c for d, c in lineage.columns)

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


def rough(_: Any) -> bool:
    return True


def days(x: Any) -> Any:
    """Days since 1970 of a date or a time."""
    if isinstance(x, dt.datetime):
        x = x.date()
    return (x - dt.date(1970, 1, 1)).days if isinstance(x, dt.date) else x
