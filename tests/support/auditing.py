"""What guesses of who was trained on say of a fit's epsilon (Steinke, Nasr, Jagielski 2023, "Privacy auditing with one run")."""

from __future__ import annotations

import math

import numpy as np
from scipy import optimize, stats

DELTA = 1e-5


def p_value(canaries: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """Chance of so many right guesses in a private fit, at most (their appendix D)."""
    q = 1 / (1 + math.exp(-epsilon))
    beta = float(stats.binom.sf(right - 1, guesses, q))
    i = np.arange(1, right + 1)
    alpha = float(np.max(np.cumsum(stats.binom.pmf(right - i, guesses, q)) / i)) if right else 0.0
    return min(1.0, beta + alpha * delta * 2 * canaries)


def least_epsilon(inside: np.ndarray, scores: np.ndarray, delta: float = DELTA) -> float:
    """The epsilon that a fit has at least, at 95 %, by the best of some numbers of guesses."""
    order, best = np.argsort(scores), 0.0
    shares = (0.02, 0.05, 0.1, 0.2, 0.4, 1.0)
    for share in shares:
        each = max(1, int(len(scores) * share / 2))
        right = int((~inside[order[:each]]).sum() + inside[order[-each:]].sum())
        chance = 0.05 / len(shares)
        if p_value(len(scores), 2 * each, right, 0.0, delta) > chance:
            continue

        def over(e: float, each: int = each, right: int = right, chance: float = chance) -> float:
            return p_value(len(scores), 2 * each, right, e, delta) - chance

        best = max(best, 20.0 if over(20.0) < 0 else float(optimize.brentq(over, 0.0, 20.0)))
    return best
