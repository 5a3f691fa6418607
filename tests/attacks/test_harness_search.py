"""Random plans from the registry, in worlds that differ in one secret: no released value follows it.

BASTION_FUZZ_CASES sessions (30 in a normal run). The same search finds leaks where the guard is open, and where only the
rules about several answers are off.
"""

from __future__ import annotations

import pytest
from bastion_policy.code import plan_code
from harness_search import CASES, Search, default, open_policy, search, separates, strict


def shown(found: Search) -> str:
    return "\n".join(
        f"seed {f.seed}, {f.secret}: {f.features[:4]}\n" + "\n".join(map(plan_code, f.plans)) for f in found.findings
    )


def test_default_profile_has_no_plan_that_determines_a_secret() -> None:
    found = search(range(CASES), default())
    assert found.answered > found.cases / 4, "too few plans are answered: the search tests nothing"
    assert not found.findings, shown(found)


def test_strict_profile_has_no_plan_that_determines_a_secret() -> None:
    found = search(range(CASES // 2), strict())
    assert found.answered > found.cases / 8, "too few plans are answered: the search tests nothing"
    assert not found.findings, shown(found)


def test_search_finds_leaks_where_there_is_no_guard() -> None:
    assert len(search(range(15), open_policy()).findings) >= 1


def test_search_finds_differences_without_history_and_audit() -> None:
    assert search((2, 24, 32), default(("history", "linear_audit", "saturation"))).findings


@pytest.mark.parametrize(
    ("groups", "tells"),
    [
        ([[1.0, 1.1], [2.0, 2.1], [3.0, 3.2]], True),
        ([[3.0, 3.1], [2.0, 2.1], [1.0, 1.2]], True),
        ([[1.0, 2.5], [2.0, 2.1]], False),
        ([[1.0, 1.0], [1.0, 1.0]], False),
        ([[5.0, 5.0], [5.0 + 1e-12, 5.0 + 1e-12]], False),
        ([["release"] * 3, ["review"] * 3], True),
        ([["release", "review"], ["review", "review"]], False),
    ],
)
def test_a_feature_tells_if_secrets_never_overlap(groups: list[list[object]], tells: bool) -> None:
    assert separates(groups) is tells
