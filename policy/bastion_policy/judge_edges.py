"""What of a question chooses people by a measure: such choices, at a threshold, tell about the one who is at it.

INVARIANT: every step that leaves rows out, every key and every condition counts, however it is written: a bisection of a
value by filters is the same as one by keys of a join, by nulls that a condition made, or by groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bastion_plan import nodes as n
from bastion_plan.expressions import Call, Column, Expr

from bastion_policy.boundary import Boundary, Guard, Statistic
from bastion_policy.flow_expressions import ExpressionTyping
from bastion_policy.guard_cells import both
from bastion_policy.lineage import Form, Frame, Typed, Value, World
from bastion_policy.roles import RoleKind

#: by identity of the typed nodes that leave rows out by a measure: what of a filter does not, if anything
Narrowing = dict[int, Expr | None]


def of_measures(value: Value, world: World) -> bool:
    """Whether a value tells of a measure more than whether a stored one is missing, which is public."""
    return value.form is not Form.NULLS and any(world.role(s).kind is RoleKind.MEASURE for s in value.sources)


def narrowing(typed: Typed, world: World) -> Narrowing:
    """Return the steps on the way to a private frame that leave rows out by a measure."""
    found: Narrowing = {}
    frames = [t.frame for t in typed.inputs]
    match typed.node:
        case n.Filter(predicate=predicate) if typed.frame.private:
            parts = list(_conjuncts(predicate))
            rest = [p for p in parts if not _asks(p, frames[0], world)]
            if len(rest) < len(parts):
                found[id(typed)] = both(rest)
        case n.DropNulls(subset=subset, nans=nans) if typed.frame.private:
            names = frames[0].schema if subset is None else [e.name for e in subset if isinstance(e, Column)]
            values = [frames[0].columns[c] for c in names]
            # which stored values are missing is public
            if any(of_measures(v, world) and (nans or v.makes_nulls or not v.pristine) for v in values):
                found[id(typed)] = None
        case n.Join() | n.JoinAsof():
            sides = zip(frames, _join_keys(typed.node), strict=True)
            if any(f.private and any(_asks(k, f, world) for k in on) for f, on in sides):
                found[id(typed)] = None
        case _:
            pass
    for below in typed.inputs:
        if below.frame.private:
            found |= narrowing(below, world)
    return found


def keys_of_measures(boundary: Boundary, world: World) -> list[int]:
    """Return the positions of the group keys that are computed of measures."""
    return [i for i, (_, _, value, _) in enumerate(boundary.keys) if of_measures(value, world)]


def conditions_on_measures(statistic: Statistic, frame: Frame, world: World) -> tuple[Expr, ...]:
    """Return what chooses people inside a statistic; nothing where no measure does."""
    held: Sequence[Expr] = [t.expr for t in statistic.terms] if statistic.guard is Guard.HELD else ()
    conditions = (*statistic.population, *held)
    return conditions if any(_asks(c, frame, world) for c in conditions) else ()


def _join_keys(node: n.Join | n.JoinAsof) -> tuple[Sequence[Expr], Sequence[Expr]]:
    if isinstance(node, n.Join):
        return node.left_on, node.right_on
    return (node.left_on, *map(Column, node.by_left)), (node.right_on, *map(Column, node.by_right))


def _asks(condition: Expr, frame: Frame, world: World) -> bool:
    return of_measures(ExpressionTyping(frame, world).value(condition), world)


def _conjuncts(expr: Expr) -> Iterator[Expr]:
    match expr:
        case Call(function="and_", args=args):
            for arg in args:
                yield from _conjuncts(arg)
        case _:
            yield expr
