"""The rules about values, from their definitions: dominance, homogeneity, leverage, held values; and the rows of the audit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from bastion_plan.expressions import Call
from bastion_policy.model import RoleKind
from row_follows import classes_of, rank, worth
from row_frames import Boundary, Form, Frame, Leaf, Values
from row_model import COUNTING, SUMMED, Choice, Limits
from row_populations import Populations
from row_statistics import total


class Rules(Populations):
    """Whether a population's values may be told."""

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
        """Whether no unit makes up a sum, seen from either bound and from 0."""
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
        # what stands for a missing value is known, and taken off again: neither a contribution nor a bound
        known = arg.once("known", lambda: frozenset(self._unknown(frame, arg, range(len(frame.rows)))))
        rows = [i for i in rows if i in known]
        ends = arg.once("ends", lambda: self._ends([values[i] for i in known]))
        if not rows or ends is None:
            return True
        low, high = ends
        if bounds is not None:
            low, high = min(low, bounds[0]), max(high, bounds[1])
        sides = [lambda i: values[i] - low]
        if self._declared(arg):
            sides.append(lambda i: high - values[i])
        sides.append(self._from_nought(frame, arg))
        if arg.lineage.summed is not None:
            # person by person it is the same sum, of which a person's rows deviate from the bounds of as many
            (least, most), of = arg.lineage.summed, {o for o, _, _ in arg.lineage.sources}
            count = arg.once("rows of each", lambda: [sum(o in of for o, _ in row.origin) for row in frame.rows])
            sides.append(lambda i: values[i] - least * count[i])
            if self._declared(arg):
                sides.append(lambda i: most * count[i] - values[i])
        if squares:
            mean = total([values[i] for i in rows]) / len(rows)
            sides.append(lambda i: (values[i] - mean) ** 2)
        return all(self._nobody_dominates(frame, rows, side, limits) for side in sides)

    def _from_nought(self, frame: Frame, arg: Values) -> Callable[[int], float]:
        """What a row adds, seen from 0: a linear function of a stored column adds what the column holds."""
        values = arg.once("from nought", lambda: self._stored_or_own(frame, arg))
        return lambda i: values[i]

    def _ends(self, values: Iterable[Any]) -> tuple[float, float] | None:
        observed = [x for x in values if x is not None and self._numbers([x])]
        return (min(observed), max(observed)) if observed else None

    def _stored_or_own(self, frame: Frame, arg: Values) -> list[Any]:
        values = list(arg.values)
        for occurrence, dataset, column in arg.lineage.sources if len(arg.lineage.sources) == 1 else ():
            found = [
                [self.datasets[dataset].rows[r][column] for o, r in x.origin if o == occurrence] for x in frame.rows
            ]
            if all(len(of) == 1 and (of[0] is None or isinstance(of[0], int | float)) for of in found):
                # where the column holds nothing, what stands in its place
                values = [mine if of[0] is None else of[0] for of, mine in zip(found, values, strict=True)]
        return values

    def _declared(self, arg: Values) -> bool:
        """Whether everybody knows the upper bound: the owner declared it, or the column says yes or no."""
        facts = [self.datasets[d].facts.column(c) for d, c in arg.lineage.columns]
        known_bound = arg.lineage.bounds is not None and all(f.role.upper is not None for f in facts)
        return bool(facts) and (known_bound or all(f.dtype.kind == "Boolean" for f in facts))

    def _nobody_dominates(
        self, frame: Frame, rows: Iterable[int], contribution: Callable[[int], float], limits: Limits
    ) -> bool:
        """The p% rule and the n-k rules for what people add, those who take off something included."""
        if limits.p is None and not limits.shares:
            return True
        found = self._by_unit(frame, rows, contribution)
        return all(self._spread(sorted(map(abs, shares.values()), reverse=True), limits) for shares in found)

    def _spread(self, parts: Sequence[float], limits: Limits) -> bool:
        """Whether no one or two of some people make up a sum. parts: what each adds, the largest first."""
        everything = total(parts)
        slack = 1e-9 * max(1.0, abs(everything))
        if limits.p is not None and everything - sum(parts[:2]) < limits.p * parts[0] - slack:
            return False
        return not any(sum(parts[:m]) > share * everything + slack for m, share in limits.shares)

    def _leverage(self, frame: Frame, values: Sequence[Any], rows: list[int], k: int) -> bool:
        """Whether no unit has more than 1/k of a column's spread."""
        some = [values[i] for i in rows]
        if not self._numbers(some):
            return False
        mean = total(some) / len(some)
        spread = total([(x - mean) ** 2 for x in some])
        each = self._by_unit(frame, rows, lambda i: (values[i] - mean) ** 2)
        return spread > 0 and all(max(u.values()) <= spread / k * (1 + 1e-9) for u in each)

    def _even(self, frame: Frame, leaf: Leaf, rows: Iterable[int]) -> bool:
        """Whether every row of the tables that a statistic is about is in it equally often, where a join repeats rows.

        A number of rows is that of any table whose rows are (docs/guard.md, *Repeated rows*).
        """
        often: dict[int, Counter[int]] = {o: Counter() for o in frame.occurrences}
        for i in rows:
            for occurrence, row in frame.rows[i].origin:
                often[occurrence][row] += 1
        even = {o: len(set(found.values())) <= 1 for o, found in often.items()}
        # which values are missing is public: a count of them is a number of rows
        counted = leaf.function in ("count", "null_count")
        sources = set() if counted else {o for a in leaf.args for o, _, _ in a.lineage.sources}
        return all(even[o] for o in sources) if sources else any(even.values())

    def _held(self, frame: Frame, values: Sequence[Any], rows: Iterable[int], k: int) -> bool:
        """Whether k units hold every value."""
        holders: dict[Any, list[int]] = {}
        for i in rows:
            holders.setdefault(values[i], []).append(i)
        return all(self.people(frame, who) >= k for who in holders.values())

    def _differ(self, frame: Frame, arg: Values, rows: list[int], limits: Limits, least: int | None = None) -> bool:
        """Homogeneity: enough units differ from the most common value. least: how many, where not as the policy says."""
        facts_of = [self.datasets[d].facts.column(c) for d, c in arg.lineage.columns]
        # of a number per person that is made of yes or no, k say so and k do not, whatever the rule says
        if arg.lineage.each and any(f.dtype.kind == "Boolean" and f.role.predicates for f in facts_of):
            least = max(least or limits.differing, limits.k)
        elif not limits.differing:
            return True
        watched = (limits.of_all and arg.lineage.private) or (arg.lineage.each and least is not None)
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
                if len(others) < (limits.differing if least is None else least):
                    return False
        return True

    def _numbers(self, values: Iterable[Any]) -> bool:
        return all(isinstance(x, int | float) and abs(x) < float("inf") for x in values)

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

    def _weights(self, frame: Frame, rows: Iterable[int], arg: Values | None = None) -> dict[tuple[str, int], int]:
        """How often rows of the owners' tables are in some rows: of all, or of those that an argument's values are of."""
        of = range(len(frame.occurrences)) if arg is None else {o for o, _, _ in arg.lineage.sources}
        found: Counter[tuple[str, int]] = Counter()
        for i in rows:
            for occurrence, row in frame.rows[i].origin:
                if occurrence in of:
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

    def _within_budget(self, frame: Frame, choice: Choice, limits: Limits) -> bool:
        """Whether one more number is within the rank budget: a share of the atoms, where one of k units counts as k."""
        if limits.budget is None:
            return True
        for d, base in self.base(frame, choice.population).items():
            rows = [self.whole(d), *self.stored[d], base]
            classes = classes_of(rows, range(len(self.datasets[d].rows)))
            most = sum(worth(self.units(d, c), limits.k, limits.budget) for c in classes.values())
            if rank([[key[i] for key in classes] for i in range(len(rows))]) > limits.budget * most:
                return False
        return True
