"""The server, driven by nothing but pyzmq and msgpack, as a client of another make would."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Iterator

import msgpack
import polars as pl
import pytest
import zmq

PLAN = {
    "version": 1,
    "root": {
        "node": "group_by",
        "input": {"node": "scan", "dataset": "?"},
        "keys": [{"expr": "col", "name": "Sex"}],
        "aggs": [{"expr": "call", "function": "mean", "args": [{"expr": "col", "name": "Survived"}]}],
    },
}


@pytest.fixture
def ask(world) -> Iterator[Callable[..., tuple[dict, bytes]]]:
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.curve_serverkey = world.server.server_key.encode()
        socket.curve_publickey = world.alice.curve_key.encode()
        socket.curve_secretkey = world.alice.curve_secret.encode()
        socket.rcvtimeo = 10_000
        socket.linger = 0
        socket.connect(world.server.endpoint)
        number = 0

        def send(body: dict, *, version: int = 1, raw: bytes | None = None) -> tuple[dict, bytes]:
            nonlocal number
            number += 1
            socket.send(raw if raw is not None else msgpack.packb({"v": version, "id": number, "body": body}))
            while True:
                frames = socket.recv_multipart()
                reply = msgpack.unpackb(frames[0])
                if reply["body"]["kind"] not in ("progress", "push"):
                    return reply["body"], frames[1] if len(frames) > 1 else b""

        send({"kind": "hello"})
        yield send


def plan_for(ask) -> bytes:
    datasets, _ = ask({"kind": "list_datasets"})
    found = next(d["facts"]["id"] for d in datasets["datasets"] if d["facts"]["name"] == "titanic")
    root = {**PLAN["root"], "input": {"node": "scan", "dataset": found}}
    return msgpack.packb({"version": 1, "root": root})


def test_a_query(ask):
    body, data = ask({"kind": "query", "plan": plan_for(ask)})
    assert body["kind"] == "table"
    assert body["inline"]
    table = pl.read_ipc(io.BytesIO(data)).sort("Sex")
    assert table["Survived"].round(4).to_list() == [0.742, 0.1889]
    assert set(body["checkpoint"]) == {"size", "root", "time", "signature"}


def test_a_denial(ask):
    tree = msgpack.unpackb(plan_for(ask))
    plan = msgpack.packb({"version": 1, "root": {"node": "slice", "input": tree["root"]["input"], "length": 5}})
    body, data = ask({"kind": "query", "plan": plan})
    assert body["kind"] == "denial"
    assert body["outcome"] == "review"
    assert data == b""


@pytest.mark.parametrize(
    "plan",
    [
        b"",
        b"\xc1",
        b"\x93",
        msgpack.packb({"version": 2, "root": {"node": "scan", "dataset": "x"}}),
        msgpack.packb({"version": 1, "root": {"node": "scan_csv", "path": "/etc/passwd"}}),
        msgpack.packb({"version": 1, "root": {"node": "scan", "dataset": "x", "path": "/etc/passwd"}}),
        msgpack.packb({"root": {"node": "scan", "dataset": "x"}, "version": 1}),
        msgpack.packb({"version": 1, "root": {"node": "scan", "dataset": "#b0"}}),
        msgpack.packb({"version": 1, "root": {"node": "scan", "dataset": "nothing like it"}}),
    ],
)
def test_bad_plans_get_a_code_and_the_next_request_works(ask, plan):
    body, _ = ask({"kind": "query", "plan": plan})
    assert body["kind"] == "failed"
    assert body["code"].startswith("plan.")
    assert ask({"kind": "ping"})[0]["kind"] == "done"


def test_deep_and_huge_plans(ask):
    node: dict = {"node": "scan", "dataset": "x"}
    for _ in range(80):
        node = {"node": "reverse", "input": node}
    body, _ = ask({"kind": "query", "plan": msgpack.packb({"version": 1, "root": node})})
    assert body["code"].startswith("plan.limit")
    body, _ = ask({"kind": "query", "plan": b"\xc4" + b"\0" * (1 << 20)})
    assert body["code"].startswith("plan.")


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "no such thing"},
        {"kind": "query"},
        {"kind": "query", "plan": "text"},
        {"kind": "query", "plan": b"", "extra": 1},
        {"kind": "query", "plan": b"", "mode": "everything"},
        {"kind": "get_dataset", "ref": 5},
        {"kind": "upload_chunk", "upload": "x", "seq": 0},
        {"kind": "upload_end", "upload": "x"},
        {"kind": "decide", "request": "r", "decision": "approve"},
        {"kind": "delete", "dataset": "titanic"},
        {"kind": "audit_show"},
    ],
)
def test_bad_messages_get_a_code(ask, body):
    answer, _ = ask(body)
    assert answer["kind"] == "failed", answer
    assert answer["code"].count(".") >= 1
    assert answer["message"]
    assert ask({"kind": "ping"})[0]["kind"] == "done"


NUMBERS = [math.nan, math.inf, -math.inf, -1, -0.0, 1e308, -1e308, 5e-324, 2**53, 2**63 - 1, 2**64 - 1, -(2**63)]


@pytest.mark.parametrize("number", NUMBERS, ids=str)
def test_strange_numbers_are_answered_at_once(ask, number):
    plan = plan_for(ask)
    bodies = [
        {"kind": "query", "plan": plan, "epsilon": number},
        {"kind": "query", "plan": plan, "mode": "summarize", "epsilon": number},
        {"kind": "decide", "request": "r", "decision": "approve", "until": number},
        {"kind": "audit_show", "limit": number},
        {"kind": "upload_begin", "name": "x", "size": number, "sha256": bytes(32)},
        {"kind": "list_requests", "states": [number]},
        {"kind": "upload_chunk", "upload": "x", "seq": number},
    ]
    for body in bodies:
        start = time.monotonic()
        answer, _ = ask(body)
        assert time.monotonic() - start < 5
        if answer["kind"] != "failed":
            assert answer["kind"] in ("table", "summary", "upload_ready"), (body, answer)
            continue
        assert not answer["code"].startswith("server.") and answer["message"], (body, answer)
        if isinstance(number, float) and not math.isfinite(number):
            assert answer["code"] == "wire.not-finite"
            assert answer["reason"] and answer["next_step"]


@pytest.mark.parametrize("number", [math.nan, 1e400, -math.inf, 2**64 - 1])
def test_strange_constants_in_plans_are_answered_at_once(ask, number):
    tree = msgpack.unpackb(plan_for(ask))
    literal = {"expr": "lit", "dtype": {"kind": "Float64"}, "value": number}
    tree["root"]["aggs"][0]["args"].append(literal)
    start = time.monotonic()
    answer, _ = ask({"kind": "query", "plan": msgpack.packb(tree)})
    assert time.monotonic() - start < 5
    assert answer["kind"] == "failed" and answer["code"].startswith("plan."), answer


def test_wrong_protocol_version_and_garbage(ask):
    assert ask({"kind": "ping"}, version=9)[0]["code"].startswith("wire.")
    assert ask({}, raw=b"\xc1\xc1")[0]["code"].startswith("wire.")
    assert ask({}, raw=b"\x80" * 1000)[0]["code"].startswith("wire.")
    assert ask({"kind": "ping"})[0]["kind"] == "done"
