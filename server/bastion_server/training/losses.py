"""The losses of one row, by name: (prediction, label) -> a number."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as nnf


def _cross_entropy(out: Tensor, label: Tensor) -> Tensor:
    return torch.logsumexp(out, -1) - out.gather(-1, label.unsqueeze(-1)).squeeze(-1)


def _bce(out: Tensor, label: Tensor) -> Tensor:
    return nnf.binary_cross_entropy_with_logits(out.reshape(-1), label)


#: labels: a whole number for "cross_entropy", as many numbers as the prediction has for others
BY_NAME: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": _cross_entropy,
    "bce": _bce,
    "l2": lambda out, label: (out.reshape(-1) - label).square().mean(),
    "l1": lambda out, label: (out.reshape(-1) - label).abs().mean(),
}
