"""Frames survive any cut into pieces, carry descriptors once, and refuse what is too large."""

from __future__ import annotations

import asyncio
import os
import socket
import threading

import pytest
from bastion_server.workers import framing
from bastion_server.workers.framing import BrokenFrame, async_receive, async_send, pack, receive, send
from bastion_server.workers.messages import Bind, Done, Failed, Run
from hypothesis import given, settings
from hypothesis import strategies as st


def test_a_frame_and_its_descriptors_arrive():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        read, write = os.pipe()
        send(ours, Bind(("a", "b")), b"body", (read, write))
        message, body, fds = receive(theirs, Bind, max_fds=4)
        assert (message, body, len(fds)) == (Bind(("a", "b")), b"body", 2)
        os.write(fds[1], b"x")
        assert os.read(read, 1) == b"x"
        for fd in (read, write, *fds):
            os.close(fd)


@settings(max_examples=40, deadline=None)
@given(body=st.binary(max_size=2000), cuts=st.lists(st.integers(1, 50), max_size=60))
def test_any_cut_into_pieces(body, cuts):
    data = pack(Done(3, 4), body) * 2

    async def scenario():
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.setblocking(False)

            async def feed():
                at = 0
                for cut in (*cuts, len(data)):
                    ours.sendall(data[at : at + cut])
                    at += cut
                    await asyncio.sleep(0)

            feeding = asyncio.create_task(feed())
            got = [await async_receive(theirs, Done) for _ in range(2)]
            await feeding
            return got

    assert asyncio.run(scenario()) == [(Done(3, 4), body, [])] * 2


def test_a_large_body_passes_a_full_socket():
    body = os.urandom(5 << 20)

    async def scenario():
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            got = []
            thread = threading.Thread(target=lambda: got.append(receive(theirs, Run)))
            thread.start()
            await async_send(ours, Run(b"plan"), body)
            await asyncio.to_thread(thread.join)
            return got[0]

    assert asyncio.run(scenario()) == (Run(b"plan"), body, [])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01",
        framing.LENGTHS.pack(framing.MAX_HEAD + 1, 0),
        framing.LENGTHS.pack(1, framing.MAX_BODY + 1) + b"\xc0",
        framing.LENGTHS.pack(1, 0) + b"\xc1",
        pack(Failed("refused")),
        framing.LENGTHS.pack(100_000, 0) + b"\x91" * 100_000,
    ],
)
def test_what_is_no_frame_is_broken(data):
    async def scenario():
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.setblocking(False)
            ours.sendall(data)
            ours.close()
            with pytest.raises(BrokenFrame):
                await async_receive(theirs, Done)

    asyncio.run(scenario())


def test_a_child_cannot_push_descriptors_at_the_server():
    async def scenario():
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.setblocking(False)
            read, write = os.pipe()
            send(ours, Done(), b"", (read, write))
            before = len(os.listdir("/proc/self/fd"))
            message, _, fds = await async_receive(theirs, Done)
            after = len(os.listdir("/proc/self/fd"))
            os.close(read)
            os.close(write)
            return message, fds, after - before

    assert asyncio.run(scenario()) == (Done(), [], 0)
