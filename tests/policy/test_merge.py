"""Merging: commutative, associative, idempotent, never more permissive than any input."""

import os

import pytest
from bastion_plan.errors import InputError, PolicyError
from bastion_policy.actions import strictness
from bastion_policy.caps import check_caps
from bastion_policy.merge import conjunction
from bastion_policy.model import (
    Aggregation,
    AtLeastNOf,
    Dominance,
    FalseRule,
    Log,
    Policy,
    Reject,
    Review,
    Role,
    RoleKind,
    TrueRule,
    UserId,
    evaluate,
    measure,
    merge,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_strategies import USERS, policies, queries, rules

ZONES = ("open", "guarded", "private", "closed")


@given(policies(), policies())
def test_commutative(a, b):
    assert merge([a, b]) == merge([b, a])


@given(policies(), policies(), policies())
def test_associative(a, b, c):
    whole = merge([a, b, c])
    assert merge([merge([a, b]), c]) == whole
    assert merge([a, merge([b, c])]) == whole


@given(policies(), policies())
def test_idempotent(a, b):
    assert merge([a, a]) == a
    both = merge([a, b])
    assert merge([both, both]) == both
    assert merge([both, a]) == both


@given(st.lists(rules, min_size=1, max_size=4), queries)
def test_a_conjunction_holds_only_where_every_rule_holds(parts, query):
    whole = conjunction(parts)
    context = query.context(whole, *parts)
    if evaluate(whole, context):
        assert all(evaluate(part, context) for part in parts)


@given(st.lists(rules, min_size=1, max_size=4), queries)
def test_a_conjunction_refuses_only_what_some_rule_refuses(parts, query):
    # two kinds of noise fold into the least of both, which may be less than either: the one place stricter than "and"
    parts = [p for p in parts if "DifferentialPrivacy" not in repr(p)] or [TrueRule()]
    whole = conjunction(parts)
    context = query.context(whole, *parts)
    assert evaluate(whole, context) == all(evaluate(part, context) for part in parts)


@settings(max_examples=4 * int(os.environ.get("BASTION_FUZZ_CASES", "25")))
def _fits(caps, steps, parameters):
    try:
        check_caps(caps, steps=steps, parameters=parameters)
    except InputError:
        return False
    return True


@given(st.lists(policies(), min_size=1, max_size=3), queries, st.sampled_from([*USERS, "eve"]))
def test_never_more_permissive(several, query, requester):
    merged = merge(several)
    mine = merged.effective(requester)
    for policy in several:
        context = query.context(merged.safe_zone, merged.review_zone, policy.safe_zone, policy.review_zone)
        assert not evaluate(merged.safe_zone, context) or evaluate(policy.safe_zone, context)
        assert not evaluate(merged.review_zone, context) or evaluate(policy.review_zone, context)
        assert strictness(merged.unsafe_handling) >= strictness(policy.unsafe_handling)
        assert policy.savable or not merged.savable
        assert set(merged.weaken) <= set(policy.weaken)
        for steps, parameters in ((1, 1), (500, 400), (501, 1), (1, 3_000_000)):
            if _fits(merged.training, steps, parameters):
                assert _fits(policy.training, steps, parameters)
        assert set(merged.derived or {}) <= set(policy.derived or {})
        theirs = policy.effective(requester)
        assert ZONES.index(mine.zone) >= ZONES.index(theirs.zone)
        if mine.zone == theirs.zone == "guarded":
            assert mine.k >= theirs.k
            assert (mine.p or 0) >= (theirs.p or 0)
            for n, share in theirs.shares:
                assert dict(mine.shares)[n] <= share
            if theirs.homogeneity:
                assert mine.homogeneity
                assert mine.homogeneity.min_differing >= theirs.homogeneity.min_differing
        for member in USERS:
            if policy.audience(member) == policy.audience(requester):
                assert merged.audience(member) == merged.audience(requester)


def test_the_strictest_of_each_rule():
    a = Policy(AtLeastNOf(2, [Aggregation(5), Dominance(p=0.2)]), Log())
    b = Policy(Aggregation(20), Review(), savable=False)
    merged = merge([a, b])
    assert merged.safe_zone == AtLeastNOf(2, [Aggregation(20), Dominance(p=0.2)])
    assert merged.unsafe_handling == Review()
    assert not merged.savable


def test_an_open_table_adds_nothing_to_the_zone():
    assert merge([Policy.open(), Policy(Aggregation(7), Reject())]).safe_zone == Aggregation(7)


def test_review_needs_all_owners():
    a = Policy(Aggregation(5), Review(), review_zone=UserId("alice"))
    b = Policy(Aggregation(5), Review(), review_zone=UserId("bob"))
    assert merge([a, b]).review_zone == FalseRule()
    assert merge([a, Policy.default()]).review_zone == UserId("alice")


def test_a_rule_switched_off_by_one_owner_holds_for_the_other():
    weak = Policy(Aggregation(10), Log(), weaken=("dominance",))
    assert weak.effective().p is None
    assert merge([weak, Policy.default()]).effective().p == 0.10


def test_the_strictest_role_of_a_shared_column_name():
    a = Policy(Aggregation(5), Log(), roles={"x": "quasi", "y": "hidden"})
    b = Policy(Aggregation(5), Log(), roles={"x": measure(0, 1), "y": "public"})
    assert merge([a, b]).roles == {"x": measure(0, 1), "y": Role(RoleKind.HIDDEN)}


def test_audiences_that_share_a_member_become_one():
    a = Policy(Aggregation(5), Log(), audiences={"team": ("alice", "bob")})
    b = Policy(Aggregation(5), Log(), audiences={"lab": ("bob", "carol"), "else": ("dan",)})
    merged = merge([a, b])
    assert merged.audience("alice") == merged.audience("carol") != merged.audience("dan")


def test_nothing_to_merge():
    with pytest.raises(PolicyError) as error:
        merge([])
    assert error.value.code == "policy.merge"
