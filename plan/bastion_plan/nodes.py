"""Nodes of the plan: frozen, hashable, tagged structs. Nothing here names a file, a URL, a Python object or a server path.

Every node has Polars' semantics for the method it is named after, with Polars 2.1's defaults as defaults.
"""

from __future__ import annotations

from typing import Any

import msgspec

from bastion_plan.dtypes import DType
from bastion_plan.expressions import AnyExpr, freeze, share_defaults


class Node(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="node"):
    """Base of all nodes."""

    def __post_init__(self) -> None:
        share_defaults(self)


class Scan(Node, frozen=True, tag="scan"):
    """A dataset, by its id (from the catalogue). Ids starting with '#' are the judge's own tables and never bind."""

    dataset: str


class InlineColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One column of a scientist's own table; values as in `Literal`."""

    name: str
    dtype: DType
    values: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "values", freeze(self.values))


class Inline(Node, frozen=True, tag="inline"):
    """The scientist's own small table, by value."""

    columns: tuple[InlineColumn, ...]


class Filter(Node, frozen=True, tag="filter"):
    """Rows for which the predicate is true."""

    input: AnyNode
    predicate: AnyExpr


class Select(Node, frozen=True, tag="select"):
    """New columns instead of the old ones; also Rename and Drop, and aggregates of the whole frame."""

    input: AnyNode
    exprs: tuple[AnyExpr, ...]


class WithColumns(Node, frozen=True, tag="with_columns"):
    """New columns beside the old ones."""

    input: AnyNode
    exprs: tuple[AnyExpr, ...]


class GroupBy(Node, frozen=True, tag="group_by"):
    """One row per distinct keys."""

    input: AnyNode
    keys: tuple[AnyExpr, ...]
    aggs: tuple[AnyExpr, ...] = ()
    maintain_order: bool = False


class GroupByDynamic(Node, frozen=True, tag="group_by_dynamic"):
    """Windows of fixed length over a sorted time or integer index. every, period, offset: Polars duration strings."""

    input: AnyNode
    index: AnyExpr
    every: str
    aggs: tuple[AnyExpr, ...] = ()
    period: str | None = None
    offset: str | None = None
    include_boundaries: bool = False
    closed: str = "left"
    label: str = "left"
    group_by: tuple[AnyExpr, ...] = ()
    start_by: str = "window"


class Rolling(Node, frozen=True, tag="rolling"):
    """A window per row over a sorted index."""

    input: AnyNode
    index: AnyExpr
    period: str
    aggs: tuple[AnyExpr, ...] = ()
    offset: str | None = None
    closed: str = "right"
    group_by: tuple[AnyExpr, ...] = ()


class Join(Node, frozen=True, tag="join"):
    """how: inner, left, right, full, semi, anti, cross. maintain_order: none, left, right, left_right, right_left."""

    left: AnyNode
    right: AnyNode
    how: str = "inner"
    left_on: tuple[AnyExpr, ...] = ()
    right_on: tuple[AnyExpr, ...] = ()
    suffix: str = "_right"
    validate: str = "m:m"
    nulls_equal: bool = False
    coalesce: bool | None = None
    maintain_order: str = "none"


class JoinAsof(Node, frozen=True, tag="join_asof"):
    """The nearest key. strategy: backward, forward, nearest. tolerance: a number or a duration string."""

    left: AnyNode
    right: AnyNode
    left_on: AnyExpr
    right_on: AnyExpr
    by_left: tuple[str, ...] = ()
    by_right: tuple[str, ...] = ()
    strategy: str = "backward"
    suffix: str = "_right"
    tolerance: str | int | float | None = None
    allow_exact_matches: bool = True
    coalesce: bool = True


class Sort(Node, frozen=True, tag="sort"):
    """Order by expressions; descending and nulls_last: one flag, or one per key."""

    input: AnyNode
    by: tuple[AnyExpr, ...]
    descending: tuple[bool, ...] = (False,)
    nulls_last: tuple[bool, ...] = (False,)
    maintain_order: bool = False


class Slice(Node, frozen=True, tag="slice"):
    """Rows from offset (negative: from the end), length None: to the end. head, tail, limit, first, last."""

    input: AnyNode
    offset: int = 0
    length: int | None = None


