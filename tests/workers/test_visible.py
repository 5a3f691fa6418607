"""An answer's bytes depend on what the table shows, and on nothing that lay beside it in the engine's buffers."""

from __future__ import annotations

import asyncio
import datetime as dt
import io
from decimal import Decimal

import polars as pl
import pytest
from bastion_plan.dtypes import INT64, NULL
from bastion_plan.expressions import Alias, Call, Column, Literal, Ternary
from bastion_plan.nodes import Scan, Select, Slice
from bastion_server.workers.visible import visible
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

N = 64


def _bytes(frame):
    buffer = io.BytesIO()
    frame.write_ipc(buffer, compression="uncompressed")
    return buffer.getvalue()


#: dtype name -> the i-th value of a secret kind k
KINDS = {
    "Int64": lambda i, k: 1_000_003 * (i + 1) + k,
    "UInt8": lambda i, k: (i + 100 * k) % 251,
    "Float64": lambda i, k: i / 7 + k,
    "Boolean": lambda i, k: (i + k) % 2 == 0,
    "String": lambda i, k: f"person-{k}-{i:05d}-secret",
    "Binary": lambda i, k: f"person-{k}-{i:05d}-secret".encode(),
    "Date": lambda i, k: dt.date(2000 + k, 1, 1) + dt.timedelta(days=i),
    "Datetime": lambda i, k: dt.datetime(2000 + k, 1, 1) + dt.timedelta(days=i),
    "Duration": lambda i, k: dt.timedelta(days=i + 500 * k),
    "Time": lambda i, k: dt.time(i % 24, k, i % 60),
    "Decimal": lambda i, k: Decimal(i + 1000 * k) / 4,
    "List": lambda i, k: [i, k, i + k],
    "ListString": lambda i, k: [f"a{i}", f"person-{k}-secret-name"],
    "Struct": lambda i, k: {"a": i + 1000 * k, "b": f"person-{k}-{i}-secret"},
}


def _column(kind, k):
    """Values shown in every eighth row are the same for every k; the others are of secret kind k."""
    return pl.Series("v", [KINDS[kind](i, 0 if i % 8 == 0 else k) for i in range(N)])


def _masked(kind, k):
    frame = pl.DataFrame({"i": range(N), "v": _column(kind, k)})
    return frame.select(pl.when(pl.col("i") % 8 == 0).then(pl.col("v")).otherwise(None).alias("v"))


#: elements of two concatenated values
WIDTHS = {"List": 6, "ListString": 4}

MAKERS = {
    "null masks": _masked,
    "filter": lambda kind, k: pl.DataFrame({"i": range(N), "v": _column(kind, k)}).filter(pl.col("i") % 8 == 0),
    "head": lambda kind, k: pl.DataFrame({"v": _column(kind, k)}).head(1),
    "slice": lambda kind, k: pl.DataFrame({"v": _column(kind, k)}).slice(8, 1),
    "cut lists": lambda kind, k: pl.DataFrame({"v": [_column(kind, k).to_list()]}).select(pl.col("v").list.head(1)),
    "masked lists": lambda kind, k: pl.DataFrame({"i": range(N), "v": _column(kind, k)}).select(
        pl.when(pl.col("i") == 0).then(pl.concat_list("v")).otherwise(None).alias("v")
    ),
    "masked structs": lambda kind, k: pl.DataFrame({"i": range(N), "v": _column(kind, k)}).select(
        pl.when(pl.col("i") == 0).then(pl.struct("v")).otherwise(None).alias("v")
    ),
    "masked arrays": lambda kind, k: pl.DataFrame({"i": range(N), "v": _column(kind, k)}).select(
        pl.when(pl.col("i") == 0)
        .then(pl.concat_list("v", "v").list.to_array(WIDTHS.get(kind, 2)))
        .otherwise(None)
        .alias("v")
    ),
}


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("kind", KINDS)
def test_two_tables_that_look_the_same_have_the_same_bytes(kind, maker):
    one, other = MAKERS[maker](kind, 0), MAKERS[maker](kind, 1)
    assert one.equals(other)
    assert _bytes(visible(one)) == _bytes(visible(other))
    assert_frame_equal(visible(one), one)


