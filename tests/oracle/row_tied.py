"""Tied values: the cells that a `unique`, `value_counts` or `mode` shows."""

from __future__ import annotations

from typing import Any

from row_frames import Boundary, Leaf
from row_memory import Memory
from row_model import OTHER, Choice, Explained, Finding, Limits, Rows
from row_statistics import selected
from row_values import Unknown


class Tied(Memory):
    """Answers of values that are shown where their cell is."""

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
                # counts are told as they are rounded
                sizes = {len(safe[value]) if t == "own" else len(t) for t in targets}
                fine = {n for size in sizes for n in self.counted(size, limits)}
                if count not in fine and limits.audited and len(boundary.frame.occurrences) == 1:
                    # the other values' cells are told of in the same answer
                    others = [
                        Choice(len(c), "own", tuple(c), None, [self._ones(boundary.frame, c)])
                        for x, c in safe.items() if x != value
                    ]  # fmt: skip
                    instead = next(
                        (
                            r
                            for r in self._instead(boundary, safe[value], others, limits)
                            if count in self.counted(len(r), limits)
                        ),
                        None,
                    )
                    if instead is not None:
                        fine.add(count)
                        entered += list(self.base(boundary.frame, instead).items())
                if leaf.options.get("normalize") is False and count not in fine:
                    found.findings.append(Finding("value", name, item, (f"allowed: {sorted(fine)}",)))
            elif leaf.function == "mode" and not self.remembers and not self._often(safe, value, limits):
                found.findings.append(Finding("value", name, item, ("not the most frequent",)))
        for d, base in entered:
            if base and base not in self.stored[d]:
                self.stored[d].append(base)
        if not reasons:
            # all of its cells were told of, also those that are not the most frequent
            counted = [list(r[name].values()) for r in table] if leaf.function == "value_counts" else []
            # a count may be that of a stored population, which was told of before
            told = [
                value
                for value, count in counted
                if count is not None and count in self.counted(len(safe.get(value, ())), limits)
            ]
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
            # those that are not the most frequent, and those that are put together, are answered as groups that are not shown
            rest = [i for x, cell in cells.items() if x not in safe for i in cell]
            self._answered(boundary.frame, [*safe.values(), rest], limits)
            for few in ([x for x in cells if x not in safe], [x for x in cells if x not in seen]):
                for d, base in self.base(boundary.frame, [i for x in few for i in cells[x]]).items():
                    if base and base not in self.unions[d]:
                        self.unions[d].append(base)
        if leaf.function != "mode" and not reasons and None not in cells:
            self._count_tied(boundary, leaf, table, safe, limits, found)
        found.promised = found.promised and not leaf.cautious
        found.values = shown

    def _often(self, safe: dict[Any, list[int]], value: Any, limits: Limits) -> bool:
        """Whether a value is among those that most hold, as far as rounded counts tell."""
        return max(self.counted(len(safe[value]), limits)) >= max(
            min(self.counted(len(c), limits)) for c in safe.values()
        )

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
