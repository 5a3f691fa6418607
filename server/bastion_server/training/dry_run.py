"""A graph run without numbers: the shape of each value, and how much memory a row needs, before anything is allocated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from bastion_plan.errors import PlanError
from bastion_plan.models.graph import Graph, Node
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from bastion_server.training.interpreter import Interpreter, call
from bastion_server.training.operations import DTYPES


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up what is allocated, also inside of an operation."""

    def __init__(self, most: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.used, self.most = 0, most

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if not func.is_view:
            some: Sequence[Any] = found if isinstance(found, tuple | list) else (found,)
            self.used += sum(t.numel() * t.element_size() for t in some if isinstance(t, Tensor))
            if self.used > self.most:
                raise _TooMuch
        return found


class _TooMuch(Exception):
    """It needs more than there may be."""


@dataclass(frozen=True)
class Measured:
    """What a graph comes to. shapes: of the values of its operations, with the row's own first dimension. bytes: allocated on the way."""

    shapes: tuple[tuple[int, ...] | None, ...]
    output: tuple[int, ...]
    bytes: int


def measure(graph: Graph, *, most: int, rows: int = 1) -> Measured:
    """Return what a graph comes to for some rows, without running it.

    most: bytes that all operations may allocate together.

    Raises:
        PlanError: `model.shapes`, the operation whose arguments do not fit; `model.memory`, the one that goes beyond `most`.
    """
    shapes: list[tuple[int, ...] | None] = []

    def watched(number: int, node: Node, args: list[Any]) -> Any:
        try:
            with counting:
                found = call(node.op, args, training=True)
        except _TooMuch:
            msg = f"The model needs more than {most >> 20:,} MB at operation {number} ({node.op})."
            raise PlanError(
                msg, code="model.memory", next_step="Make it smaller, or train with a smaller max_batch_size."
            ) from None
        except Exception as error:  # noqa: BLE001 - whatever torch raises, it is the model's
            # what torch says of shapes is of the model alone: no data has been near
            words = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
            msg = f"Operation {number} ({node.op}) does not fit what it is given: {words}"
            raise PlanError(
                msg, code="model.shapes", next_step="Run the module on one row of this shape first."
            ) from None
        shapes.append(tuple(found.shape) if isinstance(found, Tensor) else None)
        return found

    counting = _Counting(most)
    with FakeTensorMode(), torch.no_grad():
        inputs = [torch.zeros((rows, *t.shape), dtype=DTYPES[t.dtype]) for t in graph.inputs]
        weights = [torch.zeros(t.shape, dtype=DTYPES[t.dtype]) for t in graph.weights]
        output = Interpreter(graph).run(
            inputs, weights, training=True, around=dict.fromkeys(range(len(graph.nodes)), watched)
        )
        return Measured(tuple(shapes), tuple(output.shape), counting.used)
