"""What an answer adds to the history, and what all answers together give away."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

from bastion_plan.expressions import Expr
from row_audit import PEOPLE
from row_frames import Boundary, Form, Frame
from row_instead import Instead
from row_model import Choice, Explained, Finding, Limits, countable, flat
from row_statistics import known, selected


class Memory(Instead):
    """The history of one audience."""

    def _near(self, frame: Frame, chosen: list[Choice], limits: Limits, found: Explained) -> None:
        """No two populations of one answer within k units, both as themselves.

        Of answers that read the same those are taken, in `chosen`, that stand beside each other, if there are such.
        """
        if not limits.history:
            return
        odd = self._too_near(frame, chosen, limits)
        for at, choice in enumerate(chosen) if odd else ():
            for other in choice.others:
                other.output = choice.output
                trial = [*chosen[:at], other, *chosen[at + 1 :]]
                if len(left := self._too_near(frame, trial, limits)) < len(odd):
                    chosen[at], odd = other, left
        found.findings += odd

    def _too_near(self, frame: Frame, chosen: list[Choice], limits: Limits) -> list[Finding]:
        own: dict[tuple[int, ...], Choice] = {}
        for c in flat(chosen):
            if c.kind == "own" and c.population:
                own[c.population] = c
        found = []
        for (a, one), (b, two) in itertools.combinations(own.items(), 2):
            left, right = self.base(frame, a), self.base(frame, b)
            for d in left:
                distance = self.apart(d, left[d], right[d])
                if 0 < distance < limits.k:
                    where = f"{len(a)} and {len(b)} rows of {d} differ by {distance} units"
                    found.append(Finding("near", where, (one.value, two.value), leak=True))
        return found + self._sums_too_near(chosen, limits)

    def _sums_too_near(self, chosen: list[Choice], limits: Limits) -> list[Finding]:
        """The same of sums of one column, by those who have a value: a history of its own, also of what stands for another."""
        found, sums = [], dict[Any, list[tuple[Choice, dict[tuple[str, int], Any]]]]()
        for c in flat(chosen):
            for system, weights in c.vectors if c.kind in ("own", "stored") else ():
                if system != "ones" and not (isinstance(system, tuple) and system[-1] == PEOPLE):
                    sums.setdefault(system, []).append((c, weights))
        for system, told in sums.items():
            for (one, a), (two, b) in itertools.combinations(told, 2):
                apart = {v for v in {*a, *b} if a.get(v) != b.get(v)}
                datasets = {d for d, _ in {*a, *b}}
                if len(datasets) == 1 and 0 < self.units(*datasets, (row for _, row in apart)) < limits.k:
                    where = f"{system}: sums of {len(a)} and {len(b)} rows differ by {len(apart)}"
                    found.append(Finding("near", where, (one.value, two.value), leak=True))
        return found

    def _remember_people(self, choice: Choice, limits: Limits, found: Explained) -> None:
        """Keep what was told of people with several rows; no two numbers about nearly the same people (rule `same-people`)."""
        for number in choice.numbers:
            dataset, column, rows = number
            known_before = self.numbered.setdefault((dataset, column), [])
            near = [told for told in known_before if limits.history and self.few_differ(number, told, limits)]
            for told in near:
                where = f"{column}: fewer than k people differ in {rows.total()} and {told.total()} rows"
                found.findings.append(Finding("same-people", where, choice.value, leak=True))
            if rows not in known_before:
                known_before.append(rows)

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
            if system == "ones":
                continue  # a number of people who say yes has no values
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
            for system, weights in (*c.vectors, self._ones(frame, c.population), *self.of_people(c)):
                self.histories.add(system, weights)
            self._remember_people(c, limits, found)
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
        # the remainder row is answered as well, whatever its numbers
        asked = [boundary.cells[key] for key in split.values() if key in boundary.cells] + [rest] * (
            None in split.values()
        )
        for rows in asked:
            for d, base in self.base(frame, rows).items():
                if base and base not in self.answered[d]:
                    self.answered[d].append(base)
        self._answered(frame, asked, limits)
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
                frame, arg = boundary.frame, None if counting else leaf.args[0]
                weights = self._weights(frame, rows if arg is None else self._unknown(frame, arg, rows), arg)
                for systems in (self.systems, self.histories):
                    systems.hide("ones" if counting else self._system(leaf), weights)
