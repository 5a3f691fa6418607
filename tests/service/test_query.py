"""Queries through a real server: what is released, what is denied, and what an answer carries."""

from __future__ import annotations

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from bastion import BindError, Denied, concat


def test_survival_by_class_is_exact(world):
    titanic = world.user.client.polars.get_df("titanic")
    found = titanic.group_by("Pclass").agg(pl.col("Survived").mean()).sort("Pclass").fetch()
    assert found["Survived"].round(6).to_list() == [0.62963, 0.472826, 0.242363]


def test_the_answer_equals_polars(world, titanic):
    frame = world.user.client.polars.get_df("titanic")

    def query(f):
        return (
            f.group_by("Pclass", "Sex")
            .agg(pl.col("Fare").mean().alias("fare"), pl.len().alias("n"))
            .sort("Pclass", "Sex")
        )

    assert_frame_equal(query(frame).fetch(), query(titanic.lazy()).collect())


def test_rows_are_denied_with_reason_and_fix_and_nothing_is_filed(world):
    titanic = world.user.client.polars.get_df("titanic")
    with pytest.raises(Denied) as caught:
        titanic.head(5).fetch()
    denied = caught.value
    assert denied.outcome == "review"
    assert denied.rule
    assert denied.reason
    assert denied.fix
    assert denied.filed is None
    assert world.owner.requests("pending") == []


@pytest.mark.parametrize(
    "query",
    [
        lambda f: f.select(pl.col("Name").len()),
        lambda f: f.filter(pl.col("Name").str.contains("Allen")).select(pl.len()),
        lambda f: f.group_by("Name").agg(pl.len()),
        lambda f: f.sort("Name").select(pl.col("Fare").mean()),
        lambda f: f.with_columns(pl.col("Name").alias("x")).group_by("x").agg(pl.len()),
    ],
)
def test_a_hidden_column_is_of_no_use(world, query):
    titanic = world.user.client.polars.get_df("titanic")
    with pytest.raises(Denied) as caught:
        query(titanic).fetch()
    assert "Name" in str(caught.value) or "hidden" in str(caught.value)


def test_fewer_than_k_and_all_but_fewer_than_k_are_one_outcome_each(world, titanic):
    frame = world.user.client.polars.get_df("titanic")
    everyone = frame.select(pl.len()).fetch().item()
    assert everyone == 891
    few = titanic.filter(pl.col("Parch") >= 5).height
    assert 0 < few < 10
    nobody = frame.filter(pl.col("Parch") >= 100).select(pl.len())
    some = frame.filter(pl.col("Parch") >= 5).select(pl.len())

    def outcome(query):
        try:
            return query.fetch().rows()
        except Denied as denied:
            return denied.outcome, denied.rule

    assert outcome(some) == outcome(nobody)
    rest = frame.filter(pl.col("Parch") < 5).select(pl.len()).fetch().item()
    assert rest == everyone


def test_an_unknown_name_is_answered_with_the_nearest(world):
    titanic = world.user.client.polars.get_df("titanic")
    with pytest.raises(BindError, match="Pclass") as caught:
        titanic.group_by("Pclas").agg(pl.len())
    assert caught.value.code.startswith("plan.bind.")


def test_answers_carry_a_growing_signed_checkpoint(world):
    titanic = world.user.client.polars.get_df("titanic")
    titanic.select(pl.len()).fetch()
    first = world.user.last.checkpoint
    titanic.select(pl.len()).fetch()
    second = world.user.last.checkpoint
    assert second.size > first.size
    from nacl.signing import VerifyKey

    VerifyKey(world.user.welcome.verify_key).verify(second.signed_text, second.signature)


def test_a_join_with_ones_own_labels(world):
    titanic = world.user.client.polars.get_df("titanic")
    labels = world.user.frame({"Pclass": [1, 2, 3], "deck": ["upper", "middle", "lower"]})
    found = titanic.join(labels, on="Pclass").group_by("deck").agg(pl.col("Survived").mean()).sort("deck").fetch()
    assert found["Survived"].round(6).to_list() == [0.242363, 0.472826, 0.62963]


def test_sql_and_concat(world):
    titanic = world.user.client.polars.get_df("titanic")
    found = titanic.sql("SELECT Sex, COUNT(*) AS n FROM self GROUP BY Sex ORDER BY Sex").fetch()
    assert found.rows() == [("female", 314), ("male", 577)]
    # somebody who was not told about these two before: what several tables or parts give has no stored answer
    titanic = world.other.client.polars.get_df("titanic")
    both = concat([titanic.filter(pl.col("Pclass") == 1), titanic.filter(pl.col("Pclass") == 2)])
    assert both.select(pl.len()).fetch().item() == 400


def test_describe_under_the_guard(world):
    found = world.user.client.polars.get_df("titanic").describe()
    table = found if isinstance(found, pl.DataFrame) else found.fetch()
    mean = table.filter(pl.col("statistic") == "mean")
    assert abs(float(mean["Fare"][0]) - 32.2042) < 0.01
    assert mean["Name"][0] is None


def test_a_second_identity_sees_the_same_answer(world):
    query = [
        c.client.polars.get_df("titanic").group_by("Sex").agg(pl.len()).sort("Sex") for c in (world.user, world.other)
    ]
    assert_frame_equal(query[0].fetch(), query[1].fetch())
