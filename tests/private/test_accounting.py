"""Costs add up, are rounded against the asker, and mean the epsilon that is stated."""

from __future__ import annotations

import itertools
import math

import opendp.prelude as dp
import pytest
from bastion_policy.private.accounting import NOTHING, RHO_UNIT, Account, Cost, epsilon_of, rho_for
from bastion_policy.private.budget import budget_of
from hypothesis import given
from hypothesis import strategies as st

EPSILONS = st.floats(0.01, 20)
DELTAS = st.sampled_from([1e-12, 1e-9, 1e-6, 1e-3])


@given(EPSILONS, DELTAS)
def test_rho_means_the_epsilon_it_was_made_for(epsilon, delta):
    rho = rho_for(epsilon, delta)
    assert epsilon_of(rho, delta) <= epsilon
    assert epsilon_of(rho * 1.001, delta) > epsilon, "and wastes next to nothing"


@pytest.mark.parametrize(("epsilon", "delta"), list(itertools.product([0.1, 1.0, 3.0, 10.0], [1e-9, 1e-6, 1e-3])))
def test_opendp_reads_rho_the_same_way(epsilon, delta):
    """Their conversion, written by others, of a Gaussian with that rho."""
    dp.enable_features("contrib")
    rho = rho_for(epsilon, delta)
    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T=float)
    gaussian = dp.m.make_gaussian(*space, scale=1000 / math.sqrt(2 * rho))
    profile = dp.c.make_zCDP_to_approxDP(gaussian).map(1000.0)
    assert profile.epsilon(delta) == pytest.approx(epsilon, rel=0.02)


def test_the_simple_bound_is_never_better():
    """Bun and Steinke 2016, proposition 1.3: rho + 2 sqrt(rho log(1 / delta))."""
    for rho in (1e-4, 0.01, 0.5, 3.0):
        assert epsilon_of(rho, 1e-6) <= rho + 2 * math.sqrt(rho * math.log(1e6))


@given(EPSILONS, DELTAS, st.floats(0.001, 1))
def test_answers_that_fit_into_the_cap_come_to_the_owners_epsilon_at_most(epsilon, delta, share):
    account = Account(epsilon, delta)
    price = account.price(epsilon * share)
    spent, count = NOTHING, 0
    while (spent + price).fits(account.cap) and count < 10_000:
        spent, count = spent + price, count + 1
    assert count >= 1
    assert account.epsilon_of(spent) <= epsilon
    assert spent.delta_value <= delta / 2 * (1 + 1e-9)
    assert account.left(spent) <= epsilon


def test_many_small_answers_cost_less_than_their_sum():
    account = Account(1.0, 1e-6)
    assert account.cap.rho // account.price(account.default).rho >= 70


def test_rounding_is_against_the_asker():
    account = Account(1e-3, 1e-9)
    assert account.price(1e-9).rho >= 1
    assert account.cap.rho * RHO_UNIT <= rho_for(1e-3, 5e-10)


def test_a_whole_budget_may_be_spent_at_once():
    for epsilon in (0.1, 1.0, 8.0):
        account = Account(epsilon, 1e-6)
        assert account.price(epsilon).fits(account.cap)
        assert not (account.price(epsilon) + Cost(1)).fits(account.cap)


def test_a_budget_in_words():
    account = Account(1.0, 1e-6)
    spent = account.price(0.5)
    assert budget_of(account, spent, ("patients",)).sentence == (
        "Budget of patients: epsilon 0.845 left of 1 (delta 1e-06)."
    )
    assert "no longer holds: an exact answer" in budget_of(account, void="an exact answer left.").sentence
