"""A trial before payment has a worker of its own: people's rows are read with all the time and memory there is."""

from __future__ import annotations

import asyncio

import polars as pl
from bastion_plan.canonical import encode
from bastion_plan.expressions import Alias, Call, Column
from bastion_plan.nodes import Scan, Select
from bastion_policy.model import Policy, measure
from bastion_server.workers.lease import Lease
from bastion_wire import messages as m
from in_process import Asked, with_service

FRAME = pl.DataFrame({"a": [float(i) for i in range(100)]})


def test_what_is_tried_takes_nothing_from_what_is_read(tmp_path, monkeypatch):
    ran: list[tuple[int, str]] = []
    run, bind = Lease.run, Lease.bind

    async def noted(lease, plan, *rest, **options):
        ran.append((id(lease), "run"))
        return await run(lease, plan, *rest, **options)

    async def bound(lease, *rest, **options):
        ran.append((id(lease), "bind"))
        return await bind(lease, *rest, **options)

    async def use(service, dataset):
        monkeypatch.setattr(Lease, "run", noted)
        monkeypatch.setattr(Lease, "bind", bound)
        asked = Asked(m.Query(encode(Select(Scan(dataset), (Alias(Call("sum", (Column("a"),)), "s"),)))), "alice")
        await service.handle(asked)
        assert isinstance(asked.answers[0], m.Table)

    policy = Policy.private(1.0, unit="row", roles={"a": measure(0, 100)})
    asyncio.run(with_service(tmp_path, use, FRAME, policy))
    read = {lease for lease, what in ran if what == "bind"}
    assert len(read) == 1
    assert any(lease not in read for lease, _ in ran), "nothing was tried"
    first = next(at for at, (lease, _) in enumerate(ran) if lease in read)
    assert ran[first][1] == "bind"
    assert all(lease not in read for lease, _ in ran[:first])
