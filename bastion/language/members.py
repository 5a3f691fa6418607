"""Which members of which objects a cell may reach: explicit tables, read by evaluation, completion and inspection.

INVARIANT: an attribute is read only when its name stands in the table of the object's own type. Nothing else of an
object can be reached from a cell, whatever Python would allow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from typing import Any

import polars as pl
from bastion_plan.errors import InputError
from bastion_plan.functions import registry
from bastion_plan.models.fits import Optimizer, Schedule
from bastion_plan.models.layers import Layer

from bastion.client.connection import Connection
from bastion.client.denied import AccessRequest, Denied
from bastion.client.exposure import Exposure
from bastion.client.frames import FetchableLazyFrame, RemoteLazyFrame
from bastion.client.grouping import DynamicGroupBy, RemoteGroupBy, RollingGroupBy
from bastion.client.plotting import PLOT_NAMES, PLOTS, PlotAccessor, Plots
from bastion.client.preview import FakeFrame
from bastion.client.spending import Estimate
from bastion.client.training.datasets import RemoteDataset
from bastion.client.training.learner import RemoteLearner
from bastion.client.training.models import ModelCard, TrainedModel
from bastion.client.training.runs import FitEstimate, Measured, RemoteRun
from bastion.client.training.tensors import RemoteArray, RemoteTensor
from bastion.client.training.tokenizers import RemoteTokenizer
from bastion.client.training.torch_client import TorchClient
from bastion.expr.core import Expr
from bastion.expr.methods import NAMESPACES, SPECIAL, SPECIAL_IN, Namespace
from bastion.expr.selectors import Columns, SelectorExpr
from bastion.expr.toplevel import Then, When
from bastion.language.limits import Limits, over
from bastion.render.charts import Chart

#: name -> how to read it from the object
Table = dict[str, Callable[[Any], Any]]


def _reader(name: str) -> Callable[[Any], Any]:
    return lambda owner: getattr(owner, name)


def _table(names: Iterable[str]) -> Table:
    return {name: _reader(name) for name in names}


def _small(table: Any) -> Any:
    """Return a fetched table or column if its values may become a list."""
    cells = table.height * table.width if isinstance(table, pl.DataFrame) else len(table)
    if cells > Limits().weight:
        raise over(
            "The table has too many values for a list", Limits().weight, next_step="Aggregate more, or take .head(n)."
        )
    return table


def _encoder(tokenizer: RemoteTokenizer) -> Callable[..., Any]:
    """Return a tokenizer's `encode` for frames of the server: a table in the kernel may be larger than a cell may make."""

    def encode(frame: Any, column: str, max_length: int = 32) -> Any:
        """Return a frame of the server with the word numbers of its texts, a column for each place (see `columns`).

        Args:
            frame: whose rows are not answered with noise. column: of texts. max_length: words of a text that count.
        """
        if not isinstance(frame, RemoteLazyFrame):
            msg = "In a cell, encode takes a frame of the server."
            step = 'For texts of your own: tokenizer.numbers("a text", 32) gives the numbers of one.'
            raise InputError(msg, code="train.tokenizer", next_step=step)
        return tokenizer.encode(frame, column, max_length)

    return encode


def _expression_names() -> set[str]:
    names = set(SPECIAL) - {"pipe"}
    for function in registry.all_functions():
        if function.method:
            names |= {s for s in (function.name, *function.aliases) if "." not in s}
    return names | set(NAMESPACES)


def _namespace_names(label: str) -> set[str]:
    names = set(SPECIAL_IN.get(label, ())) - {"map"}
    for function in registry.all_functions():
        if function.method:
            names |= {s.partition(".")[2] for s in (function.name, *function.aliases) if s.startswith(f"{label}.")}
    return names


