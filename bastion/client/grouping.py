"""What `group_by`, `group_by_dynamic` and `rolling` return: groups that wait for their aggregates."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from bastion_plan import expressions as px
from bastion_plan import nodes as n
from bastion_plan.errors import BastionError, InputError
from bastion_plan.typing import expr_dtype, expr_name

from bastion.client.habits import no_columns, quoted
from bastion.expr.core import Expr, NotAValue, all_of, no_member, plans, refuse_python

if TYPE_CHECKING:
    from bastion.client.frames import RemoteLazyFrame


class GroupsBase:
    """Groups of a frame."""

    _frame: RemoteLazyFrame

    def agg(self, *aggs: Any, **named_aggs: Any) -> RemoteLazyFrame:
        """Compute one row per group.

        Raises:
            InputError: a dictionary, as pandas takes it; Polars takes expressions.
        """
        if any(isinstance(a, dict) for a in aggs):
            msg = "agg takes expressions, not a dictionary."
            step = 'Write .agg(pl.col("age").mean()), and .agg(youngest=pl.col("age").min()) for a name of its own.'
            raise InputError(msg, code="input.arguments", next_step=step)
        return self._agg(plans(aggs, named_aggs))

    def _agg(self, aggs: tuple[px.AnyExpr, ...]) -> RemoteLazyFrame:
        """Return the frame of the aggregates."""
        raise no_member("Groups", "agg", ())

    def _key_names(self) -> set[str]:
        return set()

    def _each(self, name: str, *args: Any, **kwargs: Any) -> RemoteLazyFrame:
        """Aggregate every column that the function takes, but the keys."""
        schema = self._frame.plan_schema
        keys = self._key_names()
        aggs = []
        for column in schema:
            if column in keys:
                continue
            expr = getattr(Expr(px.Column(column)), name)(*args, **kwargs)
            try:
                expr_dtype(expr.plan, schema)
            except BastionError:
                continue
            aggs.append(expr.plan)
        return self._agg(tuple(aggs))

    def len(self, name: str = "len") -> RemoteLazyFrame:
        """The number of rows per group."""
        return self._agg((px.Alias(px.Call("pl.len"), name),))

    def count(self, name: str = "count") -> RemoteLazyFrame:
        """The number of rows per group (an older name of `len`)."""
        return self._agg((px.Alias(px.Call("pl.len"), name),))

    def __getitem__(self, item: Any) -> NoReturn:
        names = [item] if isinstance(item, str) else item
        column = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else "…"
        msg = "Groups take no columns in brackets."
        raise InputError(msg, code="input.brackets", next_step=f"Write .agg(pl.col({quoted(column)}).mean()).")

    def __iter__(self) -> NoReturn:
        msg = "Groups cannot be looped over, because their rows are on the server."
        raise NotAValue(msg, next_step="Use .agg(…).")

    def __getattr__(self, name: str) -> NoReturn:
        if name in {"map_groups", "apply", "map"}:
            refuse_python(name)
        if name.startswith("__"):
            raise AttributeError(name)
        raise no_member("A group_by", name, dir(type(self)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…): say with .agg(…) what to compute"


def _shortcut(name: str, doc: str) -> Callable[..., Any]:
    def method(self: GroupsBase, *args: Any, **kwargs: Any) -> RemoteLazyFrame:
        no_columns(name, "agg", args)
        return self._each(name, *args, **kwargs)

    method.__name__, method.__doc__ = name, doc
    return method


for _name, _doc in {
    "sum": "Sums of the columns that have one.",
    "mean": "Means of the columns that have one.",
    "median": "Medians of the columns that have one.",
    "min": "Smallest values.",
    "max": "Largest values.",
    "std": "Standard deviations of the columns that have one.",
    "var": "Variances of the columns that have one.",
    "n_unique": "Numbers of distinct values.",
    "null_count": "Numbers of nulls.",
    "quantile": "Quantiles of the columns that have one.",
    "first": "First values.",
    "last": "Last values.",
}.items():
    setattr(GroupsBase, _name, _shortcut(_name, _doc))


class RemoteGroupBy(GroupsBase):
    """`frame.group_by(…)`."""

    def __init__(
        self,
        frame: RemoteLazyFrame,
        keys: tuple[px.AnyExpr, ...],
        maintain_order: bool,
        having: px.AnyExpr | None = None,
    ) -> None:
        self._frame, self._keys, self._maintain_order, self._having = frame, keys, maintain_order, having
        frame._then(n.GroupBy(frame.plan, keys, (), maintain_order))

    def having(self, *predicates: Any) -> RemoteGroupBy:
        """Keep only groups for which the predicates (over aggregates) are true."""
        more = all_of(predicates)
        both = more if self._having is None else px.Call("and_", (self._having, more))
        return RemoteGroupBy(self._frame, self._keys, self._maintain_order, both)

    def _agg(self, aggs: tuple[px.AnyExpr, ...]) -> RemoteLazyFrame:
        plan = self._frame.plan
        if self._having is None:
            return self._frame._then(n.GroupBy(plan, self._keys, aggs, self._maintain_order))
        marked = px.Alias(self._having, "__having")
        frame = self._frame._then(n.GroupBy(plan, self._keys, (*aggs, marked), self._maintain_order))
        kept = [c for c in frame.plan_schema if c != "__having"]
        return frame.filter(Expr(px.Column("__having"))).select(kept)

    def _key_names(self) -> set[str]:
        schema = self._frame.plan_schema
        return {expr_name(k, schema) for k in self._keys if not isinstance(k, px.Selector)} | {
            name for k in self._keys if isinstance(k, px.Selector) for name in self._frame._chosen([k])
        }

    def all(self) -> RemoteLazyFrame:
        """All values of a group as lists."""
        return self._each("implode")

    def head(self, n: int = 5) -> RemoteLazyFrame:
        """The first rows of each group."""
        return self._rows("head", n)

    def tail(self, n: int = 5) -> RemoteLazyFrame:
        """The last rows of each group."""
        return self._rows("tail", n)

    def _rows(self, method: str, count: int) -> RemoteLazyFrame:
        keys = self._key_names()
        others = [c for c in self._frame.plan_schema if c not in keys]
        frame = self._agg(tuple(getattr(Expr(px.Column(c)), method)(count).plan for c in others))
        return frame.explode(*others) if others else frame


class DynamicGroupBy(GroupsBase):
    """`frame.group_by_dynamic(…)`."""

    def __init__(self, frame: RemoteLazyFrame, settings: dict[str, Any]) -> None:
        self._frame, self._settings = frame, settings
        self._agg(())

    def _agg(self, aggs: tuple[px.AnyExpr, ...]) -> RemoteLazyFrame:
        return self._frame._then(n.GroupByDynamic(self._frame.plan, aggs=aggs, **self._settings))

    def _key_names(self) -> set[str]:
        schema = self._frame.plan_schema
        return {expr_name(k, schema) for k in (self._settings["index"], *self._settings["group_by"])}


class RollingGroupBy(GroupsBase):
    """`frame.rolling(…)`."""

    def __init__(self, frame: RemoteLazyFrame, settings: dict[str, Any]) -> None:
        self._frame, self._settings = frame, settings
        self._agg(())

    def _agg(self, aggs: tuple[px.AnyExpr, ...]) -> RemoteLazyFrame:
        return self._frame._then(n.Rolling(self._frame.plan, aggs=aggs, **self._settings))

    def _key_names(self) -> set[str]:
        schema = self._frame.plan_schema
        return {expr_name(k, schema) for k in (self._settings["index"], *self._settings["group_by"])}
