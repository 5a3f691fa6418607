"""How much of what a notebook asks is shown: its tables as read from their HTML, counted against the truth by Polars."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import polars as pl
import pytest

K = 10
PEOPLE = "__people"


class Grid(HTMLParser):
    """Collects the cells of the first table of an output, row by row."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._open = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self._open = True
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._open = False

    def handle_data(self, data: str) -> None:
        if self._open:
            self.rows[-1][-1] += data


@dataclass
class Shown:
    """A table as a notebook shows it: names, rows of text, and whether rows were put together."""

    columns: list[str]
    rows: list[dict[str, str]]
    merged: bool


@dataclass
class Run:
    """An executed notebook: the source and the text of each code cell, its tables, and which cells draw a picture.

    errors: of cells that are there to fail. progress: the lines that said how far a cell was, while it ran.
    """

    sources: dict[str, str]
    text: dict[str, str]
    tables: dict[str, Shown]
    pictures: set[str] = field(default_factory=set)
    errors: dict[str, str] = field(default_factory=dict)
    progress: dict[str, list[str]] = field(default_factory=dict)


def truths(
    run: Run, wanted: Mapping[str, tuple[str, ...]], frames: Mapping[str, pl.DataFrame], unit: str | None
) -> dict[str, pl.DataFrame]:
    """Return the tables of `wanted` cells as Polars computes them, each group with the number of its people."""
    people = pl.len() if unit is None else pl.col(unit).n_unique()
    names: dict[str, Any] = {"pl": pl, "connect": lambda: None, "dataset": lambda name: frames[name].lazy()}
    names["sql"] = lambda query: pl.SQLContext(frames).execute(query)
    grouped = type(pl.LazyFrame({"a": []}).group_by("a"))
    plain = grouped.agg

    def agg(self: Any, *given: Any, **named: Any) -> pl.LazyFrame:
        return plain(self, *given, people.alias(PEOPLE), **named)

    found, last = {}, None
    grouped.agg = agg  # type: ignore[method-assign]
    try:
        for cell, source in run.sources.items():
            tree = ast.parse(source)
            before, last = last, tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
            if source == "denied.safe_part()":
                last = before
            exec(compile(tree, cell, "exec"), names)
            if cell in wanted and last is not None:
                found[cell] = eval(compile(ast.Expression(last.value), cell, "eval"), names).collect()
    finally:
        grouped.agg = plain  # type: ignore[method-assign]
    return found


@dataclass
class Share:
    """Cells about at least 10 people: how many there are, and how many are shown as values or in the remainder row."""

    cells: int = 0
    values: int = 0
    remainder: int = 0

    @property
    def released(self) -> float:
        return (self.values + self.remainder) / self.cells

    def __str__(self) -> str:
        return f"{self.values} values + {self.remainder} in remainder rows of {self.cells} cells: {self.released:.1%}"


def count(shown: Shown, truth: pl.DataFrame, keys: tuple[str, ...]) -> Share:
    """Return how much of a true table is shown."""
    share = Share()
    rows: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in shown.rows:
        rows.setdefault(tuple(row[key] for key in keys), []).append(row)
    # the remainder row has the key of missing values where keys are not text: then there are two of them
    rest, own = remainder(truth, keys), {tuple(map(_text, row)) for row in truth.select(keys).rows()}
    has_rest = shown.merged and len(rows.get(rest, ())) > (rest in own)
    for row in truth.iter_rows(named=True):
        if row.get(PEOPLE, row.get("people", K)) < K:
            continue
        mine = rows.get(tuple(_text(row[key]) for key in keys))
        for column in shown.columns:
            if column in keys:
                continue
            share.cells += 1
            if mine is not None:
                share.values += row[column] is None or any(one[column] != "null" for one in mine)
            elif has_rest:
                share.remainder += all(one[column] != "null" for one in rows[rest])
    return share


def remainder(truth: pl.DataFrame, keys: tuple[str, ...]) -> tuple[str, ...]:
    """Return the key of the remainder row."""
    return tuple("(other)" if truth[key].dtype in (pl.String, pl.Categorical) else "null" for key in keys)


def _text(value: object) -> str:
    """Return a value as tables show it."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.6g}"
        case _:
            return str(value)


def total(run: Run, wanted: Mapping[str, tuple[str, ...]], truth: Mapping[str, pl.DataFrame]) -> Share:
    """Return how much of all the tables of a journey is shown, and print it."""
    whole = Share()
    for cell, keys in wanted.items():
        assert cell in run.tables, run.text[cell]
        share = count(run.tables[cell], truth[cell], keys)
        print(f"{cell}: {share}")
        whole.cells += share.cells
        whole.values += share.values
        whole.remainder += share.remainder
    print(f"all: {whole}")
    return whole


def near(run: Run, wanted: Mapping[str, tuple[str, ...]], truth: Mapping[str, pl.DataFrame], *, loose: float) -> int:
    """Check that values shown are those of Polars but for rounding (`loose`, relative); return how many were compared."""
    compared = 0
    for cell, keys in wanted.items():
        true = {tuple(_text(row[key]) for key in keys): row for row in truth[cell].iter_rows(named=True)}
        for row in run.tables[cell].rows:
            key = tuple(row[key] for key in keys)
            twin = None if run.tables[cell].merged and key == remainder(truth[cell], keys) else true.get(key)
            for column in run.tables[cell].columns:
                if twin is None or column in keys or row[column] in ("null", "∅"):
                    continue
                if isinstance(twin[column], int | float):
                    shown = float(row[column].replace(",", ""))
                    least = 0.0 if not loose else 5 if isinstance(twin[column], int) else 0.01
                    close = pytest.approx(float(twin[column]), rel=loose or 1e-5, abs=least)
                    assert shown == close, (cell, column, row)
                else:
                    assert row[column] == str(twin[column]), (cell, row)
                compared += 1
    return compared
