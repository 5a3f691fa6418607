"""The graph of a model as it travels: inputs, weights by name and shape, and a list of operations; its bytes, hash and checks.

Values are numbered: the inputs first, then the weights, then what each operation returns. An operation may refer to values before it
alone, so there are no loops. In mode "sample" the graph is of one row (its tensors' first dimension is 1) and the server runs it for
each row by itself; in mode "batch" it is of a batch of any size.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import msgspec

from bastion_plan.errors import PlanError
from bastion_plan.models.ops import DTYPES, MIXES, OPS, WORDS

MAX_BYTES = 4 << 20
MAX_NODES = 20_000
MAX_WEIGHTS = 4_000
MAX_LIST = 4_096
MAX_DIMS = 8
MAX_NAME = 200
MAX_NUMBER = 1 << 40
MODES = ("sample", "batch")


class Ref(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="r"):
    """A value before: its number."""

    of: int


class Node(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One operation with all of its arguments, in the table's order."""

    op: str
    args: tuple[Any, ...]


class Tensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An input (shape: of one row) or a weight. trained: whether training may change it."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    trained: bool = True

    @property
    def count(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


class Graph(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model without its numbers."""

    mode: str
    inputs: tuple[Tensor, ...]
    weights: tuple[Tensor, ...]
    nodes: tuple[Node, ...]
    output: int
    version: int = 1

    @property
    def first_node(self) -> int:
        """The number of the first operation's value."""
        return len(self.inputs) + len(self.weights)

    @property
    def parameters(self) -> int:
        """How many numbers are trained."""
        return sum(w.count for w in self.weights if w.trained)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Graph)


def encode(graph: Graph) -> bytes:
    """Return the bytes of a graph."""
    return _encoder.encode(graph)


def graph_hash(graph: Graph) -> str:
    """Return what names a graph: SHA-256 of its bytes."""
    return hashlib.sha256(encode(graph)).hexdigest()


def decode(data: bytes) -> Graph:
    """Read and check the bytes of a graph that somebody else made.

    Raises:
        PlanError: `model.graph`: it is not one; with the place.
    """
    if len(data) > MAX_BYTES:
        raise _error(f"The model's graph has {len(data):,} bytes; {MAX_BYTES:,} are allowed.")
    try:
        graph = _decoder.decode(data)
        graph = msgspec.structs.replace(graph, nodes=tuple(_node(i, node) for i, node in enumerate(graph.nodes)))
    except PlanError:
        raise
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise _error("These bytes are no graph of a model.") from error
    check(graph)
    return graph


def _error(message: str, next_step: str = "") -> PlanError:
    return PlanError(
        message, code="model.graph", next_step=next_step or "Make the model with bastion, and send it as it is."
    )


def _node(number: int, node: Node) -> Node:
    return Node(node.op, tuple(_given(number, argument) for argument in node.args))


def _given(number: int, value: Any) -> Any:
    """Return an argument with its references told apart from lists."""
    if isinstance(value, list):
        if len(value) == 2 and value[0] == "r":
            if type(value[1]) is not int:
                raise _error(f"Operation {number} refers to something that is no value.")
            return Ref(value[1])
        return tuple(_given(number, item) for item in value)
    return value


def check(graph: Graph) -> None:
    """Check everything that can be told without running it.

    INVARIANT: what passes is made of operations of the table, in an order in which each value is there before it is used, with
    arguments of their kinds. It is the server's only reader of a model.

    Raises:
        PlanError: `model.graph`, with the place; `model.mixes`: in mode "sample" an operation that puts rows together.
    """
    if graph.version != 1:
        raise _error("This graph is of another version of BastionLab.", "Update bastion, and make it anew.")
    if graph.mode not in MODES:
        raise _error("A graph's mode is 'sample' or 'batch'.")
    if not graph.inputs or len(graph.inputs) > 16 or len(graph.weights) > MAX_WEIGHTS or len(graph.nodes) > MAX_NODES:
        raise _error(f"A model has 1 to 16 inputs, at most {MAX_WEIGHTS:,} weights and {MAX_NODES:,} operations.")
    names = [t.name for t in (*graph.inputs, *graph.weights)]
    if len(set(names)) < len(names) or not all(0 < len(name) <= MAX_NAME and name.isprintable() for name in names):
        raise _error("Inputs and weights need names, each its own.")
    for tensor in (*graph.inputs, *graph.weights):
        if (
            tensor.dtype not in DTYPES
            or len(tensor.shape) > MAX_DIMS
            or not all(0 < n < MAX_NUMBER for n in tensor.shape)
        ):
            raise _error(f"'{tensor.name}' has a shape or dtype that no tensor has.")
    for weight in graph.weights:
        if weight.trained and weight.dtype != "float32":
            raise _error(f"'{weight.name}' is trained, so it must be of float32.")
    kinds = ["T"] * graph.first_node
    for number, node in enumerate(graph.nodes):
        op = OPS.get(node.op)
        if op is None:
            raise _error(f"Operation {number} is called '{node.op[:40]}', which is not one of those a model may use.")
        if graph.mode == "sample" and op.name in MIXES:
            msg = f"Operation {number} ({op.name}) puts the rows of a batch together."
            raise PlanError(msg, code="model.mixes", next_step="Use GroupNorm or LayerNorm in its place.")
        if len(node.args) != len(op.arguments):
            raise _error(
                f"Operation {number} ({op.name}) takes {len(op.arguments)} arguments, and has {len(node.args)}."
            )
        for argument, value in zip(op.arguments, node.args, strict=True):
            if not _fits(argument.kind, value, kinds):
                raise _error(f"Operation {number} ({op.name}): '{argument.name}' is not what it takes.")
        kinds.append(op.returns)
    if not (graph.first_node <= graph.output < len(kinds)) or kinds[graph.output] != "T":
        raise _error("The graph's output is none of its values.")


def _fits(kind: str, value: Any, kinds: list[str]) -> bool:
    """Whether an argument is of its kind. kinds: of the values before."""
    if value is None:
        return kind.endswith("?")
    kind = kind.removesuffix("?")
    if kind.endswith("[]"):
        return isinstance(value, tuple) and len(value) <= MAX_LIST and all(_fits(kind[:-2], v, kinds) for v in value)
    if isinstance(value, Ref):
        if not 0 <= value.of < len(kinds):
            return False
        return kinds[value.of] == {"X": "T"}.get(kind, kind)
    match kind:
        case "B":
            return isinstance(value, bool)
        case "I":
            return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 62
        case "N" | "X":
            # a mask may be filled with minus infinity
            return isinstance(value, int | float) and value == value
        case "D":
            return value in DTYPES
        case "S":
            return value in WORDS
    return False
