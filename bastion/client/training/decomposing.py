"""What a model is made of, in operations of the table: what it has not is taken apart as torch itself takes it apart."""

from __future__ import annotations

import operator
from functools import partial
from typing import Any

from bastion_plan.errors import PlanError
from bastion_plan.models.ops import BY_EXPORT

#: how often what an operation is made of is itself taken apart
STEPS = 8
#: operations of the export that return several tensors, of which the reader takes the first
SEVERAL = ("native_dropout", "_native_batch_norm_legit")
#: the operation of the export that takes what is at some positions
POSITIONS = "index.Tensor"
INTEGERS = {operator.mul: "times", operator.add: "plus", operator.sub: "minus", operator.floordiv: "over"}


def decomposed(program: Any) -> tuple[Any, dict[str, str]]:
    """Write what the table does not have as what torch says it is made of; return how the model called each operation, too.

    Recurrent layers become what they do in each step; `F.pad` and `x.var(1)` the operations of which they are other names.
    """
    import torch
    from torch._decomp import decomposition_table

    called = {node.name: name_of(node) for node in program.graph.nodes}
    known = dict(torch.export.default_decompositions())
    for conv in (torch.ops.aten.conv1d, torch.ops.aten.conv2d):
        known[conv.padding] = partial(_padded, conv.default)
    # what torch makes of it is a normalisation over a batch
    del known[torch.ops.aten.instance_norm.default]
    program = program.run_decompositions({})
    for _ in range(STEPS):
        left = {node.target for node in used_of(program) if node.op == "call_function" and not is_read(node)}
        made_of = {op: known.get(op) or decomposition_table.get(op) for op in left}
        if not any(made_of.values()):
            break
        program = program.run_decompositions({op: how for op, how in made_of.items() if how is not None})
    return program, called


def _padded(
    conv: Any, x: Any, weight: Any, bias: Any = None, stride: Any = (1,), padding: str = "valid", dilation: Any = (1,),
    groups: int = 1,
) -> Any:  # fmt: skip
    """Do what a convolution does whose padding is a word; of an even kernel, "same" puts the one more at the end."""
    import torch

    sides: list[int] = []
    if padding == "same":
        kernel = weight.shape[2:]
        for size, step in zip(reversed(kernel), reversed([*dilation] * (len(kernel) // len(dilation))), strict=True):
            whole = step * (size - 1)
            sides += [whole // 2, whole - whole // 2]
    return conv(
        torch.ops.aten.constant_pad_nd(x, sides) if any(sides) else x, weight, bias, stride, [0], dilation, groups
    )


def name_of(node: Any) -> str:
    """Return the export's name of an operation."""
    return str(node.target).removeprefix("aten.")


def is_read(node: Any) -> bool:
    """Whether the reader takes an operation as it is."""
    name = name_of(node)
    return (
        node.target is operator.getitem
        or node.target in INTEGERS
        or name in BY_EXPORT
        or name == POSITIONS
        or name.startswith(SEVERAL)
    )


def used_of(program: Any) -> set[Any]:
    """Return the nodes that the prediction is made of."""
    found: set[Any] = set()
    left = [output_of(program)]
    while left:
        node = left.pop()
        if node not in found:
            found.add(node)
            left += node.all_input_nodes
    return found


def output_of(program: Any) -> Any:
    """Return the node that is the prediction."""
    wanted = program.graph_signature.user_outputs
    if len(wanted) != 1:
        msg = f"This model returns {len(wanted)} tensors; one is needed."
        raise PlanError(msg, code="model.export", next_step="Return the prediction alone.")
    return next(n for n in program.graph.nodes if n.name == wanted[0])
