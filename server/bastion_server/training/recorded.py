"""A function of tensors, written down once as the list of operations that it came to, and run from the list from then on.

What `vmap`, autograd and Python cost beside the operations is most of a small model's step, and half of a middling one's. All of it is
decided by shapes: so the list is the same for all numbers of these shapes, and gives the same numbers, bit by bit. What draws random
numbers is on the list as an operation, and draws again.

INVARIANT: what numbers are decides nothing of a list. `make_fx` stops with an error where a function looks at one.
INVARIANT: no code is made: a list holds operations of torch (aten) and constants, and is gone through by torch's own interpreter of such
lists (TorchScript, of our making: no client's file of that kind is ever read), with all of its rewriting off, so that each operation is the one
that stands on the list. It takes a third of the time that Python does; Python goes through a list that it does not take.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import Any
from warnings import catch_warnings, simplefilter

import torch
from torch import Tensor
from torch.fx import Node
from torch.fx.experimental.proxy_tensor import make_fx

#: what gives back what it is given
_SAME = {torch.ops.aten.detach.default, torch.ops.aten.alias.default}
#: what gives a view, and so perhaps what it is given
_VIEWS = {torch.ops.aten.view.default, torch.ops.aten._unsafe_view.default, torch.ops.aten.expand.default}
#: with a number in the place of a tensor: the same kernel, which is given the number as it is
_WITH_NUMBERS = {
    getattr(torch.ops.aten, n).Tensor: getattr(torch.ops.aten, n).Scalar for n in ("add", "sub", "mul", "div")
}

#: operations that give several gradients, where the first alone is asked for: torch's interpreter is not told by flags which
_ALONE = torch.jit.CompilationUnit("""
def layer(g: Tensor, x: Tensor, shape: List[int], mean: Tensor, rstd: Tensor, w: Optional[Tensor], b: Optional[Tensor]) -> Tensor:
    return torch.ops.aten.native_layer_norm_backward(g, x, shape, mean, rstd, w, b, [True, False, False])[0]

def group(g: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, w: Optional[Tensor], n: int, c: int, size: int, groups: int) -> Tensor:
    return torch.ops.aten.native_group_norm_backward(g, x, mean, rstd, w, n, c, size, groups, [True, False, False])[0]
""")
_FIRST = {
    torch.ops.aten.native_layer_norm_backward.default: _ALONE.layer,
    torch.ops.aten.native_group_norm_backward.default: _ALONE.group,
}


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
        alike = True

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
                if node.target in _SAME or _gives_back(node):
                    slots[node] = slot(node.args[0])
                    continue
                target, given = node.target, node.args
                if target in _FIRST and list(given[-1]) == [True, False, False]:
                    slots[node] = step(_tuple, [step(_FIRST[target], [slot(a) for a in given[:-1]])])
                    continue
                if len(node.args) > 1 and isinstance(node.args[1], int | float):
                    target = _WITH_NUMBERS.get(target, target)
                alike = alike and _typed(target, node.args)
                run = partial(target, **node.kwargs) if node.kwargs else target
                if any(isinstance(a, Node) for a in node.kwargs.values()) or not node.args:
                    msg = f"{node.target} is called as nothing else is"
                    raise TypeError(msg)
                slots[node] = step(run, [slot(a) for a in node.args])
        last = {value: number for number, some in enumerate(used) for value in some}
        kept = {*self._outputs, *(i for i, value in enumerate(self._start) if value is not None)}
        for value, number in last.items():
            if value not in kept:
                self._steps[number][4].append(value)

        self._run: Callable[..., Any] = self._by_python
        if alike:
            with contextlib.suppress(Exception), torch.no_grad(), catch_warnings():
                # a list that has no such form is gone through as it is
                simplefilter("ignore")
                self._run = torch.jit.trace(self._by_python, tuple(inputs), check_trace=False)  # type: ignore[no-untyped-call]

    def __call__(self, *inputs: Tensor) -> list[Tensor]:
        """Run it with other numbers."""
        with torch.inference_mode(), torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
            return list(self._run(*inputs))

    def _by_python(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        values = self._start.copy()
        values[: self._inputs] = inputs
        for run, arguments, alone, out, over in self._steps:
            found = arguments(values)
            values[out] = run(found) if alone else run(*found)
            for value in over:
                values[value] = None
        return tuple(values[i] for i in self._outputs)


def _list(*values: Any) -> list[Any]:
    return [*values]


def _tuple(*values: Any) -> tuple[Any, ...]:
    return values


def _gives_back(node: Node) -> bool:
    """Whether a view is of the shape that it is of. Not where something is changed in its place, its shape perhaps."""
    source = node.args[0] if node.target in _VIEWS else None
    if not isinstance(source, Node) or any(_changes(user) for user in [*node.users, *source.users]):
        return False
    a, b = (n.meta.get("tensor_meta") for n in (node, source))
    return a is not None and b is not None and a.shape == b.shape and a.stride == b.stride and a.dtype == b.dtype


def _typed(target: Any, args: Sequence[Any]) -> bool:
    """Whether no number stands where an operation takes a tensor: torch's interpreter would make one of it, of another kind."""
    schema = getattr(target, "_schema", None)
    if schema is None:
        return True
    return not any(
        isinstance(value, int | float) and str(wanted.type).startswith(("Tensor", "Optional[Tensor"))
        for wanted, value in zip(schema.arguments, args, strict=False)
    )


def _changes(node: Node) -> bool:
    """Whether an operation changes a value in its place."""
    return node.op == "call_function" and bool(getattr(getattr(node.target, "_schema", None), "is_mutable", False))


def _wanted(nodes: Sequence[Node]) -> set[Node]:
    """Return what something depends on: what leads to the output, and what changes a value in its place."""
    found: set[Node] = set()
    for node in reversed(nodes):
        if node.op == "output" or _changes(node) or node in found:
            found.add(node)
            found.update(node.all_input_nodes)
    return found
