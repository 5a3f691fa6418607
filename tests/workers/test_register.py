"""What is measured of an uploaded table, what its canonical form is, and what is refused."""

from __future__ import annotations

import asyncio
import datetime as dt
import io
import os
import random
from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from bastion_plan.dtypes import BOOLEAN, DATE, FLOAT64, INT64, STRING, DType, list_of
from bastion_plan.errors import BastionError, InputError, ServerError
from bastion_policy.facts import ColumnMeasures, PrivateFacts
from bastion_server.workers import memfd

FRAME = pl.DataFrame(
    {
        "person": [1, 1, 2, 3, 3, 3],
        "v": [1.5, float("nan"), None, float("inf"), -2.0, -2.0],
        "n": [5, None, None, 7, 7, -1],
        "s": ["a", "b", "b", None, "", "é"],
        "b": [True, False, None, True, True, True],
        "day": [dt.date(2020, 1, 1)] * 6,
        "l": [[1], [], None, [1], [2, 3], [None]],
    }
)
FACTS = PrivateFacts(
    rows=6,
    units=3,
    max_rows_per_unit=3,
    columns={
        "person": ColumnMeasures(nulls=0, distinct=3, low=1.0, high=3.0),
        "v": ColumnMeasures(nulls=1, distinct=3, low=-2.0, high=float("inf"), has_nan=True),
        "n": ColumnMeasures(nulls=2, distinct=3, low=-1.0, high=7.0),
        "s": ColumnMeasures(nulls=1, distinct=4),
        "b": ColumnMeasures(nulls=1, distinct=2),
        "day": ColumnMeasures(nulls=0, distinct=1),
        "l": ColumnMeasures(nulls=1, distinct=4),
    },
)


def _file(frame, compression="uncompressed"):
    buffer = io.BytesIO()
    frame.write_ipc(buffer, compression=compression)
    return buffer.getvalue()


def _stream(frame, compression="uncompressed"):
    buffer = io.BytesIO()
    frame.write_ipc_stream(buffer, compression=compression)
    return buffer.getvalue()


def _register(pooling, data, unit=None, **limits):
    """Return (registration, its table), or raise."""

    async def scenario():
        upload = memfd.sealed(data)
        try:
            async with pooling(**limits) as pool, await pool.acquire() as lease:
                registration = await lease.register(upload, unit)
                try:
                    assert memfd.is_sealed(registration.file)
                    assert registration.size == os.fstat(registration.file).st_size
                    return registration, bytes(memfd.read(registration.file, registration.size))
                finally:
                    os.close(registration.file)
        finally:
            os.close(upload)

    return asyncio.run(scenario())


@pytest.mark.parametrize(
    "data",
    [
        _file(FRAME),
        _file(FRAME, "lz4"),
        _file(FRAME, "zstd"),
        _stream(FRAME),
        _stream(FRAME, "zstd"),
        _file(pl.concat([FRAME[:2], FRAME[2:]], rechunk=False)),
    ],
    ids=["file", "lz4", "zstd", "stream", "zstd stream", "chunks"],
)
def test_every_form_of_upload_gives_the_same_facts_and_bytes(data, pooling):
    registration, canonical = _register(pooling, data, "person")
    assert registration.facts == FACTS
    assert registration.schema == {
        "person": INT64, "v": FLOAT64, "n": INT64, "s": STRING, "b": BOOLEAN, "day": DATE, "l": list_of(INT64),
    }  # fmt: skip
    assert pl.read_ipc(canonical).equals(FRAME)


def test_a_registered_table_is_bound_as_it_is(pooling):
    from bastion_plan.nodes import Scan

    async def scenario():
        upload = memfd.sealed(_stream(FRAME, "lz4"))
        async with pooling() as pool:
            async with await pool.acquire() as lease:
                registration = await lease.register(upload)
            async with await pool.acquire() as lease:
                await lease.bind({"d": registration.file})
                answer = await lease.run(Scan("d"))
        os.close(upload)
        os.close(registration.file)
        return registration.facts, answer

    facts, answer = asyncio.run(scenario())
    assert (facts.units, facts.max_rows_per_unit) == (6, 1)
    assert pl.read_ipc(bytes(answer)).equals(FRAME)


