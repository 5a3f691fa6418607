"""Each frame method gives what Polars' LazyFrame gives, on the same rows (no guard in between)."""

from __future__ import annotations

import warnings
from typing import Any

import polars as real
import pytest
from bastion_plan.errors import BastionError, BindError, LimitError
from frame_chains import SAME
from polars.testing import assert_frame_equal

import bastion
from bastion import InputError, pl
from bastion.client.base import OldSpelling


@pytest.mark.parametrize("name", SAME)
def test_as_polars(name: str, people: Any, cities: Any) -> None:
    tables = people.connection._session.tables
    work = SAME[name]
    theirs = work(tables["ds-people"].lazy(), tables["ds-cities"].lazy(), _Real()).collect()
    frame = work(people, cities, pl)
    # a query that ends in rows would be put to review by the fake server
    mine = people.connection._session.run(frame.plan)
    assert frame.columns == theirs.columns
    assert_frame_equal(mine, theirs, check_dtypes=True)
    assert dict(frame.schema) == dict(theirs.schema)


@pytest.mark.parametrize("name", SAME)
def test_as_polars_with_real_expressions(name: str, people: Any, cities: Any) -> None:
    work = SAME[name]
    with_ours = people.connection._session.run(work(people, cities, pl).plan)
    with_theirs = people.connection._session.run(work(people, cities, _Real()).plan)
    assert_frame_equal(with_ours, with_theirs)


class _Real:
    """Real Polars, with its selectors where ours has them."""

    def __getattr__(self, name: str) -> Any:
        return getattr(real, name)

    @property
    def selectors(self) -> Any:
        import polars.selectors as cs

        return cs


def test_names_that_polars_no_longer_has(people: Any, cities: Any) -> None:
    run = people.connection._session.run
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OldSpelling)
        assert people.groupby("class").agg(pl.len()).plan == people.group_by("class").agg(pl.len()).plan
        assert people.with_column(pl.lit(1)).plan == people.with_columns(pl.lit(1)).plan
        assert people.with_row_count().columns[0] == "row_nr"
        assert people.sort("age", reverse=True).plan == people.sort("age", descending=True).plan
        assert people.melt(id_vars="id", value_vars=["class"]).columns == ["id", "variable", "value"]
        assert people.take_every(2).plan == people.gather_every(2).plan
    assert run(people.vstack(people).plan).height == 12
    assert run(people.select("id").hstack(people.select("age")).plan).width == 2
    assert run(people.clip(0, 2).select("class").plan)["class"].max() == 2
    assert run(people.sample(2, seed=1).plan).height == 2
    assert run(bastion.concat([people, people]).plan).height == 12


def test_an_old_spelling_is_noted(people: Any) -> None:
    with pytest.warns(OldSpelling, match="group_by"):
        people.groupby("class")


def test_describe_has_polars_shape(people: Any) -> None:
    local = people.connection._session.tables["ds-people"]
    mine = people.describe()
    theirs = local.describe()
    assert mine.columns == theirs.columns
    assert mine["statistic"].to_list() == theirs["statistic"].to_list()
    numbers = ["id", "age", "class"]
    assert_frame_equal(mine.select(numbers), theirs.select(numbers))
    assert mine["sex"].to_list()[:2] == theirs["sex"].to_list()[:2]


def test_describe_is_one_query(people: Any) -> None:
    from bastion_wire.messages import Query

    people.describe()
    assert len([b for b in people.connection._session.sent if isinstance(b, Query)]) == 1


def test_public_facts_need_no_round_trip(people: Any) -> None:
    sent = len(people.connection._session.sent)
    frame = people.select(pl.col("age").cast(pl.String))
    assert frame.columns == ["age"]
    assert frame.dtypes == [real.String]
    assert frame.width == 1
    assert frame.collect_schema() == real.Schema({"age": real.String})
    assert "age" in frame
    assert frame["age"].columns == ["age"]
    assert people[["id", "age"]].columns == ["id", "age"]
    assert len(people.connection._session.sent) == sent


ERRORS = [
    (lambda f: f.select("agee"), "Did you mean 'age'"),
    (lambda f: f.select(pl.col("agee").mean()), "Did you mean 'age'"),
    (lambda f: f.drop("agee"), "Did you mean 'age'"),
    (lambda f: f.rename({"agee": "x"}), "Did you mean 'age'"),
    (lambda f: f["agee"], "Did you mean 'age'"),
    (lambda f: f.filter(pl.col("age") + 1), "Boolean"),
    (lambda f: f.select(pl.col("sex") + 1), "go together"),
    (lambda f: f.group_by("nope"), "nope"),
    (lambda f: f.selct("age"), "Did you mean 'select'"),
    (lambda f: f.group_by("class").meen(), "mean"),
    (lambda f: f.select(pl.col("age").meen()), "mean"),
    (lambda f: f.select(pl.col("age").str.to_upper()), "to_uppercase"),
    (lambda f: f.join(f, on="id", how="lefft"), "left"),
    (lambda f: f.join(3, on="id"), "not a frame"),
    (lambda f: f.sort("age", descending="yes"), "flags"),
    (lambda f: f.head("x"), "whole number"),
    (lambda f: f.map_batches(len), "Python"),
    (lambda f: f.group_by("class").map_groups(len), "Python"),
    (lambda f: f.select(pl.col("age").map_elements(len)), "Python"),
    (lambda f: f.pivot("sex", index="class", values="id"), "on_columns"),
    (lambda f: f.select(real.col("age").map_elements(lambda v: v, return_dtype=real.Float64)), "Python"),
    (lambda f: bool(f), "truth"),
    (lambda f: len(f), "not public"),
    (lambda f: list(f), "looped"),
    (lambda f: bool(pl.col("age") > 1), "Use &"),
    (lambda f: 3 in pl.col("age"), "is_in"),
    (lambda f: f.shape, "not public"),
    (lambda f: f.sql("SELECT foo(age) FROM self"), "foo"),
]


