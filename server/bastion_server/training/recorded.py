"""A function of tensors, written down once as the list of operations that it came to, and run from the list from then on.

What `vmap`, autograd and Python cost beside the operations is most of a small model's step, and half of a middling one's. All of it is
decided by shapes: so the list is the same for all numbers of these shapes, and gives the same numbers, bit by bit. What draws random
numbers is on the list as an operation, and draws again.

INVARIANT: what numbers are decides nothing of a list. `make_fx` stops with an error where a function looks at one.
INVARIANT: no code is made: a list holds operations of torch (aten) and constants, and is gone through by `__call__`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node
from torch.fx.experimental.proxy_tensor import make_fx

#: what gives back what it is given
_SAME = {torch.ops.aten.detach.default, torch.ops.aten.alias.default}


class Recorded:
    """One function for tensors of given shapes."""

    def __init__(self, function: Callable[..., list[Tensor]], inputs: Sequence[Tensor]) -> None:
        """Record what the function does with some tensors.

        Raises:
            Exception: whatever torch says of a function that cannot be written down.
        """
        made = make_fx(function)(*inputs)
        nodes = list(made.graph.nodes)
        wanted = _wanted(nodes)
        self._start: list[Any] = []
        #: operation, its arguments from the values, whether it is only one, where its value goes, values that are over then
        self._steps: list[tuple[Callable[..., Any], Callable[[list[Any]], Any], bool, int, list[int]]] = []
        self._inputs = len(inputs)
        slots: dict[Node, int] = {}
        used: list[list[int]] = []

        def fresh(value: Any = None) -> int:
            self._start.append(value)
            return len(self._start) - 1

        def step(run: Callable[..., Any], arguments: list[int]) -> int:
            out = fresh()
            self._steps.append((run, itemgetter(*arguments), len(arguments) == 1, out, []))
            used.append(arguments)
            return out

        def slot(argument: Any) -> int:
            if isinstance(argument, Node):
                return slots[argument]
            if not isinstance(argument, list | tuple):
                return fresh(argument)
            if not any(isinstance(a, Node) for a in argument):
                return fresh(list(argument))
            return step(_list, [slot(a) for a in argument])

        for node in nodes:
            if node.op == "placeholder":
                slots[node] = fresh()
            elif node.op == "get_attr":
                slots[node] = fresh(getattr(made, str(node.target)))
            elif node.op == "output":
                self._outputs = [slot(a) for a in node.args[0]]
            elif node in wanted:
                if node.target in _SAME:
                    slots[node] = slot(node.args[0])
                    continue
                run = partial(node.target, **node.kwargs) if node.kwargs else node.target
                if any(isinstance(a, Node) for a in node.kwargs.values()) or not node.args:
                    msg = f"{node.target} is called as nothing else is"
                    raise TypeError(msg)
                slots[node] = step(run, [slot(a) for a in node.args])
        last = {value: number for number, some in enumerate(used) for value in some}
        kept = {*self._outputs, *(i for i, value in enumerate(self._start) if value is not None)}
        for value, number in last.items():
            if value not in kept:
                self._steps[number][4].append(value)

    def __call__(self, *inputs: Tensor) -> list[Tensor]:
        """Run it with other numbers."""
        values = self._start.copy()
        values[: self._inputs] = inputs
        with torch.inference_mode():
            for run, arguments, alone, out, over in self._steps:
                found = arguments(values)
                values[out] = run(found) if alone else run(*found)
                for value in over:
                    values[value] = None
        return [values[i] for i in self._outputs]


def _list(*values: Any) -> list[Any]:
    return [*values]


def _wanted(nodes: Sequence[Node]) -> set[Node]:
    """Return what something depends on: what leads to the output, and what changes a value in its place."""
    found: set[Node] = set()
    for node in reversed(nodes):
        changes = node.op == "call_function" and getattr(getattr(node.target, "_schema", None), "is_mutable", False)
        if node.op == "output" or changes or node in found:
            found.add(node)
            found.update(node.all_input_nodes)
    return found
