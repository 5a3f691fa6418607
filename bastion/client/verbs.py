"""Frame methods that choose columns and rows, order them, and fill what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl
from bastion_plan import dtypes as dt
from bastion_plan import expressions as px
from bastion_plan import nodes as n
from bastion_plan.errors import InputError, did_you_mean

from bastion.client.base import FrameBase, constant_conditions, old_spelling
from bastion.client.grouping import DynamicGroupBy, RemoteGroupBy, RollingGroupBy
from bastion.expr.core import Expr, all_of, as_plan, duration_text, one_column, plans
from bastion.expr.dtypes import to_dtype

if TYPE_CHECKING:
    from bastion.client.frames import RemoteLazyFrame


class Verbs(FrameBase):
    """Columns, rows, order, missing values, groups."""

    # ---- columns -----------------------------------------------------------------------------------------------------

    def select(self, *exprs: Any, **named_exprs: Any) -> RemoteLazyFrame:
        """New columns instead of the old ones."""
        return self._then(n.Select(self.plan, plans(exprs, named_exprs)))

    def with_columns(self, *exprs: Any, **named_exprs: Any) -> RemoteLazyFrame:
        """New columns beside the old ones."""
        return self._then(n.WithColumns(self.plan, plans(exprs, named_exprs)))

    #: Polars' names for the same without work side by side, which is the server's to decide
    select_seq, with_columns_seq = select, with_columns

    def drop(self, *columns: Any, strict: bool = True) -> RemoteLazyFrame:
        """Leave columns out."""
        unwanted = self._chosen(columns, strict=strict)
        kept = [name for name in self.plan_schema if name not in unwanted]
        return self._then(n.Select(self.plan, tuple(px.Column(k) for k in kept)))

    def _chosen(self, columns: Sequence[Any], *, strict: bool = True) -> set[str]:
        from bastion_plan.bind import bind  # noqa: F401
        from bastion_plan.selectors import select_columns

        chosen: set[str] = set()
        for item in plans(columns):
            if isinstance(item, px.Column):
                if item.name in self.plan_schema:
                    chosen.add(item.name)
                elif strict:
                    raise _unknown(item.name, self.plan_schema)
            elif isinstance(item, px.Selector):
                chosen.update(select_columns(item, self.plan_schema))
            else:
                msg = "Columns are named here, not computed."
                raise InputError(msg, code="input.column", next_step="Give names or selectors.")
        return chosen

    def rename(self, mapping: Mapping[str, str], *, strict: bool = True) -> RemoteLazyFrame:
        """Other names for columns: {old: new}."""
        if not isinstance(mapping, Mapping):
            msg = "rename takes a mapping of old names to new ones."
            raise InputError(msg, code="input.arguments", next_step='Write .rename({"old": "new"}).')
        for old in mapping:
            if old not in self.plan_schema and strict:
                raise _unknown(old, self.plan_schema)
        exprs = tuple(
            px.Alias(px.Column(name), mapping[name]) if mapping.get(name, name) != name else px.Column(name)
            for name in self.plan_schema
        )
        return self._then(n.Select(self.plan, exprs))

    def cast(self, dtypes: Any, *, strict: bool = True) -> RemoteLazyFrame:
        """Other data types: one for all columns, or {column or selector or type: type}."""
        wanted: dict[str, dt.DType] = {}
        if isinstance(dtypes, Mapping):
            from bastion.expr.core import selector_dtype

            for key, dtype in dtypes.items():
                if isinstance(key, Expr | pl.Expr):
                    chosen = as_plan(key)
                else:
                    chosen = (
                        one_column(key)
                        if isinstance(key, str)
                        else px.Selector("by_dtype", dtypes=(selector_dtype(key),))
                    )
                for name in self._chosen([chosen]):
                    wanted[name] = to_dtype(dtype)
        else:
            wanted = dict.fromkeys(self.plan_schema, to_dtype(dtypes))
        exprs = tuple(px.Cast(px.Column(k), v, bool(strict)) for k, v in wanted.items())
        return self._then(n.WithColumns(self.plan, exprs)) if exprs else self._then(self.plan)

    # ---- rows --------------------------------------------------------------------------------------------------------

    def filter(self, *predicates: Any, **constraints: Any) -> RemoteLazyFrame:
        """Rows for which all predicates are true; `column=value` is a predicate, too."""
        constant_conditions("filter", predicates)
        return self._then(n.Filter(self.plan, all_of(predicates, constraints)))

    def remove(self, *predicates: Any, **constraints: Any) -> RemoteLazyFrame:
        """Rows for which the predicates are not true (false or null)."""
        constant_conditions("remove", predicates)
        gone = px.Call("fill_null", (all_of(predicates, constraints), px.Literal(dt.BOOLEAN, False)))
        return self._then(n.Filter(self.plan, px.Call("not_", (gone,))))

    def slice(self, offset: int, length: int | None = None) -> RemoteLazyFrame:
        """`length` rows from `offset` on; a negative offset counts from the end."""
        return self._then(
            n.Slice(self.plan, _whole(offset, "offset"), None if length is None else _whole(length, "length"))
        )

    def head(self, n: int = 5) -> RemoteLazyFrame:
        """The first rows."""
        return self.slice(0, n)

    def limit(self, n: int = 5) -> RemoteLazyFrame:
        """The first rows."""
        return self.slice(0, n)

    def tail(self, n: int = 5) -> RemoteLazyFrame:
        """The last rows."""
        return self.slice(-_whole(n, "n"), _whole(n, "n"))

    def first(self) -> RemoteLazyFrame:
        """The first row."""
        return self.slice(0, 1)

    def last(self) -> RemoteLazyFrame:
        """The last row."""
        return self.tail(1)

    def reverse(self) -> RemoteLazyFrame:
        """Rows in the opposite order."""
        return self._then(n.Reverse(self.plan))

    def unique(self, subset: Any = None, *, keep: str = "any", maintain_order: bool = False) -> RemoteLazyFrame:
        """Distinct rows; keep is "any", "first", "last" or "none"."""
        return self._then(n.Unique(self.plan, _subset(subset), keep, bool(maintain_order)))

    def sample(
        self,
        n: int | None = None,
        *,
        fraction: float | None = None,
        with_replacement: bool = False,
        shuffle: bool = False,
        seed: int | None = None,
    ) -> RemoteLazyFrame:
        """Random rows: n of them, or a fraction."""
        from bastion_plan.nodes import Sample

        count = 1 if n is None and fraction is None else n
        share = None if fraction is None else float(fraction)
        return self._then(Sample(self.plan, count, share, bool(with_replacement), bool(shuffle), seed))

    def with_row_index(self, name: str = "index", offset: int = 0) -> RemoteLazyFrame:
        """A running number as first column."""
        return self._then(n.WithRowIndex(self.plan, name, offset))

    def gather_every(self, n: int, offset: int = 0) -> RemoteLazyFrame:
        """Every n-th row."""
        return self.select(Expr(px.Selector("all")).gather_every(n, offset))  # type: ignore[attr-defined]

    # ---- order -------------------------------------------------------------------------------------------------------

    def sort(
        self,
        by: Any,
        *more_by: Any,
        descending: bool | Sequence[bool] = False,
        nulls_last: bool | Sequence[bool] = False,
        maintain_order: bool = False,
        multithreaded: bool = True,
        reverse: bool | Sequence[bool] | None = None,
    ) -> RemoteLazyFrame:
        """Rows in order of expressions."""
        del multithreaded
        if reverse is not None:
            old_spelling("sort(reverse=…)", "sort(descending=…)")
            descending = reverse
        return self._then(
            n.Sort(self.plan, plans([by, *more_by]), _flags(descending), _flags(nulls_last), bool(maintain_order))
        )

    def top_k(self, k: int, *, by: Any, reverse: bool | Sequence[bool] = False) -> RemoteLazyFrame:
        """The k largest rows."""
        return self._then(n.TopK(self.plan, _whole(k, "k"), plans([by]), _flags(reverse)))

    def bottom_k(self, k: int, *, by: Any, reverse: bool | Sequence[bool] = False) -> RemoteLazyFrame:
        """The k smallest rows."""
        return self._then(n.TopK(self.plan, _whole(k, "k"), plans([by]), _flags(reverse), True))

    # ---- missing values ----------------------------------------------------------------------------------------------

    def drop_nulls(self, subset: Any = None) -> RemoteLazyFrame:
        """Rows without nulls."""
        return self._then(n.DropNulls(self.plan, _subset(subset)))

    def drop_nans(self, subset: Any = None) -> RemoteLazyFrame:
        """Rows without NaN."""
        return self._then(n.DropNulls(self.plan, _subset(subset), True))

    def fill_null(
        self,
        value: Any = None,
        strategy: str | None = None,
        limit: int | None = None,
        *,
        matches_supertype: bool = True,
    ) -> RemoteLazyFrame:
        """Replace nulls by a value or a strategy (forward, backward, min, max, mean, zero, one)."""
        del matches_supertype
        if (value is None) == (strategy is None):
            msg = "fill_null takes either a value or a strategy."
            raise InputError(
                msg, code="input.arguments", next_step='Write .fill_null(0) or .fill_null(strategy="forward").'
            )
        return self._then(n.FillNull(self.plan, None if value is None else as_plan(value), strategy, limit))

    def fill_nan(self, value: Any) -> RemoteLazyFrame:
        """Replace NaN."""
        return self._then(n.FillNull(self.plan, as_plan(value), nans=True))

    # ---- groups ------------------------------------------------------------------------------------------------------

    def group_by(self, *by: Any, maintain_order: bool = False, **named_by: Any) -> RemoteGroupBy:
        """One row per distinct keys; say with `.agg(…)` what to compute."""
        return RemoteGroupBy(self, plans(by, named_by), bool(maintain_order))  # type: ignore[arg-type]

    def group_by_dynamic(
        self,
        index_column: Any,
        *,
        every: Any,
        period: Any = None,
        offset: Any = None,
        include_boundaries: bool = False,
        closed: str = "left",
        label: str = "left",
        group_by: Any = None,
        start_by: str = "window",
    ) -> DynamicGroupBy:
        """Windows of fixed length over a sorted time or integer index."""
        settings = {
            "index": as_plan(index_column, string_is_column=True), "every": _duration(every), "period": _duration(period),
            "offset": _duration(offset), "include_boundaries": bool(include_boundaries), "closed": closed, "label": label,
            "group_by": plans([group_by]) if group_by is not None else (), "start_by": start_by,
        }  # fmt: skip
        return DynamicGroupBy(self, settings)  # type: ignore[arg-type]

    def rolling(
        self, index_column: Any, *, period: Any, offset: Any = None, closed: str = "right", group_by: Any = None
    ) -> RollingGroupBy:
        """A window per row over a sorted index."""
        settings = {
            "index": as_plan(index_column, string_is_column=True), "period": _duration(period), "offset": _duration(offset),
            "closed": closed, "group_by": plans([group_by]) if group_by is not None else (),
        }  # fmt: skip
        return RollingGroupBy(self, settings)  # type: ignore[arg-type]


def _flags(value: bool | Sequence[bool]) -> tuple[bool, ...]:
    if isinstance(value, bool):
        return (value,)
    if isinstance(value, list | tuple) and all(isinstance(v, bool) for v in value):
        return tuple(value)
    msg = "The flags are True or False, or a list of them."
    raise InputError(msg, code="input.arguments")


def _whole(value: Any, name: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    msg = f"{name} has to be a whole number."
    raise InputError(msg, code="input.arguments")


def _subset(subset: Any) -> tuple[px.AnyExpr, ...] | None:
    return None if subset is None else plans([subset])


def _duration(value: Any) -> Any:
    value = duration_text(value)
    if value is not None and not isinstance(value, str):
        msg = "A duration is a text such as '1d' or '6h', or a timedelta."
        raise InputError(msg, code="input.arguments")
    return value


def _unknown(name: str, schema: dt.Schema) -> InputError:
    msg = f"There is no column {name!r}."
    return InputError(msg, code="plan.bind.column", next_step=did_you_mean(name, schema), details={"column": name})
