"""Plans about people are run on tables of nobody before anything is paid for them.

What fails by how a plan is written fails whatever the rows are. After the payment it would look like an answer: noise about nobody.
Here it is told, and costs nothing.

INVARIANT: no table is read. What fails here is a function of the plan and of the types of columns, which are public.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bastion_plan import nodes as n
from bastion_plan.errors import BastionError, InputError
from bastion_plan.inlining import with_inputs
from bastion_plan.nodes import Node
from bastion_policy.facts import DatasetFacts

from bastion_server.workers.lease import Lease


async def rehearse(lease: Lease, plans: Iterable[Node], facts: Mapping[str, DatasetFacts]) -> None:
    """Run plans on tables without rows.

    Args:
        lease: of a worker that can run others afterwards. facts: public facts by dataset id.

    Raises:
        InputError: plan.call, plan.engine: a plan fails whatever the rows are. ServerError: how the worker ended.
    """
    for plan in plans:
        try:
            await lease.run(of_nobody(plan, facts), None, ())
        except BastionError as error:
            if error.code not in ("server.worker.refused", "plan.encode"):
                raise
            raise _fails() from None
        except RecursionError:
            raise _fails() from None


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
