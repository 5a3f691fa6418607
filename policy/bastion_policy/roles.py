"""Roles of columns: what each may be used for, and which ones an undeclared column gets."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Protocol

import msgspec
from bastion_plan.dtypes import DType
from bastion_plan.errors import did_you_mean

from bastion_policy.rules import finite, refuse


class RoleKind(StrEnum):
    """The six roles."""

    PUBLIC = "public"
    QUASI = "quasi"
    MEASURE = "measure"
    SENSITIVE = "sensitive"
    IDENTIFIER = "identifier"
    HIDDEN = "hidden"


Scalar = str | int | float | bool

#: what each role allows, in a few words
USES = {
    RoleKind.PUBLIC: "choosing rows, group keys, statistics; its values are no secret",
    RoleKind.QUASI: "choosing rows, group keys, statistics",
    RoleKind.MEASURE: "statistics, choosing rows",
    RoleKind.SENSITIVE: "statistics only",
    RoleKind.IDENTIFIER: "counting distinct ones, joining the owner's tables",
    RoleKind.HIDDEN: "nothing",
}

#: whole numbers with more distinct values than this are measures, others are categories
MANY_VALUES = 20
#: a text column with more distinct values than this share of its entries identifies people (under two per value)
NEARLY_UNIQUE_TEXT = 0.5
#: the same for whole numbers, of which amounts have many distinct values too
NEARLY_UNIQUE_NUMBER = 0.95


class Role(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a column may be used for.

    kind: identifier (counted distinct, join key; nothing else), quasi (predicates, keys, aggregation), sensitive
    (aggregation only), measure (aggregation within bounds; predicates), public (as quasi, its values are no secret),
    hidden (no use at all).
    lower, upper: the owner's bounds of a measure, both or neither.
    domain: the values of a quasi or public column, where the owner declares that they may be named.
    varies: where people have several rows, the owner declares that what one of them holds tells nothing of the others: an
    amount of each purchase, not a pay, an age or a weight. Else rows of one person count as good as each other.
    """

    kind: RoleKind
    lower: float | None = None
    upper: float | None = None
    domain: tuple[Scalar, ...] | None = None
    varies: bool = False

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "kind", _kind(self.kind))
        if self.lower is not None or self.upper is not None:
            self._check_bounds()
        if self.domain is not None:
            self._check_domain()
        if not isinstance(self.varies, bool):
            raise refuse("role.varies", f"Whether a column varies is True or False, not {self.varies!r}.")

    def _check_bounds(self) -> None:
        if self.kind is not RoleKind.MEASURE:
            msg = f"Only a measure has bounds, not {self.kind.value}."
            raise refuse("role.bounds", msg, next_step="Leave the bounds out, or make it a measure.")
        both = [self.lower, self.upper]
        if not all(map(finite, both)):
            msg = "A measure needs two finite numbers as bounds, or none."
            raise refuse("role.bounds", msg, next_step="Write lower = 0, upper = 100, for example, or leave both out.")
        if self.lower >= self.upper:  # type: ignore[operator]
            raise refuse(
                "role.bounds",
                f"The lower bound {self.lower:g} is not below the upper bound {self.upper:g}.",
                next_step="Write measure(lower, upper) with lower < upper.",
            )
        msgspec.structs.force_setattr(self, "lower", float(self.lower))  # type: ignore[arg-type]
        msgspec.structs.force_setattr(self, "upper", float(self.upper))  # type: ignore[arg-type]

    def _check_domain(self) -> None:
        if self.kind not in (RoleKind.PUBLIC, RoleKind.QUASI):
            msg = f"Only public and quasi columns have a domain, not {self.kind.value}."
            raise refuse("role.domain", msg, next_step="Leave the domain out, or make the column quasi.")
        values = tuple(self.domain or ())
        if not values or not all(
            isinstance(v, str) or (isinstance(v, float) and finite(v)) or (isinstance(v, int) and -(2**63) <= v < 2**64)
            for v in values
        ):
            msg = "A domain is a list of at least one string, finite number or Boolean."
            raise refuse("role.domain", msg, next_step='Write domain = ["a", "b"], for example, or leave it out.')
        msgspec.structs.force_setattr(self, "domain", values)

    def __str__(self) -> str:
        return f"{self._plain}, varies" if self.varies else self._plain

    @property
    def _plain(self) -> str:
        if self.lower is not None:
            return f"measure({self.lower:.15g}, {self.upper:.15g})"
        if self.domain is not None:
            return f"{self.kind.value}({', '.join(map(repr, self.domain))})"
        return self.kind.value

    @property
    def secret(self) -> bool:
        """Whether what a person holds is to be kept from everybody: a measure, or sensitive."""
        return self.kind in (RoleKind.MEASURE, RoleKind.SENSITIVE)

    @property
    def steady(self) -> bool:
        """Whether rows of one person count as alike in a column that is secret (see `varies`)."""
        return self.secret and not self.varies

    @property
    def bounded(self) -> bool:
        """Whether the owner gave bounds."""
        return self.lower is not None

    @property
    def predicates(self) -> bool:
        """Whether the default profile allows the column in predicates."""
        return self.kind in (RoleKind.PUBLIC, RoleKind.QUASI, RoleKind.MEASURE)

    @property
    def keys(self) -> bool:
        """Whether the column may be a group key."""
        return self.kind in (RoleKind.PUBLIC, RoleKind.QUASI)

    @property
    def aggregates(self) -> bool:
        """Whether statistics of the column may be computed."""
        return self.kind not in (RoleKind.HIDDEN, RoleKind.IDENTIFIER)


