"""A cell that one person dominates does not follow from answers that pass, in one step of subtraction or in several."""

from __future__ import annotations

import os

import pytest
from harness_outliers import WAYS, run
from harness_trackers import default, strict

WORLDS = range(max(8, int(os.environ.get("BASTION_FUZZ_CASES", "8")) // 4))
OFF = ("history", "linear_audit", "saturation", "dominance")


@pytest.mark.parametrize("curious", [True, False], ids=["curious", "quiet"])
@pytest.mark.parametrize("name", WAYS)
def test_default_profile_does_not_give_a_dominated_cell(name: str, curious: bool) -> None:
    found = run(name, WORLDS, default(), curious=curious)
    assert len(found.withheld) == found.worlds, "the cell is shown: the attack tests nothing"
    assert not found.unexplained
    assert found.got == []


@pytest.mark.parametrize("curious", [True, False], ids=["curious", "quiet"])
@pytest.mark.parametrize("name", WAYS)
def test_strict_profile_does_not_give_a_dominated_cell(name: str, curious: bool) -> None:
    found = run(name, WORLDS, strict(), curious=curious)
    assert len(found.withheld) == found.worlds
    assert found.got == []


@pytest.mark.parametrize("name", WAYS)
def test_without_the_rules_every_cell_is_had(name: str) -> None:
    found = run(name, WORLDS, default(OFF), curious=False)
    assert not found.withheld
    assert len(found.got) == found.worlds
