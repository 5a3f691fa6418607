"""The journeys as notebooks, each run against a real server under its policy; and how much of what they ask is released.

The cells of a table are counted against the truth: the same code, run by Polars on the same rows. A cell counts if it is
about at least 10 people. It is shown where its row and value are, or where its row went into the remainder row.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nbformat
import polars as pl
import pytest
from bastion_server import start
from kernel_client import Stage
from nbclient import NotebookClient

from bastion import Connection, Identity
from bastion.client.endpoints import write_profile

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
sys.path.insert(0, str(NOTEBOOKS / "data"))

import samples  # noqa: E402 - lies beside the notebooks

pytestmark = pytest.mark.timeout(300)

K = 10
PEOPLE = "__people"


# ---- the stage --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A server with the tables of all notebooks; alice's profile is in the environment."""
    folder = tmp_path_factory.mktemp("hall")
    olga, alice = (Identity.create(name, folder / "keys") for name in ("olga", "alice"))
    profile = folder / "profile.toml"
    before = os.environ.get("BASTION_PROFILE")
    os.environ["BASTION_PROFILE"] = str(profile)
    with start(folder / "server", owners=[olga], users=[alice]) as server:
        write_profile(server.endpoint, server.server_key, str(folder / "keys" / "alice.key"))
        with Connection(server.endpoint, identity=olga, server_key=server.server_key) as owner:
            samples.send_all(owner)
            yield Stage(server.endpoint, server.server_key, profile, owner, olga)
    if before is None:
        os.environ.pop("BASTION_PROFILE", None)
    else:
        os.environ["BASTION_PROFILE"] = before


# ---- reading what a notebook shows ------------------------------------------------------------------------------------


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
    """An executed notebook: the source and the text of each code cell, and its tables."""

    sources: dict[str, str]
    text: dict[str, str]
    tables: dict[str, Shown]


def execute(name: str, *, kernel: str = "bastionlab", timeout: int = 240) -> Run:
    book = nbformat.read(NOTEBOOKS / name, as_version=4)
    assert not any(cell.get("outputs") for cell in book.cells), "notebooks are kept without outputs"
    NotebookClient(
        book, kernel_name=kernel, timeout=timeout, resources={"metadata": {"path": str(NOTEBOOKS)}}
    ).execute()
    run = Run({}, {}, {})
    for cell in book.cells:
        if cell.cell_type != "code":
            continue
        run.sources[cell.id] = cell.source
        run.text[cell.id] = "\n".join(
            output.text if output.output_type == "stream" else output.get("data", {}).get("text/plain", "")
            for output in cell.outputs
        )
        for output in cell.outputs:
            if output.output_type == "execute_result" and "<table>" in output.data.get("text/html", ""):
                names, _, *rows = Grid(output.data["text/html"]).rows
                merged = "merged: too few people" in output.data["text/plain"]
                run.tables[cell.id] = Shown(names, [dict(zip(names, row, strict=True)) for row in rows], merged)
    return run


# ---- the truth --------------------------------------------------------------------------------------------------------


def truths(
    run: Run, wanted: Mapping[str, tuple[str, ...]], frames: Mapping[str, pl.DataFrame], unit: str | None
) -> dict[str, pl.DataFrame]:
    """Return the tables of `wanted` cells as Polars computes them, each group with the number of its people."""
    people = pl.len() if unit is None else pl.col(unit).n_unique()
    names: dict[str, Any] = {"pl": pl, "connect": lambda: None, "dataset": lambda name: frames[name].lazy()}
    grouped = type(pl.LazyFrame({"a": []}).group_by("a"))
    plain = grouped.agg

    def agg(self: Any, *given: Any, **named: Any) -> pl.LazyFrame:
        return plain(self, *given, people.alias(PEOPLE), **named)

    found = {}
    grouped.agg = agg  # type: ignore[method-assign]
    try:
        for cell, source in run.sources.items():
            tree = ast.parse(source)
            last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
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
    rows = {tuple(row[key] for key in keys): row for row in shown.rows}
    other = tuple("(other)" if truth[key].dtype in (pl.String, pl.Categorical) else "null" for key in keys)
    own_rest = (
        shown.merged and other in rows and other not in {tuple(map(_text, row)) for row in truth.select(keys).rows()}
    )
    for row in truth.iter_rows(named=True):
        if row.get(PEOPLE, K) < K:
            continue
        mine = rows.get(tuple(_text(row[key]) for key in keys))
        for column in shown.columns:
            if column in keys:
                continue
            share.cells += 1
            if mine is not None:
                share.values += row[column] is None or mine[column] != "null"
            elif own_rest:
                share.remainder += rows[other][column] != "null"
    return share