FRAME = [
    "select",
    "with_columns",
    "drop",
    "rename",
    "cast",
    "filter",
    "remove",
    "slice",
    "head",
    "limit",
    "tail",
    "first",
    "last",
    "reverse",
    "unique",
    "sample",
    "with_row_index",
    "gather_every",
    "sort",
    "top_k",
    "bottom_k",
    "drop_nulls",
    "drop_nans",
    "fill_null",
    "fill_nan",
    "group_by",
    "group_by_dynamic",
    "rolling",
    "join",
    "join_asof",
    "join_where",
    "update",
    "merge_sorted",
    "vstack",
    "hstack",
    "extend",
    "concat",
    "explode",
    "unnest",
    "unpivot",
    "melt",
    "pivot",
    "len",
    "interpolate",
    "clip",
    "shift",
    "approx_n_unique",
    "corr",
    "describe",
    "count",
    "null_count",
    "n_unique",
    "sum",
    "mean",
    "median",
    "min",
    "max",
    "std",
    "var",
    "quantile",
    "zscore_scale",
    "minmax_scale",
    "mean_scale",
    "max_abs_scale",
    "median_quantile_scale",
    "groupby",
    "groupby_dynamic",
    "groupby_rolling",
    "with_column",
    "with_row_count",
    "take_every",
    "shift_and_fill",
    "distinct",
    "lazy",
    "cache",
    "clone",
    "collect",
    "fetch",
    "explain",
    "save",
    "delete",
    "sql",
    "preview",
    "safe_part",
    "summarize",
    "columns",
    "dtypes",
    "width",
    "collect_schema",
    "plan_hash",
    "plot",
    "facet",
    "to_dataset",
    "to_array",
    "to_tensor",
    *PLOT_NAMES,
]
GROUPS = [
    "agg",
    "len",
    "count",
    "sum",
    "mean",
    "median",
    "min",
    "max",
    "std",
    "var",
    "n_unique",
    "null_count",
    "quantile",
    "first",
    "last",
]

