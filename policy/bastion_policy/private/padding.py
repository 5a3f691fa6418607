"""How many empty places are run beside people's, so that how long it takes tells of how many people there are with noise alone.

Whoever works on n people in passes of a fixed width tells the number of passes by the clock, and so n, to the pass, without noise: who
lets a filter choose few people and some that are known reads one person's secret from it. So the number of people is **one more
coordinate** of the Gaussian mechanism that is paid already. A person adds at most B to all other coordinates, as a norm, and
gamma * B' to this one; the bound of the whole is the root of the sum of both squares, and the noise of every coordinate is sigma times that.
In people, the noise of this one has a deviation of sigma * bound / (gamma * B'). Nothing else of the accounting changes.

The noisy number is never looked at for itself. T = round(FAR * deviation + deviation * z) empty places, z normal, stand beside the
people, and the number of passes is a function of n + T and of public numbers: post-processing of n + FAR * deviation + deviation * z
(n is whole, so n + round(y) = round(n + y)). There cannot be fewer than no empty places: where T would be below 0 it is 0,
which happens with a probability below 1e-17, however many people there are. That is part of delta: 1e-17 a step, 1e-11 in the
longest fit there may be.

INVARIANT: the share is chosen from public numbers alone.
"""

from __future__ import annotations

import math

#: deviations by which the middle of the number of empty places lies above none
FAR = 8.5
LEAST, MOST = 0.05, 1.0
#: how many times as much a part more of noise counts as a part more of time
_DEARER = 10.0


def share(sigma: float, expected: float) -> float:
    """Return gamma: which part of the bound a person adds to the number of people.

    A large one makes the noise of everything larger (by gamma^2 / 2), a small one makes many empty places (FAR * sigma / gamma).
    With r = FAR * sigma / expected, r / gamma + _DEARER * gamma^2 / 2 is least where gamma^3 = r / _DEARER.

    Args:
        sigma: deviation of the noise, in units of the bound. expected: people, as who asks has written it.
    """
    return min(MOST, max(LEAST, math.cbrt(FAR * sigma / expected / _DEARER)))


def deviation(sigma: float, gamma: float, bound: float = 1.0) -> float:
    """Return the deviation of the number of empty places, in people. bound: of a person's other coordinates, in units of what
    gamma is a part of."""
    return sigma * math.hypot(bound, gamma) / gamma


def middle(deviation: float) -> float:
    """Return how many empty places there are in the middle."""
    return FAR * deviation


def count(deviation: float, normal: float) -> int:
    """Return how many empty places there are. deviation: 0: none, as nothing is to be hidden. normal: a fresh normal deviate."""
    return max(0, round(middle(deviation) + deviation * normal))
