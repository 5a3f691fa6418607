"""A torch module becomes a graph of a model and its weights, or a clear word on why not, with the layer it comes from."""

from __future__ import annotations

import copy
import io
import logging
import operator
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from bastion_plan.errors import PlanError
from bastion_plan.models.graph import Graph, Node, Ref, Tensor, check, encode
from bastion_plan.models.ops import BY_EXPORT, DTYPES, Argument, Op

from bastion.client.training.decomposing import INTEGERS, POSITIONS, decomposed, name_of, output_of, used_of
from bastion.client.training.instead import instead

if TYPE_CHECKING:
    import torch

#: for a model whose way depends on what it is given
OF_VALUES = (
    "Leave out what depends on values (if, loops over data, .item()): torch.where and masks take the place of an if."
)
#: what the export writes for "up to the end"
END = sys.maxsize


@dataclass(frozen=True)
class Exported:
    """A model as it will be sent. weights: by the names of the graph; made_of: how often each operation is in it."""

    graph: Graph
    weights: dict[str, torch.Tensor]
    made_of: dict[str, int]

    @property
    def report(self) -> str:
        """What it is, in one line."""
        size = sum(w.numel() * w.element_size() for w in self.weights.values())
        ops = ", ".join(f"{name} {count}" for name, count in sorted(self.made_of.items(), key=lambda x: -x[1])[:6])
        return (
            f"{self.graph.parameters:,} trained numbers, {size / 1e6:.1f} MB of weights, "
            f"{len(self.graph.nodes)} operations ({ops}), {len(encode(self.graph)):,} bytes as a graph"
        )


def export(module: torch.nn.Module, examples: Sequence[torch.Tensor], *, mode: str = "sample") -> Exported:
    """Return a module as a graph.

    Args:
        module: with tensors of float32; how it behaves in training and when it is evaluated are in one graph.
        examples: one row per input, without the dimension of the batch; their values do not matter.
        mode: "sample" for training with noise, each row by itself; "batch" for training without.

    Raises:
        PlanError: `model.export`: torch cannot write it down; `model.op`: an operation that no graph may hold, with the layer
            it comes from; `model.mixes`: it puts the rows of a batch together.
    """
    import torch
    from torch.export import Dim

    module = _ready(module, mode)
    batch = 1 if mode == "sample" else 2
    inputs = tuple(torch.stack([example] * batch) for example in examples)
    shapes = None if mode == "sample" else tuple({0: Dim.AUTO} for _ in inputs)
    try:
        with _quiet():
            program = torch.export.export(module.train(), inputs, dynamic_shapes=shapes, strict=False)
            program, called = decomposed(program)
    except PlanError:
        raise
    except Exception as error:
        unfit = _unfit(module, inputs)
        if unfit is not None:
            raise unfit from error
        where = _stopped(module, inputs, shapes)
        said = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        why = "what it does depends on values that it is given" if "data-dependent" in said else said
        msg = f"{where} cannot be written down as a graph: {why.removesuffix('.')}."
        raise PlanError(msg, code="model.export", next_step=OF_VALUES) from error
    return _Reader(program, called, [e.shape for e in examples], [e.dtype for e in examples], mode).read()


def _unfit(module: torch.nn.Module, inputs: Sequence[torch.Tensor]) -> PlanError | None:
    """Return the error that names the layer at which a model fails on a row of its inputs; None where it takes one."""
    import torch

    with _followed(module) as inside:
        try:
            with torch.no_grad():
                module(*(x.clone() for x in inputs))
            return None
        except Exception as error:  # noqa: BLE001 - a model fails in any way it likes
            failed = error
        where, layer, given = inside[-1] if inside else (_named("", module), module, inputs)
        shapes = " and ".join("x".join(map(str, x.shape[1:])) or "one" for x in given if isinstance(x, torch.Tensor))
        words = str(failed).splitlines()[0][:200] if str(failed) else type(failed).__name__
        msg = f"{where} cannot take what it is given, which is {shapes or 'nothing'} for each row: {words}"
        step = (
            "Make it as wide as what comes before it; the first layer takes as many numbers as the dataset has inputs."
        )
        if isinstance(layer, torch.nn.Linear) and given and given[0].dim() > 1:
            step = f"Write nn.Linear({given[0].shape[-1]}, {layer.out_features}) there, or name other inputs."
        return PlanError(msg, code="model.export", next_step=step)


def _stopped(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], shapes: Any) -> str:
    """Return at which layer torch stops to write a model down: the innermost that it had begun."""
    import torch

    with _followed(module) as inside, suppress(Exception), _quiet():
        torch.export.export(module.train(), inputs, dynamic_shapes=shapes, strict=False)
    return inside[-1][0] if inside else "This model"


def _named(path: str, layer: torch.nn.Module) -> str:
    kind = type(layer).__name__
    return f"Layer '{path}' ({kind})" if path else f"The model ({kind})"


