"""BastionLab's and older Polars' spellings on the SDK itself: each gives what today's spelling gives."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from bastion_plan.errors import BastionError, InputError, PolicyError
from bastion_policy import model
from polars.testing import assert_frame_equal

from bastion import FetchableLazyFrame, RemoteLazyFrame, policy
from bastion.client.absent import ABSENT, IN_CELLS
from bastion.client.base import OldSpelling

from .conftest import CITIES, PEOPLE

old = pytest.mark.filterwarnings(f"ignore::{OldSpelling.__module__}.OldSpelling")


# ---- policies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "action"),
    [
        ("log", policy.Log()), ("review", policy.Review()), ("reject", policy.Reject()), ("suppress", policy.Suppress()),
        ("Review", policy.Review()),
    ],
)  # fmt: skip
def test_an_action_by_its_name(name: str, action: Any) -> None:
    made = policy.Policy(safe_zone=policy.Aggregation(min_agg_size=10), unsafe_handling=name, savable=True)
    assert made.unsafe_handling == action
    assert made == policy.Policy(policy.Aggregation(10), action)
    assert made == policy.from_toml(policy.to_toml(made))
    assert policy.from_toml(policy.to_toml(made)) == made
    assert hash(made) == hash(model.Policy(policy.Aggregation(10), action))


def test_an_action_that_is_not() -> None:
    with pytest.raises(PolicyError) as caught:
        policy.Policy(policy.Aggregation(10), "revue")
    assert caught.value.code == "policy.action"
    assert "review" in caught.value.next_step


def test_rule_and_its_friends() -> None:
    assert policy.Rule(min_aggregation_size=12) == policy.Aggregation(12)
    assert policy.AtLeastNof is policy.AtLeastNOf
    assert policy.Policy.default() == policy.DEFAULT_POLICY == model.Policy.default()
    assert isinstance(policy.Policy.strict(unit="id"), model.Policy)


# ---- uploads ---------------------------------------------------------------------------------------------------------


def test_upload_df(connection: Any) -> None:
    frame = connection.client.upload_df(PEOPLE, policy.Policy(policy.Aggregation(2), "log"), ["sex"], name="again")
    assert frame.name == "again"
    assert frame.policy.unsafe_handling == policy.Log()


# ---- frames ----------------------------------------------------------------------------------------------------------


@old
@pytest.mark.parametrize(
    ("older", "today"),
    [
        (lambda f: f.groupby("class").agg(pl.len()), lambda f: f.group_by("class").agg(pl.len())),
        (lambda f: f.with_column(pl.col("age") + 1), lambda f: f.with_columns(pl.col("age") + 1)),
        (lambda f: f.with_row_count("n"), lambda f: f.with_row_index("n")),
        (lambda f: f.sort("age", reverse=True), lambda f: f.sort("age", descending=True)),
        (lambda f: f.take_every(2), lambda f: f.gather_every(2)),
        (lambda f: f.shift_and_fill(1, fill_value=0), lambda f: f.select(pl.all().shift(1, fill_value=0))),
        (lambda f: f.distinct("class", keep="first"), lambda f: f.unique("class", keep="first")),
        (lambda f: f.melt("id", ["age", "class"]), lambda f: f.unpivot(["age", "class"], index="id")),
        (lambda f: f.select_seq("id"), lambda f: f.select("id")),
        (lambda f: f.with_columns_seq(x=pl.col("id") * 2), lambda f: f.with_columns(x=pl.col("id") * 2)),
    ],
)  # fmt: skip
def test_frames(connection: Any, older: Any, today: Any) -> None:
    numbers = PEOPLE.select("id", "age", "class")
    frame = connection.client.polars.get_df("people").select("id", "age", "class")
    assert_frame_equal(older(frame).fetch(), today(numbers.lazy()).collect(), check_row_order=False)


@pytest.mark.parametrize("how", ["left", "inner", "full"])
def test_update(connection: Any, how: str) -> None:
    other = pl.DataFrame({"id": [2, 3, 9], "age": [None, 40.0, 1.0], "more": ["a", "b", "c"]})
    mine = connection.client.polars.get_df("people").update(other, on="id", how=how)
    assert_frame_equal(mine.fetch(), PEOPLE.update(other, on="id", how=how), check_row_order=False)


def test_update_needs_keys(people: Any) -> None:
    with pytest.raises(InputError, match="needs keys"):
        people.update({"age": [1.0]})


def test_join_where(people: Any, cities: Any) -> None:
    got = people.join_where(cities, pl.col("class") < pl.col("class_right"), pl.col("id") > 2).fetch()
    want = PEOPLE.lazy().join_where(CITIES.lazy(), pl.col("class") < pl.col("class_right"), pl.col("id") > 2)
    assert_frame_equal(got, want.collect(), check_row_order=False)


def test_merge_sorted(people: Any) -> None:
    ids = people.select("id").sort("id")
    assert ids.merge_sorted(pl.DataFrame({"id": [0, 4, 9]}), "id").fetch()["id"].to_list() == [
        0,
        1,
        2,
        3,
        4,
        4,
        5,
        6,
        9,
    ]


# ---- scalers ---------------------------------------------------------------------------------------------------------

AGE = pl.col("age")
SCALERS = {
    "zscore_scale": (AGE - AGE.mean()) / AGE.std(),
    "minmax_scale": (AGE - AGE.min()) / (AGE.max() - AGE.min()),
    "mean_scale": (AGE - AGE.mean()) / (AGE.max() - AGE.min()),
    "max_abs_scale": AGE / AGE.abs().max(),
    "median_quantile_scale": (AGE - AGE.median()) / (AGE.quantile(0.75) - AGE.quantile(0.25)),
}


@pytest.mark.parametrize("name", SCALERS)
def test_scalers(people: Any, name: str) -> None:
    want = PEOPLE.with_columns(SCALERS[name].alias("age"))
    assert_frame_equal(getattr(people, name)("age").fetch(), want)
    assert_frame_equal(getattr(people, name)(["age"]).fetch(), want)
    both = getattr(people, name)(["age", "class"])
    assert both.columns == PEOPLE.columns
    assert both.fetch()["class"].dtype == pl.Float64


def test_max_abs_scale_of_negative_numbers_and_taken_names(connection: Any) -> None:
    data = {"x": [-8.0, 4.0], "x_min": [1, 2], "x_max": [3, 4]}
    frame = connection.frame(data)
    assert frame.max_abs_scale("x").fetch().to_dict(as_series=False) == data | {"x": [-1.0, 0.5]}


def test_scalers_refuse_what_has_no_scale(people: Any) -> None:
    with pytest.raises(InputError) as caught:
        people.zscore_scale("agee")
    assert "age" in caught.value.next_step
    with pytest.raises(InputError, match="holds no numbers"):
        people.minmax_scale(["age", "sex"])


# ---- SQL -------------------------------------------------------------------------------------------------------------


def test_sql_on_the_class(people: Any, cities: Any) -> None:
    got = RemoteLazyFrame.sql(
        "SELECT city, count(*) AS n FROM {} INNER JOIN {} ON {}.class = {}.class GROUP BY city ORDER BY city",
        people, cities, people, cities,
    )  # fmt: skip
    assert got.fetch().rows() == [("Bern", 2), ("Oslo", 2)]
    assert FetchableLazyFrame.sql("select max(id) as m from {}", people).fetch().item() == 6


def test_sql_on_a_frame(people: Any) -> None:
    assert people.sql("select count(*) as n from self where class = 1").fetch().item() == 2
    assert people.sql("select count(*) as n from {}", people).fetch().item() == 6
    assert people.sql("select a.id from self a join other b on a.id = b.id", other={"id": [3]}).fetch().rows() == [(3,)]


def test_sql_leaves_braces_in_texts_alone(connection: Any) -> None:
    frame = connection.frame({"x": ["{}", "y"]})
    assert RemoteLazyFrame.sql("select x from {} where x = '{}' -- not {}", frame).fetch().rows() == [("{}",)]


def test_sql_counts_its_places(people: Any) -> None:
    with pytest.raises(InputError, match="2 places"):
        RemoteLazyFrame.sql("select * from {} a join {} b on a.id = b.id", people)
    with pytest.raises(InputError, match="at least one frame"):
        RemoteLazyFrame.sql("select 1")


# ---- what is not there -----------------------------------------------------------------------------------------------


def test_every_method_of_polars_frames_works_or_says_why_not(people: Any) -> None:
    """No LazyFrame method of the pinned Polars is simply missing."""
    for name in dir(pl.LazyFrame):
        if name.startswith("_") or name in dir(RemoteLazyFrame):
            continue
        with pytest.raises((BastionError, AttributeError)) as caught:
            getattr(people, name)
        assert ABSENT.get(name) or "Python" in str(caught.value), name


@pytest.mark.parametrize("name", ["sink_csv", "height", "set_sorted", "with_context", "gather", "show"])
def test_the_kernel_says_why_not(people: Any, name: str) -> None:
    from bastion.language.reading import read_member

    with pytest.raises(BastionError) as caught:
        read_member(people, name)
    assert caught.value.reason == IN_CELLS.get(ABSENT[name], ABSENT[name])
