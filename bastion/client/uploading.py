"""A table out of the bytes of a file, for uploads that come from a browser: no file is opened."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Callable
from pathlib import PurePath

import polars as pl
from bastion_plan.errors import InputError

from bastion.client.text_tables import read_text

ENDINGS = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet", ".arrow", ".feather", ".ipc", ".arrows")
#: bytes that a packed file may have when it is unpacked: as many as one that is not packed
MAX_UNPACKED = 512 << 20
_STEP = 1 << 20


def table_from_bytes(name: str, data: bytes, most: int = MAX_UNPACKED) -> pl.DataFrame:
    """Read a table by the ending of its file's name.

    Args:
        name: of the file; only its ending counts.
        data: what is in it.
        most: bytes of a gzipped file, unpacked.

    Raises:
        InputError: input.file: no kind that can be read, or broken; input.file.large: more than `most`; input.file.duplicate, .short and .long as
            `text_tables.read_text`, with the line.
    """
    endings = [ending.lower() for ending in PurePath(name).suffixes[-2:]]
    packed = endings[-1:] == [".gz"] and endings[0] in (".csv", ".tsv")
    ending = endings[0 if packed else -1] if endings else ""
    readers: dict[str, Callable[[io.BytesIO], pl.DataFrame]] = {
        ".csv": lambda b: _text(b), ".tsv": lambda b: _text(b, tabs=True), ".parquet": pl.read_parquet, ".arrow": pl.read_ipc,
        ".feather": pl.read_ipc, ".ipc": pl.read_ipc, ".arrows": pl.read_ipc_stream,
    }  # fmt: skip
    reader = readers.get(ending)
    if reader is None:
        msg = "This is not a kind of file that can be uploaded."
        raise InputError(msg, code="input.file", next_step=f"Use one of {', '.join(ENDINGS)}.")
    try:
        return reader(io.BytesIO(_unpacked(data, most) if packed else data))
    except (pl.exceptions.PolarsError, OSError, EOFError, ValueError, csv.Error, zlib.error) as error:
        msg = "The file cannot be read as a table."
        raise InputError(
            msg, code="input.file", reason=f"{type(error).__name__}.", next_step="Correct it, then upload it again."
        ) from None


def _unpacked(data: bytes, most: int) -> bytes:
    """Return what is in a gzipped file, in steps: a few bytes may stand for any number of them."""
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
        while part := packed.read(_STEP):
            if out.tell() + len(part) > most:
                msg = f"The file is larger than {most >> 20} MiB when it is unpacked."
                raise InputError(msg, code="input.file.large", next_step="Use the command line: bastion upload FILE.")
            out.write(part)
    return out.getvalue()


def _text(data: io.BytesIO, *, tabs: bool = False) -> pl.DataFrame:
    held = data.getvalue()
    return read_text("The file", lambda: io.BytesIO(held), tabs=tabs)
