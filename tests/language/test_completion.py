"""Completion and inspection from the language's tables; nothing runs."""

from __future__ import annotations

import asyncio
import time

import polars as pl
import pytest
from bastion_plan import dtypes as dt
from bastion_policy.facts import ColumnFacts
from bastion_policy.model import Role
from bastion_policy.roles import RoleKind
from fake_session import fake_connection
from hostile import check_text, encodable
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from bastion.language import Environment, evaluate
from bastion.language.completion import complete, inspect_at
from bastion.language.cursor import scan


def made() -> Environment:
    tables = {
        "people": pl.DataFrame({"age": [1.0], "home town": ["x"]}),
        "towns": pl.DataFrame({"town": ["x"], "mayor": ["y"]}),
    }
    connection = fake_connection(tables, flavour="async")
    env = Environment(connection)
    asyncio.run(
        evaluate('people = dataset("people")\nfew = people.select("age")\nxs = [people, "a"]\nd = {"k": people}', env)
    )
    return env


@pytest.fixture
def env() -> Environment:
    return made()


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
        ("nothing.", []),
        ("().__cl", []),
        ("people._c", []),
        ("x = 1  # peo", []),
        # members of lists, subscripts, texts, results
        ("datasets()[0].group_by_d", ["group_by_dynamic"]),
        ("xs[0].group_by_d", ["group_by_dynamic"]),
        ("xs[-1].upp", ["upper"]),
        ('d["k"].group_by_d', ["group_by_dynamic"]),
        ('"a b".split()[0].upp', ["upper"]),
        ("people.columns[0].upp", ["upper"]),
        ("people.fetch().to_d", ["to_dicts"]),
        ('people.fetch()["age"].to_l', ["to_list"]),
        ("requests()[0].may_", ["may_read", "may_run"]),
        ("connection.requests()[0].approve_", ["approve_reading"]),
        ("connection.client.po", ["polars"]),
        ('(pl.col("a") + 1).is_betw', ["is_between"]),
        ("(people\n  .head(5)\n  .group_by_d", ["group_by_dynamic"]),
        ("people.preview().col", ["columns"]),
        ("people.select('age').first().group_by_d", ["group_by_dynamic"]),
        # parameters
        ('people.sort("age", desc', ["descending="]),
        ('people.group_by("age", main', ["maintain_order="]),
        ('pl.col("age").fill_null(strat', ["strategy="]),
        ('people.sort("age", descending=True, desc', []),
        ('people.join(people.select("age", desc', []),
        ('people.select(pl.col("age").sort(desc', ["descending="]),
        ("upload({}, na", ["name="]),
        # f-strings
        ('f"{peo', ["people"]),
        ('f"{people.group_by_d', ["group_by_dynamic"]),
        ('f"{{peo', []),
        ('f"a {people} peo', []),
        # columns, in texts and SQL
        ('people.select(pl.col("a', ["age"]),
        ("people.select(pl.col.a", ["age"]),
        ('dataset("towns").filter(pl.col("t', ["town"]),
        ('few.sort("', ["age"]),
        ('sql("select ag from people', ["people"]),
        ('sql("select to', ["town", "towns"]),
        ('sql("select age from pe', ["people"]),
        ('sql("select age from people where ag', ["age"]),
        ('people.sql("select ag', ["age"]),
        ("sql('''select age\nfrom people\nwhere ag", ["age"]),
    ],
)
def test_completion(env, code, expected):
    matches, start, end, kinds = complete(env, code, len(code))
    assert matches == expected
    assert end == len(code)
    assert len(kinds) == len(matches)
    assert all(m.startswith(code[start:end]) for m in matches)


def test_sql_knows_the_tables_behind_the_cursor(env):
    code = 'sql("select ag from people")'
    assert complete(env, code, code.index(" from")).matches == ["age"]


@pytest.mark.parametrize(
    ("code", "match", "kind"),
    [
        ('people.select("', "age", "Float64"),
        ('people.select("', "home town", "String"),
        ('dataset("', "people", "dataset"),
        ("peo", "people", "dataset"),
        ("fe", "few", "instance"),
        ("p", "pl", "module"),
        ("pl.", "Float64", "class"),
        ("pl.", "col", "function"),
        ("people.", "columns", "instance"),
        ("people.", "head", "function"),
        ("people.head().", "columns", "instance"),
        ("people.sort(", "descending=", "param"),
        ("%", "whoami", "magic"),
        ('sql("select * from ', "people", "dataset"),
        ('sql("select ', "home", ""),
    ],
)
def test_what_is_offered_says_what_it_is(env, code, match, kind):
    found = complete(env, code, len(code))
    assert dict(zip(found.matches, found.kinds, strict=True)).get(match, "") == kind