class TopK(Node, frozen=True, tag="top_k"):
    """The k largest (reverse False) rows; `bottom` for the smallest."""

    input: AnyNode
    k: int
    by: tuple[AnyExpr, ...]
    reverse: tuple[bool, ...] = (False,)
    bottom: bool = False


class Unique(Node, frozen=True, tag="unique"):
    """Distinct rows. keep: any, first, last, none. subset None: all columns."""

    input: AnyNode
    subset: tuple[AnyExpr, ...] | None = None
    keep: str = "any"
    maintain_order: bool = False


class DropNulls(Node, frozen=True, tag="drop_nulls"):
    """Rows without nulls (nans True: without NaN) in the subset. subset None: all columns."""

    input: AnyNode
    subset: tuple[AnyExpr, ...] | None = None
    nans: bool = False


class FillNull(Node, frozen=True, tag="fill_null"):
    """Replace nulls (nans True: NaN) by a value or a strategy: forward, backward, min, max, mean, zero, one."""

    input: AnyNode
    value: AnyExpr | None = None
    strategy: str | None = None
    limit: int | None = None
    nans: bool = False


class Explode(Node, frozen=True, tag="explode"):
    """One row per list element."""

    input: AnyNode
    columns: tuple[AnyExpr, ...]


class Unnest(Node, frozen=True, tag="unnest"):
    """The fields of struct columns as columns."""

    input: AnyNode
    columns: tuple[AnyExpr, ...]


class Unpivot(Node, frozen=True, tag="unpivot"):
    """Wide to long (melt). on None: all columns but the index."""

    input: AnyNode
    on: tuple[AnyExpr, ...] | None = None
    index: tuple[AnyExpr, ...] = ()
    variable_name: str = "variable"
    value_name: str = "value"


class Pivot(Node, frozen=True, tag="pivot"):
    """Long to wide. on_columns: the values of `on` that become columns, known beforehand.

    aggregate: min, max, first, last, sum, mean, median, len, item.
    """

    input: AnyNode
    on: str
    on_columns: tuple[Any, ...]
    index: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    aggregate: str = "first"
    separator: str = "_"

    def __post_init__(self) -> None:
        share_defaults(self)
        msgspec.structs.force_setattr(self, "on_columns", freeze(self.on_columns))


class Concat(Node, frozen=True, tag="concat"):
    """how: vertical, vertical_relaxed, diagonal, diagonal_relaxed, horizontal."""

    inputs: tuple[AnyNode, ...]
    how: str = "vertical"


class WithRowIndex(Node, frozen=True, tag="with_row_index"):
    """A running number as first column."""

    input: AnyNode
    name: str = "index"
    offset: int = 0


class Sample(Node, frozen=True, tag="sample"):
    """Random rows: n or fraction. seed: the same seed gives the same rows."""

    input: AnyNode
    n: int | None = None
    fraction: float | None = None
    with_replacement: bool = False
    shuffle: bool = False
    seed: int | None = None


class Reverse(Node, frozen=True, tag="reverse"):
    """Rows in the opposite order."""

    input: AnyNode


AnyNode = (
    Scan
    | Inline
    | Filter
    | Select
    | WithColumns
    | GroupBy
    | GroupByDynamic
    | Rolling
    | Join
    | JoinAsof
    | Sort
    | Slice
    | TopK
    | Unique
    | DropNulls
    | FillNull
    | Explode
    | Unnest
    | Unpivot
    | Pivot
    | Concat
    | WithRowIndex
    | Sample
    | Reverse
)


def inputs(node: Node) -> tuple[Node, ...]:
    """Return the direct input nodes, left to right."""
    match node:
        case Scan() | Inline():
            return ()
        case Join(left=left, right=right) | JoinAsof(left=left, right=right):
            return (left, right)
        case Concat(inputs=several):
            return several
        case _:
            return (node.input,)  # type: ignore[attr-defined]


def scans(node: Node) -> tuple[str, ...]:
    """Return the ids of the datasets a plan reads, each once, left to right."""
    found: dict[str, None] = {}
    stack = [node]
    while stack:
        item = stack.pop()
        if isinstance(item, Scan):
            found[item.dataset] = None
        stack.extend(reversed(inputs(item)))
    return tuple(found)
