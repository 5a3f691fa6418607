"""A service for channel tests: answers by the reason of the request, keeps uploads in memory."""

from __future__ import annotations

import asyncio
from typing import Any

from bastion_plan.errors import NotFound
from bastion_policy.facts import DatasetFacts
from bastion_policy.model import Policy
from bastion_policy.verdict import ReleaseNote
from bastion_server.channel import Incoming
from bastion_wire import messages as m

HASH = "0" * 64


def table() -> m.Table:
    return m.Table((), 0, 0, HASH, ReleaseNote())


def card(name: str) -> m.Dataset:
    return m.Dataset(DatasetFacts("ds-" + name, name, 1, (), Policy.default()))


class ToySink:
    def __init__(self, service: ToyService, name: str) -> None:
        self.service, self.name, self.data, self.state = service, name, bytearray(), "open"
        service.sinks.append(self)

    async def chunk(self, data: memoryview) -> None:
        if self.name == "disk-full":
            raise OSError("secret path /srv/x")
        self.data += data
        if self.service.discard:
            self.data.clear()

    async def end(self) -> m.AnyAnswer:
        self.state = "kept"
        return card(self.name)

    async def abort(self) -> None:
        self.state = "aborted"


class ToyService:
    """plan bytes say what to do: b"sleep", b"crash", b"missing", b"silent", b"rows N" (a table of N bytes)."""

    def __init__(self) -> None:
        self.sinks: list[ToySink] = []
        self.running = 0
        self.cancelled = 0
        self.discard = False
        self.blob = b""

    async def handle(self, request: Incoming) -> Any:
        match request.body:
            case m.Hello():
                return m.Welcome("toy", "0", request.principal.name, request.principal.roles, b"k" * 32)
            case m.Query(plan=plan):
                return await self.query(request, plan)
            case _:
                return m.Done()

    async def query(self, request: Incoming, plan: bytes) -> Any:
        word, _, number = plan.partition(b" ")
        if word == b"sleep":
            self.running += 1
            try:
                request.progress("running", 1, 2)
                await asyncio.sleep(float(number or 60))
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
            finally:
                self.running -= 1
            return m.Done()
        if word == b"crash":
            raise RuntimeError("value 4711 of the data")
        if word == b"missing":
            raise NotFound("No such dataset.", code="missing.dataset", details={"name": "x"})
        if word == b"silent":
            return None
        size = int(number)
        if len(self.blob) < size:
            self.blob = bytes(range(256)) * (size // 256 + 1)
        await request.stream(table(), memoryview(self.blob)[:size])
        return None

    async def begin(self, request: Incoming) -> ToySink:
        assert isinstance(request.body, m.UploadBegin)
        return ToySink(self, request.body.name)