@contextmanager
def _followed(module: torch.nn.Module) -> Iterator[list[tuple[str, torch.nn.Module, Any]]]:
    """Give the layers that are begun and have not ended, outermost first: how each is named, itself, what it was given."""
    inside: list[tuple[str, torch.nn.Module, Any]] = []
    hooks = []
    for path, layer in module.named_modules():
        # by its path: while torch writes it down, a layer comes as something like itself
        at = partial(_begun, inside, _named(path, layer), layer)
        hooks.append(layer.register_forward_pre_hook(at))
        hooks.append(layer.register_forward_hook(lambda *_: void(inside.pop())))
    try:
        yield inside
    finally:
        for hook in hooks:
            hook.remove()


def _begun(
    inside: list[tuple[str, torch.nn.Module, Any]], where: str, layer: torch.nn.Module, _: Any, given: Any
) -> None:
    inside.append((where, layer, given))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what torch writes beside an error: half a graph, and words on its own symbols."""
    log, written = logging.getLogger("torch.fx.experimental.symbolic_shapes"), io.StringIO()
    disabled, log.disabled = log.disabled, True
    try:
        with warnings.catch_warnings(), redirect_stderr(written):
            warnings.simplefilter("ignore")
            yield
    finally:
        log.disabled = disabled
    # it came to its end: what was written is the model's own
    sys.stderr.write(written.getvalue())


def void(_: object) -> None:
    """Return nothing: what a hook returns would replace a layer's result."""


def _ready(module: torch.nn.Module, mode: str) -> torch.nn.Module:
    """Return a copy in float32 on the CPU, with bags of embeddings written out."""
    import torch

    class Bag(torch.nn.Module):
        def __init__(self, bag: torch.nn.EmbeddingBag) -> None:
            super().__init__()
            self.weight, self.mode, self.padding = bag.weight, bag.mode, bag.padding_idx

        def forward(self, indices: torch.Tensor) -> torch.Tensor:
            rows = torch.nn.functional.embedding(indices, self.weight)
            if self.padding is None:
                return rows.mean(-2) if self.mode == "mean" else rows.sum(-2)
            there = (indices != self.padding).to(rows.dtype).unsqueeze(-1)
            whole = (rows * there).sum(-2)
            return whole / there.sum(-2).clamp(min=1.0) if self.mode == "mean" else whole

    module = copy.deepcopy(module).cpu().float()
    for name, child in module.named_modules():
        if mode == "sample" and isinstance(child, torch.nn.modules.batchnorm._BatchNorm):
            raise _mixing(name, type(child).__name__)
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, torch.nn.EmbeddingBag) and child.mode in ("mean", "sum") and child.max_norm is None:
                setattr(parent, name, Bag(child))
    return Bag(module) if isinstance(module, torch.nn.EmbeddingBag) else module


