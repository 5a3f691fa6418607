"""Completion and inspection from the language's tables; nothing runs."""

from __future__ import annotations

import asyncio

import polars as pl
import pytest
from fake_session import fake_connection

from bastion.language import Environment, evaluate
from bastion_kernel.completion import complete, inspect_at


@pytest.fixture
def env() -> Environment:
    connection = fake_connection({"people": pl.DataFrame({"age": [1.0], "home town": ["x"]})}, flavour="async")
    made = Environment(connection)
    asyncio.run(evaluate('people = dataset("people")', made))
    return made


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("dat", ["dataset", "datasets", "date", "datetime"]),
        ("peo", ["people"]),
        ("people.group_by_d", ["group_by_dynamic"]),
        ('people.filter(pl.col("age") > 1).with_c', ["with_column", "with_columns"]),
        ('people.group_by("age").ag', ["agg"]),
        ('people.group_by("age").agg(pl.col("age").med', ["median"]),
        ('pl.col("a").str.to_up', ["to_uppercase"]),
        ('pl.col("a").str.to_uppercase().str.len_c', ["len_chars"]),
        ("pl.when(True).th", ["then"]),
        ("pl.when(True).then(1).other", ["otherwise"]),
        ('people.select("ho', ["home town"]),
        ('dataset("p', ["people"]),
        ("%re", ["requests"]),
        ("x = [1]\npeo", ["people"]),
        ("people.fetch().", []),
        ("nothing.", []),
        ("().__cl", []),
        ("people._c", []),
    ],
)
def test_completion(env, code, expected):
    matches, start, end, kinds = complete(env, code, len(code))
    assert matches == expected
    assert end == len(code)
    assert len(kinds) == len(matches)
    assert all(m.startswith(code[start:end]) for m in matches)


def test_nothing_that_is_offered_begins_with_an_underscore(env):
    for code in ("", "people.", 'pl.col("a").', "pl.", "connection.", 'people.group_by("age").', "[1]."):
        matches, *_ = complete(env, code, len(code))
        assert not [m for m in matches if m.startswith("_")]


def test_completion_asks_the_server_nothing(env):
    before = len(env.connection._session.sent)
    for code in ("people.head(5).fet", "people.delete().", "connection.", 'dataset("', "people.fetch()."):
        complete(env, code, len(code))
        inspect_at(env, code, len(code))
    assert len(env.connection._session.sent) == before


@pytest.mark.parametrize(
    ("code", "cursor", "words"),
    [
        ("pl.col", 6, "pl.col("),
        ("pl.col(", 7, "pl.col("),
        ("people.group_by", 15, "group_by"),
        ('pl.col("a").mean', 14, "Mean of the values"),
        ("people", 3, "age"),
        ("unknown", 3, ""),
        ("1 + 1", 5, ""),
        ("", 0, ""),
    ],
)
def test_inspection(env, code, cursor, words):
    found = inspect_at(env, code, cursor)
    assert words in found
    assert bool(words) == bool(found)
