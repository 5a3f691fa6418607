"""Zero-concentrated differential privacy: what answers cost, and what they come to together.

Neighbours are two worlds that differ by all rows of one privacy unit, added or removed. What a person is promised is
(epsilon, delta)-differential privacy of everything that leaves; what is added up is rho, of zero-concentrated
differential privacy (Bun and Steinke 2016), for three reasons:

- A Gaussian of deviation sigma over a vector whose length changes by D at most costs exactly rho = D^2 / (2 sigma^2), and
  rho simply adds up. A hundred answers then need ten times the noise of one; with epsilons added up, it is a hundred times.
- It holds for queries chosen after seeing earlier answers, and for budgets that are a cap on the sum of adaptively
  chosen costs: a privacy filter (Feldman and Zrnic 2021, "Individual privacy accounting via a Renyi filter").
- Selection by noisy scores (quantiles) has a rho of its own, so one currency serves all mechanisms.

Keys that are not declared public may only be named where a noisy count passes a threshold. That fails with a small
probability, which adds up apart: (delta, rho)-approximate zCDP (Bun and Steinke 2016, section 8). Half of the owner's
delta is for that, half for reading rho as an epsilon.

Training with noise has a Renyi divergence that is no straight line in the order (subsampled.py), so it has no rho. What is
capped is therefore the divergence of one order, fixed by the owner's (epsilon, delta): the one at which the cap in rho reads as that
epsilon. A query of rho comes to rho times the order there, steps of training to their own; divergences of one order add up, and
a cap on their sum holds for steps and queries chosen after seeing earlier ones, too (Feldman and Zrnic 2021). Where nobody trains, nothing changes.

INVARIANT: everything that decides is a whole number: costs are rounded up to RHO_UNIT and DELTA_UNIT, caps down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from bastion_policy.private.subsampled import ORDERS, Mechanism, tail

RHO_UNIT = 1e-12
DELTA_UNIT = 1e-18
#: of the owner's epsilon, what an answer costs where its asker does not say; some seventy-five such answers fit
DEFAULT_SHARE = 0.1
#: below this, the noise would drown everything
MIN_RHO = 1e-9


@lru_cache(maxsize=4096)
def epsilon_of(rho: float, delta: float) -> float:
    """Return an epsilon such that rho-zCDP implies (epsilon, delta)-DP.

    Canonne, Kamath and Steinke 2020, "The discrete Gaussian for differential privacy", proposition 12: every alpha > 1
    gives a valid epsilon, so how well the best one is found is no matter of privacy.
    """
    if rho <= 0:
        return 0.0
    order = best_order(rho, delta)
    return max(0.0, rho * order + tail(order, delta))


@lru_cache(maxsize=4096)
def best_order(rho: float, delta: float) -> float:
    """Return the order, above 1, at which a rho above 0 reads as the smallest epsilon."""

    def at(log_order: float) -> float:
        order = 1 + math.exp(log_order)
        return rho * order + tail(order, delta)

    low, high = math.log(1e-6), math.log(1e9)
    for _ in range(80):  # the bound has one minimum in the order
        first, second = low + (high - low) / 3, high - (high - low) / 3
        if at(first) < at(second):
            high = second
        else:
            low = first
    return 1 + math.exp((low + high) / 2)


@lru_cache(maxsize=1024)
def rho_for(epsilon: float, delta: float) -> float:
    """Return a rho, close to the largest, that implies (epsilon, delta)-DP; never one that does not."""
    low, high = 0.0, max(1.0, epsilon)
    while epsilon_of(high, delta) <= epsilon:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        if epsilon_of(middle, delta) <= epsilon:
            low = middle
        else:
            high = middle
    return low


@dataclass(frozen=True, slots=True)
class Cost:
    """What an answer costs, or what a ledger holds, in whole units: rho in RHO_UNIT, delta of keys in DELTA_UNIT.

    steps: of training, whose rho depends on the order that is looked at.
    """

    rho: int
    delta: int = 0
    steps: tuple[Mechanism, ...] = ()

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.rho + other.rho, self.delta + other.delta, merged(*self.steps, *other.steps))

    def at(self, order: float) -> Cost:
        """Return it with its steps as the rho that comes to their divergence of an order."""
        each = (math.ceil(made.divergence(order) / order / RHO_UNIT) for made in self.steps)
        return Cost(self.rho + sum(each), self.delta) if self.steps else self

    def fits(self, cap: Cost) -> bool:
        """Whether it stays within a cap. INVARIANT: asked of costs that have no steps left (`at`) alone."""
        assert not self.steps
        return self.rho <= cap.rho and self.delta <= cap.delta

    @property
    def rho_value(self) -> float:
        """As a number."""
        return self.rho * RHO_UNIT

    @property
    def delta_value(self) -> float:
        """As a number."""
        return self.delta * DELTA_UNIT


def merged(*steps: Mechanism) -> tuple[Mechanism, ...]:
    """Return steps with those of one kind put together."""
    counts: dict[tuple[float, float], int] = {}
    for made in steps:
        counts[made.rate, made.sigma] = counts.get((made.rate, made.sigma), 0) + made.steps
    return tuple(Mechanism(*kind, count) for kind, count in counts.items())


NOTHING = Cost(0)


@dataclass(frozen=True, slots=True)
class Account:
    """An owner's (epsilon, delta), 0 < delta < 1, as a cap on costs."""

    epsilon: float
    delta: float

    @property
    def reading(self) -> float:
        """The part of delta for reading rho as an epsilon."""
        return self.delta / 2

    @property
    def cap(self) -> Cost:
        """All that may be spent."""
        rho = rho_for(self.epsilon, self.reading)
        return Cost(math.floor(rho / RHO_UNIT), math.floor(self.delta / 2 / DELTA_UNIT))

    @property
    def order(self) -> float:
        """The order whose divergence is capped."""
        return best_order(rho_for(self.epsilon, self.reading), self.reading)

    def allows(self, spent: Cost, more: Cost = NOTHING) -> bool:
        """Whether what was spent, and more, stay within the cap together."""
        return (spent + more).at(self.order).fits(self.cap)

    def price(self, epsilon: float) -> Cost:
        """Return what an answer of this epsilon costs, with its share of the delta for keys.

        An answer that spends a tenth of rho may use a tenth of that delta, so that the two run out together.
        """
        cap = self.cap
        rho = min(math.ceil(rho_for(epsilon, self.reading) / RHO_UNIT), cap.rho)
        return Cost(rho, cap.delta * rho // cap.rho if cap.rho else 0)

    def epsilon_of(self, cost: Cost) -> float:
        """Return the epsilon of what has been spent (with `delta`, half of which is for keys)."""
        if not cost.steps:
            return epsilon_of(cost.rho_value, self.reading)
        orders = (self.order, *ORDERS)
        return max(0.0, min(cost.at(o).rho_value * o + tail(o, self.reading) for o in orders))

    def left(self, spent: Cost) -> float:
        """Return the epsilon of the largest single answer that still fits."""
        return self.epsilon_of(Cost(max(0, self.cap.rho - spent.at(self.order).rho)))

    @property
    def default(self) -> float:
        """The epsilon of an answer whose asker names none."""
        return self.epsilon * DEFAULT_SHARE
