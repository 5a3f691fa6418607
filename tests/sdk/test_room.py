"""What is said of the room that is left: by the policy and one's own name alone."""

from __future__ import annotations

import polars as pl
from bastion_policy.audit import Capacity
from bastion_policy.judge_memory import EDGE_BUDGET
from bastion_policy.policy import Policy
from bastion_server.service.earlier import HISTORY as JUDGES
from fake_session import facts_of
from msgspec.structs import replace

from bastion.client import room as r


def facts(policy: Policy):
    return {"d": replace(facts_of("people", pl.DataFrame({"age": [1]})), policy=policy)}


def said(policy: Policy, who: str = "alice") -> str:
    return r.room(["d", "d", "unknown"], facts(policy), who)


def test_the_limits_are_the_judges():
    assert (Capacity().rank, EDGE_BUDGET) == (r.MOST_NUMBERS, r.MOST_EDGES)
    assert r.HISTORY == JUDGES


def test_what_is_said_under_each_profile():
    default, strict = said(Policy.default()), said(Policy.strict("id"))
    assert "1,024 independent numbers" in default
    assert "no more than 33% of the number of groups" in default
    assert "at a threshold, 8" in default
    assert "not shown" in default
    assert "threshold" not in strict
    assert "not shown" in strict
    assert said(Policy.open()) == ""
    assert "budget() says what is left" in said(Policy.private(1.0, unit="id"))
    assert said(replace(Policy.default(), weaken=("linear_audit",))) == ""


def test_an_audience_is_named_and_its_members_never():
    shared = replace(Policy.default(), audiences={"team": ("alice", "bob"), "press": ("carol",)})
    assert "your audience 'team'" in said(shared)
    assert "bob" not in said(shared)
    assert "press" not in said(shared)
    assert "audience" not in said(shared, "dave")
