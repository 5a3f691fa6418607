"""The expression namespace, spelled like Polars: `from bastion import pl` and write `pl.col("Age").mean()`.

Functions and methods are derived from the registry; data types are Polars' own.
"""

from __future__ import annotations

from typing import Any

import polars as _polars
from bastion_plan.errors import did_you_mean as _did_you_mean

from bastion.expr import selectors
from bastion.expr.core import PYTHON_METHODS as _PYTHON
from bastion.expr.core import Expr, no_member, refuse_python
from bastion.expr.toplevel import When, functions

#: data types a column may have; Polars' own classes
DTYPES: dict[str, Any] = {
    name: getattr(_polars, name)
    for name in [
        "Int8",
        "Int16",
        "Int32",
        "Int64",
        "Int128",
        "UInt8",
        "UInt16",
        "UInt32",
        "UInt64",
        "Float32",
        "Float64",
        "Boolean",
        "String",
        "Utf8",
        "Binary",
        "Date",
        "Time",
        "Datetime",
        "Duration",
        "Categorical",
        "Enum",
        "Decimal",
        "List",
        "Array",
        "Struct",
        "Null",
        "Field",
    ]
    if hasattr(_polars, name)
}
FUNCTIONS = functions()
globals().update(FUNCTIONS | DTYPES)

__all__ = [*DTYPES, *FUNCTIONS, "Expr", "When", "concat", "selectors"]


def concat(items: Any, *, how: str = "vertical", **options: Any) -> Any:
    """Put frames together, as `bastion.concat`."""
    from bastion.client.frames import concat as frames_together

    return frames_together(items, how=how, **options)


def __getattr__(name: str) -> Any:
    if name in _PYTHON:
        refuse_python(f"pl.{name}")
    if name.startswith("__"):
        raise AttributeError(name)
    hint = _NOT_HERE.get(name, "")
    error = no_member("pl", name, __all__, note=hint)
    error.next_step = error.next_step or _did_you_mean(name, __all__)
    raise error


_NOT_HERE = {
    **dict.fromkeys(("Integer", "Int", "int", "int64"), "Write pl.Int64."),
    **dict.fromkeys(("Float", "Double", "float", "float64"), "Write pl.Float64."),
    **dict.fromkeys(("Str", "Text", "Object", "str"), "Write pl.String."),
    **dict.fromkeys(("Bool", "bool"), "Write pl.Boolean."),
    "Timestamp": "Write pl.Datetime.",
    **dict.fromkeys(
        ("read_csv", "read_parquet", "scan_csv", "scan_parquet", "read_ipc", "scan_ipc", "read_json", "read_excel"),
        "Data is on the server: datasets() lists it, dataset(name) gives a frame.",
    ),
    "DataFrame": "A table of your own joins in as connection.frame({...}).",
    "LazyFrame": "A table of your own joins in as connection.frame({...}).",
}


def __dir__() -> list[str]:
    return sorted(__all__)
