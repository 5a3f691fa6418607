"""What training with noise costs: the Gaussian mechanism on random batches, by Renyi divergences.

Each step takes every person with probability `rate`, adds up their bounded gradients and adds a Gaussian of `sigma` times the
bound. For neighbours that differ by one person, and for a whole order a, its Renyi divergence is at most log(A_a) / (a - 1),

    A_a = sum over k of C(a, k) (1 - q)^(a - k) q^k exp((k^2 - k) / (2 sigma^2))

(Mironov, Talwar, Zhang 2019, "Renyi differential privacy of the sampled Gaussian mechanism", theorem 4 and section 3.3, which
hold for adding and for removing a person). The terms k = 0 and 1 and the ones in the others make 1 together, so A_a - 1 is a sum
of positive terms, which loses nothing where it is small. log A is convex in the order and 0 at order 1 (it is the logarithm of
a moment), so between whole orders the straight line is an upper bound.

INVARIANT: each divergence is rounded up by more than the arithmetic may be off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

_Floats = np.ndarray[Any, np.dtype[np.float64]]

#: whole orders that an epsilon is looked for at
ORDERS: tuple[int, ...] = (*range(2, 65), *range(68, 129, 4), *range(144, 513, 16))
_UP = 1 + 1e-9
#: sigma is looked for between these
LEAST_SIGMA, MOST_SIGMA = 0.02, 1e5


@dataclass(frozen=True, slots=True)
class Mechanism:
    """Steps of one kind. rate: of a person being in a batch. sigma: deviation in units of the bound."""

    rate: float
    sigma: float
    steps: int

    def divergence(self, order: float) -> float:
        """Return the Renyi divergence of an order above 1, of all steps together."""
        return self.steps * _step(self.rate, self.sigma, order)


@lru_cache(maxsize=1 << 16)
def _step(rate: float, sigma: float, order: float) -> float:
    below = math.floor(order)
    if below == order:
        return _log_moment(rate, sigma, below) / (order - 1) * _UP
    share = order - below
    low = _log_moment(rate, sigma, below) if below > 1 else 0.0
    line = ((1 - share) * low + share * _log_moment(rate, sigma, below + 1)) / (order - 1)
    return min(line, order / (2 * sigma * sigma)) * _UP  # never more than if everybody were in each batch


@lru_cache(maxsize=1 << 16)
def _log_moment(rate: float, sigma: float, order: int) -> float:
    """Return log(A) of a whole order from 2 on."""
    if rate >= 1:
        return (order * order - order) / (2 * sigma * sigma)
    k, ways = _ways(order)
    power = (k * k - k) / (2 * sigma * sigma)
    grown = power + np.log(-np.expm1(-power))  # log(exp(power) - 1)
    terms = ways + (order - k) * math.log1p(-rate) + k * math.log(rate) + grown
    most = float(terms.max())
    logarithm = most + math.log(float(np.exp(terms - most).sum()))
    return math.log1p(math.exp(logarithm)) if logarithm < 30 else logarithm + math.exp(-logarithm)


@lru_cache(maxsize=1024)
def _ways(order: int) -> tuple[_Floats, _Floats]:
    """Return k = 2 to the order, and the logarithms of order over k."""
    k = np.arange(2, order + 1, dtype=np.float64)
    return k, np.array([math.lgamma(order + 1) - math.lgamma(j + 1) - math.lgamma(order - j + 1) for j in k])


def tail(order: float, delta: float) -> float:
    """Return what is added to a Renyi divergence to read it as an epsilon: Canonne, Kamath, Steinke 2020, proposition 12."""
    return (math.log(1 / delta) + (order - 1) * math.log1p(-1 / order) - math.log(order)) / (order - 1)


def epsilon_of_fit(rate: float, sigma: float, steps: int, delta: float) -> float:
    """Return an epsilon such that the steps alone are (epsilon, delta)-differentially private; 0 for no steps."""
    if steps <= 0:
        return 0.0
    made = Mechanism(rate, sigma, steps)
    return max(0.0, min(made.divergence(order) + tail(order, delta) for order in ORDERS))


@lru_cache(maxsize=1024)
def calibrate(epsilon: float, delta: float, rate: float, steps: int) -> float | None:
    """Return a sigma, in four digits and close to the smallest, with which the steps alone stay within (epsilon, delta).

    None where no noise that makes sense does.
    """
    if epsilon_of_fit(rate, MOST_SIGMA, steps, delta) > epsilon:
        return None
    low, high = math.log(LEAST_SIGMA), math.log(MOST_SIGMA)
    for _ in range(40):
        middle = (low + high) / 2
        if epsilon_of_fit(rate, math.exp(middle), steps, delta) <= epsilon:
            high = middle
        else:
            low = middle
    sigma = math.exp(high)
    digit = 10.0 ** (math.floor(math.log10(sigma)) - 3)
    return math.ceil(sigma / digit) * digit
