"""What policy is told about the world: facts as data, public ones and private ones kept apart."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
from bastion_plan.dtypes import DType, Schema
from bastion_plan.nodes import AnyNode

from bastion_policy.model import Policy, Role


class ColumnFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A column as anyone who may see the dataset sees it.

    role: declared by the owner or inferred at upload. inferred: True until the owner confirms it.
    domain: the values, where the owner declared them public (then keys of small cells may be told).
    """

    name: str
    dtype: DType
    role: Role
    inferred: bool = False
    domain: tuple[str | int | float | bool, ...] | None = None


class DatasetFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Public facts of a dataset. Never a row count.

    unit: the column of the privacy unit, or None where every row is its own unit.
    unit_declared: False where the owner named none (shown in red).
    unit_domain: names the population of people; history and budgets live per (unit domain, audience).
    plan: of a saved frame, in terms of uploaded tables; None for an uploaded table.
    policy_version: grows with every change; approvals are bound to it.
    """

    id: str
    name: str
    version: int
    columns: tuple[ColumnFacts, ...]
    policy: Policy
    policy_version: int = 1
    owner: str = ""
    unit: str | None = None
    unit_declared: bool = False
    unit_domain: str = ""
    plan: AnyNode | None = None

    @property
    def schema(self) -> Schema:
        """Column names and types, in order."""
        return {c.name: c.dtype for c in self.columns}

    def column(self, name: str) -> ColumnFacts:
        """Return the facts of one column."""
        return next(c for c in self.columns if c.name == name)


@dataclass(frozen=True, slots=True)
class ColumnMeasures:
    """Measured at registration, never told to a scientist. low/high: observed extremes of a numeric column."""

    nulls: int
    distinct: int
    low: float | None = None
    high: float | None = None
    has_nan: bool = False


@dataclass(frozen=True, slots=True)
class PrivateFacts:
    """Measured at registration, for the judge only.

    rows, units: of the whole table. max_rows_per_unit: M of the tier bounds (1 where rows are the units).
    """

    rows: int
    units: int
    max_rows_per_unit: int
    columns: dict[str, ColumnMeasures] = field(default_factory=dict)
