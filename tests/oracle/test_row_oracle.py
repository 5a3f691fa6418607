"""The judge against the row oracle: never more permissive, at least 95% of what is allowed, true answers.

BASTION_FUZZ_CASES cases (210 in a normal run), two thirds of them single queries without a history, the rest sequences of
one to six queries of one audience. A case is a world of two tables with their policies. They are the same in every run;
`make fuzz-policy` plays others, in shards. `pytest -s` prints what was tried and found.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

sys.path.insert(0, str(Path(__file__).parent))
from random_queries import Case, cases
from row_play import ENOUGH, ONE, SEVERAL, TALLY, describe, play

CASES = int(os.environ.get("BASTION_FUZZ_CASES", "210"))


@settings(max_examples=max(1, CASES - CASES // 3), suppress_health_check=list(HealthCheck))
@given(case=cases(most=1))
def single_queries(case: Case) -> None:
    found = play(case, remembers=False)
    assert not found, describe(case, found)


@settings(max_examples=max(1, CASES // 3), suppress_health_check=list(HealthCheck))
@given(case=cases(most=6))
def sequences(case: Case) -> None:
    found = play(case, remembers=True)
    assert not found, describe(case, found)


def run(cases_of: Callable[[], None], least: int, shares: Mapping[str, float]) -> None:
    """Play cases; of the cells that the oracle allows, and that the docs do not send to review, a share leaves."""
    TALLY.start()
    cases_of()
    allowed = {of: TALLY.counts[f"cells allowed, {of}"] for of in shares}
    assert sum(allowed.values()) >= least
    for of, share in shares.items():
        assert TALLY.share(of) >= share or allowed[of] < ENOUGH, (of, TALLY.share(of), TALLY.hidden.most_common(8))


@pytest.mark.timeout(600)
def test_single_queries() -> None:
    """One query at a time, without a history: nothing leaves that the oracle does not allow, and what it allows does."""
    run(single_queries, CASES // 12, {ONE: 0.95, SEVERAL: 0.95})


@pytest.mark.timeout(600)
def test_sequences() -> None:
    """One to six queries of one audience, of which the history is kept."""
    run(sequences, CASES // 10, {ONE: 0.95, SEVERAL: 0.95})


@pytest.fixture(autouse=True)
def said() -> Any:
    yield
    print("\n" + TALLY.report())
    print("not defined:", TALLY.unknown.most_common(12))
    print("allowed and not shown:", TALLY.hidden.most_common(12))
