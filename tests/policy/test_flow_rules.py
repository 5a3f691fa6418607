"""Every kind of node has a flow rule with a reason, and the guard cannot judge one without."""

from __future__ import annotations

from typing import get_args

import polars
import pytest
from bastion_plan import nodes as n
from bastion_plan.expressions import Alias, Column
from bastion_policy.flow_rules import NODE_RULES, NodeFlow, check_complete, rule_of
from bastion_policy.model import Policy
from bastion_policy.verdict import Outcome
from drive import World
from query import Q

import bastion.expressions as pl

KINDS = get_args(n.AnyNode)


def test_every_kind_of_node_has_a_rule_and_a_reason_of_its_own() -> None:
    assert set(NODE_RULES) == set(KINDS)
    reasons = [rule.reason for rule in NODE_RULES.values()]
    assert len(set(reasons)) == len(reasons)
    assert all(r[0].isupper() and r.endswith(".") and "\n" not in r for r in reasons)
    assert {rule.flow for rule in NODE_RULES.values()} == set(NodeFlow)


class Unheard(n.Node, frozen=True, tag="unheard"):
    """A kind of node that nobody wrote a rule for."""

    input: n.AnyNode


def test_a_kind_of_node_without_a_rule_is_not_judged() -> None:
    with pytest.raises(AssertionError, match="Unheard needs a flow rule"):
        check_complete((*KINDS, Unheard))
    with pytest.raises(AssertionError, match="Unheard has no flow rule"):
        rule_of(Unheard(n.Scan("t")))


FRAME = polars.DataFrame({"g": ["a", "b"] * 20, "x": [float(i % 7) for i in range(40)], "i": range(40)})
W = World().add("t", FRAME, Policy.default(), {"g": "quasi", "x": "measure", "i": "quasi"})
T = Q("t")
#: what each class comes to on private rows, with nothing behind it but what a scientist would add
CHOICES = {n.Slice: T.head(3), n.TopK: T.top_k(3, "x"), n.Sample: T.sample(3)}


@pytest.mark.parametrize("kind", [k for k, r in NODE_RULES.items() if r.flow is NodeFlow.CHOICE])
def test_choices_of_private_rows_are_not_released(kind: type[n.Node]) -> None:
    assert W.static(CHOICES[kind].select(pl.col("x").mean()).plan).outcome is Outcome.REVIEW


@pytest.mark.parametrize("kind", [k for k, r in NODE_RULES.items() if r.flow is NodeFlow.NUMBERED])
def test_numbered_rows_are_not_released(kind: type[n.Node]) -> None:
    aggs = (Alias(pl.col("x").mean().plan, "m"),)
    plan = {
        n.Rolling: T.of(n.Rolling, Column("i"), "2i", aggs),
        n.WithRowIndex: T.with_row_index().select(pl.col("index").mean()),
    }[kind]
    assert W.static(plan.plan).outcome is Outcome.REVIEW


@pytest.mark.parametrize("plan", [T.sort("x"), T.of(n.Reverse)], ids=["sort", "reverse"])
def test_an_order_changes_no_answer(plan: Q) -> None:
    asked = (pl.col("x").sum(), pl.len())
    assert W.ask(plan.select(*asked).plan).released.equals(W.ask(T.select(*asked).plan).released)