def _kind(value: Any) -> RoleKind:
    try:
        return RoleKind(value)
    except ValueError:
        names = [k.value for k in RoleKind]
        if str(value).startswith("measure"):
            step = (
                'Bounds stand in the policy: { role = "measure", lower = 0, upper = 100 }, in Python measure(0, 100).'
            )
            raise refuse("role.kind", f"There is no role {value!r}.", next_step=step) from None
        raise refuse(
            "role.kind",
            f"There is no role {value!r}.",
            next_step=did_you_mean(str(value), names) or f"Use one of {', '.join(names)}.",
        ) from None


def measure(lower: float | None = None, upper: float | None = None, *, varies: bool = False) -> Role:
    """Return the role of a number that is aggregated, with the owner's bounds (none: the owner has yet to confirm).

    varies: where people have several rows, what one of them holds tells nothing of the others.
    """
    return Role(RoleKind.MEASURE, lower, upper, varies=varies)


def public(*domain: Scalar) -> Role:
    """Return the role of a column whose values are no secret, e.g. public("A", "B")."""
    return Role(RoleKind.PUBLIC, domain=domain or None)


def quasi(*domain: Scalar) -> Role:
    """Return the role of a column that may choose and group people; with values: these may be named."""
    return Role(RoleKind.QUASI, domain=domain or None)


def to_role(value: Role | str) -> Role:
    """Return a role from a role or its name."""
    if isinstance(value, Role):
        return value
    if not isinstance(value, str):
        raise refuse("role.kind", f"A role is a name or measure(lower, upper), not {value!r}.")
    return Role(_kind(value))


def to_roles(values: Mapping[str, Role | str]) -> dict[str, Role]:
    """Return roles by column from what an owner writes."""
    if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
        raise refuse("role.table", 'Roles are written as {"column": role, …}.')
    return {name: to_role(value) for name, value in values.items()}


class Measured(Protocol):
    """What inference needs of a column: how many entries are null, how many distinct non-null values there are."""

    @property
    def nulls(self) -> int:
        """Number of nulls."""
        ...

    @property
    def distinct(self) -> int:
        """Number of distinct values."""
        ...


def infer_role(dtype: DType, nulls: int, distinct: int, rows: int) -> Role:
    """Return the role of an undeclared column.

    - text, categories: identifier if more than half of the entries are distinct (under two people per value), else
      quasi;
    - whole numbers: identifier if at least 95 % are distinct, measure with more than 20 distinct values, else quasi;
    - floats, decimals, durations: measure;
    - Booleans, dates and times: quasi (time is continuous, so a unique date is not an identifier);
    - lists, structs, bytes: sensitive.

    A measure gets no bounds: the observed extremes are people's values, only the owner may tell bounds.
    """
    entries = max(rows - nulls, 0)
    share = min(distinct, entries) / entries if entries else 0.0
    if dtype.is_nested or dtype.kind == "Binary":
        return Role(RoleKind.SENSITIVE)
    if dtype.is_integer:
        if share >= NEARLY_UNIQUE_NUMBER and distinct > 1:
            return Role(RoleKind.IDENTIFIER)
        return Role(RoleKind.MEASURE if distinct > MANY_VALUES else RoleKind.QUASI)
    if dtype.is_numeric or dtype.kind == "Duration":
        return Role(RoleKind.MEASURE)
    if dtype.kind in ("String", "Categorical", "Enum") and share > NEARLY_UNIQUE_TEXT and distinct > 1:
        return Role(RoleKind.IDENTIFIER)
    return Role(RoleKind.QUASI)


def infer_roles(
    columns: Mapping[str, DType], measures: Mapping[str, Measured], rows: int, unit: str | None = None
) -> dict[str, Role]:
    """Return an inferred role for every column: the unit is an identifier, the others as infer_role says.

    columns: types by name. measures: by name; a column without is sensitive. rows: height of the table.
    """
    roles: dict[str, Role] = {}
    for name, dtype in columns.items():
        found = measures.get(name)
        if name == unit:
            roles[name] = Role(RoleKind.IDENTIFIER)
        elif found is None:
            roles[name] = Role(RoleKind.SENSITIVE)
        else:
            roles[name] = infer_role(dtype, found.nulls, found.distinct, rows)
    return roles


def check_roles(columns: Mapping[str, DType], roles: Mapping[str, Role]) -> None:
    """Check that every declared role fits the type of its column.

    Raises:
        PolicyError: policy.role.column (no such column), policy.role.type (a measure of text, a domain of other type).
    """
    for name, role in roles.items():
        if name not in columns:
            hint = did_you_mean(name, columns) or f"Its columns are {', '.join(list(columns)[:20])}."
            raise refuse(
                "role.column", f"roles.{name}: the table has no column {name!r}.", next_step=hint, path=f"roles.{name}"
            )
        dtype = columns[name]
        if role.kind is RoleKind.MEASURE and not (dtype.is_numeric or dtype.is_temporal):
            raise refuse(
                "role.type",
                f"roles.{name}: a measure is a number, and the column is {dtype}.",
                next_step="Use quasi or sensitive.",
                path=f"roles.{name}",
            )
        if role.bounded and not dtype.is_numeric:
            msg = f"roles.{name}: only numbers have bounds, and the column is {dtype}."
            raise refuse("role.type", msg, next_step="Leave the bounds out.", path=f"roles.{name}")
        for value in role.domain or ():
            if not _fits(value, dtype):
                msg = f"roles.{name}: {value!r} is not a value of a {dtype} column."
                raise refuse("role.type", msg, next_step="Correct the domain, or leave it out.", path=f"roles.{name}")


def _fits(value: Scalar, dtype: DType) -> bool:
    if isinstance(value, bool):
        return dtype.kind == "Boolean"
    if isinstance(value, str):
        return dtype.kind in ("String", "Categorical", "Date") or value in dtype.categories
    return dtype.is_numeric and (isinstance(value, int) or not dtype.is_integer)
