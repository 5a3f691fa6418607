"""Names and types of a plan against public facts: what exists for this identity, with which columns and types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from bastion_plan.dtypes import Schema
from bastion_plan.nodes import Node


class TableFacts(Protocol):
    """What bind needs to know of a dataset (bastion_policy.facts.DatasetFacts fits)."""

    @property
    def schema(self) -> Schema:
        """Column names and types, in order."""
        ...

    @property
    def plan(self) -> Node | None:
        """The plan of a saved frame, which bind inlines; None for an uploaded table."""
        ...


@dataclass(frozen=True)
class BoundPlan:
    """A plan whose names and types are known to fit.

    root: selectors expanded to columns, saved frames inlined (so every Scan is an uploaded table).
    schema: of the result.
    schemas: of every node of root, by the node itself (equal nodes have equal schemas).
    """

    root: Node
    schema: Schema
    schemas: dict[Node, Schema]


def bind(plan: Node, catalogue: Mapping[str, TableFacts]) -> BoundPlan:
    """Resolve `plan` against the datasets one may see, by dataset id.

    Raises:
        BindError: unknown dataset, column or function, a type that does not fit, an ambiguous name; with a
            "did you mean" made of names the identity may see.
    """
