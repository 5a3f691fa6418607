"""A query that is cancelled once it says that something will leave has been kept, whenever the cancel comes."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import pytest
from bastion_plan.nodes import Scan
from bastion_policy.verdict import ReleaseNote
from bastion_server.service.histories import HistoryService, Remembered
from bastion_server.service.queries import QueryService


class Slow:
    """A store of histories that takes some turns of the loop."""

    kept: ClassVar[list[int]] = []

    def put(self, *_: Any, **__: Any) -> int:
        Slow.kept.append(1)
        return 1


class Lease:
    def __init__(self, turns: int) -> None:
        self.turns = turns

    async def run_to_file(self, plan: Any) -> Any:
        for _ in range(self.turns):
            await asyncio.sleep(0)
        return {}, -1


class Changed(Remembered):
    @property
    def changes(self) -> Any:
        return dict.fromkeys(["one\x00alice", "two\x00alice"])


@pytest.mark.parametrize("running", [0, 3])
@pytest.mark.parametrize("turns", range(8))
def test_what_will_leave_is_kept_whenever_it_is_cancelled(
    turns: int, running: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bastion_server.service.histories.pack_past", lambda _: b"")
    Slow.kept.clear()
    histories = HistoryService(type("Store", (), {"histories": Slow()})())  # type: ignore[arg-type]
    service = QueryService.__new__(QueryService)
    service.histories = histories
    history = Changed(numbers={"one\x00alice": 0, "two\x00alice": 0})

    async def play() -> None:
        asked = asyncio.ensure_future(service._kept(history, Lease(running), Scan("t"), ReleaseNote()))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        for _ in range(turns):
            await asyncio.sleep(0)
        asked.cancel()
        await asyncio.sleep(0)
        asked.cancel()
        try:
            result = await asked
        except asyncio.CancelledError:
            pass
        else:
            result.fd = -1

    asyncio.run(play())
    assert len(Slow.kept) == 2, "in both domains"
