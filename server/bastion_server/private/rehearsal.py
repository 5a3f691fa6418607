"""Plans about people are run on tables of nobody before anything is paid for them.

What fails by how a plan is written fails whatever the rows are. After the payment it would look like an answer: noise about nobody.
Here it is told, and costs nothing.

INVARIANT: no table is read. What fails here is a function of the plan and of the types of columns, which are public.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from bastion_plan import nodes as n
from bastion_plan.errors import BastionError, InputError
from bastion_plan.inlining import with_inputs
from bastion_plan.nodes import Node
from bastion_policy.facts import DatasetFacts
from bastion_policy.lineage import OWN
from bastion_policy.private.plans import Cells, Draft

from bastion_server.workers.lease import Lease

#: what a plan ends in that the engine does not take
_STATIC = ("server.worker.refused", "plan.encode")


async def rehearse(lease: Lease, plans: Iterable[Node], facts: Mapping[str, DatasetFacts]) -> None:
    """Run plans on tables without rows.

    Args:
        lease: of a worker that can run others afterwards. facts: public facts by dataset id.

    Raises:
        InputError: plan.call, plan.engine: a plan fails whatever the rows are. ServerError: how the worker ended.
    """
    for plan in plans:
        try:
            await lease.try_out(nobodys := of_nobody(plan, facts))
            await lease.run(nobodys, None, ())
        except BastionError as error:
            if error.code not in _STATIC:
                raise
            raise _fails() from None
        except RecursionError:
            raise _fails() from None


async def rehearse_last(lease: Lease, draft: Draft) -> None:
    """Run what the asker makes of noisy cells on made-up ones: on no cells, and where that fails on cells of ones.

    One of the two may fail where noisy numbers do not (a sample of no rows, a quotient); only what fails on both does so as it is written.

    Raises:
        InputError: plan.call, plan.engine. ServerError: how the worker ended.
    """
    failed: BastionError | None = None
    for rows in (False, True):
        tables = {cells.table: _cells(cells, rows=rows) for cells in draft.cells}
        try:
            await lease.try_out(draft.last, tables)
            await lease.run(draft.last, None, (), tables)
        except BastionError as error:
            if error.code not in (*_STATIC, "plan.call"):
                raise
            failed = error
        else:
            return
    assert failed is not None
    raise (_fails() if failed.code in _STATIC else failed) from None


def _cells(cells: Cells, *, rows: bool) -> dict[str, Any]:
    """Return a table of cells: all public ones, with ones as numbers, or none."""
    keys = cells.domain if rows and not cells.threshold else []
    table: dict[str, Any] = {k.column: [key[i] for key in keys] for i, k in enumerate(cells.keys)}
    whole = {f"{OWN}v{i}": part.step == 1.0 for i, part in enumerate(cells.parts)}
    numbers = whole | {f"{OWN}q{i}": False for i in range(len(cells.quantiles))}
    return table | {
        name: np.ones(len(keys), np.int64 if is_whole else np.float64) for name, is_whole in numbers.items()
    }


def of_nobody(plan: Node, facts: Mapping[str, DatasetFacts]) -> Node:
    """Return a plan that reads tables of the same columns without rows."""
    if isinstance(plan, n.Scan) and plan.dataset in facts:
        return n.Inline(tuple(n.InlineColumn(c.name, c.dtype) for c in facts[plan.dataset].columns))
    return with_inputs(plan, tuple(of_nobody(below, facts) for below in n.inputs(plan)))


def _fails() -> InputError:
    return InputError(
        "The engine cannot run this query.",
        code="plan.engine",
        reason="It was tried on tables without rows, so it fails whatever the rows are. Nothing was paid.",
        next_step="Write it in simpler steps: check casts, types and constants, and how many bins or conditions there are.",
    )
