"""Frame methods over all columns at once: aggregates, `describe`, `null_count`, `interpolate`, `clip`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl
from bastion_plan import expressions as px
from bastion_plan import nodes as n
from bastion_plan.bind import bind
from bastion_plan.errors import BastionError
from bastion_plan.typing import expr_dtype
from bastion_policy.flow import allowed_outputs
from bastion_policy.roles import RoleKind

from bastion.client.base import FrameBase
from bastion.client.habits import no_columns
from bastion.expr.core import Expr
from bastion.expr.methods import install

if TYPE_CHECKING:
    from bastion.client.frames import RemoteLazyFrame

install()


class Shortcuts(FrameBase):
    """One aggregate of every column; describe; element-wise methods over all columns."""

    def _hidden(self) -> set[str]:
        """Return the names of hidden columns of the datasets it comes from, as far as they still have their name."""
        facts = self._connection.facts  # type: ignore[attr-defined]
        found = (facts.get(key) for key in n.scans(self.plan))
        names = {c.name for one in found if one is not None for c in one.columns if c.role.kind is RoleKind.HIDDEN}
        return names & set(self.plan_schema)

    def _each(self, name: str, *args: Any, **kwargs: Any) -> RemoteLazyFrame:
        """Apply a method to every column that takes it, but hidden ones: nobody may compute with them."""
        hidden = self._hidden()
        exprs = []
        for column in self.plan_schema:
            if column in hidden:
                continue
            expr = getattr(Expr(px.Column(column)), name)(*args, **kwargs)
            try:
                expr_dtype(expr.plan, self.plan_schema)
            except BastionError:
                continue
            exprs.append(expr.plan)
        return self._then(n.Select(self.plan, tuple(exprs)))

    def _every(self, name: str, *args: Any, **kwargs: Any) -> RemoteLazyFrame:
        """Apply a method to the columns that take it; the others stay as they are."""
        exprs = []
        for column in self.plan_schema:
            expr = getattr(Expr(px.Column(column)), name)(*args, **kwargs)
            try:
                expr_dtype(expr.plan, self.plan_schema)
            except BastionError:
                continue
            exprs.append(expr.plan)
        return self._then(n.WithColumns(self.plan, tuple(exprs)))

    def len(self) -> RemoteLazyFrame:
        """The number of rows, as a frame of one value."""
        return self._then(n.Select(self.plan, (px.Call("pl.len"),)))

    def interpolate(self) -> RemoteLazyFrame:
        """Fill nulls between values, linearly."""
        numbers = [c for c, t in self.plan_schema.items() if t.is_numeric or t.is_temporal]
        return self._then(n.WithColumns(self.plan, tuple(px.Call("interpolate", (px.Column(c),)) for c in numbers)))

    def clip(self, lower_bound: Any = None, upper_bound: Any = None) -> RemoteLazyFrame:
        """Cut all columns of numbers off at two bounds."""
        numbers = [c for c, t in self.plan_schema.items() if t.is_numeric]
        exprs = tuple(Expr(px.Column(c)).clip(lower_bound, upper_bound).plan for c in numbers)  # type: ignore[attr-defined]
        return self._then(n.WithColumns(self.plan, exprs))

    def shift(self, n: int = 1, *, fill_value: Any = None) -> RemoteLazyFrame:
        """Move all columns down by n rows."""
        return self._every("shift", n, **({} if fill_value is None else {"fill_value": fill_value}))

    def approx_n_unique(self) -> RemoteLazyFrame:
        """Estimated numbers of distinct values."""
        return self._each("approx_n_unique")

    def corr(self, **_options: Any) -> RemoteLazyFrame:
        """Pairwise correlations of the columns of numbers, as one row per pair."""
        numbers = [c for c, t in self.plan_schema.items() if t.is_numeric]
        pairs = [(a, b) for i, a in enumerate(numbers) for b in numbers[i + 1 :]]
        exprs = tuple(px.Alias(px.Call("pl.corr", (px.Column(a), px.Column(b))), f"{a}:{b}") for a, b in pairs)
        return self._then(n.Select(self.plan, exprs))

    def describe(
        self, percentiles: Sequence[float] | float | None = (0.25, 0.50, 0.75), *, interpolation: str = "nearest"
    ) -> Any:
        """Fetch summary statistics of all columns, in the shape of Polars' `describe`.

        One guarded query computes them all; a statistic that may not leave under the owner's policy is null.

        Raises:
            Denied: none of it may leave.
        """
        return self._connection._run(self._describe(percentiles, interpolation))  # type: ignore[attr-defined]

    async def _describe(self, percentiles: Sequence[float] | float | None, interpolation: str) -> pl.DataFrame:
        from bastion.client.denied import Denied
        from bastion.client.describing import assemble, describe_plan

        shares = (percentiles,) if isinstance(percentiles, int | float) else tuple(percentiles or ())
        plan, cells = describe_plan(self.plan, self.plan_schema, shares, interpolation)
        facts = self._connection.facts  # type: ignore[attr-defined]
        allowed = set(allowed_outputs(bind(plan, facts), facts))
        kept = tuple(e for e in plan.exprs if isinstance(e, px.Alias) and e.name in allowed)
        plan = n.Select(self.plan, kept) if kept else plan  # type: ignore[arg-type]
        try:
            released = await self._connection._run_plan(plan)  # type: ignore[attr-defined]
        except Denied as denied:
            if not denied.has_safe_part:
                raise
            released = await self._connection._run_plan(plan, "safe_part")  # type: ignore[attr-defined]
        return assemble(released.frame, self.plan_schema, shares, cells)


def _shortcut(name: str, doc: str) -> Callable[..., Any]:
    def method(self: Shortcuts, *args: Any, **kwargs: Any) -> RemoteLazyFrame:
        no_columns(name, "select", args)
        return self._each(name, *args, **kwargs)

    method.__name__, method.__doc__ = name, doc
    return method


for _name, _doc in {
    "count": "Numbers of values that are not null.",
    "null_count": "Numbers of nulls.",
    "n_unique": "Numbers of distinct values.",
    "sum": "Sums of the columns that have one.",
    "mean": "Means of the columns that have one.",
    "median": "Medians of the columns that have one.",
    "min": "Smallest values.",
    "max": "Largest values.",
    "std": "Standard deviations of the columns that have one.",
    "var": "Variances of the columns that have one.",
    "quantile": "Quantiles of the columns that have one.",
}.items():
    setattr(Shortcuts, _name, _shortcut(_name, _doc))
