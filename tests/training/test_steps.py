"""What a step is made of: the noise that is paid, the people that are paid for, the loss and the learning rate that were asked for."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

sys.path.insert(0, str(Path(__file__).parent))
from bastion_plan.models.fits import Optimizer, Schedule
from bastion_server.training import losses, noise
from fitting import fit, spec, table

PEOPLE, RATE, STEPS = 2000, 0.1, 200


@pytest.mark.parametrize("sigma", [0.7, 5.0])
def test_a_step_has_noise_of_the_deviation_that_it_is_asked_for(sigma: float) -> None:
    """Of nobody a step is noise alone: 40,200 numbers, whose deviation is known to .35 %."""
    how = spec(200, rate=1e-12, expected=8.0, clip=0.25, steps=2, optimizer=Optimizer(lr=3.0))
    made = fit(table(4, 200), how, nn.Linear(200, 200), sigma=sigma)
    for asked in (sigma, 2 * sigma):
        before = [w.clone() for w in made.weights]
        made.steps(1, asked)
        moved = torch.cat([(a - b).flatten() for a, b in zip(made.weights, before, strict=True)]).double()
        whole = math.sqrt(1 + noise.BETA**2 + made.room.gamma**2)
        paid = asked * 0.25 * whole * 3.0 / 8.0
        assert paid * 0.98 < float(moved.std()) < paid * 1.04
        assert float(moved.std()) == pytest.approx(
            asked * noise.sensitivity(0.25, made.room.gamma) * 3.0 / 8.0, rel=0.025
        )
        assert abs(float(moved.mean())) < 7 * paid / math.sqrt(len(moved))


def test_the_loss_of_a_step_has_noise_of_that_deviation_too() -> None:
    made = fit(table(4), spec(rate=1e-12, expected=8.0, steps=400, clip=0.25, optimizer=Optimizer(lr=1e-9)), sigma=2.0)
    # of nobody it is noise: 400 numbers, whose deviation is known to 3.5 %
    found = [made.steps(1, 2.0) or 0.0 for _ in range(400)]
    paid = 2.0 * noise.sensitivity(0.25, made.room.gamma) / 8.0 / (noise.BETA * 0.25 / made.spec.loss_bound)
    assert np.std(found) == pytest.approx(paid, rel=0.25)


def test_people_are_drawn_at_the_rate_that_is_paid_each_step_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    made = fit(table(PEOPLE), spec(rate=RATE, steps=STEPS), sigma=1.0)
    nothing = torch.zeros(made.graph.parameters + 1, dtype=torch.float64)
    drawn = np.zeros((STEPS, PEOPLE), dtype=bool)

    def summed(people: Any) -> Tensor:
        assert len(set(people.tolist())) == len(people)
        drawn[made.done, people] = True
        return nothing.clone()

    monkeypatch.setattr(made, "summed", summed)
    made.steps(STEPS, 1.0)
    # bounds of 7 deviations
    spread = math.sqrt(RATE * (1 - RATE))
    assert abs(drawn.mean() - RATE) < 7 * spread / math.sqrt(drawn.size)
    assert np.abs(drawn.mean(0) - RATE).max() < 8 * spread / math.sqrt(STEPS), "nobody more often than others"
    # each by themselves: of how many there are in a step, and of who is in two steps in a row
    assert 0.4 < drawn.sum(1).var() / (PEOPLE * spread**2) < 2.0
    twice = (drawn[1:] & drawn[:-1]).mean()
    assert abs(twice - RATE**2) < 8 * RATE / math.sqrt(drawn.size)


# -- what is learned from, and how fast

TORCH = {
    "cross_entropy": lambda out, y: nnf.cross_entropy(out, y[:, 0].long()),
    "bce": lambda out, y: nnf.binary_cross_entropy_with_logits(out, y),
    "l2": lambda out, y: nnf.mse_loss(out, y),
    "l1": lambda out, y: nnf.l1_loss(out, y),
}


def without_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "noised", lambda total, clip, sigma, gamma: total)


def small(out: int) -> nn.Module:
    torch.manual_seed(7)
    return nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, out))


@pytest.mark.parametrize("name", TORCH)
def test_a_loss_is_that_of_torch(name: str) -> None:
    assert set(TORCH) == set(losses.BY_NAME)
    torch.manual_seed(2)
    out, others = torch.randn(30, 3), torch.randn(30, 3)
    labels = {"cross_entropy": torch.arange(30) % 3, "bce": (others > 0).float()}.get(name, others)
    mine, theirs = out.clone().requires_grad_(), out.clone().requires_grad_()
    found = torch.vmap(losses.BY_NAME[name])(mine, labels).mean()
    expected = TORCH[name](theirs, labels[:, None] if labels.dim() == 1 else labels)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    found.backward()
    expected.backward()
    assert mine.grad is not None and theirs.grad is not None
    assert torch.allclose(mine.grad, theirs.grad, atol=1e-6)


@pytest.mark.parametrize("private", [True, False], ids=["private", "exact"])
@pytest.mark.parametrize("name", TORCH)
def test_a_fit_goes_down_the_loss_that_it_names(name: str, private: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    without_noise(monkeypatch)
    frame, module = table(50), small(2 if name == "cross_entropy" else 1)
    how = spec(
        loss=name, private=private, rate=1.0, expected=50.0, batch=50, clip=1e6, loss_bound=1e3, steps=8,
        optimizer=Optimizer(lr=0.3),
    )  # fmt: skip
    made = fit(frame, how, module)
    optimizer = torch.optim.SGD(module.parameters(), 0.3)
    x = torch.tensor(frame.select("x0", "x1", "x2", "x3").to_numpy(), dtype=torch.float32)
    y = torch.tensor(frame.select("y").to_numpy(), dtype=torch.float32)
    for step in range(8):
        optimizer.zero_grad()
        expected = TORCH[name](module(x), y)
        expected.backward()
        optimizer.step()
        assert made.steps(1, 1.0 if private else 0.0) == pytest.approx(expected.item(), rel=1e-4), step
    for mine, theirs in zip(made.weights, module.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-4)


SCHEDULES = {
    "constant": (Schedule(), [0.2] * 5),
    "step": (Schedule("step", period=2, gamma=0.5), [0.2, 0.2, 0.1, 0.1, 0.05]),
    "exponential": (Schedule("exponential", period=1, gamma=0.5), [0.2, 0.1, 0.05, 0.025, 0.0125]),
    "linear": (Schedule("linear", floor=0.0), [0.2, 0.15, 0.1, 0.05, 0.0]),
    "cosine": (Schedule("cosine", floor=0.5), [0.2, 0.2 - 0.05 * (1 - math.sqrt(0.5)), 0.15, 0.1 + 0.05 * (1 - math.sqrt(0.5)), 0.1]),
    "warm-up": (Schedule(warmup=4), [0.05, 0.1, 0.15, 0.2, 0.2]),
}  # fmt: skip


@pytest.mark.parametrize("private", [True, False], ids=["private", "exact"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_each_step_has_the_rate_of_its_schedule(name: str, private: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a gradient that is the same in each step, a bias moves by the rate."""
    without_noise(monkeypatch)
    schedule, rates = SCHEDULES[name]
    how = spec(
        loss="l1", private=private, rate=1.0, expected=50.0, batch=50, clip=1e6, steps=5, loss_bound=1e6,
        optimizer=Optimizer(lr=0.2), schedule=schedule,
    )  # fmt: skip
    made, moved = fit(table(50).with_columns(y=1e5), how, nn.Linear(4, 1)), list[float]()
    bias = next(w for w, t in zip(made.weights, made.graph.weights, strict=True) if t.name == "bias")
    for _ in range(5):
        before = bias.item()
        made.steps(1, 1.0 if private else 0.0)
        moved.append(bias.item() - before)
    assert moved == pytest.approx(rates, abs=1e-4)
