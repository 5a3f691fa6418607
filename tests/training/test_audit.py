"""Does a fit keep its epsilon? One run is asked who was in it (Steinke, Nasr, Jagielski 2023, "Privacy auditing with one run").

A coin decides of each of many people (canaries) whether they are in the table. They are made to be told apart: a model with one
weight each, which only they move. After the fit the ones whose weights moved most are guessed to be in, and those of the others
to be out. In a fit that is (epsilon, delta)-private so many right guesses have a small chance, and from the chance follows, at
95 %, an epsilon that the fit has at least.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from scipy import optimize, stats
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
from auditing import DELTA, least_epsilon
from bastion_plan.models.fits import Optimizer
from bastion_server.training import noise
from bastion_server.training.loop import Fit
from fitting import GB, KEY, opened, sent, spec


def gaussian_epsilon(sigma: float, steps: int, delta: float = DELTA) -> float:
    """Epsilon of steps that everybody is in (Balle, Wang 2018, theorem 8)."""
    s = sigma / math.sqrt(steps)

    def over(e: float) -> float:
        return float(stats.norm.cdf(0.5 / s - e * s) - math.exp(e) * stats.norm.cdf(-0.5 / s - e * s)) - delta

    return float(optimize.brentq(over, 0.0, 100.0))


def audited(canaries: int, sigma: float, steps: int, rate: float, seed: int) -> float:
    """One fit, and what it shows of who was in it."""
    rng = np.random.default_rng(seed)
    inside = rng.random(canaries) < 0.5
    who = np.flatnonzero(inside)
    x = np.zeros((len(who), canaries), dtype=np.float32)
    x[np.arange(len(who)), who] = 1.0
    frame = pl.DataFrame(
        {"#~u": who, "#~o": np.arange(len(who)), "x": pl.Series(x, dtype=pl.Array(pl.Float32, canaries))}
    )
    module = nn.Linear(canaries, 1, bias=False)
    nn.init.zeros_(module.weight)
    graph, weights = sent(module, canaries)
    # each row asks for a gradient far above the bound
    made = spec(
        inputs=(("x",),), loss="l2", steps=steps, rate=rate, expected=max(1.0, canaries / 2 * rate), batch=512,
        optimizer=Optimizer("sgd", 1e-3), epsilon=8.0,
    )  # fmt: skip
    with opened(frame.with_columns(y=pl.lit(100.0))) as path:
        fit = Fit(graph, made, path, weights, KEY, GB)
    fit.steps(steps, sigma)
    return least_epsilon(inside, fit.weights[0].reshape(-1).double().numpy())


def test_a_fit_with_noise_keeps_its_epsilon_and_one_without_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    claimed = gaussian_epsilon(2.0, 1)
    assert claimed == pytest.approx(1.99, abs=0.2)
    found = audited(800, 2.0, 1, 1.0, seed=1)
    assert found < claimed
    monkeypatch.setattr(noise, "normals", lambda count: np.zeros(count))
    assert audited(800, 2.0, 1, 1.0, seed=1) > claimed + 1


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(3))
def test_many_steps_of_drawn_people_keep_their_epsilon(seed: int) -> None:
    from bastion_server.training.child import tight

    torch.set_num_threads(1)
    # all in all steps, and a strong signal: the audit sees something
    claimed = gaussian_epsilon(4.0, 16)
    found = audited(3000, 4.0, 16, 1.0, seed)
    assert 0.3 < found < claimed
    # drawn with a rate: less is claimed, and less is seen
    claimed = tight(0.25, 1.0, 30, DELTA)
    assert audited(3000, 1.0, 30, 0.25, seed) < claimed
