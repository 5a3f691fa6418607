"""Answers about strict tables leave at fixed steps of time, so that how long the work took tells little.

The steps are multiples of 50 ms that grow by a quarter: 50, 100, 150, 200, 250, 350, 450, 600, 750, 950 ms and so on.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from bastion_plan.errors import BastionError
from bastion_policy.facts import DatasetFacts
from bastion_wire.messages import Table, Weights

from bastion_server.channel.sessions import Incoming

STEP = 0.05
GROWTH = 1.25


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

    async def wait(self) -> float:
        """Wait for the next step; returns the seconds since the request came, as they may be told."""
        step = leaves_after(time.monotonic() - self._started)
        await asyncio.sleep(max(0.0, self._started + step - time.monotonic()))
        return step

    async def send(self, body: Any, data: bytes | memoryview | None = None) -> None:
        """Send an answer at the next step."""
        await self.wait()
        await self._request.send(body, data)

    async def stream(self, table: Table | Weights, data: bytes | memoryview) -> None:
        """Answer with a table at the next step, which is also the time that it says it took."""
        step = await self.wait()
        told = msgspec.structs.replace(table, elapsed=step) if isinstance(table, Table) else table
        await self._request.stream(told, data)

    def progress(self, stage: str, done: int = 0, total: int = 0) -> None:
        """Keep to oneself how far it is: when the work passes from one stage to the next depends on the data."""


@asynccontextmanager
async def paced(request: Incoming, facts: Mapping[str, DatasetFacts], started: float) -> AsyncIterator[Incoming]:
    """Pace the answer to a request about strict or private tables, failures included; others go as they come."""
    if not any(timed(f, request.principal.name) for f in facts.values()):
        yield request
        return
    request.progress("running")
    slow = Paced(request, started)
    try:
        yield slow
    except BastionError:
        # INVARIANT: when a query failed tells as much as when it was answered
        await slow.wait()
        raise


def timed(facts: DatasetFacts, requester: str) -> bool:
    """Whether the time of answers about a table is kept to steps."""
    effective = facts.effective(requester)
    return not effective.open and (effective.profile == "strict" or effective.zone == "private")
