"""Rows that a step makes of one: an unpivot or an explode. Which of them are in a cell is no matter of people.

A cell is answered as the whole table, or as an earlier population, by its people: all their rows are counted then. Where a
person's row was made into several, those of a cell are some of them, and all of them give another number: of two columns instead of
one. So such cells are withheld. Cells that are told apart by made columns alone (the name of the column, and nothing about
people) hold everybody, whatever the data is, and stand for themselves.
"""

from __future__ import annotations

from bastion_plan import nodes as n

from bastion_policy.boundary import Boundary
from bastion_policy.flow_expressions import ExpressionTyping
from bastion_policy.lineage import Typed, World


def makes_rows(below: Typed) -> bool:
    """Whether rows of people were made into several below."""
    return isinstance(below.node, n.Unpivot | n.Explode) or any(
        makes_rows(typed) for typed in below.inputs if typed.frame.private
    )


def of_everybody(below: Typed, boundary: Boundary, world: World) -> bool:
    """Whether each cell holds everybody, by what the plan says: chosen by the names of columns alone."""
    return all(not value.sources for _, _, value, _ in boundary.keys) and _chosen_by_names(below, world)


def _chosen_by_names(typed: Typed, world: World) -> bool:
    node = typed.node
    if isinstance(node, n.Scan):
        return True
    if not isinstance(node, n.Filter | n.Select | n.WithColumns | n.Unpivot | n.Sort):
        return False
    (below,) = typed.inputs
    if isinstance(node, n.Filter) and ExpressionTyping(below.frame, world).value(node.predicate).sources:
        return False
    return _chosen_by_names(below, world)
