"""Random plans in worlds that differ by one person (see tests/support/neighbours.py)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import neighbours
import pytest

FIRST, PLAYED, MANY = 17_000_000, 100, 2_000


def test_one_person_changes_nobody_elses_rows_and_no_sum_by_more() -> None:
    found, counts = neighbours.wrong(FIRST, PLAYED)
    assert not found, found[0]
    assert counts["rows"] == PLAYED
    assert counts["statistics"] > PLAYED / 4, counts


@pytest.mark.slow
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("threads", [2, 16])
def test_so_it_is_on_few_and_on_many_threads(threads: int) -> None:
    """The engine cuts tables into pieces by its threads, so that rows stand alone or among others."""
    support = Path(neighbours.__file__)
    environment = os.environ | {"POLARS_MAX_THREADS": str(threads), "PYTHONPATH": str(support.parent)}
    command = [sys.executable, str(support), str(FIRST + threads * 1_000_000), str(MANY)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4_000:]
