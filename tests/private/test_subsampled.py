"""What training costs: the divergence of random batches, read as an epsilon, capped beside queries at one order."""

from __future__ import annotations

import math

import numpy as np
import pytest
from bastion_policy.private.accounting import NOTHING, Account, Cost, rho_for
from bastion_policy.private.subsampled import Mechanism, calibrate, epsilon_of_fit
from hypothesis import given, settings
from hypothesis import strategies as st

RATES = st.floats(1e-6, 1.0)
SIGMAS = st.floats(0.3, 50)
ORDERS = st.floats(1.05, 200)


def moment(rate: float, sigma: float, order: float) -> float:
    """The divergence by adding up the definition over a fine grid: mixture against Gaussian around 0."""
    z = np.linspace(-40 * sigma, 40 * sigma + order + 2, 2_000_001)
    base = -z * z / (2 * sigma * sigma) - math.log(sigma * math.sqrt(2 * math.pi))
    shift = (2 * z - 1) / (2 * sigma * sigma)
    ratio = np.logaddexp(math.log1p(-rate) if rate < 1 else -np.inf, math.log(rate) + shift)
    terms = base + order * ratio
    most = terms.max()
    return (most + math.log(np.exp(terms - most).sum() * (z[1] - z[0]))) / (order - 1)


@pytest.mark.parametrize("order", [2.0, 3.0, 8.0, 33.0])
@pytest.mark.parametrize(("rate", "sigma"), [(0.01, 1.0), (0.3, 2.0), (1.0, 5.0), (0.5, 0.8)])
def test_whole_orders_are_the_definition(rate, sigma, order):
    assert Mechanism(rate, sigma, 1).divergence(order) == pytest.approx(moment(rate, sigma, order), rel=1e-6)


@pytest.mark.parametrize("order", [1.3, 2.5, 7.75])
@pytest.mark.parametrize(("rate", "sigma"), [(0.01, 1.0), (0.3, 2.0), (0.5, 0.8)])
def test_between_whole_orders_it_is_never_less_than_the_definition(rate, sigma, order):
    found = Mechanism(rate, sigma, 1).divergence(order)
    assert found >= moment(rate, sigma, order) * (1 - 1e-9)
    assert found <= Mechanism(rate, sigma, 1).divergence(math.ceil(order)), "and no more than the next whole one"


@given(RATES, SIGMAS, ORDERS, ORDERS)
def test_divergences_grow_with_the_order_and_shrink_with_the_noise(rate, sigma, one, other):
    low, high = sorted((one, other))
    made = Mechanism(rate, sigma, 3)
    assert made.divergence(low) <= made.divergence(high) * (1 + 1e-6)
    assert Mechanism(rate, sigma * 1.1, 3).divergence(high) <= made.divergence(high)
    assert made.divergence(high) <= 3 * high / (2 * sigma * sigma) * (1 + 1e-6), (
        "batches never cost more than everybody"
    )


def test_tiny_rates_lose_nothing():
    """q^2 a (exp(1/sigma^2) - 1) / 2 to the first order: where sums around 1 would have lost all digits."""
    found = Mechanism(1e-9, 1.0, 1).divergence(4)
    assert found == pytest.approx(4 * 1e-18 * math.expm1(1.0) / 2, rel=1e-3)


@pytest.mark.parametrize("epsilon", [0.3, 1.0, 3.0, 8.0])
def test_noise_is_as_little_as_the_epsilon_allows(epsilon):
    sigma = calibrate(epsilon, 1e-5, 0.02, 500)
    assert epsilon_of_fit(0.02, sigma, 500, 1e-5) <= epsilon
    assert epsilon_of_fit(0.02, sigma * 0.995, 500, 1e-5) > epsilon


def test_no_noise_makes_the_impossible_possible():
    assert calibrate(1e-6, 1e-9, 1.0, 1_000_000) is None


@given(st.floats(0.2, 10), st.floats(0.1, 1), st.sampled_from([0.01, 0.1, 1.0]), st.integers(1, 2000))
@settings(max_examples=25)
def test_a_fit_and_queries_together_come_to_the_owners_epsilon_at_most(epsilon, share, rate, steps):
    account = Account(epsilon, 1e-6)
    sigma = calibrate(epsilon * share, account.reading, rate, steps)
    if sigma is None:
        return
    fit = Cost(0, 0, (Mechanism(rate, sigma, steps),))
    query = account.price(epsilon * 0.05)
    spent = NOTHING
    while account.allows(spent, query) and spent.rho < account.cap.rho // 2:
        spent += query
    if account.allows(spent, fit):
        spent += fit
    assert account.epsilon_of(spent) <= epsilon * (1 + 1e-9)
    assert account.left(spent) <= epsilon * (1 + 1e-9)


def test_a_fit_may_have_nearly_the_whole_budget():
    account = Account(3.0, 1e-5)
    sigma = calibrate(2.95, account.reading, 0.05, 400)
    assert account.allows(NOTHING, Cost(0, 0, (Mechanism(0.05, sigma, 400),)))
    assert not account.allows(NOTHING, Cost(0, 0, (Mechanism(0.05, sigma, 440),)))


def test_the_same_number_of_steps_costs_the_same_in_one_or_in_many():
    account = Account(3.0, 1e-5)
    whole, parts = Cost(0, 0, (Mechanism(0.05, 1.3, 400),)), NOTHING
    for _ in range(400):
        parts += Cost(0, 0, (Mechanism(0.05, 1.3, 1),))
    assert parts == whole
    assert whole.at(account.order).rho > 0


def test_one_tiny_fit_costs_something():
    """A thousand fits of next to nothing do not dodge by rounding: each is rounded up."""
    account = Account(1.0, 1e-6)
    tiny = Cost(0, 0, (Mechanism(1e-9, 1e4, 1),))
    assert tiny.at(account.order).rho >= 1


def test_a_higher_cap_reads_old_steps_at_its_own_order():
    """The order follows the owner's epsilon: what was spent is worked out anew, never carried over as a number."""
    strict, wide = Account(0.5, 1e-6), Account(8.0, 1e-6)
    spent = Cost(0, 0, (Mechanism(0.01, 0.9, 50),))
    assert wide.order < strict.order
    assert spent.at(strict.order).rho > spent.at(wide.order).rho
    assert rho_for(0.5, strict.reading) < rho_for(8.0, wide.reading)
