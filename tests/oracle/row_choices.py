"""What may be said of one statistic in one cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from row_frames import Boundary, Form, Frame, Leaf
from row_model import FREE, TIES, Choice, Limits, Told, nobody
from row_ordered import Ordered
from row_people import OF_ROWS
from row_statistics import CORRELATION, MANY, coarse, compute, known, selected
from row_values import Unknown


class Choices(Ordered):
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
                found += self.valued(Told(boundary.frame, leaf, rows, limits, "own", peers))
            else:
                found += self.valued(Told(boundary.frame, leaf, target, limits, "stored", peers))
        if limits.strict and leaf.conditions and self.judged(leaf):
            sides = Told(boundary.frame, leaf, rows, limits, "own", peers)
            found = [c for c in found if c.kind == "nobody"] if not self.both_sides(sides, cell, rows) else found
        if leaf.conditions:
            # the cell as it would be answered, and the condition within it
            near = self.target(boundary.frame, cell, limits, ())
            direct, found = found, []
            for stored in near:
                if isinstance(stored, str):
                    continue
                inside = selected(leaf, stored)
                # who meets the condition there is a population like any other, and may be near one that was told of
                for target in self.target(boundary.frame, inside, limits, ()):
                    if target == "own":
                        found += self.valued(Told(boundary.frame, leaf, inside, limits, "own", peers))
                    elif target != "nobody":
                        found += self.valued(Told(boundary.frame, leaf, target, limits, "stored", peers))
            # a cell that may not be told as itself is not what the condition picks from: that explanation comes first
            found = direct + found if "own" in near else found + direct
            if self._leaves_few(boundary.frame, sorted(set(cell) - set(rows)), limits):
                found += self.valued(Told(boundary.frame, leaf, cell, limits, "stored", peers))
        return found

    def valued(self, told: Told) -> list[Choice]:
        """The statistic over a population that may be told about, where it stands beside what was told of the same people."""
        return [choice for choice in self._by_rows(told) if self._stands(told, choice)]

    def _stands(self, told: Told, choice: Choice) -> bool:
        """Whether a choice may be told beside what was told of people with several rows; it keeps what it tells of them."""
        if choice.kind not in ("own", "stored") or told.leaf.function in OF_ROWS:
            return True
        # what a condition picks is a population, too
        picked = [choice.population] if choice.population not in ((), tuple(told.rows)) else []
        if not all(self.others_told(told.frame, told.leaf, rows, told.limits) for rows in (told.full, *picked)):
            return False
        choice.numbers = [x for rows in (told.full, *picked) for x in self.numbers(told.frame, told.leaf, rows)]
        choice.vectors += self.unknown_people(told, choice.vectors)
        return True

    def _by_rows(self, told: Told) -> list[Choice]:
        """The choices by the rules that count rows."""
        frame, leaf, rows, limits, kind = told.frame, told.leaf, told.rows, told.limits, told.kind
        name = leaf.function
        columns = [[a.values[i] for i in rows] for a in leaf.args]
        height = len(rows)

        def own(value: Any = None, vectors: Any = (), accept: Any = None) -> Choice:
            return Choice(value, kind, tuple(rows), accept, list(vectors))

        if self.remembers and name not in FREE and not self._even(frame, leaf, rows):
            return []
        if self.remembers and not self.weighed_alike(frame, leaf, rows):
            return []
        if name in ("pl.len", "len"):
            fine = self._nobody_dominates(frame, rows, lambda _: 1.0, limits)
            return [own(n, [self._ones(frame, rows)]) for n in self.counted(height, limits)] if fine else []
        if name == "has_nulls":
            return [own(accept=lambda _: True)]
        full = told.full
        if name in ("count", "null_count"):
            return self._nulls(told, own)
        if name in ("n_unique", "approx_n_unique"):
            held = self._held(frame, leaf.args[0].values, rows, limits.k)
            if self._counted(leaf) or held:
                accept = rough if "approx" in name else None
                return [own(n, accept=accept) for n in self.counted(len(set(columns[0])), limits)]
            return []
        if name in TIES:
            raise Unknown(name)
        if limits.strict and self.judged(leaf) and not self.one_verdict(told, rows):
            return []
        if self.people(frame, full) < limits.k:
            return [nobody(leaf)]
        if name in ("pl.cov", "pl.corr"):
            fine = all(a.lineage.form in (Form.COLUMN, Form.FUNCTION) for a in leaf.args)
            fine = fine and self.people(frame, full) >= MANY * limits.k
            fine = fine and all(self._leverage(frame, a.values, full, limits.k) for a in leaf.args)
            if fine and all(self._differ(frame, a, full, limits) for a in leaf.args):
                found = compute(name, columns, height, leaf.options)
                exact = compute("pl.corr", columns, height, CORRELATION)
                rounded = self.rounded_pairs(told, full, exact)
                return [own(accept=partial(coarse, name, rounded, found, loose=rounded != exact))]
            return []
        return self._of_column(told)

    def _nulls(self, told: Told, own: Callable[..., Choice]) -> list[Choice]:
        """Counts of what is there and what is missing: which, is public, so that a small one may be told or not."""
        frame, leaf, rows, limits, full = told.frame, told.leaf, told.rows, told.limits, told.full
        few = self.people(frame, full) < limits.k
        missing = [i for i in rows if i not in set(full)]
        counted = full if leaf.function == "count" else missing
        if self.people(frame, counted) >= limits.k and not self._nobody_dominates(
            frame, counted, lambda _: 1.0, limits
        ):
            return []
        n = len(full) if leaf.function == "count" else len(missing)
        found = [own(x) for x in self.counted(n, limits)]
        if few or self.people(frame, missing) < limits.k:
            # who has no value of a secret column is one, too, under the strict profile
            found = [] if limits.strict and self.secret(leaf.args[0]) else found
            found += [Choice(0, "nobody"), *(Choice(x, "everybody") for x in self.counted(len(rows), limits))]
        return found

    def _of_column(self, told: Told) -> list[Choice]:
        """Statistics of one column's values."""
        frame, leaf, rows, limits, kind, full = told.frame, told.leaf, told.rows, told.limits, told.kind, told.full
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
            return self._condition(told)
        if truth and (form in (Form.BITS, Form.NULLS) or name in ("any", "all", "min", "max")):
            found = self._condition(told)
            if form is not Form.NULLS or (limits.strict and self.secret(arg)):
                return found
            # which values are missing is public
            n, yes = len(full), sum(map(bool, some))
            return [*found, *(Choice(x, kind, tuple(rows)) for x in self.of_bits(told, yes, n, (0, 1), value))]
        # a sum of columns is told by the sums of these, each of which must pass
        split = form is Form.COMBINATION and name in ("sum", "mean")
        if not all(self._differ(frame, part, full, limits) for part in (leaf.parts if split else (arg,))):
            return []
        if name in ("min", "max", "nan_min", "nan_max", "median", "quantile"):
            return [self._ordered(told)]
        if form in (Form.BINNED, Form.BITS, Form.NULLS):
            shown = self.told_as(told, full, value)
            return (
                [Choice(x, kind, tuple(rows)) for x in shown] if self._held(frame, arg.values, full, limits.k) else []
            )
        if not self._numbers(some):
            return []
        if 0 < self.people(frame, self._unknown(frame, arg, full)) < limits.k:
            return []  # fills are nobody's: it is a number of those who have a value
        if not split and not self._dominated(frame, leaf, full, limits, squares=name in ("var", "std")):
            return []
        if not all(self._dominated_by(frame, part, part.lineage.bounds, full, limits) for part in leaf.parts):
            return []
        system, weights = self._system(leaf), self._weights(frame, self._unknown(frame, arg, full), arg)
        vectors = [(system, weights)]
        if name in ("var", "std"):
            vectors.append(((system, "squares"), weights))
        shown = self.told_as(told, full, value)
        line = self.line(frame, arg) if name == "sum" and value is not None else None
        if line is not None and self.people(frame, told.without) < limits.k:
            # the constant of a * x + b is told as often as `count` says that there is a value
            shown = [*shown, *(x + line[2] * len(told.without) for x in shown)]
        return [Choice(x, kind, tuple(rows), None, list(vectors)) for x in shown]

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

    def _condition(self, told: Told) -> list[Choice]:
        """A bit per row: its true rows are a population of their own."""
        frame, leaf, rows, limits, kind, full = told.frame, told.leaf, told.rows, told.limits, told.kind, told.full
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

        def answer(t: int, how: str, population: Sequence[int], vectors: Any = ()) -> list[Choice]:
            bits: list[Any] = [high] * t + [low] * (n - t)
            if name not in ("sum", "mean", "var", "std"):
                raise Unknown(f"{name} of a condition")
            exact = (t if name == "sum" else t / n) if t > n else compute(name, [bits], n, leaf.options)
            shown = self.of_bits(told, t, n, (low, high), exact)
            return [Choice(x, how, tuple(population), None, list(vectors)) for x in shown]

        # each of several scan occurrences is counted by itself
        if few or self._leaves_few(frame, true, limits):
            found += answer(0, "nobody", ())
        if all_but or self._leaves_few(frame, false, limits):
            found += answer(n, "everybody", ())
        if not few and not all_but:
            for target in self.target(frame, true, limits, told.peers):
                if target == "own":
                    found += answer(len(true), kind, true, [self._ones(frame, true)])
                elif target != "nobody":
                    found += answer(len(target), "stored", ())
        return found

    def of_bits(self, told: Told, yes: int, n: int, ends: tuple[Any, Any], exact: Any) -> list[Any]:
        """A statistic of a yes-or-no column as it may be told."""
        if told.limits.rounding is None or told.leaf.function not in ("sum", "mean", "var", "std"):
            return [exact]
        return self.told_of_bits(told.leaf, yes, n, ends, told.limits)

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
