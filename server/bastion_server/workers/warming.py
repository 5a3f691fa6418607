"""What a spare runs before it is lent: guarded queries about constants, so that a query finds its code in memory."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import polars as pl
from bastion_plan.canonical import encode
from bastion_plan.dtypes import FLOAT64, INT64, STRING
from bastion_plan.expressions import Alias, Call, Cast, Column, Literal, Ternary
from bastion_plan.nodes import Filter, GroupBy, Join, Node, Scan, Select, Sort, WithColumns, WithRowIndex

from bastion_server.workers.messages import Run

#: times the requests are run, and the name of their table
ROUNDS = 2
SCAN = "#warm"
_ROWS = 1024

_Tables = Mapping[str, Mapping[str, Sequence[Any] | np.ndarray[Any, Any]]]


def table() -> pl.DataFrame:
    """Return a table about nothing: a key, a number, a text, in as many rows as a small table has."""
    number = pl.int_range(_ROWS, eager=True)
    return pl.DataFrame(
        {"k": number % 5, "v": (number % 7).cast(pl.Float64), "s": (number % 11).cast(pl.String), "n": number}
    )


def _requests() -> tuple[tuple[bytes, bytes], ...]:
    """Return what most guarded queries are made of: guard columns per group, a look at them, what is released."""
    guard = WithRowIndex(
        Sort(
            GroupBy(
                WithColumns(Scan(SCAN), (Alias(Literal(STRING, "*"), "s"),)),
                (Alias(Column("k"), "key"),),
                (
                    Alias(Call("pl.len"), "n"),
                    Alias(Call("mean", (Column("v"),)), "v"),
                    Alias(Call("sum", (Column("n"),)), "total"),
                ),
            ),
            (Column("key"),),
        ),
        "#i",
    )
    safe: _Tables = {"#safe": {"key": np.arange(5), "ok": [True] * 5}}
    cells = Filter(Scan("#kept"), Call("gt", (Column("v"), Literal(INT64, 0))))
    joined = Join(cells, Scan("#safe"), left_on=(Column("key"),), right_on=(Column("key"),))
    released = Select(
        Select(joined, (Column("key"), Column("v"))), (Column("key"), Alias(Cast(Column("v"), FLOAT64), "v"))
    )
    some = Call("and_", (Call("gt", (Column("v"), Literal(INT64, 0))), Call("eq", (Column("s"), Literal(STRING, "a")))))
    chosen = Ternary(some, Column("n"), Literal(INT64, 0))
    return (
        _request(WithColumns(Filter(Scan(SCAN), some), (Alias(chosen, "n"),)), None, (), dry=True),
        _request(guard, "#kept", ("n", "v")),
        _request(released, None, None, safe),
        _request(Select(Scan(SCAN), (Alias(Call("pl.len"), "n"),)), None, None),
    )


def _request(
    plan: Node,
    keep: str | None,
    returns: tuple[str, ...] | None,
    tables: _Tables | None = None,
    *,
    dry: bool = False,
) -> tuple[bytes, bytes]:
    """Return the message and its body, as they arrive."""
    return msgspec.msgpack.encode(Run(encode(plan), keep, returns, dry=dry)), pickle.dumps(tables, 5) if tables else b""


REQUESTS = _requests()
