"""Tables as text (CSV, TSV) that owners upload, and what is odd about a table: the command line and the panel say the same."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO, TextIO

import polars as pl
from bastion_plan.errors import InputError

#: how dates are written that Polars leaves as text
DATES = ("%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%Y/%m/%d", "%Y%m%d")
#: from this share of its values on, a column of text is taken to be meant as something else
MOST = 0.8


def read_text(
    name: str, opened: Callable[[], BinaryIO], *, tabs: bool = False, path: Path | None = None
) -> pl.DataFrame:
    """Read CSV (also with semicolons, as spreadsheets write it) or TSV.

    Args:
        name: of the file, for messages. opened: opens it anew, to read bytes. tabs: whether it is TSV.
        path: of a file on disk, which is read more lightly by its path.

    Raises:
        InputError: input.file, for an empty file and for text that is not UTF-8. input.file.duplicate. (The reader would
            rename the second column, and hiding one would not hide the other.) input.file.short, for a row with too few
            fields (the reader would fill it up with nulls); input.file.long, with too many.
        polars.exceptions.PolarsError: it is no table.
    """
    rows = _Rows(name, opened, tabs=tabs)
    for column in rows.header:
        if rows.header.count(column) > 1:
            msg = f"{name} has two columns called {column!r}."
            raise InputError(msg, code="input.file.duplicate", next_step="Rename one of them, then upload it again.")
    wide = len(rows.header)
    try:
        with nullcontext(path) if path is not None else opened() as source:
            frame = pl.read_csv(source, separator=rows.separator, try_parse_dates=True, infer_schema_length=10_000)
    except pl.exceptions.PolarsError:
        if line := rows.not_utf8():
            msg = f"{name} is not text in UTF-8 in line {line}."
            step = "Save it as UTF-8, for example: iconv -f latin1 -t utf-8 OLD.csv > NEW.csv"
            raise InputError(msg, code="input.file", next_step=step) from None
        if line := rows.first(lambda row: len(row) > wide):
            msg = f"{name} has too many fields in line {line}: the header names {wide} columns."
            step = "Put a field that holds the separator into quotes, then upload the file again."
            raise InputError(msg, code="input.file.long", next_step=step) from None
        raise
    # a short row leaves its last column null
    if frame.width > 1 and frame[:, -1].null_count() and (line := rows.first(lambda row: 0 < len(row) < frame.width)):
        msg = f"{name} has too few fields in line {line}: the header names {frame.width} columns."
        raise InputError(msg, code="input.file.short", next_step="Complete the line, then upload the file again.")
    if wide == frame.width:
        frame.columns = rows.header  # Polars keeps doubled quotes in names as they are
    return frame


class _Rows:
    """A text file by Python's own reader: its separator, its header, and the place of a broken line.

    Raises:
        InputError: input.file, for an empty file.
    """

    def __init__(self, name: str, opened: Callable[[], BinaryIO], *, tabs: bool) -> None:
        self._opened = opened
        with self._text() as text:
            first = text.readline()
            if not first.strip():
                msg = f"{name} is empty, or its first line is."
                raise InputError(msg, code="input.file", next_step="The first line must name the columns.")
            semicolons = ";" in first and "," not in first
            self.separator = "\t" if tabs else ";" if semicolons else ","
        with self._text() as text:
            self.header: list[str] = next(csv.reader(text, delimiter=self.separator))

    def first(self, broken: Callable[[list[str]], bool]) -> int:
        """Return the number of the first line of which `broken(fields)` holds, 0 for none."""
        with self._text() as text:
            rows = csv.reader(text, delimiter=self.separator)
            return next((rows.line_num for row in rows if broken(row)), 0)

    def not_utf8(self) -> int:
        """Return the number of the first line that is not UTF-8, 0 for none."""
        with self._opened() as lines:
            for number, line in enumerate(lines, 1):
                try:
                    line.decode()
                except UnicodeDecodeError:
                    return number
        return 0

    @contextmanager
    def _text(self) -> Iterator[TextIO]:
        with self._opened() as raw:
            yield io.TextIOWrapper(raw, encoding="utf-8-sig", errors="replace", newline="")


def doubts(frame: pl.DataFrame, step: str = "Clean the file, then upload it with --replace.") -> list[str]:
    """Return what an owner should look at in a table, in sentences. No value of it is in them.

    Args:
        step: what to do about text that is meant as something else.
    """
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
                f"{column.name!r} is text, though most of its values are {meant}: as text it can be neither averaged nor "
                f"compared. {step}"
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