def test_parameters_come_before_names(env):
    found = complete(env, "people.sort(", 12)
    assert found.matches[0] == "by="
    assert found.matches.index("maintain_order=") < found.matches.index("people")


def test_the_frame_at_hand_comes_first(env):
    asyncio.run(evaluate('towns = dataset("towns")', env))
    assert complete(env, 'people; towns.select("', 22).matches == ["town", "mayor", "age", "home town"]


def test_hidden_columns_are_marked(env):
    card = env.connection._datasets["ds-towns"]
    columns = (*card.facts.columns, ColumnFacts("secret", dt.STRING, Role(RoleKind.HIDDEN)))
    env.connection._datasets["ds-towns"] = structs.replace(card, facts=structs.replace(card.facts, columns=columns))
    found = complete(env, 'dataset("towns").select("', 25)
    assert dict(zip(found.matches, found.kinds, strict=True))["secret"] == "hidden"


@given(encodable(3), st.sampled_from("\"'"))
def test_hostile_names_are_written_so_that_they_are_read_back(name: str, quote: str):
    connection = fake_connection(
        {"t": pl.DataFrame({name: [1], "b": [2]}) if name != "b" else pl.DataFrame({"b": [1]})}, flavour="async"
    )
    env = Environment(connection)
    code = f'dataset("t").select({quote}'
    found = complete(env, code, len(code))
    check_text("".join(found.matches), lines=False)
    assert eval(f"{quote}{found.matches[0]}{quote}") == name


@given(st.text(st.sampled_from("abf'\"{}[]()., \n#\\\u00e9\U0001f600=peol"), max_size=40))
def test_no_text_makes_it_fail(code: str):
    env = made()
    for cursor in {0, len(code) // 2, len(code)}:
        found = complete(env, code, cursor)
        assert 0 <= found.start <= found.end == cursor
        inspect_at(env, code, cursor)


def test_long_cells_are_completed_at_once(env):
    code = "x = people.select(pl.col('age').mean())\n" * 500 + "people.select(pl.col('"
    start = time.perf_counter()
    assert complete(env, code, len(code)).matches
    assert time.perf_counter() - start < 0.5


def test_scanning_knows_texts_and_brackets():
    opened = [o.kind for o in scan('f(a, [1, \'x]\', {"""b').opened]
    assert opened == ["(", "[", "{", "text"]
    assert scan("x # f(").comment
    assert scan("'unfinished\nf(").opened[-1].kind == "("
    assert scan('f"{a(').opened[-1].kind == "("
    assert [o.kind for o in scan('f"{a" + (').opened] == ["("]


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
        ('pl.col("age").fill_null(0, strat', 31, "fill_null("),
        ('pl.col("age").fill_null(0, ', 26, "fill_null("),
        ('pl.col("age").fill_null(\n  value=0,\n', 36, "fill_null("),
        ('people.select(pl.col("age").mean(), 1)', 36, "select("),
        ('people.select(pl.col("age").mean(), 1)', 23, "pl.col("),
        ('people.select("age")', 17, "select("),
        ('few.sort("age", descending=True)', 22, "sort("),
        ('pl.col("age").fill_null(strategy="for', 37, "fill_null("),
        ("xs[0]", 1, "["),
        ('f"{people.head}"', 12, "head("),
        ("# pl.col(", 9, ""),
        ("1 + 1", 5, ""),
        ("", 0, ""),
    ],
)
def test_inspection(env, code, cursor, words):
    found = inspect_at(env, code, cursor)
    assert words in found
    assert bool(words) == bool(found)


def test_inspection_of_a_query_names_datasets(env):
    text = inspect_at(env, "few", 2)
    assert "people.age" in text
    assert "ds-people" not in text


def test_help_begins_with_what_one_does_first() -> None:
    from bastion.language.inspection import overview

    lines = overview(Environment()).splitlines()
    assert lines[2] == "Start with"
    assert lines[3].split() == ["connect()", "as", "your", "profile", "says,", "or", "with", "an", "invitation"]
    assert max(map(len, lines)) <= 90
    python = lines[lines.index("As in Python") + 1]
    assert "enumerate" in python
    assert "connect" not in python
