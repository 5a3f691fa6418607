"""Random plans from the registry, measured before noise in worlds that differ in one person: nobody is told beyond the price.

BASTION_FUZZ_CASES plans that are taken (30 in a normal run). The same search finds something where the noise is made for half a
person, where values are not clipped, and where it does not matter how many rows or groups a person has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import harness_search_private
import pytest
from bastion_plan.expressions import AnyExpr, Call, children
from bastion_policy.code import plan_code
from bastion_policy.flow_trees import with_children
from bastion_policy.private import cells, plans, pricing, statistics
from harness_search_private import CASES, Search, search


def shown(found: Search) -> str:
    return "\n".join(f"seed {f.seed}: {f.why}\n{plan_code(f.plan)}" for f in found.findings)


@pytest.mark.timeout(600)
def test_no_plan_tells_of_a_person_beyond_its_price() -> None:
    found = search(range(CASES))
    assert found.answered > 0.9 * CASES, "too few plans are taken: the search tests nothing"
    assert not found.findings, shown(found)
    assert found.nearest > 0.99, "nobody has as much to say as is paid for: the search tests nothing"


def unclipped(expr: AnyExpr) -> AnyExpr:
    made = with_children(expr, [unclipped(c) for c in children(expr)])
    return made.args[0] if isinstance(made, Call) and made.function == "clip" else made  # type: ignore[return-value]


def without(rule: str) -> Any:
    """Leave out what one of the sensitivities rests on."""
    steps, counted, vectors, scores = (
        statistics.fixed_point, cells.bounded, pricing.gaussian_scale, pricing.gumbel_scale,
    )  # fmt: skip

    def unclipped_part(*given: Any, **named: Any) -> cells.Part:
        part = steps(*given, **named)
        return replace(part, expr=unclipped(part.expr))

    def uncounted(rows: Any, keys: Any, caps: cells.Caps, parts: Sequence[Any]) -> Any:
        return counted(rows, keys, replace(caps, **{rule: 9}), parts)

    match rule:
        case "clipping":
            return patch.object(statistics, "fixed_point", unclipped_part)
        case "rows" | "groups":
            return patch.object(cells, "bounded", uncounted)
        case "noise of sums":
            return patch.object(pricing, "gaussian_scale", lambda *given: vectors(*given) / 2)
        case "noise of scores":
            return patch.object(pricing, "gumbel_scale", lambda *given: scores(*given) / 2)
        case "people once":
            return patch.object(plans, "PEOPLE", replace(statistics.PEOPLE, per_row=True))
    return patch.object(harness_search_private, "scans", lambda plan: ("t",))


@pytest.mark.parametrize(
    ("rule", "seed", "why"),
    [
        ("clipping", 11, "moves by"),
        ("rows", 4, "moves by 3"),
        ("groups", 14, "moves in 2 cells"),
        ("noise of sums", 4, "loses 4 times what is paid"),
        ("noise of scores", 15, "loses 4 times what is paid"),
        ("people once", 23, "several people have"),
        ("cells alone", 0, "more is read"),
    ],
)
def test_search_finds_what_tells_of_a_person_without_a_rule(rule: str, seed: int, why: str) -> None:
    with without(rule):
        found = search([seed])
    assert [why in f.why for f in found.findings] == [True], (rule, found)
    assert not search([seed]).findings
