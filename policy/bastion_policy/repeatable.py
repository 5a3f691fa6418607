"""Plans that give the same rows in the same order each time they run."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from bastion_plan.bind import BoundPlan
from bastion_plan.canonical import encode
from bastion_plan.expressions import AnyExpr, Call, Expr
from bastion_plan.functions.registry import find
from bastion_plan.nodes import Node

from bastion_policy.flow_trees import rewrite

#: orders of a join's rows that leave nothing open, by what was asked for
_BOTH = {"none": "left_right", "left": "left_right", "right": "right_left"}


def repeatable(bound: BoundPlan) -> BoundPlan:
    """Return a plan that chooses the same rows in each run: orders are kept, and draws have a seed made of the plan.

    INVARIANT: what an owner releases is run for its result, and again for the history: both must be of the same people.
    """
    seed = int.from_bytes(hashlib.sha256(encode(bound.root)).digest()[:4])
    schemas = {}

    def settled(value: Any) -> Any:
        if isinstance(value, Node):
            found = msgspec.structs.replace(value, **_options(value, seed), **_parts(value))
            schemas[found] = bound.schemas[value]
            return found
        if isinstance(value, Expr):
            return rewrite(value, lambda e: _drawn(e, seed))
        return tuple(map(settled, value)) if isinstance(value, tuple) else value

    def _parts(node: Node) -> dict[str, Any]:
        parts = {name: getattr(node, name) for name in node.__struct_fields__}
        return {name: settled(part) for name, part in parts.items() if isinstance(part, Node | Expr | tuple)}

    return BoundPlan(settled(bound.root), bound.schema, schemas)


def _options(node: Node, seed: int) -> dict[str, Any]:
    fields = node.__struct_fields__
    found: dict[str, Any] = {}
    if "maintain_order" in fields:
        asked = node.maintain_order  # type: ignore[attr-defined]
        found["maintain_order"] = True if isinstance(asked, bool) else _BOTH.get(asked, asked)
    if "seed" in fields and node.seed is None:  # type: ignore[attr-defined]
        found["seed"] = seed
    return found


def _drawn(expr: AnyExpr, seed: int) -> AnyExpr:
    function = find(expr.function) if isinstance(expr, Call) else None
    if function is None:
        return expr
    assert isinstance(expr, Call)
    given, names = dict(expr.options), {o.name: o for o in function.options}
    wanted: dict[str, Any] = {}
    if "seed" in names and names["seed"].nullable and given.get("seed") is None:
        wanted["seed"] = seed
    if "maintain_order" in names and not names["maintain_order"].default:
        wanted["maintain_order"] = True
    return msgspec.structs.replace(expr, options=tuple(sorted((given | wanted).items()))) if wanted else expr
