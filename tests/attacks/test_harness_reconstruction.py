"""How well a Boolean column is reconstructed from overlapping sums: documented for every profile, not prevented by exact ones.

Guessing is right for half of the people. docs/utility.md holds the figures of the long run.
"""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
from bastion_policy import policy as policies
from bastion_policy.model import Policy, Rounding, Saturation
from harness_reconstruction import Reconstruction, default, reconstruct, strict

QUERIES = 80
SEEDS = range(3)


def runs(policy: Policy, patience: float = 1.0) -> list[Reconstruction]:
    return [reconstruct(seed, policy, [QUERIES], patience)[0] for seed in SEEDS]


def mean(found: list[Reconstruction], name: str) -> float:
    return float(np.mean([getattr(run, name) for run in found]))


@pytest.mark.parametrize(
    "policy", [Policy.open(), default(("history", "linear_audit", "saturation"))], ids=["open", "off"]
)
def test_without_the_audit_everybody_is_reconstructed(policy: Policy) -> None:
    found = runs(policy)
    assert mean(found, "answered") == QUERIES
    assert mean(found, "least_squares") == 1.0
    assert mean(found, "integers") == 1.0


def test_the_rank_budget_slows_reconstruction_and_does_not_stop_it() -> None:
    found = runs(default())
    assert mean(found, "unexplained") == 0
    # 0.33 of 80 people, whatever is asked
    assert all(run.rank <= 27 for run in found)
    assert mean(found, "rank") > 20
    for guess in ("least_squares", "integers"):
        assert 0.55 < mean(found, guess) < 0.85
    # the honest limit: better than guessing
    assert mean(found, "least_squares") > 0.65


def test_the_audit_without_its_budget_gives_nobody_but_bits_are_guessed() -> None:
    """Nobody's bit follows linearly, and yet nearly all are guessed: why there is a rank budget."""
    found = runs(default(("saturation",)), patience=0)
    assert mean(found, "rank") > 50
    assert mean(found, "least_squares") > 0.9


def without(rule: type, seeds: range, queries: int = QUERIES) -> list[Reconstruction]:
    """The strict profile without one of its rules, none of which a policy may weaken."""
    left = tuple(r for r in policies.STRICT_RULES if not isinstance(r, rule))
    with patch.object(policies, "STRICT_RULES", left):
        return [reconstruct(seed, strict(), [queries], 0)[0] for seed in seeds]


def test_rounded_answers_say_less_than_exact_ones() -> None:
    found = runs(strict())
    assert mean(found, "unexplained") == 0
    assert all(15 < run.rank <= 27 for run in found)
    for guess in ("least_squares", "integers"):
        assert 0.5 < mean(found, guess) < 0.68
    assert mean(without(Rounding, SEEDS), "least_squares") > mean(found, "least_squares") + 0.04


def test_strict_answers_have_a_rank_budget_too() -> None:
    assert without(Saturation, SEEDS[:1], queries=45)[0].rank > 30
