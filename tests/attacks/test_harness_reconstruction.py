"""How well a Boolean column is reconstructed from overlapping sums: documented for every profile, not prevented by exact ones.

Guessing is right for half of the people. docs/utility.md holds the figures of the long run.
"""

from __future__ import annotations

import numpy as np
import pytest
from bastion_policy.model import Policy
from harness_reconstruction import Reconstruction, default, reconstruct

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
