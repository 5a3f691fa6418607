"""Chunks, credits, receipts, invitations."""

from __future__ import annotations

import asyncio
import hashlib
import re

import pytest
from bastion_plan.errors import InputError, WireError
from bastion_wire.identity import Identity
from bastion_wire.invitation import Invitation, looks_like
from bastion_wire.messages import CHUNK
from bastion_wire.streams import Credits, Receipt, chunk_count, chunks
from hypothesis import given
from hypothesis import strategies as st


@given(st.sampled_from([0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 5]))
def test_what_is_cut_is_put_together(size: int) -> None:
    data = bytes(size)
    receipt, pieces = Receipt(size), list(chunks(memoryview(data)))
    assert len(pieces) == chunk_count(size)
    for seq, piece in enumerate(pieces):
        assert not receipt.complete
        receipt.check(seq, len(piece))
        receipt.add(piece)
    assert receipt.complete
    receipt.finish(hashlib.sha256(data).digest())
    with pytest.raises(WireError, match=r"wire\.stream-digest"):
        receipt.finish(bytes(32))
    with pytest.raises(WireError, match=r"wire\.stream-size"):
        receipt.check(len(pieces), CHUNK)


@pytest.mark.parametrize(
    ("seq", "length", "code"),
    [(1, CHUNK, "order"), (-1, CHUNK, "order"), (0, CHUNK - 1, "size"), (0, 0, "size"), (0, CHUNK + 1, "size")],
)
def test_a_chunk_out_of_place_is_refused(seq: int, length: int, code: str) -> None:
    with pytest.raises(WireError, match=rf"wire\.stream-{code}"):
        Receipt(5 * CHUNK).check(seq, length)


def test_the_end_before_all_has_come_is_refused() -> None:
    receipt = Receipt(2 * CHUNK)
    receipt.check(0, CHUNK)
    with pytest.raises(WireError, match=r"wire\.stream-size"):
        receipt.finish(b"")


def test_credits_wait_time_out_and_fail() -> None:
    async def body() -> None:
        credits = Credits(1)
        await credits.take(1)
        with pytest.raises(WireError, match=r"wire\.stream-timeout"):
            await credits.take(0.05)
        waiting = asyncio.create_task(credits.take(5))
        await asyncio.sleep(0)
        credits.add(2)
        await waiting
        assert credits.free == 1
        credits.fail(WireError("x", code="wire.lost"))
        with pytest.raises(WireError, match=r"wire\.lost"):
            await credits.take(5)

    asyncio.run(body())


def test_a_token_is_one_line_and_comes_back() -> None:
    made = Invitation.create("tcp://host.example:5555", Identity.create("s").curve_key, "alice")
    token = made.to_token()
    assert re.fullmatch(r"[A-Za-z0-9._-]+", token)
    assert looks_like(f"  {token}\n")
    back = Invitation.from_token(f"  {token}\n")
    assert (back.endpoint, back.server_key, back.name, back.secret) == (
        made.endpoint,
        made.server_key,
        "alice",
        made.secret,
    )
    assert back.curve_key == made.curve_key
    assert made.secret not in repr(made)


@given(st.text(max_size=60), st.booleans())
def test_any_text_is_no_token(text: str, prefixed: bool) -> None:
    with pytest.raises(InputError, match=r"input\.invite"):
        Invitation.from_token("bastion1." + text if prefixed else text)


def test_a_cut_token_is_refused() -> None:
    token = Invitation.create("tcp://h:1", Identity.create("s").curve_key, "alice").to_token()
    for end in range(len(token) - 1):
        with pytest.raises(InputError):
            Invitation.from_token(token[:end])


@pytest.mark.parametrize("turns", [0, 1, 2])
def test_a_cancellation_is_heard_even_as_the_credit_comes(turns: int) -> None:
    async def body() -> None:
        credits = Credits(0)
        waiting = asyncio.create_task(credits.take(5))
        await asyncio.sleep(0.01)
        credits.add(1)
        for _ in range(turns):
            await asyncio.sleep(0)
        heard = waiting.cancel()  # False once it has its credit
        await asyncio.wait({waiting})
        assert waiting.cancelled() == heard
        assert credits.free == int(heard)

    asyncio.run(body())
