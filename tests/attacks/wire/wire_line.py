"""A hostile client: one encrypted socket, the messages of the protocol, and nothing of the SDK in between."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from typing import Any

import polars
import zmq
from bastion_plan.canonical import encode
from bastion_plan.nodes import Node
from bastion_wire import messages as m
from bastion_wire.codec import decode_reply, encode_request
from bastion_wire.identity import Identity

PATIENCE = 60_000  #: ms without any message before the line is given up


class Line:
    """A session of one identity. Not for threads."""

    def __init__(self, context: zmq.Context[Any], endpoint: str, server_key: str, who: Identity) -> None:
        self.socket = context.socket(zmq.DEALER)
        self.socket.curve_serverkey = server_key.encode()
        self.socket.curve_publickey = who.curve_key.encode()
        self.socket.curve_secretkey = who.curve_secret.encode()
        self.socket.rcvtimeo = PATIENCE
        self.socket.linger = 0
        self.socket.connect(endpoint)
        self.number = 0
        self.ask(m.Hello())

    def ask(self, body: Any) -> tuple[Any, bytes]:
        """Send a request; return the body of its answer and the bytes that came with it."""
        self.number += 1
        number, table, parts = self.number, None, []
        self.socket.send(encode_request(number, body))
        while True:
            frames = self.socket.recv_multipart()
            reply = decode_reply(frames[0])
            if reply.id != number or isinstance(reply.body, m.Progress | m.Credit):
                continue
            if isinstance(reply.body, m.Table) and not reply.body.inline:
                table = reply.body
                continue
            if isinstance(reply.body, m.Chunk) and table is not None:
                parts.append(frames[1])
                self.socket.send(encode_request(0, m.Credit(number, 1)))
                if reply.body.last:
                    return table, b"".join(parts)
                continue
            return reply.body, frames[1] if len(frames) > 1 else b""

    def query(
        self, plan: Node, mode: str = "run", request: str | None = None, epsilon: float = 0.0
    ) -> tuple[Any, polars.DataFrame | None]:
        """Send a plan; return the body of the answer, and the table if one left."""
        body, data = self.ask(m.Query(encode(plan), mode, request, epsilon))
        return body, polars.read_ipc(io.BytesIO(data)) if isinstance(body, m.Table) else None

    def together(self, plans: Sequence[Node]) -> list[polars.DataFrame | None]:
        """Send several plans before reading any answer; return their tables in order, None where there is none."""
        sent = {}
        for i, plan in enumerate(plans):
            self.number += 1
            sent[self.number] = i
            self.socket.send(encode_request(self.number, m.Query(encode(plan))))
        found: list[polars.DataFrame | None] = [None] * len(plans)
        while sent:
            frames = self.socket.recv_multipart()
            reply = decode_reply(frames[0])
            if reply.id not in sent or isinstance(reply.body, m.Progress | m.Credit):
                continue
            place = sent.pop(reply.id)
            if isinstance(reply.body, m.Table) and reply.body.inline:
                found[place] = polars.read_ipc(io.BytesIO(frames[1]))
        return found

    def timed(self, plan: Node) -> float:
        """Return the seconds until the answer to a plan, whatever it is."""
        start = time.perf_counter()
        self.query(plan)
        return time.perf_counter() - start

    def takes(self, plan: Node, seconds: float) -> bool:
        """Send a plan, and stop it if it has no answer after so many seconds; return whether it was stopped."""
        self.number += 1
        number, until, stopped = self.number, time.monotonic() + seconds, False
        self.socket.send(encode_request(number, m.Query(encode(plan))))
        while True:
            left = PATIENCE if stopped else max(0, int(1000 * (until - time.monotonic())))
            if not self.socket.poll(left):
                assert not stopped, "a question cannot be stopped"
                self.number += 1
                self.socket.send(encode_request(self.number, m.Cancel(number)))
                stopped = True
                continue
            reply = decode_reply(self.socket.recv_multipart()[0])
            if reply.id == number and not isinstance(reply.body, m.Progress | m.Credit | m.Chunk):
                return isinstance(reply.body, m.Failed) and reply.body.code == "interrupted.cancelled"

    def close(self) -> None:
        """End the session."""
        self.socket.close()
