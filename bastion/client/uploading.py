"""A table out of the bytes of a file, for uploads that come from a browser: no file is opened."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import PurePath

import polars as pl
from bastion_plan.errors import InputError

from bastion.client.text_tables import read_text

ENDINGS = (".csv", ".tsv", ".parquet", ".arrow", ".feather", ".ipc", ".arrows")


def table_from_bytes(name: str, data: bytes) -> pl.DataFrame:
    """Read a table by the ending of its file's name.

    Args:
        name: of the file; only its ending counts.
        data: what is in it.

    Raises:
        InputError: input.file: no kind that can be read, or broken; input.file.duplicate, .short and .long as
            `text_tables.read_text`, with the line.
    """
    ending = PurePath(name).suffix.lower()
    readers: dict[str, Callable[[io.BytesIO], pl.DataFrame]] = {
        ".csv": lambda b: _text(b), ".tsv": lambda b: _text(b, tabs=True), ".parquet": pl.read_parquet, ".arrow": pl.read_ipc,
        ".feather": pl.read_ipc, ".ipc": pl.read_ipc, ".arrows": pl.read_ipc_stream,
    }  # fmt: skip
    reader = readers.get(ending)
    if reader is None:
        msg = "This is not a kind of file that can be uploaded."
        raise InputError(msg, code="input.file", next_step=f"Use one of {', '.join(ENDINGS)}.")
    try:
        return reader(io.BytesIO(data))
    except (pl.exceptions.PolarsError, OSError, EOFError, ValueError, csv.Error) as error:
        msg = "The file cannot be read as a table."
        raise InputError(
            msg, code="input.file", reason=f"{type(error).__name__}.", next_step="Correct it, then upload it again."
        ) from None


def _text(data: io.BytesIO, *, tabs: bool = False) -> pl.DataFrame:
    held = data.getvalue()
    return read_text("The file", lambda: io.BytesIO(held), tabs=tabs)
