"""Settings of all tests: where shared helpers lie, and how many random cases a run makes.

`BASTION_FUZZ_CASES` is the number of cases per property (default 25). The cases are the same in every run unless
`HYPOTHESIS_PROFILE=explore` asks for new ones.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy  # noqa: F401 - its BLAS is to be limited
import pytest
from hypothesis import HealthCheck, settings
from threadpoolctl import threadpool_limits

os.environ.setdefault("BASTION_HISTORY", "0")  # kernels of tests write nothing into the history of who runs them
threadpool_limits(1, user_api="blas")  # as in a server
sys.path.insert(0, str(Path(__file__).parent / "support"))

CASES = int(os.environ.get("BASTION_FUZZ_CASES", "25"))
_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]

settings.register_profile(
    "ci", derandomize=True, max_examples=CASES, deadline=None, database=None, suppress_health_check=_SLOW
)
settings.register_profile("explore", max_examples=CASES, deadline=None, suppress_health_check=_SLOW)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

#: the files that take longest; begun first, they do not keep one worker busy when the others have ended. While one worker
#: plays the attacks, which is all computing, the other waits for browsers, all of them in one JupyterLab
LONGEST = (
    "attacks/wire/test_wire_attacks.py",
    "browser/test_owner.py",
    "browser/test_hostile.py",
    "browser/test_lab.py",
    "browser/test_typing.py",
    "browser/test_magics.py",
    "browser/test_plots.py",
    "browser/test_owner_forms.py",
    "kernel/test_journeys.py",
    "policy/test_differences.py",
    "oracle/test_row_oracle.py",
    "service/test_open_differential.py",
    "attacks/test_harness_trackers.py",
    "policy/test_strict_worlds.py",
    "policy/test_extreme_values.py",
    "attacks/test_harness_membership.py",
    "attacks/test_harness_search.py",
    "engine/functions/test_dtypes.py",
    "attacks/test_harness_reconstruction.py",
    "private/test_service.py",
    "policy/test_decimals_and_times.py",
    "engine/functions/test_differential.py",
    "private/test_epsilon.py",
    "workers/test_register.py",
    "workers/test_pool.py",
    "cli/test_commands.py",
    "attacks/test_harness_private.py",
    "policy/test_merge.py",
)


@pytest.fixture(autouse=True, scope="module")
def denormals() -> Iterator[None]:
    """Give tiny numbers back after tests that train in this process, which takes them for 0 as a worker does."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without looking for garbage, and never look among what was collected: fifteen thousand tests stay."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first (`--dist loadscope` hands out whole files in this order)."""
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
