"""Reading an owner's file as a table, and what is odd about it."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
from bastion_plan.errors import InputError

#: how dates are written that Polars leaves as text
DATES = ("%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%Y/%m/%d", "%Y%m%d")
#: from this share of its values on, a column of text is taken to be meant as something else
MOST = 0.8


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
    """Read CSV (also with semicolons, as spreadsheets write it) or, by its name, TSV, also gzipped.

    Raises:
        InputError: input.file, for an empty file and for text that is not UTF-8. input.file.duplicate. (The reader would
            rename the second column, and hiding one would not hide the other.) input.file.short, for a row with too few
            fields (the reader would fill it up with nulls); input.file.long, with too many.
    """
    rows = _Rows(file)
    for name in rows.header:
        if rows.header.count(name) > 1:
            msg = f"{file.name} has two columns called {name!r}."
            raise InputError(msg, code="input.file.duplicate", next_step="Rename one of them, then upload it again.")
    wide = len(rows.header)
    try:
        frame = pl.read_csv(file, separator=rows.separator, try_parse_dates=True, infer_schema_length=10_000)
    except pl.exceptions.PolarsError:
        if line := rows.not_utf8():
            msg = f"{file.name} is not text in UTF-8 in line {line}."
            step = "Save it as UTF-8, for example: iconv -f latin1 -t utf-8 OLD.csv > NEW.csv"
            raise InputError(msg, code="input.file", next_step=step) from None
        if line := rows.first(lambda row: len(row) > wide):
            msg = f"{file.name} has too many fields in line {line}: the header names {wide} columns."
            step = "Put a field that holds the separator into quotes, then upload the file again."
            raise InputError(msg, code="input.file.long", next_step=step) from None
        raise
    # a short row leaves its last column null
    if frame.width > 1 and frame[:, -1].null_count() and (line := rows.first(lambda row: 0 < len(row) < frame.width)):
        msg = f"{file.name} has too few fields in line {line}: the header names {frame.width} columns."
        raise InputError(msg, code="input.file.short", next_step="Complete the line, then upload the file again.")
    if wide == frame.width:
        frame.columns = rows.header  # Polars keeps doubled quotes in names as they are
    return frame


class _Rows:
    """A text file by Python's own reader: its separator, its header, and the place of a broken line.

    Raises:
        InputError: input.file, for an empty file.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        with self._opened("rt", encoding="utf-8-sig", errors="replace", newline="") as text:
            first = text.readline()
            if not first.strip():
                msg = f"{file.name} is empty, or its first line is."
                raise InputError(msg, code="input.file", next_step="The first line must name the columns.")
            tabs, semicolons = ".tsv" in file.suffixes, ";" in first and "," not in first
            self.separator = "\t" if tabs else ";" if semicolons else ","
            text.seek(0)
            self.header: list[str] = next(csv.reader(text, delimiter=self.separator))

    def first(self, broken: Callable[[list[str]], bool]) -> int:
        """Return the number of the first line of which `broken(fields)` holds, 0 for none."""
        with self._opened("rt", encoding="utf-8-sig", errors="replace", newline="") as text:
            rows = csv.reader(text, delimiter=self.separator)
            return next((rows.line_num for row in rows if broken(row)), 0)

    def not_utf8(self) -> int:
        """Return the number of the first line that is not UTF-8, 0 for none."""
        with self._opened("rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    line.decode()
                except UnicodeDecodeError:
                    return number
        return 0

    def _opened(self, mode: str, **options: Any) -> Any:
        opener: Any = gzip.open if self._file.suffix == ".gz" else open
        return opener(self._file, mode, **options)


def doubts(frame: pl.DataFrame) -> list[str]:
    """Return what an owner should look at in a table, in sentences. No value of it is in them."""
    said = []
    if unnamed := [str(n) for n, name in enumerate(frame.columns, 1) if not name.strip()]:
        said.append(
            f"Column {', '.join(unnamed)} has no name (an index that was written along?): rename it or leave it out."
        )
    if frame.width and all(_is_number(name) for name in frame.columns):
        said.append("All names of columns are numbers: the first line of the file is taken for their names.")
    for column in frame.iter_columns():
        if column.dtype == pl.String and (meant := _meant(column)):
            said.append(
                f"{column.name!r} is text, though most of its values are {meant}: as text it can be neither averaged nor compared. "
                "Clean the file, then upload it with --replace."
            )
    return said


def _meant(column: pl.Series) -> str:
    """Return what the entries of a column of text look like: numbers, dates or nothing in particular."""
    entries = column.drop_nulls().str.strip_chars().head(100_000)
    entries = entries.filter(entries != "")
    if not len(entries):
        return ""
    if entries.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False).count() >= MOST * len(entries):
        return "numbers"
    if max(entries.str.to_date(form, strict=False).count() for form in DATES) >= MOST * len(entries):
        return "dates"
    return ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
