"""What a policy can never release of a column: the statistics that completion names last.

A statistic is refused where the static verdict on it, of the whole dataset, is "refused"; nothing runs and nothing is asked.
What goes on after it (`cum_sum()`, `abs()`) may still become a statistic, and is never counted as refused.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Any

from bastion_plan.errors import BastionError
from bastion_plan.functions import registry
from bastion_plan.functions.spec import REDUCING, Flow
from bastion_plan.nodes import Scan, scans
from bastion_policy.facts import DatasetFacts
from bastion_policy.verdict import Outcome

from bastion import expressions
from bastion.client.frames import RemoteLazyFrame
from bastion.language.environment import Environment

REFUSED = "refused"
_COLUMN = re.compile(r"""\bcol\(\s*(?:"([^"\\]+)"|'([^'\\]+)')\s*\)\Z""")
_NAMES = re.compile(r"[^\W\d]\w*")
_ENDS = REDUCING | {Flow.ROW, Flow.TIED}
_CACHED = 256
#: (session, edition of its facts, dataset, role, type) -> refused methods; columns alike are judged once
_known: OrderedDict[tuple[Any, ...], frozenset[str]] = OrderedDict()


def refused_methods(env: Environment, before: str, expression: str) -> frozenset[str]:
    """Return the methods of `pl.col("…")` that give a statistic which is never released.

    Args:
        env: the session. before: the text before the cursor. expression: what stands before the last dot.
    """
    found = _COLUMN.search(expression)
    connection = env.connection
    if found is None or connection is None:
        return frozenset()
    name = found[1] or found[2]
    facts = _dataset_of(env, before, name)
    column = next((c for c in facts.columns if c.name == name), None) if facts is not None else None
    if facts is None or column is None:
        return frozenset()
    key = (id(connection), connection._edition, facts.id, str(column.role), str(column.dtype), facts.unit == name)
    if key not in _known:
        while len(_known) >= _CACHED:
            _known.popitem(last=False)
        _known[key] = _refused(RemoteLazyFrame(connection, Scan(facts.id)), name)
    return _known[key]


def _dataset_of(env: Environment, before: str, column: str) -> DatasetFacts | None:
    """Return the dataset that a column is most likely of: one that the text names, last, and that has it."""
    assert env.connection is not None
    cards = {card.facts.id: card.facts for card in env.connection._datasets.values()}
    by_name = {facts.name: facts for facts in cards.values()}
    for name in reversed(_NAMES.findall(before)):
        value = env.names.get(name)
        if isinstance(value, RemoteLazyFrame):
            scanned = [cards[key] for key in _scans(value) if key in cards]
            facts = scanned[0] if len(scanned) == 1 else None
        else:
            facts = by_name.get(name)
        if facts is not None and any(c.name == column for c in facts.columns):
            return facts
    return None


def _scans(frame: RemoteLazyFrame) -> list[str]:
    return sorted(scans(frame.plan))


def _refused(frame: RemoteLazyFrame, column: str) -> frozenset[str]:
    refused = set()
    for name in _statistics():
        try:
            asked = frame.select(getattr(expressions.col(column), name)())
            if asked.verdict.outcome is Outcome.REFUSE:
                refused.add(name)
        except (BastionError, TypeError):  # it does not go with the column's type, or needs arguments
            continue
    return frozenset(refused)


def _statistics() -> list[str]:
    """Return the methods of a column that end in one value."""
    column = expressions.col("x")
    found = (function.name for function in registry.all_functions() if function.flow in _ENDS)
    return [name for name in found if "." not in name and hasattr(column, name)]
