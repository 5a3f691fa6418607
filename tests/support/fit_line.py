"""Fits by wire: a hostile or honest scientist's socket, small models, and nothing of the SDK or of torch in between."""

from __future__ import annotations

import hashlib
import json
import struct
import time
from typing import Any

import numpy as np
import polars as pl
import zmq
from bastion_plan.canonical import encode
from bastion_plan.models import graph as graphs
from bastion_plan.models.fits import FitSpec, Optimizer, Split
from bastion_plan.models.graph import Graph, Node, Ref, Tensor
from bastion_plan.nodes import Scan
from bastion_wire import messages as m
from bastion_wire.codec import decode_reply, encode_request
from bastion_wire.identity import Identity

FEATURES = ("a", "b", "c")
PATIENCE = 240.0


def people(count: int = 400, seed: int = 0) -> pl.DataFrame:
    """People of whom a line tells the label."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 3)).astype("f4")
    labels = (x @ np.array([1.0, -2.0, 0.5]) > 0).astype("i8")
    columns = {name: x[:, i] for i, name in enumerate(FEATURES)}
    return pl.DataFrame({"id": [f"p{i}" for i in range(count)]} | columns | {"y": labels, "name": ["Ann"] * count})


def safetensors(weights: dict[str, Any]) -> bytes:
    """Weights as they travel."""
    head: dict[str, Any] = {}
    body = b""
    for name, values in weights.items():
        data = np.ascontiguousarray(values, dtype="<f4").tobytes()
        head[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


def numbers(data: bytes) -> dict[str, Any]:
    """Weights that came, by name."""
    (size,) = struct.unpack("<Q", data[:8])
    head = json.loads(data[8 : 8 + size])
    found = {}
    for name, entry in head.items():
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            found[name] = np.frombuffer(data[8 + size + start : 8 + size + end], "<f4").reshape(entry["shape"])
    return found


def linear(classes: int = 2, features: int = 3, mode: str = "sample") -> tuple[Graph, bytes]:
    """Logistic regression, from nothing."""
    weights = {"w": np.zeros((classes, features), "f4"), "b": np.zeros(classes, "f4")}
    inputs = (Tensor("x", (features,)),)
    made = Graph(
        mode, inputs, tuple(Tensor(name, w.shape) for name, w in weights.items()),
        (Node("linear", (Ref(0), Ref(1), Ref(2))),), 3,
    )  # fmt: skip
    return made, safetensors(weights)


def spec(**changes: Any) -> FitSpec:
    """A fit that takes half a second."""
    settings: dict[str, Any] = {
        "inputs": (FEATURES,), "labels": ("y",), "loss": "cross_entropy", "steps": 30, "optimizer": Optimizer("sgd", 0.5),
        "split": Split(0.2, 1), "epsilon": 2.0, "rate": 0.25, "expected": 80.0, "epoch": 10,
    }  # fmt: skip
    return FitSpec(**(settings | changes))


def exact(**changes: Any) -> FitSpec:
    """The same without noise."""
    return spec(**({"private": False, "epsilon": 0.0, "rate": 0.0, "expected": 0.0} | changes))


def rows(dataset: str) -> bytes:
    """The plan of a whole table."""
    return encode(Scan(dataset))


class FitLine:
    """A session of one identity. Not for threads."""

    def __init__(self, context: zmq.Context[Any], server: Any, who: Identity) -> None:
        self.socket = context.socket(zmq.DEALER)
        self.socket.curve_serverkey = server.server_key.encode()
        self.socket.curve_publickey = who.curve_key.encode()
        self.socket.curve_secretkey = who.curve_secret.encode()
        self.socket.rcvtimeo = 120_000
        self.socket.linger = 0
        self.socket.connect(server.endpoint)
        self.number = 0
        self.pushed: list[m.RunInfo] = []
        self.ask(m.Hello())

    def ask(self, body: Any) -> Any:
        """Return the body of an answer."""
        return self.both(body)[0]

    def both(self, body: Any) -> tuple[Any, bytes]:
        """Return the body of an answer, and the bytes that came with it."""
        self.number += 1
        self.socket.send(encode_request(self.number, body))
        return self._answer(self.number)

    def _answer(self, number: int) -> tuple[Any, bytes]:
        large, parts = None, []
        while True:
            frames = self.socket.recv_multipart()
            reply = decode_reply(frames[0])
            found = reply.body
            if isinstance(found, m.Push) and found.run is not None:
                self.pushed.append(found.run)
            if reply.id != number or isinstance(found, m.Progress | m.Credit):
                continue
            if isinstance(found, m.Table | m.Weights) and not found.inline:
                large = found
            elif isinstance(found, m.Chunk) and large is not None:
                parts.append(frames[1])
                self.socket.send(encode_request(0, m.Credit(number, 1)))
                if found.last:
                    return large, b"".join(parts)
            else:
                return found, frames[1] if len(frames) > 1 else b""

    def begin(self, graph: bytes, weights: bytes, sha256: bytes | None = None) -> Any:
        """Send the bytes of a graph, and weights; return the body of the answer: Model, or what it failed of."""
        digest = hashlib.sha256(weights).digest() if sha256 is None else sha256
        ready = self.ask(m.ModelBegin(graph, len(weights), digest))
        if not isinstance(ready, m.UploadReady):
            return ready
        for seq, start in enumerate(range(0, len(weights), m.CHUNK)):
            chunk = m.UploadChunk(ready.upload, seq)
            self.socket.send_multipart([encode_request(0, chunk), weights[start : start + m.CHUNK]])
        return self.ask(m.UploadEnd(ready.upload))

    def model(self, made: tuple[Graph, bytes] | None = None) -> str:
        """Send a model; return its name."""
        graph, weights = made or linear()
        return str(self.begin(graphs.encode(graph), weights).model)

    def fit(self, plan: bytes, made: FitSpec, model: str | None = None) -> Any:
        """Begin a fit; return the body of the answer."""
        return self.ask(m.Fit(plan, model or self.model(), made))

    def get(self, run: str) -> m.RunInfo:
        """How a fit stands."""
        return self.ask(m.GetRun(run)).info  # type: ignore[no-any-return]

    def until(self, run: str, *, step: int | None = None) -> m.RunInfo:
        """Wait until a fit has ended, or is at a step."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            info = self.get(run)
            if info.state not in ("queued", "running") or (step is not None and info.step >= step):
                return info
            time.sleep(0.05)
        raise AssertionError(info)

    def done(self, plan: bytes, made: FitSpec, model: str | None = None) -> m.RunInfo:
        """Fit to the end."""
        answer = self.fit(plan, made, model)
        assert isinstance(answer, m.Run), answer
        return self.until(answer.info.id)

    def budget(self, dataset: str) -> Any:
        """The budget of a table, by name."""
        return next(b for b in self.ask(m.GetBudget()).budgets if dataset in b.datasets)

    def close(self) -> None:
        """Hang up."""
        self.socket.close()
