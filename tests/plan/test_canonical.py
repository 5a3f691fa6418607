"""Canonical bytes: one plan, one encoding, one hash; everything else is refused, quickly and with a typed error."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
import time
import tracemalloc
from typing import Any

import msgpack
import pytest
from bastion_plan import dtypes as dt
from bastion_plan import nodes as n
from bastion_plan.canonical import MAX_BYTES, MAX_DEPTH, MAX_LITERALS, MAX_NODES, decode, encode, plan_hash
from bastion_plan.errors import DecodeError, LimitError, PlanError
from bastion_plan.expressions import Call, Column, Literal
from bastion_plan.validate import INTERNAL
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plan_strategies import T, U, c, f, lit, named, names, plans_strategy

CASES = int(os.environ.get("BASTION_FUZZ_CASES", "200"))
PLAN = n.Select(
    n.Filter(T, f("gt", c("k"), 1)),
    (named("q", Literal(dt.list_of(dt.INT64), (1, 2))), f("quantile", c("x"), quantile=0.25, interpolation="linear")),
)
GOLDEN = {
    "scan": (T, "3082f86637576d29adebdf176e4ffca451b66c1e629c17c2a6ed582dec45aeb3"),
    "filtered": (PLAN, "00b2844b88e939b807a3bbae3cf847c92bd7cdd6f299c441ce11ab12a49542ab"),
    "joined": (
        n.Join(T, U, "left", names(["k"]), names(["k"]), suffix="_u"),
        "db892ef376e498f3680ac67c23102e48e8c450825a64dce3e956eb71be26480d",
    ),
    "nan": (n.Filter(T, f("eq", c("x"), math.nan)), "b6938e640eff45f03d9763df443272c2cc18015ce375f4655ecfdc2186fbcc88"),
}


def common(cases: int) -> Any:
    return settings(
        max_examples=cases, deadline=None, derandomize=True, database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )  # fmt: skip


@common(CASES)
@given(plans_strategy())
def test_round_trip(plan: n.Node) -> None:
    data = encode(plan)
    again = decode(data)
    assert again == plan
    assert hash(again) == hash(plan)
    assert encode(again) == data
    assert plan_hash(again) == plan_hash(data)


def refused(data: bytes) -> None:
    """Nothing but the two typed errors may come out of bytes that are no plan."""
    with pytest.raises((DecodeError, LimitError)) as caught:
        decode(data)
    assert caught.value.code.startswith(("plan.decode", "plan.limit"))


@common(CASES)
@given(plans_strategy(), st.randoms(use_true_random=False))
def test_changed_bytes_are_refused_or_are_another_plan(plan: n.Node, rng: random.Random) -> None:
    data = encode(plan)
    for _ in range(20):
        changed = bytearray(data)
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(changed))
            match rng.randrange(4):
                case 0:
                    changed[at] = rng.randrange(256)
                case 1:
                    del changed[at:]
                case 2:
                    changed[at:at] = bytes([rng.randrange(256)])
                case _:
                    changed[at] ^= 1 << rng.randrange(8)
            if not changed:
                break
        try:
            other = decode(bytes(changed))
        except (DecodeError, LimitError):
            continue
        assert encode(other) == bytes(changed)


@common(CASES)
@given(st.binary(max_size=300))
def test_random_bytes(data: bytes) -> None:
    refused(data)


# -- one encoding -----------------------------------------------------------------------------------------------------


def tree(plan: n.Node) -> Any:
    return msgpack.unpackb(encode(plan))


def packed(value: Any) -> bytes:
    return bytes(msgpack.packb(value))


def test_the_format_is_plain_messagepack() -> None:
    assert packed(tree(PLAN)) == encode(PLAN)


def test_reordered_keys() -> None:
    changed = tree(PLAN)
    changed["root"] = dict(reversed(changed["root"].items()))
    refused(packed(changed))
    refused(packed(dict(reversed(tree(PLAN).items()))))


def test_repeated_keys() -> None:
    data = encode(T)
    field = packed("dataset") + packed("t")
    assert field in data
    refused(data.replace(b"\x82" + packed("node"), b"\x83" + packed("node")) + field)


@pytest.mark.parametrize(
    "wide", [b"\xcc\x05", b"\xcd\x00\x05", b"\xd0\x05", b"\xd3" + bytes(7) + b"\x05", b"\xcb" + bytes(8)]
)
def test_long_integers(wide: bytes) -> None:
    data = encode(n.Slice(T, 0, 5))
    assert data.endswith(b"\x05")
    refused(data[:-1] + wide)


def test_long_strings_and_containers() -> None:
    data = encode(T)
    refused(data.replace(packed("t"), b"\xd9\x01t"))
    refused(b"\xde\x00\x02" + data[1:])
    refused(data.replace(packed("t"), b"\xc4\x01t"))


def test_explicit_defaults() -> None:
    for plan, field, default in (
        (n.Sort(T, names(["k"])), "descending", [False]),
        (n.Join(T, U, "inner", names(["k"]), names(["k"])), "how", "inner"),
        (n.Slice(T, 3), "length", None),
        (n.Slice(T, 0, 3), "offset", 0),
        (n.Select(T, (c("k"),)), "maintain_order", False),
        (n.GroupBy(T, names(["k"])), "aggs", []),
        (n.WithRowIndex(T), "name", "index"),
        (n.Pivot(T, "k", (1,)), "aggregate", "first"),
    ):
        changed = tree(plan)
        changed["root"][field] = default
        refused(packed(changed))


@pytest.mark.parametrize(
    ("implicit", "explicit"),
    [
        (n.Sort(T, names(["k"])), n.Sort(T, names(["k"]), tuple(f for f in [False]), tuple(f for f in [False]))),
        (n.Join(T, U), n.Join(T, U, "".join(["in", "ner"]), suffix="".join(["_", "right"]))),
        (n.Pivot(T, "k", (1,)), n.Pivot(T, "k", (1,), separator="".join(["_"]), aggregate="".join(["fir", "st"]))),
        (n.Unpivot(T), n.Unpivot(T, None, (), "".join(["vari", "able"]), "".join(["val", "ue"]))),
    ],
)
def test_defaults_given_by_hand_are_the_same_plan(implicit: n.Node, explicit: n.Node) -> None:
    assert implicit == explicit
    assert encode(implicit) == encode(explicit)


def test_nan_has_one_encoding() -> None:
    data = encode(n.Filter(T, Literal(dt.FLOAT64, math.nan)))
    payload = bytes.fromhex("7ff8000000000000")
    assert payload in data
    for other in ("7ff8000000000001", "fff8000000000000", "7ff0000000000001"):
        refused(data.replace(payload, bytes.fromhex(other)))
    refused(data.replace(b"\xcb" + payload, bytes.fromhex("ca7fc00000")))


def test_floats_in_four_bytes() -> None:
    data = encode(n.Filter(T, Literal(dt.FLOAT64, 0.5)))
    refused(data.replace(bytes.fromhex("cb3fe0000000000000"), bytes.fromhex("ca3f000000")))


def test_trailing_bytes() -> None:
    for more in (b"\x00", b"\xc0", encode(T)):
        with pytest.raises(DecodeError) as caught:
            decode(encode(T) + more)
        assert caught.value.code == "plan.decode.trailing"


@pytest.mark.parametrize("ext", ["d40100", "d6ff00000000", "c7030a616263", "c1"])
def test_extension_types(ext: str) -> None:
    data = encode(n.Filter(T, Literal(dt.INT64, 7)))
    assert data.endswith(b"\x07")
    refused(data[:-1] + bytes.fromhex(ext))
    refused(bytes.fromhex(ext))


def test_invalid_utf8() -> None:
    refused(encode(n.Scan("tt")).replace(b"tt", b"\xff\xfe"))
    refused(encode(n.Scan("ttt")).replace(b"ttt", b"\xed\xa0\x80"))


def test_a_lone_surrogate_cannot_be_encoded() -> None:
    with pytest.raises(PlanError) as caught:
        encode(n.Scan("\ud800"))
    assert caught.value.code == "plan.encode"


def test_wrong_version() -> None:
    for version, code in ((0, "plan.decode.version"), (2, "plan.decode.version"), ("1", "plan.decode.shape")):
        changed = tree(T) | {"version": version}
        with pytest.raises(DecodeError) as caught:
            decode(packed(changed))
        assert caught.value.code == code


def test_a_later_version_with_other_fields_is_a_wrong_version() -> None:
    with pytest.raises(DecodeError) as caught:
        decode(packed({"version": 9, "body": 1}))
    assert caught.value.code == "plan.decode.version"


def test_unknown_fields_and_tags() -> None:
    for where, more in ((("root",), {"path": "/etc/passwd"}), ((), {"extra": 1}), (("root",), {"node": "scan_csv"})):
        changed = tree(T)
        target = changed
        for key in where:
            target = target[key]
        target.update(more)
        refused(packed(changed))


def test_values_of_wrong_types() -> None:
    for root in ({"node": "scan", "dataset": 5}, {"node": "scan"}, {"dataset": "t"}, [], None, 5, {"node": ["scan"]}):
        refused(packed({"version": 1, "root": root}))


# -- calls ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (Call("no_such_function", (Column("k"),)), "plan.decode.function"),
        (Call("average", (Column("k"),)), "plan.decode.function"),
        (Call("mean", ()), "plan.decode.arguments"),
        (Call("mean", (Column("k"), Column("k"))), "plan.decode.arguments"),
        (Call("pl.len", (Column("k"),)), "plan.decode.arguments"),
        (Call("var", (Column("k"),), (("nope", 1),)), "plan.decode.option"),
        (Call("var", (Column("k"),), (("ddof", 1),)), "plan.decode.option"),  # the default
        (Call("var", (Column("k"),), (("ddof", True),)), "plan.decode.option"),
        (Call("var", (Column("k"),), (("ddof", 0.0),)), "plan.decode.option"),
        (Call("var", (Column("k"),), (("ddof", "0"),)), "plan.decode.option"),
        (Call("var", (Column("k"),), (("ddof", 0), ("ddof", 2))), "plan.decode.option"),  # repeated
        (Call("rank", (Column("k"),), (("method", "min"), ("descending", True))), "plan.decode.option"),  # unsorted
        (Call("rank", (Column("k"),), (("method", "no"),)), "plan.decode.option"),
    ],
)
def test_calls_that_the_registry_does_not_know(call: Call, code: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(encode(n.Select(T, (call,))))
    assert caught.value.code == code


# -- limits -----------------------------------------------------------------------------------------------------------


def deep(levels: int) -> n.Node:
    plan: n.Node = T
    for _ in range(levels - 1):
        plan = n.Reverse(plan)
    return plan


def deep_expression(levels: int) -> n.Node:
    expr: Any = Column("k")
    for _ in range(levels - 2):
        expr = Call("neg", (expr,))
    return n.Select(T, (expr,))


@pytest.mark.parametrize("make", [deep, deep_expression])
def test_depth_is_counted_exactly(make: Any) -> None:
    assert decode(encode(make(MAX_DEPTH))) == make(MAX_DEPTH)
    for levels in (MAX_DEPTH + 1, 150, 190):
        with pytest.raises(LimitError) as caught:
            decode(encode(make(levels)))
        assert caught.value.code == "plan.limit.depth"


def test_number_of_nodes_is_counted_exactly() -> None:
    def wide(number: int) -> n.Node:
        return n.Select(T, tuple(Column("k") for _ in range(number - 2)))

    assert decode(encode(wide(MAX_NODES)))
    with pytest.raises(LimitError) as caught:
        decode(encode(wide(MAX_NODES + 1)))
    assert caught.value.code == "plan.limit.nodes"


def test_number_of_constants_is_counted_exactly() -> None:
    def many(number: int) -> n.Node:
        return n.Inline((n.InlineColumn("v", dt.INT8, (1,) * (number - 1)),))

    assert decode(encode(many(MAX_LITERALS)))
    with pytest.raises(LimitError) as caught:
        decode(encode(many(MAX_LITERALS + 1)))
    assert caught.value.code == "plan.limit.literals"


def test_number_of_bytes_is_counted_exactly() -> None:
    frame = len(encode(n.Scan("x" * 70_000))) - 70_000
    longest = n.Scan("x" * (MAX_BYTES - frame))
    assert len(encode(longest)) == MAX_BYTES
    assert decode(encode(longest)) == longest
    with pytest.raises(LimitError) as caught:
        decode(encode(n.Scan("x" * (MAX_BYTES - frame + 1))))
    assert caught.value.code == "plan.limit.bytes"


def test_the_server_s_own_plans_may_be_larger() -> None:
    assert decode(encode(deep(150)), INTERNAL) == deep(150)


BOMBS = {
    "arrays claiming 4 billion": b"\xdd\xff\xff\xff\xff" * 1000,
    "maps claiming 4 billion": b"\xdf\xff\xff\xff\xff" * 1000,
    "nested arrays of 100,000": b"\xdd\x00\x01\x86\xa0" * 200_000,
    "nested arrays of one": b"\x91" * (MAX_BYTES - 1) + b"\xc0",
    "nested maps": b"\x81\xa1a" * 300_000 + b"\xc0",
    "many nulls": b"\xdd\x00\x0f\xff\x00" + b"\xc0" * 0xFFF00,
    "a string claiming 4 GB": b"\xdb\xff\xff\xff\xff",
    "a truncated number": b"\xcf\x00",
    "nothing": b"",
    "a deep constant": encode(n.Filter(T, Literal(dt.INT64, 7)))[:-1] + b"\x91" * 300 + b"\xc0",
    "a deep type": packed(
        {"version": 1, "root": {"node": "filter", "input": {"node": "scan", "dataset": "t"}, "predicate": {
            "expr": "lit", "dtype": eval("{'kind': 'List', 'inner': " * 90 + "{'kind': 'Int8'}" + "}" * 90), "value": None}}}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_cost_no_time(name: str) -> None:
    start = time.process_time()
    refused(BOMBS[name])
    assert time.process_time() - start < 3


@pytest.mark.parametrize("name", sorted(BOMBS.keys() - {"many nulls"}))
def test_bombs_cost_no_memory(name: str) -> None:
    tracemalloc.start()
    try:
        refused(BOMBS[name])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20


# -- hashes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GOLDEN)
def test_hashes_are_the_same_for_ever(name: str) -> None:
    plan, digest = GOLDEN[name]
    assert plan_hash(plan) == digest
    assert plan_hash(encode(plan)) == digest


def test_hashes_are_the_same_in_every_process() -> None:
    plan = n.GroupBy(PLAN, (c("q"), lit("é")), (f("mean", c("x")), Call("pl.len")))
    code = (
        "import sys; from bastion_plan.canonical import decode, plan_hash;"
        "print(plan_hash(decode(bytes.fromhex(sys.argv[1]))))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code, encode(plan).hex()],
            env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True, timeout=60,
        ).stdout.strip()
        for seed in ("0", "1", "4242")
    }  # fmt: skip
    assert found == {plan_hash(plan)}


def test_constants_of_different_types_are_different_plans() -> None:
    values = [
        Literal(dt.DYN_INT, 1), Literal(dt.INT64, 1), Literal(dt.BOOLEAN, True), Literal(dt.DYN_FLOAT, 1.0),
        Literal(dt.FLOAT64, 1.0), Literal(dt.STRING, "1"), Literal(dt.FLOAT64, 0.0), Literal(dt.FLOAT64, -0.0),
    ]  # fmt: skip
    assert len({plan_hash(n.Filter(T, v)) for v in values}) == len(values)


@pytest.mark.slow
@pytest.mark.timeout(0)
@common(10 * CASES)
@given(plans_strategy(), st.randoms(use_true_random=False))
def test_many_changed_bytes(plan: n.Node, rng: random.Random) -> None:
    test_changed_bytes_are_refused_or_are_another_plan.hypothesis.inner_test(plan, rng)  # type: ignore[attr-defined]
