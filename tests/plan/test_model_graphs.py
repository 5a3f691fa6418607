"""Graphs of models that somebody else made: what is not one is refused, whatever its bytes are."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from bastion_plan.errors import PlanError
from bastion_plan.models.graph import MAX_BYTES, Graph, Node, Ref, Tensor, check, decode, encode
from bastion_plan.models.ops import BY_EXPORT, OPS
from hypothesis import given
from hypothesis import strategies as st

X, W, B = Ref(0), Ref(1), Ref(2)
LINEAR = Graph(
    "sample",
    (Tensor("x", (3,), trained=False),),
    (Tensor("w", (2, 3)), Tensor("b", (2,))),
    (Node("linear", (X, W, B)), Node("relu", (Ref(3),))),
    4,
)


def changed(**changes: Any) -> Graph:
    return msgspec.structs.replace(LINEAR, **changes)


def test_a_graph_comes_back_as_it_was() -> None:
    assert decode(encode(LINEAR)) == LINEAR
    assert LINEAR.parameters == 8


REFUSED: dict[str, Graph] = {
    "an unknown operation": changed(nodes=(Node("from_file", ("/etc/passwd",)),), output=3),
    "one of Python": changed(nodes=(Node("__import__", ("os",)),), output=3),
    "one of torch by its own name": changed(nodes=(Node("aten.linear.default", (X, W, B)),), output=3),
    "one in other letters": changed(nodes=(Node("Linear", (X, W, B)),), output=3),
    "a value that is not there yet": changed(nodes=(Node("relu", (Ref(4),)), Node("relu", (X,)))),
    "itself": changed(nodes=(Node("relu", (Ref(3),)),), output=3),
    "a value before the first": changed(nodes=(Node("relu", (Ref(-1),)),), output=3),
    "too few arguments": changed(nodes=(Node("linear", (X, W)),), output=3),
    "a number for a tensor": changed(nodes=(Node("relu", (1.0,)),), output=3),
    "a text for a number": changed(nodes=(Node("dropout", (X, "0.5")),), output=3),
    "not a number": changed(nodes=(Node("mul", (X, float("nan"))),), output=3),
    "a number that no machine has": changed(nodes=(Node("view", (X, (1 << 63,))),), output=3),
    "a list that is too long": changed(nodes=(Node("view", (X, tuple([1] * 5_000))),), output=3),
    "a word that is none": changed(nodes=(Node("gelu", (X, "__class__")),), output=3),
    "a dtype that is none": changed(nodes=(Node("to", (X, "object")),), output=3),
    "an output that is a weight": changed(output=1),
    "an output beyond the end": changed(output=9),
    "an output that is a list of tensors": changed(nodes=(Node("unbind", (X, 0)),), output=3),
    "no input": changed(inputs=(), nodes=(Node("relu", (Ref(0),)),), output=2),
    "two weights of one name": changed(weights=(Tensor("w", (2, 3)), Tensor("w", (2,)))),
    "a name that is no text to show": changed(weights=(Tensor("w\x1b[31m", (2, 3)), Tensor("b", (2,)))),
    "a shape below one": changed(weights=(Tensor("w", (0, 3)), Tensor("b", (2,)))),
    "whole numbers that are trained": changed(weights=(Tensor("w", (2, 3), "int64"), Tensor("b", (2,)))),
    "more weights than are allowed": changed(
        weights=tuple(Tensor(f"w{i}", (1,)) for i in range(4_001)), nodes=(Node("relu", (X,)),), output=4_002
    ),
    "more dimensions than are allowed": changed(weights=(Tensor("w", (2, 3)), Tensor("b", (1,) * 9))),
    "more inputs than are allowed": changed(
        inputs=tuple(Tensor(f"x{i}", (3,), trained=False) for i in range(17)),
        weights=(),
        nodes=(Node("relu", (X,)),),
        output=17,
    ),
    "another mode": changed(mode="eval"),
    "another version": changed(version=2),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_model_is_refused(name: str) -> None:
    with pytest.raises(PlanError) as refused:
        decode(encode(REFUSED[name]))
    assert refused.value.code == "model.graph"
    assert refused.value.next_step


def test_as_much_as_is_allowed_is_allowed() -> None:
    """So what is refused beyond it is refused for that."""
    w = (Tensor("w", (2, 3)), Tensor("b", (2,)))
    more = tuple(Tensor(f"w{i}", (1,)) for i in range(3_998))
    check(changed(weights=(*w, *more), nodes=(Node("linear", (X, W, B)),), output=4_001))
    check(changed(weights=(w[0], Tensor("b", (1,) * 8)), nodes=(Node("relu", (X,)),), output=3))
    inputs = tuple(Tensor(f"x{i}", (3,), trained=False) for i in range(16))
    check(changed(inputs=inputs, weights=(w[1],), nodes=(Node("relu", (X,)),), output=17))


def test_what_puts_rows_together_is_refused_where_rows_are_by_themselves() -> None:
    norm = Node("batch_norm", (X, None, None, B, B, 0.1, 1e-5))
    with pytest.raises(PlanError) as refused:
        decode(encode(changed(nodes=(norm,), output=3)))
    assert refused.value.code == "model.mixes"
    assert decode(encode(changed(nodes=(norm,), output=3, mode="batch")))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80",
        b"\x80\x04\x95" + b"cos\nsystem\n",
        b"\x93" * 50_000,
        b"\x00" * (MAX_BYTES + 1),
        msgspec.msgpack.encode([1, 2]),
    ],
    ids=["nothing", "an empty map", "a pickle", "nested without end", "too many", "a list"],
)
def test_bytes_that_are_none_are_refused(data: bytes) -> None:
    with pytest.raises(PlanError) as refused:
        decode(data)
    assert refused.value.code == "model.graph"


@given(st.data())
def test_bytes_that_were_changed_are_refused_or_another_graph(data: st.DataObject) -> None:
    raw = bytearray(encode(LINEAR))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] = data.draw(st.integers(0, 255))
    try:
        graph = decode(bytes(raw))
    except PlanError:
        return
    check(graph)


def test_each_operation_of_the_export_is_one_of_ours() -> None:
    assert len(OPS) > 110
    assert sum(len(op.stands_for) for op in OPS.values()) == len(BY_EXPORT), "an operation of the export stands for two"
    for op in OPS.values():
        assert [a.name for a in op.arguments if a.required] == [a.name for a in op.arguments][
            : sum(a.required for a in op.arguments)
        ]


@pytest.mark.parametrize("depth", [100, 900, 3000])
def test_lists_in_lists_are_no_graph(depth: int) -> None:
    """However deep, it is said as anything else that is no graph: never an error of the server's own."""
    value = b"\x01"
    for _ in range(depth):
        value = b"\x91" + value
    data = (
        b"\x85\xa4mode\xa6sample\xa6inputs\x90\xa7weights\x90\xa5nodes\x91\x92\xa4relu\x91" + value + b"\xa6output\x00"
    )
    with pytest.raises(PlanError) as caught:
        decode(data)
    assert caught.value.code == "model.graph"
