"""What an approved plan shows of whom, by its shape: rows with their own values, cells as they are, or numbers made of them.

INVARIANT: what is shown plainly may be counted as known later. Whatever else is made of values (running totals, values of other rows,
parts of lists, cells put together) tells of people who are not in what is shown: of their columns nothing more is told.
"""

from __future__ import annotations

from dataclasses import dataclass

from bastion_plan import nodes as n
from bastion_plan.expressions import Alias, Call, Column, Expr, Over, children
from bastion_plan.functions.registry import find
from bastion_plan.functions.spec import REDUCING, Flow
from bastion_plan.nodes import Node

from bastion_policy.flow_nodes import expressions
from bastion_policy.flow_strict import secret
from bastion_policy.lineage import OWN, Source, Typed, World
from bastion_policy.roles import RoleKind

#: functions that read one row, or give one number of all of them
_PLAIN = REDUCING | {Flow.ELEMENTWISE, Flow.GENERATOR}


@dataclass(frozen=True)
class Shows:
    """What is shown of the rows (or cells) of one step of an approved plan.

    rows: each person by itself. picks: numbers per cell of people whom nobody can name. many: lists of them. loose: columns of which
    numbers are told that may be of some of the people in a cell, or weigh them. plainly: what is shown reaches the result as it is.
    sure: columns whose values are shown; maybe: columns that something shown is made of. mixed: values of other rows are among them.
    """

    rows: bool = False
    picks: int = 0
    many: bool = False
    loose: frozenset[Source] = frozenset()
    plainly: bool = True
    sure: frozenset[Source] = frozenset()
    maybe: frozenset[Source] = frozenset()
    mixed: bool = False


def of_rows(typed: Typed, root: Node, world: World) -> Shows:
    """Return what a plan that gives single rows shows of them."""
    values = [value for name, value in typed.frame.columns.items() if not name.startswith(OWN)]
    made = frozenset(x for v in values for x in v.sources if not x.counted and _is_shown(x, world))
    plain = frozenset(v.plain for v in values if v.plain is not None)
    # INVARIANT: of a list of values beside which nobody is named, whose value is whose may be known, and may not
    named = any(v.plain is not None and _names(v.plain, world) for v in values)
    return Shows(rows=True, sure=plain & made if named else plain & frozenset(), maybe=made, mixed=mixes(root))


def plainly(typed: Typed, step: Typed) -> bool:
    """Whether the cells of a step are the rows of the result: nothing but their order, names and columns change."""
    while typed is not step:
        node = typed.node
        chosen = isinstance(node, n.Select) and all(isinstance(_bare(e), Column) for e in node.exprs)
        if not (chosen or isinstance(node, n.Sort | n.Reverse)) or len(typed.inputs) != 1:
            return False
        (typed,) = typed.inputs
    return True


def _is_shown(source: Source, world: World) -> bool:
    """Whether a column is secret to others, and not hidden: that one an approval does not show either."""
    return world.role(source).kind is not RoleKind.HIDDEN and secret(frozenset({source}), world)


def _names(source: Source, world: World) -> bool:
    """Whether a column says whose row it is."""
    return world.is_unit(source) or world.role(source).kind is RoleKind.IDENTIFIER


def _bare(expr: Expr) -> Expr:
    return expr.input if isinstance(expr, Alias) else expr


def mixes(root: Node) -> bool:
    """Whether some row of a plan may hold values of other rows, other than numbers of groups."""
    nodes: list[Node] = [root]
    while nodes:
        node = nodes.pop()
        nodes.extend(n.inputs(node))
        if isinstance(node, n.Rolling | n.GroupByDynamic) or (
            isinstance(node, n.FillNull) and node.strategy is not None
        ):
            return True
        if isinstance(node, n.Concat) and node.how == "horizontal":
            return True
        if any(_reads_others(e) for e in expressions(node)):
            return True
    return False


def _reads_others(expr: Expr) -> bool:
    stack = [expr]
    while stack:
        item = stack.pop()
        if isinstance(item, Over) and item.mapping != "group_to_rows":
            return True
        if isinstance(item, Call):
            function = find(item.function)
            if function is None or function.flow not in _PLAIN:
                return True
        stack.extend(children(item))
    return False
