"""Frames on a Unix stream socket: two lengths, a MessagePack head, a body, and descriptors on the first byte."""

from __future__ import annotations

import array
import asyncio
import os
import socket
import struct
from typing import Any

import msgspec

from bastion_server.workers.messages import Message

LENGTHS = struct.Struct("<II")
#: bytes of a head and of a body; what a child sends beyond is a broken child
MAX_HEAD = 16 << 20
MAX_BODY = 1 << 20

_encoder = msgspec.msgpack.Encoder()


class BrokenFrame(Exception):
    """The other end closed the socket, or sent what is no frame."""


def pack(message: Message, body: bytes | memoryview = b"") -> bytes:
    """Return the bytes of one frame."""
    head = _encoder.encode(message)
    return b"".join((LENGTHS.pack(len(head), len(body)), head, body))


def _lengths(data: bytes | bytearray, limit: int | None) -> tuple[int, int]:
    head, body = LENGTHS.unpack(data)
    if head > MAX_HEAD or (limit is not None and body > limit):
        msg = "a frame over the size limit"
        raise BrokenFrame(msg)
    return head, body


# ------------------------------------------------------------------------------------------------- blocking (child side)


def send(sock: socket.socket, message: Message, body: bytes | memoryview = b"", fds: tuple[int, ...] = ()) -> None:
    """Send one frame."""
    data = pack(message, body)
    sent = socket.send_fds(sock, [data], fds) if fds else 0
    sock.sendall(memoryview(data)[sent:])


def receive(sock: socket.socket, kind: Any, max_fds: int = 0) -> tuple[Any, bytes, list[int]]:
    """Wait for one frame and return (message, body, descriptors); BrokenFrame at the end of the stream."""
    first, fds = b"", []
    while len(first) < LENGTHS.size:
        part, new, _, _ = socket.recv_fds(sock, LENGTHS.size - len(first), max_fds)
        fds += new
        if not part:
            msg = "end of stream"
            raise BrokenFrame(msg)
        first += part
    head, body = _lengths(first, None)
    data = bytearray(head + body)
    view, got = memoryview(data), 0
    while got < len(data):
        count = sock.recv_into(view[got:])
        if not count:
            msg = "end of stream"
            raise BrokenFrame(msg)
        got += count
    return msgspec.msgpack.decode(view[:head], type=kind), bytes(view[head:]), fds


# ---------------------------------------------------------------------------------------------- asyncio (server side)


async def _ready(sock: socket.socket, *, to_write: bool) -> None:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not future.done():
            future.set_result(None)

    add, remove = (loop.add_writer, loop.remove_writer) if to_write else (loop.add_reader, loop.remove_reader)
    add(sock.fileno(), wake)
    try:
        await future
    finally:
        if sock.fileno() >= 0:
            remove(sock.fileno())


async def async_send(
    sock: socket.socket, message: Message, body: bytes | memoryview = b"", fds: tuple[int, ...] = ()
) -> None:
    """Send one frame on a non-blocking socket; BrokenFrame where the other end is gone."""
    view = memoryview(pack(message, body))
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    try:
        while view:
            try:
                count = sock.sendmsg([view], ancillary, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                await _ready(sock, to_write=True)
                continue
            ancillary = []
            view = view[count:]
    except OSError as error:
        msg = "the other end is gone"
        raise BrokenFrame(msg) from error


async def _receive_exactly(sock: socket.socket, size: int, max_fds: int, fds: list[int]) -> bytearray:
    data = bytearray(size)
    view, got = memoryview(data), 0
    while got < size:
        try:
            if max_fds:
                part, new, _, _ = socket.recv_fds(sock, size - got, max_fds)
                fds += new
                view[got : got + len(part)] = part
                count = len(part)
            else:
                # INVARIANT: without a control buffer the kernel drops descriptors a broken child might push at us
                count = sock.recv_into(view[got:])
        except BlockingIOError:
            await _ready(sock, to_write=False)
            continue
        except OSError as error:
            msg = "the other end is gone"
            raise BrokenFrame(msg) from error
        if not count:
            msg = "end of stream"
            raise BrokenFrame(msg)
        got += count
    return data


async def async_receive(sock: socket.socket, kind: Any, max_fds: int = 0) -> tuple[Any, bytes, list[int]]:
    """Wait for one frame on a non-blocking socket and return (message, body, descriptors).

    Raises:
        BrokenFrame: end of stream, a frame over the limits, or a message not of `kind`.
    """
    fds: list[int] = []
    try:
        head, body = _lengths(await _receive_exactly(sock, LENGTHS.size, max_fds, fds), MAX_BODY)
        data = memoryview(await _receive_exactly(sock, head + body, 0, fds))
        try:
            return msgspec.msgpack.decode(data[:head], type=kind), bytes(data[head:]), fds
        except (msgspec.DecodeError, RecursionError) as error:
            msg = "a message of an unknown kind"
            raise BrokenFrame(msg) from error
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise
