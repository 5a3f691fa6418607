"""Spellings at the edges of the language: real `pl.Expr`, keywords, selectors, SQL functions and set operations."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import polars as real
import polars.selectors as cs
import pytest
from bastion_plan.errors import BastionError
from polars.testing import assert_frame_equal

from bastion import pl, selectors

DF = real.DataFrame(
    {
        "i": [1, 2, 3, 4],
        "j": [4, 3, 2, 1],
        "g": ["a", "a", "b", "b"],
        "s": ["a,b", "éa,bc", None, "xyz"],
        "f": [1.0, float("nan"), float("inf"), None],
        "l": [[1, 2], [3], [], None],
        "d": [date(2024, 1, 31), date(2024, 2, 1), date(2024, 12, 31), None],
        "e": [date(2024, 3, 1), date(2025, 1, 1), date(2025, 1, 1), date(2025, 1, 1)],
        "iso": ["2024-01-31", "2024-02-01", None, "2024-12-31"],
    },
    schema_overrides={"i": real.Int64},
).with_columns(st=real.struct(p="i", q="g"))


@pytest.fixture(scope="module")
def connection() -> Iterator[Any]:
    from fake_session import fake_connection

    odd = real.DataFrame({"ab": [1], "a1": [1], "12": [1], "a b": [1], "ä": [1], "x_y": [1]})
    typed = real.DataFrame(
        {"i": [1], "u": [1], "a": [[1, 2]], "l": [[1]], "s": ["x"]},
        schema={
            "i": real.Int8,
            "u": real.UInt16,
            "a": real.Array(real.Int64, 2),
            "l": real.List(real.Int64),
            "s": real.String,
        },
    )
    made = fake_connection({"t": DF, "odd": odd, "typed": typed})
    yield made
    made.close()


@pytest.mark.parametrize(
    "expr",
    [
        real.concat_list("i", "j"),
        real.concat_list("i", real.lit(0)),
        real.concat_list("l", "i"),
        real.col("l").list.concat("l"),
        real.concat_list(real.col("i") * 2).alias("x"),
    ],
)
def test_real_concat_list(connection: Any, expr: real.Expr) -> None:
    assert_frame_equal(connection.dataset("t").select(expr).fetch(), DF.select(expr))


def test_with_fields_by_keyword(connection: Any) -> None:
    got = connection.dataset("t").select(pl.col("st").struct.with_fields(z=pl.col("i") + 1, w="j"))
    want = DF.select(real.col("st").struct.with_fields(z=real.col("i") + 1, w="j"))
    assert_frame_equal(got.fetch(), want)
    both = pl.col("st").struct.with_fields(pl.col("j"), z=1)
    assert [f.name for f in connection.dataset("t").select(both).schema["st"].fields] == ["p", "q", "j", "z"]


def test_concat_in_the_expression_namespace(connection: Any) -> None:
    frame = connection.dataset("t").select("i")
    assert pl.concat([frame, frame]).fetch().height == 8
    assert "concat" in dir(pl)


@pytest.mark.parametrize(
    "name", ["alpha", "alphanumeric", "digit", "signed_integer", "unsigned_integer", "array", "empty", "object"]
)
@pytest.mark.parametrize("table", ["odd", "typed"])
def test_selectors(connection: Any, name: str, table: str) -> None:
    frame = connection.dataset(table)
    want = list(cs.expand_selector(frame.collect_schema(), getattr(cs, name)()))
    assert frame.drop(~getattr(selectors, name)()).columns == want if want else True
    if not want:
        assert frame.drop(getattr(selectors, name)()).columns == frame.columns


def test_selectors_of_names_with_spaces_and_ascii(connection: Any) -> None:
    odd = connection.dataset("odd")
    assert odd.select(selectors.alpha(ignore_spaces=True)).columns == ["ab", "a b", "ä"]
    assert odd.select(selectors.alpha(ascii_only=True)).columns == ["ab"]
    assert odd.select(selectors.alphanumeric(True, ignore_spaces=True)).columns == ["ab", "a1", "12", "a b"]


def test_all_selectors_of_polars_are_there() -> None:
    missing = [name for name in cs.__all__ if not hasattr(selectors, name)]
    assert missing == ["Selector", "expand_selector", "is_selector"] or set(missing) <= {
        "Selector", "expand_selector", "is_selector", "map",
    }  # fmt: skip


# as DuckDB gives them
SQL = {
    "isnan(f)": [False, True, False, None],
    "isinf(f)": [False, False, True, None],
    "isfinite(f)": [True, False, False, None],
    "string_split(s, ',')": [["a", "b"], ["éa", "bc"], None, ["xyz"]],
    "split_part(s, ',', 2)": ["b", "bc", None, ""],
    "split_part(s, ',', -1)": ["b", "bc", None, "xyz"],
    "lpad(s, 4, '.')": [".a,b", "éa,b", None, ".xyz"],
    "rpad(s, 4, '.')": ["a,b.", "éa,b", None, "xyz."],
    "strpos(s, ',')": [2, 3, None, 0],
    "position('b' in s)": [3, 4, None, 0],
    "instr(s, 'z')": [0, 0, None, 3],
    "strftime(d, '%d.%m.%Y')": ["31.01.2024", "01.02.2024", "31.12.2024", None],
    "strptime(iso, '%Y-%m-%d')": ["2024-01-31 00:00:00", "2024-02-01 00:00:00", None, "2024-12-31 00:00:00"],
    "dayofweek(d)": [3, 4, 2, None],
    "date_diff('day', d, e)": [30, 335, 1, None],
    "date_diff('month', d, e)": [2, 11, 1, None],
    "date_diff('year', d, e)": [0, 1, 1, None],
    "list_contains(l, 3)": [False, True, False, None],
    "regexp_extract(s, '([a-z]),([a-z])', 2)": ["b", "b", None, ""],
    "st.p": [1, 2, 3, 4],
    "make_date(2024, i, 1)": ["2024-01-01", "2024-02-01", "2024-03-01", "2024-04-01"],
    "epoch(d)": [1706659200.0, 1706745600.0, 1735603200.0, None],
    "initcap(g)": ["A", "A", "B", "B"],
    "xor(i > 2, j > 3)": [True, False, True, True],
    "t.st.q": None,
    "round(pi(), 2)": [3.14] * 4,
    "rank() over (order by i desc)": [4, 3, 2, 1],
    "row_number() over (partition by g order by i)": [1, 2, 1, 2],
    "dense_rank() over (partition by g order by j)": [2, 1, 2, 1],
    "lag(i) over (partition by g order by i)": [None, 1, None, 3],
    "lead(i, 1) over (order by i)": [2, 3, 4, None],
}


@pytest.mark.parametrize("text", [k for k, v in SQL.items() if v is not None])
def test_sql_functions(connection: Any, text: str) -> None:
    got = connection.sql(f"select i, {text} as x from t order by i").fetch()["x"].to_list()
    want = SQL[text]
    assert [str(v) if hasattr(v, "year") else v for v in got] == want


@pytest.mark.parametrize(
    ("text", "want"),
    [("string_agg(g, '-')", "a-a-b-b"), ("product(i)", 24), ("percentile_cont(0.5) within group (order by i)", 2.5)],
)
def test_sql_aggregates(connection: Any, text: str, want: Any) -> None:
    assert connection.sql(f"select {text} as x from t").fetch().item() == want


def test_qualify_and_in_of_a_subquery(connection: Any) -> None:
    first = connection.sql("select i from t qualify row_number() over (partition by g order by i) = 1 order by i")
    assert first.fetch()["i"].to_list() == [1, 3]
    some = connection.sql("select i from t where i in (select i + 2 from t) order by i")
    assert some.fetch()["i"].to_list() == [3, 4]


def test_intersect_and_except(connection: Any) -> None:
    both = "select g from t {} select g from t where i > 2"
    assert connection.sql(both.format("intersect")).fetch()["g"].to_list() == ["b"]
    assert connection.sql(both.format("except")).fetch()["g"].to_list() == ["a"]
    nulls = connection.sql("select s from t where i = 3 intersect select s from t").fetch()
    assert nulls["s"].to_list() == [None]


@pytest.mark.parametrize(
    "query",
    [
        "select i from t except all select j from t",
        "select split_part(s, ',', 0) from t", "select lpad(s, 4, 'ab') from t", "select lpad(s, i, 'a') from t",
        "select date_diff('hour', d, e) from t", "select strpos(s, g) from t", "select lag(i, 1, 0) over (order by i) from t",
        "select sum(i) over (order by i) from t", "select i from t intersect select i, j from t",
        "select i from t group by i qualify count(*) > 1", "select rank() over (order by i, j) from t",
        "select grouping(i) from t", "select entropy(i) from t", "select current_date from t",
    ],
)  # fmt: skip
def test_sql_that_is_refused_says_so(connection: Any, query: str) -> None:
    with pytest.raises(BastionError) as caught:
        connection.sql(query)
    assert caught.value.code.startswith(("input.", "plan."))
