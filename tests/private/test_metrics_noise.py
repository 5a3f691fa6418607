"""How much noise a metric of a model has: as much as what is paid for it makes necessary, by all rows of a person, on all that is told."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from bastion_policy.private.accounting import Account
from bastion_policy.private.metrics import length_of, noise_of
from bastion_server.private import mechanisms
from bastion_server.service import measuring
from bastion_wire import messages as m
from fit_line import spec

#: metric, classes: how far a row moves its numbers, as bastion_policy.private.metrics says it in words
MOVES = {
    ("accuracy", 2): 1.0, ("confusion", 2): 1.0, ("confusion", 60): 1.0, ("f1", 3): 1.0, ("auc", 2): 1.0, ("auc", 5): math.sqrt(5),
    ("loss", 2): 4096.0, ("mae", 2): 4096.0,
}  # fmt: skip
RHO = 0.02


@pytest.mark.parametrize(("metric", "classes"), MOVES)
def test_the_noise_on_a_metric_and_on_how_many_rows_there_are_cost_together_what_is_paid(
    metric: str, classes: int
) -> None:
    for rho, rows, people in itertools.product((1e-6, RHO, 3.0), (1, 7), (1.0, 400.0, 1e6)):
        found = noise_of(metric, classes, rho, rows, people)
        moved = MOVES[metric, classes] * rows
        assert found.norm == pytest.approx(moved)
        numbers, clock = (moved / found.scale) ** 2 / 2, (rows / found.rows) ** 2 / 2
        assert numbers <= found.rho, "what the numbers alone are drawn for"
        assert rho * 0.999 < numbers + clock <= rho, (rho, rows, people)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[np.ndarray, float]]:
    """What was added to the numbers of each metric, and with which deviation it was asked for."""
    found, real = list[tuple[np.ndarray, float]](), mechanisms.gaussian

    def gaussian(values: Any, scale: float, sensitivity: float, rho: float) -> Any:
        told = real(values, scale, sensitivity, rho)
        found.append((told - values, scale))
        return told

    monkeypatch.setattr(mechanisms, "gaussian", gaussian)
    return found


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize(("metric", "classes"), MOVES)
def test_what_is_told_has_that_noise(
    metric: str, classes: int, rows: int, drawn: list[tuple[np.ndarray, float]]
) -> None:
    terms: Any = SimpleNamespace(account=Account(8.0, 1e-6), spec=spec(rows=rows, batch=64))
    counts = (1000,) * length_of(metric, classes)
    told = measuring._drawn(counts, terms, m.TestRun("f", metric), 4.0, 1.0, RHO)
    ((noise, scale),) = drawn
    least = MOVES[metric, classes] * rows / math.sqrt(2 * RHO)
    assert told.noisy and least <= scale < 1.5 * least
    assert len(noise) == len(counts)
    if len(noise) > 500:  # bounds of 7 deviations
        assert noise.std() == pytest.approx(scale, rel=7 / math.sqrt(2 * len(noise)))
    if metric == "confusion":
        assert np.array(told.matrix).ravel().tolist() == (noise + 1000).tolist()
