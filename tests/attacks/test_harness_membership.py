"""How well a classifier tells from answers whether the target is in the table; exact modes do not promise that it cannot.

docs/utility.md holds the figures of the long run.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from bastion_policy.model import Policy
from harness_membership import area, default, logistic, membership, strict

WORLDS = max(30, int(os.environ.get("BASTION_FUZZ_CASES", "30")) // 4)


def test_single_rows_tell_members_for_sure() -> None:
    found = membership(Policy.open(), WORLDS)
    assert found.stranger > 0.95
    assert found.insider == 1.0


@pytest.mark.parametrize("policy", [default(), strict()], ids=["default", "strict"])
def test_guarded_answers_leave_a_stranger_in_doubt(policy: Policy) -> None:
    found = membership(policy, WORLDS, insiders=4)
    assert found.stranger < 0.9
    # the honest limit: who knows everybody else's record compares two exact totals
    assert found.insider == 1.0


def test_the_classifier_learns_what_there_is_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    labels = np.tile([0.0, 1.0], 200)
    noise = rng.normal(size=(400, 6))
    told = noise.copy()
    told[:, 2] += 2 * labels
    for features, least, most in ((noise, 0.4, 0.6), (told, 0.88, 0.96)):
        weights = logistic(features[:200], labels[:200])
        scores = np.column_stack([features[200:], np.ones(200)]) @ weights
        assert least < area(scores, labels[200:]) < most
    assert area(np.array([1.0, 2, 2, 3]), np.array([0, 1, 0, 1])) == 0.875
