"""Bits of integers are bins of their column: a bit of a person is as telling as a condition on it."""

from __future__ import annotations

from typing import Any

import polars
import pytest
from bastion_plan.errors import BindError
from bastion_policy.model import Policy
from bastion_policy.plan_words import plan_words
from bastion_policy.verdict import Outcome
from drive import World
from query import Q

import bastion.expressions as pl

N = 80
T = Q("t")
code, other, pay, wage = pl.col("code"), pl.col("other"), pl.col("pay"), pl.col("wage")


def world(profile: str = "default") -> World:
    frame = polars.DataFrame(
        {
            "id": range(N),
            "code": [8 if i < 3 else i % 4 for i in range(N)],
            "other": [i % 8 for i in range(N)],
            "pay": [100.0 + i for i in range(N)],
            "wage": [100 + i for i in range(N)],
            "ill": [i % 3 for i in range(N)],
            "flag": [i % 2 == 0 for i in range(N)],
        }
    )
    roles = {
        "id": "identifier",
        "code": "quasi",
        "other": "quasi",
        "pay": "measure",
        "wage": "measure",
        "ill": "sensitive",
        "flag": "quasi",
    }
    policy = Policy.strict("id") if profile == "strict" else Policy.default()
    return World().add("t", frame, policy, roles)


def outcome(query: Any, profile: str = "default") -> Outcome:
    return world(profile).ask(query.plan).verdict.outcome


@pytest.mark.parametrize(
    ("sign", "truth"), [("__and__", lambda v: v & 1), ("__or__", lambda v: v | 1), ("__xor__", lambda v: v ^ 1)]
)
def test_groups_by_bits_of_a_column_are_as_in_polars(sign, truth):
    answer = world().ask(T.group_by(getattr(other, sign)(1).alias("k")).agg(n=pl.len()).plan)
    found = dict(answer.table.rows())
    assert found == {k: sum(truth(i % 8) == k for i in range(N)) for k in {truth(i % 8) for i in range(N)}}


def test_few_people_of_a_bit_are_not_shown():
    """Three people have the bit 8: they are hidden, and so is that there are any."""
    shown = world().ask(T.group_by((code & 8).alias("bit")).agg(n=pl.len()).plan)
    assert 8 not in shown.table["bit"].to_list()
    filtered = world().ask(T.filter((code & 8) == 8).select(pl.len(), pay.mean()).plan)
    assert 3 not in [value for row in filtered.table.rows() for value in row]


def test_sums_of_bits_go_to_review_as_sums_of_other_bins_do():
    for bits, bins in (((other & 1), other % 2), ((code & 8), code // 8)):
        assert outcome(T.select(bits.sum())) is outcome(T.select(bins.sum())) is Outcome.REVIEW


@pytest.mark.parametrize(
    "expr", [(code & other).sum(), (code ^ (other * 8)).sum(), (code | other).mean(), ((code & 1) * pay).sum()]
)
def test_bits_of_several_columns_are_a_choice_of_weights(expr):
    assert outcome(T.select(expr)) is Outcome.REVIEW


def test_the_strict_profile_takes_them_as_keys_of_columns_that_may_be_keys():
    assert outcome(T.group_by((other & 3).alias("k")).agg(n=pl.len()), "strict") is Outcome.RELEASE
    for query in (
        T.group_by((pl.col("ill") & 1).alias("k")).agg(n=pl.len()),
        T.filter((pl.col("ill") & 2) == 2).select(pl.len()),
        T.select((other & 1).sum()),
    ):
        assert outcome(query, "strict") is not Outcome.RELEASE


@pytest.mark.parametrize("profile", ["default", "strict"])
def test_bits_turned_are_judged_as_the_subtraction_that_they_are(profile):
    for turned, minus in (
        (T.select((~wage).sum()), T.select((-1 - wage).sum().alias("wage"))),
        (T.group_by("flag").agg((~wage).mean()), T.group_by("flag").agg((-1 - wage).mean().alias("wage"))),
        (T.select((~wage).median()), T.select((-1 - wage).median().alias("wage"))),
        (T.group_by(~other).agg(pl.len()), T.group_by((-1 - other).alias("other")).agg(pl.len())),
        (T.group_by(~pl.col("ill")).agg(pl.len()), T.group_by((-1 - pl.col("ill")).alias("ill")).agg(pl.len())),
        (T.filter(~code == -9).select(wage.mean()), T.filter(-1 - code == -9).select(wage.mean())),
        (T.select((~wage * other).sum()), T.select(((-1 - wage) * other).sum().alias("wage"))),
    ):
        one, two = world(profile).ask(turned.plan), world(profile).ask(minus.plan)
        assert one.verdict.outcome is two.verdict.outcome
        assert (one.table is None) is (two.table is None)
        assert one.table is None or one.table.equals(two.table)
    assert outcome(T.select((~wage).sum()), profile) is Outcome.RELEASE


@pytest.mark.parametrize("dtype", [polars.Int64, polars.UInt16, polars.UInt64])
def test_bits_turned_hide_nobody_who_dominates(dtype):
    """Of an unsigned column they are 65535 - x: the largest of which is the smallest person's."""
    rich = [100] * (N - 1) + [60_000]
    frame = polars.DataFrame({"id": range(N), "wage": polars.Series(rich, dtype=dtype)})
    held = World().add("t", frame, Policy.default(), {"id": "identifier", "wage": "measure"})
    assert held.ask(T.select((~wage).sum()).plan).verdict.outcome is not Outcome.RELEASE


def test_booleans_and_integers_do_not_meet():
    with pytest.raises(BindError, match="do not go together"):
        world().ask(T.select((pl.col("flag") & code).sum()).plan)
    with pytest.raises(BindError):
        world().ask(T.filter(code & 1).select(pl.len()).plan)
    with pytest.raises(BindError):
        world().ask(T.select((pay & 1).sum()).plan)


def test_owners_read_what_is_asked():
    assert "other bitwise and 3" in plan_words(T.select(((other & 3) > 1).sum()).plan)
    assert "flag and" in plan_words(T.filter(pl.col("flag") & (code > 1)).select(pl.len()).plan)
