"""The protocol from outside: a client with nothing but msgpack and pyzmq."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from pathlib import Path
from typing import Any

import msgpack
import zmq
from bastion_wire.identity import Identity
from toy_channel import toy


def foreign_client(endpoint: str, server_key: str, public: str, secret: str) -> dict[str, Any]:
    """Blocking, in a thread of its own, as a script in another language would be written."""
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.curve_serverkey, socket.curve_publickey, socket.curve_secretkey = (
        k.encode() for k in (server_key, public, secret)
    )
    socket.rcvtimeo = 10_000
    socket.connect(endpoint)

    def send(number: int, body: dict[str, Any], *data: bytes) -> None:
        socket.send_multipart([msgpack.packb({"v": 1, "id": number, "body": body}), *data])

    def receive() -> tuple[int, dict[str, Any], list[bytes]]:
        header, *data = socket.recv_multipart()
        message = msgpack.unpackb(header)
        assert message["v"] == 1
        return message["id"], message["body"], data

    seen: dict[str, Any] = {}
    send(1, {"kind": "hello", "client": "foreign"})
    seen["hello"] = receive()
    send(2, {"kind": "ping"})
    seen["ping"] = receive()
    send(3, {"kind": "query", "plan": b"rows 100"})
    seen["small"] = receive()
    send(4, {"kind": "query", "plan": b"rows 20000000"})
    number, table, data = receive()
    parts = []
    while True:
        _, chunk, (part,) = receive()
        assert chunk["seq"] == len(parts)
        parts.append(part)
        send(0, {"kind": "credit", "stream": 4, "chunks": 1})
        if chunk.get("last"):
            break
    seen["large"] = (
        number,
        table,
        data,
        len(b"".join(parts)),
        hashlib.sha256(b"".join(parts)).digest() == chunk["sha256"],
    )
    blob = bytes(2_500_000)
    send(5, {"kind": "upload_begin", "name": "t", "size": len(blob), "sha256": hashlib.sha256(blob).digest()})
    number, ready, _ = receive()
    for seq in range(3):
        send(0, {"kind": "upload_chunk", "upload": ready["upload"], "seq": seq}, blob[seq << 20 : (seq + 1) << 20])
    send(6, {"kind": "upload_end", "upload": ready["upload"]})
    credited = 0
    while True:
        number, body, _ = receive()
        if number == 6:
            break
        assert (number, body["kind"], body["stream"]) == (5, "credit", 5)
        credited += body["chunks"]
    seen["upload"] = (ready["credit"], credited, body["kind"], body["facts"]["name"])
    context.destroy(linger=0)
    return seen


def test_hello_ping_query_stream_and_upload(tmp_path: Path) -> None:
    before = threading.active_count()

    async def body() -> dict[str, Any]:
        async with toy(tmp_path) as server:
            bob = Identity.create("bob")
            server.keys.add(bob.public)
            seen = await asyncio.to_thread(
                foreign_client, server.channel.endpoint, server.channel.server_key, bob.curve_key, bob.curve_secret
            )
            assert bytes(server.service.sinks[0].data) == bytes(2_500_000)
            return seen

    seen = asyncio.run(asyncio.wait_for(body(), 30))
    number, welcome, _ = seen["hello"]
    assert (number, welcome["kind"], welcome["identity"], welcome["roles"]) == (1, "welcome", "bob", ["user"])
    assert seen["ping"] == (2, {"kind": "done"}, [])
    number, table, data = seen["small"]
    assert (number, table["kind"], table["inline"], table["size"]) == (3, "table", True, 100)
    assert data == [bytes(range(100))]
    number, table, data, size, digest_holds = seen["large"]
    assert (number, table["kind"], table.get("inline", False), table["size"], data) == (
        4,
        "table",
        False,
        20_000_000,
        [],
    )
    assert (size, digest_holds) == (20_000_000, True)
    assert seen["upload"] == (8, 3, "dataset", "t")
    assert threading.active_count() < before + 20
