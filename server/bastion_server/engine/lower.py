"""Lower the nodes of a bound plan to a Polars LazyFrame.

INVARIANT: no file scan, no Python function and no name outside `sources` ever enters the frame: every leaf is either one
of the frames handed in or an inline table.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, cast

import polars as pl
from bastion_plan import nodes as n
from bastion_plan.dtypes import NULL
from bastion_plan.errors import ServerError
from bastion_plan.expressions import Column, Expr, Literal
from bastion_plan.schemas import join_origins

from bastion_server.engine.dtypes import from_polars
from bastion_server.engine.expressions import lower_expr
from bastion_server.engine.literals import series


def lower(node: n.Node, sources: Mapping[str, pl.LazyFrame]) -> pl.LazyFrame:
    """Return the lazy frame that computes a bound plan.

    Args:
        node: root of a bound plan (no selectors, saved frames inlined); also the judge's own plans.
        sources: a frame per dataset id, and per '#name' of the judge's tables.

    Raises:
        ServerError: `server.engine.source` where a Scan names no frame of `sources`, `server.engine.node` where the plan
            was not bound. Polars' own errors come later, from `collect`.
    """
    match node:
        case n.Scan(dataset=dataset):
            if dataset not in sources:
                msg = "A table of the plan is not loaded."
                raise ServerError(msg, code="server.engine.source")
            return sources[dataset]
        case n.Inline(columns=columns):
            return pl.DataFrame([series(c.name, c.dtype, c.values) for c in columns]).lazy()
        case n.Join() | n.JoinAsof():
            # a file joined with itself, numbered under two names, fails in Polars 2.1: it takes the two scans for one
            both = {name for name in n.scans(node.left) if name in n.scans(node.right) and name in sources}
            others = {**sources, **{name: sources[name].select(pl.all()) for name in both}}
            return _join(node, lower(node.left, sources), lower(node.right, others))
        case n.Concat():
            return _concat(node, [lower(i, sources) for i in node.inputs])
        case _:
            frame = lower(node.input, sources)  # type: ignore[attr-defined]
            return _reshape(node, frame) if isinstance(node, _RESHAPES) else _rows(node, frame)


_RESHAPES = (n.Explode, n.Unnest, n.Unpivot, n.Pivot, n.GroupBy, n.GroupByDynamic, n.Rolling)


def _rows(node: n.Node, frame: pl.LazyFrame) -> pl.LazyFrame:
    """Nodes that choose, order or extend rows."""
    match node:
        case n.Filter(predicate=predicate):
            return frame.filter(lower_expr(predicate))
        case n.Select(exprs=exprs):
            return frame.select(_exprs(exprs))
        case n.WithColumns(exprs=exprs):
            return frame.with_columns(_exprs(exprs))
        case n.Sort(by=by):
            return frame.sort(
                _exprs(by),
                descending=_flags(node.descending, by),
                nulls_last=_flags(node.nulls_last, by),
                maintain_order=node.maintain_order,
            )
        case n.Slice(offset=offset, length=length):
            return frame.slice(offset, length)
        case n.TopK(k=k, by=by, reverse=reverse):
            method = frame.bottom_k if node.bottom else frame.top_k
            return method(k, by=_exprs(by), reverse=_flags(reverse, by))
        case n.Unique(subset=subset):
            columns = None if subset is None else _exprs(subset)
            return frame.unique(columns, keep=cast(Any, node.keep), maintain_order=node.maintain_order)
        case n.DropNulls(subset=subset, nans=nans):
            names = None if subset is None else _names(subset)
            return frame.drop_nans(names) if nans else frame.drop_nulls(names)
        case n.FillNull():
            return _fill(node, frame)
        case n.WithRowIndex(name=name, offset=offset):
            return frame.with_row_index(name, offset)
        case n.Sample():
            return _sample(node, frame)
        case n.Reverse():
            return frame.reverse()
        case _:
            msg = "The plan holds a node that the engine does not know."
            raise ServerError(msg, code="server.engine.node")


def _reshape(node: n.Node, frame: pl.LazyFrame) -> pl.LazyFrame:
    """Nodes that group rows or turn columns into rows and back."""
    match node:
        case n.GroupBy(keys=keys, aggs=aggs):
            return frame.group_by(_exprs(keys), maintain_order=node.maintain_order).agg(_exprs(aggs))
        case n.GroupByDynamic(aggs=aggs):
            return frame.group_by_dynamic(
                lower_expr(node.index),
                every=node.every,
                period=node.period,
                offset=node.offset,
                include_boundaries=node.include_boundaries,
                closed=cast(Any, node.closed),
                label=cast(Any, node.label),
                group_by=_exprs(node.group_by) or None,
                start_by=cast(Any, node.start_by),
            ).agg(_exprs(aggs))
        case n.Rolling(aggs=aggs):
            return frame.rolling(
                lower_expr(node.index),
                period=node.period,
                offset=node.offset,
                closed=cast(Any, node.closed),
                group_by=_exprs(node.group_by) or None,
            ).agg(_exprs(aggs))
        case n.Explode(columns=columns):
            return frame.explode(_names(columns))
        case n.Unnest(columns=columns):
            return frame.unnest(_names(columns))
        case n.Unpivot(on=on, index=index):
            return frame.unpivot(
                None if on is None else _names(on),
                index=_names(index) or None,
                variable_name=node.variable_name,
                value_name=node.value_name,
            )
        case n.Pivot():
            dtype = from_polars(frame.collect_schema()[node.on])
            return frame.pivot(
                node.on,
                on_columns=series(node.on, dtype, node.on_columns),
                index=list(node.index) or None,
                values=list(node.values) or None,
                aggregate_function=cast(Any, node.aggregate),
                separator=node.separator,
            )
        case _:
            msg = "The plan holds a node that the engine does not know."
            raise ServerError(msg, code="server.engine.node")


def _join(node: n.Join | n.JoinAsof, left: pl.LazyFrame, right: pl.LazyFrame) -> pl.LazyFrame:
    if isinstance(node, n.JoinAsof):
        return left.join_asof(
            right,
            left_on=lower_expr(node.left_on),
            right_on=lower_expr(node.right_on),
            by_left=list(node.by_left) or None,
            by_right=list(node.by_right) or None,
            strategy=cast(Any, node.strategy),
            suffix=node.suffix,
            tolerance=node.tolerance,
            allow_exact_matches=node.allow_exact_matches,
            coalesce=node.coalesce,
        )
    if node.how == "cross":
        return left.join(right, how="cross", suffix=node.suffix, maintain_order=cast(Any, node.maintain_order))
    if node.how in ("right", "full") and (apart := _apart(node, left, right)) is not None:
        return apart
    return left.join(
        right,
        how=cast(Any, node.how),
        left_on=_exprs(node.left_on),
        right_on=_exprs(node.right_on),
        suffix=node.suffix,
        validate=cast(Any, node.validate),
        nulls_equal=node.nulls_equal,
        # Polars merges plain columns only, and warns where it was asked to merge computed keys
        coalesce=node.coalesce if all(isinstance(e, Column) for e in (*node.left_on, *node.right_on)) else False,
        maintain_order=cast(Any, node.maintain_order),
    )


def _apart(node: n.Join, left: pl.LazyFrame, right: pl.LazyFrame) -> pl.LazyFrame | None:
    """Return a right or full join that merges keys, of sides that share a name, by names of their own; None: it is none.

    Polars 2.1 panics where a filter behind it makes an inner or left join of it: the merged key's name is then there twice.
    """
    keys = (
        [e.name for e in node.left_on if isinstance(e, Column)],
        [e.name for e in node.right_on if isinstance(e, Column)],
    )
    merged = node.coalesce if node.coalesce is not None else node.how == "right"
    names = [frame.collect_schema().names() for frame in (left, right)]
    if (
        not merged
        or len(keys[0]) < len(node.left_on)
        or len(keys[1]) < len(node.right_on)
        or not set(names[0]) & set(names[1])
    ):
        return None
    mine, theirs = ({c: f"{side}{c}" for c in columns} for side, columns in zip("lr", names, strict=True))
    joined = left.rename(mine).join(
        right.rename(theirs),
        how=cast(Any, node.how),
        left_on=[mine[c] for c in keys[0]],
        right_on=[theirs[c] for c in keys[1]],
        validate=cast(Any, node.validate),
        nulls_equal=node.nulls_equal,
        coalesce=False,
        maintain_order=cast(Any, node.maintain_order),
    )
    other = dict(zip(*keys, strict=True)) if node.how == "full" else {}
    origins = join_origins(node, dict.fromkeys(names[0], NULL), dict.fromkeys(names[1], NULL))
    columns = (
        (
            pl.coalesce(mine[was], theirs[other[was]])
            if first and was in other
            else pl.col((mine if first else theirs)[was])
        ).alias(c)
        for c, (first, was) in origins.items()
    )
    return joined.select(*columns)


def _concat(node: n.Concat, frames: list[pl.LazyFrame]) -> pl.LazyFrame:
    # Polars 2.1 panics on a relaxed concat of one frame
    return frames[0] if len(frames) == 1 else pl.concat(frames, how=cast(Any, node.how))


def _fill(node: n.FillNull, frame: pl.LazyFrame) -> pl.LazyFrame:
    if node.value is None:
        return frame.fill_null(strategy=cast(Any, node.strategy), limit=node.limit)
    value: Any = lower_expr(node.value)
    if isinstance(node.value, Literal) and node.value.dtype.kind in {"DynInt", "DynFloat", "Boolean", "String"}:
        # a plain Python value only fills the columns whose type it fits, as `fill_null(0)` does
        value = node.value.value
    return frame.fill_nan(value) if node.nans else frame.fill_null(value)


def _sample(node: n.Sample, frame: pl.LazyFrame) -> pl.LazyFrame:
    # each column draws by itself: with one seed all draw the same, so that rows stay whole
    rows = pl.int_range(pl.len(), dtype=pl.UInt32).sample(
        node.n,
        fraction=node.fraction,
        with_replacement=node.with_replacement,
        shuffle=node.shuffle,
        seed=node.seed if node.seed is not None else secrets.randbits(32),
    )
    return frame.select(pl.all().gather(rows))


def _exprs(exprs: Sequence[Expr]) -> list[pl.Expr]:
    return [lower_expr(e) for e in exprs]


def _names(exprs: Sequence[Expr]) -> list[str]:
    """Names of plain columns; where Polars takes names only, binding has left nothing else."""
    if not all(isinstance(e, Column) for e in exprs):
        msg = "The plan has not been bound."
        raise ServerError(msg, code="server.engine.node")
    return [cast(Column, e).name for e in exprs]


def _flags(flags: Sequence[bool], keys: Sequence[Expr]) -> list[bool]:
    """One flag per key from one flag for all."""
    return list(flags) * len(keys) if len(flags) == 1 else list(flags)
