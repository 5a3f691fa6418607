"""Reading an owner's file as a table."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import Any

import polars as pl
from bastion_plan.errors import InputError

from bastion.client import text_tables


def read_table(file: Path) -> pl.DataFrame:
    """Read a table by the file's ending.

    Raises:
        InputError: input.file, with the place of the first broken row where it is known.
    """
    readers: dict[str, Any] = {
        ".csv": read_text,
        ".tsv": read_text,
        ".gz": read_text,
        ".parquet": pl.read_parquet,
        ".arrow": pl.read_ipc,
        ".feather": pl.read_ipc,
        ".ipc": pl.read_ipc,
        ".arrows": pl.read_ipc_stream,
    }
    reader = readers.get(file.suffix.lower())
    if reader is None:
        msg = f"{file.name} is not a kind of file that can be uploaded."
        raise InputError(
            msg, code="input.file", next_step="Use .csv, .tsv (also .gz), .parquet, .arrow, .feather or .arrows."
        )
    try:
        frame: pl.DataFrame = reader(file)
    except (pl.exceptions.PolarsError, OSError, EOFError, ValueError, csv.Error) as error:
        msg = f"{file.name} cannot be read as a table."
        # the file is the owner's own and this is their terminal: the reader's words stay here
        reason = str(error).splitlines()[0][:300]
        raise InputError(
            msg, code="input.file", reason=reason, next_step="Correct the file, then upload it again."
        ) from None
    return frame


def read_text(file: Path) -> pl.DataFrame:
    """Read CSV or, by its name, TSV, also gzipped, as `text_tables.read_text`."""
    endings = [ending.lower() for ending in file.suffixes]
    opener: Any = gzip.open if endings[-1:] == [".gz"] else open
    return text_tables.read_text(file.name, lambda: opener(file, "rb"), tabs=".tsv" in endings, path=file)
