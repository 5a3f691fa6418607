"""Saved frames inlined: a Scan of a named plan becomes that plan, until every Scan is an uploaded table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from bastion_plan import nodes as n
from bastion_plan.errors import BindError, LimitError, did_you_mean
from bastion_plan.nodes import Node, inputs
from bastion_plan.validate import CLIENT, own_size

if TYPE_CHECKING:
    from bastion_plan.bind import TableFacts


#: most nodes, expressions and constants of a plan with its saved frames
MAX_INLINED = CLIENT.nodes + CLIENT.literals


def unknown_dataset(name: str, catalogue: Mapping[str, TableFacts]) -> BindError:
    """Return the one error for datasets that do not exist and for those one may not see."""
    return BindError(
        f"There is no dataset {name!r}, or you may not see it.",
        code="plan.bind.dataset",
        next_step=did_you_mean(name, catalogue) or "List the datasets you may see with datasets().",
        details={"dataset": name},
    )


def with_inputs(node: Node, new: tuple[Node, ...]) -> Node:
    """Return `node` over other inputs, in the order of `inputs`."""
    match node:
        case n.Scan() | n.Inline():
            return node
        case n.Join() | n.JoinAsof():
            return msgspec.structs.replace(node, left=new[0], right=new[1])
        case n.Concat():
            return msgspec.structs.replace(node, inputs=new)
        case _:
            return msgspec.structs.replace(node, input=new[0])


class _Inliner:
    def __init__(self, catalogue: Mapping[str, TableFacts]) -> None:
        self.catalogue = catalogue
        self.size = 0
        self.sizes: dict[int, int] = {}

    def inline(self, node: Node, depth: int, saved: tuple[str, ...]) -> Node:
        # counted before anything is built: frames saved on top of frames can double at every level
        size = self.sizes.get(id(node))
        if size is None:
            size = self.sizes[id(node)] = own_size(node)
        self.size += size
        if self.size > MAX_INLINED:
            msg = f"With its saved frames the plan has more than {MAX_INLINED} nodes, expressions and constants."
            raise LimitError(msg, code="plan.limit.nodes", next_step="Build on fewer saved frames.")
        if depth > CLIENT.depth:
            msg = f"With its saved frames the plan is nested deeper than {CLIENT.depth} levels."
            raise LimitError(msg, code="plan.limit.depth", next_step="Build on fewer saved frames.")
        if isinstance(node, n.Scan):
            return self._scan(node, depth, saved)
        return with_inputs(node, tuple(self.inline(i, depth + 1, saved) for i in inputs(node)))

    def _scan(self, node: n.Scan, depth: int, saved: tuple[str, ...]) -> Node:
        name = node.dataset
        # INVARIANT: '#' names are the judge's own tables; a plan that comes to be bound is never the judge's
        facts = None if name.startswith("#") else self.catalogue.get(name)
        if facts is None:
            if saved:
                msg = f"The saved frame {saved[0]!r} rests on data that you may not see any more."
                raise BindError(msg, code="plan.bind.dataset", details={"dataset": saved[0]})
            raise unknown_dataset(name, self.catalogue)
        if facts.plan is None:
            return node
        if name in saved:
            msg = f"The saved frame {saved[0]!r} is defined by itself."
            raise BindError(msg, code="plan.bind.cycle", details={"dataset": saved[0]})
        return self.inline(facts.plan, depth + 1, (*saved, name))


def inline_saved(plan: Node, catalogue: Mapping[str, TableFacts]) -> Node:
    """Return `plan` with every saved frame replaced by its plan.

    Raises:
        BindError: `plan.bind.dataset`, or `plan.bind.cycle` for frames that rest on themselves.
        LimitError: more than 110,000 nodes, expressions and constants, or 64 levels of nodes, altogether.
    """
    return _Inliner(catalogue).inline(plan, 1, ())
