"""One population has one answer however it is asked; so have those within fewer than k people of one that was answered."""

from __future__ import annotations

import os

import numpy as np
import pytest
from bastion_policy.model import Policy
from harness_averaging import average
from harness_trackers import default, strict

WORLDS = range(max(6, int(os.environ.get("BASTION_FUZZ_CASES", "6")) // 4))


@pytest.mark.parametrize("policy", [default(), strict()], ids=["default", "strict"])
def test_wordings_of_one_question_get_one_answer(policy: Policy) -> None:
    found = average(WORLDS, policy)
    assert found.error, "nothing was answered"
    assert set(found.same) == {1}
    assert found.withheld <= 0.1 * found.questions
    assert set(found.near) == {1}
    assert found.told == 0
    # the mean of many answers is no better than one
    assert np.array_equal(np.round(found.error, 9), np.round(found.averaged, 9))


def test_strict_answers_are_rounded_and_stay_so() -> None:
    assert np.mean(average(WORLDS, strict()).averaged) > 1e-4


@pytest.mark.parametrize(
    "policy", [default(("history", "linear_audit", "saturation")), Policy.open()], ids=["off", "open"]
)
def test_without_history_a_few_people_more_tell_who_they_are(policy: Policy) -> None:
    found = average(WORLDS, policy)
    assert min(found.near) > 1
    # in a few of many worlds two people fit
    assert found.told >= 0.9 * found.worlds