@pytest.mark.parametrize(("work", "word"), ERRORS, ids=range(len(ERRORS)))
def test_mistakes_are_told_at_once(people: Any, work: Any, word: str) -> None:
    sent = len(people.connection._session.sent)
    with pytest.raises(BastionError, match=word):
        work(people)
    assert len(people.connection._session.sent) == sent


def test_frames_and_expressions_do_not_change(people: Any) -> None:
    expr = pl.col("age")
    plan = people.plan
    expr.mean(), expr + 1, people.select(expr), people.group_by("class").agg(expr.mean())
    assert people.plan is plan
    with pytest.raises(InputError):
        expr.plan = None
    with pytest.raises(InputError):
        people.plan = None


def test_growing_without_end_is_refused(people: Any) -> None:
    frame = people
    for _ in range(8):
        frame = frame.vstack(frame)
    with pytest.raises(LimitError):
        frame.vstack(frame)


def test_sql_on_a_frame(people: Any, cities: Any) -> None:
    frame = people.sql(
        "SELECT c.city, COUNT(*) AS n FROM self JOIN c ON self.class = c.class GROUP BY c.city ORDER BY n, city",
        c=cities,
    )
    assert frame.fetch().rows() == [("Bern", 2), ("Oslo", 2)]
    both = people.connection.sql("SELECT class, COUNT(*) AS n FROM people GROUP BY class ORDER BY class")
    assert both.fetch()["n"].to_list() == [2, 2, 2]


def test_own_small_table_joins_in(people: Any) -> None:
    labels = real.DataFrame({"class": [1, 3], "label": ["first", "third"]})
    frame = people.join(labels, on="class").group_by("label").len().sort("label")
    assert frame.fetch().rows() == [("first", 2), ("third", 2)]
    with pytest.raises(InputError, match="too large"):
        people.join(real.DataFrame({"class": range(200_000)}), on="class")


def test_texts(people: Any) -> None:
    card = repr(people)
    assert "people" in card
    assert "quasi (inferred)" in card
    frame = people.group_by("class").agg(pl.col("age").mean())
    assert "RemoteLazyFrame  2 columns" in repr(frame)
    text = frame.explain()
    assert text.startswith('GROUP BY  keys: [col("class")]')
    assert "SCAN people" in text
    assert "VERDICT" in text
    rows = people.select("age")
    assert "released automatically" not in repr(rows)


def test_the_verdict_is_the_policys_own(people: Any) -> None:
    from bastion_policy.flow import static_verdict

    frame = people.select("age")
    assert frame.verdict == static_verdict(frame.bound, people.connection.facts, "alice")
    assert frame.verdict.outcome != "release"
    assert people.select(pl.col("age").mean()).verdict.outcome == "release"


def test_unknown_column_code_is_the_binders(people: Any) -> None:
    with pytest.raises(BindError) as caught:
        people.select("agee")
    assert caught.value.code == "plan.bind.column"
    with pytest.raises(BastionError) as second:
        people.drop("agee")
    assert second.value.code == "plan.bind.column"


def test_a_copied_frame_is_the_same_query(people: Any) -> None:
    import copy

    frame = people.filter(pl.col("age") > 20).select(pl.col("age").mean())
    kept = frame.collect(epsilon=0.5)
    for one in (people, frame, kept):
        for copied in (copy.copy(one), copy.deepcopy(one), copy.deepcopy([one])[0]):
            assert copied is not one
            assert type(copied) is type(one)
            assert copied.plan == one.plan
            assert copied.connection is one.connection
            assert copied.columns == one.columns
            assert copied.dataset is one.dataset
    assert copy.deepcopy(frame).fetch().rows() == frame.fetch().rows()
    assert copy.deepcopy(kept)._epsilon == 0.5


def test_a_with_block_yields_what_has_polars(connection: Any) -> None:
    with connection as client:
        assert [f.name for f in client.polars.list_dfs()] == ["people", "cities"]
        assert client.polars is client.client.polars


@pytest.mark.parametrize(
    "wrong",
    [
        lambda people: people["age"] > 30,
        lambda people: 30 - people["age"],
        lambda people: people["age"] * 2,
        lambda people: ~people["age"],
    ],
)
def test_a_column_of_a_frame_is_no_expression(people, wrong):
    with pytest.raises(BastionError) as caught:
        wrong(people)
    assert 'frame.filter(pl.col("age") > …)' in caught.value.next_step


def test_a_frame_equals_itself_alone_and_can_be_a_key(people):
    assert people == people and people != people.select("age")
    assert {people: 1}[people] == 1
    with pytest.raises(BastionError, match="filter"):
        people[people["age"] == 30]


def test_plots_by_the_names_of_others(people):
    with pytest.raises(BastionError, match=r"plot\.scatter"):
        people.plot(x="age", y="class")
    with pytest.raises(BastionError, match=r"Write \.plot\.scatter"):
        people.plot.point("age", "class")
    with pytest.raises(BastionError, match="null_count"):
        people.isnull()
    assert not hasattr(people.plot, "nothing_like_it")
