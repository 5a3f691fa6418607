"""Order statistics: which intervals, or which held values, they may read as."""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from row_frames import Form, Frame
from row_intervals import fine, pieces
from row_model import MISSING, Choice, Told
from row_people import People
from row_values import same


class Ordered(People):
    """The values of order statistics."""

    def _ordered(self, told: Told) -> Choice:
        """Order statistics: intervals of a public grid for numbers, held values for categories."""
        frame, leaf, limits, kind, rows, full = told.frame, told.leaf, told.limits, told.kind, told.rows, told.full
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
        base = 1 if limits.rounding is None else limits.rounding.base
        found = list(self._pieces(frame, numbers, position, bounds, limits.k, integers, dates, base))
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
        integers: bool, dates: bool, base: int = 1,
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
            # ranks are compared with numbers of rows, rounded where the policy rounds
            slack = base - 1 + (k * 2 * max(most, *largest.values()) if enough is not tiers[0] or not single else k)
            at = position * len(numbers)
            for x in made:
                near = x.begin - slack <= at <= x.end + slack
                end = x is made[0 if position <= 0 else -1] if position in (0.0, 1.0) else near
                if end and self.people(frame, x.inside) >= k:
                    yield x.middle, single or enough is tiers[1]


def days(x: Any) -> Any:
    """Days since 1970 of a date or a time."""
    if isinstance(x, dt.datetime):
        x = x.date()
    return (x - dt.date(1970, 1, 1)).days if isinstance(x, dt.date) else x
