"""The flow rule of every kind of plan node, each with the reason why it holds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import get_args

from bastion_plan import nodes as n
from bastion_plan.nodes import Node


class NodeFlow(StrEnum):
    """How private rows move through a node."""

    SOURCE = "source"  # rows come from nowhere else
    PREDICATE = "predicate"  # rows are left out by a condition: it becomes part of the population
    ROWWISE = "rowwise"  # every row keeps its person
    BOUNDARY = "boundary"  # rows become cells, which are guarded
    CHOICE = "choice"  # single rows are picked: only of released cells
    ORDER = "order"  # the order of rows only
    COMBINED = "combined"  # rows of several tables: each occurrence of a table is counted by itself
    RESHAPED = "reshaped"  # a person's rows repeat or spread: bounds on rows per person are void
    NUMBERED = "numbered"  # says where in the order a row stands


@dataclass(frozen=True, slots=True)
class NodeRule:
    """The flow class of a node and one sentence why."""

    flow: NodeFlow
    reason: str


#: INVARIANT: a node without an entry is judged by no rule, so it is refused; see `rule_of`.
NODE_RULES: dict[type[Node], NodeRule] = {
    n.Scan: NodeRule(
        NodeFlow.SOURCE, "Every scan is an occurrence of its own: the two sides of a self-join are counted separately."
    ),
    n.Inline: NodeRule(NodeFlow.SOURCE, "The scientist's own rows are about nobody."),
    n.Filter: NodeRule(
        NodeFlow.PREDICATE, "Who is left depends on the predicate, so its columns' roles and the population count."
    ),
    n.DropNulls: NodeRule(
        NodeFlow.PREDICATE, "Leaving out rows by whether a value is missing is a predicate on that value."
    ),
    n.Select: NodeRule(
        NodeFlow.BOUNDARY,
        "Aggregates make one cell of all rows; expressions without any keep each row with its person.",
    ),
    n.WithColumns: NodeRule(
        NodeFlow.ROWWISE,
        "New columns derive from their own row; an aggregate among them is a boundary whose cell comes back.",
    ),
    n.GroupBy: NodeRule(
        NodeFlow.BOUNDARY, "Each combination of keys is a population; with the unit as key the rows stay private."
    ),
    n.GroupByDynamic: NodeRule(
        NodeFlow.BOUNDARY,
        "Windows that neither overlap nor move are groups by the window's start; others may differ by single rows.",
    ),
    n.Rolling: NodeRule(
        NodeFlow.NUMBERED, "Each row gets a window of its neighbours; two windows may differ by one row."
    ),
    n.Join: NodeRule(
        NodeFlow.COMBINED,
        "Keys are predicates on who finds a partner, and repeated keys are weights, so one side's keys must be unique.",
    ),
    n.JoinAsof: NodeRule(
        NodeFlow.COMBINED,
        "The nearest key is chosen by the order of rows, and unsorted keys fail, which tells of them.",
    ),
    n.Sort: NodeRule(
        NodeFlow.ORDER,
        "It is left out where nothing reads the order; where one person's rows are read in it, stored columns give it.",
    ),
    n.Reverse: NodeRule(NodeFlow.ORDER, "The same rows in the opposite order: no row is left out, none is shown."),
    n.Slice: NodeRule(NodeFlow.CHOICE, "Rows by position: two slices one row apart differ by that row."),
    n.TopK: NodeRule(NodeFlow.CHOICE, "The rows at the edge of an order are single people's."),
    n.Unique: NodeRule(
        NodeFlow.BOUNDARY,
        "Distinct values alone are keys of groups; with other columns beside them it picks one row per group.",
    ),
    n.Sample: NodeRule(NodeFlow.CHOICE, "A new draw at each query averages protection away; a seed names the rows."),
    n.FillNull: NodeRule(
        NodeFlow.ROWWISE, "A constant goes into gaps row by row; a strategy would copy other people's values."
    ),
    n.Explode: NodeRule(
        NodeFlow.RESHAPED, "A person's row becomes several, so numbers of rows stop saying how many people there are."
    ),
    n.Unnest: NodeRule(NodeFlow.ROWWISE, "Fields of a row's own struct become columns of the same row."),
    n.Unpivot: NodeRule(NodeFlow.RESHAPED, "Every row becomes one per column, so that people are counted, not rows."),
    n.Pivot: NodeRule(
        NodeFlow.BOUNDARY, "Statistics per index and column are groups by both; first and item would show single rows."
    ),
    n.Concat: NodeRule(
        NodeFlow.COMBINED,
        "Rows of every part count for their own occurrence; a table stacked on itself would count people twice.",
    ),
    n.WithRowIndex: NodeRule(NodeFlow.NUMBERED, "A row's number is its place in the order, which picks single rows."),
}


def rule_of(node: Node) -> NodeRule:
    """Return the flow rule of a node.

    Raises:
        AssertionError: a kind of node without one (a programming error): the guard must not judge it.
    """
    try:
        return NODE_RULES[type(node)]
    except KeyError:
        msg = f"{type(node).__name__} has no flow rule"
        raise AssertionError(msg) from None


def check_complete(kinds: tuple[type[Node], ...]) -> None:
    """Refuse to start with a kind of node that has no flow rule or no reason."""
    for kind in kinds:
        rule = NODE_RULES.get(kind)
        if rule is None or not rule.reason.strip() or not rule.reason.endswith("."):
            msg = f"{kind.__name__} needs a flow rule with its reason, one sentence"
            raise AssertionError(msg)


check_complete(get_args(n.AnyNode))
