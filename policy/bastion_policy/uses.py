"""What a plan does with each source column: which statistics, keys, conditions or rows it makes of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bastion_plan.bind import BoundPlan

from bastion_policy.boundary import Boundary
from bastion_policy.derived import columns_of
from bastion_policy.facts import DatasetFacts
from bastion_policy.flow import boundaries
from bastion_policy.flow_nodes import FlowTyping
from bastion_policy.lineage import Source, World

KEY, CONDITION, ROWS = "group key", "condition", "single rows"
#: of a number that is about people and not about a column of theirs
PEOPLE = ""


def column_uses(bound: BoundPlan, facts: Mapping[str, DatasetFacts]) -> dict[str, tuple[str, ...]]:
    """Return the uses of every source column of a plan, by "dataset.column"; "dataset." stands for numbers of people.

    A use is the name of a statistic ("mean"), KEY, CONDITION (it chose rows, or went along through a join) or ROWS (single
    rows of the result derive from it). Where it is not certain that a column has no part, it counts.
    """
    typing = FlowTyping(bound, World(facts))
    typed = typing.root()
    found: dict[str, dict[str, None]] = {}

    def add(sources: Iterable[Source], use: str) -> None:
        for source in sorted(sources, key=lambda s: s.label):
            found.setdefault(source.label, {})[use] = None

    conditions = set(typing.used)
    for node in boundaries(typed):
        assert isinstance(node.boundary, Boundary)
        for _, _, value, _ in node.boundary.keys:
            add(value.sources, KEY)
        frame = node.inputs[0].frame
        for statistic in node.boundary.statistics:
            add(statistic.sources, statistic.function)
            for name in (c for p in statistic.population for c in columns_of(p) if c in frame.columns):
                conditions |= frame.columns[name].sources
            if not statistic.sources:
                for occurrence in frame.occurrences:
                    found.setdefault(f"{occurrence.dataset}.{PEOPLE}", {})[statistic.function] = None
    if typed.frame.private:
        for value in typed.frame.columns.values():
            add(value.sources, ROWS)
    add((s for s in conditions if s.label not in found), CONDITION)
    return {label: tuple(uses) for label, uses in sorted(found.items())}
