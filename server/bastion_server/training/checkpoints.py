"""Weights and checkpoints as safetensors: read from bytes and held against the graph, never unpickled."""

from __future__ import annotations

import safetensors
import torch
from bastion_plan.errors import PlanError
from bastion_plan.models.graph import Graph
from safetensors.torch import load
from safetensors.torch import save as to_bytes
from torch import Tensor

from bastion_server.training.operations import DTYPES

__all__ = ["read_weights", "to_bytes"]

#: bytes that names and shapes may take beside the numbers
_HEADER = 4 << 20


def read_weights(data: bytes, graph: Graph, *, checkpoint: bool) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Return the weights in the graph's order, and what else a checkpoint holds.

    Raises:
        PlanError: `model.weights`: they are none, or not exactly those of the graph, in name, shape and dtype.
    """
    most = sum(w.count * DTYPES[w.dtype].itemsize for w in graph.weights)
    if len(data) > _HEADER + most * (3 if checkpoint else 1):
        raise _wrong("They are larger than the model is.")
    try:
        found = load(data)
    except (safetensors.SafetensorError, ValueError, KeyError, RuntimeError, TypeError, OverflowError) as error:
        raise _wrong("They are no safetensors.") from error
    rest: dict[str, Tensor] = {}
    if checkpoint:
        rest = {name: t for name, t in found.items() if not name.startswith("w:")}
        found = {name[2:]: t for name, t in found.items() if name.startswith("w:")}
    names = {w.name for w in graph.weights}
    if found.keys() != names:
        odd = sorted(found.keys() ^ names)[0]
        raise _wrong(f"{odd[:100]!r} is {'missing' if odd in names else 'not the model’s'}.")
    for w in graph.weights:
        t = found[w.name]
        if tuple(t.shape) != w.shape or t.dtype != DTYPES[w.dtype]:
            raise _wrong(f"{w.name[:100]!r} is {t.dtype} {tuple(t.shape)}, and the model has {w.dtype} {w.shape}.")
    return [found[w.name].clone(memory_format=torch.contiguous_format) for w in graph.weights], rest


def _wrong(what: str) -> PlanError:
    return PlanError(
        f"The weights that were sent are not the model's. {what}",
        code="model.weights",
        next_step="Send the module's own weights, as bastion does.",
    )
