"""Every verb of a frame in a cell of the kernel and in one of the magics: the same query as in Python."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest
from fake_session import fake_connection
from frame_chains import SAME, cells

import bastion
from bastion.client.base import OldSpelling
from bastion.language import Environment, evaluate
from bastion_magics.session import Session

TABLES = {
    "people": pl.DataFrame(
        {
            "id": [1, 2, 3],
            "age": [22.0, None, 35.0],
            "class": [3, 1, 1],
            "sex": ["male", "female", None],
            "born": [None, None, None],
            "alive": [False, True, None],
        },
        schema_overrides={"born": pl.Date},
    ),
    "cities": pl.DataFrame({"class": [1, 2], "city": ["Bern", "Oslo"]}),
}
OPENED = 'f = dataset("people")\ng = dataset("cities")'
#: names that Polars had or has elsewhere, and what takes no chain
MORE = {
    "groupby": 'f.groupby("class").agg(pl.len())',
    "with_column": "f.with_column(pl.lit(1))",
    "with_row_count": "f.with_row_count()",
    "reverse": 'f.sort("age", reverse=True)',
    "melt": 'f.melt(id_vars="id", value_vars=["class"])',
    "take_every": "f.take_every(2)",
    "vstack": "f.vstack(f)",
    "hstack": 'f.select("id").hstack(f.select("age"))',
    "clip": 'f.select("age").clip(0, 2)',
    "sample": "f.sample(2, seed=1)",
    "concat": "pl.concat([f, f])",
    "sql": 'f.sql("select class, count(*) as n from self group by class")',
    "columns": "f.select(f.columns[:2])",
    "schema": 'f.select([c for c in f.schema if c != "id"])',
    "dtypes": "f.head(len(f.dtypes))",
    "collect_schema": "f.head(len(f.collect_schema()))",
    "width": "f.head(f.width)",
}


@pytest.fixture(scope="module")
def sdk() -> Iterator[Any]:
    connection = fake_connection(TABLES)
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def kernel() -> Environment:
    env = Environment(fake_connection(TABLES, flavour="async"))
    asyncio.run(evaluate(OPENED, env))
    return env


@pytest.fixture(scope="module")
def magics() -> Iterator[Session]:
    session = Session()
    session.environment.connection = fake_connection(TABLES, flavour="async")
    session.evaluate(OPENED)
    yield session
    session.environment.connection = None
    session.close()


@pytest.mark.parametrize("name", [*SAME, *MORE])
def test_a_cell_makes_the_query_that_python_makes(sdk: Any, kernel: Environment, magics: Session, name: str) -> None:
    code = MORE.get(name) or cells()[name]
    frames = {"f": sdk.dataset("people"), "g": sdk.dataset("cities")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OldSpelling)
        want = eval(code, {"pl": bastion.pl, **frames}) if name in MORE else SAME[name](*frames.values(), bastion.pl)
    assert asyncio.run(evaluate(code, kernel)).value.plan == want.plan
    assert magics.evaluate(code).value.plan == want.plan


def test_describe_in_a_cell(sdk: Any, kernel: Environment) -> None:
    shown = asyncio.run(evaluate("f.describe()", kernel)).value
    assert shown.to_dicts() == sdk.dataset("people").describe().to_dicts()
