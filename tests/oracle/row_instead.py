"""What may be answered instead of a population that the audit lets not pass."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from bastion_plan.expressions import Expr
from row_audit import Systems
from row_follows import following, together, whole_classes
from row_frames import Boundary, Form, Frame, Leaf
from row_model import Choice, Finding, Limits, Rows, Told, flat, occurs
from row_release import Release
from row_statistics import known, selected
from row_values import Unknown, same


class Instead(Release):
    """Explanations of values that are another population's."""

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
        cells = self._answered_as(frame, cell, limits)
        starts += [selected(leaf, rows) for leaf in boundary.leaves.values() if leaf.conditions for rows in cells]
        for start in starts:
            for rows in self._instead(boundary, start, told_now, limits):
                found = self._all_on(boundary, rows, limits, values)
                if found is not None:
                    return found
        # who meets a condition in what stands for the cell
        others = list(itertools.islice(self._instead(boundary, cell, told_now, limits), 60))
        picked = (selected(leaf, rows) for leaf in boundary.leaves.values() if leaf.conditions for rows in others)
        starts += [rows for rows in picked if rows not in starts]
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
                told = [*told_now, *fine]  # the values before it in the row were told of as well
                tried = itertools.chain.from_iterable(
                    self._instead(boundary, start, told, limits, leaf if full else None)
                    for leaf in inside
                    for full in (False, True)
                    for start in self._starts(boundary, leaf, cell, told, limits, full=full)
                )
                options = (self._on(boundary, expr, rows, limits, values[name], cell) for rows in tried)
                found = next((o for o in options if o is not None), None)
                found = found or self._of_yes(boundary, boundary.leaves.get(expr), cell, limits, values[name], told)  # type: ignore[call-overload]
                if found is None:
                    return None
                found.kind = "stored"  # it stands for another one, in a history of its own
            if found is not None:
                found.output = number
                fine.append(found)
        return fine

    def _of_yes(
        self, boundary: Boundary, leaf: Leaf | None, cell: Sequence[int], limits: Limits, value: Any, told: list[Choice]
    ) -> Choice | None:
        """A number of those who say yes, as that of what is answered instead of them."""
        if leaf is None or leaf.function not in ("sum", "mean") or len(leaf.args) != 1:
            return None
        arg, full = leaf.args[0], known(leaf, cell)
        ends = sorted({x for x in arg.values if x is not None})
        if len(ends) != 2 or not (arg.lineage.form is Form.BITS or self._bit(leaf)):
            return None
        yes, n = [i for i in full if arg.values[i] == ends[1]], len(full)
        for rows in itertools.islice(self._instead(boundary, yes, told, limits), 60):
            exact = ends[0] * n + (ends[1] - ends[0]) * len(rows)
            if leaf.function == "mean":
                exact = exact / n
            as_told = Told(boundary.frame, leaf, rows, limits, "stored")
            for x in self.of_bits(as_told, len(rows), n, (ends[0], ends[1]), exact):
                if same(x, value):
                    return Choice(x, "stored", tuple(rows), None, [self._ones(boundary.frame, rows)])
        return None

    def _starts(
        self, boundary: Boundary, leaf: Leaf, cell: Sequence[int], told_now: list[Choice], limits: Limits, *, full: bool
    ) -> Iterable[list[int]]:
        """Populations to begin with: the cell, who meets the conditions, and who of these has a value, in the cell or in what
        is answered instead of it."""
        if not full:
            return [list(cell), *(selected(leaf, rows) for rows in self._answered_as(boundary.frame, cell, limits))]
        others = itertools.islice(self._instead(boundary, cell, told_now, limits), 60)
        return (known(leaf, rows) for rows in itertools.chain([cell], others))

    def _answered_as(self, frame: Frame, cell: Sequence[int], limits: Limits) -> list[Sequence[int]]:
        """A cell, and the populations near it as which it may be answered: a condition picks of either."""
        return [cell, *(rows for rows in self.target(frame, cell, limits, ()) if not isinstance(rows, str))]

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
            options = self.valued(Told(boundary.frame, leaf, rows, limits, "own"))
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
            # of its own column: it stands for another one, in a history of its own
            + self.valued(Told(boundary.frame, boundary.leaves[c], rows, limits, "stored"))
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

    def _cleared(self, boundary: Boundary, chosen: list[Choice], limits: Limits) -> list[Choice]:
        """Choices of which the audit clears as many as it can: what reads the same may tell of another population.

        The reserved tables count as told, as they do from the start; where that leaves no way, what was answered alone.
        """
        if not limits.audited or len(boundary.frame.occurrences) != 1:
            return chosen
        for systems in (self._beside_reserved(boundary.frame), self.systems):
            if self._sound(systems.copy(), chosen, limits):
                return chosen
            found = self._clearing(boundary, chosen, limits, systems)
            if self._sound(systems.copy(), found, limits):
                return found
        return found

    def _beside_reserved(self, frame: Frame) -> Systems:
        """What was answered, and the reserved tables that are told of from the start."""
        systems = self.systems.copy()
        for (dataset, _), cells in self.kept.items():
            for cell in cells if dataset in frame.occurrences.values() else ():
                systems.add("ones", {(dataset, i): n for i, n in cell.items()})
        systems.changed.clear()
        return systems

    def _clearing(self, boundary: Boundary, chosen: list[Choice], limits: Limits, systems: Systems) -> list[Choice]:
        """Those that were told before first, as earlier answers win, then the largest."""
        trial, found = systems.copy(), list(chosen)
        before = [
            bool(c.population)
            and all(base in self.stored[d] for d, base in self.base(boundary.frame, c.population).items())
            for c in chosen
        ]
        for at in sorted(range(len(chosen)), key=lambda i: (not before[i], -len(chosen[i].population))):
            choice = chosen[at]
            if choice.vectors and not self._sound(trial.copy(), [choice], limits):
                # where numbers are rounded those of several populations read the same
                alike = next((o for o in choice.others if self._sound(trial.copy(), [o], limits)), None)
                if alike is not None:
                    alike.output = choice.output
                    found[at] = choice = alike
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

    def _match(
        self, boundary: Boundary, expr: Expr, cell: Sequence[int], limits: Limits, value: Any
    ) -> Choice | Finding | None:
        options = self._outputs(boundary, expr, cell, limits)
        if options is None:
            return None
        fitting = [o for o in options if o.fits(value)]
        if fitting:
            # of those that say the same: what was told before or is the cell, its own people, what was only asked for
            best = min(fitting, key=lambda o: 1 if o.kind == "own" else 0 if self._told(boundary.frame, o, cell) else 2)
            best.others = [o for o in fitting if o is not best]
            return best
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
