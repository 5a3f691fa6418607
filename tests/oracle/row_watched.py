"""A world of a test, whose answers the oracle explains."""

from __future__ import annotations

from typing import Any

from bastion_plan.bind import bind
from drive import World
from query import Q
from row_frames import Boundary
from row_play import ask, oracle_of


class Watched:
    """A world, its judge and the oracle."""

    def __init__(self, of: World) -> None:
        self.world, self.oracle = of, oracle_of(of)

    def ask(self, q: Q) -> list[dict[str, Any]]:
        """The judge's answer, which the oracle explains."""
        answer = ask(self.world, q.plan)
        rows = [] if answer is None else answer.to_dicts()
        assert not self.rules(q, rows)
        return rows

    def rules(self, q: Q, rows: list[dict[str, Any]]) -> set[str]:
        """The rules of what the oracle finds in an answer."""
        reading = self.oracle.read(bind(q.plan, self.world.facts))
        assert isinstance(reading, Boundary)
        return {f.rule for f in self.oracle.explain(reading, rows).findings}
