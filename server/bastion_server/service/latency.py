"""Answers about strict tables leave at fixed steps of time, so that how long the work took tells little.

The steps are multiples of 50 ms that grow by a quarter: 50, 100, 150, 200, 250, 350, 450, 600, 750, 950 ms and so on.

Who stops such a question, or hangs up on it, is told, charged and remembered as if the answer had come: the work goes on to its
end, which its limits of time and memory set, and the stop is heard at the step at which the answer would have left.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, TypeVar

import msgspec
from bastion_policy.facts import DatasetFacts
from bastion_wire.messages import Table, Weights

from bastion_server.channel import failures
from bastion_server.channel.sessions import Incoming

STEP = 0.05
GROWTH = 1.25
#: stopped requests of one identity that are being brought to their end, at most
MOST_STOPPED = 64

_T = TypeVar("_T")
#: how many of them there are
_stopped: Counter[str] = Counter()


def steps() -> Iterator[float]:
    """Iterate over the times after its arrival at which an answer may leave, in seconds."""
    count = 1
    while True:
        yield count * STEP
        count = max(count + 1, math.ceil(count * GROWTH))


def leaves_after(taken: float) -> float:
    """Return the first step that is not before `taken` seconds."""
    return next(step for step in steps() if step >= taken)


class Paced(Incoming):
    """A request whose answer waits for the next step; nothing tells before how far the work is."""

    def __init__(self, request: Incoming, started: float) -> None:
        self.__dict__.update(request.__dict__)
        self._request, self._started = request, started
        self._step = 0.0
        #: nobody waits for the answer any more
        self.stopped = False
        #: the answer is on its way
        self.leaving = False

    async def wait(self) -> float:
        """Wait for the next step; returns the seconds since the request came, as they may be told. The first wait chooses the step."""
        if not self._step:
            self._step = leaves_after(time.monotonic() - self._started)
        await asyncio.sleep(max(0.0, self._started + self._step - time.monotonic()))
        return self._step

    async def send(self, body: Any, data: bytes | memoryview | None = None) -> None:
        """Send an answer at the next step."""
        await self._leave()
        await self._request.send(body, data)

    async def stream(self, table: Table | Weights, data: bytes | memoryview) -> None:
        """Answer with a table at the next step, which is also the time that it says it took."""
        step = await self._leave()
        told = msgspec.structs.replace(table, elapsed=step) if isinstance(table, Table) else table
        await self._request.stream(told, data)

    async def _leave(self) -> float:
        step = await self.wait()
        if self.stopped:
            raise asyncio.CancelledError
        self.leaving = True
        return step

    def progress(self, stage: str, done: int = 0, total: int = 0) -> None:
        """Keep to oneself how far it is: when the work passes from one stage to the next depends on the data."""


async def paced(
    request: Incoming, facts: Mapping[str, DatasetFacts], started: float, work: Callable[[Incoming], Awaitable[_T]]
) -> _T:
    """Do the work for a request. About strict or private tables its answer is paced, failures and stops included; others go as they come.

    INVARIANT: nothing that a peer does while the work runs changes what is done, kept, written down and charged, nor when
    that is heard of: else a stop would tell how far the work was, which may depend on one person's row. So the work is no
    part of the task that a stop cancels.

    Raises:
        CancelledError: the request was stopped; raised at the step. WireError: wire.busy.
    """
    who = request.principal.name
    if not any(timed(f, who) for f in facts.values()):
        return await work(request)
    if _stopped[who] >= MOST_STOPPED:
        raise failures.busy("Too many questions that you stopped are being brought to their end.")
    request.progress("running")
    slow = Paced(request, started)
    doing = asyncio.ensure_future(_to_its_step(slow, work))
    try:
        while not doing.done():
            try:
                await asyncio.wait([doing])
            except asyncio.CancelledError:
                # a peer's stop is heard once (Incoming.cancel): a second one is the server's, which ends
                if slow.leaving or slow.stopped:
                    doing.cancel()
                if not slow.stopped:
                    slow.stopped, _stopped[who] = True, _stopped[who] + 1
        if slow.stopped:
            if not doing.cancelled():
                doing.exception()  # of no more interest
            raise asyncio.CancelledError
        return doing.result()
    finally:
        if slow.stopped:
            _stopped[who] -= 1
            if not _stopped[who]:
                del _stopped[who]


async def _to_its_step(slow: Paced, work: Callable[[Incoming], Awaitable[_T]]) -> _T:
    try:
        done = await work(slow)
    except Exception:
        # INVARIANT: when a query failed tells as much as when it was answered
        await slow.wait()
        raise
    await slow.wait()
    return done


async def until_step(request: Incoming) -> None:
    """Wait until an answer may leave, where that is kept to steps.

    INVARIANT: called before what anybody may see is written: how many records the log has goes with every answer, and what
    was kept of one is told to who asks for its price.
    """
    if isinstance(request, Paced):
        await request.wait()


def timed(facts: DatasetFacts, requester: str) -> bool:
    """Whether the time of answers about a table is kept to steps."""
    effective = facts.effective(requester)
    return not effective.open and (effective.profile == "strict" or effective.zone == "private")
