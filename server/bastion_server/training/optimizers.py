"""What is made of a gradient: SGD, Adam and AdamW as torch.optim has them, with a state that can be put away; learning rates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from bastion_plan.models.fits import Optimizer, Schedule
from torch import Tensor


class Update:
    """One optimiser over some weights, which it changes in place."""

    def __init__(self, made: Optimizer, weights: Sequence[Tensor]) -> None:
        self.made, self.weights = made, list(weights)
        names = {"sgd": ["momentum"] if made.momentum else []}.get(made.kind, ["first", "second"])
        #: the state: per name a tensor for each weight
        self.state: dict[str, list[Tensor]] = {n: [torch.zeros_like(w) for w in self.weights] for n in names}

    def step(self, gradients: Sequence[Tensor], number: int, rate: float) -> None:
        """Change the weights. number: of the step, from 1. rate: the learning rate of this step."""
        made = self.made
        for i, (w, g) in enumerate(zip(self.weights, gradients, strict=True)):
            if made.weight_decay and made.kind != "adamw":
                g = g + made.weight_decay * w
            if made.kind == "sgd":
                w.add_(self._with_momentum(i, g, number), alpha=-rate)
                continue
            if made.kind == "adamw":
                w.mul_(1 - rate * made.weight_decay)
            (one, two), first, second = made.betas, self.state["first"][i], self.state["second"][i]
            first.lerp_(g, 1 - one)
            second.mul_(two).addcmul_(g, g, value=1 - two)
            root = (second.sqrt() / math.sqrt(1 - two**number)).add_(made.eps)
            w.addcdiv_(first, root, value=-rate / (1 - one**number))

    def _with_momentum(self, i: int, gradient: Tensor, number: int) -> Tensor:
        made = self.made
        if not made.momentum:
            return gradient
        kept = self.state["momentum"][i]
        if number == 1:
            kept.copy_(gradient)
        else:
            kept.mul_(made.momentum).add_(gradient)
        return gradient.add(kept, alpha=made.momentum) if made.nesterov else kept

    def put(self) -> dict[str, Tensor]:
        """Return the state, by names."""
        return {f"{name}.{i}": t for name, some in self.state.items() for i, t in enumerate(some)}

    def take(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state. KeyError, RuntimeError: it is of another model or optimiser."""
        for name, some in self.state.items():
            for i, t in enumerate(some):
                t.copy_(state[f"{name}.{i}"])


def rate_at(schedule: Schedule, lr: float, step: int, steps: int) -> float:
    """Return the learning rate of a step. step: from 0. steps: of the whole fit."""
    if step < schedule.warmup:
        return lr * (step + 1) / schedule.warmup
    at = step - schedule.warmup
    done = min(1.0, at / max(1, steps - schedule.warmup - 1))
    match schedule.kind:
        case "step":
            return lr * schedule.gamma ** (at // schedule.period)
        case "exponential":
            return lr * float(schedule.gamma ** (at / schedule.period))
        case "linear":
            return lr * (1 - (1 - schedule.floor) * done)
        case "cosine":
            return lr * (schedule.floor + (1 - schedule.floor) * (1 + math.cos(math.pi * done)) / 2)
    return lr
