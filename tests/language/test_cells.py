"""What cells may say, and what they give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as real
import pytest
from bastion_plan.errors import BindError, LanguageError
from bastion_wire.messages import Dataset

from bastion import Denied, pl

Run = Callable[..., Any]


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("1 + 2 * 3", 7),
        ("2 ** 10 // 3 % 7", 2**10 // 3 % 7),
        ("'a' + 'b' * 2", "abb"),
        ("[1, *[2, 3]]", [1, 2, 3]),
        ("{**{'a': 1}, 'b': 2}", {"a": 1, "b": 2}),
        ("{x % 3 for x in range(10)}", {0, 1, 2}),
        (
            "[x * y for x in range(3) for y in range(3) if x != y]",
            [x * y for x in range(3) for y in range(3) if x != y],
        ),
        ("{k: len(k) for k in ['a', 'bb']}", {"a": 1, "bb": 2}),
        ("(1, 2)[-1]", 2),
        ("'abc'[::-1]", "cba"),
        ("1 < 2 < 3", True),
        ("1 < 2 > 5", False),
        ("not [] and 'x' or 3", "x"),
        ("'yes' if 3 in [1, 2, 3] else 'no'", "yes"),
        ("None is None", True),
        ("f'{1.5:>8.2f}|{\"a\"!r}|{[1, 2]}'", "    1.50|'a'|[1, 2]"),
        ("x = y = 3\nx += y\nx", 6),
        ("(a, b), c = (1, 2), 3\na + b + c", 6),
        ("sum(range(5)) + max(1, 2) + min([4, 3]) + round(2.6) + abs(-1)", 10 + 2 + 3 + 3 + 1),
        ("sorted(['b', 'a'], reverse=True)", ["b", "a"]),
        ("list(zip([1, 2], 'ab'))", [(1, "a"), (2, "b")]),
        ("list(enumerate('ab', 1))", [(1, "a"), (2, "b")]),
        ("'a,b'.split(',')", ["a", "b"]),
        ("', '.join(['x', 'y']).upper()", "X, Y"),
        ("d = {'a': 1}\nd.get('b', 2) + d['a']", 3),
        ("t = 0\nfor i in range(5):\n    if i == 3:\n        break\n    t += i\nt", 3),
        ("t = 0\nfor i in [1, 2, 3]:\n    if i == 2:\n        continue\n    t += i\nt", 4),
        ("from datetime import date, timedelta\n(date(2020, 3, 1) - timedelta(days=1)).day", 29),
        ("import datetime as d\nd.datetime(2020, 1, 2, 3).hour", 3),
        ("date.fromisoformat('2020-02-29').month", 2),
        ("int('12') + int(3.9) + float('0.5')", 15.5),
    ],
)
def test_values(run: Run, cell: str, value: Any) -> None:
    result = run(cell)
    assert result.value == value
    assert type(result.value) is type(value)


def test_the_main_job(run: Run) -> None:
    result = run(
        "import polars as pl\ntitanic = dataset('titanic')",
        "titanic.group_by('Pclass').agg(pl.col('Survived').mean()).sort('Pclass').fetch()",
    )
    assert result.kind == "value"
    assert result.value["Survived"].to_list() == [0.5, 1.0, 1 / 3]


def test_a_bare_dataset_gives_its_card_and_a_query_is_marked_to_run(run: Run) -> None:
    card = run("t = dataset('titanic')\nt")
    assert card.kind == "card"
    assert isinstance(card.value, Dataset)
    assert card.value.facts.name == "titanic"
    frame = run("t.select(pl.len())")
    assert frame.kind == "frame"
    assert run("x = 1").kind == "nothing"


def test_nothing_runs_for_a_lazy_frame(run: Run, env: Any) -> None:
    run("t = dataset('titanic')\nt.select(pl.len())")
    from bastion_wire.messages import Query

    assert not [b for b in env.connection._session.sent if isinstance(b, Query)]


def test_expressions_equal_the_builders(run: Run) -> None:
    cell = "pl.when(pl.col('Age') > 18).then(pl.lit('adult')).otherwise(pl.lit('child')).alias('kind')"
    built = pl.when(pl.col("Age") > 18).then(pl.lit("adult")).otherwise(pl.lit("child")).alias("kind")
    assert run(cell).value.plan == built.plan
    assert run("from polars import col\ncol('a').sum()").value.plan == pl.col("a").sum().plan
    assert (
        run("import polars.selectors as cs\ncs.numeric() - cs.by_name('a')").value.plan
        == (pl.selectors.numeric() - pl.selectors.by_name("a")).plan
    )
    assert run("~pl.col('Pclass')").value.plan == (~pl.col("Pclass")).plan
    turned = run("dataset('titanic').group_by(~pl.col('Pclass')).agg(pl.len()).fetch()").value
    assert sorted(turned["Pclass"]) == [-4, -3, -2]
    assert run("pl.col.Age.fill_null(0)").value.plan == pl.col("Age").fill_null(0).plan


def test_loops_over_public_metadata(run: Run) -> None:
    result = run("t = dataset('titanic')\nfor c in t.columns:\n    print(c, t.schema[c])\nlen(t.columns)")
    assert result.printed == "Pclass Int64\nSurvived Int64\nAge Float64\n"
    assert result.value == 3
    frame = run("t.select([pl.col(c).null_count() for c in t.columns if c != 'Pclass']).fetch()").value
    assert frame.columns == ["Survived", "Age"]


def test_sql(run: Run) -> None:
    value = run("sql('select Pclass, count(*) as n from titanic group by Pclass order by Pclass').fetch()").value
    assert value["n"].to_list() == [2, 1, 3]


def test_print_and_display(run: Run) -> None:
    result = run("print('a', 1, sep='-')\ndisplay([1])\n'last'")
    assert (result.printed, result.displayed, result.value) == ("a-1\n", ([1],), "last")


def test_an_older_spelling_is_noted(run: Run) -> None:
    result = run("t = dataset('titanic')\nt.groupby('Pclass').agg(pl.col('Age').mean())")
    assert result.kind == "frame"
    assert "group_by" in result.notes[0]


def test_denied_is_bound_for_the_next_cell(run: Run, env: Any) -> None:
    with pytest.raises(Denied):
        run("t = dataset('titanic')\nt.head(3).fetch()")
    assert env.connection._session.requests == {}
    request = run("r = denied.request('for the report')\nr.state").value
    assert request == "pending"


def test_upload_of_a_small_table_and_a_join_with_it(run: Run) -> None:
    assert run("upload({'a': [1, 2]}, name='mine')").kind == "card"
    value = run(
        "connection.frame({'Pclass': [1], 'w': [2]}).join(dataset('titanic'), on='Pclass').select(pl.len()).fetch()"
    ).value
    assert value.item() == 2


def test_lines_that_are_not_python(run: Run) -> None:
    assert "alice" in run("%whoami").value
    assert run("x = 5", "x?").kind == "text"
    assert "5" in run("?x").value
    assert run("pl.col?").value.startswith("pl.col")
    assert "group_by" in run("t = dataset('titanic').select('Age')", "t??").value
    assert "x = 5" in run("%history").value
    mixed = run("y = 6\n%whoami\ny?")
    assert "6" in mixed.value
    assert run("%requests").value == "There are no requests."
    with pytest.raises(LanguageError, match="Did you mean 'whoami'"):
        run("%whoam")


def test_errors_of_the_sdk_keep_their_code_and_get_a_position(run: Run) -> None:
    with pytest.raises(BindError, match="Did you mean 'Pclass'") as caught:
        run("t = dataset('titanic')\n\nt.select(pl.col('Pclas'))")
    assert caught.value.details["line"] == 3
    with pytest.raises(LanguageError, match="Did you mean 'mean'"):
        run("pl.col('a').meen()")
    with pytest.raises(LanguageError, match="does not fit"):
        run("dataset('titanic').head(rows=3)")


def test_a_python_function_is_refused_by_name(run: Run) -> None:
    with pytest.raises(LanguageError, match="map_elements runs a Python function") as caught:
        run("pl.col('a').map_elements(len)")
    assert caught.value.code == "language.udf"


def test_a_fetched_table_can_be_read(run: Run) -> None:
    run("r = dataset('titanic').group_by('Pclass').len().sort('Pclass').fetch()")
    assert run("r.height, r.columns, r['len'].to_list(), r['len'].sum(), r[0, 'len'], len(r)").value == (
        3, ["Pclass", "len"], [2, 1, 3], 6, 2, 3,
    )  # fmt: skip
    assert isinstance(run("r.head(1)").value, real.DataFrame)


def test_interrupting_a_cell_ends_it(env: Any) -> None:
    import asyncio

    from bastion.language import evaluate

    async def work() -> None:
        task = asyncio.ensure_future(evaluate("t = 0\nfor i in range(9000):\n    t += i\n", env))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(work())
