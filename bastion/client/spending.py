"""Privacy budgets, and what an answer with noise would cost before it is paid for."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import polars as pl
from bastion_plan.errors import InputError
from bastion_policy.private.budget import Budget, shown
from bastion_wire.messages import Summary

from bastion.render.safe_text import safe_text

NO_BUDGETS = "No policy adds noise to the answers, so there are no budgets."
_BUDGETS = pl.Schema(
    {
        "datasets": pl.String(), "epsilon": pl.Float64(), "delta": pl.Float64(), "spent": pl.Float64(), "left": pl.Float64(),
        "answers": pl.Int64(), "void": pl.String(),
    }
)  # fmt: skip


def checked_epsilon(epsilon: Any) -> float:
    """Return what an answer may cost; 0.0 for the default share of the budget.

    Raises:
        InputError: not a finite number above 0.
    """
    if epsilon is None:
        return 0.0
    good = isinstance(epsilon, int | float) and not isinstance(epsilon, bool) and math.isfinite(epsilon) and epsilon > 0
    if not good:
        msg = "The epsilon of an answer is a number above 0."
        raise InputError(msg, code="input.epsilon", next_step="Write fetch(epsilon=0.1), for example.")
    return float(epsilon)


def budget_table(budgets: Iterable[Budget]) -> pl.DataFrame:
    """Return budgets as a table: one row per population of people."""
    rows = [
        {
            "datasets": ", ".join(b.datasets),
            "epsilon": b.epsilon,
            "delta": b.delta,
            "spent": b.spent,
            "left": b.left,
            "answers": b.answers,
            "void": b.void or None,
        }
        for b in budgets
    ]
    return pl.DataFrame(rows, schema=_BUDGETS)


def no_budgets(table: pl.DataFrame) -> bool:
    """Whether a table is that of budgets, and there are none."""
    return table.is_empty() and table.schema == _BUDGETS


class Estimate:
    """What an answer with noise would cost, and how exact it would be. Nothing has been spent for it.

    noisy: whether the query is answered with noise at all. epsilon: of the answer. cost: what it would be charged, 0
    where it was given before. left: of the budget, the smallest of all concerned. affordable: whether that suffices.
    """

    def __init__(self, summary: Summary) -> None:
        self.summary = summary
        self.noisy, self.epsilon, self.cost = summary.noisy, summary.epsilon, summary.cost
        self.affordable = summary.affordable
        self.left = min((b.left for b in summary.budget), default=0.0)

    @property
    def bars(self) -> pl.DataFrame:
        """Error bars: for each statistic, half the width of the interval that holds the noise 95 times of 100.

        people: for a group of so many people, where the error shrinks with their number.
        """
        rows = [(b.column, b.statistic, b.error, b.people or None) for b in self.summary.bars]
        schema = {"column": pl.String, "statistic": pl.String, "error": pl.Float64, "people": pl.Int64}
        return pl.DataFrame(rows, schema=schema, orient="row")

    def __repr__(self) -> str:
        if not self.noisy:
            return safe_text(f"This query is not answered with noise. {self.summary.verdict.summary}")
        if not self.cost:
            lines = [f"It was answered before (epsilon {shown(self.epsilon)}): it costs nothing, with the same noise."]
        else:
            lines = [f"It would cost epsilon {shown(self.cost)}; nothing has been spent yet."]
            if not self.affordable:
                lines[0] = f"It would cost epsilon {shown(self.cost)}, for which too little is left."
        lines += [f"  {b.column} = {b.statistic}: {b.words}" for b in self.summary.bars]
        if self.summary.bars:
            lines.append("  (95 times of 100, noise is smaller than that; clipping is not counted)")
        return "\n".join(map(safe_text, [*lines, *self.summary.notes, *(b.sentence for b in self.summary.budget)]))
