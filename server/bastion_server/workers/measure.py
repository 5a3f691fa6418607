"""What is measured of an uploaded table, once, inside a worker: the facts the judge needs, and its canonical form."""

from __future__ import annotations

import datetime as dt
import os
import struct

import msgspec
import polars as pl
from bastion_plan.dtypes import STRING, DType

from bastion_server.engine.dtypes import from_polars, to_polars
from bastion_server.workers.messages import Measures, Registered

_FILE_MAGIC = b"ARROW1"
EXACT_ROWS = 1_000_000  #: rows up to which distinct values are counted exactly
FEW = 64  #: distinct values up to which they are counted exactly in any table
#: days since 1970 between which all dates of the years 1 to 9999 lie, in any zone
_FIRST, _LAST = (dt.date.min - dt.date(1970, 1, 1)).days - 1, (dt.date.max - dt.date(1970, 1, 1)).days + 1
#: a day in the units of a Datetime
_DAY = {"ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
#: bytes in which the schema of a usable table lies
_HEAD = 4 << 20


class Unusable(Exception):
    """The upload cannot be used. reason: a word of errors.py."""

    def __init__(self, reason: str, text: str = "") -> None:
        self.reason = reason
        super().__init__(text)


def register(upload: int, file: int, unit: str | None) -> Registered:
    """Read an uploaded table, measure it, and write its canonical form.

    Args:
        upload: descriptor of a memory file with an Arrow IPC file or stream, compressed or not.
        file: descriptor of an empty memory file, for the canonical form: one uncompressed Arrow IPC file written by us,
            so that no query ever reads an uploader's bytes.
        unit: column of the privacy unit.

    Raises:
        Unusable: with a reason of errors.py.
    """
    frame = _read(upload)
    if not frame.width:
        raise Unusable("empty")
    schema = []
    for name, dtype in frame.schema.items():
        try:
            schema.append((name, from_polars(dtype)))
        except Exception as error:  # noqa: BLE001 - whatever the reason, the type is not one of the plan's
            raise Unusable("dtype", f"{name}: {error}") from None
    if not all(map(_in_calendar, frame)):
        raise Unusable("date")
    frame = _as_planned(frame, dict(schema))
    units, most = _units(frame, unit)
    measures = tuple(_measure(column) for column in frame)
    with open(file, "wb", buffering=0, closefd=False) as out:
        frame.write_ipc(out, compression="uncompressed")
    return Registered(os.fstat(file).st_size, frame.height, units, most, tuple(schema), measures)


def _read(upload: int) -> pl.DataFrame:
    path = f"/proc/self/fd/{upload}"
    is_file = os.pread(upload, len(_FILE_MAGIC), 0) == _FILE_MAGIC
    names = column_names(upload, is_file=is_file)
    # the engine panics on these
    if names is not None and len(set(names)) < len(names):
        raise Unusable("duplicate")
    try:
        if is_file:
            frame = pl.scan_ipc(path, glob=False, hive_partitioning=False).collect()
        else:
            # a description of its own: the server's has a position
            with open(path, "rb") as stream:
                frame = pl.read_ipc_stream(stream)
    except MemoryError:
        raise
    except BaseException as error:  # noqa: BLE001 - the reader panics on some malformed input
        raise Unusable("format", f"{type(error).__name__}: {error}"[:4000]) from None
    return frame.rechunk()


def _as_planned(frame: pl.DataFrame, schema: dict[str, DType]) -> pl.DataFrame:
    """Return the table with each column as exactly the engine's type of its plan's type.

    INVARIANT: plans know one kind of categories, those of everybody. A column of named ones, or of few bits, could not be
    compared or joined with another, nor with the engine's own rows, so its queries would fail.
    """
    odd = {name: kind for name, kind in schema.items() if frame.schema[name] != to_polars(kind)}
    try:
        # by way of texts: an Array cannot be brought from one kind of categories to another
        texts = frame.cast({name: to_polars(_texts(kind)) for name, kind in odd.items()})
        return texts.cast({name: to_polars(kind) for name, kind in odd.items()})
    except MemoryError:
        raise
    except BaseException as error:  # noqa: BLE001 - as in _read
        raise Unusable("dtype", f"{', '.join(odd)}: {type(error).__name__}: {error}"[:4000]) from None


def _texts(dtype: DType) -> DType:
    """Return a type with texts in place of categories."""
    if dtype.kind == "Categorical":
        return STRING
    inner = None if dtype.inner is None else _texts(dtype.inner)
    return msgspec.structs.replace(dtype, inner=inner, fields=tuple((n, _texts(f)) for n, f in dtype.fields))


def column_names(upload: int, *, is_file: bool) -> list[bytes] | None:
    """Return the column names in the schema of an Arrow IPC file or stream, None where they cannot be found.

    Format: arrow.apache.org/docs/format/Columnar.html, and of Message.fbs, File.fbs and Schema.fbs no more than the way
    to a name: Message.header (slot 2) or Footer.schema (slot 1) -> Schema.fields (slot 1) -> Field.name (slot 0).
    """
    try:
        if is_file:
            end = os.fstat(upload).st_size - len(_FILE_MAGIC) - 4
            (length,) = struct.unpack("<I", os.pread(upload, 4, end))
            data = os.pread(upload, min(length, _HEAD), max(end - length, 0))
            schema = _follow(data, _slot(data, _follow(data, 0), 1))
        else:
            mark, _ = struct.unpack("<Ii", os.pread(upload, 8, 0))
            if mark != 0xFFFF_FFFF:
                return None
            data = os.pread(upload, _HEAD, 8)
            schema = _follow(data, _slot(data, _follow(data, 0), 2))
        vector = _follow(data, _slot(data, schema, 1))
        (count,) = struct.unpack_from("<I", data, vector)
        names = []
        for i in range(count):
            name = _follow(data, _slot(data, _follow(data, vector + 4 + 4 * i), 0))
            (length,) = struct.unpack_from("<I", data, name)
            names.append(data[name + 4 : name + 4 + length])
    except (struct.error, LookupError, OSError):
        return None
    return names


def _follow(data: bytes, at: int) -> int:
    """Where the offset at `at` points."""
    (offset,) = struct.unpack_from("<I", data, at)
    return at + int(offset)


def _slot(data: bytes, table: int, number: int) -> int:
    """Position of a table's field."""
    (back,) = struct.unpack_from("<i", data, table)
    (size,) = struct.unpack_from("<H", data, table - back)
    if 4 + 2 * number >= size:
        msg = "the table has no such field"
        raise LookupError(msg)
    (offset,) = struct.unpack_from("<H", data, table - back + 4 + 2 * number)
    if not offset:
        msg = "the table has no such field"
        raise LookupError(msg)
    return table + int(offset)


def _units(frame: pl.DataFrame, unit: str | None) -> tuple[int, int]:
    """Return (units, most rows of one unit)."""
    if unit is None:
        return frame.height, 1
    if unit not in frame.columns:
        raise Unusable("unit")
    if frame[unit].null_count():
        raise Unusable("unit-null")
    if not frame.height:
        return 0, 1
    if frame[unit].n_unique() == frame.height:  # much quicker than counting rows per unit
        return frame.height, 1
    sizes = frame.lazy().group_by(unit).agg(pl.len().alias("#rows")).select(pl.len(), pl.max("#rows")).collect().row(0)
    return int(sizes[0]), int(sizes[1])


def _distinct(column: pl.Series) -> int:
    """Return how many distinct values there are; of large tables about how many, where they are more than a few."""
    if len(column) > EXACT_ROWS:
        estimate = int(column.to_frame().select(pl.first().approx_n_unique()).item())
        if estimate > FEW:
            return min(estimate, len(column))
    return column.n_unique()


def _in_calendar(column: pl.Series) -> bool:
    """Whether all dates of a column, those in lists and structs too, are of the years 1 to 9999, as Python's.

    INVARIANT: the engine fails at dates far beyond; whether it does would tell of single rows.
    """
    dtype = column.dtype
    if isinstance(dtype, pl.List | pl.Array):
        return _in_calendar(column.explode())
    if isinstance(dtype, pl.Struct):
        return all(map(_in_calendar, column.struct.unnest()))
    if not isinstance(dtype, pl.Date | pl.Datetime):
        return True
    # as whole numbers: beyond the calendar other comparisons fail, too
    day = _DAY[dtype.time_unit] if isinstance(dtype, pl.Datetime) else 1
    numbers = column.to_physical()
    least, most = numbers.min(), numbers.max()
    return least is None or bool(_FIRST * day <= least and most < (_LAST + 1) * day)  # type: ignore[operator]


def _measure(column: pl.Series) -> Measures:
    nulls, has_nan = column.null_count(), False
    if column.dtype.is_float():
        has_nan = bool(column.is_nan().any())
        column = column.fill_nan(None)
    try:
        # INVARIANT: what is missing is no value: yes, no and nothing are two
        distinct = _distinct(column.drop_nulls())
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        # a type the engine cannot compare: as good as all different
        distinct = len(column)
    low = high = None
    if column.dtype.is_numeric():
        least, most = column.min(), column.max()
        low = None if least is None else float(least)  # type: ignore[arg-type]
        high = None if most is None else float(most)  # type: ignore[arg-type]
    return Measures(nulls=nulls, distinct=distinct, low=low, high=high, has_nan=has_nan)
