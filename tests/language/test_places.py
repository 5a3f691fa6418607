"""The place of an error is the wrong name, call or constant itself."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from bastion_plan.errors import BastionError

from bastion.language import evaluate
from bastion_kernel.errors import describe

CASES = [
    ('t.select("Agee")', '"Agee"'),
    ('t.group_by("Pclas").agg(pl.col("Age").mean())', '"Pclas"'),
    ('t.group_by("Pclass").agg(pl.col("Age").mean(), pl.col("Agee").sum())', '"Agee"'),
    ('t.filter(pl.col("Age") > 1).selec("x").head()', "selec"),
    ('t.filter(pl.col("Agee") > 1)', '"Agee"'),
    ('t.select(pl.col("Age").mea())', "mea"),
    ("t.select(pl.col.Agee)", "Agee"),
    ('t.select(pl.col("Age").sum(foo=1))', "foo"),
    ('t.sort("Age", descnding=True)', "descnding"),
    ("t.head(1).group_by()", "group_by()"),
    ('dataset("titanik")', '"titanik"'),
    ('t.select(pl.col("Age").str.len_chars())', "len_chars"),
    ("1 + (2 * foo)", "foo"),
    ("[x for x in t]", "t"),
    ("for x in t:\n    pass", "t"),
    ("[1, 2, 1/0]", "1/0"),
    ('1 + ("a" + 1) * 2', '"a" + 1'),
    ("[1, 2][5] + 1", "[1, 2][5]"),
    ('t.select(pl.cool("x"))', "cool"),
    ("pl.Int66", "Int66"),
    ("t.Age.sum()", "Age"),
    ('t.select(pl.col("Age").cast(5))', "cast(5)"),
    ('sql("select Agee from titanic")', "Agee"),
    ("x = 1\nprint(1, 2,\n  t.nothing)", "nothing"),
    ('(t.select("Age")\n  .selec("x")\n  .head())', "selec"),
    ('"größer" + t.nothing', "nothing"),
    ('"日本" + 1 if True else t.ü', '"日本" + 1'),
    ("3()", "3()"),
    ('f"größe {1/0}"', "1/0"),
]  # fmt: skip


def failing(run: Any, env: Any, code: str) -> BastionError:
    run('t = dataset("titanic")')
    with pytest.raises(BastionError) as caught:
        asyncio.run(evaluate(code, env))
    return caught.value


@pytest.mark.parametrize(("code", "marked"), CASES)
def test_the_wrong_part_is_marked(run, env, code: str, marked: str):
    error = failing(run, env, code)
    place = error.details
    assert place["line"] == place["end_line"]
    line = code.split("\n")[place["line"] - 1]
    assert line[place["column"] - 1 : place["end_column"] - 1] == marked


def test_the_caret_stands_below_it(run, env):
    code = 'x = 1\nt.select(pl.col("größe"), pl.col("Age").mea())'
    _, _, trace = describe(failing(run, env, code), code)
    assert trace[0][trace[1].index("^") : trace[1].rindex("^") + 1] == "mea"


def test_a_refused_construct_after_other_scripts_is_marked(run, env):
    code = '"größe"; y = lambda: 1'
    place = failing(run, env, code).details
    assert code[place["column"] - 1 : place["end_column"] - 1] == "lambda: 1"


def test_the_column_that_is_missing_keeps_its_name(run, env):
    assert failing(run, env, 't.select("Agee")').details["name"] == "Agee"
