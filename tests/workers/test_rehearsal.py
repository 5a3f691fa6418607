"""Plans about people are tried on tables of nobody, before anything is paid."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import polars as pl
import pytest
from bastion_plan.dtypes import DType
from bastion_plan.errors import InputError
from bastion_plan.expressions import Call, Column, Literal
from bastion_plan.nodes import Filter, Scan, Select, WithColumns
from bastion_policy.model import Policy
from bastion_policy.roles import measure, quasi
from bastion_server.private.rehearsal import rehearse, rehearse_last
from noisy import Desk
from query import Q

from bastion import pl as b

FRAME = pl.DataFrame(
    {
        "pid": [1, 2], "u": [3, 4], "x": [0.5, 1.5], "c": ["p", "q"], "e": ["p", "q"], "l": [[1], []], "d": ["1.5", "2"],
        "t": [0, 1], "s": [{"a": 1}, {"a": None}],
    }
).with_columns(
    pl.col("u").cast(pl.UInt8), pl.col("c").cast(pl.Categorical), pl.col("e").cast(pl.Enum(["p", "q"])),
    pl.col("d").cast(pl.Decimal(10, 2)), pl.col("t").cast(pl.Datetime("us", "UTC")),
)  # fmt: skip
#: of a UInt8 there is no such list
WRONG = Filter(Scan("t"), Call("is_in", (Column("u"), Literal(DType("List", inner=DType("UInt8")), (-3, 1)))))


def deep() -> WithColumns:
    total = Column("u")
    for _ in range(600):
        total = Call("add", (total, Column("u")))
    return WithColumns(Scan("t"), (total,))


@pytest.mark.parametrize("wrong", [WRONG, Select(Scan("t"), (Column("missing"),)), deep()])
def test_what_fails_on_tables_of_nobody_is_told_and_the_worker_runs_others(pooling, wrong):
    desk = Desk.of(FRAME, Policy.private(1.0, unit="pid", roles={"pid": "identifier", "x": measure(0, 1)}), "pid")
    fine = desk.priced(Q("t").group_by("u").agg(b.len(), b.col("x").sum(), b.col("x").median().alias("m")))
    (cells,) = fine.draft.cells
    plans = [cells.plan, *(plan for _, plan in cells.quantiles)]

    async def scenario() -> InputError:
        async with pooling() as pool, await pool.acquire() as lease:
            await rehearse(lease, plans, desk.facts)  # no table is bound: none is read
            with pytest.raises(InputError) as failed:
                await rehearse(lease, [*plans, wrong], desk.facts)
            await rehearse(lease, plans, desk.facts)
            return failed.value

    error = asyncio.run(scenario())
    assert error.code == "plan.engine"
    assert "whatever the rows are" in error.reason
    assert error.next_step


def test_what_is_made_of_noisy_cells_is_tried_too(pooling):
    desk = Desk.of(
        FRAME,
        Policy.private(1.0, unit="pid", roles={"pid": "identifier", "c": quasi("p", "q"), "x": measure(0, 1)}),
        "pid",
    )
    counted = Q("t").group_by("c").agg(b.len(), b.col("x").median())
    draft = desk.priced(counted).draft
    missing = replace(draft, last=Select(draft.last, (Column("missing"),)))
    fine = [
        counted.select((1 / (b.col("len") - 1)).cast(b.Int64)),  # strict: of ones it fails
        counted.sample(2),  # of no rows it fails
        Q("t").group_by("u").agg(b.len()),
        Q("t").select(b.len(), b.col("x").mean()),
    ]

    async def scenario() -> str:
        async with pooling() as pool, await pool.acquire() as lease:
            for query in fine:
                await rehearse_last(lease, desk.priced(query).draft)
            with pytest.raises(InputError) as failed:
                await rehearse_last(lease, missing)
            return failed.value.code

    assert asyncio.run(scenario()) == "plan.engine"
