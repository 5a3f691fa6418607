"""The oracle's own answer: cells that are shown, put together and hidden."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from bastion_plan.expressions import Expr
from row_choices import Choices
from row_frames import Boundary, Frame, Leaf, scalar
from row_model import Choice, Limits, countable, occurs
from row_statistics import selected
from row_values import Unknown


class Release(Choices):
    """What the oracle itself would release."""

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
        self, boundary: Boundary, expr: Expr, shown: Collection[tuple[Any, ...]], merged: list[Any], limits: Limits
    ) -> set[Any]:
        """Cells hidden so that what is hidden of each statistic passes the rules as one."""
        inside = [leaf for call, leaf in boundary.leaves.items() if occurs(call, expr)]
        return set[Any]().union(*(self._away_of(boundary, leaf, shown, merged, limits) for leaf in inside))

    def _away_of(
        self, boundary: Boundary, leaf: Leaf, shown: Collection[tuple[Any, ...]], merged: list[Any], limits: Limits
    ) -> set[Any]:
        def told(keys: Iterable[tuple[Any, ...]]) -> bool:
            rows = [i for key in keys for i in boundary.cells[key]]
            return any(map(countable, self.choices(boundary, leaf, rows, limits)))

        hidden = {key for key in shown if not told([key])}
        if not told(merged):
            hidden |= set(merged)
        others = set(shown) - hidden
        while others and selected(leaf, [i for key in hidden for i in boundary.cells[key]]) and not told(hidden):
            sizes = {key: self.people(boundary.frame, selected(leaf, boundary.cells[key])) for key in others}
            # which of those of one size is hidden is not said
            hidden |= {key for key in others if sizes[key] == min(sizes.values())}
            others -= hidden
        return hidden

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

    def _answered(self, frame: Frame, asked: Sequence[Sequence[int]], limits: Limits) -> None:
        """Enter populations that were answered, whatever the numbers, as far as the audit lets them; the largest first."""
        for rows in sorted(asked, key=len, reverse=True) if limits.audited else ():
            if "own" in self.target(frame, rows, limits, ()):
                self.histories.could([Choice(None, "own", vectors=[self._ones(frame, rows)])], limits.k)

    def _window(self, boundary: Boundary) -> dict[tuple[Any, ...], list[Any]]:
        """Values of a window: what the oracle itself would release; merged cells keep their keys."""
        limits = self.limits(boundary.frame)
        self.reserve(boundary.frame, limits)
        shown, merged = self.release(boundary)
        values = {}
        # its cells are populations as well, whether the column is used or not
        for rows in (*boundary.cells.values(), [i for k in merged for i in boundary.cells[k]]):
            for d, base in self.base(boundary.frame, rows).items():
                if base and base not in self.unions[d]:
                    self.unions[d].append(base)
        together = [i for k in merged for i in boundary.cells[k]]
        self._answered(boundary.frame, [*(boundary.cells[key] for key in shown), together], limits)
        if merged:
            rest = [self._outputs(boundary, e, together, limits) for _, e in boundary.outputs]
            shown = shown | dict.fromkeys(merged, rest)
        for key, outputs in shown.items():
            if any(o is None or any(c.accept is not None for c in o) for o in outputs):
                raise Unknown("window of an order statistic")
            values[key] = [o[0].value if o else None for o in outputs]
        return values
