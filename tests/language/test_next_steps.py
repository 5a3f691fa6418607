"""The mistakes of a first hour: what the error says to write instead is what passes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bastion_plan.errors import BastionError

from bastion import Identity
from bastion.language import Environment, evaluate

Run = Callable[..., Any]

MISTAKES = {
    "a text in then()": (
        't.select(pl.when(pl.col("Age") < 18).then("child").otherwise(pl.lit("x")))',
        "pl.lit('child')",
    ),
    "no parentheses": ('t.filter(pl.col("Age") > 30 & pl.col("Pclass") == 1)', "in parentheses, (a > 1) & (b == 2)"),
    "pandas' agg": ('t.group_by("Pclass").agg({"Age": "mean"})', "Write .agg(pl.col("),
    "the wrong column of several": ('dataset("ports").select(pl.all().mean())', "Cast 'port'"),
    "a date that is text": ('dataset("ports").select(pl.col("port").dt.year())', '.str.to_date("%Y-%m-%d")'),
    "a number in quotes": ('t.filter(pl.col("Age") > "30")', "without quotes"),
    "a column as an attribute": ("t.Age.mean()", 'Write pl.col("Age"), or frame["Age"]'),
    "a column in other letters": ("t.age", 'Did you mean pl.col("Age")?'),
    "a method of columns": ('t["Age"].value_counts()', '.select(pl.col("Age").value_counts())'),
    "a namespace of columns": ("t.str", ".select(pl.col(…).str.…)"),
    "pandas' rows": ("t.loc", ".filter("),
    "a frame as a condition": ('t.filter(t["Age"] > 30)', "pl.col(…) > …"),
    "a type of numbers": ('t.select(pl.col("Age").cast(pl.Integer))', "pl.Int64"),
    "a column of groups": ('t.group_by("Pclass").mean("Age")', '.agg(pl.col("Age").mean())'),
    "columns of groups": ('t.group_by("Pclass")[["Age"]].mean()', '.agg(pl.col("Age").mean())'),
    "a column of a frame": ('t.quantile("Age", 0.5)', '.select(pl.col("Age").quantile(0.5))'),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_told_what_to_write(run: Run, case: str) -> None:
    cell, said = MISTAKES[case]
    with pytest.raises(BastionError) as caught:
        run('t = dataset("titanic")', cell)
    assert said in str(caught.value)


MARKED = {
    "two columns of a name": ('t.select("Age", "Pclass", "Age")', '"Age"', 2),
    "an alias of a name": ('t.select(pl.col("Age"), pl.len().alias("Age"))', '"Age"', 2),
    "a keyword of a name": ('t.select("Age", Age=pl.len())', "Age", 2),
    "a comparison": ('t.filter(pl.col("Pclass") == 1, pl.col("Age") > "30")', 'pl.col("Age") > "30"', 1),
    "within an aggregate": (
        't.group_by("Pclass").agg((pl.col("Age") + "x").mean())',
        'pl.col("Age") + "x"',
        1,
    ),
}


@pytest.mark.parametrize("case", MARKED)
def test_the_mark_of_a_mistake_is_as_narrow_as_the_mistake(run: Run, case: str) -> None:
    cell, part, count = MARKED[case]
    with pytest.raises(BastionError) as caught:
        run('t = dataset("titanic")', cell)
    start, end = caught.value.details["column"] - 1, caught.value.details["end_column"] - 1
    assert cell[start:end] == part
    assert cell[:end].count(part) == count


def test_a_condition_that_lost_its_column_is_noted(run: Run) -> None:
    (note,) = run('t = dataset("titanic")', 't.filter("Pclass" == "male").select(pl.len())').notes
    assert "False for every row" in note
    assert 'pl.col("Sex") == "male"' in note
    assert not run('t = dataset("titanic")', 't.filter(pl.col("Pclass") == 1).select(pl.len())').notes


ADVICE = {
    "a date without its format": (
        'dataset("ports").select(pl.col("port").str.to_date().min())',
        '.str.to_date("%d/%m/%Y")',
    ),
    "order": ('t.select(pl.col("Age").forward_fill().mean())', "Aggregate first"),
    "unique rows by some columns": ('t.unique("Pclass")', ".select(...).unique()"),
}


@pytest.mark.parametrize("case", ADVICE)
def test_a_denial_says_what_would_pass(run: Run, case: str) -> None:
    cell, said = ADVICE[case]
    assert said in str(run('t = dataset("titanic")', f"print({cell}.explain())", f"{cell}.explain()"))


def test_an_identity_without_a_key_says_where_keys_are_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BASTION_KEYS", str(tmp_path))
    Identity.create("alice", tmp_path)
    with pytest.raises(BastionError) as caught:
        asyncio.run(evaluate('connect("tcp://127.0.0.1:9", identity="alise")', Environment()))
    assert caught.value.code == "input.key-file"
    assert str(tmp_path) in caught.value.reason
    assert "Did you mean 'alice'?" in caught.value.next_step
    assert "bastion keys create alise" in caught.value.next_step


ABROAD = {
    "a dataset by its name": ("titanic.head()", "There is a dataset 'titanic': titanic = dataset(\"titanic\")."),
    "a column by its name": ("t.filter(Age > 30)", 'A column is pl.col("Age"), or "Age" in quotes.'),
    "after a statement": ("a = 5\nb = nosuch", "Assign it first. Nothing of this cell has run."),
    "matplotlib": ('plt.hist(t["Age"])', 'frame.plot.hist("Age")'),
    "a plot by axes": ('t.plot(x="Age", y="Fare")', "Write .plot.scatter("),
    "a plot of Altair": ('t.plot.point("Age", "Fare")', 'Write .plot.scatter("Age", "Fare").'),
    "how many nulls": ("t.isnull()", "Write .null_count()"),
    "a look at a frame": ("t.glimpse()", ".schema, .describe(), or .preview()"),
    "a file of a frame": ('t.write_csv("x.csv")', "'Copy as … CSV' below the table"),
    "a file of a table": ('t.select(pl.len()).fetch().write_csv("x.csv")', "after the aggregate everything is free"),
    "a filter of a table": ('t.select(pl.len()).fetch().filter(pl.col("len") > 1)', "%%bastion --as NAME"),
    "a plot of a table": ("t.select(pl.len()).fetch().plot", "Go on with the frame instead of its fetched table"),
}


@pytest.mark.parametrize("case", ABROAD)
def test_habits_from_elsewhere_are_told_what_to_write(run: Run, case: str) -> None:
    cell, said = ABROAD[case]
    with pytest.raises(BastionError) as caught:
        run('t = dataset("titanic")', cell)
    assert said in str(caught.value)


def test_the_first_statement_needs_no_word_that_nothing_has_run(run: Run) -> None:
    with pytest.raises(BastionError) as caught:
        run("b = nosuch\na = 5")
    assert "has run" not in str(caught.value)


def test_a_variable_of_the_notebook_is_none_of_the_cell(env: Environment, run: Run) -> None:
    env.outside = {"limit": 30}.__contains__
    with pytest.raises(BastionError, match="cells do not see the notebook's variables"):
        run('dataset("titanic").filter(pl.col("Age") > limit)')


@pytest.mark.parametrize(
    ("reason", "told"), [("head(3) would show or pick single people's rows.", True), ("It counts.", False)]
)
def test_who_asks_for_rows_is_told_how_made_up_ones_are_seen(
    env: Environment, run: Run, reason: str, told: bool
) -> None:
    from bastion_policy.verdict import Outcome, StaticVerdict
    from bastion_wire.messages import Denial

    from bastion.client.denied import Denied
    from bastion.render.denials import denial_html, denial_text

    plan = run('dataset("titanic").head(3)').value.plan
    denial = Denial("review", "row-level", reason, "Aggregate.", "hash", StaticVerdict(Outcome.REVIEW, ""))
    found = Denied(denial, plan, env.connection)
    line = 'To see how rows look: dataset("titanic").preview() (made up)'
    assert (line in denial_text(found)) is told
    assert ("preview() (made up)" in denial_html(found)) is told
    run('dataset("titanic").preview()')
