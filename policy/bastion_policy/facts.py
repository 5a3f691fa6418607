"""What policy is told about the world: facts as data, public ones and private ones kept apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec
from bastion_plan.dtypes import DType, Schema
from bastion_plan.errors import BindError, did_you_mean
from bastion_plan.nodes import AnyNode

from bastion_policy.model import Effective, Policy, Role, RoleKind
from bastion_policy.roles import check_roles, infer_roles


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

    @property
    def roles(self) -> dict[str, Role]:
        """Roles by column, in order."""
        return {c.name: c.role for c in self.columns}

    @property
    def hidden(self) -> tuple[str, ...]:
        """Names of the hidden columns, in order."""
        return tuple(c.name for c in self.columns if c.role.kind is RoleKind.HIDDEN)

    @property
    def unconfirmed(self) -> tuple[str, ...]:
        """Names of the columns whose role was inferred and not yet confirmed by the owner, in order."""
        return tuple(c.name for c in self.columns if c.inferred)

    @property
    def domain(self) -> str:
        """The unit domain: the one declared, else this dataset's own."""
        return self.unit_domain or self.id

    def column(self, name: str) -> ColumnFacts:
        """Return the facts of one column.

        Raises:
            BindError: plan.bind.column, no column of that name.
        """
        for column in self.columns:
            if column.name == name:
                return column
        msg = f"{self.name} has no column {name!r}."
        raise BindError(msg, code="plan.bind.column", next_step=did_you_mean(name, self.schema))

    def effective(self, requester: str) -> Effective:
        """Return what the policy comes to for one requester."""
        return self.policy.effective(requester)

    def audience(self, requester: str) -> tuple[str, str]:
        """Return (unit domain, audience) as this table's policy has it.

        A server that remembers keeps histories by what all tables of the unit domain ever said (store/audiences.py).
        """
        return (self.domain, self.policy.audience(requester))

    def with_policy(self, policy: Policy) -> DatasetFacts:
        """Return the facts under a changed policy: declared roles replace inferred ones, the version grows.

        Raises:
            PolicyError: the policy does not fit the table.
        """
        policy.check_columns(self.schema)
        check_roles(self.schema, policy.roles or {})
        declared = policy.roles or {}
        columns = tuple(_declare(c, declared[c.name]) if c.name in declared else c for c in self.columns)
        unit = policy.unit or self.unit
        return msgspec.structs.replace(
            self,
            columns=columns,
            policy=policy,
            policy_version=self.policy_version + 1,
            unit=None if unit == "row" else unit,
            unit_declared=self.unit_declared or policy.unit is not None,
        )


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


def column_facts(
    schema: Mapping[str, DType], private: PrivateFacts, policy: Policy, sanitized: Iterable[str] = ()
) -> tuple[ColumnFacts, ...]:
    """Return the public facts of every column of a new table: declared roles first, inferred ones for the rest.

    sanitized: names of columns to hide (BastionLab's sanitized_columns); they override declared roles.

    Raises:
        PolicyError: the policy names a column that the table has not, or gives it a role that does not fit its type.
    """
    policy = policy.with_hidden(sanitized)
    policy.check_columns(schema)
    declared = policy.roles or {}
    check_roles(schema, declared)
    unit = None if policy.unit == "row" else policy.unit
    inferred = infer_roles(schema, private.columns, private.rows, unit)
    return tuple(
        _declare(ColumnFacts(name, dtype, inferred[name], inferred=name != unit), declared.get(name))
        for name, dtype in schema.items()
    )


def _declare(column: ColumnFacts, role: Role | None) -> ColumnFacts:
    if role is None:
        return column
    return msgspec.structs.replace(column, role=role, inferred=False, domain=role.domain)
