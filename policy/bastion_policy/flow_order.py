"""Whether the order of people's rows is read: what nobody reads is not made, and its keys are never evaluated.

INVARIANT: an order tells nothing by itself, but the last bits of a float say in which order it was added up, and a key may
fail. So the plans that run keep a sort only where a later step reads one person's rows one after the other.
"""

from __future__ import annotations

from bastion_plan import nodes as n
from bastion_plan.expressions import Call, Expr, Literal, Over, children
from bastion_plan.functions.registry import find
from bastion_plan.functions.spec import Flow

from bastion_policy.lineage import Typed

#: steps that do with rows what they do whatever their order
_BLIND = (
    n.Filter, n.Select, n.WithColumns, n.GroupBy, n.Join, n.Concat, n.Unpivot, n.Explode, n.Unnest, n.DropNulls, n.Scan
)  # fmt: skip
_BLIND_FLOWS = frozenset({Flow.ELEMENTWISE, Flow.COUNT, Flow.SUM, Flow.SPREAD, Flow.ORDER, Flow.EXTREME})
#: functions that leave values out one by one
_BLIND_FUNCTIONS = frozenset({"filter", "drop_nulls", "drop_nans"})


def reads_order(expr: Expr) -> bool:
    """Whether an expression may depend on the order of rows."""
    match expr:
        case Over(order_by=order) if order:
            return True
        case Call(function=name):
            function = find(name)
            if function is None or (function.flow not in _BLIND_FLOWS and name not in _BLIND_FUNCTIONS):
                return True
    return any(map(reads_order, children(expr)))


def order_below(typed: Typed, ordered: bool) -> bool:
    """Whether the order of the rows below a step is read. ordered: whether that of its own rows is."""
    node = typed.node
    match node:
        case n.Sort() | n.Reverse():
            return ordered
        case n.GroupBy(keys=keys, aggs=aggs):
            return any(map(reads_order, (*keys, *aggs)))
        case n.Select(exprs=exprs) | n.WithColumns(exprs=exprs):
            return ordered or any(map(reads_order, exprs))
        case n.FillNull(value=Literal()):
            return ordered
        case _:
            return ordered or not isinstance(node, _BLIND)


def kept_orders(typed: Typed, *, ordered: bool = False, through: bool = True) -> list[Typed]:
    """Return the sorts and reversals of private rows below a step (itself included) that a later step reads.

    ordered: whether the order of its own rows is read. through: also below group_bys, whose rows come in an order of their own.
    """
    found: dict[int, Typed] = {}
    seen: set[tuple[int, bool]] = set()
    stack = [(typed, ordered)]
    while stack:
        item, read = stack.pop()
        if (id(item), read) in seen or not item.frame.private:
            continue
        seen.add((id(item), read))
        if read and isinstance(item.node, n.Sort | n.Reverse):
            found[id(item)] = item
        if through or not isinstance(item.node, n.GroupBy):
            stack.extend((below, order_below(item, read)) for below in item.inputs)
    return list(found.values())


def reordered(typed: Typed) -> bool:
    """Whether private rows may come in another order than that in which they are stored.

    By a sort that is kept, or by which part of a stack conditions put them into. Those of a group_by have their own order.
    """
    return bool(kept_orders(typed, through=False)) or _stacked(typed)


def _stacked(typed: Typed) -> bool:
    if not typed.frame.private or isinstance(typed.node, n.GroupBy):
        return False
    datasets = [o.dataset for o in typed.frame.occurrences]
    if len(set(datasets)) == len(datasets):
        return False
    return isinstance(typed.node, n.Concat) or any(map(_stacked, typed.inputs))