def _text(value: object) -> str:
    return "null" if value is None else str(value)


def total(run: Run, wanted: Mapping[str, tuple[str, ...]], truth: Mapping[str, pl.DataFrame]) -> Share:
    """Return how much of all the tables of a journey is shown, and print it."""
    whole = Share()
    for cell, keys in wanted.items():
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
            twin = true.get(tuple(row[key] for key in keys))
            for column in run.tables[cell].columns:
                if twin is None or column in keys or row[column] == "null":
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


# ---- the journeys -----------------------------------------------------------------------------------------------------

COVID = {
    "covid-missing": (),
    "covid-provinces": ("Province/State",),
    "covid-latest": (),
    "covid-months": ("month",),
    "covid-spellings": ("Country/Region",),
    "covid-countries": ("country",),
    "covid-shares": ("country",),
    "covid-symptoms": ("sex", "symptom_status"),
    "covid-ages": ("age_group",),
    "covid-months-sexes": ("month", "sex"),
    "covid-countries-months": ("country", "month"),
}


@pytest.mark.usefixtures("jupyter", "hall")
def test_covid_under_the_strict_profile():
    run = execute("11-covid.ipynb")
    truth = truths(run, COVID, {"covid": samples.covid()}, "case_id")
    assert total(run, COVID, truth).released >= 0.9
    assert near(run, COVID, truth, loose=0.2) > 100
    assert "rounded to multiples of 5" in run.text["covid-card"]
    assert run.text["covid-schema"] == "Date"
    assert run.tables["covid-latest"].rows == [{"first": "2020-03-01", "latest": "2020-06-30", "days": "120"}]
    assert "sensitive" in run.text["covid-denied-filter"]
    assert "head(3)" in run.text["covid-denied-rows"]
    assert not any(cell.startswith("covid-denied") for cell in run.tables)


FRAUD = {
    "fraud-missing": (),
    "fraud-size": (),
    "fraud-jobs": ("job",),
    "fraud-ages": ("age",),
    "fraud-ages-genders": ("age", "gender"),
    "fraud-hours": ("hour",),
    "fraud-weekdays": ("weekday",),
    "fraud-months": ("month",),
    "fraud-categories": ("category",),
    "fraud-states": ("state", "gender"),
}


@pytest.mark.usefixtures("jupyter", "hall")
def test_fraud_under_the_strict_profile():
    run = execute("12-fraud.ipynb")
    truth = truths(run, FRAUD, {"fraud": samples.fraud()}, "cc_num")
    assert total(run, FRAUD, truth).released >= 0.9
    assert near(run, FRAUD, truth, loose=0.2) > 80
    rates = {row["hour"]: float(row["fraud_rate"]) for row in run.tables["fraud-hours"].rows}
    assert min(rates["22"], rates["0"], rates["2"]) > 2 * max(rates[h] for h in ("6", "12", "18"))
    assert "amt" in run.text["fraud-denied-amounts"]
    assert "sensitive" in run.text["fraud-denied-victims"]
    assert "hidden" in run.text["fraud-denied-hidden"]
    assert not any(cell.startswith("fraud-denied") for cell in run.tables)
