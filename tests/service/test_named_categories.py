"""Tables with categories of a name of their own, or of few bits: they are asked as others are, and answer as Polars does."""

from __future__ import annotations

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from bastion.policy import Aggregation, Policy, Reject

NAMED = pl.Categorical(pl.Categories("towns"))
KINDS = {
    "plain": pl.Categorical(),
    "named": NAMED,
    "random": pl.Categorical(pl.Categories.random()),
    "bytes": pl.Categorical(pl.Categories("few", physical=pl.UInt8)),
}
N = 240
TABLE = pl.DataFrame(
    {
        "pid": list(range(N)),
        "town": [None if i % 8 == 7 else "cab"[i % 3] for i in range(N)],
        "pay": [float(i % 97) for i in range(N)],
    }
)


@pytest.fixture(scope="module", params=KINDS)
def asked(world, request):
    """The table of one kind of categories, as the user asks it and as Polars has it."""
    mine = TABLE.with_columns(pl.col("town").cast(KINDS[request.param]))
    policy = Policy(Aggregation(10), Reject(), unit="pid")
    world.owner.client.polars.send_df(mine, name=f"towns {request.param}", policy=policy)
    return world.user.client.polars.get_df(f"towns {request.param}"), TABLE.lazy().with_columns(
        pl.col("town").cast(pl.Categorical)
    )


def counted(t):
    return t.group_by("town").agg(pl.len().alias("n"))


QUESTIONS = {
    "groups": lambda t: t.group_by("town").agg(pl.len().alias("n"), pl.col("pay").mean()),
    "counts": lambda t: t.select(pl.col("town").value_counts()).unnest("town"),
    "join": lambda t: t.join(counted(t), on="town").group_by("n").agg(pl.col("pay").sum(), pl.len().alias("of")),
    "filter": lambda t: t.filter(pl.col("town") == "a").select(pl.len()),
    "is in": lambda t: t.filter(pl.col("town").is_in(["a", "c"])).select(pl.col("pay").sum()),
    "texts": lambda t: t.group_by(pl.col("town").cast(pl.String).str.to_uppercase()).agg(pl.len().alias("n")),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_they_answer_as_polars_does(asked, name):
    theirs, mine = asked
    got, wanted = QUESTIONS[name](theirs).fetch(), QUESTIONS[name](mine).collect()
    assert_frame_equal(got, wanted, check_row_order=False)


def test_medians_of_them_are_answered(asked):
    """The guard's medians are its own."""
    got = asked[0].group_by("town").agg(pl.col("pay").median()).fetch()
    assert set(got["town"]) == {"a", "b", "c", None}
