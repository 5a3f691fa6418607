"""Our optimisers against torch's, step by step; and how a client names them."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import torch
from bastion_plan.errors import InputError
from bastion_plan.models.fits import Optimizer, Schedule, check_spec
from bastion_server.training.optimizers import Update, rate_at

sys.path.insert(0, str(Path(__file__).parent))
from fitting import mlp, sent, spec

from bastion.client.training.optimizers import OPTIMIZERS, SGD, Adam, AdamW, CosineLR, ExponentialLR, LinearLR, StepLR
from bastion.client.training.optimizers import SCHEDULES as NAMED

KINDS = {
    "sgd": (Optimizer("sgd", 0.1), lambda w: torch.optim.SGD(w, 0.1)),
    "momentum": (
        Optimizer("sgd", 0.1, momentum=0.9, weight_decay=0.01),
        lambda w: torch.optim.SGD(w, 0.1, momentum=0.9, weight_decay=0.01),
    ),
    "nesterov": (
        Optimizer("sgd", 0.1, momentum=0.9, nesterov=True),
        lambda w: torch.optim.SGD(w, 0.1, momentum=0.9, nesterov=True),
    ),
    "adam": (
        Optimizer("adam", 0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1),
        lambda w: torch.optim.Adam(w, 0.01, (0.8, 0.95), 1e-6, 0.1),
    ),
    "adamw": (Optimizer("adamw", 0.01, weight_decay=0.1), lambda w: torch.optim.AdamW(w, 0.01, weight_decay=0.1)),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_step_is_that_of_torch_also_after_a_pause(name: str) -> None:
    made, theirs = KINDS[name]
    torch.manual_seed(1)
    first = [torch.randn(3, 2), torch.randn(4)]
    mine = [w.clone() for w in first]
    other = [w.clone().requires_grad_() for w in first]
    update, optimizer = Update(made, mine), theirs(other)
    for number in range(1, 8):
        if number == 4:
            kept = {n: t.clone() for n, t in update.put().items()}
            update = Update(made, mine)
            update.take(kept)
        gradients = [torch.randn_like(w) for w in first]
        update.step(gradients, number, made.lr)
        for w, g in zip(other, gradients, strict=True):
            w.grad = g.clone()
        optimizer.step()
        for a, b in zip(mine, other, strict=True):
            assert torch.allclose(a, b, rtol=1e-5, atol=1e-7), number


SCHEDULES = {
    "step": (Schedule("step", period=3, gamma=0.5), lambda o: torch.optim.lr_scheduler.StepLR(o, 3, 0.5)),
    "exponential": (
        Schedule("exponential", period=1, gamma=0.9),
        lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.9),
    ),
    "cosine": (Schedule("cosine", floor=0.1), lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 9, 0.02)),
    "linear": (Schedule("linear", floor=0.5), lambda o: torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.5, 9)),
    "constant": (Schedule(), lambda o: torch.optim.lr_scheduler.ConstantLR(o, 1.0)),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_learning_rates_go_as_those_of_torch(name: str) -> None:
    made, theirs = SCHEDULES[name]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.2)
    schedule = theirs(optimizer)
    for step in range(10):
        assert rate_at(made, 0.2, step, 10) == pytest.approx(optimizer.param_groups[0]["lr"]), step
        optimizer.step()
        schedule.step()


def test_a_warm_up_rises_to_the_rate() -> None:
    made = Schedule("linear", warmup=4)
    assert [rate_at(made, 1.0, i, 9) for i in range(9)] == pytest.approx([0.25, 0.5, 0.75, 1, 1, 0.75, 0.5, 0.25, 0])


def test_a_client_s_optimisers_are_those_of_torch_by_the_same_names() -> None:
    """What each argument is called there it is here, and what is left out is the same."""
    assert SGD(0.2, momentum=0.9, nesterov=True, weight_decay=0.01) == Optimizer(
        "sgd", 0.2, 0.9, True, weight_decay=0.01
    )
    for made, kind in ((Adam, "adam"), (AdamW, "adamw")):
        found = made(0.02, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1)
        assert found == Optimizer(kind, 0.02, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1)
    for name, made in OPTIMIZERS.items():
        theirs = getattr(torch.optim, name)([torch.zeros(1, requires_grad=True)], lr=0.1).defaults
        ours = made(lr=0.1)
        for field in ("momentum", "nesterov") if name == "SGD" else ("betas", "eps"):
            assert getattr(ours, field) == theirs[field], (name, field)
        assert (ours.lr, ours.weight_decay) == (0.1, theirs["weight_decay"]), name


def test_a_client_s_schedules_are_what_their_names_say() -> None:
    step, exponential = StepLR(3, gamma=0.5, warmup=2), ExponentialLR(0.9, step_size=2)
    linear, cosine = LinearLR(0.5), CosineLR(floor=0.1, warmup=1)
    assert step == Schedule("step", 2, 3, 0.5) and exponential == Schedule("exponential", 0, 2, 0.9)
    assert linear == Schedule("linear", floor=0.5) and cosine == Schedule("cosine", 1, floor=0.1)
    assert [rate_at(StepLR(3, 0.5), 1.0, i, 9) for i in (0, 2, 3, 6)] == [1, 1, 0.5, 0.25]
    assert [rate_at(exponential, 1.0, i, 9) for i in (0, 2, 4)] == pytest.approx([1, 0.9, 0.81])
    assert rate_at(linear, 1.0, 8, 9) == pytest.approx(0.5)
    assert rate_at(CosineLR(0.1), 1.0, 8, 9) == pytest.approx(0.1)
    assert rate_at(CosineLR(), 1.0, 4, 9) == pytest.approx((1 + math.cos(math.pi / 2)) / 2)


def test_what_is_advised_of_a_schedule_can_be_written() -> None:
    with pytest.raises(InputError) as refused:
        check_spec(spec(schedule=StepLR(0)), sent(mlp())[0])
    assert refused.value.code == "fit.schedule"
    advice = refused.value.next_step.removeprefix("Write ").rstrip(".")
    check_spec(spec(schedule=eval(advice, dict(NAMED))), sent(mlp())[0])
