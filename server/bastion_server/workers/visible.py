"""What of a result may be seen: its values, and nothing of what the engine's buffers hold beside them."""

from __future__ import annotations

import io

import polars as pl

SMALL = 2_000  #: cells up to which a table is built anew from its values
_PLAIN = (
    pl.Int8,
    pl.Int16,
    pl.Int32,
    pl.Int64,
    pl.UInt8,
    pl.UInt16,
    pl.UInt32,
    pl.UInt64,
    pl.Float32,
    pl.Float64,
    pl.Boolean,
    pl.String,
)


def visible(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the same table in fresh buffers that hold its values and nothing else.

    An Arrow buffer holds more than the table shows: `when(cell_is_safe).then(value).otherwise(None)` leaves every value
    under its null, a slice of a Boolean column the bits of its neighbours, a list the elements cut off, a string column
    the strings of other rows; and an Arrow IPC file carries all of it to the scientist.

    INVARIANT: the result depends on the visible values of `frame` alone. A small table of plain types is built anew from
    them as Python values, which is quicker; others go through Parquet. Parquet stores nothing under a null and nothing
    outside a list, so what is read back from it cannot depend on anything else.

    Raises:
        pl.exceptions.PolarsError: a struct without fields, which Parquet cannot hold.
    """
    if not frame.width:
        return frame
    if frame.height * frame.width <= SMALL and all(dtype in _PLAIN for dtype in frame.dtypes):
        return pl.DataFrame([pl.Series(s.name, s.to_list(), dtype=s.dtype) for s in frame])
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="uncompressed", statistics=False)
    buffer.seek(0)
    return pl.read_parquet(buffer)