#: own type -> table; looked up along the type's own bases
MEMBERS: dict[type, Table] = {
    Expr: _table(_expression_names()),
    SelectorExpr: _table({*_expression_names(), "as_expr", "exclude"}),
    Columns: _table({*_expression_names(), "exclude"}),
    Then: _table({*_expression_names(), "when", "otherwise"}),
    When: _table(["then"]),
    RemoteLazyFrame: _table(FRAME) | {"schema": lambda frame: dict(frame.schema)},
    FetchableLazyFrame: _table([*FRAME, "id", "name", "identifier", "exposure"])
    | {"schema": lambda frame: dict(frame.schema)},
    RemoteGroupBy: _table([*GROUPS, "having", "all", "head", "tail"]),
    DynamicGroupBy: _table(GROUPS),
    RollingGroupBy: _table(GROUPS),
    Connection: _table(
        [
            "datasets",
            "dataset",
            "sql",
            "frame",
            "requests",
            "budget",
            "attestation",
            "attest",
            "release_key",
            "revoke_key",
            "request",
            "approve",
            "deny",
            "approve_reading",
            "deny_reading",
            "audit",
            "verify_audit",
            "exposure",
            "clear_failures",
            "set_policy",
            "identity",
            "endpoint",
            "roles",
            "close",
            "connected",
            "client",
            "ping",
            "runs",
            "run",
        ]
    ),
    PlotAccessor: _table([*PLOTS, *PLOT_NAMES, "facet"]),
    Plots: _table([*PLOTS, *PLOT_NAMES]),
    Chart: _table(["table", "notes", "denied", "spec"]),
    FakeFrame: _table(["name", "columns", "height"]) | {"schema": lambda fake: dict(fake.schema)},
    Exposure: _table(["name", "untouched", "columns", "audiences", "to_dict"]),
    AccessRequest: _table(
        [
            "id",
            "state",
            "requester",
            "reason",
            "code",
            "words",
            "answer",
            "refresh",
            "wait",
            "fetch",
            "withdraw",
            "columns",
            "expressions",
            "findings",
            "figures",
            "past",
            "may_run",
            "may_read",
            "sealed",
            "approve",
            "deny",
            "approve_reading",
            "deny_reading",
            "preview",
        ]
    ),
    Denied: _table(
        [
            "outcome",
            "rule",
            "reason",
            "fix",
            "message",
            "has_safe_part",
            "safe_part",
            "room",
            "request",
            "wait",
            "filed",
            "plan_hash",
        ]
    ),
    RemoteDataset: _table(
        [
            "inputs",
            "labels",
            "columns",
            "part",
            "private",
            "split",
            "train",
            "test",
            "standardise",
            "scale_by_bounds",
            "one_hot",
        ]
    ),
    RemoteTensor: _table(["columns", "dtype", "shape", "to"]),
    RemoteArray: _table(["columns", "dtype", "shape", "to", "to_tensor"]),
    RemoteTokenizer: _table(["size", "padding", "columns", "numbers"]) | {"encode": _encoder},
    RemoteLearner: _table(["fit", "summarize", "test", "resume", "get_model", "model_card", "plot", "run", "loss"])
    | {"model": _reader("model")},
    RemoteRun: _table(
        [
            "id",
            "state",
            "active",
            "step",
            "steps",
            "epsilon",
            "spent",
            "losses",
            "metrics",
            "wait",
            "stop",
            "refresh",
            "delete",
            "plot",
            "test",
            "get_model",
        ]
    ),
    Measured: _table(["name", "value", "error", "epsilon", "matrix"]),
    FitEstimate: _table(["outcome", "epsilon", "steps", "noise", "affordable", "people", "epochs"]),
    TrainedModel: _table(["card", "model_card", "parameters", "predict"]),
    ModelCard: _table(["to_dict"]),
    Layer: {},
    Optimizer: {},
    Schedule: {},
    Estimate: _table(["noisy", "epsilon", "cost", "left", "affordable", "bars"]),
    pl.DataFrame: _table(["columns", "width", "height", "shape", "head", "tail", "item", "row", "get_column"])
    | {
        "schema": lambda table: dict(table.schema),
        "dtypes": lambda table: list(table.dtypes),
        "rows": lambda table: _small(table).rows,
        "to_dicts": lambda table: _small(table).to_dicts,
    },
    pl.Series: {"to_list": lambda column: _small(column).to_list}
    | _table(["name", "len", "sum", "mean", "min", "max", "median", "std", "first", "last", "n_unique"]),
    date: _table(["year", "month", "day", "weekday", "isoweekday", "isoformat", "toordinal"]),
    datetime: _table(
        [
            "year",
            "month",
            "day",
            "hour",
            "minute",
            "second",
            "microsecond",
            "date",
            "time",
            "weekday",
            "isoweekday",
            "isoformat",
            "timestamp",
        ]
    ),
    time: _table(["hour", "minute", "second", "microsecond", "isoformat"]),
    timedelta: _table(["days", "seconds", "microseconds", "total_seconds"]),
    int: {},
    float: _table(["is_integer"]),
    bool: {},
}
for _label, _class in NAMESPACES.items():
    MEMBERS[_class] = _table(_namespace_names(_label))


def _client_tables() -> None:
    from bastion.client.connection import Client, PolarsClient

    MEMBERS[Client] = _table(["polars", "torch"])
    MEMBERS[TorchClient] = _table(["RemoteLearner", "list", "delete"])
    MEMBERS[PolarsClient] = _table(["list_dfs", "get_df", "delete_df"])


_client_tables()

#: what may be said of plain containers and texts is not Python's own methods but ours: see bastion.language.builtins


def table_of(value: Any) -> Table:
    """Return the members a cell may reach on a value; empty for values without any."""
    for cls in type(value).__mro__:
        found = MEMBERS.get(cls)
        if found is not None:
            return found
    return {}


def is_own(value: Any) -> bool:
    """Whether a value is one of our own objects (a frame, an expression, a connection …), not plain data."""
    return isinstance(
        value,
        Expr
        | When
        | Namespace
        | RemoteLazyFrame
        | RemoteGroupBy
        | DynamicGroupBy
        | RollingGroupBy
        | Connection
        | AccessRequest
        | FakeFrame
        | Plots
        | Chart
        | RemoteDataset
        | RemoteTensor
        | RemoteTokenizer
        | RemoteLearner
        | RemoteRun
        | Measured
        | FitEstimate
        | TrainedModel
        | ModelCard
        | Layer
        | Optimizer
        | Schedule,
    )