class _Reader:
    """Reads one exported program."""

    def __init__(
        self, program: Any, called: dict[str, str], shapes: Sequence[Any], dtypes: Sequence[Any], mode: str
    ) -> None:
        self.program, self.called, self.mode = program, called, mode
        self.shapes, self.dtypes = shapes, dtypes
        self.nodes: list[Node] = []
        #: the value that a node of the export is; a tuple where one operation of ours returns what several of its do
        self.values: dict[Any, int] = {}
        self.passed: dict[Any, Any] = {}
        self.held: dict[Any, torch.Tensor] = {}
        self.start = 0

    def read(self) -> Exported:
        signature = self.program.graph_signature
        nodes = list(self.program.graph.nodes)
        names = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        user = [n for n in nodes if n.op == "placeholder" and n.name in signature.user_inputs]
        used = used_of(self.program)
        held = [n for n in nodes if n.op == "placeholder" and n.name in names and n in used]
        inputs = tuple(
            Tensor(f"input{i}", tuple(map(int, shape)), _dtype(dtype), trained=False)
            for i, (shape, dtype) in enumerate(zip(self.shapes, self.dtypes, strict=True))
        )
        state = {
            **dict(self.program.named_parameters()),
            **dict(self.program.named_buffers()),
            **self.program.constants,
        }
        tensors = {names[n.name]: state[names[n.name]].detach().contiguous() for n in held}
        weights = tuple(
            Tensor(
                names[n.name],
                tuple(tensors[names[n.name]].shape),
                _dtype(tensors[names[n.name]].dtype),
                trained=n.name in signature.inputs_to_parameters and state[names[n.name]].requires_grad,
            )
            for n in held
        )
        self.held = {n: tensors[names[n.name]] for n in held}
        for node in (*user, *held):
            self.values[node] = len(self.values)
        self.start = len(self.values)
        for node in nodes:
            if node.op == "call_function" and node in used:
                self._node(node)
        graph = Graph(self.mode, inputs, weights, tuple(self.nodes), self.values[output_of(self.program)])
        check(graph)
        return Exported(graph, tensors, dict(Counter(node.op for node in graph.nodes)))

    def _put(self, node: Any, op: str, *args: Any) -> None:
        self.nodes.append(Node(op, args))
        self.values[node] = self.start + len(self.nodes) - 1

    def _node(self, node: Any) -> None:
        import torch

        target, args = node.target, node.args
        if target is operator.getitem:
            source, index = args
            if source in self.passed:
                # of a dropout or a normalisation the first alone is what it returns
                if index != 0:
                    self._refuse(node, self.passed[source])
                self.values[node] = self.values[source]
                return
            self._put(node, "item", Ref(self.values[source]), index)
            return
        if target in INTEGERS:
            self._put(node, INTEGERS[target], *(self._value(a) for a in args))
            return
        name = name_of(node)
        if target is torch.ops.aten.native_dropout.default:
            self.passed[node] = name
            self._put(node, "dropout", self._value(args[0]), float(args[1]))
            return
        if name.startswith("_native_batch_norm_legit"):
            self._batch_norm(node, name)
            return
        if name == POSITIONS:
            self._at(node)
            return
        op = BY_EXPORT.get(name)
        if op is None or (name.startswith("bitwise_") and node.meta["val"].dtype is not torch.bool):
            self._refuse(node, name)
        self._put(node, op.name, *self._arguments(node, op))

    def _at(self, node: Any) -> None:
        """Take what is at some positions of each row, which are the same for all rows: `x[:, [0, 2]]`."""
        import torch

        x, places = node.args
        dims = [dim for dim, place in enumerate(places) if place is not None]
        source = places[dims[0]]
        while source.op == "call_function" and name_of(source) in ("clone.default", "alias.default"):
            source = source.args[0]
        at = self.held.get(source)
        if len(dims) > 1 or dims == [0] or at is None or at.dim() != 1 or at.dtype is not torch.int64:
            self._refuse(node, POSITIONS)
        place: Any = Ref(self.values[places[dims[0]]])
        if bool((at < 0).any()):
            # counted from the end
            size = int(x.meta["val"].shape[dims[0]])
            self.nodes += [Node("lt", (place, 0)), Node("add", (place, size, 1))]
            below, more = (Ref(self.start + len(self.nodes) - back) for back in (2, 1))
            self.nodes.append(Node("where", (below, more, place)))
            place = Ref(self.start + len(self.nodes) - 1)
        self._put(node, "index_select", Ref(self.values[x]), dims[0], place)

    def _batch_norm(self, node: Any, name: str) -> None:
        if self.mode == "sample":
            raise _mixing(*self._layer(node))
        if "functional" not in name or node.args[5] is not True:
            self._refuse(node, name)
        x, weight, bias, mean, var, _, momentum, eps = node.args
        self.passed[node] = name
        held = [self._value(a) for a in (x, weight, bias, mean, var)]
        self._put(node, "batch_norm", *held, float(momentum), float(eps))

    def _arguments(self, node: Any, op: Op) -> list[Any]:
        """Return all arguments in the table's order, with the export's defaults."""
        given = dict(zip((a.name for a in node.target._schema.arguments), node.args, strict=False)) | dict(node.kwargs)
        schema = list(node.target._schema.arguments)
        found = []
        for position, argument in enumerate(op.arguments):
            if argument.kind.startswith("D"):
                value = given.get("dtype")
                found.append(None if value is None else _dtype(value))
                continue
            if position >= len(schema):
                found.append(argument.default)
                continue
            name = schema[position].name
            value = given.get(name, schema[position].default_value if schema[position].has_default_value() else None)
            found.append(self._literal(value, argument))
        return found

    def _literal(self, value: Any, argument: Argument) -> Any:
        if value is None and not argument.kind.endswith("?"):
            return argument.default
        listed = argument.kind.removesuffix("?").endswith("[]")
        if listed and value is not None and not isinstance(value, list | tuple):
            value = (value,)
        if isinstance(value, list | tuple):
            return tuple(self._value(v) for v in value)
        return self._value(value)

    def _value(self, value: Any) -> Any:
        if isinstance(value, int) and value >= END:
            return None
        return Ref(self.values[value]) if type(value).__name__ == "Node" and hasattr(value, "op") else value

    @staticmethod
    def _layer(node: Any) -> tuple[str, str]:
        """Return the path and the kind of the layer that an operation comes from."""
        stack = node.meta.get("nn_module_stack") or {}
        path, kind = list(stack.values())[-1] if stack else ("", "")
        kind = kind if isinstance(kind, str) else getattr(kind, "__name__", "")
        return path, kind.rpartition(".")[2]

    def _refuse(self, node: Any, name: str) -> NoReturn:
        source = next(iter(node.meta.get("from_node") or ()), None)
        while source is not None and source.from_node:
            source = source.from_node[0]
        name = self.called.get(source.name, name) if source is not None else name
        path, kind = self._layer(node)
        where = f"Layer '{path}' ({kind})" if path else "The model"
        msg = f"{where} uses '{name}', which a model that travels may not hold."
        raise PlanError(msg, code="model.op", next_step=instead(name))


def _mixing(path: str, kind: str) -> PlanError:
    where = f"Layer '{path}' ({kind})" if path else "The model"
    msg = f"{where} puts the rows of a batch together, so one person's row would be in the others' results."
    return PlanError(msg, code="model.mixes", next_step="Use nn.GroupNorm or nn.LayerNorm in its place.")


def _dtype(dtype: Any) -> str:
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        msg = f"Tensors of {name} are not for models that travel."
        raise PlanError(msg, code="model.op", next_step=f"Use one of {', '.join(DTYPES)}.")
    return name
