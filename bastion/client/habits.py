"""What to write instead, where somebody writes as in pandas: columns as attributes, methods of other objects."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bastion_plan.errors import BastionError, InputError, did_you_mean
from bastion_plan.functions import registry

from bastion.client.absent import ABSENT, IN_CELLS, ONWARD
from bastion.expr.core import Expr
from bastion.expr.methods import NAMESPACES, SPECIAL

if TYPE_CHECKING:
    from bastion.client.frames import RemoteLazyFrame

#: pandas' names for frames
PANDAS: dict[str, str] = {
    "loc": "Write .filter(…) for rows and .select(…) for columns.",
    "iloc": "Write .slice(offset, length), .head(n) or .tail(n).",
    "query": "Write .filter(pl.col(…) > …), or .sql(…).",
    "astype": "Write .cast({…}), or pl.col(…).cast(pl.Int64).",
    "assign": "Write .with_columns(name=…).",
    "dropna": "Write .drop_nulls().",
    "fillna": "Write .fill_null(…).",
    "isna": "Write .null_count() for how many there are, or pl.col(…).is_null() as a condition.",
    "isnull": "Write .null_count() for how many there are, or pl.col(…).is_null() as a condition.",
    "nunique": "Write .n_unique().",
    "sort_values": "Write .sort(…).",
    "merge": "Write .join(other, on=…).",
    "drop_duplicates": "Write .unique().",
    "reset_index": "Frames have no index. Leave it out, or write .with_row_index().",
    "set_index": "Frames have no index. Leave it out.",
    "info": "Write .schema for the columns and their types.",
    "pivot_table": "Write .pivot(…), or .group_by(…).agg(…).",
    "to_csv": "Fetch the result, then write it.",
}


def quoted(name: str) -> str:
    """Return a text as one writes it in a cell, in double quotes."""
    return json.dumps(name, ensure_ascii=False)


#: plots by the names of Altair, hvPlot, pandas and seaborn
PLOTTED = {
    "point": "scatter", "circle": "scatter", "points": "scatter", "histogram": "hist", "density": "hist", "kde": "hist", "barh": "bar",
    "boxplot": "box", "violin": "box", "area": "line", "hexbin": "heatmap",
}  # fmt: skip
PLOT_CALL = 'Write .plot.scatter("Age", "Fare"), .plot.hist("Age"), .bar, .box, .line, .pie or .heatmap.'


def other_plot(name: str) -> str:
    """Return what to write for a plot of another library; empty where nothing comes near."""
    verb = PLOTTED.get(name, "")
    return f"Write .plot.{verb}({PLOT_COLUMNS[verb]})." if verb else ""


PLOT_COLUMNS = {
    "scatter": '"Age", "Fare"', "hist": '"Age"', "bar": '"Pclass", "Age"', "box": '"Pclass", "Age"', "line": '"Age", "Fare"',
    "heatmap": '"Pclass", "Sex"',
}  # fmt: skip


def compared(frame: RemoteLazyFrame) -> str:
    """Return what to write in place of arithmetic and comparisons of a frame: an expression of its column."""
    column = ""
    with suppress(BastionError):  # the dataset has gone
        column = quoted(frame.columns[0]) if frame.width == 1 else ""
    column = f"pl.col({column or '…'})"
    return f"Write {column} in its place, as in frame.filter({column} > …) or frame.with_columns(new={column} * 2)."


def instead(frame: RemoteLazyFrame, name: str, known: Iterable[str], *, cell: bool = False) -> tuple[str, str]:
    """Return why there is no `frame.name`, and what to write instead; empty where nothing comes near.

    Columns' names are public, and so is what expressions can do.

    Args:
        known: names that the frame has. cell: for whoever writes in a cell, where a fetched table is to look at.
    """
    if name.startswith("_"):
        return "", ""
    columns: list[str] = []
    with suppress(BastionError):  # the dataset has gone
        columns = frame.columns
    if name in columns:
        column = quoted(name)
        return "A column is no attribute of its frame.", f"Write pl.col({column}), or frame[{column}] for it alone."
    if name in ABSENT:
        return (IN_CELLS.get(ABSENT[name], ABSENT[name]) if cell else ABSENT[name]), ""
    if name in PANDAS:
        return "", ONWARD if cell and name == "to_csv" else PANDAS[name]
    if _of_columns(name):
        column = quoted(columns[0]) if len(columns) == 1 else "…"
        call = ".…" if name in NAMESPACES else "()"
        return "Expressions have it.", f"Write .select(pl.col({column}).{name}{call})."
    if meant := next((c for c in columns if c.casefold() == name.casefold()), ""):
        return "", f"Did you mean pl.col({quoted(meant)})?"
    hint = did_you_mean(name, [k for k in known if not k.startswith("_")])
    if not hint and (hint := did_you_mean(name, columns)):
        hint += " Write a column as pl.col(…)."
    return "", hint


def _of_columns(name: str) -> bool:
    if name in NAMESPACES or name in SPECIAL:
        return True
    return any(f.method and name in (f.name, *f.aliases) for f in registry.all_functions())


def no_columns(name: str, verb: str, args: tuple[Any, ...]) -> None:
    """Refuse the columns that pandas and old Polars give to an aggregation of a whole frame or of its groups.

    Args:
        name: of the aggregation. verb: what takes expressions here, "select" or "agg". args: what it was given.

    Raises:
        InputError: input.arguments, the first of them is a column.
    """
    first = args[0][0] if args and isinstance(args[0], list | tuple) and args[0] else args[0] if args else None
    if not isinstance(first, str | Expr):
        return
    column = f"pl.col({quoted(first)})" if isinstance(first, str) else str(first)
    more = "0.5" if name == "quantile" else ""
    msg = f".{name}() is of all columns, and takes none."
    raise InputError(msg, code="input.arguments", next_step=f"Write .{verb}({column}.{name}({more})).")