def test_an_empty_table_is_a_table(pooling):
    registration, canonical = _register(pooling, _file(FRAME.clear()), "person")
    assert (registration.facts.rows, registration.facts.units, registration.facts.max_rows_per_unit) == (0, 0, 1)
    assert registration.facts.columns["v"] == ColumnMeasures(nulls=0, distinct=0)
    assert pl.read_ipc(canonical).schema == FRAME.schema


def test_types_keep_their_parameters(pooling):
    frame = pl.DataFrame(
        {
            "t": [dt.datetime(2020, 1, 1)],
            "e": ["x"],
            "k": ["x"],
            "m": [Decimal("1.25")],
            "r": [{"a": 1, "b": "x"}],
            "x": [b"a"],
        },
        schema_overrides={"e": pl.Enum(["x", "y"]), "k": pl.Categorical, "m": pl.Decimal(10, 2)},
    ).with_columns(pl.col("t").dt.replace_time_zone("Europe/Paris").alias("z"), pl.lit(None).alias("null"))
    registration, canonical = _register(pooling, _file(frame, "zstd"))
    assert registration.schema["e"] == DType("Enum", categories=("x", "y"))
    assert registration.schema["z"] == DType("Datetime", unit="us", zone="Europe/Paris")
    assert registration.schema["m"] == DType("Decimal", precision=10, scale=2)
    assert registration.facts.columns["m"] == ColumnMeasures(nulls=0, distinct=1, low=1.25, high=1.25)
    assert registration.facts.columns["null"].nulls == 1
    assert pl.read_ipc(canonical).schema == frame.schema


def _duplicate(write):
    """Two columns of one name: the field's name changed in the bytes of a good upload, of the same length."""
    return write(pl.DataFrame({"aa": [1], "bb": [2]})).replace(b"bb", b"aa")


def _far_off(dtype, sign=1):
    """Dates of which one is beyond the calendar."""
    days = pl.Series("d", [0, sign * 3_000_000]) * (1 if dtype == pl.Date else 86_400_000)
    return (days if dtype in (pl.Date, pl.Datetime("ms")) else days * 1000).cast(dtype).to_frame()


def test_dates_of_the_calendar_are_taken(pooling):
    ends = [dt.datetime(1, 1, 1), None, dt.datetime(9999, 12, 31, 23, 59)]
    frame = pl.DataFrame({"a": ends, "b": [d and d.date() for d in ends]}).with_columns(
        c=pl.col("a").cast(pl.Datetime("ms")), e=pl.col("a").dt.replace_time_zone("Europe/Paris"), f=pl.concat_list("a")
    )
    registration, _ = _register(pooling, _file(frame))
    assert registration.facts.rows == 3


@pytest.mark.parametrize(
    ("data", "unit", "code"),
    [
        (b"", None, "input.upload.format"),
        (b"ARROW1", None, "input.upload.format"),
        (b"a,b\n1,2\n", None, "input.upload.format"),
        (os.urandom(5000), None, "input.upload.format"),
        (_file(FRAME)[:-20], None, "input.upload.format"),
        (_duplicate(_file), None, "input.upload.duplicate"),
        (_duplicate(_stream), None, "input.upload.duplicate"),
        (_file(pl.DataFrame()), None, "input.upload.empty"),
        (_file(pl.DataFrame({"a": [1.0]}).select(pl.col("a").cast(pl.Float16))), None, "input.upload.dtype"),
        (_file(_far_off(pl.Date)), None, "input.upload.date"),
        (_file(_far_off(pl.Datetime("ms"))), None, "input.upload.date"),
        (_file(_far_off(pl.Datetime("us", "Europe/Paris"), -1)), None, "input.upload.date"),
        (_file(_far_off(pl.Date).select(pl.struct(pl.col("d").implode()))), None, "input.upload.date"),
        (_file(FRAME), "nobody", "input.upload.unit"),
        (_file(FRAME), "n", "input.upload.unit_null"),
    ],
    ids=lambda v: "" if isinstance(v, bytes) else str(v),
)
def test_what_cannot_be_used_has_a_fixed_code(data, unit, code, pooling):
    with pytest.raises(InputError) as caught:
        _register(pooling, data, unit)
    assert caught.value.code == code
    assert caught.value.message
    assert caught.value.next_step


