"""How well a Boolean column is reconstructed from overlapping sums: documented for every profile, not prevented by exact ones.

Guessing is right for half of the people. docs/utility.md holds the figures of the long run.
"""

from __future__ import annotations

import numpy as np
import pytest
from bastion_policy.model import Policy
from harness_reconstruction import Reconstruction, default, reconstruct

QUERIES = (20, 80)
SEEDS = range(3)


def runs(policy: Policy) -> list[list[Reconstruction]]:
    return [reconstruct(seed, policy, QUERIES, patience=1.0) for seed in SEEDS]


def mean(found: list[list[Reconstruction]], at: int, name: str) -> float:
    return float(np.mean([getattr(run[at], name) for run in found]))


@pytest.mark.parametrize(
    "policy", [Policy.open(), default(("history", "linear_audit", "saturation"))], ids=["open", "off"]
)
def test_without_the_audit_everybody_is_reconstructed(policy: Policy) -> None:
    found = runs(policy)
    assert mean(found, 1, "answered") == QUERIES[1]
    assert mean(found, 1, "least_squares") == 1.0
    assert mean(found, 1, "integers") == 1.0


def test_the_rank_budget_slows_reconstruction_and_does_not_stop_it() -> None:
    found = runs(default())
    assert mean(found, 1, "unexplained") == 0
    # 0.33 of 80 people, whatever is asked
    assert all(run[1].rank <= 27 for run in found)
    assert mean(found, 1, "rank") > 20
    for guess in ("least_squares", "integers"):
        assert 0.55 < mean(found, 1, guess) < 0.85
    # the honest limit: better than guessing
    assert mean(found, 1, "least_squares") > 0.65


def test_the_audit_without_its_budget_gives_nobody_but_bits_are_guessed() -> None:
    """Nobody's bit follows linearly, and yet nearly all are guessed: why there is a rank budget."""
    found = runs(default(("saturation",)))
    assert mean(found, 1, "rank") > 50
    assert mean(found, 1, "least_squares") > 0.9
