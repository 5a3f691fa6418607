"""Runs a graph: one operation after the other, each value forgotten after its last use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bastion_plan.models.graph import Graph, Node, Ref
from torch import Tensor

from bastion_server.training.operations import MODAL, PLAIN

#: what stands around an operation: it is given the number of the value, the node, and a function that runs it with some arguments
Around = Callable[[int, Node, list[Any]], Any]


class Interpreter:
    """One graph, ready to run any number of times."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        last = {graph.output: len(graph.nodes)}
        for number, node in enumerate(graph.nodes):
            for ref in references(node):
                last[ref] = max(last.get(ref, -1), number)
        #: the values that nobody needs after an operation
        self._over: list[list[int]] = [[] for _ in graph.nodes]
        for value, number in last.items():
            if graph.first_node <= value and number < len(graph.nodes):
                self._over[number].append(value)

    def run(
        self,
        inputs: Sequence[Tensor],
        weights: Sequence[Tensor],
        *,
        training: bool,
        around: Mapping[int, Around] | None = None,
    ) -> Tensor:
        """Return the graph's output. around: by number of an operation, what runs in its place."""
        values: list[Any] = [*inputs, *weights]
        for number, node in enumerate(self.graph.nodes):
            args = [_resolved(argument, values) for argument in node.args]
            inside = around.get(number) if around else None
            values.append(inside(number, node, args) if inside else call(node.op, args, training=training))
            for value in self._over[number]:
                values[value] = None
        return values[self.graph.output]  # type: ignore[no-any-return]


def call(op: str, args: Sequence[Any], *, training: bool) -> Any:
    """Run one operation."""
    if op in MODAL:
        return MODAL[op](training, *args)
    return PLAIN[op](*args)


def references(node: Node) -> list[int]:
    """Return the numbers of the values that an operation uses."""
    found = []
    for argument in node.args:
        some = argument if isinstance(argument, tuple) else (argument,)
        found += [a.of for a in some if isinstance(a, Ref)]
    return found


def _resolved(argument: Any, values: list[Any]) -> Any:
    if isinstance(argument, Ref):
        return values[argument.of]
    if isinstance(argument, tuple):
        return [values[a.of] if isinstance(a, Ref) else a for a in argument]
    return argument