def test_the_engines_own_writer_would_tell():
    """The reason for `visible`: without it the values under the nulls are in the file."""
    for kind in ("Int64", "String", "Struct"):
        assert _bytes(_masked(kind, 0)) != _bytes(_masked(kind, 1))
    assert b"person-1-00001-secret" in _bytes(_masked("String", 1))


@settings(max_examples=60, deadline=None)
@given(
    shown=st.lists(st.booleans(), min_size=1, max_size=40),
    values=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=80, max_size=80),
    texts=st.lists(st.text(max_size=20), min_size=80, max_size=80),
    cut=st.integers(0, 39),
)
def test_hidden_values_never_matter(shown, values, texts, cut):
    def table(offset):
        n = len(shown)
        frame = pl.DataFrame(
            {
                "shown": shown,
                "i": [values[j + (0 if show else offset)] for j, show in enumerate(shown)],
                "t": [texts[j + (0 if show else offset)] for j, show in enumerate(shown)],
            }
        )
        frame = frame.with_columns(pl.concat_list("t", "t").alias("l"), pl.struct("i", "t").alias("s"))
        mask = pl.when("shown")
        return frame.select(mask.then(pl.col(c)).otherwise(None).alias(c) for c in ("i", "t", "l", "s")).slice(cut % n)

    one, other = table(0), table(40)
    assert one.equals(other)
    assert _bytes(visible(one)) == _bytes(visible(other))


def test_a_table_without_columns_or_rows_stays_one():
    assert visible(pl.DataFrame()).shape == (0, 0)
    empty = pl.DataFrame({"a": [1], "s": ["x"]}).clear()
    assert visible(empty).schema == empty.schema


def test_a_struct_without_fields_is_refused():
    with pytest.raises(pl.exceptions.PolarsError):
        visible(pl.DataFrame({"s": pl.Series([{}, {}], dtype=pl.Struct([]))}))


@pytest.mark.parametrize("rows", [N, 60_000])
def test_a_worker_sends_nothing_hidden(rows, pooling, table):
    """Through the whole way, small answers and large ones: a masked and a cut column."""

    def frame(k):
        return pl.DataFrame(
            {
                "i": range(rows),
                "v": [KINDS["String"](i, 0 if i == 0 else k) for i in range(rows)],
                "b": [i == 0 or k == 1 for i in range(rows)],
            }
        )

    masked = Select(
        Scan("d"),
        (
            Alias(Ternary(Call("eq", (Column("i"), Literal(INT64, 0))), Column("v"), Literal(NULL)), "v"),
            Column("i"),
        ),
    )
    cut = Slice(Select(Scan("d"), (Column("b"), Column("v"))), 0, 1)

    async def scenario(k):
        async with pooling() as pool, await pool.acquire() as lease:
            await lease.bind({"d": table(frame(k))})
            return [bytes(await lease.run(plan)) for plan in (masked, cut)]

    assert asyncio.run(scenario(0)) == asyncio.run(scenario(1))


def test_a_kept_table_is_sent_without_what_it_hides(pooling, table):
    fd = table(pl.DataFrame({"i": range(N), "v": _column("String", 1)}))

    async def scenario():
        async with pooling() as pool, await pool.acquire() as lease:
            await lease.bind({"d": fd})
            plan = Select(
                Scan("d"),
                (Alias(Ternary(Call("eq", (Column("i"), Literal(INT64, 0))), Column("v"), Literal(NULL)), "v"),),
            )
            await lease.run(plan, "#k", ())
            return bytes(await lease.run(Scan("#k"), None, None))

    data = asyncio.run(scenario())
    assert b"person-1" not in data
    assert b"person-0-00000-secret" in data
