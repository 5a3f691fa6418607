"""A server without torch says so before anything is sent to it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from bastion_plan.errors import ServerError
from bastion_plan.models import graph as graphs
from bastion_server.service.server import Service
from bastion_wire import messages as m
from fit_line import linear, rows, spec
from in_process import Asked, with_service


def test_it_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bastion_server.training.lease._NEEDED", ("torch_that_is_not_there",))
    graph, weights = linear()

    async def use(service: Service, dataset: str) -> None:
        fit = m.Fit(rows(dataset), "model", spec())
        begin = m.ModelBegin(graphs.encode(graph), len(weights), b"0" * 32)
        for ask in (service.handle(Asked(fit, "alice")), service.begin(Asked(begin, "alice"))):  # type: ignore[arg-type]
            with pytest.raises(ServerError) as error:
                await ask
            assert error.value.code == "train.missing" and ".[train]" in error.value.next_step
        runs = Asked(m.ListRuns(), "alice")
        await service.handle(runs)  # type: ignore[arg-type]
        assert runs.answers == [m.Runs(())]

    asyncio.run(with_service(tmp_path, use))
