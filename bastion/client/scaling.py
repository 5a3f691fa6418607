"""Frame methods that bring columns of numbers to a common scale: BastionLab's five scalers.

Each replaces its columns and leaves the others. The statistics are computed beside the data, within the query that uses the
scaled columns; they are not told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from bastion_plan import expressions as px
from bastion_plan import nodes as n
from bastion_plan.errors import InputError, did_you_mean

from bastion.client.base import FrameBase
from bastion.expr.core import Expr
from bastion.expr.toplevel import when

if TYPE_CHECKING:
    from bastion.client.frames import RemoteLazyFrame


class Scaling(FrameBase):
    """zscore_scale, minmax_scale, mean_scale, max_abs_scale, median_quantile_scale."""

    def zscore_scale(self, cols: str | Iterable[str]) -> RemoteLazyFrame:
        """(x - mean) / standard deviation: mean 0, standard deviation 1.

        Args:
            cols: the name of a column of numbers, or several.

        Raises:
            InputError: a column that is not there, or holds no numbers.
        """
        return self._scaled(cols, lambda x: (x - x.mean()) / x.std())

    def minmax_scale(self, cols: str | Iterable[str]) -> RemoteLazyFrame:
        """(x - min) / (max - min): from 0 to 1. Arguments and errors as of `zscore_scale`."""
        return self._scaled(cols, lambda x: (x - x.min()) / (x.max() - x.min()))

    def mean_scale(self, cols: str | Iterable[str]) -> RemoteLazyFrame:
        """(x - mean) / (max - min): mean 0, one wide. Arguments and errors as of `zscore_scale`."""
        return self._scaled(cols, lambda x: (x - x.mean()) / (x.max() - x.min()))

    def max_abs_scale(self, cols: str | Iterable[str]) -> RemoteLazyFrame:
        """X / the largest absolute value: from -1 to 1. Arguments and errors as of `zscore_scale`."""
        names = self._numbers(cols)
        taken, bounds = set(self.plan_schema), []
        for name in names:  # as columns of their own: the guard follows them there, and not within one expression
            low, high = (_free(f"{name}_{end}", taken) for end in ("min", "max"))
            bounds.append((name, low, high))
        ends = [_column(name).min().alias(low) for name, low, _ in bounds]
        ends += [_column(name).max().alias(high) for name, _, high in bounds]
        scaled = [
            _column(name) / when(_column(high) >= -_column(low)).then(_column(high)).otherwise(-_column(low))
            for name, low, high in bounds
        ]
        with_ends = n.WithColumns(self.plan, tuple(e.plan for e in ends))
        plan = n.WithColumns(with_ends, tuple(px.Alias(e.plan, k) for e, k in zip(scaled, names, strict=True)))
        return self._then(n.Select(plan, tuple(px.Column(c) for c in self.plan_schema)) if names else self.plan)

    def median_quantile_scale(self, cols: str | Iterable[str]) -> RemoteLazyFrame:
        """(x - median) / (upper - lower quartile): few outliers do no harm. Arguments and errors as of `zscore_scale`."""
        return self._scaled(cols, lambda x: (x - x.median()) / (x.quantile(0.75) - x.quantile(0.25)))

    def _scaled(self, cols: str | Iterable[str], scale: Callable[[Any], Any]) -> RemoteLazyFrame:
        exprs = tuple(px.Alias(scale(_column(name)).plan, name) for name in self._numbers(cols))
        return self._then(n.WithColumns(self.plan, exprs)) if exprs else self._then(self.plan)

    def _numbers(self, cols: str | Iterable[str]) -> list[str]:
        """Return the names of columns that can be scaled."""
        names = [cols] if isinstance(cols, str) else list(cols)
        schema = self.plan_schema
        for name in names:
            if not isinstance(name, str) or name not in schema:
                msg = f"There is no column {name!r}."
                raise InputError(msg, code="plan.bind.column", next_step=did_you_mean(str(name), schema))
            if not schema[name].is_numeric:
                msg = f"The column {name!r} holds no numbers, so it has no scale."
                raise InputError(msg, code="input.column", next_step="Cast it, or leave it out.")
        return names


def _column(name: str) -> Any:
    return Expr(px.Column(name))


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name
