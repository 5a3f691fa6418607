"""The constant options of nodes, checked before the engine sees them: known words, sizes, durations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bastion_plan import nodes as n
from bastion_plan.dtypes import DType, Schema
from bastion_plan.durations import check_duration
from bastion_plan.errors import BindError, did_you_mean
from bastion_plan.expressions import Column
from bastion_plan.nodes import Node

#: Polars counts rows in 32 bits
MAX_ROWS = 2**32 - 1

_JOINS = ("inner", "left", "right", "full", "semi", "anti", "cross")
_CLOSED = ("left", "right", "both", "none")
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_AGGREGATES = ("min", "max", "first", "last", "sum", "mean", "median", "len", "item")


def choose(verb: str, name: str, value: str | None, choices: Iterable[str]) -> None:
    """Refuse a word that is none of the choices.

    Raises:
        BindError: `plan.bind.option`.
    """
    known = list(choices)
    if value not in known:
        msg = f"{verb}: {name}={value!r} is not known."
        hint = did_you_mean(str(value), known) or f"Choose one of {', '.join(repr(c) for c in known)}."
        raise BindError(msg, code="plan.bind.option", next_step=hint)


def check_size(verb: str, name: str, value: int, *, maximum: int = MAX_ROWS) -> None:
    """Refuse a negative or too large number of rows.

    Raises:
        BindError: `plan.bind.size`.
    """
    if not 0 <= value <= maximum:
        msg = f"{verb}: {name}={value} is not a number from 0 to {maximum}."
        raise BindError(msg, code="plan.bind.size")


def check_rows(node: Node) -> None:
    """Check the options of nodes that choose, order or number rows."""
    match node:
        case n.Slice(offset=offset, length=length):
            check_size("slice", "offset", abs(offset))
            if length is not None:
                check_size("slice", "length", length)
        case n.TopK():
            verb = "bottom_k" if node.bottom else "top_k"
            check_size(verb, "k", node.k)
            if not node.by:
                msg = f"{verb} needs at least one key."
                raise BindError(msg, code="plan.bind.keys")
        case n.Sort() if not node.by:
            msg = "sort needs at least one key."
            raise BindError(msg, code="plan.bind.keys")
        case n.Unique():
            choose("unique", "keep", node.keep, ("any", "first", "last", "none"))
        case n.FillNull():
            _check_fill(node)
        case n.WithRowIndex(offset=offset):
            check_size("with_row_index", "offset", offset)
        case n.Sample():
            _check_sample(node)
        case _:
            pass


def _check_fill(node: n.FillNull) -> None:
    verb = "fill_nan" if node.nans else "fill_null"
    if (node.value is None) == (node.strategy is None) or (node.nans and node.value is None):
        msg = f"{verb} takes either a value or a strategy." if not node.nans else "fill_nan takes a value."
        raise BindError(msg, code="plan.bind.option")
    if node.strategy is not None:
        choose(verb, "strategy", node.strategy, ("forward", "backward", "min", "max", "mean", "zero", "one"))
    if node.limit is not None:
        check_size(verb, "limit", node.limit)
        if node.strategy not in {"forward", "backward"}:
            msg = "fill_null takes a limit only with the strategies forward and backward."
            raise BindError(msg, code="plan.bind.option")


def _check_sample(node: n.Sample) -> None:
    if (node.n is None) == (node.fraction is None):
        msg = "sample takes either n or fraction."
        raise BindError(msg, code="plan.bind.option")
    if node.n is not None:
        check_size("sample", "n", node.n)
    if node.fraction is not None and not 0 <= node.fraction <= (100 if node.with_replacement else 1):
        msg = f"sample: fraction={node.fraction} is out of range."
        raise BindError(msg, code="plan.bind.size", reason="Without replacement it is a number from 0 to 1.")
    if node.seed is not None:
        check_size("sample", "seed", node.seed, maximum=2**64 - 1)


def check_index(verb: str, dtype: DType) -> None:
    """Refuse an index column that is neither time nor whole numbers.

    Raises:
        BindError: `plan.bind.types`.
    """
    fits = {
        "join_asof": dtype.is_numeric or dtype.is_temporal,
        "rolling": dtype.kind in {"Date", "Datetime", "Int8", "Int16", "Int32", "Int64", "UInt32", "UInt64"},
        "group_by_dynamic": dtype.kind in {"Date", "Datetime", "Int8", "Int16", "Int32", "Int64", "UInt32", "UInt64"},
    }[verb]
    if not fits:
        msg = f"The index of {verb} is {dtype}; it must be a date, a datetime or a whole number."
        raise BindError(msg, code="plan.bind.types", next_step="Cast it first.")


def check_nans(columns: Sequence[Column], schema: Schema) -> None:
    """Refuse drop_nans of columns whose type has no NaN and is no number.

    INVARIANT: the engine refuses them once it has rows to look at. Whether it has is not to be told by whether it fails.

    Raises:
        BindError: `plan.bind.types`.
    """
    for column in columns:
        dtype = schema[column.name]
        if not (dtype.is_integer or dtype.is_float or dtype.kind == "Null"):
            msg = f"drop_nans takes numbers; {column.name!r} is {dtype}."
            raise BindError(msg, code="plan.bind.types", next_step="Leave the column out: only floats hold NaN.")


def check_windows(node: n.GroupByDynamic | n.Rolling, index: str) -> None:
    """Check durations and words of group_by_dynamic and rolling. index: kind of the index column."""
    if isinstance(node, n.Rolling):
        check_duration(node.period, "period", positive=True, index=index)
        verb = "rolling"
    else:
        verb = "group_by_dynamic"
        check_duration(node.every, "every", positive=True, index=index)
        if node.period is not None:
            check_duration(node.period, "period", positive=True, index=index)
        choose(verb, "label", node.label, ("left", "right", "datapoint"))
        choose(verb, "start_by", node.start_by, ("window", "datapoint", *_WEEKDAYS))
    if node.offset is not None:
        check_duration(node.offset, "offset", index=index)
    choose(verb, "closed", node.closed, _CLOSED)


def check_join(node: n.Join) -> None:
    """Check the words of a join."""
    choose("join", "how", node.how, _JOINS)
    choose("join", "validate", node.validate, ("m:m", "m:1", "1:m", "1:1"))
    choose("join", "maintain_order", node.maintain_order, ("none", "left", "right", "left_right", "right_left"))


def check_asof(node: n.JoinAsof, dtype: DType) -> None:
    """Check strategy and tolerance. dtype: of the left key."""
    choose("join_asof", "strategy", node.strategy, ("backward", "forward", "nearest"))
    tolerance = node.tolerance
    if isinstance(tolerance, str):
        check_duration(tolerance, "tolerance", index=dtype.kind if dtype.is_temporal else "Int64")
        fits = dtype.is_temporal
    else:
        fits = tolerance is None or (dtype.is_numeric and tolerance >= 0)
    if not fits or (isinstance(tolerance, str) and tolerance.startswith("-")):
        msg = f"join_asof: tolerance={tolerance!r} does not fit a key of type {dtype}."
        raise BindError(
            msg, code="plan.bind.duration", next_step='Use a number for numbers, a duration such as "2h" for times.'
        )


def check_concat(node: n.Concat) -> None:
    """Check that there are frames and a known way to put them together."""
    choose("concat", "how", node.how, ("vertical", "vertical_relaxed", "diagonal", "diagonal_relaxed", "horizontal"))
    if not node.inputs:
        msg = "concat needs at least one frame."
        raise BindError(msg, code="plan.bind.concat")


def check_pivot(node: n.Pivot) -> None:
    """Check the aggregate of a pivot."""
    choose("pivot", "aggregate", node.aggregate, _AGGREGATES)
    if not node.index and not node.values:
        msg = "pivot needs at least one of index and values."
        raise BindError(msg, code="plan.bind.option")