def test_damaged_uploads_end_in_a_code_and_harm_nobody(pooling):
    """Flipped bytes in every part of files and streams: an error with a code, or a table; never anything else."""
    whole = [_file(FRAME), _file(FRAME, "zstd"), _stream(FRAME), _stream(FRAME, "lz4")]
    cases = int(os.environ.get("BASTION_FUZZ_CASES", "60"))
    draw = random.Random(7)

    async def scenario():
        codes = []
        async with pooling(seconds=10, memory=800 << 20) as pool:
            for i in range(cases):
                data = bytearray(whole[i % len(whole)])
                for _ in range(draw.choice((1, 1, 2, 8))):
                    data[draw.randrange(len(data))] = draw.randrange(256)
                if i % 7 == 0:
                    del data[draw.randrange(len(data)) :]
                upload = memfd.sealed(bytes(data))
                try:
                    async with await pool.acquire() as lease:
                        registration = await lease.register(upload, draw.choice((None, "person")))
                    os.close(registration.file)
                    codes.append("fine")
                except BastionError as error:
                    codes.append(error.code)
                finally:
                    os.close(upload)
        return codes

    codes = asyncio.run(scenario())
    assert len(codes) == cases
    assert {c for c in codes if not c.startswith("input.upload.")} <= {
        "fine",
        "server.worker.refused",
        "server.worker.crashed",
        "server.worker.memory",
    }


def test_a_bomb_of_an_upload_is_ended(pooling):
    """Zeros compress a thousandfold; what they unpack to counts."""
    bomb = _file(pl.DataFrame({f"c{i}": np.zeros(4_000_000) for i in range(20)}), "zstd")
    assert len(bomb) < 2 << 20
    with pytest.raises(ServerError) as caught:
        _register(pooling, bomb, memory=300 << 20)
    assert caught.value.code == "server.worker.memory"


def test_a_large_upload_may_need_more_than_a_query_may(pooling):
    """The memory of a registration grows with the upload."""
    frame = pl.DataFrame({"v": np.random.default_rng(0).random(12_000_000)})
    registration, _ = _register(pooling, _file(frame), memory=150 << 20)
    assert registration.facts.rows == 12_000_000


def test_categories_of_a_name_of_their_own_become_everybodys(pooling):
    own = pl.Categorical(pl.Categories("own", physical=pl.UInt8))
    plain = pl.Categorical()
    given = {
        "c": (["b", None, "a"], lambda c: c),
        "l": ([["a", None], [], None], pl.List),
        "a": ([["a", None], None, ["b", "a"]], lambda c: pl.Array(c, 2)),
        "aa": ([[["a", None]], None, [["b", "a"]]], lambda c: pl.Array(c, (1, 2))),
        "s": ([{"x": "a", "n": 1}, None, {"x": None, "n": 2}], lambda c: pl.Struct({"x": c, "n": pl.Int8})),
        "ls": ([[{"x": "a"}], None, []], lambda c: pl.List(pl.Struct({"x": c}))),
    }
    frame = pl.DataFrame([pl.Series(name, values, kind(own)) for name, (values, kind) in given.items()])
    wanted = pl.DataFrame([pl.Series(name, values, kind(plain)) for name, (values, kind) in given.items()])
    for write in (_file, _stream):
        registration, canonical = _register(pooling, write(frame))
        table = pl.read_ipc(canonical)
        assert table.schema == wanted.schema
        assert table.to_dicts() == wanted.to_dicts()
        assert registration.facts.columns["c"] == ColumnMeasures(nulls=1, distinct=2)
